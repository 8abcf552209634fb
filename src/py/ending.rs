//! The end of the interpreter, which none of our threads may meet while it is inside.
//!
//! A thread that wants the GIL back while the interpreter ends is ended by Python (before 3.14, by `pthread_exit`, which unwinds
//! it). Frames of Rust cannot be unwound so, and the process aborts: a worker would end with SIGABRT because a line of the log was
//! being written by our clerk. So Python's `atexit` shuts this door, and waits for whoever is inside.

use crate::edge::background;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How long the end waits for those inside: a database that hangs must not keep a server from stopping.
const PATIENCE: Duration = Duration::from_secs(2);

// No lock: in the child of a fork one that another thread held would be held for ever.
static ENDING: AtomicBool = AtomicBool::new(false);
static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// Somebody who is inside, until this is dropped.
struct Visit;

impl Visit {
    fn begin() -> Self {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Does something with the GIL, in any thread; `None` where the interpreter is ending.
pub fn attached<T>(work: impl FnOnce(Python<'_>) -> T) -> Option<T> {
    let _visit = Visit::begin();
    // Asked after the visit has begun: whoever shuts the door later waits for it.
    if ENDING.load(Ordering::SeqCst) { None } else { Python::try_attach(work) }
}

/// The one place where the GIL is let go, and wanted back afterwards; `work` touches no Python object.
pub fn let_go<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    let _visit = Visit::begin();
    py.detach(work)
}

/// Has Python shut the door before it ends.
///
/// # Errors
/// Those of `atexit.register`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let shut = wrap_pyfunction!(shut, module)?;
    module.py().import("atexit")?.call_method1("register", (shut,)).map(drop)
}

#[pyfunction]
fn shut(py: Python<'_>) {
    let_go(py, || {
        ENDING.store(true, Ordering::SeqCst);
        // One is this.
        background::wait_until(PATIENCE, || INSIDE.load(Ordering::SeqCst) <= 1);
    });
}
