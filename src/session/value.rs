//! What the cookie says once it is opened.

use super::seal::{SealNonce, Sealer};
use crate::error::{Code, Error, Result};
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
    /// Whether the provider was told to ask the person nothing: then its refusal to do so is an answer.
    pub silent: bool,
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

    /// What all values of our name say together, of which a browser may send several and tells of none who has set it.
    ///
    /// The attack is session shadowing: a page on another port, or on a sibling host, plants its own good session beside the
    /// person's, with a longer path so that it is sent first. Whoever picks one of them may pick the attacker's, and the
    /// person goes on as somebody else; so two sessions are none. A planted login is as bad where there is a session: brought
    /// to its end, it would take that session's place (login CSRF). So beside a session those logins alone count that
    /// are sealed together with it, which nobody can do but us. Where there is none all of them count, however many, lest newer
    /// ones that somebody planted push out the person's own.
    ///
    /// # Errors
    /// `cookie_ambiguous`: they name different sessions.
    pub fn agree(values: &[Self]) -> Result<Self> {
        let mut sessions = values.iter().filter_map(|value| value.session.as_ref());
        let session = sessions.next().cloned();
        if sessions.any(|other| Some(other) != session.as_ref()) {
            return Err(ambiguous("different ones"));
        }
        let mut attempts: Vec<Attempt> = Vec::new();
        for attempt in
            values.iter().filter(|value| value.session == session).flat_map(|value| &value.attempts)
        {
            // A copy that stays behind would make the login good twice.
            if !attempts.iter().any(|known| known.state == attempt.state) {
                attempts.push(attempt.clone());
            }
        }
        attempts.sort_by_key(|attempt| attempt.begun);
        Ok(Self { session, attempts })
    }

    /// The same for the end of a login: one that another cookie than the session's holds is not just unknown, for nobody can
    /// tell whether the login or the session is the planted one.
    ///
    /// # Errors
    /// `cookie_ambiguous`.
    pub fn agree_on_login(values: &[Self], state: &Secret) -> Result<Self> {
        let holds = |value: &Self| value.attempts.iter().any(|attempt| attempt.state == *state);
        let agreed = Self::agree(values)?;
        if !holds(&agreed) && values.iter().any(holds) {
            return Err(ambiguous("one beside a login of another cookie"));
        }
        Ok(agreed)
    }

    /// Adds a login; the oldest one makes room.
    pub fn begin(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
        self.make_room();
    }

    fn make_room(&mut self) {
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
        kept.make_room();
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
        let attempts: Vec<Value> = self.attempts.iter().map(encode_attempt).collect();
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

fn ambiguous(found: &'static str) -> Error {
    Error::new(Code::CookieAmbiguous, "one session in all cookies of this site", found)
}

fn encode_attempt(attempt: &Attempt) -> Value {
    let Attempt { state, nonce, verifier, next, begun, silent } = attempt;
    let mut members = vec![
        json!(state.expose()),
        json!(nonce.expose()),
        json!(verifier.expose()),
        json!(next),
        json!(begun),
    ];
    // Left out where it is not: that is how the cookies of older versions are, which have to open.
    if *silent {
        members.push(json!(true));
    }
    Value::Array(members)
}

fn decode_attempt(value: &Value) -> Option<Attempt> {
    let (state, nonce, verifier, next, begun, silent) = match value.as_array()?.as_slice() {
        [state, nonce, verifier, next, begun] => (state, nonce, verifier, next, begun, false),
        [state, nonce, verifier, next, begun, silent] => {
            (state, nonce, verifier, next, begun, silent.as_bool()?)
        }
        _ => return None,
    };
    let secret = |value: &Value| value.as_str().map(Secret::new);
    Some(Attempt {
        state: secret(state)?,
        nonce: secret(nonce)?,
        verifier: secret(verifier)?,
        next: next.as_str()?.to_owned(),
        begun: begun.as_i64()?,
        silent,
    })
}
