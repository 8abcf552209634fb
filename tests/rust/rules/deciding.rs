//! The order of decision: header before cookie, cookie before refusal; and what nobody in particular gets.

use crate::support::{Ask, Browser, Draft, World};
use mlflow_oidc::app::wire::Decision;
use mlflow_oidc::ports::StoreFault;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const PATHS: [&str; 16] = [
    "/",
    "",
    "/api/2.0/mlflow/experiments/search",
    "/ajax-api/2.0/mlflow/runs/get",
    "/api/3.0/mlflow/workspaces/default",
    "/api/2.0/mlflow-artifacts/artifacts/1/x",
    "/v1/traces",
    "/graphql",
    "/get-artifact",
    "/gateway/chat/invocations",
    "/static-files/index.html",
    "/signup",
    "/oidc",
    "/oidc/",
    "/oidc/login/",
    "/nothing/here",
];

/// The ways in which somebody without credentials may come.
fn anonymous(method: &str, path: &str) -> Vec<Ask> {
    let ask = Ask::new(method, path);
    vec![
        ask.clone(),
        ask.clone().navigation(),
        ask.clone().accept("text/html"),
        ask.clone().accept("application/json, text/html"),
        ask.clone().accept("*/*").fetch_mode("cors").fetch_site("same-origin"),
        ask.clone().cookie("mlflow_oidc=garbage; session=x"),
        ask.navigation().cookie("mlflow_oidc=AAAA"),
    ]
}

#[test]
fn nobody_in_particular_gets_400_or_more_except_for_opening_the_start_page() {
    for (prefix, settings) in [("", &[][..]), ("/mlflow", &[("OIDC_BASIC_AUTH", "false")][..])] {
        let facts =
            mlflow_oidc::config::Facts { static_prefix: prefix.to_owned(), ..crate::support::facts() };
        let world = World::told(settings, &facts);
        for method in METHODS {
            for path in PATHS {
                for ask in anonymous(method, &format!("{prefix}{path}")) {
                    let answered = ask.of(&world);
                    let start = matches!(path, "" | "/") && method == "GET";
                    if start && answered.status() == 302 {
                        assert_eq!(
                            answered.location(),
                            format!("{prefix}/oidc/login?next=%2F{}", start_of(prefix))
                        );
                        continue;
                    }
                    assert_eq!(answered.status(), 401, "{ask:?}");
                }
            }
        }
    }
}

/// What stands behind the first slash of the start page, form-encoded.
fn start_of(prefix: &str) -> String {
    prefix.strip_prefix('/').map(|rest| format!("{rest}%2F")).unwrap_or_default()
}

#[test]
fn only_a_browser_that_opens_the_start_page_is_redirected() {
    let world = World::new();
    let answered = Ask::get("/?x=1&y=%2F").navigation().of(&world);
    assert_eq!(answered.status(), 302);
    assert_eq!(answered.location(), "/oidc/login?next=%2F%3Fx%3D1%26y%3D%252F");
    assert_eq!(Ask::get("/").of(&world).status(), 401, "a program");
    assert_eq!(Ask::post("/").navigation().of(&world).status(), 401, "a form");
    assert_eq!(Ask::get("/").accept("text/html").fetch_mode("cors").of(&world).status(), 401, "a script");
}

#[test]
fn a_page_that_a_browser_opens_goes_on_to_the_sign_in_by_itself() {
    let world = World::new();
    let answered = Ask::get("/graphql?a=b").navigation().of(&world);
    assert_eq!(answered.status(), 401);
    assert!(answered.is_page());
    assert!(answered.body().contains("/oidc/login?next=%2Fgraphql%3Fa%3Db&amp;go=1"), "{}", answered.body());
    assert!(answered.header("Set-Cookie").is_none());
}

#[test]
fn a_program_gets_one_readable_line_and_one_challenge() {
    let answered = Ask::post("/api/2.0/mlflow/runs/create").of(&World::new());
    let json = answered.json();
    assert_eq!(json["error_code"], "UNAUTHENTICATED");
    assert_eq!(json["code"], "no_credentials");
    let message = json["message"].as_str().unwrap();
    assert!(!message.contains('\n') && message.contains("Bearer"), "{message}");
    // RFC 6750 section 3: no error code where no credentials were sent.
    let challenge = answered.header("WWW-Authenticate").unwrap();
    let address = "http://localhost:5000/.well-known/oauth-protected-resource";
    assert_eq!(challenge, format!("Bearer resource_metadata=\"{address}\""));
    let bad = Ask::get("/").bearer("x").of(&World::new());
    assert!(bad.header("WWW-Authenticate").unwrap().starts_with("Bearer error=\"invalid_token\", "));
}

#[test]
fn the_challenge_leads_to_a_document_that_names_the_issuer() {
    let answered = Ask::get("/.well-known/oauth-protected-resource").of(&World::new());
    assert_eq!(answered.status(), 200);
    let json = answered.json();
    assert_eq!(json["authorization_servers"][0], crate::support::ISSUER);
    assert_eq!(json["resource"], "http://localhost:5000/");
}

