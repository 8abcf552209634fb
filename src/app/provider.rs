//! The provider's metadata and keys: fetched by the refresher alone, kept fresh ahead of need, used stale when it is down.

use super::App;
use super::unknown_keys::{Name, UnknownKeys, Verdict};
use crate::error::{Code, Error, Result};
use crate::jose::{Compact, KeySet, Verified, verify};
use crate::oidc::message::{Request, Response};
use crate::oidc::{Metadata, discovery};
use crate::ports::{Level, TransportFault};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// How long a request may wait for the refresher. The client's own time-out is far longer, MLflow's is 120 s.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a login whose code is spent may wait for a round. Two of them after an exchange of ten seconds are still within
/// the 30 s after which gunicorn ends a worker.
const PATIENCE_OF_A_LOGIN: Duration = Duration::from_secs(8);
/// How many requests may wait at once: MLflow has 40 threads for all its work, and most must stay free.
const WAITING_LIMIT: usize = 8;
/// For how many seconds after the first request of all nobody is counted: a provider that is well has answered by then,
/// and a server that has just started should not turn away the requests that were waiting for it.
const FIRST_RUSH: i64 = 1;
/// Seconds that metadata is good for.
const METADATA_LIFETIME: i64 = 24 * 3600;
/// Bounds, in seconds, of what `Cache-Control` may ask for the keys, and the value without it.
const KEYS_LIFETIME: (i64, i64, i64) = (300, 24 * 3600, 3600);
/// The longest pause between two tries while the provider is down, in seconds.
const BACKOFF_LIMIT: i64 = 8;

/// What is known of the provider at one moment.
#[derive(Clone, Debug)]
pub struct Known {
    pub metadata: Arc<Metadata>,
    pub keys: Arc<KeySet>,
    /// Changes when a key is gone or new: what was verified under another epoch is verified again.
    pub epoch: u64,
}

/// When what is due, and what went wrong last. Times in seconds since 1970.
#[derive(Debug, Default)]
struct Plan {
    metadata: Option<Arc<Metadata>>,
    metadata_due: i64,
    keys_due: i64,
    next_try: i64,
    failures: u32,
    last_fault: Option<Error>,
    /// When the very first fetch was asked for.
    first_asked: Option<i64>,
    unknown: UnknownKeys,
}

impl Plan {
    fn fetch_now(&mut self, now: i64) {
        self.keys_due = now;
        self.next_try = now;
    }
}

/// The provider, as one process sees it.
pub struct Provider {
    known: RwLock<Option<Known>>,
    plan: Mutex<Plan>,
    waiting: AtomicUsize,
    /// When it last answered anything, in seconds since 1970.
    answered_at: AtomicI64,
}

/// A counted place; given back when dropped.
pub struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    pub fn take(counter: &'a AtomicUsize, limit: usize) -> Result<Self> {
        if counter.fetch_add(1, Ordering::AcqRel) >= limit {
            counter.fetch_sub(1, Ordering::AcqRel);
            return Err(Error::new(
                Code::ProviderBusy,
                format!("at most {limit} waiting for the provider"),
                "more",
            ));
        }
        Ok(Self(counter))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Provider {
    pub fn new() -> Self {
        Self {
            known: RwLock::new(None),
            plan: Mutex::new(Plan::default()),
            waiting: AtomicUsize::new(0),
            answered_at: AtomicI64::new(0),
        }
    }

    /// What is known now, however old.
    pub fn known(&self) -> Option<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that it answers.
    pub fn note_answer(&self, now: i64) {
        self.answered_at.fetch_max(now, Ordering::AcqRel);
    }

    /// Whether it has answered within the last so many seconds.
    pub fn answered_within(&self, seconds: i64, now: i64) -> bool {
        (0..seconds).contains(&now.saturating_sub(self.answered_at.load(Ordering::Acquire)))
    }

    /// The epoch of the keys that are known now.
    pub fn epoch(&self) -> Option<u64> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|known| known.epoch)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known, waiting for the first fetch where that is allowed.
///
/// # Errors
/// `provider_pending`, `provider_busy`, `provider_unreachable`, or what the last fetch met.
pub fn known(app: &App, on_event_loop: bool) -> Result<Known> {
    if let Some(known) = app.provider.known() {
        return Ok(known);
    }
    let rush = {
        let mut plan = app.provider.plan();
        let now = app.now();
        if let Some(fault) = &plan.last_fault
            && plan.next_try > now
        {
            return Err(fault.clone());
        }
        let first = *plan.first_asked.get_or_insert(now);
        now.saturating_sub(first) <= FIRST_RUSH
    };
    wait(app, on_event_loop, if rush { usize::MAX } else { WAITING_LIMIT })?;
    app.provider.known().ok_or_else(|| app.provider.plan().last_fault.clone().unwrap_or_else(pending))
}

fn pending() -> Error {
    Error::new(Code::ProviderPending, "the provider's metadata and keys", "a fetch under way")
}

/// Lets the refresher do one round and waits for its end, within bounds. On the event loop it only wakes it.
fn wait(app: &App, on_event_loop: bool, limit: usize) -> Result<()> {
    if on_event_loop {
        app.world.refresher.wake();
        return Err(pending());
    }
    let _place = Place::take(&app.provider.waiting, limit)?;
    app.world.refresher.wait(PATIENCE);
    Ok(())
}

/// For whom a token is verified, and so how much it may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Somebody in the thread of an event loop, where nothing is waited for.
    EventLoop,
    /// Anybody: a few may wait at once, and there is a pause between the fetches that they cause.
    Anybody,
    /// A login whose code is spent, and which would be lost if it were told to come again. Its token has come from the provider
    /// itself, so forged ones can neither make it ask nor take its place: it has one among the exchanges.
    Login,
}

