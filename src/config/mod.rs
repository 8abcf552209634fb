//! The settings: one table, parsed once into types, every fault told at once.

pub mod grants;
pub mod keys;
pub mod nearest;
pub mod parse;
pub mod raw;
pub mod roles;
pub mod site;

pub use parse::parse;
pub use raw::{Fault, Raw};
pub use site::{Place, Site};

use crate::identity::Rules;
use crate::secret::Secret;

/// What MLflow tells about itself; not ours to set.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `--static-prefix`, as MLflow hands it to its workers.
    pub static_prefix: String,
    /// `admin_username` of MLflow's own configuration.
    pub admin_username: Option<String>,
    /// `--allowed-hosts`, patterns included.
    pub allowed_hosts: Vec<String>,
    /// `MLFLOW_FLASK_SERVER_SECRET_KEY`.
    pub flask_secret_key: Option<Secret>,
    /// The password of MLflow's own jobs at its gateway.
    pub gateway_token: Option<Secret>,
    /// MLflow's version, where it is a release.
    pub mlflow: Option<grants::Release>,
    /// Whether MLflow has workspaces (`MLFLOW_ENABLE_WORKSPACES`).
    pub workspaces: bool,
}

/// Everything that is configured, checked and typed.
#[derive(Clone, Debug)]
pub struct Config {
    /// `OIDC_ISSUER_URL`.
    pub issuer: String,
    /// All names that the provider may put into `iss`: the issuer's own first, then `OIDC_ISSUER_ALIASES`.
    pub issuers: Vec<String>,
    /// `OIDC_CLIENT_ID`.
    pub client_id: String,
    /// `OIDC_CLIENT_SECRET`; `None` is a public client.
    pub client_secret: Option<Secret>,
    /// Claims and groups.
    pub rules: Rules,
    /// Where MLflow is for browsers.
    pub place: Place,
    /// `OIDC_SCOPES`, separated by spaces.
    pub scopes: String,
    /// `OIDC_AUDIENCE`.
    pub audiences: Vec<String>,
    /// `OIDC_CLOCK_SKEW_SECONDS`.
    pub skew: i64,
    /// `OIDC_SESSION_LIFETIME`, in seconds.
    pub session_lifetime: i64,
    /// `OIDC_SESSION_RECHECK`, in seconds; 0 is never.
    pub session_recheck: i64,
    /// `OIDC_SESSION_CACHE_SECONDS`.
    pub session_cache: i64,
    /// `OIDC_PERMISSION_CACHE_SECONDS`.
    pub permission_cache: i64,
    /// What seals: the first, then older ones that still open.
    pub session_secrets: Vec<Secret>,
    /// `OIDC_BASIC_AUTH`.
    pub basic_auth: bool,
    /// `OIDC_LINK_EXISTING_USERS`.
    pub link_existing_users: bool,
    /// `OIDC_CA_BUNDLE`: the path of a PEM file.
    pub ca_bundle: Option<String>,
    /// `OIDC_HTTP_TIMEOUT`, in seconds.
    pub http_timeout: u64,
    /// MLflow's own bootstrap administrator.
    pub admin_username: Option<String>,
    /// The password of MLflow's own jobs at its gateway.
    pub gateway_token: Option<Secret>,
}
