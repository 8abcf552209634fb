//! MLflow's roles as `[oidc:roles]` says: the roles themselves once in a process, those of a person at each look at the rows.

use super::App;
use crate::error::{Result, quote};
use crate::identity::roles::{Change, Resource, RoleName};
use crate::identity::{Identity, Statement};
use crate::ports::{IdentityRow, Level, Patience, Roles, StoreFault, Undone};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How often the roles are looked at again after they were written. Two workers that start at once write the same.
const AGAIN: usize = 5;

/// In seconds, how long a role or grant that the database could not take is not tried again.
const PAUSE: i64 = 60;

/// The roles and grants that the database cannot take, with when that was said. The attack: an administrator of one workspace makes
/// a role `OIDC:scientists`, which MySQL takes for `oidc:scientists`. That role is nobody's then, and everybody still gets in.
#[derive(Default)]
pub struct LeftOut(Mutex<BTreeMap<(RoleName, Option<Resource>), i64>>);

impl LeftOut {
    /// Notes one, and says whether it is time for a line in the log.
    fn note(&self, change: &Change, now: i64) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = noted.insert(key(change), now);
        before.is_none_or(|at| !is_lately(at, now))
    }

    fn has(&self, role: &RoleName, is_it: impl Fn(i64) -> bool) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.get(&(role.clone(), None)).is_some_and(|at| is_it(*at))
    }

    fn forget(&self, change: &Change) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(change));
    }
}

fn is_lately(at: i64, now: i64) -> bool {
    (0..PAUSE).contains(&now.saturating_sub(at))
}

/// What could not be made: a grant, or a role with all of its.
fn key(change: &Change) -> (RoleName, Option<Resource>) {
    let on = if let Change::Grant(_, on, _) = change { Some(on.clone()) } else { None };
    (change.role().clone(), on)
}

/// MLflow's tables of roles; `None` where it has none, which was said at start.
fn tables(app: &App) -> Option<&dyn Roles> {
    app.world.roles.as_deref()
}

/// Makes our roles and their grants those of the settings, and takes away those that the settings do not have any more. What the
/// database cannot take is left out, and said.
///
/// # Errors
/// `StoreFault`; nothing is half done then.
pub fn define(app: &App) -> std::result::Result<(), StoreFault> {
    let Some(tables) = tables(app) else { return Ok(()) };
    let mut impossible = Vec::new();
    for _ in 0..AGAIN {
        let mut changes = app.config.rules.roles.changes(&tables.kept()?);
        changes.retain(|change| {
            let (role, on) = key(change);
            !impossible.contains(&(role.clone(), None)) && !impossible.contains(&(role, on))
        });
        if changes.is_empty() {
            return Ok(());
        }
        impossible.append(&mut make(app, tables, &changes)?);
    }
    Err(StoreFault::Failed("somebody else changes the roles all the time".to_owned()))
}

/// Changes roles and grants, and writes what was done and what was not. Returns what is impossible.
fn make(
    app: &App,
    tables: &dyn Roles,
    changes: &[Change],
) -> std::result::Result<Vec<(RoleName, Option<Resource>)>, StoreFault> {
    let undone: BTreeMap<usize, Option<String>> =
        tables.change(changes)?.into_iter().map(|Undone { index, why }| (index, why)).collect();
    let mut impossible = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        match undone.get(&index) {
            None => {
                app.roles.forget(change);
                app.log(Level::Info, &format!("roles of MLflow: {}", said(change)));
            }
            // Somebody has removed the role meanwhile, or it was not made.
            Some(None) => {}
            Some(Some(why)) => {
                impossible.push(key(change));
                if app.roles.note(change, app.now()) {
                    let what = match change {
                        Change::Grant(role, on, _) => {
                            format!("the grant on {} {} of {role}", on.kind, quote(&on.pattern))
                        }
                        _ => format!("{}, which nobody has until it can be made", change.role()),
                    };
                    app.log(Level::Error, &format!("a line of [oidc:roles] is left out, {what}: {why}"));
                }
            }
        }
    }
    Ok(impossible)
}

