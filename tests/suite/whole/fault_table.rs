// SPDX-License-Identifier: Apache-2.0
//! FAULTS.md: every row names a test or is marked `open`, and every named test exists.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

/// The minimum number of rows of the table.
const ROWS: usize = 240;

/// The cells of the table's rows.
fn rows() -> Vec<Vec<String>> {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("FAULTS.md");
    let text = std::fs::read_to_string(table).unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows = text.lines().filter(|line| line.starts_with("| ")).map(cells);
    rows.filter(|cells: &Vec<String>| cells[1].parse::<usize>().is_ok()).collect()
}

/// The names of the tests in a source file.
fn tests_in(file: &Path) -> Vec<String> {
    let source = std::fs::read_to_string(file).unwrap_or_default();
    let mut names = Vec::new();
    let mut lines = source.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line != "#[test]" {
            continue;
        }
        let function = lines.find_map(|line| line.strip_prefix("fn ")).unwrap();
        names.push(function.split('(').next().unwrap().to_owned());
    }
    names
}

/// The file of a test's name: `network/faults` is in the suite, `common/net/src/url` is not.
fn file_of(name: &str) -> std::path::PathBuf {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = if name.contains("/src/") { suite.join("..") } else { suite.join("suite") };
    folder.join(format!("{name}.rs"))
}

#[test]
fn every_fault_of_the_table_has_its_number_and_a_test() {
    let rows = rows();
    let numbers: Vec<usize> = rows.iter().map(|cells| cells[1].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=ROWS.max(rows.len())).collect::<Vec<_>>());
    for cells in &rows {
        assert_eq!(cells.len(), 6, "{cells:?}");
        let tests = &cells[4];
        assert!(tests == "open" || tests.contains("::"), "{cells:?}");
    }
}

#[test]
fn every_test_that_the_table_names_exists() {
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for cells in rows() {
        for name in cells[4].split('`').skip(1).step_by(2) {
            let (file, test) = name.split_once("::").unwrap_or_else(|| panic!("no file: {name}"));
            let tests = known.entry(file.to_owned()).or_insert_with(|| tests_in(&file_of(file)));
            assert!(tests.iter().any(|known| known == test), "row {}: no test {name}", cells[1]);
        }
    }
}
