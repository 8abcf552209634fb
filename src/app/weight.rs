//! How much memory something takes, so that what is remembered is bounded by that and not by its number alone: somebody in
//! 300 groups takes fifteen times as much as somebody in five.

use quick_cache::Weighter;
use std::sync::Arc;

/// One unit of weight, in bytes: what an ordinary person or session takes, and some more.
const UNIT: usize = 4_096;
/// What a text takes beside its letters: its place in a list and what the allocator needs.
const TEXT: usize = 24 + 16;

/// The weight of something with these texts, in units; at least one.
pub fn of_texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> u64 {
    let bytes: usize = texts.into_iter().map(|text| text.len() + TEXT).sum();
    u64::try_from(bytes.div_ceil(UNIT)).unwrap_or(u64::MAX).max(1)
}

/// Something that knows its weight; it never changes.
pub trait Weighed {
    /// In units.
    fn weight(&self) -> u64;
}

/// Asks it.
#[derive(Clone, Copy)]
pub struct Scales;

impl<K, V: Weighed> Weighter<K, Arc<V>> for Scales {
    fn weight(&self, _: &K, value: &Arc<V>) -> u64 {
        value.weight()
    }
}
