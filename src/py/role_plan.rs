//! The native part of `mlflow-oidc roles`.

use super::roles::{KeptRow, kept, row};
use super::{ending, engine};
use crate::app::doctor;
use crate::app::role_plan::{Known, plan};
use crate::config::{self, Config};
use crate::edge::settings;
use crate::identity::roles::RoleName;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Somebody as Python has them: issuer, user name, number, groups.
type KnownRow = (String, String, i64, Option<Vec<String>>);

/// The settings as they were when this was made. What was shown to somebody and what is done after the answer are of the same
/// settings, whatever becomes of the files meanwhile.
#[pyclass(module = "mlflow_oidc._native", frozen)]
pub struct RolePlanner {
    config: Option<Config>,
    told: String,
}

#[pymethods]
impl RolePlanner {
    /// Reads the settings of this process.
    #[new]
    #[pyo3(signature = (ini, database_is_usable, database_kind, mlflow_version))]
    fn new(
        py: Python<'_>,
        ini: Vec<(String, String)>,
        database_is_usable: bool,
        database_kind: String,
        mlflow_version: String,
    ) -> PyResult<Self> {
        guarded(py, || {
            let mut raw = settings::gather(ini);
            let facts = engine::facts(None, String::new(), &mlflow_version);
            let parsed = engine::parse(&mut raw, database_is_usable, &database_kind, &facts);
            if let Ok(config) = &parsed {
                raw.warnings.extend(config::roles::warnings(&config.rules.roles, &facts));
            }
            let source = raw.values.get("roles").map(|given| given.source.as_str());
            let settings = doctor::settings(&raw, parsed.as_ref().map_err(Vec::as_slice));
            let told = json!({"settings": settings, "source": source}).to_string();
            Self { config: parsed.ok(), told }
        })
    }

    /// What is in the way of the settings, what matters of them, and where the roles stand.
    fn told(&self) -> &str {
        &self.told
    }

    /// What would have to change in MLflow's tables for them to say what `[oidc:roles]` says. Nothing is asked and nothing is
    /// written.
    fn changes(
        &self,
        py: Python<'_>,
        roles: Vec<KeptRow>,
        assigned: Vec<(i64, String, String)>,
        users: BTreeMap<i64, String>,
        known: Vec<KnownRow>,
    ) -> PyResult<String> {
        let Some(config) = &self.config else {
            return Err(PyRuntimeError::new_err("the settings have a fault"));
        };
        guarded(py, || {
            let roles: Vec<_> = roles.into_iter().map(kept).collect();
            let assigned: Vec<_> = assigned
                .into_iter()
                .map(|(user, workspace, name)| (user, RoleName { workspace, name }))
                .collect();
            let known: Vec<_> = known
                .into_iter()
                .map(|(issuer, username, user_id, groups)| Known { issuer, username, user_id, groups })
                .collect();
            let planned = plan(&config.rules, &config.issuer, &roles, &assigned, &users, &known);
            let told = planned
                .iter()
                .map(|each| json!({"row": row(&each.change), "before": each.before, "why": each.why}));
            told.collect::<Value>().to_string()
        })
    }
}

fn guarded<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    let found = ending::let_go(py, || catch_unwind(AssertUnwindSafe(work)).ok());
    // What a panic says may hold anything.
    found.ok_or_else(|| PyRuntimeError::new_err("a fault in mlflow-oidc"))
}
