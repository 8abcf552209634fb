//! Who may wait for the provider, and how many at once.

use crate::provider::{alice, ask, refusal};
use crate::support::{Browser, Draft, Signer, World, jwk, keys, ok};
use std::sync::atomic::Ordering;

#[test]
fn whoever_waited_in_vain_gives_the_place_back() {
    let world = World::new();
    world.refresher.hang(true);
    for _ in 0..50 {
        assert_eq!(ask(&world, &Draft::bearer().token()), refusal(503, "provider_pending"));
    }
    world.refresher.hang(false);
    assert_eq!(ask(&world, &Draft::bearer().token()), alice());
}

/// `count` requests that wait for a refresher that is held, then whatever comes `beside` them, then all go on.
fn wait_together(world: &World, count: u64, beside: impl FnOnce()) {
    let token = Draft::bearer().token();
    world.refresher.hold(true);
    let before = world.refresher.waited.load(Ordering::SeqCst);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..count).map(|_| scope.spawn(|| ask(world, &token))).collect();
        while world.refresher.waited.load(Ordering::SeqCst) < before + count {
            assert!(waiting.iter().all(|thread| !thread.is_finished()), "one was turned away");
            std::thread::yield_now();
        }
        beside();
        world.refresher.hold(false);
        for thread in waiting {
            assert_eq!(thread.join().unwrap(), alice());
        }
    });
}

#[test]
fn only_a_few_wait_for_the_provider_at_once() {
    // MLflow has 40 threads for all its work: a provider that hangs must not take them all.
    let world = World::new();
    let token = Draft::bearer().token();
    world.refresher.hang(true);
    assert_eq!(ask(&world, &token), refusal(503, "provider_pending"));
    world.refresher.hang(false);
    world.clock.forward(2);
    wait_together(&world, 8, || assert_eq!(ask(&world, &token), refusal(503, "provider_busy")));
    assert_eq!(ask(&world, &token), alice());
}

#[test]
fn whoever_comes_with_the_very_first_request_waits_with_it() {
    // A server that has just started meets all of its clients at once; a provider that is well answers in time for all.
    wait_together(&World::new(), 40, || ());
}

/// Tokens with made-up keys cost nothing: with a provider that is slow they would have turned away every login whose ID token
/// is signed with a new key, after its code was spent.
#[test]
fn a_login_that_brings_a_new_key_waits_beside_any_number_of_strangers() {
    let world = World::new();
    assert_eq!(ask(&world, &Draft::bearer().token()), alice());
    let mut set = keys();
    set["keys"].as_array_mut().unwrap().push(jwk(&Signer::RsaOther, "new"));
    world.provider.change(|script| script.keys = ok(&set));
    let mut browser = Browser::default();
    let asked = browser.begin(&world, "/");
    world.refresher.hold(true);
    let before = world.refresher.waited.load(Ordering::SeqCst);
    let waiting = |count| {
        while world.refresher.waited.load(Ordering::SeqCst) < before + count {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| ask(&world, &Draft::bearer().signed(Signer::RsaOther, "RS256", "new").token()));
        }
        waiting(8);
        let login = scope.spawn(|| {
            let mut id_token = Draft::id_token();
            id_token.signed(Signer::RsaOther, "RS256", "new");
            browser.come_back(&world, &asked, &mut id_token).outcome().0
        });
        while !login.is_finished() && world.refresher.waited.load(Ordering::SeqCst) < before + 9 {
            std::thread::yield_now();
        }
        world.refresher.hold(false);
        assert_eq!(login.join().unwrap(), 302);
    });
}
