// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: hard links to existing targets, to missing targets and to forbidden targets.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use tests::cage::{Cage, PLACES, everywhere, everywhere_and_unprivileged};
use tests::layers::{Part, archive, block, dir, entry, fifo, file, hardlink, symlink, whiteout};
use tests::peers::{must, peer};

/// Asserts that a layer is refused with this message and leaves no tree.
fn refused(parts: &[Part], words: &str) {
    everywhere_and_unprivileged(|cage| {
        cage.unpack(&[parts]).fails(6, words);
        cage.nothing();
    });
}

#[test]
fn a_link_out_of_the_root_is_refused() {
    for target in ["../victim/hello", "/../victim/hello", "../root-evil/secret", "a/../../x"] {
        refused(&[dir("a"), hardlink("h", target)], "leads out of the root");
    }
}

#[test]
fn an_absolute_target_is_resolved_from_the_root() {
    everywhere_and_unprivileged(|cage| {
        let victim = cage.dir().join("victim/hello");
        let victim = victim.as_os_str().as_bytes();
        let parts = [
            file("usr/bin/perl", "1"),
            hardlink("p", "/usr/bin/perl"),
            file(victim, "inside"),
            hardlink("v", victim),
        ];
        cage.unpack(&[&parts]).ok();
        assert_eq!(cage.stat("p").ino(), cage.stat("usr/bin/perl").ino());
        assert_eq!(cage.read("v"), "inside");
    });
}

#[test]
fn a_target_behind_a_symlink_is_resolved_inside_the_root() {
    for link in ["../../etc", "/etc", "etc", "./down/../../etc"] {
        everywhere(|cage| {
            let parts = [
                dir("down"),
                file("etc/passwd", "inside"),
                symlink("d1", link),
                hardlink("h", "d1/passwd"),
            ];
            cage.unpack(&[&parts]).ok();
            assert_eq!(cage.stat("h").ino(), cage.stat("etc/passwd").ino(), "{link}");
        });
    }
}

#[test]
fn a_hard_link_to_a_symlink_is_another_name_of_the_symlink() {
    everywhere_and_unprivileged(|cage| {
        let victim = cage.dir().join("victim/hello");
        let parts = [symlink("s", victim.as_os_str().as_bytes()), hardlink("h", "s").mode(0o777)];
        cage.unpack(&[&parts]).ok();
        assert_eq!(cage.stat("h").ino(), cage.stat("s").ino());
        assert!(cage.stat("h").is_symlink());
    });
}

#[test]
fn a_hard_link_to_a_symlink_with_a_later_target_is_accepted() {
    everywhere(|cage| {
        cage.unpack(&[&[symlink("s", "later"), hardlink("h", "s"), file("later", "1")]]).ok();
        assert_eq!((cage.link("h"), cage.read("h")), ("later".into(), "1".into()));
    });
}

#[test]
fn a_link_to_a_directory_is_refused() {
    refused(&[dir("d"), hardlink("h", "d")], "hard link to \"d\": a directory");
    refused(&[hardlink("h", ".")], "a directory");
}

#[test]
fn a_link_to_itself_is_refused() {
    refused(&[file("f", "1"), hardlink("f", "f")], "itself");
    refused(&[file("f", "1"), hardlink("./f", "/f")], "itself");
    everywhere(|cage| {
        cage.options(&["--onto"]);
        fs::create_dir(cage.root("")).unwrap();
        fs::write(cage.root("f"), "old").unwrap();
        cage.unpack(&[&[hardlink("f", "f")]]).fails(6, "itself");
        assert_eq!(cage.read("f"), "old");
    });
}

#[test]
fn a_chain_of_links_is_one_file() {
    everywhere(|cage| {
        let chain = [file("d", "1"), hardlink("c", "d"), hardlink("b", "c"), hardlink("a", "b")];
        cage.unpack(&[&chain]).ok();
        assert_eq!(cage.stat("a").nlink(), 4);
    });
}

#[test]
fn a_target_that_appears_later_or_never_is_refused() {
    refused(&[hardlink("h", "later"), file("later", "")], "entry \"h\": hard link to \"later\"");
    refused(&[hardlink("h", "gone/f")], "hard link to \"gone/f\": missing");
}

#[test]
fn a_target_of_a_lower_layer_is_found() {
    everywhere(|cage| {
        cage.unpack(&[&[file("a", "1")], &[hardlink("b", "a")]]).ok();
        assert_eq!(cage.stat("a").ino(), cage.stat("b").ino());
    });
}

#[test]
fn a_link_needs_no_entry_for_its_directory() {
    everywhere(|cage| {
        cage.unpack(&[&[file("f", ""), hardlink("a/b/h", "f")]]).ok();
        assert_eq!((cage.stat("a/b/h").nlink(), cage.mode("a/b")), (2, 0o755));
    });
}

#[test]
fn a_link_with_data_is_refused() {
    // Some readers read the data as the next header, others skip it.
    refused(&[file("f", ""), entry(b'1', "h", "data").link("f")], "4 bytes of data");
}

