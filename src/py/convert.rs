//! What is asked and what is answered, between Python and Rust.

use crate::app::wire;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict, PyString};

/// The text of a key of the WSGI environment (PEP 3333).
///
/// # Errors
/// `TypeError` where there is something else: a header that cannot be read must not count as one that was not sent.
pub fn text<'py>(
    environ: &Bound<'py, PyDict>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyString>>> {
    environ.get_item(name)?.map(|value| Ok(value.cast_into::<PyString>()?)).transpose()
}

/// What is looked at of a request whose answer is not in memory. The text stays Python's.
pub struct Parts {
    method: PyBackedStr,
    path: PyBackedStr,
    query: Option<PyBackedStr>,
    scheme: Option<PyBackedStr>,
    host: Option<PyBackedStr>,
    authorization: Option<PyBackedStr>,
    gateway_authorization: Option<PyBackedStr>,
    cookie: Option<PyBackedStr>,
    accept: Option<PyBackedStr>,
    fetch_mode: Option<PyBackedStr>,
    fetch_site: Option<PyBackedStr>,
    origin: Option<PyBackedStr>,
    body: Option<PyBackedStr>,
    on_event_loop: bool,
}

impl Parts {
    /// Takes a request apart: method and path as Flask reads them, the rest from its WSGI environment.
    ///
    /// # Errors
    /// `TypeError` and `UnicodeEncodeError` for values that no server makes.
    pub fn new(
        method: PyBackedStr,
        path: PyBackedStr,
        environ: &Bound<'_, PyDict>,
        body: Option<PyBackedStr>,
        on_event_loop: bool,
    ) -> PyResult<Self> {
        let py = environ.py();
        let header = |name: &Bound<'_, PyString>| text(environ, name)?.map(PyBackedStr::try_from).transpose();
        Ok(Self {
            method,
            path,
            query: header(intern!(py, "QUERY_STRING"))?,
            scheme: header(intern!(py, "wsgi.url_scheme"))?,
            host: header(intern!(py, "HTTP_HOST"))?,
            authorization: header(intern!(py, "HTTP_AUTHORIZATION"))?,
            gateway_authorization: header(intern!(py, "HTTP_X_MLFLOW_AUTHORIZATION"))?,
            cookie: header(intern!(py, "HTTP_COOKIE"))?,
            accept: header(intern!(py, "HTTP_ACCEPT"))?,
            fetch_mode: header(intern!(py, "HTTP_SEC_FETCH_MODE"))?,
            fetch_site: header(intern!(py, "HTTP_SEC_FETCH_SITE"))?,
            origin: header(intern!(py, "HTTP_ORIGIN"))?,
            body,
            on_event_loop,
        })
    }

    pub fn request(&self) -> wire::Request<'_> {
        wire::Request {
            method: &self.method,
            path: &self.path,
            query: self.query.as_deref().unwrap_or_default(),
            scheme: self.scheme.as_deref().unwrap_or("http"),
            host: self.host.as_deref().unwrap_or_default(),
            authorization: self.authorization.as_deref(),
            gateway_authorization: self.gateway_authorization.as_deref(),
            cookie: self.cookie.as_deref(),
            accept: self.accept.as_deref(),
            fetch_mode: self.fetch_mode.as_deref(),
            fetch_site: self.fetch_site.as_deref(),
            origin: self.origin.as_deref(),
            body: self.body.as_deref(),
            on_event_loop: self.on_event_loop,
        }
    }
}

/// What becomes of a request: exactly one of `username`, `basic` and `status` is set.
#[pyclass(frozen, module = "mlflow_oidc._native")]
pub struct Decision(wire::Decision);

#[pymethods]
impl Decision {
    /// The request runs as this MLflow user.
    #[getter]
    fn username(&self) -> Option<&str> {
        if let wire::Decision::Allow { username } = &self.0 { Some(username) } else { None }
    }

    /// MLflow itself checks the user name and password of this `Authorization` value.
    #[getter]
    fn basic(&self) -> Option<&str> {
        if let wire::Decision::Basic { authorization } = &self.0 { Some(authorization) } else { None }
    }

    /// HTTP status of the answer; 0 when there is none.
    #[getter]
    fn status(&self) -> u16 {
        self.reply().map_or(0, |reply| reply.status)
    }

    /// Header fields of the answer; each name once.
    #[getter]
    fn headers(&self) -> Vec<(&'static str, &str)> {
        let headers = self.reply().map(|reply| reply.headers.as_slice()).unwrap_or_default();
        headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// Body of the answer, in UTF-8.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.reply().map(|reply| reply.body.as_bytes()).unwrap_or_default())
    }
}

impl Decision {
    fn reply(&self) -> Option<&wire::Reply> {
        if let wire::Decision::Reply(reply) = &self.0 { Some(reply) } else { None }
    }
}

impl From<wire::Decision> for Decision {
    fn from(decision: wire::Decision) -> Self {
        Self(decision)
    }
}
