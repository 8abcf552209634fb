//! The provider is asked again about a session while somebody else does, or while the session or what is known of its person changes.

use crate::recheck::{ALICE, FULL, PATH, again, alice, refreshes, refreshes_with, signed_in};
use crate::support::{Ask, Browser, NOW, World, ok};
use mlflow_oidc::ports::Store as _;
use serde_json::json;
use std::sync::Arc;

#[test]
fn two_workers_send_a_refresh_token_once() {
    let one = World::new();
    let other = Arc::new(one.beside(&[]));
    let mut browser = signed_in(&one);
    assert_eq!(browser.send(&other, Ask::get(PATH)).username(), ALICE);
    for world in [&one, &*other] {
        world.clock.forward(FULL);
        refreshes_with(world, &again(FULL));
    }
    // The first is under way: the second waits for its answer, and has it.
    one.provider.hold(true);
    let (one, mut here) = (Arc::new(one), browser.clone());
    let first = std::thread::spawn({
        let one = Arc::clone(&one);
        move || here.send(&one, Ask::get(PATH)).username().to_owned()
    });
    while one.provider.count("/token") < 2 {
        std::thread::yield_now();
    }
    let second = std::thread::spawn({
        let other = Arc::clone(&other);
        move || browser.send(&other, Ask::get(PATH)).username().to_owned()
    });
    std::thread::sleep(std::time::Duration::from_millis(150));
    assert!(!second.is_finished(), "it waits");
    one.provider.hold(false);
    assert_eq!(first.join().unwrap(), ALICE);
    assert_eq!(second.join().unwrap(), ALICE);
    assert_eq!((refreshes(&one).len(), refreshes(&other).len()), (1, 0));
}

#[test]
fn a_worker_that_died_while_asking_holds_a_session_up_for_a_bounded_time() {
    let world = World::new();
    let mut browser = signed_in(&world);
    world.clock.forward(FULL);
    refreshes_with(&world, &again(FULL));
    let hash = world.store.sessions()[0].id_hash;
    assert!(world.store.begin_recheck(&hash, NOW + FULL, NOW + FULL + 30).unwrap());
    let clock = Arc::clone(&world.clock);
    let later = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(150));
        clock.forward(4);
    });
    assert_eq!(browser.send(&world, Ask::get(PATH)).refusal(), (503, "provider_pending".to_owned()));
    later.join().unwrap();
    world.clock.forward(26);
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
}

#[test]
fn a_session_that_ends_while_it_is_asked_about_stays_ended() {
    let world = World::new();
    let mut browser = signed_in(&world);
    world.clock.forward(FULL);
    refreshes_with(&world, &again(FULL));
    // The row is gone when the answer is there.
    let store = Arc::clone(&world.store);
    world.provider.change(|script| {
        let mut bare = again(FULL);
        bare.drop("groups");
        script.token = ok(&bare.token_answer());
        let info = json!({"sub": "subject-alice", "groups": ["MLFLOW"]});
        script.elsewhere.insert(format!("{}/userinfo", crate::support::ISSUER), ok(&info));
        script.meanwhile = Some(Arc::new(move || store.clear_sessions()));
    });
    assert_eq!(browser.send(&world, Ask::get(PATH)).refusal(), (401, "session_ended".to_owned()));
    assert!(world.store.sessions().is_empty());
    assert_eq!(refreshes(&world).len(), 1);
}

#[test]
fn a_newer_login_is_not_undone_by_an_older_answer() {
    let world = World::new();
    let mut browser = signed_in(&world);
    world.clock.forward(FULL);
    // Somebody else's clock: her login a moment ago has told more than this refresh knows of.
    let mut newer = alice().in_groups(&["MLFLOW", "new"]);
    newer.set("iat", NOW + FULL).set("exp", NOW + FULL + 300);
    Browser::signed_in(&world, newer);
    refreshes_with(&world, &again(FULL - 10).in_groups(&["OTHER"]));
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
    assert_eq!(world.store.identities()[0].groups, Some(vec!["MLFLOW".to_owned(), "new".to_owned()]));
}
