//! No change of a valid token verifies.

use super::cases;
use crate::support::{Signer, base64url, jwk, sign};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mlflow_oidc::jose::{Algorithm, Compact, KeySet, verify};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;
use std::sync::LazyLock;

/// Each algorithm with two messages, one of them with two keys; as a provider would publish and sign.
static TOKENS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let signers = [
        ("RS256", Signer::Rsa, "rsa"),
        ("PS256", Signer::Rsa, "rsa"),
        ("RS256", Signer::RsaOther, "other"),
        ("ES256", Signer::P256, "p256"),
        ("ES384", Signer::P384, "p384"),
        ("EdDSA", Signer::Ed25519, "ed25519"),
    ];
    let mut tokens = Vec::new();
    for (algorithm, signer, kid) in signers {
        for subject in ["alice", "bob"] {
            let header = json!({"alg": algorithm, "kid": kid}).to_string();
            let claims = json!({"sub": subject, "exp": 1_800_000_300, "groups": ["MLFLOW"]}).to_string();
            let input = format!("{}.{}", base64url(header), base64url(claims));
            let signature = sign(&signer, algorithm, input.as_bytes());
            tokens.push(format!("{input}.{}", base64url(signature)));
        }
    }
    tokens
});

static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let keys = json!({"keys": [
        jwk(&Signer::Rsa, "rsa"), jwk(&Signer::RsaOther, "other"), jwk(&Signer::P256, "p256"),
        jwk(&Signer::P384, "p384"), jwk(&Signer::Ed25519, "ed25519"),
    ]});
    KeySet::parse(keys.to_string().as_bytes()).unwrap()
});

fn verifies(token: &str) -> bool {
    Compact::parse(token).is_ok_and(|parsed| verify(parsed, &KEYS, Algorithm::ALL).is_ok())
}

/// One change to a text. Places are told as fractions, so that they fit every length.
#[derive(Clone, Debug)]
enum Edit {
    Replace(Index, char),
    Insert(Index, char),
    Delete(Index),
    Swap(Index, Index),
    Repeat(Index, Index),
    Cut(Index, Index),
}

fn letter() -> impl Strategy<Value = char> {
    prop_oneof![
        8 => prop::sample::select(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".map(char::from).to_vec()
        ),
        2 => prop::sample::select(vec!['.', '=', '+', '/', ' ', '\n', '\0', '%', '"', '\u{e9}', '\u{ff21}']),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), letter()).prop_map(|(at, letter)| Edit::Replace(at, letter)),
        2 => (at(), letter()).prop_map(|(at, letter)| Edit::Insert(at, letter)),
        2 => at().prop_map(Edit::Delete),
        1 => (at(), at()).prop_map(|(a, b)| Edit::Swap(a, b)),
        1 => (at(), at()).prop_map(|(a, b)| Edit::Repeat(a, b)),
        1 => (at(), at()).prop_map(|(a, b)| Edit::Cut(a, b)),
    ]
}

fn edited(token: &str, edits: &[Edit]) -> String {
    let mut letters: Vec<char> = token.chars().collect();
    for edit in edits {
        if letters.is_empty() {
            break;
        }
        let length = letters.len();
        let range = |a: &Index, b: &Index| {
            let (a, b) = (a.index(length), b.index(length));
            a.min(b)..a.max(b)
        };
        match edit {
            Edit::Replace(at, letter) => letters[at.index(length)] = *letter,
            Edit::Insert(at, letter) => letters.insert(at.index(length + 1), *letter),
            Edit::Delete(at) => drop(letters.remove(at.index(length))),
            Edit::Swap(a, b) => letters.swap(a.index(length), b.index(length)),
            Edit::Repeat(a, b) => {
                let again = letters[range(a, b)].to_vec();
                let end = range(a, b).end;
                letters.splice(end..end, again);
            }
            Edit::Cut(a, b) => drop(letters.drain(range(a, b))),
        }
    }
    letters.into_iter().collect()
}

#[test]
fn the_tokens_are_good() {
    assert_eq!(TOKENS.len(), 12);
    assert!(TOKENS.iter().all(|token| verifies(token)));
}

proptest! {
    #![proptest_config(cases(6000))]
    #[test]
    fn no_edited_token_verifies(which in any::<Index>(), edits in prop::collection::vec(edit(), 1..4)) {
        let token = which.get(&TOKENS);
        let changed = edited(token, &edits);
        prop_assume!(!TOKENS.contains(&changed));
        prop_assert!(!verifies(&changed), "{changed}");
    }

    #[test]
    fn no_token_with_a_changed_byte_verifies(
        which in any::<Index>(), part in 0..3_usize, at in any::<Index>(), flip in 1..=255_u8,
    ) {
        let mut parts: Vec<String> = which.get(&TOKENS).split('.').map(str::to_owned).collect();
        let mut bytes = URL_SAFE_NO_PAD.decode(&parts[part]).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        parts[part] = URL_SAFE_NO_PAD.encode(bytes);
        prop_assert!(!verifies(&parts.join(".")), "byte {at} of part {part}");
    }

    #[test]
    fn no_token_of_the_parts_of_others_verifies(header in any::<Index>(), payload in any::<Index>(), signature in any::<Index>()) {
        let part = |which: &Index, index: usize| which.get(&TOKENS).split('.').nth(index).unwrap();
        let mixed = format!("{}.{}.{}", part(&header, 0), part(&payload, 1), part(&signature, 2));
        prop_assume!(!TOKENS.contains(&mixed));
        prop_assert!(!verifies(&mixed), "{mixed}");
    }
}
