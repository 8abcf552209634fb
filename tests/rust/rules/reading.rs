//! Small readers, asked directly where no token and no login can tell what they do.

use crate::provider::{alice, ask};
use crate::support::{Draft, Signer, World, jwk, metadata, ok};
use mlflow_oidc::jose::{Compact, Key, KeySet, json};
use mlflow_oidc::oidc::callback::CallbackQuery;
use mlflow_oidc::oidc::discovery::{self, ClientAuthentication, check_endpoint};
use mlflow_oidc::oidc::{claims, message::Response};
use mlflow_oidc::session::cookie::CookieRules;
use serde_json::{Value, json};

#[test]
fn what_is_wrong_with_a_json_is_said() {
    let rows = [
        ("{\"a\":1", "JSON that ends too early"),
        ("", "JSON that ends too early"),
        ("{\"a\":1,\"a\":2}", "JSON with a duplicate member"),
        ("[]", "JSON that is not an object"),
        ("7", "JSON that is not an object"),
        ("nonsense", "text that is not JSON"),
        ("{} {}", "text that is not JSON"),
    ];
    for (text, words) in rows {
        assert_eq!(json::parse_object(text.as_bytes()).unwrap_err(), words, "{text}");
    }
    let values = r#"{"a":true,"b":-1,"c":18446744073709551615,"d":1.5,"e":null,"f":["x",{"g":"\u00e4"}]}"#;
    let read = Value::Object(json::parse_object(values.as_bytes()).unwrap());
    assert_eq!(read, serde_json::from_str::<Value>(values).unwrap());
}

#[test]
fn what_was_found_is_told_without_its_text() {
    let rows = [
        (None, "none"),
        (Some(Value::Null), "null"),
        (Some(json!(true)), "a boolean"),
        (Some(json!(7)), "the number 7"),
        (Some(json!("")), "an empty text"),
        (Some(json!("a secret")), "a text"),
        (Some(json!([1, 2])), "a list of 2"),
        (Some(json!({"a": 1})), "an object"),
    ];
    for (value, words) in rows {
        assert_eq!(claims::describe(value.as_ref()), words);
    }
}

#[test]
fn an_empty_list_is_no_audience() {
    let claims = |audience: Value| json!({"aud": audience}).as_object().unwrap().clone();
    assert_eq!(claims::audience(&claims(json!(["a", "b"]))).unwrap(), ["a", "b"]);
    assert_eq!(claims::audience(&claims(json!("a"))).unwrap(), ["a"]);
    for none in [json!([]), json!([1]), json!(1), Value::Null] {
        assert!(claims::audience(&claims(none.clone())).is_err(), "{none}");
    }
}

#[test]
fn plain_http_is_for_a_provider_on_this_machine_alone() {
    const TLS: &str = "https://idp.example";
    const PLAIN: &str = "http://localhost:8080/realms/x";
    // (issuer, address, good)
    let rows = [
        (TLS, "https://idp.example/keys", true),
        (TLS, "https://keys.example/keys", true),
        (TLS, "http://idp.example/keys", false),
        (TLS, "http://localhost/keys", false),
        (PLAIN, "http://localhost:8080/keys", true),
        (PLAIN, "http://127.0.0.1/keys", true),
        (PLAIN, "http://[::1]/keys", true),
        (PLAIN, "https://idp.example/keys", true),
        (PLAIN, "http://idp.example/keys", false),
        (PLAIN, "http://128.0.0.1/keys", false),
        (PLAIN, "http://[::2]/keys", false),
        (PLAIN, "ftp://localhost/keys", false),
        (PLAIN, "http://user@localhost/keys", false),
        (PLAIN, "http://:pw@localhost/keys", false),
        (PLAIN, "http://localhost/keys#x", false),
        (PLAIN, "/keys", false),
        (PLAIN, "", false),
    ];
    for (issuer, address, good) in rows {
        let found = check_endpoint("jwks_uri", address, issuer);
        assert_eq!(found.is_ok(), good, "{address} of {issuer}: {found:?}");
        if good {
            assert_eq!(found.unwrap(), address, "used as it was published");
        }
    }
}

