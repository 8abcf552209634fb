//! A token being written: good as it comes, spoilt by a test.

use super::keys::{Signer, base64url, sign};
use super::world::{CLIENT_ID, ISSUER, NOW, World};
use serde_json::{Map, Value, json};

/// A token and the world that it is shown to.
pub struct Draft {
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
    pub signer: Signer,
    /// The access token beside an ID token.
    pub access_token: Option<String>,
    /// The refresh token beside it.
    pub refresh_token: Option<String>,
    /// The key set that the provider publishes; `None` is the usual one.
    pub keys: Option<Value>,
    /// Settings beside the usual ones.
    pub settings: Vec<(&'static str, &'static str)>,
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => unreachable!("an object was written"),
    }
}

impl Draft {
    fn new(claims: Value) -> Self {
        Self {
            header: object(json!({"alg": "RS256", "kid": "rsa"})),
            claims: object(claims),
            signer: Signer::Rsa,
            access_token: Some("opaque-access-token".to_owned()),
            refresh_token: None,
            keys: None,
            settings: Vec::new(),
        }
    }

    /// A good access token of alice.
    pub fn bearer() -> Self {
        Self::new(json!({
            "iss": ISSUER, "aud": CLIENT_ID, "sub": "subject-alice", "exp": NOW + 300, "iat": NOW,
            "email": "alice@example.com", "groups": ["MLFLOW"],
        }))
    }

    /// A good ID token of alice; its nonce is known when the login has begun.
    pub fn id_token() -> Self {
        let mut draft = Self::bearer();
        draft.claims.insert("email_verified".to_owned(), Value::Bool(true));
        draft.claims.insert("nonce".to_owned(), Value::Null);
        draft
    }

    /// A good logout token about alice's session.
    pub fn logout_token() -> Self {
        let mut draft = Self::new(json!({
            "iss": ISSUER, "aud": CLIENT_ID, "sub": "subject-alice", "sid": "provider-session", "exp": NOW + 120,
            "iat": NOW, "jti": "logout-1", "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        }));
        draft.head("typ", "logout+jwt");
        draft
    }

    /// The same with a refresh token beside it.
    pub fn with_refresh_token(self, token: &str) -> Self {
        Self { refresh_token: Some(token.to_owned()), ..self }
    }

    /// The same of somebody else.
    pub fn of(mut self, name: &str) -> Self {
        self.set("sub", format!("subject-{name}")).set("email", format!("{name}@example.com"));
        self
    }

    /// The same with these groups.
    pub fn in_groups(mut self, groups: &[&str]) -> Self {
        self.set("groups", json!(groups));
        self
    }

    pub fn set(&mut self, claim: &str, value: impl Into<Value>) -> &mut Self {
        self.claims.insert(claim.to_owned(), value.into());
        self
    }

    pub fn drop(&mut self, claim: &str) -> &mut Self {
        self.claims.remove(claim);
        self
    }

    pub fn head(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Signed by that key under its usual name.
    pub fn signed(&mut self, signer: Signer, algorithm: &str, kid: &str) -> &mut Self {
        self.signer = signer;
        self.head("alg", algorithm).head("kid", kid)
    }

    /// The nonce of the login, unless the test has put another one there or taken it out.
    pub fn answer_to(&mut self, nonce: &str) -> &mut Self {
        if self.claims.get("nonce") == Some(&Value::Null) {
            self.set("nonce", nonce);
        }
        self
    }

    /// The whole answer of the token endpoint with this ID token.
    pub fn token_answer(&self) -> Value {
        let mut answer = json!({"token_type": "Bearer", "expires_in": 300, "id_token": self.token()});
        let more = [("access_token", &self.access_token), ("refresh_token", &self.refresh_token)];
        for (name, token) in more {
            if let Some(token) = token {
                answer[name] = json!(token);
            }
        }
        answer
    }

    /// The compact form.
    pub fn token(&self) -> String {
        let text = |object: &Map<String, Value>| Value::Object(object.clone()).to_string();
        let input = format!("{}.{}", base64url(text(&self.header)), base64url(text(&self.claims)));
        let algorithm = self.header.get("alg").and_then(Value::as_str).unwrap_or("RS256");
        let signature = sign(&self.signer, algorithm, input.as_bytes());
        format!("{input}.{}", base64url(signature))
    }

    /// The world that this token is shown to.
    pub fn world(&self) -> World {
        let world = World::with(&self.settings);
        world.provider.change(|script| {
            if let Some(keys) = &self.keys {
                script.keys = super::ok(keys);
            }
        });
        world
    }
}
