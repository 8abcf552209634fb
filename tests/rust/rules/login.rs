//! The way to the provider: the sign-in page, the redirect, the attempts that one cookie holds.

use crate::support::{Ask, Browser, CLIENT_ID, Draft, ISSUER, World, facts, metadata, ok};
use mlflow_oidc::config::Facts;
use std::collections::{BTreeMap, BTreeSet};
use url::Url;

#[test]
fn the_provider_is_asked_for_a_code_with_everything_that_protects_it() {
    let world = World::new();
    let mut browser = Browser::default();
    let answered = browser.open(&world, "/oidc/login?next=/x&go=1");
    assert_eq!(answered.status(), 302);
    let address = Url::parse(answered.location()).unwrap();
    assert_eq!(address.as_str().split('?').next(), Some(&*format!("{ISSUER}/auth")));
    let pairs: Vec<(String, String)> = address.query_pairs().into_owned().collect();
    let asked: BTreeMap<&str, &str> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(asked.len(), pairs.len(), "a parameter twice");
    assert_eq!(asked["response_type"], "code");
    assert_eq!(asked["client_id"], CLIENT_ID);
    assert_eq!(asked["redirect_uri"], "http://localhost:5000/oidc/callback");
    assert_eq!(asked["scope"], "openid email profile");
    assert_eq!(asked["code_challenge_method"], "S256");
    // 256 bits in base64url (RFC 7636 section 4.1; RFC 6749 section 10.10).
    for name in ["state", "nonce", "code_challenge"] {
        assert_eq!(asked[name].len(), 43, "{name}");
    }
    let distinct: BTreeSet<&str> = ["state", "nonce", "code_challenge"].map(|name| asked[name]).into();
    assert_eq!(distinct.len(), 3);
    // What the attempt is protected by stays in the sealed cookie.
    let cookie = answered.header("Set-Cookie").unwrap();
    assert!(!cookie.contains(asked["state"]) && !cookie.contains(asked["nonce"]));
    assert_eq!(world.provider.count("/token"), 0);
}

#[test]
fn only_whoever_wants_another_account_is_asked_again() {
    let world = World::new();
    for (address, prompt) in [("/oidc/login?go=1", None), ("/oidc/login?go=1&again=1", Some("login"))] {
        let answered = Browser::default().open(&world, address);
        let address = Url::parse(answered.location()).unwrap();
        let asked: BTreeMap<String, String> = address.query_pairs().into_owned().collect();
        assert_eq!(asked.get("prompt").map(String::as_str), prompt);
    }
}

#[test]
fn an_authorization_endpoint_keeps_a_query_of_its_own() {
    let world = World::new();
    let mut document = metadata();
    document["authorization_endpoint"] = format!("{ISSUER}/auth?tenant=1").into();
    world.provider.change(|script| script.metadata = ok(&document));
    let asked = Browser::default().begin(&world, "/");
    assert_eq!(asked["tenant"], "1");
    assert_eq!(asked["client_id"], CLIENT_ID);
}

