// SPDX-License-Identifier: Apache-2.0
//! unpack-layer --whiteouts overlay: each layer is unpacked into its own directory. Mounted as an
//! overlay, these directories show the same tree as all layers unpacked into one directory.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tests::cage::{Cage, PLACES, everywhere, everywhere_and_unprivileged, portrait};
use tests::images::noise;
use tests::layers::{
    Part, archive, character, dir, fifo, file, hardlink, opaque, symlink, whiteout,
};
use tests::peers::{must, peer};
use tests::scratch::{Scratch, list};
use tests::tools::tool;

/// Whether a file is a whiteout in the kernel's form: a character device with the number 0:0.
fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|s| s.file_type().is_char_device() && s.rdev() == 0)
}

/// The value of a directory's opaque attribute, whose name begins with `trusted.overlay` for root
/// and with `user.overlay` for other users.
fn mark(path: &Path, name: &str) -> String {
    let mut getfattr = peer("getfattr");
    let listed = must(getfattr.args(["--only-values", "-m", name, "-d"]).arg(path));
    String::from_utf8_lossy(&listed).into_owned()
}

/// Layers mounted as an overlay, the base layer lowest.
struct Mounted {
    scratch: Scratch,
}

impl Mounted {
    /// Unpacks each layer into a separate directory, and mounts them over each other.
    fn new(place: &str, layers: &[&[Part]]) -> Mounted {
        let scratch = Scratch::new_in(Path::new(place));
        // The kernel requires at least two lower directories.
        fs::create_dir(scratch.join("none")).unwrap();
        let mut lower = String::from("none");
        for (i, parts) in layers.iter().enumerate() {
            let unpack = tool("unpack-layer").dir(scratch.path()).args(["--whiteouts", "overlay"]);
            unpack.arg(format!("l{i}")).stdin(archive(parts)).run().status(0);
            lower = format!("l{i}:{lower}");
        }
        fs::create_dir(scratch.join("all")).unwrap();
        let options = format!("lowerdir={lower}");
        let mut mount = peer("mount");
        mount.args(["-t", "overlay", "overlay", "-o", &options, "all"]);
        must(mount.current_dir(scratch.path()));
        Mounted { scratch }
    }

    fn top(&self) -> PathBuf {
        self.scratch.join("all")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        must(peer("umount").arg(self.top()));
    }
}

/// Asserts that layers mounted as an overlay show the same tree as in one directory.
fn same_when_mounted(layers: &[&[Part]]) {
    for place in PLACES {
        let cage = Cage::new(place);
        cage.unpack(layers).status(0);
        let mounted = Mounted::new(place, layers);
        let flat = portrait(&cage.root(""));
        let over = portrait(&mounted.top());
        assert!(flat == over, "flat {flat:#?}\nmounted {over:#?}\nof {layers:?}");
    }
}

#[test]
fn a_whiteout_is_a_device_that_every_user_can_create() {
    everywhere_and_unprivileged(|cage| {
        cage.options(&["--whiteouts", "overlay"]);
        cage.unpack(&[&[dir("d"), whiteout("d/x"), whiteout("y")]]).ok();
        cage.has(&["d/", "d/x", "y"]);
        assert!(is_whiteout(&cage.root("d/x")) && is_whiteout(&cage.root("y")));
    });
}

#[test]
fn no_whiteout_is_left_in_an_opaque_directory() {
    for order in [[whiteout("d/x"), opaque("d")], [opaque("d"), whiteout("d/x")]] {
        everywhere(|cage| {
            cage.options(&["--whiteouts", "overlay"]);
            let [one, other] = order.clone();
            cage.unpack(&[&[dir("d"), one, other, whiteout("d/e/f"), file("d/e/g", "")]]).ok();
            cage.has(&["d/", "d/e/", "d/e/g"]);
        });
    }
}

#[test]
fn a_directory_without_an_entry_causes_a_warning() {
    everywhere(|cage| {
        cage.options(&["--whiteouts", "overlay"]);
        let run = cage.unpack(&[&[file("d/f", "")]]);
        run.status(0).says("\"d\": a directory without an entry: its attributes hide");
    });
}

#[test]
fn a_device_that_would_be_a_whiteout_is_refused() {
    for options in [&["--whiteouts", "overlay"][..], &["--whiteouts", "keep"], &[]] {
        everywhere_and_unprivileged(|cage| {
            cage.options(options);
            cage.unpack(&[&[character("x", 0, 0)]]).fails(6, "character device 0:0");
            cage.nothing();
        });
    }
}

#[test]
fn an_opaque_root_is_refused() {
    for name in ["", "l"] {
        everywhere(|cage| {
            cage.options(&["--whiteouts", "overlay"]);
            let run = cage.unpack(&[&[symlink("l", "/")], &[opaque(name), file("f", "")]]);
            run.fails(6, "hides all lower layers, which an overlay cannot express").says("hint: ");
            cage.nothing();
        });
    }
    // Behind a link of its own layer, an opaque whiteout refers to the directory of the lower
    // layers that the link replaces.
    everywhere(|cage| {
        cage.options(&["--whiteouts", "overlay"]);
        cage.unpack(&[&[symlink("l", "/"), opaque("l"), file("f", "")]]).ok();
        cage.has(&["f", "l"]);
    });
}

