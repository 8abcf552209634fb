//! From an identity to a row of MLflow's `users`: who may have which name, and who is an administrator.

use crate::support::{Ask, Browser, Draft, World};
use mlflow_oidc::config::roles;
use mlflow_oidc::identity::Rules;
use mlflow_oidc::ports::UserRow;
use serde_json::{Value, json};

pub const NAME: (&str, &str) = ("OIDC_USERNAME_CLAIM", "name");

/// Somebody with a subject, a name and groups, as a bearer.
pub fn person(subject: &str, name: &str, groups: &[&str]) -> Ask {
    let mut draft = Draft::bearer().in_groups(groups);
    draft.set("sub", subject).set("name", name);
    Ask::get("/api/x").bearer(&draft.token())
}

pub fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn the_first_sight_makes_a_row_that_no_password_opens() {
    let world = World::with(&[NAME]);
    assert_eq!(person("1", "alice", &["MLFLOW"]).of(&world).username(), "alice");
    let UserRow { password_hash, is_admin, .. } = world.users.all().remove("alice").unwrap();
    // MLflow splits a hash at '$'; without one its check is over at once, whatever the password.
    assert!(password_hash.starts_with("oidc") && !password_hash.contains('$'));
    assert!(!is_admin);
    let row = world.store.identities().remove(0);
    assert_eq!((row.subject.as_str(), row.username.as_str(), row.made_here), ("1", "alice", true));
    assert_eq!(row.groups, Some(vec!["MLFLOW".to_owned()]));
}

#[test]
fn nothing_is_written_when_nothing_changed() {
    let world = World::with(&[NAME]);
    person("1", "alice", &["MLFLOW"]).of(&world);
    world.users.asked.clear();
    world.store.patient.clear();
    for _ in 0..10 {
        assert_eq!(person("1", "alice", &["MLFLOW"]).of(&world).username(), "alice");
    }
    assert!(world.users.asked.all().is_empty() && world.store.patient.all().is_empty());
    world.clock.forward(60);
    assert_eq!(person("1", "alice", &["MLFLOW"]).of(&world).username(), "alice");
    assert_eq!(world.users.asked.all(), ["find"], "looked, not written");
    assert!(!world.store.patient.all().contains(&"note".to_owned()), "{:?}", world.store.patient.all());
}

#[test]
fn a_second_subject_with_the_same_name_is_somebody_else() {
    let world = World::with(&[NAME]);
    person("1", "alice", &["MLFLOW"]).of(&world);
    assert_eq!(person("2", "alice", &["MLFLOW"]).of(&world).refusal(), refusal(403, "username_taken"));
    // Not even as an administrator.
    let answered = person("2", "alice", &["MLFLOW_admin"]).of(&world);
    assert_eq!(answered.refusal(), refusal(403, "username_taken"));
    assert_eq!(world.users.is_admin("alice"), Some(false));
    assert_eq!(person("1", "alice", &["MLFLOW"]).of(&world).username(), "alice");
}

#[test]
fn the_same_subject_of_another_provider_is_somebody_else() {
    let world = World::with(&[NAME]);
    person("1", "alice", &["MLFLOW"]).of(&world);
    let other = world.beside(&[NAME, ("OIDC_ISSUER_URL", "https://other.example")]);
    other.provider.change(|script| script.metadata = crate::support::down());
    let mut draft = Draft::bearer();
    draft.set("name", "alice").set("sub", "1");
    // The token of the first provider is none of the second's.
    assert_eq!(Ask::get("/").bearer(&draft.token()).of(&other).code(), "token_issuer");
}

#[test]
fn a_new_name_of_the_same_subject_keeps_the_account() {
    let world = World::with(&[NAME]);
    person("1", "alice", &["MLFLOW"]).of(&world);
    assert_eq!(person("1", "alice-married", &["MLFLOW"]).of(&world).username(), "alice");
    assert_eq!(world.users.all().len(), 1);
    // Also when the new name is one that somebody has.
    person("2", "bob", &["MLFLOW"]).of(&world);
    assert_eq!(person("1", "bob", &["MLFLOW"]).of(&world).username(), "alice");
    assert_eq!(person("1", "admin", &["MLFLOW"]).of(&world).username(), "alice");
    // The old name stays taken: whoever gets it at the provider is not alice.
    assert_eq!(person("3", "alice", &["MLFLOW"]).of(&world).refusal(), refusal(403, "username_taken"));
}

