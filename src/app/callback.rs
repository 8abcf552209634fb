//! The end of a login: state first, then issuer and error, then the code, then who it is.

use super::exchange::{self, Exchange};
use super::login::ATTEMPT_LIFETIME;
use super::provider::{self, Asker};
use super::wire::{Decision, Reply, Request};
use super::{Admitted, App, accounts, browser, recheck, refresh, silent, sources};
use crate::config::Site;
use crate::error::{Code, Error, Party, Result, quote};
use crate::identity::{Identity, Statement};
use crate::jose::{Compact, Object, Verified};
use crate::oidc::callback::CallbackQuery;
use crate::oidc::{Metadata, claims, id_token, token};
use crate::ports::{Level, Patience, SessionRow};
use crate::secret::Secret;
use crate::session::{Attempt, SessionId};
use std::sync::Arc;

/// What id tokens at rest are sealed for.
pub const ID_TOKEN_PURPOSE: &str = "id token";

/// `GET /oidc/callback`.
///
/// # Errors
/// `callback_malformed`, `login_unknown`: the request matches no login of this browser. `provider_unreachable` and its kind
/// while the provider is in trouble. With any of them nothing has been spent.
pub fn handle(app: &App, request: &Request<'_>) -> Result<Decision> {
    let site = app.site(request)?;
    let query = CallbackQuery::parse(request.query)?;
    let state = query.state().ok_or_else(|| Error::internal("a parsed callback without state"))?;
    let mut cookie = app.cookie_of_login(request, state)?;
    // Login CSRF: an answer that this browser did not ask for would sign it in as the attacker.
    let Some(attempt) = cookie.take(state) else {
        // Several tabs may have begun at once and one of them is through already: that one is good for all.
        if browser::current(app, request).is_ok() {
            return Ok(Decision::Reply(Reply::redirect(302, site.url("/"))));
        }
        return Err(Error::new(
            Code::LoginUnknown,
            "a 'state' of a login begun in this browser",
            "another one",
        ));
    };
    let begun = match begin(app, request, query, &attempt) {
        Ok(Some(begun)) => begun,
        Ok(None) => return silent::ask_the_person(app, &site, cookie, &attempt),
        // The provider cannot be asked now, and nothing was spent: the same answer is good when it is brought again.
        Err(error) if passes(error.code) => return Err(error),
        Err(error) => return Ok(app.refuse(request, &error, Some(app.set_cookie(&site, &cookie)?))),
    };
    // From here on the login is used up, whatever comes of it; a session that is there stays until a new one is made.
    match finish(app, &site, &begun, &attempt, cookie.session.as_ref()) {
        Ok(Some((session, admitted))) => {
            let previous = browser::end(app, cookie.session.take());
            if attempt.silent && previous.is_none() {
                // Signed out since its row was read: one that is there still is removed by one request alone.
                browser::end(app, Some(session));
                return Ok(no_session(app, &site, &attempt));
            }
            cookie.session = Some(session);
            tell(app, &attempt, &admitted, previous.as_ref());
            let location = format!("{}{}", site.origin, attempt.next);
            Ok(Decision::Reply(
                Reply::redirect(302, location).with("Set-Cookie", app.set_cookie(&site, &cookie)?),
            ))
        }
        Ok(None) => {
            browser::end(app, cookie.session.take());
            Ok(no_session(app, &site, &attempt))
        }
        Err(error) => {
            let set_cookie = app.set_cookie(&site, &cookie)?;
            Ok(app.refuse(request, &error, Some(set_cookie)))
        }
    }
}

/// The session that a silent trip was to renew has ended meanwhile: the browser goes back to its place and is asked to sign in there.
/// It keeps the cookie that it has, which may be that of another tab that was faster.
fn no_session(app: &App, site: &Site, attempt: &Attempt) -> Decision {
    app.log(Level::Info, "a silent trip has brought no session: the one that was to be renewed has ended");
    Decision::Reply(Reply::redirect(302, format!("{}{}", site.origin, attempt.next)))
}

/// Whether a fault goes by, so that the same request may succeed later.
pub fn passes(code: Code) -> bool {
    matches!(code, Code::ProviderUnreachable | Code::ProviderPending | Code::ProviderBusy)
}

/// A login whose answer is good and whose code can be exchanged.
struct Begun<'a> {
    exchange: Exchange<'a>,
    metadata: Arc<Metadata>,
    code: Secret,
}

/// What comes before the code is spent; nothing where the provider was told to ask the person nothing, and has to.
fn begin<'a>(
    app: &'a App,
    request: &Request<'_>,
    query: CallbackQuery,
    attempt: &Attempt,
) -> Result<Option<Begun<'a>>> {
    let age = app.now().saturating_sub(attempt.begun);
    if age >= ATTEMPT_LIFETIME {
        return Err(Error::new(
            Code::LoginExpired,
            format!("a login of at most {ATTEMPT_LIFETIME} s"),
            format!("{age} s"),
        ));
    }
    let metadata = provider::known(app, request.on_event_loop)?.metadata;
    if attempt.silent && query.wants_person() {
        query.check_issuer(&app.config.issuer, metadata.issuer_in_response)?;
        return Ok(None);
    }
    let code = query.into_code(&app.config.issuer, metadata.issuer_in_response)?;
    Ok(Some(Begun { exchange: exchange::begin(app, &attempt.state)?, metadata, code }))
}

