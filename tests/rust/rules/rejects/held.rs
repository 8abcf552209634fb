//! What every run is held to, beside its code.

use super::case::Case;
use crate::support::{Answered, CLIENT_SECRET};

/// Who is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A program.
    Json,
    /// A person.
    Page,
}

/// Status, code and form of the answer. That a header stands there once, a 401 has a challenge and a 503 a Retry-After,
/// `Ask` sees to.
pub fn outcome(answered: &Answered, status: u16, code: &str, form: Form) -> Result<(), String> {
    let found = answered.outcome();
    if found != (status, code.to_owned()) {
        return Err(format!("{} {}", found.0, found.1));
    }
    // A provider's words are only words.
    if answered.is_page() && ["<b>", "<script>alert"].iter().any(|markup| answered.body().contains(markup)) {
        return Err("somebody else's markup in a page".to_owned());
    }
    match (form, answered.is_page()) {
        (Form::Json, true) => Err("a page for a program".to_owned()),
        (Form::Page, false) => Err("no page for a person".to_owned()),
        _ => Ok(()),
    }
}

pub fn no_cookie(answered: &Answered) -> Result<(), String> {
    answered.header("Set-Cookie").map_or(Ok(()), |_| Err("a cookie was set".to_owned()))
}

pub fn tables(case: &Case<'_>, before: &str) -> Result<(), String> {
    if case.tables() == before { Ok(()) } else { Err("rows were written".to_owned()) }
}

/// A token, code or secret in a log is a token, code or secret in many hands.
pub fn no_leak(case: &Case<'_>, tokens: &[&str], answered: &Answered) -> Result<(), String> {
    let log = case.world.log.text();
    let mut secrets = vec![
        CLIENT_SECRET,
        "good-code",
        super::token::ACCESS_TOKEN,
        super::token::REFRESH_TOKEN,
        "a-password-1234",
    ];
    secrets.extend(tokens.iter().flat_map(|token| token.split('.')).filter(|part| part.len() > 16));
    for secret in secrets {
        if log.contains(secret) || answered.body().contains(secret) {
            return Err(format!("{} is told", secret.chars().take(24).collect::<String>()));
        }
    }
    Ok(())
}

/// The login is over, whatever became of it: its answer is good for nothing a second time.
pub fn used_up(case: &mut Case<'_>, path: &str) -> Result<(), String> {
    if case.browser.cookie.is_some() {
        return Err("the login is not used up".to_owned());
    }
    let again = case.browser.open(&case.world, path).outcome();
    if again == (400, "login_unknown".to_owned()) { Ok(()) } else { Err(format!("a second time: {again:?}")) }
}
