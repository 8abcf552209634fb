//! The store port over MLflow's own database engine, and a store as Python sees it.

use super::adapter::Adapter;
use super::ending::let_go;
use crate::edge::store::sqlite::SqliteStore;
use crate::ports::{Bound as Binding, IdentityRow, Patience, SessionRow, Store as Port, StoreFault};
use pyo3::exceptions::{PyRuntimeError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::borrow::Cow;

/// A row of ours in Python: issuer, subject, user name, `user_id`, groups, `told_at`, `made_here`.
type Identity<'a> = (Cow<'a, str>, Cow<'a, str>, Cow<'a, str>, i64, Option<Vec<String>>, i64, bool);
/// Hash, issuer, subject, `sid`, `created_at`, `expires_at`, `checked_at`, sealed ID token, sealed refresh token.
type Session<'a> = (
    Cow<'a, [u8]>,
    Cow<'a, str>,
    Cow<'a, str>,
    Option<Cow<'a, str>>,
    i64,
    i64,
    i64,
    Option<Cow<'a, str>>,
    Option<Cow<'a, str>>,
);

fn identity_row(row: Identity<'_>) -> IdentityRow {
    let (issuer, subject, username, user_id, groups, told_at, made_here) = row;
    IdentityRow {
        issuer: issuer.into_owned(),
        subject: subject.into_owned(),
        username: username.into_owned(),
        user_id,
        groups,
        told_at,
        made_here,
    }
}

fn identity(row: &IdentityRow) -> Identity<'_> {
    (
        row.issuer.as_str().into(),
        row.subject.as_str().into(),
        row.username.as_str().into(),
        row.user_id,
        row.groups.clone(),
        row.told_at,
        row.made_here,
    )
}

fn hash(bytes: &[u8]) -> PyResult<[u8; 32]> {
    bytes.try_into().map_err(|_| PyRuntimeError::new_err("a hash that has not 32 bytes"))
}

fn session_row(row: Session<'_>) -> PyResult<SessionRow> {
    let (id_hash, issuer, subject, sid, created_at, expires_at, checked_at, id_token, refresh_token) = row;
    Ok(SessionRow {
        id_hash: hash(&id_hash)?,
        issuer: issuer.into_owned(),
        subject: subject.into_owned(),
        provider_sid: sid.map(Cow::into_owned),
        created_at,
        expires_at,
        checked_at,
        sealed_id_token: id_token.map(Cow::into_owned),
        sealed_refresh_token: refresh_token.map(Cow::into_owned),
    })
}

fn session(row: &SessionRow) -> Session<'_> {
    (
        row.id_hash.as_slice().into(),
        row.issuer.as_str().into(),
        row.subject.as_str().into(),
        row.provider_sid.as_deref().map(Cow::from),
        row.created_at,
        row.expires_at,
        row.checked_at,
        row.sealed_id_token.as_deref().map(Cow::from),
        row.sealed_refresh_token.as_deref().map(Cow::from),
    )
}

/// Calls `mlflow_oidc.store.Store`.
pub struct PythonStore(Adapter);

impl PythonStore {
    pub fn new(store: Py<PyAny>) -> Self {
        Self(Adapter::new(store, "our tables in MLflow's database"))
    }
}

impl Port for PythonStore {
    fn prepare(&self) -> Result<(), StoreFault> {
        self.0.call("prepare", |py| Ok(().into_pyobject(py)?), |_| Ok(()))
    }

