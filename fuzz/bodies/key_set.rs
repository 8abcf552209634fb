//! A key set: which keys are taken, and what they then verify.

use super::compact::SIGNED;
use super::told;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mlflow_oidc::jose::{Algorithm, Compact, KeySet, verify};
use serde_json::Value;
use std::sync::LazyLock;

/// The numbers of the keys that did sign, in the order of the fixed set.
static SIGNERS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let set: Value = serde_json::from_slice(include_bytes!("signed/keys.json")).expect("the fixed key set");
    set["keys"].as_array().expect("a list").iter().map(|key| material(key).expect("a public key")).collect()
});

/// One input.
pub fn run(input: &[u8]) {
    let set = match KeySet::parse(input) {
        Ok(set) => set,
        Err(error) => return told::error(&error, input),
    };
    let document: Value = serde_json::from_slice(input).expect("a key set is JSON");
    let items = document["keys"].as_array().expect("a key set has a list");
    assert!(!set.is_empty() && set.len() + set.skipped().len() == items.len());
    let again = KeySet::parse(input).expect("it was read before");
    assert!(set.is_same(&again) && again.is_same(&set), "a second reading gives other keys");
    for line in set.skipped() {
        told::line(line, input);
    }
    let skipped = |index: usize| set.skipped().iter().any(|line| line.starts_with(&format!("key {index}: ")));
    let accepted: Vec<&Value> =
        items.iter().enumerate().filter(|(index, _)| !skipped(*index)).map(|(_, item)| item).collect();
    assert_eq!(accepted.len(), set.len());
    for key in &accepted {
        check_key(key);
    }
    check_verification(&set, &accepted);
}

/// A key that was taken is public, meant for signatures, and strong.
fn check_key(key: &Value) {
    let object = key.as_object().expect("a key is an object");
    for private in ["k", "d", "p", "q"] {
        assert!(!object.contains_key(private), "{private} was accepted");
    }
    assert!(object.get("use").is_none_or(|purpose| purpose == "sig"));
    assert!(
        object
            .get("key_ops")
            .is_none_or(|all| all.as_array().expect("a list").contains(&Value::from("verify")))
    );
    assert!(object.get("kid").is_none_or(Value::is_string));
    let named = object.get("alg").map(|name| name.as_str().expect("an algorithm is text"));
    let fits: &[&str] = match (key["kty"].as_str(), key["crv"].as_str()) {
        (Some("RSA"), _) => {
            let modulus = number(key, "n");
            let bits = modulus.len() * 8 - modulus[0].leading_zeros() as usize;
            assert!((2048..=8192).contains(&bits), "an RSA key of {bits} bits");
            let exponent = number(key, "e").iter().fold(0_u64, |sum, byte| sum * 256 + u64::from(*byte));
            assert!(exponent >= 3 && exponent % 2 == 1 && exponent < 1 << 32, "the exponent {exponent}");
            &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
        }
        (Some("EC"), Some("P-256")) => {
            assert_eq!((decoded(key, "x").len(), decoded(key, "y").len()), (32, 32));
            &["ES256"]
        }
        (Some("EC"), Some("P-384")) => {
            assert_eq!((decoded(key, "x").len(), decoded(key, "y").len()), (48, 48));
            &["ES384"]
        }
        (Some("OKP"), Some("Ed25519")) => {
            assert_eq!(decoded(key, "x").len(), 32);
            &["EdDSA"]
        }
        other => panic!("a key of {other:?} was accepted"),
    };
    assert!(named.is_none_or(|name| fits.contains(&name)), "{named:?} for {fits:?}");
}

/// A signed token verifies only when the key that signed it is in the set, and then by no other.
fn check_verification(set: &KeySet, accepted: &[&Value]) {
    for (index, token) in SIGNED.iter().enumerate() {
        let parsed = Compact::parse(token).expect("a signed token");
        let kid = parsed.kid().map(str::to_owned);
        match verify(parsed, set, Algorithm::ALL) {
            Ok(_) => {
                let good = accepted.iter().any(|key| {
                    kid.as_deref().is_none_or(|kid| key["kid"] == kid)
                        && material(key).is_some_and(|found| SIGNERS.contains(&found))
                });
                assert!(good, "token {index} was verified without its key");
            }
            Err(error) => told::error(&error, token.as_bytes()),
        }
    }
}

fn material(key: &Value) -> Option<Vec<u8>> {
    match key["kty"].as_str()? {
        "RSA" => Some([number(key, "n"), vec![0], number(key, "e")].concat()),
        "EC" => Some([decoded(key, "x"), decoded(key, "y")].concat()),
        _ => Some(decoded(key, "x")),
    }
}

fn number(key: &Value, name: &str) -> Vec<u8> {
    decoded(key, name).into_iter().skip_while(|byte| *byte == 0).collect()
}

fn decoded(key: &Value, name: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(key[name].as_str().expect("text")).expect("base64url")
}
