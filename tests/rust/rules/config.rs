//! The settings: where they come from, what they may be, and that every fault is told at once.

use crate::support::{CLIENT_ID, CLIENT_SECRET, ISSUER, facts, parse};
use mlflow_oidc::config::keys::{KEYS, Kind, markdown, sample_ini};
use mlflow_oidc::config::{self, Config, Facts, Fault, Raw};
use mlflow_oidc::secret::Secret;
use std::collections::BTreeSet;

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Files with what they hold; others cannot be read.
fn gather(environment: &[(&str, &str)], ini: &[(&str, &str)], files: &[(&str, &str)]) -> Raw {
    let files = pairs(files);
    Raw::gather(pairs(environment), pairs(ini), |path| {
        let found = files.iter().find(|(name, _)| name == path);
        found.map(|(_, content)| content.clone()).ok_or_else(|| "entity not found".to_owned())
    })
}

const REQUIRED: [(&str, &str); 3] =
    [("OIDC_ISSUER_URL", ISSUER), ("OIDC_CLIENT_ID", CLIENT_ID), ("OIDC_CLIENT_SECRET", CLIENT_SECRET)];

fn keys_of(result: Result<Config, Vec<Fault>>) -> BTreeSet<String> {
    result.err().unwrap_or_default().into_iter().map(|fault| fault.key).collect()
}

