//! The fuzzers' seeds, run through the fuzzers' bodies: what was found once stays found.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "../../fuzz/bodies/mod.rs"]
mod bodies;
#[path = "rules/support/keys.rs"]
#[allow(dead_code)]
mod keys;
#[path = "replay/write.rs"]
mod write;

use std::fs;
use std::path::{Path, PathBuf};

fn seeds(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut found: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')))
        .collect();
    found.sort();
    found
}

#[test]
fn every_seed_holds_what_its_target_promises() {
    for (target, body) in bodies::TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 5, "{target} has {} seeds", seeds.len());
        for seed in seeds {
            let input = fs::read(&seed).unwrap();
            // A test that fails has to say at which seed.
            let outcome = std::panic::catch_unwind(|| body(&input));
            assert!(outcome.is_ok(), "the seed {} of {target}", seed.display());
        }
    }
}

#[test]
fn every_folder_of_seeds_has_its_target_and_every_target_its_binary() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |folder: &str| -> Vec<String> {
        let mut found: Vec<String> = fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        found.sort();
        found
    };
    let targets: Vec<&str> = bodies::TARGETS.iter().map(|(target, _)| *target).collect();
    assert_eq!(names("seeds"), targets);
    assert_eq!(names("targets"), targets);
}

#[test]
fn the_seeds_stay_small() {
    let all: Vec<PathBuf> = bodies::TARGETS.iter().flat_map(|(target, _)| seeds(target)).collect();
    let bytes: u64 = all.iter().map(|seed| fs::metadata(seed).unwrap().len()).sum();
    assert!(bytes < 1_000_000, "{bytes} bytes of seeds");
}

/// The properties of the compact target say something only if there are tokens that do verify.
#[test]
fn every_signed_token_verifies() {
    use mlflow_oidc::jose::{Algorithm, Compact, verify};
    let mut seen = Vec::new();
    for token in bodies::compact::SIGNED.iter() {
        let parsed = Compact::parse(token).unwrap();
        seen.push(parsed.algorithm().name());
        verify(parsed, &bodies::compact::KEYS, Algorithm::ALL).unwrap();
    }
    for algorithm in Algorithm::ALL {
        assert!(seen.contains(&algorithm.name()), "no token signed with {algorithm}");
    }
}
