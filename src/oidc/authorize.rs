//! The authorization request (OpenID Connect Core section 3.1.2.1).

use crate::secret::Secret;
use url::Url;

/// What the provider is to ask the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// What it needs to know.
    Usual,
    /// `prompt=login`: anew who it is, even when it knows somebody.
    Login,
    /// `prompt=none`: nothing; it answers with an error where it would have to ask.
    Nothing,
}

/// What goes into the request.
#[derive(Debug)]
pub struct AuthorizationRequest<'a> {
    /// `client_id`.
    pub client_id: &'a str,
    /// `redirect_uri`, exactly as registered.
    pub redirect_uri: &'a str,
    /// `scope`, separated by spaces.
    pub scope: &'a str,
    /// `state`: binds the answer to the browser that asked (RFC 6749 section 10.12).
    pub state: &'a Secret,
    /// `nonce`: binds the ID token to the request.
    pub nonce: &'a Secret,
    /// `code_challenge` for S256.
    pub code_challenge: &'a str,
    /// What the provider is to ask.
    pub prompt: Prompt,
}

/// The address to send the browser to. `endpoint` may have a query of its own (RFC 6749 section 3.1), which stays.
pub fn url(endpoint: &str, request: &AuthorizationRequest<'_>) -> Option<String> {
    let mut url = Url::parse(endpoint).ok()?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", request.client_id)
        .append_pair("redirect_uri", request.redirect_uri)
        .append_pair("scope", request.scope)
        .append_pair("state", request.state.expose())
        .append_pair("nonce", request.nonce.expose())
        .append_pair("code_challenge", request.code_challenge)
        .append_pair("code_challenge_method", "S256");
    match request.prompt {
        Prompt::Usual => {}
        Prompt::Login => {
            url.query_pairs_mut().append_pair("prompt", "login");
        }
        Prompt::Nothing => {
            url.query_pairs_mut().append_pair("prompt", "none");
        }
    }
    Some(url.into())
}
