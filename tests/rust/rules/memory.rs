//! What memory alone tells: the same as a decision, for as long as that is true and no longer.
//!
//! That it never says anything else is held by `Ask::of` for every request of every rule; here is that it says something.

use crate::support::{Ask, Browser, Draft, NOW, Signer, World, jwk, ok};
use mlflow_oidc::app::weight;
use serde_json::json;
use std::sync::Arc;

const PATH: &str = "/api/2.0/mlflow/experiments/get";
const ALICE: Option<&str> = Some("alice@example.com");

fn remembered_bearer(world: &World) -> Ask {
    let ask = Ask::get(PATH).bearer(&Draft::bearer().token());
    assert_eq!(ask.recalled_by(world), None, "nobody is remembered who was never seen");
    assert_eq!(ask.of(world).username(), "alice@example.com");
    assert_eq!(ask.recalled_by(world).as_deref(), ALICE);
    ask
}

fn remembered_session(world: &World) -> Ask {
    let browser = Browser::signed_in(world, Draft::id_token());
    let ask = Ask::get(PATH).cookie(browser.cookie.as_deref().unwrap());
    assert_eq!(ask.recalled_by(world), None, "no cookie is known that never came");
    assert_eq!(ask.of(world).username(), "alice@example.com");
    assert_eq!(ask.recalled_by(world).as_deref(), ALICE);
    ask
}

#[test]
fn a_bearer_and_a_session_are_remembered() {
    remembered_bearer(&World::new());
    remembered_session(&World::new());
}

