//! Spoilt forms: what the parser and the header rules must refuse.

use super::Place::{Both, Id};
use super::{Row, row};
use crate::support::{CLIENT_SECRET, Draft, Signer, base64url, jwk, public_key_as_der, public_key_as_pem};
use serde_json::{Value, json};

const NONE: &str = "RFC 8725 section 2.1; CVE-2015-9235 (alg none)";
const CONFUSION: &str = "RFC 8725 section 2.1; CVE-2016-10555 (HMAC with the public key)";
const NAMES: &str = "RFC 7518 section 3.1: names are case-sensitive, only asymmetric ones are ours";
const CRIT: &str = "RFC 7515 section 4.1.11";
const PARTS: &str = "RFC 7515 section 7.1";
const BASE64: &str = "RFC 7515 section 2: base64url without padding; RFC 4648 section 3.5";
const DUPLICATE: &str = "RFC 7515 section 4, RFC 7519 section 4; RFC 8725 section 2.4 (parser differences)";
const OBJECT: &str = "RFC 7519 section 7.2";
const TYPE: &str = "RFC 8725 section 3.11";
const OWN_KEY: &str = "RFC 8725 section 3.10; CVE-2018-0114 (a key inside the token)";

/// Signed with HMAC and a secret that the attacker knows or guesses.
fn hmac(d: &mut Draft, algorithm: &str, secret: Vec<u8>) {
    d.signer = Signer::Hmac(secret);
    d.head("alg", algorithm);
}

/// An extension of the header, otherwise a good token.
fn header(d: &mut Draft, name: &str, value: Value) {
    d.head(name, value);
}

/// Replaces one part of the compact form.
fn part(token: &str, index: usize, change: impl Fn(&str) -> String) -> String {
    let parts: Vec<String> = token
        .split('.')
        .enumerate()
        .map(|(at, part)| if at == index { change(part) } else { part.to_owned() })
        .collect();
    parts.join(".")
}

/// The claims with this text for the member `sub`, and all others as they were.
fn claims_with(d: &mut Draft, members: &str) {
    d.drop("sub");
    if d.claims.contains_key("nonce") {
        d.set("nonce", "NONCE");
    }
    let text = Value::Object(d.claims.clone()).to_string();
    d.claims_text = Some(format!("{{{members},{}", &text[1..]));
}

/// The same signature in other letters: the bits that stand for nothing are set.
fn set_trailing_bits(signature: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (head, last) = signature.split_at(signature.len() - 1);
    let index = ALPHABET.find(last).unwrap();
    format!("{head}{}", &ALPHABET[index + 1..index + 2])
}

