// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: whiteouts and opaque whiteouts (markers) at any position of their layer. They hide
//! a path of the lower layers, even if their own layer has an entry at that path. They hide nothing
//! behind a link that their layer replaces.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tests::cage::{Cage, PLACES, everywhere, everywhere_and_unprivileged, letter};
use tests::images::noise;
use tests::layers::{Part, archive, dir, fifo, file, hardlink, opaque, symlink, whiteout};
use tests::peers::{must, peer};
use tests::scratch::Scratch;
use tests::tools::tool;

/// All orders of a layer's markers and entries in which a directory is before its content.
fn orders(parts: &[(&str, Part)]) -> Vec<Vec<Part>> {
    fn extend(left: &[(&str, Part)], done: &[Part], all: &mut Vec<Vec<Part>>) {
        if left.is_empty() {
            all.push(done.to_vec());
        }
        for (i, (name, part)) in left.iter().enumerate() {
            let above = name.rfind('/').map_or("", |slash| &name[..slash]);
            if !name.contains(".wh.") && left.iter().any(|(other, _)| *other == above) {
                continue;
            }
            let rest: Vec<_> = [&left[..i], &left[i + 1..]].concat();
            extend(&rest, &[done, std::slice::from_ref(part)].concat(), all);
        }
    }
    let mut all = Vec::new();
    extend(parts, &[], &mut all);
    all
}

/// Checks that every order of the upper layer's parts leads to these names, without a warning.
fn in_any_order(lower: &[Part], upper: &[(&str, Part)], names: &[&str]) {
    for order in orders(upper) {
        everywhere_and_unprivileged(|cage| {
            cage.unpack(&[lower, &order]).ok();
            assert_eq!(cage.tree(), names, "{order:?}");
        });
    }
}

/// A link of a lower layer to a directory with a file.
fn linked() -> [Part; 3] {
    [dir("target"), file("target/keep", ""), symlink("link", "/target")]
}

#[test]
fn a_marker_does_not_act_through_a_lower_link_that_its_layer_replaces() {
    let names = ["link/", "link/new", "target/", "target/keep"];
    let entries = [("link", dir("link")), ("link/new", file("link/new", ""))];
    for marker in [opaque("link"), whiteout("link/keep")] {
        let upper = [&entries[..], &[("link/.wh.", marker)]].concat();
        in_any_order(&linked(), &upper, &names);
    }
    let both = [("link/.wh.1", opaque("link")), ("link/.wh.2", whiteout("link/keep"))];
    in_any_order(&linked(), &[&entries[..], &both].concat(), &names);
}

#[test]
fn a_marker_does_not_act_through_a_link_of_its_own_layer() {
    let lower = [dir("a"), file("a/a", "old"), dir("b"), file("b/a", "keep"), dir("c")];
    let names = ["a", "b/", "b/a", "c/"];
    for marker in [whiteout("a/a"), opaque("a")] {
        in_any_order(&lower, &[("a", symlink("a", "/b")), ("a/.wh.", marker)], &names);
    }
    // The upper layer replaces the link of a lower layer by an equal link.
    for marker in [whiteout("link/keep"), opaque("link")] {
        let upper = [("link", symlink("link", "target")), ("link/.wh.", marker)];
        in_any_order(&linked(), &upper, &["link", "target/", "target/keep"]);
    }
}

#[test]
fn a_marker_below_another_file_of_its_layer_hides_nothing() {
    let lower = [dir("a"), file("a/x", ""), file("b", "")];
    for (entry, also) in [(file("a", ""), file("a", "")), (fifo("a"), hardlink("a", "b"))] {
        for part in [entry, also] {
            for marker in [whiteout("a/x"), opaque("a"), whiteout("a/y/z"), opaque("a/y")] {
                let upper = [("a", part.clone()), ("a/.wh.", marker)];
                in_any_order(&lower, &upper, &["a", "b"]);
            }
        }
    }
}

