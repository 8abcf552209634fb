//! The table of tokens that must not get in. Each row spoils a good token in one way and goes the whole way: as a bearer
//! through `decide`, as an ID token through a login.

mod claims;
mod form;
mod keys;
mod people;

use crate::support::{Ask, Browser, CLIENT_SECRET, Draft, World};
use Place::{Bearer, Both, Id};
use mlflow_oidc::error::Code;
use std::collections::BTreeSet;

/// Where a row is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Bearer,
    Id,
    Both,
}

/// One spoilt token.
pub struct Row {
    pub name: &'static str,
    pub place: Place,
    pub spoil: fn(&mut Draft),
    pub code: &'static str,
    /// The specification, or the attack, that it comes from.
    pub source: &'static str,
}

pub const fn row(
    name: &'static str,
    place: Place,
    code: &'static str,
    source: &'static str,
    spoil: fn(&mut Draft),
) -> Row {
    Row { name, place, spoil, code, source }
}

fn all() -> impl Iterator<Item = &'static Row> {
    [form::ROWS, keys::ROWS, claims::ROWS, people::ROWS].into_iter().flatten()
}

/// What must be the same before and after a refusal.
fn rows_of(world: &World) -> String {
    format!("{:?} {:?} {:?}", world.users.all(), world.store.identities(), world.store.sessions())
}

/// A token, code or secret in a log is a token, code or secret in many hands.
fn nothing_leaks(world: &World, token: &str, body: &str) -> Result<(), String> {
    let log = world.log.text();
    let mut secrets = vec![CLIENT_SECRET, "good-code", "opaque-access-token"];
    secrets.extend(token.split('.').filter(|part| part.len() > 16));
    for secret in secrets {
        if log.contains(secret) || body.contains(secret) {
            return Err(format!("{} is told", &secret[..secret.len().min(24)]));
        }
    }
    Ok(())
}

fn as_bearer(row: &Row) -> Result<(), String> {
    let mut draft = Draft::bearer();
    (row.spoil)(&mut draft);
    let world = draft.world();
    let before = rows_of(&world);
    let token = draft.token();
    let answered = Ask::get("/api/2.0/mlflow/experiments/search").bearer(&token).of(&world);
    let status = if row.code.starts_with("token_") { 401 } else { 403 };
    let found = answered.outcome();
    if found != (status, row.code.to_owned()) {
        return Err(format!("{found:?}"));
    }
    if answered.header("Set-Cookie").is_some() {
        return Err("a cookie for a bearer".to_owned());
    }
    if rows_of(&world) != before {
        return Err("rows were written".to_owned());
    }
    nothing_leaks(&world, &token, answered.body())
}

fn as_id_token(row: &Row) -> Result<(), String> {
    let mut draft = Draft::id_token();
    (row.spoil)(&mut draft);
    let world = draft.world();
    let mut browser = Browser::default();
    let asked = browser.begin(&world, "/");
    let before = rows_of(&world);
    let answered = browser.come_back(&world, &asked, &mut draft);
    // The token came from the provider itself: that is no question of who the person is.
    let status = if row.code.starts_with("token_") { 502 } else { 403 };
    let found = answered.outcome();
    if found != (status, row.code.to_owned()) {
        return Err(format!("{found:?}"));
    }
    if !answered.is_page() {
        return Err("no page for a person".to_owned());
    }
    if rows_of(&world) != before {
        return Err("rows were written".to_owned());
    }
    if browser.cookie.is_some() {
        return Err("the login is not used up".to_owned());
    }
    nothing_leaks(&world, &draft.token(), answered.body())
}

#[test]
fn every_spoilt_token_meets_its_refusal() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in all() {
        let mut run = |place: &str, result: Result<(), String>| {
            count += 1;
            if let Err(found) = result {
                wrong.push(format!(
                    "{} as {place} ({}): expected {}, found {found}",
                    row.name, row.source, row.code
                ));
            }
        };
        if matches!(row.place, Bearer | Both) {
            run("bearer", as_bearer(row));
        }
        if matches!(row.place, Id | Both) {
            run("ID token", as_id_token(row));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 200, "only {count} refusals");
}

#[test]
fn the_table_has_no_row_twice_and_no_row_without_a_source() {
    let mut names = BTreeSet::new();
    for row in all() {
        assert!(names.insert(row.name), "{} twice", row.name);
        assert!(row.source.len() > 5, "{} has no source", row.name);
        assert!(Code::ALL.iter().any(|code| code.name() == row.code), "{} has no known code", row.name);
    }
}

#[test]
fn every_code_about_a_token_or_a_person_has_a_row() {
    let about = |name: &str| {
        ["token_", "username_", "email_", "groups_", "group_", "account_protected"]
            .iter()
            .any(|begin| name.starts_with(begin))
    };
    let in_table: BTreeSet<&str> = all().map(|row| row.code).collect();
    let missing: Vec<&str> = Code::ALL
        .iter()
        .map(|code| code.name())
        .filter(|name| about(name) && !in_table.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_tokens_that_the_table_spoils_are_good_before() {
    let draft = Draft::bearer();
    let world = draft.world();
    assert_eq!(Ask::get("/").bearer(&draft.token()).of(&world).username(), "alice@example.com");

    let world = World::new();
    let mut browser = Browser::signed_in(&world, Draft::id_token());
    assert_eq!(browser.open(&world, "/oidc/session").json()["username"], "alice@example.com");
}
