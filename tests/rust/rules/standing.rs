//! The newest word of the provider counts: a lost membership ends sessions, and an old token brings nothing back.

use crate::support::{Ask, Browser, Draft, NOW, World};
use mlflow_oidc::ports::StoreFault;
use serde_json::json;

const ALICE: &str = "alice@example.com";

/// A bearer of alice, issued so many seconds ago, with these groups.
fn token(age: i64, groups: &[&str]) -> Ask {
    let mut draft = Draft::bearer().in_groups(groups);
    draft.set("iat", NOW - age).set("exp", NOW + 100_000);
    Ask::get("/api/x").bearer(&draft.token())
}

fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn a_lost_membership_ends_the_sessions_and_takes_the_flag() {
    for by_login in [true, false] {
        let world = World::new();
        let mut browser = Browser::signed_in(&world, Draft::id_token().in_groups(&["MLFLOW_admin"]));
        assert_eq!(world.users.is_admin(ALICE), Some(true));
        world.clock.forward(1);
        let answered = if by_login {
            let mut out = Draft::id_token().in_groups(&[]);
            out.set("iat", NOW + 1);
            Browser::default().sign_in(&world, out)
        } else {
            let mut out = Draft::bearer().in_groups(&["OTHER"]);
            out.set("iat", NOW + 1);
            Ask::get("/api/x").bearer(&out.token()).of(&world)
        };
        assert_eq!(answered.refusal(), refusal(403, "group_required"));
        assert_eq!(world.users.is_admin(ALICE), Some(false));
        assert!(world.store.sessions().is_empty(), "no session of theirs is left");
        assert_eq!(browser.send(&world, Ask::get("/api/x")).refusal(), refusal(401, "session_ended"));
        assert_eq!(browser.send(&world, Ask::get("/oidc/session")).code(), "session_ended");
    }
}

/// Keycloak 26 leaves the claim out for somebody who is in no group. A login has asked everywhere there is, so what it is told
/// nowhere is no membership; an access token of another client may lack the claim for its own reasons, and says nothing.
#[test]
fn a_login_that_is_told_of_no_groups_anywhere_ends_what_the_groups_gave() {
    let without_groups = || {
        let mut draft = Draft::id_token();
        draft.drop("groups").set("iat", NOW + 1);
        draft
    };
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token().in_groups(&["MLFLOW_admin"]));
    world.clock.forward(1);
    let answered = Browser::default().sign_in(&world, without_groups());
    assert_eq!(answered.refusal(), refusal(403, "groups_missing"));
    assert_eq!(world.users.is_admin(ALICE), Some(false));
    assert_eq!(browser.send(&world, Ask::get("/api/x")).refusal(), refusal(401, "session_ended"));

    // Where everybody may come in, the login succeeds, and makes no administrator of whoever was one.
    let open = World::with(&[("OIDC_USER_GROUP", ""), ("OIDC_ADMIN_GROUP", "root")]);
    Browser::signed_in(&open, Draft::id_token().in_groups(&["root"]));
    assert_eq!(open.users.is_admin(ALICE), Some(true));
    open.clock.forward(1);
    let mut referred = without_groups();
    referred.set("_claim_names", json!({"groups": "src1"}));
    Browser::signed_in(&open, referred);
    assert_eq!(open.users.is_admin(ALICE), Some(true), "too many groups for a token are not none");
    Browser::signed_in(&open, without_groups());
    assert_eq!(open.users.is_admin(ALICE), Some(false));
}

#[test]
fn a_lost_membership_that_cannot_be_written_is_no_answer() {
    let world = World::new();
    Browser::signed_in(&world, Draft::id_token());
    let mut browser = Browser::default();
    let asked = browser.begin(&world, "/");
    let mut silent = Draft::id_token();
    silent.drop("groups").set("iat", NOW + 1);
    world.clock.forward(1);
    world.store.fail(Some(StoreFault::Busy));
    let answered = browser.come_back(&world, &asked, &mut silent);
    assert_eq!(answered.refusal(), refusal(503, "database_unavailable"));
}

#[test]
fn a_lost_membership_reaches_the_other_workers() {
    let one = World::new();
    let other = one.beside(&[]);
    let mut browser = Browser::signed_in(&one, Draft::id_token());
    assert_eq!(browser.send(&other, Ask::get("/api/x")).username(), ALICE);
    token(-1, &[]).of(&one);
    other.clock.forward(5);
    assert_eq!(browser.send(&other, Ask::get("/api/x")).code(), "session_ended");
}

