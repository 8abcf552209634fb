//! From an [`Error`] to a reply: the one table of statuses, headers and words.

use super::pages;
use super::return_to;
use super::wire::{Reply, Request};
use crate::config::{Fault, Place, Site};
use crate::error::{Code, Error, Party};
use crate::ports::Level;
use serde_json::json;

/// HTTP status, MLflow's own error code (its client shows it), and seconds for `Retry-After`.
const fn status(code: Code) -> (u16, &'static str, Option<u32>) {
    match code {
        Code::NoCredentials
        | Code::SessionEnded
        | Code::SessionRecheck
        | Code::AuthorizationScheme
        | Code::BasicAuthDisabled
        | Code::AccountWithoutPassword
        | Code::TokenTooLarge
        | Code::TokenMalformed
        | Code::TokenEncrypted
        | Code::TokenHeader
        | Code::TokenAlgorithm
        | Code::TokenType
        | Code::TokenKeyUnknown
        | Code::TokenSignature
        | Code::TokenIssuer
        | Code::TokenAudience
        | Code::TokenAuthorizedParty
        | Code::TokenExpired
        | Code::TokenNotYetValid
        | Code::TokenIssuedAt
        | Code::TokenSubject
        | Code::TokenClaim
        | Code::TokenNonce
        | Code::TokenAtHash => (401, "UNAUTHENTICATED", None),
        Code::UsernameMissing
        | Code::UsernameInvalid
        | Code::EmailUnverified
        | Code::GroupsMissing
        | Code::GroupsOverage
        | Code::GroupRequired
        | Code::UsernameTaken
        | Code::AccountProtected
        | Code::LoginDenied
        | Code::CrossOrigin => (403, "PERMISSION_DENIED", None),
        Code::MethodNotAllowed => (405, "BAD_REQUEST", None),
        Code::CookieAmbiguous
        | Code::HostInvalid
        | Code::LoginUnknown
        | Code::LoginExpired
        | Code::CallbackMalformed
        | Code::CallbackIssuer => (400, "BAD_REQUEST", None),
        Code::UserinfoSubject | Code::ProviderError | Code::ProviderAnswer => {
            (502, "TEMPORARILY_UNAVAILABLE", None)
        }
        Code::ProviderUnreachable => (503, "TEMPORARILY_UNAVAILABLE", Some(5)),
        Code::ProviderBusy => (503, "TEMPORARILY_UNAVAILABLE", Some(2)),
        Code::ProviderPending | Code::DatabaseUnavailable => (503, "TEMPORARILY_UNAVAILABLE", Some(1)),
        Code::Configuration | Code::PublicUrlUnknown | Code::Internal => (500, "INTERNAL_ERROR", None),
    }
}

/// What the caller may read beside the sentence: both sides where the caller's own token or the operator's own setting
/// is at fault, nothing of what the provider or the database said.
fn detail(error: &Error) -> Option<String> {
    match error.party {
        Party::Caller if error.code == Code::NoCredentials => None,
        Party::Caller | Party::Operator => {
            Some(format!("Expected {}; found {}.", error.expected, error.found))
        }
        Party::Provider | Party::Database | Party::Us => None,
    }
}

/// The reply for a refusal: a page for a browser that opens a page, JSON in MLflow's form for everybody else.
pub fn reply(
    request: &Request<'_>,
    error: &Error,
    site: Option<&Site>,
    place: &Place,
    set_cookie: Option<String>,
) -> Reply {
    let (status, error_code, retry_after) = match (error.party, error.code.party()) {
        // A token that the provider handed us itself: the person cannot mend it by coming with a better one.
        (Party::Provider, Party::Caller) => status(Code::ProviderAnswer),
        _ => status(error.code),
    };
    let mut reply = if request.is_navigation() {
        page(request, error, status, site, place)
    } else {
        let mut message = error.code.sentence().to_owned();
        if let Some(detail) = detail(error) {
            message.push(' ');
            message.push_str(&detail);
        }
        message.push_str(&format!(" [{}]", error.code));
        Reply::json_text(status, document(error_code, &message, error.code))
    };
    if status == 401 {
        reply = reply.with("WWW-Authenticate", challenge(error, site));
    }
    if status == 405 {
        reply = reply.with("Allow", "GET, POST".to_owned());
    }
    if let Some(seconds) = retry_after {
        reply = reply.with("Retry-After", seconds.to_string());
    }
    if let Some(cookie) = set_cookie {
        reply = reply.with("Set-Cookie", cookie);
    }
    reply
}

