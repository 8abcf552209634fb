//! Objects of our Python side that ask MLflow's database: how they are called, and what their faults mean.

use super::ending;
use crate::ports::StoreFault;
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// One object; it may be called from any thread, with or without the GIL.
pub struct Adapter {
    object: Py<PyAny>,
    /// What it asks, for the log.
    what: &'static str,
}

impl Adapter {
    pub fn new(object: Py<PyAny>, what: &'static str) -> Self {
        Self { object, what }
    }

    /// Calls a method; `read` takes its answer apart.
    ///
    /// # Errors
    /// `Busy` for a `TimeoutError`; any other exception is `Failed`.
    pub fn call<T>(
        &self,
        method: &str,
        arguments: impl for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyTuple>>,
        read: impl for<'py> FnOnce(Bound<'py, PyAny>) -> PyResult<T>,
    ) -> Result<T, StoreFault> {
        let answer = ending::attached(|py| {
            let call = || read(self.object.bind(py).call_method1(method, arguments(py)?)?);
            call().map_err(|error| self.fault(py, &error))
        });
        answer.unwrap_or_else(|| Err(StoreFault::Failed("the interpreter is ending".to_owned())))
    }

    fn fault(&self, py: Python<'_>, error: &PyErr) -> StoreFault {
        // Raised for a lock that was waited for in vain, and for a database that does not answer in time.
        if error.is_instance_of::<PyTimeoutError>(py) {
            return StoreFault::Busy;
        }
        // Our own exceptions say what may be logged. Of others the kind alone: a driver's message may repeat the database's
        // address with its password.
        let told = error.value(py).getattr("for_the_log").and_then(|told| told.extract::<String>());
        let told = told
            .or_else(|_| error.get_type(py).name().map(|name| name.to_string()))
            .unwrap_or_else(|_| "an exception".to_owned());
        StoreFault::Failed(format!("{told} in {}", self.what))
    }
}
