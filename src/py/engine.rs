//! The engine as Python sees it: built on first use, once per process.

use super::convert::{Decision, Parts, text};
use super::ending::let_go;
use super::log::PythonLog;
use super::roles::PythonRoles;
use super::store::PythonStore;
use super::users::PythonUsers;
use crate::app::wire::{self, Request};
use crate::app::{App, answer};
use crate::config::{self, Config, Facts, Fault, Raw};
use crate::edge::background::Worker;
use crate::edge::http::HttpTransport;
use crate::edge::settings;
use crate::edge::store::sqlite::SqliteStore;
use crate::edge::system::{SystemClock, SystemEntropy};
use crate::error::quote;
use crate::ports::{Level, Log, Store, World};
use once_cell::sync::OnceCell;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyDict, PyString};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// One engine for one process. Making it does nothing; the first decision builds it and starts its threads.
#[pyclass(frozen, module = "mlflow_oidc._native")]
pub struct Engine {
    given: Mutex<Option<Given>>,
    log: Arc<PythonLog>,
    built: OnceCell<Result<Arc<App>, Vec<Fault>>>,
}

/// `mlflow_oidc.given.Given`.
#[derive(FromPyObject)]
struct Given {
    ini: Vec<(String, String)>,
    admin_username: Option<String>,
    database: Option<String>,
    database_kind: String,
    mlflow_version: String,
    users: Py<PyAny>,
    roles: Option<Py<PyAny>>,
    without_roles: String,
    store: Option<Py<PyAny>>,
}

#[pymethods]
impl Engine {
    /// Takes what MLflow tells (`mlflow_oidc.given.Given`) and a logger.
    #[new]
    fn new(given: Given, logger: Py<PyAny>) -> Self {
        Self { given: Mutex::new(Some(given)), log: Arc::new(PythonLog::new(logger)), built: OnceCell::new() }
    }

    /// Who a request is, where memory alone can tell; `None` sends the caller on to `decide`, which would
    /// say the same of everybody who is found here.
    ///
    /// The interpreter's lock is kept: letting it go and waiting for it again costs more than the two or three looks into
    /// memory, and with busy neighbours up to a whole switch interval (5 ms). Nothing here waits for another lock.
    fn recall<'py>(
        &self,
        method: &str,
        path: &str,
        environ: &Bound<'py, PyDict>,
    ) -> Option<Bound<'py, PyString>> {
        let app = self.built.get()?.as_ref().ok()?;
        let py = environ.py();
        let header = |name| text(environ, name).ok();
        let host = header(intern!(py, "HTTP_HOST"))?;
        let authorization = header(intern!(py, "HTTP_AUTHORIZATION"))?;
        let (mut cookie, mut scheme, mut fetch_site, mut fetch_mode, mut origin) =
            (None, None, None, None, None);
        // Whoever sends a header is judged by it alone.
        if authorization.is_none() {
            cookie = header(intern!(py, "HTTP_COOKIE"))?;
            scheme = header(intern!(py, "wsgi.url_scheme"))?;
            fetch_site = header(intern!(py, "HTTP_SEC_FETCH_SITE"))?;
            fetch_mode = header(intern!(py, "HTTP_SEC_FETCH_MODE"))?;
            origin = header(intern!(py, "HTTP_ORIGIN"))?;
        }
        let request = Request {
            method,
            path,
            host: read(host.as_ref())?.unwrap_or_default(),
            authorization: read(authorization.as_ref())?,
            cookie: read(cookie.as_ref())?,
            scheme: read(scheme.as_ref())?.unwrap_or("http"),
            fetch_site: read(fetch_site.as_ref())?,
            fetch_mode: read(fetch_mode.as_ref())?,
            origin: read(origin.as_ref())?,
            ..Request::default()
        };
        let username = catch_unwind(AssertUnwindSafe(|| app.recall(&request))).ok()??;
        Some(PyString::new(py, &username))
    }

    /// Decides one request: its method and path, its WSGI environment, the form that the provider posts, and whether an
    /// event loop runs in this thread. It raises nothing but what the reading of these raises: every fault is an answer.
    fn decide(
        &self,
        py: Python<'_>,
        method: PyBackedStr,
        path: PyBackedStr,
        environ: &Bound<'_, PyDict>,
        body: Option<PyBackedStr>,
        on_event_loop: bool,
    ) -> PyResult<Decision> {
        let parts = Parts::new(method, path, environ, body, on_event_loop)?;
        let request = parts.request();
        Ok(self.detached(py, &request, |app| app.decide(&request)))
    }

    /// Decides about somebody whose password MLflow has found right.
    fn admit_password_user(
        &self,
        py: Python<'_>,
        method: PyBackedStr,
        path: PyBackedStr,
        environ: &Bound<'_, PyDict>,
        on_event_loop: bool,
        username: &str,
    ) -> PyResult<Decision> {
        let parts = Parts::new(method, path, environ, None, on_event_loop)?;
        let request = parts.request();
        Ok(self.detached(py, &request, |app| app.admit_password_user(&request, username)))
    }

    /// How long MLflow's own look-ups may be remembered, in seconds; 0 is not at all, and so is a faulty configuration.
    fn permission_cache_seconds(&self, py: Python<'_>) -> i64 {
        self.outside(py, false, |built| built.map_or(0, |app| app.permission_cache_seconds())).unwrap_or(0)
    }

    /// Leaves this engine alone for ever: for the child of a fork, which has none of its threads, and whose closing of
    /// the parent's SQLite connections would break the parent's file ("How To Corrupt", section 2.6).
    fn abandon(&self) {
        if let Some(Ok(app)) = self.built.get() {
            std::mem::forget(Arc::clone(app));
        }
    }
}

