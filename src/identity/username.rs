//! Which texts can be the name of a user: those that MLflow's table holds and that a person cannot take for another one.

use crate::error::{Code, Error, Result, is_invisible, quote};
use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::Script;

/// The longest name in bytes: the size of MLflow's column.
const LIMIT: usize = 255;

/// Scripts that are written together in one word (Unicode TS 39 section 5.2, 'highly restrictive').
const TOGETHER: [&[Script]; 3] = [
    &[Script::Latin, Script::Han, Script::Hiragana, Script::Katakana],
    &[Script::Latin, Script::Han, Script::Bopomofo],
    &[Script::Latin, Script::Han, Script::Hangul],
];

/// Refuses a name that cannot be used.
///
/// # Errors
/// `username_invalid`.
pub fn check(username: &str) -> Result<()> {
    let fault = |found: String| {
        Error::new(Code::UsernameInvalid, format!("1 to {LIMIT} bytes of visible text"), found)
    };
    if username.is_empty() {
        return Err(fault("an empty text".into()));
    }
    if username.len() > LIMIT {
        return Err(fault(format!("{} bytes", username.len())));
    }
    if username.trim() != username {
        return Err(fault(format!("{} with spaces around it", quote(username))));
    }
    if username.chars().any(|c| c.is_control() || is_invisible(c)) {
        return Err(fault(format!("{} with invisible characters", quote(username))));
    }
    // ASCII alone is in every form and of one script.
    if username.is_ascii() {
        return Ok(());
    }
    let lookalike =
        |found: String| Error::new(Code::UsernameInvalid, "a name that is no look-alike of another", found);
    // Full-width, mathematical and decomposed letters are drawn like the plain ones: with them a second 'admin' could
    // stand in the list of users (RFC 8265 section 3.3, Unicode TR 36).
    if !ComposingNormalizerBorrowed::new_nfkc().is_normalized(username) {
        return Err(lookalike(format!("{}, which is not in Unicode form NFKC", quote(username))));
    }
    // A Cyrillic 'a' among Latin letters. Each word counts by itself: the domain of an address is Latin everywhere.
    match username.split(|c: char| !c.is_alphabetic()).find(|word| !is_of_one_writing(word)) {
        Some(word) => Err(lookalike(format!("{} with letters of several scripts", quote(word)))),
        None => Ok(()),
    }
}

fn is_of_one_writing(word: &str) -> bool {
    let scripts = CodePointMapData::<Script>::new();
    let mut found: Vec<Script> = word
        .chars()
        .map(|c| scripts.get(c))
        .filter(|script| !matches!(*script, Script::Common | Script::Inherited))
        .collect();
    found.sort_unstable();
    found.dedup();
    found.len() <= 1 || TOGETHER.iter().any(|set| found.iter().all(|script| set.contains(script)))
}
