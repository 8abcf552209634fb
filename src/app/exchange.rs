//! Requests that spend something of a login at the provider: few at a time, and none in vain while it is in trouble.
//!
//! Each of them holds a thread of MLflow's, or a whole worker process where gunicorn has one thread in each. A provider
//! that hangs would take them all, one login after the other, and stop everybody.

use super::{App, provider};
use crate::error::{Code, Error, Result};
use crate::oidc::message::{Request, Response};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many may be under way at once: MLflow has 40 threads for all its work, and most must stay free.
const LIMIT: usize = 16;
/// The longest pause between two looks while the provider does not answer, in seconds.
const BACKOFF_LIMIT: i64 = 8;
/// How long a look may take: meanwhile nobody fetches keys.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// Seconds after which a login goes to see all the same: the look is a GET, and somebody may drop those without a word.
const LOGIN_PAUSE: i64 = 120;
/// How long the refresher may sleep when there is nothing to look for.
const IDLE: Duration = Duration::from_secs(24 * 3600);

/// The exchanges of one process.
#[derive(Debug, Default)]
pub struct Exchanges {
    under_way: AtomicUsize,
    trouble: Mutex<Trouble>,
}

/// What the provider has not answered lately. Times in seconds since 1970.
#[derive(Debug, Default)]
struct Trouble {
    /// Since the last login that the provider ended.
    failures: u32,
    next_look: i64,
    next_login: i64,
    /// What went wrong and where; there is none once somebody answers there again.
    fault: Option<(Error, String)>,
}

impl Trouble {
    fn note(&mut self, fault: Error, url: &str, now: i64) {
        self.failures = self.failures.saturating_add(1);
        self.next_look = now.saturating_add((1_i64 << self.failures.min(10)).min(BACKOFF_LIMIT));
        self.fault = Some((fault, url.to_owned()));
    }
}

impl Exchanges {
    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the exchanges under way; given back when dropped.
pub struct Exchange<'a> {
    app: &'a App,
    answered: Cell<Option<bool>>,
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        self.app.exchanges.under_way.fetch_sub(1, Ordering::AcqRel);
        if self.answered.get() == Some(true) {
            *self.app.exchanges.trouble() = Trouble::default();
        }
    }
}

/// Takes a place. Nothing has been spent when there is none, so the same login can come again.
///
/// # Errors
/// `provider_busy`, and the last fault while the provider is in trouble.
pub fn begin(app: &App) -> Result<Exchange<'_>> {
    let mut trouble = app.exchanges.trouble();
    if let Some((fault, _)) = &trouble.fault {
        let now = app.now();
        if now < trouble.next_login {
            return Err(fault.clone());
        }
        trouble.next_login = now.saturating_add(LOGIN_PAUSE);
    }
    drop(trouble);
    if app.exchanges.under_way.fetch_add(1, Ordering::AcqRel) >= LIMIT {
        app.exchanges.under_way.fetch_sub(1, Ordering::AcqRel);
        return Err(Error::new(
            Code::ProviderBusy,
            format!("at most {LIMIT} logins waiting for the provider"),
            "more",
        ));
    }
    Ok(Exchange { app, answered: Cell::new(None) })
}

impl Exchange<'_> {
    /// Sends a request of this login. It blocks.
    ///
    /// # Errors
    /// `provider_unreachable`; then no login is sent there until somebody answers again.
    pub fn send(&self, request: &Request) -> Result<Response> {
        let app = self.app;
        let result = provider::send(app, request);
        self.answered.set(Some(result.is_ok()));
        if let Err(fault) = &result {
            let mut trouble = app.exchanges.trouble();
            // Those that were under way together fail together, and that is one failure.
            if trouble.fault.is_none() {
                let now = app.now();
                trouble.next_login = now.saturating_add(LOGIN_PAUSE);
                trouble.note(fault.clone(), &request.url, now);
                app.world.refresher.wake();
            }
        }
        result
    }
}

/// Looks whether somebody answers again where a login got no answer, and says when to look next. It blocks, and is the
/// refresher's: a login that went to see would hold a thread of MLflow's for the whole time-out, in every worker.
///
/// Any answer will do. What is sent is a plain GET, without code or secret.
pub fn look(app: &App) -> Duration {
    let now = app.now();
    let url = match &*app.exchanges.trouble() {
        Trouble { fault: None, .. } => return IDLE,
        Trouble { next_look, .. } if now < *next_look => return provider::until(*next_look, now),
        Trouble { fault: Some((_, url)), .. } => url.clone(),
    };
    let result = provider::send(app, &Request { within: Some(LOOK_TIMEOUT), ..Request::get(url.as_str()) });
    let mut trouble = app.exchanges.trouble();
    match result {
        Ok(_) => {
            trouble.fault = None;
            IDLE
        }
        Err(fault) => {
            let now = app.now();
            trouble.note(fault, &url, now);
            provider::until(trouble.next_look, now)
        }
    }
}
