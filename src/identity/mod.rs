//! Claims become an identity: who it is, under which name MLflow knows them, which groups they are in.

mod groups;
pub mod roles;
mod username;

pub use groups::too_many as too_many_groups;

use crate::error::{Code, Error, Result, quote};
use crate::jose::Object;
use crate::oidc::claims;
use crate::secret::sha256;
use serde_json::Value;
use std::sync::Arc;

/// More groups than this are not kept; no membership that decides anything is lost, see [`Rules::bounded`].
const GROUPS_LIMIT: usize = 10_000;

/// Where the claims are and what they mean, from the settings.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The claims that name the user; the first that is there does (`OIDC_USERNAME_CLAIM`).
    pub username_claims: Vec<String>,
    /// The claims that tell people apart for good; the first that is there does (`OIDC_SUBJECT_CLAIM`).
    pub subject_claims: Vec<String>,
    /// The claims that hold groups, in order (`OIDC_GROUPS_CLAIM`).
    pub groups_claims: Vec<String>,
    /// Groups whose members may use MLflow (`OIDC_USER_GROUP`); empty lets everybody in whom the provider lets in.
    pub user_groups: Vec<String>,
    /// Groups whose members are MLflow administrators (`OIDC_ADMIN_GROUP`); empty leaves the flag alone.
    pub admin_groups: Vec<String>,
    /// The roles of MLflow's that groups give (`[oidc:roles]`).
    pub roles: roles::Roles,
}

