//! `[oidc:roles]`: what is read means what is written, and what it changes is changed once.

use super::told;
use mlflow_oidc::config::grants::release;
use mlflow_oidc::config::{Facts, Raw, parse};
use mlflow_oidc::identity::roles::{Change, Kept, Members, PREFIX, Pattern, Role, RoleName, Roles};
use std::collections::{BTreeMap, BTreeSet};

/// What stands between the parts of an input.
const CUT: &str = "\n---\n";
/// More roles or groups than this show nothing new, and the longer ones are slow.
const MANY: usize = 50;

/// One input: the version of MLflow, the text of the settings, the text of those that were in force before, and groups, a line
/// each. Only the first two have to be there.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut parts = text.split(CUT);
    let version = parts.next().unwrap_or_default();
    let Some(roles) = read(version, parts.next().unwrap_or_default(), input) else { return };
    well_formed(&roles);
    let again = read(version, &written(&roles), &[]);
    assert_eq!(again.as_ref().map(Roles::all), Some(sorted(&roles).all()), "written out and read again");

    let before = parts.next().and_then(|text| read("", text, &[])).unwrap_or_default();
    settle(&roles, &before);
    let groups: Vec<String> =
        parts.next().unwrap_or_default().lines().take(MANY).map(str::to_owned).collect();
    give(&roles, &before, &groups);
}

/// The roles of a text, as the whole settings are read; `None` after a look at what its faults tell.
fn read(version: &str, text: &str, input: &[u8]) -> Option<Roles> {
    let given = [
        ("OIDC_ISSUER_URL", "https://idp.example"),
        ("OIDC_CLIENT_ID", "mlflow"),
        ("OIDC_CLIENT_SECRET", "sixteen-bytes-and-more"),
        ("OIDC_ROLES", text),
    ];
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let raw = Raw::gather(given, Vec::new(), |_| Err("no files here".to_owned()));
    let facts = Facts { mlflow: release(version), workspaces: true, ..Facts::default() };
    match parse(&raw, &facts) {
        Ok(config) => Some(config.rules.roles).filter(|roles| roles.all().len() <= MANY),
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a fault");
            for fault in faults {
                assert!(!fault.expected.is_empty() && !fault.found.is_empty(), "an empty fault");
                // The name of its role stands there as it is, and all kinds of resources, which are long words.
                told::line(&fault.key, &[]);
                told::line(&fault.expected, &[]);
                told::line(&fault.found, input);
            }
            None
        }
    }
}

/// What must hold of every role, whatever MLflow or its database make of names.
fn well_formed(roles: &Roles) {
    let mut names = BTreeSet::new();
    for role in roles.all() {
        let RoleName { workspace, name } = &role.name;
        let own = name.strip_prefix(PREFIX).unwrap_or_default();
        assert!(!own.is_empty() && name.len() <= 255, "{name:?}");
        assert!(own.bytes().all(|byte| byte.is_ascii_graphic() && !b"/=*'\"\\".contains(&byte)), "{name:?}");
        assert!(workspace.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'), "{workspace:?}");
        assert!(names.insert((workspace, name.to_ascii_lowercase())), "twice: {name:?}");
        assert!(!role.members.is_empty() && !role.grants.is_empty(), "{role:?} is nobody's or for nothing");
        for (resource, permission) in &role.grants {
            assert!(["READ", "USE", "EDIT", "MANAGE", "DENY"].contains(&&**permission), "{permission:?}");
            let pattern = &*resource.pattern;
            assert!(pattern == "*" || (!pattern.is_empty() && !pattern.contains('*')), "{pattern:?}");
            assert_eq!(pattern, pattern.trim(), "MLflow compares it whole");
        }
    }
}

/// In the order of their names, which is the one that `written` has.
fn sorted(roles: &Roles) -> Roles {
    let mut all = roles.all().to_vec();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Roles::new(all)
}

/// The text that says the same.
fn written(roles: &Roles) -> String {
    let mut lines = Vec::new();
    for Role { name, members, grants } in sorted(roles).all() {
        lines.push(format!("{name} ="));
        lines.extend(members.iter().map(|members| match members.to_string().strip_prefix("group ") {
            // One more leading '/' means nothing, and protects what would be read as something else.
            Some(group) if group.starts_with(['/', '=']) => format!("group /{group}"),
            _ => members.to_string(),
        }));
        lines.extend(
            grants
                .iter()
                .map(|(resource, permission)| format!("{} {} {permission}", resource.kind, resource.pattern)),
        );
    }
    lines.join("\n")
}

/// MLflow's rows after the settings `before` were carried out.
fn carried_out(before: &Roles) -> Vec<Kept> {
    let mut rows = BTreeMap::new();
    carry_out(&before.changes(&[]), &mut rows);
    rows.into_values().collect()
}

fn carry_out(changes: &[Change], rows: &mut BTreeMap<RoleName, Kept>) {
    for change in changes {
        let name = change.role().clone();
        match change {
            Change::Create(_, description) => {
                let description = description.clone();
                let made = Kept { name: name.clone(), description, grants: BTreeMap::new() };
                assert!(rows.insert(name, made).is_none(), "made twice");
            }
            Change::Describe(_, description) => row(rows, &name).description.clone_from(description),
            Change::Grant(_, resource, permission) => {
                row(rows, &name).grants.insert(resource.clone(), permission.clone());
            }
            Change::Revoke(_, resource, permission) => {
                let gone = row(rows, &name).grants.remove(resource);
                assert_eq!(gone.as_ref(), Some(permission), "what goes was told wrongly");
            }
            Change::Delete(_) => assert!(rows.remove(&name).is_some(), "removed twice"),
            Change::Assign(..) | Change::Unassign(..) => panic!("nobody was asked about"),
        }
    }
}

fn row<'r>(rows: &'r mut BTreeMap<RoleName, Kept>, name: &RoleName) -> &'r mut Kept {
    rows.get_mut(name).unwrap_or_else(|| panic!("a change of a role that is not there: {name}"))
}

