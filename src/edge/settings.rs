//! Reading settings from where they are: the environment, `[oidc]`, mounted files.

use crate::config::Raw;
use crate::secret::Secret;
use std::io::Read;
use std::path::Path;

/// The largest file that `..._FILE` may name, in bytes: a thousand roles with their lines have a tenth of it.
const FILE_LIMIT: u64 = 1024 * 1024;

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

/// The text of a file, without the space around it.
///
/// # Errors
/// In words.
pub fn read(path: &Path) -> Result<String, String> {
    let words = |error: std::io::Error| error.kind().to_string();
    let mut text = String::new();
    // What a file says of its size is not believed: a device or a pipe says nothing.
    let file = std::fs::File::open(path).map_err(words)?;
    file.take(FILE_LIMIT + 1).read_to_string(&mut text).map_err(words)?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(format!("more than {FILE_LIMIT} bytes"));
    }
    Ok(text.trim().to_owned())
}

/// The bytes of a certificate bundle.
///
/// # Errors
/// In words.
pub fn read_bundle(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| error.kind().to_string())
}
