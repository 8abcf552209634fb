//! `[oidc:roles]`: what can be said, and that every fault is told at once, with the role and the line.

use crate::support::{facts, parse, resource};
use mlflow_oidc::config::grants::release;
use mlflow_oidc::config::{Config, Facts, roles};
use mlflow_oidc::identity::roles::{RoleName, Why};

fn read(text: &str, version: &str) -> Result<Config, Vec<String>> {
    let facts = Facts { mlflow: release(version), ..facts() };
    parse(&[("OIDC_ROLES", text)], &facts).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// The one fault of a text.
fn fault(text: &str, version: &str) -> String {
    let faults = read(text, version).unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults.into_iter().next().unwrap()
}

fn groups(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The roles that somebody in these groups has, as in the settings.
fn given(config: &Config, names: &[&str]) -> Vec<String> {
    config.rules.roles.of(&groups(names)).into_keys().map(ToString::to_string).collect()
}

#[test]
fn a_role_has_a_workspace_people_and_grants() {
    let text = "
        # Whoever does research.
        research/scientists =
            group ml-research
            group /teams/research-*
            experiment * EDIT
            registered_model my model READ
            workspace * USE
        ; and the rest
        readers = everyone
            experiment 12 READ
            scorer 12/my=scorer DENY
            group CN=ml, DC=example";
    let config = read(text, "3.17.2").unwrap();
    let [scientists, readers] = config.rules.roles.all() else { panic!() };
    assert_eq!(scientists.name, RoleName::ours("research", "scientists"));
    assert_eq!(scientists.name.name, "oidc:scientists");
    assert_eq!(readers.name, RoleName::ours("default", "readers"));
    assert_eq!(scientists.grants[&resource("registered_model", "my model")], "READ");
    assert_eq!(readers.grants[&resource("scorer", "12/my=scorer")], "DENY");
    assert_eq!(given(&config, &[]), ["default/readers"]);
    for group in ["ml-research", "teams/research-", "teams/research-nlp/eu"] {
        assert_eq!(given(&config, &[group]), ["default/readers", "research/scientists"], "{group}");
    }
    for group in ["ml-research2", "my ml-research", "ML-RESEARCH", "x/teams/research-1", "teams/research"] {
        assert_eq!(given(&config, &[group]), ["default/readers"], "{group}");
    }
    let names = groups(&["other", "teams/research-x", "CN=ml, DC=example"]);
    let found = config.rules.roles.of(&names);
    assert_eq!(found[&scientists.name], Why::Group("teams/research-x"));
    assert_eq!(found[&readers.name], Why::Everyone);
}

#[test]
fn a_star_is_any_text_and_the_only_sign_with_a_meaning() {
    let cases = [
        ("a*", "a", true),
        ("a*", "abc", true),
        ("a*", "ba", false),
        ("*a", "ba", true),
        ("*a", "ab", false),
        ("a*a", "a", false),
        ("a*a", "aa", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "acb", false),
        ("*b*b*", "ab", false),
        ("*", "anything", true),
        ("a.c", "abc", false),
        ("[ab]", "a", false),
        ("a?", "ab", false),
        ("**é*", "café", true),
    ];
    for (pattern, group, matches) in cases {
        let config = read(&format!("r =\n group {pattern}\n experiment * READ"), "3.17.2").unwrap();
        assert_eq!(!given(&config, &[group]).is_empty(), matches, "{pattern:?} and {group:?}");
    }
}

#[test]
fn every_fault_is_told_at_once_with_the_role_and_the_line() {
    let text = "
        experiment * READ
        research/scientists =
            group
            experiment * EDITS
            experimnt * EDIT
            experiment my-experiment EDIT
            experiment team-* EDIT
            workspace * READ
            run 12 READ
            member of something
            everyone else
        a b/c =
            everyone
        Research/x =
            everyone
        nobody =
            experiment * READ
        nothing =
            everyone
        NOBODY =
            everyone
            experiment * READ
            experiment * EDIT";
    let faults = read(text, "3.17.2").unwrap_err();
    let expected = [
        "OIDC_ROLES: expected 'ROLE =' or 'WORKSPACE/ROLE =' first, found 'experiment * READ'",
        "OIDC_ROLES research/scientists: expected 'group' and a name of 1 to 1024 bytes, found 'group'",
        "OIDC_ROLES research/scientists: expected READ, USE, EDIT, MANAGE, DENY on experiment, did you mean EDIT?, found 'EDITS' in 'experiment * EDITS'",
        "did you mean experiment?, found 'experimnt' in 'experimnt * EDIT'",
        "expected '*', or the number of an experiment (its id, not its name), found 'my-experiment' in 'experiment my-experiment EDIT'",
        "expected '*' alone, or one experiment: MLflow knows no parts of names, found 'team-*' in 'experiment team-* EDIT'",
        "expected USE, MANAGE on workspace, found 'READ' in 'workspace * READ'",
        "expected '*' on run, which MLflow only grants all at once, found '12' in 'run 12 READ'",
        "found 'member' in 'member of something'",
        "found 'everyone' in 'everyone else'",
        "found 'a' in 'a b/c ='",
        "OIDC_ROLES Research/x: expected a workspace as MLflow names them: 2 to 63 of a-z 0-9 -, no '-' at an end, no path that MLflow has, found 'Research'",
        "OIDC_ROLES NOBODY: expected each resource once in a role, found READ as well as 'experiment * EDIT'",
        "OIDC_ROLES nobody: expected somebody who has the role: 'group NAME' or 'everyone', found nobody",
        "OIDC_ROLES nothing: expected a grant, such as 'experiment * READ', found none",
        "OIDC_ROLES NOBODY: expected each role once (capitals do not count), found 'nobody' as well",
    ];
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.contains(expected), "{fault}\n{expected}");
    }
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
}

