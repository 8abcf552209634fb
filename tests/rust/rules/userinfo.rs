//! Claims that the ID token does not carry are asked for, once, with the access token beside it.

use crate::support::{Browser, Draft, World, answer, down, metadata, ok};
use serde_json::{Value, json};

/// An ID token without these claims.
fn without(claims: &[&str]) -> Draft {
    let mut draft = Draft::id_token();
    for claim in claims {
        draft.drop(claim);
    }
    draft
}

fn world(userinfo: &Value) -> World {
    let world = World::new();
    world.provider.change(|script| script.userinfo = ok(userinfo));
    world
}

/// Status and code of a login, and how often the endpoint was asked.
fn outcome(world: &World, draft: Draft) -> ((u16, String), usize) {
    let answered = Browser::default().sign_in(world, draft);
    (answered.outcome(), world.provider.count("/userinfo"))
}

#[test]
fn what_the_id_token_does_not_say_is_asked_for() {
    let world = world(&json!({
        "sub": "subject-alice", "email": "alice@example.com", "email_verified": true, "groups": ["MLFLOW"],
    }));
    let mut browser = Browser::signed_in(&world, without(&["email", "email_verified", "groups"]));
    assert_eq!(browser.open(&world, "/oidc/session").json()["groups"], json!(["MLFLOW"]));
    let asked = world.provider.asked();
    let request = asked.iter().find(|request| request.url.ends_with("/userinfo")).unwrap();
    // OpenID Connect Core section 5.3.1: the token is in the header, never in the address.
    assert_eq!(request.authorization.as_ref().unwrap().expose(), "Bearer opaque-access-token");
    assert!(request.form.is_none());
    assert!(!request.url.contains("opaque"));
}

#[test]
fn nobody_is_asked_when_the_id_token_says_all_that_decides() {
    let world =
        world(&json!({"sub": "subject-alice", "groups": ["MLFLOW_admin"], "email": "root@example.com"}));
    assert_eq!(outcome(&world, Draft::id_token()).1, 0);
    assert_eq!(world.users.is_admin("alice@example.com"), Some(false));
    // Without a group that decides nobody needs groups.
    let open = World::with(&[("OIDC_USER_GROUP", "")]);
    assert_eq!(outcome(&open, without(&["groups"])), ((302, "no refusal".to_owned()), 0));
    // An administrators' group alone is reason to ask.
    let admins = World::with(&[("OIDC_USER_GROUP", ""), ("OIDC_ADMIN_GROUP", "root")]);
    admins
        .provider
        .change(|script| script.userinfo = ok(&json!({"sub": "subject-alice", "groups": ["root"]})));
    assert_eq!(outcome(&admins, without(&["groups"])), ((302, "no refusal".to_owned()), 1));
    assert_eq!(admins.users.is_admin("alice@example.com"), Some(true));
}

#[test]
fn a_provider_without_such_a_place_or_without_an_access_token_is_asked_nothing() {
    let nowhere = World::new();
    let mut document = metadata();
    document.as_object_mut().unwrap().remove("userinfo_endpoint");
    nowhere.provider.change(|script| script.metadata = ok(&document));
    assert_eq!(outcome(&nowhere, without(&["groups"])).0, (403, "groups_missing".to_owned()));

    let world = world(&json!({"sub": "subject-alice", "groups": ["MLFLOW"]}));
    let mut draft = without(&["groups"]);
    draft.access_token = None;
    assert_eq!(outcome(&world, draft), ((403, "groups_missing".to_owned()), 0));
}

#[test]
fn what_the_id_token_says_stands() {
    // The answer is not signed: it may add, and never change.
    let world = world(&json!({
        "sub": "subject-alice", "groups": ["MLFLOW"], "email": "admin@example.com", "iss": "https://evil.example",
        "aud": "other", "exp": 1, "iat": 1,
    }));
    assert_eq!(outcome(&world, without(&["groups"])), ((302, "no refusal".to_owned()), 1));
    assert_eq!(world.users.is_admin("alice@example.com"), Some(false));
    assert_eq!(world.users.is_admin("admin@example.com"), None);
    assert_eq!(world.store.identities()[0].told_at, crate::support::NOW);
}

