//! The few pages that people see. Every value is escaped by the template; one script, allowed by its hash.

use super::wire::Reply;
use crate::config::Site;
use crate::error::{Code, Error, Party};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::sync::LazyLock;
use url::form_urlencoded;

/// Keeps the fragment, in which MLflow's pages live and which no server ever sees, and goes on to the provider.
///
/// One tab after the other: two that go at once have one cookie, and the answer that comes last would take the other one's login out
/// of it. The lock ends with the page, so when this tab is at the provider, or back already; nobody waits for it longer than five seconds.
const SIGN_IN_SCRIPT: &str = "(function(){var a=document.getElementById('continue');if(!a)return;\
var u=new URL(a.href);u.searchParams.set('next',(u.searchParams.get('next')||'/')+location.hash);\
a.href=u.href;var go=function(){location.replace(u.href);return new Promise(function(){});};\
if(!navigator.locks||!AbortSignal.timeout)return go();\
navigator.locks.request('mlflow_oidc',{signal:AbortSignal.timeout(5000)},go).catch(go);})();";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#f6f7f9;color:#1c2b36}\
main{max-width:34rem;margin:12vh auto;padding:2rem 2.5rem;background:#fff;border:1px solid #d9dfe5;border-radius:8px}\
h1{font-size:1.35rem;margin:0 0 .75rem}p{margin:.75rem 0}ul{padding-left:1.25rem}\
a.button,button{display:inline-block;font:inherit;padding:.5rem 1.1rem;border:0;border-radius:4px;background:#0b6bb8;\
color:#fff;text-decoration:none;cursor:pointer}.code{color:#5b6b78;font-size:.85rem}\
.detail{overflow-wrap:anywhere;background:#f6f7f9;padding:.5rem .75rem;border-radius:4px}\
@media(prefers-color-scheme:dark){body{background:#12181d;color:#e4eaf0}main{background:#1b242b;border-color:#33414c}\
.detail{background:#12181d}.code{color:#93a3b0}}";

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; frame-ancestors 'none'",
        hash(SIGN_IN_SCRIPT),
        hash(STYLE)
    )
});

/// The page that goes on to the provider by itself. With status 200 it is the sign-in page, with 401 a refusal.
/// `silent` is for somebody who is signed in and need not be asked anything.
pub fn sign_in(status: u16, site: &Site, next: &str, silent: bool) -> Reply {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("next", next).append_pair("go", "1");
    if silent {
        query.append_pair("silent", "1");
    }
    let address = format!("{}/oidc/login?{}", site.base, query.finish());
    let body = html! {
        h1 { "Signing you in" }
        p { "You are taken to your organisation's sign-in page." }
        p { a.button id="continue" href=(address) { "Sign in" } }
        script { (PreEscaped(SIGN_IN_SCRIPT)) }
    };
    let head = html! { noscript { meta http-equiv="refresh" content=(format!("0; url={address}")); } };
    page(status, "Sign in to MLflow", head, body, "'self'")
}

/// A refusal in words.
pub fn refusal(status: u16, error: &Error, detail: Option<&str>, site: Option<&Site>) -> Reply {
    let code = error.code;
    let title = match (status, error.party) {
        (403, _) => "You cannot use this MLflow",
        (400..=499, _) => "This did not work",
        (_, Party::Operator) => "Sign-in is not set up correctly",
        _ => "Sign-in is not possible now",
    };
    // Only where trying again can help; a configuration does not mend itself.
    let again = site.filter(|_| !matches!(error.party, Party::Operator | Party::Us));
    let body = html! {
        h1 { (title) }
        @if error.party == Party::Provider && code.party() == Party::Caller {
            p { "The provider's ID token was refused." }
        }
        p { (code.sentence()) }
        @if let Some(detail) = detail { p.detail { (detail) } }
        @if let Some(site) = again {
            p {
                a.button href=(format!("{}/", site.base)) { "Try again" }
                // The provider still knows whom it has just sent; without being asked it would send the same again.
                @if status == 403 {
                    " " a href=(format!("{}/oidc/login?go=1&again=1", site.base)) { "Use another account" }
                }
            }
        }
        p.code { "Code: " (code.name()) }
    };
    page(status, title, html! {}, body, "'self'")
}

/// What is wrong with the settings, all of it.
pub fn configuration(faults: &[String]) -> Reply {
    let body = html! {
        h1 { "Sign-in is not set up correctly" }
        p { (Code::Configuration.sentence()) " Whoever runs this MLflow has to mend:" }
        ul { @for fault in faults { li.detail { (fault) } } }
        p.code { "Code: " (Code::Configuration.name()) }
    };
    page(500, "Sign-in is not set up correctly", html! {}, body, "'self'")
}

/// How far a sign-out reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The provider has a place to sign out at, or nothing is known of it yet.
    Provider,
    /// It has none (Dex): whoever sits down at this browser next is let in again without being asked.
    MlflowAlone,
}

const GOES_ON: &str = "Your sign-in at your organisation's provider goes on: whoever uses this browser next may get in again \
without a password. On a shared computer sign out there too, or close the browser.";

/// Asks before signing out; a link on another site must not do it alone. `provider` is where the form leads on to.
pub fn confirm_logout(site: &Site, username: &str, provider: Option<&str>, reach: Reach) -> Reply {
    let body = html! {
        h1 { "Sign out of MLflow?" }
        p { "You are signed in as " strong { (username) } "." }
        @if reach == Reach::MlflowAlone { p { "This ends your session in MLflow alone." } }
        form method="post" action=(format!("{}/oidc/logout", site.base)) { button type="submit" { "Sign out" } }
        p { a href=(format!("{}/", site.base)) { "Back to MLflow" } }
    };
    // Browsers hold the redirect after a form to this list too, so the provider's logout has to be on it.
    let targets = provider.map_or_else(|| "'self'".to_owned(), |origin| format!("'self' {origin}"));
    page(200, "Sign out of MLflow", html! {}, body, &targets)
}

/// The end.
pub fn signed_out(site: &Site, reach: Reach) -> Reply {
    let body = html! {
        h1 { "You are signed out" }
        @if reach == Reach::MlflowAlone { p { (GOES_ON) } }
        p { a.button href=(format!("{}/", site.base)) { "Sign in again" } }
    };
    page(200, "Signed out of MLflow", html! {}, body, "'self'")
}

fn page(status: u16, title: &str, head: Markup, body: Markup, form_action: &str) -> Reply {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
                (head)
            }
            body { main { (body) } }
        }
    };
    let mut reply = Reply::new(status)
        .with("Content-Type", "text/html; charset=utf-8".to_owned())
        .with("Content-Security-Policy", format!("{}; form-action {form_action}", *POLICY))
        .with("X-Frame-Options", "DENY".to_owned())
        .with("X-Content-Type-Options", "nosniff".to_owned())
        // The address of a page may hold `next` or a code; neither goes to another site. (no-referrer would make the
        // Origin of our own form "null", and the check of it would refuse the form.)
        .with("Referrer-Policy", "same-origin".to_owned());
    reply.body = markup.into_string();
    reply
}
