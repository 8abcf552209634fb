//! The provider ends sessions by itself, and nobody else does.

use crate::support::{Ask, Browser, Draft, World, down};
use mlflow_oidc::ports::StoreFault;
use serde_json::json;

fn post(world: &World, token: &str) -> (u16, String) {
    let form = format!("logout_token={token}");
    let answered = Ask::post("/oidc/backchannel-logout").body(&form).of(world);
    assert!(answered.header("Set-Cookie").is_none());
    if answered.status() == 200 {
        assert_eq!(answered.body(), "");
        return (200, String::new());
    }
    answered.refusal()
}

fn signed_in(world: &World, name: &str, sid: Option<&str>) -> Browser {
    let mut draft = Draft::id_token().of(name);
    if let Some(sid) = sid {
        draft.set("sid", sid);
    }
    Browser::signed_in(world, draft)
}

fn is_in(world: &World, browser: &mut Browser) -> bool {
    browser.send(world, Ask::get("/oidc/session")).status() == 200
}

#[test]
fn a_session_of_the_provider_ends_here_and_no_other_does() {
    let world = World::new();
    let mut desk = signed_in(&world, "alice", Some("desk"));
    let mut phone = signed_in(&world, "alice", Some("phone"));
    let mut bob = signed_in(&world, "bob", Some("bobs"));
    let mut token = Draft::logout_token();
    token.set("sid", "desk");
    assert!(is_in(&world, &mut desk));
    assert_eq!(post(&world, &token.token()).0, 200);
    // At once on the worker that was told, remembered or not.
    assert!(!is_in(&world, &mut desk));
    assert!(is_in(&world, &mut phone));
    assert!(is_in(&world, &mut bob));
    // A second time there is nothing left to end, which is no fault (section 2.7).
    assert_eq!(post(&world, &token.token()).0, 200);
}

#[test]
fn without_a_sid_every_session_of_the_subject_ends() {
    let world = World::new();
    let mut desk = signed_in(&world, "alice", Some("desk"));
    let mut old = signed_in(&world, "alice", None);
    let mut bob = signed_in(&world, "bob", None);
    let mut token = Draft::logout_token();
    token.drop("sid");
    assert_eq!(post(&world, &token.token()).0, 200);
    assert!(!is_in(&world, &mut desk) && !is_in(&world, &mut old));
    assert!(is_in(&world, &mut bob));
}

#[test]
fn a_session_whose_provider_id_is_not_known_ends_with_any_of_its_subject() {
    let world = World::new();
    let mut unnamed = signed_in(&world, "alice", None);
    let mut phone = signed_in(&world, "alice", Some("phone"));
    let mut bob = signed_in(&world, "bob", None);
    assert_eq!(post(&world, &Draft::logout_token().token()).0, 200);
    assert!(!is_in(&world, &mut unnamed));
    assert!(is_in(&world, &mut phone) && is_in(&world, &mut bob));
    // A sid alone names nobody, so only the session of that very id ends.
    let mut token = Draft::logout_token();
    token.drop("sub").set("sid", "phone");
    assert_eq!(post(&world, &token.token()).0, 200);
    assert!(!is_in(&world, &mut phone));
    assert!(is_in(&world, &mut bob));
}

#[test]
fn another_worker_follows_within_the_cache_seconds() {
    let world = World::new();
    let other = world.beside(&[]);
    let mut browser = signed_in(&world, "alice", Some("provider-session"));
    assert!(is_in(&other, &mut browser));
    assert_eq!(post(&world, &Draft::logout_token().token()).0, 200);
    other.clock.forward(5);
    assert!(!is_in(&other, &mut browser));
}

#[test]
fn a_logout_token_is_good_for_two_minutes_with_or_without_an_end() {
    for (has_end, seconds, status) in
        [(true, 179, 200), (true, 180, 400), (false, 179, 200), (false, 180, 400)]
    {
        let world = World::new();
        let mut browser = signed_in(&world, "alice", Some("provider-session"));
        let mut token = Draft::logout_token();
        if !has_end {
            token.drop("exp");
        }
        world.clock.forward(seconds);
        assert_eq!(post(&world, &token.token()).0, status, "{has_end} {seconds}");
        assert_eq!(is_in(&world, &mut browser), status != 200);
    }
}

