//! The system's clock and its source of random bytes.

use crate::error::Error;
use crate::ports::{Clock, Entropy};
use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock: tokens carry wall-clock times.
#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        // A clock before 1970 makes every token invalid, which is the safe answer.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}

/// The operating system's random numbers, through aws-lc.
#[derive(Debug)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), Error> {
        aws_lc_rs::rand::fill(out).map_err(|_| Error::internal("the system has no random numbers"))
    }
}
