// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: file systems that are mounted in DIR. Whiteouts and entries remove nothing in
//! them, and an old tree that cannot be removed does not make later runs fail.
//!
//! Each run has a separate mount namespace, which ends with the run.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use tests::cage::PLACES;
use tests::layers::{Part, archive, dir, file, opaque, symlink, whiteout};
use tests::peers::{must, peer};
use tests::scratch::{Scratch, list};
use tests::tools::{Run, tool};

/// Kernels: with all system calls, without openat2, and without openat2 and statx (which gives the
/// mount's ID).
const KERNELS: [&str; 3] = [
    "",
    "strace -f -qq -o /dev/null -e inject=openat2:error=ENOSYS",
    "strace -f -qq -o /dev/null -e inject=openat2:error=EPERM -e inject=statx:error=ENOSYS",
];

/// A DIR with a volume, which is mounted at `root/at` while the tool runs.
struct Volume {
    scratch: Scratch,
    at: &'static str,
}

impl Volume {
    fn new(place: &str, at: &'static str) -> Volume {
        let scratch = Scratch::new_in(Path::new(place));
        fs::create_dir_all(scratch.join("root").join(at)).unwrap();
        for name in ["volume/keep", "volume/sub/x", "root/d/beside"] {
            scratch.write(name, "kept");
        }
        Volume { scratch, at }
    }

    fn run(&self, options: &[&str], kernel: &str, parts: &[Part]) -> Run {
        let script =
            format!("mount --bind volume 'root/{}' && exec {kernel} \"$0\" \"$@\"", self.at);
        let layer = self.scratch.write("layer", archive(parts));
        let unpack = tool("unpack-layer").dir(self.scratch.path()).args(["root", "--no-sync"]);
        let unpack = unpack.args(options).arg(&layer);
        let run = unpack.under(&["unshare", "-m", "sh", "-c", &script]).run();
        let _ = fs::remove_file(self.scratch.join(".root.dirty"));
        run
    }

    fn volume(&self) -> Vec<String> {
        list(&self.scratch.join("volume"))
    }
}

/// Checks that every kernel gives this refusal, and that no file of the volume is removed.
fn refused(at: &'static str, parts: &[Part], words: &str) {
    for place in PLACES {
        for kernel in KERNELS {
            let volume = Volume::new(place, at);
            let run = volume.run(&["--onto"], kernel, parts);
            let left = volume.volume();
            for name in ["keep", "sub/", "sub/x"] {
                assert!(
                    left.contains(&name.to_owned()),
                    "{name} is gone: {kernel} {parts:?} {run}"
                );
            }
            run.fails(7, words).says("hint: ");
        }
    }
}

const IN_MOUNT: &str = "in a mounted file system: --onto removes no files there";

mod as_root {
    use super::*;

    #[test]
    fn whiteouts_remove_nothing_in_a_mounted_volume() {
        let layers: [&[Part]; 8] = [
            &[whiteout("data/keep")],
            &[whiteout("data/sub")],
            &[whiteout("data/sub/x")],
            &[opaque("data")],
            &[file("data/new", ""), whiteout("data")],
            &[dir("data"), file("data/new", ""), opaque("data")],
            &[file("data/new", ""), opaque("")],
            &[file("data/sub/new", ""), whiteout("data/sub")],
        ];
        for parts in layers {
            refused("data", parts, IN_MOUNT);
        }
    }

    #[test]
    fn whiteouts_behind_links_remove_nothing_in_a_mounted_volume() {
        for marker in [whiteout("link/keep"), opaque("link")] {
            for place in PLACES {
                let volume = Volume::new(place, "data");
                std::os::unix::fs::symlink("/data", volume.scratch.join("root/link")).unwrap();
                volume.run(&["--onto"], "", std::slice::from_ref(&marker)).fails(7, IN_MOUNT);
                assert!(volume.volume().contains(&"keep".to_owned()));
            }
        }
    }

    #[test]
    fn entries_replace_no_directory_in_a_mounted_volume_and_none_with_a_mount() {
        let layers: [&[Part]; 3] =
            [&[file("data/sub", "")], &[symlink("data/sub", "x")], &[file("data/keep/below", "")]];
        for parts in layers {
            refused("data", parts, IN_MOUNT);
        }
        for part in [file("data", ""), symlink("data", "x"), whiteout("data")] {
            refused("data", &[part], "remove \"data\": device or resource busy");
        }
    }

