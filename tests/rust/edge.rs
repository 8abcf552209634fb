//! The rooms that touch the world: SQLite, threads, HTTP, files. Only this machine is reached.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "edge/background.rs"]
mod background;
#[path = "edge/files.rs"]
mod files;
#[path = "edge/http.rs"]
mod http;
#[path = "edge/server.rs"]
mod server;
#[path = "edge/sqlite.rs"]
mod sqlite;
