//! What `mlflow-oidc roles plan` shows: all that would change, for whom and why. Nothing is read or written here.

use crate::identity::Rules;
use crate::identity::roles::{Change, Kept, RoleName, Roles};
use std::collections::BTreeMap;

/// Somebody whom a login has bound to a user of MLflow's.
#[derive(Clone, Debug)]
pub struct Known {
    /// The issuer they have signed in through.
    pub issuer: String,
    /// The name of the user.
    pub username: String,
    /// The number of the user.
    pub user_id: i64,
    /// The newest groups that the provider has told.
    pub groups: Option<Vec<String>>,
}

/// One change, and what a reader wants to know of it: for a grant the permission that it takes the place of, for a person
/// the name and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What is to be done.
    pub change: Change,
    /// The name of the user, or the permission that is there now; empty where there is none.
    pub before: String,
    /// Why; empty where the settings alone say so.
    pub why: String,
}

/// Everything that differs between the settings and what is there, first what takes and then what gives.
///
/// `assigned` are the users who have a role of ours, `users` the names of MLflow's users by their numbers. Only people of this
/// `issuer` can sign in; what another one has told of the groups of its people counts no more.
pub fn plan(
    rules: &Rules,
    issuer: &str,
    kept: &[Kept],
    assigned: &[(i64, RoleName)],
    users: &BTreeMap<i64, String>,
    known: &[Known],
) -> Vec<Planned> {
    let mut planned: Vec<Planned> =
        rules.roles.changes(kept).into_iter().map(|change| defined(change, kept)).collect();
    let mut has: BTreeMap<i64, Vec<RoleName>> = BTreeMap::new();
    // Without a role in the settings those that go are ours, and no others.
    let going: Vec<&RoleName> = planned.iter().map(|each| each.change.role()).collect();
    let ours = |role: &RoleName| !rules.roles.is_empty() || going.contains(&role);
    for (user, role) in assigned.iter().filter(|(_, role)| ours(role)) {
        has.entry(*user).or_default().push(role.clone());
    }
    let mut people = Vec::new();
    let mut others: BTreeMap<i64, &str> = BTreeMap::new();
    for person in known {
        // An account that was removed and made anew under the same name is somebody else's.
        if users.get(&person.user_id) != Some(&person.username) {
            continue;
        }
        if person.issuer != issuer {
            others.insert(person.user_id, &person.issuer);
            continue;
        }
        let has = has.remove(&person.user_id).unwrap_or_default();
        people.extend(of_person(rules, person, &has));
    }
    // Whoever is left has been given a role of ours by hand, or by another provider.
    for (user, roles) in has {
        let username = users.get(&user).map_or("a user who is not there", String::as_str);
        people.extend(roles.into_iter().map(|role| Planned {
            change: Change::Unassign(role, user),
            before: username.to_owned(),
            why: others.get(&user).map_or_else(
                || "nobody has signed in as them".to_owned(),
                |other| format!("signed in through {other}, which is not the issuer of the settings"),
            ),
        }));
    }
    planned.append(&mut people);
    planned.sort_by_key(|each| (!takes(&each.change), is_personal(&each.change)));
    planned
}

fn of_person(rules: &Rules, person: &Known, has: &[RoleName]) -> Vec<Planned> {
    let let_in = rules.admit(person.groups.as_deref()).is_ok();
    let groups = let_in.then(|| person.groups.as_deref().unwrap_or_default());
    let reasons = groups.map(|groups| rules.roles.of(groups)).unwrap_or_default();
    let changes = rules.roles.assignments(groups, has, (person.user_id, &person.username));
    let explain = |change: Change| {
        let why = match &change {
            Change::Assign(role, ..) => reasons.get(role).map(ToString::to_string).unwrap_or_default(),
            Change::Unassign(role, _) => ends(&rules.roles, role, let_in).to_owned(),
            _ => String::new(),
        };
        Planned { change, before: person.username.clone(), why }
    };
    changes.into_iter().map(explain).collect()
}

fn ends(roles: &Roles, role: &RoleName, let_in: bool) -> &'static str {
    if !roles.all().iter().any(|known| &known.name == role) {
        "the role goes"
    } else if let_in {
        "in none of its groups"
    } else {
        "in no group that is let in"
    }
}

fn defined(change: Change, kept: &[Kept]) -> Planned {
    let before = match &change {
        Change::Grant(role, on, _) => {
            kept.iter().find(|kept| &kept.name == role).and_then(|kept| kept.grants.get(on))
        }
        Change::Describe(role, _) => {
            kept.iter().find(|kept| &kept.name == role).map(|kept| &kept.description)
        }
        _ => None,
    };
    let before = before.cloned().unwrap_or_default();
    Planned { change, before, why: String::new() }
}

fn takes(change: &Change) -> bool {
    matches!(change, Change::Revoke(..) | Change::Delete(_) | Change::Unassign(..))
}

fn is_personal(change: &Change) -> bool {
    matches!(change, Change::Assign(..) | Change::Unassign(..))
}