#[test]
fn a_marker_behind_a_lower_link_that_is_hidden_hides_nothing_more() {
    for marker in [whiteout("link/keep"), whiteout("link/a/b")] {
        let upper = [(".wh.", whiteout("link")), ("link/.wh.", marker)];
        in_any_order(&linked(), &upper, &["target/", "target/keep"]);
    }
    let upper = [(".wh.", whiteout("link")), ("link/.wh.", opaque("link"))];
    in_any_order(&linked(), &upper, &["link/", "target/", "target/keep"]);
}

#[test]
fn markers_behind_lower_links_are_applied_from_the_root_downwards() {
    // The first whiteout hides the inner link. Therefore the second one hides nothing behind that
    // link.
    let lower =
        [dir("t"), symlink("t/inner", "/u"), dir("u"), file("u/keep", ""), symlink("outer", "t")];
    let upper =
        [("outer/.wh.1", whiteout("outer/inner")), ("outer/.wh.2", whiteout("outer/inner/keep"))];
    in_any_order(&lower, &upper, &["outer", "t/", "u/", "u/keep"]);
}

#[test]
fn a_marker_behind_a_lower_link_that_stays_hides_where_it_leads() {
    let upper = [("link/.wh.", whiteout("link/keep"))];
    in_any_order(&linked(), &upper, &["link", "target/"]);
    // Entries of the upper layer stay, both those below the link and those below its target.
    let upper = [
        ("link/.wh.", opaque("link")),
        ("link/new", file("link/new", "")),
        ("target/other", file("target/other", "")),
    ];
    in_any_order(&linked(), &upper, &["link", "target/", "target/new", "target/other"]);
    let lower = [dir("t/d").mode(0o700), file("t/d/old", ""), symlink("l", "t")];
    let upper = [("l/.wh.", whiteout("l/d")), ("l/d/new", file("l/d/new", ""))];
    in_any_order(&lower, &upper, &["l", "t/", "t/d/", "t/d/new"]);
}

#[test]
fn a_link_that_is_kept_is_followed_by_markers_too() {
    for order in orders(&[("link", dir("link")), ("link/.wh.", whiteout("link/keep"))]) {
        everywhere(|cage| {
            cage.options(&["--keep-dirlinks"]);
            cage.unpack(&[&linked(), &order]).ok();
            cage.has(&["link", "target/"]);
        });
    }
    // The link's target counts as an entry of the upper layer and stays. The directory `t/link`,
    // which has the name of the link, is hidden.
    let lower = [file("t/link/old", ""), dir("t/d"), symlink("link", "t/d")];
    for order in orders(&[("link", dir("link")), (".wh.", opaque(""))]) {
        everywhere(|cage| {
            cage.options(&["--keep-dirlinks"]);
            let mut parts = order.clone();
            parts.sort_by_key(|part| format!("{part:?}").contains(".wh."));
            cage.unpack(&[&lower, &parts]).ok();
            cage.has(&["t/", "t/d/"]);
        });
    }
}

#[test]
fn entries_that_passed_a_link_which_is_hidden_or_replaced_later_cause_a_warning() {
    let first = file("link/new", "");
    let later = [dir("link"), symlink("link", "x"), file("link", ""), whiteout("link"), opaque("")];
    for later in later {
        everywhere(|cage| {
            let parts = [first.clone(), later.clone()];
            let run = cage.unpack(&[&linked(), &parts]);
            run.status(0).says("\"link\": hidden or replaced after entries of the same layer");
            cage.only_options(&["--replace", "--strict"]);
            cage.unpack(&[&linked(), &parts]).fails(6, "hidden or replaced after entries");
        });
    }
    // The result is the same if the directory that contains the link is hidden or replaced.
    let lower = [dir("d"), symlink("d/l", "/t"), file("t/x", "")];
    for later in [whiteout("d"), symlink("d", "t")] {
        everywhere(|cage| {
            let run = cage.unpack(&[&lower, &[file("d/l/new", ""), later.clone()]]);
            run.status(0).says("\"d\": hidden or replaced after entries of the same layer");
        });
    }
    // No warning if the link stays.
    everywhere(|cage| {
        let parts = [file("d/l/new", ""), dir("d"), whiteout("d/l/x"), whiteout("d/gone")];
        cage.unpack(&[&lower, &parts]).ok();
    });
}

