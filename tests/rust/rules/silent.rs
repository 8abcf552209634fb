//! A session without a refresh token: the browser goes to the provider, which may ask nothing, and comes back.

use crate::support::{Answered, Ask, Browser, Draft, ISSUER, NOW, World, answer};
use mlflow_oidc::ports::{Level, SessionRow, Store as _};
use std::collections::BTreeMap;
use url::Url;

pub const ALICE: &str = "alice@example.com";
pub const PATH: &str = "/api/2.0/mlflow/experiments/get";
pub const HALF: i64 = 1_800;
pub const FULL: i64 = 3_600;

fn query_of(address: &str) -> BTreeMap<String, String> {
    Url::parse(address).unwrap().query_pairs().into_owned().collect()
}

/// Alice, signed in so many seconds ago.
pub fn signed_in(world: &World, ago: i64) -> Browser {
    let browser = Browser::signed_in(world, Draft::id_token());
    world.clock.forward(ago);
    browser
}

/// Her ID token now.
pub fn now(seconds: i64) -> Draft {
    let mut draft = Draft::id_token();
    draft.set("iat", NOW + seconds).set("exp", NOW + seconds + 300);
    draft
}

/// Opens the sign-in page that an answer leads to, as the script there does, with a fragment of MLflow's: what the provider is asked.
fn go(world: &World, browser: &mut Browser, location: &str, fragment: &str) -> BTreeMap<String, String> {
    let page = browser.open(world, location);
    assert_eq!(page.status(), 200);
    let link = page.body().split_once("id=\"continue\" href=\"").unwrap().1.split('"').next().unwrap();
    let link = link.replace("&amp;", "&");
    assert!(link.contains("&silent=1"), "{link}");
    let next: String = url::form_urlencoded::byte_serialize(format!("/{fragment}").as_bytes()).collect();
    let answered = browser.open(world, &link.replace("next=%2F", &format!("next={next}")));
    query_of(answered.location())
}

/// A page is opened, and the browser is on its way to the provider.
pub fn away(world: &World, browser: &mut Browser, fragment: &str) -> BTreeMap<String, String> {
    let answered = browser.open(world, "/");
    assert_eq!(answered.status(), 302, "{:?}", answered.0);
    let location = answered.location().to_owned();
    go(world, browser, &location, fragment)
}

fn back(world: &World, browser: &mut Browser, asked: &BTreeMap<String, String>, what: &str) -> Answered {
    browser.open(world, &format!("/oidc/callback?{what}&state={}", asked["state"]))
}

#[test]
fn from_half_of_the_time_on_a_page_goes_to_the_provider_and_comes_back_to_its_place() {
    let world = World::new();
    let mut browser = signed_in(&world, HALF - 1);
    assert_eq!(browser.open(&world, "/").username(), ALICE);
    world.clock.forward(1);
    let before = world.store.sessions()[0].id_hash;
    let asked = away(&world, &mut browser, "#/experiments/7");
    assert_eq!(asked["prompt"], "none");
    let answered = browser.come_back(&world, &asked, &mut now(HALF));
    assert_eq!((answered.status(), answered.location()), (302, "http://localhost:5000/#/experiments/7"));
    let rows = world.store.sessions();
    assert_eq!((rows.len(), rows[0].checked_at), (1, NOW + HALF));
    assert_ne!(rows[0].id_hash, before, "a new name in the place of the old one");
    assert_eq!(browser.open(&world, "/").username(), ALICE);
    // That somebody goes on is no news, several times an hour.
    let told = world.log.all().into_iter().filter(|(_, line)| line.contains("signed in"));
    assert_eq!(told.map(|(level, _)| level).collect::<Vec<_>>(), [Level::Info, Level::Debug]);
}

#[test]
fn another_page_than_the_first_is_a_401_that_goes_on_by_itself() {
    let world = World::new();
    let mut browser = signed_in(&world, HALF);
    let page = browser.open(&world, "/graphql?x=1");
    assert_eq!(page.status(), 401);
    let link = "/oidc/login?next=%2Fgraphql%3Fx%3D1&amp;go=1&amp;silent=1";
    assert!(page.body().contains(&format!("href=\"{link}\"")), "{}", page.body());
    assert!(page.body().contains(&format!("content=\"0; url={link}\"")), "also without scripts");
}

