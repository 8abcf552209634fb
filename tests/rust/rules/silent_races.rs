//! A browser is at the provider for its session while something happens to that session.

use crate::silent::{ALICE, FULL, HALF, PATH, away, now, signed_in};
use crate::support::{Ask, World};
use mlflow_oidc::ports::Store as _;
use std::sync::Arc;

/// In another tab, by `users sign-out`, or by back-channel logout, while the browser is on its way back.
#[test]
fn a_silent_trip_brings_no_session_back_that_was_signed_out() {
    for after_the_last_look in [false, true] {
        let world = World::new();
        let mut browser = signed_in(&world, HALF);
        let asked = away(&world, &mut browser, "#/experiments/7");
        let (hash, store) = (world.store.sessions()[0].id_hash, Arc::clone(&world.store));
        world.provider.change(|script| {
            script.at_token = Some(Arc::new(move || {
                let (first, last) = (Arc::clone(&store), Arc::clone(&store));
                let sign_out = move || assert!(last.remove_session(&hash).unwrap().is_some());
                if after_the_last_look {
                    // The row of the person is read first, that of the session last.
                    store.meanwhile(move || first.meanwhile(sign_out));
                } else {
                    sign_out();
                }
            }));
        });
        let cookie = browser.cookie.clone();
        let answered = browser.come_back(&world, &asked, &mut now(HALF));
        assert_eq!((answered.status(), answered.location()), (302, "http://localhost:5000/#/experiments/7"));
        assert!(world.store.sessions().is_empty(), "{after_the_last_look}");
        assert_eq!(answered.header("Set-Cookie"), None, "{after_the_last_look}");
        assert_eq!(browser.cookie, cookie);
        assert!(!world.log.text().contains("an old session could not be removed"));
        // The sign-in page, and no circle.
        assert_eq!(browser.open(&world, "/").location(), "/oidc/login?next=%2F");
        let asked = browser.begin(&world, "/");
        assert!(!asked.contains_key("prompt"));
    }
}

#[test]
fn nor_one_that_has_come_to_its_end_on_the_way() {
    let world = World::with(&[("OIDC_SESSION_LIFETIME", "1h")]);
    let mut browser = signed_in(&world, HALF);
    let asked = away(&world, &mut browser, "");
    world.clock.forward(FULL - HALF);
    assert_eq!(browser.come_back(&world, &asked, &mut now(FULL)).header("Set-Cookie"), None);
    assert_eq!(browser.open(&world, "/").location(), "/oidc/login?next=%2F");
}

/// Both have been sent with the cookie of before; the answer of the second leaves the browser what the first has brought.
#[test]
fn of_two_tabs_that_come_back_in_one_moment_the_second_takes_nothing_away() {
    let world = World::new();
    let mut browser = signed_in(&world, FULL);
    let trips: Vec<_> = (0..2).map(|tab| away(&world, &mut browser, &format!("#/{tab}"))).collect();
    let mut second = browser.clone();
    browser.come_back(&world, &trips[0], &mut now(FULL));
    let answered = second.come_back(&world, &trips[1], &mut now(FULL));
    assert_eq!(answered.location(), "http://localhost:5000/#/1");
    assert_eq!(answered.header("Set-Cookie"), None);
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
    assert_eq!(world.store.sessions().len(), 1);
}
