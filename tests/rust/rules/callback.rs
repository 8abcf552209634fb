//! The way back from the provider.

use crate::support::{Ask, Browser, CLIENT_SECRET, Draft, ISSUER, World, answer, metadata, ok};
use serde_json::json;

/// A browser that has gone to the provider, and the state it must bring back.
fn away(world: &World) -> (Browser, String) {
    let mut browser = Browser::default();
    let state = browser.begin(world, "/#/x").remove("state").unwrap();
    (browser, state)
}

fn refused(world: &World, browser: &mut Browser, query: &str) -> (u16, String) {
    browser.open(world, &format!("/oidc/callback?{query}")).refusal()
}

#[test]
fn a_state_that_this_browser_did_not_begin_is_refused_before_the_code_is_spent() {
    let world = World::new();
    let (_, state) = away(&world);
    // Login CSRF (RFC 6749 section 10.12): the attacker's answer in the victim's browser, which is on its way itself.
    let (mut victim, _) = away(&world);
    for browser in [&mut victim, &mut Browser::default()] {
        let cookie = browser.cookie.clone();
        let found = refused(&world, browser, &format!("code=c&state={state}"));
        assert_eq!(found, (400, "login_unknown".to_owned()));
        assert_eq!(browser.cookie, cookie);
    }
    assert_eq!(world.provider.count("/token"), 0);
}

#[test]
fn every_login_is_good_once() {
    let world = World::new();
    let mut browser = Browser::default();
    let asked = browser.begin(&world, "/#/x");
    let before = browser.clone();
    assert_eq!(
        browser.come_back(&world, &asked, &mut Draft::id_token()).location(),
        "http://localhost:5000/#/x"
    );
    let exchanges = world.provider.count("/token");
    // Somebody who is signed in is led on; without a session the answer is a refusal. Neither spends a code.
    let again = browser.come_back(&world, &asked, &mut Draft::id_token());
    assert_eq!((again.status(), again.location()), (302, "http://localhost:5000/"));
    let mut cleared = Browser::default();
    assert_eq!(cleared.come_back(&world, &asked, &mut Draft::id_token()).code(), "login_unknown");
    assert_eq!(world.provider.count("/token"), exchanges);
    // A cookie from before the answer still opens; the login that it holds is spent all the same, and the provider is not
    // asked with our credentials as often as somebody likes.
    let mut before = before;
    for _ in 0..3 {
        assert_eq!(before.clone().come_back(&world, &asked, &mut Draft::id_token()).code(), "login_unknown");
    }
    assert_eq!(before.come_back(&world, &asked, &mut Draft::id_token()).code(), "login_unknown");
    assert!(before.cookie.is_none());
    assert_eq!(world.provider.count("/token"), exchanges);
}

#[test]
fn a_login_may_take_an_hour_and_no_second_more() {
    for (seconds, status) in [(3599, 302), (3600, 400)] {
        let world = World::new();
        let mut browser = Browser::default();
        let asked = browser.begin(&world, "/");
        world.clock.forward(seconds);
        let mut draft = Draft::id_token();
        draft.set("exp", crate::support::NOW + 7200);
        let answered = browser.come_back(&world, &asked, &mut draft);
        assert_eq!(answered.status(), status);
        if status == 400 {
            assert_eq!(answered.code(), "login_expired");
        }
    }
}

#[test]
fn the_issuer_in_the_answer_is_taken_when_it_is_ours() {
    // RFC 9207 section 2.4; the refusals are in the table of rejects.
    let issuer: String = url::form_urlencoded::byte_serialize(ISSUER.as_bytes()).collect();
    for (promised, more) in
        [(false, String::new()), (false, format!("&iss={issuer}")), (true, format!("&iss={issuer}"))]
    {
        let world = World::new();
        let mut document = metadata();
        document["authorization_response_iss_parameter_supported"] = json!(promised);
        world.provider.change(|script| script.metadata = ok(&document));
        let mut browser = Browser::default();
        let asked = browser.begin(&world, "/");
        let token = Draft::id_token().answer_to(&asked["nonce"]).token();
        world
            .provider
            .change(|script| script.token = ok(&json!({"token_type": "Bearer", "id_token": token})));
        let query = format!("/oidc/callback?code=c&state={}{more}", asked["state"]);
        assert_eq!(browser.open(&world, &query).status(), 302, "{promised} {more}");
    }
}

