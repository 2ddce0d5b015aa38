// SPDX-License-Identifier: Apache-2.0
//! Whether others read an archive as we do: Go's archive/tar (as umoci uses it), GNU tar and libarchive.
//!
//! Each unpacks the same archive into a directory of its own, and the trees must be the same. Only for
//! archives without tricks in their names: the others are run as they are.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cage::{Cage, letter, portrait};
use crate::images::{Image, sha256, write_image};
use crate::layers::{Part, archive};
use crate::peers::{must, peer};
use crate::scratch::{Scratch, list};

/// Names, types, modes, times, sizes, targets and content of a tree. The root has no entry of its own.
fn seen(top: &Path) -> Vec<String> {
    let one = |name: &String| {
        let path = top.join(name.trim_end_matches('/'));
        let stat = std::fs::symlink_metadata(&path).unwrap();
        let (what, mode, links) = (letter(&stat), stat.mode() & 0o7777, stat.nlink());
        let content = match what {
            'f' => sha256(&std::fs::read(&path).unwrap()),
            'l' => std::fs::read_link(&path).unwrap().to_string_lossy().into_owned(),
            'c' | 'b' => stat.rdev().to_string(),
            _ => String::new(),
        };
        let (size, time) = (if what == 'f' { stat.len() } else { 0 }, stat.mtime());
        // What no entry made has everyone's own attributes.
        match what {
            'd' => format!("{name} d"),
            _ => format!("{name} {what} {mode:o} {links} {time} {size} {content}"),
        }
    };
    list(top).iter().map(one).collect()
}

/// We take the archive, perhaps with a warning, and everybody else reads it as we do.
///
/// # Panics
/// When somebody differs, with both trees.
#[track_caller]
pub fn agree(cage: &Cage, archive: &[u8]) {
    agree_with(cage, archive, &["umoci", "tar", "bsdtar"]);
}

/// The same of some of them, by their commands: where one refuses what others take.
///
/// # Panics
/// When somebody differs, with both trees.
#[track_caller]
pub fn agree_with(cage: &Cage, archive: &[u8], names: &[&'static str]) {
    cage.stream(archive).status(0);
    let ours = seen(&cage.root(""));
    for (name, theirs) in readers(archive, names) {
        assert!(ours == theirs, "ours {ours:#?}\n{name} {theirs:#?}");
    }
}

/// umoci makes of these layers what we make of them, to the last attribute.
///
/// # Panics
/// When it does not, with both trees.
#[track_caller]
pub fn agree_on_layers(cage: &Cage, layers: &[&[Part]]) {
    cage.unpack(layers).status(0);
    let scratch = Scratch::new();
    let archives: Vec<Vec<u8>> = layers.iter().map(|parts| archive(parts)).collect();
    let image = Image::of_archives(&archives, "linux", "amd64");
    write_image(&scratch.join("layout"), "t", &image);
    let image = format!("{}:t", scratch.join("layout").display());
    must(peer("umoci").args(["raw", "unpack", "--image", &image]).arg(scratch.join("umoci")));
    let (ours, theirs) = (portrait(&cage.root("")), portrait(&scratch.join("umoci")));
    assert!(ours == theirs, "ours {ours:#?}\numoci {theirs:#?}");
}

/// What each of them makes of an archive.
fn readers(archive: &[u8], names: &[&'static str]) -> Vec<(&'static str, Vec<String>)> {
    let scratch = Scratch::new();
    let file = scratch.write("archive.tar", archive);
    let image = Image::of_archives(&[archive.to_vec()], "linux", "amd64");
    write_image(&scratch.join("layout"), "t", &image);
    let mut all = Vec::new();
    for &name in names {
        let top = scratch.join(name);
        let mut reader = peer(name);
        match name {
            "umoci" => {
                let image = format!("{}:t", scratch.join("layout").display());
                reader.args(["raw", "unpack", "--image", &image]).arg(&top);
            }
            _ => {
                std::fs::create_dir(&top).unwrap();
                reader.args(["--numeric-owner", "-xpf"]).arg(&file).arg("-C").arg(&top);
            }
        }
        must(&mut reader);
        all.push((name, seen(&top)));
    }
    all
}
