// SPDX-License-Identifier: Apache-2.0
//! The wall clock may jump. Time limits use the monotonic clock; the wall clock is read in a few
//! files only, where a jump does no harm.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// Each file that reads the wall clock, and the purpose.
const READERS: [(&str, &str); 5] = [
    ("common/net/src/response.rs", "the date in Retry-After, within --max-wait"),
    ("tools/fetch-blob/src/destination.rs", "the modification time of the result"),
    ("tools/fetch-blob/src/partial_files.rs", "the modification time of the result"),
    (
        "tools/probe-registry/src/clock.rs",
        "the difference to the registry's clock, which is only shown",
    ),
    (
        "tools/sweep-layout/src/age.rs",
        "the age of files; a clock set forward can make new files look old",
    ),
];

/// The files below a directory.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn the_wall_clock_is_read_in_few_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for folder in ["common", "tools"] {
        for file in files_below(&root.join(folder)) {
            let is_source = file.extension().is_some_and(|extension| extension == "rs");
            if is_source && std::fs::read_to_string(&file).unwrap().contains("SystemTime::now") {
                found.push(file.strip_prefix(&root).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    assert_eq!(found, READERS.map(|(file, _)| file));
}
