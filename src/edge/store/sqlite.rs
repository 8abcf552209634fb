//! Identities and sessions in an SQLite file of our own, beside MLflow's.
//!
//! Not *in* MLflow's file: this crate carries its own copy of the SQLite library, Python has another, and POSIX file
//! locks belong to the process. Two copies that open one file cannot see each other's locks, and the first to close it
//! drops the other's: the database breaks ("How To Corrupt An SQLite Database File", section 2.2.1). Between processes
//! the locks work, so any number of workers may share our file.

use crate::ports::{Bound, IdentityRow, Patience, SessionRow, Store, StoreFault};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, TransactionBehavior, params};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a lock is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);
/// How often the change of the journal mode is tried.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Connections kept open; more are opened when needed and closed again.
const IDLE_CONNECTIONS: usize = 8;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS oidc_identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    username TEXT NOT NULL UNIQUE,
    user_id INTEGER NOT NULL,
    groups TEXT,
    told_at INTEGER NOT NULL,
    made_here INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS oidc_sessions (
    id_hash BLOB NOT NULL PRIMARY KEY,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    provider_sid TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    sealed_id_token TEXT,
    checked_at INTEGER NOT NULL DEFAULT 0,
    recheck_until INTEGER NOT NULL DEFAULT 0,
    sealed_refresh_token TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS oidc_sessions_subject ON oidc_sessions (issuer, subject);
CREATE INDEX IF NOT EXISTS oidc_sessions_sid ON oidc_sessions (issuer, provider_sid);
CREATE INDEX IF NOT EXISTS oidc_sessions_expires ON oidc_sessions (expires_at);
";

/// Columns that files made by older versions lack, with their types.
const ADDED: [(&str, &str); 3] = [
    ("checked_at", "INTEGER NOT NULL DEFAULT 0"),
    ("recheck_until", "INTEGER NOT NULL DEFAULT 0"),
    ("sealed_refresh_token", "TEXT"),
];

/// The store. Connections are opened on first use.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl SqliteStore {
    /// Names the file; does no I/O.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), idle: Mutex::new(Vec::new()) }
    }

    /// The file of ours that stands beside MLflow's.
    pub fn beside(database: &Path) -> PathBuf {
        let mut name = database.as_os_str().to_owned();
        name.push("-oidc");
        PathBuf::from(name)
    }

    fn open(&self, patience: Patience) -> rusqlite::Result<Connection> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(busy_timeout(patience))?;
        connection.pragma_update(None, "synchronous", "normal")?;
        Ok(connection)
    }

    fn with<T>(
        &self,
        patience: Patience,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreFault> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let result = idle.map_or_else(|| self.open(patience), Ok).and_then(|mut connection| {
            connection.busy_timeout(busy_timeout(patience))?;
            let result = work(&mut connection);
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_CONNECTIONS {
                idle.push(connection);
            }
            result
        });
        result.map_err(fault)
    }
}

fn busy_timeout(patience: Patience) -> Duration {
    match patience {
        Patience::Wait => BUSY_TIMEOUT,
        Patience::Now => Duration::ZERO,
    }
}

/// Readers never wait for a writer in this mode, which is what lets the event loop read a session. The mode stays with
/// the file. SQLite does not wait for a lock by itself while the mode is changed, so that is done here.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let until = Instant::now() + BUSY_TIMEOUT;
    loop {
        match connection.pragma_update(None, "journal_mode", "wal") {
            Err(error) if matches!(fault_of(&error), StoreFault::Busy) && Instant::now() < until => {
                std::thread::sleep(RETRY_PAUSE);
            }
            other => return other,
        }
    }
}

#[allow(clippy::needless_pass_by_value)] // The form that map_err wants.
fn fault(error: rusqlite::Error) -> StoreFault {
    fault_of(&error)
}

fn fault_of(error: &rusqlite::Error) -> StoreFault {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreFault::Busy,
        _ => StoreFault::Failed(error.to_string()),
    }
}