fn set(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

#[test]
fn the_five_original_settings_mean_what_they_meant() {
    let raw = gather(
        &[
            ("OIDC_ISSUER_URL", "https://kc.example/realms/demo"),
            ("OIDC_CLIENT_ID", "mlflow-client"),
            ("OIDC_CLIENT_SECRET", "secret-of-the-blog"),
            ("OIDC_USERNAME_CLAIM", "preferred_username"),
            ("OIDC_USER_GROUP", "MLFLOW"),
        ],
        &[],
        &[],
    );
    let config = config::parse(&raw, &Facts::default()).unwrap();
    assert_eq!(config.issuer, "https://kc.example/realms/demo");
    assert_eq!(config.client_id, "mlflow-client");
    assert_eq!(config.client_secret, Some(Secret::new("secret-of-the-blog")));
    assert_eq!(config.rules.username_claims, ["preferred_username"]);
    assert_eq!(config.rules.user_groups, ["MLFLOW"]);
    assert_eq!(config.rules.admin_groups, ["MLFLOW_admin"], "the original rule, but exact");
    assert!(raw.warnings.is_empty());
}

#[test]
fn what_is_left_out_has_its_documented_default() {
    let config = config::parse(&gather(&REQUIRED, &[], &[]), &Facts::default()).unwrap();
    assert_eq!(config.rules.username_claims, ["email"]);
    assert_eq!(config.rules.groups_claims, ["groups"]);
    assert!(config.rules.user_groups.is_empty() && config.rules.admin_groups.is_empty());
    assert_eq!(config.scopes, "openid email profile");
    assert!(config.audiences.is_empty());
    assert_eq!((config.skew, config.session_lifetime, config.session_cache), (60, 43_200, 5));
    assert_eq!((config.permission_cache, config.http_timeout), (5, 10));
    assert!(config.basic_auth && !config.link_existing_users);
    assert_eq!(config.session_secrets, [Secret::new(CLIENT_SECRET)]);
    assert!(config.ca_bundle.is_none() && !config.place.is_fixed());
}

#[test]
fn the_environment_wins_over_the_file() {
    let raw = gather(
        &[REQUIRED[0], REQUIRED[1], REQUIRED[2], ("OIDC_SCOPES", "openid a")],
        &[
            ("client_id", "from-the-file"),
            ("SCOPES", "openid b"),
            ("username_claim", "name"),
            ("audience", "x, y,,z "),
        ],
        &[],
    );
    let config = config::parse(&raw, &Facts::default()).unwrap();
    assert_eq!((config.client_id.as_str(), config.scopes.as_str()), (CLIENT_ID, "openid a"));
    assert_eq!(config.rules.username_claims, ["name"]);
    assert_eq!(config.audiences, ["x", "y", "z"]);
    assert!(raw.faults.is_empty(), "{:?}", raw.faults);
}

#[test]
fn an_empty_value_counts_as_not_given() {
    let raw =
        gather(&[REQUIRED[0], REQUIRED[2], ("OIDC_CLIENT_ID", "  ")], &[("client_id", "from-the-file")], &[]);
    assert_eq!(config::parse(&raw, &Facts::default()).unwrap().client_id, "from-the-file");
}

#[test]
fn every_value_can_come_from_a_file() {
    let raw = gather(
        &[REQUIRED[0], REQUIRED[1], ("OIDC_CLIENT_SECRET_FILE", "/run/secret")],
        &[("session_secret_file", "/run/seal"), ("client_secret", "not this one")],
        &[("/run/secret", "from-a-file\n"), ("/run/seal", "0123456789abcdef,fedcba9876543210\n")],
    );
    let config = config::parse(&raw, &Facts::default()).unwrap();
    assert_eq!(config.client_secret, Some(Secret::new("from-a-file")));
    assert_eq!(config.session_secrets, [Secret::new("0123456789abcdef"), Secret::new("fedcba9876543210")]);
    for key in KEYS {
        let name = format!("{}_FILE", key.env());
        let raw = gather(&[(&name, "/f")], &[], &[("/f", "value")]);
        assert_eq!(raw.values[key.name].value, Secret::new("value"), "{name}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_one_fault_with_its_name() {
    let raw = gather(
        &[
            REQUIRED[0],
            ("OIDC_CLIENT_ID_FILE", "/missing"),
            ("OIDC_CLIENT_SECRET_FILE", "/empty"),
            ("OIDC_SCOPES_FILE", "/ok"),
            ("OIDC_SCOPES", "openid"),
        ],
        &[],
        &[("/empty", " \n"), ("/ok", "openid x")],
    );
    let faults = config::parse(&raw, &facts()).unwrap_err();
    let text = format!("{faults:?}");
    assert!(text.contains("'/missing': entity not found") && text.contains("an empty file"), "{text}");
    assert!(text.contains("the setting once"), "{text}");
    let keys: BTreeSet<String> = faults.iter().map(|fault| fault.key.clone()).collect();
    assert!(keys.contains("OIDC_CLIENT_ID_FILE") && keys.contains("OIDC_CLIENT_SECRET_FILE"), "{keys:?}");
    assert!(!keys.contains("OIDC_CLIENT_ID"), "told twice: {keys:?}");
}

#[test]
fn all_faults_are_told_at_once() {
    let raw = gather(
        &[
            ("OIDC_ISSUER_URL", "http://idp.example"),
            ("OIDC_CLOCK_SKEW_SECONDS", "an hour"),
            ("OIDC_SESSION_LIFETIME", "5"),
            ("OIDC_SESSION_SECRET", "short"),
            ("OIDC_BASIC_AUTH", "maybe"),
            ("OIDC_PUBLIC_URL", "mlflow.example"),
            ("OIDC_REDIRECT_URI", "http://mlflow.example/oidc/callback"),
        ],
        &[("scopes", "email profile"), ("http_timeout", "0"), ("link_existing_users", "2")],
        &[],
    );
    let facts = Facts { static_prefix: "/static-ui".to_owned(), ..Facts::default() };
    let expected = [
        "--static-prefix",
        "OIDC_BASIC_AUTH",
        "OIDC_CLIENT_ID",
        "OIDC_CLOCK_SKEW_SECONDS",
        "OIDC_ISSUER_URL",
        "OIDC_PUBLIC_URL",
        "OIDC_REDIRECT_URI",
        "OIDC_SESSION_LIFETIME",
        "OIDC_SESSION_SECRET",
        "[oidc] http_timeout",
        "[oidc] link_existing_users",
        "[oidc] scopes",
    ];
    let faults = config::parse(&raw, &facts).unwrap_err();
    assert_eq!(faults.len(), expected.len(), "one fault for one key: {faults:#?}");
    assert_eq!(faults.iter().map(|fault| fault.key.clone()).collect::<BTreeSet<_>>(), set(&expected));
    for fault in faults {
        assert!(!fault.expected.is_empty() && !fault.found.is_empty(), "{fault}");
        assert_eq!(fault.to_string().lines().count(), 1);
    }
}

#[test]
fn nothing_given_names_what_is_needed() {
    let faults = keys_of(config::parse(&Raw::default(), &Facts::default()));
    assert_eq!(faults, set(&["OIDC_ISSUER_URL", "OIDC_CLIENT_ID", "OIDC_SESSION_SECRET"]));
}

#[test]
fn a_secret_is_never_told() {
    const SECRET: &str = "s3cr3t-value-that-nobody-may-see";
    let raw = gather(
        &[
            ("OIDC_CLIENT_SECRET", SECRET),
            ("OIDC_CLIENT_SECRET_FILE", "/f"),
            ("OIDC_SESSION_SECRET", "tiny-s3cr3t"),
            ("OIDC_ISSUER_URL", "https://user:s3cr3t-in-url@idp.example"),
            ("OIDC_PUBLIC_URL", "https://user:s3cr3t-in-url@mlflow.example"),
            // The port makes it no address at all, and what nobody can read was once repeated in full.
            ("OIDC_REDIRECT_URI", "https://user:s3cr3t-in-url@mlflow.example:port/oidc/callback"),
            ("OIDC_CLIENT_SECERT", SECRET),
        ],
        &[],
        &[("/f", SECRET)],
    );
    let faults = config::parse(&raw, &Facts::default()).unwrap_err();
    let told = format!("{faults:?} {:?} {raw:?}", raw.warnings);
    assert!(!told.contains("s3cr3t"), "{told}");
    let address = "https://user:s3cr3t-in-url@idp.example/.well-known/openid-configuration";
    let faults = parse(&[("OIDC_ISSUER_URL", address)], &facts()).unwrap_err();
    assert!(!format!("{faults:?}").contains("s3cr3t"), "{faults:?}");
    let config = config::parse(&gather(&REQUIRED, &[], &[]), &facts()).unwrap();
    let told = format!("{config:?}");
    assert!(!told.contains(CLIENT_SECRET) && !told.contains("internal-gateway-token"), "{told}");
}

#[test]
fn a_name_that_nobody_knows_is_warned_about_with_the_nearest_one() {
    let raw = gather(
        &[("OIDC_CLIENT_SECERT", "x"), ("OIDC_SOMETHING_ELSE_ALTOGETHER", "x"), ("OTHER_CLIENT_ID", "x")],
        &[("user_groups", "x"), ("Redirect-URI", "x")],
        &[],
    );
    assert_eq!(raw.warnings.len(), 4, "{:?}", raw.warnings);
    assert!(raw.warnings[0].contains("did you mean OIDC_CLIENT_SECRET?"), "{:?}", raw.warnings);
    assert!(!raw.warnings[1].contains("did you mean"), "{:?}", raw.warnings);
    assert!(raw.warnings[2].contains("did you mean OIDC_USER_GROUP?"), "{:?}", raw.warnings);
    assert!(raw.warnings[3].contains("did you mean OIDC_REDIRECT_URI?"), "{:?}", raw.warnings);
    assert!(raw.faults.is_empty(), "a warning stops nobody");
}

#[test]
fn durations() {
    let rows = [
        ("OIDC_SESSION_LIFETIME", "60", Some(60)),
        ("OIDC_SESSION_LIFETIME", "30m", Some(1800)),
        ("OIDC_SESSION_LIFETIME", "12h", Some(43_200)),
        ("OIDC_SESSION_LIFETIME", "7d", Some(604_800)),
        ("OIDC_SESSION_LIFETIME", "90 s", Some(90)),
        ("OIDC_SESSION_LIFETIME", "365d", Some(31_536_000)),
        ("OIDC_SESSION_LIFETIME", "366d", None),
        ("OIDC_SESSION_LIFETIME", "59", None),
        ("OIDC_SESSION_LIFETIME", "0", None),
        ("OIDC_SESSION_LIFETIME", "-1", None),
        ("OIDC_SESSION_LIFETIME", "1.5h", None),
        ("OIDC_SESSION_LIFETIME", "h", None),
        ("OIDC_SESSION_LIFETIME", "12H", None),
        ("OIDC_SESSION_LIFETIME", "12 hours", None),
        ("OIDC_SESSION_LIFETIME", "9223372036854775807d", None),
        ("OIDC_SESSION_LIFETIME", "99999999999999999999", None),
        ("OIDC_SESSION_LIFETIME", "１２", None),
        ("OIDC_CLOCK_SKEW_SECONDS", "0", Some(0)),
        ("OIDC_CLOCK_SKEW_SECONDS", "601", None),
    ];
    for (name, value, expected) in rows {
        let result = parse(&[(name, value)], &facts());
        match expected {
            Some(seconds) => {
                let config = result.unwrap();
                let found = if name.contains("SKEW") { config.skew } else { config.session_lifetime };
                assert_eq!(found, seconds, "{value}");
            }
            None => assert_eq!(keys_of(result), set(&[name]), "{value}"),
        }
    }
}

#[test]
fn flags() {
    for (value, expected) in [("true", true), ("TRUE", true), ("1", true), ("yes", true), ("on", true)]
        .into_iter()
        .chain([("false", false), ("False", false), ("0", false), ("no", false), ("off", false)])
    {
        assert_eq!(parse(&[("OIDC_BASIC_AUTH", value)], &facts()).unwrap().basic_auth, expected, "{value}");
    }
    for value in ["2", "t", "enabled", "true,", "-"] {
        assert_eq!(
            keys_of(parse(&[("OIDC_BASIC_AUTH", value)], &facts())),
            set(&["OIDC_BASIC_AUTH"]),
            "{value}"
        );
    }
}

#[test]
fn the_issuer_is_an_address_with_tls_or_on_this_machine() {
    for good in [
        "https://a.example",
        "https://a.example/",
        "http://localhost:9000",
        "http://127.0.0.1:1",
        "http://[::1]:1/x",
    ] {
        assert_eq!(
            parse(&[("OIDC_ISSUER_URL", good)], &facts()).unwrap().issuer,
            good,
            "kept as it was written"
        );
    }
    for bad in [
        "http://a.example",
        "a.example",
        "ftp://a.example",
        "https://u@a.example",
        "https://a.example?x=1",
        "https://a.example#x",
        "http://localhost.evil.example",
        "https://a.example/.well-known/openid-configuration",
        // What browsers forgive: the provider would call itself something else, and no login would ever work.
        "https:a.example",
        "https:/a.example",
        "https:///a.example",
        "https:\\\\a.example",
        "https://a.example\\x",
        "https://a.\texample",
        "https://a.example/x\ny",
        "https://a.example/x y",
        "\u{0}https://a.example",
    ] {
        assert_eq!(keys_of(parse(&[("OIDC_ISSUER_URL", bad)], &facts())), set(&["OIDC_ISSUER_URL"]), "{bad}");
    }
}

#[test]
fn what_seals_comes_from_its_own_setting_else_mlflow_else_the_client_secret() {
    let mlflow = |key: &str| Facts { flask_secret_key: Some(Secret::new(key)), ..facts() };
    let facts = mlflow("flask-0123456789");
    assert_eq!(parse(&[], &facts).unwrap().session_secrets, [Secret::new("flask-0123456789")]);
    let own = [("OIDC_SESSION_SECRET", "0123456789abcdef")];
    assert_eq!(parse(&own, &facts).unwrap().session_secrets, [Secret::new("0123456789abcdef")]);
    let public = [("OIDC_CLIENT_SECRET", "")];
    assert_eq!(parse(&public, &facts).unwrap().session_secrets, [Secret::new("flask-0123456789")]);
    assert_eq!(keys_of(parse(&public, &Facts::default())), set(&["OIDC_SESSION_SECRET"]));
    // A sealed cookie is given to anybody who asks: a short secret could be searched for at leisure.
    assert_eq!(parse(&[], &mlflow("short")).unwrap().session_secrets, [Secret::new(CLIENT_SECRET)]);
    let short = [("OIDC_CLIENT_SECRET", "fifteen-letters")];
    assert_eq!(keys_of(parse(&short, &mlflow("short"))), set(&["OIDC_SESSION_SECRET"]));
    assert_eq!(parse(&short, &facts).unwrap().session_secrets, [Secret::new("flask-0123456789")]);
    assert!(parse(&[short[0], own[0]], &mlflow("short")).is_ok());
    let one_short = [("OIDC_SESSION_SECRET", "0123456789abcdef,short")];
    assert_eq!(keys_of(parse(&one_short, &facts)), set(&["OIDC_SESSION_SECRET"]));
}

#[test]
fn the_documents_name_every_setting() {
    let (sample, table) = (sample_ini(), markdown());
    for key in KEYS {
        let is_section = key.kind == Kind::Section;
        let (line, name) = if is_section {
            (format!("# [oidc:{}]\n# {}", key.name, key.example.lines().next().unwrap()), key.place())
        } else {
            (format!("{} =", key.name), key.name.to_owned())
        };
        assert!(sample.contains(&key.env()) && sample.contains(&line), "{}", key.name);
        assert!(table.contains(&format!("| `{name}` | `{}` |", key.env())), "{}", key.name);
    }
    // The sample is one that can be read: only what is required is not commented out.
    let open: Vec<&str> = sample.lines().filter(|l| !l.is_empty() && !l.starts_with(['#', '['])).collect();
    assert_eq!(open.len(), 2, "{open:?}");
}

#[test]
fn an_issuer_that_no_index_has_room_for_is_a_fault_at_the_start() {
    let of = |length: usize| format!("{:x<length$}", "https://idp.example/");
    for (length, faults) in [(255, set(&[])), (256, set(&["OIDC_ISSUER_URL"]))] {
        assert_eq!(keys_of(parse(&[("OIDC_ISSUER_URL", &of(length))], &facts())), faults, "{length}");
    }
}
