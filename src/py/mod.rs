//! The Python boundary: the only room that names PyO3. Values come apart here and answers are put together here.

mod adapter;
mod convert;
mod doctor;
mod ending;
mod engine;
mod log;
mod people;
mod role_plan;
mod roles;
mod store;
mod users;

use pyo3::prelude::*;

/// OpenID Connect for MLflow: the native part.
#[pymodule(gil_used = true)]
mod _native {
    #[pymodule_export]
    use super::convert::Decision;
    #[pymodule_export]
    use super::doctor::look;
    #[pymodule_export]
    use super::engine::Engine;
    #[pymodule_export]
    use super::people::{prepare_tables, read_settings};
    #[pymodule_export]
    use super::role_plan::RolePlanner;
    #[pymodule_export]
    use super::store::Store;
    #[pymodule_export]
    use super::{catalogue_markdown, settings_markdown, settings_sample_ini};

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // The `password_hash` of accounts that a login made.
        module.add("NO_PASSWORD", crate::app::NO_PASSWORD)?;
        // What the names of our roles begin with in MLflow.
        module.add("ROLE_PREFIX", crate::identity::roles::PREFIX)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        super::ending::register(module)
    }
}

/// The `[oidc]` section of the documented sample `basic_auth.ini`.
#[pyfunction]
fn settings_sample_ini() -> String {
    crate::config::keys::sample_ini()
}

/// The table of settings, in Markdown.
#[pyfunction]
fn settings_markdown() -> String {
    crate::config::keys::markdown()
}

/// The table of refusals, in Markdown.
#[pyfunction]
fn catalogue_markdown() -> String {
    crate::app::answer::catalogue_markdown()
}
