//! A program's JWT: judged cheaply, verified once, remembered by its hash until it expires.

use super::provider::{self, Asker};
use super::wire::{Decision, Request};
use super::{App, users};
use crate::error::{Code, Error, Result};
use crate::identity::{Person, Statement, person};
use crate::jose::Compact;
use crate::oidc::access_token::{self, Expectation};
use crate::oidc::claims;
use crate::secret::sha256;
use quick_cache::sync::Cache;
use serde_json::Value;
use std::sync::Arc;

/// How many tokens a worker remembers; the least used make room.
const REMEMBERED: usize = 20_000;

/// Verified tokens by their SHA-256: the token itself is never kept.
pub struct Tokens(Cache<[u8; 32], Remembered>);

#[derive(Clone)]
struct Remembered {
    statement: Statement,
    person: Person,
    /// `exp`, in seconds since 1970.
    expires: i64,
    /// The key set that it was verified with.
    epoch: u64,
    /// Whether its groups let this person in.
    admissible: bool,
}

impl Tokens {
    pub fn new() -> Self {
        Self(Cache::new(REMEMBERED))
    }
}

/// Decides by a bearer token. It grants no cookie.
///
/// # Errors
/// The refusal.
pub fn handle(app: &App, request: &Request<'_>, token: &str) -> Result<Decision> {
    let statement = identify(app, token, request.on_event_loop)?;
    let admitted = users::admit(app, &statement, request.on_event_loop)?;
    Ok(Decision::Allow { username: admitted.username })
}

/// The MLflow user of a token that memory alone lets in: what [`handle`] would say, without a look at anything else.
pub fn recall(app: &App, token: &str) -> Option<Arc<str>> {
    let remembered = app.tokens.0.get(&sha256(token.as_bytes()))?;
    let good = remembered.admissible
        && app.provider.epoch() == Some(remembered.epoch)
        && claims::check_expiry(remembered.expires, app.now(), app.config.skew).is_ok();
    if good { users::recall(app, &remembered.person, &remembered.statement) } else { None }
}

fn identify(app: &App, token: &str, on_event_loop: bool) -> Result<Statement> {
    let hash = sha256(token.as_bytes());
    if let Some(remembered) = app.tokens.0.get(&hash) {
        if let Err(expired) = claims::check_expiry(remembered.expires, app.now(), app.config.skew) {
            app.tokens.0.remove(&hash);
            return Err(expired);
        }
        // After a change of keys the signature has to hold again: the key may have been withdrawn.
        if app.provider.epoch() == Some(remembered.epoch) {
            return Ok(remembered.statement);
        }
    }
    let compact = Compact::parse(token)?;
    let expected = Expectation {
        issuers: &app.config.issuers,
        client_id: &app.config.client_id,
        audiences: &app.config.audiences,
        now: app.now(),
        skew: app.config.skew,
    };
    // Before any key is asked for: most of what is wrong with a token shows here.
    let expires = access_token::check(&compact, &expected)?;
    if compact
        .unverified_claims()
        .get("nonce")
        .and_then(Value::as_str)
        .is_some_and(|n| app.sealer.is_marked(n))
    {
        return Err(Error::new(
            Code::TokenType,
            "a token that was issued to a program",
            "the ID token of a browser's login",
        ));
    }
    let (verified, epoch) = provider::verify_token(app, compact, Asker::of(on_event_loop))?;
    let statement = app.identify(verified.claims())?;
    let person = person(&statement.identity.issuer, &statement.identity.subject);
    let statement = users::share(app, &person, statement);
    let admissible = app.config.rules.admit(statement.identity.groups.as_deref()).is_ok();
    let remembered = Remembered { statement: statement.clone(), person, expires, epoch, admissible };
    app.tokens.0.insert(hash, remembered);
    Ok(statement)
}
