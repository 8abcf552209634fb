//! The authorization response: read by us as by a reader that was written here, apart from ours.

use super::told;
use mlflow_oidc::error::Code;
use mlflow_oidc::oidc::callback::CallbackQuery;

const ISSUER: &str = "https://idp.example/realms/test";
const LIMIT: usize = 8 * 1024;

/// One input.
pub fn run(input: &[u8]) {
    let query = String::from_utf8_lossy(input);
    let pairs = read(&query);
    let all = |wanted: &str| -> Vec<&str> {
        pairs.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).collect()
    };
    let one = |wanted: &str| all(wanted).first().copied().filter(|value| !value.is_empty());
    let names = ["code", "state", "iss", "error", "error_description"];
    let once =
        names.iter().all(|name| all(name).len() <= 1 && all(name).iter().all(|value| value.len() <= LIMIT));
    let good = once && one("state").is_some() && one("code").is_some() != one("error").is_some();
    let has = |wanted: &str| !all(wanted).is_empty();
    let present = has("state") && (has("code") || has("error"));
    assert_eq!(CallbackQuery::is_present(&query), present, "{query:?}");
    let parsed = match CallbackQuery::parse(&query) {
        Ok(parsed) => parsed,
        Err(error) => {
            assert!(!good && error.code == Code::CallbackMalformed, "{query:?}: {error}");
            return told::error(&error, input);
        }
    };
    assert!(good && present, "{query:?} was accepted");
    assert_eq!(parsed.state().map(|state| state.expose()), one("state"));
    for required in [false, true] {
        let parsed = CallbackQuery::parse(&query).expect("it was read before");
        let issuer = one("iss");
        let from_here = issuer == Some(ISSUER) || (issuer.is_none() && !required);
        match parsed.into_code(ISSUER, required) {
            Ok(code) => assert!(from_here && Some(code.expose()) == one("code") && one("error").is_none()),
            Err(error) => {
                let expected = match (from_here, one("error")) {
                    (false, _) => Code::CallbackIssuer,
                    (true, Some("access_denied")) => Code::LoginDenied,
                    (true, _) => Code::ProviderError,
                };
                assert!(
                    error.code == expected && !(from_here && one("code").is_some()),
                    "{query:?}: {error}"
                );
                told::error(&error, input);
            }
        }
    }
}

/// `application/x-www-form-urlencoded` as the URL standard reads it (section 5.1).
fn read(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