#[test]
fn what_is_no_page_goes_on_until_the_full_time_and_then_says_what_to_do() {
    let world = World::new();
    let mut browser = signed_in(&world, HALF);
    let cookie = browser.cookie.clone().unwrap();
    let call = || Ask::get(PATH).fetch_mode("cors").cookie(&cookie);
    let form = || Ask::post(PATH).navigation().fetch_site("same-origin").cookie(&cookie);
    for _ in 0..2 {
        assert_eq!(call().of(&world).username(), ALICE);
        assert_eq!(form().of(&world).username(), ALICE);
    }
    assert_eq!(call().recalled_by(&world).as_deref(), Some(ALICE), "memory is as good as before");
    let page = Ask::get("/").navigation().cookie(&cookie);
    assert_eq!(page.recalled_by(&world), None, "but not for what may be a page");
    assert_eq!(Ask::get("/").cookie(&cookie).recalled_by(&world), None);
    world.clock.forward(FULL - HALF);
    assert_eq!(call().recalled_by(&world), None);
    let refused = browser.send(&world, call());
    assert_eq!(refused.refusal(), (401, "session_recheck".to_owned()));
    assert!(refused.body().contains("Reload the page"));
    assert!(!refused.header("WWW-Authenticate").unwrap().contains("error"));
    assert_eq!(world.store.sessions().len(), 1, "a reload is all that it takes");
    let asked = away(&world, &mut browser, "");
    assert_eq!(browser.come_back(&world, &asked, &mut now(FULL)).status(), 302);
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
}

#[test]
fn where_the_provider_has_to_ask_the_person_the_session_ends_and_a_login_begins_once() {
    for error in [
        "login_required",
        "interaction_required",
        "consent_required",
        "account_selection_required",
        "access_denied",
    ] {
        let world = World::new();
        let mut browser = signed_in(&world, FULL);
        let asked = away(&world, &mut browser, "#/experiments/7");
        let answered = back(&world, &mut browser, &asked, &format!("error={error}"));
        assert_eq!(answered.status(), 302, "{error}");
        assert_eq!(answered.location(), "/oidc/login?next=%2F%23%2Fexperiments%2F7&go=1");
        assert!(world.store.sessions().is_empty(), "{error}");
        let asked =
            query_of(browser.open(&world, "/oidc/login?next=%2F%23%2Fexperiments%2F7&go=1").location());
        assert!(!asked.contains_key("prompt"), "{error}");
        // A second refusal is one, and no circle.
        let refused = back(&world, &mut browser.clone(), &asked, &format!("error={error}"));
        assert!(refused.status() >= 400, "{error}: {:?}", refused.0);
        let answered = browser.come_back(&world, &asked, &mut now(FULL));
        assert_eq!(answered.location(), "http://localhost:5000/#/experiments/7", "{error}");
    }
}

#[test]
fn a_provider_that_says_it_is_in_trouble_ends_no_session() {
    let world = World::new();
    let mut browser = signed_in(&world, HALF);
    for error in ["temporarily_unavailable", "server_error"] {
        let asked = away(&world, &mut browser, "");
        let answered = back(&world, &mut browser, &asked, &format!("error={error}"));
        assert_eq!(answered.refusal(), (502, "provider_error".to_owned()));
        assert_eq!(browser.open(&world, "/").username(), ALICE, "it is not sent again at once");
        world.clock.forward(60);
    }
}

#[test]
fn an_error_of_another_provider_ends_no_session() {
    // RFC 9207: whoever mixes two providers up would sign people out.
    let world = World::new();
    let mut browser = signed_in(&world, HALF);
    let asked = away(&world, &mut browser, "");
    let answered = back(&world, &mut browser, &asked, "error=login_required&iss=https%3A%2F%2Fevil.example");
    assert_eq!(answered.code(), "callback_issuer");
    assert_eq!(world.store.sessions().len(), 1);
    // And of nobody at all: the state is unknown.
    let answered = browser.open(&world, "/oidc/callback?error=login_required&state=guessed");
    assert_eq!((answered.status(), answered.location()), (302, "http://localhost:5000/"));
    assert_eq!(world.store.sessions().len(), 1);
    let issuer: String = url::form_urlencoded::byte_serialize(ISSUER.as_bytes()).collect();
    world.clock.forward(60);
    let asked = away(&world, &mut browser, "");
    back(&world, &mut browser, &asked, &format!("error=login_required&iss={issuer}"));
    assert!(world.store.sessions().is_empty());
}

