//! The signature check, and the type that only it can make.

use super::{Algorithm, Compact, KeySet, Object};
use crate::error::{Code, Error, Result};

/// The claims of a token whose signature one of the provider's keys has verified.
///
/// Only [`verify`] makes one, so whoever holds it cannot have skipped the check.
#[derive(Debug)]
pub struct Verified {
    claims: Object,
    typ: Option<String>,
    algorithm: Algorithm,
}

impl Verified {
    /// The claims.
    pub fn claims(&self) -> &Object {
        &self.claims
    }

    /// The media type of the header.
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// The algorithm that verified.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// Verifies the signature of `token` with the one key of `keys` that fits, if `allowed` has its algorithm.
///
/// # Errors
/// `token_algorithm`, `token_key_unknown`, `token_signature` (RFC 7515 section 5.2).
pub fn verify(token: Compact<'_>, keys: &KeySet, allowed: &[Algorithm]) -> Result<Verified> {
    let algorithm = token.algorithm();
    if !allowed.contains(&algorithm) {
        let names: Vec<&str> = allowed.iter().map(|algorithm| algorithm.name()).collect();
        return Err(Error::new(Code::TokenAlgorithm, names.join(", "), algorithm.name()));
    }
    let key = keys.select(&token)?;
    if !key.verifies(algorithm, token.signing_input().as_bytes(), token.signature()) {
        return Err(Error::new(
            Code::TokenSignature,
            format!(
                "a signature by the published key {}",
                crate::error::quote(key.kid().unwrap_or("without kid"))
            ),
            format!("one that does not verify ({algorithm})"),
        ));
    }
    let (claims, typ) = token.into_claims();
    Ok(Verified { claims, typ, algorithm })
}
