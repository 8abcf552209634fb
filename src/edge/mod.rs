//! The world: clock, chance, environment, files, threads, HTTP, SQLite. The only modules that may touch it.
#![allow(clippy::disallowed_methods)]

pub mod background;
pub mod http;
pub mod settings;
pub mod store;
pub mod system;
