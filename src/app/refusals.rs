//! What is written of refusals: the first ones of each kind line by line, a flood as a number.
//!
//! The attack is a flood of bad tokens: a line of the log costs more than the refusal itself, holds the interpreter's lock and
//! fills the disk, and the line that matters drowns in it.

use super::wire::Request;
use super::{App, answer};
use crate::error::{Code, Error};
use crate::ports::Level;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How many lines of one code may come at once, and how many more each second.
const BURST: i64 = 500;
const EACH_SECOND: i64 = 5;

/// How many lines each code may still write.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<Code, Allowance>>);

struct Allowance {
    lines: i64,
    /// When it was counted, in seconds since 1970.
    at: i64,
    unwritten: u64,
}

impl Refusals {
    /// Whether one more line of this code may be written; what may not is counted.
    fn may_write(&self, code: Code, now: i64) -> bool {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let allowance = codes.entry(code).or_insert(Allowance { lines: BURST, at: now, unwritten: 0 });
        let passed = now.saturating_sub(allowance.at).max(0);
        allowance.lines = BURST.min(allowance.lines.saturating_add(passed.saturating_mul(EACH_SECOND)));
        allowance.at = now;
        if allowance.lines > 0 {
            allowance.lines -= 1;
            return true;
        }
        allowance.unwritten += 1;
        false
    }

    fn take_unwritten(&self) -> Vec<(Code, u64)> {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken: Vec<_> = codes
            .iter_mut()
            .filter(|(_, allowance)| allowance.unwritten > 0)
            .map(|(code, allowance)| (*code, std::mem::take(&mut allowance.unwritten)))
            .collect();
        taken.sort_unstable();
        taken
    }
}

/// Writes the line of a refusal.
pub fn write(app: &App, request: &Request<'_>, error: &Error) {
    write_line(app, answer::level(error), error.code, || answer::log_line(request, error));
}

/// Writes a line about somebody who was refused, if one of that code may be written now.
pub fn write_line(app: &App, level: Level, code: Code, line: impl FnOnce() -> String) {
    if app.world.log.is_read(level) && app.refusals.may_write(code, app.now()) {
        app.log(level, &line());
    }
}

/// Writes how many lines were left out since the last time, each code in one line.
pub fn sum_up(app: &App) {
    for (code, count) in app.refusals.take_unwritten() {
        app.log(Level::Warning, &format!("{count} more refusals with {code} have no line of their own"));
    }
}