#[test]
fn an_address_and_whether_it_was_verified_come_from_one_place() {
    // 'verified' in the ID token is about an address there, not about one that somebody else names.
    let unverified =
        world(&json!({"sub": "subject-alice", "email": "a@example.com", "email_verified": false}));
    assert_eq!(outcome(&unverified, without(&["email"])).0, (403, "email_unverified".to_owned()));
    let other = world(&json!({"sub": "subject-alice", "email_verified": false, "groups": ["MLFLOW"]}));
    assert_eq!(outcome(&other, without(&["groups"])).0, (302, "no refusal".to_owned()));
    // Where the ID token names an address and not whether it was verified, the word about that very address counts.
    for (address, outcome_of) in
        [("alice@example.com", (403, "email_unverified")), ("other@example.com", (302, "no refusal"))]
    {
        let answer = json!({
            "sub": "subject-alice", "email": address, "email_verified": false, "groups": ["MLFLOW"],
        });
        let silent = without(&["groups", "email_verified"]);
        let found = outcome(&world(&answer), silent).0;
        assert_eq!((found.0, found.1.as_str()), outcome_of, "{address}");
    }
}

#[test]
fn an_answer_about_somebody_else_lends_nobody_their_groups() {
    for sub in [json!("subject-bob"), json!("SUBJECT-ALICE"), json!(""), json!(1), Value::Null] {
        let world = world(&json!({"sub": sub, "groups": ["MLFLOW_admin"]}));
        let found = outcome(&world, without(&["groups"]));
        assert_eq!(found, ((502, "userinfo_subject".to_owned()), 1), "{sub}");
        assert!(world.users.all().is_empty() && world.store.sessions().is_empty());
    }
    let nobody = world(&json!({"groups": ["MLFLOW_admin"]}));
    assert_eq!(outcome(&nobody, without(&["groups"])).0, (502, "userinfo_subject".to_owned()));
}

#[test]
fn answers_that_are_none_are_the_providers_fault() {
    let rows = [
        (answer(401, "application/json", "{}"), 502, "provider_error"),
        (answer(500, "text/html", "<h1>oops</h1>"), 502, "provider_error"),
        (answer(200, "text/html", "<html>log in</html>"), 502, "provider_answer"),
        (answer(200, "application/jwt", "eyJhbGciOiJub25lIn0.e30."), 502, "provider_answer"),
        (answer(200, "application/json", "[]"), 502, "provider_answer"),
        (answer(200, "application/json", r#"{"sub":"x","sub":"subject-alice"}"#), 502, "provider_answer"),
        (down(), 503, "provider_unreachable"),
    ];
    for (script_answer, status, code) in rows {
        let world = World::new();
        let label = format!("{script_answer:?}");
        world.provider.change(|script| script.userinfo = script_answer);
        assert_eq!(outcome(&world, without(&["groups"])).0, (status, code.to_owned()), "{label}");
        assert!(world.store.sessions().is_empty());
    }
}

#[test]
fn a_path_of_the_id_token_is_not_read_in_a_mixture_of_both() {
    // A user who may set a claim of that literal name at the provider would have chosen their own roles.
    let world = World::with(&[("OIDC_GROUPS_CLAIM", "realm_access.roles, groups")]);
    world.provider.change(|script| {
        script.userinfo = ok(&json!({
            "sub": "subject-alice", "email": "alice@example.com", "realm_access.roles": ["MLFLOW_admin"],
            "realm_access": {"roles": ["MLFLOW_admin"]}, "anything": "else",
        }));
    });
    let mut draft = without(&["email", "groups"]);
    draft.set("realm_access", json!({"roles": ["MLFLOW"]}));
    assert_eq!(outcome(&world, draft), ((302, "no refusal".to_owned()), 1));
    assert_eq!(world.users.is_admin("alice@example.com"), Some(false));
    assert_eq!(world.store.identities()[0].groups, Some(vec!["MLFLOW".to_owned()]));
}
