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

/// How many may be under way at once: MLflow has 40 threads for all its work, and most must stay free.
const LIMIT: usize = 16;
/// The longest pause between two tries while the provider does not answer, in seconds.
const BACKOFF_LIMIT: i64 = 8;

/// The exchanges of one process.
#[derive(Debug, Default)]
pub struct Exchanges {
    under_way: AtomicUsize,
    trouble: Mutex<Trouble>,
}

/// What the provider has not answered lately. Times in seconds since 1970.
#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    next_try: i64,
    fault: Option<Error>,
}

impl Exchanges {
    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the exchanges under way; given back when dropped.
pub struct Exchange<'a> {
    app: &'a App,
    /// Whether it goes to see if the provider answers again.
    probe: bool,
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
/// `provider_busy`, and the last fault while the provider is not to be asked.
pub fn begin(app: &App) -> Result<Exchange<'_>> {
    if app.exchanges.under_way.fetch_add(1, Ordering::AcqRel) >= LIMIT {
        app.exchanges.under_way.fetch_sub(1, Ordering::AcqRel);
        return Err(Error::new(
            Code::ProviderBusy,
            format!("at most {LIMIT} logins waiting for the provider"),
            "more",
        ));
    }
    let mut exchange = Exchange { app, probe: false, answered: Cell::new(None) };
    let mut trouble = app.exchanges.trouble();
    if let Some(fault) = &trouble.fault {
        let now = app.now();
        if now < trouble.next_try {
            let fault = fault.clone();
            drop(trouble);
            return Err(fault);
        }
        // One goes to see whether it answers again. The pause is stamped before, so that the others do not follow.
        trouble.next_try = now.saturating_add(app.config.http_timeout.cast_signed());
        exchange.probe = true;
    }
    drop(trouble);
    Ok(exchange)
}

impl Exchange<'_> {
    /// Sends a request of this login. It blocks.
    ///
    /// # Errors
    /// `provider_unreachable`; then the provider is left alone for a while.
    pub fn send(&self, request: &Request) -> Result<Response> {
        let result = provider::send(self.app, request);
        self.answered.set(Some(result.is_ok()));
        if let Err(fault) = &result {
            let mut trouble = self.app.exchanges.trouble();
            // Those that were under way together fail together, and that is one failure.
            if self.probe || trouble.fault.is_none() {
                trouble.failures = trouble.failures.saturating_add(1);
                let pause = (1_i64 << trouble.failures.min(10)).min(BACKOFF_LIMIT);
                trouble.next_try = self.app.now().saturating_add(pause);
            }
            trouble.fault = Some(fault.clone());
        }
        result
    }
}
