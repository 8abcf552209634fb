//! From an identity to a row of MLflow's `users`: binding, making, the admin flag, and taking it back.

use super::users::{forget, forgotten, prepared, remember, user_of};
use super::{Admitted, App, roles};
use crate::error::{Code, Error, Result, quote};
use crate::identity::{Identity, Statement};
use crate::ports::{Bound, IdentityRow, Level, Made, Patience, StoreFault, UserRow};

/// The `password_hash` of accounts that only sign in through the provider. It has no `$`, so MLflow's check of a
/// password answers no at once, whatever the password, and costs no hashing.
pub const NO_PASSWORD: &str = "oidc:no-password:mlflow-oidc";

/// How often the rows are looked at again after rights were written. Groups and flag stand in two databases: somebody with a newer
/// or older token, in another thread or worker, may have read one of them before and write the other one after. Whoever writes looks
/// again, so the last one to look sees what all others wrote.
const AGAIN: usize = 3;

/// The groups that count: those of the newest statement of the provider.
///
/// A token of yesterday that is still valid must not undo what the provider said today.
pub fn standing<'a>(statement: &'a Statement, row: Option<&'a IdentityRow>) -> Option<&'a [String]> {
    match (&statement.identity.groups, row) {
        (Some(_), Some(row)) if row.groups.is_some() && statement.told_at < row.told_at => {
            row.groups.as_deref()
        }
        (groups, _) => groups.as_deref(),
    }
}

/// Makes the rows say what the provider says. It may wait for locks.
///
/// # Errors
/// `groups_missing`, `group_required`, `username_taken`, `account_protected`, `database_unavailable`.
pub fn settle(app: &App, statement: &Statement) -> Result<Admitted> {
    prepared(app, false)?;
    let mut done = write(app, statement)?;
    for _ in 0..AGAIN {
        if !done.rights_changed {
            break;
        }
        done = write(app, statement)?;
    }
    Ok(done.admitted)
}

struct Written {
    admitted: Admitted,
    /// Whether groups, roles or flag were written.
    rights_changed: bool,
}

fn write(app: &App, statement: &Statement) -> Result<Written> {
    let identity = &statement.identity;
    let before_reading = forgotten(app);
    let known = app.world.store.identity(&identity.issuer, &identity.subject, Patience::Wait)?;
    let groups = standing(statement, known.as_ref());
    if let Err(refusal) = app.config.rules.admit(groups) {
        if let Some(row) = known {
            turn_away(app, statement, row, |row| app.config.rules.admit(row.groups.as_deref()).is_ok())?;
        }
        return Err(refusal);
    }
    let mut wanted = app.config.rules.is_admin(groups);
    let mut row = match known.clone() {
        Some(row) => row,
        None => bind(app, identity, wanted)?,
    };
    let before = row.clone();
    let user = match app.world.users.find(&row.username, Patience::Wait)? {
        Some(found) => found,
        // New, or removed in MLflow since: who the provider vouches for is made anew.
        None => make(app, &row.username, wanted)?,
    };
    // Seen for the first time, or removed and made anew since: judged like the account that a first login finds. One that
    // a login made keeps its number, and stays what it is whatever password it is given.
    if row.user_id != user.id {
        if let Err(refusal) = may_take(app, &row.username, Some(&user), wanted) {
            part(app, row)?;
            return Err(refusal);
        }
        // Before the number is noted: it lets the event loop and the other workers in without another look.
        app.world.users.wait_until_seen(&row.username)?;
        row.user_id = user.id;
        row.made_here = is_ours(&user);
        if row.made_here {
            // Whoever had the account before had proof for its flag; this one has the name alone.
            wanted = Some(wanted == Some(true));
        }
    }
    take_note(statement, &mut row);
    if let Err(refusal) = check_flag(app, &row, &user) {
        turn_away(app, statement, before, |row| check_flag(app, row, &user).is_ok())?;
        return Err(refusal);
    }
    // A token that tells of no groups leaves those that are known, and what they give.
    let wanted = wanted.or_else(|| app.config.rules.is_admin(row.groups.as_deref()));
    let flag_written = follow_admin(app, &row, &user, wanted)?;
    // Before the groups are noted, like the flag: after a crash between the two the groups are still news. What an older statement's
    // crash leaves beside groups that are noted already, the next look finds (`agree`).
    let roles_written = roles::follow(app, &row)?;
    if row != before {
        app.world.store.note(&row)?;
    }
    let rights_changed = flag_written || roles_written || row.groups != before.groups;
    Ok(Written { admitted: remember(app, statement, row, before_reading), rights_changed })
}