#[test]
fn a_logout_token_may_be_written_in_several_ways() {
    let ways: [fn(&mut Draft); 9] = [
        |d| {
            d.header.remove("typ");
        },
        |d| {
            d.head("typ", "JWT");
        },
        |d| {
            d.head("typ", "LOGOUT+JWT");
        },
        |d| {
            d.head("typ", "application/logout+jwt");
        },
        |d| {
            d.set("aud", json!(["other-client", "mlflow"]));
        },
        |d| {
            d.set("nbf", crate::support::NOW);
        },
        |d| {
            d.signed(crate::support::Signer::P256, "ES256", "p256");
        },
        |d| {
            let event = "http://schemas.openid.net/event/backchannel-logout";
            d.set("events", json!({"urn:example:more": 1, event: {"more": true}}));
        },
        |d| {
            d.drop("sid");
        },
    ];
    for (number, way) in ways.iter().enumerate() {
        let world = World::new();
        let mut browser = signed_in(&world, "alice", Some("provider-session"));
        let mut token = Draft::logout_token();
        way(&mut token);
        assert_eq!(post(&world, &token.token()).0, 200, "{number}");
        assert!(!is_in(&world, &mut browser), "{number}");
    }
}

#[test]
fn a_worker_that_has_just_started_makes_its_tables_first() {
    let world = World::new();
    assert_eq!(post(&world, &Draft::logout_token().token()).0, 200);
    assert_eq!(world.store.patient.all(), ["prepare", "remove_ended"]);
}

#[test]
fn a_form_with_no_token_or_with_several_is_refused() {
    let world = World::new();
    let mut browser = signed_in(&world, "alice", Some("provider-session"));
    let token = Draft::logout_token().token();
    for form in [
        String::new(),
        "logout_token=".to_owned(),
        token.clone(),
        format!("logout_token={token}&logout_token={token}"),
    ] {
        let answered = Ask::post("/oidc/backchannel-logout").body(&form).of(&world);
        assert_eq!(answered.refusal(), (400, "token_malformed".to_owned()), "{form}");
        let said = answered.json();
        assert_eq!(said["error"], "invalid_request");
        assert!(!answered.body().contains(&token[..20]));
    }
    let empty = Ask::post("/oidc/backchannel-logout").of(&world);
    assert_eq!(empty.refusal(), (400, "token_malformed".to_owned()));
    // In the query it would stand in access logs, and the provider never puts it there.
    let query = Ask::post(&format!("/oidc/backchannel-logout?logout_token={token}")).of(&world);
    assert_eq!(query.refusal(), (400, "token_malformed".to_owned()));
    assert!(is_in(&world, &mut browser));
    assert_eq!(Ask::get("/oidc/backchannel-logout").of(&world).refusal().0, 405);
}

#[test]
fn tokens_of_other_kinds_end_nothing() {
    let world = World::new();
    let mut browser = signed_in(&world, "alice", Some("provider-session"));
    let mut id_token = Draft::id_token();
    id_token.set("nonce", "n").set("sid", "provider-session");
    for token in [Draft::bearer().token(), id_token.token()] {
        assert_eq!(post(&world, &token), (400, "token_type".to_owned()));
    }
    assert!(is_in(&world, &mut browser));
    // And a logout token is no key to anything.
    assert_eq!(Ask::get("/").bearer(&Draft::logout_token().token()).of(&world).code(), "token_type");
}

#[test]
fn what_cannot_be_asked_now_is_no_400() {
    let down_from_the_start = World::new();
    down_from_the_start.provider.go_down();
    let token = Draft::logout_token().token();
    assert_eq!(post(&down_from_the_start, &token), (503, "provider_unreachable".to_owned()));

    let world = World::new();
    let mut browser = signed_in(&world, "alice", Some("provider-session"));
    world.store.fail(Some(StoreFault::Busy));
    assert_eq!(post(&world, &token), (503, "database_unavailable".to_owned()));
    world.store.fail(None);
    assert!(is_in(&world, &mut browser), "nothing was ended, and nobody was told so");
    assert_eq!(post(&world, &token).0, 200);
}

#[test]
fn a_strangers_token_costs_the_provider_nothing() {
    let world = World::new();
    world.provider.change(|script| script.keys = down());
    let mut stranger = Draft::logout_token();
    stranger.set("iss", json!("https://evil.example"));
    assert_eq!(post(&world, &stranger.token()), (400, "token_issuer".to_owned()));
    assert!(world.provider.asked().is_empty());
}

#[test]
fn where_people_are_known_by_another_claim_only_the_name_of_a_session_ends_it() {
    let world = World::with(&[("OIDC_SUBJECT_CLAIM", "oid")]);
    let mut draft = Draft::id_token();
    draft.set("oid", "person-1").set("sid", "desk");
    let mut desk = Browser::signed_in(&world, draft);
    assert_eq!(world.store.identities()[0].subject, "person-1");
    // A logout token knows no 'oid': 200 here would be a logout that ends nothing.
    let mut by_subject = Draft::logout_token();
    by_subject.drop("sid");
    assert_eq!(post(&world, &by_subject.token()), (400, "token_subject".to_owned()));
    assert!(is_in(&world, &mut desk));
    let mut by_session = Draft::logout_token();
    by_session.set("sid", "desk");
    assert_eq!(post(&world, &by_session.token()).0, 200);
    assert!(!is_in(&world, &mut desk));
}
