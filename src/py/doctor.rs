//! The native part of `mlflow-oidc doctor`.

use super::{ending, engine};
use crate::app::doctor::{self, Provider};
use crate::config::{self, Config, Fault, Raw};
use crate::edge::settings;
use crate::edge::system::SystemClock;
use crate::ports::Clock;
use crate::secret::Secret;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Looks at the settings of this process, asks the provider once, and judges a token if there is one. The answer is JSON,
/// and holds no secret. It writes nothing and starts no thread that outlives it.
#[pyfunction]
#[pyo3(signature = (ini, database_is_usable, database_kind, static_prefix, mlflow_version, token))]
pub fn look(
    py: Python<'_>,
    ini: Vec<(String, String)>,
    database_is_usable: bool,
    database_kind: String,
    static_prefix: String,
    mlflow_version: String,
    token: Option<String>,
) -> PyResult<String> {
    let token = token.map(Secret::new);
    let work = || {
        let mut raw = settings::gather(ini);
        let facts = engine::facts(None, static_prefix, &mlflow_version);
        let parsed = engine::parse(&mut raw, database_is_usable, &database_kind, &facts);
        if let Ok(config) = &parsed {
            raw.warnings.extend(config::roles::warnings(&config.rules.roles, &facts));
        }
        examine(&raw, parsed, token.as_ref()).to_string()
    };
    let found = ending::let_go(py, || catch_unwind(AssertUnwindSafe(work)).ok());
    // What a panic says may hold anything.
    found.ok_or_else(|| PyRuntimeError::new_err("a fault in mlflow-oidc"))
}

fn examine(raw: &Raw, parsed: Result<Config, Vec<Fault>>, token: Option<&Secret>) -> Value {
    // A bundle of certificates that cannot be used is a fault of the settings, too.
    let ready = parsed.and_then(|config| engine::transport(&config).map(|transport| (config, transport)));
    let settings = doctor::settings(raw, ready.as_ref().map(|(config, _)| config).map_err(Vec::as_slice));
    let Ok((config, transport)) = &ready else { return json!({"settings": settings}) };
    let provider = Provider::ask(config, transport);
    let now = SystemClock.now();
    json!({
        "settings": settings,
        "metadata": provider.metadata(),
        "keys": provider.keys(),
        "token": token.map(|token| provider.judge(config, now, token)),
        "now": now,
    })
}