/// Notes that the account of an identity is gone and another one has its name.
pub fn part(app: &App, row: IdentityRow) -> Result<()> {
    if row.user_id != 0 {
        forget(app, &row);
        app.world.store.note(&IdentityRow { user_id: 0, ..row })?;
    }
    Ok(())
}

/// Notes the groups of a token that is not older than what is known. A token without groups has nothing to say about
/// them, and must not wipe what another one said.
fn take_note(statement: &Statement, row: &mut IdentityRow) {
    let newest = row.groups.is_none() || statement.told_at >= row.told_at;
    if newest && statement.identity.groups.is_some() {
        row.groups.clone_from(&statement.identity.groups);
        row.told_at = statement.told_at;
    }
}

/// Somebody who was let in before and may not be any more: what the provider says now is noted, the flag that a login gave is
/// taken back, and the sessions end. `is_let_in` says it of the row as others have noted it.
fn turn_away(
    app: &App,
    statement: &Statement,
    mut row: IdentityRow,
    is_let_in: impl Fn(&IdentityRow) -> bool,
) -> Result<()> {
    let before = row.clone();
    take_note(statement, &mut row);
    let user = user_of(app, &row, Patience::Wait)?;
    if user.as_ref().is_some_and(|user| flag_to_write(app, &row, user) == Some(false)) {
        app.world.users.set_admin(&row.username, false)?;
    }
    let roles_written = user.is_some() && roles::follow(app, &row)?;
    if row == before {
        // Another worker may have noted it, and this one not have heard of it; or the settings alone are others.
        forget(app, &row);
        return Ok(());
    }
    app.world.store.note(&row)?;
    forget(app, &row);
    // A newer token may have let them in again meanwhile, and given what was just taken.
    if let Some(newest) = app.world.store.identity(&row.issuer, &row.subject, Patience::Wait)? {
        if roles_written {
            follow_roles(app, &newest)?;
        }
        if is_let_in(&newest) {
            return Ok(());
        }
    }
    let count = app.world.store.remove_ended(&row.issuer, Some(&row.subject), None)?;
    app.sessions.forget_all();
    let username = quote(&row.username);
    app.log(Level::Info, &format!("{username} has lost the groups that let them in: {count} sessions end"));
    Ok(())
}

/// Gives and takes roles where MLflow still has the very user of a row. The attack on the number alone: of an account that was
/// removed it may be that of the next one (SQLite), who would get the roles of somebody else's groups.
fn follow_roles(app: &App, row: &IdentityRow) -> Result<bool> {
    match user_of(app, row, Patience::Wait)? {
        Some(_) => roles::follow(app, row),
        None => Ok(false),
    }
}

/// Adds the MLflow user and returns its row.
fn make(app: &App, username: &str, wanted: Option<bool>) -> Result<UserRow> {
    // SQLite gives the highest number away again once its row is removed; one by chance from a range of our own tells a
    // removed account from the one that was made after it under the same name.
    let number = u32::from_be_bytes(app.random()?) >> 2;
    let user = UserRow {
        id: (1 << 30) + i64::from(number),
        password_hash: NO_PASSWORD.to_owned(),
        is_admin: wanted.unwrap_or(false),
    };
    // Somebody may be faster: most likely we ourselves, in another thread or worker. Whose row is there decides.
    match app.world.users.create(username, &user)? {
        Made::Now => {
            let line = format!("made the MLflow user {} (admin: {})", quote(username), user.is_admin);
            app.log(Level::Info, &line);
        }
        Made::Before => {}
        // MLflow would let this person act as the other one, or the other way round.
        Made::Alike => {
            return Err(Error::new(
                Code::UsernameTaken,
                format!("a user name that MLflow's database can tell from all others, {}", quote(username)),
                "one that its collation takes for another user's (upper case, accents, trailing blanks)",
            ));
        }
    }
    let gone = || StoreFault::Failed("the user was made and removed meanwhile".to_owned());
    Ok(app.world.users.find(username, Patience::Wait)?.ok_or_else(gone)?)
}

