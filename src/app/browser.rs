//! A browser's session: the cookie says which row, the row says who.

use super::weight::{self, Scales, Weighed};
use super::wire::{Decision, Request};
use super::{App, accounts, recheck, roles, users};
use crate::error::{Code, Error, Result, quote};
use crate::ports::{IdentityRow, Level, Patience, SessionRow};
use crate::secret::sha256;
use crate::session::SessionId;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many sessions a worker remembers, of the ordinary size; of larger ones fewer ([`weight`]).
const REMEMBERED: usize = 100_000;

/// What a worker knows of sessions.
pub struct Sessions {
    /// Rows read lately, by the hash of the id.
    read: Cache<[u8; 32], Arc<Session>, Scales>,
    /// The session that a cookie value holds, by the SHA-256 of the value as it was sent. A value means the same for ever;
    /// whether the session still lives is the row's to say.
    opened: Cache<[u8; 32], [u8; 32]>,
    /// Rows read before the last time that all were forgotten count no more. Emptying the memory instead would hold its locks for
    /// as long as a hundred thousand sessions take, with the event loop waiting.
    generation: AtomicU64,
    /// How many sessions have been forgotten one by one.
    forgotten: AtomicU64,
}

/// A session and whose it is.
pub struct Session {
    pub row: SessionRow,
    pub identity: IdentityRow,
    username: Arc<str>,
    /// Whether the groups let this person in.
    admissible: bool,
    /// From when on the provider is asked about it ahead, and from when on nobody is let in without that (`app::recheck`).
    pub due_soon: i64,
    pub due_now: i64,
    /// Until when memory lets it in, and from when on not where it may be a page: both follow from what stands above.
    good_until: i64,
    pages_until: i64,
    read_at: i64,
    generation: u64,
    weight: u64,
}

impl Weighed for Session {
    fn weight(&self) -> u64 {
        self.weight
    }
}

impl Session {
    /// Whether the provider can be asked without the browser.
    pub fn can_be_refreshed(&self) -> bool {
        self.row.sealed_refresh_token.is_some()
    }
}

impl Sessions {
    pub fn new() -> Self {
        Self {
            read: Cache::with_weighter(REMEMBERED, REMEMBERED as u64, Scales),
            opened: Cache::new(REMEMBERED),
            generation: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
        }
    }

    /// Forgets all of them: the next request of each reads its row again.
    pub fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Forgets a session that has ended.
    pub fn forget(&self, hash: &[u8; 32]) {
        // Counted first: whoever has read the row before and remembers it after this line takes it out again.
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.read.remove(hash);
    }

    /// Remembers a session, unless any was forgotten since its row was read: a page that polls has a request under way
    /// while its person signs out.
    fn remember(&self, hash: [u8; 32], session: Arc<Session>, forgotten: u64) {
        self.read.insert(hash, session);
        if self.forgotten.load(Ordering::SeqCst) != forgotten {
            self.read.remove(&hash);
        }
    }

    /// A session whose row was read lately.
    fn known(&self, app: &App, hash: &[u8; 32], now: i64) -> Option<Arc<Session>> {
        let session = self.read.get(hash)?;
        let lately = (0..app.config.session_cache).contains(&now.saturating_sub(session.read_at));
        (lately && session.generation == self.generation()).then_some(session)
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

/// Decides by the session cookie.
///
/// # Errors
/// `no_credentials` without one, `session_ended`, `cross_origin`, `database_unavailable`, those of asking the provider again, and
/// those of admission: a user who lost the member group, as far as we know, is out.
pub fn handle(app: &App, request: &Request<'_>) -> Result<Decision> {
    let session = current(app, request)?;
    check_origin(app, request)?;
    let session = recheck::keep(app, request, session)?;
    let row = &session.identity;
    app.config.rules.admit(row.groups.as_deref())?;
    if let Some(value) = only_cookie(app, request) {
        app.sessions.opened.insert(sha256(value.as_bytes()), session.row.id_hash);
    }
    Ok(Decision::Allow { username: Arc::clone(&session.username) })
}

/// The MLflow user of a session that memory alone lets in: what [`handle`] would say, without opening the cookie again.
pub fn recall(app: &App, request: &Request<'_>) -> Option<Arc<str>> {
    let value = only_cookie(app, request)?;
    let hash = app.sessions.opened.get(&sha256(value.as_bytes()))?;
    let now = app.now();
    let session = app.sessions.known(app, &hash, now)?;
    let good = session.admissible
        && now < session.good_until
        && (now < session.pages_until || !may_be_page(request))
        && check_origin(app, request).is_ok();
    good.then(|| Arc::clone(&session.username))
}

/// Whether a request may be for a page, as far as the two things tell that are known of every request.
fn may_be_page(request: &Request<'_>) -> bool {
    request.method == "GET" && request.fetch_mode.is_none_or(|mode| mode == "navigate")
}

/// The value of our cookie where there is one only: then nothing has to be weighed (`CookieValue::agree`).
fn only_cookie<'r>(app: &App, request: &Request<'r>) -> Option<&'r str> {
    let mut values = app.cookie_values(request)?;
    values.next().filter(|_| values.next().is_none())
}