impl Engine {
    /// Works without the GIL; ports that need Python attach by themselves. `None` is a panic.
    ///
    /// On the event loop it is kept. Nothing is waited for there, and the longest pieces of work are a signature and the reading of a
    /// row (50 to 300 µs); but whoever lets the GIL go may wait a switch interval (5 ms) to have it again, and everybody on the
    /// loop with them. Only an engine that is not built lets it go: another thread may be building it.
    fn outside<T: Send>(
        &self,
        py: Python<'_>,
        on_event_loop: bool,
        work: impl FnOnce(Result<&Arc<App>, &Vec<Fault>>) -> T + Send,
    ) -> Option<T> {
        let work =
            || catch_unwind(AssertUnwindSafe(|| work(self.built.get_or_init(|| self.build()).as_ref()))).ok();
        self.log.hold();
        let done = if on_event_loop && self.built.get().is_some() { work() } else { let_go(py, work) };
        self.log.write(py);
        done
    }

    fn detached(
        &self,
        py: Python<'_>,
        request: &Request<'_>,
        decide: impl FnOnce(&App) -> wire::Decision + Send,
    ) -> Decision {
        self.log.look(py);
        let decided = self.outside(py, request.on_event_loop, |built| match built {
            Ok(app) => decide(app),
            Err(faults) => wire::Decision::Reply(answer::misconfigured(request, faults)),
        });
        decided
            .unwrap_or_else(|| {
                self.log.log(Level::Error, "a fault in mlflow-oidc: the request was refused");
                wire::Decision::Reply(answer::broken(request))
            })
            .into()
    }

    fn build(&self) -> Result<Arc<App>, Vec<Fault>> {
        let built = self.assemble();
        if let Err(faults) = &built {
            for fault in faults {
                self.log.log(Level::Error, &format!("configuration: {fault}"));
            }
        }
        built
    }

