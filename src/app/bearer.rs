//! A program's JWT: judged cheaply, verified once, remembered by its hash until it expires.

use super::wire::{Decision, Request};
use super::{App, provider, users};
use crate::error::{Code, Error, Result};
use crate::identity::Identity;
use crate::jose::Compact;
use crate::oidc::access_token::{self, Expectation};
use crate::oidc::claims;
use crate::secret::sha256;
use moka::sync::Cache;
use serde_json::Value;
use std::sync::Arc;

/// How many tokens a worker remembers; the least used make room.
const REMEMBERED: u64 = 20_000;

/// Verified tokens by their SHA-256: the token itself is never kept.
pub struct Tokens(Cache<[u8; 32], Arc<Remembered>>);

struct Remembered {
    identity: Identity,
    /// `exp`, in seconds since 1970.
    expires: i64,
    /// The key set that it was verified with.
    epoch: u64,
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
    let identity = identify(app, token, request.on_event_loop)?;
    let admitted = users::admit(app, identity, request.on_event_loop)?;
    Ok(Decision::Allow { username: admitted.username })
}

fn identify(app: &App, token: &str, on_event_loop: bool) -> Result<Identity> {
    let hash = sha256(token.as_bytes());
    if let Some(remembered) = app.tokens.0.get(&hash) {
        if let Err(expired) = claims::check_expiry(remembered.expires, app.now(), app.config.skew) {
            app.tokens.0.invalidate(&hash);
            return Err(expired);
        }
        // After a change of keys the signature has to hold again: the key may have been withdrawn.
        if app.provider.epoch() == Some(remembered.epoch) {
            return Ok(remembered.identity.clone());
        }
    }
    let compact = Compact::parse(token)?;
    let expected = Expectation {
        issuer: &app.config.issuer,
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
    let (verified, epoch) = provider::verify_token(app, token, on_event_loop)?;
    let identity = app.identify(verified.claims())?;
    app.tokens.0.insert(hash, Arc::new(Remembered { identity: identity.clone(), expires, epoch }));
    Ok(identity)
}