/// What happens to somebody who is remembered, so that memory has nothing to say any more.
type Event = (&'static str, fn(&World));

const TO_A_BEARER: &[Event] = &[
    ("the token has expired", |world| {
        // Its user is looked at all the while, so that nothing but its end is the reason.
        for _ in 0..(3600 + 60) / 4 {
            world.clock.forward(4);
            let newer = Draft::bearer().set("iat", NOW - 5).set("exp", NOW + 100_000).token();
            Ask::get(PATH).bearer(&newer).of(world);
        }
    }),
    ("its user was looked at too long ago", |world| world.clock.forward(5)),
    ("the clock went back", |world| world.clock.forward(-1)),
    ("the provider's keys have changed", |world| {
        world.provider.change(|script| script.keys = ok(&json!({"keys": [jwk(&Signer::P256, "p256")]})));
        world.clock.forward(3600);
        world.refresher.run();
        world.clock.forward(-3600);
    }),
    ("a newer token has told other groups", |world| {
        world.clock.forward(1);
        let newer = Draft::bearer().in_groups(&["MLFLOW", "new"]).set("iat", NOW + 1).token();
        assert_eq!(Ask::get(PATH).bearer(&newer).of(world).username(), "alice@example.com");
    }),
    ("a newer token has told that there are none", |world| {
        world.clock.forward(1);
        let newer = Draft::bearer().in_groups(&[]).set("iat", NOW + 1).token();
        assert_eq!(Ask::get(PATH).bearer(&newer).of(world).code(), "group_required");
    }),
];

#[test]
fn a_bearer_is_forgotten_when_anything_happens_that_may_change_the_answer() {
    for (name, event) in TO_A_BEARER {
        let world = World::new();
        let ask = remembered_bearer(&world);
        event(&world);
        assert_eq!(ask.recalled_by(&world), None, "{name}");
    }
}

const TO_A_SESSION: &[Event] = &[
    ("its row was read too long ago", |world| world.clock.forward(5)),
    ("the clock went back", |world| world.clock.forward(-1)),
    ("the provider has ended it", |world| {
        let mut draft = Draft::logout_token();
        let ask = Ask::post("/oidc/backchannel-logout");
        let answered =
            ask.body(&format!("logout_token={}", draft.set("sub", "subject-alice").token())).of(world);
        assert_eq!(answered.status(), 200);
    }),
];

#[test]
fn a_session_is_forgotten_when_anything_happens_that_may_change_the_answer() {
    for (name, event) in TO_A_SESSION {
        let world = World::new();
        let ask = remembered_session(&world);
        event(&world);
        assert_eq!(ask.recalled_by(&world), None, "{name}");
    }
    let world = World::new();
    let ask = remembered_session(&world);
    let out = Ask::post("/oidc/logout").cookie(ask.request().cookie.unwrap());
    assert_eq!(out.of(&world).status(), 303);
    assert_eq!(ask.recalled_by(&world), None, "signed out");
}

#[test]
fn what_has_rules_of_its_own_is_not_told_from_memory() {
    let world = World::new();
    let (bearer, session) = (remembered_bearer(&world), remembered_session(&world));
    let (token, cookie) = (bearer.request().authorization.unwrap(), session.request().cookie.unwrap());
    let mallory = Browser::signed_in(&world, Draft::id_token().of("bob")).cookie.unwrap();
    let rows = [
        ("our own endpoint", Ask::get("/oidc/session").cookie(cookie)),
        ("the callback", Ask::get("/oidc/callback?code=x&state=y").authorization(token)),
        ("the gateway, with a bearer", Ask::post("/gateway/chat/invocations").authorization(token)),
        ("the gateway, with a session", Ask::post("/gateway/chat/invocations").cookie(cookie)),
        ("a Host that is none", Ask::get(PATH).host("localhost:5000/x").authorization(token)),
        ("a Host that is not ours", Ask::get(PATH).host("evil.example").cookie(cookie)),
        ("a header that fails, beside the cookie", Ask::get(PATH).bearer("xyz").cookie(cookie)),
        ("a password, beside the cookie", Ask::get(PATH).authorization("Basic YTpi").cookie(cookie)),
        ("a change by another site", Ask::post(PATH).fetch_site("cross-site").cookie(cookie)),
        ("a change by another origin", Ask::post(PATH).origin("https://evil.example").cookie(cookie)),
        ("two cookies", Ask::get(PATH).cookie(&format!("{cookie}; {mallory}"))),
        ("one cookie twice", Ask::get(PATH).cookie(&format!("{cookie}; {cookie}"))),
        ("a cookie with one letter more", Ask::get(PATH).cookie(&format!("{cookie}A"))),
    ];
    for (name, ask) in rows {
        assert_eq!(ask.recalled_by(&world), None, "{name}");
        // And what is decided then is decided without a fault.
        assert_ne!(ask.of(&world).outcome().0, 500, "{name}");
    }
    let own = Ask::post(PATH).fetch_site("same-origin").origin("http://localhost:5000");
    assert_eq!(own.cookie(cookie).recalled_by(&world).as_deref(), ALICE, "a change by our own page");
}

/// The attack is patience: a page that polls has a request under way in another thread while its person signs out.
#[test]
fn a_session_that_is_signed_out_while_its_row_is_read_is_not_remembered() {
    let world = World::new();
    let ask = remembered_session(&world);
    world.clock.forward(5);
    let (app, out) =
        (Arc::clone(&world.app), Ask::post("/oidc/logout").cookie(ask.request().cookie.unwrap()));
    world.store.meanwhile(move || {
        app.decide(&out.request());
    });
    world.app.decide(&ask.request());
    assert!(world.store.sessions().is_empty(), "signed out");
    assert_eq!(ask.recalled_by(&world), None);
    assert_eq!(ask.of(&world).code(), "session_ended");
}

#[test]
fn a_lost_membership_that_is_told_while_the_row_is_read_is_not_undone() {
    let world = World::new();
    let first = Ask::get(PATH).bearer(&Draft::bearer().set("iat", NOW - 50).token());
    assert_eq!(first.of(&world).username(), "alice@example.com");
    world.clock.forward(5);
    let lost = Ask::get(PATH).bearer(&Draft::bearer().in_groups(&[]).set("iat", NOW + 1).token());
    let app = Arc::clone(&world.app);
    world.store.meanwhile(move || {
        app.decide(&lost.request());
    });
    let between = Ask::get(PATH).bearer(&Draft::bearer().set("iat", NOW - 20).token());
    world.app.decide(&between.request());
    assert_eq!(world.store.identities()[0].groups.as_deref(), Some([].as_slice()), "the newest word counts");
    assert_eq!(between.recalled_by(&world), None);
}

#[test]
fn what_is_remembered_of_a_person_while_they_are_turned_away_is_forgotten() {
    let world = World::new();
    let token = Draft::bearer().set("iat", NOW - 50).token();
    let ask = Ask::get(PATH).bearer(&token);
    assert_eq!(ask.of(&world).username(), "alice@example.com");
    world.clock.forward(5);
    let lost = Ask::get(PATH).bearer(&Draft::bearer().in_groups(&[]).set("iat", NOW + 1).token());
    let app = Arc::clone(&world.app);
    world.store.meanwhile(move || {
        app.decide(&lost.request());
    });
    world.app.decide(&ask.request());
    assert_eq!(ask.recalled_by(&world), None);
    assert_eq!(ask.of(&world).code(), "group_required");
}

#[test]
fn a_lost_membership_counts_at_once_where_it_is_told_though_another_worker_has_noted_it() {
    let world = World::new();
    let other = world.beside(&[]);
    let ask = Ask::get(PATH).bearer(&Draft::bearer().set("iat", NOW - 50).token());
    assert_eq!(ask.of(&world).username(), "alice@example.com");
    let lost = Ask::get(PATH).bearer(&Draft::bearer().in_groups(&[]).set("iat", NOW + 1).token());
    assert_eq!(lost.of(&other).code(), "group_required");
    assert_eq!(lost.of(&world).code(), "group_required");
    assert_eq!(ask.recalled_by(&world), None);
    assert_eq!(ask.of(&world).code(), "group_required");
}

#[test]
fn what_is_remembered_weighs_what_it_takes() {
    let texts = |count: usize, letters: usize| vec!["x".repeat(letters); count];
    assert_eq!(weight::of_texts(&texts(0, 0)), 1, "nothing is for nothing");
    assert_eq!(weight::of_texts(&texts(5, 20)), 1, "an ordinary person");
    assert_eq!(weight::of_texts(&texts(300, 20)), 5, "18 kB in units of 4 kB");
    assert_eq!(weight::of_texts(&texts(1, 40_960)), 11, "a sealed token");
}
