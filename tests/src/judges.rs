// SPDX-License-Identifier: Apache-2.0
//! Checks that peers read an archive as we do: Go's archive/tar (as umoci uses it), GNU tar and
//! libarchive.
//!
//! Each peer unpacks the same archive into its own directory, and the trees must be the same. The
//! archives must not have unsafe names, because the peers run without a cage.

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

/// The number of differing lines of each tree that a message shows.
const SHOWN: usize = 20;

/// Names, types, modes, times, sizes, link targets and contents of a tree, without its root.
fn tree_lines(top: &Path) -> Vec<String> {
    let describe = |name: &String| {
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
        // Directories without an entry get different attributes from each program.
        match what {
            'd' => format!("{name} d"),
            _ => format!("{name} {what} {mode:o} {links} {time} {size} {content}"),
        }
    };
    list(top).iter().map(describe).collect()
}

/// Checks that unpack-layer accepts the archive, perhaps with a warning, and that every peer reads
/// it in the same way.
///
/// # Panics
/// When a peer differs, with both trees.
#[track_caller]
pub fn agree(cage: &Cage, archive: &[u8]) {
    agree_with(cage, archive, &["umoci", "tar", "bsdtar"]);
}

/// Like [`agree`], for an archive that some peers refuse: compares with the given peers (their
/// commands) only.
///
/// # Panics
/// When a peer differs, with both trees.
#[track_caller]
pub fn agree_with(cage: &Cage, archive: &[u8], names: &[&'static str]) {
    cage.stream(archive).status(0);
    let ours = tree_lines(&cage.root(""));
    for (name, theirs) in readers(archive, names) {
        assert!(ours == theirs, "ours {ours:#?}\n{name} {theirs:#?}");
    }
}

/// Checks that umoci makes the same tree of these layers as we do, including all attributes.
///
/// # Panics
/// When the trees differ, with both.
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

/// Checks that umoci, GNU tar and bsdtar make the same tree of a package as we do, including all
/// attributes. `layer` is the same archive, compressed or not. Returns the number of files compared
/// with each peer.
///
/// Two known differences are ignored. A directory without an entry gets the current time from all
/// peers, and the epoch from us, so that a layer always makes the same tree. bsdtar sets no
/// attributes on the directory that it runs in, even if `./` has an entry.
///
/// Debian's umoci does not implement defaults for all entries (`g` headers). It gets the archive
/// without them.
///
/// # Panics
/// When a peer differs, with the differences.
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

/// The first lines that only one of two trees has: + for the first tree, - for the second.
pub fn differences(ours: &[String], theirs: &[String]) -> Vec<String> {
    let only = |here: &[String], there: &[String], sign: char| -> Vec<String> {
        let there: HashSet<&String> = there.iter().collect();
        let only = here.iter().filter(|line| !there.contains(line));
        only.map(|line| format!("{sign} {line}")).take(SHOWN).collect()
    };
    [only(ours, theirs, '+'), only(theirs, ours, '-')].concat()
}

/// Runs a peer to unpack an archive, which is also the image `t` in the scratch directory's layout.
fn unpack_as(name: &str, scratch: &Scratch, file: &Path, top: &Path) {
    // A fixed umask, for directories without an entry.
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
            // In the C locale libarchive cannot write a name from an extended header.
            reader.env("LC_ALL", "C.UTF-8");
        }
    }
    if name == "tar" {
        // Debian packages have their links at the end. Without the first option, a link changes the
        // time of its directory.
        reader.args(["--delay-directory-restore", "--xattrs", "--xattrs-include=*"]);
    }
    must(&mut reader);
}

/// The tree that each peer makes of an archive.
fn readers(archive: &[u8], names: &[&'static str]) -> Vec<(&'static str, Vec<String>)> {
    let scratch = Scratch::new();
    let file = scratch.write("archive.tar", archive);
    let image = Image::of_archives(&[archive.to_vec()], "linux", "amd64");
    write_image(&scratch.join("layout"), "t", &image);
    let mut all = Vec::new();
    for &name in names {
        let top = scratch.join(name);
        unpack_as(name, &scratch, &file, &top);
        all.push((name, tree_lines(&top)));
    }
    all
}
