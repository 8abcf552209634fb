//! Good tokens of people who may not get in, or whose name cannot be used.

use super::Place::Both;
use super::{Row, row};
use crate::support::{Ask, Draft};
use serde_json::{Value, json};

const VERIFIED: &str =
    "OpenID Connect Core section 5.7; CVE-2023-3128 (Grafana: unverified e-mail as identity)";
const NAME: &str = "the users table of MLflow: String(255); design.md section 5";
const SPOOF: &str = "Unicode TR 36: a name that a person reads as another one";
const GROUP: &str = "issue 2: membership of exactly MLFLOW or MLFLOW_admin; the original compared substrings";
const GROUPS: &str = "design.md section 5: a claim of the wrong form is no claim";
const TAKEN: &str = "design.md section 5: the first login binds a username";
const ADMIN: &str = "design.md section 7: the bootstrap administrator is never handed over";

fn email(d: &mut Draft, value: Value) {
    d.set("email", value);
}

fn groups(d: &mut Draft, value: Value) {
    d.set("groups", value);
}

/// The name comes from a claim that users may be able to choose.
fn called(d: &mut Draft, name: &str) {
    d.settings.push(("OIDC_USERNAME_CLAIM", "preferred_username"));
    d.set("preferred_username", name);
}

pub const ROWS: &[Row] = &[
    row("email_verified false", Both, "email_unverified", VERIFIED, |d| {
        d.set("email_verified", false);
    }),
    row("email_verified 'false'", Both, "email_unverified", VERIFIED, |d| {
        d.set("email_verified", "false");
    }),
    row("email_verified null", Both, "email_unverified", VERIFIED, |d| {
        d.set("email_verified", Value::Null);
    }),
    row("email_verified 1", Both, "email_unverified", VERIFIED, |d| {
        d.set("email_verified", 1);
    }),
    row("email_verified 'True'", Both, "email_unverified", VERIFIED, |d| {
        d.set("email_verified", "True");
    }),
    row("no username", Both, "username_missing", NAME, |d| {
        d.drop("email");
    }),
    row("username null", Both, "username_missing", NAME, |d| email(d, Value::Null)),
    row("username number", Both, "username_missing", NAME, |d| email(d, json!(7))),
    row("username list", Both, "username_missing", NAME, |d| email(d, json!(["alice@example.com"]))),
    row("username in an object that is not there", Both, "username_missing", NAME, |d| {
        d.settings.push(("OIDC_USERNAME_CLAIM", "person.name"));
        d.set("person", "alice");
    }),
    row("username empty", Both, "username_invalid", NAME, |d| email(d, json!(""))),
    row("username of 256 bytes", Both, "username_invalid", NAME, |d| email(d, json!("a".repeat(256)))),
    row("username of 128 letters in 256 bytes", Both, "username_invalid", NAME, |d| {
        email(d, json!("ä".repeat(128)))
    }),
    row("username with a line break", Both, "username_invalid", NAME, |d| email(d, json!("alice\nroot"))),
    row("username with a NUL", Both, "username_invalid", NAME, |d| email(d, json!("alice\0"))),
    row("username with a bell of C1", Both, "username_invalid", NAME, |d| email(d, json!("ali\u{85}ce"))),
    row("username with a space before", Both, "username_invalid", SPOOF, |d| {
        email(d, json!(" alice@example.com"))
    }),
    row("username with a space after", Both, "username_invalid", SPOOF, |d| {
        email(d, json!("alice@example.com "))
    }),
    row("username with a hard space after", Both, "username_invalid", SPOOF, |d| {
        email(d, json!("alice\u{A0}"))
    }),
    row("username of spaces", Both, "username_invalid", SPOOF, |d| email(d, json!("   "))),
    row("username from right to left", Both, "username_invalid", SPOOF, |d| {
        email(d, json!("alice\u{202E}moc"))
    }),
    row("username with an isolate", Both, "username_invalid", SPOOF, |d| email(d, json!("ali\u{2066}ce"))),
    row("username with a zero width space", Both, "username_invalid", SPOOF, |d| {
        email(d, json!("ali\u{200B}ce"))
    }),
    row("username with a soft hyphen", Both, "username_invalid", SPOOF, |d| email(d, json!("ali\u{AD}ce"))),
    row("username with a byte order mark", Both, "username_invalid", SPOOF, |d| {
        email(d, json!("\u{FEFF}alice"))
    }),
    row("username with a tag letter", Both, "username_invalid", SPOOF, |d| email(d, json!("alice\u{E0041}"))),
    row("username with a line separator", Both, "username_invalid", SPOOF, |d| {
        email(d, json!("ali\u{2028}ce"))
    }),
    row("no groups claim", Both, "groups_missing", GROUP, |d| {
        d.drop("groups");
    }),
    row("groups null", Both, "groups_missing", GROUP, |d| groups(d, Value::Null)),
    row("groups under another name", Both, "groups_missing", GROUP, |d| {
        d.drop("groups").set("Groups", json!(["MLFLOW"]));
    }),
    row("groups number", Both, "token_claim", GROUPS, |d| groups(d, json!(7))),
    row("groups true", Both, "token_claim", GROUPS, |d| groups(d, json!(true))),
    row("groups object", Both, "token_claim", GROUPS, |d| groups(d, json!({"MLFLOW": true}))),
    row("groups with an object", Both, "token_claim", GROUPS, |d| {
        groups(d, json!(["MLFLOW", {"name": "x"}]))
    }),
    row("groups with null", Both, "token_claim", GROUPS, |d| groups(d, json!(["MLFLOW", null]))),
    row("groups in a list in a list", Both, "token_claim", GROUPS, |d| groups(d, json!([["MLFLOW"]]))),
    row("groups empty", Both, "group_required", GROUP, |d| groups(d, json!([]))),
    row("groups empty text", Both, "group_required", GROUP, |d| groups(d, json!(""))),
    row("another group", Both, "group_required", GROUP, |d| groups(d, json!(["OTHER"]))),
    row("a longer group", Both, "group_required", GROUP, |d| {
        groups(d, json!(["MLFLOW_users", "NOT_MLFLOW"]))
    }),
    row("a shorter group", Both, "group_required", GROUP, |d| groups(d, json!(["MLFLO", "MLF"]))),
    row("the group in small letters", Both, "group_required", GROUP, |d| {
        groups(d, json!(["mlflow", "Mlflow"]))
    }),
    row("the group with a space", Both, "group_required", GROUP, |d| {
        groups(d, json!(["MLFLOW ", " MLFLOW"]))
    }),
    row("the groups in one text", Both, "group_required", GROUP, |d| groups(d, json!("OTHER,MLFLOW"))),
    row("the group below another one", Both, "group_required", GROUP, |d| {
        groups(d, json!(["/team/MLFLOW", "MLFLOW/x"]))
    }),
    row("the group behind two slashes", Both, "group_required", GROUP, |d| groups(d, json!(["//MLFLOW"]))),
    row("the admin group of another spelling", Both, "group_required", GROUP, |d| {
        groups(d, json!(["MLFLOW_Admin", "MLFLOW_admins"]))
    }),
    row("the name of another subject", Both, "username_taken", TAKEN, |d| {
        d.before = |world| {
            let mut first = Draft::bearer();
            first.set("sub", "the-first-alice");
            assert_eq!(Ask::get("/").bearer(&first.token()).of(world).username(), "alice@example.com");
        };
    }),
    row(
        "the name of a local user",
        Both,
        "username_taken",
        "design.md section 8: OIDC_LINK_EXISTING_USERS",
        |d| {
            d.before = |world| world.users.add_local("alice@example.com", false);
        },
    ),
    row("the bootstrap administrator", Both, "account_protected", ADMIN, |d| {
        called(d, "admin");
        d.before = |world| world.users.add_local("admin", true);
    }),
    row("the bootstrap administrator before MLflow made it", Both, "account_protected", ADMIN, |d| {
        called(d, "admin")
    }),
    row("the bootstrap administrator where users are linked", Both, "account_protected", ADMIN, |d| {
        called(d, "admin");
        d.settings.push(("OIDC_LINK_EXISTING_USERS", "true"));
        d.before = |world| world.users.add_local("admin", true);
    }),
    row("another local administrator", Both, "account_protected", ADMIN, |d| {
        called(d, "operator");
        d.settings.push(("OIDC_LINK_EXISTING_USERS", "true"));
        d.before = |world| world.users.add_local("operator", true);
    }),
];
