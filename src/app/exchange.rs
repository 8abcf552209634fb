//! Requests that spend something of a login at the provider: few at a time, and none in vain while it is in trouble.
//!
//! Each of them holds a thread of MLflow's, or a whole worker process where gunicorn has one thread in each. A provider
//! that hangs would take them all, one login after the other, and stop everybody.

use super::{App, provider};
use crate::error::{Code, Error, Result};
use crate::oidc::message::{Request, Response};
use crate::ports::Cause;
use crate::secret::{Secret, sha256};
use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
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

/// Seconds for which nobody waits for somebody beside the provider who did not answer.
const ASIDE_PAUSE: i64 = 30;

/// How many spent logins a process remembers; far more than begin in the hour that one may take.
const SPENT: usize = 100_000;

/// The exchanges of one process.
pub struct Exchanges {
    under_way: AtomicUsize,
    trouble: Mutex<Trouble>,
    /// Until when nobody is asked beside the provider, and why.
    aside: Mutex<Option<(i64, Error)>>,
    spent: Mutex<Spent>,
}

/// SHA-256 of each `state` whose code was sent. The oldest make room: none can be kept or pushed out by being asked for.
#[derive(Default)]
struct Spent {
    known: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Spent {
    /// Spends a state; `false` when it was spent before.
    fn spend(&mut self, state: [u8; 32]) -> bool {
        if !self.known.insert(state) {
            return false;
        }
        self.order.push_back(state);
        if self.order.len() > SPENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
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
    pub fn new() -> Self {
        Self {
            under_way: AtomicUsize::new(0),
            trouble: Mutex::default(),
            aside: Mutex::default(),
            spent: Mutex::default(),
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the exchanges under way; given back when dropped.
pub struct Exchange<'a> {
    app: &'a App,
    answered: Cell<Option<bool>>,
    /// Whether somebody did not answer, or sent us away (429 and 5xx): it is not about what was asked.
    turned_away: Cell<bool>,
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        self.app.exchanges.under_way.fetch_sub(1, Ordering::AcqRel);
        if self.answered.get() == Some(true) {
            *self.app.exchanges.trouble() = Trouble::default();
        }
    }
}

/// Takes a place for the login of this `state`, which is spent by it. Without a place nothing is, so the same login can come
/// again.
///
/// The cookie that was sent before a login ended still opens: without this, one anonymous caller could have our client's
/// credentials sent to the provider again and again, or take all the places.
///
/// # Errors
/// `provider_busy`, `login_unknown`, and the last fault while the provider is in trouble.
pub fn begin<'a>(app: &'a App, state: &Secret) -> Result<Exchange<'a>> {
    let exchange = enter(app)?;
    let mut spent = app.exchanges.spent.lock().unwrap_or_else(PoisonError::into_inner);
    if !spent.spend(sha256(state.expose().as_bytes())) {
        return Err(Error::new(Code::LoginUnknown, "a login that has not been finished", "one that was"));
    }
    Ok(exchange)
}

/// Takes a place for somebody who brings nothing that could be spent.
///
/// # Errors
/// `provider_busy`, and the last fault while the provider is in trouble.
pub fn enter(app: &App) -> Result<Exchange<'_>> {
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
    Ok(Exchange { app, answered: Cell::new(None), turned_away: Cell::new(false) })
}

/// Whether an exchange was not answered, and nobody has answered there since.
pub fn is_in_trouble(app: &App) -> bool {
    app.exchanges.trouble().fault.is_some()
}

impl Exchange<'_> {
    /// Whether the last request was not answered, or by somebody who is in trouble: the same may be answered another time.
    pub fn turned_away(&self) -> bool {
        self.turned_away.get()
    }

    fn note_status(&self, answer: &Response) {
        self.turned_away.set(answer.status == 429 || answer.status >= 500);
    }

    /// Sends a request of this login. It blocks.
    ///
    /// # Errors
    /// `provider_unreachable`; then no login is sent there until somebody answers again.
    pub fn send(&self, request: &Request) -> Result<Response> {
        let app = self.app;
        let fault = match app.world.transport.send(request) {
            Ok(answer) => {
                self.answered.set(Some(true));
                self.note_status(&answer);
                if !self.turned_away.get() {
                    app.provider.note_answer(app.now());
                }
                return Ok(answer);
            }
            Err(fault) => fault,
        };
        self.answered.set(Some(false));
        self.turned_away.set(fault.1 == Cause::Silence);
        let error = provider::unreachable(request, &fault);
        let mut trouble = app.exchanges.trouble();
        // One answer that cannot be used is the matter of one login: somebody whose user information is too large must
        // not shut the door on everybody. And those that were under way together fail together: that is one failure.
        if fault.1 == Cause::Silence && trouble.fault.is_none() {
            let now = app.now();
            trouble.next_login = now.saturating_add(LOGIN_PAUSE);
            trouble.note(error.clone(), &request.url, now);
            app.world.refresher.wake();
        }
        Err(error)
    }

    /// Sends a request of this login to another place than the provider's own (Microsoft Graph). It blocks.
    ///
    /// Most logins need nobody there: a firewall before it must not shut the door on them, and those who do need it must not
    /// take all the places by waiting one after the other.
    ///
    /// # Errors
    /// `provider_unreachable`; then nobody is asked there for a while.
    pub fn send_aside(&self, request: &Request) -> Result<Response> {
        let app = self.app;
        let aside = || app.exchanges.aside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((until, fault)) = &*aside()
            && app.now() < *until
        {
            self.turned_away.set(true);
            return Err(fault.clone());
        }
        app.world.transport.send(request).inspect(|answer| self.note_status(answer)).map_err(|fault| {
            let error = provider::unreachable(request, &fault);
            self.turned_away.set(fault.1 == Cause::Silence);
            if fault.1 == Cause::Silence {
                *aside() = Some((app.now().saturating_add(ASIDE_PAUSE), error.clone()));
            }
            error
        })
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
    let request = Request { within: Some(LOOK_TIMEOUT), ..Request::get(url.as_str()) };
    let result = app.world.transport.send(&request);
    let mut trouble = app.exchanges.trouble();
    match result {
        Err(fault) if fault.1 == Cause::Silence => {
            let now = app.now();
            trouble.note(provider::unreachable(&request, &fault), &url, now);
            provider::until(trouble.next_look, now)
        }
        Ok(_) | Err(_) => {
            trouble.fault = None;
            IDLE
        }
    }
}
