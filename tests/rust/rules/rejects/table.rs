//! `tests/vectors/rejects.json`, read: every row, and nothing that a row should not have.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Members that every place knows.
const COMMON: [&str; 13] = [
    "name",
    "at",
    "code",
    "status",
    "source",
    "settings",
    "before",
    "metadata",
    "drop_metadata",
    "answers",
    "only",
    "why",
    "http_server",
];

/// The statuses as they are documented, not as the code has them.
static STATUSES: LazyLock<BTreeMap<String, u16>> = LazyLock::new(|| {
    include_str!("../../../../docs/errors.md")
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
            Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.parse().ok()?))
        })
        .collect()
});

/// One refusal.
pub struct Row(Map<String, Value>);

/// All of them.
pub fn rows() -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
        let text = include_str!("../../../vectors/rejects.json");
        let table: Value = serde_json::from_str(text).unwrap();
        assert_eq!(table.as_object().unwrap().len(), 1, "the table is one list");
        let rows = table["rows"].as_array().unwrap();
        let lines = text.lines().filter(|line| line.starts_with("{\"name\": ")).count();
        assert_eq!(lines, rows.len(), "a row is a line, and a line is a row");
        rows.iter().map(|row| Row(row.as_object().unwrap().clone())).collect()
    });
    &ROWS
}

/// The status that `docs/errors.md` gives a code.
pub fn status_of(code: &str) -> u16 {
    *STATUSES.get(code).unwrap_or_else(|| panic!("{code} is not in docs/errors.md"))
}

impl Row {
    /// A row that spoils nothing.
    pub fn unspoilt() -> Self {
        let members = [("name", "nothing is wrong"), ("code", "token_expired"), ("source", "nowhere")];
        Self(members.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
    }

    /// The same row with another text in one member.
    pub fn with(&self, member: &str, value: &str) -> Self {
        let mut members = self.0.clone();
        members.insert(member.to_owned(), value.into());
        Self(members)
    }

    pub fn name(&self) -> &str {
        self.text("name").unwrap()
    }

    pub fn code(&self) -> &str {
        self.text("code").unwrap()
    }

    pub fn source(&self) -> &str {
        self.text("source").unwrap_or_default()
    }

    /// The places where it is tried.
    pub fn places(&self) -> Vec<&str> {
        self.list("at").iter().map(|place| place.as_str().unwrap()).collect()
    }

    /// Whether this runner has a part in it.
    pub fn is_for_the_core(&self) -> bool {
        self.text("only") != Some("http")
    }

    pub fn get(&self, member: &str) -> Option<&Value> {
        self.0.get(member)
    }

    pub fn text(&self, member: &str) -> Option<&str> {
        self.get(member).map(|value| value.as_str().unwrap_or_else(|| panic!("'{member}' is no text")))
    }

    /// A list, empty when it is not there.
    pub fn list(&self, member: &str) -> &[Value] {
        self.get(member).map_or(&[], |value| {
            value.as_array().unwrap_or_else(|| panic!("'{member}' is no list")).as_slice()
        })
    }

    /// Texts of a list.
    pub fn texts(&self, member: &str) -> impl Iterator<Item = &str> {
        self.list(member).iter().map(|item| item.as_str().unwrap())
    }

    /// Members of an object, none when it is not there.
    pub fn members(&self, member: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.get(member)
            .map(|value| value.as_object().unwrap_or_else(|| panic!("'{member}' is no object")))
            .into_iter()
            .flatten()
    }

    /// Members that nobody reads, at a place that has a use for `known` beside the common ones.
    pub fn unread(&self, known: &[&[&str]]) -> Vec<&str> {
        let is_known = |name: &str| COMMON.contains(&name) || known.iter().any(|set| set.contains(&name));
        self.0.keys().map(String::as_str).filter(|name| !is_known(name)).collect()
    }
}
