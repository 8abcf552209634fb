//! What Project Wycheproof's JSON Web Signature and JSON Web Key sets try, written anew for tokens: their payloads are
//! no JSON, so a JWT library refuses the valid ones as well. Each row is tried with every algorithm.

use crate::support::{Signer, base64url, jwk, public_key_as_der, public_key_as_pem, sign};
use mlflow_oidc::error::{Code, Error};
use mlflow_oidc::jose::{Algorithm, Compact, KeySet, Verified, verify};
use serde_json::{Value, json};

const CLAIMS: &str = r#"{"sub":"alice","exp":1800000300}"#;

/// One algorithm with its key, and the parts of a good token.
struct Subject {
    algorithm: Algorithm,
    signer: Signer,
    header: String,
    payload: String,
    signature: String,
}

fn signer_of(algorithm: Algorithm) -> Signer {
    match algorithm {
        Algorithm::ES256 => Signer::P256,
        Algorithm::ES384 => Signer::P384,
        Algorithm::EdDSA => Signer::Ed25519,
        _ => Signer::Rsa,
    }
}

impl Subject {
    fn new(algorithm: Algorithm) -> Self {
        let signer = signer_of(algorithm);
        let header = base64url(json!({"alg": algorithm.name(), "kid": "key"}).to_string());
        let payload = base64url(CLAIMS);
        let signature = Self::signature(&signer, algorithm, &header, &payload);
        Self { algorithm, signer, header, payload, signature }
    }

    fn signature(signer: &Signer, algorithm: Algorithm, header: &str, payload: &str) -> String {
        base64url(sign(signer, algorithm.name(), format!("{header}.{payload}").as_bytes()))
    }

    /// A token of these parts, signed as they stand.
    fn signed(&self, header: &str, payload: &str) -> String {
        format!("{header}.{payload}.{}", Self::signature(&self.signer, self.algorithm, header, payload))
    }

    /// A token with that header as JSON, signed.
    fn headed(&self, header: &Value) -> String {
        self.signed(&base64url(header.to_string()), &self.payload)
    }

    fn key(&self) -> Value {
        jwk(&self.signer, "key")
    }

    /// The key with these members over its own.
    fn key_with(&self, members: Value) -> Value {
        let mut key = self.key();
        key.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        key
    }
}

fn judge(token: &str, keys: &[Value]) -> Result<Verified, Error> {
    let keys = KeySet::parse(json!({"keys": keys}).to_string().as_bytes())?;
    verify(Compact::parse(token)?, &keys, Algorithm::ALL)
}

/// A token by somebody who has no key: HMAC with something public as its secret.
fn forged(secret: Vec<u8>, subject: &Subject) -> String {
    let header = base64url(json!({"alg": "HS256", "kid": "key"}).to_string());
    let input = format!("{header}.{}", subject.payload);
    format!("{input}.{}", base64url(sign(&Signer::Hmac(secret), "HS256", input.as_bytes())))
}

