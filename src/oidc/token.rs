//! The token request and its answer (OpenID Connect Core section 3.1.3, RFC 6749 section 4.1.3).

use super::discovery::{ClientAuthentication, Metadata};
use super::message::{Request, Response};
use crate::error::{Code, Error, Result, quote};
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use url::form_urlencoded;

/// Who asks at the token endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// `client_id`.
    pub id: &'a str,
    /// The client secret; `None` is a public client.
    pub secret: Option<&'a Secret>,
}

/// What a code is exchanged with.
#[derive(Debug)]
pub struct CodeExchange<'a> {
    /// The code.
    pub code: &'a Secret,
    /// The same `redirect_uri` as in the authorization request.
    pub redirect_uri: &'a str,
    /// The PKCE verifier of this login.
    pub code_verifier: &'a Secret,
}

/// The tokens of a successful answer.
#[derive(Debug)]
pub struct Tokens {
    /// Always there: it is what proves the identity.
    pub id_token: Secret,
    /// The access token, for `at_hash`.
    pub access_token: Option<Secret>,
    /// With it the provider can be asked again, if it gives one.
    pub refresh_token: Option<Secret>,
}

/// The tokens of an answer, of which none has to be there.
#[derive(Debug)]
pub struct Given {
    /// `id_token`.
    pub id_token: Option<Secret>,
    /// `access_token`.
    pub access_token: Option<Secret>,
    /// `refresh_token`.
    pub refresh_token: Option<Secret>,
}

/// Builds the token request; PKCE always.
///
/// # Errors
/// `provider_answer` when the provider offers no client authentication that fits our credentials.
pub fn request(metadata: &Metadata, client: Client<'_>, exchange: &CodeExchange<'_>) -> Result<Request> {
    let members = [
        ("grant_type", "authorization_code"),
        ("code", exchange.code.expose()),
        ("redirect_uri", exchange.redirect_uri),
        ("code_verifier", exchange.code_verifier.expose()),
    ];
    grant(metadata, client, &members)
}

/// Builds a request to the token endpoint with the client authentication that the provider offers.
///
/// # Errors
/// `provider_answer` when none of them fits our credentials.
pub fn grant(metadata: &Metadata, client: Client<'_>, members: &[(&str, &str)]) -> Result<Request> {
    let method = choose(&metadata.client_authentication, client.secret.is_some())?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(members);
    let mut authorization = None;
    match (method, client.secret) {
        (ClientAuthentication::Basic, Some(secret)) => {
            // Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1), so that a ':' or a
            // non-ASCII character in either cannot be misread.
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = Secret::new(format!("{}:{}", encode(client.id), encode(secret.expose())));
            authorization = Some(Secret::new(format!("Basic {}", STANDARD.encode(pair.expose()))));
        }
        (ClientAuthentication::Post, Some(secret)) => {
            form.append_pair("client_id", client.id).append_pair("client_secret", secret.expose());
        }
        _ => {
            form.append_pair("client_id", client.id);
        }
    }
    Ok(Request {
        form: Some(Secret::new(form.finish())),
        authorization,
        ..Request::get(metadata.token_endpoint.as_str())
    })
}

fn choose(offered: &[ClientAuthentication], has_secret: bool) -> Result<ClientAuthentication> {
    if !has_secret {
        // A public client sends its id only; many providers support that without listing 'none'.
        return Ok(ClientAuthentication::None);
    }
    [ClientAuthentication::Basic, ClientAuthentication::Post]
        .into_iter()
        .find(|method| offered.contains(method))
        .ok_or_else(|| {
            Error::new(
                Code::ProviderAnswer,
                "client_secret_basic or client_secret_post among the provider's token_endpoint_auth_methods_supported",
                "neither",
            )
        })
}

/// Judges the answer.
///
/// # Errors
/// `provider_error` with the provider's error code (RFC 6749 section 5.2), `provider_answer` without an ID token.
pub fn judge(response: &Response) -> Result<Tokens> {
    let given = given(response)?;
    let id_token = given.id_token.ok_or_else(|| {
        Error::new(
            Code::ProviderAnswer,
            "an 'id_token' (is 'openid' among OIDC_SCOPES?)",
            "an answer without",
        )
    })?;
    Ok(Tokens { id_token, access_token: given.access_token, refresh_token: given.refresh_token })
}

const WHAT: &str = "token answer";

/// The provider's error code (RFC 6749 section 5.2), where the answer is one of failure and has one.
pub fn error_of(response: &Response) -> Option<String> {
    let object = response.object(WHAT).ok().filter(|_| response.status != 200)?;
    object.get("error").and_then(Value::as_str).map(str::to_owned)
}

/// The tokens of the answer (RFC 6749 section 5.1).
///
/// # Errors
/// `provider_error`, `provider_answer`.
pub fn given(response: &Response) -> Result<Given> {
    if response.status != 200 {
        let error = error_of(response).map_or_else(|| "no error code".into(), |error| quote(&error));
        let hint = if error.contains("invalid_client") || response.status == 401 {
            " (check OIDC_CLIENT_ID and OIDC_CLIENT_SECRET)"
        } else {
            ""
        };
        return Err(Error::new(
            Code::ProviderError,
            "tokens",
            format!("status {}, error {error}{hint}", response.status),
        ));
    }
    let object = response.json(WHAT)?;
    let fault = |expected: &'static str, found: String| Error::new(Code::ProviderAnswer, expected, found);
    match object.get("token_type") {
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("bearer") => {}
        other => return Err(fault("token_type Bearer", super::claims::describe(other))),
    }
    let text = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(token)) if !token.is_empty() => Ok(Some(Secret::new(token.as_str()))),
        other => Err(fault("tokens as text", format!("'{name}': {}", super::claims::describe(other)))),
    };
    Ok(Given {
        id_token: text("id_token")?,
        access_token: text("access_token")?,
        refresh_token: text("refresh_token")?,
    })
}
