//! Where the claims of a login come from: the ID token, the access token beside it, UserInfo.

use crate::support::{Ask, Browser, Draft, ISSUER, NOW, Signer, World, down, jwk, keys, ok};
use serde_json::{Value, json};

/// An ID token of alice without groups.
pub fn silent() -> Draft {
    let mut draft = Draft::id_token();
    draft.drop("groups");
    draft
}

/// An access token of alice for somebody else, with her groups.
fn access_token(groups: &[&str]) -> Draft {
    let mut draft = Draft::bearer().in_groups(groups);
    draft.set("aud", "account").set("typ", "Bearer").drop("email");
    draft
}

fn access_token_without_groups() -> Draft {
    let mut draft = access_token(&[]);
    draft.drop("groups");
    draft
}

/// A login with this access token; status and code, and how often UserInfo was asked.
fn outcome(world: &World, access_token: &Draft) -> ((u16, String), usize) {
    let mut draft = silent();
    draft.access_token = Some(access_token.token());
    let answered = Browser::default().sign_in(world, draft);
    (answered.outcome(), world.provider.count("/userinfo"))
}

pub fn let_in() -> (u16, String) {
    (302, "no refusal".to_owned())
}

#[test]
fn groups_that_only_the_access_token_has_are_taken_from_it() {
    // Keycloak's default: realm roles are in the access token alone, whose audience is 'account'.
    let world = World::with(&[("OIDC_GROUPS_CLAIM", "realm_access.roles")]);
    let mut token = access_token(&[]);
    token.drop("groups").set("realm_access", json!({"roles": ["offline_access", "MLFLOW_admin"]}));
    assert_eq!(outcome(&world, &token), (let_in(), 0));
    assert_eq!(world.users.is_admin("alice@example.com"), Some(true));
}

/// Several claims are added up, also where each is in a place of its own. Keycloak 20 sends an empty list of groups to somebody who
/// is in none, and the roles of the same person stand in the access token.
#[test]
fn a_second_claim_of_groups_is_read_where_it_is_though_the_first_one_is_there() {
    let world = World::with(&[("OIDC_GROUPS_CLAIM", "groups,realm_access.roles")]);
    let mut token = access_token(&["MLFLOW_admin"]);
    token.set("realm_access", json!({"roles": ["MLFLOW"]}));
    let mut draft = Draft::id_token().in_groups(&[]);
    draft.access_token = Some(token.token());
    assert_eq!(Browser::default().sign_in(&world, draft).outcome(), let_in());
    // The first claim is the ID token's, whatever the other one says under the same name; and nobody else is asked.
    assert_eq!(world.users.is_admin("alice@example.com"), Some(false));
    assert_eq!(world.provider.count("/userinfo"), 0);
}

#[test]
fn a_client_whose_name_has_dots_has_roles_too() {
    let world = World::with(&[("OIDC_GROUPS_CLAIM", "resource_access.my.mlflow.client.roles")]);
    let mut token = access_token(&[]);
    token.drop("groups").set("resource_access", json!({
        "my": {"mlflow": "no object"}, "my.mlflow.client": {"roles": ["MLFLOW"]}, "account": {"roles": ["MLFLOW_admin"]},
    }));
    assert_eq!(outcome(&world, &token), (let_in(), 0));
    assert_eq!(world.users.is_admin("alice@example.com"), Some(false));
}

#[test]
fn what_the_id_token_says_stands_before_what_the_access_token_says() {
    let world = World::new();
    let mut draft = Draft::id_token();
    draft.access_token = Some(access_token(&["MLFLOW_admin"]).token());
    assert_eq!(Browser::default().sign_in(&world, draft).outcome(), let_in());
    assert_eq!(world.users.is_admin("alice@example.com"), Some(false));
    // No groups is an answer, too.
    let mut nobody = Draft::id_token().in_groups(&[]);
    nobody.access_token = Some(access_token(&["MLFLOW_admin"]).token());
    assert_eq!(
        Browser::default().sign_in(&World::new(), nobody).outcome(),
        (403, "group_required".to_owned())
    );
}

#[test]
fn an_access_token_that_proves_nothing_lends_nobody_their_groups() {
    type Spoil = fn(&mut Draft) -> &mut Draft;
    let rows: &[(&str, Spoil)] = &[
        ("of somebody else (token substitution)", |d| d.set("sub", "subject-bob")),
        ("of nobody", |d| d.drop("sub")),
        ("of another issuer", |d| d.set("iss", "https://evil.example")),
        ("of no issuer", |d| d.drop("iss")),
        ("that has expired", |d| d.set("exp", NOW - 61)),
        ("that never expires", |d| d.drop("exp")),
        ("that is not valid yet", |d| d.set("nbf", NOW + 61)),
        ("signed by another key", |d| d.signed(Signer::RsaOther, "RS256", "rsa")),
        ("not signed at all", |d| d.head("alg", "none")),
        ("signed by a password", |d| d.head("alg", "HS256")),
    ];
    for (name, spoil) in rows {
        let world = World::new();
        let mut token = access_token(&["MLFLOW_admin"]);
        spoil(&mut token);
        let fetched = |world: &World| world.provider.count("/keys");
        // The keys are there: a token that is read beside another one causes no fetch.
        Browser::default().sign_in(&world, Draft::id_token().of("zoe"));
        let before = fetched(&world);
        assert_eq!(outcome(&world, &token), ((403, "groups_missing".to_owned()), 1), "{name}");
        assert_eq!(fetched(&world), before, "{name}");
        assert_eq!(world.users.is_admin("alice@example.com"), None, "{name}");
    }
}

