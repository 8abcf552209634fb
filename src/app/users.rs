//! Who is let in: from memory, from our own table on the event loop, else through [`super::accounts`].

use super::{Admitted, App, accounts};
use crate::error::{Code, Error, Party, Result, quote};
use crate::identity::Identity;
use crate::ports::{IdentityRow, Level, Patience, StoreFault};
use moka::sync::Cache;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
    /// The newest groups known; MLflow's row says what follows from them.
    groups: Option<Vec<String>>,
    /// When the token that told them was issued, in seconds since 1970.
    told_at: i64,
    /// When the rows were looked at, in seconds since 1970.
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

/// Whether a token says of the groups what is known already.
fn agrees(identity: &Identity, groups: Option<&[String]>) -> bool {
    identity.groups.is_none() || identity.groups.as_deref() == groups
}

/// Whether a token is a newer statement than the one that is known, so that its time has to be noted: an older one that
/// says something else must be told from it later.
fn is_newer(identity: &Identity, told_at: i64) -> bool {
    identity.groups.is_some() && identity.told_at > told_at
}

/// Lets an identity in: its groups allow it, and MLflow's row says what they say.
///
/// # Errors
/// `groups_missing`, `group_required`, `username_taken`, `account_protected`, `database_unavailable`; on the event loop
/// `provider_pending` while the clerk writes what is new.
pub fn admit(app: &App, identity: Identity, on_event_loop: bool) -> Result<Admitted> {
    if let Some(seen) = app.people.seen.get(&key(&identity))
        && (0..app.config.session_cache.max(1)).contains(&app.now().saturating_sub(seen.checked_at))
        && agrees(&identity, seen.groups.as_deref())
        && !is_newer(&identity, seen.told_at)
    {
        app.config.rules.admit(identity.groups.as_deref())?;
        return Ok(Admitted { identity, username: seen.username });
    }
    if on_event_loop { admit_without_waiting(app, identity) } else { accounts::settle(app, identity) }
}

/// On the event loop: only a read that waits for no lock; whatever needs writing is the clerk's.
fn admit_without_waiting(app: &App, identity: Identity) -> Result<Admitted> {
    if app.people.prepared.load(Ordering::Acquire) {
        match app.world.store.identity(&identity.issuer, &identity.subject, Patience::Now) {
            // Bound, and MLflow's row is there: its flag was written before these groups were noted.
            Ok(Some(row)) if row.user_id != 0 => {
                let groups = accounts::standing(&identity, Some(&row));
                if (identity.groups.is_none() || groups == row.groups.as_deref())
                    && is_there(app, &row, Patience::Now).or_else(busy_is_no)?
                {
                    app.config.rules.admit(groups)?;
                    remember(app, &row);
                    if is_newer(&identity, row.told_at) {
                        send_errand(app, identity.clone());
                    }
                    return Ok(Admitted { identity, username: row.username });
                }
            }
            // A stranger who may not come in leaves nothing to write.
            Ok(None) => app.config.rules.admit(identity.groups.as_deref())?,
            Ok(Some(_)) | Err(StoreFault::Busy) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    if let Some(refused) = app.people.refused.get(&key(&identity))
        && refused.identity == identity
        && (0..REFUSAL_LIFETIME).contains(&app.now().saturating_sub(refused.at))
    {
        return Err(refused.error.clone());
    }
    send_errand(app, identity);
    Err(Error::new(
        Code::ProviderPending,
        "the user in MLflow's table",
        "a new or changed user, being written",
    ))
}

/// Who may not wait for a lock leaves the matter to the clerk, who may.
fn busy_is_no(fault: StoreFault) -> Result<bool> {
    if fault == StoreFault::Busy { Ok(false) } else { Err(fault.into()) }
}

/// Leaves something to the clerk.
fn send_errand(app: &App, identity: Identity) {
    let mut errands = app.people.errands.lock().unwrap_or_else(PoisonError::into_inner);
    if errands.len() < ERRANDS && !errands.contains(&identity) {
        errands.push_back(identity);
    }
    drop(errands);
    app.world.clerk.wake();
}

/// One round of the clerk.
pub fn attend(app: &App) -> Duration {
    if !app.people.prepared.load(Ordering::Acquire) {
        match app.world.store.prepare() {
            Ok(()) => app.people.prepared.store(true, Ordering::Release),
            Err(fault) => {
                let line = format!("the tables of mlflow-oidc could not be made: {}", Error::from(fault));
                app.log(Level::Error, &line);
                return Duration::from_secs(1);
            }
        }
    }
    loop {
        // Taken out before the work: an errand that breaks the clerk must not meet it again and again.
        let errand = app.people.errands.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(identity) = errand else { return IDLE };
        if let Err(error) = accounts::settle(app, identity.clone()) {
            app.log(Level::Warning, &format!("a user could not be written: {error}"));
            // A database that does not answer is no refusal: the caller comes again and it is tried again.
            if error.party == Party::Caller {
                let refused = Refused { error, at: app.now(), identity };
                app.people.refused.insert(key(&refused.identity), Arc::new(refused));
            }
        }
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
        app.world.clerk.wait(PREPARE_PATIENCE);
    }
    if app.people.prepared.load(Ordering::Acquire) {
        return Ok(());
    }
    Err(StoreFault::Busy.into())
}

/// Remembers what stands in the rows.
pub fn remember(app: &App, row: &IdentityRow) {
    let seen = Seen {
        username: row.username.clone(),
        groups: row.groups.clone(),
        told_at: row.told_at,
        checked_at: app.now(),
    };
    app.people.seen.insert((row.issuer.clone(), row.subject.clone()), seen);
}

/// Forgets it.
pub fn forget(app: &App, row: &IdentityRow) {
    app.people.seen.invalidate(&(row.issuer.clone(), row.subject.clone()));
}

/// Whether MLflow still has the very user that the identity was bound to. An account that was removed and made anew under
/// the same name is somebody else's, with other rights; MLflow itself looks at the name alone.
///
/// # Errors
/// `StoreFault`: `Busy` where the caller may not wait for a lock.
pub fn is_there(app: &App, row: &IdentityRow, patience: Patience) -> std::result::Result<bool, StoreFault> {
    Ok(app.world.users.find(&row.username, patience)?.is_some_and(|user| user.id == row.user_id))
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
    let Some(row) = app.world.store.identity_of_user(username, patience)? else { return Ok(()) };
    if !row.made_here || row.user_id == 0 {
        return Ok(());
    }
    // An account of the same name that was removed and made anew in MLflow is somebody else's.
    if !is_there(app, &row, patience)? {
        return if on_event_loop { Ok(()) } else { accounts::part(app, row) };
    }
    Err(Error::new(
        Code::AccountWithoutPassword,
        "a bearer token, or an account that MLflow's administrator made",
        format!("a password for {}", quote(username)),
    ))
}