#[test]
fn an_older_token_brings_no_membership_back() {
    let world = World::new();
    assert_eq!(token(100, &["MLFLOW_admin"]).of(&world).username(), ALICE);
    assert_eq!(token(10, &["OTHER"]).of(&world).refusal(), refusal(403, "group_required"));
    for seconds in [0, 60] {
        world.clock.forward(seconds);
        let answered = token(100, &["MLFLOW_admin"]).of(&world);
        assert_eq!(answered.refusal(), refusal(403, "group_required"), "after {seconds} s");
        assert_eq!(world.users.is_admin(ALICE), Some(false));
    }
    assert_eq!(token(5, &["MLFLOW"]).of(&world).username(), ALICE, "a newer one does");
}

#[test]
fn an_older_token_neither_gives_nor_takes_the_flag() {
    let world = World::new();
    assert_eq!(token(10, &["MLFLOW"]).of(&world).username(), ALICE);
    assert_eq!(token(100, &["MLFLOW_admin"]).of(&world).username(), ALICE);
    assert_eq!(world.users.is_admin(ALICE), Some(false));
    assert_eq!(token(5, &["MLFLOW_admin"]).of(&world).username(), ALICE);
    assert_eq!(token(100, &["MLFLOW"]).of(&world).username(), ALICE);
    assert_eq!(world.users.is_admin(ALICE), Some(true));
    assert_eq!(world.store.identities()[0].told_at, NOW - 5);
}

#[test]
fn a_token_that_does_not_say_when_is_the_oldest() {
    let world = World::new();
    let mut undated = Draft::bearer().in_groups(&["MLFLOW_admin"]);
    undated.drop("iat");
    let undated = Ask::get("/api/x").bearer(&undated.token());
    assert_eq!(undated.of(&world).username(), ALICE, "better than nothing");
    assert_eq!(world.users.is_admin(ALICE), Some(true));
    token(100, &["MLFLOW"]).of(&world);
    assert_eq!(undated.of(&world).username(), ALICE);
    assert_eq!(world.users.is_admin(ALICE), Some(false));
}

#[test]
fn tokens_of_one_second_are_believed_as_they_come() {
    let world = World::new();
    for (groups, is_admin) in [(&["MLFLOW"][..], false), (&["MLFLOW_admin"], true), (&["MLFLOW"], false)] {
        token(0, groups).of(&world);
        assert_eq!(world.users.is_admin(ALICE), Some(is_admin), "{groups:?}");
    }
}

#[test]
fn a_token_without_groups_ends_no_session() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    let mut silent = Draft::bearer();
    silent.drop("groups").set("iat", NOW);
    let answered = Ask::get("/api/x").bearer(&silent.token()).of(&world);
    assert_eq!(answered.refusal(), refusal(403, "groups_missing"));
    world.clock.forward(60);
    assert_eq!(browser.send(&world, Ask::get("/api/x")).username(), ALICE);
}

#[test]
fn what_a_stranger_is_refused_leaves_no_row() {
    let world = World::new();
    assert_eq!(token(0, &["OTHER"]).of(&world).code(), "group_required");
    assert!(world.store.identities().is_empty() && world.users.all().is_empty());
}

#[test]
fn a_local_administrator_keeps_the_flag_when_the_identity_leaves() {
    let world = World::with(&[("OIDC_LINK_EXISTING_USERS", "true")]);
    world.users.add_local(ALICE, true);
    assert_eq!(token(100, &["MLFLOW_admin"]).of(&world).username(), ALICE);
    assert_eq!(token(10, &["OTHER"]).of(&world).code(), "group_required");
    assert_eq!(world.users.is_admin(ALICE), Some(true), "no login ever takes it from MLflow's own");
    assert_eq!(token(100, &["MLFLOW_admin"]).of(&world).code(), "group_required");
}

#[test]
fn an_account_made_anew_with_a_password_is_somebody_elses() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    world.users.remove(ALICE);
    world.users.add_local(ALICE, false);
    world.clock.forward(60);
    assert_eq!(token(0, &["MLFLOW"]).of(&world).refusal(), refusal(403, "username_taken"));
    let login = Browser::default().sign_in(&world, Draft::id_token());
    assert_eq!(login.refusal(), refusal(403, "username_taken"));
    assert_eq!(browser.send(&world, Ask::get("/api/x")).refusal(), refusal(401, "session_ended"));
    for ask in [Ask::get("/"), Ask::post("/v1/traces").on_event_loop()] {
        assert_eq!(
            ask.with_right_password(&world, ALICE).username(),
            ALICE,
            "the new owner's password is good"
        );
    }
}

