//! A JWT sent as a bearer (RFC 6750, RFC 9068): what it must say before and after its signature is checked.

use super::{claims, id_token};
use crate::error::{Code, Error, Result, quote};
use crate::jose::{Compact, Object};
use serde_json::Value;

/// What every bearer must say.
#[derive(Debug)]
pub struct Expectation<'a> {
    /// The names of the provider, its own first (`OIDC_ISSUER_URL`, `OIDC_ISSUER_ALIASES`).
    pub issuers: &'a [String],
    /// Our client id.
    pub client_id: &'a str,
    /// Further audiences that are ours (`OIDC_AUDIENCE`).
    pub audiences: &'a [String],
    /// Now, in seconds since 1970.
    pub now: i64,
    /// Allowed clock difference, in seconds.
    pub skew: i64,
}

/// Judges the claims of a bearer and returns `exp` in seconds since 1970.
///
/// It runs on unverified claims: it can only refuse. A forged token of a stranger thus ends here, before a key is
/// looked up or fetched; what passes still has to be verified, and the verified claims are the same bytes.
///
/// # Errors
/// The `token_...` code of the first check that fails.
pub fn check(token: &Compact<'_>, expected: &Expectation<'_>) -> Result<i64> {
    let claims = token.unverified_claims();
    check_type(token.typ(), claims)?;
    claims::check_issuer(claims, expected.issuers)?;
    check_audience(token.typ(), claims, expected)?;
    let expires = claims::check_times(claims, expected.now, expected.skew)?;
    claims::subject(claims, "sub")?;
    Ok(expires)
}

fn check_type(typ: Option<&str>, claims: &Object) -> Result<()> {
    let refuse =
        |found: String| Err(Error::new(Code::TokenType, "an access token or an ID token of ours", found));
    // RFC 9068 section 4 and RFC 8725 section 3.11: an explicitly typed token is only ever that type.
    if let Some(typ) = typ {
        let short = typ.strip_prefix("application/").unwrap_or(typ);
        if !["jwt", "at+jwt"].iter().any(|known| short.eq_ignore_ascii_case(known)) {
            return refuse(format!("typ {}", quote(typ)));
        }
    }
    // Keycloak types its tokens by a claim: refresh, offline and logout tokens are not for us.
    if let Some(Value::String(kind)) = claims.get("typ")
        && !["Bearer", "ID"].contains(&kind.as_str())
    {
        return refuse(format!("the claim typ {}", quote(kind)));
    }
    // Back-Channel Logout 1.0 section 2.4: a logout token is known by its `events`.
    if claims.contains_key("events") {
        return refuse("a security event (a logout token)".into());
    }
    // A token bound to a key or certificate (RFC 9449 section 7.2, RFC 8705 section 3) proves nothing without it:
    // taking it as a plain bearer would undo the protection against theft.
    if claims.contains_key("cnf") {
        return refuse("a token bound to a key ('cnf')".into());
    }
    Ok(())
}

fn check_audience(typ: Option<&str>, claims: &Object, expected: &Expectation<'_>) -> Result<()> {
    // An ID token is a message to the one client that asked for it: as a bearer it is good only when that is us.
    if looks_like_id_token(typ, claims) {
        return id_token::check_audience(claims, expected.client_id);
    }
    let audience = recipients(claims)?;
    let ours =
        |name: &&str| *name == expected.client_id || expected.audiences.iter().any(|other| other == name);
    if audience.iter().any(ours) {
        return Ok(());
    }
    let mut accepted = vec![expected.client_id];
    accepted.extend(expected.audiences.iter().map(String::as_str));
    Err(Error::new(Code::TokenAudience, quote(&accepted.join(", ")), quote(&audience.join(", "))))
}

/// Whom an access token is for. Amazon Cognito's have no `aud` and name the client that they were issued to; nobody else types
/// a token by `token_use`. Whether that client is ours is asked as of any audience.
fn recipients(claims: &Object) -> Result<Vec<&str>> {
    if !claims.contains_key("aud") && claims.get("token_use").and_then(Value::as_str) == Some("access") {
        return Ok(vec![claims::required_text(claims, "client_id", Code::TokenAudience)?]);
    }
    claims::audience(claims)
}

fn looks_like_id_token(typ: Option<&str>, claims: &Object) -> bool {
    let access = typ.is_some_and(|typ| typ.to_ascii_lowercase().ends_with("at+jwt"))
        || claims.get("typ").and_then(Value::as_str) == Some("Bearer");
    !access
        && (claims.get("typ").and_then(Value::as_str) == Some("ID")
            || claims.get("token_use").and_then(Value::as_str) == Some("id")
            || ["nonce", "at_hash", "c_hash"].iter().any(|name| claims.contains_key(*name)))
}
