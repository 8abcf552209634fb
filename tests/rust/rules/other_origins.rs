//! Pages of other origins: the cookie alone changes nothing for them, by no method, however the request is dressed.

use crate::support::{Ask, Browser, Draft, World};
use mlflow_oidc::app::wire::Decision;

const OWN: &str = "http://localhost:5000";

/// `Sec-Fetch-Site` and `Origin` of our own pages, of the address bar, and of programs that keep a cookie.
const OURS: [(Option<&str>, Option<&str>); 7] = [
    (None, None),
    (None, Some(OWN)),
    (Some("same-origin"), Some(OWN)),
    (Some("same-origin"), None),
    // A page that was opened without a name for its origin, and an origin behind a proxy that the server does not know.
    (Some("same-origin"), Some("null")),
    (Some("same-origin"), Some("https://mlflow.example")),
    (Some("none"), None),
];

/// The same of pages elsewhere, and of nothing that a browser sends.
const THEIRS: [(Option<&str>, Option<&str>); 47] = [
    (Some("cross-site"), Some("https://evil.example")),
    (Some("cross-site"), Some("null")),
    (Some("cross-site"), Some(OWN)),
    (Some("cross-site"), None),
    (Some("same-site"), Some("http://localhost:6000")),
    (Some("same-site"), Some("https://wiki.example")),
    (Some("same-site"), Some(OWN)),
    (Some("same-site"), None),
    (Some(""), Some(OWN)),
    (Some(""), None),
    (Some(" "), Some(OWN)),
    (Some("Same-Origin"), Some(OWN)),
    (Some("SAME-ORIGIN"), Some(OWN)),
    (Some("None"), None),
    (Some(" same-origin"), Some(OWN)),
    (Some("same-origin "), Some(OWN)),
    (Some("same-origin;x"), Some(OWN)),
    (Some("same-origin,same-origin"), Some(OWN)),
    (Some("same-origin, cross-site"), Some(OWN)),
    (Some("cross-site, same-origin"), Some(OWN)),
    (Some("same-origin none"), Some(OWN)),
    (Some("\"same-origin\""), Some(OWN)),
    (Some("sameorigin"), Some(OWN)),
    (Some("?1"), Some(OWN)),
    (None, Some("null")),
    (None, Some("")),
    (None, Some("*")),
    (None, Some("https://evil.example")),
    (None, Some("https://localhost:5000")),
    (None, Some("ws://localhost:5000")),
    (None, Some("http://localhost")),
    (None, Some("http://localhost:")),
    (None, Some("http://localhost:80")),
    (None, Some("http://localhost:500")),
    (None, Some("http://localhost:50000")),
    (None, Some("http://localhost:5000.evil.example")),
    (None, Some("http://localhost:5000@evil.example")),
    (None, Some("http://evil.example/localhost:5000")),
    (None, Some("http://127.0.0.1:5000")),
    (None, Some("http://[::1]:5000")),
    (None, Some("http://LOCALHOST:5000")),
    (None, Some("http://localhost:5000/")),
    (None, Some("http://localhost:5000/x")),
    (None, Some("http://localhost:5000, http://localhost:5000")),
    (None, Some("http://localhost:5000 http://evil.example")),
    (None, Some("http://evil.example http://localhost:5000")),
    (None, Some("localhost:5000")),
];

/// Methods that change something, and those of which nobody knows what they do; a method is written in capitals.
const CHANGING: [&str; 16] = [
    "POST", "PUT", "PATCH", "DELETE", "FOO", "TRACE", "CONNECT", "PROPFIND", "QUERY", "post", "Post", "get",
    "Get", "head", "GET ", "",
];

const PATHS: [&str; 8] = [
    "/",
    "/api/2.0/mlflow/runs/create",
    "/ajax-api/2.0/mlflow/experiments/create",
    "/graphql",
    "/gateway/mlflow/v1/chat/completions",
    "/v1/traces",
    "/signup",
    "/no/such/path",
];

