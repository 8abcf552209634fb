//! MLflow's rows say what `[oidc:roles]` says: who has which role, what goes when a line goes, and who wins a race.

use crate::support::{Ask, Browser, Draft, NOW, World, resource};
use mlflow_oidc::app::App;
use mlflow_oidc::identity::roles::RoleName;
use mlflow_oidc::ports::StoreFault;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

const ALICE: &str = "alice@example.com";
const ROLES: &str = "
research/scientists =
    group ml-research
    group teams/*
    experiment * EDIT
    workspace * USE
readers =
    everyone
    experiment * READ";

fn world() -> World {
    World::with(&[("OIDC_ROLES", ROLES)])
}

/// A bearer of alice, issued so many seconds ago, who may come in and is in these groups.
fn token(age: i64, groups: &[&str]) -> Ask {
    raw_token(age, Some(&[&["MLFLOW"], groups].concat()))
}

fn raw_token(age: i64, groups: Option<&[&str]>) -> Ask {
    let mut draft = groups.map_or_else(
        || {
            let mut draft = Draft::bearer();
            draft.drop("groups");
            draft
        },
        |groups| Draft::bearer().in_groups(groups),
    );
    draft.set("iat", NOW - age).set("exp", NOW + 100_000);
    Ask::get("/api/x").bearer(&draft.token())
}

fn roles_of_alice(world: &World) -> Vec<String> {
    world.users.all().get(ALICE).map_or_else(Vec::new, |user| world.roles.names_of(user.id))
}

fn by_hand(world: &World, name: &str, users: &[i64]) {
    let role = RoleName { workspace: "default".to_owned(), name: name.to_owned() };
    world.roles.by_hand(|rows| rows.entry(role).or_default().users.extend(users));
}

const BOTH: [&str; 2] = ["default/oidc:readers", "research/oidc:scientists"];

#[test]
fn whoever_is_let_in_has_the_roles_of_their_groups_before_mlflow_is_asked() {
    let world = world();
    assert_eq!(token(10, &["ml-research"]).of(&world).username(), ALICE);
    assert_eq!(roles_of_alice(&world), BOTH);
    let scientists = world.roles.all().remove(&RoleName::ours("research", "scientists")).unwrap();
    assert_eq!(scientists.grants[&resource("experiment", "*")], "EDIT");
    assert_eq!(scientists.grants[&resource("workspace", "*")], "USE");
    assert_eq!(
        scientists.description,
        "Made by mlflow-oidc from [oidc:roles] for group ml-research, group teams/*; changes by hand do not last."
    );
    // A login as well, and on the event loop the clerk does it.
    let login = self::world();
    Browser::signed_in(&login, Draft::id_token().in_groups(&["MLFLOW", "teams/a"]));
    assert_eq!(roles_of_alice(&login), BOTH);
    let looped = self::world();
    looped.refresher.run();
    looped.clerk.run();
    assert_eq!(token(10, &["teams/b"]).on_event_loop().of(&looped).code(), "provider_pending");
    assert!(roles_of_alice(&looped).is_empty());
    looped.clerk.run();
    assert_eq!(token(10, &["teams/b"]).on_event_loop().of(&looped).username(), ALICE);
    assert_eq!(roles_of_alice(&looped), BOTH);
}

#[test]
fn a_group_that_is_left_takes_its_roles_along_at_once() {
    let world = world();
    token(10, &["ml-research"]).of(&world);
    assert_eq!(token(5, &["other"]).of(&world).username(), ALICE);
    assert_eq!(roles_of_alice(&world), BOTH[..1]);
    // An older token that is still good brings nothing back.
    assert_eq!(token(10, &["ml-research"]).of(&world).username(), ALICE);
    assert_eq!(roles_of_alice(&world), BOTH[..1]);
    assert_eq!(token(4, &["teams/x"]).of(&world).username(), ALICE);
    assert_eq!(roles_of_alice(&world), BOTH);
    assert!(world.log.text().contains("'alice@example.com': given the role 'research/scientists'"));
}

#[test]
fn whoever_is_turned_away_has_none_of_our_roles() {
    for by_login in [false, true] {
        let world = world();
        token(10, &["ml-research"]).of(&world);
        world.clock.forward(1);
        let answered = if by_login {
            let mut out = Draft::id_token().in_groups(&["ml-research"]);
            out.set("iat", NOW + 1);
            Browser::default().sign_in(&world, out)
        } else {
            raw_token(-1, Some(&["ml-research"])).of(&world)
        };
        assert_eq!(answered.code(), "group_required");
        assert!(roles_of_alice(&world).is_empty());
        // Whatever somebody gives them by hand under our name is gone at the next look as well.
        by_hand(&world, "oidc:readers", &[world.users.all()[ALICE].id]);
        assert_eq!(raw_token(-1, Some(&["ml-research"])).of(&world).code(), "group_required");
        assert!(roles_of_alice(&world).is_empty());
    }
}

#[test]
fn a_token_that_tells_no_groups_changes_nothing() {
    let world = World::with(&[("OIDC_ROLES", ROLES), ("OIDC_USER_GROUP", "")]);
    // Of somebody whom nobody has told of yet, it is only known that they are let in.
    assert_eq!(raw_token(20, None).of(&world).username(), ALICE);
    assert_eq!(roles_of_alice(&world), BOTH[..1]);
    token(10, &["ml-research"]).of(&world);
    assert_eq!(raw_token(5, None).of(&world).username(), ALICE);
    assert_eq!(roles_of_alice(&world), BOTH);
    // Where members alone get in, it is refused, and still no word about what was told before.
    let closed = self::world();
    token(10, &["ml-research"]).of(&closed);
    assert_eq!(raw_token(5, None).of(&closed).code(), "groups_missing");
    assert_eq!(roles_of_alice(&closed), BOTH);
    // A login has asked everywhere: what nobody told it is no membership.
    let mut silent = Draft::id_token();
    silent.drop("groups").set("iat", NOW + 1);
    world.clock.forward(1);
    Browser::signed_in(&world, silent);
    assert_eq!(roles_of_alice(&world), BOTH[..1]);
}

#[test]
fn nobody_is_asked_while_memory_knows_and_nothing_is_written_twice() {
    let world = world();
    token(10, &["ml-research"]).of(&world);
    let (asked, written) = (world.roles.asked.load(SeqCst), world.roles.written.load(SeqCst));
    for _ in 0..10 {
        assert_eq!(token(10, &["ml-research"]).of(&world).username(), ALICE);
    }
    assert_eq!(world.roles.asked.load(SeqCst), asked);
    world.clock.forward(60);
    assert_eq!(token(10, &["ml-research"]).of(&world).username(), ALICE);
    assert_eq!(world.roles.asked.load(SeqCst), asked + 1, "looked, not written");
    assert_eq!(world.roles.written.load(SeqCst), written);
}

#[test]
fn what_hands_made_stays_and_what_hands_changed_in_ours_does_not() {
    let world = world();
    token(10, &["ml-research"]).of(&world);
    let number = world.users.all()[ALICE].id;
    by_hand(&world, "reviewers", &[number]);
    // Nobody could put a name of ours there by a mistake of capitals alone.
    by_hand(&world, "OIDC:readers", &[number]);
    world.roles.by_hand(|rows| {
        let scientists = rows.get_mut(&RoleName::ours("research", "scientists")).unwrap();
        scientists.users.clear();
        scientists.grants.insert(resource("experiment", "*"), "MANAGE".to_owned());
        scientists.grants.insert(resource("prompt", "*"), "READ".to_owned());
    });
    world.clock.forward(60);
    assert_eq!(token(10, &["ml-research"]).of(&world).username(), ALICE);
    let names = roles_of_alice(&world);
    assert_eq!(names, ["default/OIDC:readers", BOTH[0], "default/reviewers", BOTH[1]]);
    // Grants are looked at once in a process.
    let next = world.beside(&[("OIDC_ROLES", ROLES)]);
    next.clerk.run();
    let grants = &world.roles.all()[&RoleName::ours("research", "scientists")].grants;
    assert_eq!(grants.len(), 2);
    assert_eq!(grants[&resource("experiment", "*")], "EDIT");
    assert_eq!(roles_of_alice(&world), names);
}

#[test]
fn a_line_that_goes_takes_what_it_gave() {
    let world = world();
    token(10, &["ml-research"]).of(&world);
    let number = world.users.all()[ALICE].id;
    by_hand(&world, "reviewers", &[number]);
    let with = |text: &str| {
        let next = world.beside(&[("OIDC_ROLES", text)]);
        assert_eq!(token(10, &["ml-research"]).of(&next).username(), ALICE);
        roles_of_alice(&next)
    };
    // A grant.
    assert_eq!(with(&ROLES.replace("experiment * EDIT", "")), [BOTH[0], "default/reviewers", BOTH[1]]);
    assert_eq!(world.roles.all()[&RoleName::ours("research", "scientists")].grants.len(), 1);
    // A group.
    assert_eq!(with(&ROLES.replace("group ml-research", "")), [BOTH[0], "default/reviewers"]);
    assert_eq!(with(ROLES), [BOTH[0], "default/reviewers", BOTH[1]]);
    // A role, and then all of them.
    assert_eq!(with(&ROLES[ROLES.find("readers").unwrap()..]), [BOTH[0], "default/reviewers"]);
    assert_eq!(with(""), ["default/reviewers"]);
    assert_eq!(world.roles.all().len(), 1);
}

#[test]
fn a_session_that_was_there_before_the_settings_changed_follows_them() {
    for on_event_loop in [false, true] {
        let world = world();
        let groups = ["MLFLOW", "ml-research"];
        let mut browser = Browser::signed_in(&world, Draft::id_token().in_groups(&groups));
        assert_eq!(roles_of_alice(&world), BOTH);
        let next = world.beside(&[("OIDC_ROLES", &ROLES.replace("group ml-research", ""))]);
        next.clerk.run();
        let ask = || if on_event_loop { Ask::get("/api/x").on_event_loop() } else { Ask::get("/api/x") };
        if on_event_loop {
            assert_eq!(browser.send(&next, ask()).code(), "provider_pending");
            next.clerk.run();
        }
        assert_eq!(browser.send(&next, ask()).username(), ALICE);
        assert_eq!(roles_of_alice(&world), BOTH[..1]);
    }
}

#[test]
fn a_token_on_the_event_loop_waits_for_the_roles_that_the_settings_give_by_now() {
    let world = world();
    token(10, &["ml-research"]).of(&world);
    let next = world.beside(&[("OIDC_ROLES", &ROLES.replace("group ml-research", ""))]);
    next.refresher.run();
    next.clerk.run();
    let ask = || token(10, &["ml-research"]).on_event_loop();
    assert_eq!(ask().of(&next).code(), "provider_pending");
    assert_eq!(roles_of_alice(&world), BOTH);
    next.clerk.run();
    assert_eq!(ask().of(&next).username(), ALICE);
    assert_eq!(roles_of_alice(&world), BOTH[..1]);
}

#[test]
fn nobody_gets_in_before_the_roles_are_made() {
    let world = world();
    world.roles.fail(Some(StoreFault::Busy));
    assert_eq!(token(10, &["ml-research"]).of(&world).refusal(), (503, "database_unavailable".to_owned()));
    assert!(world.users.all().is_empty());
    assert!(world.log.text().contains("the roles of [oidc:roles] could not be made"));
    world.roles.fail(None);
    assert_eq!(token(10, &["ml-research"]).of(&world).username(), ALICE);
    assert_eq!(roles_of_alice(&world), BOTH);
    // Nor with roles that could not be taken away, and the groups are noted only with the roles that they give.
    world.roles.fail(Some(StoreFault::Busy));
    assert_eq!(token(5, &[]).of(&world).refusal(), (503, "database_unavailable".to_owned()));
    let noted = world.store.identities().remove(0).groups.unwrap();
    assert!(noted.contains(&"ml-research".to_owned()));
    world.roles.fail(None);
    assert_eq!(token(5, &[]).of(&world).username(), ALICE);
    assert_eq!(roles_of_alice(&world), BOTH[..1]);
}

#[test]
fn a_role_that_hands_removed_is_made_again_for_the_next_who_should_have_it() {
    let world = world();
    token(10, &["ml-research"]).of(&world);
    // With the workspace MLflow removes all its roles.
    world.roles.by_hand(|rows| rows.retain(|role, _| role.workspace != "research"));
    world.clock.forward(60);
    assert_eq!(token(10, &["ml-research"]).of(&world).username(), ALICE);
    assert_eq!(roles_of_alice(&world), BOTH);
    assert_eq!(world.roles.all()[&RoleName::ours("research", "scientists")].grants.len(), 2);
}

#[test]
fn an_account_that_was_removed_and_made_anew_is_given_its_roles_anew() {
    let world = world();
    token(10, &["ml-research"]).of(&world);
    world.users.remove(ALICE);
    world.clock.forward(60);
    assert_eq!(token(10, &["ml-research"]).of(&world).username(), ALICE);
    assert_eq!(roles_of_alice(&world), BOTH);
    // One that an administrator of MLflow's made under the same name is somebody else's.
    world.users.remove(ALICE);
    world.users.add_local(ALICE, false);
    world.clock.forward(60);
    assert_eq!(token(10, &["ml-research"]).of(&world).code(), "username_taken");
    assert!(roles_of_alice(&world).is_empty());
}

#[test]
fn an_administrator_has_the_roles_of_their_groups_too() {
    let world = world();
    assert_eq!(token(10, &["ml-research", "MLFLOW_admin"]).of(&world).username(), ALICE);
    assert_eq!(roles_of_alice(&world), BOTH);
}

/// What another thread does with a newer or an older token, between the moment at which alice's roles are read and the one at
/// which they are written.
fn race(world: &World, mine: &Ask, others: Ask) {
    let app: Arc<App> = Arc::clone(&world.app);
    world.roles.meanwhile(move || drop(app.decide(&others.request())));
    mine.of(world);
}

#[test]
fn of_two_tokens_at_once_the_newer_one_decides_whoever_writes_last() {
    let none = BOTH[..1].to_vec();
    let both = BOTH.to_vec();
    for (newer, expected) in [(&[][..], &none), (&["ml-research"][..], &both)] {
        let older = if newer.is_empty() { &["ml-research"][..] } else { &[] };
        for newer_is_first in [true, false] {
            let world = world();
            token(100, &["other"]).of(&world);
            let (mine, others) = (token(50, older), token(10, newer));
            let (mine, others) = if newer_is_first { (mine, others) } else { (others, mine) };
            race(&world, &mine, others);
            assert_eq!(&roles_of_alice(&world), expected, "{newer:?}, {newer_is_first}");
            let noted = world.store.identities().remove(0).groups.unwrap();
            assert_eq!(noted.contains(&"ml-research".to_owned()), newer.contains(&"ml-research"));
        }
    }
}

#[test]
fn an_older_token_gives_nothing_back_to_somebody_who_is_being_turned_away() {
    let world = world();
    token(100, &["other"]).of(&world);
    race(&world, &token(50, &["ml-research"]), raw_token(10, Some(&["ml-research"])));
    assert!(roles_of_alice(&world).is_empty(), "the one who lets in wrote last");
    assert_eq!(token(50, &["ml-research"]).of(&world).code(), "group_required");

    let world = self::world();
    token(100, &["ml-research"]).of(&world);
    race(&world, &raw_token(50, Some(&["ml-research"])), token(10, &["ml-research"]));
    assert_eq!(roles_of_alice(&world), BOTH, "the one who turns away wrote last");
    assert_eq!(token(10, &["ml-research"]).of(&world).username(), ALICE);
}

#[test]
fn whoever_mends_what_hands_did_looks_again_too() {
    let world = world();
    token(100, &["ml-research"]).of(&world);
    by_hand_nobody_has_any(&world);
    world.clock.forward(60);
    // It tells nothing new, so that nothing but the roles is written.
    race(&world, &token(100, &["ml-research"]), token(10, &["other"]));
    assert_eq!(roles_of_alice(&world), BOTH[..1]);
}

fn by_hand_nobody_has_any(world: &World) {
    world.roles.by_hand(|rows| rows.values_mut().for_each(|row| row.users.clear()));
}

#[test]
fn two_workers_that_start_at_once_make_each_role_once() {
    let one = world();
    let other = one.beside(&[("OIDC_ROLES", ROLES)]);
    one.clerk.run();
    let made = one.roles.all();
    let written = one.roles.written.load(SeqCst);
    other.clerk.run();
    assert_eq!((one.roles.all(), one.roles.written.load(SeqCst)), (made, written));
}

#[test]
fn without_roles_in_the_settings_nobody_asks_for_those_of_a_person() {
    let world = World::new();
    token(10, &["ml-research"]).of(&world);
    assert_eq!(world.roles.asked.load(SeqCst), 0);
}