    fn identity(
        &self,
        issuer: &str,
        subject: &str,
        patience: Patience,
    ) -> Result<Option<IdentityRow>, StoreFault> {
        let waits = patience == Patience::Wait;
        self.0.call(
            "identity",
            |py| (issuer, subject, waits).into_pyobject(py),
            |row| Ok(row.extract::<Option<Identity<'_>>>()?.map(identity_row)),
        )
    }

    fn identity_of_user(
        &self,
        username: &str,
        patience: Patience,
    ) -> Result<Option<IdentityRow>, StoreFault> {
        let waits = patience == Patience::Wait;
        self.0.call(
            "identity_of_user",
            |py| (username, waits).into_pyobject(py),
            |row| Ok(row.extract::<Option<Identity<'_>>>()?.map(identity_row)),
        )
    }

    fn bind(&self, row: &IdentityRow) -> Result<Binding, StoreFault> {
        let found = self.0.call(
            "bind",
            |py| (identity(row),).into_pyobject(py),
            |row| Ok(row.extract::<Option<Identity<'_>>>()?.map(identity_row)),
        )?;
        Ok(found.map_or(Binding::UsernameTaken, Binding::Row))
    }

    fn note(&self, row: &IdentityRow) -> Result<(), StoreFault> {
        self.0.call("note", |py| (identity(row),).into_pyobject(py), |_| Ok(()))
    }

    fn add_session(&self, row: &SessionRow) -> Result<(), StoreFault> {
        self.0.call("add_session", |py| (session(row),).into_pyobject(py), |_| Ok(()))
    }

    fn session(
        &self,
        id_hash: &[u8; 32],
        patience: Patience,
    ) -> Result<Option<(SessionRow, IdentityRow)>, StoreFault> {
        let waits = patience == Patience::Wait;
        self.0.call(
            "session",
            |py| (id_hash.as_slice(), waits).into_pyobject(py),
            |rows| {
                let rows = rows.extract::<Option<(Session<'_>, Identity<'_>)>>()?;
                rows.map(|(row, whose)| Ok((session_row(row)?, identity_row(whose)))).transpose()
            },
        )
    }

    fn begin_recheck(&self, id_hash: &[u8; 32], now: i64, until: i64) -> Result<bool, StoreFault> {
        let arguments = (id_hash.as_slice(), now, until);
        self.0.call("begin_recheck", |py| arguments.into_pyobject(py), |answer| answer.extract())
    }

    fn renew_session(&self, row: &SessionRow, held: i64, until: i64) -> Result<bool, StoreFault> {
        self.0.call(
            "renew_session",
            |py| (session(row), held, until).into_pyobject(py),
            |answer| answer.extract(),
        )
    }

    fn remove_session(&self, id_hash: &[u8; 32]) -> Result<Option<SessionRow>, StoreFault> {
        self.0.call(
            "remove_session",
            |py| (id_hash.as_slice(),).into_pyobject(py),
            |row| row.extract::<Option<Session<'_>>>()?.map(session_row).transpose(),
        )
    }

    fn remove_ended(
        &self,
        issuer: &str,
        subject: Option<&str>,
        provider_sid: Option<&str>,
    ) -> Result<usize, StoreFault> {
        self.0.call(
            "remove_ended",
            |py| (issuer, subject, provider_sid).into_pyobject(py),
            |count| count.extract(),
        )
    }
}

/// A store as the engine uses it: the port with Python's values. Rows are the tuples of `mlflow_oidc.store`.
#[pyclass(frozen, module = "mlflow_oidc._native")]
pub struct Store(Box<dyn Port>);

fn raise(fault: StoreFault) -> PyErr {
    match fault {
        StoreFault::Busy => PyTimeoutError::new_err("the database is locked"),
        StoreFault::Failed(reason) => PyRuntimeError::new_err(reason),
    }
}

fn patience(waits: bool) -> Patience {
    if waits { Patience::Wait } else { Patience::Now }
}

impl Store {
    fn ask<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&dyn Port) -> Result<T, StoreFault> + Send,
    ) -> PyResult<T> {
        let_go(py, || work(&*self.0)).map_err(raise)
    }
}

#[pymethods]
impl Store {
    /// The store in an SQLite file of ours.
    #[staticmethod]
    fn of_file(path: std::path::PathBuf) -> Self {
        Self(Box::new(SqliteStore::new(path)))
    }

    /// The store over an adapter: `mlflow_oidc.store.Store`.
    #[staticmethod]
    fn over(adapter: Py<PyAny>) -> Self {
        Self(Box::new(PythonStore::new(adapter)))
    }

