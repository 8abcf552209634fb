//! `next`: no spelling of it leaves this MLflow.

use mlflow_oidc::app::return_to::guard;
use mlflow_oidc::config::Site;
use url::Url;

fn site(base: &str) -> Site {
    let origin = "https://mlflow.example".to_owned();
    Site { redirect_uri: format!("{origin}{base}/oidc/callback"), base: base.to_owned(), origin }
}

/// Open redirects as they are found in the wild (oauth2-proxy, mod_auth_openidc and OWASP lists, and our own).
/// `BASE` is replaced by the base, so that those behind it are tried too.
const ELSEWHERE: &[&str] = &[
    "",
    "evil.example",
    "https://evil.example",
    "http://evil.example/",
    "HTTPS://evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "//evil.example",
    "//evil.example/",
    "///evil.example",
    "////evil.example",
    "/////evil.example/..",
    "/\\evil.example",
    "\\/evil.example",
    "\\\\evil.example",
    "/\\/evil.example",
    "/\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "\t//evil.example",
    " //evil.example",
    "\u{A0}//evil.example",
    "/ /evil.example",
    "/\u{0}/evil.example",
    "/\u{1F}/evil.example",
    "/\u{7F}/evil.example",
    "/\u{85}/evil.example",
    "/\u{2028}/evil.example",
    "/\u{3000}/evil.example",
    "/.//evil.example",
    "/./\\evil.example",
    "/..//evil.example",
    "/../..//evil.example",
    "/x/..//evil.example",
    "/x/../..//evil.example",
    "/%2e%2e//evil.example",
    "/%2E//evil.example",
    "/.%2e//evil.example",
    "/x/%2e%2e//evil.example",
    "BASE//evil.example",
    "BASE/..//evil.example",
    "BASE/.//evil.example",
    "BASE/x/..//evil.example",
    "BASE\\evil.example",
    "BASE/\\evil.example",
    "BASE/\t/evil.example",
    "//user@evil.example",
    "//mlflow.example@evil.example",
    "//mlflow.example:443@evil.example",
    "//user:pw@mlflow.example/",
    "//mlflow.example.evil.example",
    "//[::1]/",
    "//127.0.0.1/",
    "//2130706433/",
    "//0x7f.1/",
    "//evil%2eexample",
    "//evil。example",
    "//EVIL.example",
    "?next=//evil.example",
    "#//evil.example",
    "@evil.example",
    "/@evil.example/../..//evil.example",
    ":80",
    ".evil.example",
    "-evil.example",
    "ftp://evil.example",
    "blob:https://evil.example/x",
    "view-source:https://evil.example",
    "BASE/oidc",
    "BASE/oidc/",
    "BASE/oidc/logout",
    "BASE/oidc/login?next=//evil.example",
    "BASE/x/../oidc/logout",
    "BASE/./oidc/callback?code=x",
    "BASE/%2e/oidc/logout",
    "BASE/%6fidc/login?next=/",
    "BASE/oid%63",
    "BASE/oidc%2Flogout",
    "BASE/%6F%69%64%63/logout",
];

/// Places in this MLflow.
const HERE: &[&str] = &[
    "BASE/",
    "BASE/?x=1",
    "BASE/#/experiments/7",
    "BASE/?a=//evil.example",
    "BASE/#//evil.example",
    "BASE/?next=https://evil.example/",
    "BASE/@evil.example",
    "BASE/x:y@z",
    "BASE/%5Cevil.example",
    "BASE/%2F%2Fevil.example",
    "BASE/graphql",
    "BASE/oidcs",
    "BASE/%256fidc/logout",
    "BASE/oidc-docs/",
    "BASE/a/b;c=d",
    "BASE/%0d%0aSet-Cookie:x",
];

#[test]
fn no_spelling_leaves_this_mlflow() {
    for base in ["", "/mlflow", "/a/b"] {
        let site = site(base);
        for next in ELSEWHERE {
            let next = next.replace("BASE", base);
            assert_eq!(guard(&next, &site), format!("{base}/"), "{next:?} for base {base:?}");
        }
    }
}

#[test]
fn places_in_this_mlflow_are_kept() {
    for base in ["", "/mlflow", "/a/b"] {
        let site = site(base);
        for next in HERE {
            let next = next.replace("BASE", base);
            assert_eq!(guard(&next, &site), next, "base {base:?}");
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
    // Every pair and triple of the letters that matter, in front of a host of somebody else.
    const LETTERS: [&str; 12] = ["/", "\\", ".", "..", "%2e", "%2f", "%5c", "\t", "@", "?", "#", ":"];
    let mut count = 0;
    for base in ["", "/mlflow"] {
        let site = site(base);
        let start = Url::parse("https://mlflow.example/").unwrap();
        for a in LETTERS {
            for b in LETTERS {
                for c in LETTERS {
                    for next in [format!("/{a}{b}{c}evil.example"), format!("{base}/{a}{b}{c}evil.example/x")]
                    {
                        let kept = guard(&next, &site);
                        let url = start.join(&kept).unwrap();
                        assert_eq!(url.host_str(), Some("mlflow.example"), "{next:?} became {kept:?}");
                        assert!(kept.starts_with(&format!("{base}/")) && !kept.starts_with("//"), "{kept:?}");
                        assert!(kept.is_ascii() && !kept.contains(|c: char| c.is_control() || c == ' '));
                        assert_eq!(guard(&kept, &site), kept, "a second look changes nothing");
                        count += 1;
                    }
                }
            }
        }
    }
    assert!(count > 6000);
}

#[test]
fn long_ones_lead_to_the_start_page() {
    let fits = format!("/{}", "x".repeat(2047));
    assert_eq!(guard(&fits, &site("")), fits);
    assert_eq!(guard(&format!("{fits}x"), &site("")), "/");
}
