//! The pages that people see: no markup of others, no secret, one script that the policy allows by its hash.

use crate::support::{Answered, Ask, Browser, CLIENT_SECRET, Draft, World, facts};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mlflow_oidc::app::answer;
use mlflow_oidc::app::wire::{Decision, Request};
use mlflow_oidc::config::{Facts, Fault};

/// A name, a group and a provider's words, each with markup in it.
const MARKUP: &str = "<img src=x onerror=alert(1)>\"'&";

/// One of every page there is.
fn pages() -> Vec<(&'static str, Answered)> {
    let world = World::with(&[("OIDC_USERNAME_CLAIM", "name"), ("OIDC_USER_GROUP", MARKUP)]);
    let mut draft = Draft::id_token().in_groups(&[MARKUP]);
    draft.set("name", MARKUP);
    let mut browser = Browser::signed_in(&world, draft);
    let mut outsider = Draft::id_token().in_groups(&["x"]);
    outsider.set("name", MARKUP);
    let mut away = Browser::default();
    let state = away.begin(&world, "/").remove("state").unwrap();
    let words: String = url::form_urlencoded::byte_serialize(MARKUP.as_bytes()).collect();
    let denied = format!("/oidc/callback?state={state}&error=access_denied&error_description={words}");
    let faults = [Fault { key: MARKUP.into(), expected: MARKUP.into(), found: MARKUP.into() }];
    let navigation = Request { method: "GET", path: "/", fetch_mode: Some("navigate"), ..Request::default() };
    vec![
        ("sign in", Ask::get(&format!("/oidc/login?next=/{words}")).navigation().of(&world)),
        ("sign in by itself", Ask::get(&format!("/{MARKUP}")).navigation().of(&world)),
        ("sign out", browser.open(&world, "/oidc/logout")),
        ("signed out", Browser::default().open(&world, "/oidc/logout")),
        ("not a member", Browser::default().sign_in(&world, outsider)),
        ("denied", away.open(&world, &denied)),
        ("a bad bearer", Ask::get("/").bearer(MARKUP).navigation().of(&world)),
        ("a bad scheme", Ask::get("/").authorization(MARKUP).navigation().of(&world)),
        ("a bad callback", Ask::get("/oidc/callback?code=a&code=b").navigation().of(&world)),
        ("another host", Ask::get("/").navigation().host("evil.example").of(&world)),
        ("wrong settings", Answered(Decision::Reply(answer::misconfigured(&navigation, &faults)))),
        ("broken", Answered(Decision::Reply(answer::broken(&navigation)))),
    ]
}

fn between<'t>(text: &'t str, begin: &str, end: &str) -> Vec<&'t str> {
    text.split(begin).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
}

#[test]
fn no_page_holds_markup_of_others() {
    for (name, page) in pages() {
        assert!(page.is_page(), "{name}");
        assert!(!page.body().contains("<img"), "{name}: {}", page.body());
        // Inside an attribute a quote ends it.
        for value in
            between(page.body(), "href=\"", ">").into_iter().chain(between(page.body(), "content=\"", ">"))
        {
            assert_eq!(value.trim_end_matches([' ', '/']).matches('"').count() % 2, 1, "{name}: {value}");
        }
    }
    let escaped = "&lt;img src=x onerror=alert(1)&gt;&quot;'&amp;";
    let all = pages();
    let shown = |wanted: &str| all.iter().find(|(name, _)| *name == wanted).unwrap().1.body().to_owned();
    for name in ["sign out", "not a member", "denied", "wrong settings"] {
        let expected = if name == "denied" { "&lt;img src=x onerror=alert(1)&gt;&quot;" } else { escaped };
        assert!(shown(name).contains(expected), "{name} does not show it: {}", shown(name));
    }
}