    fn assemble(&self) -> Result<Arc<App>, Vec<Fault>> {
        let one = |key: &str, expected: &str, found: String| {
            vec![Fault { key: key.to_owned(), expected: expected.to_owned(), found }]
        };
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(given) = given else {
            return Err(one("mlflow-oidc", "to be built once", "a second time".to_owned()));
        };
        let mut raw = settings::gather(given.ini);
        for warning in &raw.warnings {
            self.log.log(Level::Warning, &format!("configuration: {warning}"));
        }
        let prefix = settings::mlflow_value("_MLFLOW_STATIC_PREFIX").unwrap_or_default();
        let facts = facts(given.admin_username, prefix, &given.mlflow_version);
        let is_usable = given.database.is_some() || given.store.is_some();
        let config = parse(&mut raw, is_usable, &given.database_kind, &facts)?;
        if given.roles.is_none() && !config.rules.roles.is_empty() {
            let line = format!("[oidc:roles] is not carried out: {}", given.without_roles);
            self.log.log(Level::Error, &line);
        }
        for warning in config::roles::warnings(&config.rules.roles, &facts) {
            self.log.log(Level::Warning, &format!("configuration: {warning}"));
        }
        let transport = transport(&config)?;
        let refresher = Worker::new();
        let clerk = Worker::new();
        let store: Arc<dyn Store> = match given.store {
            Some(store) => Arc::new(PythonStore::new(store)),
            None => {
                let database = given.database.unwrap_or_default();
                Arc::new(SqliteStore::new(SqliteStore::beside(Path::new(&database))))
            }
        };
        let world = World {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            transport: Arc::new(transport),
            store,
            users: Arc::new(PythonUsers::new(given.users)),
            roles: given.roles.map(|roles| Arc::new(PythonRoles::new(roles)) as _),
            refresher: Arc::clone(&refresher) as Arc<_>,
            clerk: Arc::clone(&clerk) as Arc<_>,
            log: Arc::clone(&self.log) as Arc<_>,
        };
        let app = App::new(config, world)
            .map_err(|error| one("mlflow-oidc", &error.expected, error.found.to_string()))?;
        let app = Arc::new(app);
        start(&refresher, "mlflow-oidc-keys", &app, App::refresh)?;
        start(&clerk, "mlflow-oidc-users", &app, App::attend)?;
        Ok(app)
    }
}

/// The text of a header that is there; the outer `None` for one that no text can be read from.
fn read<'a>(header: Option<&'a Bound<'_, PyString>>) -> Option<Option<&'a str>> {
    header.map(|text| text.to_str()).transpose().ok()
}

/// What MLflow tells this process about itself.
pub fn facts(admin_username: Option<String>, static_prefix: String, mlflow_version: &str) -> Facts {
    Facts {
        static_prefix,
        admin_username,
        allowed_hosts: settings::mlflow_value("MLFLOW_SERVER_ALLOWED_HOSTS")
            .map(|hosts| hosts.split(',').map(|host| host.trim().to_owned()).collect())
            .unwrap_or_default(),
        flask_secret_key: settings::mlflow_secret("MLFLOW_FLASK_SERVER_SECRET_KEY"),
        gateway_token: settings::mlflow_secret("_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN"),
        mlflow: config::grants::release(mlflow_version),
        workspaces: settings::mlflow_value("MLFLOW_ENABLE_WORKSPACES")
            .is_some_and(|value| !["false", "0", ""].contains(&value.trim().to_ascii_lowercase().as_str())),
    }
}

/// Parses what was gathered; `is_usable` says whether MLflow's database is one that every worker can reach.
///
/// # Errors
/// Every fault at once.
pub fn parse(
    raw: &mut Raw,
    is_usable: bool,
    database_kind: &str,
    facts: &Facts,
) -> Result<Config, Vec<Fault>> {
    if !is_usable {
        let expected =
            "an SQLite file (sqlite:///basic_auth.db), PostgreSQL, or another database of a server";
        raw.fault("[mlflow] database_uri", expected, &quote(database_kind));
    }
    config::parse(raw, facts)
}

/// What speaks to the provider.
///
/// # Errors
/// The fault of `OIDC_CA_BUNDLE`.
pub fn transport(config: &Config) -> Result<HttpTransport, Vec<Fault>> {
    let fault = |found: String| {
        vec![Fault {
            key: "OIDC_CA_BUNDLE".to_owned(),
            expected: "a PEM file with certificates".to_owned(),
            found: config
                .ca_bundle
                .as_deref()
                .map_or_else(|| found.clone(), |path| format!("{}: {found}", quote(path))),
        }]
    };
    let bundle = config.ca_bundle.as_deref().map(settings::read_bundle).transpose().map_err(fault)?;
    HttpTransport::new(Duration::from_secs(config.http_timeout), bundle.as_deref()).map_err(fault)
}

/// Starts a thread that does one kind of round for as long as the engine lives.
fn start(
    worker: &Arc<Worker>,
    name: &str,
    app: &Arc<App>,
    round: fn(&App) -> Duration,
) -> Result<(), Vec<Fault>> {
    let app: Weak<App> = Arc::downgrade(app);
    worker.start(name, move || app.upgrade().map(|app| round(&app))).map_err(|error| {
        vec![Fault {
            key: "the system".to_owned(),
            expected: "a thread".to_owned(),
            found: error.to_string(),
        }]
    })
}