#[test]
fn a_star_after_a_slash_is_not_taken_for_every_group() {
    for line in ["group /*", "group //", "group /**"] {
        let told = fault(&format!("r =\n {line}\n experiment * MANAGE"), "3.17.2");
        assert!(
            told.starts_with("OIDC_ROLES r: expected") && told.ends_with(&format!("found '{line}'")),
            "{told}"
        );
    }
    assert!(read("r =\n group *\n group /a/*\n experiment * READ", "3.17.2").is_ok());
}

#[test]
fn names_have_the_room_that_mlflow_gives_them() {
    let role = |name: &str| format!("{name} =\n everyone\n experiment * READ");
    for name in [&"r".repeat(250), "a-b_c.D9", "de/r", &format!("{}/r", "w".repeat(63))] {
        assert!(read(&role(name), "3.17.2").is_ok(), "{name}");
    }
    let long = "w".repeat(64);
    let names = [
        &"r".repeat(251),
        "é",
        "a:b",
        "ws/a/b",
        "x/r",
        "-x/r",
        "x-/r",
        "api/r",
        "workspaces/r",
        "/r",
        "ws/",
        "oidc:r",
        &format!("{long}/r"),
    ];
    for name in names {
        fault(&role(name), "3.17.2");
    }
    let grant = |pattern: &str| format!("r =\n everyone\n prompt {pattern} READ");
    assert!(read(&grant(&"p".repeat(255)), "3.17.2").is_ok());
    assert!(fault(&grant(&"p".repeat(256)), "3.17.2").contains("at most 255 characters"));
    for number in ["0", "7", "120"] {
        assert!(read(&format!("r =\n everyone\n experiment {number} READ"), "3.17.2").is_ok());
    }
    // MLflow before 3.18 would compare it as a text, and the experiment 7 would not be meant.
    fault("r =\n everyone\n experiment 07 READ", "3.17.2");
}

#[test]
fn what_a_version_cannot_do_is_a_fault_that_names_the_one_that_can() {
    let grant = |line: &str| format!("r =\n everyone\n {line}");
    let cases = [
        ("experiment * DENY", "3.16.1", "3.17.0", "MLflow 3.17.0 or later for DENY"),
        ("run * READ", "3.16.1", "3.17.0", "MLflow 3.17.0 or later for run"),
        ("mcp_server * READ", "3.14.0", "3.15.0", "MLflow 3.15.0 or later for mcp_server"),
        ("prompt * READ", "3.12.0", "3.13.0", "MLflow 3.13.0 or later for prompt"),
        ("skill * READ", "3.17.2", "3.18.0", "MLflow 3.18.0 or later for skill"),
    ];
    for (line, before, since, expected) in cases {
        let told = fault(&grant(line), before);
        assert!(told.contains(expected) && told.contains(&format!("found MLflow {before} and ")), "{told}");
        assert!(read(&grant(line), since).is_ok(), "{line} on {since}");
        // Where there are no roles at all, or nobody knows the version, it is no question of this line.
        assert!(read(&grant(line), "3.9.0").is_ok() && read(&grant(line), "4.0.dev0").is_ok());
    }
    for version in ["3.12.0", "3.13.0", "3.17.2"] {
        // MLflow 3.12 took them, and 3.13 refused them: nobody must be locked out by an upgrade.
        for line in
            ["workspace * READ", "workspace * EDIT", "workspace * DENY", "experiment * NO_PERMISSIONS"]
        {
            fault(&grant(line), version);
        }
        assert!(read(&grant("workspace * MANAGE"), version).is_ok());
    }
}

#[test]
fn an_empty_text_is_no_section_and_one_of_comments_is_a_slip() {
    assert!(read("  \n ", "3.17.2").unwrap().rules.roles.is_empty());
    assert!(fault("# nothing yet", "3.17.2").contains("nothing but comments"));
}

#[test]
fn groups_that_only_give_roles_count_as_groups_that_decide() {
    let open = |roles: &str| {
        parse(&[("OIDC_USER_GROUP", ""), ("OIDC_ROLES", roles)], &facts()).unwrap().rules.groups_decide()
    };
    assert!(open("r =\n group a\n experiment * READ") && open("r =\n group a*\n experiment * READ"));
    assert!(!open("r =\n everyone\n experiment * READ") && !open(""));
}

#[test]
fn roles_of_other_workspaces_are_warned_about_while_there_are_none() {
    let text = "a =\n everyone\n experiment * READ\nresearch/b =\n everyone\n experiment * READ";
    let config = read(text, "3.17.2").unwrap();
    let warned = roles::warnings(&config.rules.roles, &facts());
    assert!(warned.len() == 1 && warned[0].contains("1 of the roles") && warned[0].contains("research/b"));
    let on = Facts { workspaces: true, ..facts() };
    assert!(roles::warnings(&config.rules.roles, &on).is_empty());
}