/// The session of a request that has one, read at most `OIDC_SESSION_CACHE_SECONDS` ago.
///
/// # Errors
/// `no_credentials`, `cookie_ambiguous`, `session_ended`, `database_unavailable`.
pub fn current(app: &App, request: &Request<'_>) -> Result<Arc<Session>> {
    let id = app.cookie(request)?.session.ok_or_else(|| {
        Error::new(Code::NoCredentials, "an Authorization header or a session cookie", "neither")
    })?;
    read(app, &id.hash(), request.on_event_loop)
}

/// The same session as its row is now. It may wait for locks.
///
/// # Errors
/// `session_ended`, `database_unavailable`.
pub fn read_again(app: &App, hash: &[u8; 32]) -> Result<Arc<Session>> {
    app.sessions.forget(hash);
    read(app, hash, false)
}

/// Ends a session that another one takes the place of, if there is one, and returns what it was. Its row is of no use to anybody;
/// failing to remove it is no reason to fail a login, it ends by itself.
pub fn end(app: &App, previous: Option<SessionId>) -> Option<SessionRow> {
    let hash = previous?.hash();
    app.sessions.forget(&hash);
    app.world.store.remove_session(&hash).unwrap_or_else(|fault| {
        app.log(Level::Warning, &format!("an old session could not be removed: {}", Error::from(fault)));
        None
    })
}

fn read(app: &App, hash: &[u8; 32], on_event_loop: bool) -> Result<Arc<Session>> {
    let ended = |found: &'static str| Error::new(Code::SessionEnded, "a session that has not ended", found);
    let now = app.now();
    if let Some(session) = app.sessions.known(app, hash, now) {
        return if now < session.row.expires_at { Ok(session) } else { Err(ended("one that expired")) };
    }
    users::prepared(app, on_event_loop)?;
    // Taken before the row is read: what is forgotten meanwhile is forgotten.
    let generation = app.sessions.generation();
    let forgotten = app.sessions.forgotten.load(Ordering::SeqCst);
    let patience = if on_event_loop { Patience::Now } else { Patience::Wait };
    let Some((row, identity)) = app.world.store.session(hash, patience)? else {
        app.sessions.forget(hash);
        return Err(ended("one that is not there (any more)"));
    };
    if now >= row.expires_at {
        return Err(ended("one that expired"));
    }
    // Of another provider or client: the operator has changed the settings since.
    if row.issuer != app.config.issuer {
        return Err(ended("one of another provider"));
    }
    // An account removed in MLflow ends its sessions, also when somebody has made another one of the same name.
    let user = users::user_of(app, &identity, patience)?;
    let over = match &user {
        None => Some("one of a user whom MLflow no longer has"),
        Some(user) if accounts::check_flag(app, &identity, user).is_err() => {
            Some("one of a local administrator outside the admin group")
        }
        Some(_) => None,
    };
    if let Some(over) = over {
        if !on_event_loop {
            app.world.store.remove_session(hash)?;
        }
        return Err(ended(over));
    }
    if let Some(user) = user
        && !accounts::agree(app, &identity, &user, patience)?
    {
        let known = roles::as_known(&identity);
        if on_event_loop {
            return Err(users::leave_to_clerk(app, known));
        }
        accounts::settle(app, &known)?;
    }
    let username = identity.username.as_str().into();
    let admissible = app.config.rules.admit(identity.groups.as_deref()).is_ok();
    let texts = row.sealed_id_token.iter().chain(&row.sealed_refresh_token);
    let weight = weight::of_texts(texts.chain(identity.groups.iter().flatten()));
    let (due_soon, due_now) = recheck::moments(app, &row);
    let good_until = row.expires_at.min(due_now);
    let pages_until = if row.sealed_refresh_token.is_some() { i64::MAX } else { due_soon };
    let session = Arc::new(Session {
        row,
        identity,
        username,
        admissible,
        due_soon,
        due_now,
        good_until,
        pages_until,
        read_at: now,
        generation,
        weight,
    });
    app.sessions.remember(*hash, Arc::clone(&session), forgotten);
    Ok(session)
}

/// Cross-site request forgery: what changes something and is proven by the cookie alone must come from our own pages.
///
/// `SameSite=Lax` keeps most of it away, but not sibling hosts of the same site; MLflow checks only `/api/` and
/// `/ajax-api/`, and only since 3.5. Browsers tell the truth in `Sec-Fetch-Site`, older ones in `Origin`; programs
/// send neither, and no page can make a browser leave out both on a change.
///
/// # Errors
/// `cross_origin`.
pub fn check_origin(app: &App, request: &Request<'_>) -> Result<()> {
    if request.is_safe() {
        return Ok(());
    }
    let refused = |found: String| Err(Error::new(Code::CrossOrigin, "a request of our own pages", found));
    match (request.fetch_site, request.origin) {
        (Some("same-origin" | "none"), _) | (None, None) => Ok(()),
        (Some(site), _) => refused(format!("Sec-Fetch-Site {}", quote(site))),
        (None, Some(origin)) => match app.site(request) {
            Ok(site) if site.origin == origin => Ok(()),
            _ => refused(format!("Origin {}", quote(origin))),
        },
    }
}
