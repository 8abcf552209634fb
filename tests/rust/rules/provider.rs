//! The provider's metadata and keys: fetched when needed, kept fresh, used stale, never asked too often.

use crate::support::{Ask, Browser, Draft, NOW, Signer, World, down, jwk, keys, ok};
use serde_json::{Value, json};
use std::time::Duration;

pub fn ask(world: &World, token: &str) -> (u16, String) {
    let answered = Ask::get("/api/x").bearer(token).of(world);
    match answered.0 {
        mlflow_oidc::app::wire::Decision::Allow { username } => (200, username.to_string()),
        _ => answered.refusal(),
    }
}

pub fn alice() -> (u16, String) {
    (200, "alice@example.com".to_owned())
}

pub fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A token of alice that lasts a day.
fn long() -> Draft {
    let mut draft = Draft::bearer();
    draft.set("exp", NOW + 100_000);
    draft
}

#[test]
fn nothing_is_fetched_before_something_is_needed() {
    let world = World::new();
    Ask::get("/").navigation().of(&world);
    Ask::get("/").authorization("Basic YTpi").of(&world);
    Ask::get("/").bearer("a.b.c").of(&world);
    let mut forged = Draft::bearer();
    forged.set("iss", "https://evil.example");
    Ask::get("/").bearer(&forged.token()).of(&world);
    assert!(world.provider.asked().is_empty(), "a stranger's token ends before any fetch");
    assert_eq!(ask(&world, &Draft::bearer().token()), alice());
    assert_eq!(world.provider.asked().len(), 2);
}

#[test]
fn a_thousand_requests_cost_one_fetch() {
    let world = World::new();
    for n in 0..1000 {
        let draft = Draft::bearer().of(&format!("user{n}"));
        assert_eq!(ask(&world, &draft.token()).0, 200);
    }
    assert_eq!((world.provider.count("openid-configuration"), world.provider.count("/keys")), (1, 1));
}

/// oidcc-client-test-signing-key-rotation and -just-before-signing: the keys that were known when it was signed do not
/// have the key.
#[test]
fn a_new_key_is_seen_at_once_and_a_thousand_forged_names_cost_a_handful_of_fetches() {
    let world = World::new();
    assert_eq!(ask(&world, &Draft::bearer().token()), alice());
    world.provider.change(|script| {
        let mut set = keys();
        set["keys"].as_array_mut().unwrap().push(jwk(&Signer::RsaOther, "new"));
        script.keys = ok(&set);
    });
    let mut rotated = Draft::bearer();
    rotated.signed(Signer::RsaOther, "RS256", "new");
    assert_eq!(ask(&world, &rotated.token()), alice(), "no request fails for a rotation");
    assert_eq!(world.provider.count("/keys"), 2);
    let before = world.provider.count("/keys");
    for n in 0..1000 {
        let mut forged = Draft::bearer();
        forged.signed(Signer::Fixed(vec![1; 256]), "RS256", &format!("random-{n}"));
        // A 401 must be true, since MLflow's client never tries again after one; so some are told to come again.
        let found = ask(&world, &forged.token());
        assert!(
            found == refusal(401, "token_key_unknown") || found == refusal(503, "provider_pending"),
            "{found:?}"
        );
        if n % 100 == 99 {
            world.clock.forward(1);
        }
    }
    let fetches = world.provider.count("/keys") - before;
    assert!(fetches <= 4, "{fetches} fetches in ten seconds");
    assert_eq!(world.provider.count("openid-configuration"), 1);
}

#[test]
fn forged_names_cannot_keep_a_new_key_out() {
    let world = World::new();
    assert_eq!(ask(&world, &Draft::bearer().token()), alice());
    let mut forged = Draft::bearer();
    forged.signed(Signer::Fixed(vec![1; 256]), "RS256", "forged");
    ask(&world, &forged.token());
    let mut set = keys();
    set["keys"].as_array_mut().unwrap().push(jwk(&Signer::RsaOther, "new"));
    world.provider.change(|script| script.keys = ok(&set));
    let mut rotated = Draft::bearer();
    rotated.signed(Signer::RsaOther, "RS256", "new");
    let mut seconds = 0;
    loop {
        let found = ask(&world, &rotated.token());
        if found == alice() {
            break;
        }
        assert_eq!(found, refusal(503, "provider_pending"), "an honest token is never told 401");
        assert!(seconds < 6, "still out after {seconds} s");
        forged.head("kid", format!("forged-{seconds}"));
        ask(&world, &forged.token());
        world.clock.forward(1);
        seconds += 1;
    }
}