#[test]
fn names_that_differ_in_case_are_different_people() {
    let world = World::with(&[NAME]);
    person("1", "alice", &["MLFLOW"]).of(&world);
    assert_eq!(person("2", "Alice", &["MLFLOW"]).of(&world).username(), "Alice");
    assert_eq!(world.users.all().len(), 2);
}

#[test]
fn a_name_that_is_drawn_like_another_one_is_refused() {
    let world = World::with(&[NAME]);
    // In MLflow's list of users a person sees glyphs, not code points.
    let lookalikes = [
        "\u{430}dmin",                              // Cyrillic a
        "adm\u{456}n",                              // Ukrainian i
        "\u{391}dmin",                              // Greek Alpha
        "p\u{430}ypal@example.com",                 // one letter of an address
        "alice@ex\u{430}mple.com",                  // and of its domain
        "\u{FF41}\u{FF44}\u{FF4D}\u{FF49}\u{FF4E}", // full-width
        "\u{1D41A}dmin",                            // mathematical bold
        "ad\u{2098}in",                             // subscript m
        "\u{FB01}ona",                              // a ligature
        "jose\u{301}",                              // decomposed
        "\u{212B}ngstrom",                          // the Angstrom sign for a letter
        "\u{3A9}\u{2126}",                          // the Ohm sign for Omega
        "a\u{5D0}",                                 // Latin and Hebrew
        "admi\u{307}n",                             // the dot of an i once more
        "adm\u{131}\u{307}n",                       // and that of a dotless i
        "admin\u{2800}",                            // a braille blank
        "admin\u{1D173}",                           // the beginning of a beam in music
        "admin\u{16FE4}",                           // a Khitan filler
        "admin \u{13441}",                          // a blank hieroglyph as a word
        "\u{430}\u{1BCA0}dmin",                     // a shorthand control between two scripts
        "\u{430}1ice",                              // a digit between two scripts
        "\u{43E}'neil",                             // an apostrophe between two scripts
        "b\u{665}b",                                // the Arabic five is a ring
        "anne\u{2010}marie@x.org",                  // a hyphen
        "x\u{2019}y",                               // an apostrophe
        "x\u{2BC}y",                                // an apostrophe that is a letter
        "bob  smith",                               // pages draw two spaces as one
        "\u{261}re\u{261}\u{261}@x.org",            // the g of phoneticians
        "\u{251}dmin",                              // their a
        "adm\u{26A}n",                              // a small capital
        "\u{1D20}era",                              // a small capital V is a v
        "admin\u{E000}",                            // whatever a font draws for private use
        "😀 ok",
    ];
    for name in lookalikes {
        let refusal = person("1", name, &["MLFLOW"]).of(&world).refusal();
        assert_eq!(refusal, (403, "username_invalid".to_owned()), "{name}");
    }
    assert!(world.users.all().is_empty());
}

#[test]
fn a_refused_name_is_told_with_the_character_that_is_at_fault() {
    let world = World::with(&[NAME]);
    for (name, point) in [
        ("admi\u{307}n", "U+0307"),
        ("admin\u{2800}", "U+2800"),
        ("admin\u{1D173}", "U+1D173"),
        ("anne\u{2010}marie", "U+2010"),
        ("\u{261}reg", "U+0261"),
        ("ad\u{43C}in", "U+043C"),
    ] {
        let body = person("1", name, &["MLFLOW"]).of(&world).body().to_owned();
        assert!(body.contains(point), "{point} in {body}");
    }
}

#[test]
fn names_of_every_writing_are_names() {
    let world = World::with(&[NAME]);
    let names = [
        "José Núñez",
        "Łukasz@example.com",
        "Иван Петров",
        "иван@example.com",
        "иван.петров-smith",
        "Ωμέγα",
        "名前なまえナマエ",
        "山田taro",
        "김철수kim",
        "ㄅㄆ注音abc",
        "محمد",
        "דוד",
        "नरेंद्र",
        "สมชาย",
        "a_b-c+d@e.f",
        "o'neil",
        "user 7",
        "Iğdır Irmak",
        "Ελένη7",
        "Дем'ян",
        "محمد\u{665}",
        "スーパー",
        "Nguyễn Thị Định",
        "g\u{303}uarani",
    ];
    for (number, name) in names.iter().enumerate() {
        assert_eq!(person(&number.to_string(), name, &["MLFLOW"]).of(&world).username(), *name);
    }
}

