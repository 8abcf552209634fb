//! Groups that have no room in a token are asked of Microsoft Graph, and the access token goes nowhere else.

use crate::sources::{let_in, silent};
use crate::support::{Answer, Browser, Draft, World, answer, down, metadata, ok, spoilt};
use serde_json::{Value, json};

/// A provider with Microsoft Graph beside it, which answers so at its first page.
fn graph_world(settings: &[(&str, &str)], first: Answer) -> World {
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
