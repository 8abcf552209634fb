//! What the cookie says once it is opened.

use super::seal::{SealNonce, Sealer};
use crate::error::Result;
use crate::secret::{Secret, same, sha256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// How many logins may be under way in one browser: several tabs, not a store.
pub const ATTEMPTS_LIMIT: usize = 4;
/// The sealed value must fit a cookie of 4096 bytes with its name and attributes (RFC 6265 section 6.1).
const SEALED_LIMIT: usize = 3800;
const PURPOSE: &str = "cookie";

/// The opaque name of a session. The database knows only its hash: whoever reads the database cannot become anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionId(Secret);

impl SessionId {
    /// A new one from 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(Secret::new(URL_SAFE_NO_PAD.encode(random)))
    }

    /// SHA-256 of the id: the key of the session's row.
    pub fn hash(&self) -> [u8; 32] {
        sha256(self.0.expose().as_bytes())
    }
}

/// A login that was sent to the provider and has not come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// `state`, which the callback must bring back.
    pub state: Secret,
    /// `nonce`, which the ID token must contain.
    pub nonce: Secret,
    /// The PKCE verifier.
    pub verifier: Secret,
    /// Where to go afterwards; has passed the return-to guard.
    pub next: String,
    /// When it began, in seconds since 1970.
    pub begun: i64,
}

/// The content of the cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieValue {
    /// The session, if signed in.
    pub session: Option<SessionId>,
    /// The logins under way, oldest first.
    pub attempts: Vec<Attempt>,
}

impl CookieValue {
    /// Whether there is anything to keep.
    pub fn is_empty(&self) -> bool {
        self.session.is_none() && self.attempts.is_empty()
    }

    /// Adds a login; the oldest one makes room.
    pub fn begin(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
        let excess = self.attempts.len().saturating_sub(ATTEMPTS_LIMIT);
        self.attempts.drain(..excess);
    }

    /// Takes out the login that a `state` belongs to: each is good once.
    pub fn take(&mut self, state: &Secret) -> Option<Attempt> {
        let position = self
            .attempts
            .iter()
            .position(|attempt| same(attempt.state.expose().as_bytes(), state.expose().as_bytes()))?;
        Some(self.attempts.remove(position))
    }

    /// The sealed cookie value; the oldest logins are left out until it fits a cookie.
    ///
    /// # Errors
    /// `internal`.
    pub fn seal(&self, sealer: &Sealer, nonce: SealNonce) -> Result<String> {
        let mut kept = self.clone();
        loop {
            let sealed = sealer.seal(PURPOSE, &kept.encode(), nonce)?;
            if sealed.len() <= SEALED_LIMIT || kept.attempts.is_empty() {
                return Ok(sealed);
            }
            // Only the value that is returned leaves this function, so the nonce is used once.
            kept.attempts.remove(0);
        }
    }

    /// Opens a cookie value; `None` when it is not one of ours.
    pub fn open(sealer: &Sealer, sealed: &str) -> Option<Self> {
        Self::decode(&sealer.open(PURPOSE, sealed)?)
    }

    fn encode(&self) -> Vec<u8> {
        let attempts: Vec<Value> = self
            .attempts
            .iter()
            .map(|a| json!([a.state.expose(), a.nonce.expose(), a.verifier.expose(), a.next, a.begun]))
            .collect();
        json!([self.session.as_ref().map(|id| id.0.expose()), attempts]).to_string().into_bytes()
    }

    fn decode(plain: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(plain).ok()?;
        let [session, attempts] = value.as_array()?.as_slice() else {
            return None;
        };
        let session = match session {
            Value::Null => None,
            Value::String(id) => Some(SessionId(Secret::new(id.as_str()))),
            _ => return None,
        };
        let attempts = attempts.as_array()?.iter().map(decode_attempt).collect::<Option<Vec<_>>>()?;
        Some(Self { session, attempts })
    }
}

fn decode_attempt(value: &Value) -> Option<Attempt> {
    let [state, nonce, verifier, next, begun] = value.as_array()?.as_slice() else {
        return None;
    };
    let secret = |value: &Value| value.as_str().map(Secret::new);
    Some(Attempt {
        state: secret(state)?,
        nonce: secret(nonce)?,
        verifier: secret(verifier)?,
        next: next.as_str()?.to_owned(),
        begun: begun.as_i64()?,
    })
}
