//! The sealed cookie: what is changed in it does not open, and secrets can be rolled over.

use crate::support::{Ask, Browser, Draft, World};
use mlflow_oidc::secret::Secret;
use mlflow_oidc::session::{Attempt, CookieValue, Sealer, SessionId};

fn sealer(secrets: &[&str]) -> Sealer {
    let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
    Sealer::new(&secrets).unwrap()
}

#[test]
fn no_changed_letter_opens() {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    let cookie = browser.cookie.clone().unwrap();
    let (name, value) = cookie.split_once('=').unwrap();
    assert!(value.len() > 60);
    for at in 0..value.len() {
        let old = value.as_bytes()[at];
        let index = ALPHABET.iter().position(|letter| *letter == old).unwrap();
        // Every bit that the letter stands for, one at a time.
        for bit in 0..6 {
            let mut bytes = value.as_bytes().to_vec();
            bytes[at] = ALPHABET[index ^ (1 << bit)];
            browser.cookie = Some(format!("{name}={}", String::from_utf8(bytes).unwrap()));
            let answered = browser.clone().send(&world, Ask::get("/api/x"));
            assert_eq!(answered.code(), "no_credentials", "letter {at}, bit {bit}");
        }
    }
}

#[test]
fn no_other_length_opens() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    let cookie = browser.cookie.clone().unwrap();
    let empty = cookie.find('=').unwrap() + 1;
    let mut others: Vec<String> = (empty..cookie.len()).map(|end| cookie[..end].to_owned()).collect();
    others.extend([
        format!("{cookie}A"),
        format!("{cookie}="),
        format!("{cookie}AAAA"),
        format!("{cookie} x"),
    ]);
    for other in others {
        browser.cookie = Some(other.clone());
        assert_eq!(browser.clone().send(&world, Ask::get("/api/x")).code(), "no_credentials", "{other}");
    }
}

#[test]
fn nothing_is_sealed_without_a_secret() {
    assert!(Sealer::new(&[]).is_err());
}

#[test]
fn what_is_sealed_for_one_purpose_does_not_open_for_another() {
    let sealer = sealer(&["0123456789abcdef"]);
    let sealed = sealer.seal("cookie", b"x", [7; 12]).unwrap();
    assert_eq!(sealer.open("cookie", &sealed).as_deref(), Some(b"x".as_slice()));
    assert_eq!(sealer.open("id token", &sealed), None);
    assert_eq!(sealer.open("", &sealed), None);
    assert!(CookieValue::open(&sealer, &sealed).is_none(), "no cookie of ours");
}