#[test]
fn a_hard_link_to_a_lower_layer_is_refused() {
    everywhere(|cage| {
        cage.options(&["--whiteouts", "overlay"]);
        cage.unpack(&[&[hardlink("h", "lower")]]).fails(6, "or be in a lower layer");
    });
}

/// Random layers of a few names, so that the layers overlap. Every parent has an entry, because an
/// overlay takes all attributes of a directory from the topmost layer that has it. Only existing
/// names are hidden, because the kernel shows a whiteout as a file in a directory that no other
/// layer has.
fn random_layers(seed: u64, layers: usize) -> Vec<Vec<Part>> {
    let dice = noise(4096, seed);
    let mut dice = dice.iter().map(|byte| usize::from(*byte)).cycle();
    let mut roll = |sides: usize| dice.next().unwrap() % sides;
    let dirs = ["", "a/", "b/", "a/a/", "a/b/", "b/a/"];
    let mut all: Vec<Vec<Part>> = Vec::new();
    let mut cage = Cage::new(PLACES[0]);
    cage.options(&["--replace"]);
    for layer in 0..layers {
        let so_far: Vec<&[Part]> = all.iter().map(Vec::as_slice).collect();
        if layer > 0 {
            cage.unpack(&so_far).status(0);
        }
        let there = cage.tree();
        // A layer has at most one entry for a name. Entries are stored here by name, with a slash
        // after the name of a directory. A name that is used as a parent gets a directory entry,
        // which precedes the entries below it. Whiteouts are added in any case.
        let mut parts: Vec<(String, Part)> = Vec::new();
        for _ in 0..2 + roll(7) {
            let parent = dirs[roll(dirs.len())];
            let mut above = String::new();
            for component in parent.split_terminator('/') {
                above.push_str(component);
                parts.retain(|(name, _)| *name != above);
                let entry = dir(&above).mtime(10 + layer as u64);
                above.push('/');
                if parts.iter().all(|(name, _)| *name != above) {
                    parts.push((above.clone(), entry));
                }
            }
            let name = format!("{parent}{}", ["a", "b", "x", "y"][roll(4)]);
            let below = format!("{name}/");
            let is_there = there.contains(&name) || there.contains(&below);
            let what = roll(8);
            let taken = |(other, _): &(String, Part)| *other == name || other.starts_with(&below);
            if what < 5 && parts.iter().any(taken) {
                continue;
            }
            let (name, part) = match what {
                0 | 1 => (name.clone(), file(&name, format!("{layer}")).mtime(roll(99) as u64)),
                2 => (below, dir(&name).mode(0o700 + roll(8) as u32).mtime(layer as u64)),
                3 => (name.clone(), symlink(&name, ["a", "/b", "../x", "gone"][roll(4)])),
                4 => (name.clone(), fifo(&name)),
                5 | 6 if is_there => (String::new(), whiteout(&name)),
                7 if !parent.is_empty() => (String::new(), opaque(parent.trim_end_matches('/'))),
                _ => continue,
            };
            parts.push((name, part));
        }
        // The root has an entry as well.
        let mut parts: Vec<Part> = parts.into_iter().map(|(_, part)| part).collect();
        parts.insert(0, dir("./").mtime(layer as u64));
        all.push(parts);
    }
    all
}

mod with_peers {
    use super::*;

    #[test]
    fn overlay_attributes_of_a_layer_are_left_out_with_a_warning() {
        everywhere(|cage| {
            cage.options(&["--whiteouts", "overlay"]);
            let steering = dir("d")
                .xattr("trusted.overlay.opaque", "y")
                .xattr("user.overlay.redirect", "/etc")
                .xattr("trusted.overlay.metacopy", "");
            let run = cage.unpack(&[&[steering, file("f", "").xattr("user.overlay.origin", "x")]]);
            run.status(0).says("a layer may not set it");
            assert_eq!(mark(&cage.root("d"), "overlay") + &mark(&cage.root("f"), "overlay"), "");
        });
    }
}

mod as_root {
    use super::*;

    #[test]
    fn the_opaque_attribute_depends_on_the_privilege_of_the_user() {
        everywhere(|cage| {
            cage.options(&["--whiteouts", "overlay"]);
            cage.unpack(&[&[dir("d"), opaque("d")]]).ok();
            assert_eq!(mark(&cage.root("d"), "trusted.overlay"), "y");
        });
        for place in PLACES {
            let mut cage = Cage::new(place);
            cage.unprivileged().options(&["--whiteouts", "overlay"]);
            cage.unpack(&[&[dir("d"), opaque("d")]]).ok();
            assert_eq!(mark(&cage.root("d"), "user.overlay"), "y");
        }
    }

