//! The users port over MLflow's own database engine: its drivers, its pool and, for SQLite, its copy of the library.

use super::adapter::Adapter;
use crate::ports::{Made, Patience, StoreFault, UserRow, Users};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Calls `mlflow_oidc.users.Users`.
pub struct PythonUsers(Adapter);

impl PythonUsers {
    pub fn new(users: Py<PyAny>) -> Self {
        Self(Adapter::new(users, "MLflow's database of users"))
    }
}

impl Users for PythonUsers {
    fn find(&self, username: &str, patience: Patience) -> Result<Option<UserRow>, StoreFault> {
        let waits = patience == Patience::Wait;
        let row: Option<(i64, String, bool)> =
            self.0.call("find", |py| (username, waits).into_pyobject(py), |answer| answer.extract())?;
        Ok(row.map(|(id, password_hash, is_admin)| UserRow { id, password_hash, is_admin }))
    }

    fn name_of(&self, username: &str, patience: Patience) -> Result<String, StoreFault> {
        let waits = patience == Patience::Wait;
        self.0.call("name_of", |py| (username, waits).into_pyobject(py), |answer| answer.extract())
    }

    fn create(&self, username: &str, row: &UserRow) -> Result<Made, StoreFault> {
        self.0.call(
            "create",
            |py| (username, row.password_hash.as_str(), row.is_admin, row.id).into_pyobject(py),
            |answer| match answer.extract::<&str>()? {
                "made" => Ok(Made::Now),
                "there" => Ok(Made::Before),
                "alike" => Ok(Made::Alike),
                other => Err(PyValueError::new_err(other.to_owned())),
            },
        )
    }

    fn set_admin(&self, username: &str, is_admin: bool) -> Result<(), StoreFault> {
        self.0.call("set_admin", |py| (username, is_admin).into_pyobject(py), |_| Ok(()))
    }

    fn wait_until_seen(&self, username: &str) -> Result<(), StoreFault> {
        self.0.call("wait_until_seen", |py| (username,).into_pyobject(py), |_| Ok(()))
    }
}
