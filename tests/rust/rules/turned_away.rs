//! A provider that turns some away, or all: what becomes of the one, of the others, and of who has to wait.

use crate::recheck::{again, alice, refreshes_with};
use crate::support::{Ask, Browser, Draft, NOW, World, answer, down, ok};
use mlflow_oidc::ports::{Store as _, StoreFault};
use std::sync::{Arc, Mutex};

const PATH: &str = "/api/2.0/mlflow/experiments/get";
const HALF: i64 = 1_800;
const FULL: i64 = 3_600;
const OVER: &str = r#"{"error": "invalid_grant"}"#;

fn too_many() -> crate::support::Answer {
    answer(429, "application/json", "{}")
}

fn of(who: &str, token: &str) -> Draft {
    alice().of(who).with_refresh_token(token)
}

/// Different people, each with a browser.
fn people(world: &World, count: usize) -> Vec<Browser> {
    (0..count).map(|n| Browser::signed_in(world, alice().of(&format!("person-{n}")))).collect()
}

/// How often a refresh token was sent.
fn sent(world: &World, token: &str) -> usize {
    let asked = world.provider.asked();
    asked
        .iter()
        .filter(|request| request.form.as_ref().is_some_and(|form| form.expose().contains(token)))
        .count()
}

#[test]
fn one_who_is_turned_away_delays_nobody_else() {
    let world = World::new();
    let mut poison = Browser::signed_in(&world, of("alice", "poison"));
    let mut bob = Browser::signed_in(&world, of("bob", "good"));
    world.provider.change(|script| {
        script.by_form.push(("=poison".to_owned(), too_many()));
        script.by_form.push(("=good".to_owned(), answer(400, "application/json", OVER)));
    });
    world.clock.forward(FULL);
    for _ in 0..100 {
        assert_eq!(poison.send(&world, Ask::get(PATH)).outcome().0, 200);
        world.clerk.run();
        world.clock.forward(1);
    }
    assert!((2..=5).contains(&sent(&world, "=poison")), "with pauses that grow: {}", sent(&world, "=poison"));
    assert_eq!(bob.send(&world, Ask::get(PATH)).code(), "session_ended", "and his is asked about at once");
    assert!(!world.log.text().contains("cannot be asked about sessions"), "{}", world.log.text());
}

#[test]
fn nobody_stays_on_trouble_of_their_own_for_longer_than_one_more_period() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, alice());
    world.clock.forward(FULL);
    world.provider.change(|script| script.token = too_many());
    for _ in 0..FULL / 30 {
        assert_eq!(browser.send(&world, Ask::get(PATH)).outcome().0, 200);
        world.clerk.run();
        world.clock.forward(30);
    }
    assert_eq!(browser.send(&world, Ask::get(PATH)).refusal(), (401, "session_recheck".to_owned()));
    assert_eq!(world.store.sessions()[0].sealed_refresh_token, None, "a page goes to the provider");
}

#[test]
fn another_worker_gives_no_second_period() {
    let one = World::new();
    let (other, third) = (one.beside(&[]), one.beside(&[]));
    let mut browser = Browser::signed_in(&one, alice());
    for world in [&one, &other, &third] {
        world.provider.change(|script| script.token = too_many());
    }
    one.clock.forward(HALF);
    assert_eq!(browser.send(&one, Ask::get(PATH)).outcome().0, 200);
    one.clerk.run();
    other.clock.forward(2 * FULL - 1);
    assert_eq!(browser.send(&other, Ask::get(PATH)).outcome().0, 200);
    third.clock.forward(2 * FULL);
    assert_eq!(browser.send(&third, Ask::get(PATH)).refusal(), (503, "provider_pending".to_owned()));
    assert_eq!(browser.send(&third, Ask::get(PATH)).refusal(), (401, "session_recheck".to_owned()));
}

