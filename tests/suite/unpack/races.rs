// SPDX-License-Identifier: Apache-2.0
//! unpack-layer --onto: other processes change the tree at the same time. The owner and attributes
//! of an entry are never given to a file that such a process puts in its place.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::MetadataExt;

use tests::cage::PLACES;
use tests::eventually;
use tests::layers::{Part, archive, character, fifo, symlink};
use tests::peers::{must, peer};
use tests::scratch::Scratch;
use tests::tools::{Run, Signal, tool};

/// Unpacks an entry, and stops the tool right after the system call that creates the entry's file.
/// Another process then puts `other` in its place.
fn swapped(place: &str, call: &str, part: &Part, other: &str) -> (Run, Scratch) {
    let scratch = Scratch::new_in(std::path::Path::new(place));
    fs::create_dir(scratch.join("root")).unwrap();
    scratch.write("victim", "canary");
    must(peer("mkfifo").arg(scratch.join("pipe")));
    fs::hard_link(scratch.join("victim"), scratch.join("file")).unwrap();
    fs::hard_link(scratch.join("pipe"), scratch.join("link")).unwrap();
    let inject = format!("inject={call}:signal=STOP:when=1");
    let unpack = tool("unpack-layer").dir(scratch.path()).args(["root", "--onto", "--no-sync"]);
    let layer = scratch.write("layer", archive(std::slice::from_ref(part)));
    let unpack = unpack.arg(&layer);
    let mut running =
        unpack.under(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject]).start();
    let made = scratch.join("root/made");
    eventually("the file", || fs::symlink_metadata(&made).ok());
    fs::rename(scratch.join(other), &made).unwrap();
    eventually("the end", || {
        running.signal(Signal::CONT);
        (!running.is_running()).then_some(())
    });
    (running.wait(), scratch)
}

mod as_root {
    use super::*;

    #[test]
    fn a_file_that_takes_the_place_of_a_new_one_does_not_get_its_owner() {
        let parts = [
            ("mknodat", fifo("made").owner(1, 2)),
            ("mknodat", fifo("made").xattr("trusted.x", "1").mode(0o777)),
            ("mknodat", character("made", 1, 3).owner(1, 2).mode(0o666)),
            ("symlinkat", symlink("made", "x").owner(1, 2)),
        ];
        for place in PLACES {
            for (call, part) in &parts {
                for (other, victim) in [("file", "victim"), ("link", "pipe")] {
                    let (run, scratch) = swapped(place, call, part, other);
                    let stat = fs::metadata(scratch.join(victim)).unwrap();
                    assert_eq!((stat.uid(), stat.gid()), (0, 0), "{part:?} {other} {run}");
                    assert_ne!(stat.mtime(), 1_000_000_000, "{part:?} {other} {run}");
                    run.fails(7, "another process replaced the file");
                }
            }
        }
    }

    #[test]
    fn special_files_get_all_attributes_in_an_existing_tree() {
        for place in PLACES {
            let scratch = Scratch::new_in(std::path::Path::new(place));
            fs::create_dir(scratch.join("root")).unwrap();
            let parts = [
                fifo("p").owner(1, 2).mode(0o4750).mtime(5),
                character("c", 1, 3).owner(3, 4).mode(0o622).mtime(6),
                symlink("s", "gone").owner(5, 6).mtime(7),
            ];
            let unpack = tool("unpack-layer").dir(scratch.path()).args(["root", "--onto"]);
            unpack.stdin(archive(&parts)).run().ok();
            let seen = |name: &str| {
                let stat = fs::symlink_metadata(scratch.join("root").join(name)).unwrap();
                (stat.uid(), stat.gid(), stat.mode() & 0o7777, stat.mtime())
            };
            assert_eq!(seen("p"), (1, 2, 0o4750, 5));
            assert_eq!(seen("c"), (3, 4, 0o622, 6));
            assert_eq!(seen("s"), (5, 6, 0o777, 7));
            // Linux before 5.8 has no flag for the times of a descriptor.
            fs::remove_dir_all(scratch.join("root")).unwrap();
            fs::create_dir(scratch.join("root")).unwrap();
            let unpack = tool("unpack-layer").dir(scratch.path()).args(["root", "--onto"]);
            let inject = "inject=utimensat:error=EINVAL:when=1";
            let unpack = unpack.arg(scratch.write("layer", archive(&parts[2..])));
            unpack.under(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject]).run().ok();
            assert_eq!(seen("s"), (5, 6, 0o777, 7));
        }
    }
}
