//! What the provider of a row says: key set, discovery document, and answers that are none.

use super::table::Row;
use super::values::{Names, count};
use crate::support::{Answer, World, answer, down, jwk, keys, metadata, ok};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Sets the provider up, apart from its token endpoint.
pub fn prepare(row: &Row, names: &Names, world: &World) {
    let keys = row.get("keys").map_or_else(keys, |_| key_set(row, names));
    let mut document = metadata();
    let members = document.as_object_mut().unwrap();
    members.retain(|name, _| !row.texts("drop_metadata").any(|dropped| dropped == name));
    members.extend(names.object(row.members("metadata")));
    let metadata = whole(row, names, world, "metadata").unwrap_or_else(|| ok(&document));
    let keys = whole(row, names, world, "keys").unwrap_or_else(|| ok(&keys));
    world.provider.change(|script| {
        script.metadata = metadata;
        script.keys = keys;
    });
    let known = ["metadata", "keys", "token", "userinfo"];
    assert!(row.members("answers").all(|(what, _)| known.contains(&what.as_str())), "answers of nobody");
}

fn key_set(row: &Row, names: &Names) -> Value {
    let keys: Vec<Value> = row.list("keys").iter().flat_map(|entry| entries(entry, names)).collect();
    json!({"keys": keys})
}

fn entries(entry: &Value, names: &Names) -> Vec<Value> {
    let members = entry.as_object().unwrap();
    for name in members.keys() {
        assert!(["jwk", "kid", "set", "drop", "times", "raw"].contains(&name.as_str()), "'{name}' in keys");
    }
    if let Some(raw) = members.get("raw") {
        return vec![names.value(raw)];
    }
    let name = entry["jwk"].as_str().unwrap();
    let mut key = jwk(&super::token::signer(name), entry["kid"].as_str().unwrap_or_default());
    let object = key.as_object_mut().unwrap();
    if entry["kid"].is_null() {
        object.remove("kid");
    }
    object.extend(names.object(members.get("set").and_then(Value::as_object).into_iter().flatten()));
    for dropped in members.get("drop").and_then(Value::as_array).into_iter().flatten() {
        object.remove(dropped.as_str().unwrap());
    }
    vec![key; members.get("times").map_or(1, count)]
}

/// An answer that the row gives as a whole.
pub fn whole(row: &Row, names: &Names, world: &World, what: &str) -> Option<Answer> {
    let (_, given) = row.members("answers").find(|(name, _)| *name == what)?;
    for name in given.as_object().unwrap().keys() {
        let known = ["status", "type", "json", "text", "base64", "fault"];
        assert!(known.contains(&name.as_str()), "'{name}' in an answer");
    }
    match given["fault"].as_str() {
        Some("down") => return Some(down()),
        Some("hang") => {
            // Whoever waits for the refresher waits in vain; whoever asks the provider meets the time-out.
            world.refresher.hang(what != "token");
            return Some(down());
        }
        Some(other) => panic!("no fault is called {other}"),
        None => {}
    }
    let status = given.get("status").map_or(200, |status| u16::try_from(count(status)).unwrap());
    let body = match (given.get("json"), given.get("text"), given.get("base64")) {
        (Some(json), None, None) => names.value(json).to_string().into_bytes(),
        (None, Some(text), None) => names.text(text).into_bytes(),
        (None, None, Some(base64)) => STANDARD.decode(base64.as_str().unwrap()).unwrap(),
        _ => panic!("an answer has one body"),
    };
    let kind = given.get("type").map_or("application/json", |kind| kind.as_str().unwrap());
    // As the transport hands it over: without parameters.
    Some(answer(status, kind.split(';').next().unwrap().trim(), body))
}
