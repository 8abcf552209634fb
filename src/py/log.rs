//! The log port over Python's `logging`, so that operators configure one log.

use crate::ports::{Level, Log};
use pyo3::intern;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

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
}

impl Log for PythonLog {
    fn is_read(&self, level: Level) -> bool {
        level != Level::Debug || self.debug.load(Ordering::Relaxed)
    }

    fn log(&self, level: Level, line: &str) {
        // While the interpreter is ending there is no log to write to; a failing handler must not fail the request.
        let _ = Python::try_attach(|py| {
            self.logger.call_method1(py, intern!(py, "log"), (number(level), "%s", line)).is_ok()
        });
    }
}
