//! From given values to a [`Config`], or to every fault at once.

use super::keys::{self, Kind};
use super::raw::{Fault, Raw};
use super::site::{CALLBACK, Place, Site};
use super::{Config, Facts};
use crate::error::quote;
use crate::identity::roles::Roles;
use crate::identity::{Rules, plain};
use crate::oidc::discovery::{is_plain_loopback, parse_address};
use crate::secret::Secret;
use url::Url;

/// The shortest secret that is taken for sealing, in bytes.
const SECRET_MINIMUM: usize = 16;
/// Paths that MLflow serves itself: a callback there would answer in MLflow's place (and a status below 400 to an
/// anonymous caller runs MLflow's after-request hooks).
const MLFLOW_PATHS: [&str; 14] = [
    "/api",
    "/ajax-api",
    "/graphql",
    "/gateway",
    "/get-artifact",
    "/model-versions",
    "/signup",
    "/static",
    "/static-files",
    "/health",
    "/version",
    "/metrics",
    "/v1",
    "/favicon.ico",
];
/// What MLflow answers without asking anybody (up to 3.17.2 also for a static prefix that begins so).
const UNPROTECTED: [&str; 3] = ["/static", "/health", "/favicon.ico"];

/// Providers where anybody can have an account, and how to let in only one's own people.
const OPEN_TO_ALL: [(&str, &str); 3] = [
    ("https://accounts.google.com", "OIDC_GROUPS_CLAIM=hd and OIDC_USER_GROUP=your-domain.example"),
    ("https://gitlab.com", "OIDC_USER_GROUP=your-group"),
    (
        "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
        "or take your tenant's issuer: this one is for personal accounts",
    ),
];

/// Checks everything.
///
/// # Errors
/// Every fault, in the order of the table of settings.
pub fn parse(raw: &Raw, facts: &Facts) -> Result<Config, Vec<Fault>> {
    let mut reader = Reader { raw, faults: raw.faults.clone() };
    let issuer = reader.issuer();
    let issuers = reader.issuers(&issuer);
    let client_id = reader.required("client_id");
    let client_secret = reader.given("client_secret").map(Secret::new);
    let user_groups = reader.groups("user_group");
    let mut admin_groups = reader.groups("admin_group");
    if admin_groups.is_empty() {
        admin_groups = user_groups.iter().map(|group| format!("{group}_admin")).collect();
    }
    reader.members_only(&issuer, &user_groups);
    let rules = Rules {
        username_claims: reader.some("username_claim", "the name of a claim"),
        subject_claims: reader.subject_claims(),
        groups_claims: reader.some("groups_claim", "the name of a claim"),
        user_groups,
        admin_groups,
        roles: reader.roles(facts),
    };
    let place = reader.place(facts);
    let scopes = reader.text("scopes");
    if !scopes.split_whitespace().any(|scope| scope == "openid") {
        reader.fault("scopes", "'openid' among the scopes", &quote(&scopes));
    }
    let session_secrets = reader.session_secrets(facts, client_secret.as_ref());
    let config = Config {
        issuer,
        issuers,
        client_id,
        client_secret,
        rules,
        place,
        scopes,
        audiences: reader.list("audience"),
        skew: reader.duration("clock_skew_seconds"),
        session_lifetime: reader.duration("session_lifetime"),
        session_recheck: reader.duration("session_recheck"),
        session_cache: reader.duration("session_cache_seconds"),
        permission_cache: reader.duration("permission_cache_seconds"),
        session_secrets,
        basic_auth: reader.flag("basic_auth"),
        link_existing_users: reader.flag("link_existing_users"),
        ca_bundle: reader.given("ca_bundle").map(str::to_owned),
        http_timeout: reader.duration("http_timeout").unsigned_abs(),
        admin_username: facts.admin_username.clone(),
        gateway_token: facts.gateway_token.clone(),
    };
    if reader.faults.is_empty() { Ok(config) } else { Err(reader.faults) }
}

/// The name of a role as it stands, unless that could forge a line of the log.
fn named(role: &str) -> String {
    let quoted = quote(role);
    if quoted.get(1..=role.len()) == Some(role) { role.to_owned() } else { quoted }
}

/// An address as a fault may repeat it: not when a password may be in it. What stands before an `@` counts as one even
/// where the whole cannot be read as an address.
fn address(value: &str) -> String {
    if value.contains('@') { "one with '@', which may hold a password".to_owned() } else { quote(value) }
}

struct Reader<'r> {
    raw: &'r Raw,
    faults: Vec<Fault>,
}

