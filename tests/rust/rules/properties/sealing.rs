//! Sealing and opening: the identity, and for nothing else.

use super::cases;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mlflow_oidc::secret::Secret;
use mlflow_oidc::session::value::ATTEMPTS_LIMIT;
use mlflow_oidc::session::{Attempt, CookieValue, Sealer, SessionId};
use proptest::prelude::*;
use proptest::sample::Index;

fn sealer(secrets: &[&str]) -> Sealer {
    Sealer::new(&secrets.iter().map(|secret| Secret::new(*secret)).collect::<Vec<_>>()).unwrap()
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

fn attempt() -> impl Strategy<Value = Attempt> {
    (any::<String>(), any::<String>(), any::<String>(), ".{0,300}", any::<i64>()).prop_map(
        |(state, nonce, verifier, next, begun)| Attempt {
            silent: begun % 2 == 0,
            state: Secret::new(state),
            nonce: Secret::new(nonce),
            verifier: Secret::new(verifier),
            next,
            begun,
        },
    )
}

fn value() -> impl Strategy<Value = CookieValue> {
    (any::<Option<[u8; 32]>>(), prop::collection::vec(attempt(), 0..=ATTEMPTS_LIMIT))
        .prop_map(|(session, attempts)| CookieValue { session: session.map(SessionId::new), attempts })
}

/// Two texts that may have much in common: the one may begin or end with the other.
fn two() -> impl Strategy<Value = (String, String)> {
    (".{0,20}", ".{1,20}", 0..3_u8).prop_map(|(one, other, how)| match how {
        0 => (one, other),
        1 => (one.clone(), one + &other),
        _ => (other.clone() + &one, one),
    })
}

proptest! {
    #![proptest_config(cases(1000))]
    #[test]
    fn what_is_sealed_opens_as_it_was(plain in bytes(), purpose in ".{0,20}", nonce in any::<[u8; 12]>()) {
        let sealed = sealer(&["0123456789abcdef"]).seal(&purpose, &plain, nonce).unwrap();
        for secrets in [&["0123456789abcdef"][..], &["fedcba9876543210", "0123456789abcdef"]] {
            let opened = sealer(secrets).open(&purpose, &sealed);
            prop_assert_eq!(opened.as_ref(), Some(&plain));
        }
    }

    #[test]
    fn a_cookie_comes_back_as_it_was(value in value(), nonce in any::<[u8; 12]>()) {
        let sealer = sealer(&["0123456789abcdef"]);
        let sealed = value.seal(&sealer, nonce).unwrap();
        let opened = CookieValue::open(&sealer, &sealed).unwrap();
        prop_assert_eq!(&opened.session, &value.session);
        // What does not fit a cookie is left out from the oldest on; what fits is there.
        prop_assert!(value.attempts.ends_with(&opened.attempts));
        prop_assert!(sealed.len() <= 3800, "{} bytes", sealed.len());
        if opened.attempts.len() < value.attempts.len() {
            let kept = value.attempts.len() - opened.attempts.len() - 1;
            let longer = CookieValue { attempts: value.attempts[kept..].to_vec(), ..value.clone() };
            let plain = sealer.open("cookie", &sealed).unwrap().len();
            let more = &longer.attempts[0];
            let text = [more.state.expose(), more.nonce.expose(), more.verifier.expose(), &more.next].concat();
            prop_assert!((plain + text.len()) * 4 / 3 > 3300, "a login was left out that had room");
        }
    }

    #[test]
    fn nothing_opens_with_a_changed_byte(plain in bytes(), at in any::<Index>(), flip in 1..=255_u8) {
        let sealer = sealer(&["0123456789abcdef"]);
        let sealed = sealer.seal("cookie", &plain, [7; 12]).unwrap();
        let mut changed = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        let at = at.index(changed.len());
        changed[at] ^= flip;
        prop_assert_eq!(sealer.open("cookie", &URL_SAFE_NO_PAD.encode(changed)), None);
    }

    #[test]
    fn nothing_opens_with_another_letter(plain in bytes(), at in any::<Index>(), letter in any::<char>(), how in 0..3_u8) {
        let sealer = sealer(&["0123456789abcdef"]);
        let sealed = sealer.seal("cookie", &plain, [7; 12]).unwrap();
        let mut letters: Vec<char> = sealed.chars().collect();
        let at = at.index(letters.len());
        match how {
            0 => letters[at] = letter,
            1 => letters.insert(at, letter),
            _ => drop(letters.remove(at)),
        }
        let changed: String = letters.into_iter().collect();
        prop_assume!(changed != sealed);
        prop_assert_eq!(sealer.open("cookie", &changed), None);
    }

    #[test]
    fn nothing_opens_for_another_purpose_or_with_another_secret(
        plain in bytes(), purposes in two(), secrets in two(),
    ) {
        prop_assume!(purposes.0 != purposes.1 && secrets.0 != secrets.1);
        let (one, other) = (sealer(&[&secrets.0]), sealer(&[&secrets.1]));
        let sealed = one.seal(&purposes.0, &plain, [7; 12]).unwrap();
        prop_assert_eq!(one.open(&purposes.1, &sealed), None);
        prop_assert_eq!(other.open(&purposes.0, &sealed), None);
    }

    #[test]
    fn nobody_else_can_mark_a_nonce(random in any::<[u8; 16]>(), at in any::<Index>(), flip in 1..=255_u8, text in ".{0,60}") {
        let (ours, theirs) = (sealer(&["0123456789abcdef"]), sealer(&["fedcba9876543210"]));
        let nonce = ours.marked_nonce(random).unwrap();
        prop_assert!(ours.is_marked(nonce.expose()) && !theirs.is_marked(nonce.expose()));
        let mut changed = URL_SAFE_NO_PAD.decode(nonce.expose()).unwrap();
        let at = at.index(changed.len());
        changed[at] ^= flip;
        prop_assert!(!ours.is_marked(&URL_SAFE_NO_PAD.encode(changed)));
        prop_assert!(!ours.is_marked(&text));
    }
}
