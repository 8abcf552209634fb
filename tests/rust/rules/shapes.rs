//! Providers that cannot be run here, by the documented shape of their metadata, keys and tokens (`tests/vectors/providers`).
//! `tests/python/test_provider_shapes.py` tries the same files over HTTP.

use crate::support::{Ask, Browser, Draft, NOW, Signer, World, answer, jwk, ok};
use serde_json::{Map, Value, json};
use std::fs;

/// Every file and its content.
fn providers() -> Vec<(String, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/providers");
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), serde_json::from_str(&text).unwrap())
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// A shape of one provider, with what holds for all of its shapes.
struct Shape<'v> {
    provider: &'v Value,
    shape: &'v Value,
}

impl Shape<'_> {
    fn settings(&self) -> Vec<(String, String)> {
        let mut all = self.provider["settings"].as_object().unwrap().clone();
        all.extend(self.shape["settings"].as_object().cloned().unwrap_or_default());
        all.into_iter().map(|(name, value)| (name, value.as_str().unwrap().to_owned())).collect()
    }

    fn world(&self) -> World {
        let settings = self.settings();
        let pairs: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let world = World::with(&pairs);
        let issuer = settings.iter().find(|(name, _)| name == "OIDC_ISSUER_URL").unwrap().1.clone();
        let metadata = self.shape.get("metadata").unwrap_or(&self.provider["metadata"]);
        let mut key = jwk(&Signer::Rsa, self.kid());
        for name in self.provider["key"]["drop"].as_array().into_iter().flatten() {
            key.as_object_mut().unwrap().remove(name.as_str().unwrap());
        }
        for (name, value) in self.provider["key"]["set"].as_object().unwrap() {
            key[name] = value.clone();
        }
        world.provider.change(|script| {
            let at = |url: &Value| url.as_str().unwrap().to_owned();
            let discovery = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
            script.elsewhere.insert(discovery, ok(metadata));
            script.elsewhere.insert(at(&metadata["jwks_uri"]), ok(&json!({"keys": [key]})));
            let nobody = json!({"sub": self.shape["id_token"]["sub"]});
            script.elsewhere.insert(
                at(&metadata["userinfo_endpoint"]),
                ok(self.shape.get("userinfo").unwrap_or(&nobody)),
            );
            for (url, told) in self.shape["answers"].as_object().into_iter().flatten() {
                let status = u16::try_from(told["status"].as_u64().unwrap()).unwrap();
                script
                    .elsewhere
                    .insert(url.clone(), answer(status, "application/json", told["json"].to_string()));
            }
        });
        world
    }

    fn kid(&self) -> &str {
        self.provider["key"]["kid"].as_str().unwrap()
    }

    /// A token with these claims, and the times that every token has.
    fn draft(&self, claims: &Value) -> Draft {
        let mut draft = Draft::bearer();
        draft.claims = Map::from_iter([
            ("iat".to_owned(), json!(NOW)),
            ("nbf".to_owned(), json!(NOW)),
            ("exp".to_owned(), json!(NOW + 3600)),
        ]);
        draft.claims.extend(claims.as_object().unwrap().clone());
        draft.head("kid", self.kid());
        draft.header.extend(self.shape["header"].as_object().cloned().unwrap_or_default());
        draft
    }

    /// A login with the shape's ID token, and what came of it.
    fn login(&self, world: &World) -> Value {
        let mut draft = self.draft(&self.shape["id_token"]);
        draft.claims.insert("nonce".to_owned(), Value::Null);
        draft.access_token = Some(match self.shape.get("access_token") {
            Some(Value::String(opaque)) => opaque.clone(),
            Some(claims) => self.draft(claims).token(),
            None => "opaque".to_owned(),
        });
        let mut browser = Browser::default();
        let asked = browser.begin(world, "/");
        let token = draft.answer_to(&asked["nonce"]).token();
        let metadata = self.shape.get("metadata").unwrap_or(&self.provider["metadata"]);
        let body = json!({"token_type": "Bearer", "id_token": token, "access_token": draft.access_token});
        world.provider.change(|script| {
            script.elsewhere.insert(metadata["token_endpoint"].as_str().unwrap().to_owned(), ok(&body));
        });
        let answered =
            browser.open(world, &format!("/oidc/callback?code=good-code&state={}", asked["state"]));
        if answered.status() != 302 {
            return json!({"refused": answered.code()});
        }
        let session = browser.open(world, "/oidc/session").json();
        known(world, session["username"].as_str().unwrap())
    }

    /// A call with the shape's bearer.
    fn call(&self, world: &World) -> Value {
        let token = self.draft(&self.shape["bearer"]).token();
        let (status, told) =
            Ask::get("/api/2.0/mlflow/experiments/search").bearer(&token).of(world).outcome();
        match told.strip_prefix("let in as ") {
            Some(username) if status == 200 => known(world, username),
            _ => json!({"refused": told}),
        }
    }
}

/// What stands in the rows about somebody.
fn known(world: &World, username: &str) -> Value {
    let rows = world.store.identities();
    let row = rows.iter().find(|row| row.username == username).unwrap();
    json!({"username": username, "groups": row.groups, "admin": world.users.is_admin(username).unwrap()})
}

#[test]
fn every_shape_is_understood() {
    let mut tried = 0;
    let mut wrong = Vec::new();
    for (name, provider) in providers() {
        for shape in provider["shapes"].as_array().unwrap() {
            let shape = Shape { provider: &provider, shape };
            let label = format!("{name}: {}", shape.shape["name"].as_str().unwrap());
            let world = shape.world();
            for place in ["login", "bearer_is"] {
                let Some(expected) = shape.shape.get(place) else { continue };
                let found = if place == "login" { shape.login(&world) } else { shape.call(&world) };
                tried += 1;
                if &found != expected {
                    wrong.push(format!("{label}, {place}: expected {expected}, found {found}"));
                }
            }
        }
    }
    assert!(tried > 30, "{tried}");
    assert!(wrong.is_empty(), "{} of {tried} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_two_versions_of_a_token_of_entra_id_are_one_person() {
    let (_, entra) = providers().into_iter().find(|(name, _)| name == "entra").unwrap();
    let shapes = entra["shapes"].as_array().unwrap();
    let named = |name: &str| {
        let shape = shapes.iter().find(|shape| shape["name"] == name).unwrap();
        Shape { provider: &entra, shape }
    };
    let (second, first) = (named("v2 access token of a person"), named("v1 access token of the same person"));
    let world = second.world();
    let there = second.call(&world);
    assert_eq!(first.call(&world), there);
    assert_eq!(world.store.identities().len(), 1);
    // Under the provider's own name, whichever token came first.
    assert_eq!(world.store.identities()[0].issuer, entra["settings"]["OIDC_ISSUER_URL"]);
}
