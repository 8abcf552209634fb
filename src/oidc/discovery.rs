//! The provider's metadata (OpenID Connect Discovery 1.0 section 4, RFC 8414).

use super::message::{Request, Response};
use crate::error::{Code, Error, Result, quote};
use crate::jose::{Algorithm, Object};
use serde_json::Value;
use url::{Host, Url};

/// How our client proves itself at the token endpoint (OpenID Connect Core section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
    /// `none`: a public client, PKCE alone.
    None,
}

/// What we use of the provider's metadata; every address has passed [`check_endpoint`].
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Equal to the configured issuer.
    pub issuer: String,
    /// Where browsers log in.
    pub authorization_endpoint: String,
    /// Where codes are exchanged.
    pub token_endpoint: String,
    /// Where the keys are.
    pub jwks_uri: String,
    /// Where claims are asked for that the ID token does not carry, if the provider has such a place.
    pub userinfo_endpoint: Option<String>,
    /// Microsoft Graph beside Entra ID (its member `msgraph_host`, which differs from cloud to cloud): where groups are asked
    /// for that have no room in a token. An origin, without a path.
    pub graph: Option<String>,
    /// Where browsers log out, if the provider has such a place.
    pub end_session_endpoint: Option<String>,
    /// The algorithms that the provider signs with and we support.
    pub algorithms: Vec<Algorithm>,
    /// Client authentication methods offered, those that we support, in the provider's order.
    pub client_authentication: Vec<ClientAuthentication>,
    /// Whether the authorization response must carry `iss` (RFC 9207 section 3).
    pub issuer_in_response: bool,
}

/// The request for the metadata of `issuer` (Discovery section 4.1: a trailing slash is removed first).
pub fn request(issuer: &str) -> Request {
    Request::get(format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))
}

/// Judges the answer.
///
/// # Errors
/// `provider_error`, `provider_answer`: the document names another issuer (Discovery section 4.3: the mix-up attack),
/// lacks a member, or points to an address without TLS.
pub fn judge(issuer: &str, response: &Response) -> Result<Metadata> {
    let document = response.json("provider metadata")?;
    let found = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
    if found != issuer {
        return Err(Error::new(
            Code::ProviderAnswer,
            format!("metadata of issuer {}", quote(issuer)),
            format!("issuer {} ({})", quote(found), advice(found)),
        ));
    }
    let endpoint = |name: &'static str| -> Result<Option<String>> {
        match document.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(address)) => check_endpoint(name, address, issuer).map(Some),
            Some(_) => Err(fault(name, "an address", "another type")),
        }
    };
    let required = |name: &'static str| endpoint(name)?.ok_or_else(|| fault(name, "an address", "none"));
    Ok(Metadata {
        issuer: issuer.to_owned(),
        authorization_endpoint: required("authorization_endpoint")?,
        token_endpoint: required("token_endpoint")?,
        jwks_uri: required("jwks_uri")?,
        userinfo_endpoint: endpoint("userinfo_endpoint")?,
        graph: graph(&document, issuer)?,
        end_session_endpoint: endpoint("end_session_endpoint")?,
        algorithms: algorithms(&document)?,
        client_authentication: client_authentication(&document)?,
        issuer_in_response: document
            .get("authorization_response_iss_parameter_supported")
            .and_then(Value::as_bool)
            .unwrap_or(false),
    })
}

/// What to do about a provider that calls itself by another name.
fn advice(found: &str) -> &'static str {
    if found.contains('{') {
        "a template: this is the address for people of any tenant, and OIDC_ISSUER_URL must name yours"
    } else {
        "OIDC_ISSUER_URL must be exactly what the provider calls itself"
    }
}

