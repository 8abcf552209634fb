//! Groups: where they are in a token, in which forms, and how a token says that they are not in it.

use super::plain;
use crate::error::{Code, Error, Result, quote};
use crate::jose::Object;
use crate::oidc::claims;
use serde_json::Value;

/// The groups of all these claims together, or `None` when none of them is there.
///
/// # Errors
/// `token_claim`: a claim is neither a list of texts, nor a text, nor Zitadel's object of roles.
pub fn read(claims: &Object, names: &[String]) -> Result<Option<Vec<String>>> {
    let mut groups: Option<Vec<String>> = None;
    for name in names {
        let found = match claims::lookup(claims, name) {
            None => continue,
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(many)) => many
                .iter()
                .map(|item| item.as_str().ok_or_else(|| fault(name, Some(item))))
                .collect::<Result<Vec<_>>>()?,
            // Zitadel: {"role": {"organization's id": "its domain"}, ...}. An object of anything else is a wrong path.
            Some(Value::Object(roles)) if roles.values().all(Value::is_object) => {
                roles.keys().map(String::as_str).collect()
            }
            other => return Err(fault(name, other)),
        };
        groups.get_or_insert_with(Vec::new).extend(found.into_iter().map(|group| plain(group).to_owned()));
    }
    Ok(groups)
}

/// The claim of these that is missing and that the token only refers to, because it would be too long (Entra ID above 200 groups): as a
/// distributed claim (OpenID Connect Core section 5.6.2), or by `hasgroups` where there is no room for that either.
pub fn overage<'a>(claims: &Object, names: &'a [String]) -> Option<&'a str> {
    let referred = |name: &str| {
        claims
            .get("_claim_names")
            .and_then(Value::as_object)
            .is_some_and(|sources| sources.contains_key(name))
    };
    let has_groups = match claims.get("hasgroups") {
        Some(Value::Bool(has)) => *has,
        Some(Value::String(text)) => text == "true",
        _ => false,
    };
    let missing = |name: &str| claims::lookup(claims, name).is_none();
    names
        .iter()
        .map(String::as_str)
        .find(|name| missing(name) && (referred(name) || (has_groups && *name == "groups")))
}

/// What is said to somebody whose token only refers to their groups, and what the operator can do.
pub fn too_many(found: impl Into<String>) -> Error {
    Error::new(
        Code::GroupsOverage,
        "the groups themselves: let the provider send only those assigned to the application, or send application roles \
         (OIDC_GROUPS_CLAIM=roles)",
        found.into(),
    )
}

fn fault(name: &str, found: Option<&Value>) -> Error {
    Error::new(
        Code::TokenClaim,
        format!("the claim {} as a list of texts", quote(name)),
        claims::describe(found),
    )
}
