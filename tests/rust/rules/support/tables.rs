//! The rows of a test: identities and sessions of ours, users of MLflow's, all in memory.

use mlflow_oidc::ports::{Bound, IdentityRow, Made, Patience, SessionRow, Store, StoreFault, UserRow, Users};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// What a table was asked for, so that a test can say that nobody asked.
#[derive(Default)]
pub struct Asked(Mutex<Vec<String>>);

impl Asked {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// Our own tables.
#[derive(Default)]
pub struct MemoryStore {
    rows: Mutex<Rows>,
    /// Every call that may wait for a lock.
    pub patient: Asked,
    fault: Mutex<Option<StoreFault>>,
    meanwhile: Mutex<Option<Meanwhile>>,
}

/// What another thread does between the reading of a row and its use.
type Meanwhile = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Rows {
    identities: Vec<IdentityRow>,
    sessions: Vec<SessionRow>,
    /// Until when somebody asks the provider about a session.
    rechecks: BTreeMap<[u8; 32], i64>,
}

impl MemoryStore {
    /// From now on every call meets this fault, or none.
    pub fn fail(&self, fault: Option<StoreFault>) {
        *self.fault.lock().unwrap() = fault;
    }

    /// The next time that a row is read, another thread does this before it is used.
    pub fn meanwhile(&self, event: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(event));
    }

    fn let_others_go_first(&self) {
        let event = self.meanwhile.lock().unwrap().take();
        if let Some(event) = event {
            event();
        }
    }

    pub fn identities(&self) -> Vec<IdentityRow> {
        self.rows.lock().unwrap().identities.clone()
    }

    pub fn sessions(&self) -> Vec<SessionRow> {
        self.rows.lock().unwrap().sessions.clone()
    }

    pub fn clear_sessions(&self) {
        self.rows.lock().unwrap().sessions.clear();
    }

    fn rows(&self, what: &str, patience: Patience) -> Result<MutexGuard<'_, Rows>, StoreFault> {
        if patience == Patience::Wait {
            self.patient.note(what);
        }
        self.fault.lock().unwrap().clone().map_or_else(|| Ok(self.rows.lock().unwrap()), Err)
    }
}

impl Store for MemoryStore {
    fn prepare(&self) -> Result<(), StoreFault> {
        self.rows("prepare", Patience::Wait).map(|_| ())
    }

    fn identity(
        &self,
        issuer: &str,
        subject: &str,
        patience: Patience,
    ) -> Result<Option<IdentityRow>, StoreFault> {
        let rows = self.rows("identity", patience)?;
        let found =
            rows.identities.iter().find(|row| row.issuer == issuer && row.subject == subject).cloned();
        drop(rows);
        self.let_others_go_first();
        Ok(found)
    }

    fn identity_of_user(
        &self,
        username: &str,
        patience: Patience,
    ) -> Result<Option<IdentityRow>, StoreFault> {
        let rows = self.rows("identity_of_user", patience)?;
        Ok(rows.identities.iter().find(|row| row.username == username).cloned())
    }

    fn bind(&self, row: &IdentityRow) -> Result<Bound, StoreFault> {
        let mut rows = self.rows("bind", Patience::Wait)?;
        let same = |known: &&IdentityRow| known.issuer == row.issuer && known.subject == row.subject;
        if let Some(known) = rows.identities.iter().find(same) {
            return Ok(Bound::Row(known.clone()));
        }
        if rows.identities.iter().any(|known| known.username == row.username) {
            return Ok(Bound::UsernameTaken);
        }
        rows.identities.push(row.clone());
        Ok(Bound::Row(row.clone()))
    }

    fn note(&self, row: &IdentityRow) -> Result<(), StoreFault> {
        let mut rows = self.rows("note", Patience::Wait)?;
        for known in &mut rows.identities {
            if known.issuer == row.issuer && known.subject == row.subject {
                let newest = if known.told_at > row.told_at { known.clone() } else { row.clone() };
                known.user_id = row.user_id;
                known.made_here = row.made_here;
                known.groups = newest.groups;
                known.told_at = newest.told_at;
            }
        }
        Ok(())
    }

    fn add_session(&self, row: &SessionRow) -> Result<(), StoreFault> {
        let mut rows = self.rows("add_session", Patience::Wait)?;
        rows.sessions.retain(|known| known.expires_at > row.created_at);
        rows.sessions.push(row.clone());
        Ok(())
    }

    fn session(
        &self,
        id_hash: &[u8; 32],
        patience: Patience,
    ) -> Result<Option<(SessionRow, IdentityRow)>, StoreFault> {
        let rows = self.rows("session", patience)?;
        let Some(session) = rows.sessions.iter().find(|row| &row.id_hash == id_hash) else { return Ok(None) };
        let owner = |row: &&IdentityRow| row.issuer == session.issuer && row.subject == session.subject;
        let found = rows.identities.iter().find(owner).map(|identity| (session.clone(), identity.clone()));
        drop(rows);
        self.let_others_go_first();
        Ok(found)
    }

    fn begin_recheck(&self, id_hash: &[u8; 32], now: i64, until: i64) -> Result<bool, StoreFault> {
        let mut rows = self.rows("begin_recheck", Patience::Wait)?;
        let is_there = rows.sessions.iter().any(|row| &row.id_hash == id_hash);
        let taken = rows.rechecks.get(id_hash).is_some_and(|until| *until > now);
        if is_there && !taken {
            rows.rechecks.insert(*id_hash, until);
        }
        Ok(is_there && !taken)
    }

