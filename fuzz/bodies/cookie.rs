//! The cookie: what was not sealed here does not open, what was comes back as it was, and the header is read as
//! browsers write it.

use mlflow_oidc::secret::Secret;
use mlflow_oidc::session::cookie::{CookieRules, values};
use mlflow_oidc::session::{Attempt, CookieValue, Sealer, SessionId};
use std::sync::LazyLock;

/// The current secret and an older one that still opens.
const SECRETS: [&str; 2] = ["the-current-secret-of-the-fuzzer", "the-secret-before-it-was-changed"];

static SEALERS: LazyLock<[Sealer; 3]> = LazyLock::new(|| {
    let sealer = |secrets: &[&str]| {
        Sealer::new(&secrets.iter().map(|secret| Secret::new(*secret)).collect::<Vec<_>>()).expect("a sealer")
    };
    [sealer(&SECRETS), sealer(&SECRETS[1..]), sealer(&["a secret that somebody else has chosen"])]
});

/// What the seeds contain: sealed with the current secret and with the older one, for us and for another purpose.
pub fn sealed() -> Vec<(&'static str, CookieValue, String)> {
    let value = CookieValue {
        session: Some(SessionId::new([7; 32])),
        attempts: vec![Attempt {
            state: Secret::new("the-state"),
            nonce: Secret::new("the-nonce"),
            verifier: Secret::new("the-verifier"),
            next: "/#/experiments/7".to_owned(),
            begun: 1_800_000_000,
            silent: false,
        }],
    };
    let empty = CookieValue::default();
    [("session", &value, 0), ("empty", &empty, 0), ("older", &value, 1), ("foreign", &value, 2)]
        .into_iter()
        .map(|(name, value, by)| {
            (name, value.clone(), value.seal(&SEALERS[by], [by as u8; 12]).expect("sealed"))
        })
        .collect()
}

static SEALED: LazyLock<Vec<(&str, CookieValue, String)>> = LazyLock::new(sealed);

/// One input: a sealed value, a Cookie header, and the bytes from which a value is made, all at once.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    open(&text);
    header(&text);
    there_and_back(input);
}

/// Nothing opens but the very text that was sealed with one of our secrets.
fn open(text: &str) {
    let found = CookieValue::open(&SEALERS[0], text);
    let known = SEALED.iter().find(|(name, _, sealed)| *name != "foreign" && sealed == text);
    assert_eq!(found.as_ref(), known.map(|(_, value, _)| value), "{text:?}");
    for purpose in ["", "id token", "cookies"] {
        assert!(SEALERS[0].open(purpose, text).is_none(), "{text:?} opened for {purpose:?}");
    }
    assert!(!SEALERS[0].is_marked(text), "{text:?} passes for a nonce of ours");
}

/// The header reader gives the values under exactly our name, in their order (RFC 6265 section 5.4).
fn header(text: &str) {
    for (base, secure, fixed) in [("", true, true), ("/mlflow", true, true), ("", false, false)] {
        let rules = CookieRules::new(base, secure, fixed);
        let mut expected = Vec::new();
        let mut rest = text;
        loop {
            let end = rest.find(';').unwrap_or(rest.len());
            let pair = rest[..end].trim();
            if pair.len() > rules.name().len()
                && pair.starts_with(rules.name())
                && pair.as_bytes()[rules.name().len()] == b'='
            {
                expected.push(&pair[rules.name().len() + 1..]);
            }
            if end == rest.len() {
                break;
            }
            rest = &rest[end + 1..];
        }
        assert_eq!(values(text, rules.name()).collect::<Vec<_>>(), expected, "{text:?}");
    }
}

/// A value made of the input is sealed, opened, and then opened once more with one bit of it changed.
fn there_and_back(input: &[u8]) {
    let Some((choice, rest)) = input.split_first_chunk::<4>() else { return };
    let texts: Vec<String> =
        rest.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into()).collect();
    let text = |index: usize| texts.get(index).cloned().unwrap_or_default();
    let mut value = CookieValue {
        session: (choice[0] & 1 == 1).then(|| SessionId::new([choice[1]; 32])),
        attempts: Vec::new(),
    };
    for count in 0..usize::from(choice[0] >> 1) % 7 {
        value.begin(Attempt {
            state: Secret::new(format!("{count}{}", text(4 * count))),
            nonce: Secret::new(text(4 * count + 1)),
            verifier: Secret::new(text(4 * count + 2)),
            next: text(4 * count + 3),
            begun: i64::from_le_bytes([
                choice[0], choice[1], choice[2], choice[3], choice[1], 0, 0, choice[0],
            ]),
            silent: choice[3] & 1 == 1,
        });
    }
    assert!(value.attempts.len() <= 4);
    let sealed = value.seal(&SEALERS[0], [choice[2]; 12]).expect("sealed");
    let opened = CookieValue::open(&SEALERS[0], &sealed).expect("what was sealed here opens here");
    // The oldest logins are left out until it fits a cookie, and nothing else is ever lost.
    assert_eq!(opened.session, value.session);
    assert!(value.attempts.ends_with(&opened.attempts));
    assert!(sealed.len() <= 3800 || opened.attempts.is_empty());
    assert!(sealed.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    assert!(CookieValue::open(&SEALERS[2], &sealed).is_none(), "a stranger's secret opens it");
    let at = usize::from(u16::from_le_bytes([choice[2], choice[3]])) % sealed.len();
    let mut changed = sealed.clone().into_bytes();
    changed[at] = if changed[at] == choice[1] { changed[at] ^ 1 } else { choice[1] };
    let changed = String::from_utf8_lossy(&changed);
    assert!(CookieValue::open(&SEALERS[0], &changed).is_none(), "letter {at} of {sealed} became {changed}");
    if let Some(first) = opened.attempts.first() {
        let mut taken = opened.clone();
        assert_eq!(taken.take(&first.state).as_ref(), Some(first));
        assert_eq!(taken.take(&first.state), None, "a login is good once");
    }
    for cookie in [CookieRules::new("", true, true), CookieRules::new("/mlflow", false, false)] {
        let line = cookie.set(&sealed, 60);
        assert_eq!(line.matches(';').count() + 1, line.split("; ").count());
        assert!(line.starts_with(&format!("{}={sealed}; ", cookie.name())), "{line}");
    }
}
