//! MLflow's `users` in a database that compares names by its own rules, or that has a replica which lags behind.

use crate::people::{NAME, person, refusal};
use crate::support::{Ask, World};
use std::sync::atomic::Ordering;

#[test]
fn a_name_that_the_database_takes_for_anothers_is_refused_and_gives_nobody_that_account() {
    let world = World::with(&[NAME, ("OIDC_LINK_EXISTING_USERS", "true")]);
    world.users.ignores_case.store(true, Ordering::SeqCst);
    world.users.add_local("Alice", false);
    let before = world.users.all();
    for _ in 0..3 {
        let answered = person("1", "alice", &["MLFLOW_admin"]).of(&world);
        assert_eq!(answered.refusal(), refusal(403, "username_taken"));
        // On the event loop it is the clerk who finds out, and the next one is told.
        let on_the_loop = person("1", "alice", &["MLFLOW_admin"]).on_event_loop();
        on_the_loop.of(&world);
        world.clerk.run();
        assert_eq!(on_the_loop.of(&world).refusal(), refusal(403, "username_taken"));
    }
    assert_eq!(world.users.all(), before, "nobody was made, nobody was made an administrator");
    // Exactly that name is linked as ever.
    assert_eq!(person("2", "Alice", &["MLFLOW"]).of(&world).username(), "Alice");
}

#[test]
fn a_password_for_an_account_of_ours_is_refused_under_every_spelling_that_mlflow_takes_for_it() {
    let world = World::with(&[NAME]);
    world.users.ignores_case.store(true, Ordering::SeqCst);
    person("1", "alice", &["MLFLOW"]).of(&world);
    world.users.set_password("alice");
    world.users.add_local("bob", false);
    for name in ["alice", "ALICE"] {
        let basic = Ask::get("/").with_right_password(&world, name);
        assert_eq!(basic.refusal(), refusal(401, "account_without_password"), "{name}");
    }
    assert_eq!(Ask::get("/").with_right_password(&world, "BOB").username(), "BOB");
}

#[test]
fn nobody_new_is_let_in_before_mlflow_itself_finds_the_row() {
    let world = World::with(&[NAME]);
    world.users.replica_lags.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let answered = person("1", "alice", &["MLFLOW"]).of(&world);
        assert_eq!(answered.refusal(), refusal(503, "database_unavailable"));
    }
    assert_eq!(world.store.identities()[0].user_id, 0, "nor by the event loop or another worker");
    world.users.replica_lags.store(false, Ordering::SeqCst);
    assert_eq!(person("1", "alice", &["MLFLOW"]).of(&world).username(), "alice");
}