#[test]
fn the_admin_flag_follows_the_group() {
    let world = World::with(&[NAME]);
    for (groups, is_admin) in [
        (&["MLFLOW"][..], false),
        (&["MLFLOW_admin"], true),
        (&["MLFLOW", "MLFLOW_admin"], true),
        (&["MLFLOW", "MLFLOW_ADMIN"], false),
        (&["/MLFLOW_admin"], true),
        (&["MLFLOW"], false),
    ] {
        assert_eq!(person("1", "ada", groups).of(&world).username(), "ada");
        assert_eq!(world.users.is_admin("ada"), Some(is_admin), "{groups:?}");
    }
}

#[test]
fn the_admin_group_can_be_named() {
    let world = World::with(&[NAME, ("OIDC_ADMIN_GROUP", "root, /ops/ml")]);
    for (groups, is_admin) in [
        (&["root"][..], true),
        (&["MLFLOW", "MLFLOW_admin"], false),
        (&["/ops/ml"], true),
        (&["MLFLOW"], false),
    ] {
        assert_eq!(person("1", "ada", groups).of(&world).username(), "ada");
        assert_eq!(world.users.is_admin("ada"), Some(is_admin), "{groups:?}");
    }
}

#[test]
fn a_token_without_groups_changes_nothing() {
    let world = World::with(&[NAME, ("OIDC_USER_GROUP", ""), ("OIDC_ADMIN_GROUP", "admins")]);
    assert_eq!(person("1", "ada", &["admins"]).of(&world).username(), "ada");
    let mut silent = Draft::bearer();
    silent.set("sub", "1").set("name", "ada").drop("groups");
    assert_eq!(Ask::get("/").bearer(&silent.token()).of(&world).username(), "ada");
    assert_eq!(world.users.is_admin("ada"), Some(true));
    assert_eq!(world.store.identities()[0].groups, Some(vec!["admins".to_owned()]));
    // An empty claim does say something.
    assert_eq!(person("1", "ada", &[]).of(&world).username(), "ada");
    assert_eq!(world.users.is_admin("ada"), Some(false));
}

#[test]
fn without_an_admin_group_the_flag_is_mlflows_business() {
    let world = World::with(&[NAME, ("OIDC_USER_GROUP", "")]);
    person("1", "ada", &["MLFLOW_admin"]).of(&world);
    assert_eq!(world.users.is_admin("ada"), Some(false));
    mlflow_oidc::ports::Users::set_admin(&*world.users, "ada", true).unwrap();
    world.clock.forward(60);
    person("1", "ada", &["x"]).of(&world);
    assert_eq!(world.users.is_admin("ada"), Some(true));
}

#[test]
fn the_bootstrap_administrator_is_bound_by_an_administrator_only() {
    let settings = [NAME, ("OIDC_LINK_EXISTING_USERS", "true")];
    let world = World::with(&settings);
    world.users.add_local("admin", true);
    assert_eq!(person("1", "admin", &["MLFLOW"]).of(&world).refusal(), refusal(403, "account_protected"));
    assert!(world.store.identities().is_empty());
    assert_eq!(person("2", "admin", &["MLFLOW_admin"]).of(&world).username(), "admin");
    assert_eq!(world.users.is_admin("admin"), Some(true));
    // Losing the group takes the way in, never the flag of MLflow's own administrator.
    assert_eq!(person("2", "admin", &["MLFLOW"]).of(&world).refusal(), refusal(403, "account_protected"));
    assert_eq!(world.users.is_admin("admin"), Some(true));
}

#[test]
fn an_existing_user_is_handed_over_only_when_asked_for() {
    let world = World::with(&[NAME]);
    world.users.add_local("carol", false);
    assert_eq!(person("1", "carol", &["MLFLOW"]).of(&world).refusal(), refusal(403, "username_taken"));
    let before = world.users.all();
    let linking = world.beside(&[NAME, ("OIDC_LINK_EXISTING_USERS", "true")]);
    assert_eq!(person("1", "carol", &["MLFLOW"]).of(&linking).username(), "carol");
    assert_eq!(world.users.all(), before, "the password stays");
    assert!(!world.store.identities()[0].made_here);
    // And the local user may go on with it.
    let basic = Ask::get("/").with_right_password(&linking, "carol");
    assert_eq!(basic.username(), "carol");
}

