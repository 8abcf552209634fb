//! In the thread of an event loop nothing may be waited for: no network, no lock, no row of MLflow's.

use crate::support::{Ask, Browser, Draft, NOW, Signer, World};
use mlflow_oidc::ports::StoreFault;
use std::sync::atomic::Ordering;

const PATH: &str = "/v1/traces";

/// Decides on the event loop and holds it to its promise.
fn ask(world: &World, ask: Ask) -> Result<String, (u16, String)> {
    let transport = world.provider.asked().len();
    let users = world.users.asked.all().len();
    let store = world.store.patient.all();
    let waited = world.refresher.waited.load(Ordering::SeqCst) + world.clerk.waited.load(Ordering::SeqCst);
    let answered = ask.on_event_loop().of(world);
    assert_eq!(world.provider.asked().len(), transport, "the network was asked");
    assert_eq!(
        world.users.asked.all().len(),
        users,
        "MLflow's table was asked: {:?}",
        world.users.asked.all()
    );
    assert_eq!(world.store.patient.all(), store, "a lock may have been waited for");
    let now = world.refresher.waited.load(Ordering::SeqCst) + world.clerk.waited.load(Ordering::SeqCst);
    assert_eq!(now, waited, "a thread was waited for");
    match answered.0 {
        mlflow_oidc::app::wire::Decision::Allow { username } => Ok(username.to_string()),
        _ => Err(answered.refusal()),
    }
}

fn pending() -> Result<String, (u16, String)> {
    Err((503, "provider_pending".to_owned()))
}

fn bearer(draft: &Draft) -> Ask {
    Ask::post(PATH).bearer(&draft.token())
}

#[test]
fn a_new_bearer_is_503_until_the_background_has_done_its_work() {
    let world = World::new();
    let alice = Draft::bearer();
    assert_eq!(ask(&world, bearer(&alice)), pending(), "no keys yet");
    assert_eq!(world.refresher.woken.load(Ordering::SeqCst), 1);
    assert_eq!(ask(&world, bearer(&alice)), pending());
    world.refresher.run();
    assert_eq!(ask(&world, bearer(&alice)), pending(), "no row yet");
    assert_eq!(ask(&world, bearer(&alice)), pending());
    assert!(world.clerk.woken.load(Ordering::SeqCst) >= 1);
    world.clerk.run();
    assert_eq!(ask(&world, bearer(&alice)), Ok("alice@example.com".to_owned()));
    assert_eq!(world.users.asked.all().iter().filter(|what| *what == "create").count(), 1);
}

#[test]
fn somebody_whom_another_worker_knows_gets_in_without_the_clerk() {
    let world = World::new();
    Ask::get("/").bearer(&Draft::bearer().token()).of(&world);
    let other = world.beside(&[]);
    other.refresher.run();
    other.clerk.run();
    assert_eq!(ask(&other, bearer(&Draft::bearer())), Ok("alice@example.com".to_owned()));
}

#[test]
fn the_row_of_somebody_new_is_not_believed_before_mlflow_has_its_own() {
    let world = World::new();
    world.refresher.run();
    assert_eq!(ask(&world, bearer(&Draft::bearer())), pending());
    // The clerk of another worker got as far as binding the name, and no further.
    let half = mlflow_oidc::ports::IdentityRow {
        issuer: crate::support::ISSUER.to_owned(),
        subject: "subject-alice".to_owned(),
        username: "alice@example.com".to_owned(),
        groups: None,
        user_id: 0,
        told_at: 0,
        made_here: true,
    };
    mlflow_oidc::ports::Store::bind(&*world.store, &half).unwrap();
    assert_eq!(ask(&world, bearer(&Draft::bearer())), pending());
    world.clerk.run();
    assert_eq!(ask(&world, bearer(&Draft::bearer())), Ok("alice@example.com".to_owned()));
    assert!(world.users.is_admin("alice@example.com").is_some());
}

#[test]
fn what_the_clerk_was_refused_is_told_and_not_for_ever() {
    let world = World::with(&[("OIDC_USERNAME_CLAIM", "name")]);
    world.users.add_local("admin", true);
    let mut draft = Draft::bearer();
    draft.set("name", "admin");
    world.refresher.run();
    assert_eq!(ask(&world, bearer(&draft)), pending());
    world.clerk.run();
    let told = Err((403, "account_protected".to_owned()));
    assert_eq!(ask(&world, bearer(&draft)), told);
    assert_eq!(ask(&world, bearer(&draft)), told);
    world.users.remove("admin");
    draft.set("name", "alice");
    world.clock.forward(11);
    assert_eq!(ask(&world, bearer(&draft)), pending(), "another name is another question");
    world.clerk.run();
    assert_eq!(ask(&world, bearer(&draft)), Ok("alice".to_owned()));
}