    #[test]
    fn without_attributes_whiteouts_work_and_opaque_directories_are_refused() {
        let scratch = Scratch::new();
        must(peer("mount").args(["-t", "ramfs", "ramfs"]).arg(scratch.path()));
        let unpack = |part: &[Part]| {
            let unpack =
                tool("unpack-layer").dir(scratch.path()).args(["--whiteouts", "overlay", "d"]);
            unpack.stdin(archive(part)).run()
        };
        let opaque = unpack(&[dir("d"), opaque("d")]);
        let left = list(scratch.path());
        let plain = unpack(&[whiteout("x")]);
        let made = is_whiteout(&scratch.join("d/x"));
        must(peer("umount").arg(scratch.path()));
        opaque.fails(7, "mark a directory as opaque (trusted.overlay.opaque)");
        plain.ok();
        assert!(left.is_empty() && made);
    }

    #[test]
    fn a_directory_that_replaces_a_whiteout_is_opaque() {
        let orders: [&[Part]; 3] = [
            &[whiteout("d"), file("d/foo", "")],
            &[file("d/foo", ""), whiteout("d")],
            &[whiteout("d"), dir("d"), file("d/foo", "")],
        ];
        for parts in orders {
            everywhere(|cage| {
                cage.options(&["--whiteouts", "overlay"]);
                cage.unpack(&[parts]).status(0);
                cage.has(&["d/", "d/foo"]);
                assert_eq!(mark(&cage.root("d"), "trusted.overlay"), "y", "{parts:?}");
            });
        }
    }

    #[test]
    fn an_opaque_directory_stays_opaque_after_other_entries() {
        everywhere(|cage| {
            cage.options(&["--whiteouts", "overlay"]);
            let parts = [opaque("d"), dir("d").mode(0o700), file("d/f", ""), dir("d").mode(0o711)];
            cage.unpack(&[&parts]).status(0);
            assert_eq!(
                (mark(&cage.root("d"), "trusted.overlay"), cage.mode("d")),
                ("y".into(), 0o711)
            );
        });
        let lower = [dir("d"), file("d/old", "")];
        same_when_mounted(&[&lower, &[opaque("d"), dir("d").mtime(3), file("d/new", "")]]);
    }

    #[test]
    fn a_file_that_its_own_layer_adds_and_hides_exists() {
        for parts in [[file("f", "1"), whiteout("f")], [whiteout("f"), file("f", "1")]] {
            everywhere(|cage| {
                cage.options(&["--whiteouts", "overlay"]);
                cage.unpack(&[&parts]).ok();
                assert_eq!(cage.read("f"), "1");
            });
            same_when_mounted(&[&[file("f", "0")], &parts]);
        }
    }

    #[test]
    fn whiteouts_of_all_kinds_are_the_same_when_mounted() {
        let lower = [
            dir("a").mtime(1),
            file("a/x", "1"),
            dir("a/b").mtime(2),
            file("a/b/y", "2"),
            dir("c").mode(0o700),
            file("c/z", "3"),
            symlink("l", "a"),
            file("f", ""),
        ];
        let upper = [
            whiteout("f"),
            dir("a").mtime(3),
            opaque("a"),
            dir("a/b").mtime(4),
            file("a/b/new", ""),
            whiteout("c"),
            dir("c").mtime(5),
            fifo("c/p"),
            whiteout("l"),
            dir("l"),
            whiteout("gone"),
        ];
        let top = [whiteout("c/p"), dir("c").mtime(6), dir("f"), file("f/in", ""), whiteout("a")];
        same_when_mounted(&[&lower, &upper]);
        same_when_mounted(&[&lower, &upper, &top]);
    }

    #[test]
    fn an_ordinary_user_can_mount_layers_that_it_unpacked() {
        for place in PLACES {
            let scratch = Scratch::new_in(Path::new(place));
            scratch.chmod(".", 0o777);
            let layers: [&[Part]; 2] = [
                &[dir("a"), file("a/old", ""), file("b", ""), dir("c"), file("c/kept", "")],
                &[
                    dir("a"),
                    opaque("a"),
                    file("a/new", ""),
                    whiteout("b"),
                    dir("c"),
                    file("c/n", ""),
                ],
            ];
            for (i, parts) in layers.iter().enumerate() {
                let unpack =
                    tool("unpack-layer").dir(scratch.path()).args(["--whiteouts", "overlay"]);
                unpack.arg(format!("l{i}")).stdin(archive(parts)).as_unprivileged().run().ok();
            }
            let script = "mkdir m && mount -t overlay -o userxattr,lowerdir=l1:l0 none m &&
            cd m && find . -mindepth 1 | sort";
            let mut user = peer("setpriv");
            user.args(["--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-rm"]);
            let listed = must(user.args(["sh", "-c", script]).current_dir(scratch.path()));
            let names = "./a\n./a/new\n./c\n./c/kept\n./c/n\n";
            assert_eq!(String::from_utf8_lossy(&listed), names);
        }
    }

    #[test]
    fn random_layers_are_the_same_when_mounted() {
        for seed in 0..40 {
            let layers = random_layers(seed, 2 + (seed % 3) as usize);
            let layers: Vec<&[Part]> = layers.iter().map(Vec::as_slice).collect();
            same_when_mounted(&layers);
        }
    }
}