#[test]
fn what_opens_and_has_another_shape_is_no_cookie_of_ours() {
    let sealer = sealer(&["0123456789abcdef"]);
    let opened =
        |text: &str| CookieValue::open(&sealer, &sealer.seal("cookie", text.as_bytes(), [7; 12]).unwrap());
    assert!(opened(r#"[null,[["s","n","v","/",1]]]"#).is_some_and(|value| !value.is_empty()));
    assert!(opened(r#"["id",[]]"#).is_some_and(|value| !value.is_empty()));
    assert!(opened("[null,[]]").unwrap().is_empty());
    for text in [
        "",
        "{}",
        "[]",
        "[null]",
        "[null,[],1]",
        "[7,[]]",
        "[null,{}]",
        "[null,[1]]",
        r#"[null,[["s","n","v","/"]]]"#,
        r#"[null,[["s","n","v","/",1,2]]]"#,
        r#"[null,[[1,"n","v","/",1]]]"#,
        r#"[null,[["s",1,"v","/",1]]]"#,
        r#"[null,[["s","n",1,"/",1]]]"#,
        r#"[null,[["s","n","v",1,1]]]"#,
        r#"[null,[["s","n","v","/","1"]]]"#,
        r#"[null,[["s","n","v","/",1],null]]"#,
    ] {
        assert!(opened(text).is_none(), "{text}");
    }
}

#[test]
fn the_sealed_id_token_of_a_row_is_no_cookie() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    let sealed = world.store.sessions()[0].sealed_id_token.clone().unwrap();
    browser.cookie = Some(format!("mlflow_oidc={sealed}"));
    assert_eq!(browser.send(&world, Ask::get("/api/x")).code(), "no_credentials");
}

#[test]
fn secrets_roll_over_the_first_seals_and_all_open() {
    const OLD: &str = "the-old-secret-0123";
    const NEW: &str = "the-new-secret-4567";
    let world = World::with(&[("OIDC_SESSION_SECRET", OLD)]);
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    let both = format!("{NEW}, {OLD}");
    let rolling = world.beside(&[("OIDC_SESSION_SECRET", &both)]);
    let done = world.beside(&[("OIDC_SESSION_SECRET", NEW)]);
    assert_eq!(browser.clone().send(&rolling, Ask::get("/")).username(), "alice@example.com");
    assert_eq!(browser.clone().send(&done, Ask::get("/")).code(), "no_credentials");
    // What is sealed while rolling opens afterwards.
    browser.begin(&rolling, "/");
    assert_eq!(browser.clone().send(&done, Ask::get("/")).username(), "alice@example.com");
    // The hint for the provider's logout opens as well.
    let answered = browser.send(&rolling, Ask::post("/oidc/logout"));
    assert!(answered.location().contains("id_token_hint="), "{}", answered.location());
}

#[test]
fn without_a_secret_of_its_own_the_client_secret_or_mlflows_seals() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    let other = world.beside(&[("OIDC_CLIENT_SECRET", "another-secret-of-length")]);
    assert_eq!(browser.send(&other, Ask::get("/api/x")).code(), "no_credentials");
}

#[test]
fn several_cookies_of_our_name_are_tried_and_none_is_trusted() {
    let world = World::new();
    let browser = Browser::signed_in(&world, Draft::id_token());
    let good = browser.cookie.unwrap();
    for header in [
        format!("mlflow_oidc=planted; {good}"),
        format!("{good}; mlflow_oidc=planted"),
        format!("xmlflow_oidc=1;{good};;=;x"),
    ] {
        assert_eq!(Ask::get("/").cookie(&header).of(&world).username(), "alice@example.com", "{header}");
    }
}

#[test]
fn under_https_only_the_protected_name_counts() {
    // A neighbour on plain http can plant 'mlflow_oidc', but not '__Host-mlflow_oidc' (RFC 6265bis section 4.1.3).
    let world = World::with(&[("OIDC_PUBLIC_URL", "https://mlflow.example")]);
    let mut browser = Browser::signed_in_at(&world, Draft::id_token(), "https://mlflow.example/");
    let value = browser.cookie.clone().unwrap();
    assert_eq!(browser.send(&world, Ask::get("/")).username(), "alice@example.com");
    let plain = value.replace("__Host-", "");
    assert_eq!(Ask::get("/").cookie(&plain).of(&world).code(), "no_credentials");
}

#[test]
fn every_sealing_draws_a_nonce_of_its_own() {
    let world = World::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    for _ in 0..50 {
        browser.begin(&world, "/");
        let value = browser.cookie.clone().unwrap();
        assert!(seen.insert(value.split_once('=').unwrap().1[..16].to_owned()));
    }
}

/// The cookies of two people who are signed in at the same MLflow: the person's own, and what somebody planted beside it.
fn two_people(world: &World) -> (Browser, Browser) {
    let own = Browser::signed_in(world, Draft::id_token());
    (own, Browser::signed_in(world, Draft::id_token().of("mallory")))
}

fn pair(browser: &Browser) -> &str {
    browser.cookie.as_deref().unwrap()
}

/// A browser that has kept both, the first one with the longer path.
fn with_both(first: &Browser, second: &Browser) -> Browser {
    Browser { cookie: Some(format!("{}; {}", pair(first), pair(second))), ..Browser::default() }
}

#[test]
fn a_planted_session_beside_the_persons_own_is_refused_everywhere() {
    // Session shadowing: a page on another port or, below a path, on a sibling host plants its own good session with a
    // longer path, so that it is sent first; the person would go on as somebody else and hand over what they do.
    let world = World::new();
    let (own, planted) = two_people(&world);
    let ambiguous = (400, "cookie_ambiguous".to_owned());
    for mut browser in [with_both(&planted, &own), with_both(&own, &planted)] {
        let sent = browser.cookie.clone();
        let asks = [
            Ask::get("/api/x"),
            Ask::get("/").navigation(),
            Ask::get("/graphql").navigation(),
            Ask::post("/api/2.0/mlflow/runs/create"),
            Ask::get("/oidc/session"),
            Ask::get("/oidc/logout").navigation(),
            Ask::post("/oidc/logout").navigation(),
            Ask::get("/oidc/login?next=/&go=1").navigation(),
            Ask::get("/oidc/callback?code=good-code&state=x").navigation(),
        ];
        for ask in asks {
            let answered = browser.send(&world, ask);
            assert_eq!(answered.refusal(), ambiguous, "{:?}", answered.0);
            assert_eq!(browser.cookie, sent, "no cookie is set");
        }
    }
    assert_eq!(world.store.sessions().len(), 2, "neither session has ended");
    assert!(world.log.text().contains("found different ones"), "{}", world.log.text());
}

#[test]
fn a_header_is_not_asked_which_cookie_is_good() {
    let world = World::new();
    let (own, planted) = two_people(&world);
    let both = with_both(&planted, &own).cookie.unwrap();
    let bearer = Draft::bearer().token();
    assert_eq!(Ask::get("/api/x").cookie(&both).bearer(&bearer).of(&world).username(), "alice@example.com");
    let basic = Ask::get("/api/x").cookie(&both).authorization("Basic YTpi").of(&world);
    assert!(matches!(basic.0, mlflow_oidc::app::wire::Decision::Basic { .. }), "{:?}", basic.0);
}

#[test]
fn several_values_that_name_one_session_are_that_session() {
    let world = World::new();
    let mut own = Browser::signed_in(&world, Draft::id_token());
    let before = own.clone();
    own.begin(&world, "/");
    let mut nobody = Browser::default();
    nobody.begin(&world, "/");
    assert_ne!(pair(&own), pair(&before), "sealed anew");
    for mut browser in [with_both(&before, &own), with_both(&nobody, &own), with_both(&own, &nobody)] {
        assert_eq!(browser.send(&world, Ask::get("/")).username(), "alice@example.com");
    }
}

#[test]
fn a_planted_cookie_makes_no_login_unknown() {
    for planted_first in [true, false] {
        let world = World::new();
        let mut own = Browser::default();
        let asked = own.begin(&world, "/#/own");
        world.clock.forward(10);
        // As many newer logins as a cookie holds.
        let mut planted = Browser::default();
        for _ in 0..4 {
            planted.begin(&world, "/#/planted");
        }
        let mut browser = if planted_first { with_both(&planted, &own) } else { with_both(&own, &planted) };
        let answered = browser.come_back(&world, &asked, &mut Draft::id_token());
        assert_eq!(answered.location(), "http://localhost:5000/#/own");
    }
}

#[test]
fn of_the_logins_of_all_values_the_four_newest_are_kept() {
    let value = |session: Option<u8>, times: &[i64]| CookieValue {
        session: session.map(|byte| SessionId::new([byte; 32])),
        attempts: times
            .iter()
            .map(|begun| Attempt {
                state: Secret::new(begun.to_string()),
                nonce: Secret::new("n"),
                verifier: Secret::new("v"),
                next: "/".to_owned(),
                begun: *begun,
                silent: false,
            })
            .collect(),
    };
    let sealer = sealer(&["0123456789abcdef"]);
    let all = CookieValue::agree(&[value(None, &[2, 5, 6]), value(None, &[1, 3, 4, 5])]).unwrap();
    assert_eq!(all, value(None, &[1, 2, 3, 4, 5, 6]), "oldest first, each once");
    let kept = CookieValue::open(&sealer, &all.seal(&sealer, [7; 12]).unwrap()).unwrap();
    assert_eq!(kept, value(None, &[3, 4, 5, 6]));
    // Beside a session only what is sealed together with it.
    let beside = [value(None, &[9]), value(Some(1), &[2]), value(Some(1), &[1])];
    assert_eq!(CookieValue::agree(&beside).unwrap(), value(Some(1), &[1, 2]));
    assert_eq!(CookieValue::agree(&[]).unwrap(), CookieValue::default());
    let apart = [value(Some(1), &[]), value(None, &[]), value(Some(1), &[]), value(Some(2), &[])];
    assert_eq!(CookieValue::agree(&apart).unwrap_err().code.name(), "cookie_ambiguous");
}

#[test]
fn a_login_that_several_values_hold_is_good_once() {
    let world = World::new();
    let mut own = Browser::default();
    let first = own.begin(&world, "/");
    let copy = own.clone();
    own.begin(&world, "/");
    let mut browser = with_both(&copy, &own);
    assert_eq!(browser.come_back(&world, &first, &mut Draft::id_token()).status(), 302);
    assert_eq!(
        browser.come_back(&world, &first, &mut Draft::id_token()).location(),
        "http://localhost:5000/"
    );
    assert_eq!(world.provider.count("/token"), 1, "the second time there was nothing to exchange");
}

#[test]
fn a_login_planted_beside_a_session_does_not_take_its_place() {
    // Login CSRF on somebody who is signed in: the planted cookie holds a login that its owner has begun, and the browser
    // is led to the callback with its answer. A login of the browser's own is told going through it makes no difference.
    let world = World::new();
    let mut own = Browser::signed_in(&world, Draft::id_token());
    let mut planted = Browser::default();
    let asked = planted.begin(&world, "/");
    for launders in [false, true] {
        if launders {
            let mut both = with_both(&planted, &own);
            both.begin(&world, "/");
            own = both;
        }
        for mut browser in [with_both(&planted, &own), with_both(&own, &planted)] {
            let answered = browser.come_back(&world, &asked, &mut Draft::id_token().of("mallory"));
            assert_eq!(answered.refusal(), (400, "cookie_ambiguous".to_owned()), "{launders}");
        }
        assert_eq!(own.send(&world, Ask::get("/")).username(), "alice@example.com");
    }
    // A login of the person's own goes on beside it.
    let again = own.begin(&world, "/#/again");
    let answered = with_both(&planted, &own).come_back(&world, &again, &mut Draft::id_token());
    assert_eq!(answered.location(), "http://localhost:5000/#/again");
}
