//! Readers of foreign text, each against a plain model of what it may accept.

use super::bodies;
use super::cases;
use mlflow_oidc::error::Code;
use mlflow_oidc::jose::json::parse_object;
use mlflow_oidc::jose::{Object, json as strict};
use mlflow_oidc::oidc::claims::check_times;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Texts put together from the pieces that matter, which plain chance would hardly ever meet.
fn pieces(all: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => prop::sample::select(all).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => any::<u8>().prop_map(|byte| format!("%{byte:02x}")),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

const NEXT: &[&str] = &[
    "/",
    "//",
    "\\",
    ".",
    "..",
    "/.",
    "/..",
    "%2e",
    "%2E",
    "%2f",
    "%5c",
    "%6f",
    "%00",
    "\t",
    "\n",
    " ",
    "@",
    "?",
    "#",
    ":",
    ";",
    "BASE",
    "oidc",
    "/oidc",
    "/oidc/",
    "evil.example",
    "mlflow.example",
    "https:",
    "javascript:",
    "x",
    "\u{ff0f}",
    "\u{3002}",
    "\u{2028}",
    "\u{a0}",
];

const QUERY: &[&str] = &[
    "code=",
    "state=",
    "iss=",
    "error=",
    "error_description=",
    "c%6fde=",
    "%73tate=",
    "code",
    "state",
    "&",
    "&&",
    "=",
    "+",
    "%",
    "%zz",
    "abc",
    "xyz",
    "access_denied",
    "https%3A%2F%2Fidp.example%2Frealms%2Ftest",
    "https://idp.example/realms/test",
    "%00",
    "%ff",
    "%0d%0a",
    "\u{202e}",
    ";",
    "Code=",
    "code[]=",
];

proptest! {
    #![proptest_config(cases(3000))]
    #[test]
    fn every_next_is_a_place_in_this_mlflow(next in pieces(NEXT)) {
        bodies::next::run(next.as_bytes());
    }

    #[test]
    fn every_next_that_begins_well_is_one_too(next in pieces(NEXT)) {
        bodies::next::run(format!("BASE/{next}").as_bytes());
    }

    #[test]
    fn a_callback_has_each_parameter_once(query in pieces(QUERY)) {
        bodies::callback::run(query.as_bytes());
    }

    #[test]
    fn a_callback_that_begins_well_has_each_parameter_once(query in pieces(QUERY)) {
        bodies::callback::run(format!("state=s&code=c&{query}").as_bytes());
        bodies::callback::run(format!("state=s&error=e&{query}").as_bytes());
    }

    #[test]
    fn cookies_are_read_as_browsers_write_them(header in pieces(&[
        "mlflow_oidc", "__Host-mlflow_oidc", "__Secure-mlflow_oidc", "=", ";", "; ", " ", "\t", "x", "\"", ",", "MLFLOW_OIDC",
    ])) {
        bodies::cookie::run(header.as_bytes());
    }
}

/// JSON as it stands in a text: an object may have a name twice.
#[derive(Clone, Debug)]
enum Tree {
    Leaf(Value),
    List(Vec<Tree>),
    Object(Vec<(String, bool, Tree)>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_map(Tree::Leaf).prop_recursive(5, 40, 5, |inner| {
        // Few names, so that some come twice; the flag spells one with an escape, which makes it no other name.
        let name = prop::sample::select(vec!["a", "b", "c", "iss", "\u{e9}", "\"", "", "A"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::List),
            prop::collection::vec((name.prop_map(str::to_owned), any::<bool>(), inner), 0..4)
                .prop_map(Tree::Object),
        ]
    })
}

impl Tree {
    fn text(&self) -> String {
        match self {
            Self::Leaf(value) => value.to_string(),
            Self::List(items) => format!("[{}]", items.iter().map(Self::text).collect::<Vec<_>>().join(",")),
            Self::Object(members) => {
                let member = |(name, escaped, value): &(String, bool, Tree)| {
                    let units = name.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
                    let name = if *escaped { format!("\"{units}\"") } else { json!(name).to_string() };
                    format!("{name}:{}", value.text())
                };
                format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
            }
        }
    }

    /// The value, unless a name comes twice anywhere in it.
    fn value(&self) -> Option<Value> {
        match self {
            Self::Leaf(value) => Some(value.clone()),
            Self::List(items) => items.iter().map(Self::value).collect::<Option<Vec<_>>>().map(Value::Array),
            Self::Object(members) => {
                let mut object = Object::new();
                for (name, _, value) in members {
                    if object.insert(name.clone(), value.value()?).is_some() {
                        return None;
                    }
                }
                Some(Value::Object(object))
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(3000))]
    #[test]
    fn an_object_with_a_name_twice_is_refused_at_any_depth(tree in tree()) {
        let text = format!("{{\"inside\":{}}}", tree.text());
        match (tree.value(), parse_object(text.as_bytes())) {
            (Some(value), Ok(object)) => prop_assert_eq!(&object["inside"], &value),
            (None, Err(reason)) => prop_assert_eq!(reason, "JSON with a duplicate member"),
            (value, found) => prop_assert!(false, "{text}: {found:?} for {value:?}"),
        }
    }

    #[test]
    fn nothing_but_one_whole_object_is_read(tree in tree(), cut in any::<prop::sample::Index>(), tail in "[ -~]{1,3}") {
        let text = tree.text();
        let object = matches!(tree, Tree::Object(_));
        prop_assert_eq!(strict::parse_object(text.as_bytes()).is_ok(), object && tree.value().is_some());
        let part = &text.as_bytes()[..cut.index(text.len())];
        prop_assert!(parse_object(part).is_err(), "a part of it was read");
        let more = format!("{text}{tail}");
        prop_assert!(tail.trim().is_empty() || parse_object(more.as_bytes()).is_err(), "{more}");
    }
}

/// Times around now, and those where sums overflow.
fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        3 => 1_799_999_000..1_800_001_000_i64,
        1 => any::<i64>(),
        1 => prop::sample::select(vec![i64::MIN, -1, 0, 1, 253_402_300_799, 253_402_300_800, i64::MAX]),
    ]
}

fn claim() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        6 => time().prop_map(|time| Some(json!(time))),
        2 => Just(None),
        1 => prop::sample::select(vec![
            json!(null), json!("1800000000"), json!(1_800_000_000.5), json!(1.8e9), json!([1_800_000_000]), json!(true),
            json!(u64::MAX),
        ]).prop_map(Some),
    ]
}

