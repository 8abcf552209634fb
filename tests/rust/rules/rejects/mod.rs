//! The table of what must not get in, `tests/vectors/rejects.json`, tried in the pure core. Its language is told in
//! `tests/vectors/README.md`; `tests/python/test_rejects.py` tries the same rows over HTTP.

mod case;
mod held;
mod places;
mod script;
mod table;
mod token;
mod values;

use crate::support::{Ask, Browser, World};
use case::Case;
use mlflow_oidc::error::Code;
use places::{PLACES, place};
use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use table::{Row, rows};
use token::Kind;

fn run(row: &Row, name: &str) -> Result<(), String> {
    let attempt = || match Case::new(row) {
        Ok(mut case) => (place(name).run)(&mut case),
        Err(faults) => places::misconfigured(row, &faults),
    };
    // One broken row must not hide the others.
    catch_unwind(AssertUnwindSafe(attempt))
        .unwrap_or_else(|panic| Err(format!("panicked: {}", words(&*panic))))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

#[test]
fn every_row_meets_its_refusal_at_each_of_its_places() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in rows().iter().filter(|row| row.is_for_the_core()) {
        for name in row.places() {
            count += 1;
            if let Err(found) = run(row, name) {
                let (name_of_row, code, source) = (row.name(), row.code(), row.source());
                wrong.push(format!("{name_of_row} as {name} ({source}): expected {code}, found {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 350, "only {count} runs");
}

#[test]
fn no_row_is_there_twice_or_comes_from_nowhere_or_says_what_nobody_reads() {
    let mut names = BTreeSet::new();
    for row in rows() {
        let name = row.name();
        assert!(names.insert(name), "{name} twice");
        assert!(row.source().len() > 5, "{name} has no source");
        let is_known = Code::ALL.iter().any(|code| code.name() == row.code()) || row.code() == "start_page";
        assert!(is_known, "{name} has no known code");
        let places = row.places();
        assert!(!places.is_empty(), "{name} is tried nowhere");
        assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), places.len(), "{name} twice at one place");
        for at in places {
            let unread = row.unread(place(at).members);
            assert!(unread.is_empty(), "{name} as {at}: nobody reads {unread:?}");
        }
    }
    let apart = rows().iter().filter(|row| row.get("only").is_some()).count();
    assert!(apart * 50 <= rows().len(), "{apart} rows are for one runner alone");
    assert!(
        rows().iter().all(|row| row.get("only").is_some() == row.get("why").is_some()),
        "an only without a why"
    );
}

#[test]
fn every_code_of_the_catalogue_and_every_place_has_a_row() {
    let codes: BTreeSet<&str> = rows().iter().map(Row::code).collect();
    let missing: Vec<&str> =
        Code::ALL.iter().map(|code| code.name()).filter(|name| !codes.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let tried: BTreeSet<&str> = rows().iter().flat_map(Row::places).collect();
    assert_eq!(tried, PLACES.iter().map(|place| place.name).collect());
}

#[test]
fn every_test_of_the_openid_foundation_that_is_listed_is_held() {
    let listed = include_str!("../../../vectors/README.md").lines().filter_map(|line| {
        let (test, held) = line.strip_prefix("| `oidcc-")?.split_once("` | ")?;
        Some((format!("oidcc-{test}"), held.trim_end_matches(" |")))
    });
    let sources: String = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rust/rules"))
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
        .collect();
    let is_source = |test: &str| {
        rows().iter().any(|row| row.source().split("; ").any(|part| part.split(':').next() == Some(test)))
    };
    let mut count = 0;
    for (test, held) in listed {
        count += 1;
        for by in held.split(", ") {
            match by.strip_prefix('`') {
                Some(name) => {
                    let name = name.trim_end_matches('`');
                    assert!(sources.contains(&format!("\nfn {name}()")), "{test}: there is no test {name}");
                }
                None => assert!(is_source(&test), "{test} is the source of no row"),
            }
        }
    }
    assert!(count >= 30, "only {count} tests were read");
}

#[test]
fn what_the_rows_spoil_is_good_before() {
    let names = values::Names::new();
    let world = World::new();
    let answered = Ask::get("/").bearer(&token::good(Kind::Bearer, &names)).of(&world);
    assert_eq!(answered.username(), names.get("user"));

    for bare in [false, true] {
        let row = Row::unspoilt();
        let mut case = Case::new(&row).unwrap();
        case.begin();
        let kind = if bare { Kind::BareId } else { Kind::Id };
        let id_token = token::spoilt(&row, kind, &case.names);
        case.script_userinfo();
        case.script_token_answer(id_token);
        let path = format!("/oidc/callback?code=good-code&state={}", case.names.get("state"));
        assert_eq!(case.browser.open(&case.world, &path).status(), 302, "bare: {bare}");
        assert_eq!(case.browser.open(&case.world, "/oidc/session").json()["username"], names.get("user"));
    }

    let row = Row::unspoilt();
    let mut case = Case::new(&row).unwrap();
    case.sign_in();
    assert_eq!(case.browser.send(&case.world, Ask::get("/api/x")).username(), names.get("user"));
    let form = format!("logout_token={}", token::spoilt(&row, Kind::Logout, &case.names));
    assert_eq!(Ask::post("/oidc/backchannel-logout").body(&form).of(&case.world).status(), 200);
    assert!(case.world.store.sessions().is_empty());

    let page = Browser::default().open(&world, "/oidc/login?next=/%23/x");
    assert!(page.body().contains("next=%2F%23%2Fx&amp;go=1"), "{}", page.body());
}

#[test]
fn a_row_that_is_wrong_is_seen() {
    // The runs above are worth nothing if they do not see a wrong code, a wrong place, or a member that nobody knows.
    let expired = rows().iter().find(|row| row.name() == "expired").unwrap();
    let wrong = expired.with("code", "token_nonce");
    assert_eq!(run(&wrong, "bearer"), Err("401 token_expired".to_owned()));
    assert_eq!(run(&wrong, "id_token"), Err("502 token_expired".to_owned()));
    assert_eq!(run(&Row::unspoilt(), "bearer"), Err("200 let in as alice@example.com".to_owned()));
    assert_eq!(run(&Row::unspoilt(), "id_token"), Err("302 no refusal".to_owned()));
    assert!(run(expired, "elsewhere").unwrap_err().contains("no place is called elsewhere"));
    assert_eq!(expired.with("clams", "x").unread(place("bearer").members), ["clams"]);
}
