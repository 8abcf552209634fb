//! The table of tokens that must get in, so that the refusals mean something.

use crate::support::{Ask, Browser, CLIENT_ID, Draft, NOW, Signer, base64url, jwk};
use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use serde_json::{Value, json};

/// A good token in a form of its own: name, change, the user that it is.
type Row = (&'static str, fn(&mut Draft), &'static str);

const ALICE: &str = "alice@example.com";

/// Good as a bearer and as an ID token.
const BOTH: &[Row] = &[
    ("RS256 (oidcc-client-test-idtoken-sig-rs256)", |_| {}, ALICE),
    ("RS384", |d| signed(d, Signer::Rsa, "RS384", "rsa"), ALICE),
    ("RS512", |d| signed(d, Signer::Rsa, "RS512", "rsa"), ALICE),
    ("PS256", |d| signed(d, Signer::Rsa, "PS256", "rsa"), ALICE),
    ("PS384", |d| signed(d, Signer::Rsa, "PS384", "rsa"), ALICE),
    ("PS512", |d| signed(d, Signer::Rsa, "PS512", "rsa"), ALICE),
    ("ES256", |d| signed(d, Signer::P256, "ES256", "p256"), ALICE),
    ("ES384", |d| signed(d, Signer::P384, "ES384", "p384"), ALICE),
    ("EdDSA", |d| signed(d, Signer::Ed25519, "EdDSA", "ed25519"), ALICE),
    ("EdDSA by its newer name", |d| signed(d, Signer::Ed25519, "Ed25519", "ed25519"), ALICE),
    ("no kid where one key fits", |d| drop(d.header.remove("kid")), ALICE),
    (
        "no kid on either side (oidcc-client-test-kid-absent-single-jwks)",
        |d| {
            d.header.remove("kid");
            let mut key = jwk(&Signer::Rsa, "rsa");
            key.as_object_mut().unwrap().remove("kid");
            d.keys = Some(json!({"keys": [key]}));
        },
        ALICE,
    ),
    (
        "a key that says what it is for",
        |d| {
            let mut key = jwk(&Signer::Rsa, "rsa");
            key["use"] = json!("sig");
            key["key_ops"] = json!(["verify"]);
            key["alg"] = json!("RS256");
            key["x5c"] = json!(["ignored"]);
            d.keys = Some(json!({"keys": [key]}));
        },
        ALICE,
    ),
    (
        "a good key among unusable ones (oidcc-client-test-ignores-unparseable-key-in-jwks)",
        |d| {
            d.keys = Some(json!({"keys": [
            {"kty": "oct", "k": "AAAA", "kid": "rsa"}, {"kty": "RSA", "use": "enc", "kid": "rsa"}, {"kty": "new"}, 7,
            {"kty": "AKP", "alg": "ML-DSA-65", "kid": "quantum", "pub": "AAAA"}, jwk(&Signer::Rsa, "rsa"),
        ], "more": true}));
        },
        ALICE,
    ),
    ("64 KiB and no byte more", |d| grow_to(d, 64 * 1024), ALICE),
    ("typ JWT", |d| head(d, "typ", json!("JWT")), ALICE),
    ("typ jwt in small letters", |d| head(d, "typ", json!("jwt")), ALICE),
    ("a number with a fraction among the claims", |d| set(d, "score", json!(1.5)), ALICE),
    (
        "headers that are never followed",
        |d| {
            d.head("jku", "https://elsewhere.example").head("x5t", "abc").head("cty", "x");
        },
        ALICE,
    ),
    ("aud as a list of one", |d| set(d, "aud", json!([CLIENT_ID])), ALICE),
    (
        "aud as a list with azp",
        |d| {
            d.set("aud", json!(["account", CLIENT_ID])).set("azp", CLIENT_ID);
        },
        ALICE,
    ),
    ("the last second with skew", |d| set(d, "exp", json!(NOW - 59)), ALICE),
    ("nbf at the edge of the skew", |d| set(d, "nbf", json!(NOW + 60)), ALICE),
    ("iat at the edge of the skew", |d| set(d, "iat", json!(NOW + 60)), ALICE),
    ("exp in the year 9999", |d| set(d, "exp", json!(253_402_300_799_i64)), ALICE),
    (
        "one second left without skew",
        |d| {
            d.settings.push(("OIDC_CLOCK_SKEW_SECONDS", "0"));
            d.set("exp", NOW + 1).set("nbf", NOW).set("iat", NOW);
        },
        ALICE,
    ),
    ("sub of 255 bytes", |d| set(d, "sub", json!("s".repeat(255))), ALICE),
    ("email_verified as text", |d| set(d, "email_verified", json!("true")), ALICE),
    (
        "an unverified address that is not the name",
        |d| {
            d.settings.push(("OIDC_USERNAME_CLAIM", "preferred_username"));
            d.set("preferred_username", "alice").set("email_verified", false);
        },
        "alice",
    ),
    ("a name of 255 bytes", |d| set(d, "email", json!("a".repeat(255))), LONG),
    ("a name beyond ASCII", |d| set(d, "email", json!("Žofie Ďuriš")), "Žofie Ďuriš"),
    ("a name with markup", |d| set(d, "email", json!("<b>\"'&@x")), "<b>\"'&@x"),
    (
        "a name in an object",
        |d| {
            d.settings.push(("OIDC_USERNAME_CLAIM", "person.name"));
            d.set("person", json!({"name": "alice"}));
        },
        "alice",
    ),
    ("the group of administrators alone", |d| set(d, "groups", json!(["MLFLOW_admin"])), ALICE),
    ("groups as one text", |d| set(d, "groups", json!("MLFLOW")), ALICE),
    ("a full path of Keycloak", |d| set(d, "groups", json!(["/MLFLOW"])), ALICE),
    (
        "a nested path, configured",
        |d| {
            d.settings.push(("OIDC_USER_GROUP", "/team/MLFLOW"));
            d.set("groups", json!(["/team/MLFLOW"]));
        },
        ALICE,
    ),
    (
        "a dotted path",
        |d| {
            d.settings.push(("OIDC_GROUPS_CLAIM", "realm_access.roles"));
            d.drop("groups").set("realm_access", json!({"roles": ["MLFLOW"]}));
        },
        ALICE,
    ),
    (
        "a claim of a namespace",
        |d| {
            d.settings.push(("OIDC_GROUPS_CLAIM", "https://example.com/groups"));
            d.drop("groups").set("https://example.com/groups", json!(["MLFLOW"]));
        },
        ALICE,
    ),
    (
        "a client's roles in Keycloak",
        |d| {
            d.settings.push(("OIDC_GROUPS_CLAIM", "resource_access.ml.flow.roles"));
            d.drop("groups").set("resource_access", json!({"ml": {"flow": {"roles": ["MLFLOW"]}}}));
        },
        ALICE,
    ),
    (
        "the second of two claims",
        |d| {
            d.settings.push(("OIDC_GROUPS_CLAIM", "roles, groups"));
            d.set("roles", json!(["OTHER"]));
        },
        ALICE,
    ),
    (
        "one of several user groups",
        |d| {
            d.settings.push(("OIDC_USER_GROUP", "PEOPLE, MLFLOW"));
        },
        ALICE,
    ),
    (
        "no user group asked for",
        |d| {
            d.settings.push(("OIDC_USER_GROUP", ""));
            d.drop("groups");
        },
        ALICE,
    ),
    (
        "two thousand groups",
        |d| {
            let mut groups: Vec<String> = (0..2_000).map(|n| format!("group-{n}")).collect();
            groups.push("MLFLOW".to_owned());
            d.set("groups", json!(groups));
        },
        ALICE,
    ),
];

