// SPDX-License-Identifier: Apache-2.0
//! Stacks of real archives, with layers between them that hide and replace files below: our tree
//! equals umoci's. The layers between also hold devices, attributes and fifos, which no package
//! has. These tests need root.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::path::Path;

use tests::images::{Image, write_image};
use tests::judges::{differences, timeless};
use tests::layers::{
    Part, archive, block, character, dir, fifo, file, hardlink, opaque, symlink, whiteout,
};
use tests::packages::{Package, debian};
use tests::peers::{must, peer};
use tests::scratch::Scratch;
use tests::tools::shell;
use tests::trees::exactly;

/// The number of packages in a stack, and the number of packages before each layer of changes.
const STACK: usize = 12;
const BEFORE: usize = 3;

/// The directory links of a system with merged `/usr`.
const KEPT: [&str; 3] = ["bin", "lib", "sbin"];

/// A layer that changes names of the layers below it, and the names that must be absent afterwards.
struct Changes {
    parts: Vec<Part>,
    gone: Vec<String>,
}

/// Makes a layer that changes some of the names below. The position of a name and `turn` select the
/// change. No name is changed twice, and nothing below a changed name is changed, because a layer
/// must not contain both changes. A file becomes a directory, and a directory a link, only if
/// `links` is set. It must not be set with `--keep-dirlinks`, because umoci then sets the time and
/// the attributes of later entries on the link itself.
fn changes(below: &[(String, bool)], turn: usize, links: bool) -> Changes {
    let mut parts = vec![
        dir("dev").mode(0o1755),
        character("dev/null", 1, 3).mode(0o666),
        character("dev/high", 4095, 1_048_575),
        block(format!("dev/disk{turn}"), 259, 7).owner(0, 6),
        fifo(format!("dev/fifo{turn}")).mode(0o620).owner(7, 5),
    ];
    let mut gone: Vec<String> = Vec::new();
    let mut done: HashSet<&str> = HashSet::new();
    let mut above: HashSet<&str> = HashSet::new();
    for (i, (name, is_dir)) in below.iter().enumerate() {
        let itself_and_above =
            name.match_indices('/').map(|(at, _)| &name[..at]).chain([&name[..]]);
        let touched =
            above.contains(&name[..]) || itself_and_above.clone().any(|n| done.contains(n));
        // Names near the top are not changed, because a few of these directories contain most of
        // the tree.
        if name.matches('/').count() < 2 || touched {
            continue;
        }
        match ((i + turn) % 31, is_dir) {
            (0..=4, false) => {
                parts.push(whiteout(name));
                gone.push(name.clone());
            }
            (5, false) if links => {
                parts.extend([dir(name), file(format!("{name}/below"), "replacement")])
            }
            (6, false) => parts.push(file(name, "changed").mode(0o4711).owner(turn as u32, 1)),
            (7, false) => {
                let twin = format!("{name}.twin");
                parts.extend([
                    file(name, "linked").xattr("user.kind", "twin"),
                    hardlink(twin, name),
                ]);
            }
            (8, true) => {
                parts.push(whiteout(name));
                gone.push(name.clone());
            }
            (11, true) => {
                parts.extend([file(format!("{name}/after"), "stays"), opaque(name)]);
            }
            (14, true) if links => parts.push(symlink(name, "/usr/share")),
            (16, true) => parts.push(dir(name).mode(0o1700).xattr("user.dir", "yes")),
            _ => continue,
        }
        done.insert(name);
        above.extend(itself_and_above);
    }
    Changes { parts, gone }
}

