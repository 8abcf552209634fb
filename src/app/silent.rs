//! The silent trip: a browser whose session has no refresh token goes to the provider, which may ask nothing (`prompt=none`,
//! OpenID Connect Core section 3.1.2.1), and comes back with a new session. Only pages can go there.
//!
//! No `id_token_hint` is sent: groups make it too long for an address, some providers refuse one that has expired, and whoever has
//! changed accounts at the provider would be asked twice.

use super::browser::{self, Session};
use super::trouble::{self, Way};
use super::wire::{Decision, Reply, Request};
use super::{App, exchange, provider, recheck};
use crate::config::Site;
use crate::error::{Code, Error, Result, quote};
use crate::oidc::discovery;
use crate::oidc::message;
use crate::ports::Level;
use crate::session::{Attempt, CookieValue, SessionId};
use std::sync::PoisonError;
use std::time::Duration;
use url::form_urlencoded;

/// Seconds for which a session that goes on is not sent again: a trip that came to nothing must not be a circle.
const PAUSE: i64 = 60;
/// Seconds for which an answer says that the provider is there.
const LATELY: i64 = 60;
/// How long a look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// The refusal that sends a page on its way, and tells everything else that a page has to be loaded.
pub fn wanted() -> Error {
    Error::new(Code::SessionRecheck, "a session that the provider has vouched for lately", "one that is due")
}

/// What a silent trip means to the session of a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is due, and nothing but the browser can ask.
    Due,
    /// It needs no trip.
    GoesOn,
    /// There is none.
    None,
}

/// How the session of a browser stands, by its row as it is now.
///
/// # Errors
/// `cookie_ambiguous`, `database_unavailable`.
pub fn standing(app: &App, request: &Request<'_>) -> Result<Standing> {
    let Some(id) = app.cookie(request)?.session else { return Ok(Standing::None) };
    if request.on_event_loop {
        return browser::current(app, request).map_or_else(gone, |session| Ok(standing_of(app, &session)));
    }
    standing_now(app, &id)
}

fn standing_now(app: &App, id: &SessionId) -> Result<Standing> {
    browser::read_again(app, &id.hash()).map_or_else(gone, |session| Ok(standing_of(app, &session)))
}

fn standing_of(app: &App, session: &Session) -> Standing {
    if app.now() >= session.due_soon && !session.can_be_refreshed() {
        Standing::Due
    } else {
        Standing::GoesOn
    }
}

fn gone(error: Error) -> Result<Standing> {
    if error.code == Code::DatabaseUnavailable { Err(error) } else { Ok(Standing::None) }
}

/// Whether a page may go now, ahead of the full time.
///
/// # Errors
/// `database_unavailable`.
pub fn may_go(app: &App, request: &Request<'_>, session: &Session) -> Result<bool> {
    if request.on_event_loop || request.method != "GET" || !request.is_navigation() || !answers(app, false)? {
        return Ok(false);
    }
    let now = app.now();
    Ok(app.world.store.begin_recheck(&session.row.id_hash, now, now.saturating_add(PAUSE))?)
}

/// Whether the provider answers, as far as that was seen within the last minute; else somebody goes to see. A browser that is sent
/// to a provider that does not answer shows nothing but that.
///
/// # Errors
/// `provider_pending` on the event loop.
pub fn answers(app: &App, on_event_loop: bool) -> Result<bool> {
    if exchange::is_in_trouble(app) {
        return Ok(false);
    }
    if app.provider.answered_within(LATELY, app.now()) {
        return Ok(true);
    }
    if on_event_loop {
        recheck::want_look(app);
        return Err(Error::new(Code::ProviderPending, "a word of the provider", "nothing yet"));
    }
    let _one = app.rechecks.looking.lock().unwrap_or_else(PoisonError::into_inner);
    if trouble::is_away(app, Way::Look) {
        return Ok(false);
    }
    if app.provider.answered_within(LATELY, app.now()) {
        return Ok(true);
    }
    match look(app) {
        Ok(()) => Ok(true),
        Err(error) => {
            trouble::note_away(app, Way::Look, &error);
            Ok(false)
        }
    }
}

/// Looks whether the provider answers as one does. It blocks.
///
/// # Errors
/// `provider_unreachable`, `provider_error`, `provider_answer`.
pub fn look(app: &App) -> Result<()> {
    let request = message::Request { within: Some(LOOK_TIMEOUT), ..discovery::request(&app.config.issuer) };
    let answer = provider::send(app, &request)?;
    discovery::judge(&app.config.issuer, &answer).map(|_| ())
}

/// The provider has to speak to the person: the old session is over, if it is still due, and a login begins in which it may. That one
/// is not silent, so it cannot come here again.
///
/// # Errors
/// `internal`, `database_unavailable`.
pub fn ask_the_person(
    app: &App,
    site: &Site,
    mut cookie: CookieValue,
    attempt: &Attempt,
) -> Result<Decision> {
    let standing = match &cookie.session {
        Some(id) => standing_now(app, id)?,
        None => Standing::None,
    };
    let location = if standing == Standing::GoesOn {
        // Another tab has been there since.
        format!("{}{}", site.origin, attempt.next)
    } else {
        if let Some(row) = browser::end(app, cookie.session.take()) {
            let whose = quote(&row.subject);
            app.log(
                Level::Info,
                &format!("a session of subject {whose} has ended: the provider has to ask the person"),
            );
        }
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("next", &attempt.next)
            .append_pair("go", "1")
            .finish();
        format!("{}/oidc/login?{query}", site.base)
    };
    Ok(Decision::Reply(Reply::redirect(302, location).with("Set-Cookie", app.set_cookie(site, &cookie)?)))
}