#[test]
fn refusals_that_need_nobody_are_told_at_once() {
    let world = World::new();
    world.refresher.run();
    world.clerk.run();
    let mut expired = Draft::bearer();
    expired.set("exp", NOW - 600);
    assert_eq!(ask(&world, bearer(&expired)), Err((401, "token_expired".to_owned())));
    let mut forged = Draft::bearer();
    forged.signer = Signer::RsaOther;
    assert_eq!(ask(&world, bearer(&forged)), Err((401, "token_signature".to_owned())));
    let outsider = Draft::bearer().in_groups(&["OTHER"]);
    assert_eq!(ask(&world, bearer(&outsider)), Err((403, "group_required".to_owned())));
    assert_eq!(ask(&world, Ask::post(PATH)), Err((401, "no_credentials".to_owned())));
}

#[test]
fn an_unknown_key_is_looked_for_in_the_background() {
    let world = World::new();
    world.refresher.run();
    let mut unknown = Draft::bearer();
    unknown.head("kid", "unknown");
    assert_eq!(ask(&world, bearer(&unknown)), pending());
    world.refresher.run();
    assert_eq!(ask(&world, bearer(&unknown)), Err((401, "token_key_unknown".to_owned())));
}

#[test]
fn changed_groups_are_written_in_the_background_before_they_count() {
    let world = World::new();
    world.refresher.run();
    assert_eq!(ask(&world, bearer(&Draft::bearer())), pending());
    world.clerk.run();
    assert_eq!(ask(&world, bearer(&Draft::bearer())), Ok("alice@example.com".to_owned()));
    let admin = Draft::bearer().in_groups(&["MLFLOW_admin"]);
    assert_eq!(ask(&world, bearer(&admin)), pending());
    world.clerk.run();
    assert_eq!(ask(&world, bearer(&admin)), Ok("alice@example.com".to_owned()));
    assert_eq!(world.users.is_admin("alice@example.com"), Some(true));
}

#[test]
fn a_session_is_read_without_waiting() {
    let world = World::new();
    let browser = Browser::signed_in(&world, Draft::id_token());
    let cookie = browser.cookie.unwrap();
    let other = world.beside(&[]);
    let session = || Ask::get(PATH).cookie(&cookie);
    // The tables of a fresh worker are made by its clerk.
    assert_eq!(ask(&other, session()).unwrap_err().0, 503);
    other.clerk.run();
    assert_eq!(ask(&other, session()), Ok("alice@example.com".to_owned()));
    other.clock.forward(60);
    assert_eq!(ask(&other, session()), Ok("alice@example.com".to_owned()));
    world.store.clear_sessions();
    other.clock.forward(60);
    assert_eq!(ask(&other, session()), Err((401, "session_ended".to_owned())));
}

#[test]
fn a_locked_database_is_503_and_goes_by() {
    let world = World::new();
    world.refresher.run();
    world.clerk.run();
    world.store.fail(Some(StoreFault::Busy));
    assert_eq!(ask(&world, bearer(&Draft::bearer())), pending());
    let browser = Browser { cookie: None, ..Browser::default() };
    assert!(browser.cookie.is_none());
    world.clerk.run();
    assert_eq!(ask(&world, bearer(&Draft::bearer())), pending(), "the clerk had no luck, and tries again");
    world.store.fail(None);
    world.clerk.run();
    assert_eq!(ask(&world, bearer(&Draft::bearer())), Ok("alice@example.com".to_owned()));
}

#[test]
fn a_provider_that_is_down_is_named_on_the_event_loop_too() {
    let world = World::new();
    world.provider.go_down();
    assert_eq!(ask(&world, bearer(&Draft::bearer())), pending());
    world.refresher.run();
    assert_eq!(ask(&world, bearer(&Draft::bearer())), Err((503, "provider_unreachable".to_owned())));
    world.provider.come_back();
    world.clock.forward(8);
    assert_eq!(ask(&world, bearer(&Draft::bearer())), pending());
    world.refresher.run();
    assert_eq!(ask(&world, bearer(&Draft::bearer())), pending());
    world.clerk.run();
    assert_eq!(ask(&world, bearer(&Draft::bearer())), Ok("alice@example.com".to_owned()));
}

