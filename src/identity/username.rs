//! Which texts can be the name of a user: those that MLflow's table holds and that a person cannot take for another one.

use crate::error::{Code, Error, Result, is_invisible, quote};
use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup, Script, SoftDotted};
use icu_properties::script::ScriptWithExtensions;
use icu_properties::{CodePointMapData, CodePointSetData};
use std::ops::RangeInclusive;

/// The longest name in bytes: the size of MLflow's column.
const LIMIT: usize = 255;

/// What a name is made of beyond ASCII. A foreign hyphen or apostrophe is drawn like the one of ASCII, a symbol like
/// anything, and what is unassigned or of private use as the font pleases.
const OF_NAMES: GeneralCategoryGroup =
    GeneralCategoryGroup::Letter.union(GeneralCategoryGroup::Mark).union(GeneralCategoryGroup::DecimalNumber);

/// Letters that the rules of scripts let pass beside Latin ones, or that stand for a sign, with what they are drawn like.
/// They are signs of phonetics; letters that alphabets in wide use need are not here (Turkish U+0131, Ewe U+028B).
const DRAWN_LIKE_ASCII: [(RangeInclusive<char>, &str); 16] = [
    ('\u{1C0}'..='\u{1C3}', "'l' and '!'"),
    ('\u{237}'..='\u{237}', "'j'"),
    ('\u{251}'..='\u{251}', "'a'"),
    ('\u{261}'..='\u{261}', "'g'"),
    // Small capitals: of C, O, S, U, V, W, X and Z nobody can tell them from the small letter.
    ('\u{262}'..='\u{262}', "'G'"),
    ('\u{26A}'..='\u{26A}', "'I'"),
    ('\u{274}'..='\u{274}', "'N'"),
    ('\u{280}'..='\u{280}', "'R'"),
    ('\u{28F}'..='\u{28F}', "'Y'"),
    ('\u{299}'..='\u{299}', "'B'"),
    ('\u{29C}'..='\u{29C}', "'H'"),
    ('\u{29F}'..='\u{29F}', "'L'"),
    ('\u{1D00}'..='\u{1DBF}', "a letter of ASCII"),
    ('\u{A730}'..='\u{A731}', "'F' and 's'"),
    // Letters of the form of an apostrophe, a colon, an accent.
    ('\u{2B0}'..='\u{2FF}', "a sign of ASCII"),
    ('\u{A78B}'..='\u{A78C}', "an apostrophe"),
];

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
    let shown = quote(username);
    let fault = |found: String| {
        Err(Error::new(Code::UsernameInvalid, format!("1 to {LIMIT} bytes of visible text"), found))
    };
    if username.is_empty() {
        return fault("an empty text".into());
    }
    if username.len() > LIMIT {
        return fault(format!("{} bytes", username.len()));
    }
    if username.trim() != username {
        return fault(format!("{shown} with spaces around it"));
    }
    if let Some(c) = username.chars().find(|c| c.is_control() || is_invisible(*c)) {
        return fault(format!("{shown} with the invisible character {}", point(c)));
    }
    match resemblance(username) {
        Some((expected, found)) => {
            Err(Error::new(Code::UsernameInvalid, expected, format!("{shown} {found}")))
        }
        None => Ok(()),
    }
}

/// What would let a second 'admin' stand in MLflow's list of users, where a person sees glyphs and not code points: what is
/// expected instead, and what was found (RFC 8265 section 3.3, Unicode TR 36 and TS 39).
fn resemblance(username: &str) -> Option<(&'static str, String)> {
    // A page draws a run of spaces as one.
    if username.contains("  ") {
        return Some(("single spaces between words", "with several U+0020 in a row".into()));
    }
    // ASCII alone is in every form and of one script.
    if username.is_ascii() {
        return None;
    }
    // Full-width, mathematical and decomposed letters are drawn like the plain ones.
    let (_, rest) = ComposingNormalizerBorrowed::new_nfkc().split_normalized(username);
    if let Some(c) = rest.chars().find(|c| !c.is_ascii()) {
        return Some(("a name in Unicode form NFKC", format!("in another form, at {}", point(c))));
    }
    let category = |c| CodePointMapData::<GeneralCategory>::new().get(c);
    if let Some(c) = username.chars().find(|c| !c.is_ascii() && !OF_NAMES.contains(category(*c))) {
        return Some((
            "letters, digits and signs of ASCII",
            format!("with {}, which is none of them", point(c)),
        ));
    }
    for c in username.chars() {
        if let Some((_, like)) = DRAWN_LIKE_ASCII.iter().find(|(letters, _)| letters.contains(&c)) {
            return Some(("letters unlike those of ASCII", format!("with {}, drawn like {like}", point(c))));
        }
    }
    // The dot of an 'i' gives way to a mark above it: with U+0307 it is drawn like the plain letter, and so is the dotless one.
    let dotted = |c| c == '\u{131}' || CodePointSetData::new::<SoftDotted>().contains(c);
    let mut pairs = username.chars().zip(username.chars().skip(1));
    if let Some((_, mark)) =
        pairs.find(|(c, mark)| dotted(*c) && GeneralCategoryGroup::Mark.contains(category(*mark)))
    {
        return Some((
            "no mark above a letter with a dot",
            format!("with {} after such a letter", point(mark)),
        ));
    }
    // Each word counts by itself: the domain of an address is Latin everywhere. A digit and an apostrophe stand inside words.
    let (one, other) = username
        .split(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && c != '\'')
        .find_map(strangers)?;
    let found = format!("with {} and {} in one word", point(one), point(other));
    Some(("words of one writing each", found))
}

/// Two letters of the word that no writing has together: a Cyrillic 'a' and the Latin letters beside it.
fn strangers(word: &str) -> Option<(char, char)> {
    let scripts = ScriptWithExtensions::new();
    let in_any = |c: char, of: &[Script]| of.iter().any(|script| scripts.has_script(c, *script));
    let everywhere = |c: char| in_any(c, &[Script::Common, Script::Inherited]);
    let first = word.chars().find(|c| !everywhere(*c))?;
    let alone: Vec<Script> = scripts.get_script_extensions_val(first).iter().collect();
    let mut writings: Vec<&[Script]> = alone.chunks(1).chain(TOGETHER).collect();
    let other = word.chars().filter(|c| !everywhere(*c)).find(|c| {
        writings.retain(|writing| in_any(*c, writing));
        writings.is_empty()
    })?;
    Some((first, other))
}

fn point(c: char) -> String {
    format!("U+{:04X}", u32::from(c))
}
