// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: the limit of directories that a layer may cause to be opened. A small layer with
//! long names could otherwise keep a processor busy for minutes.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use tests::cage::PLACES;
use tests::layers::{Part, archive, dir, file, hardlink, opaque, symlink};
use tests::scratch::Scratch;
use tests::tools::{Run, tool};

/// A path of this many directories.
fn deep(name: &str, depth: usize) -> String {
    vec![name; depth].join("/")
}

/// Unpacks layers in memory. It uses no cage, because listing deep directories takes long.
fn unpack(layers: &[&[Part]]) -> Run {
    let scratch = Scratch::new_in(Path::new(PLACES[0]));
    let write = |(i, parts): (usize, &&[Part])| scratch.write(format!("l{i}"), archive(parts));
    let layers: Vec<_> = layers.iter().enumerate().map(write).collect();
    let unpack = tool("unpack-layer").dir(scratch.path()).args(["root", "--no-sync"]);
    let run = unpack.args(layers).run();
    assert_eq!(scratch.join("root").exists(), run.code() == Some(0), "{run}");
    run
}

/// Entries that are far from each other: they are alternately in one and the other of two deep
/// directories.
fn apart(count: usize) -> Vec<Part> {
    let paths = [deep("a", 4096), deep("b", 4096)];
    (0..count).map(|i| file(format!("{}/f{i}", paths[i % 2]), "")).collect()
}

#[test]
fn a_few_walks_of_the_greatest_depth_are_taken_and_many_are_refused() {
    // Each entry takes 4096 steps. The limit for n entries is 2^18 + 64 n: 65 entries are below it,
    // and 66 are above it. Each layer is counted separately.
    unpack(&[&apart(40), &apart(65)]).status(0);
    let run = unpack(&[&apart(66)]);
    run.fails(6, "more than 266368 path components to walk for 66 entries");
}

#[test]
fn the_targets_of_hard_links_are_walked_as_well() {
    let paths = [deep("a", 4096), deep("b", 4096)];
    let mut parts = apart(2);
    let link = |i: usize| hardlink(format!("h{i}"), format!("{}/f{}", paths[i % 2], i % 2));
    parts.extend((0..70).map(link));
    unpack(&[&parts]).fails(6, "path components to walk");
}

#[test]
fn what_is_read_again_for_each_opaque_mark_is_counted() {
    let mut parts: Vec<Part> = (0..1000).map(|i| file(format!("d/f{i}"), "")).collect();
    parts.extend((0..2000).map(|_| opaque("d")));
    unpack(&[&[dir("d"), file("d/old", "")], &parts]).fails(6, "path components to walk");
    // Few opaque whiteouts are accepted.
    unpack(&[&[dir("d"), file("d/old", "")], &parts[..1050]]).ok();
}

#[test]
fn branches_far_below_the_root_are_near_each_other() {
    let trunk = deep("t", 2000);
    let (one, other) = (deep("a", 30), deep("b", 30));
    let part = |i: usize| {
        let branch = if i.is_multiple_of(2) { &one } else { &other };
        file(format!("{trunk}/{branch}/f{i}"), "")
    };
    let parts: Vec<Part> = (0..200).map(part).collect();
    unpack(&[&parts]).ok();
}

#[test]
fn a_link_to_a_deep_directory_is_not_walked_again_for_its_content() {
    let trunk = deep("t", 1500);
    let mut parts = vec![file(format!("{trunk}/x"), ""), symlink("l", &trunk)];
    for i in 0..300 {
        parts.push(file(format!("l/{}/f{i}", if i % 2 == 0 { "a" } else { "b" }), ""));
    }
    unpack(&[&parts]).ok();
}