/// Keys change without notice, and those of access tokens at another time than those of ID tokens. Whoever had their groups
/// there was demoted and their sessions ended, until the next fetch of the keys.
#[test]
fn a_new_key_of_access_tokens_costs_nobody_their_groups() {
    let world = World::new();
    assert_eq!(outcome(&world, &access_token(&["MLFLOW_admin"])).0, let_in());
    world.clock.forward(1);
    let mut token = access_token(&["MLFLOW_admin"]);
    token.signed(Signer::RsaOther, "RS256", "rsa-new");
    // The provider has it and cannot be asked: nothing is known, and nothing is taken away.
    world.provider.change(|script| script.keys = down());
    assert_eq!(outcome(&world, &token).0, (503, "provider_unreachable".to_owned()));
    assert_eq!(world.users.is_admin("alice@example.com"), Some(true));
    assert_eq!(world.store.sessions().len(), 1);
    let mut set = keys();
    set["keys"].as_array_mut().unwrap().push(jwk(&Signer::RsaOther, "rsa-new"));
    world.provider.change(|script| script.keys = ok(&set));
    world.clock.forward(60);
    assert_eq!(outcome(&world, &token).0, let_in());
    assert_eq!(world.users.is_admin("alice@example.com"), Some(true));
}

/// A key that the provider does not have proves nothing, and it was asked.
#[test]
fn an_access_token_of_a_key_that_the_provider_does_not_have_lends_nothing() {
    let world = World::new();
    let mut token = access_token(&["MLFLOW_admin"]);
    token.head("kid", "unknown");
    assert_eq!(outcome(&world, &token), ((403, "groups_missing".to_owned()), 1));
    assert_eq!(world.users.is_admin("alice@example.com"), None);
}

#[test]
fn a_refusal_says_where_it_was_looked() {
    let world = World::new();
    assert_eq!(outcome(&world, &access_token_without_groups()).0, (403, "groups_missing".to_owned()));
    let text = world.log.text();
    assert!(
        text.contains("no such claim in the ID token or the access token or the UserInfo answer"),
        "{text}"
    );
}

#[test]
fn an_address_of_the_access_token_needs_its_own_word() {
    for (verified, expected) in [(json!(false), "email_unverified"), (json!(true), "no refusal")] {
        let world = World::new();
        let mut draft = Draft::id_token();
        // What the ID token says of an address that it does not name is about no address.
        draft.drop("email").set("email_verified", true);
        let mut token = access_token(&["MLFLOW"]);
        token.set("email", "alice@example.com").set("email_verified", verified);
        draft.access_token = Some(token.token());
        assert_eq!(Browser::default().sign_in(&world, draft).outcome().1, expected);
    }
}

#[test]
fn the_first_name_is_looked_for_everywhere_before_the_second_one_counts() {
    // An ID token that keeps the address for UserInfo must not make another user of somebody than one that has it.
    let world = World::with(&[("OIDC_USERNAME_CLAIM", "email,preferred_username")]);
    let userinfo = json!({"sub": "subject-alice", "email": "alice@example.com", "email_verified": true});
    world.provider.change(|script| script.userinfo = ok(&userinfo));
    let mut draft = Draft::id_token();
    draft.drop("email").set("preferred_username", "ally");
    assert_eq!(Browser::default().sign_in(&world, draft).outcome(), let_in());
    assert_eq!(world.store.identities()[0].username, "alice@example.com");
    // Where nobody has it, the second one does.
    let nobody = World::with(&[("OIDC_USERNAME_CLAIM", "email,preferred_username")]);
    let mut draft = Draft::id_token();
    draft.drop("email").set("preferred_username", "ally");
    assert_eq!(Browser::default().sign_in(&nobody, draft).outcome(), let_in());
    assert_eq!(nobody.store.identities()[0].username, "ally");
}

#[test]
fn a_claim_without_a_value_keeps_nobody_from_being_asked() {
    let world = World::new();
    let userinfo = json!({
        "sub": "subject-alice", "email": "alice@example.com", "email_verified": true, "groups": ["MLFLOW"],
    });
    world.provider.change(|script| script.userinfo = ok(&userinfo));
    let mut draft = Draft::id_token();
    draft.set("groups", Value::Null).set("email", Value::Null).set("email_verified", Value::Null);
    assert_eq!(Browser::default().sign_in(&world, draft).outcome(), let_in());
    // And what has none in the answer is no better: the address would be one that nobody vouched for.
    let silent = World::new();
    silent.provider.change(|script| {
        script.userinfo = ok(&json!({"sub": "subject-alice", "email": null, "groups": null}));
    });
    let mut draft = Draft::id_token();
    draft.set("groups", Value::Null);
    assert_eq!(Browser::default().sign_in(&silent, draft).outcome().1, "groups_missing");
}

#[test]
fn a_token_issued_under_another_name_of_the_provider_is_the_same_person() {
    let world = World::with(&[("OIDC_ISSUER_ALIASES", "https://sts.example/")]);
    Browser::signed_in(&world, Draft::id_token());
    let mut bearer = Draft::bearer();
    bearer.set("iss", "https://sts.example/");
    let ask = Ask::get("/api/2.0/mlflow/experiments/search").bearer(&bearer.token());
    assert_eq!(ask.of(&world).username(), "alice@example.com");
    let rows = world.store.identities();
    assert_eq!((rows.len(), rows[0].issuer.as_str()), (1, ISSUER));
}
