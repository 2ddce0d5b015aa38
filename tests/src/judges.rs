// SPDX-License-Identifier: Apache-2.0
//! Whether others read an archive as we do: Go's archive/tar (as umoci uses it), GNU tar and libarchive.
//!
//! Each unpacks the same archive into a directory of its own, and the trees must be the same. Only for
//! archives without tricks in their names: the others are run as they are.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cage::{Cage, letter, portrait};
use crate::images::{Image, sha256, write_image};
use crate::layers::{Part, archive};
use crate::packages::Package;
use crate::peers::{find, must, peer};
use crate::scratch::{Scratch, list};
use crate::tools::tool;
use crate::trees::exactly;

/// How many differences of each side are shown.
const SHOWN: usize = 20;

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

/// umoci, GNU tar and bsdtar make of a package what we make of it, to the last attribute. `layer` is the same
/// archive, compressed or not. Returns how many things were compared with each of them.
///
/// Two differences are known, and left out. A directory without an entry has the present time with all of
/// them, and the epoch with us, so that a layer always makes the same tree. And bsdtar gives the directory
/// that it runs in no attributes, also where `./` has an entry. Debian's umoci knows no defaults for all
/// entries, and gets the archive without them.
///
/// # Panics
/// When somebody differs, with what differs.
#[track_caller]
pub fn agree_on_package(package: &Package, layer: &Path) -> usize {
    let scratch = Scratch::new();
    let ours = scratch.join("ours");
    tool("unpack-layer").arg(&ours).arg(layer).arg("--no-sync").run().status(0);
    let ours = exactly(&ours);
    let file = scratch.write("archive.tar", &package.archive);
    write_image(&scratch.join("layout"), "t", &Image::of_plain(&[package.without_defaults()]));
    let entries: HashSet<String> = package.entries().into_iter().map(|(name, _)| name).collect();
    for name in ["umoci", "tar", "bsdtar"] {
        let top = scratch.join(name);
        unpack_as(name, &scratch, &file, &top);
        let known = |line: &String| match line.split_once(" directory ") {
            Some(("", _)) if name == "bsdtar" => String::new(),
            Some((directory, _)) if !entries.contains(directory) => timeless(line),
            _ => line.clone(),
        };
        let [ours, theirs] =
            [&ours, &exactly(&top)].map(|tree| tree.iter().map(known).collect::<Vec<_>>());
        let differing = differences(&ours, &theirs);
        assert!(differing.is_empty(), "{}, + ours, - {name}: {differing:#?}", package.name);
    }
    ours.len()
}

/// A line of a tree without the time.
pub fn timeless(line: &str) -> String {
    let (name, rest) = line.split_once(" @").unwrap();
    format!("{name} {}", rest.split_once(' ').map_or("", |(_time, rest)| rest))
}

/// Lines that only one of two trees has, in short: + the first, - the second.
pub fn differences(ours: &[String], theirs: &[String]) -> Vec<String> {
    let only = |here: &[String], there: &[String], sign: char| -> Vec<String> {
        let there: HashSet<&String> = there.iter().collect();
        let only = here.iter().filter(|line| !there.contains(line));
        only.map(|line| format!("{sign} {line}")).take(SHOWN).collect()
    };
    [only(ours, theirs, '+'), only(theirs, ours, '-')].concat()
}

/// Lets one of them unpack an archive, which is also the image `t` of the scratch directory's layout.
fn unpack_as(name: &str, scratch: &Scratch, file: &Path, top: &Path) {
    // A mask of our own, for directories without an entry.
    let mut reader = peer("sh");
    reader.args(["-c", r#"umask 022 && exec "$0" "$@""#]).arg(find(name));
    match name {
        "umoci" => {
            let image = format!("{}:t", scratch.join("layout").display());
            reader.args(["raw", "unpack", "--image", &image]).arg(top);
        }
        _ => {
            std::fs::create_dir(top).unwrap();
            reader.args(["--numeric-owner", "-xpf"]).arg(file).arg("-C").arg(top);
            // Where the locale is C, libarchive cannot write a name of an extended header.
            reader.env("LC_ALL", "C.UTF-8");
        }
    }
    if name == "tar" {
        // Else what comes into a directory later, as dpkg's links do, changes its time.
        reader.args(["--delay-directory-restore", "--xattrs", "--xattrs-include=*"]);
    }
    must(&mut reader);
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
        unpack_as(name, &scratch, &file, &top);
        all.push((name, seen(&top)));
    }
    all
}
