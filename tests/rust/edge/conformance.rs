//! What every store must do, written against the trait: a new store runs the same cases by one macro call.

use mlflow_oidc::ports::{Bound, IdentityRow, Patience, SessionRow, Store, StoreFault};
use std::sync::Barrier;

/// Opens a store on one and the same database again and again, as workers do.
pub trait Opener: Sync {
    fn open(&self) -> Box<dyn Store>;
}

/// One test for each case, on a database of its own.
macro_rules! conformance {
    ($make:expr; $($case:ident)*) => {
        $(#[test]
        fn $case() {
            crate::conformance::$case(&$make(stringify!($case)));
        })*
    };
}
pub(crate) use conformance;

pub fn identity(issuer: &str, subject: &str, username: &str) -> IdentityRow {
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

pub fn session(name: u8, created_at: i64, expires_at: i64) -> SessionRow {
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

/// A store whose tables are there.
fn ready(opener: &dyn Opener) -> Box<dyn Store> {
    let store = opener.open();
    store.prepare().unwrap();
    store
}

fn bound(store: &dyn Store, row: &IdentityRow) -> IdentityRow {
    match store.bind(row).unwrap() {
        Bound::Row(row) => row,
        Bound::UsernameTaken => panic!("{} is taken", row.username),
    }
}

/// Runs one piece of work in many threads, each with a store of its own, all at the same moment.
fn together<T: Send>(
    opener: &dyn Opener,
    count: usize,
    work: impl Fn(usize, &dyn Store) -> T + Sync,
) -> Vec<T> {
    let barrier = Barrier::new(count);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    let store = opener.open();
                    barrier.wait();
                    work(number, &*store)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

pub fn tables_are_made_by_whoever_comes_first_and_by_many_at_once(opener: &dyn Opener) {
    for result in together(opener, 12, |_, store| store.prepare()) {
        assert_eq!(result, Ok(()));
    }
    let store = opener.open();
    bound(&*store, &identity("i", "alice", "alice"));
    store.prepare().unwrap();
    store.prepare().unwrap();
    assert!(
        store.identity("i", "alice", Patience::Wait).unwrap().is_some(),
        "nothing is lost by preparing again"
    );
}

pub fn an_identity_is_read_back_as_it_was_bound(opener: &dyn Opener) {
    let store = ready(opener);
    let groups = [
        None,
        Some(vec![]),
        Some(vec!["MLFLOW".to_owned(), "ü \"quoted\" ',; [] {}".to_owned(), "\n\u{1F600}".to_owned()]),
    ];
    for (number, groups) in groups.into_iter().enumerate() {
        let row = IdentityRow {
            groups,
            user_id: number as i64,
            told_at: 1_800_000_000 + number as i64,
            made_here: number % 2 == 0,
            ..identity("https://idp.example", &format!("s{number}"), &format!("u{number}"))
        };
        assert_eq!(bound(&*store, &row), row);
        for patience in [Patience::Wait, Patience::Now] {
            assert_eq!(store.identity(&row.issuer, &row.subject, patience).unwrap(), Some(row.clone()));
            assert_eq!(store.identity_of_user(&row.username, patience).unwrap(), Some(row.clone()));
        }
        assert_eq!(opener.open().identity(&row.issuer, &row.subject, Patience::Now).unwrap(), Some(row));
    }
}

pub fn nobody_is_found_by_half_of_the_name(opener: &dyn Opener) {
    let store = ready(opener);
    bound(&*store, &identity("issuer", "subject", "alice"));
    for (issuer, subject) in [
        ("issuer", "other"),
        ("other", "subject"),
        ("", "subject"),
        ("issuer", ""),
        ("ISSUER", "subject"),
        ("issuer", "subject "),
    ] {
        assert_eq!(store.identity(issuer, subject, Patience::Wait).unwrap(), None, "{issuer} {subject}");
    }
    for username in ["", "Alice", "alice ", "%", "a%"] {
        assert_eq!(store.identity_of_user(username, Patience::Wait).unwrap(), None, "{username}");
    }
}

pub fn a_subject_is_bound_once(opener: &dyn Opener) {
    let store = ready(opener);
    let first = identity("i", "alice", "alice");
    bound(&*store, &first);
    let second = IdentityRow { groups: None, made_here: false, ..identity("i", "alice", "alice-married") };
    assert_eq!(store.bind(&second).unwrap(), Bound::Row(first), "the first row counts");
    assert_eq!(store.identity_of_user("alice-married", Patience::Wait).unwrap(), None);
}

pub fn a_name_belongs_to_one_subject(opener: &dyn Opener) {
    let store = ready(opener);
    let first = identity("i", "1", "alice");
    bound(&*store, &first);
    assert_eq!(store.bind(&identity("i", "2", "alice")).unwrap(), Bound::UsernameTaken);
    assert_eq!(store.bind(&identity("other", "1", "alice")).unwrap(), Bound::UsernameTaken);
    assert_eq!(store.identity("i", "2", Patience::Wait).unwrap(), None, "nothing is left of the loser");
    assert_eq!(store.identity_of_user("alice", Patience::Wait).unwrap(), Some(first));
    bound(&*store, &identity("i", "2", "Alice"));
}

pub fn a_race_for_one_name_has_one_winner(opener: &dyn Opener) {
    ready(opener);
    let results =
        together(opener, 16, |number, store| store.bind(&identity("i", &number.to_string(), "alice")));
    let winners: Vec<_> = results
        .into_iter()
        .filter_map(|result| match result.unwrap() {
            Bound::Row(row) => Some(row),
            Bound::UsernameTaken => None,
        })
        .collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    let found = opener.open().identity_of_user("alice", Patience::Wait).unwrap();
    assert_eq!(found.as_ref(), Some(&winners[0]));
}

pub fn a_race_of_one_subject_has_one_row_and_no_loser(opener: &dyn Opener) {
    ready(opener);
    let results =
        together(opener, 16, |number, store| store.bind(&identity("i", "alice", &format!("alice{number}"))));
    let rows: Vec<_> = results.into_iter().map(|result| result.unwrap()).collect();
    assert!(rows.iter().all(|row| row == &rows[0] && matches!(row, Bound::Row(_))), "{rows:?}");
}

pub fn what_may_change_is_noted_and_the_name_is_not(opener: &dyn Opener) {
    let store = ready(opener);
    bound(&*store, &identity("i", "alice", "alice"));
    bound(&*store, &identity("i", "bob", "bob"));
    let changed = IdentityRow {
        groups: None,
        user_id: 77,
        told_at: 78,
        made_here: false,
        username: "somebody-else".to_owned(),
        ..identity("i", "alice", "")
    };
    store.note(&changed).unwrap();
    let expected = IdentityRow { username: "alice".to_owned(), ..changed };
    assert_eq!(store.identity("i", "alice", Patience::Wait).unwrap(), Some(expected));
    let bob = identity("i", "bob", "bob");
    assert_eq!(store.identity("i", "bob", Patience::Wait).unwrap(), Some(bob), "nobody else is touched");
    store.note(&identity("i", "nobody", "nobody")).unwrap();
    assert_eq!(store.identity("i", "nobody", Patience::Wait).unwrap(), None, "nobody is made by a note");
}

pub fn an_older_statement_is_not_noted_over_a_newer_one(opener: &dyn Opener) {
    let store = ready(opener);
    bound(&*store, &identity("i", "alice", "alice"));
    let newest = IdentityRow { groups: Some(Vec::new()), told_at: 78, ..identity("i", "alice", "alice") };
    store.note(&newest).unwrap();
    store.note(&IdentityRow { user_id: 77, told_at: 77, ..identity("i", "alice", "alice") }).unwrap();
    let expected = IdentityRow { user_id: 77, ..newest };
    assert_eq!(store.identity("i", "alice", Patience::Wait).unwrap(), Some(expected));
}

pub fn a_session_is_added_read_and_removed_once(opener: &dyn Opener) {
    let store = ready(opener);
    let alice = identity("i", "alice", "alice");
    bound(&*store, &alice);
    let row = SessionRow {
        provider_sid: Some("sid".to_owned()),
        sealed_id_token: Some("sealed".to_owned()),
        sealed_refresh_token: Some("sealed too".to_owned()),
        ..session(1, 100, 200)
    };
    store.add_session(&row).unwrap();
    for patience in [Patience::Wait, Patience::Now] {
        assert_eq!(opener.open().session(&[1; 32], patience).unwrap(), Some((row.clone(), alice.clone())));
    }
    assert_eq!(store.session(&[2; 32], Patience::Wait).unwrap(), None);
    assert_eq!(store.remove_session(&[2; 32]).unwrap(), None);
    assert_eq!(store.remove_session(&[1; 32]).unwrap(), Some(row));
    assert_eq!(store.remove_session(&[1; 32]).unwrap(), None);
    assert_eq!(opener.open().session(&[1; 32], Patience::Wait).unwrap(), None);
}

pub fn what_the_provider_said_of_a_session_is_noted_and_nothing_else(opener: &dyn Opener) {
    let store = ready(opener);
    let alice = identity("i", "alice", "alice");
    bound(&*store, &alice);
    store.add_session(&session(1, 100, 200)).unwrap();
    store.add_session(&session(2, 100, 200)).unwrap();
    let renewed = SessionRow {
        provider_sid: Some("sid".to_owned()),
        checked_at: 150,
        sealed_id_token: Some("id".to_owned()),
        sealed_refresh_token: Some("refresh".to_owned()),
        ..session(1, 100, 200)
    };
    let told = SessionRow { subject: "bob".to_owned(), created_at: 1, expires_at: 999, ..renewed.clone() };
    assert_eq!(store.renew_session(&told), Ok(true));
    assert_eq!(opener.open().session(&[1; 32], Patience::Wait).unwrap(), Some((renewed, alice.clone())));
    assert_eq!(store.session(&[2; 32], Patience::Wait).unwrap(), Some((session(2, 100, 200), alice)));
    store.remove_session(&[1; 32]).unwrap();
    assert_eq!(store.renew_session(&session(1, 100, 200)), Ok(false), "what is over stays over");
    assert_eq!(store.session(&[1; 32], Patience::Wait).unwrap(), None);
}

pub fn one_of_many_may_ask_the_provider_about_a_session(opener: &dyn Opener) {
    let store = ready(opener);
    bound(&*store, &identity("i", "alice", "alice"));
    store.add_session(&session(1, 100, 200)).unwrap();
    let took = |now, until| {
        let took = together(opener, 12, |_, store| store.begin_recheck(&[1; 32], now, until).unwrap());
        took.into_iter().filter(|took| *took).count()
    };
    assert_eq!(took(150, 160), 1);
    assert_eq!(took(159, 169), 0, "whoever asks has until then");
    assert_eq!(took(160, 170), 1, "whoever asked has died");
    assert_eq!(store.renew_session(&session(1, 100, 200)), Ok(true));
    assert_eq!(took(161, 171), 1, "the answer has come");
    assert_eq!(store.begin_recheck(&[2; 32], 150, 160), Ok(false), "there is no such session");
}

pub fn the_provider_ends_sessions_by_its_own_names(opener: &dyn Opener) {
    let store = ready(opener);
    bound(&*store, &identity("i", "alice", "alice"));
    bound(&*store, &identity("i", "bob", "bob"));
    bound(&*store, &identity("other", "alice", "alice of another provider"));
    let rows = [
        (1, "i", "alice", Some("desk")),
        (2, "i", "alice", None),
        (3, "i", "bob", Some("bobs")),
        (4, "i", "bob", None),
        (5, "other", "alice", Some("desk")),
        (6, "i", "alice", Some("phone")),
    ];
    let cases: [(Option<&str>, Option<&str>, &[u8]); 8] = [
        (Some("alice"), Some("desk"), &[1, 2]),
        (None, Some("desk"), &[1]),
        (Some("alice"), None, &[1, 2, 6]),
        (Some("bob"), Some("desk"), &[1, 4]),
        (Some("nobody"), Some("nothing"), &[]),
        (None, Some(""), &[]),
        (Some(""), None, &[]),
        (None, None, &[]),
    ];
    for (subject, provider_sid, ended) in cases {
        for (name, issuer, subject, provider_sid) in rows {
            store.remove_session(&[name; 32]).unwrap();
            let row = SessionRow {
                issuer: issuer.to_owned(),
                subject: subject.to_owned(),
                provider_sid: provider_sid.map(str::to_owned),
                ..session(name, 0, 100)
            };
            store.add_session(&row).unwrap();
        }
        let count = store.remove_ended("i", subject, provider_sid).unwrap();
        let gone: Vec<u8> = rows
            .iter()
            .map(|(name, ..)| *name)
            .filter(|name| store.session(&[*name; 32], Patience::Wait).unwrap().is_none())
            .collect();
        assert_eq!((count, gone.as_slice()), (ended.len(), ended), "{subject:?} {provider_sid:?}");
    }
}

pub fn a_session_is_removed_by_one_of_many(opener: &dyn Opener) {
    let store = ready(opener);
    bound(&*store, &identity("i", "alice", "alice"));
    store.add_session(&session(1, 100, 200)).unwrap();
    let removed = together(opener, 12, |_, store| store.remove_session(&[1; 32]).unwrap().is_some());
    assert_eq!(removed.into_iter().filter(|removed| *removed).count(), 1);
}

pub fn a_session_of_nobody_is_none(opener: &dyn Opener) {
    let store = ready(opener);
    store.add_session(&session(1, 100, 200)).unwrap();
    assert_eq!(store.session(&[1; 32], Patience::Wait).unwrap(), None);
}

pub fn one_name_is_one_session(opener: &dyn Opener) {
    let store = ready(opener);
    store.add_session(&session(1, 100, 200)).unwrap();
    let again = store.add_session(&session(1, 100, 300));
    assert!(matches!(again, Err(StoreFault::Failed(_))), "{again:?}");
    assert_eq!(store.remove_session(&[1; 32]).unwrap(), Some(session(1, 100, 200)));
}

pub fn a_new_session_sweeps_out_those_that_have_expired(opener: &dyn Opener) {
    let store = ready(opener);
    for (name, expires_at) in [(1, 199), (2, 200), (3, 201)] {
        store.add_session(&session(name, 100, expires_at)).unwrap();
    }
    store.add_session(&session(4, 200, 300)).unwrap();
    let left: Vec<u8> =
        (1..=4).filter(|name| store.remove_session(&[*name; 32]).unwrap().is_some()).collect();
    assert_eq!(left, [3, 4]);
}

pub fn many_sessions_at_once_are_all_there(opener: &dyn Opener) {
    let store = ready(opener);
    bound(&*store, &identity("i", "alice", "alice"));
    for result in together(opener, 16, |number, store| store.add_session(&session(number as u8, 100, 200))) {
        assert_eq!(result, Ok(()));
    }
    assert!((0..16).all(|name| store.session(&[name; 32], Patience::Now).unwrap().is_some()));
}

pub fn whatever_is_written_in_a_name_stays_a_name(opener: &dyn Opener) {
    let store = ready(opener);
    for name in ["'; DROP TABLE oidc_identities; --", "a\"b", "a`b", "\\", "%_", "ä\u{1F600}", "?1"] {
        let row = identity(name, name, name);
        assert_eq!(bound(&*store, &row), row);
        assert_eq!(store.identity(name, name, Patience::Wait).unwrap(), Some(row));
    }
}
