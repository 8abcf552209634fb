//! From the text of `[oidc:roles]` to roles, or to every fault in it.

use super::Facts;
use super::grants::{self, Release};
use crate::error::quote;
use crate::identity::roles::{Members, PREFIX, Pattern, Role, RoleName, Roles};
use std::collections::{BTreeMap, BTreeSet};

/// The size of MLflow's column for names, in characters.
const NAME_LIMIT: usize = 255 - PREFIX.len();
/// What MLflow asks of the name of a workspace (`WorkspaceNameValidator`): its length, and names that are paths.
const WORKSPACE_LENGTH: std::ops::RangeInclusive<usize> = 2..=63;
const WORKSPACE_RESERVED: [&str; 4] = ["workspaces", "api", "ajax-api", "static-files"];
/// Where a role is that names no workspace, and where all are while workspaces are off.
pub const DEFAULT_WORKSPACE: &str = "default";
/// The longest name of a group, in bytes.
const GROUP_LIMIT: usize = 1_024;

/// A fault: in which role, what is expected, what was found.
pub type RoleFault = (Option<String>, String, String);

/// Reads the whole text:
///
/// ```text
/// WORKSPACE/ROLE =
///     group PATTERN
///     everyone
///     RESOURCE PATTERN PERMISSION
/// ```
///
/// Space at the beginning of a line means nothing; lines that begin with `#` or `;` are comments.
///
/// # Errors
/// All of them, in the order of the text.
pub fn parse(text: &str, mlflow: Option<Release>) -> Result<Roles, Vec<RoleFault>> {
    let mut reader = Reader { mlflow, drafts: Vec::new(), faults: Vec::new() };
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        // The name of a role has no space in it, and every other line with '=' in it has one before: names of groups may
        // have both ('group CN=ml,DC=example').
        match line.split_once('=') {
            Some((name, rest)) if is_one_word(name.trim()) => {
                reader.begin(name.trim());
                if !rest.trim().is_empty() {
                    reader.line(rest.trim());
                }
            }
            _ => reader.line(line),
        }
    }
    reader.end()
}

/// What can be carried out and will do nothing.
pub fn warnings(roles: &Roles, facts: &Facts) -> Vec<String> {
    let idle = roles.all().iter().map(|role| &role.name);
    let mut idle = idle.filter(|name| !facts.workspaces && name.workspace != DEFAULT_WORKSPACE);
    let Some(first) = idle.next() else { return Vec::new() };
    let count = 1 + idle.count();
    vec![format!(
        "{count} of the roles of [oidc:roles] ({first} first) give nothing: they are of other workspaces than \
         'default', and MLFLOW_ENABLE_WORKSPACES is not set"
    )]
}

fn is_one_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

/// A role while its lines are read.
struct Draft {
    written: String,
    role: Role,
    /// Whether a line of it could not be read: then nothing is said of lines that seem to be missing.
    faulty: bool,
}

struct Reader {
    mlflow: Option<Release>,
    drafts: Vec<Draft>,
    faults: Vec<RoleFault>,
}

impl Reader {
    fn begin(&mut self, written: &str) {
        let (workspace, name) = written.split_once('/').unwrap_or((DEFAULT_WORKSPACE, written));
        let role =
            Role { name: RoleName::ours(workspace, name), members: BTreeSet::new(), grants: BTreeMap::new() };
        self.drafts.push(Draft { written: written.to_owned(), role, faulty: false });
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > NAME_LIMIT || !name.chars().all(allowed) {
            let expected =
                format!("ROLE or WORKSPACE/ROLE, a role of 1 to {NAME_LIMIT} of A-Z a-z 0-9 . _ -");
            self.fault(&expected, &quote(name));
        }
        let in_workspace = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !WORKSPACE_LENGTH.contains(&workspace.len())
            || !workspace.chars().all(in_workspace)
            || workspace.starts_with('-')
            || workspace.ends_with('-')
            || WORKSPACE_RESERVED.contains(&workspace)
        {
            self.fault(
                "a workspace as MLflow names them: 2 to 63 of a-z 0-9 -, no '-' at an end, no path that MLflow has",
                &quote(workspace),
            );
        }
    }

    fn line(&mut self, line: &str) {
        let Some(draft) = self.drafts.last_mut() else {
            self.faults.push((None, "'ROLE =' or 'WORKSPACE/ROLE =' first".to_owned(), quote(line)));
            return;
        };
        let mut words = line.splitn(2, char::is_whitespace);
        let first = words.next().unwrap_or_default();
        let rest = words.next().unwrap_or_default().trim();
        match first {
            "everyone" if rest.is_empty() => {
                draft.role.members.insert(Members::Everyone);
            }
            "group" if rest.trim_matches('/').is_empty() || rest.len() > GROUP_LIMIT => {
                let expected = format!("'group' and a name of 1 to {GROUP_LIMIT} bytes");
                self.fault(&expected, &quote(line));
            }
            // The '/' means nothing in the name of a group, and whoever wrote this may have thought of a folder.
            "group" if rest.starts_with('/') && rest.trim_matches('/').bytes().all(|byte| byte == b'*') => {
                self.fault("a group, or 'group *' for whoever is in any at all", &quote(line));
            }
            "group" => {
                draft.role.members.insert(Members::Group(Pattern::new(rest)));
            }
            _ => match grants::read(line, self.mlflow) {
                Err((expected, found)) => self.fault(&expected, &found),
                Ok((resource, permission)) => {
                    if let Some(other) = draft.role.grants.insert(resource, permission) {
                        self.fault(
                            "each resource once in a role",
                            &format!("{other} as well as {}", quote(line)),
                        );
                    }
                }
            },
        }
    }

    /// A fault of the role whose lines are being read.
    fn fault(&mut self, expected: &str, found: &str) {
        let role = self.drafts.last_mut().map(|draft| {
            draft.faulty = true;
            draft.written.clone()
        });
        self.faults.push((role, expected.to_owned(), found.to_owned()));
    }

    fn end(mut self) -> Result<Roles, Vec<RoleFault>> {
        let mut names: BTreeMap<(String, String), String> = BTreeMap::new();
        for draft in &self.drafts {
            let mut fault = |expected: &str, found: &str| {
                self.faults.push((Some(draft.written.clone()), expected.to_owned(), found.to_owned()));
            };
            // Capitals do not count: there are databases to which two such names are one.
            let RoleName { workspace, name } = &draft.role.name;
            let key = (workspace.to_ascii_lowercase(), name.to_ascii_lowercase());
            if let Some(other) = names.insert(key, draft.written.clone()) {
                fault("each role once (capitals do not count)", &format!("{} as well", quote(&other)));
            }
            if draft.role.members.is_empty() && !draft.faulty {
                fault("somebody who has the role: 'group NAME' or 'everyone'", "nobody");
            }
            // A role alone, without a grant, opens the workspace to be seen: that is to be said ('workspace * USE').
            if draft.role.grants.is_empty() && !draft.faulty {
                fault("a grant, such as 'experiment * READ'", "none");
            }
        }
        if self.drafts.is_empty() && self.faults.is_empty() {
            self.faults.push((None, "'ROLE =' and its lines".to_owned(), "nothing but comments".to_owned()));
        }
        if self.faults.is_empty() {
            Ok(Roles::new(self.drafts.into_iter().map(|draft| draft.role).collect()))
        } else {
            Err(self.faults)
        }
    }
}
