//! The SQLite store: the conformance suite, and what is SQLite's own: files and locks.

use crate::conformance::{Opener, conformance, identity, session};
use crate::files::Folder;
use mlflow_oidc::edge::store::sqlite::SqliteStore;
use mlflow_oidc::ports::{Bound, Patience, SessionRow, Store, StoreFault};
use rusqlite::Connection;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

struct File(Folder);

impl Opener for File {
    fn open(&self) -> Box<dyn Store> {
        Box::new(SqliteStore::new(self.0.path("store")))
    }
}

fn file(name: &str) -> File {
    File(Folder::new(name))
}

conformance! { file;
    tables_are_made_by_whoever_comes_first_and_by_many_at_once
    an_identity_is_read_back_as_it_was_bound
    nobody_is_found_by_half_of_the_name
    a_subject_is_bound_once
    a_name_belongs_to_one_subject
    a_race_for_one_name_has_one_winner
    a_race_of_one_subject_has_one_row_and_no_loser
    what_may_change_is_noted_and_the_name_is_not
    an_older_statement_is_not_noted_over_a_newer_one
    a_session_is_added_read_and_removed_once
    a_session_is_removed_by_one_of_many
    what_the_provider_said_of_a_session_is_noted_and_nothing_else
    one_of_many_may_ask_the_provider_about_a_session
    the_provider_ends_sessions_by_its_own_names
    a_session_of_nobody_is_none
    one_name_is_one_session
    a_new_session_sweeps_out_those_that_have_expired
    many_sessions_at_once_are_all_there
    whatever_is_written_in_a_name_stays_a_name
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

#[test]
fn groups_that_cannot_be_read_count_as_not_told() {
    let folder = Folder::new("groups");
    let store = SqliteStore::new(folder.path("store"));
    store.prepare().unwrap();
    store.bind(&identity("i", "alice", "alice")).unwrap();
    for text in ["", "MLFLOW_admin", "{}", "[1]", "[\"MLFLOW_admin\""] {
        let connection = Connection::open(folder.path("store")).unwrap();
        connection.execute("UPDATE oidc_identities SET groups = ?1", [text]).unwrap();
        let row = store.identity("i", "alice", Patience::Wait).unwrap().unwrap();
        assert_eq!(row.groups, None, "{text:?} opens no door");
    }
}

#[test]
fn a_file_of_an_older_version_gets_the_columns_that_it_lacks() {
    let file = file("older");
    let path = file.0.path("store");
    let older = "CREATE TABLE oidc_sessions (id_hash BLOB NOT NULL PRIMARY KEY, issuer TEXT NOT NULL, subject TEXT NOT NULL,
        provider_sid TEXT, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, sealed_id_token TEXT) WITHOUT ROWID;
        INSERT INTO oidc_sessions VALUES (zeroblob(32), 'i', 'alice', NULL, 100, 200, NULL)";
    Connection::open(path).unwrap().execute_batch(older).unwrap();
    let store = file.open();
    store.prepare().unwrap();
    store.prepare().unwrap();
    let Bound::Row(alice) = store.bind(&identity("i", "alice", "alice")).unwrap() else { panic!() };
    let row = SessionRow { checked_at: 0, ..session(0, 100, 200) };
    assert_eq!(store.session(&[0; 32], Patience::Wait).unwrap(), Some((row, alice)));
}
