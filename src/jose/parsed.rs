//! A public key that was parsed once, as a verifier in jsonwebtoken's terms.
//!
//! jsonwebtoken's own verifiers keep the bytes of a key and hand them to aws-lc anew for each token, which costs RSA a fifth of
//! the whole check and the curves a twentieth (docs/performance.md). This is the same check by the same library, with the
//! parsing done when the key set is read.

use super::Algorithm;
use aws_lc_rs::signature as aws;
use aws_lc_rs::signature::{ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use jsonwebtoken::crypto::JwtVerifier;
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{DecodingKey, DecodingKeyKind};

/// A key and the one algorithm that it verifies with.
pub struct Parsed {
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

enum Means {
    Rsa(&'static RsaParameters),
    Curve(&'static dyn aws::VerificationAlgorithm),
}

/// RSA of 2048 to 8192 bits (RFC 7518 section 3.3); signatures of the curves are r and s of fixed size (section 3.4).
fn means(algorithm: Algorithm) -> Means {
    match algorithm {
        Algorithm::RS256 => Means::Rsa(&aws::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Means::Rsa(&aws::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Means::Rsa(&aws::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Means::Rsa(&aws::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Means::Rsa(&aws::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Means::Rsa(&aws::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Means::Curve(&aws::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Means::Curve(&aws::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Means::Curve(&aws::ED25519),
    }
}

impl Parsed {
    /// Parses a key for one algorithm.
    ///
    /// # Errors
    /// In words: the library cannot use the key, for example because its point is not on the curve.
    pub fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, String> {
        let unusable = |_| format!("it cannot be used with {algorithm}");
        let parsed = match (means(algorithm), key.kind()) {
            (Means::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).map_err(unusable)?
            }
            (Means::Curve(curve), DecodingKeyKind::SecretOrDer(bytes)) => {
                ParsedPublicKey::new(curve, bytes).map_err(unusable)?
            }
            _ => return Err(format!("it is of another kind than {algorithm}")),
        };
        Ok(Self { algorithm, key: parsed })
    }
}

impl Verifier<Vec<u8>> for Parsed {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        self.key.verify_sig(message, signature).map_err(signature::Error::from_source)
    }
}

impl JwtVerifier for Parsed {
    fn algorithm(&self) -> jsonwebtoken::Algorithm {
        self.algorithm.backend()
    }
}