    #[test]
    fn a_directory_that_contains_a_mount_is_refused_whole() {
        for part in [file("d", ""), symlink("d", "x"), whiteout("d"), opaque("")] {
            refused(
                "d/e/mnt",
                std::slice::from_ref(&part),
                "remove \"d\": device or resource busy",
            );
            let volume = Volume::new(PLACES[0], "d/e/mnt");
            volume.run(&["--onto"], "", &[part]).status(7);
            assert!(volume.scratch.join("root/d/beside").exists());
        }
    }

    #[test]
    fn entries_come_into_a_mounted_volume() {
        for place in PLACES {
            for kernel in KERNELS {
                let volume = Volume::new(place, "data");
                let parts = [
                    dir("data").mode(0o700),
                    file("data/keep", "new"),
                    file("data/new/below", ""),
                    whiteout("data/gone"),
                    whiteout("d/beside"),
                ];
                volume.run(&["--onto"], kernel, &parts).ok();
                let names = ["keep", "new/", "new/below", "sub/", "sub/x"];
                assert_eq!(volume.volume(), names);
                assert_eq!(fs::read(volume.scratch.join("volume/keep")).unwrap(), b"new");
                let run = volume.run(&["--onto", "--one-file-system"], kernel, &parts);
                run.fails(7, "cross-device");
            }
        }
    }

    #[test]
    fn a_tree_with_a_mount_is_not_replaced_and_stays_as_it_is() {
        for place in PLACES {
            for at in ["data", "d/deep er/\\mnt", ""] {
                let volume = Volume::new(place, at);
                let before = list(&volume.scratch.join("root"));
                for _ in 0..2 {
                    let run = volume.run(&["--replace"], "", &[file("new", "")]);
                    run.fails(7, "a mount point").says("hint: ");
                    assert_eq!(list(&volume.scratch.join("root")), before);
                    let beside: Vec<_> = list(volume.scratch.path())
                        .into_iter()
                        .filter(|name| name.starts_with('.'))
                        .collect();
                    assert_eq!(beside, Vec::<String>::new());
                }
                assert_eq!(volume.volume(), ["keep", "sub/", "sub/x"]);
                let replace = tool("unpack-layer").dir(volume.scratch.path());
                let replace = replace.args(["root", "--replace", "layer"]);
                replace.run().ok();
                assert_eq!(list(&volume.scratch.join("root")), ["new"]);
            }
        }
    }

    #[test]
    fn an_immutable_file_of_the_old_tree_hinders_no_later_run() {
        // The disk's file system supports file flags; tmpfs supports them since Linux 6.6.
        let scratch = Scratch::new_in(Path::new(PLACES[1]));
        let chattr = |flag: &str, name: &str| {
            must(peer("chattr").arg(flag).arg(scratch.join(name)));
        };
        let unpack = |options: &[&str]| {
            let unpack = tool("unpack-layer").dir(scratch.path()).args(["root", "--replace"]);
            unpack.args(options).stdin(archive(&[file("new", "")])).run()
        };
        scratch.write("root/d/fixed", "");
        chattr("+i", "root/d/fixed");
        let first = unpack(&[]);
        let after_first = (list(&scratch.join("root")), list(&scratch.join(".root.old")));
        let second = unpack(&[]);
        // This is the tree that a run leaves if it is killed before it removes the old tree.
        scratch.write(".root.unpacking/fixed", "");
        chattr("+i", ".root.unpacking/fixed");
        let third = unpack(&[]);
        scratch.write(".root.unpacking/fixed", "");
        chattr("+i", ".root.unpacking/fixed");
        let strict = unpack(&["--strict"]);
        scratch.write("root/fixed", "");
        chattr("+i", "root/fixed");
        let last = unpack(&["--strict"]);
        for name in ["d/fixed", "1/fixed", "2/fixed", "3/fixed"] {
            let name = name.replace("d/", ".root.old/d/");
            let name =
                name.strip_prefix(".root").map_or(format!(".root.old.{name}"), |_| name.clone());
            chattr("-i", &name);
        }
        first.status(0).says("\".root.old\", which is not needed any more, cannot be removed");
        assert_eq!(after_first, (vec!["new".to_owned()], vec!["d/".into(), "d/fixed".into()]));
        second.ok();
        third.status(0).says("\".root.old.1\"");
        strict.fails(7, "\".root.old.2\"");
        last.fails(7, "\".root.old.3\"");
        assert!(!last.stdout.is_empty() && !scratch.join("root/fixed").exists());
        assert!(!scratch.join(".root.unpacking").exists());
    }
}
