//! Where MLflow is: for itself (the static prefix) and for browsers (the public address).

use crate::error::{Code, Error, Result, quote};
use crate::oidc::discovery::is_loopback;
use url::Url;

/// MLflow's address for browsers in one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Scheme, host and port: `https://mlflow.example.com`.
    pub origin: String,
    /// The path before everything, without a trailing slash: empty, or `/mlflow`.
    pub base: String,
    /// The redirect URI, exactly as registered.
    pub redirect_uri: String,
}

impl Site {
    /// An absolute address of ours. `path` begins with `/` and does not carry the base.
    pub fn url(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin, self.base)
    }

    /// Whether browsers reach us over TLS.
    pub fn is_https(&self) -> bool {
        self.origin.starts_with("https://")
    }
}

/// What is configured about the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// MLflow's static prefix without a trailing slash; paths of requests begin with it.
    pub prefix: String,
    /// The fixed address; `None` when each request has to tell.
    pub site: Option<Site>,
    /// The path of the callback without the prefix.
    pub callback: String,
    /// Hosts, beside loopback, that a request may name.
    pub allowed_hosts: Vec<String>,
}

/// The callback's own path.
pub const CALLBACK: &str = "/oidc/callback";

impl Place {
    /// The address for a request that came to `scheme` and `host`.
    ///
    /// # Errors
    /// `public_url_unknown`: the Host header is written by the caller, so a foreign one must not end up in a redirect
    /// URI or a link (host header injection).
    pub fn site(&self, scheme: &str, host: &str) -> Result<Site> {
        if let Some(site) = &self.site {
            return Ok(site.clone());
        }
        let refused = |found: String| {
            Error::new(
                Code::PublicUrlUnknown,
                "OIDC_PUBLIC_URL, or a Host of loopback or among --allowed-hosts",
                found,
            )
        };
        let scheme = if scheme == "https" { "https" } else { "http" };
        let url = Url::parse(&format!("{scheme}://{host}/"))
            .ok()
            .filter(|url| url.path() == "/" && url.query().is_none() && url.username().is_empty())
            .ok_or_else(|| refused(format!("Host {}", quote(host))))?;
        let loopback = url.host().is_some_and(|host| is_loopback(&host));
        // Patterns are not taken: '*' would hand the decision back to the caller.
        let allowed = self.allowed_hosts.iter().any(|allowed| allowed == host && !allowed.contains('*'));
        if !loopback && !allowed {
            return Err(refused(format!("Host {}", quote(host))));
        }
        let origin = url.origin().ascii_serialization();
        let redirect_uri = format!("{origin}{}{}", self.prefix, self.callback);
        Ok(Site { origin, base: self.prefix.clone(), redirect_uri })
    }

    /// Whether the address comes from the settings.
    pub fn is_fixed(&self) -> bool {
        self.site.is_some()
    }

    /// The path of a request without the static prefix; `None` when it is not under it.
    pub fn strip<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(&self.prefix)?;
        if rest.is_empty() {
            return Some("/");
        }
        rest.starts_with('/').then_some(rest)
    }
}
