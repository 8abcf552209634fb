//! Keys of a provider, made once per process, and signatures by them.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Everything that signs in these tests. RSA keys are slow to make, so there are two of them for all tests.
pub struct Keys {
    pub rsa: RsaKeyPair,
    pub rsa_other: RsaKeyPair,
    pub p256: EcdsaKeyPair,
    pub p256_other: EcdsaKeyPair,
    pub p384: EcdsaKeyPair,
    pub ed25519: Ed25519KeyPair,
}

pub static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    rsa_other: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    p256_other: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
    ed25519: Ed25519KeyPair::generate().unwrap(),
});

/// Who signs a token. The algorithm is told beside it, so that a test may let the header lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    Rsa,
    RsaOther,
    P256,
    P256Other,
    P384,
    Ed25519,
    Hmac(Vec<u8>),
    /// These bytes stand where a signature should.
    Fixed(Vec<u8>),
    /// The 'signature' that a key of exponent 1 verifies: the encoded message itself.
    ExponentOne,
}

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn unpadded_base64url(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// Signs as `algorithm` asks; what has no such signature gets the usual one of its key.
pub fn sign(signer: &Signer, algorithm: &str, message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    match signer {
        Signer::Rsa => rsa(&KEYS.rsa, algorithm, message),
        Signer::RsaOther => rsa(&KEYS.rsa_other, algorithm, message),
        Signer::P256 => KEYS.p256.sign(&random, message).unwrap().as_ref().to_vec(),
        Signer::P256Other => KEYS.p256_other.sign(&random, message).unwrap().as_ref().to_vec(),
        Signer::P384 => KEYS.p384.sign(&random, message).unwrap().as_ref().to_vec(),
        Signer::Ed25519 => KEYS.ed25519.sign(message).as_ref().to_vec(),
        Signer::Hmac(secret) => {
            let kind = match algorithm {
                "HS384" => hmac::HMAC_SHA384,
                "HS512" => hmac::HMAC_SHA512,
                _ => hmac::HMAC_SHA256,
            };
            hmac::sign(&hmac::Key::new(kind, secret), message).as_ref().to_vec()
        }
        Signer::Fixed(bytes) => bytes.clone(),
        Signer::ExponentOne => encoded_message(message, KEYS.rsa.public_modulus_len()),
    }
}

fn rsa(pair: &RsaKeyPair, algorithm: &str, message: &[u8]) -> Vec<u8> {
    let encoding: &'static dyn aws_lc_rs::signature::RsaEncoding = match algorithm {
        "RS384" => &RSA_PKCS1_SHA384,
        "RS512" => &RSA_PKCS1_SHA512,
        "PS256" => &RSA_PSS_SHA256,
        "PS384" => &RSA_PSS_SHA384,
        "PS512" => &RSA_PSS_SHA512,
        _ => &RSA_PKCS1_SHA256,
    };
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

/// The public key of a signer as a JWK without `alg`, `use` or `key_ops`.
pub fn jwk(signer: &Signer, kid: &str) -> Value {
    match signer {
        Signer::Rsa => rsa_jwk(&KEYS.rsa, kid),
        Signer::RsaOther => rsa_jwk(&KEYS.rsa_other, kid),
        Signer::P256 => elliptic_jwk(&KEYS.p256, "P-256", kid),
        Signer::P256Other => elliptic_jwk(&KEYS.p256_other, "P-256", kid),
        Signer::P384 => elliptic_jwk(&KEYS.p384, "P-384", kid),
        Signer::Ed25519 => json!({
            "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64url(KEYS.ed25519.public_key()),
        }),
        Signer::Hmac(_) | Signer::Fixed(_) | Signer::ExponentOne => panic!("no public key"),
    }
}

fn rsa_jwk(pair: &RsaKeyPair, kid: &str) -> Value {
    let (modulus, exponent) = components(pair.public_key().as_ref());
    json!({"kty": "RSA", "kid": kid, "n": base64url(modulus), "e": base64url(exponent)})
}

fn elliptic_jwk(pair: &EcdsaKeyPair, curve: &str, kid: &str) -> Value {
    // SEC 1 section 2.3.3: 04, then both coordinates.
    let (x, y) = pair.public_key().as_ref()[1..].split_at((pair.public_key().as_ref().len() - 1) / 2);
    json!({"kty": "EC", "crv": curve, "kid": kid, "x": base64url(x), "y": base64url(y)})
}

/// Modulus and exponent of a DER `RSAPublicKey` (RFC 8017 appendix A.1.1).
fn components(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (_, sequence, _) = element(der);
    let (_, modulus, rest) = element(sequence);
    let (_, exponent, _) = element(rest);
    let plain = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect();
    (plain(modulus), plain(exponent))
}

fn element(der: &[u8]) -> (u8, &[u8], &[u8]) {
    let (length, start) = match der[1] {
        short @ 0..=0x7F => (usize::from(short), 2),
        long => {
            let count = usize::from(long & 0x7F);
            (der[2..2 + count].iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte)), 2 + count)
        }
    };
    (der[0], &der[start..start + length], &der[start + length..])
}

/// What an attacker uses as an HMAC secret in the 'algorithm confusion' attack: the public key as everybody can
/// download it, as PEM and as DER.
pub fn public_key_as_pem() -> Vec<u8> {
    let body = STANDARD.encode(public_key_as_der());
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")).into_bytes()
}

pub fn public_key_as_der() -> Vec<u8> {
    let der: PublicKeyX509Der<'_> = KEYS.rsa.public_key().as_der().unwrap();
    der.as_ref().to_vec()
}

/// The block that an RSA signature with SHA-256 opens to (RFC 8017 section 9.2). With exponent 1 it is its own signature.
fn encoded_message(message: &[u8], length: usize) -> Vec<u8> {
    const DIGEST_INFO: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
        0x04, 0x20,
    ];
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message);
    let tail = [&DIGEST_INFO, hash.as_ref()].concat();
    let mut block = vec![0x00, 0x01];
    block.resize(length - tail.len() - 1, 0xFF);
    block.push(0x00);
    block.extend(tail);
    block
}