#[test]
fn a_header_that_fails_never_falls_back_to_the_cookie() {
    let world = World::with(&[("OIDC_BASIC_AUTH", "false")]);
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    assert_eq!(browser.send(&world, Ask::get("/")).username(), "alice@example.com");
    let headers = [
        ("Bearer x", "token_malformed"),
        ("Bearer ", "token_malformed"),
        ("Bearer", "token_malformed"),
        ("Basic YWxpY2U6eA==", "basic_auth_disabled"),
        ("Digest username=x", "authorization_scheme"),
        ("Negotiate abc", "authorization_scheme"),
        ("", "authorization_scheme"),
        (" ", "authorization_scheme"),
        ("Bearer\tx", "authorization_scheme"),
        ("BearerToken x", "authorization_scheme"),
    ];
    for (header, code) in headers {
        for ask in [Ask::get("/"), Ask::get("/").navigation(), Ask::get("/api/2.0/mlflow/runs/get")] {
            let answered = browser.send(&world, ask.authorization(header));
            assert_eq!(answered.refusal(), (401, code.to_owned()), "{header:?}");
            assert!(answered.header("Set-Cookie").is_none());
        }
    }
    let expired = {
        let mut draft = Draft::bearer();
        draft.set("exp", crate::support::NOW - 600);
        draft.token()
    };
    let answered = browser.send(&world, Ask::get("/").bearer(&expired));
    assert_eq!(answered.refusal(), (401, "token_expired".to_owned()));
}

#[test]
fn the_scheme_is_read_without_case_and_with_spaces() {
    let world = World::new();
    let token = Draft::bearer().token();
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer ", "Bearer   "] {
        let answered = Ask::get("/").authorization(&format!("{scheme} {token}")).of(&world);
        assert_eq!(answered.username(), "alice@example.com", "{scheme:?}");
    }
}

#[test]
fn basic_goes_to_mlflow_itself_or_nowhere() {
    let header = "Basic YWRtaW46cGFzc3dvcmQ=";
    let on = Ask::get("/").authorization(header).of(&World::new());
    assert_eq!(on.0, Decision::Basic { authorization: header.to_owned() });
    let off = Ask::get("/").authorization(header).of(&World::with(&[("OIDC_BASIC_AUTH", "false")]));
    assert_eq!(off.refusal(), (401, "basic_auth_disabled".to_owned()));
}

#[test]
fn an_account_that_a_login_made_has_no_password() {
    let world = World::with(&[("OIDC_USERNAME_CLAIM", "name")]);
    let mut draft = Draft::bearer();
    draft.set("name", "alice");
    assert_eq!(Ask::get("/").bearer(&draft.token()).of(&world).username(), "alice");
    // MLflow lets everybody set a password for themselves, and it would outlive the membership at the provider.
    world.users.set_password("alice");
    let ask = Ask::get("/").authorization("Basic YWxpY2U6cHc=");
    assert!(matches!(ask.of(&world).0, Decision::Basic { .. }), "MLflow checks the password first");
    let refusal = (401, "account_without_password".to_owned());
    assert_eq!(ask.with_right_password(&world, "alice").refusal(), refusal);
    assert_eq!(ask.clone().on_event_loop().with_right_password(&world, "alice").refusal(), refusal);
    assert_eq!(ask.with_right_password(&world, "bob").username(), "bob", "a local user of MLflow's");
    world.store.fail(Some(StoreFault::Busy));
    let answered = ask.with_right_password(&world, "alice");
    assert_eq!(answered.refusal(), (503, "database_unavailable".to_owned()), "closed when in doubt");
}

#[test]
fn our_own_addresses_answer_their_methods_only() {
    let world = World::new();
    let allowed = [
        ("/oidc/login", &["GET"][..]),
        ("/oidc/callback", &["GET"]),
        ("/oidc/logout", &["GET", "POST"]),
        ("/oidc/session", &["GET"]),
        ("/.well-known/oauth-protected-resource", &["GET"]),
    ];
    for (path, methods) in allowed {
        for method in METHODS.into_iter().filter(|method| !methods.contains(method)) {
            let answered = Ask::new(method, path).of(&world);
            assert_eq!(answered.refusal(), (405, "method_not_allowed".to_owned()), "{method} {path}");
            assert!(answered.header("Allow").is_some());
        }
    }
}

#[test]
fn a_host_of_somebody_else_is_told_nothing_and_led_nowhere() {
    let world = World::new();
    for path in ["/oidc/login?next=/", "/oidc/login?next=/&go=1", "/"] {
        let answered = Ask::get(path).navigation().host("evil.example").of(&world);
        assert_eq!(answered.refusal(), (500, "public_url_unknown".to_owned()), "{path}");
        assert!(!answered.body().contains("http://evil"), "{path}");
        assert!(answered.header("Location").is_none());
    }
    // Programs need no address of ours.
    let answered = Ask::get("/api/x").host("evil.example").bearer(&Draft::bearer().token()).of(&world);
    assert_eq!(answered.username(), "alice@example.com");
}
