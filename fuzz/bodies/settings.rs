//! Settings: every fault is told, and no secret is told with it.

use super::told;
use mlflow_oidc::config::keys::{self, Kind};
use mlflow_oidc::config::{Facts, Fault, Raw, parse};
use mlflow_oidc::secret::Secret;
use std::collections::BTreeMap;

/// The lines of an input: where a setting stands, its name and its value.
struct Given<'i> {
    environment: Vec<(&'i str, String)>,
    ini: Vec<(&'i str, String)>,
    files: BTreeMap<&'i str, String>,
    facts: Facts,
}

/// One input: lines of `E NAME=value` (environment), `I name=value` (`[oidc]`), `F path=content` (a file) and
/// `S name=value` (what MLflow tells). `\n` in a value stands for a line break.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    judge(&read(&text, |_, value| value.to_owned()), input);
    // Once more with a word in every value that must stay unseen; it is made so that the input does not contain it.
    let mark =
        (0..).map(|count| format!("zQ{count}Qz")).find(|mark| !text.contains(mark)).unwrap_or_default();
    let marked =
        read(&text, |name, value| match keys::find(&name.to_ascii_lowercase()).map(|key| key.kind) {
            Some(Kind::Url) => in_password(value, &mark),
            _ if is_secret(name) => sprinkled(value, &mark),
            _ => value.to_owned(),
        });
    for line in judge(&marked, &[]) {
        assert!(!line.contains(&mark), "a secret is told: {line:?}");
    }
}

fn read<'i>(text: &'i str, change: impl Fn(&str, &str) -> String) -> Given<'i> {
    let mut given =
        Given { environment: Vec::new(), ini: Vec::new(), files: BTreeMap::new(), facts: Facts::default() };
    for line in text.split('\n') {
        let Some((kind, rest)) = line.split_at_checked(2) else { continue };
        let (name, value) = rest.split_once('=').unwrap_or((rest, ""));
        let value = value.replace("\\n", "\n");
        match kind {
            "E " => given.environment.push((name, change(name.strip_prefix("OIDC_").unwrap_or(""), &value))),
            "I " => given.ini.push((name, change(name, &value))),
            "F " => {
                given.files.insert(name, value);
            }
            "S " => match name {
                "static_prefix" => given.facts.static_prefix = value,
                "flask_secret_key" => {
                    given.facts.flask_secret_key = Some(Secret::new(change("client_secret", &value)))
                }
                "gateway_token" => {
                    given.facts.gateway_token = Some(Secret::new(change("client_secret", &value)))
                }
                "admin_username" => given.facts.admin_username = Some(value),
                _ => given.facts.allowed_hosts.push(value),
            },
            _ => {}
        }
    }
    for (path, content) in &mut given.files {
        // What is in a file is a secret, unless a setting that may be shown takes it from there.
        let mut all = given.environment.iter().chain(&given.ini);
        if !all.any(|(name, value)| value.trim() == *path && !is_secret(plain(name))) {
            *content = change("client_secret", content);
        }
    }
    given
}

/// The name of the setting, without what stands around it in the environment or for a file.
fn plain(name: &str) -> &str {
    let name = name.strip_prefix("OIDC_").unwrap_or(name);
    let cut = name.len().saturating_sub("_file".len());
    match name.split_at_checked(cut) {
        Some((rest, file)) if file.eq_ignore_ascii_case("_file") => rest,
        _ => name,
    }
}

/// Whether a value under this name may never be shown: secrets, and what stands under a name that nobody knows, because
/// it may be a secret whose name is mistyped.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    match keys::find(&name) {
        Some(key) => matches!(key.kind, Kind::Secret | Kind::SecretList),
        None => name.strip_suffix("_file").and_then(keys::find).is_none(),
    }
}

/// The mark in each part of a list.
fn sprinkled(value: &str, mark: &str) -> String {
    let part = |part: &str| {
        let end = part.trim_end().len();
        if part.trim().is_empty() {
            part.to_owned()
        } else {
            format!("{}{mark}{}", &part[..end], &part[end..])
        }
    };
    value.split(',').map(part).collect::<Vec<_>>().join(",")
}

/// The mark as a part of the password, if the value is an address that has one.
fn in_password(value: &str, mark: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((user, host)) if user.contains(':') => format!("{scheme}://{user}{mark}@{host}{}", &rest[end..]),
        _ => value.to_owned(),
    }
}

/// Gathers and parses; gives back every line that an operator would read.
fn judge(given: &Given<'_>, input: &[u8]) -> Vec<String> {
    let owned = |pairs: &[(&str, String)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let raw = Raw::gather(owned(&given.environment), owned(&given.ini), |path| {
        given.files.get(path).cloned().ok_or_else(|| "no such file".to_owned())
    });
    let mut lines = raw.warnings.clone();
    let whole = format!("{raw:?}");
    match parse(&raw, &given.facts) {
        Ok(config) => {
            assert!(raw.faults.is_empty(), "faults are forgotten");
            told::address(&config.issuer);
            assert!(!config.client_id.is_empty());
            assert!(!config.session_secrets.is_empty(), "nothing seals");
            assert!(
                config.session_secrets.iter().all(|secret| secret.expose().len() >= 16),
                "a short secret seals"
            );
            assert!((0..=600).contains(&config.skew) && (60..=31_536_000).contains(&config.session_lifetime));
            assert!((0..=300).contains(&config.session_cache) && (1..=60).contains(&config.http_timeout));
            assert!((0..=300).contains(&config.permission_cache));
            assert!(config.scopes.split_whitespace().any(|scope| scope == "openid"));
            if let Some(site) = &config.place.site {
                told::address(&site.origin);
                told::address(&site.redirect_uri);
                assert!(!site.base.ends_with('/') && config.place.callback.starts_with('/'), "{site:?}");
            }
            lines.push(format!("{config:?}"));
            check_order(given, &config.client_id);
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a fault");
            for Fault { key, expected, found } in &faults {
                assert!(!key.is_empty() && !expected.is_empty() && !found.is_empty(), "an empty fault");
            }
            lines.extend(faults.iter().map(ToString::to_string));
        }
    }
    if !input.is_empty() {
        for warning in &raw.warnings {
            told::line(warning, &[]);
        }
    }
    lines.push(whole);
    lines
}

/// The environment wins over the file.
fn check_order(given: &Given<'_>, client_id: &str) {
    let named =
        |name: &str| name.strip_prefix("OIDC_").is_some_and(|rest| rest.eq_ignore_ascii_case("client_id"));
    let mut values = given.environment.iter().filter(|(name, _)| named(name)).map(|(_, value)| value.trim());
    if let Some(wanted) = values.find(|value| !value.is_empty()) {
        assert_eq!(client_id, wanted);
    }
}
