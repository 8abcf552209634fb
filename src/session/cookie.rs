//! Reading and writing the cookie (RFC 6265, and the name prefixes of RFC 6265bis section 4.1.3).

use cookie::{Cookie, SameSite, time::Duration};

/// How the cookie is named and where it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieRules {
    name: &'static str,
    path: String,
    secure: bool,
}

impl CookieRules {
    /// `base` is the path of the public address without a trailing slash; `secure` is whether it is https; `fixed` is
    /// whether it comes from the settings.
    ///
    /// Under a fixed https address either prefix keeps a neighbour on plain http from planting a cookie of that name (session
    /// fixation, login CSRF). Only `__Host-`, which needs the path `/`, keeps out a sibling host as well, which sets `Domain` to what
    /// both have in common; and no prefix knows ports. What is planted nevertheless, `CookieValue::agree` has to bear.
    pub fn new(base: &str, secure: bool, fixed: bool) -> Self {
        let name = name(base, secure && fixed);
        Self { name, path: format!("{base}/"), secure }
    }

    /// The name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// `Set-Cookie` that keeps `value` for `seconds`.
    pub fn set(&self, value: &str, seconds: i64) -> String {
        self.build(value, Duration::seconds(seconds))
    }

    /// `Set-Cookie` that removes it.
    pub fn remove(&self) -> String {
        self.build("", Duration::ZERO)
    }

    fn build(&self, value: &str, max_age: Duration) -> String {
        Cookie::build((self.name, value))
            .path(self.path.as_str())
            .http_only(true)
            // Lax, not Strict: the provider's redirect back to the callback comes from another site.
            .same_site(SameSite::Lax)
            .secure(self.secure)
            .max_age(max_age)
            .build()
            .to_string()
    }
}

/// The name of the cookie: with the prefix that a fixed https address allows.
pub fn name(base: &str, prefixed: bool) -> &'static str {
    match (prefixed, base.is_empty()) {
        (true, true) => "__Host-mlflow_oidc",
        (true, false) => "__Secure-mlflow_oidc",
        (false, _) => "mlflow_oidc",
    }
}

/// Every value of that name in a `Cookie` header, in order; more than one is possible and none is trusted.
pub fn values<'h>(header: &'h str, name: &'static str) -> impl Iterator<Item = &'h str> {
    header
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(found, _)| *found == name)
        .map(|(_, value)| value)
}