/// Both trees without the known differences in times. unpack-layer gives a directory the time of
/// its last entry. umoci gives a directory the present time if it has no entry, or if something in
/// it was hidden. Such a time is recognised by its fraction of a second, and left out. If the path
/// of an entry goes through a kept link, umoci sets the time of the link and not of the directory,
/// so the times of kept links are left out.
///
/// One more difference cannot appear, because no layer here sets the set-group-ID bit on a
/// directory: with umoci, a directory without an entry inherits that bit; with unpack-layer, its
/// mode is 0755.
fn without_known(ours: &[String], theirs: &[String]) -> [Vec<String>; 2] {
    let name = |line: &str| line.split(' ').next().unwrap().to_owned();
    let present = |line: &&String| {
        let is_dir = line.split_once(' ').unwrap().1.starts_with("directory ");
        let whole =
            line.split(' ').any(|word| word.starts_with('@') && word.ends_with(".000000000"));
        is_dir && !whole || {
            let name = name(line);
            KEPT.contains(&name.strip_prefix("usr/").unwrap_or(&name))
        }
    };
    let timeless_ones: HashSet<_> = theirs.iter().filter(present).map(|l| name(l)).collect();
    let without_known_time = |line: &String| {
        if timeless_ones.contains(&name(line)) { timeless(line) } else { line.clone() }
    };
    [ours, theirs].map(|tree| tree.iter().map(without_known_time).collect())
}

/// Unpacks the stack with both programs and compares the trees; the names hidden by the last layer
/// must be absent. Returns the number of files.
fn compared(packages: &[Package], base: &[Part], options: &str) -> usize {
    let mut layers = vec![archive(base)];
    let mut below: Vec<(String, bool)> = Vec::new();
    let mut gone = Vec::new();
    for (turn, some) in packages.chunks(BEFORE).enumerate() {
        for package in some {
            layers.push(package.archive.clone());
            below.extend(package.entries());
        }
        below.sort();
        below.dedup();
        let changes = changes(&below, turn * 7, options.is_empty());
        gone = changes.gone;
        layers.push(archive(&changes.parts));
    }
    let scratch = Scratch::new();
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    write_image(&scratch.join("layout"), "t", &Image::of_plain(&layers));
    let pipeline = "fetch-manifest oci:layout:t | list-blobs |
        unpack-layer --from oci:layout ours --no-sync -q $OPTIONS";
    shell(pipeline).env("OPTIONS", options).dir(scratch.path()).run().ok();
    let image = format!("{}:t", scratch.join("layout").display());
    let mut umoci = peer("umoci");
    umoci.args(["raw", "unpack", "--image", &image]).args(options.split_whitespace());
    must(umoci.arg(scratch.join("umoci")));
    let [ours, theirs] = ["ours", "umoci"].map(|tree| exactly(&scratch.join(tree)));
    let [ours, theirs] = without_known(&ours, &theirs);
    let differing = differences(&ours, &theirs);
    let names: Vec<_> = packages.iter().map(|package| &package.name).collect();
    assert!(differing.is_empty(), "{names:?}, + ours, - umoci: {differing:#?}");
    assert!(!gone.is_empty(), "{names:?}");
    for name in gone {
        assert!(Path::new(&scratch.join("ours").join(&name)).symlink_metadata().is_err(), "{name}");
    }
    ours.len()
}

#[test]
fn stacks_of_debian_packages_give_the_same_tree_as_with_umoci() {
    let packages = debian(60);
    let stacks = packages.chunks(STACK);
    let count = stacks.len();
    let files: usize = stacks.map(|stack| compared(stack, &[dir("./")], "")).sum();
    println!("{count} stacks of {} packages, {files} files", packages.len());
    assert!(files > 3000);
}

/// Debian's merged `/usr`: files that packages have in `bin` are written to the directory that the
/// link names.
#[test]
fn stacks_on_merged_directories_give_the_same_tree_as_with_umoci() {
    let packages = debian(60);
    let base = KEPT.map(|name| [dir(format!("usr/{name}")), symlink(name, format!("usr/{name}"))]);
    let base = [&[dir("./"), dir("usr")][..], &base.concat()].concat();
    // Every second stack is enough. Apart from the links, the test above unpacks the same stacks.
    let stacks = packages.chunks(STACK).step_by(2);
    let files: usize = stacks.map(|stack| compared(stack, &base, "--keep-dirlinks")).sum();
    println!("{files} files");
    assert!(files > 1500);
}