#[test]
fn who_is_signed_in_at_the_provider_counts() {
    let world = World::new();
    let mut browser = signed_in(&world, FULL);
    let asked = away(&world, &mut browser, "");
    browser.come_back(&world, &asked, &mut now(FULL).of("bob"));
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), "bob@example.com");
    assert_eq!(world.store.sessions().len(), 1, "alice's session has ended");
    assert!(world.log.all().contains(&(Level::Info, "'bob@example.com' signed in".to_owned())));
    // Somebody who may not come in any more is told so, and all their sessions are over.
    world.clock.forward(FULL);
    let asked = away(&world, &mut browser, "");
    let answered = browser.come_back(&world, &asked, &mut now(2 * FULL).of("bob").in_groups(&["OTHER"]));
    assert_eq!(answered.refusal(), (403, "group_required".to_owned()));
    assert!(world.store.sessions().is_empty());
}

#[test]
fn tabs_that_go_at_once_come_back_each_to_its_own_place() {
    let world = World::new();
    let mut browser = signed_in(&world, FULL);
    let trips: Vec<_> = (0..3).map(|tab| (tab, away(&world, &mut browser, &format!("#/{tab}")))).collect();
    for (tab, asked) in trips {
        let answered = browser.come_back(&world, &asked, &mut now(FULL));
        assert_eq!(answered.location(), format!("http://localhost:5000/#/{tab}"));
        assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
    }
    assert_eq!(world.store.sessions().len(), 1);
}

#[test]
fn a_trip_that_came_to_nothing_is_not_made_again_at_once() {
    // Somebody presses the button back, or the page at the provider does not load.
    let world = World::new();
    let mut browser = signed_in(&world, HALF);
    away(&world, &mut browser, "");
    assert_eq!(browser.open(&world, "/").username(), ALICE);
    assert_eq!(browser.open(&world, "/graphql").username(), ALICE);
    world.clock.forward(60);
    away(&world, &mut browser, "");
    // When the full time is over nobody goes on for having tried.
    world.clock.forward(FULL - HALF - 60);
    away(&world, &mut browser, "");
    assert_eq!(browser.send(&world, Ask::get(PATH)).code(), "session_recheck");
    away(&world, &mut browser, "");
}

#[test]
fn nobody_is_sent_to_a_provider_that_does_not_answer() {
    for broken in [crate::support::down(), answer(200, "text/html", "<h1>maintenance</h1>")] {
        for seconds in [HALF, FULL, 5 * FULL] {
            let world = World::new();
            let mut browsers: Vec<_> = (0..20).map(|_| signed_in(&world, 0)).collect();
            world.clock.forward(seconds);
            world.provider.change(|script| script.metadata = broken.clone());
            let looks = || world.provider.count("/openid-configuration");
            let before = looks();
            for browser in &mut browsers {
                assert_eq!(browser.open(&world, "/").username(), ALICE, "{seconds}");
                assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE, "{seconds}");
            }
            assert_eq!(looks(), before + 1, "one has waited for two seconds at most");
            let look = world.provider.asked().pop().unwrap();
            assert_eq!(look.within.unwrap().as_secs(), 2);
            for _ in 0..8 {
                world.clock.forward(1);
                world.clerk.run();
            }
            assert_eq!(looks(), before + 2, "the clerk looks");
            assert_eq!(browsers[0].open(&world, "/").username(), ALICE);
            world.provider.come_back();
            world.clock.forward(60);
            world.clerk.run();
            away(&world, &mut browsers[0], "");
        }
    }
}

#[test]
fn nor_while_logins_get_no_answer() {
    let world = World::new();
    let mut browser = signed_in(&world, FULL);
    let mut other = Browser::default();
    let asked = other.begin(&world, "/");
    world.provider.change(|script| script.token = crate::support::down());
    assert_eq!(back(&world, &mut other, &asked, "code=c").code(), "provider_unreachable");
    assert_eq!(browser.open(&world, "/").username(), ALICE);
}

#[test]
fn on_the_event_loop_nobody_looks_and_nothing_is_written() {
    let world = World::new();
    let browser = signed_in(&world, HALF);
    let ask = |ask: Ask| ask.cookie(browser.cookie.as_deref().unwrap()).on_event_loop();
    assert_eq!(ask(Ask::get("/").navigation()).of(&world).username(), ALICE);
    world.clock.forward(FULL);
    let asked = world.provider.asked().len();
    assert_eq!(ask(Ask::get(PATH)).of(&world).refusal(), (503, "provider_pending".to_owned()));
    assert_eq!(world.provider.asked().len(), asked);
    world.clerk.run();
    assert_eq!(ask(Ask::get(PATH)).of(&world).refusal(), (401, "session_recheck".to_owned()));
}

#[test]
fn who_has_a_refresh_token_is_not_sent() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, crate::recheck::alice());
    world.clock.forward(HALF);
    assert_eq!(browser.open(&world, "/").username(), ALICE);
    crate::recheck::refreshes_with(&world, &crate::recheck::again(FULL));
    world.clock.forward(HALF);
    assert_eq!(browser.open(&world, "/").username(), ALICE);
}

