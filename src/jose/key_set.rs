//! A provider's published keys (RFC 7517 section 5), and which one of them a token means.

use super::{Algorithm, Compact, Key, json};
use crate::error::{Code, Error, Result, quote};
use serde_json::Value;
use std::collections::HashMap;

/// More keys than this in one set is not a key set but an attack on our memory.
const KEYS_LIMIT: usize = 1000;

/// The usable keys of a set, and why the others were skipped.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Where in `keys` those of a name are: one look, however many keys a provider publishes.
    by_kid: HashMap<String, Vec<usize>>,
    skipped: Vec<String>,
}

impl KeySet {
    /// Reads a key set; keys that cannot be used are skipped (RFC 7517 section 5).
    ///
    /// # Errors
    /// `provider_answer` when it is not a key set, or when no key of it can be used.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let fault = |found: String| Error::new(Code::ProviderAnswer, "a JSON Web Key Set", found);
        let object = json::parse_object(body).map_err(fault)?;
        let Some(Value::Array(items)) = object.get("keys") else {
            return Err(fault("JSON without a list 'keys'".into()));
        };
        if items.len() > KEYS_LIMIT {
            return Err(fault(format!("{} keys, more than {KEYS_LIMIT}", items.len())));
        }
        let mut set = Self::default();
        for (index, item) in items.iter().enumerate() {
            let parsed =
                item.as_object().ok_or_else(|| "it is not an object".to_owned()).and_then(Key::parse);
            match parsed {
                Ok(key) => {
                    if let Some(kid) = key.kid() {
                        set.by_kid.entry(kid.to_owned()).or_default().push(set.keys.len());
                    }
                    set.keys.push(key);
                }
                Err(reason) => set.skipped.push(format!("key {index}: {reason}")),
            }
        }
        if set.keys.is_empty() {
            let reasons =
                if set.skipped.is_empty() { "an empty list".into() } else { set.skipped.join("; ") };
            return Err(Error::new(
                Code::ProviderAnswer,
                "a key that can verify signatures",
                quote(&reasons),
            ));
        }
        Ok(set)
    }

    /// The one key that fits the token.
    ///
    /// # Errors
    /// `token_key_unknown` when no key or more than one fits; trying several keys would let an attacker choose.
    pub fn select(&self, token: &Compact<'_>) -> Result<&Key> {
        let algorithm: Algorithm = token.algorithm();
        let fits = |key: &&Key| key.allows(algorithm);
        let fitting = match token.kid() {
            Some(kid) => {
                let named = self.by_kid.get(kid).map(Vec::as_slice).unwrap_or_default();
                let mut fitting = named.iter().filter_map(|index| self.keys.get(*index)).filter(fits);
                (fitting.next(), fitting.next())
            }
            None => {
                let mut fitting = self.keys.iter().filter(fits);
                (fitting.next(), fitting.next())
            }
        };
        match fitting {
            (Some(key), None) => Ok(key),
            (None, _) => Err(Error::new(
                Code::TokenKeyUnknown,
                format!("one of the {} published keys, fit for {algorithm}", self.keys.len()),
                token.kid().map_or_else(|| "no kid".to_owned(), |kid| format!("kid {}", quote(kid))),
            )),
            (Some(_), Some(_)) => Err(Error::new(
                Code::TokenKeyUnknown,
                "exactly one published key that fits",
                token.kid().map_or_else(
                    || "no kid, and several keys".to_owned(),
                    |kid| format!("kid {} twice", quote(kid)),
                ),
            )),
        }
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never true: a set without a usable key is not built.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Why keys of the set were skipped, one line each.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Whether both sets have the same keys under the same names.
    pub fn is_same(&self, other: &Self) -> bool {
        self.keys.len() == other.keys.len()
            && self.keys.iter().all(|key| other.keys.iter().any(|candidate| key.is_same(candidate)))
    }
}
