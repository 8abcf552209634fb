//! The administrator's flag of accounts that somebody else gave it to: proof of the admin group, every time.

use crate::support::{Ask, Browser, Draft, ISSUER, NOW, World};
use mlflow_oidc::ports::{IdentityRow, Store, Users};

const ALICE: &str = "alice@example.com";
const EVERYBODY: (&str, &str) = ("OIDC_USER_GROUP", "");
const ADMINS: (&str, &str) = ("OIDC_ADMIN_GROUP", "admins");

/// What `mlflow-oidc users link --administrator` leaves: a local administrator who is bound to a subject.
fn with_linked_administrator(settings: &[(&str, &str)]) -> World {
    let world = World::with(settings);
    world.users.add_local(ALICE, true);
    let row = IdentityRow {
        issuer: ISSUER.to_owned(),
        subject: "subject-alice".to_owned(),
        username: ALICE.to_owned(),
        user_id: world.users.all()[ALICE].id,
        groups: None,
        told_at: 0,
        made_here: false,
    };
    world.store.bind(&row).unwrap();
    world
}

/// A bearer of alice, issued so many seconds from now; without groups where there are none to tell.
fn token(later: i64, groups: Option<&[&str]>) -> Ask {
    let mut draft = Draft::bearer();
    match groups {
        Some(groups) => draft = draft.in_groups(groups),
        None => {
            draft.drop("groups");
        }
    }
    draft.set("iat", NOW + later).set("exp", NOW + 100_000);
    Ask::get("/api/x").bearer(&draft.token())
}

fn protected() -> (u16, String) {
    (403, "account_protected".to_owned())
}

#[test]
fn a_linked_administrator_is_let_in_by_the_admin_group_alone() {
    let world = with_linked_administrator(&[EVERYBODY, ADMINS]);
    world.refresher.run();
    world.clerk.run();
    // Nobody has said anything of the groups yet.
    assert_eq!(token(0, None).of(&world).refusal(), protected());
    assert_eq!(token(1, Some(&["admins"])).of(&world).username(), ALICE);
    world.clock.forward(60);
    assert_eq!(token(2, None).of(&world).username(), ALICE, "the groups that are known go on");
    assert_eq!(token(3, Some(&[])).of(&world).refusal(), protected());
    // Neither a token that says nothing nor an older one brings it back, nor the event loop, whose reads find the same groups.
    for ask in [token(4, None), token(1, Some(&["admins"])), token(3, Some(&[])), token(5, Some(&[]))] {
        for seconds in [0, 60] {
            world.clock.forward(seconds);
            let on_the_loop = ask.clone().on_event_loop();
            assert_eq!(on_the_loop.of(&world).refusal(), protected());
            assert_eq!(ask.of(&world).refusal(), protected());
        }
    }
    assert_eq!(world.users.is_admin(ALICE), Some(true), "the flag is MLflow's");
    assert_eq!(token(70, Some(&["admins"])).of(&world).username(), ALICE, "a newer one does");
}

#[test]
fn the_sessions_of_a_linked_administrator_end_with_the_admin_group() {
    let world = with_linked_administrator(&[EVERYBODY, ADMINS]);
    let other = world.beside(&[EVERYBODY, ADMINS]);
    let mut browser = Browser::signed_in(&world, Draft::id_token().in_groups(&["admins"]));
    assert_eq!(browser.send(&other, Ask::get("/api/x")).username(), ALICE);
    assert_eq!(token(1, Some(&[])).of(&world).refusal(), protected());
    assert_eq!(world.store.identities()[0].groups, Some(vec![]), "it is noted");
    assert!(world.store.sessions().is_empty());
    assert_eq!(browser.send(&world, Ask::get("/api/x")).code(), "session_ended");
    other.clock.forward(5);
    assert_eq!(browser.send(&other, Ask::get("/api/x")).code(), "session_ended");
}

#[test]
fn a_session_of_before_is_worth_nothing_to_a_local_administrator_outside_the_group() {
    for on_event_loop in [false, true] {
        let world = World::with(&[EVERYBODY, ADMINS, ("OIDC_LINK_EXISTING_USERS", "true")]);
        world.users.add_local(ALICE, false);
        let mut browser = Browser::signed_in(&world, Draft::id_token().in_groups(&["x"]));
        assert_eq!(browser.send(&world, Ask::get("/api/x")).username(), ALICE);
        // In MLflow, by hand.
        world.users.set_admin(ALICE, true).unwrap();
        world.clock.forward(5);
        let ask = if on_event_loop { Ask::post("/v1/traces").on_event_loop() } else { Ask::get("/api/x") };
        assert_eq!(browser.send(&world, ask).code(), "session_ended");
        assert_eq!(world.store.sessions().len(), usize::from(on_event_loop));
    }
}

#[test]
fn without_an_admin_group_no_login_is_a_local_administrators() {
    let world = with_linked_administrator(&[EVERYBODY]);
    for groups in [None, Some(&["admins", "MLFLOW_admin"][..])] {
        assert_eq!(token(1, groups).of(&world).refusal(), protected());
    }
    // An ordinary account is let in as ever.
    world.users.set_admin(ALICE, false).unwrap();
    assert_eq!(token(2, None).of(&world).username(), ALICE);
}