#[test]
fn a_code_of_8_kib_is_a_code() {
    let world = World::new();
    let mut browser = Browser::default();
    let asked = browser.begin(&world, "/");
    let token = Draft::id_token().answer_to(&asked["nonce"]).token();
    world.provider.change(|script| script.token = ok(&json!({"token_type": "Bearer", "id_token": token})));
    let query = format!("/oidc/callback?code={}&state={}", "c".repeat(8 * 1024), asked["state"]);
    assert_eq!(browser.open(&world, &query).status(), 302);
}

#[test]
fn a_provider_that_is_not_known_yet_costs_nobody_their_login() {
    let world = World::new();
    let mut browser = Browser::default();
    let asked = browser.begin(&world, "/");
    // Another worker, which has just been started, and a provider that takes its time.
    let other = world.beside(&[]);
    other.refresher.hang(true);
    let path = format!("/oidc/callback?code=c&state={}", asked["state"]);
    let answered = browser.open(&other, &path);
    assert_eq!(answered.refusal(), (503, "provider_pending".to_owned()));
    assert!(answered.header("Set-Cookie").is_none());
    other.refresher.hang(false);
    assert_eq!(browser.come_back(&other, &asked, &mut Draft::id_token()).status(), 302);
}

#[test]
fn whose_secret_may_be_wrong_is_said_in_the_log() {
    // (status, error code, whether the settings are named)
    for (status, error, named) in
        [(400, "invalid_client", true), (401, "unauthorized", true), (400, "invalid_grant", false)]
    {
        let world = World::new();
        let (mut browser, state) = away(&world);
        let body = json!({"error": error}).to_string();
        world.provider.change(|script| script.token = answer(status, "application/json", body));
        assert_eq!(refused(&world, &mut browser, &format!("code=c&state={state}")).1, "provider_error");
        let log = world.log.text();
        assert!(log.contains(&format!("status {status}, error '{error}'")), "{log}");
        assert_eq!(log.contains("check OIDC_CLIENT_ID and OIDC_CLIENT_SECRET"), named, "{log}");
    }
}

#[test]
fn a_refusal_of_the_provider_is_told_and_its_words_are_only_words() {
    let world = World::new();
    let (mut browser, state) = away(&world);
    let words = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%27%0Aforged%20line";
    let query = format!("/oidc/callback?state={state}&error=access_denied&error_description={words}");
    let answered = browser.open(&world, &query);
    assert_eq!(answered.refusal(), (403, "login_denied".to_owned()));
    assert!(!answered.body().contains("<script>alert"), "{}", answered.body());
    assert!(answered.body().contains("&lt;script&gt;alert(1)"), "{}", answered.body());
    let (_, line) = world.log.all().pop().unwrap();
    assert!(line.contains("access_denied") && !line.contains('\n'), "{line}");
    assert!(browser.cookie.is_none(), "the login is over");
}

#[test]
fn the_code_goes_to_the_token_endpoint_alone_with_verifier_and_secret() {
    let world = World::new();
    Browser::signed_in(&world, Draft::id_token());
    let asked = world.provider.asked();
    let exchange = asked.iter().find(|request| request.url.ends_with("/token")).unwrap();
    let form = exchange.form.as_ref().unwrap().expose();
    let pairs: std::collections::BTreeMap<_, _> = url::form_urlencoded::parse(form.as_bytes()).collect();
    assert_eq!(pairs["grant_type"], "authorization_code");
    assert_eq!(pairs["code"], "good-code");
    assert_eq!(pairs["redirect_uri"], "http://localhost:5000/oidc/callback");
    assert_eq!(pairs["code_verifier"].len(), 43);
    assert!(
        !pairs.contains_key("client_secret"),
        "client_secret_basic is offered, so the secret is in the header"
    );
    assert!(exchange.authorization.as_ref().unwrap().expose().starts_with("Basic "));
    for other in asked.iter().filter(|request| !request.url.ends_with("/token")) {
        assert!(other.form.is_none() && other.authorization.is_none(), "{}", other.url);
    }
}

