//! The provider is asked again about somebody who is signed in, with the refresh token of their session.

use crate::support::{Ask, Browser, Draft, NOW, World, answer, down, ok, spoilt};
use mlflow_oidc::ports::{Level, Store as _, StoreFault};
use serde_json::json;
use std::sync::atomic::Ordering;

pub const ALICE: &str = "alice@example.com";
pub const PATH: &str = "/api/2.0/mlflow/experiments/get";
/// Half of the default of `OIDC_SESSION_RECHECK`, and all of it.
const HALF: i64 = 1_800;
pub const FULL: i64 = 3_600;

/// Alice at the login; the provider has given a refresh token.
pub fn alice() -> Draft {
    let mut draft = Draft::id_token().with_refresh_token("refresh-1");
    draft.set("sid", "provider-session");
    draft
}

/// Her ID token at a refresh: it has no nonce, and is issued now.
pub fn again(at: i64) -> Draft {
    let mut draft = alice().with_refresh_token("refresh-2");
    draft.drop("nonce").set("iat", NOW + at).set("exp", NOW + at + 300);
    draft
}

/// From now on this is the answer to a refresh.
pub fn refreshes_with(world: &World, draft: &Draft) {
    world.provider.change(|script| script.token = ok(&draft.token_answer()));
}

pub fn signed_in(world: &World) -> Browser {
    Browser::signed_in(world, alice())
}

/// What was sent in refreshes: each a form.
pub fn refreshes(world: &World) -> Vec<String> {
    let asked = world.provider.asked();
    let forms = asked.iter().filter_map(|request| Some(request.form.as_ref()?.expose().to_owned()));
    forms.filter(|form| form.contains("grant_type=refresh_token")).collect()
}

fn warnings(world: &World) -> usize {
    world.log.all().iter().filter(|(level, _)| *level == Level::Warning).count()
}

#[test]
fn from_half_of_the_time_on_the_clerk_asks_and_nobody_waits() {
    let world = World::new();
    let mut browser = signed_in(&world);
    world.clock.forward(HALF - 1);
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
    world.clerk.run();
    assert!(refreshes(&world).is_empty(), "it is not time yet");
    world.clock.forward(1);
    refreshes_with(&world, &again(HALF));
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
    assert!(refreshes(&world).is_empty(), "nobody waits for it");
    world.clerk.run();
    assert_eq!(refreshes(&world), ["grant_type=refresh_token&refresh_token=refresh-1"]);
    let row = world.store.sessions().remove(0);
    assert_eq!(
        (row.checked_at, row.expires_at),
        (NOW + HALF, NOW + 43_200),
        "a refresh makes no session longer"
    );
    world.clerk.run();
    assert_eq!(refreshes(&world).len(), 1, "once");
    // The next time it is the new refresh token that is sent (RFC 9700 section 4.14.2).
    world.clock.forward(HALF);
    browser.send(&world, Ask::get(PATH));
    refreshes_with(&world, &again(2 * HALF));
    world.clerk.run();
    assert_eq!(refreshes(&world)[1], "grant_type=refresh_token&refresh_token=refresh-2");
}

#[test]
fn where_no_browser_has_to_go_there_a_short_time_is_as_short_as_it_says() {
    let world = World::with(&[("OIDC_SESSION_RECHECK", "4")]);
    let mut browser = signed_in(&world);
    world.clock.forward(2);
    refreshes_with(&world, &again(2));
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
    world.clerk.run();
    assert_eq!(refreshes(&world).len(), 1);
}

#[test]
fn without_a_refresh_token_the_clerk_is_not_troubled() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    world.clock.forward(HALF);
    let before = world.clerk.woken.load(Ordering::SeqCst);
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
    assert_eq!(world.clerk.woken.load(Ordering::SeqCst), before, "nobody but the browser can ask");
}

#[test]
fn after_the_full_time_nobody_is_let_in_on_the_old_word() {
    let world = World::new();
    let mut browser = signed_in(&world);
    let ask = Ask::get(PATH).cookie(browser.cookie.as_deref().unwrap());
    world.clock.forward(FULL - 1);
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
    assert!(ask.recalled_by(&world).is_some());
    world.clock.forward(1);
    assert_eq!(ask.recalled_by(&world), None, "also what was read a second ago");
    refreshes_with(&world, &again(FULL));
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
    assert_eq!(refreshes(&world).len(), 1);
    assert!(ask.recalled_by(&world).is_some(), "and memory is as good as before");
    assert_eq!(refreshes(&world).len(), 1);
}

