//! When the provider is asked again about somebody who is signed in, by whom, and what holds until it has answered.
//!
//! From half of `OIDC_SESSION_RECHECK` on the clerk asks ahead, so that nobody waits; once all of it is over nobody is let in on the
//! old word, and a request asks by itself. One asks for one session: a refresh token is good once (RFC 9700 section 4.14.2).
//!
//! While the provider cannot be asked sessions go on, and no request waits for it: after the first one that was not answered the
//! clerk alone tries again, with growing pauses (`app::trouble`).

use super::browser::{self, Session};
use super::provider::{self, Place};
use super::refresh::{self, Outcome};
use super::trouble::{self, Troubles, Way};
use super::wire::Request;
use super::{App, silent};
use crate::error::{Code, Error, Result};
use crate::ports::{Level, SessionRow};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many requests may ask, or wait for another's answer, at once: fewer than the exchanges, so that logins have a place too.
const ENGAGED: usize = 12;
/// How long a request waits for the answer that another one brings, in seconds, and how often it looks. A page has begun to come
/// by then, or its browser is told to come again.
const PATIENCE: i64 = 4;
const PAUSE: Duration = Duration::from_millis(100);
/// The same as a number of looks, for a clock that stands still.
const LOOKS: usize = 60;
/// How many sessions may wait for the clerk; those in use come again by themselves.
const ERRANDS: usize = 1_000;
/// How many of them may be one person's: whoever has a thousand browsers leaves the others their places.
const OF_ONE: usize = 3;
/// The least time between two trips of a browser, in seconds, from the end of one: a shorter one than a page takes to come would
/// be a circle.
const TRIP_PAUSE: i64 = 5;
/// How long the clerk sleeps when nothing wakes it.
const IDLE: Duration = Duration::from_secs(60);

/// What a process knows of asking again. Times in seconds since 1970.
#[derive(Default)]
pub struct Rechecks {
    pub troubles: Troubles,
    errands: Mutex<VecDeque<Errand>>,
    /// Somebody wants to know whether the provider answers.
    look_wanted: AtomicBool,
    /// One look at a time; whoever waits for it finds its result.
    pub looking: Mutex<()>,
    engaged: AtomicUsize,
    /// Whoever waits for an answer of this process is woken here.
    done: (Mutex<()>, Condvar),
    /// When the first session was looked at; 0 before.
    began: AtomicI64,
    /// Whether it was told that the provider gives no refresh token.
    told: AtomicBool,
}

/// A session that waits for the clerk.
#[derive(PartialEq, Eq)]
struct Errand {
    hash: [u8; 32],
    whose: [u8; 32],
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When a session is due: from when on it is asked about ahead, and from when on it is let in on a new word alone.
pub fn moments(app: &App, row: &SessionRow) -> (i64, i64) {
    let period = app.config.session_recheck;
    if period == 0 {
        return (i64::MAX, i64::MAX);
    }
    let least = if row.sealed_refresh_token.is_some() { 0 } else { TRIP_PAUSE };
    let (half, period) = ((period / 2).max(least), period.max(least));
    let vouched_at = match row.checked_at {
        // Made by a version that did not ask: due at once, and nobody is thrown out by an update.
        0 => began(app).saturating_sub(half),
        told => told,
    };
    (vouched_at.saturating_add(half), vouched_at.saturating_add(period))
}

fn began(app: &App) -> i64 {
    let now = app.now();
    match app.rechecks.began.compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => now,
        Err(before) => before,
    }
}