#[test]
fn metadata_are_read_as_they_are_told() {
    assert_eq!(
        discovery::request("https://idp.example/x//").url,
        "https://idp.example/x/.well-known/openid-configuration"
    );
    let mut document = metadata();
    document["token_endpoint_auth_methods_supported"] =
        json!(["none", "private_key_jwt", "client_secret_post", "client_secret_basic"]);
    document["authorization_response_iss_parameter_supported"] = json!(true);
    let body = document.to_string().into_bytes();
    let answer = Response { status: 200, content_type: None, max_age: None, date: None, body };
    let read = discovery::judge(crate::support::ISSUER, &answer).unwrap();
    use ClientAuthentication::{Basic, None as Public, Post};
    assert_eq!(read.client_authentication, [Public, Post, Basic]);
    assert!(read.issuer_in_response);
    assert!(read.userinfo_endpoint.unwrap().ends_with("/userinfo"));
    assert!(read.end_session_endpoint.unwrap().ends_with("/logout"));
    assert_eq!(read.algorithms.len(), 9);
}

#[test]
fn the_log_says_which_key_and_how_many() {
    let world = World::new();
    assert_eq!(ask(&world, &Draft::bearer().token()), alice());
    assert!(world.log.text().contains("the provider publishes 4 usable keys"), "{}", world.log.text());
    let mut unknown = Draft::bearer();
    unknown.head("kid", "elsewhere");
    ask(&world, &unknown.token());
    let line = "expected one of the 4 published keys, fit for RS256, found kid 'elsewhere'";
    assert!(world.log.text().contains(line), "{}", world.log.text());
    let mut forged = Draft::bearer();
    forged.signer = Signer::RsaOther;
    ask(&world, &forged.token());
    let line = "expected a signature by the published key 'rsa', found one that does not verify (RS256)";
    assert!(world.log.text().contains(line), "{}", world.log.text());
}

#[test]
fn the_cookie_is_named_after_how_safe_the_address_is() {
    // RFC 6265bis section 4.1.3: (base, https, told by the settings, name)
    for (base, secure, fixed, name) in [
        ("", true, true, "__Host-mlflow_oidc"),
        ("/ml", true, true, "__Secure-mlflow_oidc"),
        ("", true, false, "mlflow_oidc"),
        ("", false, true, "mlflow_oidc"),
    ] {
        assert_eq!(CookieRules::new(base, secure, fixed).name(), name);
    }
}

#[test]
fn why_no_key_of_a_set_can_be_used_is_said() {
    let found = |body: Value| KeySet::parse(body.to_string().as_bytes()).unwrap_err().found.into_owned();
    assert_eq!(found(json!({"keys": []})), "'an empty list'");
    let unusable = json!({"keys": [7, {"kty": "EC", "crv": "P-521"}]});
    let why = "'key 0: it is not an object; key 1: its curve is not P-256 or P-384'";
    assert_eq!(found(unusable), why);
}

#[test]
fn what_is_wrong_with_an_answer_of_the_provider_is_said() {
    let found = |query: &str| CallbackQuery::parse(query).unwrap_err().found.into_owned();
    assert_eq!(found("state=s&code=c&error=e"), "both 'code' and 'error'");
    assert_eq!(found("state=s"), "neither");
    assert_eq!(found("code=c"), "no 'state'");
    assert_eq!(found("state=s&iss=a&iss=b"), "'iss' twice");
}

#[test]
fn a_key_set_tells_its_size() {
    let body = json!({"keys": [jwk(&Signer::Rsa, "rsa"), jwk(&Signer::P256, "p256"), 7]}).to_string();
    let set = KeySet::parse(body.as_bytes()).unwrap();
    assert_eq!((set.len(), set.is_empty(), set.skipped().len()), (2, false, 1));
}

#[test]
fn a_token_says_of_itself_what_is_written_in_it() {
    let mut draft = Draft::bearer();
    draft.head("typ", "at+jwt");
    let token = draft.token();
    let read = Compact::parse(&token).unwrap();
    assert_eq!((read.kid(), read.typ(), read.algorithm().name()), (Some("rsa"), Some("at+jwt"), "RS256"));
    assert_eq!(read.unverified_claims()["sub"], "subject-alice");
}

#[test]
fn a_key_is_shown_without_its_material() {
    let key = jwk(&Signer::Rsa, "rsa");
    let shown = format!("{:?}", Key::parse(key.as_object().unwrap()).unwrap());
    assert!(shown.contains("\"rsa\"") && !shown.contains(key["n"].as_str().unwrap()), "{shown}");
    assert!(shown.len() < 80, "{shown}");
}

#[test]
fn an_answer_about_somebody_else_is_told_with_both_subjects() {
    let world = World::new();
    world
        .provider
        .change(|script| script.userinfo = ok(&json!({"sub": "subject-bob", "groups": ["MLFLOW"]})));
    let mut draft = Draft::id_token();
    draft.drop("groups");
    crate::support::Browser::default().sign_in(&world, draft);
    let line = "expected 'sub' 'subject-alice', found 'subject-bob'";
    assert!(world.log.text().contains(line), "{}", world.log.text());
}
