//! Texts and values of a row: `${issuer}` and `{"$now": -60}` become what they stand for.

use crate::support::{CLIENT_ID, CLIENT_SECRET, ISSUER, NOW, base64url, jwk};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value, json};
use std::collections::BTreeMap;

/// What `${...}` stands for in one run.
pub struct Names(BTreeMap<&'static str, String>);

impl Names {
    pub fn new() -> Self {
        let known = [
            ("issuer", ISSUER),
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("user", "alice@example.com"),
            ("subject", "subject-alice"),
            ("origin", "http://localhost:5000"),
        ];
        Self(known.into_iter().map(|(name, value)| (name, value.to_owned())).collect())
    }

    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.insert(name, value.into());
    }

    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("nothing is called ${{{name}}} here"))
    }

    /// A text with its names replaced.
    pub fn fill(&self, text: &str) -> String {
        let mut parts = text.split("${");
        let mut out = parts.next().unwrap().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap();
            out.push_str(self.get(name));
            out.push_str(rest);
        }
        out
    }

    /// A value with everything in it replaced.
    pub fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.fill(text).into(),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(object) => match object.iter().next() {
                Some((name, argument))
                    if object.len() == 1
                        && name.starts_with('$')
                        && name.len() > 1
                        && !name.starts_with("${") =>
                {
                    self.made(&name[1..], &self.value(argument))
                }
                _ => Value::Object(self.object(object.iter())),
            },
            other => other.clone(),
        }
    }

    /// Members of an object, names and values.
    pub fn object<'v>(&self, members: impl Iterator<Item = (&'v String, &'v Value)>) -> Map<String, Value> {
        members.map(|(name, value)| (self.fill(name), self.value(value))).collect()
    }

    /// A value that must be a text.
    pub fn text(&self, value: &Value) -> String {
        text(&self.value(value)).to_owned()
    }

    fn made(&self, kind: &str, argument: &Value) -> Value {
        let item = |index: usize| &argument[index];
        match kind {
            "now" => json!(NOW + number(argument)),
            "now_ms" => json!((NOW + number(argument)) * 1000),
            "now_text" => json!((NOW + number(argument)).to_string()),
            "now_float" => Value::Number(Number::from_f64(NOW as f64 + argument.as_f64().unwrap()).unwrap()),
            "repeat" => text(item(0)).repeat(count(item(1))).into(),
            "concat" => argument.as_array().unwrap().iter().map(text).collect::<String>().into(),
            "cut" => {
                let letters: Vec<char> = text(item(0)).chars().collect();
                letters[..letters.len() - count(item(1))].iter().collect::<String>().into()
            }
            "skip" => text(item(0)).chars().skip(count(item(1))).collect::<String>().into(),
            "upper" => text(argument).to_uppercase().into(),
            "lower" => text(argument).to_lowercase().into(),
            "other_scheme" => other_scheme(text(argument)).into(),
            "query" => percent_encoded(text(argument)).into(),
            "base64url" => base64url(text(argument)).into(),
            "base64url_hex" => base64url(bytes_of(text(argument))).into(),
            "base64url_repeat" => {
                base64url(vec![u8::try_from(count(item(0))).unwrap(); count(item(1))]).into()
            }
            "at_hash" => {
                base64url(&digest(&SHA256, text(item(0)).as_bytes()).as_ref()[..count(item(1))]).into()
            }
            "basic" => {
                format!("Basic {}", STANDARD.encode(format!("{}:{}", text(item(0)), text(item(1))))).into()
            }
            "jwk" => {
                let key = jwk(&super::token::signer(text(item(0))), text(item(0)));
                argument.get(1).map_or(key.clone(), |member| key[text(member)].clone())
            }
            "tokens" => json!({
                "token_type": "Bearer", "expires_in": 300, "id_token": self.get("id_token"),
                "access_token": super::token::ACCESS_TOKEN,
            }),
            _ => panic!("nothing is called ${kind}"),
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

pub fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

pub fn count(value: &Value) -> usize {
    usize::try_from(number(value)).unwrap()
}

/// Bytes from hexadecimal digits.
pub fn bytes_of(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn other_scheme(address: &str) -> String {
    match address.strip_prefix("https://") {
        Some(rest) => format!("http://{rest}"),
        None => address.replacen("http://", "https://", 1),
    }
}

/// Everything but the unreserved characters of RFC 3986.
pub fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
