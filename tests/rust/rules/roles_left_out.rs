//! What cannot be done about roles, or is not ours to do: it costs that role and nothing else.

use crate::support::{Ask, Draft, NOW, World, facts, parse, resource};
use mlflow_oidc::app::role_plan::{Known, plan};
use mlflow_oidc::identity::roles::{Change, Kept, Resource, RoleName};
use mlflow_oidc::ports::{Made, UserRow, Users as _};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;

const ALICE: &str = "alice@example.com";
const ROLES: &str = "
scientists =
    group ml-research
    experiment * EDIT
readers =
    everyone
    experiment * READ";

/// A bearer of alice, issued so many seconds ago.
fn token(age: i64, groups: &[&str]) -> Ask {
    let mut draft = Draft::bearer().in_groups(groups);
    draft.set("iat", NOW - age).set("exp", NOW + 100_000);
    Ask::get("/api/x").bearer(&draft.token())
}

/// On a database that does not tell capitals apart.
fn blind(text: &str) -> World {
    let world = World::with(&[("OIDC_ROLES", text)]);
    world.roles.is_blind.store(true, SeqCst);
    world
}

fn role(name: &str) -> RoleName {
    RoleName { workspace: "default".to_owned(), name: name.to_owned() }
}

fn by_hand(world: &World, name: &str, users: &[i64]) {
    world.roles.by_hand(|rows| rows.entry(role(name)).or_default().users.extend(users));
}

fn names(world: &World) -> Vec<String> {
    world.roles.all().into_keys().map(|role| role.name).collect()
}

fn roles_of_alice(world: &World) -> Vec<String> {
    world.roles.names_of(world.users.all()[ALICE].id)
}

fn grants(world: &World, name: &str) -> BTreeMap<Resource, String> {
    world.roles.all()[&role(name)].grants.clone()
}

const IN: [&str; 2] = ["MLFLOW", "ml-research"];

#[test]
fn a_role_that_the_database_takes_for_somebody_elses_costs_that_role_and_locks_nobody_out() {
    let world = blind(ROLES);
    by_hand(&world, "OIDC:scientists", &[77]);
    assert_eq!(token(10, &IN).of(&world).username(), ALICE);
    assert_eq!(roles_of_alice(&world), ["default/oidc:readers"]);
    assert_eq!(world.roles.all()[&role("OIDC:scientists")].users, [77].into());
    let line =
        "a line of [oidc:roles] is left out, default/scientists, which nobody has until it can be made";
    assert!(world.log.text().contains(line));
    // On the event loop nobody waits for it either, and a flood of requests writes one line.
    for second in 0..20 {
        world.clock.forward(10);
        assert_eq!(token(10, &IN).on_event_loop().of(&world).username(), ALICE, "{second}");
    }
    assert_eq!(world.log.text().matches(line).count(), 1);
    for _ in 0..20 {
        world.clock.forward(10);
        assert_eq!(token(10, &IN).of(&world).username(), ALICE);
    }
    assert!((2..=5).contains(&world.log.text().matches(line).count()));
    // When it is out of the way, the next who should have it does.
    world.roles.by_hand(|rows| rows.remove(&role("OIDC:scientists")));
    world.clock.forward(60);
    assert_eq!(token(10, &IN).of(&world).username(), ALICE);
    assert_eq!(roles_of_alice(&world), ["default/oidc:readers", "default/oidc:scientists"]);
}

#[test]
fn a_role_of_ours_is_renamed_where_capitals_are_not_told_apart() {
    let world = blind(ROLES);
    token(10, &IN).of(&world);
    by_hand(&world, "oidc:readers ", &[77]);
    let next = world.beside(&[("OIDC_ROLES", &ROLES.replace("scientists", "Scientists"))]);
    assert_eq!(token(10, &IN).of(&next).username(), ALICE);
    assert_eq!(names(&world), ["oidc:Scientists", "oidc:readers"]);
    assert_eq!(roles_of_alice(&world), ["default/oidc:Scientists", "default/oidc:readers"]);
    assert!(!next.log.text().contains("left out"));
}

