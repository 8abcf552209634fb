//! The end of a session, here and at the provider, and the answer to "who am I".

use super::callback::ID_TOKEN_PURPOSE;
use super::pages::Reach;
use super::wire::{Decision, Reply, Request};
use super::{App, browser, pages, recheck, users};
use crate::error::{Code, Error, Result, quote};
use crate::oidc::logout;
use crate::ports::Level;
use crate::secret::Secret;
use crate::session::CookieValue;
use serde_json::json;
use url::Url;

/// `GET /oidc/logout`: asks, or says that nobody is signed in.
///
/// # Errors
/// `public_url_unknown`, `database_unavailable`.
pub fn confirm(app: &App, request: &Request<'_>) -> Result<Decision> {
    let site = app.site(request)?;
    let known = app.provider.known();
    let endpoint = known.as_ref().map(|known| known.metadata.end_session_endpoint.as_deref());
    let reach = if endpoint == Some(None) { Reach::MlflowAlone } else { Reach::Provider };
    let reply = match browser::current(app, request) {
        Ok(session) => {
            let address = endpoint.flatten().and_then(|endpoint| Url::parse(endpoint).ok());
            let provider = address.map(|address| address.origin().ascii_serialization());
            pages::confirm_logout(&site, &session.identity.username, provider.as_deref(), reach)
        }
        Err(error) if matches!(error.code, Code::NoCredentials | Code::SessionEnded) => {
            pages::signed_out(&site, reach)
        }
        Err(error) => return Err(error),
    };
    Ok(Decision::Reply(reply))
}

/// `POST /oidc/logout`: removes the row and the cookie, then goes on to the provider's own logout.
///
/// # Errors
/// `cross_origin`, `public_url_unknown`, `cookie_ambiguous`, `database_unavailable`: then nothing has ended, and the page says so.
pub fn handle(app: &App, request: &Request<'_>) -> Result<Decision> {
    browser::check_origin(app, request)?;
    let site = app.site(request)?;
    let back = site.url("/oidc/logout");
    let mut target = back.clone();
    if let Some(id) = app.cookie(request)?.session {
        let hash = id.hash();
        users::prepared(app, request.on_event_loop)?;
        let row = app.world.store.remove_session(&hash)?;
        app.sessions.forget(&hash);
        if let Some(row) = row {
            app.log(Level::Info, &format!("subject {} signed out", quote(&row.subject)));
            let hint = row
                .sealed_id_token
                .and_then(|sealed| app.sealer.open(ID_TOKEN_PURPOSE, &sealed))
                .and_then(|plain| String::from_utf8(plain).ok())
                .map(Secret::new);
            let endpoint = app.provider.known().and_then(|known| known.metadata.end_session_endpoint.clone());
            if let Some(endpoint) = endpoint {
                target = logout::url(&endpoint, &app.config.client_id, hint.as_ref(), Some(&back))
                    .ok_or_else(|| Error::internal("the logout endpoint is not an address"))?;
            }
        }
    }
    let reply =
        Reply::redirect(303, target).with("Set-Cookie", app.set_cookie(&site, &CookieValue::default())?);
    Ok(Decision::Reply(reply))
}

/// `GET /oidc/session`: who am I, for the page script.
///
/// # Errors
/// `no_credentials`, `session_ended`, those of asking the provider again, and those of admission.
pub fn session(app: &App, request: &Request<'_>) -> Result<Decision> {
    let session = recheck::keep(app, request, browser::current(app, request)?)?;
    let row = &session.identity;
    app.config.rules.admit(row.groups.as_deref())?;
    let document = json!({
        "username": row.username,
        "groups": row.groups,
        "is_admin": app.config.rules.is_admin(row.groups.as_deref()),
        "issuer": row.issuer,
        "expires_at": session.row.expires_at,
    });
    Ok(Decision::Reply(Reply::json(200, &document)))
}
