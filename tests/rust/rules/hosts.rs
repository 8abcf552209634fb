//! The public address: from the settings, else from a request that names this machine or an allowed host.

use crate::support::{Ask, World, facts, parse};
use mlflow_oidc::config::{Facts, Site};
use std::collections::BTreeSet;

fn site(settings: &[(&str, &str)], scheme: &str, host: &str) -> Result<Site, String> {
    let place = parse(settings, &facts()).unwrap().place;
    place.site(scheme, host).map_err(|error| error.code.name().to_owned())
}

#[test]
fn this_machine_and_allowed_hosts_are_believed() {
    for (scheme, host, origin) in [
        ("http", "localhost", "http://localhost"),
        ("http", "localhost:5000", "http://localhost:5000"),
        ("http", "LOCALHOST:5000", "http://localhost:5000"),
        ("http", "127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http", "127.9.9.9", "http://127.9.9.9"),
        ("http", "[::1]:5000", "http://[::1]:5000"),
        ("https", "localhost:5000", "https://localhost:5000"),
        ("http", "mlflow.example", "http://mlflow.example"),
        ("https", "mlflow.example", "https://mlflow.example"),
        ("javascript", "localhost", "http://localhost"),
    ] {
        let found = site(&[], scheme, host).unwrap();
        assert_eq!(found.origin, origin);
        assert_eq!(found.redirect_uri, format!("{origin}/oidc/callback"));
    }
}

#[test]
fn hosts_of_others_are_refused_however_they_are_spelled() {
    for host in [
        "",
        "evil.example",
        "evil.example:5000",
        "localhost@evil.example",
        "localhost:80@evil.example",
        "127.0.0.1@evil.example",
        "user:localhost@evil.example",
        "localhost.evil.example",
        "evil.localhost.example",
        "127.0.0.1.evil.example",
        "evil.example/localhost",
        "evil.example/?localhost",
        "evil.example#localhost",
        "evil.example#@localhost",
        "evil.example?@localhost",
        "evil.example/@localhost",
        "evil.example\\@localhost",
        "mlflow.example.evil.example",
        "mlflow.example@evil.example",
        "evil.example,mlflow.example",
        "[::2]",
        "[::ffff:10.0.0.1]",
        "[fe80::1]",
        "0.0.0.0",
        "10.0.0.7:5000",
        "128.0.0.1",
        "localhost:99999",
        "localhost:x",
        "local host",
        "*",
        "[::1",
        "localhost/",
        "localhost/x",
        "localhost?x",
    ] {
        assert_eq!(site(&[], "http", host), Err("public_url_unknown".to_owned()), "{host:?}");
    }
}

#[test]
fn odd_spellings_of_this_machine_become_the_plain_one() {
    // They are harmless: what is used is what the parser of addresses made of them, never the text itself.
    for host in [
        "//localhost",
        "/localhost",
        "@localhost",
        "local\thost",
        "localhost#@evil.example",
        "0x7f.1",
        "2130706433",
    ] {
        let found = site(&[], "http", host).unwrap();
        assert!(
            ["http://localhost", "http://127.0.0.1"].contains(&found.origin.as_str()),
            "{host:?}: {found:?}"
        );
    }
}

#[test]
fn a_pattern_among_the_allowed_hosts_is_not_taken() {
    for pattern in ["*", "*.example", "mlflow.*", "localhost:*"] {
        let facts = Facts { allowed_hosts: vec![pattern.to_owned()], ..facts() };
        let place = parse(&[], &facts).unwrap().place;
        for host in ["a.example", "evil.com", pattern, "mlflow.example"] {
            assert!(place.site("http", host).is_err(), "{pattern} let {host} in");
        }
    }
}

#[test]
fn a_fixed_address_is_the_same_whatever_the_request_says() {
    let settings = [("OIDC_PUBLIC_URL", "https://mlflow.company.example/ml/")];
    for host in ["evil.example", "localhost:5000", "", "mlflow.example"] {
        let found = site(&settings, "http", host).unwrap();
        assert_eq!(found.origin, "https://mlflow.company.example");
        assert_eq!(found.base, "/ml");
        assert_eq!(found.redirect_uri, "https://mlflow.company.example/ml/oidc/callback");
        assert!(found.is_https());
    }
}

#[test]
fn the_redirect_uri_alone_tells_the_public_address() {
    // (redirect URI, static prefix, base, callback path)
    for (uri, prefix, base, callback) in [
        ("https://m.example/oidc/callback", "", "", "/oidc/callback"),
        ("https://m.example/ml/oidc/callback", "/ml", "/ml", "/oidc/callback"),
        ("https://m.example/x/oidc/callback", "/ml", "/x", "/oidc/callback"),
        ("https://m.example/", "", "", "/"),
        ("https://m.example", "", "", "/"),
        ("https://m.example/callback", "", "", "/callback"),
        ("https://m.example/ml/callback", "/ml", "/ml", "/callback"),
        ("https://m.example/ml", "/ml", "/ml", "/"),
    ] {
        let facts = Facts { static_prefix: prefix.to_owned(), ..facts() };
        let place = parse(&[("OIDC_REDIRECT_URI", uri)], &facts).unwrap().place;
        assert_eq!(place.callback, callback, "{uri}");
        let site = place.site.unwrap();
        assert_eq!(
            (site.base.as_str(), site.redirect_uri.as_str()),
            (base, uri),
            "sent exactly as registered"
        );
        assert_eq!(site.origin, "https://m.example");
    }
}

