//! The order of decision: our own endpoints, then the header, then the cookie, then the refusal.

use super::wire::{Decision, Request};
use super::{App, backchannel, bearer, browser, callback, login, logout, resource};
use crate::config::site::CALLBACK;
use crate::error::{Code, Error, Result, quote};
use crate::oidc::callback::CallbackQuery;
use crate::secret::{Secret, same};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

type Handler = fn(&App, &Request<'_>) -> Result<Decision>;

/// Our own endpoints, below the static prefix: method, path, handler.
const ROUTES: &[(&str, &str, Handler)] = &[
    ("GET", "/oidc/login", login::handle),
    ("GET", CALLBACK, callback::handle),
    ("GET", "/oidc/logout", logout::confirm),
    ("POST", "/oidc/logout", logout::handle),
    ("POST", backchannel::PATH, backchannel::handle),
    ("GET", "/oidc/session", logout::session),
    ("GET", resource::PATH, resource::handle),
];

/// MLflow's gateway, where `Authorization` may be a key of the caller's own for the model provider.
const GATEWAY: &str = "/gateway/";

/// Decides a request.
///
/// # Errors
/// The refusal, to be answered by [`super::answer`].
pub fn decide(app: &App, request: &Request<'_>) -> Result<Decision> {
    if !is_host(request.host) {
        return Err(Error::new(
            Code::HostInvalid,
            "a host and a port",
            format!("Host {}", quote(request.host)),
        ));
    }
    // Outside the prefix MLflow serves some paths as well; they are guarded like all others.
    let path = app.config.place.strip(request.path).unwrap_or(request.path);
    // MLflow routes none of our endpoints natively, and some of them wait for the provider.
    if !request.on_event_loop
        && let Some(handler) = own_endpoint(app, request, path)?
    {
        return handler(app, request);
    }
    check_path(app, request)?;
    if path.starts_with(GATEWAY)
        && let Some(decision) = gateway(app, request)?
    {
        return Ok(decision);
    }
    if let Some(authorization) = request.authorization {
        // A header that fails never falls back to the cookie: the caller said who they want to be.
        return by_header(app, request, authorization);
    }
    match browser::handle(app, request) {
        Err(error)
            if matches!(error.code, Code::NoCredentials | Code::SessionEnded | Code::SessionRecheck)
                && request.method == "GET"
                && path == "/"
                && request.is_navigation() =>
        {
            login::redirect(app, request, error.code == Code::SessionRecheck)
        }
        other => other,
    }
}

/// A page of ours is asked for below the path of the public address, where MLflow knows of no such path: the proxy should have taken
/// it off, or MLflow should have been told. The answer would be the way to sign in, which leads here again, for ever.
fn check_path(app: &App, request: &Request<'_>) -> Result<()> {
    let place = &app.config.place;
    let base = place.site.as_ref().map(|site| site.base.as_str()).filter(|base| *base != place.prefix);
    let own = |base: &str| request.path.strip_prefix(base).is_some_and(|rest| is_own(app, rest));
    match base.filter(|base| own(base)) {
        None => Ok(()),
        Some(base) => Err(Error::new(
            Code::Configuration,
            format!(
                "mlflow server --static-prefix {base} (the path of OIDC_PUBLIC_URL), or a proxy that takes it off"
            ),
            format!("a request to {}", quote(request.path)),
        )),
    }
}

/// What memory alone lets in: the answer that [`decide`] would give, or nothing. It waits for nobody, not even for a lock
/// that somebody holds who waits.
pub fn recall(app: &App, request: &Request<'_>) -> Option<Arc<str>> {
    let path = app.config.place.strip(request.path).unwrap_or(request.path);
    // Our own endpoints and the gateway have rules of their own; `decide` knows them.
    if !is_host(request.host) || is_own(app, path) || path.starts_with(GATEWAY) {
        return None;
    }
    match request.authorization {
        Some(authorization) => bearer::recall(app, bearer_token(authorization)?),
        None => browser::recall(app, request),
    }
}

/// On the event loop the path has been put together from the Host header by some versions of Starlette: a Host with a path in
/// it would choose the rules that apply here. It is no host either way (RFC 9110 section 7.2).
fn is_host(host: &str) -> bool {
    let plain = |c: u8| c.is_ascii_graphic() && !matches!(c, b'/' | b'\\' | b'?' | b'#' | b'@');
    host.bytes().all(plain)
        || !host.contains(|c: char| {
            matches!(c, '/' | '\\' | '?' | '#' | '@') || c.is_whitespace() || c.is_control()
        })
}

/// Whether a path is, or may be, one of ours.
fn is_own(app: &App, path: &str) -> bool {
    path == app.config.place.callback || ROUTES.iter().any(|(_, route, _)| *route == path)
}

fn own_endpoint(app: &App, request: &Request<'_>, path: &str) -> Result<Option<Handler>> {
    // The registered callback may stand at a path with other uses, such as '/': only an answer of a provider counts.
    if request.method == "GET"
        && path == app.config.place.callback
        && CallbackQuery::is_present(request.query)
    {
        return Ok(Some(callback::handle));
    }
    let mut known = false;
    for (method, route, handler) in ROUTES {
        if *route == path {
            known = true;
            if *method == request.method {
                return Ok(Some(*handler));
            }
        }
    }
    if known {
        return Err(Error::new(Code::MethodNotAllowed, "GET, or POST to sign out", quote(request.method)));
    }
    Ok(None)
}

fn by_header(app: &App, request: &Request<'_>, authorization: &str) -> Result<Decision> {
    if let Some(token) = bearer_token(authorization) {
        return bearer::handle(app, request, token);
    }
    let (scheme, _) = authorization.split_once(' ').unwrap_or((authorization, ""));
    if scheme.eq_ignore_ascii_case("Basic") {
        if app.config.basic_auth {
            return Ok(Decision::Basic { authorization: authorization.to_owned() });
        }
        return Err(Error::new(
            Code::BasicAuthDisabled,
            "a bearer token (OIDC_BASIC_AUTH is false)",
            "Basic",
        ));
    }
    Err(Error::new(Code::AuthorizationScheme, "Bearer or Basic", quote(scheme)))
}

/// The token of `Bearer <token>`; schemes are compared without case (RFC 9110 section 11.1).
fn bearer_token(authorization: &str) -> Option<&str> {
    let (scheme, credentials) = authorization.split_once(' ').unwrap_or((authorization, ""));
    scheme.eq_ignore_ascii_case("Bearer").then(|| credentials.trim())
}

/// Who calls the gateway: MLflow's own jobs by their internal token, others by `X-MLflow-Authorization` first.
fn gateway(app: &App, request: &Request<'_>) -> Result<Option<Decision>> {
    for header in [request.gateway_authorization, request.authorization].into_iter().flatten() {
        if let Some(username) = internal_user(app, header) {
            return Ok(Some(Decision::Allow { username: username.into() }));
        }
    }
    request.gateway_authorization.map(|header| by_header(app, request, header)).transpose()
}

/// The user of MLflow's internal gateway token: `Basic user:token` (RFC 7617), the token made by the server at its
/// start. Good at the gateway only; MLflow 3.15 to 3.17 leave it to the custom function.
fn internal_user(app: &App, header: &str) -> Option<String> {
    let expected = app.config.gateway_token.as_ref()?;
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let decoded = Secret::new(String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?);
    let (username, token) = decoded.expose().split_once(':')?;
    let good = same(token.as_bytes(), expected.expose().as_bytes()) && !username.is_empty();
    good.then(|| username.to_owned())
}
