//! The beginning of a login: the sign-in page, and the way to the provider.

use super::silent::{self, Standing};
use super::wire::{Decision, Reply, Request};
use super::{App, pages, provider, return_to};
use crate::error::{Error, Result};
use crate::oidc::authorize::{self, Prompt};
use crate::oidc::pkce;
use crate::secret::Secret;
use crate::session::Attempt;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::form_urlencoded;

/// How long a login may take, in seconds: somebody looks for a second factor, but not for a day.
pub const ATTEMPT_LIFETIME: i64 = 3600;

/// `GET /oidc/login?next=`: without `go` the page that keeps the fragment, with it the redirect to the provider; with `again` for
/// somebody who was refused and wants to be asked for another account, with `silent` for somebody who is signed in and whom the
/// provider has to vouch for anew (`app::silent`).
///
/// # Errors
/// `public_url_unknown`, `cookie_ambiguous`, and those of the provider.
pub fn handle(app: &App, request: &Request<'_>) -> Result<Decision> {
    let site = app.site(request)?;
    let parameter = |wanted: &str| {
        form_urlencoded::parse(request.query.as_bytes())
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value)
    };
    let next = return_to::guard(parameter("next").as_deref().unwrap_or_default(), &site);
    let silent = match parameter("silent") {
        // Anybody can have a browser come here with that word. Where the provider would have to ask, the session would be over.
        Some(_) => match silent::standing(app, request)? {
            Standing::Due => true,
            Standing::GoesOn => {
                return Ok(Decision::Reply(Reply::redirect(302, format!("{}{next}", site.origin))));
            }
            Standing::None => false,
        },
        None => false,
    };
    if parameter("go").is_none() {
        return Ok(Decision::Reply(pages::sign_in(200, &site, &next, silent)));
    }
    let prompt = match parameter("again") {
        Some(_) => Prompt::Login,
        None if silent => Prompt::Nothing,
        None => Prompt::Usual,
    };
    let metadata = provider::known(app, request.on_event_loop)?.metadata;
    let token = |bytes: [u8; 32]| Secret::new(URL_SAFE_NO_PAD.encode(bytes));
    let attempt = Attempt {
        state: token(app.random()?),
        nonce: app.sealer.marked_nonce(app.random()?)?,
        verifier: pkce::verifier(app.random()?),
        next,
        begun: app.now(),
        silent: prompt == Prompt::Nothing,
    };
    let address = authorize::url(
        &metadata.authorization_endpoint,
        &authorize::AuthorizationRequest {
            client_id: &app.config.client_id,
            redirect_uri: &site.redirect_uri,
            scope: &app.config.scopes,
            state: &attempt.state,
            nonce: &attempt.nonce,
            code_challenge: &pkce::challenge(&attempt.verifier),
            prompt,
        },
    )
    .ok_or_else(|| Error::internal("the authorization endpoint is not an address"))?;
    let mut cookie = app.cookie(request)?;
    let now = app.now();
    cookie.attempts.retain(|old| now.saturating_sub(old.begun) < ATTEMPT_LIFETIME);
    cookie.begin(attempt);
    Ok(Decision::Reply(Reply::redirect(302, address).with("Set-Cookie", app.set_cookie(&site, &cookie)?)))
}

/// `GET /` of somebody who is not signed in: the one page of MLflow's that may be answered below 400, since none of its
/// after-request hooks hangs there. The browser carries the fragment along to the sign-in page.
///
/// # Errors
/// `public_url_unknown`.
pub fn redirect(app: &App, request: &Request<'_>, silent: bool) -> Result<Decision> {
    let site = app.site(request)?;
    let next = return_to::from_request(&request.path_and_query(), &app.config.place, &site);
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("next", &next);
    if silent {
        query.append_pair("silent", "1");
    }
    Ok(Decision::Reply(Reply::redirect(302, format!("{}/oidc/login?{}", site.base, query.finish()))))
}
