//! The browser's session: a row decides, the cookie only names it.

use crate::support::{Ask, Browser, Draft, NOW, World, metadata, ok};
use mlflow_oidc::ports::StoreFault;
use url::Url;

#[test]
fn a_session_runs_as_its_user_on_every_page_and_call() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    for ask in [Ask::get("/"), Ask::get("/graphql").navigation(), Ask::post("/api/2.0/mlflow/runs/create")] {
        assert_eq!(browser.send(&world, ask).username(), "alice@example.com");
    }
}

#[test]
fn every_login_has_a_session_of_its_own_and_ends_the_one_before() {
    // Session fixation: a name planted before the login is worth nothing after it.
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    let planted = browser.clone();
    let first = world.store.sessions()[0].id_hash;
    world.clock.forward(10);
    browser.sign_in(&world, Draft::id_token().of("bob"));
    let rows = world.store.sessions();
    assert_eq!(rows.len(), 1, "the old row is gone");
    assert_ne!(rows[0].id_hash, first);
    assert_eq!(browser.send(&world, Ask::get("/")).username(), "bob@example.com");
    assert_eq!(planted.clone().send(&world, Ask::get("/")).code(), "session_ended");
}

#[test]
fn a_login_that_fails_leaves_the_session_that_is_there() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    let mut bad = Draft::id_token().of("bob");
    bad.set("nonce", "wrong");
    assert_eq!(browser.sign_in(&world, bad).code(), "token_nonce");
    assert_eq!(browser.send(&world, Ask::get("/")).username(), "alice@example.com");
}

#[test]
fn the_cookie_and_the_row_hold_no_token_that_can_be_read() {
    let world = World::new();
    let mut browser = Browser::default();
    let asked = browser.begin(&world, "/");
    let mut draft = Draft::id_token();
    browser.come_back(&world, &asked, &mut draft);
    let token = draft.token();
    let cookie = browser.cookie.unwrap();
    let row = world.store.sessions().remove(0);
    let sealed = row.sealed_id_token.clone().unwrap();
    for part in token.split('.') {
        assert!(!cookie.contains(part) && !sealed.contains(part));
    }
    assert!(!format!("{row:?}").contains("alice@"));
}

#[test]
fn a_session_ends_by_itself_to_the_second() {
    let world = World::with(&[("OIDC_SESSION_LIFETIME", "1h"), ("OIDC_SESSION_RECHECK", "0")]);
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    assert_eq!(browser.open(&world, "/oidc/session").json()["expires_at"], NOW + 3600);
    world.clock.forward(3599);
    assert_eq!(browser.send(&world, Ask::get("/")).username(), "alice@example.com");
    world.clock.forward(1);
    assert_eq!(browser.send(&world, Ask::get("/")).refusal(), (401, "session_ended".to_owned()));
    assert_eq!(
        browser.send(&world, Ask::get("/").navigation()).status(),
        302,
        "a person is led to the sign-in"
    );
    assert_eq!(browser.send(&world, Ask::get("/graphql").navigation()).status(), 401);
}

#[test]
fn a_session_that_nobody_has_used_for_a_while_ends_to_the_second_as_well() {
    for (seconds, good) in [(3599, true), (3600, false)] {
        let world = World::with(&[("OIDC_SESSION_LIFETIME", "1h"), ("OIDC_SESSION_RECHECK", "0")]);
        let mut browser = Browser::signed_in(&world, Draft::id_token());
        world.clock.forward(seconds);
        assert_eq!(browser.open(&world, "/oidc/session").status() == 200, good, "{seconds}");
    }
}

#[test]
fn a_row_that_is_gone_ends_the_session_within_the_cache_seconds() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    assert_eq!(browser.send(&world, Ask::get("/")).username(), "alice@example.com");
    world.store.clear_sessions();
    world.clock.forward(4);
    assert_eq!(browser.send(&world, Ask::get("/")).username(), "alice@example.com", "read 4 seconds ago");
    world.clock.forward(1);
    assert_eq!(browser.send(&world, Ask::get("/")).code(), "session_ended");
}

