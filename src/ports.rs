//! What the core asks of the world. `edge` and `py` answer, tests answer differently.

use crate::error::{Code, Error};
use crate::identity::roles::{Change, Kept, RoleName};
use crate::oidc::message::{Request, Response};
use std::sync::Arc;
use std::time::Duration;

/// The time.
pub trait Clock: Send + Sync {
    /// Seconds since 1970, UTC.
    fn now(&self) -> i64;
}

/// Chance fit for secrets.
pub trait Entropy: Send + Sync {
    /// Fills `out` with random bytes.
    ///
    /// # Errors
    /// `internal` when the system has none.
    fn fill(&self, out: &mut [u8]) -> Result<(), Error>;
}

/// Why an HTTP request got no answer, in words for the log; never with a header or body of ours in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportFault(pub String, pub Cause);

/// What an HTTP request without a usable answer says of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nobody answered: no connection, or not in time. The next request will most likely meet the same.
    Silence,
    /// Somebody did, and this one answer cannot be used.
    Answer,
}

/// HTTP to the provider: bounded in time and size, no redirect to another origin. It blocks.
pub trait Transport: Send + Sync {
    /// Sends one request.
    ///
    /// # Errors
    /// Says what failed: name, connection, TLS, time, size.
    fn send(&self, request: &Request) -> Result<Response, TransportFault>;
}

/// Why a store gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Somebody else holds the lock, and the caller may not wait (any longer).
    Busy,
    /// Anything else, in words for the log.
    Failed(String),
}

impl From<StoreFault> for Error {
    fn from(fault: StoreFault) -> Self {
        let found = match fault {
            StoreFault::Busy => "a locked database".to_owned(),
            StoreFault::Failed(reason) => crate::error::quote(&reason),
        };
        Self::new(Code::DatabaseUnavailable, "an answer of the database", found)
    }
}

/// Whether the caller may wait for a lock. On the event loop nobody may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Wait as long as the store is configured to.
    Wait,
    /// Answer `Busy` at once.
    Now,
}

/// Who a subject of a provider is in MLflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRow {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// The MLflow user that it was bound to at its first login.
    pub username: String,
    /// The number of its row in MLflow's `users`; 0 until that was seen.
    pub user_id: i64,
    /// The newest groups that the provider has told; `None` when no token has told any.
    pub groups: Option<Vec<String>>,
    /// When the token that told them was issued, in seconds since 1970; 0 when it did not say.
    pub told_at: i64,
    /// Whether the MLflow user was made by a login, not by somebody with a password.
    pub made_here: bool,
}

/// A browser's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// SHA-256 of the opaque id.
    pub id_hash: [u8; 32],
    /// `iss` of whose session it is.
    pub issuer: String,
    /// `sub` of whose session it is.
    pub subject: String,
    /// The provider's own session id (`sid`), for logout.
    pub provider_sid: Option<String>,
    /// In seconds since 1970.
    pub created_at: i64,
    /// In seconds since 1970.
    pub expires_at: i64,
    /// When the provider last said that its person may go on, in seconds since 1970.
    pub checked_at: i64,
    /// The ID token, sealed; the provider wants it back at logout.
    pub sealed_id_token: Option<String>,
    /// The refresh token, sealed; with it the provider is asked again.
    pub sealed_refresh_token: Option<String>,
}

/// What became of an attempt to bind an identity to a user name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It is bound, now or by whoever was faster; this is the row that counts.
    Row(IdentityRow),
    /// Another identity has the name.
    UsernameTaken,
}

/// Our own tables: identities and sessions.
pub trait Store: Send + Sync {
    /// Makes the tables if they are not there; several processes may do so at once.
    ///
    /// # Errors
    /// `StoreFault`, like every method here.
    fn prepare(&self) -> Result<(), StoreFault>;
    /// The identity of a subject.
    ///
    /// # Errors
    /// `StoreFault`.
    fn identity(
        &self,
        issuer: &str,
        subject: &str,
        patience: Patience,
    ) -> Result<Option<IdentityRow>, StoreFault>;
    /// The identity that a user name is bound to.
    ///
    /// # Errors
    /// `StoreFault`.
    fn identity_of_user(&self, username: &str, patience: Patience)
    -> Result<Option<IdentityRow>, StoreFault>;
    /// Binds a new identity. The winner of a race decides the row.
    ///
    /// # Errors
    /// `StoreFault`.
    fn bind(&self, row: &IdentityRow) -> Result<Bound, StoreFault>;
    /// Notes what may change: `user_id`, `made_here`, and `groups` with `told_at` unless newer ones have been noted meanwhile.
    ///
    /// # Errors
    /// `StoreFault`.
    fn note(&self, row: &IdentityRow) -> Result<(), StoreFault>;
    /// Adds a session and removes those that have expired.
    ///
    /// # Errors
    /// `StoreFault`.
    fn add_session(&self, row: &SessionRow) -> Result<(), StoreFault>;
    /// A session and whose it is.
    ///
    /// # Errors
    /// `StoreFault`.
    fn session(
        &self,
        id_hash: &[u8; 32],
        patience: Patience,
    ) -> Result<Option<(SessionRow, IdentityRow)>, StoreFault>;
    /// Takes the right to ask the provider about a session until `until` (seconds since 1970); `false` when somebody else has it
    /// at `now`, or the session is gone. A refresh token is good once: two workers that send the same one look like a thief
    /// (RFC 9700 section 4.14.2).
    ///
    /// # Errors
    /// `StoreFault`.
    fn begin_recheck(&self, id_hash: &[u8; 32], now: i64, until: i64) -> Result<bool, StoreFault>;
    /// Writes what asking brought (`provider_sid`, `checked_at` and both tokens), for whoever has the right to ask until `held` (0:
    /// nobody has it), and keeps that right until `until` (0: gives it back). `false`, and nothing is written, when somebody else has
    /// the right meanwhile, whose answer is newer, or the session has been removed: it stays removed.
    ///
    /// # Errors
    /// `StoreFault`.
    fn renew_session(&self, row: &SessionRow, held: i64, until: i64) -> Result<bool, StoreFault>;
    /// Removes a session and returns what it was.
    ///
    /// # Errors
    /// `StoreFault`.
    fn remove_session(&self, id_hash: &[u8; 32]) -> Result<Option<SessionRow>, StoreFault>;
    /// Removes the sessions that a provider says have ended: with a `provider_sid` that one, and those of the subject of which
    /// the provider never told an id; without it all of the subject. Returns how many there were.
    ///
    /// # Errors
    /// `StoreFault`.
    fn remove_ended(
        &self,
        issuer: &str,
        subject: Option<&str>,
        provider_sid: Option<&str>,
    ) -> Result<usize, StoreFault>;
}