/// The new session; none where a silent trip finds that the one which it renews has ended.
fn finish(
    app: &App,
    site: &Site,
    begun: &Begun<'_>,
    attempt: &Attempt,
    previous: Option<&SessionId>,
) -> Result<Option<(SessionId, Admitted)>> {
    let code_exchange = token::CodeExchange {
        code: &begun.code,
        redirect_uri: &site.redirect_uri,
        code_verifier: &attempt.verifier,
    };
    let answer = begun.exchange.send(&token::request(&begun.metadata, app.client(), &code_exchange)?)?;
    let tokens = token::judge(&answer)?;
    let verified = verify_id_token(app, &tokens, attempt)?;
    let gathered = sources::gather(
        app,
        &begun.exchange,
        &begun.metadata,
        verified.claims(),
        tokens.access_token.as_ref(),
        sources::Need::Login,
    )?;
    let told = |error| gathered.told(error);
    let statement = app.identify(&gathered.claims).map_err(told).map_err(blame_provider)?;
    let provider_sid = claims::optional_text(verified.claims(), "sid").map_err(blame_provider)?;
    let admitted = settle(app, &gathered.claims, statement).map_err(told)?;
    let full = app.now().saturating_add(app.config.session_lifetime);
    let until = if attempt.silent { end_of(app, previous, &admitted, full)? } else { Some(full) };
    let Some(until) = until else { return Ok(None) };
    let session = begin_session(app, &admitted, provider_sid.map(str::to_owned), &tokens, until)?;
    Ok(Some((session, admitted)))
}

/// A line for the log: quiet where a session goes on that was there before, which is several times an hour.
fn tell(app: &App, attempt: &Attempt, admitted: &Admitted, previous: Option<&SessionRow>) {
    let goes_on = attempt.silent && previous.is_some_and(|row| row.subject == admitted.identity.subject);
    let level = if goes_on { Level::Debug } else { Level::Info };
    app.log(level, &format!("{} signed in", quote(&admitted.username)));
}

/// The account of who logs in. Everything was asked that may know their groups, so groups that nobody tells or refers to are
/// none: Keycloak 26 leaves the claim out for somebody who is in no group, and whoever lost the last one would stay what they were.
pub fn settle(app: &App, claims: &Object, statement: Statement) -> Result<Admitted> {
    let rules = &app.config.rules;
    if statement.identity.groups.is_some() || !rules.groups_decide() || rules.overage(claims).is_some() {
        return accounts::settle(app, &statement);
    }
    let identity = Identity { groups: Some(Vec::new()), ..(*statement.identity).clone() };
    let settled = accounts::settle(app, &Statement { identity: Arc::new(identity), ..statement });
    // Refused is what came, so that a mapper which nobody has configured can be told from a lost membership.
    match (&settled, rules.admit(None)) {
        (Err(refusal), Err(missing)) if refusal.code == Code::GroupRequired => Err(missing),
        _ => settled,
    }
}

/// What is wrong with the token itself is not the doing of the person who logs in.
pub fn blame_provider(error: Error) -> Error {
    if error.code.name().starts_with("token_") { error.by(Party::Provider) } else { error }
}

/// The ID token of the answer, verified and judged; what is wrong with it is the provider's fault.
fn verify_id_token(app: &App, tokens: &token::Tokens, attempt: &Attempt) -> Result<Verified> {
    let (verified, _) = Compact::parse(tokens.id_token.expose())
        .and_then(|token| provider::verify_token(app, token, Asker::Login))
        .map_err(blame_provider)?;
    let expected = usual(app, tokens.access_token.as_ref());
    id_token::check(&verified, &expected, &attempt.nonce).map_err(blame_provider)?;
    Ok(verified)
}

/// What every ID token for us must say now.
pub fn usual<'a>(app: &'a App, access_token: Option<&'a Secret>) -> id_token::Usual<'a> {
    id_token::Usual {
        issuers: &app.config.issuers,
        client_id: &app.config.client_id,
        access_token,
        now: app.now(),
        skew: app.config.skew,
    }
}

/// When a session ends that a silent trip brings: when the one that it renews would have, so that no trip makes one longer, and
/// none where that has ended while the browser was away, since a trip would undo a sign-out. Another person's is a first one.
fn end_of(app: &App, previous: Option<&SessionId>, admitted: &Admitted, full: i64) -> Result<Option<i64>> {
    let Some(id) = previous else { return Ok(None) };
    let known = app.world.store.session(&id.hash(), Patience::Wait)?;
    let Some((row, _)) = known.filter(|(row, _)| row.expires_at > app.now()) else { return Ok(None) };
    let (issuer, subject) = (&admitted.identity.issuer, &admitted.identity.subject);
    Ok(Some(if &row.issuer == issuer && &row.subject == subject { row.expires_at } else { full }))
}

fn begin_session(
    app: &App,
    admitted: &Admitted,
    provider_sid: Option<String>,
    tokens: &token::Tokens,
    until: i64,
) -> Result<SessionId> {
    // A new id at every login: one that somebody planted before it (session fixation) is worth nothing after it.
    let id = SessionId::new(app.random()?);
    let now = app.now();
    let refresh_token = tokens.refresh_token.as_ref().filter(|_| app.config.session_recheck > 0);
    if refresh_token.is_none() {
        recheck::tell_of_trips(app);
    }
    let row = SessionRow {
        id_hash: id.hash(),
        issuer: admitted.identity.issuer.clone(),
        subject: admitted.identity.subject.clone(),
        provider_sid,
        created_at: now,
        expires_at: until,
        checked_at: now,
        sealed_id_token: Some(app.sealer.seal(
            ID_TOKEN_PURPOSE,
            tokens.id_token.expose().as_bytes(),
            app.random()?,
        )?),
        sealed_refresh_token: refresh_token.map(|token| refresh::seal(app, &id.hash(), token)).transpose()?,
    };
    app.world.store.add_session(&row)?;
    Ok(id)
}