#[test]
fn replacing_one_name_leaves_the_other_unchanged() {
    everywhere(|cage| {
        let lower = [file("a", "old"), hardlink("b", "a")];
        cage.unpack(&[&lower, &[file("a", "new")]]).ok();
        assert_eq!((cage.read("a"), cage.read("b")), ("new".into(), "old".into()));
        assert_eq!(cage.stat("b").nlink(), 1);
    });
}

#[test]
fn a_file_that_is_open_elsewhere_keeps_its_content() {
    everywhere(|cage| {
        fs::create_dir(cage.root("")).unwrap();
        fs::write(cage.root("bin"), "old").unwrap();
        let open = fs::File::open(cage.root("bin")).unwrap();
        cage.options(&["--onto"]);
        cage.unpack(&[&[file("bin", "new").mode(0o4755)]]).ok();
        assert_eq!(std::io::read_to_string(open).unwrap(), "old");
        assert_eq!((cage.read("bin"), cage.mode("bin")), ("new".into(), 0o4755));
    });
}

#[test]
fn more_links_than_the_file_system_allows_are_reported() {
    // ext4 allows 65000 links to a file.
    let cage = Cage::new(PLACES[1]);
    let mut parts = vec![file("f", "")];
    parts.extend((0..65_000).map(|i| hardlink(format!("h{i}"), "f")));
    cage.unpack(&[&parts]).fails(7, "hard link to \"f\": too many links");
    cage.nothing();
}

#[test]
fn deferred_attributes_are_not_set_on_a_replacement() {
    for place in PLACES {
        for taker in [symlink("d", "../victim"), symlink("d", "/victim")] {
            let mut cage = Cage::new(place);
            // For an ordinary user, the mode of a directory is set only after the files in it are
            // created.
            cage.unprivileged();
            let early = dir("d").mode(0o500).mtime(5).xattr("user.x", "1");
            let parts = [early, file("d/f", ""), taker];
            cage.unpack(&[&[], &parts, &[whiteout("d"), file("g", "")]]).status(0);
            cage.only_options(&["--replace"]);
            cage.unpack(&[&parts]).status(0);
            assert!(cage.stat("d").is_symlink());
        }
    }
}

#[test]
fn a_whiteout_as_target_is_refused() {
    for target in [".wh.f", "d/.wh..wh..opq", ".wh..wh.plnk/1.2"] {
        refused(&[file("f", ""), whiteout("f"), hardlink("h", target)], "a whiteout");
    }
}

#[test]
fn many_links_need_few_file_descriptors() {
    let cage = Cage::new(PLACES[0]);
    let mut parts = vec![];
    for i in 0..2000 {
        parts.extend([
            file(format!("d{i}/f"), "x"),
            hardlink(format!("e{i}/h"), format!("d{i}/f")),
            symlink(format!("s{i}"), format!("d{i}")),
            file(format!("s{i}/g"), ""),
            fifo(format!("d{i}/p")).xattr("user.x", "1"),
        ]);
    }
    // The cage limits a run to 64 file descriptors.
    cage.judged(cage.command().stdin(archive(&parts))).status(0);
}

mod with_peers {
    use super::*;

    #[test]
    fn the_attributes_of_a_hard_link_entry_are_ignored() {
        everywhere_and_unprivileged(|cage| {
            let link = hardlink("h", "f").mode(0o4777).owner(7, 8).mtime(9).xattr("user.x", "1");
            cage.unpack(&[&[file("f", "1").mode(0o640).mtime(5), link]]).ok();
            assert_eq!((cage.mode("f"), cage.stat("f").mtime()), (0o640, 5));
            assert!(cage.stat("f").uid() != 7);
            let listed = must(peer("getfattr").arg("-d").arg(cage.root("f")));
            assert!(listed.is_empty());
        });
    }
}

mod as_root {
    use super::*;

    #[test]
    fn fifos_and_devices_can_have_hard_links() {
        everywhere(|cage| {
            let parts = [fifo("p"), hardlink("p2", "p"), block("b", 7, 1), hardlink("b2", "b")];
            cage.unpack(&[&parts]).ok();
            assert!(cage.stat("p2").file_type().is_fifo() && cage.stat("p2").nlink() == 2);
            assert!(cage.stat("b2").file_type().is_block_device());
        });
    }

    #[test]
    fn a_hard_link_to_a_file_of_another_user_is_an_error() {
        assert_eq!(fs::read_to_string("/proc/sys/fs/protected_hardlinks").unwrap(), "1\n");
        for place in PLACES {
            let mut cage = Cage::new(place);
            cage.unprivileged();
            fs::create_dir(cage.root("")).unwrap();
            fs::write(cage.root("theirs"), "").unwrap();
            must(peer("chown").args(["65534:65534"]).arg(cage.root("")));
            cage.options(&["--onto"]);
            let run = cage.unpack(&[&[hardlink("h", "theirs")]]);
            run.fails(7, "hard link to \"theirs\"").says("hint: fs.protected_hardlinks");
        }
    }
}