#[test]
fn sessions_of_an_older_version_are_due_and_nobody_is_thrown_out() {
    let before = World::new();
    let mut browser = signed_in(&before, 0);
    let old = SessionRow { checked_at: 0, ..before.store.sessions().remove(0) };
    assert!(before.store.renew_session(&old, 0, 0).unwrap());
    let world = before.beside(&[]);
    world.clock.forward(5 * FULL);
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
    away(&world, &mut browser, "");
    world.clock.forward(HALF - 1);
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
    world.clock.forward(1);
    assert_eq!(browser.send(&world, Ask::get(PATH)).code(), "session_recheck");
    let asked = away(&world, &mut browser, "");
    assert_eq!(browser.come_back(&world, &asked, &mut now(5 * FULL + HALF)).status(), 302);
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
}

#[test]
fn that_browsers_have_to_go_is_said_once() {
    let world = World::new();
    signed_in(&world, 0);
    signed_in(&world, 0);
    assert_eq!(world.log.text().matches("gives no refresh token").count(), 1);
    let never = World::with(&[("OIDC_SESSION_RECHECK", "0")]);
    let mut browser = signed_in(&never, 43_000);
    assert_eq!(browser.open(&never, "/").username(), ALICE);
    assert!(!never.log.text().contains("refresh token"));
}

/// A link, or an image, on somebody else's page.
#[test]
fn a_link_of_another_site_ends_no_session() {
    for (draft, seconds) in
        [(crate::recheck::alice(), 10), (crate::recheck::alice(), FULL), (Draft::id_token(), 10)]
    {
        let world = World::new();
        let mut browser = Browser::signed_in(&world, draft);
        world.clock.forward(seconds);
        for link in ["/oidc/login?go=1&silent=1", "/oidc/login?silent=1"] {
            let ask = Ask::get(link).navigation().fetch_site("cross-site");
            let answered = browser.send(&world, ask);
            assert_eq!(
                (answered.status(), answered.location()),
                (302, "http://localhost:5000/"),
                "{seconds}"
            );
        }
        assert_eq!(world.store.sessions().len(), 1);
    }
    // Without a session it is a login like any other.
    let world = World::new();
    let asked = query_of(Browser::default().open(&world, "/oidc/login?go=1&silent=1").location());
    assert!(!asked.contains_key("prompt"));
}

#[test]
fn a_session_that_is_not_due_any_more_is_not_ended_by_an_older_trip() {
    let world = World::new();
    let mut browser = signed_in(&world, FULL);
    let first = away(&world, &mut browser, "#/1");
    let second = away(&world, &mut browser, "#/2");
    browser.come_back(&world, &first, &mut now(FULL));
    let answered = back(&world, &mut browser, &second, "error=login_required");
    assert_eq!(answered.location(), "http://localhost:5000/#/2");
    assert_eq!(browser.send(&world, Ask::get(PATH)).username(), ALICE);
}

#[test]
fn a_short_time_is_no_circle() {
    for seconds in ["1", "2", "9"] {
        let world = World::with(&[("OIDC_SESSION_RECHECK", seconds)]);
        let mut browser = signed_in(&world, 0);
        for round in 0..3 {
            for _ in 0..5 {
                assert_eq!(browser.open(&world, "/").username(), ALICE, "{seconds}");
                world.clock.forward(1);
            }
            let asked = away(&world, &mut browser, "");
            browser.come_back(&world, &asked, &mut now(5 * (round + 1)));
        }
    }
}

#[test]
fn a_trip_makes_no_session_longer() {
    let world = World::with(&[("OIDC_SESSION_LIFETIME", "2h")]);
    let mut browser = signed_in(&world, FULL);
    let asked = away(&world, &mut browser, "");
    browser.come_back(&world, &asked, &mut now(FULL));
    assert_eq!(world.store.sessions()[0].expires_at, NOW + 2 * FULL);
    // It is another person's first.
    world.clock.forward(HALF);
    let asked = away(&world, &mut browser, "");
    browser.come_back(&world, &asked, &mut now(FULL + HALF).of("bob"));
    assert_eq!(world.store.sessions()[0].expires_at, NOW + FULL + HALF + 2 * FULL);
    // And a login is one.
    browser.sign_in(&world, now(FULL + HALF + 1).of("bob"));
    world.clock.forward(10);
    browser.sign_in(&world, now(FULL + HALF + 10).of("bob"));
    assert_eq!(world.store.sessions()[0].expires_at, NOW + FULL + HALF + 10 + 2 * FULL);
}
