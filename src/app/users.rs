//! From an identity to a row of MLflow's `users`: binding, creating, the admin flag.

use super::{Admitted, App};
use crate::error::{Code, Error, Party, Result, quote};
use crate::identity::Identity;
use crate::ports::{Bound, IdentityRow, Level, Patience, StoreFault, UserRow};
use moka::sync::Cache;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The `password_hash` of accounts that only sign in through the provider. It has no `$`, so MLflow's check of a
/// password answers no at once, whatever the password, and costs no hashing.
pub const NO_PASSWORD: &str = "oidc:no-password:mlflow-oidc";
/// How many identities a worker remembers.
const REMEMBERED: u64 = 100_000;
/// How many refusals a worker remembers for the event loop, and for how many seconds.
const REFUSALS: u64 = 1_000;
const REFUSAL_LIFETIME: i64 = 10;
/// How many of the event loop's errands may wait; more are answered 503 and come again.
const ERRANDS: usize = 1_000;
/// How long the clerk sleeps when nothing wakes it.
const IDLE: Duration = Duration::from_secs(60);
/// How long a request waits for the tables to be there.
const PREPARE_PATIENCE: Duration = Duration::from_secs(10);

/// What a worker knows of the people it has seen.
pub struct People {
    seen: Cache<(String, String), Seen>,
    /// What the clerk was told when it tried; the event loop passes it on.
    refused: Cache<(String, String), Arc<Refused>>,
    errands: Mutex<VecDeque<Identity>>,
    prepared: AtomicBool,
}

struct Refused {
    identity: Identity,
    error: Error,
    /// In seconds since 1970.
    at: i64,
}

#[derive(Clone)]
struct Seen {
    username: String,
    /// The flag that stands in MLflow's row; `None` when it was not looked at.
    is_admin: Option<bool>,
    /// When the row was looked at, in seconds since 1970.
    checked_at: i64,
}

impl People {
    pub fn new() -> Self {
        Self {
            seen: Cache::new(REMEMBERED),
            refused: Cache::new(REFUSALS),
            errands: Mutex::new(VecDeque::new()),
            prepared: AtomicBool::new(false),
        }
    }
}

fn key(identity: &Identity) -> (String, String) {
    (identity.issuer.clone(), identity.subject.clone())
}

/// Lets an identity in: checks its groups, then makes MLflow's row say what the identity says.
///
/// # Errors
/// `groups_missing`, `group_required`, `username_taken`, `account_protected`, `database_unavailable`; on the event loop
/// `provider_pending` while the clerk writes what is new.
pub fn admit(app: &App, identity: Identity, on_event_loop: bool) -> Result<Admitted> {
    app.config.rules.admit(identity.groups.as_deref())?;
    let wanted = app.config.rules.is_admin(identity.groups.as_deref());
    if let Some(seen) = app.people.seen.get(&key(&identity))
        && (wanted.is_none() || wanted == seen.is_admin)
    {
        let age = app.now().saturating_sub(seen.checked_at);
        // On the event loop an old look at MLflow's table is good enough: MLflow reads it again itself.
        if on_event_loop || (0..app.config.session_cache.max(1)).contains(&age) {
            return Ok(Admitted { identity, username: seen.username });
        }
    }
    if on_event_loop { admit_without_waiting(app, identity) } else { settle(app, identity) }
}