#[test]
fn of_two_patterns_that_the_database_takes_for_one_the_second_is_left_out() {
    let world =
        blind("r =\n everyone\n registered_model Model EDIT\n registered_model model READ\n prompt * READ");
    assert_eq!(token(10, &IN).of(&world).username(), ALICE);
    assert_eq!(grants(&world, "oidc:r").len(), 2);
    assert_eq!(grants(&world, "oidc:r")[&resource("registered_model", "Model")], "EDIT");
    assert_eq!(roles_of_alice(&world), ["default/oidc:r"]);
    let line = "is left out, the grant on registered_model 'model' of default/r: another pattern";
    assert_eq!(world.log.text().matches(line).count(), 1);
    // The other one alone takes its place.
    let next = world.beside(&[("OIDC_ROLES", "r =\n everyone\n registered_model model READ")]);
    next.clerk.run();
    assert_eq!(grants(&world, "oidc:r"), [(resource("registered_model", "model"), "READ".to_owned())].into());
}

#[test]
fn a_description_has_nothing_but_ascii() {
    let world = World::with(&[("OIDC_ROLES", "r =\n group équipe 研究\n experiment * READ")]);
    world.clerk.run();
    let described = world.roles.all().remove(&role("oidc:r")).unwrap().description;
    assert!(described.contains(r"for group \u{e9}quipe \u{7814}\u{7a76};"), "{described}");
    let long = format!("r =\n group {}\n experiment * READ", "é".repeat(400));
    let next = world.beside(&[("OIDC_ROLES", &long)]);
    next.clerk.run();
    assert_eq!(world.roles.all().remove(&role("oidc:r")).unwrap().description.len(), 1024);
}

#[test]
fn without_a_section_a_role_that_somebody_called_like_ours_stays() {
    let world = World::with(&[("OIDC_ROLES", ROLES)]);
    token(10, &IN).of(&world);
    by_hand(&world, "oidc:of-another-product", &[77]);
    let next = world.beside(&[]);
    assert_eq!(token(10, &IN).of(&next).username(), ALICE);
    assert_eq!(names(&world), ["oidc:of-another-product"]);
    assert_eq!(world.roles.names_of(77).len(), 1);
}

#[test]
fn whoever_has_the_number_of_a_removed_account_gets_nothing_from_its_groups() {
    let operators = "operators =\n group ml-ops\n experiment * MANAGE\nreaders =\n everyone\n prompt * READ";
    for is_made_anew in [false, true] {
        let world = World::with(&[("OIDC_ROLES", operators), ("OIDC_LINK_EXISTING_USERS", "true")]);
        world.users.add_local(ALICE, false);
        let number = world.users.all()[ALICE].id;
        assert_eq!(token(10, &["MLFLOW", "ml-ops"]).of(&world).username(), ALICE);
        assert_eq!(world.roles.names_of(number).len(), 2);
        // MLflow removes alice with her roles, and SQLite gives her number to carol.
        world.users.remove(ALICE);
        world.roles.by_hand(|rows| rows.values_mut().for_each(|row| row.users.clear()));
        let carol = UserRow { id: number, password_hash: "scrypt:x$y$z".to_owned(), is_admin: false };
        assert_eq!(world.users.create("carol", &carol).unwrap(), Made::Now);
        if is_made_anew {
            let alice = UserRow { id: number + 1, ..carol };
            assert_eq!(world.users.create(ALICE, &alice).unwrap(), Made::Now);
        }
        world.clock.forward(60);
        let mut silent = Draft::bearer();
        silent.drop("groups").set("iat", NOW - 5).set("exp", NOW + 100_000);
        assert_eq!(Ask::get("/api/x").bearer(&silent.token()).of(&world).code(), "groups_missing");
        assert!(world.roles.names_of(number).is_empty());
        // Nor does anybody take from carol what she was given.
        by_hand(&world, "oidc:readers", &[number]);
        assert_eq!(token(4, &["OTHER"]).of(&world).code(), "group_required");
        assert_eq!(world.roles.names_of(number), ["default/oidc:readers"]);
    }
}

