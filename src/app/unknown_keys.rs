//! Tokens that name a key which is not published: when that is worth a fetch, and when it is proven.
//!
//! A 401 must be true: MLflow's client never tries again after one. So a key counts as unknown only when keys that were
//! fetched *after* somebody asked for it do not have it. And forged tokens with random key ids must neither make us a
//! nuisance to the provider nor keep honest tokens of a new key out.

use crate::jose::{Algorithm, Compact};

/// Seconds between two fetches that unknown keys may cause.
const COOLDOWN: i64 = 5;
/// How many names are kept; beyond that a caller is told to come again instead of no.
const LIMIT: usize = 256;
/// A longer key id is not kept.
const NAME_LIMIT: usize = 256;

/// How a token names its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    kid: Option<String>,
    algorithm: Algorithm,
}

impl Name {
    /// The key that a token names.
    pub fn of(token: &Compact<'_>) -> Self {
        Self { kid: token.kid().map(str::to_owned), algorithm: token.algorithm() }
    }

    fn is_short(&self) -> bool {
        self.kid.as_ref().is_none_or(|kid| kid.len() <= NAME_LIMIT)
    }
}

/// What to do about one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The provider has been asked since, and does not have it.
    Absent,
    /// The keys are to be fetched now.
    Fetch,
    /// The last fetch is too fresh; a fetch under way may answer, else the caller comes again.
    Later,
}

/// The names asked for, by the fetch that will answer or has answered. Times in seconds since 1970.
#[derive(Debug, Default)]
pub struct UnknownKeys {
    /// Asked for since the last fetch began.
    asked: Vec<Name>,
    /// Asked for before the fetch under way began.
    asking: Vec<Name>,
    /// Proven not to be there by the last fetch.
    absent: Vec<Name>,
    cooldown_until: i64,
}

impl UnknownKeys {
    /// Judges a key that the keys in memory do not have. The cooldown is stamped before the fetch, so that a slow or
    /// failing provider is not asked once per forged token.
    pub fn judge(&mut self, name: &Name, now: i64) -> Verdict {
        let cooling = now < self.cooldown_until;
        if cooling && self.absent.contains(name) {
            return Verdict::Absent;
        }
        if self.asked.len() < LIMIT && name.is_short() && !self.asked.contains(name) {
            self.asked.push(name.clone());
        }
        if cooling {
            return Verdict::Later;
        }
        self.cooldown_until = now.saturating_add(COOLDOWN);
        Verdict::Fetch
    }

    /// A fetch begins: it can answer for what was asked before.
    pub fn begin(&mut self) {
        self.asking.append(&mut self.asked);
        self.asking.truncate(LIMIT);
    }

    /// A fetch has brought keys. If they are other ones there was a rotation, and the next unknown key may be another
    /// step of it: it is not made to wait.
    pub fn end(&mut self, changed: bool) {
        self.absent = std::mem::take(&mut self.asking);
        if changed {
            self.absent.clear();
            self.cooldown_until = 0;
        }
    }
}
