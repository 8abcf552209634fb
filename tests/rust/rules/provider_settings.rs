//! Settings that say who the provider is and how it names people.

use crate::support::{facts, parse};

#[test]
fn a_provider_that_anybody_can_join_needs_a_group() {
    for (issuer, advice) in [
        ("https://accounts.google.com", "OIDC_GROUPS_CLAIM=hd"),
        ("https://gitlab.com", "(OIDC_USER_GROUP=your-group)"),
        ("https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0", "your tenant"),
    ] {
        let settings = [("OIDC_ISSUER_URL", issuer), ("OIDC_USER_GROUP", "")];
        let faults = parse(&settings, &facts()).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].key, "OIDC_USER_GROUP");
        assert!(faults[0].expected.contains(advice), "{faults:?}");
        assert!(parse(&[("OIDC_ISSUER_URL", issuer), ("OIDC_USER_GROUP", "example.com")], &facts()).is_ok());
    }
}

#[test]
fn the_address_for_people_of_any_tenant_is_refused_with_what_to_write_instead() {
    for shared in ["common", "organizations", "consumers"] {
        let issuer = format!("https://login.microsoftonline.com/{shared}/v2.0");
        let faults = parse(&[("OIDC_ISSUER_URL", &issuer)], &facts()).unwrap_err();
        assert!(faults[0].expected.contains("your tenant"), "{faults:?}");
    }
}

#[test]
fn nobody_is_told_apart_by_a_claim_that_may_change_hands() {
    for claim in ["email", "preferred_username", "SUB", "sub,oid", "uid", "sub,uid", "upn"] {
        let faults = parse(&[("OIDC_SUBJECT_CLAIM", claim)], &facts()).unwrap_err();
        assert_eq!(
            (faults[0].key.as_str(), faults[0].expected.as_str()),
            ("OIDC_SUBJECT_CLAIM", "sub, oid, or uid,sub")
        );
    }
}

#[test]
fn a_list_of_nothing_but_commas_is_a_slip() {
    for key in ["OIDC_USERNAME_CLAIM", "OIDC_GROUPS_CLAIM"] {
        let faults = parse(&[(key, " , ")], &facts()).unwrap_err();
        assert_eq!(faults[0].key, key, "{faults:?}");
    }
}

#[test]
fn the_names_of_a_provider_begin_with_its_own() {
    let config = parse(&[("OIDC_ISSUER_ALIASES", "https://a.example, b")], &facts()).unwrap();
    assert_eq!(config.issuers, [config.issuer.as_str(), "https://a.example", "b"]);
    assert_eq!(parse(&[], &facts()).unwrap().issuers.len(), 1);
    for strange in
        ["https://sts.windows.net/{tenantid}/", "https://*.example", "https://u:p@a.example", "a b"]
    {
        let faults = parse(&[("OIDC_ISSUER_ALIASES", strange)], &facts()).unwrap_err();
        assert_eq!(faults[0].key, "OIDC_ISSUER_ALIASES");
        assert!(!faults[0].found.contains("u:p"), "{faults:?}");
    }
}
