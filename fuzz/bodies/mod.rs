//! What each fuzz target does with one input, and what must hold for all inputs.
//!
//! The fuzzers (`fuzz/targets`) and `cargo test` (`tests/rust/replay.rs`) run the same functions.

pub mod callback;
pub mod compact;
pub mod cookie;
pub mod discovery;
pub mod key_set;
pub mod next;
pub mod roles;
pub mod settings;
pub mod told;

/// A target: its name, which is that of its seed folder, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 8] = [
    ("callback", callback::run),
    ("compact", compact::run),
    ("cookie", cookie::run),
    ("discovery", discovery::run),
    ("key_set", key_set::run),
    ("next", next::run),
    ("roles", roles::run),
    ("settings", settings::run),
];