/// The code is spent by then: a login that is told to come again is lost.
#[test]
fn forged_names_cannot_cost_a_login_that_brings_a_new_key() {
    let world = World::new();
    assert_eq!(ask(&world, &Draft::bearer().token()), alice());
    let mut forged = Draft::bearer();
    forged.signed(Signer::Fixed(vec![1; 256]), "RS256", "forged");
    ask(&world, &forged.token());
    let mut id_token = Draft::id_token();
    id_token.signed(Signer::RsaOther, "RS256", "new");
    // Somebody who knows the name beforehand has it proven absent.
    ask(&world, &Draft::bearer().signed(Signer::RsaOther, "RS256", "new").token());
    let mut set = keys();
    set["keys"].as_array_mut().unwrap().push(jwk(&Signer::RsaOther, "new"));
    world.provider.change(|script| script.keys = ok(&set));
    Browser::signed_in(&world, id_token);
    // A key that the provider does not publish is its own fault, and asked for a few times at most.
    let before = world.provider.count("/keys");
    let mut unpublished = Draft::id_token();
    unpublished.signed(Signer::RsaOther, "RS256", "never");
    let mut browser = Browser::default();
    let asked = browser.begin(&world, "/");
    let outcome = browser.come_back(&world, &asked, &mut unpublished).outcome();
    assert_eq!(outcome, (502, "token_key_unknown".to_owned()));
    assert!(world.provider.count("/keys") - before <= 2);
}

#[test]
fn after_the_cooldown_an_unknown_name_is_looked_for_again() {
    let world = World::new();
    let mut unknown = Draft::bearer();
    unknown.head("kid", "unknown");
    let mut token = || unknown.set("jti", "another").token();
    let absent = refusal(401, "token_key_unknown");
    assert_eq!(ask(&world, &token()), absent);
    let first = world.provider.count("/keys");
    for _ in 0..4 {
        world.clock.forward(1);
        assert_eq!(ask(&world, &token()), absent);
        assert_eq!(world.provider.count("/keys"), first);
    }
    world.clock.forward(1);
    assert_eq!(ask(&world, &token()), absent);
    assert_eq!(world.provider.count("/keys"), first + 1);
}

#[test]
fn a_name_that_cannot_be_looked_for_now_is_no_401() {
    let world = World::new();
    assert_eq!(ask(&world, &Draft::bearer().token()), alice());
    world.provider.go_down();
    let mut unknown = Draft::bearer();
    unknown.signed(Signer::RsaOther, "RS256", "new");
    assert_eq!(ask(&world, &unknown.token()), refusal(503, "provider_unreachable"));
    assert_eq!(ask(&world, &Draft::bearer().of("bob").token()).0, 200, "known keys go on");
}

#[test]
fn down_at_the_start_is_503_and_everything_works_after_the_return() {
    let world = World::new();
    world.provider.go_down();
    assert_eq!(ask(&world, &Draft::bearer().token()), refusal(503, "provider_unreachable"));
    let page = Ask::get("/oidc/login?go=1").navigation().of(&world);
    assert_eq!(page.refusal(), (503, "provider_unreachable".to_owned()));
    assert!(!page.body().contains("refused"), "what the network said is for the log");
    assert!(world.log.text().contains("no connection: refused"));
    world.provider.come_back();
    // The refresher tries again by itself; the pause never grows beyond 8 seconds.
    let mut waited = 0;
    while ask(&world, &Draft::bearer().token()) != alice() {
        world.clock.forward(1);
        waited += 1;
        assert!(waited <= 8, "not back after {waited} s");
    }
    Browser::signed_in(&world, Draft::id_token());
}

#[test]
fn a_long_outage_is_asked_about_every_eight_seconds_and_not_more() {
    let world = World::new();
    world.provider.go_down();
    let end = NOW + 600;
    let mut now = NOW;
    let mut longest = Duration::ZERO;
    while now < end {
        let pause = world.refresher.run();
        longest = longest.max(pause);
        // Requests in between do not ask either.
        ask(&world, &Draft::bearer().token());
        world.clock.forward(pause.as_secs() as i64);
        now += pause.as_secs() as i64;
    }
    assert!(longest <= Duration::from_secs(8), "{longest:?}");
    let count = world.provider.asked().len();
    assert!((60..=90).contains(&count), "{count} tries in ten minutes");
    let errors =
        world.log.all().iter().filter(|(level, _)| *level == mlflow_oidc::ports::Level::Error).count();
    assert_eq!(errors, 1, "told once, not every time");
    world.provider.come_back();
    world.refresher.run();
    assert!(world.log.text().contains("answers again"));
}

#[test]
fn down_later_the_known_keys_go_on_and_are_renewed_after_the_return() {
    let world = World::new();
    assert_eq!(ask(&world, &long().token()), alice());
    world.provider.go_down();
    for _ in 0..10 {
        world.clock.forward(7200);
        world.refresher.run();
        let draft = long().of("bob");
        assert_eq!(ask(&world, &draft.token()).0, 200);
    }
    world.provider.come_back();
    let fetched = world.provider.count("/keys");
    world.clock.forward(8);
    world.refresher.run();
    assert_eq!(world.provider.count("/keys"), fetched + 1);
}