/// Lets a session go on, asks the provider about it, or has the browser do so.
///
/// # Errors
/// `session_recheck` where the browser has to go to the provider, `session_ended`, `provider_pending`, `provider_busy`,
/// `database_unavailable`, and those of admission.
pub fn keep(app: &App, request: &Request<'_>, session: Arc<Session>) -> Result<Arc<Session>> {
    let now = app.now();
    if now < session.due_soon {
        return Ok(session);
    }
    let way = if session.can_be_refreshed() { Way::Token } else { Way::Look };
    let (is_away, is_over) = (trouble::is_away(app, way), now >= session.due_now);
    let own = trouble::own(app, &session.row.id_hash);
    // What is remembered of it may be a few seconds old; the clerk looks at the row before it asks.
    if way == Way::Token
        && (is_away || !is_over || request.on_event_loop || own.is_some())
        && (is_away || own.is_none_or(|own| now >= own.next_try.min(trouble::until(app, &session))))
    {
        send_errand(app, &session.row);
    }
    if is_away {
        return Ok(session);
    }
    if is_over {
        return if goes_on(app, &session) { Ok(session) } else { ask_first(app, request, session) };
    }
    if session.can_be_refreshed() || !silent::may_go(app, request, &session)? {
        return Ok(session);
    }
    Err(silent::wanted())
}

/// Whether trouble of its own lets a session go on.
fn goes_on(app: &App, session: &Session) -> bool {
    session.can_be_refreshed()
        && trouble::own(app, &session.row.id_hash).is_some()
        && app.now() < trouble::until(app, session)
}

/// The full time is over.
fn ask_first(app: &App, request: &Request<'_>, session: Arc<Session>) -> Result<Arc<Session>> {
    let hash = session.row.id_hash;
    if request.on_event_loop {
        return if session.can_be_refreshed() { Err(pending()) } else { without_token(app, session, true) };
    }
    let _place = Place::take(&app.rechecks.engaged, ENGAGED)?;
    let until = app.now().saturating_add(PATIENCE);
    for _ in 0..LOOKS {
        // Another thread or worker may have brought an answer, or have heard that there is none.
        let session = browser::read_again(app, &hash)?;
        if app.now() < session.due_now || trouble::is_away(app, Way::Token) || goes_on(app, &session) {
            return Ok(session);
        }
        if !session.can_be_refreshed() {
            return without_token(app, session, false);
        }
        if let Some(outcome) = try_to_ask(app, &session)? {
            return match outcome {
                Outcome::Renewed => browser::read_again(app, &hash),
                Outcome::Away(_) => Ok(session),
                Outcome::TurnedAway(_) if trouble::is_away(app, Way::Token) || goes_on(app, &session) => {
                    Ok(session)
                }
                // After a long pause: one answer of trouble costs nobody their token, and lets nobody in.
                Outcome::TurnedAway(_) => Err(pending()),
                // Its answer is in the row, or will be.
                Outcome::Overtaken => continue,
                // It has answered, so it can be gone to.
                Outcome::Faulty(_) => Err(silent::wanted()),
                Outcome::Ended(error) => Err(error),
            };
        }
        if app.now() >= until {
            break;
        }
        let done = lock(&app.rechecks.done.0);
        drop(app.rechecks.done.1.wait_timeout(done, PAUSE));
    }
    Err(pending())
}

/// Nothing but the browser can ask; where nobody would answer it, the session goes on.
fn without_token(app: &App, session: Arc<Session>, on_event_loop: bool) -> Result<Arc<Session>> {
    let goes_on = trouble::is_away(app, Way::Token) || !silent::answers(app, on_event_loop)?;
    if goes_on { Ok(session) } else { Err(silent::wanted()) }
}

fn pending() -> Error {
    Error::new(Code::ProviderPending, "a new word of the provider about the session", "it is being asked")
}

/// Asks the provider about a session, unless somebody else does so now.
fn try_to_ask(app: &App, session: &Session) -> Result<Option<Outcome>> {
    let (now, hash) = (app.now(), &session.row.id_hash);
    let held = now.saturating_add_unsigned(lease(app));
    if !app.world.store.begin_recheck(hash, now, held)? {
        return Ok(None);
    }
    // In trouble that is everybody's nobody is out for it.
    let is_last = !trouble::is_away(app, Way::Token)
        && trouble::own(app, hash).is_some()
        && now >= trouble::until(app, session);
    let outcome = refresh::ask(app, &session.row, &session.identity, held, is_last);
    match &outcome {
        Ok(Outcome::Away(error)) => trouble::note_away(app, Way::Token, error),
        Ok(Outcome::TurnedAway(error)) => trouble::note_own(app, &session.row, error),
        Ok(Outcome::Renewed | Outcome::Faulty(_) | Outcome::Ended(_)) => {
            trouble::end_own(app, hash);
            trouble::note_answer(app, Way::Token);
        }
        Ok(Outcome::Overtaken) | Err(_) => {}
    }
    if trouble::is_away(app, Way::Token) {
        // So that the clerk has somebody to try with; one after the other, so that it is not always the same one.
        send_errand(app, &session.row);
    }
    app.rechecks.done.1.notify_all();
    outcome.map(Some)
}