#[test]
fn markers_that_wait_are_bounded_in_memory() {
    // Each name is almost a mebibyte long. Sixteen of them exceed the memory for markers that wait.
    let long = |i: usize| whiteout(&format!("link/{}{i}", "d/".repeat(16_000)));
    let wide = |i: usize| {
        let path = format!("link/{}", format!("{}/", "n".repeat(250)).repeat(4000));
        whiteout(&format!("{path}{i}"))
    };
    everywhere(|cage| {
        cage.unpack(&[&linked(), &[long(0), wide(0), long(1)]]).ok();
        let parts: Vec<Part> = (0..18).map(wide).collect();
        cage.only_options(&["--replace"]);
        cage.unpack(&[&linked(), &parts]).fails(6, "bytes of whiteouts that lead through");
        cage.unpack(&[&linked(), &parts[..12]]).ok();
    });
}

#[test]
fn a_directory_that_gets_its_entry_later_is_worth_no_overlay_warning() {
    for parts in [
        [opaque("d"), dir("d").mode(0o700), file("d/n", "n")],
        [whiteout("d/x"), dir("d").mode(0o700), file("d/n", "n")],
        [file("d/n", "n"), whiteout("d/x"), dir("d").mode(0o700)],
        [file("d/n", "n"), dir("d").mode(0o700), opaque("d")],
    ] {
        everywhere(|cage| {
            cage.options(&["--whiteouts", "overlay", "--strict"]);
            cage.unpack(&[&parts]).ok();
            assert_eq!((cage.mode("d"), cage.read("d/n")), (0o700, "n".to_owned()));
        });
    }
}

#[test]
fn a_directory_that_gets_no_entry_is_worth_one() {
    for parts in [
        vec![opaque("a"), dir("b")],
        vec![whiteout("a/x"), dir("b")],
        vec![file("a/b/c", ""), dir("a/b")],
        vec![dir("b"), file("a/f", ""), opaque("b")],
    ] {
        everywhere(|cage| {
            cage.options(&["--whiteouts", "overlay"]);
            let run = cage.unpack(&[&parts]);
            run.status(0).says("\"a\": a directory without an entry").does_not_say("times");
            cage.only_options(&["--whiteouts", "overlay", "--replace", "--strict"]);
            cage.unpack(&[&parts]).fails(6, "a directory without an entry");
        });
    }
    // No warning: a replaced directory does not exist in the result, and below an opaque directory
    // no lower layer is visible.
    for parts in [
        vec![whiteout("a/b/x"), symlink("a", "/c")],
        vec![file("a/b/x", ""), dir("a"), opaque("a")],
        vec![whiteout("a/b"), file("a/b/x", ""), dir("a")],
    ] {
        everywhere(|cage| {
            cage.options(&["--whiteouts", "overlay"]);
            cage.unpack(&[&parts]).ok();
        });
    }
}

/// Pseudo-random numbers, the same for the same seed.
struct Dice {
    bytes: std::iter::Cycle<std::vec::IntoIter<u8>>,
}

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice { bytes: noise(4096, seed).into_iter().cycle() }
    }

    fn roll(&mut self, sides: usize) -> usize {
        let high = usize::from(self.bytes.next().unwrap());
        (high << 8 | usize::from(self.bytes.next().unwrap())) % sides
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}

/// A random layer: its entries by their names, and its markers.
#[derive(Default)]
struct Drawn {
    entries: BTreeMap<String, Part>,
    directories: BTreeSet<String>,
    markers: Vec<Part>,
}

const NAMES: [&str; 4] = ["a", "b", "x", "l"];

