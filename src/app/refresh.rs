//! One question to the provider about somebody who is signed in, with the refresh token of their session.

use super::callback::{self, ID_TOKEN_PURPOSE};
use super::exchange::{self, Exchange};
use super::provider::{self, Asker};
use super::sources::{self, Need};
use super::{App, refusals};
use crate::error::{Code, Error, Party, Result, quote};
use crate::jose::{Compact, Object};
use crate::oidc::{claims, refresh};
use crate::ports::{IdentityRow, Level, Patience, SessionRow};
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// For how long nobody asks about a session after a failure of our own, in seconds.
const OURS_PAUSE: i64 = 5;

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// The provider vouches for the person; what it says of their groups is noted.
    Renewed,
    /// It could not be asked: nobody answered. The session goes on, and is asked about again; so is everybody else's.
    Away(Error),
    /// It did not speak about this one: 429, 5xx, an answer that was cut off. Others may have more luck.
    TurnedAway(Error),
    /// Somebody else has asked meanwhile, and theirs is the newer answer.
    Overtaken,
    /// It answered, and nothing can be done with that. The refresh token may be spent, so it is not sent again: the browser has to go
    /// to the provider, at the end of the full time at the latest.
    Faulty(Error),
    /// The session is over.
    Ended(Error),
}

/// What a refresh token is sealed for: this session's row, so that one that was moved to another row does not open.
fn purpose(id_hash: &[u8; 32]) -> String {
    format!("refresh token {}", URL_SAFE_NO_PAD.encode(id_hash))
}

/// Seals a refresh token for a session.
///
/// # Errors
/// `internal`.
pub fn seal(app: &App, id_hash: &[u8; 32], token: &Secret) -> Result<String> {
    app.sealer.seal(&purpose(id_hash), token.expose().as_bytes(), app.random()?)
}

/// Asks, and writes what became of the session. Whoever calls it has the right to ask (`Store::begin_recheck`) until `held`, which is
/// given back. With `is_last` the session has been turned away for too long: once more counts as an answer that cannot be used.
/// It blocks.
///
/// # Errors
/// `database_unavailable`, `internal`: nothing is known then.
pub fn ask(app: &App, row: &SessionRow, identity: &IdentityRow, held: i64, is_last: bool) -> Result<Outcome> {
    let asked_at = app.now();
    let store = &app.world.store;
    let mut renewed = row.clone();
    let outcome = match converse(app, row, identity, asked_at, held, &mut renewed) {
        Ok(()) => {
            renewed.checked_at = asked_at;
            Outcome::Renewed
        }
        Err(Stop::Ours(error)) => {
            // Nothing was learned; a new token is kept, and the right to ask for a moment where the provider was: each request would
            // send it there again. Where that fails too, the right ends by itself.
            let pause = if error.code == Code::ProviderBusy { 0 } else { OURS_PAUSE };
            let until = if pause > 0 { app.now().saturating_add(pause) } else { 0 };
            let _ = store.renew_session(&renewed, held, until);
            return Err(error);
        }
        Err(Stop::With(Outcome::TurnedAway(error))) if is_last => Outcome::Faulty(error),
        Err(Stop::With(outcome)) => outcome,
    };
    if let Outcome::Faulty(_) = &outcome {
        renewed.sealed_refresh_token = None;
    }
    let is_mine = store.renew_session(&renewed, held, 0)?;
    let outcome = match outcome {
        // Signed out meanwhile, here or by the provider: it stays ended, whatever the answer was.
        _ if !is_mine && store.session(&row.id_hash, Patience::Wait)?.is_some() => Outcome::Overtaken,
        Outcome::Ended(error) => {
            store.remove_session(&row.id_hash)?;
            app.log(Level::Info, &format!("a session of {} has ended: {error}", quote(&identity.username)));
            Outcome::Ended(error)
        }
        _ if !is_mine => Outcome::Ended(ended("one that has ended meanwhile")),
        Outcome::Faulty(error) => {
            refusals::write_line(app, Level::Warning, error.code, || {
                format!("a session of {} could not be refreshed: {error}", quote(&identity.username))
            });
            Outcome::Faulty(error)
        }
        other => other,
    };
    app.sessions.forget(&row.id_hash);
    Ok(outcome)
}

fn ended(found: &'static str) -> Error {
    Error::new(Code::SessionEnded, "a session that has not ended", found)
}

enum Stop {
    With(Outcome),
    /// Our database, or a fault of our own.
    Ours(Error),
}

fn faulty(error: Error) -> Stop {
    Stop::With(Outcome::Faulty(error))
}

/// An error of what is asked once there is a token. What is in trouble there may be the matter of this one person.
fn judged(exchange: &Exchange<'_>, error: Error) -> Stop {
    match error.party {
        Party::Database | Party::Us => Stop::Ours(error),
        // Keys that are not there yet, or a place that is in trouble: the next answer may be a good one.
        _ if exchange.turned_away() || error.code == Code::ProviderPending => turned_away(error),
        _ => faulty(error),
    }
}