#[test]
fn on_the_event_loop_nothing_waits_and_the_clerk_asks() {
    let world = World::new();
    let browser = signed_in(&world);
    world.clock.forward(FULL);
    refreshes_with(&world, &again(FULL));
    let ask = || Ask::get(PATH).cookie(browser.cookie.as_deref().unwrap()).on_event_loop();
    assert_eq!(ask().of(&world).refusal(), (503, "provider_pending".to_owned()));
    assert!(refreshes(&world).is_empty());
    world.clerk.run();
    assert_eq!(ask().of(&world).username(), ALICE);
}

#[test]
fn zero_is_never_and_then_no_refresh_token_is_kept() {
    let world = World::with(&[("OIDC_SESSION_RECHECK", "0")]);
    let mut browser = signed_in(&world);
    assert_eq!(world.store.sessions()[0].sealed_refresh_token, None);
    world.clock.forward(43_199);
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
    assert!(refreshes(&world).is_empty());
}

#[test]
fn the_refresh_token_is_sealed_for_its_row() {
    let world = World::new();
    let mut browser = signed_in(&world);
    let mut other = Browser::signed_in(&world, alice().of("bob"));
    let rows = world.store.sessions();
    let sealed = |row: usize| rows[row].sealed_refresh_token.clone().unwrap();
    assert!(!sealed(0).contains("refresh-1") && !format!("{rows:?}").contains("refresh-1"));
    // Whoever can write to our tables gives bob's session alice's token: it does not open, so nobody's rights are lent.
    let mut moved = rows[1].clone();
    moved.sealed_refresh_token = Some(sealed(0));
    assert!(world.store.renew_session(&moved, 0, 0).unwrap());
    world.clock.forward(FULL);
    assert_eq!(other.send(&world, Ask::get(PATH)).refusal(), (401, "session_recheck".to_owned()));
    assert!(refreshes(&world).is_empty());
    refreshes_with(&world, &again(FULL));
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
}

#[test]
fn who_lost_the_group_is_refused_with_its_name_and_all_their_sessions_end() {
    for ahead in [false, true] {
        let world = World::new();
        let mut browser = Browser::signed_in(&world, alice().in_groups(&["MLFLOW_admin"]));
        let mut phone = Browser::signed_in(&world, alice().in_groups(&["MLFLOW_admin"]));
        assert_eq!(world.users.is_admin(ALICE), Some(true));
        let at = if ahead { HALF } else { FULL };
        world.clock.forward(at);
        refreshes_with(&world, &again(at).in_groups(&["OTHER"]));
        let page = browser.open(&world, "/");
        if ahead {
            assert_eq!(page.username(), ALICE, "the clerk asks");
            world.clerk.run();
        } else {
            assert_eq!(page.refusal(), (403, "group_required".to_owned()));
            assert!(page.body().contains("MLFLOW"), "the page names the group");
        }
        assert!(world.store.sessions().is_empty());
        assert_eq!(world.users.is_admin(ALICE), Some(false));
        for one in [&mut browser, &mut phone] {
            assert_eq!(one.send(&world, Ask::get(PATH)).refusal(), (401, "session_ended".to_owned()));
        }
        assert_eq!(refreshes(&world).len(), 1);
        assert_eq!(
            browser.open(&world, "/").status(),
            302,
            "a person is led to the sign-in, which tells them"
        );
    }
}

/// Keycloak 26 leaves the claim out for somebody who is in no group.
#[test]
fn groups_that_are_told_nowhere_are_none_at_a_refresh_too() {
    let world = World::new();
    let mut browser = signed_in(&world);
    world.clock.forward(FULL);
    let mut draft = again(FULL);
    draft.drop("groups");
    refreshes_with(&world, &draft);
    assert_eq!(browser.send(&world, Ask::get(PATH)).refusal(), (403, "groups_missing".to_owned()));
    assert!(world.store.sessions().is_empty());
}

