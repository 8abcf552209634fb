//! Wrong signatures and unfit keys.

use super::Place::Both;
use super::{Row, row};
use crate::support::{Draft, Signer, base64url, jwk, metadata};
use serde_json::{Value, json};

const SIGNATURE: &str = "RFC 7515 section 5.2; OpenID RP test rp-id_token-bad-sig-rs256";
const SELECT: &str =
    "RFC 7515 section 6; OpenID Connect Core section 10.1; rp-id_token-kid-absent-multiple-jwks";
const PURPOSE: &str = "RFC 7517 sections 4.2 and 4.3";
const FAMILY: &str = "RFC 8725 section 3.1: one key, one algorithm";
const WEAK: &str = "RFC 7518 section 3.3";
const PUBLIC: &str = "RFC 7517 section 9.2: a private or symmetric key in a public set";

/// The provider publishes the signing key changed like this, and another one so that the set is not empty.
fn publishing(d: &mut Draft, change: impl FnOnce(&mut Value)) {
    let mut key = jwk(&Signer::Rsa, "rsa");
    change(&mut key);
    d.keys = Some(json!({"keys": [key, jwk(&Signer::P384, "p384")]}));
}

/// The published key with one member more or another value in it.
fn with(d: &mut Draft, member: &str, value: Value) {
    publishing(d, |key| key[member] = value);
}