fn turned_away(error: Error) -> Stop {
    Stop::With(Outcome::TurnedAway(error))
}

fn converse(
    app: &App,
    row: &SessionRow,
    identity: &IdentityRow,
    asked_at: i64,
    held: i64,
    renewed: &mut SessionRow,
) -> std::result::Result<(), Stop> {
    // All places taken is our own matter, and says nothing of the provider.
    let away = |error: Error| match error.code {
        Code::ProviderBusy => Stop::Ours(error),
        _ => Stop::With(Outcome::Away(error)),
    };
    let (token, original) = opened(app, row).map_err(faulty)?;
    let metadata = provider::known(app, false).map_err(away)?.metadata;
    let exchange = exchange::enter(app).map_err(away)?;
    let request = refresh::request(&metadata, app.client(), &token).map_err(faulty)?;
    // Also a connection that was reset: a proxy that starts anew must not cost everybody their token.
    let answer = exchange
        .send(&request)
        .map_err(|error| if exchange.turned_away() { away(error) } else { turned_away(error) })?;
    let given = match refresh::judge(&answer) {
        Err(error) if exchange.turned_away() => return Err(turned_away(error)),
        Err(error) if error.code == Code::SessionEnded => return Err(Stop::With(Outcome::Ended(error))),
        other => other.map_err(faulty)?,
    };
    // From here on the old one may be spent: the new one is kept before anything else is asked, and tried once more at the end.
    if let Some(next) = &given.refresh_token {
        renewed.sealed_refresh_token = Some(seal(app, &row.id_hash, next).map_err(Stop::Ours)?);
        if app.world.store.renew_session(renewed, held, held) == Ok(false) {
            return Err(Stop::With(Outcome::Ended(ended("one that has ended meanwhile"))));
        }
    }
    let blame = callback::blame_provider;
    let told = match &given.id_token {
        Some(id_token) => {
            let (verified, _) = Compact::parse(id_token.expose())
                .and_then(|token| provider::verify_token(app, token, Asker::Login))
                .map_err(blame)
                .map_err(
                    |error| if callback::passes(error.code) { turned_away(error) } else { faulty(error) },
                )?;
            let usual = callback::usual(app, given.access_token.as_ref());
            let expected = refresh::Expectation { original: &original, usual };
            refresh::check(&verified, &expected).map_err(blame).map_err(faulty)?;
            if let Some(sid) =
                claims::optional_text(verified.claims(), "sid").map_err(blame).map_err(faulty)?
            {
                renewed.provider_sid = Some(sid.to_owned());
            }
            verified.claims().clone()
        }
        None => same_person(app, &original, asked_at),
    };
    let gathered =
        sources::gather(app, &exchange, &metadata, &told, given.access_token.as_ref(), Need::Groups)
            .map_err(|error| judged(&exchange, error))?;
    let rules = &app.config.rules;
    if given.id_token.is_none() && rules.groups_decide() && rules.lacks_groups(&gathered.claims) {
        // They may be in the ID token alone, so that they are not told does not mean that there are none.
        let found = "an answer without an ID token, and no groups elsewhere";
        return Err(faulty(Error::new(Code::ProviderAnswer, "the groups of somebody", found)));
    }
    let statement =
        app.identify_again(&gathered.claims, &identity.username).map_err(blame).map_err(faulty)?;
    if statement.identity.subject != row.subject {
        let expected = format!("subject {}", quote(&row.subject));
        return Err(faulty(Error::new(Code::TokenSubject, expected, "another one").by(Party::Provider)));
    }
    match callback::settle(app, &gathered.claims, statement) {
        Ok(_) => Ok(()),
        Err(error) if error.party == Party::Caller => Err(Stop::With(Outcome::Ended(gathered.told(error)))),
        Err(error) => Err(Stop::Ours(error)),
    }
}

/// The refresh token of a session, and the claims of its login's ID token.
fn opened(app: &App, row: &SessionRow) -> Result<(Secret, Object)> {
    let open = |purpose: &str, sealed: &Option<String>| {
        let plain = app.sealer.open(purpose, sealed.as_deref()?)?;
        String::from_utf8(plain).ok().map(Secret::new)
    };
    let unreadable =
        || Error::new(Code::SessionEnded, "tokens of the session that open", "others (OIDC_SESSION_SECRET)");
    let token = open(&purpose(&row.id_hash), &row.sealed_refresh_token).ok_or_else(unreadable)?;
    let id_token = open(ID_TOKEN_PURPOSE, &row.sealed_id_token).ok_or_else(unreadable)?;
    Ok((token, Compact::parse(id_token.expose())?.unverified_claims().clone()))
}

/// What stands in the place of an ID token that the answer does not have: who it is, and that it is told now.
fn same_person(app: &App, original: &Object, asked_at: i64) -> Object {
    let mut claims: Object = original
        .iter()
        .filter(|(name, _)| {
            ["iss", "sub"].contains(&name.as_str()) || app.config.rules.subject_claims.contains(name)
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    claims.insert("iat".to_owned(), Value::from(asked_at));
    claims
}
