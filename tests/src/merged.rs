// SPDX-License-Identifier: Apache-2.0
//! Compares list-layer's merged image with the tree that unpack-layer makes.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::Value;

use crate::cage::letter;
use crate::tools::Run;

/// A line for each file of the tree that unpack-layer made: name, type, mode, size, time, link.
pub fn unpacked(root: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut pending = vec![(root.to_owned(), String::new())];
    while let Some((dir, above)) = pending.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = format!("{above}{}", entry.file_name().to_string_lossy());
            let stat = fs::symlink_metadata(&path).unwrap();
            let link = fs::read_link(&path).map(|to| to.to_string_lossy().into_owned());
            let link = link.unwrap_or_default();
            let what = letter(&stat);
            let slash = if what == 'd' { "/" } else { "" };
            let size = if what == 'f' { stat.len() } else { 0 };
            let mode = if what == 'l' { 0o777 } else { stat.permissions().mode() & 0o7777 };
            all.push(format!("{name}{slash} {what} {mode:o} {size} {} {link}", stat.mtime()));
            if what == 'd' {
                pending.push((path, format!("{name}/")));
            }
        }
    }
    all.sort();
    all
}

/// The whole seconds since the epoch of a time like `2026-01-31T23:59:59.5Z`.
fn seconds(time: &str) -> i64 {
    let number = |range: std::ops::Range<usize>| time[range].parse::<i64>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    // Years are counted from March, so that the leap day is the last day of a year.
    let year = if month <= 2 { year - 1 } else { year };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * ((month + 9) % 12) + 2) / 5 + day
            - 719_469;
    days * 86_400 + number(11..13) * 3_600 + number(14..16) * 60 + number(17..19)
}

/// The same list as [`unpacked`] makes, made from list-layer's lines. A hard link has the size of
/// its target.
pub fn listed(run: &Run) -> Vec<String> {
    let objects: Vec<Value> =
        run.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = |object: &Value, key: &str| object[key].as_str().unwrap_or_default().to_owned();
    let mut all = Vec::new();
    for object in &objects {
        let (name, link) = (text(object, "name"), text(object, "link"));
        if name == "./" {
            continue;
        }
        let (file, link) = match &*text(object, "type") {
            "hardlink" => {
                let to = objects.iter().find(|other| other["name"] == link).unwrap();
                (to, text(to, "link"))
            }
            _ => (object, link),
        };
        let what = match &*text(file, "type") {
            "directory" => 'd',
            "symlink" => 'l',
            "character" => 'c',
            "block" => 'b',
            "fifo" => 'p',
            _ => 'f',
        };
        let size = file["size"].as_u64().unwrap_or(0);
        let mode = u32::from_str_radix(&text(object, "mode"), 8).unwrap();
        let mode = if what == 'l' { 0o777 } else { mode };
        let time = text(object, "mtime");
        all.push(format!("{name} {what} {mode:o} {size} {} {link}", seconds(&time)));
    }
    all.sort();
    all
}