#[test]
fn the_flag_of_an_account_of_ours_never_goes_to_the_next_subject_by_name() {
    for (settings, groups) in [
        (&[EVERYBODY, ADMINS][..], None),
        (&[EVERYBODY, ADMINS], Some(&["x"][..])),
        // Given in MLflow by hand.
        (&[EVERYBODY], Some(&["admins"][..])),
    ] {
        let world = World::with(settings);
        token(0, Some(&["admins"])).of(&world);
        world.users.set_admin(ALICE, true).unwrap();
        // Unlinked, or our own file was lost: MLflow's row is all that is left.
        let after = World::with(settings);
        after.users.create(ALICE, &world.users.all()[ALICE]).unwrap();
        let mut draft = Draft::bearer();
        draft.set("sub", "another");
        match groups {
            Some(groups) => draft = draft.in_groups(groups),
            None => {
                draft.drop("groups");
            }
        }
        let next = Ask::get("/api/x").bearer(&draft.token());
        assert_eq!(next.of(&after).username(), ALICE, "{groups:?}");
        assert_eq!(after.users.is_admin(ALICE), Some(false), "{groups:?}");
    }
    // With the proof it goes on without a gap.
    let world = World::with(&[EVERYBODY, ADMINS]);
    token(0, Some(&["admins"])).of(&world);
    let after = World::with(&[EVERYBODY, ADMINS]);
    after.users.create(ALICE, &world.users.all()[ALICE]).unwrap();
    assert_eq!(token(0, Some(&["admins"])).of(&after).username(), ALICE);
    assert_eq!(after.users.is_admin(ALICE), Some(true));
}

/// An operator makes `OIDC_ADMIN_GROUP` narrower, or wider, and starts the server again.
#[test]
fn a_session_does_not_keep_a_flag_that_the_settings_take_away() {
    let never = ("OIDC_SESSION_RECHECK", "0");
    let before = World::with(&[EVERYBODY, ADMINS, never]);
    let mut browser = Browser::signed_in(&before, Draft::id_token().in_groups(&["x", "admins"]));
    assert_eq!(before.users.is_admin(ALICE), Some(true));
    for (group, is_admin) in [("few", false), ("x", true), ("few", false)] {
        for on_event_loop in [false, true] {
            let world = before.beside(&[EVERYBODY, ("OIDC_ADMIN_GROUP", group), never]);
            before.users.set_admin(ALICE, !is_admin).unwrap();
            world.clerk.run();
            let ask = || if on_event_loop { Ask::get("/api/x").on_event_loop() } else { Ask::get("/api/x") };
            if on_event_loop {
                assert_eq!(browser.send(&world, ask()).refusal(), (503, "provider_pending".to_owned()));
                world.clerk.run();
            }
            assert_eq!(browser.send(&world, ask()).username(), ALICE);
            assert_eq!(world.users.is_admin(ALICE), Some(is_admin), "{group}, {on_event_loop}");
        }
    }
    // Without an admin group nothing is decided.
    let none = before.beside(&[EVERYBODY, never]);
    before.users.set_admin(ALICE, true).unwrap();
    assert_eq!(browser.send(&none, Ask::get("/api/x")).username(), ALICE);
    assert_eq!(none.users.is_admin(ALICE), Some(true));
}

/// Whoever is not let in any more by the settings keeps no flag either, and each of their requests is told the same.
#[test]
fn nor_does_somebody_whom_the_settings_let_in_no_more() {
    let before = World::with(&[("OIDC_USER_GROUP", "x"), ADMINS]);
    let mut browser = Browser::signed_in(&before, Draft::id_token().in_groups(&["admins"]));
    let world = before.beside(&[("OIDC_USER_GROUP", "x"), ("OIDC_ADMIN_GROUP", "few")]);
    for _ in 0..3 {
        assert_eq!(browser.send(&world, Ask::get("/api/x")).refusal(), (403, "group_required".to_owned()));
        assert_eq!(world.users.is_admin(ALICE), Some(false));
    }
}

/// A worker dies between its `set_admin` for an older statement and its second look: the newer groups were noted meanwhile.
#[test]
fn a_session_does_not_keep_a_flag_that_the_noted_groups_do_not_give() {
    let world = World::with(&[EVERYBODY, ADMINS]);
    let mut browser = Browser::signed_in(&world, Draft::id_token().in_groups(&["x"]));
    for flag in [true, false] {
        world.users.set_admin(ALICE, flag).unwrap();
        world.clock.forward(5);
        assert_eq!(browser.send(&world, Ask::get("/api/x")).username(), ALICE);
        assert_eq!(world.users.is_admin(ALICE), Some(false));
    }
    // What memory answers costs no look at any row.
    let asked = (world.store.patient.all(), world.users.asked.all());
    assert_eq!(browser.send(&world, Ask::get("/api/x")).username(), ALICE);
    assert_eq!((world.store.patient.all(), world.users.asked.all()), asked);
}

#[test]
fn the_event_loop_lets_no_flag_stand_that_the_groups_do_not_give() {
    let world = World::with(&[EVERYBODY, ADMINS]);
    world.refresher.run();
    world.clerk.run();
    assert_eq!(token(1, Some(&["x"])).of(&world).username(), ALICE);
    // Also a token that tells of no groups, and an older one, find what is known.
    for ask in [token(1, Some(&["x"])), token(2, None), token(3, Some(&["x"])), token(0, Some(&["x"]))] {
        let ask = ask.on_event_loop();
        world.clock.forward(60);
        ask.of(&world);
        world.clerk.run();
        world.users.set_admin(ALICE, true).unwrap();
        world.clock.forward(60);
        assert_eq!(ask.of(&world).refusal(), (503, "provider_pending".to_owned()));
        world.clerk.run();
        assert_eq!(ask.of(&world).username(), ALICE);
        assert_eq!(world.users.is_admin(ALICE), Some(false));
    }
}
