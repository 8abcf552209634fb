//! The one table of settings. The parser, the sample `basic_auth.ini` and `docs/settings.md` are made from it.

use std::fmt::Write;

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// Text that is never shown.
    Secret,
    /// Texts separated by commas.
    List,
    /// Secrets separated by commas.
    SecretList,
    /// `true` or `false`.
    Flag,
    /// Seconds, or a number with s, m, h or d; with bounds.
    Duration(i64, i64),
    /// An absolute http or https address.
    Url,
    /// A path of a file.
    Path,
    /// A section of its own, `[oidc:NAME]`, of which the lines are the value.
    Section,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The name in `[oidc]`; the environment name is `OIDC_` and this in capitals.
    pub name: &'static str,
    /// The form of its value.
    pub kind: Kind,
    /// The default as one would write it; empty when there is none.
    pub default: &'static str,
    /// What `default` cannot say: where an empty default comes from.
    pub unset: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// An example for the sample file.
    pub example: &'static str,
}

macro_rules! keys {
    ($($name:literal $kind:expr, $default:literal, $unset:literal, $example:literal, $help:literal;)*) => {
        /// All settings, in the order in which they are documented.
        pub const KEYS: &[Key] = &[$(Key {
            name: $name, kind: $kind, default: $default, unset: $unset, example: $example, help: $help,
        },)*];
    };
}

keys! {
    "issuer_url" Kind::Url, "", "required", "https://keycloak.example.com/realms/mlflow",
        "The provider, exactly as it calls itself (the 'issuer' of its /.well-known/openid-configuration).";
    "client_id" Kind::Text, "", "required", "mlflow",
        "The client id that the provider knows MLflow by.";
    "client_secret" Kind::Secret, "", "none: a public client", "",
        "The client secret. Better given as OIDC_CLIENT_SECRET or OIDC_CLIENT_SECRET_FILE than in this file.";
    "issuer_aliases" Kind::List, "", "none", "https://sts.windows.net/TENANT/",
        "Further names that this provider puts into 'iss', signing with the same keys (Entra ID's v1 tokens).";
    "username_claim" Kind::List, "email", "", "email, preferred_username",
        "The claim that names the MLflow user at the first login; of several the first that is there. An unverified e-mail is refused.";
    "subject_claim" Kind::List, "sub", "", "oid",
        "The claim that tells people apart for good: sub; oid where several applications of an Entra ID tenant share users; uid,sub at Okta.";
    "user_group" Kind::List, "", "everybody whom the provider lets in", "MLFLOW",
        "Only members of one of these groups get in. Names are compared whole.";
    "admin_group" Kind::List, "", "each user group with '_admin' at its end", "MLFLOW_admin",
        "Members of one of these groups are MLflow administrators, and get in.";
    "groups_claim" Kind::List, "groups", "", "realm_access.roles",
        "The claims that hold the groups: a name or a dotted path. A leading '/' of a group is ignored.";
    "roles" Kind::Section, "", "none", "research/scientists =\n    group ml-research\n    workspace * USE\n    experiment * EDIT",
        "The roles of MLflow that groups give, with their grants (MLflow 3.12 and later; docs/roles.md). OIDC_ROLES_FILE names a file of such lines.";
    "public_url" Kind::Url, "", "taken from OIDC_REDIRECT_URI, else from a request to loopback or an allowed host", "https://mlflow.example.com",
        "Where people open MLflow, with its path if it has one. Needed behind a proxy.";
    "redirect_uri" Kind::Url, "", "the public URL and /oidc/callback", "https://mlflow.example.com/oidc/callback",
        "The redirect URI, exactly as registered at the provider.";
    "scopes" Kind::Text, "openid email profile", "", "openid email profile groups",
        "What is asked of the provider at login, separated by spaces.";
    "audience" Kind::List, "", "the client id alone", "mlflow-api",
        "Further audiences ('aud') that bearer tokens may be issued for.";
    "clock_skew_seconds" Kind::Duration(0, 600), "60", "", "60",
        "How far the clocks of the provider and of this server may be apart.";
    "session_lifetime" Kind::Duration(60, 31_536_000), "12h", "", "12h",
        "How long a browser stays signed in (seconds, or 30m, 12h, 7d).";
    "session_recheck" Kind::Duration(0, 31_536_000), "15m", "", "15m",
        "Within how long after the provider last vouched for somebody who is signed in it is asked again; 0 is never.";
    "session_cache_seconds" Kind::Duration(0, 300), "5", "", "5",
        "How long a worker may go on with what it read of a session or user: the delay of a logout elsewhere.";
    "permission_cache_seconds" Kind::Duration(0, 300), "5", "", "5",
        "How long MLflow's own look-ups of users and grants are remembered at most; a change in its database ends that at once. 0 turns it off.";
    "session_secret" Kind::SecretList, "", "MLFLOW_FLASK_SERVER_SECRET_KEY, else derived from the client secret, if of 16 characters at least", "",
        "Seals the cookie; the same on all servers, at least 16 characters. Several for a rollover: the first seals, all open.";
    "basic_auth" Kind::Flag, "true", "", "false",
        "Whether MLflow's own users may go on with user name and password.";
    "link_existing_users" Kind::Flag, "false", "", "true",
        "Whether a login may take over the MLflow user of the same name that was there before. An administrator only by a member of the admin group.";
    "ca_bundle" Kind::Path, "", "the system's certificates", "/etc/ssl/company-ca.pem",
        "A PEM file with certificates to trust beside the system's.";
    "http_timeout" Kind::Duration(1, 60), "10", "", "10",
        "How long one answer of the provider may take, in seconds.";
}