#[test]
fn a_local_administrator_is_never_demoted() {
    let world = World::with(&[NAME, ("OIDC_LINK_EXISTING_USERS", "true")]);
    world.users.add_local("operator", true);
    assert_eq!(person("1", "operator", &["MLFLOW"]).of(&world).refusal(), refusal(403, "account_protected"));
    assert_eq!(person("1", "operator", &["MLFLOW_admin"]).of(&world).username(), "operator");
    assert_eq!(person("1", "operator", &["MLFLOW"]).of(&world).refusal(), refusal(403, "account_protected"));
    assert_eq!(world.users.is_admin("operator"), Some(true));
}

#[test]
fn a_user_removed_in_mlflow_is_made_anew_for_the_same_subject_only() {
    let world = World::with(&[NAME]);
    person("1", "alice", &["MLFLOW_admin"]).of(&world);
    world.users.remove("alice");
    world.clock.forward(60);
    assert_eq!(person("2", "alice", &["MLFLOW"]).of(&world).refusal(), refusal(403, "username_taken"));
    assert_eq!(person("1", "alice", &["MLFLOW"]).of(&world).username(), "alice");
    assert_eq!(world.users.is_admin("alice"), Some(false));
}

#[test]
fn an_account_of_ours_whose_identity_was_lost_is_found_again() {
    // Our own file was lost, MLflow's database was not: the marker in the hash says whose account it is.
    let world = World::with(&[NAME]);
    person("1", "alice", &["MLFLOW"]).of(&world);
    let fresh = World::with(&[NAME]);
    mlflow_oidc::ports::Users::create(&*fresh.users, "alice", &world.users.all()["alice"]).unwrap();
    assert_eq!(person("1", "alice", &["MLFLOW"]).of(&fresh).username(), "alice");
    assert!(fresh.store.identities()[0].made_here);
}

#[test]
fn somebody_who_loses_the_group_is_refused_with_the_name_of_the_group() {
    let world = World::with(&[NAME]);
    person("1", "mallory", &["MLFLOW"]).of(&world);
    let answered = person("1", "mallory", &["OTHER", "secret-project"]).of(&world);
    assert_eq!(answered.refusal(), refusal(403, "group_required"));
    assert!(answered.body().contains("MLFLOW"), "{}", answered.body());
    assert!(!answered.body().contains("secret-project"));
    let page = Browser::default().sign_in(&world, Draft::id_token().in_groups(&["OTHER"]));
    assert_eq!(page.refusal(), refusal(403, "username_missing"), "the claim 'name' is asked for first");
}

#[test]
fn the_page_for_somebody_without_the_group_names_the_group() {
    let world = World::new();
    let page = Browser::default().sign_in(&world, Draft::id_token().of("mallory").in_groups(&["OTHER"]));
    assert_eq!(page.refusal(), refusal(403, "group_required"));
    assert!(page.body().contains("membership of MLFLOW"), "{}", page.body());
    assert!(world.users.all().is_empty() && world.store.identities().is_empty());
}

#[test]
fn fifty_at_once_make_one_row() {
    let world = World::with(&[NAME]);
    let ask = person("1", "alice", &["MLFLOW"]);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(|| ask.of(&world).username().to_owned())).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), "alice");
        }
    });
    assert_eq!((world.users.all().len(), world.store.identities().len()), (1, 1));
}

#[test]
fn the_bound_on_groups_never_costs_a_group_that_decides() {
    let rules = Rules {
        username_claims: vec!["name".to_owned()],
        subject_claims: vec!["sub".to_owned()],
        groups_claims: vec!["groups".to_owned()],
        user_groups: vec!["zzz".to_owned()],
        admin_groups: vec!["zzz_admin".to_owned()],
        roles: roles::parse("a =\n group zzzz\n prompt * READ\nb =\n group g119*\n run * READ", None)
            .unwrap(),
    };
    let mut groups: Vec<String> = (0..12_000).map(|n| format!("g{n}")).collect();
    groups.extend(["zzz", "zzz_admin", "zzzz"].map(str::to_owned));
    let Value::Object(claims) = json!({"iss": "i", "sub": "s", "name": "n", "groups": groups}) else {
        panic!()
    };
    let statement = rules.identify("i", &claims).unwrap();
    let kept = statement.identity.groups.as_ref().unwrap();
    assert_eq!(kept.len(), 10_000);
    assert!(rules.admit(Some(kept)).is_ok());
    assert_eq!(rules.is_admin(Some(kept)), Some(true));
    assert_eq!(rules.roles.of(kept).len(), 2);
}