/// The decision in numbers that cannot overflow: RFC 7519 sections 4.1.4 to 4.1.6, whole seconds up to the year 9999.
fn model(claims: &Object, now: i64, skew: i64) -> Result<i64, Code> {
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            Some(time) if (0..253_402_300_800).contains(&time) => Ok(Some(i128::from(time))),
            _ => Err(Code::TokenClaim),
        },
    };
    let (now, skew) = (i128::from(now), i128::from(skew));
    let expires = time("exp")?.ok_or(Code::TokenClaim)?;
    if now >= expires + skew {
        return Err(Code::TokenExpired);
    }
    for (name, code) in [("nbf", Code::TokenNotYetValid), ("iat", Code::TokenIssuedAt)] {
        if time(name)?.is_some_and(|time| time > now + skew) {
            return Err(code);
        }
    }
    Ok(i64::try_from(expires).unwrap())
}

proptest! {
    #![proptest_config(cases(10_000))]
    #[test]
    fn times_are_judged_as_in_numbers_without_end(
        exp in claim(), nbf in claim(), iat in claim(), now in time(), skew in prop_oneof![0..=600_i64, any::<i64>()],
    ) {
        let claims: Object = [("exp", exp), ("nbf", nbf), ("iat", iat)]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        let found = check_times(&claims, now, skew).map_err(|error| error.code);
        prop_assert_eq!(found, model(&claims, now, skew), "{:?} at {} with {}", claims, now, skew);
    }
}
