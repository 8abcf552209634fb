//! ID token validation (OpenID Connect Core section 3.1.3.7), in the order of the specification.

use super::claims;
use crate::error::{Code, Error, Result, quote};
use crate::jose::{Object, Verified};
use crate::secret::{Secret, same};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What every ID token for us must say.
#[derive(Debug)]
pub struct Usual<'a> {
    /// The names of the provider, its own first (`OIDC_ISSUER_URL`, `OIDC_ISSUER_ALIASES`).
    pub issuers: &'a [String],
    /// Our client id.
    pub client_id: &'a str,
    /// The access token that came beside it.
    pub access_token: Option<&'a Secret>,
    /// Now, in seconds since 1970.
    pub now: i64,
    /// Allowed clock difference, in seconds.
    pub skew: i64,
}

/// Checks the verified ID token of the login with this nonce; steps 6 and 7 (signature, algorithm) are proven by [`Verified`].
///
/// # Errors
/// The `token_...` code of the first check that fails.
pub fn check(token: &Verified, expected: &Usual<'_>, nonce: &Secret) -> Result<()> {
    check_usual(token, expected)?;
    // 11. Nonce: an ID token replayed from another login stops here.
    let found = claims::required_text(token.claims(), "nonce", Code::TokenNonce)?;
    if !same(found.as_bytes(), nonce.expose().as_bytes()) {
        return Err(Error::new(Code::TokenNonce, "the nonce of this login", "another one"));
    }
    Ok(())
}

/// Checks all but the nonce.
///
/// # Errors
/// The `token_...` code of the first check that fails.
pub fn check_usual(token: &Verified, expected: &Usual<'_>) -> Result<()> {
    let claims = token.claims();
    // A token explicitly typed as something else is never an ID token (RFC 8725 section 3.11).
    if let Some(typ) = token.typ()
        && !typ.eq_ignore_ascii_case("JWT")
    {
        return Err(Error::new(
            Code::TokenType,
            "an ID token (typ JWT or none)",
            format!("typ {}", quote(typ)),
        ));
    }
    // 2. Issuer.
    claims::check_issuer(claims, expected.issuers)?;
    // 3. to 5. Audience and authorized party.
    check_audience(claims, expected.client_id)?;
    // 9. and 10. Times; `iat` is required here.
    claims::required_time(claims, "iat")?;
    claims::check_times(claims, expected.now, expected.skew)?;
    // Section 3.1.3.6: at_hash ties the access token to this ID token; optional in the code flow, binding when there.
    if let Some(found) = claims::optional_text(claims, "at_hash")? {
        check_at_hash(token, found, expected.access_token)?;
    }
    claims::subject(claims, "sub")?;
    Ok(())
}

/// `aud` contains us; `azp`, when there or when several audiences are, is us.
///
/// # Errors
/// `token_audience`, `token_authorized_party`.
pub fn check_audience(claims: &Object, client_id: &str) -> Result<()> {
    let audience = claims::audience(claims)?;
    if !audience.contains(&client_id) {
        return Err(Error::new(Code::TokenAudience, quote(client_id), quote(&audience.join(", "))));
    }
    match claims::optional_text(claims, "azp")? {
        Some(party) if party != client_id => {
            Err(Error::new(Code::TokenAuthorizedParty, format!("azp {}", quote(client_id)), quote(party)))
        }
        None if audience.len() > 1 => Err(Error::new(
            Code::TokenAuthorizedParty,
            format!("azp {} beside several audiences", quote(client_id)),
            "no azp",
        )),
        _ => Ok(()),
    }
}

fn check_at_hash(token: &Verified, found: &str, access_token: Option<&Secret>) -> Result<()> {
    let access_token = access_token
        .ok_or_else(|| Error::new(Code::TokenAtHash, "an access token beside 'at_hash'", "none"))?;
    let hash = digest::digest(token.algorithm().digest(), access_token.expose().as_bytes());
    let half = &hash.as_ref()[..hash.as_ref().len() / 2];
    if same(URL_SAFE_NO_PAD.encode(half).as_bytes(), found.as_bytes()) {
        return Ok(());
    }
    Err(Error::new(Code::TokenAtHash, "the hash of the access token", "another one"))
}