fn graph(document: &Object, issuer: &str) -> Result<Option<String>> {
    const NAME: &str = "msgraph_host";
    let host = match document.get(NAME) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(host)) => host,
        Some(_) => return Err(fault(NAME, "the name of a host", "another type")),
    };
    let scheme = if issuer.starts_with("http://") { "http" } else { "https" };
    let origin = check_endpoint(NAME, &format!("{scheme}://{host}"), issuer)?;
    // A token is sent there: nothing but a host may be in it.
    match parse_address(&origin) {
        Some(url) if url.origin().ascii_serialization() == origin => Ok(Some(origin)),
        _ => Err(fault(NAME, "the name of a host", &quote(host))),
    }
}

/// Whether an address may be used: `https`, or `http` on loopback; no credentials and no fragment in it.
///
/// A provider on https whose metadata points to plain http on this machine would be a downgrade, so loopback http is
/// for loopback issuers only.
///
/// # Errors
/// `provider_answer`.
pub fn check_endpoint(name: &'static str, address: &str, issuer: &str) -> Result<String> {
    let url = parse_address(address).ok_or_else(|| fault(name, "an absolute address", &quote(address)))?;
    let issuer_is_plain = issuer.starts_with("http://");
    if !(url.scheme() == "https" || (is_plain_loopback(&url) && issuer_is_plain)) {
        return Err(fault(name, "https (http only for a provider on loopback)", &quote(address)));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(fault(name, "an address without credentials or fragment", "one with them"));
    }
    Ok(address.to_owned())
}

/// An absolute address as it stands, without what browsers forgive. They drop control characters and spaces, read a
/// backslash as a slash and `https:host` as `https://host`: a text that two readers take for two addresses is none.
pub fn parse_address(address: &str) -> Option<Url> {
    let odd = |c: char| c == '\\' || c.is_control() || c.is_whitespace();
    let (scheme, rest) = address.split_once("://")?;
    let written_out = scheme.chars().all(|c| c.is_ascii_alphanumeric()) && !rest.starts_with('/');
    if written_out && !address.contains(odd) { Url::parse(address).ok() } else { None }
}

/// `http` to this machine itself: the one place where TLS is not asked for.
pub fn is_plain_loopback(url: &Url) -> bool {
    url.scheme() == "http" && url.host().is_some_and(|host| is_loopback(&host))
}

/// Whether a host is this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
pub fn is_loopback<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Domain(name) => name.as_ref().eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

fn fault(name: &'static str, expected: &str, found: &str) -> Error {
    Error::new(Code::ProviderAnswer, format!("'{name}' of the metadata as {expected}"), found.to_owned())
}

fn texts<'a>(document: &'a Object, name: &'static str) -> Result<Option<Vec<&'a str>>> {
    match document.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().ok_or_else(|| fault(name, "a list of texts", "another type in it")))
            .collect::<Result<Vec<_>>>()
            .map(Some),
        Some(_) => Err(fault(name, "a list of texts", "another type")),
    }
}

fn algorithms(document: &Object) -> Result<Vec<Algorithm>> {
    const NAME: &str = "id_token_signing_alg_values_supported";
    // Required by Discovery section 3; a provider that leaves it out signs with RS256, the default of Core section 2.
    let Some(names) = texts(document, NAME)? else {
        return Ok(vec![Algorithm::RS256]);
    };
    let known: Vec<Algorithm> = names.iter().filter_map(|name| Algorithm::from_name(name)).collect();
    if known.is_empty() {
        return Err(fault(NAME, "RS, PS, ES or EdDSA", &quote(&names.join(", "))));
    }
    Ok(known)
}

fn client_authentication(document: &Object) -> Result<Vec<ClientAuthentication>> {
    const NAME: &str = "token_endpoint_auth_methods_supported";
    // The default of Discovery section 3.
    let Some(names) = texts(document, NAME)? else {
        return Ok(vec![ClientAuthentication::Basic]);
    };
    Ok(names
        .iter()
        .filter_map(|name| match *name {
            "client_secret_basic" => Some(ClientAuthentication::Basic),
            "client_secret_post" => Some(ClientAuthentication::Post),
            "none" => Some(ClientAuthentication::None),
            _ => None,
        })
        .collect())
}