#[test]
fn many_new_people_are_written_in_one_round() {
    let world = World::new();
    world.refresher.run();
    for n in 0..200 {
        assert_eq!(ask(&world, bearer(&Draft::bearer().of(&format!("user{n}")))), pending());
    }
    world.clerk.run();
    assert_eq!(world.users.all().len(), 200);
    for n in 0..200 {
        let found = ask(&world, bearer(&Draft::bearer().of(&format!("user{n}"))));
        assert_eq!(found, Ok(format!("user{n}@example.com")));
    }
}

#[test]
fn on_the_event_loop_nobody_is_made_an_admin_by_an_old_look() {
    let world = World::new();
    let admin = Draft::bearer().in_groups(&["MLFLOW_admin"]);
    Ask::get("/").bearer(&admin.token()).of(&world);
    let plain = Draft::bearer();
    assert_eq!(ask(&world, bearer(&plain)), pending(), "the flag has to be taken away first");
    world.clerk.run();
    assert_eq!(ask(&world, bearer(&plain)), Ok("alice@example.com".to_owned()));
    assert_eq!(world.users.is_admin("alice@example.com"), Some(false));
}

#[test]
fn our_own_endpoints_are_not_there() {
    // MLflow routes none of them natively; a Host with a path in it could name them under an old Starlette.
    let world = World::new();
    world.refresher.run();
    world.clerk.run();
    let browser = Browser::signed_in(&world, Draft::id_token());
    for path in ["/oidc/login?go=1", "/oidc/callback?code=c&state=s", "/oidc/session", "/oidc/logout"] {
        assert_eq!(ask(&world, Ask::get(path)), Err((401, "no_credentials".to_owned())), "{path}");
    }
    let session = Ask::post("/oidc/logout").cookie(&browser.cookie.unwrap());
    assert_eq!(ask(&world, session), Ok("alice@example.com".to_owned()), "MLflow has no such route");
    assert_eq!(world.store.sessions().len(), 1);
}

#[test]
fn an_account_made_anew_is_nobodys_old_session_or_token_there_either() {
    // MLflow looks at the name alone: the old cookie would have been whoever has the name now, an administrator included.
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    let cookie = browser.cookie.clone().unwrap();
    assert_eq!(ask(&world, Ask::post(PATH).cookie(&cookie)), Ok("alice@example.com".to_owned()));
    assert_eq!(ask(&world, bearer(&Draft::bearer())), Ok("alice@example.com".to_owned()));
    world.users.remove("alice@example.com");
    world.users.add_local("alice@example.com", true);
    world.clock.forward(5);
    let ended = Err((401, "session_ended".to_owned()));
    assert_eq!(ask(&world, Ask::post(PATH).cookie(&cookie)), ended);
    assert_eq!(ask(&world, bearer(&Draft::bearer())), pending());
    // Nothing that the event loop read has opened a door on the other road.
    assert_eq!(browser.send(&world, Ask::get("/api/x")).refusal(), (401, "session_ended".to_owned()));
    assert_eq!(Ask::get("/").bearer(&Draft::bearer().token()).of(&world).status(), 403);
    world.clerk.run();
    assert_eq!(ask(&world, bearer(&Draft::bearer())).unwrap_err().0, 403);
    assert_eq!(ask(&world, Ask::post(PATH).cookie(&cookie)), ended);
}

#[test]
fn a_row_of_mlflows_that_is_locked_is_no_reason_to_wait_and_none_to_believe() {
    let world = World::new();
    let browser = Browser::signed_in(&world, Draft::id_token());
    let cookie = browser.cookie.clone().unwrap();
    world.clock.forward(5);
    world.users.locked.store(true, Ordering::SeqCst);
    let busy = Err((503, "database_unavailable".to_owned()));
    assert_eq!(ask(&world, Ask::post(PATH).cookie(&cookie)), busy);
    assert_eq!(ask(&world, bearer(&Draft::bearer())), pending());
    world.users.locked.store(false, Ordering::SeqCst);
    assert_eq!(ask(&world, Ask::post(PATH).cookie(&cookie)), Ok("alice@example.com".to_owned()));
    assert_eq!(ask(&world, bearer(&Draft::bearer())), Ok("alice@example.com".to_owned()));
}
