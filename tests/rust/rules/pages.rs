//! The pages that people see: no markup of others, no secret, one script that the policy allows by its hash.

use crate::support::{Answered, Ask, Browser, CLIENT_SECRET, Draft, World, facts, parse};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mlflow_oidc::app::answer;
use mlflow_oidc::app::wire::{Decision, Request};
use mlflow_oidc::config::{Facts, Fault, Site};
use mlflow_oidc::error::{Code, Error, Party, is_invisible};
use mlflow_oidc::ports::StoreFault;
use std::collections::BTreeSet;

/// A name, a group and a provider's words, each with markup in it.
const MARKUP: &str = "<img src=x onerror=alert(1)>\"'&";

/// Texts that would become something else in one of the places where foreign text stands: an element, an attribute, a
/// comment, a script, a refresh, a template, a line of a header.
const TEXTS: [&str; 22] = [
    MARKUP,
    "<script>alert(1)</script>",
    "</p></main><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</noscript><script>alert(1)</script>",
    "<svg/onload=alert(1)>",
    "<base href=//evil.example>",
    "<form action=//evil.example><button>",
    "\" autofocus onfocus=\"alert(1)",
    "' autofocus onfocus='alert(1)",
    "\"><meta http-equiv=refresh content=0;url=//evil.example>",
    "x;url=//evil.example",
    "'; url='//evil.example",
    "javascript:alert(1)",
    "<!--",
    "]]><x>",
    "&lt;b&gt; &#60;b&#62; &amp;",
    "{{7*7}} ${7*7} <%=7*7%> #{7*7}",
    "\u{FF1C}b\u{FF1E} %3Cb%3E \\x3cb\\x3e \\u003cb",
    "\r\nSet-Cookie: x=y\r\n\r\n<b>",
    "\u{0}\u{1b}[2J\u{202E}<b>",
];

/// One of every page there is, with this text in every place where a text of others can stand.
fn pages_with(text: &str) -> Vec<(&'static str, Answered)> {
    // A user and a group have names without control characters.
    let name: String = text.chars().filter(|c| !c.is_control() && !is_invisible(*c)).collect();
    let world = World::with(&[("OIDC_USERNAME_CLAIM", "name"), ("OIDC_USER_GROUP", &name)]);
    let mut draft = Draft::id_token().in_groups(&[&name]);
    draft.set("name", name.clone());
    let mut browser = Browser::signed_in(&world, draft);
    let mut outsider = Draft::id_token().in_groups(&["x"]);
    outsider.set("name", name.clone());
    let words: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let come_back = |query: &str| {
        let mut away = Browser::default();
        let state = away.begin(&world, "/").remove("state").unwrap();
        away.open(&world, &format!("/oidc/callback?state={state}&{query}"))
    };
    let broken = World::new();
    broken.provider.go_down();
    let locked = World::new();
    let mut lost = Browser::signed_in(&locked, Draft::id_token());
    locked.store.fail(Some(StoreFault::Failed(text.to_owned())));
    let faults = [Fault { key: text.to_owned(), expected: text.to_owned(), found: text.to_owned() }];
    let navigation =
        Request { method: "GET", path: text, fetch_mode: Some("navigate"), ..Request::default() };
    vec![
        ("sign in", Ask::get(&format!("/oidc/login?next=/{words}")).navigation().of(&world)),
        ("sign in by itself", Ask::get(&format!("/{text}")).navigation().of(&world)),
        ("sign in by itself, with a query", Ask::get(&format!("/x?{text}")).navigation().of(&world)),
        ("sign out", browser.open(&world, "/oidc/logout")),
        ("signed out", Browser::default().open(&world, "/oidc/logout")),
        ("not a member", Browser::default().sign_in(&world, outsider)),
        ("denied", come_back(&format!("error=access_denied&error_description={words}"))),
        ("a fault of the provider", come_back(&format!("error={words}&error_description={words}"))),
        ("an answer of another provider", come_back(&format!("code=x&iss={words}"))),
        ("a code that is none", come_back(&format!("code={words}"))),
        (
            "a login that was not begun",
            Ask::get(&format!("/oidc/callback?code=a&state={words}")).navigation().of(&world),
        ),
        (
            "a bad callback",
            Ask::get(&format!("/oidc/callback?code=a&code=b&{words}")).navigation().of(&world),
        ),
        ("a bad bearer", Ask::get("/").bearer(text).navigation().of(&world)),
        ("a bad scheme", Ask::get("/").authorization(text).navigation().of(&world)),
        ("another page", browser.send(&world, Ask::post("/").navigation().fetch_site(text))),
        ("another origin", browser.send(&world, Ask::post("/").navigation().origin(text))),
        ("another method", Ask::new(text, "/oidc/login").navigation().of(&world)),
        ("another host", Ask::get("/").navigation().host("evil.example").of(&world)),
        ("no host", Ask::get("/").navigation().host(text).of(&world)),
        ("no provider", Ask::get(&format!("/oidc/login?go=1&next=/{words}")).navigation().of(&broken)),
        ("no database", lost.open(&locked, "/oidc/logout")),
        ("wrong settings", Answered(Decision::Reply(answer::misconfigured(&navigation, &faults)))),
        ("broken", Answered(Decision::Reply(answer::broken(&navigation)))),
    ]
}