/// On the event loop: only a read that waits for no lock; whatever needs writing is the clerk's.
fn admit_without_waiting(app: &App, identity: Identity) -> Result<Admitted> {
    if app.people.prepared.load(Ordering::Acquire) {
        match app.world.store.identity(&identity.issuer, &identity.subject, Patience::Now) {
            // The time and the groups are noted after MLflow's row was written: it is there, with the same flag.
            Ok(Some(row)) if row.checked_at > 0 && row.groups == identity.groups => {
                let is_admin = app.config.rules.is_admin(identity.groups.as_deref());
                remember(app, &identity, &row.username, is_admin, 0);
                return Ok(Admitted { identity, username: row.username });
            }
            Ok(_) | Err(StoreFault::Busy) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    if let Some(refused) = app.people.refused.get(&key(&identity))
        && refused.identity == identity
        && (0..REFUSAL_LIFETIME).contains(&app.now().saturating_sub(refused.at))
    {
        return Err(refused.error.clone());
    }
    let mut errands = app.people.errands.lock().unwrap_or_else(PoisonError::into_inner);
    if errands.len() < ERRANDS && !errands.contains(&identity) {
        errands.push_back(identity);
    }
    drop(errands);
    app.world.clerk.wake();
    Err(Error::new(
        Code::ProviderPending,
        "the user in MLflow's table",
        "a new or changed user, being written",
    ))
}

/// One round of the clerk.
pub fn attend(app: &App) -> Duration {
    if !app.people.prepared.load(Ordering::Acquire) {
        match app.world.store.prepare() {
            Ok(()) => app.people.prepared.store(true, Ordering::Release),
            Err(fault) => {
                app.log(
                    Level::Error,
                    &format!("the tables of mlflow-oidc could not be made: {}", Error::from(fault)),
                );
                return Duration::from_secs(1);
            }
        }
    }
    loop {
        let errand = app.people.errands.lock().unwrap_or_else(PoisonError::into_inner).front().cloned();
        let Some(identity) = errand else { return IDLE };
        if let Err(error) = settle(app, identity.clone()) {
            app.log(Level::Warning, &format!("a user could not be written: {error}"));
            // A database that does not answer is no refusal: the caller comes again and it is tried again.
            if error.party == Party::Caller {
                let refused = Refused { error, at: app.now(), identity };
                app.people.refused.insert(key(&refused.identity), Arc::new(refused));
            }
        }
        // Taken out after the work, so that the same errand is not queued again meanwhile.
        app.people.errands.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    }
}

/// Waits until the tables are there.
///
/// # Errors
/// `database_unavailable`.
pub fn prepared(app: &App, on_event_loop: bool) -> Result<()> {
    if app.people.prepared.load(Ordering::Acquire) {
        return Ok(());
    }
    if on_event_loop {
        app.world.clerk.wake();
    } else {
        app.world.clerk.wait(app.world.clerk.rounds(), PREPARE_PATIENCE);
    }
    if app.people.prepared.load(Ordering::Acquire) {
        return Ok(());
    }
    Err(StoreFault::Busy.into())
}

/// Makes the rows say what the identity says. It may wait for locks.
///
/// # Errors
/// `username_taken`, `account_protected`, `database_unavailable`.
pub fn settle(app: &App, identity: Identity) -> Result<Admitted> {
    prepared(app, false)?;
    let wanted = app.config.rules.is_admin(identity.groups.as_deref());
    let store = &app.world.store;
    let mut row = match store.identity(&identity.issuer, &identity.subject, Patience::Wait)? {
        Some(row) => row,
        None => bind(app, &identity, wanted)?,
    };
    let before = row.clone();
    let is_admin = match app.world.users.find(&row.username)? {
        Some(found) => follow_admin(app, &row, &found, wanted)?,
        // New, or removed in MLflow since: who the provider vouches for is made anew.
        None => {
            let user = UserRow { password_hash: NO_PASSWORD.to_owned(), is_admin: wanted.unwrap_or(false) };
            row.made_here = true;
            make(app, &row, &user, wanted)?
        }
    };
    // A token without groups has nothing to say about them, and must not wipe what another one said.
    if identity.groups.is_some() {
        row.groups.clone_from(&identity.groups);
    }
    if row != before || row.checked_at == 0 {
        row.checked_at = app.now();
        store.note(&row)?;
    }
    remember(app, &identity, &row.username, Some(is_admin), app.now());
    Ok(Admitted { identity, username: row.username })
}

/// Adds the MLflow user; returns its admin flag.
fn make(app: &App, row: &IdentityRow, user: &UserRow, wanted: Option<bool>) -> Result<bool> {
    let username = &row.username;
    if app.world.users.create(username, user)? {
        app.log(Level::Info, &format!("made the MLflow user {} (admin: {})", quote(username), user.is_admin));
        return Ok(user.is_admin);
    }
    // Somebody was faster: most likely we ourselves, in another thread or worker.
    let gone = || StoreFault::Failed("the user was made and removed meanwhile".to_owned());
    let found = app.world.users.find(username)?.ok_or_else(gone)?;
    follow_admin(app, row, &found, wanted)
}

fn remember(app: &App, identity: &Identity, username: &str, is_admin: Option<bool>, checked_at: i64) {
    let seen = Seen { username: username.to_owned(), is_admin, checked_at };
    app.people.seen.insert(key(identity), seen);
}

/// Whether a row of MLflow's says that a login made it. For rows that no identity is bound to (any more); a bound one
/// knows it by itself, since its user may have been given a password in MLflow.
fn is_ours(user: &UserRow) -> bool {
    user.password_hash == NO_PASSWORD
}

/// The first login of an identity: may it have this user name?
fn bind(app: &App, identity: &Identity, is_admin: Option<bool>) -> Result<IdentityRow> {
    let username = &identity.username;
    let is_bootstrap_admin = app.config.admin_username.as_ref() == Some(username);
    let existing = app.world.users.find(username)?;
    // The administrator whom MLflow itself makes is never anybody's by name alone: a user who may choose the username
    // claim at the provider would choose 'admin'.
    let protected =
        is_bootstrap_admin || existing.as_ref().is_some_and(|user| user.is_admin && !is_ours(user));
    if protected && is_admin != Some(true) {
        return Err(Error::new(
            Code::AccountProtected,
            format!("a member of the admin group for the local administrator {}", quote(username)),
            "somebody else",
        ));
    }
    if let Some(user) = &existing
        && !is_ours(user)
        && !app.config.link_existing_users
    {
        return Err(Error::new(
            Code::UsernameTaken,
            format!(
                "a new user, or OIDC_LINK_EXISTING_USERS=true to hand over the existing {}",
                quote(username)
            ),
            "an MLflow user of that name with a password of its own",
        ));
    }
    let row = IdentityRow {
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        username: username.clone(),
        groups: identity.groups.clone(),
        checked_at: 0,
        made_here: existing.as_ref().is_none_or(is_ours),
    };
    match app.world.store.bind(&row)? {
        Bound::Row(row) => Ok(row),
        Bound::UsernameTaken => Err(Error::new(
            Code::UsernameTaken,
            format!("a user name of one subject only, {}", quote(username)),
            "another subject of the provider that has it already",
        )),
    }
}

/// Writes the admin flag where it differs, except that no login ever takes it from a local administrator; returns what
/// it is now.
fn follow_admin(app: &App, row: &IdentityRow, user: &UserRow, wanted: Option<bool>) -> Result<bool> {
    let username = &row.username;
    let Some(wanted) = wanted.filter(|wanted| *wanted != user.is_admin) else { return Ok(user.is_admin) };
    if !wanted && (!row.made_here || app.config.admin_username.as_ref() == Some(username)) {
        return Err(Error::new(
            Code::AccountProtected,
            format!("a member of the admin group for the local administrator {}", quote(username)),
            "somebody who is not (any more)",
        ));
    }
    app.world.users.set_admin(username, wanted)?;
    app.log(Level::Info, &format!("the MLflow user {} is an administrator: {wanted}", quote(username)));
    Ok(wanted)
}

/// Whether MLflow still has the user. It may wait for a lock.
///
/// # Errors
/// `database_unavailable`.
pub fn exists(app: &App, username: &str) -> Result<bool> {
    Ok(app.world.users.find(username)?.is_some())
}

/// Refuses user name and password for accounts that a login made.
///
/// MLflow lets users set a password for themselves; one that outlives the membership at the provider would be a side
/// door. It waits for no lock on the event loop.
///
/// # Errors
/// `account_without_password`, `database_unavailable`.
pub fn check_password_allowed(app: &App, username: &str, on_event_loop: bool) -> Result<()> {
    prepared(app, on_event_loop)?;
    let patience = if on_event_loop { Patience::Now } else { Patience::Wait };
    match app.world.store.identity_of_user(username, patience)? {
        Some(row) if row.made_here => Err(Error::new(
            Code::AccountWithoutPassword,
            "a bearer token, or an account that MLflow's administrator made",
            format!("a password for {}", quote(username)),
        )),
        _ => Ok(()),
    }
}