pub const ROWS: &[Row] = &[
    row("none without a signature", Both, "token_algorithm", NONE, |d| {
        d.signer = Signer::Fixed(Vec::new());
        d.head("alg", "none");
    }),
    row("none with a good signature", Both, "token_algorithm", NONE, |d| header(d, "alg", json!("none"))),
    row("None", Both, "token_algorithm", NONE, |d| header(d, "alg", json!("None"))),
    row("nOnE", Both, "token_algorithm", NONE, |d| header(d, "alg", json!("nOnE"))),
    row("HS256 with the client secret", Both, "token_algorithm", CONFUSION, |d| {
        hmac(d, "HS256", CLIENT_SECRET.into());
    }),
    row("HS512 with the client secret", Both, "token_algorithm", CONFUSION, |d| {
        hmac(d, "HS512", CLIENT_SECRET.into());
    }),
    row("HS256 with the original's fixed key", Both, "token_algorithm", CONFUSION, |d| {
        hmac(d, "HS256", b"6dbdf1e1-3d1e-4e12-8a3d-8f2b1d0e6a55".to_vec());
    }),
    row("HS256 with an empty key", Both, "token_algorithm", CONFUSION, |d| hmac(d, "HS256", vec![0])),
    row("HS256 with the public key as PEM", Both, "token_algorithm", CONFUSION, |d| {
        hmac(d, "HS256", public_key_as_pem());
    }),
    row("HS256 with the public key as DER", Both, "token_algorithm", CONFUSION, |d| {
        hmac(d, "HS256", public_key_as_der());
    }),
    row("HMAC with the public key, called RS256", Both, "token_signature", CONFUSION, |d| {
        hmac(d, "RS256", public_key_as_pem());
    }),
    row("ES512", Both, "token_algorithm", NAMES, |d| header(d, "alg", json!("ES512"))),
    row("ES256K", Both, "token_algorithm", NAMES, |d| header(d, "alg", json!("ES256K"))),
    row("RS1", Both, "token_algorithm", NAMES, |d| header(d, "alg", json!("RS1"))),
    row("RSA-OAEP", Both, "token_algorithm", NAMES, |d| header(d, "alg", json!("RSA-OAEP"))),
    row("rs256 in small letters", Both, "token_algorithm", NAMES, |d| header(d, "alg", json!("rs256"))),
    row("an algorithm nobody knows", Both, "token_algorithm", NAMES, |d| header(d, "alg", json!("XX256"))),
    row("alg number", Both, "token_algorithm", NAMES, |d| header(d, "alg", json!(256))),
    row("alg list", Both, "token_algorithm", NAMES, |d| header(d, "alg", json!(["RS256"]))),
    row("alg null", Both, "token_algorithm", NAMES, |d| header(d, "alg", Value::Null)),
    row("alg missing", Both, "token_algorithm", "RFC 7515 section 4.1.1", |d| {
        d.header.remove("alg");
    }),
    row("crit of a known claim", Both, "token_header", CRIT, |d| header(d, "crit", json!(["exp"]))),
    row("crit of something unknown", Both, "token_header", CRIT, |d| {
        d.head("crit", json!(["http://example/x"])).head("http://example/x", true);
    }),
    row("crit empty", Both, "token_header", CRIT, |d| header(d, "crit", json!([]))),
    row("crit null", Both, "token_header", CRIT, |d| header(d, "crit", Value::Null)),
    row("b64 false", Both, "token_header", "RFC 7797 section 6", |d| {
        d.head("b64", false).head("crit", json!(["b64"]));
    }),
    row("b64 false without crit", Both, "token_header", "RFC 7797 section 6", |d| {
        header(d, "b64", json!(false))
    }),
    row("zip", Both, "token_header", "RFC 8725 section 3.6; CVE-2024-21319 (compression bomb)", |d| {
        header(d, "zip", json!("DEF"));
    }),
    row("enc in three parts", Both, "token_header", "RFC 7516 section 4.1.2", |d| {
        header(d, "enc", json!("A256GCM"))
    }),
    row("kid number", Both, "token_header", "RFC 7515 section 4.1.4", |d| header(d, "kid", json!(1))),
    row("kid null", Both, "token_header", "RFC 7515 section 4.1.4", |d| header(d, "kid", Value::Null)),
    row("kid list", Both, "token_header", "RFC 7515 section 4.1.4", |d| header(d, "kid", json!(["rsa"]))),
    row("typ number", Both, "token_header", "RFC 7515 section 4.1.9", |d| header(d, "typ", json!(7))),
    row("five parts", Both, "token_encrypted", "RFC 7516 section 7.1 (JWE)", |d| {
        d.finish = |t| format!("{t}.AA.AA")
    }),
    row("a JWE of the usual form", Both, "token_encrypted", "RFC 7516 section 7.1", |d| {
        d.finish = |_| format!("{}.AA.AA.AA.AA", base64url(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#));
    }),
    row("one part", Both, "token_malformed", PARTS, |d| d.finish = |_| "opaque".to_owned()),
    row("two parts", Both, "token_malformed", PARTS, |d| {
        d.finish = |t| t.rsplit_once('.').unwrap().0.to_owned()
    }),
    row("four parts", Both, "token_malformed", PARTS, |d| d.finish = |t| format!("{t}.AA")),
    row("six parts", Both, "token_malformed", PARTS, |d| d.finish = |t| format!("{t}.AA.AA.AA")),
    row("a dot before", Both, "token_malformed", PARTS, |d| d.finish = |t| format!(".{t}")),
    row("two dots alone", Both, "token_malformed", PARTS, |d| d.finish = |_| "..".to_owned()),
    row(
        "the JSON serialization",
        Both,
        "token_malformed",
        "RFC 7515 section 7.2 is not for JWTs (RFC 7519 section 1)",
        |d| {
            d.finish = |t| {
                let parts: Vec<&str> = t.split('.').collect();
                json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]}).to_string()
            };
        },
    ),
    row("an empty signature", Both, "token_malformed", NONE, |d| d.signer = Signer::Fixed(Vec::new())),
    row("an empty payload", Both, "token_malformed", OBJECT, |d| {
        d.finish = |t| part(&t, 1, |_| String::new())
    }),
    row("an empty header", Both, "token_malformed", OBJECT, |d| {
        d.finish = |t| part(&t, 0, |_| String::new())
    }),
    row("a padded signature", Both, "token_malformed", BASE64, |d| d.finish = |t| format!("{t}==")),
    row("a padded payload", Both, "token_malformed", BASE64, |d| {
        d.finish = |t| part(&t, 1, |p| format!("{p}="))
    }),
    row("the standard alphabet in the signature", Both, "token_malformed", BASE64, |d| {
        d.finish = |t| part(&t, 2, |p| format!("+{}", &p[1..]));
    }),
    row("a slash in the signature", Both, "token_malformed", BASE64, |d| {
        d.finish = |t| part(&t, 2, |p| format!("/{}", &p[1..]));
    }),
    row(
        "trailing bits in the signature",
        Both,
        "token_malformed",
        "RFC 4648 section 3.5 (one token, several spellings)",
        |d| {
            d.finish = |t| part(&t, 2, set_trailing_bits);
        },
    ),
    row("a space before the payload", Both, "token_malformed", BASE64, |d| {
        d.finish = |t| part(&t, 1, |p| format!(" {p}"))
    }),
    row("a line break in the signature", Both, "token_malformed", BASE64, |d| {
        d.finish = |t| part(&t, 2, |p| format!("{}\n{}", &p[..64], &p[64..]));
    }),
    row("a line break after the token", Id, "token_malformed", BASE64, |d| d.finish = |t| format!("{t}\n")),
    row("a NUL in the signature", Both, "token_malformed", BASE64, |d| d.finish = |t| format!("{t}\0")),
    row("a letter beyond ASCII", Both, "token_malformed", BASE64, |d| d.finish = |t| format!("{t}ä")),
    row("alg twice, none last", Both, "token_malformed", DUPLICATE, |d| {
        d.header_text = Some(r#"{"alg":"RS256","kid":"rsa","alg":"none"}"#.to_owned());
    }),
    row("alg twice, none first", Both, "token_malformed", DUPLICATE, |d| {
        d.header_text = Some(r#"{"alg":"none","kid":"rsa","alg":"RS256"}"#.to_owned());
    }),
    row("alg twice in another spelling", Both, "token_malformed", DUPLICATE, |d| {
        d.header_text = Some(r#"{"alg":"RS256","kid":"rsa","\u0061lg":"none"}"#.to_owned());
    }),
    row("kid twice, the same", Both, "token_malformed", DUPLICATE, |d| {
        d.header_text = Some(r#"{"alg":"RS256","kid":"rsa","kid":"rsa"}"#.to_owned());
    }),
    row("sub twice", Both, "token_malformed", DUPLICATE, |d| {
        claims_with(d, r#""sub":"a","sub":"subject-alice""#)
    }),
    row("a nested duplicate", Both, "token_malformed", DUPLICATE, |d| {
        claims_with(d, r#""sub":"a","realm_access":{"roles":["x"],"roles":["MLFLOW"]}"#);
    }),
    row("a duplicate inside a list", Both, "token_malformed", DUPLICATE, |d| {
        claims_with(d, r#""sub":"a","list":[{"x":1,"x":2}]"#);
    }),
    row("a list as header", Both, "token_malformed", OBJECT, |d| {
        d.header_text = Some(r#"["RS256"]"#.to_owned())
    }),
    row("a list as claims", Both, "token_malformed", OBJECT, |d| d.claims_text = Some("[]".to_owned())),
    row("a text as claims", Both, "token_malformed", OBJECT, |d| d.claims_text = Some("\"sub\"".to_owned())),
    row("null as claims", Both, "token_malformed", OBJECT, |d| d.claims_text = Some("null".to_owned())),
    row("two objects as claims", Both, "token_malformed", OBJECT, |d| {
        d.claims_text = Some("{}{}".to_owned())
    }),
    row("half an object as claims", Both, "token_malformed", OBJECT, |d| {
        d.claims_text = Some("{\"sub\":".to_owned())
    }),
    row("a byte order mark", Both, "token_malformed", "RFC 8259 section 8.1", |d| {
        d.claims_text = Some("\u{FEFF}{}".to_owned())
    }),
    row("claims that are not UTF-8", Both, "token_malformed", "RFC 7519 section 7.2", |d| {
        d.finish = |t| part(&t, 1, |_| base64url(b"{\"sub\":\"\xFF\xFE\"}"));
    }),
    row(
        "lists in lists without end",
        Both,
        "token_malformed",
        "a stack overflow by nesting (CVE-2017-18589 and its kind)",
        |d| {
            claims_with(d, &format!("\"sub\":\"a\",\"deep\":{}{}", "[".repeat(5000), "]".repeat(5000)));
        },
    ),
    row("a number without end", Both, "token_malformed", "RFC 8259 section 6", |d| {
        claims_with(d, "\"sub\":\"a\",\"x\":1e999")
    }),
    row("65 KiB", Both, "token_too_large", "denial of service by size", |d| {
        d.set("padding", "x".repeat(49_000));
    }),
    row(
        "typ logout+jwt",
        Both,
        "token_type",
        "Back-Channel Logout 1.0 section 2.4; RFC 8725 section 3.11",
        |d| {
            header(d, "typ", json!("logout+jwt"));
        },
    ),
    row("typ dpop+jwt", Both, "token_type", TYPE, |d| header(d, "typ", json!("dpop+jwt"))),
    row("typ secevent+jwt", Both, "token_type", TYPE, |d| header(d, "typ", json!("secevent+jwt"))),
    row("typ application/logout+jwt", Both, "token_type", TYPE, |d| {
        header(d, "typ", json!("application/logout+jwt"))
    }),
    row("typ empty", Both, "token_type", TYPE, |d| header(d, "typ", json!(""))),
    row("typ jwt+at", Both, "token_type", TYPE, |d| header(d, "typ", json!("jwt+at"))),
    row("typ at+jwt as ID token", Id, "token_type", "RFC 9068 section 2.1", |d| {
        header(d, "typ", json!("at+jwt"))
    }),
    row("a key of its own in the header", Both, "token_signature", OWN_KEY, |d| {
        d.signer = Signer::RsaOther;
        d.head("jwk", jwk(&Signer::RsaOther, "rsa"));
    }),
    row("a key of its own under a new name", Both, "token_key_unknown", OWN_KEY, |d| {
        d.signed(Signer::RsaOther, "RS256", "mine").head("jwk", jwk(&Signer::RsaOther, "mine"));
    }),
    row("the address of a key set of its own", Both, "token_key_unknown", OWN_KEY, |d| {
        d.signed(Signer::RsaOther, "RS256", "mine").head("jku", "https://evil.example/keys");
    }),
    row("a certificate of its own", Both, "token_signature", OWN_KEY, |d| {
        d.signer = Signer::RsaOther;
        d.head("x5c", json!(["MIIB"])).head("x5u", "https://evil.example/cert");
    }),
];
