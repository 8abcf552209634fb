//! `next`: no spelling of it leaves this MLflow. The spellings are in tests/vectors/next.txt.

use crate::support::{Ask, World, facts};
use mlflow_oidc::app::return_to::guard;
use mlflow_oidc::config::{Facts, Site};
use std::collections::HashSet;
use url::{Url, form_urlencoded};

const BASES: [&str; 3] = ["", "/mlflow", "/a/b"];

fn site(base: &str) -> Site {
    let origin = "https://mlflow.example".to_owned();
    Site { redirect_uri: format!("{origin}{base}/oidc/callback"), base: base.to_owned(), origin }
}

/// The texts of one part of tests/vectors/next.txt, which explains its own form.
fn texts(part: &str) -> Vec<String> {
    let mut current = "";
    let mut found = Vec::new();
    for line in include_str!("../../vectors/next.txt").lines() {
        if let Some(name) = ["start", "here", "query", "kept"].iter().find(|name| line == format!("[{name}]"))
        {
            current = name;
        } else if !line.is_empty() && !line.starts_with('#') && current == part {
            let text = serde_json::from_str(&format!("\"{line}\"")).unwrap_or_else(|e| panic!("{line}: {e}"));
            found.push(text);
        }
    }
    assert!(!found.is_empty(), "nothing in [{part}]");
    found
}

/// A text as it is tried behind this base on this host.
fn filled(text: &str, base: &str, host: &str) -> String {
    let text = text.replace("BASE", base).replace("HOST", host);
    let mut parts = text.split("REPEAT(");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let (repeat, rest) = part.split_once(')').unwrap();
        let (count, what) = repeat.split_once(',').unwrap();
        out.push_str(&what.repeat(count.parse().unwrap()));
        out.push_str(rest);
    }
    out
}

/// The path as a server reads it that decodes before it looks: MLflow once, some proxies with dots and slashes besides.
fn as_servers_read_it(path: &str) -> Vec<String> {
    let as_query = path.replace('&', "%26").replace('=', "%3D").replace('+', "%2B");
    let decoded =
        form_urlencoded::parse(as_query.as_bytes()).next().map_or_else(String::new, |pair| pair.0.into());
    let mut segments: Vec<String> = Vec::new();
    for segment in decoded.split(['/', '\\']).filter(|segment| !matches!(*segment, "" | ".")) {
        if segment == ".." {
            segments.pop();
        } else {
            segments.push(segment.to_owned());
        }
    }
    segments
}

/// What holds for every place that the guard gives.
fn assert_here(kept: &str, next: &str, site: &Site) {
    let told = format!("{next:?} became {kept:?} for base {:?}", site.base);
    assert!(kept.starts_with(&format!("{}/", site.base)), "{told}: not below the base");
    assert!(kept.is_ascii(), "{told}: another letter than those of addresses");
    assert!(
        !kept.contains(|c: char| c.is_control() || "\\ \"<>".contains(c)),
        "{told}: a browser would change it"
    );
    // As a browser does with a Location or a link, wherever the page stands.
    for page in [String::new(), format!("{}/oidc/callback?code=x&state=y", site.base), "/x/y/z#w".to_owned()]
    {
        let url = Url::parse(&site.origin).unwrap().join(&page).unwrap().join(kept).unwrap();
        assert_eq!(url.as_str(), format!("{}{kept}", site.origin), "{told}");
        assert_eq!((url.username(), url.password()), ("", None), "{told}");
        assert!(url.path().starts_with(&format!("{}/", site.base)), "{told}");
        assert!(!url.path().starts_with("//"), "{told}");
        let base = as_servers_read_it(&site.base);
        let read = as_servers_read_it(url.path());
        assert!(read.starts_with(&base), "{told}: a server would leave the base");
        assert_ne!(read.get(base.len()).map(String::as_str), Some("oidc"), "{told}: an endpoint of ours");
    }
    assert_eq!(guard(kept, site), kept, "{told}: a second look changes it");
}

#[test]
fn there_are_several_hundred_spellings_and_none_twice() {
    let all: Vec<String> = ["start", "here", "query", "kept"].into_iter().flat_map(texts).collect();
    let distinct: HashSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "a line stands twice");
    assert!(texts("start").len() + texts("here").len() > 500);
}