impl Drawn {
    /// Every directory with content has an entry: an overlay takes all attributes of a directory
    /// from the topmost layer that has it. Markers are below such directories, below files and
    /// links that replace something of the layers below, and below directories that they hide.
    fn new(dice: &mut Dice, number: u64, below: &BTreeMap<String, char>) -> Drawn {
        let mut drawn = Drawn::default();
        for _ in 0..2 + dice.roll(6) {
            drawn.entry(dice, number);
        }
        for _ in 0..1 + dice.roll(5) {
            drawn.marker(dice, below);
        }
        drawn
    }

    fn entry(&mut self, dice: &mut Dice, number: u64) {
        let parent = *dice.one(&["", "", "a/", "b/", "l/", "a/a/", "a/b/", "b/l/"]);
        let name = format!("{parent}{}", dice.one(&NAMES));
        let above: Vec<&str> = parent.match_indices('/').map(|(at, _)| &parent[..at]).collect();
        let is_other =
            |name: &&str| self.entries.contains_key(*name) && !self.directories.contains(*name);
        if self.entries.contains_key(&name) || above.iter().any(is_other) {
            return;
        }
        for name in above {
            self.directories.insert(name.to_owned());
            self.entries.insert(name.to_owned(), dir(name).mtime(10 + number));
        }
        let part = match dice.roll(8) {
            0..3 => symlink(&name, dice.one(&["a", "/b", "../a", "/a/b", "l", "gone", "/"])),
            3..5 => {
                self.directories.insert(name.clone());
                dir(&name).mode(0o700 + dice.roll(8) as u32).mtime(number)
            }
            5 => fifo(&name),
            _ => file(&name, format!("{number}{name}")).mtime(dice.roll(99) as u64),
        };
        self.entries.insert(name, part);
    }

    fn marker(&mut self, dice: &mut Dice, below: &BTreeMap<String, char>) {
        let parent = |name: &str| name.rfind('/').map(|slash| name[..slash].to_owned());
        let has_entry =
            |name: &&String| parent(name).is_none_or(|parent| self.directories.contains(&parent));
        let there: Vec<&String> = below.keys().filter(has_entry).collect();
        let marker = match dice.roll(4) {
            // A file of the layers below.
            0 if !there.is_empty() => vec![whiteout(dice.one(&there).as_str())],
            // A file of the layers below, and a name below it or its opaque whiteout.
            1 if !there.is_empty() => {
                let name = dice.one(&there).as_str();
                let inside = format!("{name}/{}", dice.one(&NAMES));
                vec![
                    whiteout(name),
                    if dice.roll(2) == 0 { whiteout(&inside) } else { opaque(name) },
                ]
            }
            // A directory of the layer.
            2 => match self.directories.iter().nth(dice.roll(1 + self.directories.len())) {
                Some(name) => vec![opaque(name)],
                None => return,
            },
            // An entry that replaces a file of the layers below.
            _ => {
                let replaces = |(name, _): &(&String, &Part)| {
                    below.contains_key(*name)
                        && !(self.directories.contains(*name) && below[*name] == 'd')
                };
                let replaced: Vec<_> = self.entries.iter().filter(replaces).collect();
                if replaced.is_empty() {
                    return;
                }
                let name = dice.one(&replaced).0;
                let inside = format!("{name}/{}", dice.one(&NAMES));
                let deeper = format!("{inside}/{}", dice.one(&NAMES));
                match dice.roll(3) {
                    0 => vec![whiteout(&inside)],
                    1 if !self.directories.contains(name) => vec![whiteout(&deeper)],
                    _ => vec![opaque(name)],
                }
            }
        };
        self.markers.extend(marker);
    }

    /// The layer in a random order: a directory is before its content, and markers are anywhere.
    fn order(&self, dice: &mut Dice) -> Vec<Part> {
        let mut left: Vec<(&String, &Part)> = self.entries.iter().collect();
        let mut parts = Vec::new();
        while !left.is_empty() {
            let (name, part) = left.remove(dice.roll(left.len()));
            let above = name.rfind('/').map(|slash| name[..slash].to_owned());
            if above.is_some_and(|above| left.iter().any(|(other, _)| **other == above)) {
                left.push((name, part));
                continue;
            }
            parts.push(part.clone());
        }
        for marker in &self.markers {
            parts.insert(dice.roll(parts.len() + 1), marker.clone());
        }
        parts.insert(0, dir("./").mtime(1));
        parts
    }
}

