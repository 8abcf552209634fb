//! A row's token: good claims and header, changed, signed, and changed again.

use super::table::Row;
use super::values::{Names, bytes_of, count, number};
use crate::support::{
    Draft, NOW, Signer, base64url, jwk, public_key_as_der, public_key_as_pem, sign, unpadded_base64url,
};
use serde_json::{Map, Value, json};

/// The members of a row that make a token.
pub const MEMBERS: &[&str] = &[
    "header_text",
    "header",
    "drop_header",
    "claims_text",
    "claims_prefix",
    "claims",
    "drop",
    "sign",
    "finish",
    "keys",
];

/// What is beside an ID token.
pub const ACCESS_TOKEN: &str = "opaque-access-token";
pub const REFRESH_TOKEN: &str = "opaque-refresh-token";

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Which token a place takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bearer,
    Id,
    /// An ID token that says neither who nor in which groups.
    BareId,
    Logout,
    /// An ID token of a login that says when its person was asked, or of a refresh.
    Refreshed,
}

/// The key of that name.
pub fn signer(name: &str) -> Signer {
    match name {
        "rsa" => Signer::Rsa,
        "rsa_other" => Signer::RsaOther,
        "p256" => Signer::P256,
        "p256_other" => Signer::P256Other,
        "p384" => Signer::P384,
        "ed25519" => Signer::Ed25519,
        _ => panic!("no key is called {name}"),
    }
}

fn draft(kind: Kind, names: &Names) -> Draft {
    match kind {
        Kind::Bearer => Draft::bearer(),
        Kind::Id => {
            let mut draft = Draft::id_token();
            draft.answer_to(names.get("nonce")).set("sid", "provider-session");
            draft
        }
        Kind::BareId => {
            let mut draft = self::draft(Kind::Id, names);
            draft.drop("email").drop("email_verified").drop("groups");
            draft
        }
        Kind::Logout => Draft::logout_token(),
        Kind::Refreshed => {
            let mut draft = self::draft(Kind::Id, names);
            draft.set("auth_time", NOW - 100);
            draft
        }
    }
}

/// The token before it is spoilt.
pub fn good(kind: Kind, names: &Names) -> String {
    draft(kind, names).token()
}

/// The row's token.
pub fn spoilt(row: &Row, kind: Kind, names: &Names) -> String {
    let draft = draft(kind, names);
    let header = changed(draft.header, row, names, "header", "drop_header");
    let claims = Value::Object(changed(draft.claims, row, names, "claims", "drop")).to_string();
    let header_text = written(row, names, "header_text", || Value::Object(header.clone()).to_string());
    let claims_text = written(row, names, "claims_text", || match row.get("claims_prefix") {
        Some(prefix) => format!("{{{},{}", names.text(prefix), &claims[1..]),
        None => claims.clone(),
    });
    let input = format!("{}.{}", base64url(header_text), base64url(claims_text));
    let (key, algorithm) = signed_by(row, names, &header);
    let signature = base64url(sign(&key, &algorithm, input.as_bytes()));
    row.list("finish").iter().fold(format!("{input}.{signature}"), |token, change| {
        finish(&token, &names.value(change), kind, names)
    })
}

fn changed(
    mut object: Map<String, Value>,
    row: &Row,
    names: &Names,
    set: &str,
    drop: &str,
) -> Map<String, Value> {
    object.retain(|name, _| !row.texts(drop).any(|dropped| dropped == name));
    object.extend(names.object(row.members(set)));
    object
}

fn written(row: &Row, names: &Names, member: &str, usual: impl FnOnce() -> String) -> String {
    row.get(member).map_or_else(usual, |text| names.text(text))
}

