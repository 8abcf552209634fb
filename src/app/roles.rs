//! MLflow's roles as `[oidc:roles]` says: the roles themselves once in a process, those of a person at each look at the rows.

use super::App;
use crate::error::{Result, quote};
use crate::identity::roles::{Change, RoleName};
use crate::identity::{Identity, Statement};
use crate::ports::{IdentityRow, Level, Patience, Roles, StoreFault};
use std::sync::Arc;

/// How often the roles are looked at again after they were written. Two workers that start at once write the same.
const AGAIN: usize = 5;

/// MLflow's tables of roles; `None` where it has none, which was said at start.
fn tables(app: &App) -> Option<&dyn Roles> {
    app.world.roles.as_deref()
}

/// Makes our roles and their grants those of the settings, and takes away those that the settings do not have any more.
///
/// # Errors
/// `StoreFault`; nothing is half done then.
pub fn define(app: &App) -> std::result::Result<(), StoreFault> {
    let Some(tables) = tables(app) else { return Ok(()) };
    for _ in 0..AGAIN {
        let changes = app.config.rules.roles.changes(&tables.kept()?);
        if changes.is_empty() {
            return Ok(());
        }
        tables.change(&changes)?;
        for change in &changes {
            app.log(Level::Info, &format!("roles of MLflow: {}", said(change)));
        }
    }
    Err(StoreFault::Failed("somebody else changes the roles all the time".to_owned()))
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
    Ok(rules.roles.assignments(groups, &tables.of_user(row.user_id, patience)?, row.user_id))
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
    if !tables.change(&changes)? {
        // Somebody has removed a role in MLflow, or the workspace with all its roles.
        define(app)?;
        tables.change(&changes)?;
    }
    for change in &changes {
        app.log(Level::Info, &format!("{}: {}", quote(&row.username), said(change)));
    }
    Ok(true)
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
        Change::Assign(role, _) => format!("given the role {}", of(role)),
        Change::Unassign(role, _) => format!("does not have the role {} any more", of(role)),
    }
}
