//! The sealed cookie: what is changed in it does not open, and secrets can be rolled over.

use crate::support::{Ask, Browser, Draft, World};
use mlflow_oidc::secret::Secret;
use mlflow_oidc::session::{CookieValue, Sealer};

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
