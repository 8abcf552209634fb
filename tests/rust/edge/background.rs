//! The thread that works when woken, and those who wait for it.

use mlflow_oidc::edge::background::Worker;
use mlflow_oidc::ports::Background;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(3600);
const ENOUGH: Duration = Duration::from_secs(20);

/// Waits for one round that begins now.
fn wait(worker: &Worker, at_most: Duration) {
    worker.wait(at_most);
}

#[test]
fn nothing_runs_before_the_start_and_the_first_round_comes_by_itself() {
    let worker = Worker::new();
    assert_eq!(worker.rounds(), 0);
    let began = Instant::now();
    wait(&worker, Duration::from_millis(100));
    assert!(began.elapsed() >= Duration::from_millis(100), "waited in vain, and no longer than allowed");
    let (told, first) = mpsc::channel();
    worker
        .start("test", move || {
            let _ = told.send(std::thread::current().name().map(str::to_owned));
            Some(LONG)
        })
        .unwrap();
    assert_eq!(first.recv_timeout(ENOUGH).unwrap().as_deref(), Some("test"));
}

#[test]
fn whoever_waits_sees_a_round_that_began_after_the_call() {
    let worker = Worker::new();
    let (input, output) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (reads, writes) = (Arc::clone(&input), Arc::clone(&output));
    worker
        .start("test", move || {
            let seen = reads.load(Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            writes.store(seen, Ordering::SeqCst);
            Some(LONG)
        })
        .unwrap();
    for value in 1..=20 {
        input.store(value, Ordering::SeqCst);
        // Every other time somebody else has just begun a round, which has read the input before.
        if value % 2 == 0 {
            worker.wake();
            std::thread::sleep(Duration::from_millis(5));
            input.store(value + 100, Ordering::SeqCst);
        }
        let wanted = input.load(Ordering::SeqCst);
        wait(&worker, ENOUGH);
        assert_eq!(output.load(Ordering::SeqCst), wanted);
    }
}

#[test]
fn a_round_that_began_before_the_call_is_not_enough_even_if_it_ends_at_once() {
    let worker = Worker::new();
    let gate = Arc::new(Barrier::new(2));
    let (inside, count) = (Arc::clone(&gate), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&count);
    worker
        .start("test", move || {
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                inside.wait();
                inside.wait();
            }
            Some(LONG)
        })
        .unwrap();
    gate.wait();
    // The first round is under way, and ends while this thread waits.
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        gate.wait();
    });
    wait(&worker, ENOUGH);
    release.join().unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn waking_ends_the_sleep_and_is_not_lost_during_a_round() {
    let worker = Worker::new();
    let (told, rounds) = mpsc::channel();
    let (go, may_end) = mpsc::channel::<()>();
    worker
        .start("test", move || {
            told.send(()).unwrap();
            let _ = may_end.recv_timeout(ENOUGH);
            Some(LONG)
        })
        .unwrap();
    rounds.recv_timeout(ENOUGH).unwrap();
    worker.wake();
    worker.wake();
    go.send(()).unwrap();
    rounds.recv_timeout(ENOUGH).expect("the wake during the round was lost");
    go.send(()).unwrap();
    assert!(rounds.recv_timeout(Duration::from_millis(200)).is_err(), "two wakes are one round");
    worker.wake();
    rounds.recv_timeout(ENOUGH).expect("a sleeping worker is woken");
    go.send(()).unwrap();
}

#[test]
fn a_round_comes_again_when_its_time_has_come() {
    let worker = Worker::new();
    let (told, rounds) = mpsc::channel();
    worker.start("test", move || told.send(()).ok().map(|()| Duration::from_millis(20))).unwrap();
    for _ in 0..5 {
        rounds.recv_timeout(ENOUGH).unwrap();
    }
}

#[test]
fn a_panic_in_a_round_leaves_nobody_waiting_and_does_not_end_the_thread() {
    let worker = Worker::new();
    let breaks = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&breaks);
    worker
        .start("test", move || {
            assert!(!switch.load(Ordering::SeqCst), "this panic is part of the test");
            Some(LONG)
        })
        .unwrap();
    let began = Instant::now();
    wait(&worker, ENOUGH);
    wait(&worker, ENOUGH);
    breaks.store(false, Ordering::SeqCst);
    let before = worker.rounds();
    wait(&worker, ENOUGH);
    assert!(worker.rounds() > before);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn the_thread_ends_when_the_work_says_so() {
    let worker = Worker::new();
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    worker
        .start("test", move || {
            let _keeps = &inside;
            None
        })
        .unwrap();
    let began = Instant::now();
    while Arc::strong_count(&held) > 1 {
        assert!(began.elapsed() < ENOUGH, "the thread goes on");
        std::thread::yield_now();
    }
    assert_eq!(worker.rounds(), 1);
    worker.wake();
    let began = Instant::now();
    wait(&worker, Duration::from_millis(100));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(worker.rounds(), 1);
}

#[test]
fn many_who_wait_share_a_few_rounds() {
    let worker = Worker::new();
    worker
        .start("test", || {
            std::thread::sleep(Duration::from_millis(50));
            Some(LONG)
        })
        .unwrap();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| wait(&worker, ENOUGH));
        }
    });
    assert!((1..=6).contains(&worker.rounds()), "{} rounds for twenty", worker.rounds());
}

#[test]
fn nobody_waits_longer_than_they_said() {
    let worker = Worker::new();
    worker
        .start("test", || {
            std::thread::sleep(Duration::from_secs(3));
            None
        })
        .unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let began = Instant::now();
    wait(&worker, Duration::from_millis(200));
    assert!((200..2000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}
