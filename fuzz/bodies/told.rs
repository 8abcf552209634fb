//! What an error may tell: one line, nothing unseen, and foreign text only between quotes.

use mlflow_oidc::error::{Error, is_invisible};

/// As long as this, a word of the input outside quotes is taken for a token or a secret. No word of our own errors is.
const WORD: usize = 20;
/// Two quotes of 160 characters, each escaped as `\u{10ffff}`, and our own words around them.
const LONGEST: usize = 2 * 160 * 10 + 1000;

/// Holds an error to the rules for all of them.
pub fn error(error: &Error, input: &[u8]) {
    assert!(!error.expected.is_empty() && !error.found.is_empty(), "an error that says nothing: {error:?}");
    line(&error.expected, input);
    line(&error.found, input);
}

/// Holds a line that people read to the rules for all of them.
pub fn line(text: &str, input: &[u8]) {
    assert!(text.len() <= LONGEST, "{} bytes of error", text.len());
    let unseen = text.chars().find(|c| c.is_control() || is_invisible(*c));
    assert!(unseen.is_none(), "{unseen:?} in {text:?}");
    for word in unquoted(text).split_whitespace() {
        for window in word.as_bytes().windows(WORD) {
            assert!(!contains(input, window), "the input is repeated without quotes in {text:?}");
        }
    }
}

/// Holds an accepted address to what an address is for every reader (RFC 3986), not for a forgiving one.
pub fn address(text: &str) {
    let lower = text.to_ascii_lowercase();
    let host = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    assert!(host.is_some_and(|host| !host.is_empty() && !host.starts_with('/')), "{text:?}");
    assert!(!text.contains(|c: char| c == '\\' || c.is_control() || c.is_whitespace()), "{text:?}");
}

/// Whether `part` stands somewhere in `whole`.
pub fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len().max(1)).any(|window| window == part)
}

/// The text without what stands between single quotes; inside them a backslash protects the next character.
fn unquoted(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                inside = !inside;
                out.push(' ');
            }
            '\\' if inside => {
                chars.next();
            }
            c if !inside => out.push(c),
            _ => {}
        }
    }
    assert!(!inside, "a quote is left open in {text:?}");
    out
}