#[test]
fn who_comes_back_late_loses_no_token_to_one_answer_of_trouble() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, alice());
    world.clock.forward(5 * FULL);
    world.provider.change(|script| script.token = too_many());
    assert_eq!(browser.send(&world, Ask::get(PATH)).refusal(), (503, "provider_pending".to_owned()));
    refreshes_with(&world, &again(5 * FULL));
    assert_eq!(browser.send(&world, Ask::get(PATH)).outcome().0, 200);
    assert_eq!(sent(&world, "grant_type=refresh"), 2);
}

#[test]
fn who_was_just_turned_away_is_not_asked_about_again_at_once() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, alice());
    world.clock.forward(FULL);
    world.provider.change(|script| script.token = too_many());
    assert_eq!(browser.send(&world, Ask::get(PATH)).outcome().0, 200);
    world.clerk.run();
    assert_eq!(sent(&world, "grant_type=refresh"), 1, "the request has asked, and left nothing to the clerk");
}

#[test]
fn three_who_are_turned_away_in_a_row_are_an_outage_that_throws_nobody_out() {
    let world = World::new();
    let mut browsers = people(&world, 20);
    world.clock.forward(FULL);
    world.provider.change(|script| script.token = answer(503, "text/html", "<h1>oops</h1>"));
    for second in 0..10 * FULL / 60 {
        for browser in &mut browsers {
            assert_eq!(browser.send(&world, Ask::get(PATH)).outcome().0, 200, "{second}");
        }
        world.clock.forward(60);
        world.clerk.run();
    }
    let sessions = world.store.sessions();
    assert_eq!(sessions.iter().filter(|row| row.sealed_refresh_token.is_some()).count(), 20);
}

/// Alice has many browsers, and the provider counts by person: it answers 429 about her alone.
fn many_of_one(world: &World, count: usize) -> Vec<Browser> {
    world.provider.change(|script| script.by_form.push(("=poison".to_owned(), too_many())));
    (0..count).map(|n| Browser::signed_in(world, of("alice", &format!("poison-{n}")))).collect()
}

#[test]
fn one_person_with_many_browsers_stops_no_asking_about_others() {
    let world = World::new();
    // As many as there may be errands.
    let mut browsers = many_of_one(&world, 1_000);
    let mut bob = Browser::signed_in(&world, of("bob", "good"));
    world
        .provider
        .change(|script| script.by_form.push(("=good".to_owned(), answer(400, "application/json", OVER))));
    world.clock.forward(HALF);
    for browser in &mut browsers {
        browser.send(&world, Ask::get(PATH));
    }
    let mut minutes = 0;
    while bob.send(&world, Ask::get(PATH)).outcome().0 == 200 {
        minutes += 1;
        assert!(minutes < 5, "his account was disabled, and the provider answers about him");
        world.clerk.run();
        world.clock.forward(60);
        for browser in browsers.iter_mut().take(10) {
            browser.send(&world, Ask::get(PATH));
        }
    }
    assert!(!world.log.text().contains("cannot be asked about sessions"), "{}", world.log.text());
}

#[test]
fn one_person_with_thirty_browsers_does_not_stay() {
    let world = World::new();
    let mut browsers = many_of_one(&world, 30);
    world.clock.forward(HALF);
    for minute in 0.. {
        let statuses = browsers.iter_mut().map(|browser| browser.send(&world, Ask::get(PATH)).outcome().0);
        if statuses.filter(|status| *status == 200).count() == 0 {
            return;
        }
        assert!(minute < 3 * 60, "in after {minute} minutes of 429 for one person alone");
        world.clerk.run();
        world.clock.forward(60);
    }
}

#[test]
fn an_outage_lets_a_session_without_a_token_go_on_on_every_route() {
    let world = World::new();
    let mut bare = Browser::signed_in(&world, Draft::id_token().of("carol"));
    let mut others = people(&world, 3);
    world.clock.forward(FULL);
    world.provider.change(|script| script.token = answer(503, "text/html", "<h1>oops</h1>"));
    for browser in &mut others {
        assert_eq!(browser.send(&world, Ask::get(PATH)).outcome().0, 200);
    }
    assert!(world.log.text().contains("cannot be asked about sessions"));
    assert_eq!(bare.send(&world, Ask::get(PATH)).outcome().0, 200, "a Flask route");
    assert_eq!(bare.send(&world, Ask::get(PATH).on_event_loop()).outcome().0, 200, "a native route");
}