/// For how long one may ask, in seconds: the token, the keys, Microsoft Graph and the user information, each as long as one answer
/// may take, and the database. It ends by itself where the process does.
fn lease(app: &App) -> u64 {
    app.config.http_timeout.saturating_mul(4).saturating_add(60)
}

/// Leaves a session to the clerk.
fn send_errand(app: &App, row: &SessionRow) {
    let errand = Errand { hash: row.id_hash, whose: trouble::person(row) };
    let mut errands = lock(&app.rechecks.errands);
    let has_place = errands.len() < ERRANDS
        && errands.iter().filter(|known| known.whose == errand.whose).count() < OF_ONE;
    if has_place && !errands.contains(&errand) {
        errands.push_back(errand);
        drop(errands);
        app.world.clerk.wake();
    }
}

/// Leaves it to the clerk to see whether the provider answers.
pub fn want_look(app: &App) {
    app.rechecks.look_wanted.store(true, Ordering::Release);
    app.world.clerk.wake();
}

/// One piece of the clerk's work, and when the next one is due: at once where sessions are waiting. It blocks.
pub fn attend(app: &App) -> Duration {
    let now = app.now();
    let mut sleep = IDLE;
    match trouble::next_try(app, Way::Token) {
        Some(next_try) if now < next_try => sleep = provider::until(next_try, now),
        _ => {
            let errand = lock(&app.rechecks.errands).pop_front();
            if let Some(errand) = errand {
                ask_ahead(app, &errand.hash);
                // One at a time: each may take as long as the provider, and the event loop waits for the same thread.
                return Duration::ZERO;
            }
            // Nobody is left to try with: the next one asks.
            trouble::forget(app, Way::Token);
        }
    }
    let is_wanted = || app.rechecks.look_wanted.swap(false, Ordering::AcqRel);
    match trouble::next_try(app, Way::Look) {
        Some(next_try) if now < next_try => return sleep.min(provider::until(next_try, now)),
        None if !is_wanted() => return sleep,
        _ => {}
    }
    match silent::look(app) {
        Ok(()) => trouble::note_answer(app, Way::Look),
        Err(error) => trouble::note_away(app, Way::Look, &error),
    }
    Duration::ZERO
}

fn ask_ahead(app: &App, hash: &[u8; 32]) {
    let asked = browser::read_again(app, hash).and_then(|session| {
        let is_due = app.now() >= session.due_soon && session.can_be_refreshed();
        if !is_due {
            return Ok(());
        }
        if try_to_ask(app, &session)?.is_none() && trouble::is_away(app, Way::Token) {
            trouble::put_off(app, Way::Token);
            send_errand(app, &session.row);
        }
        Ok(())
    });
    if let Err(error) = asked {
        // Whoever has the session meets it too.
        app.log(Level::Debug, &format!("a session could not be asked about ahead: {error}"));
    }
}

/// Says once what it means that a login brought no refresh token.
pub fn tell_of_trips(app: &App) {
    let period = app.config.session_recheck;
    if period > 0 && !app.rechecks.told.swap(true, Ordering::AcqRel) {
        app.log(
            Level::Info,
            &format!(
                "the provider gives no refresh token: browsers go there and back every {period} s, when a page is loaded \
                 (OIDC_SESSION_RECHECK; docs/sessions.md says how to get one)"
            ),
        );
    }
}
