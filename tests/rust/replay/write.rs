//! Writes the seeds that cannot be written by hand: signed tokens, key sets, sealed cookies.
//!
//! `cargo test --test replay -- --ignored` does it, with new keys each time. Run it when the fixed claims change.

use super::bodies::compact::{CLIENT_ID, ISSUER, NOW};
use super::bodies::cookie;
use super::keys::{Signer, base64url, jwk, sign};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn seed(target: &str, name: &str, content: impl AsRef<[u8]>) {
    let folder = fuzz().join("seeds").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), content).unwrap();
}

fn token(header: &Value, claims: &Value, signer: &Signer) -> String {
    let input = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
    let signature = sign(signer, header["alg"].as_str().unwrap(), input.as_bytes());
    format!("{input}.{}", base64url(signature))
}

const SIGNED: [(&str, Signer, &str); 9] = [
    ("RS256", Signer::Rsa, "rsa"),
    ("RS384", Signer::Rsa, "rsa"),
    ("RS512", Signer::Rsa, "rsa"),
    ("PS256", Signer::RsaOther, "rsa-other"),
    ("PS384", Signer::RsaOther, "rsa-other"),
    ("PS512", Signer::RsaOther, "rsa-other"),
    ("ES256", Signer::P256, "p256"),
    ("ES384", Signer::P384, "p384"),
    ("EdDSA", Signer::Ed25519, "ed25519"),
];

#[test]
#[ignore = "writes files of the repository"]
fn write_the_seeds_that_need_keys() {
    let claims = json!({
        "iss": ISSUER, "aud": CLIENT_ID, "sub": "alice", "exp": NOW + 300, "iat": NOW, "nbf": NOW, "groups": ["MLFLOW"],
    });
    let mut tokens = Vec::new();
    for (algorithm, signer, kid) in SIGNED {
        let token = token(&json!({"alg": algorithm, "kid": kid, "typ": "at+jwt"}), &claims, &signer);
        seed("compact", &format!("signed-{algorithm}"), &token);
        tokens.push(token);
    }
    let mut id_token = claims.clone();
    id_token["nonce"] = "n".into();
    id_token["aud"] = json!([CLIENT_ID]);
    tokens.push(token(&json!({"alg": "EdDSA"}), &id_token, &Signer::Ed25519));
    seed("compact", "signed-id-token", tokens.last().unwrap());
    // The same as lines, so that the fuzzer can change a claim and leave the signature.
    let lines = format!(
        "{}\n{claims}\n{}",
        json!({"alg": "RS256", "kid": "rsa"}),
        &tokens[0].rsplit('.').next().unwrap()
    );
    seed("compact", "lines-RS256", lines);
    let keys = [
        jwk(&Signer::Rsa, "rsa"),
        jwk(&Signer::RsaOther, "rsa-other"),
        jwk(&Signer::P256, "p256"),
        jwk(&Signer::P384, "p384"),
        jwk(&Signer::Ed25519, "ed25519"),
    ];
    let folder = fuzz().join("bodies/signed");
    fs::write(folder.join("keys.json"), json!({"keys": keys}).to_string()).unwrap();
    fs::write(folder.join("tokens.txt"), tokens.join("\n") + "\n").unwrap();
    seed("key_set", "all", json!({"keys": keys}).to_string());
    for key in &keys {
        let kid = key["kid"].as_str().unwrap();
        let mut plain = key.clone();
        plain.as_object_mut().unwrap().remove("kid");
        seed("key_set", &format!("only-{kid}"), json!({"keys": [plain]}).to_string());
    }
    let mut full = keys[0].clone();
    full["use"] = "sig".into();
    full["alg"] = "RS256".into();
    full["key_ops"] = json!(["verify"]);
    full["x5c"] = json!(["MIIB"]);
    seed(
        "key_set",
        "keycloak-like",
        json!({"keys": [full, {"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"}]}).to_string(),
    );
    for (name, change) in [
        ("private", json!({"d": "AQAB"})),
        ("exponent-one", json!({"e": "AQ"})),
        ("exponent-even", json!({"e": "AQAC"})),
        ("modulus-short", json!({"n": "AQAB"})),
        ("alg-of-another", json!({"alg": "ES256"})),
        ("symmetric", json!({"kty": "oct", "k": "AQAB"})),
    ] {
        let mut key = keys[0].clone();
        key.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        seed("key_set", name, json!({"keys": [key, keys[4]]}).to_string());
    }
}

#[test]
#[ignore = "writes files of the repository"]
fn write_the_sealed_seeds() {
    for (name, _, sealed) in cookie::sealed() {
        seed("cookie", &format!("sealed-{name}"), &sealed);
        seed(
            "cookie",
            &format!("header-{name}"),
            format!("a=b; mlflow_oidc={sealed}; __Host-mlflow_oidc={sealed};; x"),
        );
    }
}
