//! What is known of a provider that cannot be asked about sessions: a matter of the whole process where it is silent or answers nobody,
//! and of one session where it turns that one away. Different people, and not different sessions, tell the one from the other.

use super::App;
use super::browser::Session;
use crate::error::Error;
use crate::ports::{Level, SessionRow};
use crate::secret::sha256;
use quick_cache::sync::Cache;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The longest pause between two tries, in seconds.
const PAUSE_LIMIT: i64 = 60;
/// Seconds between two lines of the log about one trouble.
const LINE_PAUSE: i64 = 60;
/// How many people have to be turned away, one after the other and nobody else answered, for that to count as everybody's. One
/// person can have a provider answer them 429 (Auth0 counts requests for user information by person), in as many browsers as they
/// like, and must not stop the asking about all others by that.
const DIFFERENT: usize = 3;
/// How many sessions with trouble of their own are remembered.
const REMEMBERED: usize = 10_000;
/// The least time for which a session may go on with trouble of its own, in seconds.
const PATIENCE: i64 = 60;

/// How the provider is asked. Only an answer of the same kind ends a trouble: a token endpoint may be broken beside a good discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With a refresh token.
    Token,
    /// By a look at the discovery, before a browser is sent there.
    Look,
}

/// What a process knows of it.
pub struct Troubles {
    token: Mutex<Trouble>,
    look: Mutex<Trouble>,
    own: Cache<[u8; 32], Own>,
}

/// Trouble of the process. Times in seconds since 1970.
#[derive(Default)]
struct Trouble {
    /// Since it was last asked with success.
    failures: u32,
    next_try: i64,
    next_line: i64,
    /// The people who were turned away since then, as [`person`] tells them.
    turned_away: Vec<[u8; 32]>,
}

/// Trouble of one session. Times in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    failures: u32,
    /// When it may be asked about again.
    pub next_try: i64,
}

impl Default for Troubles {
    fn default() -> Self {
        Self { token: Mutex::default(), look: Mutex::default(), own: Cache::new(REMEMBERED) }
    }
}

impl Troubles {
    fn of(&self, way: Way) -> MutexGuard<'_, Trouble> {
        let trouble = match way {
            Way::Token => &self.token,
            Way::Look => &self.look,
        };
        trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pause(failures: u32) -> i64 {
    (4_i64 << failures.min(10)).min(PAUSE_LIMIT)
}

/// Whether the provider was asked lately and could not be.
pub fn is_away(app: &App, way: Way) -> bool {
    app.rechecks.troubles.of(way).failures > 0
}

/// When to try again; nothing where there is no trouble.
pub fn next_try(app: &App, way: Way) -> Option<i64> {
    let trouble = app.rechecks.troubles.of(way);
    (trouble.failures > 0).then_some(trouble.next_try)
}

/// Notes that the provider cannot be asked now.
pub fn note_away(app: &App, way: Way, error: &Error) {
    let now = app.now();
    let mut trouble = app.rechecks.troubles.of(way);
    trouble.failures = trouble.failures.saturating_add(1);
    trouble.next_try = now.saturating_add(pause(trouble.failures));
    let tells = now >= trouble.next_line;
    if tells {
        trouble.next_line = now.saturating_add(LINE_PAUSE);
    }
    drop(trouble);
    let level = if tells { Level::Warning } else { Level::Debug };
    app.log(
        level,
        &format!("the provider cannot be asked about sessions, which go on until it can: {error}"),
    );
    app.world.clerk.wake();
}

/// Puts the next try off: somebody else is at it.
pub fn put_off(app: &App, way: Way) {
    let now = app.now();
    app.rechecks.troubles.of(way).next_try = now.saturating_add(pause(1));
}

/// Notes that the provider has answered.
pub fn note_answer(app: &App, way: Way) {
    if forget(app, way) {
        app.log(Level::Info, "the provider can be asked about sessions again");
    }
}

/// Takes a trouble for over; `true` when there was one.
pub fn forget(app: &App, way: Way) -> bool {
    let mut trouble = app.rechecks.troubles.of(way);
    trouble.turned_away.clear();
    std::mem::take(&mut trouble.failures) > 0
}

/// Whose session it is, in few bytes. There is one provider: sessions of another one are not even read.
pub fn person(row: &SessionRow) -> [u8; 32] {
    sha256(row.subject.as_bytes())
}

/// The trouble of a session, if it has any.
pub fn own(app: &App, hash: &[u8; 32]) -> Option<Own> {
    app.rechecks.troubles.own.get(hash)
}

/// Until when a session goes on with trouble of its own: nobody stays on that. It follows from the row, so that a worker that was
/// started since, or has forgotten, grants no time of its own.
pub fn until(app: &App, session: &Session) -> i64 {
    session.due_now.saturating_add(app.config.session_recheck.max(PATIENCE))
}

/// Notes that a session was turned away.
pub fn note_own(app: &App, row: &SessionRow, error: &Error) {
    let now = app.now();
    let (before, whose) = (own(app, &row.id_hash), person(row));
    let failures = before.map_or(0, |own| own.failures).saturating_add(1);
    app.rechecks
        .troubles
        .own
        .insert(row.id_hash, Own { failures, next_try: now.saturating_add(pause(failures)) });
    let level = if before.is_none() { Level::Info } else { Level::Debug };
    app.log(level, &format!("the provider could not be asked about a session: {error}"));
    let mut trouble = app.rechecks.troubles.of(Way::Token);
    if !trouble.turned_away.contains(&whose) && trouble.turned_away.len() < DIFFERENT {
        trouble.turned_away.push(whose);
    }
    let is_everybodys = trouble.failures > 0 || trouble.turned_away.len() >= DIFFERENT;
    drop(trouble);
    if is_everybodys {
        note_away(app, Way::Token, error);
    }
}

/// Forgets the trouble of a session.
pub fn end_own(app: &App, hash: &[u8; 32]) {
    app.rechecks.troubles.own.remove(hash);
}