fn identity_row(row: &Row<'_>) -> rusqlite::Result<IdentityRow> {
    let groups: Option<String> = row.get("groups")?;
    Ok(IdentityRow {
        issuer: row.get("issuer")?,
        subject: row.get("subject")?,
        username: row.get("username")?,
        user_id: row.get("user_id")?,
        // What cannot be read counts as not told: it opens no door.
        groups: groups.and_then(|text| serde_json::from_str::<Vec<String>>(&text).ok()),
        told_at: row.get("told_at")?,
        made_here: row.get("made_here")?,
    })
}

fn session_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    Ok(SessionRow {
        id_hash: row.get("id_hash")?,
        issuer: row.get("issuer")?,
        subject: row.get("subject")?,
        provider_sid: row.get("provider_sid")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        checked_at: row.get("checked_at")?,
        sealed_id_token: row.get("sealed_id_token")?,
        sealed_refresh_token: row.get("sealed_refresh_token")?,
    })
}

fn groups_text(row: &IdentityRow) -> Option<String> {
    row.groups.as_ref().map(|groups| serde_json::json!(groups).to_string())
}

fn find_identity(
    connection: &Connection,
    issuer: &str,
    subject: &str,
) -> rusqlite::Result<Option<IdentityRow>> {
    connection
        .prepare_cached("SELECT * FROM oidc_identities WHERE issuer = ?1 AND subject = ?2")?
        .query_row(params![issuer, subject], identity_row)
        .optional()
}

impl Store for SqliteStore {
    fn prepare(&self) -> Result<(), StoreFault> {
        self.with(Patience::Wait, |connection| {
            write_ahead(connection)?;
            // One transaction that begins with the write lock: several workers may come at once, the later ones find
            // the tables there.
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(SCHEMA)?;
            for (column, kind) in ADDED {
                let is_there = "SELECT 1 FROM pragma_table_info('oidc_sessions') WHERE name = ?1";
                if !transaction.prepare(is_there)?.exists(params![column])? {
                    transaction
                        .execute_batch(&format!("ALTER TABLE oidc_sessions ADD COLUMN {column} {kind}"))?;
                }
            }
            transaction.commit()
        })
    }

    fn identity(
        &self,
        issuer: &str,
        subject: &str,
        patience: Patience,
    ) -> Result<Option<IdentityRow>, StoreFault> {
        self.with(patience, |connection| find_identity(connection, issuer, subject))
    }

    fn identity_of_user(
        &self,
        username: &str,
        patience: Patience,
    ) -> Result<Option<IdentityRow>, StoreFault> {
        self.with(patience, |connection| {
            connection
                .prepare_cached("SELECT * FROM oidc_identities WHERE username = ?1")?
                .query_row(params![username], identity_row)
                .optional()
        })
    }

