//! The users port over MLflow's own database engine: its drivers, its pool and, for SQLite, its copy of the library.

use crate::ports::{Patience, StoreFault, UserRow, Users};
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Calls `mlflow_oidc.users.Users`.
pub struct PythonUsers(Py<PyAny>);

impl PythonUsers {
    pub fn new(users: Py<PyAny>) -> Self {
        Self(users)
    }
}

/// Calls a method of an adapter to MLflow's database.
///
/// # Errors
/// `Busy` for its `TimeoutError`: a lock that was waited for in vain.
pub fn call<T>(
    adapter: &Py<PyAny>,
    method: &str,
    arguments: impl for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyTuple>>,
    read: impl for<'py> FnOnce(Bound<'py, PyAny>) -> PyResult<T>,
) -> Result<T, StoreFault> {
    let answer = Python::try_attach(|py| {
        let call = || read(adapter.bind(py).call_method1(method, arguments(py)?)?);
        call().map_err(|error: PyErr| {
            if error.is_instance_of::<PyTimeoutError>(py) {
                return StoreFault::Busy;
            }
            // The kind alone: a driver's message may repeat the database's address with its password.
            let kind =
                error.get_type(py).name().map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
            StoreFault::Failed(format!("{kind} in MLflow's database of users"))
        })
    });
    answer.unwrap_or_else(|| Err(StoreFault::Failed("the interpreter is ending".to_owned())))
}

impl Users for PythonUsers {
    fn find(&self, username: &str, patience: Patience) -> Result<Option<UserRow>, StoreFault> {
        let waits = patience == Patience::Wait;
        let row: Option<(i64, String, bool)> =
            call(&self.0, "find", |py| (username, waits).into_pyobject(py), |answer| answer.extract())?;
        Ok(row.map(|(id, password_hash, is_admin)| UserRow { id, password_hash, is_admin }))
    }

    fn create(&self, username: &str, row: &UserRow) -> Result<bool, StoreFault> {
        call(
            &self.0,
            "create",
            |py| (username, row.password_hash.as_str(), row.is_admin, row.id).into_pyobject(py),
            |answer| answer.extract(),
        )
    }

    fn set_admin(&self, username: &str, is_admin: bool) -> Result<(), StoreFault> {
        call(&self.0, "set_admin", |py| (username, is_admin).into_pyobject(py), |_| Ok(()))
    }
}
