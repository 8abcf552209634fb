//! What is asked and what is answered, between Python and Rust.

use crate::app::wire;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;

type Line = (PyBackedStr, PyBackedStr, PyBackedStr, PyBackedStr, PyBackedStr);
type Header = Option<PyBackedStr>;
type Headers = (Header, Header, Header, Header, Header, Header, Header);
type Body = Option<PyBackedStr>;

/// A request as the hook has taken it apart, in the order of [`wire::Request`]. The text stays Python's.
#[derive(FromPyObject)]
pub struct Parts(Line, Headers, Body, bool);

impl Parts {
    pub fn request(&self) -> wire::Request<'_> {
        let (method, path, query, scheme, host) = &self.0;
        let (authorization, gateway_authorization, cookie, accept, fetch_mode, fetch_site, origin) = &self.1;
        wire::Request {
            method,
            path,
            query,
            scheme,
            host,
            authorization: authorization.as_deref(),
            gateway_authorization: gateway_authorization.as_deref(),
            cookie: cookie.as_deref(),
            accept: accept.as_deref(),
            fetch_mode: fetch_mode.as_deref(),
            fetch_site: fetch_site.as_deref(),
            origin: origin.as_deref(),
            body: self.2.as_deref(),
            on_event_loop: self.3,
        }
    }
}

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
