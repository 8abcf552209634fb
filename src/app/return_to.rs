//! The return-to guard: where a login may lead. Own origin, path only.

use crate::config::{Place, Site};
use percent_encoding::percent_decode_str;
use url::Url;

/// The longest address that is kept through a login, in bytes; a longer one leads to the start page.
const LIMIT: usize = 2048;

/// `next`, if it is a place in this MLflow, else the start page. The result begins with the base of `site`.
///
/// Open redirects (`//evil`, `/\evil`, `/..//evil`, tabs and line breaks inside) end here: the text is parsed as a
/// browser would against our own origin, and what is given back is the parsed form, not the text.
pub fn guard(next: &str, site: &Site) -> String {
    checked(next, site).unwrap_or_else(|| format!("{}/", site.base))
}

fn checked(next: &str, site: &Site) -> Option<String> {
    if next.len() > LIMIT || !next.starts_with('/') {
        return None;
    }
    // A backslash is a slash to browsers, and control characters are dropped by them. The fragment may have neither.
    if next.chars().any(|c| c == '\\' || c.is_control() || c.is_whitespace()) {
        return None;
    }
    let origin = Url::parse(&site.origin).ok()?;
    let url = origin.join(next).ok()?;
    if url.origin() != origin.origin() || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    // After the dots are resolved a path may begin with two slashes again: the name of another host.
    let path = url.path();
    let below = path.strip_prefix(site.base.as_str())?;
    if path.starts_with("//") || !below.starts_with('/') || below.starts_with("//") {
        return None;
    }
    // MLflow decodes a path before it looks for a route, and proxies resolve dots and merge slashes after that: to the one
    // or the other `/%6fidc/logout` and `/x%2f..%2foidc/logout` are endpoints of ours, and `/..%2fother` is beside the base.
    let decoded = percent_decode_str(below).decode_utf8_lossy();
    let mut read = Vec::new();
    for segment in decoded.split(['/', '\\']) {
        match segment {
            "" | "." => {}
            ".." => {
                read.pop()?;
            }
            name => read.push(name),
        }
    }
    // Coming back to our own endpoints would go round in circles or sign out.
    if read.first() == Some(&"oidc") || decoded == "/oidc" || decoded.starts_with("/oidc/") {
        return None;
    }
    let mut kept = path.to_owned();
    if let Some(query) = url.query() {
        kept.push('?');
        kept.push_str(query);
    }
    if let Some(fragment) = url.fragment() {
        kept.push('#');
        kept.push_str(fragment);
    }
    // Encoding makes it longer, and what does not fit the cookie would be lost there.
    (kept.len() <= LIMIT).then_some(kept)
}

/// The place that a request itself asks for, as browsers see it: the static prefix replaced by the public base.
pub fn from_request(path_and_query: &str, place: &Place, site: &Site) -> String {
    match place.strip(path_and_query) {
        Some(rest) => guard(&format!("{}{rest}", site.base), site),
        None => guard("", site),
    }
}