#[test]
fn without_a_cache_a_row_that_is_gone_ends_the_session_at_once() {
    let world = World::with(&[("OIDC_SESSION_CACHE_SECONDS", "0")]);
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    assert_eq!(browser.send(&world, Ask::get("/")).username(), "alice@example.com");
    world.store.clear_sessions();
    assert_eq!(browser.send(&world, Ask::get("/")).code(), "session_ended");
}

#[test]
fn a_session_made_by_one_worker_is_good_on_the_other_and_ends_there_too() {
    let one = World::new();
    let other = one.beside(&[]);
    let mut browser = Browser::signed_in(&one, Draft::id_token());
    assert_eq!(browser.send(&other, Ask::get("/")).username(), "alice@example.com");
    assert_eq!(browser.clone().send(&one, Ask::post("/oidc/logout")).status(), 303);
    other.clock.forward(5);
    assert_eq!(browser.send(&other, Ask::get("/")).code(), "session_ended");
}

#[test]
fn a_login_begun_on_one_worker_ends_on_the_other() {
    let one = World::new();
    let other = one.beside(&[]);
    let mut browser = Browser::default();
    let asked = browser.begin(&one, "/#/x");
    let answered = browser.come_back(&other, &asked, &mut Draft::id_token());
    assert_eq!(answered.location(), "http://localhost:5000/#/x");
}

#[test]
fn a_session_of_another_provider_is_none() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    let moved = world.beside(&[("OIDC_ISSUER_URL", "https://new.example")]);
    assert_eq!(browser.send(&moved, Ask::get("/")).code(), "session_ended");
}

#[test]
fn a_user_whom_mlflow_has_removed_is_signed_out() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    world.users.remove("alice@example.com");
    world.clock.forward(5);
    assert_eq!(browser.send(&world, Ask::get("/")).code(), "session_ended");
    assert!(world.store.sessions().is_empty());
}

#[test]
fn a_database_that_does_not_answer_is_no_401() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    world.clock.forward(60);
    for fault in [StoreFault::Busy, StoreFault::Failed("disk I/O error".to_owned())] {
        world.store.fail(Some(fault));
        let answered = browser.send(&world, Ask::get("/api/x"));
        assert_eq!(answered.refusal(), (503, "database_unavailable".to_owned()));
        assert!(!answered.body().contains("disk"), "what the database said is for the log");
        let page = browser.send(&world, Ask::get("/").navigation());
        assert_eq!(page.refusal(), (503, "database_unavailable".to_owned()));
    }
    world.store.fail(None);
    assert_eq!(browser.send(&world, Ask::get("/")).username(), "alice@example.com");
}

#[test]
fn somebody_who_lost_the_group_is_out_as_soon_as_any_token_says_so() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    let other = world.beside(&[("OIDC_USER_GROUP", "OTHER")]);
    let answered = browser.send(&other, Ask::get("/api/x"));
    assert_eq!(answered.refusal(), (403, "group_required".to_owned()));
    assert_eq!(browser.open(&other, "/oidc/session").code(), "group_required");
}

#[test]
fn who_am_i() {
    let world = World::new();
    let mut browser =
        Browser::signed_in(&world, Draft::id_token().in_groups(&["x", "MLFLOW_admin", "A", "x"]));
    let json = browser.open(&world, "/oidc/session").json();
    assert_eq!(json["username"], "alice@example.com");
    assert_eq!(json["groups"], serde_json::json!(["A", "MLFLOW_admin", "x"]), "in order, each once");
    assert_eq!(json["is_admin"], true);
    assert_eq!(json["issuer"], crate::support::ISSUER);
    let answered = Ask::get("/oidc/session").of(&world);
    assert_eq!(answered.refusal(), (401, "no_credentials".to_owned()));
}