    fn renew_session(&self, row: &SessionRow, held: i64, until: i64) -> Result<bool, StoreFault> {
        let mut rows = self.rows("renew_session", Patience::Wait)?;
        if rows.rechecks.get(&row.id_hash).copied().unwrap_or_default() != held {
            return Ok(false);
        }
        rows.rechecks.insert(row.id_hash, until);
        let Some(known) = rows.sessions.iter_mut().find(|known| known.id_hash == row.id_hash) else {
            return Ok(false);
        };
        known.provider_sid.clone_from(&row.provider_sid);
        known.checked_at = row.checked_at;
        known.sealed_id_token.clone_from(&row.sealed_id_token);
        known.sealed_refresh_token.clone_from(&row.sealed_refresh_token);
        Ok(true)
    }

    fn remove_session(&self, id_hash: &[u8; 32]) -> Result<Option<SessionRow>, StoreFault> {
        let mut rows = self.rows("remove_session", Patience::Wait)?;
        let position = rows.sessions.iter().position(|row| &row.id_hash == id_hash);
        Ok(position.map(|position| rows.sessions.remove(position)))
    }

    fn remove_ended(
        &self,
        issuer: &str,
        subject: Option<&str>,
        provider_sid: Option<&str>,
    ) -> Result<usize, StoreFault> {
        let mut rows = self.rows("remove_ended", Patience::Wait)?;
        let before = rows.sessions.len();
        rows.sessions.retain(|row| {
            let of_subject = subject == Some(row.subject.as_str());
            let ended = match (provider_sid, row.provider_sid.as_deref()) {
                (Some(ended), Some(own)) => ended == own,
                (Some(_) | None, _) => of_subject,
            };
            row.issuer != issuer || !ended
        });
        Ok(before - rows.sessions.len())
    }
}

/// MLflow's `users`.
#[derive(Default)]
pub struct MemoryUsers {
    rows: Mutex<BTreeMap<String, UserRow>>,
    last_id: AtomicI64,
    /// Every call that may wait for a lock.
    pub asked: Asked,
    /// Whether somebody holds the lock, which only matters to whoever may not wait.
    pub locked: AtomicBool,
    /// Whether names that differ in upper case alone are the same, as on MySQL.
    pub ignores_case: AtomicBool,
    /// Whether MLflow would not find a new user yet.
    pub replica_lags: AtomicBool,
}

impl MemoryUsers {
    /// A user whom MLflow's administrator made, with a password.
    pub fn add_local(&self, username: &str, is_admin: bool) {
        let password_hash = "scrypt:32768:8:1$salt$0123".to_owned();
        let row = UserRow { id: self.next_id(), password_hash, is_admin };
        self.rows.lock().unwrap().insert(username.to_owned(), row);
    }

    fn next_id(&self) -> i64 {
        self.last_id.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The user sets a password in MLflow.
    pub fn set_password(&self, username: &str) {
        let password_hash = "scrypt:32768:8:1$salt$4567".to_owned();
        self.rows.lock().unwrap().get_mut(username).unwrap().password_hash = password_hash;
    }

    pub fn remove(&self, username: &str) {
        self.rows.lock().unwrap().remove(username);
    }

    pub fn all(&self) -> BTreeMap<String, UserRow> {
        self.rows.lock().unwrap().clone()
    }

    pub fn is_admin(&self, username: &str) -> Option<bool> {
        self.rows.lock().unwrap().get(username).map(|row| row.is_admin)
    }
}

impl Users for MemoryUsers {
    fn find(&self, username: &str, patience: Patience) -> Result<Option<UserRow>, StoreFault> {
        match patience {
            Patience::Wait => self.asked.note("find"),
            Patience::Now if self.locked.load(Ordering::SeqCst) => return Err(StoreFault::Busy),
            Patience::Now => {}
        }
        Ok(self.rows.lock().unwrap().get(username).cloned())
    }

    fn name_of(&self, username: &str, patience: Patience) -> Result<String, StoreFault> {
        if patience == Patience::Now && self.locked.load(Ordering::SeqCst) {
            return Err(StoreFault::Busy);
        }
        let like = |name: &&String| {
            self.ignores_case.load(Ordering::SeqCst) && name.to_lowercase() == username.to_lowercase()
        };
        let rows = self.rows.lock().unwrap();
        Ok(rows.keys().find(like).map_or(username, String::as_str).to_owned())
    }

    fn create(&self, username: &str, row: &UserRow) -> Result<Made, StoreFault> {
        self.asked.note("create");
        if self.name_of(username, Patience::Wait)? != username {
            return Ok(Made::Alike);
        }
        let mut rows = self.rows.lock().unwrap();
        if rows.contains_key(username) {
            return Ok(Made::Before);
        }
        // The number is the caller's choice, so that no account ever has the one of a removed account.
        assert!(rows.values().all(|known| known.id != row.id), "a number twice");
        rows.insert(username.to_owned(), row.clone());
        Ok(Made::Now)
    }

    fn set_admin(&self, username: &str, is_admin: bool) -> Result<(), StoreFault> {
        self.asked.note("set_admin");
        let mut rows = self.rows.lock().unwrap();
        let gone = || StoreFault::Failed("no such user".to_owned());
        rows.get_mut(username).ok_or_else(gone)?.is_admin = is_admin;
        Ok(())
    }

    fn wait_until_seen(&self, username: &str) -> Result<(), StoreFault> {
        if self.replica_lags.load(Ordering::SeqCst) {
            return Err(StoreFault::Busy);
        }
        assert!(self.rows.lock().unwrap().contains_key(username), "nobody to wait for");
        Ok(())
    }
}
