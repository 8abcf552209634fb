//! Where the claims of a login come from: the ID token, the access token beside it, UserInfo, Microsoft Graph.

use crate::support::{
    Browser, Draft, ISSUER, NOW, Signer, World, answer, down, jwk, keys, metadata, ok, spoilt,
};
use serde_json::{Value, json};

/// An ID token of alice without groups.
fn silent() -> Draft {
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

fn let_in() -> (u16, String) {
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

/// A provider with Microsoft Graph beside it, which answers so at its first page.
fn graph_world(settings: &[(&str, &str)], first: crate::support::Answer) -> World {
    let world = World::with(settings);
    let mut document = metadata();
    document["msgraph_host"] = json!("graph.example");
    world.provider.change(|script| {
        script.metadata = ok(&document);
        script.elsewhere.insert(FIRST.to_owned(), first);
    });
    world
}

const FIRST: &str = "https://graph.example/v1.0/me/transitiveMemberOf?$select=id&$top=999";

fn page(groups: &[&str], next: Option<&str>) -> Value {
    let entries: Vec<_> =
        groups.iter().map(|id| json!({"@odata.type": "#microsoft.graph.group", "id": id})).collect();
    match next {
        Some(next) => json!({"value": entries, "@odata.nextLink": next}),
        None => json!({"value": entries}),
    }
}

/// An ID token that only refers to the groups.
fn referring() -> Draft {
    let mut draft = silent();
    draft.set("_claim_names", json!({"groups": "src1"}));
    draft
}

#[test]
fn groups_without_room_in_the_token_are_asked_of_graph() {
    let next = "https://graph.example/v1.0/me/x?$skiptoken=2";
    let world = graph_world(&[], ok(&page(&["a"], Some(next))));
    world
        .provider
        .change(|script| drop(script.elsewhere.insert(next.to_owned(), ok(&page(&["MLFLOW"], None)))));
    assert_eq!(Browser::default().sign_in(&world, referring()).outcome(), let_in());
    assert_eq!(world.store.identities()[0].groups, Some(vec!["MLFLOW".to_owned(), "a".to_owned()]));
    // Graph was asked, with the access token in the header; UserInfo had nothing to add.
    let asked = world.provider.asked();
    let first = asked.iter().find(|request| request.url == FIRST).unwrap();
    assert_eq!(first.authorization.as_ref().unwrap().expose(), "Bearer opaque-access-token");
    assert_eq!(world.provider.count("/userinfo"), 0);
}

#[test]
fn groups_in_the_token_are_never_asked_of_graph() {
    let world = graph_world(&[], ok(&page(&["MLFLOW_admin"], None)));
    let mut draft = referring();
    draft.set("groups", json!(["MLFLOW"]));
    assert_eq!(Browser::default().sign_in(&world, draft).outcome(), let_in());
    assert_eq!(world.provider.count("$top=999"), 0);
    assert_eq!(world.users.is_admin("alice@example.com"), Some(false));
}

/// Several claims are added up: application roles in the token are not all of somebody's groups.
#[test]
fn groups_without_room_beside_roles_that_have_it_are_asked_of_graph_too() {
    let settings =
        [("OIDC_GROUPS_CLAIM", "groups,roles"), ("OIDC_USER_GROUP", "reader"), ("OIDC_ADMIN_GROUP", "root")];
    let world = graph_world(&settings, ok(&page(&["root"], None)));
    let mut draft = referring();
    draft.set("roles", json!(["reader"]));
    assert_eq!(Browser::default().sign_in(&world, draft).outcome(), let_in());
    assert_eq!(world.users.is_admin("alice@example.com"), Some(true));
    assert_eq!(world.provider.count("$top=999"), 1);
    // Where Graph does not tell, the roles count alone.
    let silent = graph_world(&settings, answer(403, "application/json", "{}"));
    let mut draft = referring();
    draft.set("roles", json!(["reader"]));
    assert_eq!(Browser::default().sign_in(&silent, draft).outcome(), let_in());
    assert_eq!(silent.users.is_admin("alice@example.com"), Some(false));
}

#[test]
fn the_access_token_is_never_sent_anywhere_else() {
    for elsewhere in [
        "https://evil.example/v1.0/me",
        "https://graph.example.evil.example/v1.0/me",
        "https://graph.example@evil.example/",
        "http://graph.example/v1.0/me",
    ] {
        let world = graph_world(&[], ok(&page(&["MLFLOW"], Some(elsewhere))));
        let found = Browser::default().sign_in(&world, referring()).outcome();
        assert_eq!(found, (502, "provider_answer".to_owned()), "{elsewhere}");
        assert!(world.provider.asked().iter().all(|request| !request.url.contains("evil")));
        assert!(world.provider.asked().iter().all(|request| !request.url.starts_with("http://")));
    }
}

/// A firewall that lets nothing through to Graph: whoever is in too many groups does not get in, and everybody else does.
#[test]
fn a_graph_that_does_not_answer_shuts_the_door_on_nobody_else() {
    let world = graph_world(&[], down());
    let found = Browser::default().sign_in(&world, referring()).outcome();
    assert_eq!(found, (503, "provider_unreachable".to_owned()));
    assert_eq!(Browser::default().sign_in(&world, Draft::id_token().of("bob")).outcome(), let_in());
    // Those who need it do not wait for it one after the other, and ask again after a while.
    assert_eq!(Browser::default().sign_in(&world, referring()).outcome(), found);
    assert_eq!(world.provider.count("$top=999"), 1);
    world.clock.forward(30);
    let answers = ok(&page(&["MLFLOW"], None));
    world.provider.change(|script| drop(script.elsewhere.insert(FIRST.to_owned(), answers)));
    assert_eq!(Browser::default().sign_in(&world, referring()).outcome(), let_in());
}

/// Entra ID's UserInfo is at Microsoft Graph, too, and is asked for everybody without a role.
#[test]
fn a_userinfo_elsewhere_that_does_not_answer_shuts_the_door_on_nobody_else() {
    let world = World::new();
    let mut document = metadata();
    document["userinfo_endpoint"] = json!("https://graph.example/oidc/userinfo");
    world.provider.change(|script| {
        script.metadata = ok(&document);
        script.elsewhere.insert("https://graph.example/oidc/userinfo".to_owned(), down());
    });
    let found = Browser::default().sign_in(&world, silent()).outcome();
    assert_eq!(found, (503, "provider_unreachable".to_owned()));
    assert_eq!(Browser::default().sign_in(&world, Draft::id_token().of("bob")).outcome(), let_in());
}

/// One answer of Graph that cannot be used is the matter of one login.
#[test]
fn a_graph_that_answers_nonsense_is_asked_by_the_next_one() {
    let world = graph_world(&[], spoilt());
    for asked in 1..=2 {
        let found = Browser::default().sign_in(&world, referring()).outcome();
        assert_eq!(found.0, 503, "{found:?}");
        assert_eq!(world.provider.count("$top=999"), asked);
    }
}

/// A thread of MLflow's waits meanwhile, and one of the places for logins: pages that trickle would hold them.
#[test]
fn all_pages_together_take_no_longer_than_one_answer_may() {
    let next = "https://graph.example/v1.0/me/x?$skiptoken=2";
    let world = graph_world(&[("OIDC_HTTP_TIMEOUT", "7")], ok(&page(&["a"], Some(next))));
    world
        .provider
        .change(|script| drop(script.elsewhere.insert(next.to_owned(), ok(&page(&["MLFLOW"], None)))));
    assert_eq!(Browser::default().sign_in(&world, referring()).outcome(), let_in());
    let asked = world.provider.asked();
    let seconds =
        |url: &str| asked.iter().find(|request| request.url == url).unwrap().within.unwrap().as_secs();
    assert_eq!((seconds(FIRST), seconds(next)), (7, 7));
    // The clock goes on by 4 s with each page: the third one has no time left.
    let slow = graph_world(&[("OIDC_HTTP_TIMEOUT", "7")], ok(&page(&["MLFLOW"], Some(FIRST))));
    let clock = std::sync::Arc::clone(&slow.clock);
    slow.provider.change(|script| script.meanwhile = Some(std::sync::Arc::new(move || clock.forward(4))));
    let found = Browser::default().sign_in(&slow, referring()).outcome();
    assert_eq!(found, (503, "provider_unreachable".to_owned()));
    assert_eq!(slow.provider.count("$top=999"), 2);
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
fn pages_have_an_end() {
    let world = graph_world(&[], ok(&page(&["MLFLOW"], Some(FIRST))));
    assert_eq!(Browser::default().sign_in(&world, referring()).outcome(), (403, "groups_overage".to_owned()));
    assert_eq!(world.provider.count("$top=999"), 11);
}

#[test]
fn what_graph_says_wrong_is_no_membership() {
    let list = |value: Value| ok(&json!({"value": value}));
    let rows = [
        (answer(403, "application/json", "{}"), 403, "groups_overage"),
        (answer(401, "application/json", "{}"), 403, "groups_overage"),
        (ok(&json!({})), 502, "provider_answer"),
        (list(json!("MLFLOW")), 502, "provider_answer"),
        (list(json!([{"@odata.type": "#microsoft.graph.group", "id": 7}])), 502, "provider_answer"),
        (
            list(json!([{"@odata.type": "#microsoft.graph.directoryRole", "id": "MLFLOW"}])),
            403,
            "group_required",
        ),
        (list(json!(["MLFLOW"])), 403, "group_required"),
        (answer(200, "text/html", "<html>"), 502, "provider_answer"),
        (down(), 503, "provider_unreachable"),
    ];
    for (told, status, code) in rows {
        let world = graph_world(&[], told.clone());
        let found = Browser::default().sign_in(&world, referring()).outcome();
        assert_eq!(found, (status, code.to_owned()), "{told:?}");
        assert!(world.store.sessions().is_empty());
    }
}

#[test]
fn where_groups_only_make_administrators_nobody_is_kept_out_by_too_many() {
    let settings = [("OIDC_USER_GROUP", ""), ("OIDC_ADMIN_GROUP", "root")];
    let world = graph_world(&settings, answer(403, "application/json", "{}"));
    assert_eq!(Browser::default().sign_in(&world, referring()).outcome(), let_in());
    assert_eq!(world.users.is_admin("alice@example.com"), Some(false));
    // Nor does an administrator lose the flag: there are groups, and nobody knows which.
    Browser::signed_in(&world, Draft::id_token().in_groups(&["root"]));
    world.clock.forward(1);
    assert_eq!(Browser::default().sign_in(&world, referring()).outcome(), let_in());
    assert_eq!(world.users.is_admin("alice@example.com"), Some(true));
    let told = graph_world(&settings, ok(&page(&["root"], None)));
    assert_eq!(Browser::default().sign_in(&told, referring()).outcome(), let_in());
    assert_eq!(told.users.is_admin("alice@example.com"), Some(true));
}

#[test]
fn a_token_issued_under_another_name_of_the_provider_is_the_same_person() {
    let world = World::with(&[("OIDC_ISSUER_ALIASES", "https://sts.example/")]);
    Browser::signed_in(&world, Draft::id_token());
    let mut bearer = Draft::bearer();
    bearer.set("iss", "https://sts.example/");
    let ask = crate::support::Ask::get("/api/2.0/mlflow/experiments/search").bearer(&bearer.token());
    assert_eq!(ask.of(&world).username(), "alice@example.com");
    let rows = world.store.identities();
    assert_eq!((rows.len(), rows[0].issuer.as_str()), (1, ISSUER));
}