    fn prepare(&self, py: Python<'_>) -> PyResult<()> {
        self.ask(py, |store| store.prepare())
    }

    #[pyo3(signature = (issuer, subject, waits=true))]
    fn identity(
        &self,
        py: Python<'_>,
        issuer: String,
        subject: String,
        waits: bool,
    ) -> PyResult<Option<Identity<'static>>> {
        let found = self.ask(py, |store| store.identity(&issuer, &subject, patience(waits)))?;
        Ok(found.map(owned_identity))
    }

    #[pyo3(signature = (username, waits=true))]
    fn identity_of_user(
        &self,
        py: Python<'_>,
        username: String,
        waits: bool,
    ) -> PyResult<Option<Identity<'static>>> {
        let found = self.ask(py, |store| store.identity_of_user(&username, patience(waits)))?;
        Ok(found.map(owned_identity))
    }

    /// The row that counts; `None` where another identity has the name.
    fn bind(&self, py: Python<'_>, row: Identity<'_>) -> PyResult<Option<Identity<'static>>> {
        let row = identity_row(row);
        match self.ask(py, |store| store.bind(&row))? {
            Binding::Row(row) => Ok(Some(owned_identity(row))),
            Binding::UsernameTaken => Ok(None),
        }
    }

    fn note(&self, py: Python<'_>, row: Identity<'_>) -> PyResult<()> {
        let row = identity_row(row);
        self.ask(py, |store| store.note(&row))
    }

    fn add_session(&self, py: Python<'_>, row: Session<'_>) -> PyResult<()> {
        let row = session_row(row)?;
        self.ask(py, |store| store.add_session(&row))
    }

    #[pyo3(signature = (id_hash, waits=true))]
    fn session<'py>(
        &self,
        py: Python<'py>,
        id_hash: &Bound<'py, PyBytes>,
        waits: bool,
    ) -> PyResult<Option<(Session<'static>, Identity<'static>)>> {
        let id_hash = hash(id_hash.as_bytes())?;
        let found = self.ask(py, |store| store.session(&id_hash, patience(waits)))?;
        Ok(found.map(|(row, whose)| (owned_session(row), owned_identity(whose))))
    }

    fn begin_recheck(
        &self,
        py: Python<'_>,
        id_hash: &Bound<'_, PyBytes>,
        now: i64,
        until: i64,
    ) -> PyResult<bool> {
        let id_hash = hash(id_hash.as_bytes())?;
        self.ask(py, |store| store.begin_recheck(&id_hash, now, until))
    }

    fn renew_session(&self, py: Python<'_>, row: Session<'_>, held: i64, until: i64) -> PyResult<bool> {
        let row = session_row(row)?;
        self.ask(py, |store| store.renew_session(&row, held, until))
    }

    fn remove_session(
        &self,
        py: Python<'_>,
        id_hash: &Bound<'_, PyBytes>,
    ) -> PyResult<Option<Session<'static>>> {
        let id_hash = hash(id_hash.as_bytes())?;
        Ok(self.ask(py, |store| store.remove_session(&id_hash))?.map(owned_session))
    }

    fn remove_ended(
        &self,
        py: Python<'_>,
        issuer: String,
        subject: Option<String>,
        provider_sid: Option<String>,
    ) -> PyResult<usize> {
        self.ask(py, |store| store.remove_ended(&issuer, subject.as_deref(), provider_sid.as_deref()))
    }
}

fn owned_identity(row: IdentityRow) -> Identity<'static> {
    let (issuer, subject, username) = (row.issuer.into(), row.subject.into(), row.username.into());
    (issuer, subject, username, row.user_id, row.groups, row.told_at, row.made_here)
}

fn owned_session(row: SessionRow) -> Session<'static> {
    (
        row.id_hash.to_vec().into(),
        row.issuer.into(),
        row.subject.into(),
        row.provider_sid.map(Cow::from),
        row.created_at,
        row.expires_at,
        row.checked_at,
        row.sealed_id_token.map(Cow::from),
        row.sealed_refresh_token.map(Cow::from),
    )
}