#[test]
fn signing_out_asks_first_then_ends_the_row_the_cookie_and_the_providers_session() {
    let world = World::new();
    let mut browser = Browser::default();
    let asked = browser.begin(&world, "/");
    let mut draft = Draft::id_token();
    browser.come_back(&world, &asked, &mut draft);
    let page = browser.open(&world, "/oidc/logout");
    assert_eq!(page.status(), 200);
    assert!(page.body().contains("<form method=\"post\" action=\"/oidc/logout\">"));
    assert_eq!(world.store.sessions().len(), 1, "a link alone signs nobody out");
    let policy = page.header("Content-Security-Policy").unwrap();
    assert!(policy.contains("form-action 'self' https://idp.example"), "{policy}");

    let stolen = browser.clone();
    let answered = browser.send(&world, Ask::post("/oidc/logout").fetch_site("same-origin"));
    assert_eq!(answered.status(), 303);
    let address = Url::parse(answered.location()).unwrap();
    let query: std::collections::BTreeMap<_, _> = address.query_pairs().into_owned().collect();
    assert_eq!(address.path(), "/realms/test/logout");
    assert_eq!(query["client_id"], "mlflow");
    assert_eq!(query["id_token_hint"], draft.token());
    assert_eq!(query["post_logout_redirect_uri"], "http://localhost:5000/oidc/logout");
    assert!(browser.cookie.is_none() && world.store.sessions().is_empty());
    assert_eq!(stolen.clone().send(&world, Ask::get("/")).code(), "session_ended");
    let end = browser.open(&world, "/oidc/logout");
    assert!(end.body().contains("You are signed out") && !end.body().contains("goes on"), "{}", end.body());
}

#[test]
fn signing_out_at_a_provider_without_such_a_place_ends_here() {
    let world = World::new();
    let mut document = metadata();
    document.as_object_mut().unwrap().remove("end_session_endpoint");
    world.provider.change(|script| script.metadata = ok(&document));
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    assert!(browser.open(&world, "/oidc/logout").body().contains("session in MLflow alone"));
    let answered = browser.send(&world, Ask::post("/oidc/logout"));
    assert_eq!((answered.status(), answered.location()), (303, "http://localhost:5000/oidc/logout"));
    assert!(world.store.sessions().is_empty());
    assert!(browser.open(&world, "/oidc/logout").body().contains("at your organisation's provider goes on"));
    let nobody = Ask::post("/oidc/logout").of(&world);
    assert_eq!((nobody.status(), nobody.location()), (303, "http://localhost:5000/oidc/logout"));
}

#[test]
fn a_sign_out_that_the_database_does_not_take_is_not_shown_as_done() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    world.store.fail(Some(StoreFault::Busy));
    let answered = browser.send(&world, Ask::post("/oidc/logout").navigation());
    assert_eq!(answered.refusal(), (503, "database_unavailable".to_owned()));
    assert!(answered.header("Set-Cookie").is_none());
}

#[test]
fn the_id_token_of_a_login_is_worth_nothing_as_a_bearer() {
    // It may be found in the history of a browser or the log of a proxy (as id_token_hint); the session ends, it does not.
    let world = World::new();
    let mut browser = Browser::default();
    let asked = browser.begin(&world, "/");
    let mut draft = Draft::id_token();
    assert_eq!(browser.come_back(&world, &asked, &mut draft).status(), 302);
    for worker in [&world, &world.beside(&[])] {
        let answered = Ask::get("/api/x").bearer(&draft.token()).of(worker);
        assert_eq!(answered.refusal(), (401, "token_type".to_owned()));
    }
    // The same from a login that another program of ours made is good.
    draft.set("nonce", "made-by-a-command-line-tool");
    assert_eq!(Ask::get("/api/x").bearer(&draft.token()).of(&world).username(), "alice@example.com");
}
