//! The claims of a login, from the places where providers put them: the ID token, the access token beside it, the UserInfo
//! endpoint, and Microsoft Graph for groups that have no room in a token.

use super::App;
use super::exchange::Exchange;
use super::provider::{self, Asker};
use crate::error::{Code, Error, Party, Result};
use crate::identity::too_many_groups;
use crate::jose::{Compact, Object, Verified};
use crate::oidc::discovery::parse_address;
use crate::oidc::{Metadata, claims, graph, userinfo};
use crate::secret::Secret;
use serde_json::Value;
use std::time::Duration;

/// What is wanted of the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Who it is, and their groups.
    Login,
    /// Their groups alone: the account is bound already. A place that is in trouble is not asked for what is of no use, and cannot keep
    /// somebody in whose token tells that they are out.
    Groups,
}

/// What a login says of somebody.
pub struct Gathered {
    /// The claims of the ID token, and those that decide and it does not have.
    pub claims: Object,
    looked_at: Vec<&'static str>,
}

impl Gathered {
    /// The same refusal; where something is missing, with the places where it was looked for.
    pub fn told(&self, error: Error) -> Error {
        match error.code {
            Code::GroupsMissing | Code::UsernameMissing => {
                Error { found: format!("{} in {}", error.found, self.looked_at.join(" or ")).into(), ..error }
            }
            _ => error,
        }
    }
}

/// Asks each place in its turn for as long as a claim is missing that decides. What an earlier place says stands; the first is the ID
/// token (`told`).
///
/// # Errors
/// `userinfo_subject`, `groups_overage`, those of the exchange, and of keys that cannot be fetched.
pub fn gather(
    app: &App,
    exchange: &Exchange<'_>,
    metadata: &Metadata,
    told: &Object,
    access_token: Option<&Secret>,
    need: Need,
) -> Result<Gathered> {
    let rules = &app.config.rules;
    let names = rules.claim_names();
    let mut gathered = Gathered { claims: told.clone(), looked_at: vec!["the ID token"] };
    let Some(token) = access_token else { return Ok(gathered) };
    // It is here already: also for the second of several claims of groups, for which nobody else would be asked.
    let lacks = |claims: &Object| match need {
        Need::Login => rules.lacks(claims),
        Need::Groups => rules.groups_decide() && rules.lacks_groups(claims),
    };
    if (lacks(&gathered.claims) || rules.lacks_some_groups(&gathered.claims))
        && let Some(access_token) = readable(app, token, told)?
    {
        gathered.looked_at.push("the access token");
        gathered.claims = claims::complete(&gathered.claims, access_token.claims(), &names);
    }
    if let Some(name) = rules.overage(told)
        && rules.overage(&gathered.claims).is_some()
        && let Some(origin) = &metadata.graph
    {
        match groups(app, exchange, origin, token) {
            Ok(groups) => gathered.claims.insert(name.to_owned(), groups.into()),
            // Nobody is kept out for it without a group that everybody has to be in, or who may be in by another claim.
            Err(error)
                if error.code == Code::GroupsOverage
                    && !(rules.groups_needed() && rules.lacks_groups(&gathered.claims)) =>
            {
                None
            }
            Err(error) => return Err(error),
        };
    }
    if lacks(&gathered.claims)
        && let Some(endpoint) = &metadata.userinfo_endpoint
    {
        let request = userinfo::request(endpoint, token);
        // Entra ID's is at Microsoft Graph.
        let at_provider = same_origin(endpoint, &metadata.token_endpoint);
        let answer = if at_provider { exchange.send(&request) } else { exchange.send_aside(&request) }?;
        let info = userinfo::judge(&answer, claims::subject(told, "sub")?)?;
        gathered.looked_at.push("the UserInfo answer");
        gathered.claims = claims::complete(&gathered.claims, &info, &names);
    }
    Ok(gathered)
}

/// The access token, where it is a JWT of the same provider about the same person. To most it is opaque, to us too where it
/// is meant for somebody else (Entra ID's for Microsoft Graph has a signature that only Graph can check).
///
/// For whom it is does not matter: it came from the provider itself, in answer to our code.
///
/// # Errors
/// Those of the provider while it is not proven that it does not have the key: somebody whose groups are in there must not
/// lose them because the key is new.
fn readable(app: &App, token: &Secret, told: &Object) -> Result<Option<Verified>> {
    let Some(compact) = Compact::parse(token.expose()).ok().filter(|token| concerns(app, token, told)) else {
        return Ok(None);
    };
    match provider::verify_token(app, compact, Asker::Login) {
        Ok((verified, _)) => Ok(Some(verified)),
        Err(error) if error.party == Party::Provider => Err(error),
        Err(_) => Ok(None),
    }
}

/// Whether it says of itself that it is good now, and about the person of the ID token. Only then is its key worth a fetch.
fn concerns(app: &App, token: &Compact<'_>, told: &Object) -> bool {
    let claims = token.unverified_claims();
    let subject = |claims| claims::subject(claims, "sub").ok();
    claims::check_issuer(claims, &app.config.issuers).is_ok()
        && claims::check_times(claims, app.now(), app.config.skew).is_ok()
        && subject(claims).is_some_and(|who| Some(who) == subject(told))
}

fn same_origin(one: &str, other: &str) -> bool {
    let origin = |address| parse_address(address).map(|url| url.origin());
    origin(one) == origin(other)
}

/// All groups that Microsoft Graph knows. Its pages together may take no longer than one answer of the provider.
fn groups(app: &App, exchange: &Exchange<'_>, origin: &str, token: &Secret) -> Result<Vec<Value>> {
    let deadline = app.now().saturating_add_unsigned(app.config.http_timeout);
    let refused = |error: Error| match error.code {
        Code::ProviderError => too_many_groups(format!(
            "a reference to them, and from Microsoft Graph {} (is User.Read among OIDC_SCOPES?)",
            error.found
        )),
        _ => error,
    };
    let mut all = Vec::new();
    let mut request = graph::request(origin, token);
    for _ in 0..graph::PAGES {
        let left = u64::try_from(deadline - app.now()).unwrap_or(0);
        if left == 0 {
            let expected = format!("all groups from Microsoft Graph within {} s", app.config.http_timeout);
            return Err(Error::new(Code::ProviderUnreachable, expected, format!("{} so far", all.len())));
        }
        request.within = Some(Duration::from_secs(left));
        let page = graph::judge(origin, &exchange.send_aside(&request)?).map_err(refused)?;
        all.extend(page.groups.into_iter().map(Value::String));
        let Some(next) = page.next else { return Ok(all) };
        request = graph::page(&next, token);
    }
    Err(too_many_groups(format!("more than {} at Microsoft Graph", all.len())))
}
