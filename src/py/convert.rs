//! What `decide` answers, for Python.

use crate::app::wire;
use pyo3::prelude::*;

/// What becomes of a request: exactly one of `username`, `basic` and `status` is set.
#[pyclass(frozen, module = "mlflow_oidc._native")]
pub struct Decision {
    /// The request runs as this MLflow user.
    #[pyo3(get)]
    username: Option<String>,
    /// MLflow itself checks the user name and password of this `Authorization` value.
    #[pyo3(get)]
    basic: Option<String>,
    /// HTTP status of the answer; 0 when there is none.
    #[pyo3(get)]
    status: u16,
    /// Header fields of the answer; each name once.
    #[pyo3(get)]
    headers: Vec<(&'static str, String)>,
    /// Body of the answer.
    #[pyo3(get)]
    body: String,
}

impl From<wire::Decision> for Decision {
    fn from(decision: wire::Decision) -> Self {
        let empty = Self { username: None, basic: None, status: 0, headers: Vec::new(), body: String::new() };
        match decision {
            wire::Decision::Allow { username } => Self { username: Some(username), ..empty },
            wire::Decision::Basic { authorization } => Self { basic: Some(authorization), ..empty },
            wire::Decision::Reply(reply) => {
                Self { status: reply.status, headers: reply.headers, body: reply.body, ..empty }
            }
        }
    }
}
