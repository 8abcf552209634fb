//! What `mlflow-oidc doctor` looks at: the requests and judgements of every day, made once, told in full, without a trace.
//!
//! Nothing is written and nothing is remembered. What is told never holds a token or a secret.

use super::bearer;
use crate::config::{Config, Fault, Raw};
use crate::error::{Error, Result};
use crate::jose::{KeySet, Object, verify};
use crate::oidc::message::Request;
use crate::oidc::{Metadata, discovery};
use crate::ports::Transport;
use crate::secret::Secret;
use crate::session::Sealer;
use serde_json::{Value, json};

/// What is wrong with the settings, and which names nobody knows.
pub fn settings(raw: &Raw, parsed: std::result::Result<&Config, &[Fault]>) -> Value {
    let told: Vec<Value> = parsed
        .err()
        .unwrap_or_default()
        .iter()
        .map(|fault| json!({"key": fault.key, "expected": fault.expected, "found": fault.found}))
        .collect();
    json!({"faults": told, "warnings": raw.warnings, "read": parsed.ok().map(read)})
}

/// The settings that matter to a reader of the report; no secret among them.
fn read(config: &Config) -> Value {
    let site = config.place.site.as_ref();
    json!({
        "issuer": config.issuer,
        "client_id": config.client_id,
        "public_client": config.client_secret.is_none(),
        "redirect_uri": site.map(|site| site.redirect_uri.as_str()),
        "path": site.map(|site| site.base.as_str()),
        "prefix": config.place.prefix,
        "callback": config.place.callback,
        "scopes": config.scopes.split_whitespace().collect::<Vec<_>>(),
        "username_claims": config.rules.username_claims,
        "groups_claims": config.rules.groups_claims,
        "user_groups": config.rules.user_groups,
        "admin_groups": config.rules.admin_groups,
        "skew": config.skew,
        "roles": config.rules.roles.all().len(),
        "session_cache": config.session_cache,
        "link_existing_users": config.link_existing_users,
        "basic_auth": config.basic_auth,
    })
}

/// Whether these groups let somebody in, and what they say of the administrator's flag (`null` changes nothing).
pub fn judge_groups(config: &Config, groups: Option<&[String]>) -> Value {
    json!({"admitted": config.rules.admit(groups).is_ok(), "admin": config.rules.is_admin(groups)})
}

/// What the provider publishes, asked for and judged as the refresher does it. It blocks.
pub struct Provider {
    metadata: Result<(Metadata, Value)>,
    keys: Option<Result<KeySet>>,
}

impl Provider {
    /// Asks for the metadata and then for the keys.
    pub fn ask(config: &Config, transport: &dyn Transport) -> Self {
        let metadata = ask_metadata(config, transport);
        let keys = metadata.as_ref().ok().map(|(metadata, _)| ask_keys(metadata, transport));
        Self { metadata, keys }
    }

    /// The metadata in words, or what is wrong with it.
    pub fn metadata(&self) -> Value {
        self.metadata.as_ref().map_or_else(fault, |(_, told)| told.clone())
    }

    /// The keys in words, or what is wrong with them; nothing where nobody could be asked.
    pub fn keys(&self) -> Value {
        match &self.keys {
            None => Value::Null,
            Some(Err(error)) => fault(error),
            Some(Ok(keys)) => json!({"ok": true, "count": keys.len(), "skipped": keys.skipped()}),
        }
    }

    /// Whether a bearer would be let in, and as whom.
    pub fn judge(&self, config: &Config, now: i64, token: &Secret) -> Value {
        self.judge_token(config, now, token.expose()).unwrap_or_else(|error| fault(&error))
    }

    fn judge_token(&self, config: &Config, now: i64, token: &str) -> Result<Value> {
        let sealer = Sealer::new(&config.session_secrets)?;
        // What the token says of itself comes first, as in a request: it needs no provider.
        let (compact, expires) = bearer::check(config, &sealer, now, token)?;
        let (metadata, _) = self.metadata.as_ref().map_err(Clone::clone)?;
        let Some(keys) = &self.keys else { return Err(Error::internal("keys that were not asked for")) };
        let verified = verify(compact, keys.as_ref().map_err(Clone::clone)?, &metadata.algorithms)?;
        let identity = config.rules.identify(&config.issuer, verified.claims())?.identity;
        let groups = identity.groups.as_deref();
        config.rules.admit(groups)?;
        Ok(json!({
            "ok": true,
            "username": identity.username,
            "subject": identity.subject,
            "groups": groups,
            "admin": config.rules.is_admin(groups),
            "expires": expires,
        }))
    }
}

fn ask_metadata(config: &Config, transport: &dyn Transport) -> Result<(Metadata, Value)> {
    let request = discovery::request(&config.issuer);
    let answer = send(transport, &request)?;
    let metadata = discovery::judge(&config.issuer, &answer)?;
    let document = answer.json("provider metadata")?;
    let told = json!({
        "ok": true,
        "address": request.url,
        "algorithms": metadata.algorithms.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>(),
        "keys": metadata.jwks_uri,
        "scopes": texts(&document, "scopes_supported"),
        "claims": texts(&document, "claims_supported"),
        "date": answer.date,
    });
    Ok((metadata, told))
}

fn ask_keys(metadata: &Metadata, transport: &dyn Transport) -> Result<KeySet> {
    let answer = send(transport, &Request::get(metadata.jwks_uri.as_str()))?;
    answer.json("key set")?;
    KeySet::parse(&answer.body)
}

fn send(transport: &dyn Transport, request: &Request) -> Result<crate::oidc::message::Response> {
    transport.send(request).map_err(|fault| super::provider::unreachable(request, &fault))
}

/// A list of the metadata that a provider may leave out.
fn texts<'d>(document: &'d Object, name: &str) -> Option<Vec<&'d str>> {
    document.get(name)?.as_array().map(|items| items.iter().filter_map(Value::as_str).collect())
}

fn fault(error: &Error) -> Value {
    json!({
        "ok": false,
        "code": error.code.name(),
        "sentence": error.code.sentence(),
        "expected": error.expected,
        "found": error.found,
    })
}
