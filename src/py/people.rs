//! The native part of `mlflow-oidc users`.

use super::{ending, engine};
use crate::app::doctor;
use crate::edge::settings;
use crate::edge::store::sqlite::SqliteStore;
use crate::ports::{Store, StoreFault};
use pyo3::exceptions::{PyRuntimeError, PyTimeoutError};
use pyo3::prelude::*;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// What the settings of this process say, as JSON without any secret, and what they make of each of these lists of groups
/// (`None` for groups that no token has told). Nobody is asked and nothing is written.
#[pyfunction]
#[pyo3(signature = (ini, database_is_usable, database_kind, groups))]
pub fn read_settings(
    py: Python<'_>,
    ini: Vec<(String, String)>,
    database_is_usable: bool,
    database_kind: String,
    groups: Vec<Option<Vec<String>>>,
) -> PyResult<String> {
    let work = || {
        let mut raw = settings::gather(ini);
        let facts = engine::facts(None, String::new(), "");
        let parsed = engine::parse(&mut raw, database_is_usable, &database_kind, &facts);
        let told = doctor::settings(&raw, parsed.as_ref().map_err(Vec::as_slice));
        let judged: Option<Vec<Value>> = parsed.ok().map(|config| {
            groups.iter().map(|groups| doctor::judge_groups(&config, groups.as_deref())).collect()
        });
        json!({"settings": told, "judged": judged}).to_string()
    };
    let found = ending::let_go(py, || catch_unwind(AssertUnwindSafe(work)).ok());
    // What a panic says may hold anything.
    found.ok_or_else(|| PyRuntimeError::new_err("a fault in mlflow-oidc"))
}

/// Makes our tables in the file beside an SQLite database, or brings those of an older version up to date, and closes it again.
/// Nobody else in this process may have that file open: two copies of SQLite cannot see each other's locks.
#[pyfunction]
pub fn prepare_tables(py: Python<'_>, database: &str) -> PyResult<()> {
    let store = SqliteStore::new(SqliteStore::beside(Path::new(database)));
    ending::let_go(py, || store.prepare()).map_err(|fault| match fault {
        StoreFault::Busy => PyTimeoutError::new_err("the database is locked"),
        StoreFault::Failed(reason) => PyRuntimeError::new_err(reason),
    })
}
