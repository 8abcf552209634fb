//! The logout token (OpenID Connect Back-Channel Logout 1.0 sections 2.4 and 2.6): the provider ends sessions.

use super::claims;
use crate::error::{Code, Error, Result, quote};
use crate::jose::{Compact, Object};
use serde_json::Value;

/// The event that makes a security event token a logout token (section 2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// For how many seconds a token is good after it was issued, whatever it says: the longest that section 4 suggests. The
/// final specification demands `exp`; providers made before it (Keycloak 20 among them) send none.
const LIFETIME: i64 = 120;

/// What every logout token must say.
#[derive(Debug)]
pub struct Expectation<'a> {
    /// The names of the provider, its own first (`OIDC_ISSUER_URL`, `OIDC_ISSUER_ALIASES`).
    pub issuers: &'a [String],
    /// Our client id.
    pub client_id: &'a str,
    /// Now, in seconds since 1970.
    pub now: i64,
    /// Allowed clock difference, in seconds.
    pub skew: i64,
}

/// Whose sessions end: those of a subject, or the one that the provider knows by `sid`. At least one is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// `sub`.
    pub subject: Option<String>,
    /// `sid`.
    pub provider_sid: Option<String>,
}

/// Judges the claims and says whose sessions end. It runs on unverified claims and can only refuse: what passes has to
/// be verified before anything is done.
///
/// # Errors
/// The `token_...` code of the first check that fails.
pub fn check(token: &Compact<'_>, expected: &Expectation<'_>) -> Result<Ended> {
    let claims = token.unverified_claims();
    check_type(token.typ(), claims)?;
    claims::check_issuer(claims, expected.issuers)?;
    let audience = claims::audience(claims)?;
    if !audience.contains(&expected.client_id) {
        return Err(Error::new(Code::TokenAudience, quote(expected.client_id), quote(&audience.join(", "))));
    }
    let issued = claims::required_time(claims, "iat")?;
    let latest = issued.saturating_add(LIFETIME);
    let expires = claims::optional_time(claims, "exp")?.map_or(latest, |end| end.min(latest));
    claims::check_expiry(expires, expected.now, expected.skew)?;
    claims::check_begun(claims, expected.now, expected.skew)?;
    claims::required_text(claims, "jti", Code::TokenClaim)?;
    let text =
        |name| claims.get(name).map(|_| claims::required_text(claims, name, Code::TokenSubject)).transpose();
    let (subject, provider_sid) = (text("sub")?, text("sid")?);
    if subject.is_none() && provider_sid.is_none() {
        return Err(Error::new(Code::TokenSubject, "'sub' or 'sid'", "neither"));
    }
    Ok(Ended { subject: subject.map(str::to_owned), provider_sid: provider_sid.map(str::to_owned) })
}

/// An ID token or an access token must not be able to stand in for a logout token, nor the other way round (section 4,
/// RFC 8725 section 3.12): it has the event, and never a `nonce`.
fn check_type(typ: Option<&str>, claims: &Object) -> Result<()> {
    let refuse = |found: String| Err(Error::new(Code::TokenType, "a logout token", found));
    if let Some(typ) = typ {
        let short = typ.strip_prefix("application/").unwrap_or(typ);
        if !["jwt", "logout+jwt"].iter().any(|known| short.eq_ignore_ascii_case(known)) {
            return refuse(format!("typ {}", quote(typ)));
        }
    }
    match claims.get("events").and_then(Value::as_object).and_then(|events| events.get(EVENT)) {
        Some(Value::Object(_)) => {}
        Some(other) => return refuse(format!("an event that is {}", claims::describe(Some(other)))),
        None => return refuse("no event of back-channel logout".into()),
    }
    if claims.contains_key("nonce") {
        return refuse("a 'nonce' (an ID token)".into());
    }
    Ok(())
}