impl Asker {
    pub const fn of(on_event_loop: bool) -> Self {
        if on_event_loop { Self::EventLoop } else { Self::Anybody }
    }

    /// How many rounds of the refresher it waits for. One that was under way when a login came may have begun before the
    /// provider published the key.
    const fn rounds(self) -> usize {
        if matches!(self, Self::Login) { 2 } else { 1 }
    }

    fn wait(self, app: &App) -> Result<()> {
        match self {
            Self::EventLoop => wait(app, true, 0),
            Self::Anybody => wait(app, false, WAITING_LIMIT),
            Self::Login => {
                app.world.refresher.wait(PATIENCE_OF_A_LOGIN);
                Ok(())
            }
        }
    }
}

/// Verifies a token with the provider's keys. A key that is not known causes a fetch, or joins the one under way: a new
/// `kid` appears without notice (OpenID Connect Core section 10.1.1).
///
/// # Errors
/// Those of [`verify`], and those of the provider while it is not proven that it does not have the key.
pub fn verify_token(app: &App, token: Compact<'_>, asker: Asker) -> Result<(Verified, u64)> {
    let mut waited = 0;
    loop {
        let current = known(app, asker == Asker::EventLoop)?;
        let allowed = &current.metadata.algorithms;
        let unknown = match current.keys.select(&token) {
            // Only a key that is looked for with a good algorithm is worth asking the provider.
            Err(unknown) if allowed.contains(&token.algorithm()) => unknown,
            _ => return Ok((verify(token, &current.keys, allowed)?, current.epoch)),
        };
        let name = Name::of(&token);
        {
            let mut plan = app.provider.plan();
            let now = app.now();
            match (plan.unknown.judge(&name, now), asker) {
                (Verdict::Absent, Asker::Login) if waited == 0 => plan.fetch_now(now),
                (Verdict::Absent, _) => return Err(unknown),
                (Verdict::Fetch, _) | (Verdict::Later, Asker::Login) => plan.fetch_now(now),
                (Verdict::Later, _) if plan.keys_due > now => return Err(pending()),
                (Verdict::Later, _) => {}
            }
            // The fetch has failed lately or did not end in time: the token may be good, so that is no 401.
            if plan.next_try > now || waited == asker.rounds() {
                return Err(plan.last_fault.clone().unwrap_or_else(pending));
            }
        }
        asker.wait(app)?;
        waited += 1;
    }
}

/// One round of the refresher; returns how long it may sleep. Only its thread calls this, so there is one fetch at a time.
pub fn refresh(app: &App) -> Duration {
    let now = app.now();
    let (metadata, metadata_due, keys_due) = {
        let plan = app.provider.plan();
        if now < plan.next_try {
            return until(plan.next_try, now);
        }
        (plan.metadata.clone(), now >= plan.metadata_due, now >= plan.keys_due)
    };
    let result = fetch(app, metadata, metadata_due, keys_due);
    let now = app.now();
    let mut plan = app.provider.plan();
    if let Err(fault) = result {
        plan.failures = plan.failures.saturating_add(1);
        let pause = (1_i64 << plan.failures.min(10)).min(BACKOFF_LIMIT);
        plan.next_try = now.saturating_add(pause);
        let first = plan.failures == 1;
        let stale = app.provider.known().is_some();
        let line = format!(
            "{}: expected {}, found {}; trying again every {BACKOFF_LIMIT} s{}",
            fault.code,
            fault.expected,
            fault.found,
            if stale { ", going on with the keys that are known" } else { "" }
        );
        plan.last_fault = Some(fault);
        drop(plan);
        app.log(if first { Level::Error } else { Level::Debug }, &line);
        return Duration::from_secs(pause.unsigned_abs());
    }
    let recovered = plan.failures > 0;
    plan.failures = 0;
    plan.last_fault = None;
    plan.next_try = plan.metadata_due.min(plan.keys_due);
    let sleep = until(plan.next_try, now);
    drop(plan);
    if recovered {
        app.log(Level::Info, "the provider answers again");
    }
    sleep
}

