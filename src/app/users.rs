//! Who is let in: from memory, from our own table on the event loop, else through [`super::accounts`].

use super::weight::{self, Scales, Weighed};
use super::{Admitted, App, accounts, refusals, roles};
use crate::error::{Code, Error, Party, Result, quote};
use crate::identity::{Identity, Person, Statement, person};
use crate::ports::{IdentityRow, Level, Patience, StoreFault, UserRow};
use quick_cache::sync::Cache;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How many identities a worker remembers, of the ordinary size; of larger ones fewer ([`weight`]).
const REMEMBERED: usize = 100_000;
/// How many refusals a worker remembers for the event loop, and for how many seconds.
const REFUSALS: usize = 1_000;
const REFUSAL_LIFETIME: i64 = 10;
/// How many of the event loop's errands may wait; more are answered 503 and come again.
const ERRANDS: usize = 1_000;
/// How long the clerk sleeps when nothing wakes it.
const IDLE: Duration = Duration::from_secs(60);
/// How long a request waits for the tables to be there.
const PREPARE_PATIENCE: Duration = Duration::from_secs(10);

/// What a worker knows of the people it has seen.
pub struct People {
    seen: Cache<Person, Arc<Seen>, Scales>,
    /// What the clerk was told when it tried; the event loop passes it on.
    refused: Cache<Person, Arc<Refused>>,
    errands: Mutex<VecDeque<Statement>>,
    prepared: AtomicBool,
    /// How many people have been forgotten.
    forgotten: AtomicU64,
}

struct Refused {
    statement: Statement,
    error: Error,
    /// In seconds since 1970.
    at: i64,
}

struct Seen {
    username: Arc<str>,
    /// Who was let in then, and whether what was said of their groups is what is known.
    identity: Arc<Identity>,
    agreed: bool,
    /// The newest groups known, where they are others than the identity's; MLflow's row says what follows from them.
    others: Option<Option<Vec<String>>>,
    /// When the token that told them was issued, in seconds since 1970.
    told_at: i64,
    /// When the rows were looked at, in seconds since 1970.
    checked_at: i64,
    weight: u64,
}

impl Seen {
    fn groups(&self) -> Option<&[String]> {
        self.others.as_ref().unwrap_or(&self.identity.groups).as_deref()
    }
}

impl Weighed for Seen {
    fn weight(&self) -> u64 {
        self.weight
    }
}

impl People {
    pub fn new() -> Self {
        Self {
            seen: Cache::with_weighter(REMEMBERED, REMEMBERED as u64, Scales),
            refused: Cache::new(REFUSALS),
            errands: Mutex::new(VecDeque::new()),
            prepared: AtomicBool::new(false),
            forgotten: AtomicU64::new(0),
        }
    }
}

fn key(identity: &Identity) -> Person {
    person(&identity.issuer, &identity.subject)
}

/// Whether a token says of the groups what is known already.
fn agrees(identity: &Identity, groups: Option<&[String]>) -> bool {
    identity.groups.is_none() || identity.groups.as_deref() == groups
}

/// Whether a token is a newer statement than the one that is known, so that its time has to be noted: an older one that
/// says something else must be told from it later.
fn is_newer(statement: &Statement, told_at: i64) -> bool {
    statement.identity.groups.is_some() && statement.told_at > told_at
}

/// The MLflow user whom a statement means, where the rows were looked at lately and it tells nothing new. Whether its groups
/// let anybody in is another question.
pub fn recall(app: &App, person: &Person, statement: &Statement) -> Option<Arc<str>> {
    let seen = app.people.seen.get(person)?;
    let lately = (0..app.config.session_cache.max(1)).contains(&app.now().saturating_sub(seen.checked_at));
    // The very identity that was let in needs no second look at each of its groups.
    let agrees = if Arc::ptr_eq(&statement.identity, &seen.identity) {
        seen.agreed
    } else {
        agrees(&statement.identity, seen.groups())
    };
    (lately && agrees && !is_newer(statement, seen.told_at)).then(|| Arc::clone(&seen.username))
}

