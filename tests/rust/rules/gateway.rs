//! MLflow's gateway: the caller's own keys, and MLflow's own jobs.

use crate::support::{Ask, Browser, Draft, World, facts};
use mlflow_oidc::app::wire::Decision;
use mlflow_oidc::config::Facts;

const PATH: &str = "/gateway/chat/mlflow/invocations";

fn basic(pair: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

#[test]
fn at_the_gateway_the_header_of_its_own_comes_first() {
    let world = World::new();
    let token = Draft::bearer().token();
    let own = format!("Bearer {token}");
    let ask = Ask::post(PATH).gateway_authorization(&own).authorization("Bearer sk-the-callers-own-key");
    assert_eq!(ask.of(&world).username(), "alice@example.com");
    // One that fails never falls back to the other one.
    let ask = Ask::post(PATH).gateway_authorization("Bearer x").authorization(&own);
    assert_eq!(ask.of(&world).code(), "token_malformed");
    let ask = Ask::post(PATH).gateway_authorization("").authorization(&own);
    assert_eq!(ask.of(&world).code(), "authorization_scheme");
    assert_eq!(Ask::post(PATH).authorization(&own).of(&world).username(), "alice@example.com");
}

#[test]
fn outside_the_gateway_that_header_means_nothing() {
    let world = World::new();
    let own = format!("Bearer {}", Draft::bearer().token());
    for path in ["/api/2.0/mlflow/runs/get", "/gateway", "/gatewayx/y", "/api/gateway/", "/x/gateway/y"] {
        assert_eq!(Ask::post(path).gateway_authorization(&own).of(&world).code(), "no_credentials", "{path}");
    }
}

#[test]
fn basic_in_the_header_of_the_gateway_is_checked_by_mlflow_with_that_header() {
    let header = basic("carol:password");
    let ask = Ask::post(PATH).gateway_authorization(&header).authorization("Bearer sk-other");
    assert_eq!(ask.of(&World::new()).0, Decision::Basic { authorization: header });
}

#[test]
fn mlflows_own_jobs_get_in_at_the_gateway_and_nowhere_else() {
    let world = World::new();
    let good = basic("carol:internal-gateway-token");
    assert_eq!(Ask::post(PATH).authorization(&good).of(&world).username(), "carol");
    assert_eq!(Ask::post(PATH).gateway_authorization(&good).of(&world).username(), "carol");
    assert_eq!(Ask::post(PATH).authorization(&good.replace("Basic", "basic")).of(&world).username(), "carol");
    let elsewhere = Ask::post("/api/2.0/mlflow/runs/create").authorization(&good).of(&world);
    assert_eq!(elsewhere.0, Decision::Basic { authorization: good.clone() }, "a wrong password to MLflow");
    let strict = World::with(&[("OIDC_BASIC_AUTH", "false")]);
    assert_eq!(Ask::post(PATH).authorization(&good).of(&strict).username(), "carol");
    assert_eq!(Ask::post("/api/x").authorization(&good).of(&strict).code(), "basic_auth_disabled");
}

#[test]
fn what_is_nearly_the_internal_token_is_a_password_like_any_other() {
    let world = World::with(&[("OIDC_BASIC_AUTH", "false")]);
    for pair in [
        "carol:internal-gateway-toke",
        "carol:internal-gateway-tokenx",
        "carol:Internal-gateway-token",
        "carol:",
        ":internal-gateway-token",
        "internal-gateway-token",
        "carol:x:internal-gateway-token",
    ] {
        let answered = Ask::post(PATH).authorization(&basic(pair)).of(&world);
        assert_eq!(answered.code(), "basic_auth_disabled", "{pair}");
    }
    let bearer = Ask::post(PATH).authorization("Bearer internal-gateway-token").of(&world);
    assert_eq!(bearer.code(), "token_malformed");
    // The pair is good as Basic alone.
    let pair = basic("carol:internal-gateway-token");
    for (scheme, code) in [("Bearer", "token_malformed"), ("Digest", "authorization_scheme")] {
        let other = pair.replacen("Basic", scheme, 1);
        assert_eq!(Ask::post(PATH).authorization(&other).of(&world).code(), code, "{scheme}");
    }
}

#[test]
fn without_an_internal_token_nobody_has_it() {
    let without = Facts { gateway_token: None, ..facts() };
    let world = World::told(&[("OIDC_BASIC_AUTH", "false")], &without);
    for pair in ["carol:", "carol:internal-gateway-token"] {
        assert_eq!(Ask::post(PATH).authorization(&basic(pair)).of(&world).code(), "basic_auth_disabled");
    }
}

#[test]
fn under_a_prefix_the_gateway_is_below_it() {
    let world = World::told(&[], &Facts { static_prefix: "/mlflow".to_owned(), ..facts() });
    let good = basic("carol:internal-gateway-token");
    assert_eq!(Ask::post(&format!("/mlflow{PATH}")).authorization(&good).of(&world).username(), "carol");
}

#[test]
fn a_session_is_good_at_the_gateway_too() {
    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    let answered = browser.send(&world, Ask::post(PATH).fetch_site("same-origin"));
    assert_eq!(answered.username(), "alice@example.com");
    let foreign = browser.send(&world, Ask::post(PATH).fetch_site("cross-site"));
    assert_eq!(foreign.code(), "cross_origin");
}
