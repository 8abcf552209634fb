//! A compact token: read, verified with fixed keys, judged as a bearer.
//!
//! An input that begins with `{` is three lines: header, claims, signature in base64url. The first two are encoded
//! here, because a fuzzer that has to write base64 rarely gets as far as the JSON.

use super::told;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mlflow_oidc::jose::compact::SIZE_LIMIT;
use mlflow_oidc::jose::{Algorithm, Compact, KeySet, Object, verify};
use mlflow_oidc::oidc::access_token::{self, Expectation};
use serde_json::Value;
use std::sync::LazyLock;

/// When the fuzzed tokens are looked at; the signed ones are good then.
pub const NOW: i64 = 1_800_000_000;
/// Whose they are.
pub const ISSUER: &str = "https://idp.example/realms/test";
/// For whom.
pub const CLIENT_ID: &str = "mlflow";
const AUDIENCE: &str = "mlflow-api";
const SKEW: i64 = 60;

/// The public keys. Their private halves were thrown away, so nobody can sign anything further with them.
pub static KEYS: LazyLock<KeySet> =
    LazyLock::new(|| KeySet::parse(include_bytes!("signed/keys.json")).expect("the fixed key set"));
/// Everything that was ever signed with these keys.
pub static SIGNED: LazyLock<Vec<&str>> =
    LazyLock::new(|| include_str!("signed/tokens.txt").lines().collect());

/// One input.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let token = if text.starts_with('{') { encoded(&text) } else { text.into_owned() };
    let parsed = match Compact::parse(&token) {
        Ok(parsed) => parsed,
        Err(error) => return told::error(&error, token.as_bytes()),
    };
    check_form(&token, &parsed);
    let (issuers, audiences) = ([ISSUER.to_owned()], [AUDIENCE.to_owned()]);
    let expected =
        Expectation { issuers: &issuers, client_id: CLIENT_ID, audiences: &audiences, now: NOW, skew: SKEW };
    match access_token::check(&parsed, &expected) {
        Ok(expires) => check_admitted(parsed.unverified_claims(), parsed.typ(), expires),
        Err(error) => told::error(&error, token.as_bytes()),
    }
    let claims = parsed.unverified_claims().clone();
    let algorithm = parsed.algorithm();
    match verify(parsed, &KEYS, Algorithm::ALL) {
        Ok(verified) => {
            check_signed(&token, algorithm);
            assert_eq!(verified.claims(), &claims, "what was verified is what was looked at before");
            let again = Compact::parse(&token).expect("it was parsed before");
            assert!(verify(again, &KEYS, &[]).is_err(), "verified without an allowed algorithm");
        }
        Err(error) => told::error(&error, token.as_bytes()),
    }
}

fn encoded(text: &str) -> String {
    let mut lines = text.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (header, claims) = (URL_SAFE_NO_PAD.encode(next()), URL_SAFE_NO_PAD.encode(next()));
    format!("{header}.{claims}.{}", next())
}

/// A token that is read has one spelling: three parts of canonical base64url, and objects that no two parsers see
/// differently.
fn check_form(token: &str, parsed: &Compact<'_>) {
    assert!(token.len() <= SIZE_LIMIT);
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "{token:?}");
    let decoded: Vec<Vec<u8>> = parts
        .iter()
        .map(|part| {
            let bytes = URL_SAFE_NO_PAD.decode(part).expect("every part is base64url");
            assert_eq!(&URL_SAFE_NO_PAD.encode(&bytes), part, "a part has a second spelling");
            bytes
        })
        .collect();
    assert!(!decoded[2].is_empty(), "an empty signature");
    let object = |bytes: &[u8]| match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => object,
        other => panic!("not an object: {other:?}"),
    };
    let header: Object = object(&decoded[0]);
    assert_eq!(&object(&decoded[1]), parsed.unverified_claims());
    assert_eq!(header.get("alg").and_then(Value::as_str), Some(parsed.algorithm().name()));
    assert_eq!(header.get("kid").map(Value::as_str), parsed.kid().map(Some));
    assert_eq!(header.get("typ").map(Value::as_str), parsed.typ().map(Some));
    for refused in ["crit", "b64", "enc", "zip"] {
        assert!(!header.contains_key(refused), "{refused} was accepted");
    }
}

/// What is let through by its claims says all that a bearer of ours must say.
fn check_admitted(claims: &Object, typ: Option<&str>, expires: i64) {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    assert_eq!(text("iss"), Some(ISSUER));
    assert!(text("sub").is_some_and(|subject| (1..=255).contains(&subject.len())));
    assert_eq!(claims.get("exp").and_then(Value::as_i64), Some(expires));
    assert!(expires > NOW - SKEW, "expired at {expires}");
    for name in ["nbf", "iat"] {
        assert!(claims.get(name).is_none_or(|time| time.as_i64().is_some_and(|time| time <= NOW + SKEW)));
    }
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => {
            many.iter().map(|item| item.as_str().expect("an audience of text")).collect()
        }
        other => panic!("audience {other:?}"),
    };
    assert!(audience.contains(&CLIENT_ID) || audience.contains(&AUDIENCE), "issued for {audience:?}");
    assert!(!claims.contains_key("cnf") && !claims.contains_key("events"));
    assert!(claims.get("typ").is_none_or(|kind| !kind.is_string() || kind == "Bearer" || kind == "ID"));
    if let Some(typ) = typ {
        let short = typ.to_ascii_lowercase();
        assert!(
            ["jwt", "at+jwt"].contains(&short.strip_prefix("application/").unwrap_or(&short)),
            "typ {typ:?}"
        );
    }
}

fn check_signed(token: &str, algorithm: Algorithm) {
    let input = |token: &str| token.rsplit_once('.').map(|(input, _)| input.to_owned());
    // ECDSA signatures have a twin that verifies as well, (r, n - s); it says the same of the same message.
    let same = |signed: &&str| match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => input(signed) == input(token),
        _ => *signed == token,
    };
    assert!(SIGNED.iter().any(same), "nobody signed {token:?}");
}