#[test]
fn every_page_is_kept_from_frames_scripts_and_caches() {
    for (name, page) in pages() {
        let policy = page.header("Content-Security-Policy").unwrap_or_else(|| panic!("{name} has no policy"));
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{name}: {policy}");
        for rule in ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action "] {
            assert!(policy.contains(rule), "{name} lacks {rule}: {policy}");
        }
        assert_eq!(page.header("X-Frame-Options"), Some("DENY"), "{name}");
        assert_eq!(page.header("X-Content-Type-Options"), Some("nosniff"), "{name}");
        assert_eq!(page.header("Cache-Control"), Some("no-store"), "{name}");
        assert!(matches!(page.header("Referrer-Policy"), Some("same-origin" | "no-referrer")), "{name}");
    }
}

#[test]
fn every_script_and_style_in_a_page_is_the_one_whose_hash_the_policy_names() {
    let mut scripts = 0;
    for (name, page) in pages() {
        let policy = page.header("Content-Security-Policy").unwrap();
        for (tag, rule) in [("script", "script-src"), ("style", "style-src")] {
            let allowed = between(policy, &format!("{rule} "), ";").remove(0);
            for text in between(page.body(), &format!("<{tag}>"), &format!("</{tag}>")) {
                let hash = STANDARD.encode(digest(&SHA256, text.as_bytes()));
                assert_eq!(allowed, format!("'sha256-{hash}'"), "{name}");
                scripts += usize::from(tag == "script");
            }
            assert_eq!(
                page.body().matches(&format!("<{tag}")).count(),
                page.body().matches(&format!("<{tag}>")).count()
            );
        }
        assert!(!page.body().contains(" style=") && !page.body().contains(" onclick="), "{name}");
        assert!(!page.body().contains(" src=\""), "{name} loads something");
    }
    assert!(scripts >= 2, "the sign-in page has a script");
}

#[test]
fn no_page_holds_a_secret_or_a_token() {
    let token = Draft::bearer().token();
    for (name, page) in pages() {
        for secret in
            [CLIENT_SECRET, "internal-gateway-token", "good-code", "opaque-access-token", &token[..60]]
        {
            assert!(!page.body().contains(secret), "{name}");
            let header = page.reply().headers.iter().any(|(_, value)| value.contains(secret));
            assert!(!header, "{name}");
        }
    }
}

#[test]
fn wrong_settings_let_nobody_in_and_name_every_key() {
    let faults = [
        Fault { key: "OIDC_ISSUER_URL".into(), expected: "a value".into(), found: "none".into() },
        Fault { key: "OIDC_BASIC_AUTH".into(), expected: "true or false".into(), found: "'x'".into() },
    ];
    let program = Request { method: "GET", path: "/api/x", ..Request::default() };
    let reply = answer::misconfigured(&program, &faults);
    assert_eq!(reply.status, 500);
    let json: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(json["code"], "configuration");
    assert_eq!(json["faults"].as_array().unwrap().len(), 2);
    let browser = Request { fetch_mode: Some("navigate"), ..program };
    let page = answer::misconfigured(&browser, &faults);
    assert_eq!(page.status, 500);
    for key in ["OIDC_ISSUER_URL", "OIDC_BASIC_AUTH"] {
        assert!(page.body.contains(key) && json["message"].as_str().unwrap().contains(key));
    }
}

#[test]
fn links_of_a_page_stay_below_the_prefix() {
    let world = World::told(&[], &Facts { static_prefix: "/mlflow".to_owned(), ..facts() });
    for path in
        ["/mlflow/oidc/login", "/mlflow/x", "/mlflow/oidc/logout", "/mlflow/oidc/callback?code=1&code=2"]
    {
        let page = Ask::get(path).navigation().of(&world);
        let links = between(page.body(), "href=\"", "\"");
        assert!(!links.is_empty(), "{path}");
        assert!(links.iter().all(|link| link.starts_with("/mlflow/")), "{path}: {links:?}");
    }
}

#[test]
fn the_catalogue_tells_every_code() {
    let table = answer::catalogue_markdown();
    for code in mlflow_oidc::error::Code::ALL {
        assert!(table.contains(&format!("| `{}` |", code.name())));
    }
}
