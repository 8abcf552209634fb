//! Back-channel logout (OpenID Connect Back-Channel Logout 1.0): the provider ends sessions, no browser takes part.

use super::provider::{self, Asker};
use super::wire::{Decision, Reply, Request};
use super::{App, answer, refusals, users};
use crate::error::{Code, Error, Party, Result, quote};
use crate::jose::Compact;
use crate::oidc::logout_token::{self, Expectation};
use crate::ports::Level;
use url::form_urlencoded;

/// Where the provider posts its logout tokens.
pub const PATH: &str = "/oidc/backchannel-logout";

/// `POST /oidc/backchannel-logout`. The signed token is the proof: no cookie, no header and no origin counts here.
///
/// # Errors
/// Those of the provider and the database, with which it is asked to come again. A token that is refused is answered
/// 400 (section 2.8).
pub fn handle(app: &App, request: &Request<'_>) -> Result<Decision> {
    match end(app, request) {
        Ok(()) => Ok(Decision::Reply(Reply::new(200))),
        Err(error) if error.party == Party::Caller => {
            refusals::write(app, request, &error);
            Ok(Decision::Reply(answer::invalid_request(&error)))
        }
        Err(error) => Err(error),
    }
}

fn end(app: &App, request: &Request<'_>) -> Result<()> {
    let token = posted(request.body.unwrap_or_default())?;
    let compact = Compact::parse(&token)?;
    let expected = Expectation {
        issuers: &app.config.issuers,
        client_id: &app.config.client_id,
        now: app.now(),
        skew: app.config.skew,
    };
    // Before any key is asked for: what a stranger sends costs the provider nothing.
    let ended = logout_token::check(&compact, &expected)?;
    provider::verify_token(app, compact, Asker::of(request.on_event_loop))?;
    users::prepared(app, request.on_event_loop)?;
    let (mut subject, sid) = (ended.subject.as_deref(), ended.provider_sid.as_deref());
    // People are known here by another claim, which a logout token does not have: the session's name must say whose it is.
    if !app.config.rules.subject_claims.iter().any(|name| name == "sub") {
        subject = None;
        if sid.is_none() {
            return Err(Error::new(
                Code::TokenSubject,
                "'sid' (OIDC_SUBJECT_CLAIM is not 'sub')",
                "'sub' alone",
            ));
        }
    }
    let count = app.world.store.remove_ended(&app.config.issuer, subject, sid)?;
    app.sessions.forget_all();
    let whose = subject.or(sid).unwrap_or_default();
    app.log(Level::Info, &format!("the provider signed {} out: {count} sessions", quote(whose)));
    Ok(())
}

/// The one `logout_token` of the form (section 2.5).
fn posted(form: &str) -> Result<String> {
    let mut tokens = form_urlencoded::parse(form.as_bytes()).filter(|(name, _)| name == "logout_token");
    match (tokens.next(), tokens.next()) {
        (Some((_, token)), None) => Ok(token.into_owned()),
        (None, _) => Err(Error::new(Code::TokenMalformed, "a form with 'logout_token'", "none")),
        _ => Err(Error::new(Code::TokenMalformed, "one 'logout_token'", "several")),
    }
}
