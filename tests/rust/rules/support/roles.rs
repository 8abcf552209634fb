//! MLflow's tables of roles, in memory.

use mlflow_oidc::identity::roles::{Change, Kept, PREFIX, Resource, RoleName};
use mlflow_oidc::ports::{Patience, Roles, StoreFault, Undone};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleRow {
    pub description: String,
    pub grants: BTreeMap<Resource, String>,
    pub users: BTreeSet<i64>,
}

/// What another thread does between the reading of roles and their use.
type Meanwhile = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub struct MemoryRoles {
    rows: Mutex<BTreeMap<RoleName, RoleRow>>,
    fault: Mutex<Option<StoreFault>>,
    meanwhile: Mutex<Option<Meanwhile>>,
    /// How often somebody asked for the roles of a user, and how often anything was written.
    pub asked: AtomicUsize,
    pub written: AtomicUsize,
    /// As MySQL and MariaDB are: names that differ by capitals or by blanks at the end are the same.
    pub is_blind: AtomicBool,
}

fn alike(one: &str, other: &str) -> bool {
    one != other && one.trim_end().eq_ignore_ascii_case(other.trim_end())
}

/// Does one change, or says what is in the way.
fn carry_out(
    rows: &mut BTreeMap<RoleName, RoleRow>,
    change: &Change,
    is_blind: bool,
) -> Result<(), Option<String>> {
    if let Change::Create(role, description) = change {
        if is_blind
            && rows.keys().any(|there| there.workspace == role.workspace && alike(&there.name, &role.name))
        {
            return Err(Some("another role".to_owned()));
        }
        rows.entry(role.clone()).or_default().description.clone_from(description);
        return Ok(());
    }
    let takes = matches!(change, Change::Revoke(..) | Change::Delete(_) | Change::Unassign(..));
    let Some(row) = rows.get_mut(change.role()) else { return if takes { Ok(()) } else { Err(None) } };
    match change {
        Change::Describe(_, text) | Change::Create(_, text) => row.description.clone_from(text),
        Change::Grant(_, on, permission) => {
            if is_blind
                && row.grants.keys().any(|there| there.kind == on.kind && alike(&there.pattern, &on.pattern))
            {
                return Err(Some("another pattern".to_owned()));
            }
            row.grants.insert(on.clone(), permission.clone());
        }
        Change::Revoke(_, on, _) => drop(row.grants.remove(on)),
        Change::Assign(_, user, _) => drop(row.users.insert(*user)),
        Change::Unassign(_, user) => drop(row.users.remove(user)),
        Change::Delete(role) => drop(rows.remove(role)),
    }
    Ok(())
}

pub fn resource(kind: &str, pattern: &str) -> Resource {
    Resource { kind: kind.to_owned(), pattern: pattern.to_owned() }
}

impl MemoryRoles {
    /// From now on every call meets this fault, or none.
    pub fn fail(&self, fault: Option<StoreFault>) {
        *self.fault.lock().unwrap() = fault;
    }

    /// The next time that the roles of a user are read, another thread does this before they are used.
    pub fn meanwhile(&self, event: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(event));
    }

    pub fn all(&self) -> BTreeMap<RoleName, RoleRow> {
        self.rows.lock().unwrap().clone()
    }

    /// By hands, as on MLflow's own pages.
    pub fn by_hand<T>(&self, work: impl FnOnce(&mut BTreeMap<RoleName, RoleRow>) -> T) -> T {
        work(&mut self.rows.lock().unwrap())
    }

    /// The names of a user's roles, as MLflow shows them: `workspace/name`.
    pub fn names_of(&self, user_id: i64) -> Vec<String> {
        let all = self.all();
        let mine = all.iter().filter(|(_, row)| row.users.contains(&user_id));
        mine.map(|(role, _)| format!("{}/{}", role.workspace, role.name)).collect()
    }

    fn check(&self) -> Result<(), StoreFault> {
        self.fault.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl Roles for MemoryRoles {
    fn kept(&self) -> Result<Vec<Kept>, StoreFault> {
        self.check()?;
        let all = self.all().into_iter().filter(|(name, _)| name.name.starts_with(PREFIX));
        Ok(all.map(|(name, row)| Kept { name, description: row.description, grants: row.grants }).collect())
    }

    fn of_user(&self, user_id: i64, _patience: Patience) -> Result<Vec<RoleName>, StoreFault> {
        self.check()?;
        self.asked.fetch_add(1, Ordering::SeqCst);
        let all = self.all().into_iter();
        let mine = all.filter(|(name, row)| name.name.starts_with(PREFIX) && row.users.contains(&user_id));
        let found = mine.map(|(name, _)| name).collect();
        let event = self.meanwhile.lock().unwrap().take();
        if let Some(event) = event {
            event();
        }
        Ok(found)
    }

    fn change(&self, changes: &[Change]) -> Result<Vec<Undone>, StoreFault> {
        self.check()?;
        self.written.fetch_add(1, Ordering::SeqCst);
        let mut rows = self.rows.lock().unwrap();
        let is_blind = self.is_blind.load(Ordering::SeqCst);
        let done = changes.iter().map(|change| carry_out(&mut rows, change, is_blind));
        let undone = done.enumerate().filter_map(|(index, done)| Some(Undone { index, why: done.err()? }));
        let undone = undone.collect();
        drop(rows);
        Ok(undone)
    }
}