/// From whatever was there the rows become those of the settings, and then there is nothing left to do.
fn settle(roles: &Roles, before: &Roles) {
    let there = carried_out(before);
    let mut rows: BTreeMap<RoleName, Kept> =
        there.iter().map(|kept| (kept.name.clone(), kept.clone())).collect();
    let changes = roles.changes(&there);
    let takes = |change: &Change| matches!(change, Change::Revoke(..) | Change::Delete(_));
    assert!(changes.is_sorted_by_key(|change| !takes(change)), "what takes comes first");
    carry_out(&changes, &mut rows);
    let wanted: BTreeMap<_, _> = roles.all().iter().map(|role| (&role.name, &role.grants)).collect();
    let got: BTreeMap<_, _> = rows.iter().map(|(name, kept)| (name, &kept.grants)).collect();
    assert_eq!(got, wanted);
    for kept in rows.values() {
        assert!(kept.is_made_here() && kept.description.is_ascii() && kept.description.len() <= 1024);
    }
    let rows: Vec<Kept> = rows.into_values().collect();
    assert!(roles.changes(&rows).is_empty(), "settled twice");
}

/// Who is in these groups gets the roles that say so and no others.
fn give(roles: &Roles, before: &Roles, groups: &[String]) {
    let given = roles.of(groups);
    for role in roles.all() {
        let is_meant = role.members.iter().any(|members| match members {
            Members::Everyone => true,
            Members::Group(_) => groups.iter().any(|group| is_in(members, group)),
        });
        assert_eq!(given.contains_key(&role.name), is_meant, "{}", role.name);
    }
    let deciding: Vec<String> = roles.deciding(groups).into_iter().collect();
    assert!(deciding.iter().all(|group| groups.contains(group)));
    assert!(roles.of(&deciding).keys().eq(given.keys()), "the groups that are kept give other roles");

    let mut has: BTreeSet<RoleName> = before.of(groups).into_keys().cloned().collect();
    let user = (7, "alice");
    for groups in [Some(groups), None] {
        let held: Vec<RoleName> = has.iter().cloned().collect();
        for change in roles.assignments(groups, &held, user) {
            match change {
                Change::Assign(role, 7, name) => assert!(name == "alice" && has.insert(role)),
                Change::Unassign(role, 7) => assert!(has.remove(&role)),
                other => panic!("{other:?} is about nobody"),
            }
        }
        let wanted: BTreeSet<RoleName> =
            groups.map(|groups| roles.of(groups).into_keys().cloned().collect()).unwrap_or_default();
        assert_eq!(has, wanted);
    }
}

/// What a pattern means, slowly: each `*` is any text.
fn is_in(members: &Members, group: &str) -> bool {
    let text = members.to_string();
    let Some(pattern) = text.strip_prefix("group ") else { return false };
    let is = meant(pattern.as_bytes(), group.as_bytes());
    // A leading '/' was taken off when the settings were read; here there is none to take.
    if !pattern.starts_with('/') {
        assert_eq!(Pattern::new(pattern).matches(group), is, "{pattern:?} and {group:?}");
    }
    is
}

fn meant(pattern: &[u8], group: &[u8]) -> bool {
    // Row by row: which beginnings of the group the pattern so far means.
    let mut ends: Vec<bool> = (0..=group.len()).map(|end| end == 0).collect();
    for part in pattern {
        if *part == b'*' {
            let first = ends.iter().position(|is| *is).unwrap_or(ends.len());
            ends.iter_mut().skip(first).for_each(|is| *is = true);
        } else {
            ends = (0..=group.len()).map(|end| end > 0 && ends[end - 1] && group[end - 1] == *part).collect();
        }
    }
    ends.last().copied().unwrap_or(false)
}