    fn bind(&self, row: &IdentityRow) -> Result<Bound, StoreFault> {
        self.with(Patience::Wait, |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(
                "INSERT INTO oidc_identities (issuer, subject, username, user_id, groups, told_at, made_here)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
                params![
                    row.issuer,
                    row.subject,
                    row.username,
                    row.user_id,
                    groups_text(row),
                    row.told_at,
                    row.made_here
                ],
            )?;
            // Whose row is there decides, not whether this insert did anything.
            let found = find_identity(&transaction, &row.issuer, &row.subject)?;
            transaction.commit()?;
            Ok(found.map_or(Bound::UsernameTaken, Bound::Row))
        })
    }

    fn note(&self, row: &IdentityRow) -> Result<(), StoreFault> {
        self.with(Patience::Wait, |connection| {
            connection.execute(
                // A newer statement may have been noted since the row was read.
                "UPDATE oidc_identities SET user_id = ?3, made_here = ?6,
                 groups = CASE WHEN told_at > ?5 THEN groups ELSE ?4 END, told_at = max(told_at, ?5)
                 WHERE issuer = ?1 AND subject = ?2",
                params![row.issuer, row.subject, row.user_id, groups_text(row), row.told_at, row.made_here],
            )
        })
        .map(|_| ())
    }

    fn add_session(&self, row: &SessionRow) -> Result<(), StoreFault> {
        self.with(Patience::Wait, |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction
                .execute("DELETE FROM oidc_sessions WHERE expires_at <= ?1", params![row.created_at])?;
            transaction.execute(
                "INSERT INTO oidc_sessions
                 (id_hash, issuer, subject, provider_sid, created_at, expires_at, checked_at, sealed_id_token,
                  sealed_refresh_token)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    row.id_hash,
                    row.issuer,
                    row.subject,
                    row.provider_sid,
                    row.created_at,
                    row.expires_at,
                    row.checked_at,
                    row.sealed_id_token,
                    row.sealed_refresh_token
                ],
            )?;
            transaction.commit()
        })
    }

    fn session(
        &self,
        id_hash: &[u8; 32],
        patience: Patience,
    ) -> Result<Option<(SessionRow, IdentityRow)>, StoreFault> {
        self.with(patience, |connection| {
            let session = connection
                .prepare_cached("SELECT * FROM oidc_sessions WHERE id_hash = ?1")?
                .query_row(params![id_hash], session_row)
                .optional()?;
            let Some(session) = session else {
                return Ok(None);
            };
            let identity = find_identity(connection, &session.issuer, &session.subject)?;
            Ok(identity.map(|identity| (session, identity)))
        })
    }

    fn begin_recheck(&self, id_hash: &[u8; 32], now: i64, until: i64) -> Result<bool, StoreFault> {
        self.with(Patience::Wait, |connection| {
            connection.execute(
                "UPDATE oidc_sessions SET recheck_until = ?3 WHERE id_hash = ?1 AND recheck_until <= ?2",
                params![id_hash, now, until],
            )
        })
        .map(|count| count == 1)
    }

    fn renew_session(&self, row: &SessionRow, held: i64, until: i64) -> Result<bool, StoreFault> {
        self.with(Patience::Wait, |connection| {
            connection.execute(
                "UPDATE oidc_sessions SET provider_sid = ?2, checked_at = ?3, sealed_id_token = ?4,
                 sealed_refresh_token = ?5, recheck_until = ?7 WHERE id_hash = ?1 AND recheck_until = ?6",
                params![
                    row.id_hash,
                    row.provider_sid,
                    row.checked_at,
                    row.sealed_id_token,
                    row.sealed_refresh_token,
                    held,
                    until
                ],
            )
        })
        .map(|count| count == 1)
    }

    fn remove_session(&self, id_hash: &[u8; 32]) -> Result<Option<SessionRow>, StoreFault> {
        self.with(Patience::Wait, |connection| {
            connection
                .prepare_cached("DELETE FROM oidc_sessions WHERE id_hash = ?1 RETURNING *")?
                .query_row(params![id_hash], session_row)
                .optional()
        })
    }

    fn remove_ended(
        &self,
        issuer: &str,
        subject: Option<&str>,
        provider_sid: Option<&str>,
    ) -> Result<usize, StoreFault> {
        // Each by an index of its own: of the two conditions joined by OR SQLite goes through all sessions of the provider.
        // A comparison with NULL is never true in SQL: what was not told matches nothing.
        let by_sid = "DELETE FROM oidc_sessions WHERE issuer = ?1 AND provider_sid = ?2";
        // The plus keeps SQLite from looking for all that have none.
        let by_subject_alone =
            "DELETE FROM oidc_sessions WHERE issuer = ?1 AND subject = ?2 AND +provider_sid IS NULL";
        let by_subject = "DELETE FROM oidc_sessions WHERE issuer = ?1 AND subject = ?2";
        self.with(Patience::Wait, |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let count = if provider_sid.is_some() {
                transaction.execute(by_sid, params![issuer, provider_sid])?
                    + transaction.execute(by_subject_alone, params![issuer, subject])?
            } else {
                transaction.execute(by_subject, params![issuer, subject])?
            };
            transaction.commit()?;
            Ok(count)
        })
    }
}