fn dressed(ask: &Ask, (site, origin): (Option<&str>, Option<&str>)) -> Ask {
    let ask = site.map_or_else(|| ask.clone(), |site| ask.clone().fetch_site(site));
    origin.map_or_else(|| ask.clone(), |origin| ask.clone().origin(origin))
}

#[test]
fn changes_by_cookie_come_from_our_own_pages_only() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    let cross_origin = (403, "cross_origin".to_owned());
    for method in CHANGING {
        for path in PATHS {
            // A script, somebody who submits a form, and one of MLflow's routes on the event loop.
            for ask in [
                Ask::new(method, path),
                Ask::new(method, path).navigation(),
                Ask::new(method, path).on_event_loop(),
            ] {
                for headers in OURS {
                    let answered = browser.send(&world, dressed(&ask, headers));
                    assert_eq!(answered.username(), "alice@example.com", "{ask:?} {headers:?}");
                }
                for headers in THEIRS {
                    let answered = browser.send(&world, dressed(&ask, headers));
                    assert_eq!(answered.refusal(), cross_origin, "{ask:?} {headers:?}");
                }
            }
        }
    }
    assert_eq!(world.store.sessions().len(), 1);
}

#[test]
fn nobody_is_signed_out_by_another_page() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    for headers in THEIRS {
        for ask in [Ask::post("/oidc/logout"), Ask::post("/oidc/logout").navigation()] {
            let answered = browser.send(&world, dressed(&ask, headers));
            assert_eq!(answered.refusal(), (403, "cross_origin".to_owned()), "{headers:?}");
            assert!(answered.header("Set-Cookie").is_none(), "{headers:?}");
        }
        assert_eq!(world.store.sessions().len(), 1, "{headers:?}");
    }
    for headers in OURS {
        let answered = browser.send(&world, dressed(&Ask::post("/oidc/logout"), headers));
        assert_eq!(answered.status(), 303, "{headers:?}");
        assert!(world.store.sessions().is_empty(), "{headers:?}");
        browser = Browser::signed_in(&world, Draft::id_token());
    }
}

#[test]
fn behind_a_proxy_the_public_address_is_our_origin_and_no_other_is() {
    let world = World::with(&[("OIDC_PUBLIC_URL", "https://mlflow.example/ml")]);
    let mut browser = Browser::signed_in_at(&world, Draft::id_token(), "https://mlflow.example/ml/");
    let change = Ask::post("/api/2.0/mlflow/runs/create").host("10.0.0.1:5000");
    for (origin, good) in [
        ("https://mlflow.example", true),
        ("https://mlflow.example/ml", false),
        ("https://mlflow.example:443", false),
        ("https://mlflow.example:8443", false),
        ("http://mlflow.example", false),
        ("https://mlflow.example.evil.example", false),
        ("https://evil-mlflow.example", false),
        // What the server itself was asked by: the caller writes it.
        ("http://10.0.0.1:5000", false),
    ] {
        let answered = browser.send(&world, change.clone().origin(origin));
        assert_eq!(matches!(answered.0, Decision::Allow { .. }), good, "{origin}: {answered:?}");
    }
}

#[test]
fn reading_changes_nothing() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    for method in ["GET", "HEAD", "OPTIONS"] {
        let read = Ask::new(method, "/api/x").fetch_site("cross-site").origin("https://evil.example");
        assert_eq!(browser.send(&world, read).username(), "alice@example.com", "{method}");
    }
}

#[test]
fn a_bearer_needs_no_such_proof() {
    // Another page can make a browser send its cookie, but not a token that the page does not have.
    let world = World::new();
    let token = Draft::bearer().token();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    for headers in THEIRS {
        let bearer = dressed(&Ask::post("/api/x").bearer(&token), headers);
        assert_eq!(bearer.of(&world).username(), "alice@example.com", "{headers:?}");
        // And a bearer that is none does not make the cookie beside it any better.
        let nonsense = dressed(&Ask::post("/api/x").bearer("nonsense"), headers);
        assert_eq!(browser.send(&world, nonsense).code(), "token_malformed", "{headers:?}");
    }
}