impl<'r> Reader<'r> {
    fn given(&self, name: &str) -> Option<&'r str> {
        self.raw.values.get(name).map(|given| given.value.expose())
    }

    fn text(&self, name: &str) -> String {
        self.given(name).unwrap_or_else(|| keys::find(name).map_or("", |key| key.default)).to_owned()
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.text(name).split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// A list of which nothing but separators was written is a slip.
    fn some(&mut self, name: &str, expected: &str) -> Vec<String> {
        let list = self.list(name);
        if list.is_empty() {
            self.fault(name, expected, &quote(&self.text(name)));
        }
        list
    }

    fn groups(&self, name: &str) -> Vec<String> {
        self.list(name).iter().map(|group| plain(group).to_owned()).collect()
    }

    fn fault(&mut self, name: &str, expected: &str, found: &str) {
        let key = self.raw.values.get(name).map_or_else(
            || keys::find(name).map_or_else(|| name.to_owned(), keys::Key::env),
            |given| given.source.clone(),
        );
        self.faults.push(Fault { key, expected: expected.to_owned(), found: found.to_owned() });
    }

    fn required(&mut self, name: &str) -> String {
        let value = self.text(name);
        // A value that could not be gathered (an unreadable file) has its fault already.
        let env = keys::find(name).map(keys::Key::env).unwrap_or_default();
        if value.is_empty() && !self.faults.iter().any(|fault| fault.key.to_ascii_uppercase().contains(&env))
        {
            self.fault(name, "a value", "none");
        }
        value
    }

    fn flag(&mut self, name: &str) -> bool {
        let value = self.text(name);
        match value.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.fault(name, "true or false", &quote(&value));
                false
            }
        }
    }

    fn duration(&mut self, name: &str) -> i64 {
        let value = self.text(name);
        let Some(Kind::Duration(least, most)) = keys::find(name).map(|key| key.kind) else {
            return 0;
        };
        let (digits, unit) = match value.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
            Some((index, _)) => value.split_at(index),
            None => (value.as_str(), "s"),
        };
        let factor = match unit.trim() {
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3600),
            "d" => Some(86_400),
            _ => None,
        };
        let seconds = factor.and_then(|factor| digits.parse::<i64>().ok()?.checked_mul(factor));
        match seconds {
            Some(seconds) if (least..=most).contains(&seconds) => seconds,
            _ => {
                self.fault(
                    name,
                    &format!("{least} to {most} seconds (30m, 12h and 7d are understood)"),
                    &quote(&value),
                );
                least
            }
        }
    }

    fn url(&mut self, name: &str) -> Option<Url> {
        let value = self.given(name)?;
        let expected =
            "an absolute address with https (http only on loopback), without credentials, query or fragment";
        match parse_address(value) {
            Some(url)
                if (url.scheme() == "https" || is_plain_loopback(&url))
                    && url.username().is_empty()
                    && url.password().is_none()
                    && url.fragment().is_none()
                    && url.query().is_none() =>
            {
                Some(url)
            }
            _ => {
                self.fault(name, expected, &address(value));
                None
            }
        }
    }

    fn issuer(&mut self) -> String {
        let value = self.required("issuer_url");
        // It stands beside each subject in our tables, in an index that has no room for more.
        if value.len() > 255 {
            self.fault("issuer_url", "at most 255 bytes", &format!("{} bytes", value.len()));
        }
        if !value.is_empty() {
            let _ = self.url("issuer_url");
        }
        if value.contains("/.well-known/") {
            self.fault("issuer_url", "the issuer alone, without /.well-known/...", &address(&value));
        }
        // Entra ID's addresses for people of any tenant: tokens are never issued under such a name.
        if let Some(shared) = ["common", "organizations", "consumers"].into_iter().find(|shared| {
            value.starts_with("https://login.microsoftonline.") && value.contains(&format!("/{shared}/"))
        }) {
            self.fault(
                "issuer_url",
                &format!("the id of your tenant in the place of '{shared}'"),
                &address(&value),
            );
        }
        value
    }

    /// The issuer and its aliases. An alias is a text that stands in tokens, an address or a host; a template of one is none.
    fn issuers(&mut self, issuer: &str) -> Vec<String> {
        let mut names = self.list("issuer_aliases");
        let odd = |c: char| matches!(c, '{' | '}' | '*' | '@' | '\\') || c.is_control() || c.is_whitespace();
        if let Some(strange) = names.iter().find(|name| name.contains(odd)) {
            let found = address(strange);
            self.fault("issuer_aliases", "names as they stand in 'iss', each written out", &found);
        }
        names.insert(0, issuer.to_owned());
        names
    }

    /// Without a group everybody gets in whom the provider lets in: with these that is everybody on earth.
    fn members_only(&mut self, issuer: &str, user_groups: &[String]) {
        let open = OPEN_TO_ALL.iter().find(|(open, _)| *open == issuer);
        if let Some((_, advice)) = open.filter(|_| user_groups.is_empty()) {
            let expected = format!("a group, since anybody can have an account at {issuer} ({advice})");
            self.fault("user_group", &expected, "none");
        }
    }

    /// Only claims that a provider never gives to somebody else, and no user can choose.
    fn subject_claims(&mut self) -> Vec<String> {
        let value = self.list("subject_claim");
        if !["sub", "oid", "uid,sub"].contains(&value.join(",").as_str()) {
            self.fault("subject_claim", "sub, oid, or uid,sub", &quote(&self.text("subject_claim")));
        }
        value
    }

    /// `[oidc:roles]`, each fault with the name of its role.
    fn roles(&mut self, facts: &Facts) -> Roles {
        let Some(text) = self.given("roles") else { return Roles::default() };
        let source = self.raw.values.get("roles").map_or("", |given| &given.source);
        super::roles::parse(text, facts.mlflow).unwrap_or_else(|faults| {
            self.faults.extend(faults.into_iter().map(|(role, expected, found)| Fault {
                key: role.map_or_else(|| source.to_owned(), |role| format!("{source} {}", named(&role))),
                expected,
                found,
            }));
            Roles::default()
        })
    }

    fn session_secrets(&mut self, facts: &Facts, client_secret: Option<&Secret>) -> Vec<Secret> {
        let own: Vec<Secret> = self.list("session_secret").into_iter().map(Secret::new).collect();
        if let Some(short) = own.iter().find(|secret| secret.expose().len() < SECRET_MINIMUM) {
            let found = format!("{} characters", short.expose().chars().count());
            self.fault("session_secret", &format!("at least {SECRET_MINIMUM} characters each"), &found);
        }
        if !own.is_empty() {
            return own;
        }
        // A sealed cookie is given to anybody who asks; with a short secret it could be searched for at leisure.
        let long = |secret: &&Secret| secret.expose().len() >= SECRET_MINIMUM;
        match facts.flask_secret_key.as_ref().filter(long).or(client_secret.filter(long)) {
            Some(secret) => vec![secret.clone()],
            None => {
                let expected = format!(
                    "a secret, since neither MLFLOW_FLASK_SERVER_SECRET_KEY nor the client secret has {SECRET_MINIMUM} characters"
                );
                self.fault("session_secret", &expected, "none");
                Vec::new()
            }
        }
    }

    fn place(&mut self, facts: &Facts) -> Place {
        let prefix = facts.static_prefix.trim_end_matches('/').to_owned();
        if UNPROTECTED.iter().any(|open| prefix.starts_with(open)) {
            self.faults.push(Fault {
                key: "--static-prefix".to_owned(),
                expected: format!(
                    "one that does not begin with {} (MLflow asks nobody there)",
                    UNPROTECTED.join(", ")
                ),
                found: quote(&prefix),
            });
        }
        let public = self.url("public_url");
        let redirect = self.url("redirect_uri");
        let mut place = Place {
            prefix,
            site: None,
            callback: CALLBACK.to_owned(),
            allowed_hosts: facts.allowed_hosts.clone(),
        };
        let Some(any) = public.as_ref().or(redirect.as_ref()) else {
            return place;
        };
        let base = match (&public, &redirect) {
            (Some(public), _) => public.path().trim_end_matches('/').to_owned(),
            // The base is what stands before our own callback path; with a path of the operator's own choice it can
            // only be the static prefix.
            (None, Some(redirect)) => {
                redirect.path().strip_suffix(CALLBACK).unwrap_or(&place.prefix).to_owned()
            }
            (None, None) => return place,
        };
        let origin = any.origin().ascii_serialization();
        let mut redirect_uri = format!("{origin}{base}{CALLBACK}");
        if let (Some(redirect), Some(given)) = (&redirect, self.given("redirect_uri")) {
            redirect_uri = given.to_owned();
            if redirect.origin().ascii_serialization() != origin {
                self.fault("redirect_uri", &format!("an address of the public URL {origin}"), &quote(given));
            }
            // The cookie is sent below the base only, and a callback without it can match no login.
            match redirect
                .path()
                .strip_prefix(base.as_str())
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            {
                None => self.fault("redirect_uri", &format!("a path below {}/", quote(&base)), &quote(given)),
                Some(rest) => place.callback = if rest.is_empty() { "/".to_owned() } else { rest.to_owned() },
            }
            let taken = |known: &&&str| {
                place
                    .callback
                    .strip_prefix(**known)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if let Some(known) = MLFLOW_PATHS.iter().find(taken) {
                self.fault(
                    "redirect_uri",
                    "a path that MLflow does not serve itself",
                    &format!("{known} in {}", quote(given)),
                );
            }
        }
        place.site = Some(Site { origin, base, redirect_uri });
        place
    }
}