/// Somebody the provider vouches for. `(issuer, subject)` is who it is; the rest may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The provider's own name, by whichever of its names the token was issued.
    pub issuer: String,
    /// `sub`, or what `OIDC_SUBJECT_CLAIM` names.
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
    /// Reads the identity out of claims whose token of this issuer has been verified and checked.
    ///
    /// # Errors
    /// `token_subject`, `username_missing`, `username_invalid`, `email_unverified`, `token_claim`, `groups_overage`.
    pub fn identify(&self, issuer: &str, claims: &Object) -> Result<Statement> {
        self.statement(issuer, claims, || self.username(claims))
    }

    /// The same of somebody whose user name is settled: what names them may be missing.
    ///
    /// # Errors
    /// `token_subject`, `email_unverified`, `token_claim`, `groups_overage`.
    pub fn identify_again(&self, issuer: &str, claims: &Object, username: &str) -> Result<Statement> {
        self.statement(issuer, claims, || Ok(username.to_owned()))
    }

    fn statement(
        &self,
        issuer: &str,
        claims: &Object,
        username: impl FnOnce() -> Result<String>,
    ) -> Result<Statement> {
        // Google has no groups, and people are named by their address where groups are.
        if self.groups_claims.iter().any(|name| name == "email") && claims.contains_key("email") {
            check_vouched_for(claims)?;
        }
        let identity = Identity {
            issuer: issuer.to_owned(),
            subject: self.subject(claims)?.to_owned(),
            username: username()?,
            groups: groups::read(claims, &self.groups_claims)?.map(|groups| self.bounded(groups)),
        };
        if identity.groups.is_none()
            && self.groups_needed()
            && groups::overage(claims, &self.groups_claims).is_some()
        {
            return Err(groups::too_many("a reference to them ('_claim_names' or 'hasgroups')"));
        }
        let told_at = claims::optional_time(claims, "iat")?.unwrap_or(0);
        Ok(Statement { identity: Arc::new(identity), told_at })
    }

    /// The names of the claims that decide.
    pub fn claim_names(&self) -> Vec<&str> {
        self.username_claims.iter().chain(&self.groups_claims).map(String::as_str).collect()
    }

    /// Whether a claim is missing that decides: the one that names the user before all others, or the groups where membership
    /// means something.
    pub fn lacks(&self, claims: &Object) -> bool {
        let first = self.username_claims.get(..1).unwrap_or_default();
        none_of(first, claims) || (self.groups_decide() && self.lacks_groups(claims))
    }

    /// Whether no claim of groups is there.
    pub fn lacks_groups(&self, claims: &Object) -> bool {
        none_of(&self.groups_claims, claims)
    }

    /// Whether one of several claims of groups is missing, where groups decide: their groups are added up.
    pub fn lacks_some_groups(&self, claims: &Object) -> bool {
        self.groups_decide() && self.groups_claims.iter().any(|name| claims::lookup(claims, name).is_none())
    }

    /// The groups claim that a token only refers to, because it would be too long, where groups decide and it is not there
    /// itself. Another claim of groups may be.
    pub fn overage<'a>(&'a self, claims: &Object) -> Option<&'a str> {
        if self.groups_decide() { groups::overage(claims, &self.groups_claims) } else { None }
    }

    /// Whether nobody gets in without groups.
    pub fn groups_needed(&self) -> bool {
        !self.user_groups.is_empty()
    }

    /// Whether membership means anything: who gets in, who is an administrator, or who has which role.
    pub fn groups_decide(&self) -> bool {
        !(self.user_groups.is_empty() && self.admin_groups.is_empty()) || self.roles.ask_for_groups()
    }

    fn subject<'a>(&self, claims: &'a Object) -> Result<&'a str> {
        let there = self.subject_claims.iter().find(|name| claims.contains_key(*name));
        claims::subject(claims, there.or(self.subject_claims.last()).map_or("sub", String::as_str))
    }

    fn username(&self, claims: &Object) -> Result<String> {
        let mut names = self.username_claims.iter();
        let found = names.find_map(|name| Some((name, claims::lookup(claims, name)?)));
        let Some((name, Value::String(username))) = found else {
            return Err(Error::new(
                Code::UsernameMissing,
                format!(
                    "the claim {} as text (OIDC_USERNAME_CLAIM)",
                    quote(&self.username_claims.join(" or "))
                ),
                claims::describe(found.map(|(_, value)| value)),
            ));
        };
        if name == "email" {
            check_vouched_for(claims)?;
        } else if username.contains('@') && self.username_claims.iter().any(|known| known == "email") {
            // Whoever has no address and may choose the other claim at the provider would choose somebody's address.
            return Err(Error::new(
                Code::UsernameInvalid,
                format!("a name without '@' in {} (addresses come from 'email')", quote(name)),
                "one with '@'",
            ));
        }
        username::check(username)?;
        Ok(username.clone())
    }

    /// Sorted, each once, and at most so many.
    fn bounded(&self, mut groups: Vec<String>) -> Vec<String> {
        groups.sort_unstable();
        groups.dedup();
        // What decides is kept first, so that the bound can never cost anybody their rights.
        if groups.len() > GROUPS_LIMIT {
            let deciding = self.roles.deciding(&groups);
            groups.sort_by_key(|group| {
                !(self.user_groups.contains(group)
                    || self.admin_groups.contains(group)
                    || deciding.contains(group))
            });
            groups.truncate(GROUPS_LIMIT);
        }
        groups
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

fn none_of(names: &[String], claims: &Object) -> bool {
    names.iter().all(|name| claims::lookup(claims, name).is_none())
}

/// An address that the provider did not verify is whatever the user typed: it would make them anybody. Entra ID says the same
/// of an address by `xms_edov` (the attack on those who believe it all the same is called nOAuth).
///
/// # Errors
/// `email_unverified`.
fn check_vouched_for(claims: &Object) -> Result<()> {
    for name in ["email_verified", "xms_edov"] {
        let vouched = match claims.get(name) {
            None | Some(Value::Bool(true)) => true,
            Some(Value::String(text)) => text == "true" || (text == "1" && name == "xms_edov"),
            Some(Value::Number(number)) => name == "xms_edov" && number.as_i64() == Some(1),
            Some(_) => false,
        };
        if !vouched {
            let found = claims::describe(claims.get(name));
            return Err(Error::new(Code::EmailUnverified, format!("'{name}' true"), found));
        }
    }
    Ok(())
}
