//! One public key of a key set (RFC 7517), judged by what it says it is for.

use super::parsed::Parsed;
use super::{Algorithm, Object};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::signature::Verifier;
use serde_json::Value;
use std::sync::Arc;

/// The smallest RSA modulus, in bits (RFC 7518 section 3.3).
const RSA_MINIMUM_BITS: usize = 2048;
/// A larger modulus makes one verification cost milliseconds: a denial of service by key size.
const RSA_MAXIMUM_BITS: usize = 8192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// A public key that may verify signatures.
#[derive(Clone)]
pub struct Key {
    kid: Option<String>,
    kind: Kind,
    algorithm: Option<Algorithm>,
    /// One for each algorithm that it may verify.
    verifiers: Arc<[(Algorithm, Parsed)]>,
    identity: Vec<u8>,
}

impl Key {
    /// Reads one JWK.
    ///
    /// # Errors
    /// Says why the key cannot be used: private or symmetric material, `use` or `key_ops` for something else, an `alg`
    /// that does not fit, a weak RSA key, a curve without support. The caller skips such keys (RFC 7517 section 5).
    pub fn parse(jwk: &Object) -> Result<Self, String> {
        // A symmetric or private key in a public set is a mistake at the provider; using it would make forging possible.
        if ["k", "d", "p", "q"].iter().any(|member| jwk.contains_key(*member)) {
            return Err("it is not a public key".into());
        }
        if let Some(value) = jwk.get("use")
            && value.as_str() != Some("sig")
        {
            return Err("its 'use' is not 'sig'".into());
        }
        if let Some(value) = jwk.get("key_ops") {
            let operations = value.as_array().ok_or("its 'key_ops' is not a list")?;
            if !operations.iter().any(|operation| operation.as_str() == Some("verify")) {
                return Err("its 'key_ops' has no 'verify'".into());
            }
        }
        let kid = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err("its 'kid' is not text".into()),
        };
        let algorithm = match jwk.get("alg") {
            None => None,
            Some(Value::String(name)) => {
                Some(Algorithm::from_name(name).ok_or("its 'alg' is not one of ours")?)
            }
            Some(_) => return Err("its 'alg' is not text".into()),
        };
        let (kind, decoding, identity) = match member(jwk, "kty")? {
            "RSA" => rsa(jwk)?,
            "EC" => elliptic(jwk)?,
            "OKP" => edwards(jwk)?,
            _ => return Err("its 'kty' is not RSA, EC or OKP".into()),
        };
        if let Some(algorithm) = algorithm
            && !fits(kind, algorithm)
        {
            return Err(format!("its 'alg' {algorithm} does not fit its 'kty' and 'crv'"));
        }
        let verifiers = Algorithm::ALL
            .iter()
            .copied()
            .filter(|known| fits(kind, *known) && algorithm.is_none_or(|own| own == *known))
            .map(|known| Ok((known, Parsed::new(known, &decoding)?)))
            .collect::<Result<_, String>>()?;
        Ok(Self { kid, kind, algorithm, verifiers, identity })
    }

    /// The key id.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether this key may verify that algorithm (RFC 8725 section 3.1: one key, one algorithm family).
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        self.verifier(algorithm).is_some()
    }

    /// Whether `signature` is one by this key over `message`. It says nothing of a token: what a token claims may be
    /// believed only as a [`super::Verified`].
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &Vec<u8>) -> bool {
        self.verifier(algorithm).is_some_and(|verifier| verifier.verify(message, signature).is_ok())
    }

    fn verifier(&self, algorithm: Algorithm) -> Option<&Parsed> {
        self.verifiers.iter().find(|(known, _)| *known == algorithm).map(|(_, verifier)| verifier)
    }

    /// Whether both are the same public key under the same name.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.kid == other.kid && self.algorithm == other.algorithm && self.identity == other.identity
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("kind", &self.kind).finish_non_exhaustive()
    }
}

