//! The native part of `mlflow-oidc roles`.

use super::engine;
use super::roles::{KeptRow, kept, row};
use crate::app::doctor;
use crate::app::role_plan::{Known, plan};
use crate::config;
use crate::edge::settings;
use crate::identity::roles::RoleName;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is in the way of the settings of this process, or what would have to change in MLflow's tables for them to say
/// what `[oidc:roles]` says. Nothing is asked and nothing is written.
#[pyfunction]
#[pyo3(signature = (ini, database_is_usable, database_kind, mlflow_version, roles, assigned, users, known))]
#[expect(clippy::too_many_arguments, reason = "the settings, and four tables that only Python can read")]
pub fn plan_roles(
    py: Python<'_>,
    ini: Vec<(String, String)>,
    database_is_usable: bool,
    database_kind: String,
    mlflow_version: String,
    roles: Vec<KeptRow>,
    assigned: Vec<(i64, String, String)>,
    users: BTreeMap<i64, String>,
    known: Vec<(String, String, i64, Option<Vec<String>>)>,
) -> PyResult<String> {
    let work = || {
        let mut raw = settings::gather(ini);
        let facts = engine::facts(None, String::new(), &mlflow_version);
        let parsed = engine::parse(&mut raw, database_is_usable, &database_kind, &facts);
        let changes: Option<Vec<Value>> = parsed.as_ref().ok().map(|config| {
            raw.warnings.extend(config::roles::warnings(&config.rules.roles, &facts));
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
            told.collect()
        });
        let told = doctor::settings(&raw, parsed.as_ref().map_err(Vec::as_slice));
        json!({"settings": told, "changes": changes}).to_string()
    };
    let found = engine::let_go(py, || catch_unwind(AssertUnwindSafe(work)).ok());
    // What a panic says may hold anything.
    found.ok_or_else(|| PyRuntimeError::new_err("a fault in mlflow-oidc"))
}
