//! A provider that does not end logins: few wait for it, and it is left alone for a while.

use crate::support::{Browser, Draft, World, down, ok, spoilt};
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

/// How often the token endpoint was asked to end a login, and how often it was only looked at.
fn asked(world: &World) -> (usize, usize) {
    let asked = world.provider.asked();
    let (logins, looks): (Vec<_>, Vec<_>) =
        asked.iter().filter(|request| request.url.ends_with("/token")).partition(|r| r.form.is_some());
    // A look takes neither a thread of MLflow's nor a secret.
    assert!(looks.iter().all(|look| look.authorization.is_none() && look.within.is_some()));
    (logins.len(), looks.len())
}

#[test]
fn after_one_that_hung_the_others_are_answered_at_once_and_lose_nothing() {
    let world = World::new();
    let mut logins = begun(&world, 40);
    world.provider.change(|script| script.token = down());
    let woken = world.refresher.woken.load(std::sync::atomic::Ordering::SeqCst);
    for login in &mut logins {
        let (status, code) = come_back(&world, login);
        assert_eq!((status, code.as_str()), AWAY);
    }
    assert_eq!(asked(&world), (1, 0), "the provider was asked once");
    assert_eq!(world.refresher.woken.load(std::sync::atomic::Ordering::SeqCst), woken + 1);
    // The first login was spent. The others are good as soon as somebody answers again.
    assert!(logins[0].0.cookie.is_none());
    mend(&world, &logins[7]);
    assert_eq!(come_back(&world, &mut logins[7]).0, 503);
    world.clock.forward(2);
    world.refresher.run();
    assert_eq!(asked(&world), (1, 1));
    for number in [7, 8] {
        mend(&world, &logins[number]);
        assert_eq!(come_back(&world, &mut logins[number]).0, 302);
    }
}

#[test]
fn the_refresher_goes_to_see_and_the_pauses_grow_to_eight_seconds() {
    let world = World::new();
    let mut logins = begun(&world, 60).into_iter();
    world.provider.change(|script| script.token = down());
    let mut looked_at = Vec::new();
    for second in 0..40 {
        let before = asked(&world).1;
        come_back(&world, &mut logins.next().unwrap());
        let sleep = world.refresher.run();
        assert!(sleep <= std::time::Duration::from_secs(8), "{sleep:?}");
        if asked(&world).1 > before {
            looked_at.push(second);
        }
        world.clock.forward(1);
    }
    assert_eq!(looked_at, [2, 6, 14, 22, 30, 38]);
    assert_eq!(asked(&world).0, 1, "no login was lost to it");
    // A login that ends well ends the trouble, and the next one begins anew.
    world.clock.forward(8);
    let mut good = logins.next().unwrap();
    mend(&world, &good);
    world.refresher.run();
    assert_eq!(come_back(&world, &mut good).0, 302);
    assert!(world.refresher.run() > std::time::Duration::from_secs(60));
    world.provider.change(|script| script.token = down());
    come_back(&world, &mut logins.next().unwrap());
    assert_eq!(world.refresher.run(), std::time::Duration::from_secs(2));
}

#[test]
fn an_answer_to_a_look_is_not_yet_the_end_of_the_trouble() {
    // The provider answers a GET, and hangs when it shall end a login: the pauses go on growing.
    let world = World::new();
    let mut logins = begun(&world, 4).into_iter();
    let mut pauses = Vec::new();
    for _ in 0..4 {
        world.provider.change(|script| script.token = down());
        come_back(&world, &mut logins.next().unwrap());
        let pause = world.refresher.run();
        pauses.push(pause.as_secs());
        world.clock.forward(8);
        world.provider.change(|script| script.token = ok(&json!({})));
        world.refresher.run();
    }
    assert_eq!(pauses, [2, 4, 8, 8]);
}

#[test]
fn where_nobody_answers_a_look_a_login_goes_to_see_every_two_minutes() {
    let world = World::new();
    let mut logins = begun(&world, 400).into_iter();
    world.provider.change(|script| script.token = down());
    let mut sent_at = Vec::new();
    for second in 0..365 {
        let before = asked(&world).0;
        come_back(&world, &mut logins.next().unwrap());
        if asked(&world).0 > before {
            sent_at.push(second);
        }
        world.clock.forward(1);
    }
    assert_eq!(sent_at, [0, 120, 240, 360]);
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

#[test]
fn one_answer_that_cannot_be_used_is_the_matter_of_one_login() {
    // Somebody whose user information is too large, or a code at which a firewall cuts the connection, would have shut the
    // door on everybody.
    let world = World::new();
    let mut logins = begun(&world, 3);
    world.provider.change(|script| script.token = spoilt());
    let (status, code) = come_back(&world, &mut logins[0]);
    assert_eq!((status, code.as_str()), AWAY);
    world.provider.change(|script| script.userinfo = spoilt());
    let mut draft = Draft::id_token();
    draft.drop("groups");
    let asked = logins[1].1.clone();
    assert_eq!(logins[1].0.come_back(&world, &asked, &mut draft).outcome().0, 503);
    mend(&world, &logins[2]);
    assert_eq!(come_back(&world, &mut logins[2]).0, 302);
    // And such an answer to a look is an answer.
    world.provider.change(|script| script.token = down());
    let mut more = begun(&world, 2);
    come_back(&world, &mut more[0]);
    world.provider.change(|script| script.token = spoilt());
    world.clock.forward(2);
    world.refresher.run();
    mend(&world, &more[1]);
    assert_eq!(come_back(&world, &mut more[1]).0, 302);
}