/// The pause until a moment, a second at least. Times in seconds.
pub fn until(time: i64, now: i64) -> Duration {
    Duration::from_secs(time.saturating_sub(now).max(1).unsigned_abs())
}

fn fetch(app: &App, metadata: Option<Arc<Metadata>>, metadata_due: bool, keys_due: bool) -> Result<()> {
    let issuer = &app.config.issuer;
    let metadata = match metadata {
        Some(metadata) if !metadata_due => metadata,
        known => match send(app, &discovery::request(issuer))
            .and_then(|answer| discovery::judge(issuer, &answer))
        {
            Ok(fresh) => {
                let fresh = Arc::new(fresh);
                let mut plan = app.provider.plan();
                plan.metadata = Some(Arc::clone(&fresh));
                plan.metadata_due = app.now().saturating_add(METADATA_LIFETIME);
                drop(plan);
                if let Some(known) =
                    app.provider.known.write().unwrap_or_else(PoisonError::into_inner).as_mut()
                {
                    // Fewer algorithms: what was verified before has to pass again.
                    if known.metadata.algorithms != fresh.algorithms {
                        known.epoch = known.epoch.wrapping_add(1);
                    }
                    known.metadata = Arc::clone(&fresh);
                }
                fresh
            }
            // Old metadata still tells where the keys are; what went wrong is told after the keys had their turn.
            Err(fault) => match known {
                Some(stale) if keys_due => fetch_keys(app, &stale).and(Err(fault))?,
                _ => return Err(fault),
            },
        },
    };
    if keys_due { fetch_keys(app, &metadata).map(|_| ()) } else { Ok(()) }
}

fn fetch_keys(app: &App, metadata: &Arc<Metadata>) -> Result<Arc<Metadata>> {
    app.provider.plan().unknown.begin();
    let answer = send(app, &Request::get(metadata.jwks_uri.as_str()))?;
    // Judged like every answer first: an error page is named as one.
    answer.json("key set")?;
    let keys = KeySet::parse(&answer.body)?;
    let (least, most, usual) = KEYS_LIFETIME;
    let lifetime = answer.max_age.unwrap_or(usual).clamp(least, most);
    let skipped = keys.skipped().join("; ");
    let count = keys.len();
    let mut slot = app.provider.known.write().unwrap_or_else(PoisonError::into_inner);
    let changed = slot.as_ref().is_none_or(|known| !known.keys.is_same(&keys));
    let epoch = slot.as_ref().map_or(1, |known| known.epoch.wrapping_add(u64::from(changed)));
    *slot = Some(Known { metadata: Arc::clone(metadata), keys: Arc::new(keys), epoch });
    drop(slot);
    let mut plan = app.provider.plan();
    // Ahead of the end of what the provider allows, so that there is time to try again.
    plan.keys_due = app.now().saturating_add(lifetime * 4 / 5);
    plan.unknown.end(changed);
    drop(plan);
    if changed {
        app.log(Level::Info, &format!("the provider publishes {count} usable keys"));
        if !skipped.is_empty() {
            app.log(Level::Warning, &format!("keys of the provider that cannot be used: {skipped}"));
        }
    }
    Ok(Arc::clone(metadata))
}

/// Sends a request to the provider. It blocks.
///
/// # Errors
/// `provider_unreachable`.
pub fn send(app: &App, request: &Request) -> Result<Response> {
    let answer = app.world.transport.send(request).map_err(|fault| unreachable(request, &fault))?;
    if answer.status == 200 {
        app.provider.note_answer(app.now());
    }
    Ok(answer)
}

/// The refusal for a request that got no usable answer.
pub fn unreachable(request: &Request, fault: &TransportFault) -> Error {
    let place = request.url.split('?').next().unwrap_or_default();
    Error::new(
        Code::ProviderUnreachable,
        format!("an answer from {}", crate::error::quote(place)),
        crate::error::quote(&fault.0),
    )
}