/// The same statement, with the identity that is in memory already where it is an equal one: a thousand tokens of one
/// person are remembered at the price of a thousand hashes.
pub fn share(app: &App, person: &Person, statement: Statement) -> Statement {
    match app.people.seen.get(person) {
        Some(seen) if seen.identity == statement.identity => {
            Statement { identity: Arc::clone(&seen.identity), ..statement }
        }
        _ => statement,
    }
}

/// Lets an identity in: its groups allow it, and MLflow's row says what they say.
///
/// # Errors
/// `groups_missing`, `group_required`, `username_taken`, `account_protected`, `database_unavailable`; on the event loop
/// `provider_pending` while the clerk writes what is new.
pub fn admit(app: &App, statement: &Statement, on_event_loop: bool) -> Result<Admitted> {
    let identity = &statement.identity;
    if let Some(username) = recall(app, &key(identity), statement) {
        app.config.rules.admit(identity.groups.as_deref())?;
        return Ok(Admitted { identity: Arc::clone(identity), username });
    }
    if on_event_loop { admit_without_waiting(app, statement) } else { accounts::settle(app, statement) }
}

/// On the event loop: only a read that waits for no lock; whatever needs writing is the clerk's.
fn admit_without_waiting(app: &App, statement: &Statement) -> Result<Admitted> {
    let identity = &statement.identity;
    if app.people.prepared.load(Ordering::Acquire) {
        let forgotten = forgotten(app);
        match app.world.store.identity(&identity.issuer, &identity.subject, Patience::Now) {
            // Bound, and MLflow's row is there.
            Ok(Some(row)) if row.user_id != 0 => {
                let groups = accounts::standing(statement, Some(&row));
                if (identity.groups.is_none() || groups == row.groups.as_deref())
                    && let Some(user) = user_of(app, &row, Patience::Now).or_else(busy_is_none)?
                    && accounts::agree(app, &row, &user, Patience::Now).or_else(busy_is_no)?
                {
                    app.config.rules.admit(groups)?;
                    accounts::check_flag(app, &row, &user)?;
                    if is_newer(statement, row.told_at) {
                        send_errand(app, statement.clone());
                    }
                    return Ok(remember(app, statement, row, forgotten));
                }
            }
            // A stranger who may not come in leaves nothing to write.
            Ok(None) => app.config.rules.admit(identity.groups.as_deref())?,
            Ok(Some(_)) | Err(StoreFault::Busy) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    if let Some(refused) = app.people.refused.get(&key(identity))
        && refused.statement == *statement
        && (0..REFUSAL_LIFETIME).contains(&app.now().saturating_sub(refused.at))
    {
        return Err(refused.error.clone());
    }
    Err(leave_to_clerk(app, statement.clone()))
}

/// Has the clerk settle it, and says that the caller should come again.
pub fn leave_to_clerk(app: &App, statement: Statement) -> Error {
    send_errand(app, statement);
    Error::new(Code::ProviderPending, "the user in MLflow's table", "a new or changed user, being written")
}

/// Who may not wait for a lock leaves the matter to the clerk, who may.
fn busy_is_no(fault: StoreFault) -> Result<bool> {
    if fault == StoreFault::Busy { Ok(false) } else { Err(fault.into()) }
}

fn busy_is_none<T>(fault: StoreFault) -> Result<Option<T>> {
    if fault == StoreFault::Busy { Ok(None) } else { Err(fault.into()) }
}

/// Leaves something to the clerk.
fn send_errand(app: &App, statement: Statement) {
    let mut errands = app.people.errands.lock().unwrap_or_else(PoisonError::into_inner);
    if errands.len() < ERRANDS && !errands.contains(&statement) {
        errands.push_back(statement);
    }
    drop(errands);
    app.world.clerk.wake();
}

/// One round of the clerk.
pub fn attend(app: &App) -> Duration {
    if !app.people.prepared.load(Ordering::Acquire) {
        let tables = app.world.store.prepare().map_err(|fault| ("the tables of mlflow-oidc", fault));
        // Before anybody is let in: a role that the settings do not have any more must give nobody anything.
        let done =
            tables.and_then(|()| roles::define(app).map_err(|fault| ("the roles of [oidc:roles]", fault)));
        match done {
            Ok(()) => app.people.prepared.store(true, Ordering::Release),
            Err((what, fault)) => {
                app.log(Level::Error, &format!("{what} could not be made: {}", Error::from(fault)));
                return Duration::from_secs(1);
            }
        }
    }
    loop {
        // Taken out before the work: an errand that breaks the clerk must not meet it again and again.
        let errand = app.people.errands.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(statement) = errand else { return IDLE };
        if let Err(error) = accounts::settle(app, &statement) {
            refusals::write_line(app, Level::Warning, error.code, || {
                format!("a user could not be written: {error}")
            });
            // A database that does not answer is no refusal: the caller comes again and it is tried again.
            if error.party == Party::Caller {
                let refused = Refused { error, at: app.now(), statement };
                app.people.refused.insert(key(&refused.statement.identity), Arc::new(refused));
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

/// How many people have been forgotten so far; to be asked before their rows are read.
pub fn forgotten(app: &App) -> u64 {
    app.people.forgotten.load(Ordering::SeqCst)
}

/// Remembers what stands in the rows about somebody who is let in, unless anybody was forgotten since they were read.
pub fn remember(app: &App, statement: &Statement, row: IdentityRow, before: u64) -> Admitted {
    let identity = &statement.identity;
    let username: Arc<str> = row.username.into();
    let agreed = agrees(identity, row.groups.as_deref());
    // Nearly always the same: then they are kept once.
    let others = (row.groups != identity.groups).then_some(row.groups);
    let weight = weight::of_texts(identity.groups.iter().chain(others.iter().flatten()).flatten());
    let seen = Seen {
        username: Arc::clone(&username),
        identity: Arc::clone(identity),
        agreed,
        others,
        told_at: row.told_at,
        checked_at: app.now(),
        weight,
    };
    let person = person(&row.issuer, &row.subject);
    app.people.seen.insert(person, Arc::new(seen));
    if forgotten(app) != before {
        app.people.seen.remove(&person);
    }
    Admitted { identity: Arc::clone(identity), username }
}

/// Forgets it.
pub fn forget(app: &App, row: &IdentityRow) {
    // Counted first: whoever has read the rows before and remembers them after this line takes them out again.
    app.people.forgotten.fetch_add(1, Ordering::SeqCst);
    app.people.seen.remove(&person(&row.issuer, &row.subject));
}

/// The very user that the identity was bound to, if MLflow still has it. An account that was removed and made anew under
/// the same name is somebody else's, with other rights; MLflow itself looks at the name alone.
///
/// # Errors
/// `StoreFault`: `Busy` where the caller may not wait for a lock.
pub fn user_of(
    app: &App,
    row: &IdentityRow,
    patience: Patience,
) -> std::result::Result<Option<UserRow>, StoreFault> {
    Ok(app.world.users.find(&row.username, patience)?.filter(|user| user.id == row.user_id))
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
    // MLflow on MySQL checks the password of 'alice' for whoever writes 'ALICE'.
    let username = app.world.users.name_of(username, patience)?;
    let Some(row) = app.world.store.identity_of_user(&username, patience)? else { return Ok(()) };
    if !row.made_here || row.user_id == 0 {
        return Ok(());
    }
    // An account of the same name that was removed and made anew in MLflow is somebody else's.
    if user_of(app, &row, patience)?.is_none() {
        return if on_event_loop { Ok(()) } else { accounts::part(app, row) };
    }
    Err(Error::new(
        Code::AccountWithoutPassword,
        "a bearer token, or an account that MLflow's administrator made",
        format!("a password for {}", quote(&username)),
    ))
}
