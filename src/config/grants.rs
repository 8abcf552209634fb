//! What a role of MLflow's can grant, by version: the table of kinds of resources, and the rules of one grant.

use super::nearest::nearest;
use crate::error::quote;
use crate::identity::roles::Resource;

/// A version of MLflow.
pub type Release = (u32, u32, u32);

/// The first version that has roles.
pub const ROLES_SINCE: Release = (3, 12, 0);
/// The first version in which a grant can forbid.
const DENY_SINCE: Release = (3, 17, 0);
/// The size of MLflow's column, in characters.
const PATTERN_LIMIT: usize = 255;

const ALL: &[&str] = &["READ", "USE", "EDIT", "MANAGE", "DENY"];

/// A kind of resource.
struct Kind {
    name: &'static str,
    /// The first version that knows it.
    since: Release,
    /// Whether a grant can be about a single one. The others can only be granted all at once.
    single: bool,
    /// What can be granted. MLflow 3.12 took more on the workspace, and 3.13 refused it: what is here goes on working.
    permissions: &'static [&'static str],
}

macro_rules! kinds {
    ($($name:literal $since:expr, $single:literal, $permissions:expr;)*) => {
        const KINDS: &[Kind] = &[$(Kind {
            name: $name, since: $since, single: $single, permissions: $permissions,
        },)*];
    };
}

// mlflow/server/auth/permissions.py of 3.12.0, 3.13.0, 3.14.0, 3.15.2, 3.16.1, 3.17.2 and 3.18.0.
kinds! {
    "workspace" ROLES_SINCE, false, &["USE", "MANAGE"];
    "experiment" ROLES_SINCE, true, ALL;
    "registered_model" ROLES_SINCE, true, ALL;
    "scorer" ROLES_SINCE, true, ALL;
    "gateway_secret" ROLES_SINCE, true, ALL;
    "gateway_endpoint" ROLES_SINCE, true, ALL;
    "gateway_model_definition" ROLES_SINCE, true, ALL;
    "prompt" (3, 13, 0), true, ALL;
    "mcp_server" (3, 15, 0), true, ALL;
    "run" (3, 17, 0), false, ALL;
    "trace" (3, 17, 0), false, ALL;
    "assessment" (3, 17, 0), false, ALL;
    "logged_model" (3, 17, 0), false, ALL;
    "review_queue" (3, 17, 0), false, ALL;
    "registered_model_version" (3, 17, 0), false, ALL;
    "prompt_version" (3, 17, 0), false, ALL;
    "scorer_version" (3, 17, 0), false, ALL;
    "mcp_server_version" (3, 17, 0), false, ALL;
    "skill" (3, 18, 0), true, &["READ", "EDIT", "MANAGE", "DENY"];
}

/// The three numbers of `3.17.2`; nothing for what is no whole release.
pub fn release(version: &str) -> Option<Release> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    let found = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(found)
}

/// Reads `experiment * EDIT`. The pattern may hold spaces, as the names of models do.
///
/// # Errors
/// (what is expected, what was found), in words.
pub fn read(line: &str, mlflow: Option<Release>) -> Result<(Resource, String), (String, String)> {
    let form = || ("'group NAME', 'everyone' or 'RESOURCE PATTERN PERMISSION'".to_owned(), quote(line));
    let (kind_name, rest) = line.split_once(char::is_whitespace).ok_or_else(form)?;
    let names = || KINDS.iter().map(|kind| kind.name);
    let Some(kind) = KINDS.iter().find(|kind| kind.name == kind_name) else {
        let words = names().chain(["group", "everyone"]);
        let hint = nearest(&kind_name.to_ascii_lowercase(), words).map(did_you_mean).unwrap_or_default();
        let all: Vec<&str> = names().collect();
        let expected = format!("'group', 'everyone' or a resource ({}){hint}", all.join(", "));
        return Err((expected, format!("{} in {}", quote(kind_name), quote(line))));
    };
    let (pattern, permission) = rest.trim().rsplit_once(char::is_whitespace).ok_or_else(form)?;
    let pattern = pattern.trim();
    check_permission(kind, permission, line)?;
    check_pattern(kind, pattern, line)?;
    // An older MLflow than any with roles is another matter: nothing is carried out there, which is said at start.
    let too_new = |since: Release| mlflow.is_some_and(|mlflow| ROLES_SINCE <= mlflow && mlflow < since);
    let version = |since: Release, found: &str| {
        let expected = format!("MLflow {}.{}.{} or later for {found}", since.0, since.1, since.2);
        let (major, minor, patch) = mlflow.unwrap_or_default();
        Err((expected, format!("MLflow {major}.{minor}.{patch} and {}", quote(line))))
    };
    if too_new(kind.since) {
        return version(kind.since, kind.name);
    }
    if permission == "DENY" && too_new(DENY_SINCE) {
        return version(DENY_SINCE, "DENY");
    }
    let resource = Resource { kind: kind.name.to_owned(), pattern: pattern.to_owned() };
    Ok((resource, permission.to_owned()))
}

fn did_you_mean(near: &str) -> String {
    format!(", did you mean {near}?")
}

fn check_permission(kind: &Kind, permission: &str, line: &str) -> Result<(), (String, String)> {
    if kind.permissions.contains(&permission) {
        return Ok(());
    }
    let near = nearest(&permission.to_ascii_uppercase(), kind.permissions.iter().copied());
    let hint = near.map(did_you_mean).unwrap_or_default();
    let expected = format!("{} on {}{hint}", kind.permissions.join(", "), kind.name);
    Err((expected, format!("{} in {}", quote(permission), quote(line))))
}

/// MLflow compares a pattern with the whole id. One that can never be equal to any would give nobody anything, or forbid nobody.
fn check_pattern(kind: &Kind, pattern: &str, line: &str) -> Result<(), (String, String)> {
    let fault = |expected: String| Err((expected, format!("{} in {}", quote(pattern), quote(line))));
    if pattern == "*" {
        return Ok(());
    }
    if !kind.single {
        return fault(format!("'*' on {}, which MLflow only grants all at once", kind.name));
    }
    if pattern.contains('*') {
        return fault(format!("'*' alone, or one {}: MLflow knows no parts of names", kind.name));
    }
    if pattern.chars().count() > PATTERN_LIMIT {
        return fault(format!("at most {PATTERN_LIMIT} characters"));
    }
    let is_number =
        pattern == "0" || (!pattern.starts_with('0') && pattern.bytes().all(|byte| byte.is_ascii_digit()));
    if kind.name == "experiment" && !is_number {
        return fault("'*', or the number of an experiment (its id, not its name)".to_owned());
    }
    Ok(())
}