#[test]
fn three_who_have_an_outage_among_themselves_hold_nobody_for_long() {
    let world = World::new();
    let mut bad: Vec<_> =
        (0..3).map(|n| Browser::signed_in(&world, of(&format!("bad-{n}"), &format!("poison-{n}")))).collect();
    let mut bob = Browser::signed_in(&world, of("bob", "good"));
    world.provider.change(|script| {
        script.by_form.push(("=poison".to_owned(), too_many()));
        script.by_form.push(("=good".to_owned(), answer(400, "application/json", OVER)));
    });
    world.clock.forward(FULL);
    for _ in 0..300 {
        for browser in &mut bad {
            assert_eq!(browser.send(&world, Ask::get(PATH)).outcome().0, 200);
        }
        world.clerk.run();
        world.clock.forward(1);
    }
    assert!(world.log.text().contains("cannot be asked about sessions"));
    let mut waited = 0;
    while bob.send(&world, Ask::get(PATH)).outcome().0 == 200 {
        for browser in &mut bad {
            browser.send(&world, Ask::get(PATH));
        }
        world.clerk.run();
        world.clock.forward(1);
        waited += 1;
        assert!(waited < 300, "he comes to his turn");
    }
}

#[test]
fn a_lost_group_of_the_token_counts_though_user_information_is_in_trouble() {
    for trouble in [too_many(), down(), answer(503, "text/html", "x")] {
        let world = World::new();
        let mut browser = Browser::signed_in(&world, alice());
        world.clock.forward(FULL);
        let mut out = again(FULL).in_groups(&["OTHER"]);
        out.drop("email");
        refreshes_with(&world, &out);
        world.provider.change(|script| script.userinfo = trouble);
        assert_eq!(browser.send(&world, Ask::get(PATH)).refusal(), (403, "group_required".to_owned()));
        assert!(world.store.sessions().is_empty());
    }
}

#[test]
fn a_new_token_is_kept_before_anything_else_is_asked() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, alice());
    world.clock.forward(FULL);
    let mut bare = again(FULL);
    bare.drop("groups");
    refreshes_with(&world, &bare);
    let before = world.store.sessions()[0].sealed_refresh_token.clone();
    let kept = Arc::new(Mutex::new(None));
    let (store, seen) = (Arc::clone(&world.store), Arc::clone(&kept));
    world.provider.change(|script| {
        let info = serde_json::json!({"sub": "subject-alice", "groups": ["MLFLOW"]});
        script.elsewhere.insert(format!("{}/userinfo", crate::support::ISSUER), ok(&info));
        script.meanwhile = Some(Arc::new(move || {
            *seen.lock().unwrap() = store.sessions()[0].sealed_refresh_token.clone();
        }));
    });
    assert_eq!(browser.send(&world, Ask::get(PATH)).outcome().0, 200);
    let kept = kept.lock().unwrap().clone();
    assert!(kept.is_some() && kept != before, "a process that dies now has lost nothing");
}

#[test]
fn a_late_answer_undoes_no_newer_one() {
    for late in
        [ok(&again(FULL).with_refresh_token("late").token_answer()), answer(400, "application/json", OVER)]
    {
        let world = World::new();
        let mut browser = Browser::signed_in(&world, alice());
        world.clock.forward(FULL);
        world.provider.change(|script| script.token = late);
        // While the first waits its right ends, and another worker asks and has its answer.
        let (store, newer) = (Arc::clone(&world.store), Arc::new(Mutex::new(None)));
        let seen = Arc::clone(&newer);
        world.provider.change(|script| {
            script.at_token = Some(Arc::new(move || {
                let mut row = store.sessions().remove(0);
                assert!(store.begin_recheck(&row.id_hash, NOW + 2 * FULL, NOW + 3 * FULL).unwrap());
                row.sealed_refresh_token = Some("newer".to_owned());
                row.checked_at = NOW + FULL;
                assert!(store.renew_session(&row, NOW + 3 * FULL, 0).unwrap());
                *seen.lock().unwrap() = Some(row);
            }));
        });
        assert_eq!(browser.send(&world, Ask::get(PATH)).outcome().0, 200);
        assert_eq!(world.store.sessions(), [newer.lock().unwrap().clone().unwrap()]);
    }
}