#[test]
fn new_groups_count_from_the_refresh_on() {
    let world = World::new();
    let mut browser = signed_in(&world);
    assert_eq!(world.users.is_admin(ALICE), Some(false));
    world.clock.forward(FULL);
    refreshes_with(&world, &again(FULL).in_groups(&["MLFLOW_admin"]));
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
    assert_eq!(world.users.is_admin(ALICE), Some(true));
}

#[test]
fn the_grant_is_over() {
    for error in ["invalid_grant", "interaction_required", "login_required"] {
        let world = World::new();
        let mut browser = signed_in(&world);
        world.clock.forward(FULL);
        let body = json!({"error": error}).to_string();
        world.provider.change(|script| script.token = answer(400, "application/json", body));
        assert_eq!(browser.send(&world, Ask::get(PATH)).refusal(), (401, "session_ended".to_owned()));
        assert!(world.store.sessions().is_empty());
        assert!(world.log.text().contains(error), "{}", world.log.text());
        assert_eq!(browser.open(&world, "/").status(), 302);
        assert_eq!(refreshes(&world).len(), 1);
    }
}

#[test]
fn while_the_provider_cannot_be_asked_sessions_go_on_and_nobody_waits() {
    // How many have to meet it before it is everybody's.
    let answers = [
        ("down", down(), 1),
        ("reset", spoilt(), 3),
        ("too many", answer(429, "application/json", "{}"), 3),
        ("broken", answer(500, "text/html", "<h1>oops</h1>"), 3),
        (
            "a grant that a broken provider refuses",
            answer(503, "application/json", r#"{"error": "invalid_grant"}"#),
            3,
        ),
    ];
    for (name, away, first) in answers {
        let world = World::new();
        let person =
            |n: i32, draft: Draft| draft.of(&format!("p-{n}")).with_refresh_token(&format!("token-{n:02}"));
        let mut browsers: Vec<_> = (0..100).map(|n| Browser::signed_in(&world, person(n, alice()))).collect();
        world.clock.forward(FULL);
        world.provider.change(|script| script.token = away.clone());
        for browser in &mut browsers {
            assert_eq!(browser.send(&world, Ask::get(PATH)).outcome().0, 200, "{name}");
        }
        assert_eq!(refreshes(&world).len(), first, "{name}: so many have waited for it");
        assert_eq!(warnings(&world), 1, "{name}");
        assert_eq!(world.store.sessions().len(), 100);
        // The clerk alone tries again, with pauses that grow; a line a minute at most.
        let mut tried_at = Vec::new();
        for second in 1..=200 {
            world.clock.forward(1);
            for browser in &mut browsers[..3] {
                assert_eq!(browser.send(&world, Ask::get(PATH)).outcome().0, 200, "{name}");
            }
            let before = refreshes(&world).len();
            world.clerk.run();
            if refreshes(&world).len() > before {
                tried_at.push(second);
            }
        }
        assert_eq!(tried_at.len(), refreshes(&world).len() - first, "{name}: a request has waited");
        assert!(tried_at.len() <= 6, "{name}: {tried_at:?}");
        assert!(warnings(&world) <= 4, "{name}: {}", world.log.text());
        // It is back, and within a minute all are asked about again.
        world.provider.change(|script| {
            script.token = answer(405, "text/plain", "POST only");
            script.by_form.extend((0..100).map(|n| {
                let told = person(n, again(FULL + 261)).with_refresh_token("next");
                (format!("=token-{n:02}"), ok(&told.token_answer()))
            }));
        });
        for _ in 0..61 {
            world.clock.forward(1);
            world.refresher.run();
            browsers[0].send(&world, Ask::get(PATH));
            world.clerk.run();
        }
        let rows = world.store.sessions();
        assert!(rows.iter().all(|row| row.checked_at > NOW + FULL + 200), "{name}: also who does not come");
        assert_eq!(browsers[0].send(&world, Ask::get(PATH)).outcome().0, 200, "{name}");
        world.clock.forward(FULL);
        world.provider.change(|script| {
            script.token = answer(400, "application/json", r#"{"error": "invalid_grant"}"#);
        });
        assert_eq!(browsers[50].send(&world, Ask::get(PATH)).code(), "session_ended", "{name}");
    }
}

#[test]
fn a_session_ends_with_its_lifetime_though_the_provider_is_away() {
    let world = World::with(&[("OIDC_SESSION_LIFETIME", "1h")]);
    let mut browser = signed_in(&world);
    world.provider.go_down();
    world.clock.forward(3599);
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
    world.clock.forward(1);
    assert_eq!(browser.send(&world, Ask::get(PATH)).code(), "session_ended");
}

#[test]
fn what_cannot_be_used_costs_the_refresh_token_and_a_page_goes_to_the_provider() {
    let answers = [
        ("no JSON", answer(200, "application/json", "x")),
        ("a login page", answer(200, "text/html", "<h1>hello</h1>")),
        ("our client", answer(401, "application/json", r#"{"error": "invalid_client"}"#)),
        ("not for us", answer(400, "application/json", r#"{"error": "unauthorized_client"}"#)),
    ];
    for (name, broken) in answers {
        let world = World::new();
        let mut browser = signed_in(&world);
        world.clock.forward(HALF);
        world.provider.change(|script| script.token = broken);
        assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
        world.clerk.run();
        // It may be spent: sent again, it would look stolen.
        assert_eq!(world.store.sessions()[0].sealed_refresh_token, None, "{name}");
        assert_eq!(warnings(&world), 1, "{name}: {}", world.log.text());
        assert_eq!(
            browser.send(&world, Ask::get(PATH)).username(),
            ALICE,
            "{name}: half of the time is left"
        );
        world.clock.forward(HALF);
        assert_eq!(
            browser.send(&world, Ask::get(PATH)).refusal(),
            (401, "session_recheck".to_owned()),
            "{name}"
        );
        let location = browser.open(&world, "/").location().to_owned();
        assert!(location.ends_with("/oidc/login?next=%2F&silent=1"), "{name}: {location}");
        assert_eq!(refreshes(&world).len(), 1, "{name}");
    }
}

#[test]
fn without_an_id_token_the_other_places_are_asked() {
    let answered = |userinfo: serde_json::Value| {
        let world = World::new();
        let mut browser = signed_in(&world);
        world.clock.forward(FULL);
        let mut bare = again(FULL).token_answer();
        bare.as_object_mut().unwrap().remove("id_token");
        world.provider.change(|script| {
            script.token = ok(&bare);
            script.userinfo = ok(&userinfo);
        });
        let outcome = browser.send(&world, Ask::get(PATH)).outcome();
        (outcome.1, world.store.identities()[0].clone())
    };
    let member = answered(json!({"sub": "subject-alice", "groups": ["MLFLOW", "b"]}));
    assert_eq!(member.0, "let in as alice@example.com");
    assert_eq!((member.1.groups.unwrap().len(), member.1.told_at), (2, NOW + FULL));
    assert_eq!(answered(json!({"sub": "subject-alice", "groups": ["OTHER"]})).0, "group_required");
    // Of somebody else, or where nobody tells the groups that decide: a page has to go.
    for userinfo in [json!({"sub": "subject-bob", "groups": ["MLFLOW"]}), json!({"sub": "subject-alice"})] {
        assert_eq!(answered(userinfo).0, "session_recheck");
    }
}

#[test]
fn a_database_that_does_not_answer_is_503_and_the_provider_is_not_blamed() {
    let world = World::new();
    let mut browser = signed_in(&world);
    world.clock.forward(FULL);
    world.store.fail(Some(StoreFault::Busy));
    assert_eq!(browser.send(&world, Ask::get(PATH)).refusal(), (503, "database_unavailable".to_owned()));
    world.store.fail(None);
    refreshes_with(&world, &again(FULL));
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
}

#[test]
fn no_token_reaches_the_log() {
    let world = World::new();
    let mut browser = signed_in(&world);
    world.clock.forward(FULL);
    let bad = again(FULL).of("bob");
    refreshes_with(&world, &bad);
    browser.send(&world, Ask::get(PATH));
    let log = world.log.text();
    assert!(log.contains("token_subject"), "{log}");
    for secret in ["refresh-1", "refresh-2", bad.token().rsplit('.').next().unwrap()] {
        assert!(!log.contains(secret), "{log}");
    }
}
