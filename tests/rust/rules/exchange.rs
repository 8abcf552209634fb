//! A provider that does not end logins: few wait for it, and it is left alone for a while.

use crate::support::{Browser, Draft, World, down, ok};
use serde_json::json;
use std::collections::BTreeMap;

type Asked = BTreeMap<String, String>;

fn begun(world: &World, count: usize) -> Vec<(Browser, Asked)> {
    (0..count)
        .map(|_| {
            let mut browser = Browser::default();
            let asked = browser.begin(world, "/#/x");
            (browser, asked)
        })
        .collect()
}

fn come_back(world: &World, login: &mut (Browser, Asked)) -> (u16, String) {
    let path = format!("/oidc/callback?code=c&state={}", login.1["state"]);
    login.0.open(world, &path).outcome()
}

/// From now on the provider ends this login well.
fn mend(world: &World, login: &(Browser, Asked)) {
    let token = Draft::id_token().answer_to(&login.1["nonce"]).token();
    world.provider.change(|script| script.token = ok(&json!({"token_type": "Bearer", "id_token": token})));
}

const AWAY: (u16, &str) = (503, "provider_unreachable");

#[test]
fn after_one_that_hung_the_others_are_answered_at_once_and_lose_nothing() {
    let world = World::new();
    let mut logins = begun(&world, 40);
    world.provider.change(|script| script.token = down());
    for login in &mut logins {
        let (status, code) = come_back(&world, login);
        assert_eq!((status, code.as_str()), AWAY);
    }
    assert_eq!(world.provider.count("/token"), 1, "the provider was asked once");
    // The first login was spent. The others are good as soon as the provider is.
    world.clock.forward(2);
    assert!(logins[0].0.cookie.is_none());
    mend(&world, &logins[7]);
    assert_eq!(come_back(&world, &mut logins[7]).0, 302);
    mend(&world, &logins[8]);
    assert_eq!(come_back(&world, &mut logins[8]).0, 302);
}

#[test]
fn one_at_a_time_goes_to_see_and_the_pauses_grow_to_eight_seconds() {
    let world = World::new();
    let mut logins = begun(&world, 60).into_iter();
    world.provider.change(|script| script.token = down());
    let mut asked_at = Vec::new();
    for second in 0..40 {
        let before = world.provider.count("/token");
        come_back(&world, &mut logins.next().unwrap());
        if world.provider.count("/token") > before {
            asked_at.push(second);
        }
        world.clock.forward(1);
    }
    assert_eq!(asked_at, [0, 2, 6, 14, 22, 30, 38]);
    // Once it answers, the next trouble begins anew.
    world.clock.forward(8);
    let mut good = logins.next().unwrap();
    mend(&world, &good);
    assert_eq!(come_back(&world, &mut good).0, 302);
    world.provider.change(|script| script.token = down());
    let count = world.provider.count("/token");
    come_back(&world, &mut logins.next().unwrap());
    come_back(&world, &mut logins.next().unwrap());
    world.clock.forward(2);
    come_back(&world, &mut logins.next().unwrap());
    assert_eq!(world.provider.count("/token"), count + 2);
}

#[test]
fn an_answer_of_any_kind_is_an_answer() {
    let world = World::new();
    let mut logins = begun(&world, 3);
    world.provider.change(|script| script.token = crate::support::answer(500, "text/html", "<h1>oops</h1>"));
    for login in &mut logins {
        assert_eq!(come_back(&world, login), (502, "provider_error".to_owned()));
    }
    assert_eq!(world.provider.count("/token"), 3);
}

#[test]
fn trouble_with_userinfo_counts_as_well() {
    let world = World::new();
    let mut logins = begun(&world, 3);
    world.provider.change(|script| script.userinfo = down());
    for login in &mut logins {
        let mut draft = Draft::id_token();
        draft.drop("groups");
        let outcome = login.0.come_back(&world, &login.1, &mut draft).outcome();
        assert_eq!((outcome.0, outcome.1.as_str()), AWAY);
    }
    assert_eq!((world.provider.count("/token"), world.provider.count("/userinfo")), (1, 1));
}
