//! `next`: wherever it leads, it is a place in this MLflow for every browser.

use mlflow_oidc::app::return_to::{from_request, guard};
use mlflow_oidc::config::{Place, Site};
use url::Url;

/// Origins with and without a port, each with a base of its own; all pairs of both would take three times as long.
const SITES: [(&str, &str); 4] = [
    ("https://mlflow.example", ""),
    ("http://localhost:5000", "/mlflow"),
    ("http://[::1]:8080", "/a/b"),
    ("https://mlflow.example", "/oidc"),
];

/// One input. `BASE` in it is replaced by the base, so that what stands behind it is tried as well.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for (origin, base) in SITES {
        let site = Site {
            origin: origin.to_owned(),
            base: base.to_owned(),
            redirect_uri: format!("{origin}{base}/oidc/callback"),
        };
        let next = text.replace("BASE", base);
        let kept = guard(&next, &site);
        check(&next, &kept, &site);
        assert_eq!(guard(&kept, &site), kept, "a second look changes it: {next:?}");
        let place = Place {
            prefix: "/prefix".to_owned(),
            site: Some(site.clone()),
            callback: "/oidc/callback".to_owned(),
            allowed_hosts: Vec::new(),
        };
        check(&next, &from_request(&next, &place, &site), &site);
    }
}

fn check(next: &str, kept: &str, site: &Site) {
    let told = || format!("{next:?} became {kept:?} for {site:?}");
    // Read as plain text: one slash and then neither slash nor backslash is a path of the same origin to any browser.
    assert!(kept.starts_with('/') && !kept.starts_with("//"), "{}", told());
    assert!(
        kept.len() <= 2048 && kept.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'),
        "{}",
        told()
    );
    // Read as a browser reads it.
    let start = Url::parse(&format!("{}/somewhere/else?x#y", site.origin)).expect("an origin");
    let url = start.join(kept).unwrap_or_else(|_| panic!("{}", told()));
    assert_eq!(url.origin(), start.origin(), "{}", told());
    assert!(url.username().is_empty() && url.password().is_none(), "{}", told());
    let path = kept.split(['?', '#']).next().unwrap_or_default();
    assert_eq!(url.path(), path, "dots are left: {}", told());
    // Below the base, and not at our own endpoints, however a letter is spelt: the server sees the decoded path.
    let below = path.strip_prefix(site.base.as_str()).unwrap_or_else(|| panic!("{}", told()));
    assert!(below.starts_with('/') && !below.starts_with("//"), "{}", told());
    let seen = decoded(below);
    assert!(seen != b"/oidc" && !seen.starts_with(b"/oidc/"), "{}", told());
}

fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if let (b'%', Some(high), Some(low)) = (bytes[at], digit(at + 1), digit(at + 2)) {
            out.push((high * 16 + low) as u8);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}
