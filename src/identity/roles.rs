//! Which of MLflow's roles somebody's groups give, and what has to change for MLflow's rows to say so (`[oidc:roles]`).

use super::plain;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// What the names of our roles begin with in MLflow. It alone says whose a role is: with no mark kept elsewhere, none can be
/// lost, and whoever looks at MLflow's own pages sees which roles are not for changing by hand.
pub const PREFIX: &str = "oidc:";
/// What the descriptions of our roles begin with.
const MARK: &str = "Made by mlflow-oidc from [oidc:roles]";
/// The size of MLflow's column for descriptions, in characters.
const DESCRIPTION_LIMIT: usize = 1_024;

/// A role as MLflow has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName {
    /// The workspace it is of.
    pub workspace: String,
    /// Its name there, with [`PREFIX`].
    pub name: String,
}

impl RoleName {
    /// A role of ours by the name in the settings.
    pub fn ours(workspace: &str, name: &str) -> Self {
        Self { workspace: workspace.to_owned(), name: format!("{PREFIX}{name}") }
    }
}

/// As it stands in the settings: `research/scientists`.
impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workspace, self.name.strip_prefix(PREFIX).unwrap_or(&self.name))
    }
}

/// What a grant is about: the kind of the resource, and `*` or which one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// `experiment`, `registered_model` and so on.
    pub kind: String,
    /// `*`, or the id of one.
    pub pattern: String,
}

/// A name of groups with `*` for any text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// Reads one; a leading `/` means nothing, as in the names of groups.
    pub fn new(text: &str) -> Self {
        Self(plain(text).to_owned())
    }

    /// The one group it means, if it has no `*`.
    fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&*self.0)
    }

    /// Whether a group is meant, compared whole.
    pub fn matches(&self, group: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == group };
        let Some(mut left) = group.strip_prefix(first) else { return false };
        let mut parts: Vec<&str> = rest.split('*').collect();
        let last = parts.pop().unwrap_or_default();
        // Each part as early as it can be: the later ones then have the most room.
        for part in parts {
            match left.find(part) {
                Some(at) => left = &left[at + part.len()..],
                None => return false,
            }
        }
        left.ends_with(last)
    }
}

/// Who has a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Members {
    /// Everybody who is let in.
    Everyone,
    /// The members of these groups.
    Group(Pattern),
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("everyone"),
            Self::Group(pattern) => write!(f, "group {}", pattern.0),
        }
    }
}

/// A role of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// Who has it.
    pub members: BTreeSet<Members>,
    /// The permission on each resource.
    pub grants: BTreeMap<Resource, String>,
}

impl Role {
    /// What MLflow's pages tell of it.
    fn description(&self) -> String {
        let members: Vec<String> = self.members.iter().map(ToString::to_string).collect();
        let text = format!("{MARK} for {}; changes by hand do not last.", members.join(", "));
        // A database in latin1 refuses others, or keeps '?' and never says what it was given.
        let text: String = text.chars().flat_map(ascii).collect();
        if text.len() <= DESCRIPTION_LIMIT {
            return text;
        }
        text.chars().take(DESCRIPTION_LIMIT - 3).chain("...".chars()).collect()
    }
}

/// A character by itself, or by its number: `\u{e9}`.
fn ascii(c: char) -> impl Iterator<Item = char> {
    let (itself, number) = if c.is_ascii() { (Some(c), None) } else { (None, Some(c.escape_unicode())) };
    itself.into_iter().chain(number.into_iter().flatten())
}

/// Why somebody has a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why<'a> {
    /// Everybody has it.
    Everyone,
    /// By this group.
    Group(&'a str),
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("everyone"),
            Self::Group(group) => write!(f, "group {group}"),
        }
    }
}

/// A role of ours as it is in MLflow now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: RoleName,
    /// Its description.
    pub description: String,
    /// The permission on each resource.
    pub grants: BTreeMap<Resource, String>,
}

impl Kept {
    /// Whether we have made it: somebody may have called a role of their own `oidc:something`.
    pub fn is_made_here(&self) -> bool {
        self.description.starts_with(MARK)
    }
}

/// One thing to do. Each says what is to be, not what is to be different, so that doing it twice, or two doing it, ends in
/// the same state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The role is to be there, with this description.
    Create(RoleName, String),
    /// It is to have this description.
    Describe(RoleName, String),
    /// It is to grant this permission.
    Grant(RoleName, Resource, String),
    /// It is to grant nothing on this resource; the permission is the one that goes.
    Revoke(RoleName, Resource, String),
    /// Neither it nor anything of it is to be there.
    Delete(RoleName),
    /// The user of that number is to have it, who has to have that name as well: numbers are given away again.
    Assign(RoleName, i64, String),
    /// The user of that number is not to have it.
    Unassign(RoleName, i64),
}

impl Change {
    /// The role it is about.
    pub const fn role(&self) -> &RoleName {
        match self {
            Self::Create(role, _)
            | Self::Describe(role, _)
            | Self::Grant(role, ..)
            | Self::Revoke(role, ..)
            | Self::Delete(role)
            | Self::Assign(role, ..)
            | Self::Unassign(role, _) => role,
        }
    }
}

