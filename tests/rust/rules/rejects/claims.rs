//! Spoilt claims under good signatures.

use super::Place::{Bearer, Both, Id};
use super::{Row, row};
use crate::support::{CLIENT_ID, Draft, ISSUER, NOW, base64url};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

const EXP: &str = "RFC 7519 section 4.1.4; OpenID Connect Core section 3.1.3.7 step 9";
const DATE: &str = "RFC 7519 section 2 (NumericDate), whole seconds only";
const NBF: &str = "RFC 7519 section 4.1.5";
const IAT: &str = "RFC 7519 section 4.1.6; Core section 3.1.3.7 step 10; rp-id_token-iat";
const AUD: &str = "RFC 7519 section 4.1.3; Core section 3.1.3.7 step 3; rp-id_token-aud";
const AZP: &str = "OpenID Connect Core section 3.1.3.7 steps 4 and 5";
const ISS: &str = "RFC 7519 section 4.1.1; Core section 3.1.3.7 step 2; rp-id_token-issuer-mismatch";
const SUB: &str = "OpenID Connect Core section 2; rp-id_token-sub";
const NONCE: &str = "OpenID Connect Core section 3.1.3.7 step 11; rp-nonce-invalid";
const HASH: &str = "OpenID Connect Core section 3.1.3.6; rp-id_token-bad-at_hash";
const OTHERS: &str = "an ID token is for its own client alone: Core section 2; RFC 8725 section 3.9";
const KIND: &str = "RFC 8725 section 3.12: kinds of tokens must not stand in for each other";

fn set(d: &mut Draft, claim: &str, value: Value) {
    d.set(claim, value);
}

fn drop(d: &mut Draft, claim: &str) {
    d.drop(claim);
}

/// An ID token of a client that OIDC_AUDIENCE lists, sent as a bearer.
fn of_another_client(d: &mut Draft, mark: &str, value: Value) {
    d.settings.push(("OIDC_AUDIENCE", "other-client"));
    d.set("aud", "other-client").set("azp", "other-client").set(mark, value);
}

