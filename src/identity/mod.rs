//! Claims become an identity: who it is, under which name MLflow knows them, which groups they are in.

mod username;

use crate::error::{Code, Error, Result, quote};
use crate::jose::Object;
use crate::oidc::claims;
use crate::secret::sha256;
use serde_json::Value;
use std::sync::Arc;

/// More groups than this are not kept; no membership that decides anything is lost, see [`Rules::groups`].
const GROUPS_LIMIT: usize = 10_000;

/// Where the claims are and what they mean, from the settings.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The claim that names the user (`OIDC_USERNAME_CLAIM`).
    pub username_claim: String,
    /// The claims that hold groups, in order (`OIDC_GROUPS_CLAIM`).
    pub groups_claims: Vec<String>,
    /// Groups whose members may use MLflow (`OIDC_USER_GROUP`); empty lets everybody in whom the provider lets in.
    pub user_groups: Vec<String>,
    /// Groups whose members are MLflow administrators (`OIDC_ADMIN_GROUP`); empty leaves the flag alone.
    pub admin_groups: Vec<String>,
}

/// Somebody the provider vouches for. `(issuer, subject)` is who it is; the rest may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// The name that the username claim gives now.
    pub username: String,
    /// The groups, without a leading `/`; `None` when the token carries no groups claim.
    pub groups: Option<Vec<String>>,
}

/// What stands for `(issuer, subject)` where people are looked up: SHA-256 of both, so that it has one size for all.
pub type Person = [u8; 32];

/// The [`Person`] of a subject.
pub fn person(issuer: &str, subject: &str) -> Person {
    // The length in front keeps ("a", "bc") and ("ab", "c") apart.
    sha256(&[&issuer.len().to_be_bytes(), issuer.as_bytes(), subject.as_bytes()].concat())
}

/// What the provider said of somebody at one time. Many tokens say the same: they share the identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What was said.
    pub identity: Arc<Identity>,
    /// When the token was issued (`iat`), in seconds since 1970; 0 when it does not say.
    pub told_at: i64,
}

impl Rules {
    /// Reads the identity out of claims whose token has been verified and checked.
    ///
    /// # Errors
    /// `token_subject`, `username_missing`, `username_invalid`, `email_unverified`, `token_claim`.
    pub fn identify(&self, claims: &Object) -> Result<Statement> {
        let issuer = claims::required_text(claims, "iss", Code::TokenIssuer)?;
        let subject = claims::subject(claims)?;
        let identity = Identity {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            username: self.username(claims)?,
            groups: self.groups(claims)?,
        };
        let told_at = claims::optional_time(claims, "iat")?.unwrap_or(0);
        Ok(Statement { identity: Arc::new(identity), told_at })
    }

    /// The names of the claims that decide.
    pub fn claim_names(&self) -> Vec<&str> {
        std::iter::once(&self.username_claim).chain(&self.groups_claims).map(String::as_str).collect()
    }

    /// Whether a claim is missing that decides: the user name, or the groups where membership means something.
    pub fn lacks(&self, claims: &Object) -> bool {
        claims::lookup(claims, &self.username_claim).is_none()
            || (self.groups_decide()
                && self.groups_claims.iter().all(|name| claims::lookup(claims, name).is_none()))
    }

    /// Whether membership means anything: who gets in, or who is an administrator.
    pub fn groups_decide(&self) -> bool {
        !(self.user_groups.is_empty() && self.admin_groups.is_empty())
    }

    fn username(&self, claims: &Object) -> Result<String> {
        let name = &self.username_claim;
        let value = claims::lookup(claims, name);
        let Some(Value::String(username)) = value else {
            return Err(Error::new(
                Code::UsernameMissing,
                format!("the claim {} as text (OIDC_USERNAME_CLAIM)", quote(name)),
                claims::describe(value),
            ));
        };
        // An address that the provider did not verify is whatever the user typed: it would make them anybody.
        if name == "email"
            && let Some(verified) = claims.get("email_verified")
            && verified != &Value::Bool(true)
            && verified.as_str() != Some("true")
        {
            return Err(Error::new(
                Code::EmailUnverified,
                "'email_verified' true",
                claims::describe(Some(verified)),
            ));
        }
        username::check(username)?;
        Ok(username.clone())
    }

    /// The groups of all configured claims together, or `None` when none of the claims is there.
    fn groups(&self, claims: &Object) -> Result<Option<Vec<String>>> {
        let mut groups: Option<Vec<String>> = None;
        for name in &self.groups_claims {
            let found = match claims::lookup(claims, name) {
                None | Some(Value::Null) => continue,
                Some(Value::String(one)) => vec![one.as_str()],
                Some(Value::Array(many)) => many
                    .iter()
                    .map(|item| item.as_str().ok_or_else(|| groups_fault(name, Some(item))))
                    .collect::<Result<Vec<_>>>()?,
                other => return Err(groups_fault(name, other)),
            };
            groups
                .get_or_insert_with(Vec::new)
                .extend(found.into_iter().map(|group| plain(group).to_owned()));
        }
        if let Some(list) = &mut groups {
            list.sort_unstable();
            list.dedup();
            // What decides is kept first, so that the bound can never cost anybody their rights.
            if list.len() > GROUPS_LIMIT {
                list.sort_by_key(|group| {
                    !(self.user_groups.contains(group) || self.admin_groups.contains(group))
                });
                list.truncate(GROUPS_LIMIT);
            }
        }
        Ok(groups)
    }

    /// Whether somebody with these groups may use MLflow at all. Names are compared whole, never as substrings.
    ///
    /// # Errors
    /// `groups_missing`, `group_required`.
    pub fn admit(&self, groups: Option<&[String]>) -> Result<()> {
        if self.user_groups.is_empty() {
            return Ok(());
        }
        let wanted = || format!("membership of {}", self.user_groups.join(" or "));
        let Some(groups) = groups else {
            return Err(Error::new(
                Code::GroupsMissing,
                format!(
                    "{}, told by the claim {} (OIDC_GROUPS_CLAIM)",
                    wanted(),
                    self.groups_claims.join(" or ")
                ),
                "no such claim",
            ));
        };
        if groups.iter().any(|group| self.user_groups.contains(group) || self.admin_groups.contains(group)) {
            return Ok(());
        }
        Err(Error::new(Code::GroupRequired, wanted(), format!("{} other groups", groups.len())))
    }

    /// Whether these groups make an administrator; `None` changes nothing: no groups claim, or no admin group configured.
    pub fn is_admin(&self, groups: Option<&[String]>) -> Option<bool> {
        if self.admin_groups.is_empty() {
            return None;
        }
        groups.map(|groups| groups.iter().any(|group| self.admin_groups.contains(group)))
    }
}

/// A group's name as it is compared: Keycloak's full paths begin with `/`.
pub fn plain(group: &str) -> &str {
    group.strip_prefix('/').unwrap_or(group)
}

fn groups_fault(name: &str, found: Option<&Value>) -> Error {
    Error::new(
        Code::TokenClaim,
        format!("the claim {} as a list of texts", quote(name)),
        claims::describe(found),
    )
}