/// `{"error_code": ..., "message": ..., "code": ...}`: the first two are MLflow's form, the third is ours. Put together here because
/// every refusal of a flood is one, and both codes are plain words.
fn document(error_code: &str, message: &str, code: Code) -> String {
    let message = serde_json::Value::from(message);
    format!(r#"{{"code":"{code}","error_code":"{error_code}","message":{message}}}"#)
}

/// The reply to a logout token that is refused (Back-Channel Logout 1.0 section 2.8): to the provider, so in its own form.
pub fn invalid_request(error: &Error) -> Reply {
    let detail = detail(error).unwrap_or_default();
    let description = format!("{} {detail} [{}]", error.code.sentence(), error.code);
    let code = error.code.name();
    Reply::json(400, &json!({"error": "invalid_request", "error_description": description, "code": code}))
}

fn page(request: &Request<'_>, error: &Error, status: u16, site: Option<&Site>, place: &Place) -> Reply {
    match (site, error.code) {
        // Whoever is just not signed in is taken to the provider; a page that says so would be in the way.
        (Some(site), Code::NoCredentials | Code::SessionEnded | Code::SessionRecheck) => {
            let next = return_to::from_request(&request.path_and_query(), place, site);
            pages::sign_in(status, site, &next, error.code == Code::SessionRecheck)
        }
        _ => pages::refusal(status, error, detail(error).as_deref(), site),
    }
}

/// `WWW-Authenticate` (RFC 6750 section 3, RFC 9728 section 5.1): `error` only where credentials were sent.
fn challenge(error: &Error, site: Option<&Site>) -> String {
    let mut fields = Vec::new();
    if !matches!(error.code, Code::NoCredentials | Code::SessionEnded | Code::SessionRecheck) {
        let kind = if error.code == Code::AuthorizationScheme { "invalid_request" } else { "invalid_token" };
        fields.push(format!("error=\"{kind}\""));
        fields.push(format!("error_description=\"{}\"", error.code.name()));
    }
    if let Some(site) = site {
        fields.push(format!("resource_metadata=\"{}\"", site.url(super::resource::PATH)));
    }
    format!("Bearer {}", fields.join(", ")).trim_end().to_owned()
}

/// How loud a refusal is.
pub fn level(error: &Error) -> Level {
    match (error.code, error.party) {
        (Code::NoCredentials | Code::SessionEnded | Code::SessionRecheck | Code::ProviderPending, _) => {
            Level::Debug
        }
        (_, Party::Caller | Party::Provider) => Level::Warning,
        (_, Party::Operator | Party::Database | Party::Us) => Level::Error,
    }
}

/// The line for the log. Foreign text in it has passed [`crate::error::quote`].
pub fn log_line(request: &Request<'_>, error: &Error) -> String {
    // A method is a word (RFC 9110 section 9.1), but not every HTTP server sees to that.
    let method = crate::error::quote(request.method);
    format!(
        "refused {} {} with {} ({:?} at fault): expected {}, found {}",
        method.trim_matches('\''),
        crate::error::quote(request.path),
        error.code,
        error.party,
        error.expected,
        error.found
    )
}

/// The reply to every request while the settings are wrong: each faulty key, what is expected and what was found.
pub fn misconfigured(request: &Request<'_>, faults: &[Fault]) -> Reply {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    if request.is_navigation() {
        return pages::configuration(&lines);
    }
    let (status, error_code, _) = status(Code::Configuration);
    let message =
        format!("{} {} [{}]", Code::Configuration.sentence(), lines.join("; "), Code::Configuration);
    let code = Code::Configuration.name();
    Reply::json(status, &json!({"error_code": error_code, "message": message, "code": code, "faults": lines}))
}

/// The reply when the decision itself broke: a fault of ours, and nobody gets in.
pub fn broken(request: &Request<'_>) -> Reply {
    let place =
        Place { prefix: String::new(), site: None, callback: String::new(), allowed_hosts: Vec::new() };
    reply(request, &Error::internal("a fault while deciding"), None, &place, None)
}

/// The table of `docs/errors.md`.
pub fn catalogue_markdown() -> String {
    let mut out = String::from("| code | status | at fault | meaning |\n|---|---|---|---|\n");
    for code in Code::ALL {
        let (status, _, _) = status(*code);
        out.push_str(&format!(
            "| `{}` | {status} | {:?} | {} |\n",
            code.name(),
            code.party(),
            code.sentence()
        ));
    }
    out
}