/// The roles of the settings.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    roles: Vec<Role>,
    /// By the name of a group that is written out: somebody may be in hundreds of them.
    by_group: HashMap<String, Vec<usize>>,
    patterns: Vec<(Pattern, usize)>,
    everyone: Vec<usize>,
}

impl Roles {
    /// Takes what the settings say.
    pub fn new(roles: Vec<Role>) -> Self {
        let mut new = Self { roles, ..Self::default() };
        for (index, role) in new.roles.iter().enumerate() {
            for members in &role.members {
                match members {
                    Members::Everyone => new.everyone.push(index),
                    Members::Group(pattern) => match pattern.exact() {
                        Some(group) => new.by_group.entry(group.to_owned()).or_default().push(index),
                        None => new.patterns.push((pattern.clone(), index)),
                    },
                }
            }
        }
        new
    }

    /// All of them.
    pub fn all(&self) -> &[Role] {
        &self.roles
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.roles.is_empty()
    }

    /// Whether any group gives a role.
    pub fn ask_for_groups(&self) -> bool {
        !(self.by_group.is_empty() && self.patterns.is_empty())
    }

    /// Of some groups those that give a role, one for each role at least: the others add nothing.
    pub fn deciding(&self, groups: &[String]) -> BTreeSet<String> {
        let by_group = self.of(groups).into_values().filter_map(|why| match why {
            Why::Everyone => None,
            Why::Group(group) => Some(group.to_owned()),
        });
        by_group.collect()
    }

    /// The roles of somebody who is let in, each with the reason.
    pub fn of<'a>(&'a self, groups: &'a [String]) -> BTreeMap<&'a RoleName, Why<'a>> {
        let mut found = BTreeMap::new();
        let mut add = |index: usize, why| {
            found.entry(&self.roles[index].name).or_insert(why);
        };
        for index in &self.everyone {
            add(*index, Why::Everyone);
        }
        for group in groups {
            for index in self.by_group.get(group).into_iter().flatten() {
                add(*index, Why::Group(group));
            }
            for (pattern, index) in &self.patterns {
                if pattern.matches(group) {
                    add(*index, Why::Group(group));
                }
            }
        }
        found
    }

    /// What has to change for the roles and grants in MLflow to be those of the settings. What takes comes first: to a database
    /// that does not tell capitals apart, a role that goes may have the name of one that comes.
    ///
    /// Without any role in the settings only those go that we have made: nobody has said that the names are ours here.
    pub fn changes(&self, there: &[Kept]) -> Vec<Change> {
        let mut coming = Vec::new();
        let mut changes = Vec::new();
        let there: BTreeMap<&RoleName, &Kept> = there.iter().map(|kept| (&kept.name, kept)).collect();
        let wanted: BTreeMap<&RoleName, &Role> = self.roles.iter().map(|role| (&role.name, role)).collect();
        let none = BTreeMap::new();
        for (name, role) in &wanted {
            let kept = there.get(name);
            let description = role.description();
            match kept {
                None => coming.push(Change::Create((*name).clone(), description)),
                Some(kept) if kept.description != description => {
                    coming.push(Change::Describe((*name).clone(), description));
                }
                Some(_) => {}
            }
            let granted = kept.map_or(&none, |kept| &kept.grants);
            for (resource, permission) in &role.grants {
                if granted.get(resource) != Some(permission) {
                    coming.push(Change::Grant((*name).clone(), resource.clone(), permission.clone()));
                }
            }
            for (resource, permission) in granted {
                if !role.grants.contains_key(resource) {
                    changes.push(Change::Revoke((*name).clone(), resource.clone(), permission.clone()));
                }
            }
        }
        let gone = there.iter().filter(|(name, _)| !wanted.contains_key(*name));
        let gone = gone.filter(|(_, kept)| !self.is_empty() || kept.is_made_here());
        changes.extend(gone.map(|(name, _)| Change::Delete((*name).clone())));
        changes.append(&mut coming);
        changes
    }

    /// What has to change for a user of MLflow's to have the roles that these groups give; `None` for somebody who is not let
    /// in, and has none. `has` are the roles of ours that the user has.
    pub fn assignments(
        &self,
        groups: Option<&[String]>,
        has: &[RoleName],
        (user_id, username): (i64, &str),
    ) -> Vec<Change> {
        let wanted = groups.map(|groups| self.of(groups)).unwrap_or_default();
        let has: BTreeSet<&RoleName> = has.iter().collect();
        let missing = wanted.keys().filter(|name| !has.contains(*name));
        let ending = has.iter().filter(|name| !wanted.contains_key(*name));
        let mut changes: Vec<Change> =
            ending.map(|name| Change::Unassign((*name).clone(), user_id)).collect();
        changes.extend(missing.map(|name| Change::Assign((*name).clone(), user_id, username.to_owned())));
        changes
    }
}