pub const ROWS: &[Row] = &[
    row("another key under the right name", Both, "token_signature", SIGNATURE, |d| {
        d.signer = Signer::RsaOther
    }),
    row("another key under a name that nobody published", Both, "token_key_unknown", SIGNATURE, |d| {
        d.signed(Signer::RsaOther, "RS256", "nobody");
    }),
    row("the right key under a name that nobody published", Both, "token_key_unknown", SELECT, |d| {
        d.head("kid", "nobody");
    }),
    row("an empty kid", Both, "token_key_unknown", SELECT, |d| {
        d.head("kid", "");
    }),
    row("a kid like a path", Both, "token_key_unknown", "RFC 8725 section 3.10; kid injection", |d| {
        d.head("kid", "../../../../dev/null");
    }),
    row("a kid like SQL", Both, "token_key_unknown", "RFC 8725 section 3.10; kid injection", |d| {
        d.head("kid", "x' UNION SELECT 'key';--");
    }),
    row("no kid and two keys that fit", Both, "token_key_unknown", SELECT, |d| {
        d.header.remove("kid");
        d.keys = Some(json!({"keys": [jwk(&Signer::Rsa, "rsa"), jwk(&Signer::RsaOther, "other")]}));
    }),
    row("two keys of one name", Both, "token_key_unknown", SELECT, |d| {
        d.keys = Some(json!({"keys": [jwk(&Signer::Rsa, "rsa"), jwk(&Signer::RsaOther, "rsa")]}));
    }),
    row("a signature of something else", Both, "token_signature", SIGNATURE, |d| {
        d.finish = |t| {
            let other = Draft::bearer().of("mallory").token();
            format!("{}.{}", t.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1)
        };
    }),
    row("claims changed after signing", Both, "token_signature", SIGNATURE, |d| {
        d.finish = |t| {
            let parts: Vec<&str> = t.split('.').collect();
            let claims = base64url_decode(parts[1]).replace("alice", "admin");
            format!("{}.{}.{}", parts[0], base64url(claims), parts[2])
        };
    }),
    row("the header changed after signing", Both, "token_signature", SIGNATURE, |d| {
        d.finish = |t| {
            let rest = t.split_once('.').unwrap().1;
            format!("{}.{rest}", base64url(r#"{"alg":"RS256","kid":"rsa","x":1}"#))
        };
    }),
    row("a short signature", Both, "token_signature", SIGNATURE, |d| d.signer = Signer::Fixed(vec![7; 16])),
    row("a signature of zeros", Both, "token_signature", SIGNATURE, |d| {
        d.signer = Signer::Fixed(vec![0; 256])
    }),
    row("PS256 over a PKCS1 signature", Both, "token_signature", SIGNATURE, |d| {
        d.header.insert("alg".to_owned(), json!("PS256"));
        d.header_text = Some(Value::Object(d.header.clone()).to_string());
        d.header.insert("alg".to_owned(), json!("RS256"));
    }),
    row("RS512 over an RS256 signature", Both, "token_signature", SIGNATURE, |d| {
        d.header_text = Some(r#"{"alg":"RS512","kid":"rsa"}"#.to_owned());
    }),
    row("ES256 of zeros", Both, "token_signature", "CVE-2022-21449 (psychic signatures)", |d| {
        d.signed(Signer::Fixed(vec![0; 64]), "ES256", "p256");
    }),
    row("ES256 of another length", Both, "token_signature", "RFC 7518 section 3.4", |d| {
        d.signed(Signer::P384, "ES256", "p256");
    }),
    row("EdDSA of zeros", Both, "token_signature", "RFC 8037 section 3.1", |d| {
        d.signed(Signer::Fixed(vec![0; 64]), "EdDSA", "ed25519");
    }),
    row("RS256 by the name of an elliptic key", Both, "token_key_unknown", FAMILY, |d| {
        d.head("kid", "p256");
    }),
    row("ES256 by the name of an RSA key", Both, "token_key_unknown", FAMILY, |d| {
        d.signed(Signer::P256, "ES256", "rsa");
    }),
    row("ES384 by the name of a P-256 key", Both, "token_key_unknown", FAMILY, |d| {
        d.signed(Signer::P256, "ES384", "p256");
    }),
    row("EdDSA by the name of an RSA key", Both, "token_key_unknown", FAMILY, |d| {
        d.signed(Signer::Ed25519, "EdDSA", "rsa");
    }),
    row(
        "an algorithm that the provider does not offer",
        Both,
        "token_algorithm",
        "RFC 8725 section 3.1",
        |d| {
            let mut document = metadata();
            document["id_token_signing_alg_values_supported"] = json!(["ES256"]);
            d.metadata = Some(document);
        },
    ),
    row(
        "no algorithm offered is RS256 alone",
        Both,
        "token_algorithm",
        "OpenID Connect Core section 2",
        |d| {
            let mut document = metadata();
            document.as_object_mut().unwrap().remove("id_token_signing_alg_values_supported");
            d.metadata = Some(document);
            d.signed(Signer::P256, "ES256", "p256");
        },
    ),
    row("a key for encryption", Both, "token_key_unknown", PURPOSE, |d| with(d, "use", json!("enc"))),
    row("a key for something else", Both, "token_key_unknown", PURPOSE, |d| with(d, "use", json!("SIG"))),
    row("a use that is not text", Both, "token_key_unknown", PURPOSE, |d| with(d, "use", json!(["sig"]))),
    row("a key that may not verify", Both, "token_key_unknown", PURPOSE, |d| {
        with(d, "key_ops", json!(["encrypt"]))
    }),
    row("a key that may do nothing", Both, "token_key_unknown", PURPOSE, |d| with(d, "key_ops", json!([]))),
    row("key_ops as text", Both, "token_key_unknown", PURPOSE, |d| with(d, "key_ops", json!("verify"))),
    row("a key of another algorithm", Both, "token_key_unknown", FAMILY, |d| with(d, "alg", json!("RS512"))),
    row("a key for PS256 alone", Both, "token_key_unknown", FAMILY, |d| with(d, "alg", json!("PS256"))),
    row("a key for wrapping keys", Both, "token_key_unknown", FAMILY, |d| {
        with(d, "alg", json!("RSA-OAEP-256"))
    }),
    row("an RSA key that claims ES256", Both, "token_key_unknown", FAMILY, |d| {
        with(d, "alg", json!("ES256"))
    }),
    row("an RSA key that claims HS256", Both, "token_key_unknown", FAMILY, |d| {
        with(d, "alg", json!("HS256"))
    }),
    row("an RSA key that claims to be EC", Both, "token_key_unknown", "RFC 7517 section 4.1", |d| {
        with(d, "kty", json!("EC"))
    }),
    row("an RSA key that claims to be oct", Both, "token_key_unknown", "RFC 7517 section 4.1", |d| {
        with(d, "kty", json!("oct"))
    }),
    row("a kty in small letters", Both, "token_key_unknown", "RFC 7517 section 4.1", |d| {
        with(d, "kty", json!("rsa"))
    }),
    row("a key whose name is a number", Both, "token_key_unknown", "RFC 7517 section 4.5", |d| {
        with(d, "kid", json!(1))
    }),
    row("a key without an exponent", Both, "token_key_unknown", "RFC 7518 section 6.3.1", |d| {
        publishing(d, |key| {
            key.as_object_mut().unwrap().remove("e");
        });
    }),
    row("a key with a padded modulus", Both, "token_key_unknown", "RFC 7518 section 6.3.1", |d| {
        publishing(d, |key| key["n"] = json!(format!("{}==", key["n"].as_str().unwrap())));
    }),
    row("a private key in the set", Both, "token_key_unknown", PUBLIC, |d| with(d, "d", json!("AQAB"))),
    row("a prime factor in the set", Both, "token_key_unknown", PUBLIC, |d| with(d, "p", json!("AQAB"))),
    row("a symmetric key in the set", Both, "token_algorithm", PUBLIC, |d| {
        d.keys = Some(json!({"keys": [
            {"kty": "oct", "kid": "shared", "k": base64url("a shared secret")}, jwk(&Signer::P384, "p384"),
        ]}));
        d.signed(Signer::Hmac(b"a shared secret".to_vec()), "HS256", "shared");
    }),
    row("RSA of 1024 bits", Both, "token_key_unknown", WEAK, |d| {
        with(d, "n", json!(base64url([0xC5; 128])));
    }),
    row("RSA of 2047 bits", Both, "token_key_unknown", WEAK, |d| {
        with(d, "n", json!(base64url([[0x7F].as_slice(), &[0xC5; 255]].concat())));
    }),
    row("RSA of 1024 bits behind zeros", Both, "token_key_unknown", WEAK, |d| {
        with(d, "n", json!(base64url([[0; 128], [0xC5; 128]].concat())));
    }),
    row(
        "RSA of 16384 bits",
        Both,
        "token_key_unknown",
        "denial of service by key size (CVE-2024-22201 and its kind)",
        |d| {
            with(d, "n", json!(base64url([0xC5; 2048])));
        },
    ),
    row(
        "exponent 1",
        Both,
        "token_key_unknown",
        "RFC 8017 section 3.1; every text is its own signature",
        |d| {
            d.signer = Signer::ExponentOne;
            with(d, "e", json!("AQ"));
        },
    ),
    row("exponent 1 behind zeros", Both, "token_key_unknown", "RFC 8017 section 3.1", |d| {
        d.signer = Signer::ExponentOne;
        with(d, "e", json!("AAAB"));
    }),
    row("an even exponent", Both, "token_key_unknown", "RFC 8017 section 3.1", |d| {
        with(d, "e", json!("AQAC"))
    }),
    row("exponent 0", Both, "token_key_unknown", "RFC 8017 section 3.1", |d| with(d, "e", json!("AA"))),
    row(
        "a point that is not on the curve",
        Both,
        "token_signature",
        "RFC 8725 section 3.4; invalid curve attack",
        |d| {
            let mut key = jwk(&Signer::P256, "p256");
            key["y"] = key["x"].clone();
            d.keys = Some(json!({"keys": [key]}));
            d.signed(Signer::P256, "ES256", "p256");
        },
    ),
    row("a short coordinate", Both, "token_key_unknown", "RFC 7518 section 6.2.1.2", |d| {
        let mut key = jwk(&Signer::P256, "p256");
        key["x"] = json!(base64url([1; 31]));
        d.keys = Some(json!({"keys": [key, jwk(&Signer::P384, "p384")]}));
        d.signed(Signer::P256, "ES256", "p256");
    }),
    row("a curve that is not ours", Both, "token_key_unknown", "RFC 8812 section 3.1 (secp256k1)", |d| {
        let mut key = jwk(&Signer::P256, "p256");
        key["crv"] = json!("secp256k1");
        d.keys = Some(json!({"keys": [key, jwk(&Signer::P384, "p384")]}));
        d.signed(Signer::P256, "ES256", "p256");
    }),
    row("X25519 in the place of Ed25519", Both, "token_key_unknown", "RFC 8037 section 2", |d| {
        let mut key = jwk(&Signer::Ed25519, "ed25519");
        key["crv"] = json!("X25519");
        d.keys = Some(json!({"keys": [key, jwk(&Signer::P384, "p384")]}));
        d.signed(Signer::Ed25519, "EdDSA", "ed25519");
    }),
];

fn base64url_decode(text: &str) -> String {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap();
    String::from_utf8(bytes).unwrap()
}