pub const ROWS: &[Row] = &[
    row("expired", Both, "token_expired", EXP, |d| set(d, "exp", json!(NOW - 3600))),
    row("expired at the edge of the skew", Both, "token_expired", EXP, |d| set(d, "exp", json!(NOW - 60))),
    row("expired this second without skew", Both, "token_expired", EXP, |d| {
        d.settings.push(("OIDC_CLOCK_SKEW_SECONDS", "0"));
        d.set("exp", NOW);
    }),
    row("exp 0", Both, "token_expired", EXP, |d| set(d, "exp", json!(0))),
    row("exp missing", Both, "token_claim", EXP, |d| drop(d, "exp")),
    row("exp null", Both, "token_claim", DATE, |d| set(d, "exp", Value::Null)),
    row("exp text", Both, "token_claim", DATE, |d| set(d, "exp", json!((NOW + 300).to_string()))),
    row("exp fraction", Both, "token_claim", DATE, |d| set(d, "exp", json!(NOW as f64 + 300.5))),
    row("exp as 1.8e9", Both, "token_claim", DATE, |d| set(d, "exp", json!(1.9e9))),
    row("exp negative", Both, "token_claim", DATE, |d| set(d, "exp", json!(-1))),
    row("exp in milliseconds", Both, "token_claim", DATE, |d| set(d, "exp", json!((NOW + 300) * 1000))),
    row("exp at the end of i64", Both, "token_claim", "an overflow of exp + skew", |d| {
        set(d, "exp", json!(i64::MAX))
    }),
    row("exp beyond i64", Both, "token_claim", "an overflow of exp", |d| set(d, "exp", json!(u64::MAX))),
    row("exp list", Both, "token_claim", DATE, |d| set(d, "exp", json!([NOW + 300]))),
    row("exp true", Both, "token_claim", DATE, |d| set(d, "exp", json!(true))),
    row("nbf in the future", Both, "token_not_yet_valid", NBF, |d| set(d, "nbf", json!(NOW + 3600))),
    row("nbf beyond the skew", Both, "token_not_yet_valid", NBF, |d| set(d, "nbf", json!(NOW + 61))),
    row("nbf text", Both, "token_claim", NBF, |d| set(d, "nbf", json!("0"))),
    row("nbf null", Both, "token_claim", NBF, |d| set(d, "nbf", Value::Null)),
    row("iat in the future", Both, "token_issued_at", IAT, |d| set(d, "iat", json!(NOW + 3600))),
    row("iat beyond the skew", Both, "token_issued_at", IAT, |d| set(d, "iat", json!(NOW + 61))),
    row("iat text", Both, "token_claim", IAT, |d| set(d, "iat", json!("now"))),
    row("iat negative", Both, "token_claim", IAT, |d| set(d, "iat", json!(-5))),
    row("iat missing", Id, "token_claim", IAT, |d| drop(d, "iat")),
    row("aud other", Both, "token_audience", AUD, |d| set(d, "aud", json!("other-client"))),
    row("aud missing", Both, "token_audience", AUD, |d| drop(d, "aud")),
    row("aud null", Both, "token_audience", AUD, |d| set(d, "aud", Value::Null)),
    row("aud empty text", Both, "token_audience", AUD, |d| set(d, "aud", json!(""))),
    row("aud empty list", Both, "token_audience", AUD, |d| set(d, "aud", json!([]))),
    row("aud number", Both, "token_audience", AUD, |d| set(d, "aud", json!(1))),
    row("aud list with a number", Both, "token_audience", AUD, |d| set(d, "aud", json!([CLIENT_ID, 1]))),
    row("aud list in a list", Both, "token_audience", AUD, |d| set(d, "aud", json!([[CLIENT_ID]]))),
    row("aud object", Both, "token_audience", AUD, |d| set(d, "aud", json!({CLIENT_ID: true}))),
    row("aud in capitals", Both, "token_audience", AUD, |d| set(d, "aud", json!("MLFLOW"))),
    row("aud longer", Both, "token_audience", AUD, |d| set(d, "aud", json!("mlflow-other"))),
    row("aud shorter", Both, "token_audience", AUD, |d| set(d, "aud", json!("mlflo"))),
    row("aud with commas", Both, "token_audience", AUD, |d| set(d, "aud", json!("other,mlflow"))),
    row("aud with spaces", Both, "token_audience", AUD, |d| set(d, "aud", json!(" mlflow "))),
    row("aud of OIDC_AUDIENCE in an ID token", Id, "token_audience", OTHERS, |d| {
        of_another_client(d, "acr", json!("1"))
    }),
    row("azp other", Id, "token_authorized_party", AZP, |d| set(d, "azp", json!("other-client"))),
    row("azp empty", Id, "token_authorized_party", AZP, |d| set(d, "azp", json!(""))),
    row("azp missing beside several audiences", Id, "token_authorized_party", AZP, |d| {
        d.set("aud", json!([CLIENT_ID, "other-client"]));
    }),
    row("azp number", Id, "token_claim", AZP, |d| set(d, "azp", json!(1))),
    row("an ID token of ours that another client got", Bearer, "token_authorized_party", OTHERS, |d| {
        d.set("nonce", "n").set("azp", "other-client");
    }),
    row("an ID token for several without azp", Bearer, "token_authorized_party", OTHERS, |d| {
        d.set("nonce", "n").set("aud", json!([CLIENT_ID, "other-client"]));
    }),
    row("another client's ID token, known by its nonce", Bearer, "token_audience", OTHERS, |d| {
        of_another_client(d, "nonce", json!("n"));
    }),
    row("another client's ID token, known by at_hash", Bearer, "token_audience", OTHERS, |d| {
        of_another_client(d, "at_hash", json!("x"));
    }),
    row("another client's ID token, known by c_hash", Bearer, "token_audience", OTHERS, |d| {
        of_another_client(d, "c_hash", json!("x"));
    }),
    row("another client's ID token of Keycloak", Bearer, "token_audience", OTHERS, |d| {
        of_another_client(d, "typ", json!("ID"));
    }),
    row("iss other", Both, "token_issuer", ISS, |d| set(d, "iss", json!("https://evil.example"))),
    row("iss missing", Both, "token_issuer", ISS, |d| drop(d, "iss")),
    row("iss null", Both, "token_issuer", ISS, |d| set(d, "iss", Value::Null)),
    row("iss empty", Both, "token_issuer", ISS, |d| set(d, "iss", json!(""))),
    row("iss with a slash more", Both, "token_issuer", ISS, |d| set(d, "iss", json!(format!("{ISSUER}/")))),
    row("iss with another case", Both, "token_issuer", ISS, |d| {
        set(d, "iss", json!(ISSUER.replace("idp", "IDP")))
    }),
    row("iss without TLS", Both, "token_issuer", ISS, |d| {
        set(d, "iss", json!(ISSUER.replace("https", "http")))
    }),
    row("iss of another realm", Both, "token_issuer", ISS, |d| {
        set(d, "iss", json!(ISSUER.replace("test", "test2")))
    }),
    row("iss number", Both, "token_issuer", ISS, |d| set(d, "iss", json!(1))),
    row("iss list", Both, "token_issuer", "CVE-2025-30144 (fast-jwt: iss as a list)", |d| {
        d.set("iss", json!([ISSUER, "https://evil.example"]));
    }),
    row("sub missing", Both, "token_subject", SUB, |d| drop(d, "sub")),
    row("sub null", Both, "token_subject", SUB, |d| set(d, "sub", Value::Null)),
    row("sub empty", Both, "token_subject", SUB, |d| set(d, "sub", json!(""))),
    row("sub of 256 bytes", Both, "token_subject", SUB, |d| set(d, "sub", json!("s".repeat(256)))),
    row("sub number", Both, "token_subject", SUB, |d| set(d, "sub", json!(1))),
    row("sub object", Both, "token_subject", SUB, |d| set(d, "sub", json!({"id": 1}))),
    row("nonce missing", Id, "token_nonce", NONCE, |d| drop(d, "nonce")),
    row("nonce of another login", Id, "token_nonce", NONCE, |d| set(d, "nonce", json!("another"))),
    row("nonce empty", Id, "token_nonce", NONCE, |d| set(d, "nonce", json!(""))),
    row("nonce number", Id, "token_nonce", NONCE, |d| set(d, "nonce", json!(1))),
    row("at_hash of another access token", Id, "token_at_hash", HASH, |d| {
        set(d, "at_hash", json!(at_hash("other", 16)))
    }),
    row("at_hash whole", Id, "token_at_hash", HASH, |d| {
        set(d, "at_hash", json!(at_hash("opaque-access-token", 32)))
    }),
    row("at_hash empty", Id, "token_at_hash", HASH, |d| set(d, "at_hash", json!(""))),
    row("at_hash without an access token", Id, "token_at_hash", HASH, |d| {
        d.set("at_hash", at_hash("opaque-access-token", 16));
        d.access_token = None;
    }),
    row("at_hash number", Id, "token_claim", HASH, |d| set(d, "at_hash", json!(1))),
    row("sid number", Id, "token_claim", "Back-Channel Logout 1.0 section 2.1", |d| set(d, "sid", json!(1))),
    row("a refresh token of Keycloak", Bearer, "token_type", KIND, |d| set(d, "typ", json!("Refresh"))),
    row("an offline token of Keycloak", Bearer, "token_type", KIND, |d| set(d, "typ", json!("Offline"))),
    row("a logout token of Keycloak", Bearer, "token_type", KIND, |d| set(d, "typ", json!("Logout"))),
    row("a serialized id of Keycloak", Bearer, "token_type", KIND, |d| set(d, "typ", json!("Serialized-ID"))),
    row("a logout token", Bearer, "token_type", "Back-Channel Logout 1.0 section 2.4", |d| {
        d.set("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}}));
    }),
    row("a token bound to a certificate", Bearer, "token_type", "RFC 8705 section 3", |d| {
        d.set("cnf", json!({"x5t#S256": "abc"}));
    }),
    row("a token bound to a DPoP key", Bearer, "token_type", "RFC 9449 section 7.2", |d| {
        d.set("cnf", json!({"jkt": "abc"}));
    }),
];

fn at_hash(access_token: &str, bytes: usize) -> String {
    base64url(&digest(&SHA256, access_token.as_bytes()).as_ref()[..bytes])
}
