//! A thread that works when woken or when its time has come, and callers that may wait for the end of a round.

use crate::ports::Background;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
struct State {
    /// Rounds that have ended.
    rounds: u64,
    /// A round is wanted that has not begun.
    wanted: bool,
    /// A round is under way.
    busy: bool,
}

/// A named thread and its condition variables. Nothing runs before [`Worker::start`].
#[derive(Debug, Default)]
pub struct Worker {
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
}

impl Worker {
    /// A worker that has not been started.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Starts the thread: `round` does one round and says how long to sleep; `None` ends the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        self: &Arc<Self>,
        name: &str,
        mut round: impl FnMut() -> Option<Duration> + Send + 'static,
    ) -> std::io::Result<()> {
        let weak: Weak<Self> = Arc::downgrade(self);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            loop {
                let Some(worker) = weak.upgrade() else { return };
                {
                    let mut state = worker.lock();
                    state.wanted = false;
                    state.busy = true;
                }
                // A panic in a round must not leave everybody waiting for ever: it counts as a round without result.
                let pause = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut round))
                    .unwrap_or(Some(Duration::from_secs(1)));
                let mut state = worker.lock();
                state.rounds += 1;
                state.busy = false;
                worker.done.notify_all();
                let Some(pause) = pause else { return };
                let until = Instant::now() + pause;
                while !state.wanted {
                    let Some(left) =
                        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
                    else {
                        break;
                    };
                    state = worker.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        })?;
        Ok(())
    }

    /// How many rounds have ended so far.
    pub fn rounds(&self) -> u64 {
        self.lock().rounds
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Background for Worker {
    fn wake(&self) {
        self.lock().wanted = true;
        self.work.notify_all();
    }

    fn wait(&self, at_most: Duration) {
        let until = Instant::now() + at_most;
        let mut state = self.lock();
        // A round that is under way may have begun before what the caller waits for was wanted.
        let target = state.rounds + if state.busy { 2 } else { 1 };
        state.wanted = true;
        self.work.notify_all();
        while state.rounds < target {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return;
            };
            state = self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Waits until something is so, at most for a time, by looking each millisecond: where a lock might never be given back.
pub fn wait_until(at_most: Duration, is_so: impl Fn() -> bool) {
    let until = Instant::now() + at_most;
    while !is_so() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
}
