//! A provider that says what the test wants, and remembers what it was asked.

use super::keys::{Signer, jwk};
use super::world::ISSUER;
use mlflow_oidc::oidc::message::{Request, Response};
use mlflow_oidc::ports::{Cause, Transport, TransportFault};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How long the token endpoint keeps anybody waiting.
const HELD_AT_MOST: Duration = Duration::from_secs(20);

/// The scripted transport.
pub struct FakeProvider {
    script: Mutex<Script>,
    asked: Mutex<Vec<Request>>,
    /// While this is true, the token endpoint does not answer.
    held: (Mutex<bool>, Condvar),
}

#[derive(Clone)]
pub struct Script {
    pub metadata: Answer,
    pub keys: Answer,
    pub token: Answer,
    pub userinfo: Answer,
    /// Answers at other addresses, each written out whole.
    pub elsewhere: BTreeMap<String, Answer>,
    /// What happens while somebody waits for one of those.
    pub meanwhile: Option<Arc<dyn Fn() + Send + Sync>>,
    /// Answers of the token endpoint to forms that hold these texts.
    pub by_form: Vec<(String, Answer)>,
    /// What happens while somebody waits for the token endpoint.
    pub at_token: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// What the transport brings back.
pub type Answer = Result<Response, TransportFault>;

pub fn ok(document: &Value) -> Answer {
    answer(200, "application/json", document.to_string())
}

pub fn answer(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
    Ok(Response {
        status,
        content_type: Some(content_type.to_owned()),
        max_age: None,
        date: None,
        body: body.into(),
    })
}

pub fn down() -> Answer {
    Err(TransportFault("no connection: refused".to_owned(), Cause::Silence))
}

/// Somebody answers, and the answer cannot be used: too large, cut off, a redirect elsewhere.
pub fn spoilt() -> Answer {
    Err(TransportFault("an answer of more than 1048576 bytes".to_owned(), Cause::Answer))
}

/// A well-made metadata document.
pub fn metadata() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": format!("{ISSUER}/auth"),
        "token_endpoint": format!("{ISSUER}/token"),
        "jwks_uri": format!("{ISSUER}/keys"),
        "userinfo_endpoint": format!("{ISSUER}/userinfo"),
        "end_session_endpoint": format!("{ISSUER}/logout"),
        "id_token_signing_alg_values_supported":
            ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    })
}

/// The usual key set: one key of each kind, each with its own name.
pub fn keys() -> Value {
    json!({"keys": [
        jwk(&Signer::Rsa, "rsa"), jwk(&Signer::P256, "p256"), jwk(&Signer::P384, "p384"),
        jwk(&Signer::Ed25519, "ed25519"),
    ]})
}

impl Script {
    /// A good provider; what it says at the end of a login is for the test to say. About alice it knows no more than her
    /// ID token says.
    fn good() -> Self {
        let userinfo = ok(&json!({"sub": "subject-alice"}));
        let elsewhere = BTreeMap::new();
        Self {
            metadata: ok(&metadata()),
            keys: ok(&keys()),
            token: down(),
            userinfo,
            elsewhere,
            meanwhile: None,
            by_form: Vec::new(),
            at_token: None,
        }
    }
}

impl FakeProvider {
    pub fn new() -> Self {
        Self { script: Mutex::new(Script::good()), asked: Mutex::default(), held: Default::default() }
    }

    /// Changes what is answered from now on.
    pub fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// Whoever asks the token endpoint is kept waiting, or let go.
    pub fn hold(&self, holds: bool) {
        *self.held.0.lock().unwrap() = holds;
        self.held.1.notify_all();
    }

    /// Everything goes wrong on the way from now on.
    pub fn go_down(&self) {
        self.change(|script| {
            let elsewhere = BTreeMap::new();
            let meanwhile = None;
            *script = Script {
                metadata: down(),
                keys: down(),
                token: down(),
                userinfo: down(),
                elsewhere,
                meanwhile,
                by_form: Vec::new(),
                at_token: None,
            }
        });
    }

    /// Everything is as at the beginning.
    pub fn come_back(&self) {
        self.change(|script| *script = Script::good());
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    /// How often an address with this end was asked for.
    pub fn count(&self, end: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|request| request.url.ends_with(end)).count()
    }
}

impl Transport for FakeProvider {
    fn send(&self, request: &Request) -> Answer {
        self.asked.lock().unwrap().push(request.clone());
        if request.url.ends_with("/token") {
            let held = self.held.0.lock().unwrap();
            // It has an end, so that somebody who should not have come here fails instead of hanging.
            drop(self.held.1.wait_timeout_while(held, HELD_AT_MOST, |held| *held).unwrap());
        }
        let script = self.script.lock().unwrap().clone();
        if let Some(answer) = script.elsewhere.get(&request.url) {
            script.meanwhile.iter().for_each(|happens| happens());
            return answer.clone();
        }
        match request.url.strip_prefix(ISSUER) {
            Some("/.well-known/openid-configuration") => script.metadata,
            Some("/keys") => script.keys,
            Some("/token") => {
                script.at_token.iter().for_each(|happens| happens());
                let form = request.form.as_ref().map_or("", |form| form.expose());
                let own = script.by_form.iter().find(|(text, _)| form.contains(text));
                own.map_or(script.token, |(_, answer)| answer.clone())
            }
            Some("/userinfo") => script.userinfo,
            _ => answer(404, "text/plain", "no such address"),
        }
    }
}
