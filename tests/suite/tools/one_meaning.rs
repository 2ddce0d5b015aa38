// SPDX-License-Identifier: Apache-2.0
//! An option that several tools have is the same in all of them: its letter, and the name of its
//! value, which describes the value. CONTRIBUTING.md lists the exceptions, with their reasons.

use std::collections::{BTreeMap, BTreeSet};

use super::contract::tools;
use super::known_options::listed;

/// The letter and the name of the value of an option.
type Form = (Option<String>, Option<String>);

/// The options whose letter or value name differs between tools.
fn differing() -> BTreeSet<String> {
    let mut options: BTreeMap<String, BTreeSet<Form>> = BTreeMap::new();
    let mut count = 0;
    for option in tools().iter().flat_map(|name| listed(name)) {
        count += 1;
        options.entry(option.long).or_default().insert((option.short, option.value));
    }
    assert!(count > 200 && options.len() > 60, "{count} {}", options.len());
    options.into_iter().filter(|(_, forms)| forms.len() > 1).map(|(long, _)| long).collect()
}

/// The options in the first column of the table.
fn documented() -> BTreeSet<String> {
    let text = include_str!("../../../CONTRIBUTING.md");
    let section = text.split("## One option, one meaning").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).map(str::to_owned).collect()
}

#[test]
fn an_option_that_differs_between_tools_is_in_the_table() {
    let documented = documented();
    assert!(!documented.is_empty());
    let missing: Vec<String> =
        differing().into_iter().filter(|long| !documented.contains(long)).collect();
    assert!(missing.is_empty(), "not in CONTRIBUTING.md: {missing:?}");
}

#[test]
fn a_letter_means_the_same_option_in_all_tools() {
    let mut letters: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for option in tools().iter().flat_map(|name| listed(name)) {
        if let Some(short) = option.short {
            letters.entry(short).or_default().insert(option.long);
        }
    }
    assert!(letters.len() > 6, "{letters:?}");
    letters.retain(|_, options| options.len() > 1);
    assert!(letters.is_empty(), "{letters:?}");
}
