//! The compact serialization (RFC 7515 section 7.1): read, not yet believed.

use super::{Algorithm, Object, json};
use crate::error::{Code, Error, Result, quote};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The largest token that is looked at, in bytes.
pub const SIZE_LIMIT: usize = 64 * 1024;

/// A parsed token whose signature has **not** been checked.
#[derive(Debug)]
pub struct Compact<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    claims: Object,
    signing_input: &'a str,
    signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// `token_too_large`, `token_encrypted` (five parts, RFC 7516), `token_malformed`, `token_header` (`crit`,
    /// `b64`: RFC 7515 section 4.1.11, RFC 7797) and `token_algorithm` (`none`, HMAC, unknown: RFC 8725 section 3.1).
    pub fn parse(token: &'a str) -> Result<Self> {
        if token.len() > SIZE_LIMIT {
            return Err(Error::new(
                Code::TokenTooLarge,
                format!("at most {SIZE_LIMIT} bytes"),
                format!("{} bytes", token.len()),
            ));
        }
        let parts: Vec<&str> = token.splitn(6, '.').collect();
        let (header, payload, signature) = match parts[..] {
            [header, payload, signature] => (header, payload, signature),
            [_, _, _, _, _] => {
                return Err(Error::new(
                    Code::TokenEncrypted,
                    "a signed JWT of three parts",
                    "five parts (JWE)",
                ));
            }
            _ => {
                let found = match parts.len() {
                    1 => "an opaque token without dots".to_owned(),
                    6 => "more than five parts".to_owned(),
                    n => format!("{n} parts"),
                };
                return Err(Error::new(Code::TokenMalformed, "a JWT of three parts", found));
            }
        };
        let header_object = part(header, "header")?;
        // An extension that must be understood and is not makes the token invalid (RFC 7515 section 4.1.11); an
        // unencoded payload is one of those (RFC 7797), named or not. Embedded keys and key addresses (jwk, jku, x5u,
        // x5c) are never read: a token that brings its own key proves nothing.
        for name in ["crit", "b64", "enc", "zip"] {
            if header_object.contains_key(name) {
                return Err(Error::new(
                    Code::TokenHeader,
                    "a header without extensions",
                    format!("'{name}'"),
                ));
            }
        }
        let algorithm = match header_object.get("alg") {
            Some(Value::String(name)) => Algorithm::from_name(name).ok_or_else(|| {
                Error::new(Code::TokenAlgorithm, "RS, PS, ES or EdDSA", format!("alg {}", quote(name)))
            })?,
            _ => {
                return Err(Error::new(Code::TokenAlgorithm, "the header 'alg'", "none of text"));
            }
        };
        let kid = text(&header_object, "kid")?;
        let typ = text(&header_object, "typ")?;
        if signature.is_empty() {
            return Err(Error::new(Code::TokenMalformed, "a signature", "an empty one"));
        }
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else {
            return Err(Error::new(Code::TokenMalformed, "a signature in base64url", "something else"));
        };
        let claims = part(payload, "payload")?;
        Ok(Self {
            algorithm,
            kid,
            typ,
            claims,
            signing_input: &token[..header.len() + 1 + payload.len()],
            signature,
        })
    }

    /// What the token says of itself. Good for refusing early, never for letting in.
    pub fn unverified_claims(&self) -> &Object {
        &self.claims
    }

    /// The algorithm that the header names.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key id that the header names.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The media type that the header names (RFC 8725 section 3.11).
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    pub(super) fn signing_input(&self) -> &str {
        self.signing_input
    }

    pub(super) fn signature(&self) -> &Vec<u8> {
        &self.signature
    }

    pub(super) fn into_claims(self) -> (Object, Option<String>) {
        (self.claims, self.typ)
    }
}

fn part(encoded: &str, name: &'static str) -> Result<Object> {
    let malformed =
        |found: String| Error::new(Code::TokenMalformed, format!("a JSON object as {name}"), found);
    let bytes =
        URL_SAFE_NO_PAD.decode(encoded).map_err(|_| malformed("text that is not base64url".into()))?;
    json::parse_object(&bytes).map_err(malformed)
}

fn text(header: &Object, name: &'static str) -> Result<Option<String>> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(value)) => Ok(Some(value.clone())),
        Some(_) => Err(Error::new(Code::TokenHeader, format!("the header '{name}' as text"), "another type")),
    }
}
