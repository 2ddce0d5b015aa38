// SPDX-License-Identifier: Apache-2.0
//! The tables in BEHAVIOURS.md: no row is missing, and every named test exists.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The names of all tests in this binary.
fn tests_of_the_suite() -> BTreeSet<String> {
    let list = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let text = String::from_utf8(list.stdout).unwrap();
    text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// Whether a test exists: one of the suite, or a unit test `FILE.rs::NAME`.
fn exists(name: &str, suite: &BTreeSet<String>) -> bool {
    let Some((file, test)) = name.split_once(".rs::") else { return suite.contains(name) };
    let text = fs::read_to_string(top().join(format!("{file}.rs"))).unwrap_or_default();
    text.contains(&format!("#[test]\n    fn {test}()"))
}

/// The rows of the tables in a Markdown text: their cells.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| # |"));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn each_behaviour_has_a_row_and_each_named_test_exists() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/BEHAVIOURS.md")).unwrap();
    let suite = tests_of_the_suite();
    let rows = rows(&text);
    let numbers: Vec<_> = rows.iter().map(|row| row[0].to_owned()).collect();
    assert_eq!(numbers, (1..=185).map(|n| n.to_string()).collect::<Vec<_>>());
    for row in rows {
        let &[number, _, place, last] = &row[..] else { panic!("four cells: {row:?}") };
        for file in place.split(", ").filter(|file| file.contains('/')) {
            assert!(top().join(file).exists(), "row {number}: no file {file}");
        }
        let names: Vec<_> =
            last.split('`').skip(1).step_by(2).filter(|n| n.contains("::")).collect();
        for name in &names {
            assert!(exists(name, &suite), "row {number}: no test {name}");
        }
        let is_explained = last.contains("Different: ") || !names.is_empty();
        assert!(is_explained, "row {number}: neither a test nor a difference");
    }
}