fn faults(settings: &[(&str, &str)], prefix: &str) -> BTreeSet<String> {
    let facts = Facts { static_prefix: prefix.to_owned(), ..facts() };
    parse(settings, &facts).err().unwrap_or_default().into_iter().map(|fault| fault.key).collect()
}

#[test]
fn a_redirect_uri_that_cannot_work_is_refused_with_the_reason() {
    let public = ("OIDC_PUBLIC_URL", "https://m.example/ml");
    for uri in [
        "https://other.example/ml/oidc/callback",
        "http://m.example/ml/oidc/callback",
        "https://m.example:8443/ml/oidc/callback",
        "https://m.example/oidc/callback",
        "https://m.example/mlx/oidc/callback",
        "https://m.example/ml/api/2.0/x",
        "https://m.example/ml/ajax-api",
        "https://m.example/ml/health",
        "https://m.example/ml/static-files/x",
        "https://m.example/ml/v1/traces",
        "https://m.example/ml/graphql",
        "https://m.example/ml/oidc/callback?x=1",
        "https://m.example/ml/oidc/callback#x",
        "https://u:p@m.example/ml/oidc/callback",
        "/oidc/callback",
    ] {
        let found = faults(&[public, ("OIDC_REDIRECT_URI", uri)], "/ml");
        assert_eq!(found, ["OIDC_REDIRECT_URI".to_owned()].into(), "{uri}");
    }
    assert!(faults(&[public, ("OIDC_REDIRECT_URI", "https://m.example/ml/apix")], "/ml").is_empty());
}

#[test]
fn a_prefix_that_makes_mlflow_open_to_everybody_is_refused() {
    for prefix in
        ["/static", "/static-ui", "/static/x", "/health", "/healthy", "/favicon.ico", "/favicon.icon/x"]
    {
        assert_eq!(faults(&[], prefix), ["--static-prefix".to_owned()].into(), "{prefix}");
    }
    for prefix in ["", "/", "/mlflow", "/mlflow/", "/my-static", "/x/static", "/x/health"] {
        assert!(faults(&[], prefix).is_empty(), "{prefix}");
    }
}

#[test]
fn paths_are_taken_apart_at_the_prefix_and_nowhere_else() {
    let facts = Facts { static_prefix: "/mlflow/".to_owned(), ..facts() };
    let place = parse(&[], &facts).unwrap().place;
    for (path, rest) in [
        ("/mlflow", Some("/")),
        ("/mlflow/", Some("/")),
        ("/mlflow/x", Some("/x")),
        ("/mlflow//x", Some("//x")),
        ("/mlflowx", None),
        ("/", None),
        ("/MLFLOW/x", None),
        ("", None),
    ] {
        assert_eq!(place.strip(path), rest, "{path}");
    }
}

#[test]
fn a_path_that_only_looks_like_ours_under_the_prefix_is_guarded() {
    let facts = Facts { static_prefix: "/mlflow".to_owned(), ..facts() };
    let world = World::told(&[], &facts);
    for path in
        ["/mlflow/oidc/session/", "/mlflowx/oidc/session", "/mlflow/x/oidc/session", "/mlflow//oidc/session"]
    {
        assert_eq!(Ask::get(path).of(&world).code(), "no_credentials", "{path}");
    }
}

#[test]
fn a_host_that_is_none_is_refused_before_anything_else() {
    // Some versions of Starlette put the path together from the Host header: it would choose the rules that apply.
    let world = World::new();
    let token = crate::support::Draft::bearer().token();
    for host in [
        "localhost/oidc/callback?code=x&state=y&",
        "localhost/gateway/",
        "localhost\\gateway",
        "localhost?x",
        "localhost#x",
        "user@localhost",
        "localhost x",
        "localhost\t",
        "localhost\0",
    ] {
        for ask in [Ask::get("/api/x").bearer(&token), Ask::get("/").navigation(), Ask::get("/oidc/login")] {
            let answered = ask.host(host).of(&world);
            assert_eq!(answered.refusal(), (400, "host_invalid".to_owned()), "{host:?}");
        }
    }
    assert!(world.provider.asked().is_empty());
}

#[test]
fn a_proxy_that_leaves_the_path_in_place_is_told_instead_of_a_page_that_reloads_for_ever() {
    // MLflow without --static-prefix: the sign-in page is asked for at an address that is none of ours, and its answer led there again.
    let settings = [("OIDC_PUBLIC_URL", "https://m.example/ml")];
    let world = World::told(&settings, &facts());
    for ask in
        [Ask::get("/ml/oidc/login?next=/ml/&go=1"), Ask::get("/ml/oidc/login"), Ask::get("/ml/oidc/logout")]
    {
        let answered = ask.navigation().of(&world);
        assert_eq!(answered.refusal(), (500, "configuration".to_owned()));
        assert!(answered.body().contains("--static-prefix /ml"), "{}", answered.body());
    }
    // A proxy that takes the path off, and an MLflow that has it.
    assert_eq!(Ask::get("/oidc/login?next=/&go=1").navigation().of(&world).status(), 302);
    let prefixed = World::told(&settings, &Facts { static_prefix: "/ml".to_owned(), ..facts() });
    assert_eq!(Ask::get("/ml/oidc/login?next=/&go=1").navigation().of(&prefixed).status(), 302);
    // MLflow's own paths are not ours to judge, whatever they look like.
    assert_eq!(Ask::get("/ml/api/2.0/mlflow/experiments/search").of(&world).status(), 401);
}
