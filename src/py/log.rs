//! The log port over Python's `logging`, so that operators configure one log.

use crate::ports::{Level, Log};
use pyo3::prelude::*;

/// Writes to a `logging.Logger`.
pub struct PythonLog(Py<PyAny>);

impl PythonLog {
    pub fn new(logger: Py<PyAny>) -> Self {
        Self(logger)
    }
}

impl Log for PythonLog {
    fn log(&self, level: Level, line: &str) {
        let number = match level {
            Level::Debug => 10,
            Level::Info => 20,
            Level::Warning => 30,
            Level::Error => 40,
        };
        // While the interpreter is ending there is no log to write to; a failing handler must not fail the request.
        let _ = Python::try_attach(|py| self.0.call_method1(py, "log", (number, "%s", line)).is_ok());
    }
}