type Row = (&'static str, Code, fn(&Subject) -> String);

/// Changed tokens. Those that are signed again after the change are wrong in what they say, not in their signature.
const TOKENS: &[Row] = &[
    ("another signature", Code::TokenSignature, |s| {
        let first = if s.signature.starts_with('A') { 'B' } else { 'A' };
        format!("{}.{}.{first}{}", s.header, s.payload, &s.signature[1..])
    }),
    ("no signature", Code::TokenMalformed, |s| format!("{}.{}.", s.header, s.payload)),
    ("no signature and no dot", Code::TokenMalformed, |s| format!("{}.{}", s.header, s.payload)),
    ("another payload", Code::TokenSignature, |s| {
        format!("{}.{}.{}", s.header, base64url(CLAIMS.replace("alice", "admin")), s.signature)
    }),
    ("no payload", Code::TokenMalformed, |s| format!("{}..{}", s.header, s.signature)),
    ("no payload, signed so", Code::TokenMalformed, |s| s.signed(&s.header, "")),
    ("no payload and no dot", Code::TokenMalformed, |s| format!("{}.{}", s.header, s.signature)),
    ("another header", Code::TokenSignature, |s| {
        let header = base64url(json!({"kid": "key", "alg": s.algorithm.name(), "x": 1}).to_string());
        format!("{header}.{}.{}", s.payload, s.signature)
    }),
    ("another kid", Code::TokenKeyUnknown, |s| s.headed(&json!({"alg": s.algorithm.name(), "kid": "Xey"}))),
    ("no header", Code::TokenMalformed, |s| format!(".{}.{}", s.payload, s.signature)),
    ("no header and no dot", Code::TokenMalformed, |s| format!("{}.{}", s.payload, s.signature)),
    ("a payload alone", Code::TokenMalformed, |s| format!(".{}.", s.payload)),
    ("a payload without dots", Code::TokenMalformed, |s| s.payload.clone()),
    ("nothing", Code::TokenMalformed, |_| String::new()),
    ("a fourth part that is empty", Code::TokenMalformed, |s| s.signed(&s.header, &s.payload) + "."),
    ("a fourth part", Code::TokenMalformed, |s| s.signed(&s.header, &s.payload) + ".AAAA"),
    ("alg none without signature", Code::TokenAlgorithm, |s| {
        format!("{}.{}.", base64url(r#"{"alg":"none","kid":"key"}"#), s.payload)
    }),
    ("alg none with the signature", Code::TokenAlgorithm, |s| {
        format!("{}.{}.{}", base64url(r#"{"alg":"none","kid":"key"}"#), s.payload, s.signature)
    }),
    ("the general JSON serialization", Code::TokenMalformed, |s| {
        let signature = json!({"protected": s.header, "header": {"x": "y"}, "signature": s.signature});
        json!({"payload": s.payload, "signatures": [signature]}).to_string()
    }),
    ("the flattened JSON serialization", Code::TokenMalformed, |s| {
        json!({"payload": s.payload, "protected": s.header, "signature": s.signature}).to_string()
    }),
    ("HMAC with the JWK as the secret", Code::TokenAlgorithm, |s| {
        forged(s.key().to_string().into_bytes(), s)
    }),
    ("HMAC with the PEM as the secret", Code::TokenAlgorithm, |s| forged(public_key_as_pem(), s)),
    ("HMAC with the DER as the secret", Code::TokenAlgorithm, |s| forged(public_key_as_der(), s)),
    ("HMAC with no secret", Code::TokenAlgorithm, |s| forged(Vec::new(), s)),
    ("a key brought along", Code::TokenSignature, |s| {
        let own = jwk(&Signer::RsaOther, "key");
        let header = base64url(json!({"alg": s.algorithm.name(), "kid": "key", "jwk": own}).to_string());
        let input = format!("{header}.{}", s.payload);
        format!("{input}.{}", base64url(sign(&Signer::RsaOther, s.algorithm.name(), input.as_bytes())))
    }),
    ("a space in the header", Code::TokenMalformed, |s| s.signed(&(s.header.clone() + " "), &s.payload)),
    ("a letter of no alphabet in the header", Code::TokenMalformed, |s| {
        s.signed(&s.header.replacen('J', "J?", 1), &s.payload)
    }),
    ("a line break in the header", Code::TokenMalformed, |s| {
        s.signed(&format!("{}\n", s.header), &s.payload)
    }),
    ("a space in the payload", Code::TokenMalformed, |s| s.signed(&s.header, &format!(" {}", s.payload))),
    ("a letter of no alphabet in the payload", Code::TokenMalformed, |s| {
        s.signed(&s.header, &format!("#{}", s.payload))
    }),
    ("a padded payload", Code::TokenMalformed, |s| s.signed(&s.header, &format!("{}=", s.payload))),
    ("unused bits in the payload", Code::TokenMalformed, |s| {
        // The claims are written so that the last letter has bits to spare: any of its four spellings would be read alike.
        let payload = base64url(r#"{"sub":"alice" }"#);
        assert!(payload.ends_with('Q') && payload.len() % 4 == 2);
        s.signed(&s.header, &format!("{}R", payload.strip_suffix('Q').unwrap()))
    }),
    ("a space in the signature", Code::TokenMalformed, |s| {
        format!("{}.{}. {}", s.header, s.payload, s.signature)
    }),
    ("a letter of no alphabet before the signature", Code::TokenMalformed, |s| {
        format!("{}.{}.?{}", s.header, s.payload, s.signature)
    }),
    ("a letter of no alphabet after the signature", Code::TokenMalformed, |s| {
        format!("{}.{}.{}?", s.header, s.payload, s.signature)
    }),
    ("a padded signature", Code::TokenMalformed, |s| format!("{}.{}.{}==", s.header, s.payload, s.signature)),
    ("a longer signature", Code::TokenSignature, |s| {
        format!("{}.{}.AAAA{}", s.header, s.payload, s.signature)
    }),
    ("a signature with more behind it", Code::TokenSignature, |s| {
        let whole = s.signature.len() / 4 * 4;
        format!("{}.{}.{}AAAAAAAA", s.header, s.payload, &s.signature[..whole])
    }),
    ("a shorter signature", Code::TokenSignature, |s| {
        format!("{}.{}.{}", s.header, s.payload, &s.signature[4..])
    }),
    ("a signature of zeros", Code::TokenSignature, |s| {
        format!("{}.{}.{}", s.header, s.payload, base64url(vec![0; s.signature.len() * 3 / 4]))
    }),
    ("an endless signature", Code::TokenSignature, |s| {
        format!("{}.{}.{}", s.header, s.payload, base64url(vec![0; 30_000]))
    }),
];

#[test]
fn a_good_token_is_verified() {
    for algorithm in Algorithm::ALL {
        let subject = Subject::new(*algorithm);
        let spaced = format!("{{ \"kid\"\t:\n\"key\" , \"alg\" : \"{algorithm}\" }}");
        for token in [
            subject.signed(&subject.header, &subject.payload),
            subject.headed(&json!({"alg": algorithm.name()})),
            subject.signed(&base64url(spaced), &subject.payload),
        ] {
            for key in [
                subject.key(),
                subject.key_with(json!({"alg": algorithm.name(), "use": "sig", "key_ops": ["verify"]})),
            ] {
                let verified = judge(&token, &[key]).unwrap_or_else(|error| panic!("{algorithm}: {error}"));
                assert_eq!(verified.claims()["sub"], "alice");
            }
        }
    }
}

#[test]
fn no_changed_token_is_verified() {
    for algorithm in Algorithm::ALL {
        let subject = Subject::new(*algorithm);
        for (name, code, change) in TOKENS {
            let found = judge(&change(&subject), &[subject.key()]).unwrap_err();
            assert_eq!(found.code, *code, "{name} with {algorithm}: {found}");
        }
    }
}

#[test]
fn a_key_of_one_algorithm_verifies_no_other() {
    // PS256 and RS256 with one key is the 'cross-protocol' case; all pairs are tried.
    for algorithm in Algorithm::ALL {
        let subject = Subject::new(*algorithm);
        for other in Algorithm::ALL.iter().filter(|other| *other != algorithm) {
            let key = Subject::new(*other).key_with(json!({"alg": other.name()}));
            let found = judge(&subject.signed(&subject.header, &subject.payload), &[key]).unwrap_err();
            assert_eq!(found.code, Code::TokenKeyUnknown, "{algorithm} with a key for {other}");
        }
    }
}

/// A modulus in the form of CVE-2017-15361: 65537 to the power of 128, which is its own proof. It has 2049 bits.
fn roca() -> String {
    let mut number = vec![1_u8];
    for _ in 0..128 {
        let mut carry = 0_u32;
        for digit in &mut number {
            carry += u32::from(*digit) * 65_537;
            *digit = carry as u8;
            carry >>= 8;
        }
        number.extend([carry as u8, (carry >> 8) as u8, (carry >> 16) as u8]);
    }
    number.reverse();
    base64url(number.iter().copied().skip_while(|digit| *digit == 0).collect::<Vec<_>>())
}

#[test]
fn a_key_that_nobody_should_have_is_not_used() {
    let rsa = Subject::new(Algorithm::RS256);
    let p256 = Subject::new(Algorithm::ES256);
    let p384 = Subject::new(Algorithm::ES384);
    let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
    let rows = [
        ("for encryption", &rsa, rsa.key_with(json!({"use": "enc"}))),
        ("for encryption", &p256, p256.key_with(json!({"use": "enc"}))),
        ("for encryption by its key_ops", &rsa, rsa.key_with(json!({"key_ops": ["encrypt"]}))),
        ("for encryption by its key_ops", &p256, p256.key_with(json!({"key_ops": ["encrypt"]}))),
        ("of an algorithm for encryption", &rsa, rsa.key_with(json!({"alg": "RSA1_5", "use": "enc"}))),
        ("with a private half", &rsa, rsa.key_with(json!({"d": "AQAB"}))),
        ("with a private half", &p256, p256.key_with(json!({"d": "AQAB"}))),
        ("of 1024 bits", &rsa, rsa.key_with(json!({"n": text(&rsa.key(), "n")[..171]}))),
        ("with exponent 1", &rsa, rsa.key_with(json!({"e": "AQ"}))),
        ("of CVE-2017-15361", &rsa, rsa.key_with(json!({"n": roca()}))),
        ("of an algorithm that is none", &p256, p256.key_with(json!({"alg": "ES521"}))),
        ("of an algorithm for another size", &p256, p256.key_with(json!({"alg": "ES224"}))),
        ("of another curve's name", &p256, p256.key_with(json!({"crv": "P-384"}))),
        ("of another curve's name", &p384, p384.key_with(json!({"crv": "P-256"}))),
        ("of another type", &p256, p256.key_with(json!({"kty": "RSA"}))),
        ("of another type", &rsa, rsa.key_with(json!({"kty": "EC"}))),
        ("of another type", &rsa, rsa.key_with(json!({"kty": "oct", "k": text(&rsa.key(), "n")}))),
    ];
    for (name, subject, key) in rows {
        let token = subject.signed(&subject.header, &subject.payload);
        let found = judge(&token, &[key]).unwrap_err();
        assert_eq!(
            (found.code, found.expected.as_ref()),
            (Code::ProviderAnswer, "a key that can verify signatures"),
            "{name}"
        );
    }
}

#[test]
fn a_key_off_its_curve_is_not_used() {
    for subject in [Subject::new(Algorithm::ES256), Subject::new(Algorithm::ES384)] {
        let token = subject.signed(&subject.header, &subject.payload);
        let (x, y) = (subject.key()["x"].clone(), subject.key()["y"].clone());
        for (x, y) in [(y.clone(), x.clone()), (x.clone(), x.clone()), (y.clone(), y.clone())] {
            let off = subject.key_with(json!({"x": x, "y": y}));
            let found = judge(&token, std::slice::from_ref(&off)).unwrap_err();
            assert_eq!(
                (found.code, found.expected.as_ref()),
                (Code::ProviderAnswer, "a key that can verify signatures"),
                "{}",
                subject.algorithm
            );
            // It takes no other key of the set down with it.
            assert!(judge(&token, &[off, subject.key()]).is_ok(), "{}", subject.algorithm);
        }
    }
}

#[test]
fn keys_of_two_kinds_or_of_one_name_do_not_help() {
    for algorithm in Algorithm::ALL {
        let subject = Subject::new(*algorithm);
        let token = subject.signed(&subject.header, &subject.payload);
        // A symmetric key in a public set: whoever reads the set could sign with it.
        let secret = b"a secret that everybody can read".to_vec();
        let symmetric =
            json!({"kty": "oct", "kid": "key", "use": "sig", "alg": "HS256", "k": base64url(&secret)});
        let mixed = [symmetric, subject.key()];
        assert_eq!(judge(&forged(secret, &subject), &mixed).unwrap_err().code, Code::TokenAlgorithm);
        assert!(judge(&token, &mixed).is_ok(), "the usable key of the set is used");
        let found = judge(&token, &[subject.key(), subject.key()]).unwrap_err();
        assert_eq!(found.code, Code::TokenKeyUnknown, "one name twice");
    }
}