fn pages() -> Vec<(&'static str, Answered)> {
    pages_with(MARKUP)
}

/// The elements of a page and their attributes, without a word of text and without the values.
fn skeleton(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for tag in page.split('<').skip(1) {
        let mut outside = true;
        let tag: String = tag
            .chars()
            .filter(|c| {
                outside ^= *c == '"';
                outside && *c != '"'
            })
            .collect();
        found.push(tag.split('>').next().unwrap().to_owned());
    }
    found
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
fn no_text_of_others_becomes_an_element_or_an_attribute() {
    let plain: Vec<_> =
        pages_with("plain").into_iter().map(|(name, page)| (name, skeleton(page.body()))).collect();
    assert!(plain.iter().all(|(_, elements)| elements.len() > 15));
    for text in TEXTS {
        for ((name, page), (_, elements)) in pages_with(text).iter().zip(&plain) {
            assert_eq!(&skeleton(page.body()), elements, "{text:?} in {name}: {}", page.body());
            // Nothing computes with it either, and a template's marks are shown as they are.
            assert!(!page.body().contains("49"), "{text:?} in {name}: {}", page.body());
        }
    }
}

#[test]
fn a_refresh_without_scripts_goes_to_our_own_sign_in_and_nowhere_else() {
    for text in TEXTS {
        for (name, page) in pages_with(text) {
            for content in between(page.body(), "http-equiv=\"refresh\" content=\"", "\"") {
                let address = content.strip_prefix("0; url=").unwrap_or_else(|| panic!("{name}: {content}"));
                assert!(address.starts_with("/oidc/login?next=%2F"), "{text:?} in {name}: {content}");
                // What HTML's parser of a refresh looks at: an end of the time, a quote around the address.
                let unescaped = address.replace("&amp;", "&");
                assert!(
                    !unescaped.contains([';', ',', '\'', '"', ' ', '<', '>']),
                    "{text:?} in {name}: {content}"
                );
            }
        }
    }
}

#[test]
fn no_line_of_the_log_is_written_by_others() {
    for text in TEXTS {
        let world = World::new();
        let words: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let mut browser = Browser::default();
        let state = browser.begin(&world, "/").remove("state").unwrap();
        for ask in [
            Ask::get(text),
            Ask::new(text, "/api/x"),
            Ask::post(text).authorization(text),
            Ask::get("/x").bearer(text),
            Ask::get("/x").host(text),
            Ask::post("/oidc/logout").origin(text),
            Ask::post("/oidc/logout").fetch_site(text),
            Ask::get(&format!("/oidc/callback?state={words}&code={words}")),
            Ask::get(&format!(
                "/oidc/callback?state={state}&error={words}&error_description={words}&iss={words}"
            )),
        ] {
            browser.send(&world, ask);
        }
        for (_, line) in world.log.all() {
            assert!(!line.chars().any(|c| c.is_control() || is_invisible(c)), "{text:?}: {line:?}");
        }
    }
}

/// Every code, by whoever's fault, as a page and as JSON, on a server that knows its address and on one that does not.
fn refusals(text: &str) -> Vec<(String, bool, Answered)> {
    let site = Site {
        origin: "https://mlflow.example".to_owned(),
        base: "/ml".to_owned(),
        redirect_uri: "https://mlflow.example/ml/oidc/callback".to_owned(),
    };
    let place = parse(&[], &facts()).unwrap().place;
    let page = Request {
        method: "GET",
        path: text,
        query: text,
        fetch_mode: Some("navigate"),
        ..Request::default()
    };
    let program = Request { fetch_mode: None, ..page };
    let mut found = Vec::new();
    for code in Code::ALL {
        for party in [code.party(), Party::Provider] {
            let error = Error::new(*code, text.to_owned(), text.to_owned()).by(party);
            for site in [Some(&site), None] {
                for (request, is_page) in [(&page, true), (&program, false)] {
                    let reply = answer::reply(request, &error, site, &place, None);
                    let name = format!("{code} by {party:?}, site {}", site.is_some());
                    found.push((name, is_page, Answered(Decision::Reply(reply))));
                }
            }
        }
    }
    found
}

#[test]
fn every_refusal_of_the_catalogue_is_shown_without_markup_of_others() {
    let plain = refusals("plain");
    assert_eq!(plain.len(), Code::ALL.len() * 8);
    for text in TEXTS {
        for ((name, is_page, answered), (_, _, other)) in refusals(text).into_iter().zip(&plain) {
            assert_eq!(answered.is_page(), is_page, "{name}");
            if is_page {
                assert_eq!(skeleton(answered.body()), skeleton(other.body()), "{text:?} in {name}");
            } else {
                assert_eq!(answered.header("Content-Type"), Some("application/json"), "{name}");
                assert_eq!(answered.json().as_object().unwrap().len(), 3, "{text:?} in {name}");
            }
        }
    }
}

#[test]
fn a_challenge_holds_names_of_ours_only() {
    // A quote or a line end in a parameter would begin another one, or another header.
    for text in TEXTS {
        for (name, _, answered) in refusals(text) {
            let Some(challenge) = answered.header("WWW-Authenticate") else { continue };
            let rest = challenge.strip_prefix("Bearer").unwrap_or_else(|| panic!("{name}: {challenge}"));
            for field in rest.split(", ").filter(|field| !field.is_empty()) {
                let (key, value) =
                    field.trim().split_once("=\"").unwrap_or_else(|| panic!("{name}: {challenge}"));
                assert!(
                    ["error", "error_description", "resource_metadata"].contains(&key),
                    "{name}: {challenge}"
                );
                let value = value.strip_suffix('"').unwrap_or_else(|| panic!("{name}: {challenge}"));
                assert!(
                    value.chars().all(|c| c.is_ascii_alphanumeric() || "_:/.-".contains(c)),
                    "{name}: {challenge}"
                );
            }
        }
    }
}

#[test]
fn every_page_and_every_refusal_is_kept_from_frames_scripts_and_caches() {
    let statuses: BTreeSet<u16> = pages().iter().map(|(_, page)| page.status()).collect();
    assert_eq!(statuses, BTreeSet::from([200, 400, 401, 403, 405, 500, 502, 503]));
    for (name, is_page, answered) in refusals(MARKUP) {
        assert_eq!(answered.header("X-Content-Type-Options"), Some("nosniff"), "{name}");
        assert_eq!(answered.header("Cache-Control"), Some("no-store"), "{name}");
        assert_eq!(answered.header("Content-Security-Policy").is_some(), is_page, "{name}");
    }
    let program = Request { method: "GET", path: "/", ..Request::default() };
    let reply = Answered(Decision::Reply(answer::misconfigured(&program, &[])));
    assert_eq!(reply.header("X-Content-Type-Options"), Some("nosniff"));
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