/// Who signs, and as what.
fn signed_by(row: &Row, names: &Names, header: &Map<String, Value>) -> (Signer, String) {
    let sign = row.get("sign").map_or_else(|| json!({"key": "rsa"}), |sign| names.value(sign));
    let members = sign.as_object().unwrap();
    let text = |name: &str| members.get(name).map(|value| value.as_str().unwrap());
    for name in members.keys() {
        let known = ["key", "as", "hmac", "hmac_public", "fixed", "exponent_one"];
        assert!(known.contains(&name.as_str()), "'{name}' in sign");
    }
    let key = match members.iter().find(|(name, _)| *name != "as").unwrap() {
        (name, value) if name == "key" => signer(value.as_str().unwrap()),
        (name, value) if name == "hmac" => Signer::Hmac(value.as_str().unwrap().into()),
        (name, value) if name == "hmac_public" => Signer::Hmac(match value.as_str().unwrap() {
            "pem" => public_key_as_pem(),
            "der" => public_key_as_der(),
            "jwk" => jwk(&Signer::Rsa, "rsa").to_string().into_bytes(),
            other => panic!("no public key as {other}"),
        }),
        (name, value) if name == "fixed" => {
            Signer::Fixed(vec![u8::try_from(count(&value[0])).unwrap(); count(&value[1])])
        }
        _ => Signer::ExponentOne,
    };
    let usual = header.get("alg").and_then(Value::as_str).unwrap_or("RS256");
    (key, text("as").unwrap_or(usual).to_owned())
}

fn finish(token: &str, change: &Value, kind: Kind, names: &Names) -> String {
    let text = |index: usize| change[index].as_str().unwrap();
    match text(0) {
        "part" => part(token, count(&change[1]), |old| match text(2) {
            "set" => text(3).to_owned(),
            "append" => format!("{old}{}", text(3)),
            "prepend" => format!("{}{old}", text(3)),
            "first" => format!("{}{}", text(3), &old[1..]),
            "insert" => {
                let (before, after) = old.split_at(count(&change[3]));
                format!("{before}{}{after}", text(4))
            }
            "encode" => base64url(text(3)),
            "encode_hex" => base64url(bytes_of(text(3))),
            other => panic!("no change of a part is called {other}"),
        }),
        "drop_part" => {
            let index = count(&change[1]);
            let parts = token.split('.').enumerate().filter(|(at, _)| *at != index);
            parts.map(|(_, part)| part).collect::<Vec<_>>().join(".")
        }
        "letter" => part(token, count(&change[1]), |old| letter(old, number(&change[2]), count(&change[3]))),
        "trailing_bits" => part(token, 2, |old| letter(old, -1, 0)),
        "edit_claims" => part(token, 1, |old| {
            let claims = String::from_utf8(unpadded_base64url(old)).unwrap();
            assert!(claims.contains(text(1)), "nothing to replace");
            base64url(claims.replace(text(1), text(2)))
        }),
        "signature_of_another_token" => {
            let other = draft(kind, names).of("somebody-else").token();
            part(token, 2, |_| other.rsplit_once('.').unwrap().1.to_owned())
        }
        "json_serialization" => {
            let parts: Vec<&str> = token.split('.').collect();
            json!({"payload": parts[1], "protected": parts[0], "signature": parts[2]}).to_string()
        }
        _ => edited(token, change),
    }
}

/// The changes that name no part.
pub fn edited(old: &str, change: &Value) -> String {
    let text = |index: usize| change[index].as_str().unwrap();
    match text(0) {
        "append" => format!("{old}{}", text(1)),
        "prepend" => format!("{}{old}", text(1)),
        "replace" => text(1).to_owned(),
        "cut" => old[..old.len() - count(&change[1])].to_owned(),
        "pad_to" => format!("{old}{}", "A".repeat(count(&change[1]) - old.len())),
        "letter" => letter(old, number(&change[1]), count(&change[2])),
        other => panic!("no change is called {other}"),
    }
}

fn part(token: &str, index: usize, change: impl Fn(&str) -> String) -> String {
    let parts = token.split('.').enumerate();
    parts
        .map(|(at, part)| if at == index { change(part) } else { part.to_owned() })
        .collect::<Vec<_>>()
        .join(".")
}

/// One bit of one letter of base64url is another one.
fn letter(old: &str, index: i64, bit: usize) -> String {
    let at = usize::try_from(if index < 0 { old.len() as i64 + index } else { index }).unwrap();
    let value = ALPHABET.find(&old[at..=at]).unwrap() ^ (1 << bit);
    format!("{}{}{}", &old[..at], &ALPHABET[value..=value], &old[at + 1..])
}