/// A token endpoint that is broken, and one that does not answer a form (a firewall), beside a good discovery.
#[test]
fn a_good_discovery_ends_no_trouble_of_the_token_endpoint() {
    for (broken, first) in [(answer(500, "text/html", "<h1>oops</h1>"), 3), (down(), 1)] {
        let world = World::new();
        let mut browsers = people(&world, 20);
        world.clock.forward(FULL);
        world.provider.change(|script| {
            script.token = answer(405, "text/plain", "POST only");
            script.by_form.push(("grant_type".to_owned(), broken));
        });
        let (mut by_clerk, mut by_request) = (0, 0);
        for _ in 0..600 {
            for browser in &mut browsers {
                let before = sent(&world, "grant_type=refresh");
                assert_eq!(browser.send(&world, Ask::get(PATH)).outcome().0, 200);
                by_request += sent(&world, "grant_type=refresh") - before;
            }
            world.refresher.run();
            let before = sent(&world, "grant_type=refresh");
            world.clerk.run();
            by_clerk += sent(&world, "grant_type=refresh") - before;
            world.clock.forward(1);
        }
        assert_eq!(by_request, first, "then no request waits");
        assert!((3..=15).contains(&by_clerk), "{by_clerk}");
        assert!(!world.log.text().contains("can be asked about sessions again"), "{}", world.log.text());
    }
}

#[test]
fn between_two_sessions_the_clerk_serves_the_event_loop() {
    let world = Arc::new(World::new());
    world.clerk.run();
    let mut browsers = people(&world, 5);
    world.clock.forward(HALF);
    world.provider.change(|script| script.token = answer(400, "application/json", OVER));
    for browser in &mut browsers {
        assert_eq!(browser.send(&world, Ask::get(PATH)).outcome().0, 200);
    }
    let codes = Arc::new(Mutex::new(Vec::new()));
    let (seen, weak) = (Arc::clone(&codes), Arc::downgrade(&world));
    world.provider.change(|script| {
        script.at_token = Some(Arc::new(move || {
            let mut draft = Draft::bearer();
            draft.set("iat", NOW + HALF).set("exp", NOW + 100_000);
            let ask = Ask::get("/api/x").bearer(&draft.token()).on_event_loop();
            seen.lock().unwrap().push(ask.of(&weak.upgrade().unwrap()).outcome().0);
        }));
    });
    world.clerk.run();
    assert_eq!(*codes.lock().unwrap(), [503, 200, 200, 200, 200]);
}

#[test]
fn a_failure_of_our_own_does_not_send_each_request_to_the_provider() {
    let world = World::with(&[("OIDC_ROLES", "operators =\n    group ml-ops\n    experiment * MANAGE")]);
    let browser = Browser::signed_in(&world, alice());
    world.clock.forward(FULL);
    refreshes_with(&world, &again(FULL).in_groups(&["MLFLOW", "ml-ops"]));
    let roles = Arc::clone(&world.roles);
    world.provider.change(|script| {
        script.at_token = Some(Arc::new(move || roles.fail(Some(StoreFault::Busy))));
    });
    let ask = || Ask::get(PATH).cookie(browser.cookie.as_deref().unwrap()).on_event_loop();
    for _ in 0..5 {
        assert_eq!(ask().of(&world).outcome().0, 503);
        world.clerk.run();
        world.roles.fail(None);
    }
    assert_eq!(sent(&world, "grant_type=refresh"), 1);
    world.provider.change(|script| script.at_token = None);
    world.clock.forward(5);
    assert_eq!(ask().of(&world).outcome().0, 503);
    world.clerk.run();
    assert_eq!(ask().of(&world).outcome().0, 200);
}
