#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]
//! The house rule, held by a test: a module uses only what stands left of it, and stays a file of one job.

use std::fs;
use std::path::{Path, PathBuf};

/// The line. `edge` and `app` never meet; `py` may use everything.
const LINE: [&str; 11] =
    ["error", "secret", "jose", "oidc", "identity", "session", "ports", "config", "app", "edge", "py"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    assert!(found.len() > 30, "the sources were not found");
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

fn room(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Every `crate::room` that a text names outside comments, grouped imports included.
fn rooms_used(text: &str) -> Vec<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let word = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut used = Vec::new();
    for (position, _) in code.match_indices("crate::") {
        let rest = &code[position + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            used.extend(group.split('}').next().unwrap().split(',').map(|item| word(item.trim())));
        } else {
            used.push(word(rest));
        }
    }
    used
}

#[test]
fn the_line_in_lib_is_the_line_here() {
    let lib = all().into_iter().find(|(file, _)| file == "lib.rs").unwrap().1;
    let modules: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .map(|line| line.trim_end_matches(';'))
        .collect();
    assert_eq!(modules, LINE);
}

#[test]
fn arrows_point_left() {
    let mut wrong = Vec::new();
    for (file, text) in all() {
        if file == "lib.rs" {
            continue;
        }
        let own =
            LINE.iter().position(|name| *name == room(&file)).unwrap_or_else(|| panic!("{file} has no room"));
        for used in rooms_used(&text) {
            let Some(other) = LINE.iter().position(|name| *name == used) else {
                continue;
            };
            let meets = room(&file) == "edge" && used == "app";
            if other > own || meets {
                wrong.push(format!("{file} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_wrong_arrow_is_seen() {
    // The check above is worth nothing if it does not see what it looks for.
    assert_eq!(rooms_used("use crate::app::wire;\n// crate::edge"), ["app"]);
    assert_eq!(rooms_used("use crate::{edge::http, error};"), ["edge", "error"]);
}

#[test]
fn only_py_names_pyo3_and_only_edge_names_the_libraries_of_the_world() {
    for (file, text) in all() {
        let names = |library: &str| {
            text.lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains(&format!("{library}::")))
        };
        assert!(room(&file) == "py" || !names("pyo3"), "{file} names pyo3");
        for library in ["reqwest", "rusqlite", "tokio"] {
            assert!(room(&file) == "edge" || !names(library), "{file} names {library}");
        }
    }
}

#[test]
fn files_have_one_job() {
    for (file, text) in all() {
        assert!(
            text.lines().count() <= 400,
            "{file} has {} lines: is it still one job?",
            text.lines().count()
        );
        assert!(file == "lib.rs" || text.starts_with("//!"), "{file} does not say what it is for");
    }
}

#[test]
fn the_gil_is_let_go_in_one_place() {
    let count: usize = all().iter().map(|(_, text)| text.matches(".detach(").count()).sum();
    assert_eq!(count, 1);
}