/// Whether a row of MLflow's says that a login made it and nobody gave it a password.
fn is_ours(user: &UserRow) -> bool {
    user.password_hash == NO_PASSWORD
}

/// Whether an identity may have the account of that name.
///
/// # Errors
/// `account_protected`: the administrator whom MLflow itself makes, and any other local one, is never anybody's by name
/// alone (a user who may choose the username claim at the provider would choose 'admin'). `username_taken`: a local
/// account, unless linking is allowed.
fn may_take(app: &App, username: &str, existing: Option<&UserRow>, wanted: Option<bool>) -> Result<()> {
    let is_bootstrap = app.config.admin_username.as_deref() == Some(username);
    let local = existing.filter(|user| !is_ours(user));
    if (is_bootstrap || local.is_some_and(|user| user.is_admin)) && wanted != Some(true) {
        return Err(Error::new(
            Code::AccountProtected,
            format!("a member of the admin group for the local administrator {}", quote(username)),
            "somebody else",
        ));
    }
    if local.is_some() && !app.config.link_existing_users {
        return Err(Error::new(
            Code::UsernameTaken,
            format!(
                "a new user, or OIDC_LINK_EXISTING_USERS=true to hand over the existing {}",
                quote(username)
            ),
            "an MLflow user of that name with a password of its own",
        ));
    }
    Ok(())
}

/// The first login of an identity: may it have this user name?
fn bind(app: &App, identity: &Identity, wanted: Option<bool>) -> Result<IdentityRow> {
    let username = &identity.username;
    let existing = app.world.users.find(username, Patience::Wait)?;
    may_take(app, username, existing.as_ref(), wanted)?;
    let row = IdentityRow {
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        username: username.clone(),
        user_id: 0,
        groups: None,
        told_at: 0,
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

/// Whether a login may take the flag away: never from a local administrator.
fn may_demote(app: &App, row: &IdentityRow) -> bool {
    row.made_here && app.config.admin_username.as_ref() != Some(&row.username)
}

/// Whether somebody may be the MLflow user whom they are bound to, whose flag may be there without the provider's word: an
/// administrator whom no login may demote is let in by the newest groups that are known, and by nothing that was not said.
///
/// # Errors
/// `account_protected`.
pub fn check_flag(app: &App, row: &IdentityRow, user: &UserRow) -> Result<()> {
    let known = row.groups.as_deref();
    if !user.is_admin || may_demote(app, row) || app.config.rules.is_admin(known) == Some(true) {
        return Ok(());
    }
    Err(Error::new(
        Code::AccountProtected,
        format!("a member of the admin group for the local administrator {}", quote(&row.username)),
        if known.is_some() {
            "somebody who is not (any more)"
        } else {
            "somebody whose groups nobody has told"
        },
    ))
}

/// The flag that the newest known groups and the settings give, where MLflow's user has another one that a login may change.
fn flag_to_write(app: &App, row: &IdentityRow, user: &UserRow) -> Option<bool> {
    let given = app.config.rules.is_admin(row.groups.as_deref())?;
    (given != user.is_admin && (given || may_demote(app, row))).then_some(given)
}

/// Whether MLflow's rows say of somebody what the newest known groups and the settings give: the flag and the roles. The settings may
/// be others than at the login, hands may have been at work, and a worker may have died before its second look.
///
/// # Errors
/// `StoreFault`: `Busy` where the caller may not wait for a lock.
pub fn agree(
    app: &App,
    row: &IdentityRow,
    user: &UserRow,
    patience: Patience,
) -> std::result::Result<bool, StoreFault> {
    Ok(flag_to_write(app, row, user).is_none() && roles::agree(app, row, patience)?)
}

/// Writes the admin flag where it differs, and says whether it did.
fn follow_admin(app: &App, row: &IdentityRow, user: &UserRow, wanted: Option<bool>) -> Result<bool> {
    let Some(wanted) = wanted.filter(|wanted| *wanted != user.is_admin) else { return Ok(false) };
    app.world.users.set_admin(&row.username, wanted)?;
    app.log(Level::Info, &format!("the MLflow user {} is an administrator: {wanted}", quote(&row.username)));
    Ok(true)
}