const LONG: &str = match std::str::from_utf8(&[b'a'; 255]) {
    Ok(text) => text,
    Err(_) => unreachable!(),
};

/// Good as a bearer only.
const BEARERS: &[Row] = &[
    ("application/jwt", |d| head(d, "typ", json!("application/jwt")), ALICE),
    (
        "an access token of RFC 9068 with a nonce",
        |d| {
            d.settings.push(("OIDC_AUDIENCE", "mlflow-api"));
            d.head("typ", "application/at+jwt").set("aud", "mlflow-api").set("nonce", "n").set("azp", "cli");
        },
        ALICE,
    ),
    (
        "a token of no kind for OIDC_AUDIENCE",
        |d| {
            d.settings.push(("OIDC_AUDIENCE", "another, mlflow-api"));
            d.set("aud", "mlflow-api").set("azp", "cli");
        },
        ALICE,
    ),
    ("at+jwt", |d| head(d, "typ", json!("at+jwt")), ALICE),
    ("application/at+jwt", |d| head(d, "typ", json!("application/at+jwt")), ALICE),
    ("AT+JWT in capitals", |d| head(d, "typ", json!("AT+JWT")), ALICE),
    (
        "Keycloak's Bearer with OIDC_AUDIENCE",
        |d| {
            d.settings.push(("OIDC_AUDIENCE", "mlflow-api, another"));
            d.set("aud", json!(["account", "mlflow-api"])).set("typ", "Bearer").set("azp", "cli");
        },
        ALICE,
    ),
    (
        "an access token that another client asked for",
        |d| {
            d.set("aud", json!(["account", CLIENT_ID])).set("azp", "some-cli");
        },
        ALICE,
    ),
    (
        "an access token with a nonce, as Keycloak 20 writes them",
        |d| {
            d.settings.push(("OIDC_AUDIENCE", "mlflow-api"));
            d.set("aud", "mlflow-api").set("typ", "Bearer").set("azp", "cli").set("nonce", "n");
        },
        ALICE,
    ),
    (
        "an ID token of our own",
        |d| {
            d.set("nonce", "anything").set("azp", CLIENT_ID).set("typ", "ID");
        },
        ALICE,
    ),
    ("no iat", |d| drop(d.claims.remove("iat")), ALICE),
];