fn fits(kind: Kind, algorithm: Algorithm) -> bool {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match kind {
        Kind::Rsa => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
        Kind::P256 => algorithm == ES256,
        Kind::P384 => algorithm == ES384,
        Kind::Ed25519 => algorithm == EdDSA,
    }
}

type Material = (Kind, DecodingKey, Vec<u8>);

fn rsa(jwk: &Object) -> Result<Material, String> {
    let modulus = bytes(jwk, "n")?;
    let exponent = bytes(jwk, "e")?;
    let significant = &modulus[modulus.iter().take_while(|byte| **byte == 0).count()..];
    let bits = significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize);
    if bits < RSA_MINIMUM_BITS {
        return Err(format!("its modulus has {bits} bits, at least {RSA_MINIMUM_BITS} are needed"));
    }
    if bits > RSA_MAXIMUM_BITS {
        return Err(format!("its modulus has {bits} bits, at most {RSA_MAXIMUM_BITS} are allowed"));
    }
    let exponent_significant = &exponent[exponent.iter().take_while(|byte| **byte == 0).count()..];
    // With exponent 1 every 'signature' verifies; even exponents and huge ones have no honest use.
    let odd = exponent_significant.last().is_some_and(|last| last % 2 == 1);
    if !odd || exponent_significant == [1] || exponent_significant.len() > 4 {
        return Err("its exponent is not a usual one".into());
    }
    if is_roca(significant) {
        return Err("its modulus has the form of CVE-2017-15361 (ROCA) and can be factored".into());
    }
    let identity = [b"RSA", significant, b"/", exponent_significant].concat();
    Ok((Kind::Rsa, DecodingKey::from_rsa_raw_components(significant, exponent_significant), identity))
}

/// Whether a modulus comes from the library of CVE-2017-15361: its primes are powers of 65537 modulo every small prime,
/// and so is their product. The private key can be computed from it. One honest modulus in 2^27 looks like that.
fn is_roca(modulus: &[u8]) -> bool {
    const SMALL_PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101,
        103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    SMALL_PRIMES.iter().all(|prime| {
        let rest = modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let powers = std::iter::successors(Some(1), |power| Some(power * 65_537 % prime));
        powers.take(*prime as usize).any(|power| power == rest)
    })
}

fn elliptic(jwk: &Object) -> Result<Material, String> {
    let (kind, size) = match member(jwk, "crv")? {
        "P-256" => (Kind::P256, 32),
        "P-384" => (Kind::P384, 48),
        _ => return Err("its curve is not P-256 or P-384".into()),
    };
    let (x, y) = (member(jwk, "x")?, member(jwk, "y")?);
    let (x_bytes, y_bytes) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    // RFC 7518 section 6.2.1.2: the coordinate has exactly the size of the field.
    if x_bytes.len() != size || y_bytes.len() != size {
        return Err("its coordinates have the wrong size".into());
    }
    let decoding = DecodingKey::from_ec_components(x, y).map_err(|_| "its coordinates cannot be read")?;
    Ok((kind, decoding, [b"EC".as_slice(), &x_bytes, &y_bytes].concat()))
}

fn edwards(jwk: &Object) -> Result<Material, String> {
    if member(jwk, "crv")? != "Ed25519" {
        return Err("its curve is not Ed25519".into());
    }
    let x_bytes = bytes(jwk, "x")?;
    if x_bytes.len() != 32 {
        return Err("its public key has the wrong size".into());
    }
    let decoding =
        DecodingKey::from_ed_components(member(jwk, "x")?).map_err(|_| "its public key cannot be read")?;
    Ok((Kind::Ed25519, decoding, [b"OKP".as_slice(), &x_bytes].concat()))
}

fn member<'a>(jwk: &'a Object, name: &str) -> Result<&'a str, String> {
    jwk.get(name).and_then(Value::as_str).ok_or_else(|| format!("it has no '{name}'"))
}

fn bytes(jwk: &Object, name: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD.decode(member(jwk, name)?).map_err(|_| format!("its '{name}' is not base64url"))
}
