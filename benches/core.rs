//! Times of the core, by criterion: `make bench-core`. What they mean beside each other is in docs/performance.md.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

#[path = "../tests/rust/rules/support/mod.rs"]
#[allow(unused_imports)]
mod support;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use mlflow_oidc::edge::store::sqlite::SqliteStore;
use mlflow_oidc::identity::Rules;
use mlflow_oidc::jose::{Algorithm, Compact, KeySet, verify};
use mlflow_oidc::oidc::access_token::{self, Expectation};
use mlflow_oidc::ports::{IdentityRow, Patience, SessionRow, Store};
use mlflow_oidc::secret::{Secret, sha256};
use mlflow_oidc::session::{CookieValue, Sealer, SessionId};
use std::hint::black_box;
use support::{Ask, Browser, CLIENT_ID, Draft, ISSUER, NOW, Signer, World};

const GROUPS: [&str; 4] = ["MLFLOW", "data-science", "everybody", "vision"];

/// A bearer as providers make them: some 900 bytes, four groups.
fn draft() -> Draft {
    let mut draft = Draft::bearer();
    draft.set("jti", "0b1f8c52-6d1e-4f8e-9a57-2d3c44b1a7e0");
    draft.set("sid", "7a0e4d0c-41cf-4f35-8a1c-2f9f0d8f6f1b");
    draft.set("scope", "openid profile email groups");
    draft.set("name", "Alice Liddell").set("given_name", "Alice").set("family_name", "Liddell");
    draft.set("email_verified", true);
    draft.in_groups(&GROUPS)
}

fn signers() -> [(Algorithm, Signer, &'static str); 5] {
    [
        (Algorithm::RS256, Signer::Rsa, "rsa"),
        (Algorithm::PS256, Signer::Rsa, "rsa"),
        (Algorithm::ES256, Signer::P256, "p256"),
        (Algorithm::ES384, Signer::P384, "p384"),
        (Algorithm::EdDSA, Signer::Ed25519, "ed25519"),
    ]
}

fn tokens(c: &mut Criterion) {
    let token = draft().token();
    let compact = Compact::parse(&token).unwrap();
    let mut group = c.benchmark_group("token");
    group.bench_function("SHA-256 of it", |b| b.iter(|| sha256(black_box(token.as_bytes()))));
    group.bench_function("compact form parsed", |b| b.iter(|| Compact::parse(black_box(&token)).unwrap()));
    let issuers = [ISSUER.to_owned()];
    let expected =
        Expectation { issuers: &issuers, client_id: CLIENT_ID, audiences: &[], now: NOW, skew: 60 };
    group.bench_function("claims checked", |b| {
        b.iter(|| access_token::check(black_box(&compact), &expected).unwrap());
    });
    let rules = Rules {
        username_claims: vec!["email".into()],
        subject_claims: vec!["sub".into()],
        groups_claims: vec!["groups".into()],
        user_groups: vec!["MLFLOW".into()],
        admin_groups: vec!["MLFLOW_admin".into()],
        roles: Default::default(),
    };
    let claims = compact.unverified_claims();
    group.bench_function("claims made an identity", |b| {
        b.iter(|| rules.identify(ISSUER, black_box(claims)).unwrap())
    });
    group.finish();
}

fn signatures(c: &mut Criterion) {
    let keys = KeySet::parse(support::keys().to_string().as_bytes()).unwrap();
    let mut group = c.benchmark_group("signature verified");
    for (algorithm, signer, kid) in signers() {
        let token = draft().signed(signer, algorithm.name(), kid).token();
        group.bench_function(algorithm.name(), |b| {
            b.iter_batched(
                || Compact::parse(&token).unwrap(),
                |parsed| verify(parsed, &keys, Algorithm::ALL).unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn decisions(c: &mut Criterion) {
    let world = World::new();
    world.log.without_debug();
    let bearer = draft().token();
    let path = "/api/2.0/mlflow/experiments/get?experiment_id=1";
    let remembered = Ask::get(path).bearer(&bearer);
    assert_eq!(remembered.of(&world).username(), "alice@example.com");
    let browser = Browser::signed_in(&world, Draft::id_token().in_groups(&GROUPS));
    let session = Ask::get(path).cookie(browser.cookie.as_deref().unwrap());
    assert_eq!(session.of(&world).username(), "alice@example.com");
    let mut group = c.benchmark_group("decided");
    for (name, ask) in [("remembered bearer", &remembered), ("remembered session", &session)] {
        let request = ask.request();
        group.bench_function(name, |b| b.iter(|| world.app.recall(black_box(&request)).unwrap()));
    }
    let mut forged = bearer.clone();
    forged.replace_range(bearer.len() - 6.., "AAAAAA");
    let expired = draft().set("exp", NOW - 1000).token();
    let foreign = draft().set("aud", "another").token();
    for (name, ask) in [
        ("nobody", Ask::get(path)),
        ("garbage", Ask::get(path).bearer("xyz")),
        ("expired", Ask::get(path).bearer(&expired)),
        ("for another application", Ask::get(path).bearer(&foreign)),
        ("of a bad signature", Ask::get(path).bearer(&forged)),
    ] {
        assert_eq!(ask.of(&world).status(), 401, "{name}");
        let request = ask.request();
        group.bench_function(name, |b| b.iter(|| world.app.decide(black_box(&request))));
    }
    group.finish();
}

fn cookies(c: &mut Criterion) {
    let sealer = Sealer::new(&[Secret::new("a session secret of the bench")]).unwrap();
    let value = CookieValue { session: Some(SessionId::new([7; 32])), attempts: Vec::new() };
    let sealed = value.seal(&sealer, [1; 12]).unwrap();
    let mut group = c.benchmark_group("cookie");
    group.bench_function("sealed", |b| b.iter(|| black_box(&value).seal(&sealer, [1; 12]).unwrap()));
    group.bench_function("opened", |b| b.iter(|| CookieValue::open(&sealer, black_box(&sealed)).unwrap()));
    group.finish();
}

fn rows(c: &mut Criterion) {
    let folder = std::env::temp_dir().join(format!("mlflow-oidc-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let store = SqliteStore::new(folder.join("basic_auth.db-oidc"));
    store.prepare().unwrap();
    let identity = IdentityRow {
        issuer: ISSUER.into(),
        subject: "alice".into(),
        username: "alice@example.com".into(),
        user_id: 2,
        groups: Some(vec!["MLFLOW".into()]),
        told_at: NOW,
        made_here: true,
    };
    store.bind(&identity).unwrap();
    let row = SessionRow {
        id_hash: [9; 32],
        issuer: ISSUER.into(),
        subject: "alice".into(),
        provider_sid: None,
        created_at: NOW,
        expires_at: NOW + 3600,
        checked_at: NOW,
        sealed_id_token: Some("x".repeat(1300)),
        sealed_refresh_token: None,
    };
    store.add_session(&row).unwrap();
    c.bench_function("session/row read from SQLite", |b| {
        b.iter(|| store.session(black_box(&[9; 32]), Patience::Now).unwrap().unwrap());
    });
    drop(store);
    std::fs::remove_dir_all(folder).unwrap();
}

criterion_group!(core, tokens, signatures, decisions, cookies, rows);
criterion_main!(core);
