//! Settings as they were given: from the environment, from `[oidc]` of `basic_auth.ini`, from mounted files.

use super::keys::{self, KEYS, Key, Kind};
use super::nearest::nearest;
use crate::error::quote;
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::fmt;

/// Something wrong with one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The setting as the operator wrote it: an environment name or `[oidc] name`.
    pub key: String,
    /// What would be right.
    pub expected: String,
    /// What is there; never the value of a secret.
    pub found: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.key, self.expected, self.found)
    }
}

/// One value and where it stands.
#[derive(Clone, Debug)]
pub struct Given {
    /// The value, spaces around it removed.
    pub value: Secret,
    /// The name that the operator used, for messages.
    pub source: String,
}

/// What was given, the environment before the file.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    /// By the name of the setting. An empty value counts as not given.
    pub values: BTreeMap<&'static str, Given>,
    /// Faults met while gathering.
    pub faults: Vec<Fault>,
    /// Names that nobody knows, with the nearest known one.
    pub warnings: Vec<String>,
}

impl Raw {
    /// Gathers from environment pairs and the pairs of `[oidc]`; `read_file` reads what a `..._FILE` names.
    pub fn gather<E, I>(environment: E, ini: I, read_file: impl Fn(&str) -> Result<String, String>) -> Self
    where
        E: IntoIterator<Item = (String, String)>,
        I: IntoIterator<Item = (String, String)>,
    {
        let mut raw = Self::default();
        // The environment is taken first and wins, so that one image can serve many places.
        for (name, value) in environment {
            if let Some(rest) = name.strip_prefix("OIDC_") {
                raw.take(&rest.to_ascii_lowercase(), &name, &value, &read_file);
            }
        }
        let from_environment = std::mem::take(&mut raw.values);
        for (name, value) in ini {
            let name = name.to_ascii_lowercase();
            let source = keys::find(&name)
                .filter(|key| key.kind == Kind::Section)
                .map_or_else(|| format!("[oidc] {name}"), Key::place);
            raw.take(&name, &source, &value, &read_file);
        }
        raw.values.extend(from_environment);
        raw
    }

    fn take(
        &mut self,
        name: &str,
        source: &str,
        value: &str,
        read_file: &impl Fn(&str) -> Result<String, String>,
    ) {
        let value = value.trim();
        let (key, is_file) = match (keys::find(name), name.strip_suffix("_file").and_then(keys::find)) {
            (Some(key), _) => (key, false),
            (None, Some(key)) => (key, true),
            (None, None) => {
                let near = nearest(name, KEYS.iter().map(|key| key.name)).and_then(keys::find);
                let hint = near.map(|key| format!(", did you mean {}?", key.env())).unwrap_or_default();
                self.warnings.push(format!("{} is not a setting of mlflow-oidc{hint}", quote(source)));
                return;
            }
        };
        if value.is_empty() {
            return;
        }
        let value = if is_file {
            match read_file(value) {
                Ok(content) => content,
                Err(reason) => {
                    self.fault(source, "a file that can be read", &format!("{}: {reason}", quote(value)));
                    return;
                }
            }
        } else {
            value.to_owned()
        };
        let given = Given { value: Secret::new(value.trim()), source: source.to_owned() };
        if given.value.expose().is_empty() {
            self.fault(source, "a file with a value in it", "an empty file");
        } else if let Some(other) = self.values.insert(key.name, given) {
            self.fault(source, "the setting once", &format!("{} as well", other.source));
        }
    }

    /// Notes a fault.
    pub fn fault(&mut self, key: &str, expected: &str, found: &str) {
        self.faults.push(Fault {
            key: key.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        });
    }
}
