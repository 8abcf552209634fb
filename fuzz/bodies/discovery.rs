//! The provider's metadata: what is accepted may be used as it stands.

use super::told;
use mlflow_oidc::oidc::authorize::{self, AuthorizationRequest};
use mlflow_oidc::oidc::discovery::{Metadata, judge};
use mlflow_oidc::oidc::message::Response;
use mlflow_oidc::secret::Secret;
use std::net::IpAddr;
use url::{Host, Url};

/// A provider with TLS, one on this machine, and one whose name looks like this machine's.
const ISSUERS: [&str; 3] =
    ["https://idp.example/realms/test", "http://127.0.0.1:8080/", "https://localhost.example"];

/// One input: the body of an answer, after a first line that may name a status and a content type (`#500 text/html`).
pub fn run(input: &[u8]) {
    let (status, content_type, body) = head(input);
    let response = Response { status, content_type, max_age: None, date: None, body: body.to_vec() };
    for issuer in ISSUERS {
        match judge(issuer, &response) {
            Ok(metadata) => {
                assert_eq!(status, 200, "an error was taken for metadata");
                check(issuer, &metadata);
            }
            Err(error) => told::error(&error, body),
        }
    }
}

fn head(input: &[u8]) -> (u16, Option<String>, &[u8]) {
    let Some(rest) = input.strip_prefix(b"#") else {
        return (200, Some("application/json".to_owned()), input);
    };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let line = String::from_utf8_lossy(&rest[..end]);
    let (status, content_type) = line.split_once(' ').unwrap_or((&line, ""));
    let body = rest.get(end + 1..).unwrap_or_default();
    (status.parse().unwrap_or(200), (!content_type.is_empty()).then(|| content_type.to_owned()), body)
}

fn check(issuer: &str, metadata: &Metadata) {
    assert_eq!(metadata.issuer, issuer);
    assert!(!metadata.algorithms.is_empty());
    let mut endpoints = vec![&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri];
    endpoints.extend(&metadata.end_session_endpoint);
    for endpoint in endpoints {
        check_endpoint(issuer, endpoint);
    }
    let address = authorize::url(
        &metadata.authorization_endpoint,
        &AuthorizationRequest {
            client_id: "mlflow",
            redirect_uri: "https://mlflow.example/oidc/callback",
            scope: "openid",
            state: &Secret::new("the-state"),
            nonce: &Secret::new("the-nonce"),
            code_challenge: "the-challenge",
            prompt: authorize::Prompt::Usual,
        },
    )
    .expect("an accepted address takes a query");
    // This goes into a Location header.
    assert!(address.is_ascii() && !address.contains(|c: char| c.is_control() || c == ' '), "{address:?}");
    let first = Url::parse(&metadata.authorization_endpoint).expect("an address");
    let then = Url::parse(&address).expect("an address");
    assert_eq!((first.origin(), first.path()), (then.origin(), then.path()), "the query changed the place");
    for (name, value) in [("state", "the-state"), ("client_id", "mlflow"), ("response_type", "code")] {
        assert!(
            then.query_pairs().any(|pair| pair == (name.into(), value.into())),
            "{name} is lost in {address:?}"
        );
    }
}

fn check_endpoint(issuer: &str, endpoint: &str) {
    told::address(endpoint);
    let url = Url::parse(endpoint).expect("an accepted address is one");
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => panic!("{endpoint:?} has no host"),
    };
    let plain = url.scheme() == "http" && here && issuer.starts_with("http:");
    assert!(url.scheme() == "https" || plain, "{endpoint:?} for {issuer}");
    assert!(url.username().is_empty() && url.password().is_none(), "credentials in {endpoint:?}");
    assert!(url.fragment().is_none(), "a fragment in {endpoint:?}");
}
