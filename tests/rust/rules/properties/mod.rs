//! Properties of all inputs, tried on made-up ones. The seed is fixed, so that a run is the same everywhere: chance is the
//! fuzzers' part (`make fuzz`). What either finds becomes a row or a seed of its own.

#[path = "../../../../fuzz/bodies/mod.rs"]
#[allow(dead_code)]
mod bodies;
mod reading;
mod sealing;
mod tokens;

use proptest::test_runner::{Config, RngSeed};

/// So many cases, the same ones each time. `PROPTEST_RNG_SEED` does not change them, a number here does.
fn cases(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(20_261_124), failure_persistence: None, ..Config::default() }
}