#[test]
fn two_sections_at_once_take_no_roles_from_each_other_while_people_come_and_go() {
    let new = World::with(&[("OIDC_ROLES", ROLES)]);
    let old = new.beside(&[("OIDC_ROLES", "viewers =\n group ml-research\n experiment * READ")]);
    for world in [&old, &new] {
        world.clerk.run();
    }
    for round in 0..3 {
        for world in [&old, &new] {
            assert_eq!(token(10, &IN).of(world).username(), ALICE, "{round}");
            // What the old one made again, for whoever came by it, stays until the next start.
            assert_eq!(names(&new), ["oidc:readers", "oidc:scientists", "oidc:viewers"]);
            world.clock.forward(60);
        }
        assert_eq!(roles_of_alice(&new), ["default/oidc:readers", "default/oidc:scientists"]);
    }
    assert_eq!(grants(&new, "oidc:viewers"), [(resource("experiment", "*"), "READ".to_owned())].into());
    new.beside(&[("OIDC_ROLES", ROLES)]).clerk.run();
    assert_eq!(names(&new), ["oidc:readers", "oidc:scientists"]);
}

#[test]
fn the_plan_counts_nobody_of_another_issuer() {
    let config = parse(&[("OIDC_ROLES", ROLES)], &facts()).unwrap();
    let known = |issuer: &str, user_id| Known {
        issuer: issuer.to_owned(),
        username: format!("user-{user_id}"),
        user_id,
        groups: Some(IN.map(str::to_owned).to_vec()),
    };
    let known = [known(&config.issuer, 1), known("https://old.example", 2), known("https://old.example", 3)];
    let users = [1, 2, 3].map(|user_id| (user_id, format!("user-{user_id}"))).into();
    let assigned = [(2, role("oidc:scientists")), (4, role("oidc:readers"))];
    let planned = plan(&config.rules, &config.issuer, &[], &assigned, &users, &known);
    let people: Vec<_> = planned.iter().filter(|each| !each.before.is_empty()).collect();
    let told =
        |change: &Change, why: &str| people.iter().any(|each| &each.change == change && each.why == why);
    assert!(told(&Change::Assign(role("oidc:scientists"), 1, "user-1".to_owned()), "group ml-research"));
    assert!(told(&Change::Assign(role("oidc:readers"), 1, "user-1".to_owned()), "everyone"));
    let other = "signed in through https://old.example, which is not the issuer of the settings";
    assert!(told(&Change::Unassign(role("oidc:scientists"), 2), other));
    assert!(told(&Change::Unassign(role("oidc:readers"), 4), "nobody has signed in as them"));
    assert_eq!(people.len(), 4, "{people:#?}");
}

#[test]
fn the_plan_says_why_a_role_is_taken_and_gives_none_to_an_account_that_was_made_anew() {
    let config = parse(&[("OIDC_ROLES", ROLES)], &facts()).unwrap();
    let known = |user_id, group: &str| Known {
        issuer: config.issuer.clone(),
        username: format!("user-{user_id}"),
        user_id,
        groups: Some(vec![group.to_owned()]),
    };
    let known = [known(1, "MLFLOW"), known(2, "OTHER"), known(3, "MLFLOW"), known(4, "MLFLOW")];
    // The third number is another account's now, the fourth nobody's.
    let users = [(1, "user-1".to_owned()), (2, "user-2".to_owned()), (3, "eve".to_owned())].into();
    let assigned = [
        (1, role("oidc:readers")),
        (1, role("oidc:scientists")),
        (1, role("oidc:viewers")),
        (2, role("oidc:readers")),
        (2, role("oidc:viewers")),
        (3, role("oidc:scientists")),
    ];
    let kept = Kept { name: role("oidc:viewers"), description: String::new(), grants: BTreeMap::new() };
    let planned = plan(&config.rules, &config.issuer, &[kept], &assigned, &users, &known);
    let people =
        planned.iter().filter(|each| matches!(each.change, Change::Assign(..) | Change::Unassign(..)));
    let told: Vec<_> = people.map(|each| (&each.change, each.before.as_str(), each.why.as_str())).collect();
    let ends = |name: &str, user_id| Change::Unassign(role(name), user_id);
    let expected = [
        (&ends("oidc:scientists", 1), "user-1", "in none of its groups"),
        (&ends("oidc:viewers", 1), "user-1", "the role goes"),
        (&ends("oidc:readers", 2), "user-2", "in no group that is let in"),
        (&ends("oidc:viewers", 2), "user-2", "the role goes"),
        (&ends("oidc:scientists", 3), "eve", "nobody has signed in as them"),
    ];
    assert_eq!(told, expected);
}