#[test]
fn no_spelling_leaves_this_mlflow() {
    for base in BASES {
        let site = site(base);
        for text in texts("start") {
            let next = filled(&text, base, "mlflow.example");
            assert_eq!(guard(&next, &site), format!("{base}/"), "{next:?} for base {base:?}");
        }
        for text in [texts("start"), texts("here")].concat() {
            let next = filled(&text, base, "mlflow.example");
            assert_here(&guard(&next, &site), &next, &site);
            // What is written for a server at the root is tried behind the base as well.
            let behind = format!("{base}{next}");
            assert_here(&guard(&behind, &site), &behind, &site);
        }
    }
}

#[test]
fn most_of_what_looks_like_another_host_is_kept_somewhere() {
    // If the guard began to refuse everything, the spellings that lead here would prove nothing any more.
    let kept = texts("here")
        .iter()
        .filter(|text| {
            BASES
                .iter()
                .any(|base| guard(&filled(text, base, "mlflow.example"), &site(base)).len() > base.len() + 1)
        })
        .count();
    assert!(kept * 10 > texts("here").len() * 9, "{kept}");
}

#[test]
fn no_query_of_the_sign_in_page_leads_away() {
    for prefix in BASES {
        let world = World::told(&[], &Facts { static_prefix: prefix.to_owned(), ..facts() });
        let site = world_site(prefix);
        for text in texts("query") {
            let query = filled(&text, prefix, "localhost:5000");
            let page = Ask::get(&format!("{prefix}/oidc/login?{query}")).navigation().of(&world);
            if page.status() == 200 {
                assert_here(&onward(page.body()), &query, &site);
            } else {
                // The query itself asked to go on at once; where it ends is in the sealed cookie.
                assert!(query.contains("go="), "{query}: {:?}", page.0);
            }
        }
    }
}

fn world_site(base: &str) -> Site {
    let origin = "http://localhost:5000".to_owned();
    Site { redirect_uri: format!("{origin}{base}/oidc/callback"), base: base.to_owned(), origin }
}

/// `next` of the link of a sign-in page, as the browser sends it on.
fn onward(page: &str) -> String {
    let link = page.split_once("id=\"continue\" href=\"").unwrap().1.split('"').next().unwrap();
    let url = Url::parse("http://localhost:5000").unwrap().join(&link.replace("&amp;", "&")).unwrap();
    assert!(url.path().ends_with("/oidc/login"), "{link}");
    let next: Vec<_> = url.query_pairs().filter(|(name, _)| name == "next").collect();
    assert_eq!(next.len(), 1, "{link}");
    next[0].1.clone().into_owned()
}

#[test]
fn places_in_this_mlflow_are_kept() {
    for base in BASES {
        let site = site(base);
        for text in texts("kept") {
            let next = filled(&text, base, "mlflow.example");
            assert_eq!(guard(&next, &site), next, "base {base:?}");
            assert_here(&next, &next, &site);
        }
    }
}

#[test]
fn places_beside_the_base_are_elsewhere() {
    let site = site("/mlflow");
    for next in
        ["/", "/mlflow", "/mlflowx/", "/other/", "/mlflow/../other/", "/MLFLOW/", "/%6dlflow/", "/x/mlflow/"]
    {
        assert_eq!(guard(next, &site), "/mlflow/", "{next}");
    }
}

#[test]
fn dots_are_resolved_before_anything_is_kept() {
    assert_eq!(guard("/a/../b/./c?d#e", &site("")), "/b/c?d#e");
    assert_eq!(guard("/../../x", &site("")), "/x");
}

#[test]
fn whatever_comes_out_is_a_place_in_this_mlflow_for_a_browser() {
    // Every pair and triple of the letters that matter, in front of a host of somebody else and of an endpoint of ours.
    const LETTERS: [&str; 14] =
        ["/", "\\", ".", "..", "%2e", "%2f", "%5c", "%6f", "\t", "@", "?", "#", ":", ";"];
    let mut count = 0;
    for base in ["", "/mlflow"] {
        let site = site(base);
        for a in LETTERS {
            for b in LETTERS {
                for c in LETTERS {
                    for next in [
                        format!("/{a}{b}{c}evil.example"),
                        format!("{base}/{a}{b}{c}evil.example/x"),
                        format!("{base}/{a}{b}{c}oidc/logout"),
                        format!("{base}/{a}{b}{c}idc/logout"),
                    ] {
                        assert_here(&guard(&next, &site), &next, &site);
                        count += 1;
                    }
                }
            }
        }
    }
    assert!(count > 20_000);
}

#[test]
fn long_ones_lead_to_the_start_page() {
    let fits = format!("/{}", "x".repeat(2047));
    assert_eq!(guard(&fits, &site("")), fits);
    assert_eq!(guard(&format!("{fits}x"), &site("")), "/");
}
