//! The refresh grant (RFC 6749 section 6) and what its ID token must say (OpenID Connect Core section 12.2).

use super::claims;
use super::discovery::Metadata;
use super::id_token;
use super::message::{Request, Response};
use super::token::{self, Client, Given};
use crate::error::{Code, Error, Result};
use crate::jose::{Object, Verified};
use crate::secret::{Secret, same};
use std::collections::BTreeSet;

/// The errors by which a provider says that the grant is over or the person themselves has to come (RFC 6749 section 5.2,
/// OpenID Connect Core section 3.1.2.6, which Entra ID and others use at the token endpoint too).
const OVER: [&str; 5] = [
    "invalid_grant",
    "login_required",
    "interaction_required",
    "consent_required",
    "account_selection_required",
];

/// Builds the request. No `scope` is sent: what was granted stays.
///
/// # Errors
/// `provider_answer` when the provider offers no client authentication that fits our credentials.
pub fn request(metadata: &Metadata, client: Client<'_>, refresh_token: &Secret) -> Result<Request> {
    let members = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())];
    token::grant(metadata, client, &members)
}

/// Judges the answer. An ID token need not be in it (Core section 12.2).
///
/// # Errors
/// `session_ended` when the provider says that it is over; `provider_error`, `provider_answer`.
pub fn judge(response: &Response) -> Result<Given> {
    match token::error_of(response) {
        Some(error) if OVER.contains(&error.as_str()) => Err(Error::new(
            Code::SessionEnded,
            "a session that the provider goes on with",
            format!("one whose refresh token it refuses ({error})"),
        )),
        _ => token::given(response),
    }
}

/// What the ID token of a refresh must say.
#[derive(Debug)]
pub struct Expectation<'a> {
    /// The claims of the ID token of the login.
    pub original: &'a Object,
    /// What holds for every ID token; the nonce does not.
    pub usual: id_token::Usual<'a>,
}

/// Checks the verified ID token of a refresh, in the order of Core section 12.2.
///
/// # Errors
/// The `token_...` code of the first check that fails.
pub fn check(token: &Verified, expected: &Expectation<'_>) -> Result<()> {
    let (claims, original) = (token.claims(), expected.original);
    id_token::check_usual(token, &expected.usual)?;
    let another = |code: Code, name: &str| {
        Error::new(code, format!("the '{name}' of the login's ID token"), "another one")
    };
    if claims.get("iss") != original.get("iss") {
        return Err(another(Code::TokenIssuer, "iss"));
    }
    // Tokens of somebody else would lend this session their rights.
    if claims::subject(claims, "sub")? != claims::subject(original, "sub")? {
        return Err(another(Code::TokenSubject, "sub"));
    }
    let issued = claims::required_time(claims, "iat")?;
    if claims::optional_time(original, "iat")?
        .is_some_and(|before| issued.saturating_add(expected.usual.skew) < before)
    {
        return Err(Error::new(
            Code::TokenIssuedAt,
            "an ID token issued after that of the login",
            "an older one",
        ));
    }
    let audience = |claims| claims::audience(claims).map(|texts| texts.into_iter().collect::<BTreeSet<_>>());
    if audience(claims)? != audience(original)? {
        return Err(another(Code::TokenAudience, "aud"));
    }
    // Of the login, not of the refresh: one that moves is about another login.
    let moved =
        |before| claims::optional_time(claims, "auth_time").map(|now| now.is_some_and(|now| now != before));
    if let Some(before) = claims::optional_time(original, "auth_time")?
        && moved(before)?
    {
        return Err(another(Code::TokenClaim, "auth_time"));
    }
    if let Some(nonce) = claims::optional_text(claims, "nonce")? {
        let before = claims::optional_text(original, "nonce")?.unwrap_or_default();
        if !same(nonce.as_bytes(), before.as_bytes()) {
            return Err(another(Code::TokenNonce, "nonce"));
        }
    }
    if claims::optional_text(claims, "azp")? != claims::optional_text(original, "azp")? {
        return Err(another(Code::TokenAuthorizedParty, "azp"));
    }
    Ok(())
}