#[test]
fn the_verifier_fits_the_challenge() {
    let world = World::new();
    let mut browser = Browser::default();
    let asked = browser.begin(&world, "/");
    browser.come_back(&world, &asked, &mut Draft::id_token());
    let exchange = world.provider.asked().pop().unwrap();
    let form = exchange.form.unwrap();
    let (_, verifier) = url::form_urlencoded::parse(form.expose().as_bytes())
        .find(|(name, _)| name == "code_verifier")
        .unwrap();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    assert_eq!(crate::support::base64url(hash), asked["code_challenge"]);
}

#[test]
fn the_secret_is_sent_as_the_provider_wants_it() {
    /// What the provider offers, settings, whether the secret is in the header, whether it is in the form.
    type Row = (serde_json::Value, Vec<(&'static str, &'static str)>, bool, bool);
    let odd = ("OIDC_CLIENT_SECRET", "a:b c+ä-0123456789");
    let public = || vec![("OIDC_CLIENT_SECRET", ""), ("OIDC_SESSION_SECRET", "0123456789abcdef")];
    let rows: [Row; 7] = [
        (json!(["client_secret_post"]), vec![], false, true),
        (json!(["client_secret_post", "client_secret_basic"]), vec![], true, false),
        (serde_json::Value::Null, vec![], true, false),
        (json!(["client_secret_basic"]), vec![odd], true, false),
        // A public client has PKCE alone, whether the provider lists that or not.
        (json!(["client_secret_basic"]), public(), false, false),
        (json!(["none"]), public(), false, false),
        (json!(["private_key_jwt"]), public(), false, false),
    ];
    for (offered, settings, header, posted) in rows {
        let world = World::with(&settings);
        let mut document = metadata();
        document["token_endpoint_auth_methods_supported"] = offered.clone();
        world.provider.change(|script| script.metadata = ok(&document));
        Browser::signed_in(&world, Draft::id_token());
        let exchange = world.provider.asked().pop().unwrap();
        let form = exchange.form.unwrap().expose().to_owned();
        assert_eq!(exchange.authorization.is_some(), header, "{offered}");
        assert_eq!(form.contains(&format!("client_secret={CLIENT_SECRET}")), posted, "{offered}");
        // RFC 6749 section 2.3.1: each half form-encoded before they are joined.
        if settings.first() == Some(&odd) {
            use base64::Engine;
            let encoded = exchange.authorization.unwrap().expose()["Basic ".len()..].to_owned();
            let pair = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
            assert_eq!(String::from_utf8(pair).unwrap(), "mlflow:a%3Ab+c%2B%C3%A4-0123456789");
        }
    }
}

#[test]
fn a_provider_that_takes_no_secret_of_ours_is_named_as_the_cause() {
    let world = World::new();
    let mut document = metadata();
    document["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
    world.provider.change(|script| script.metadata = ok(&document));
    let (mut browser, state) = away(&world);
    assert_eq!(refused(&world, &mut browser, &format!("code=c&state={state}")).1, "provider_answer");
    assert!(world.log.text().contains("client_secret_basic or client_secret_post"));
}

#[test]
fn a_callback_that_answers_a_program_is_json() {
    let answered = Ask::get("/oidc/callback?code=c&state=s").of(&World::new());
    assert_eq!(answered.refusal(), (400, "login_unknown".to_owned()));
    assert!(!answered.is_page());
}
