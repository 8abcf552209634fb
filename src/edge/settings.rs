//! Reading settings from where they are: the environment, `[oidc]`, mounted files.

use crate::config::Raw;
use crate::secret::Secret;
use std::path::Path;

/// The largest file that `..._FILE` may name, in bytes.
const FILE_LIMIT: u64 = 64 * 1024;

/// Gathers the settings of this process. `ini` is the `[oidc]` section as Python's configparser read it.
pub fn gather(ini: Vec<(String, String)>) -> Raw {
    // Names or values that are not Unicode are none of ours, and std::env::vars would panic on them.
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        Some((name, value.into_string().ok()?))
    });
    Raw::gather(environment, ini, |path| read(Path::new(path)))
}

/// A secret of MLflow's own from the environment.
pub fn mlflow_secret(name: &str) -> Option<Secret> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(Secret::new)
}

/// A setting of MLflow's own from the environment.
pub fn mlflow_value(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The text of a file, without the line break at its end.
///
/// # Errors
/// In words.
pub fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.kind().to_string())?.len();
    if size > FILE_LIMIT {
        return Err(format!("{size} bytes, more than {FILE_LIMIT}"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.kind().to_string())?;
    Ok(text.trim().to_owned())
}

/// The bytes of a certificate bundle.
///
/// # Errors
/// In words.
pub fn read_bundle(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| error.kind().to_string())
}