#[test]
fn the_cookie_is_for_this_place_and_for_no_script() {
    /// Settings, static prefix, scheme, name, attributes.
    type Row<'r> = (&'r [(&'r str, &'r str)], &'r str, &'r str, &'r str, &'r [&'r str]);
    let rows: [Row<'_>; 4] = [
        (&[], "", "http", "mlflow_oidc=", &["HttpOnly", "SameSite=Lax", "Path=/"]),
        (&[], "/mlflow", "http", "mlflow_oidc=", &["HttpOnly", "SameSite=Lax", "Path=/mlflow/"]),
        (
            &[("OIDC_PUBLIC_URL", "https://mlflow.example")],
            "",
            "http",
            "__Host-mlflow_oidc=",
            &["HttpOnly", "SameSite=Lax", "Path=/", "Secure"],
        ),
        (
            &[("OIDC_PUBLIC_URL", "https://example.com/ml/")],
            "/mlflow",
            "http",
            "__Secure-mlflow_oidc=",
            &["HttpOnly", "SameSite=Lax", "Path=/ml/", "Secure"],
        ),
    ];
    for (settings, prefix, scheme, name, attributes) in rows {
        let world = World::told(settings, &Facts { static_prefix: prefix.to_owned(), ..facts() });
        let answered = Ask::get(&format!("{prefix}/oidc/login?go=1")).navigation().scheme(scheme).of(&world);
        let cookie = answered.header("Set-Cookie").unwrap();
        assert!(cookie.starts_with(name), "{cookie}");
        let found: BTreeSet<&str> =
            cookie.split("; ").skip(1).filter(|a| !a.starts_with("Max-Age")).collect();
        assert_eq!(found, attributes.iter().copied().collect(), "{cookie}");
        assert!(!cookie.contains("Domain"));
    }
}

#[test]
fn the_sign_in_page_keeps_next_and_works_without_a_script() {
    let world = World::new();
    let answered = Ask::get("/oidc/login?next=%2Fa%3Fb%3D%22c").navigation().of(&world);
    assert_eq!(answered.status(), 200);
    assert!(answered.header("Set-Cookie").is_none(), "a login begins when the browser goes on");
    let link = "/oidc/login?next=%2Fa%3Fb%3D%2522c&amp;go=1";
    assert!(answered.body().contains(&format!("href=\"{link}\"")), "{}", answered.body());
    assert!(
        answered
            .body()
            .contains(&format!("<noscript><meta http-equiv=\"refresh\" content=\"0; url={link}\""))
    );
    assert!(world.provider.asked().is_empty(), "the page needs no provider");
}

#[test]
fn next_that_leads_elsewhere_leads_to_the_start_page() {
    let world = World::new();
    for next in
        ["//evil.example", "https://evil.example/", "/%5Cevil.example", "/oidc/logout", "javascript:alert(1)"]
    {
        let mut browser = Browser::default();
        let asked = browser.begin(&world, &url_decode(next));
        let answered = browser.come_back(&world, &asked, &mut Draft::id_token());
        assert_eq!(answered.location(), "http://localhost:5000/", "{next}");
    }
}

fn url_decode(text: &str) -> String {
    url::form_urlencoded::parse(text.as_bytes()).next().unwrap().0.into_owned()
}

#[test]
fn a_login_comes_back_to_where_it_began() {
    let world = World::new();
    for next in ["/?x=1", "/#/experiments/7?a=b", "/#/models/a%20b", "/graphql?q=%C3%A4"] {
        let mut browser = Browser::default();
        let asked = browser.begin(&world, next);
        let answered = browser.come_back(&world, &asked, &mut Draft::id_token());
        assert_eq!(answered.location(), format!("http://localhost:5000{next}"));
    }
}

#[test]
fn under_a_static_prefix_everything_is_below_it() {
    let world = World::told(&[], &Facts { static_prefix: "/mlflow".to_owned(), ..facts() });
    let mut browser = Browser { prefix: "/mlflow".to_owned(), ..Browser::default() };
    assert_eq!(browser.open(&world, "/?x=1").location(), "/mlflow/oidc/login?next=%2Fmlflow%2F%3Fx%3D1");
    let asked = browser.begin(&world, "/mlflow/?x=1");
    assert_eq!(asked["redirect_uri"], "http://localhost:5000/mlflow/oidc/callback");
    let answered = browser.come_back(&world, &asked, &mut Draft::id_token());
    assert_eq!(answered.location(), "http://localhost:5000/mlflow/?x=1");
    assert_eq!(browser.open(&world, "/oidc/session").json()["username"], "alice@example.com");
}

#[test]
fn behind_a_proxy_the_public_address_stands_in_every_link() {
    let settings = [("OIDC_PUBLIC_URL", "https://example.com/ml")];
    let world = World::told(&settings, &Facts { static_prefix: "/mlflow".to_owned(), ..facts() });
    let ask = Ask::get("/mlflow/?x=1").navigation().host("10.0.0.7:5000");
    assert_eq!(ask.of(&world).location(), "/ml/oidc/login?next=%2Fml%2F%3Fx%3D1");
    let answered = Ask::get("/mlflow/oidc/login?go=1&next=/ml/").navigation().host("evil.example").of(&world);
    assert!(answered.location().contains("redirect_uri=https%3A%2F%2Fexample.com%2Fml%2Foidc%2Fcallback"));
}

#[test]
fn the_callback_may_stand_at_the_start_page() {
    let world = World::with(&[("OIDC_REDIRECT_URI", "http://localhost:5000/")]);
    let mut browser = Browser::default();
    let asked = browser.begin(&world, "/#/x");
    assert_eq!(asked["redirect_uri"], "http://localhost:5000/");
    browser.come_back(&world, &asked, &mut Draft::id_token());
    let mut other = Browser::default();
    let again = other.begin(&world, "/#/x");
    world.provider.change(|script| script.token = crate::support::down());
    let mut draft = Draft::id_token();
    let token = draft.answer_to(&again["nonce"]).token();
    let answer = serde_json::json!({"token_type": "bearer", "id_token": token});
    world.provider.change(|script| script.token = ok(&answer));
    let answered = other.open(&world, &format!("/?code=good-code&state={}", again["state"]));
    assert_eq!(answered.location(), "http://localhost:5000/#/x");
    // Without an answer of the provider it is the start page as ever.
    for query in ["code=x", "state=x", "error=x", "x=state&y=code"] {
        let next: String = url::form_urlencoded::byte_serialize(format!("/?{query}").as_bytes()).collect();
        let answered = Ask::get(&format!("/?{query}")).navigation().of(&world);
        assert_eq!(answered.location(), format!("/oidc/login?next={next}"));
    }
    let denied = other.open(&world, "/?error=access_denied&state=x");
    assert_eq!(denied.location(), "http://localhost:5000/", "an answer to nobody, and somebody is signed in");
}

#[test]
fn four_logins_may_be_under_way_and_the_fifth_pushes_out_the_first() {
    let world = World::new();
    let mut browser = Browser::default();
    let asked: Vec<_> = (0..5).map(|n| browser.begin(&world, &format!("/#/{n}"))).collect();
    let first = browser.clone().come_back(&world, &asked[0], &mut Draft::id_token());
    assert_eq!(first.refusal(), (400, "login_unknown".to_owned()));
    for (n, asked) in asked.iter().enumerate().skip(1) {
        let answered = browser.come_back(&world, asked, &mut Draft::id_token());
        assert_eq!(answered.location(), format!("http://localhost:5000/#/{n}"));
    }
}

#[test]
fn four_long_addresses_still_fit_one_cookie_and_the_newest_login_is_kept() {
    let world = World::new();
    let mut browser = Browser::default();
    let next = format!("/?q={}", "x".repeat(2000));
    let asked: Vec<_> = (0..4).map(|_| browser.begin(&world, &next)).collect();
    assert!(browser.cookie.as_ref().unwrap().len() < 4000, "browsers drop larger cookies");
    let answered = browser.come_back(&world, &asked[3], &mut Draft::id_token());
    assert_eq!(answered.location(), format!("http://localhost:5000{next}"));
}

#[test]
fn a_next_that_is_too_long_leads_to_the_start_page() {
    let world = World::new();
    // The second is short as it comes, and six times as long once it is encoded.
    for next in [format!("/?q={}", "x".repeat(3000)), format!("/?q={}", "\u{e9}".repeat(900))] {
        let mut browser = Browser::default();
        let asked = browser.begin(&world, &next);
        let answered = browser.come_back(&world, &asked, &mut Draft::id_token());
        assert_eq!(answered.location(), "http://localhost:5000/");
    }
}

#[test]
fn logins_that_took_too_long_make_room() {
    let world = World::new();
    let mut browser = Browser::default();
    let old = browser.begin(&world, "/#/old");
    world.clock.forward(3600);
    let new = browser.begin(&world, "/#/new");
    let answered = browser.clone().come_back(&world, &old, &mut Draft::id_token());
    assert_eq!(answered.refusal(), (400, "login_unknown".to_owned()));
    let mut draft = Draft::id_token();
    draft.set("exp", crate::support::NOW + 7200);
    assert_eq!(browser.come_back(&world, &new, &mut draft).status(), 302);
}