#[test]
fn a_removed_key_stops_working_with_the_next_fetch_also_for_a_token_that_is_remembered() {
    let world = World::new();
    let token = long().token();
    assert_eq!(ask(&world, &token), alice());
    world.provider.change(|script| script.keys = ok(&json!({"keys": [jwk(&Signer::RsaOther, "new")]})));
    assert_eq!(ask(&world, &token), alice(), "not fetched yet");
    world.clock.forward(3600);
    world.refresher.run();
    assert_eq!(ask(&world, &token), refusal(401, "token_key_unknown"));
}

#[test]
fn a_key_that_is_another_one_now_stops_working_for_a_token_that_is_remembered() {
    let single = |key: Value| ok(&json!({"keys": [key]}));
    let with = |member: &str, value: &str| {
        let mut key = jwk(&Signer::Rsa, "rsa");
        key[member] = json!(value);
        key
    };
    let rows = [
        ("replaced under its name", jwk(&Signer::RsaOther, "rsa"), "token_signature"),
        ("renamed", with("kid", "new"), "token_key_unknown"),
        ("for another algorithm", with("alg", "PS256"), "token_key_unknown"),
        ("of another kind", jwk(&Signer::P256, "rsa"), "token_key_unknown"),
    ];
    for (what, key, code) in rows {
        let world = World::new();
        world.provider.change(|script| script.keys = single(jwk(&Signer::Rsa, "rsa")));
        let token = long().token();
        assert_eq!(ask(&world, &token), alice());
        world.provider.change(|script| script.keys = single(key));
        world.clock.forward(3600);
        world.refresher.run();
        assert_eq!(ask(&world, &token), refusal(401, code), "{what}");
    }
}

#[test]
fn keys_are_kept_as_long_as_the_provider_says_within_bounds_and_renewed_ahead_of_the_end() {
    let rows = [(None, 3600), (Some(0), 300), (Some(900), 900), (Some(10_000_000), 86_400), (Some(-5), 300)];
    for (max_age, lifetime) in rows {
        let world = World::new();
        world.provider.change(|script| {
            if let Ok(answer) = &mut script.keys {
                answer.max_age = max_age;
            }
        });
        let pause = world.refresher.run().as_secs() as i64;
        assert!((lifetime / 2..lifetime).contains(&pause), "{max_age:?}: {pause} s of {lifetime}");
        world.clock.forward(pause - 1);
        world.refresher.run();
        assert_eq!(world.provider.count("/keys"), 1, "{max_age:?}");
        world.clock.forward(1);
        world.refresher.run();
        assert_eq!(world.provider.count("/keys"), 2, "{max_age:?}");
    }
}

#[test]
fn a_remembered_token_expires_to_the_second() {
    let world = World::new();
    let token = Draft::bearer().token();
    assert_eq!(ask(&world, &token), alice());
    world.clock.forward(300 + 59);
    assert_eq!(ask(&world, &token), alice(), "within the skew");
    world.clock.forward(1);
    assert_eq!(ask(&world, &token), refusal(401, "token_expired"));
    assert_eq!(ask(&world, &token), refusal(401, "token_expired"), "and is forgotten");
}

#[test]
fn a_token_is_judged_once_until_it_ends() {
    // The clock is set back by a second: judged anew, the token would be one of the future.
    let world = World::new();
    let mut draft = Draft::bearer();
    draft.set("iat", NOW + 60);
    let token = draft.token();
    assert_eq!(ask(&world, &token), alice());
    world.clock.forward(-1);
    assert_eq!(ask(&world, &token), alice());
    draft.set("jti", "another");
    assert_eq!(ask(&world, &draft.token()), refusal(401, "token_issued_at"));
}

#[test]
fn a_remembered_token_is_that_token_alone() {
    let world = World::new();
    let token = Draft::bearer().token();
    assert_eq!(ask(&world, &token), alice());
    let (start, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{start}.{other}{}", &signature[1..]);
    assert_eq!(ask(&world, &forged), refusal(401, "token_signature"));
}

#[test]
fn after_a_key_set_that_cannot_be_used_a_good_one_is() {
    for (row, code) in [(ok(&json!({"keys": []})), "provider_answer"), (down(), "provider_unreachable")] {
        let world = World::new();
        world.provider.change(|script| script.keys = row);
        assert_eq!(ask(&world, &Draft::bearer().token()).1, code);
        world.provider.come_back();
        world.clock.forward(8);
        assert_eq!(ask(&world, &Draft::bearer().token()), alice(), "{code}");
    }
}

#[test]
fn keys_that_were_skipped_are_named_in_the_log() {
    let world = World::new();
    world.provider.change(|script| {
        script.keys = ok(&json!({"keys": [{"kty": "EC", "crv": "P-521"}, jwk(&Signer::Rsa, "rsa")]}));
    });
    assert_eq!(ask(&world, &Draft::bearer().token()), alice());
    assert!(world.log.text().contains("key 0: its curve is not P-256 or P-384"), "{}", world.log.text());
}