/// The names in a tree, with their types.
fn types(top: &Path) -> BTreeMap<String, char> {
    let of = |name: String| {
        let name = name.trim_end_matches('/').to_owned();
        let kind = letter(&std::fs::symlink_metadata(top.join(&name)).unwrap());
        (name, kind)
    };
    tests::scratch::list(top).into_iter().map(of).collect()
}

/// Lists a tree. Names that cannot be opened are left out: the kernel shows a whiteout as a file if
/// no other layer has its directory.
const SEE: &str = "{ find . -printf '%p %y %m %U %T@ %l\\n' | sort;
    find . -type f -exec sha256sum {} + | sort; } 2>/dev/null";

/// Unpacks each layer into a separate directory, lets the kernel mount them as an overlay in a
/// separate mount namespace, and returns the list of that tree.
fn mounted(place: &str, layers: &[Vec<Part>]) -> String {
    let scratch = Scratch::new_in(Path::new(place));
    std::fs::create_dir(scratch.join("none")).unwrap();
    std::fs::create_dir(scratch.join("all")).unwrap();
    let mut lower = String::from("none");
    for (i, parts) in layers.iter().enumerate() {
        let unpack = tool("unpack-layer").dir(scratch.path()).args(["--whiteouts", "overlay"]);
        let unpack = unpack.args([&format!("l{i}"), "--no-sync"]);
        unpack.stdin(archive(parts)).run().status(0);
        lower = format!("l{i}:{lower}");
    }
    let script = format!("mount -t overlay -o lowerdir={lower} none all && cd all && {SEE}");
    let mut namespace = peer("unshare");
    namespace.args(["-m", "sh", "-c", &script]).current_dir(scratch.path());
    String::from_utf8(must(&mut namespace)).unwrap()
}

/// Checks that random stacks give the same tree in one directory and mounted, in several random
/// orders.
fn same_when_mounted(seeds: std::ops::Range<u64>, orders: usize) {
    for seed in seeds {
        let mut dice = Dice::new(seed);
        let mut cage = Cage::new(PLACES[0]);
        cage.options(&["--replace", "--quiet"]);
        let mut below = BTreeMap::new();
        let mut stack: Vec<Drawn> = Vec::new();
        for number in 0..2 + seed % 3 {
            stack.push(Drawn::new(&mut dice, number, &below));
            let parts: Vec<_> = stack.iter().map(|drawn| drawn.order(&mut dice)).collect();
            let parts: Vec<&[Part]> = parts.iter().map(Vec::as_slice).collect();
            cage.unpack(&parts).status(0);
            below = types(&cage.root(""));
        }
        for _ in 0..orders {
            let layers: Vec<_> = stack.iter().map(|drawn| drawn.order(&mut dice)).collect();
            let parts: Vec<&[Part]> = layers.iter().map(Vec::as_slice).collect();
            cage.unpack(&parts).ok();
            let mut see = peer("sh");
            let flat = must(see.args(["-c", SEE]).current_dir(cage.root("")));
            let flat = String::from_utf8(flat).unwrap();
            let over = mounted(PLACES[0], &layers);
            assert!(flat == over, "seed {seed}:\n{flat}\nmounted:\n{over}\nof {layers:#?}");
        }
    }
}

mod as_root {
    use super::*;

    #[test]
    fn stacks_with_markers_in_any_order_are_the_same_when_mounted() {
        same_when_mounted(0..60, 2);
    }
}

mod at_length {
    use super::*;

    mod as_root {
        use super::*;

        #[test]
        fn more_stacks_with_markers_in_any_order_are_the_same_when_mounted() {
            same_when_mounted(60..600, 3);
        }
    }
}
