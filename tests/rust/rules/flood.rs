//! A flood of refusals: each is refused, the first ones are written, the rest are counted.

use crate::support::{Ask, Draft, NOW, World};
use mlflow_oidc::ports::Level;

fn count(world: &World, words: &str) -> usize {
    world.log.text().lines().filter(|line| line.contains(words)).count()
}

#[test]
fn a_flood_of_bad_tokens_writes_its_first_lines_and_a_number() {
    let world = World::new();
    for _ in 0..2000 {
        assert_eq!(Ask::get("/").bearer("xyz").of(&world).refusal(), (401, "token_malformed".to_owned()));
    }
    assert_eq!(count(&world, "with token_malformed (Caller at fault)"), 500);
    // Another fault still has its lines: the one that matters does not drown.
    let expired = Draft::bearer().set("exp", NOW - 1000).token();
    assert_eq!(Ask::get("/").bearer(&expired).of(&world).code(), "token_expired");
    assert_eq!(count(&world, "with token_expired"), 1);
    world.clerk.run();
    assert_eq!(count(&world, "1500 more refusals with token_malformed have no line of their own"), 1);
    world.clerk.run();
    assert_eq!(count(&world, "more refusals"), 1, "the number is told once");
    // Five lines a second come back.
    world.clock.forward(3);
    for _ in 0..100 {
        Ask::get("/").bearer("xyz").of(&world);
    }
    assert_eq!(count(&world, "with token_malformed (Caller at fault)"), 515);
}

#[test]
fn a_clock_that_goes_back_gives_no_more_lines() {
    let world = World::new();
    for _ in 0..1000 {
        Ask::get("/").bearer("xyz").of(&world);
        world.clock.forward(-1);
    }
    assert_eq!(count(&world, "with token_malformed"), 500);
}

#[test]
fn what_nobody_reads_is_not_written_and_not_counted() {
    let world = World::new();
    Ask::get("/").of(&world);
    assert_eq!(count(&world, "no_credentials"), 1, "somebody looks closely");
    world.log.without_debug();
    for _ in 0..1000 {
        Ask::get("/").of(&world);
    }
    world.clerk.run();
    assert_eq!(count(&world, "no_credentials"), 1);
    assert!(world.log.all().iter().all(|(level, _)| *level != Level::Warning));
}