/// A row of MLflow's own `users` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// Its number. When a row is made, the one that SQLite is to use; other databases never give one away twice.
    pub id: i64,
    /// The password hash; tells whose account it is.
    pub password_hash: String,
    /// Whether MLflow lets the user do everything.
    pub is_admin: bool,
}

/// What became of an attempt to add a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was added.
    Now,
    /// Somebody else was faster.
    Before,
    /// The database takes the name for that of another user (MySQL: 'Alice' for 'alice'), so that neither MLflow nor we
    /// could ever tell the two apart there.
    Alike,
}

/// MLflow's `users` table, reached through MLflow's own database engine. Only what is asked with `Patience::Now` waits for
/// no lock.
pub trait Users: Send + Sync {
    /// The user of exactly that name.
    ///
    /// # Errors
    /// `StoreFault`, like every method here.
    fn find(&self, username: &str, patience: Patience) -> Result<Option<UserRow>, StoreFault>;
    /// The name of the user whom MLflow's own look-up finds under a name: another one where the database compares as MySQL
    /// does. The same name where there is none.
    ///
    /// # Errors
    /// `StoreFault`.
    fn name_of(&self, username: &str, patience: Patience) -> Result<String, StoreFault>;
    /// Adds a user.
    ///
    /// # Errors
    /// `StoreFault`.
    fn create(&self, username: &str, row: &UserRow) -> Result<Made, StoreFault>;
    /// Writes the admin flag.
    ///
    /// # Errors
    /// `StoreFault`.
    fn set_admin(&self, username: &str, is_admin: bool) -> Result<(), StoreFault>;
    /// Waits until MLflow's own look-up finds a user who has just been made: it may ask a replica that lags behind.
    ///
    /// # Errors
    /// `StoreFault`: `Busy` when that takes too long.
    fn wait_until_seen(&self, username: &str) -> Result<(), StoreFault>;
}

/// MLflow's tables of roles (3.12 and later), reached through MLflow's own database engine. Roles that are not ours, by their
/// name, are neither seen nor touched.
pub trait Roles: Send + Sync {
    /// Our roles and what they grant.
    ///
    /// # Errors
    /// `StoreFault`, like every method here.
    fn kept(&self) -> Result<Vec<Kept>, StoreFault>;
    /// The roles of ours that a user has.
    ///
    /// # Errors
    /// `StoreFault`.
    fn of_user(&self, user_id: i64, patience: Patience) -> Result<Vec<RoleName>, StoreFault>;
    /// Makes all changes that can be made, or none; several processes may do so at once. Returns those that cannot be made.
    ///
    /// # Errors
    /// `StoreFault`.
    fn change(&self, changes: &[Change]) -> Result<Vec<Undone>, StoreFault>;
}

/// A change of roles that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// Which one, counted from 0.
    pub index: usize,
    /// What is in the way in the database, in words; `None` when there is no such role.
    pub why: Option<String>,
}

/// A thread that works when woken or when its next time has come.
pub trait Background: Send + Sync {
    /// Asks for a round now.
    fn wake(&self);
    /// Wakes and waits for the end of a round that began after the call, or until `at_most` is over. It blocks.
    fn wait(&self, at_most: Duration);
}

/// How loud a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For looking closely.
    Debug,
    /// Normal events: a login, a key rotation.
    Info,
    /// A refusal of credentials, a provider in trouble.
    Warning,
    /// Somebody has to act.
    Error,
}

/// The log.
pub trait Log: Send + Sync {
    /// Whether anybody reads lines of that level: what nobody reads need not be written. It may be as
    /// old as the last request.
    fn is_read(&self, level: Level) -> bool;
    /// Writes one line. It holds no token and no secret; the callers see to that.
    fn log(&self, level: Level, line: &str);
}

/// The world, as one bundle.
#[derive(Clone)]
pub struct World {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// HTTP to the provider.
    pub transport: Arc<dyn Transport>,
    /// Our tables.
    pub store: Arc<dyn Store>,
    /// MLflow's users.
    pub users: Arc<dyn Users>,
    /// MLflow's roles; `None` on an MLflow that has none.
    pub roles: Option<Arc<dyn Roles>>,
    /// Keeps the provider's metadata and keys fresh.
    pub refresher: Arc<dyn Background>,
    /// Does for the event loop what it may not wait for.
    pub clerk: Arc<dyn Background>,
    /// The log.
    pub log: Arc<dyn Log>,
}
