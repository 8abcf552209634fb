//! What is SQLite's own in the store in a file: the file and its locks. What every store must do is in
//! `tests/python/test_store.py`.

use crate::files::Folder;
use mlflow_oidc::edge::store::sqlite::SqliteStore;
use mlflow_oidc::ports::{Bound, IdentityRow, Patience, SessionRow, Store, StoreFault};
use rusqlite::Connection;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn identity(issuer: &str, subject: &str, username: &str) -> IdentityRow {
    IdentityRow {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        username: username.to_owned(),
        groups: Some(vec!["MLFLOW".to_owned()]),
        user_id: 0,
        told_at: 0,
        made_here: true,
    }
}

fn session(name: u8, created_at: i64, expires_at: i64) -> SessionRow {
    SessionRow {
        id_hash: [name; 32],
        issuer: "i".to_owned(),
        subject: "alice".to_owned(),
        provider_sid: None,
        created_at,
        expires_at,
        checked_at: created_at,
        sealed_id_token: None,
        sealed_refresh_token: None,
    }
}

/// Holds the write lock of a database until it is told to let go, or the time is over.
struct Writer {
    let_go: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    fn hold(path: &Path, at_most: Duration) -> Self {
        let path = path.to_owned();
        let (let_go, told) = mpsc::channel();
        let (began, ready) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let connection = Connection::open(path).unwrap();
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            began.send(()).unwrap();
            let _ = told.recv_timeout(at_most);
            connection.execute_batch("COMMIT").unwrap();
        });
        ready.recv().unwrap();
        Self { let_go, thread }
    }

    fn end(self) {
        let _ = self.let_go.send(());
        self.thread.join().unwrap();
    }
}

#[test]
fn our_file_stands_beside_mlflows_and_is_made_on_first_use() {
    let folder = Folder::new("beside");
    let path = SqliteStore::beside(&folder.path("basic_auth.db"));
    assert_eq!(path, folder.path("basic_auth.db-oidc"));
    let store = SqliteStore::new(&path);
    assert!(!path.exists(), "naming it does nothing");
    store.prepare().unwrap();
    assert!(path.exists());
    let tables: Vec<String> = Connection::open(&path)
        .unwrap()
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(tables.iter().all(|table| table.starts_with("oidc_")), "{tables:?}");
}

#[test]
fn a_locked_database_is_waited_for() {
    let folder = Folder::new("locked");
    let store = SqliteStore::new(folder.path("store"));
    store.prepare().unwrap();
    let writes: [(&str, &dyn Fn()); 4] = [
        ("bind", &|| assert!(matches!(store.bind(&identity("i", "alice", "alice")), Ok(Bound::Row(_))))),
        ("note", &|| store.note(&identity("i", "alice", "alice")).unwrap()),
        ("add_session", &|| store.add_session(&session(1, 100, 200)).unwrap()),
        ("remove_session", &|| assert!(store.remove_session(&[1; 32]).unwrap().is_some())),
    ];
    for (name, write) in writes {
        let writer = Writer::hold(&folder.path("store"), Duration::from_secs(1));
        let began = Instant::now();
        write();
        assert!(began.elapsed() > Duration::from_millis(700), "{name} did not wait: {:?}", began.elapsed());
        writer.end();
    }
}

#[test]
fn tables_are_waited_for_while_another_worker_makes_them() {
    let folder = Folder::new("preparing");
    // Somebody has the write lock of a database that is not in our journal mode yet.
    Connection::open(folder.path("store")).unwrap().execute_batch("CREATE TABLE x (y)").unwrap();
    let writer = Writer::hold(&folder.path("store"), Duration::from_secs(1));
    SqliteStore::new(folder.path("store")).prepare().unwrap();
    writer.end();
}

#[test]
fn whoever_may_not_wait_is_answered_at_once_while_a_writer_holds_the_lock() {
    let folder = Folder::new("patience");
    let store = SqliteStore::new(folder.path("store"));
    store.prepare().unwrap();
    let alice = identity("i", "alice", "alice");
    store.bind(&alice).unwrap();
    store.add_session(&session(1, 100, 200)).unwrap();
    let writer = Writer::hold(&folder.path("store"), Duration::from_secs(20));
    let began = Instant::now();
    assert_eq!(store.identity("i", "alice", Patience::Now).unwrap(), Some(alice.clone()));
    assert_eq!(store.identity_of_user("alice", Patience::Now).unwrap(), Some(alice));
    assert!(store.session(&[1; 32], Patience::Now).unwrap().is_some());
    // A worker that has just started has no connection yet.
    let fresh = SqliteStore::new(folder.path("store"));
    assert!(fresh.session(&[1; 32], Patience::Now).unwrap().is_some());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    writer.end();
}

#[test]
fn whoever_may_not_wait_is_told_busy_at_once_where_readers_are_shut_out_too() {
    let folder = Folder::new("exclusive");
    SqliteStore::new(folder.path("store")).prepare().unwrap();
    let other = Connection::open(folder.path("store")).unwrap();
    other.pragma_update(None, "locking_mode", "exclusive").unwrap();
    other.execute_batch("BEGIN IMMEDIATE; CREATE TABLE x (y); COMMIT").unwrap();
    let began = Instant::now();
    let fresh = SqliteStore::new(folder.path("store"));
    assert_eq!(fresh.identity("i", "alice", Patience::Now), Err(StoreFault::Busy));
    assert!(began.elapsed() < Duration::from_secs(2), "waited {:?} on the event loop", began.elapsed());
}

#[test]
fn a_place_that_cannot_be_written_is_a_fault_in_words() {
    let folder = Folder::new("nowhere");
    let missing = SqliteStore::new(folder.path("missing/store"));
    assert!(matches!(missing.prepare(), Err(StoreFault::Failed(_))));
    std::fs::write(folder.path("garbage"), vec![b'x'; 8192]).unwrap();
    let garbage = SqliteStore::new(folder.path("garbage"));
    assert!(matches!(garbage.prepare(), Err(StoreFault::Failed(_))));
    assert!(matches!(garbage.identity("i", "s", Patience::Now), Err(StoreFault::Failed(_))));
}