impl Key {
    /// The environment variable.
    pub fn env(&self) -> String {
        format!("OIDC_{}", self.name.to_ascii_uppercase())
    }

    /// Where it stands in `basic_auth.ini`, for messages.
    pub fn place(&self) -> String {
        if self.kind == Kind::Section {
            format!("[oidc:{}]", self.name)
        } else {
            format!("[oidc] {}", self.name)
        }
    }

    /// The default in words.
    pub fn default_words(&self) -> &'static str {
        if self.unset.is_empty() { self.default } else { self.unset }
    }
}

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The `[oidc]` section of the documented sample, every setting with its help and default, all commented out but those
/// without which nothing runs.
pub fn sample_ini() -> String {
    let mut out = String::from("[oidc]\n");
    let (sections, lines): (Vec<&Key>, Vec<&Key>) = KEYS.iter().partition(|key| key.kind == Kind::Section);
    for key in lines {
        let required = key.unset == "required";
        let _ = writeln!(out, "\n# {}", key.help);
        let _ = writeln!(out, "# {} ({})", key.env(), key.default_words());
        let value = if key.example.is_empty() { key.default } else { key.example };
        let line = format!("{}{} = {value}", if required { "" } else { "# " }, key.name);
        let _ = writeln!(out, "{}", line.trim_end());
    }
    for key in sections {
        let _ = writeln!(out, "\n# {}", key.help);
        let _ = writeln!(out, "# {} ({})", key.env(), key.default_words());
        let _ = writeln!(out, "# {}", key.place());
        for line in key.example.lines() {
            let _ = writeln!(out, "# {line}");
        }
    }
    out
}

/// The table of `docs/settings.md`.
pub fn markdown() -> String {
    let mut out = String::from("| `[oidc]` | environment | default | meaning |\n|---|---|---|---|\n");
    for key in KEYS {
        let default = if key.unset.is_empty() { format!("`{}`", key.default) } else { key.unset.to_owned() };
        let name = if key.kind == Kind::Section { key.place() } else { key.name.to_owned() };
        let _ = writeln!(out, "| `{name}` | `{}` | {default} | {} |", key.env(), key.help);
    }
    out
}