#[test]
fn an_account_made_anew_ends_the_sessions_before_anybody_says_so() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    world.users.remove(ALICE);
    world.users.add_local(ALICE, false);
    world.clock.forward(5);
    assert_eq!(browser.send(&world, Ask::get("/api/x")).refusal(), refusal(401, "session_ended"));
    assert_eq!(Ask::get("/").with_right_password(&world, ALICE).username(), ALICE);
}

#[test]
fn no_number_of_an_account_is_given_away_twice() {
    // SQLite gives the number of a removed row to the next one.
    let world = World::new();
    let mut numbers = std::collections::BTreeSet::new();
    for _ in 0..5 {
        world.clock.forward(60);
        assert_eq!(token(0, &["MLFLOW"]).of(&world).username(), ALICE);
        let number = world.users.all()[ALICE].id;
        assert!(number > 1_000_000 && numbers.insert(number), "{number} after {numbers:?}");
        assert_eq!(world.store.identities()[0].user_id, number);
        world.users.remove(ALICE);
    }
}

#[test]
fn an_account_made_anew_as_administrator_is_neither_taken_nor_demoted() {
    let world = World::new();
    assert_eq!(token(100, &["MLFLOW"]).of(&world).username(), ALICE);
    world.users.remove(ALICE);
    world.users.add_local(ALICE, true);
    world.clock.forward(60);
    assert_eq!(token(0, &["MLFLOW"]).of(&world).refusal(), refusal(403, "account_protected"));
    assert_eq!(token(-1, &["OTHER"]).of(&world).refusal(), refusal(403, "group_required"));
    assert_eq!(world.users.is_admin(ALICE), Some(true));
}

#[test]
fn an_account_of_a_login_stays_one_when_a_password_is_set_for_it() {
    let world = World::new();
    assert_eq!(token(100, &["MLFLOW_admin"]).of(&world).username(), ALICE);
    world.users.set_password(ALICE);
    world.clock.forward(60);
    assert_eq!(token(0, &["MLFLOW"]).of(&world).username(), ALICE);
    assert_eq!(world.users.is_admin(ALICE), Some(false), "the flag goes on following the group");
    let password = Ask::get("/").with_right_password(&world, ALICE);
    assert_eq!(password.refusal(), refusal(401, "account_without_password"));
}

#[test]
fn a_token_kept_from_between_two_others_changes_nothing() {
    for on_event_loop in [false, true] {
        let world = World::new();
        world.refresher.run();
        world.clerk.run();
        let show = |ask: Ask| {
            let ask = if on_event_loop { ask.on_event_loop() } else { ask };
            let mut answered = ask.of(&world).outcome();
            // On the event loop what is to be written is an errand.
            world.clerk.run();
            if answered.0 == 503 {
                answered = ask.of(&world).outcome();
            }
            assert_eq!(answered.0, 200, "{answered:?}");
            world.clock.forward(10);
        };
        show(token(300, &["MLFLOW"]));
        show(token(100, &["MLFLOW"]));
        show(token(200, &["MLFLOW_admin"]));
        assert_eq!(world.users.is_admin(ALICE), Some(false), "on the event loop: {on_event_loop}");
        show(token(50, &["MLFLOW_admin"]));
        assert_eq!(world.users.is_admin(ALICE), Some(true));
    }
}

#[test]
fn a_token_from_the_future_does_not_outrank_the_next_ones() {
    // Within the skew the provider's clock may be ahead; what it says a moment later counts all the same.
    let world = World::new();
    assert_eq!(token(-50, &["MLFLOW_admin"]).of(&world).username(), ALICE);
    world.clock.forward(1);
    assert_eq!(token(-1, &["MLFLOW"]).of(&world).username(), ALICE);
    assert_eq!(world.users.is_admin(ALICE), Some(false));
}

#[test]
fn what_is_told_of_a_session_is_the_newest() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    token(-1, &["MLFLOW_admin", "x"]).of(&world);
    world.clock.forward(5);
    let json = browser.open(&world, "/oidc/session").json();
    assert_eq!((&json["is_admin"], &json["groups"]), (&json!(true), &json!(["MLFLOW_admin", "x"])));
}

#[test]
fn an_older_token_does_not_give_the_flag_back_while_a_newer_one_takes_it() {
    let world = World::new();
    assert_eq!(token(100, &["MLFLOW_admin"]).of(&world).username(), ALICE);
    world.clock.forward(5);
    let (app, newest) = (std::sync::Arc::clone(&world.app), token(10, &["MLFLOW"]));
    world.store.meanwhile(move || {
        app.decide(&newest.request());
    });
    world.app.decide(&token(50, &["MLFLOW_admin"]).request());
    assert_eq!(world.store.identities()[0].told_at, NOW - 10);
    assert_eq!(world.users.is_admin(ALICE), Some(false));
}
