//! The log port over Python's `logging`, so that operators configure one log.

use super::ending;
use crate::ports::{Level, Log};
use pyo3::intern;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    /// The lines of the request that this thread decides, until it has the interpreter's lock again: asking for the lock for
    /// each line means waiting for it several times. Their time in the log is the end of the decision.
    static HELD: RefCell<Option<Vec<(Level, String)>>> = const { RefCell::new(None) };
}

/// Writes to a `logging.Logger`.
pub struct PythonLog {
    logger: Py<PyAny>,
    /// Whether somebody reads `DEBUG`, as of the last request that had to be decided.
    debug: AtomicBool,
}

const fn number(level: Level) -> u8 {
    match level {
        Level::Debug => 10,
        Level::Info => 20,
        Level::Warning => 30,
        Level::Error => 40,
    }
}

impl PythonLog {
    pub fn new(logger: Py<PyAny>) -> Self {
        Self { logger, debug: AtomicBool::new(true) }
    }

    /// Asks the logger, while the interpreter's lock is held anyway, whether it writes `DEBUG`: most refusals are of that level,
    /// and nobody should have to wait for the lock again to learn that nothing is to be written.
    pub fn look(&self, py: Python<'_>) {
        let asked = self.logger.bind(py).call_method1(intern!(py, "isEnabledFor"), (number(Level::Debug),));
        let read = asked.and_then(|answer| answer.is_truthy()).unwrap_or(true);
        self.debug.store(read, Ordering::Relaxed);
    }

    /// From here on the lines of this thread are held back.
    pub fn hold(&self) {
        HELD.with_borrow_mut(|held| *held = Some(Vec::new()));
    }

    /// Writes what was held back.
    pub fn write(&self, py: Python<'_>) {
        for (level, line) in HELD.with_borrow_mut(Option::take).unwrap_or_default() {
            self.write_line(py, level, &line);
        }
    }

    fn write_line(&self, py: Python<'_>, level: Level, line: &str) {
        // A failing handler must not fail the request.
        let _ = self.logger.call_method1(py, intern!(py, "log"), (number(level), "%s", line));
    }
}

impl Log for PythonLog {
    fn is_read(&self, level: Level) -> bool {
        level != Level::Debug || self.debug.load(Ordering::Relaxed)
    }

    fn log(&self, level: Level, line: &str) {
        let is_held = HELD.with_borrow_mut(|held| {
            held.as_mut().map(|lines| lines.push((level, line.to_owned()))).is_some()
        });
        if !is_held {
            // A thread of our own. While the interpreter is ending there is no log to write to.
            let _ = ending::attached(|py| self.write_line(py, level, line));
        }
    }
}
