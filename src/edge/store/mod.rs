//! Where identities and sessions are kept.

pub mod sqlite;