/// Good as an ID token only.
const ID_TOKENS: &[Row] = &[
    ("at_hash of RS256", |d| at_hash(d, Signer::Rsa, "RS256", "rsa"), ALICE),
    ("at_hash of RS384", |d| at_hash(d, Signer::Rsa, "RS384", "rsa"), ALICE),
    ("at_hash of RS512", |d| at_hash(d, Signer::Rsa, "RS512", "rsa"), ALICE),
    ("at_hash of PS256", |d| at_hash(d, Signer::Rsa, "PS256", "rsa"), ALICE),
    ("at_hash of PS384", |d| at_hash(d, Signer::Rsa, "PS384", "rsa"), ALICE),
    ("at_hash of PS512", |d| at_hash(d, Signer::Rsa, "PS512", "rsa"), ALICE),
    ("at_hash of ES256", |d| at_hash(d, Signer::P256, "ES256", "p256"), ALICE),
    ("at_hash of ES384", |d| at_hash(d, Signer::P384, "ES384", "p384"), ALICE),
    ("at_hash of EdDSA", |d| at_hash(d, Signer::Ed25519, "EdDSA", "ed25519"), ALICE),
    ("at_hash of EdDSA by its newer name", |d| at_hash(d, Signer::Ed25519, "Ed25519", "ed25519"), ALICE),
    ("no access token and no at_hash", |d| d.access_token = None, ALICE),
    ("azp of our own beside our own audience", |d| set(d, "azp", json!(CLIENT_ID)), ALICE),
    ("a session id of the provider", |d| set(d, "sid", json!("provider-session")), ALICE),
];

fn signed(d: &mut Draft, signer: Signer, algorithm: &str, kid: &str) {
    d.signed(signer, algorithm, kid);
}

fn set(d: &mut Draft, claim: &str, value: Value) {
    d.set(claim, value);
}

fn head(d: &mut Draft, name: &str, value: Value) {
    d.head(name, value);
}

/// The left half of the hash that the algorithm signs (OpenID Connect Core section 3.1.3.6).
fn at_hash(d: &mut Draft, signer: Signer, algorithm: &str, kid: &str) {
    d.signed(signer, algorithm, kid);
    let kind = match &algorithm[2..] {
        "256" => &SHA256,
        "384" => &SHA384,
        _ => &SHA512,
    };
    let hash = digest(kind, d.access_token.clone().unwrap().as_bytes());
    d.set("at_hash", base64url(&hash.as_ref()[..hash.as_ref().len() / 2]));
}

/// Claims and header are filled up until the token has this length; the nonce of a login has 43 letters.
fn grow_to(d: &mut Draft, length: usize) {
    let nonce = d.claims.get("nonce").cloned();
    if nonce.is_some() {
        d.set("nonce", "n".repeat(43));
    }
    d.head("x", "").set("padding", "");
    let missing = length - d.token().len();
    // Three letters of text are four of base64url: what is left over goes into the header.
    for (claims, header) in (0..8).map(|header| (missing * 3 / 4 - header, header)) {
        d.set("padding", "x".repeat(claims)).head("x", "x".repeat(header));
        if d.token().len() == length {
            if let Some(nonce) = nonce {
                d.set("nonce", nonce);
            }
            return;
        }
    }
    panic!("no token has {length} bytes");
}

#[test]
fn good_bearers_get_in_and_get_no_cookie() {
    for (name, change, username) in BOTH.iter().chain(BEARERS) {
        let mut draft = Draft::bearer();
        change(&mut draft);
        let world = draft.world();
        let answered = Ask::get("/api/2.0/mlflow/runs/get").bearer(&draft.token()).of(&world);
        assert!(
            matches!(&answered.0, mlflow_oidc::app::wire::Decision::Allow { username: found } if **found == **username),
            "{name}: {:?}",
            answered.0
        );
        assert!(world.users.all().contains_key(*username), "{name}: no row");
        assert!(world.store.sessions().is_empty(), "{name}: a session for a bearer");
    }
}

#[test]
fn good_id_tokens_get_a_session() {
    for (name, change, username) in BOTH.iter().chain(ID_TOKENS) {
        let mut draft = Draft::id_token();
        change(&mut draft);
        let world = draft.world();
        let mut browser = Browser::default();
        let answered = browser.sign_in(&world, draft);
        assert_eq!(answered.status(), 302, "{name}: {:?}", answered.0);
        assert_eq!(answered.location(), "http://localhost:5000/", "{name}");
        let session = browser.open(&world, "/oidc/session");
        assert_eq!(session.json()["username"], *username, "{name}");
        assert_eq!(world.store.sessions().len(), 1, "{name}");
    }
}