/// What is to change for the user of a row to have the roles that the newest known groups give.
fn changes(
    app: &App,
    tables: &dyn Roles,
    row: &IdentityRow,
    patience: Patience,
) -> std::result::Result<Vec<Change>, StoreFault> {
    let rules = &app.config.rules;
    // Without a role in the settings none of ours is there, see `define`; and nobody has to be asked.
    if rules.roles.is_empty() || row.user_id == 0 {
        return Ok(Vec::new());
    }
    // Of somebody whose groups nobody has told yet it is known that they are let in, if they are.
    let let_in = rules.admit(row.groups.as_deref()).is_ok();
    let groups = let_in.then(|| row.groups.as_deref().unwrap_or_default());
    let has = tables.of_user(row.user_id, patience)?;
    let mut changes = rules.roles.assignments(groups, &has, (row.user_id, &row.username));
    // Nobody is kept waiting for a role that cannot be made. Whoever may wait tries it again from time to time.
    let now = app.now();
    let is_left_out = |at| patience == Patience::Now || is_lately(at, now);
    changes.retain(|change| !matches!(change, Change::Assign(role, ..) if app.roles.has(role, is_left_out)));
    Ok(changes)
}

/// Whether the user of a row has the roles that the newest known groups give.
///
/// # Errors
/// `StoreFault`: `Busy` where the caller may not wait for a lock.
pub fn agree(app: &App, row: &IdentityRow, patience: Patience) -> std::result::Result<bool, StoreFault> {
    tables(app).map_or(Ok(true), |tables| Ok(changes(app, tables, row, patience)?.is_empty()))
}

/// Gives and takes roles until the user of a row has those that the newest known groups give. Says whether anything was
/// written.
///
/// # Errors
/// `database_unavailable`.
pub fn follow(app: &App, row: &IdentityRow) -> Result<bool> {
    let Some(tables) = tables(app) else { return Ok(false) };
    let changes = changes(app, tables, row, Patience::Wait)?;
    if changes.is_empty() {
        return Ok(false);
    }
    let mut undone = tables.change(&changes)?;
    if !undone.is_empty() {
        // Somebody has removed a role in MLflow, or the workspace with all its roles.
        add_missing(app, tables, &changes)?;
        undone = tables.change(&changes)?;
    }
    let is_done = |index| undone.iter().all(|undone| undone.index != index);
    let done: Vec<&Change> =
        changes.iter().enumerate().filter(|(index, _)| is_done(*index)).map(|(_, change)| change).collect();
    for change in &done {
        app.log(Level::Info, &format!("{}: {}", quote(&row.username), said(change)));
    }
    Ok(!done.is_empty())
}

/// Makes the roles that somebody should have and that are not there. Nothing is taken from anybody and no other role is looked at:
/// while servers are restarted one by one, those with the old section and those with the new one would take away from each other.
fn add_missing(app: &App, tables: &dyn Roles, assigned: &[Change]) -> std::result::Result<(), StoreFault> {
    let kept = tables.kept()?;
    let is_missing = |role: &RoleName| {
        assigned.iter().any(|change| change.role() == role) && kept.iter().all(|kept| &kept.name != role)
    };
    let mut changes = app.config.rules.roles.changes(&kept);
    changes.retain(|change| is_missing(change.role()));
    make(app, tables, &changes).map(drop)
}

/// What is known of somebody, as if it had been told now: it decides nothing new.
pub fn as_known(row: &IdentityRow) -> Statement {
    let identity = Identity {
        issuer: row.issuer.clone(),
        subject: row.subject.clone(),
        username: row.username.clone(),
        groups: row.groups.clone(),
    };
    Statement { identity: Arc::new(identity), told_at: row.told_at }
}

fn said(change: &Change) -> String {
    let of = |role: &RoleName| quote(&role.to_string());
    match change {
        Change::Create(role, _) => format!("made {}", of(role)),
        Change::Describe(role, _) => format!("changed the description of {}", of(role)),
        Change::Grant(role, on, permission) => {
            format!("{} grants {permission} on {} {}", of(role), on.kind, quote(&on.pattern))
        }
        Change::Revoke(role, on, permission) => {
            format!("{} does not grant {permission} on {} {} any more", of(role), on.kind, quote(&on.pattern))
        }
        Change::Delete(role) => format!("removed {}", of(role)),
        Change::Assign(role, ..) => format!("given the role {}", of(role)),
        Change::Unassign(role, _) => format!("does not have the role {} any more", of(role)),
    }
}
