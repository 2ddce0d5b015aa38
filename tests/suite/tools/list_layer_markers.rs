// SPDX-License-Identifier: Apache-2.0
//! list-layer: a whiteout at any position of its layer refers to a path of the lower layers. Time
//! and memory are bounded, as in unpack-layer.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use tests::cage::{Cage, PLACES};
use tests::layers::{Part, archive, dir, fifo, file, hardlink, opaque, symlink, whiteout};
use tests::scratch::Scratch;
use tests::tools::{Run, tool};

fn merged(layers: &[&[Part]], options: &[&str]) -> Run {
    let scratch = Scratch::new();
    let write = |(i, parts): (usize, &&[Part])| scratch.write(format!("layer{i}"), archive(parts));
    let files: Vec<_> = layers.iter().enumerate().map(write).collect();
    tool("list-layer").args(["--merged", "--json"]).args(options).args(files).run()
}

fn names(layers: &[&[Part]], options: &[&str]) -> Vec<String> {
    let name = |line: String| {
        let object: Value = serde_json::from_str(&line).unwrap();
        object["name"].as_str().unwrap().to_owned()
    };
    merged(layers, options).status(0).lines().into_iter().map(name).collect()
}

/// Checks the names for the marker at each position among the entries of the upper layer, and that
/// unpack-layer makes the same files.
fn at_any_position(lower: &[Part], entries: &[Part], marker: &Part, want: &[&str]) {
    for at in 0..=entries.len() {
        let mut upper = entries.to_vec();
        upper.insert(at, marker.clone());
        assert_eq!(names(&[lower, &upper], &[]), want, "{upper:?}");
        let cage = Cage::new(PLACES[0]);
        cage.unpack(&[lower, &upper]).status(0);
        let mut unpacked = cage.tree();
        unpacked.sort();
        assert_eq!(unpacked, want, "{upper:?}");
    }
}

/// A link of a lower layer to a directory with a file.
fn linked() -> [Part; 3] {
    [dir("target"), file("target/keep", ""), symlink("link", "/target")]
}

#[test]
fn a_marker_does_not_act_through_a_link_that_its_layer_replaces() {
    let entries = [dir("link"), file("link/new", "")];
    for marker in [opaque("link"), whiteout("link/keep")] {
        let want = ["link/", "link/new", "target/", "target/keep"];
        at_any_position(&linked(), &entries, &marker, &want);
        // The layer replaces the link by an equal link.
        let entries = [symlink("link", "/target")];
        at_any_position(&linked(), &entries, &marker, &["link", "target/", "target/keep"]);
    }
    for marker in [whiteout("link/keep"), whiteout("link/a/b")] {
        at_any_position(&linked(), &[whiteout("link")], &marker, &["target/", "target/keep"]);
    }
}

#[test]
fn a_marker_below_another_file_of_its_layer_hides_nothing() {
    let lower = [dir("a"), file("a/x", ""), file("b", ""), dir("c"), file("c/x", "")];
    let want = ["a", "b", "c/", "c/x"];
    for entry in [file("a", ""), fifo("a"), hardlink("a", "b"), symlink("a", "c")] {
        for marker in [whiteout("a/x"), opaque("a"), whiteout("a/y/z"), opaque("a/y")] {
            at_any_position(&lower, std::slice::from_ref(&entry), &marker, &want);
        }
    }
}

#[test]
fn a_marker_behind_a_link_that_stays_hides_where_it_leads() {
    at_any_position(&linked(), &[], &whiteout("link/keep"), &["link", "target/"]);
    let entries = [file("link/new", ""), file("target/other", "")];
    let want = ["link", "target/", "target/new", "target/other"];
    at_any_position(&linked(), &entries, &opaque("link"), &want);
    let hidden = names(&[&linked(), &[opaque("link")]], &["--hidden"]);
    assert_eq!(hidden, ["target/keep"]);
    // Markers are applied from the root downwards: the first hides the inner link.
    let lower =
        [dir("t"), symlink("t/inner", "/u"), dir("u"), file("u/keep", ""), symlink("outer", "t")];
    let entries = [whiteout("outer/inner")];
    let want = ["outer", "t/", "u/", "u/keep"];
    at_any_position(&lower, &entries, &whiteout("outer/inner/keep"), &want);
}

#[test]
fn a_hard_link_that_replaces_the_directory_of_its_target_is_refused() {
    let layer = [dir("a"), file("a/f", ""), hardlink("a", "a/f")];
    let why = "hard link to \"a/f\": missing";
    Cage::new(PLACES[0]).unpack(&[&layer]).fails(6, why);
    merged(&[&layer], &[]).fails(6, why).stdout("");
}

#[test]
fn markers_that_wait_are_bounded_in_memory() {
    // Each name is almost a mebibyte long.
    let wide = |i: usize| {
        let path = format!("link/{}", format!("{}/", "n".repeat(250)).repeat(4000));
        whiteout(&format!("{path}{i}"))
    };
    let parts: Vec<Part> = (0..18).map(wide).collect();
    merged(&[&linked(), &parts], &[]).fails(6, "bytes of whiteouts that lead through").stdout("");
    merged(&[&linked(), &parts[..12]], &[]).ok();
}

#[test]
fn the_path_components_that_a_layer_walks_are_bounded() {
    let deep = |name: &str| vec![name; 4096].join("/");
    let paths = [deep("a"), deep("b")];
    let apart = |count: usize| -> Vec<Part> {
        (0..count).map(|i| file(format!("{}/f{i}", paths[i % 2]), "")).collect()
    };
    // Each entry takes 4096 steps. The limit for n entries is 2^18 + 64 n: 65 entries are below it,
    // and 66 are above it. Each layer is counted separately.
    merged(&[&apart(40), &apart(65)], &[]).ok();
    let run = merged(&[&apart(66)], &[]);
    run.fails(6, "more than 266368 path components to walk for 66 entries").stdout("");
    let mut parts = apart(2);
    let link = |i: usize| hardlink(format!("h{i}"), format!("{}/f{}", paths[i % 2], i % 2));
    parts.extend((0..70).map(link));
    merged(&[&parts], &[]).fails(6, "path components to walk");
    // Entries of one deep directory are near each other, also behind a link.
    let trunk = ["t"; 1500].join("/");
    let mut parts = vec![file(format!("{trunk}/x"), ""), symlink("l", &trunk)];
    parts.extend((0..300).map(|i| file(format!("l/{}/f{i}", i % 2), "")));
    merged(&[&parts], &[]).ok();
}
