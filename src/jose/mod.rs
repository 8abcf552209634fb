//! JSON Object Signing: the compact form, keys, key sets, and the only way to a [`Verified`] token.

pub mod algorithm;
pub mod compact;
pub mod json;
pub mod key;
pub mod key_set;
mod parsed;
pub mod verify;

pub use algorithm::Algorithm;
pub use compact::Compact;
pub use key::Key;
pub use key_set::KeySet;
pub use verify::{Verified, verify};

/// A JSON object: the header or the claims of a token, a metadata document, an answer.
pub type Object = serde_json::Map<String, serde_json::Value>;
