// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: types of files, and the replacement of one type by another.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tests::cage::{Cage, PLACES, everywhere, everywhere_and_unprivileged, letter};
use tests::layers::{
    GNU, Part, V7, block, character, dir, entry, extended, fifo, file, hardlink, records, symlink,
};
use tests::peers::{must, peer};
use tests::tools::tool;

/// Asserts that a layer with this entry is refused with this message and leaves no tree.
fn refused(part: Part, words: &str) {
    everywhere(|cage| {
        cage.unpack(&[&[file("other", ""), part.clone()]]).fails(6, words);
        cage.nothing();
    });
}

/// A file named x of each type, with the letter of its type.
fn each_type() -> Vec<(Vec<Part>, char)> {
    vec![
        (vec![file("x", "1")], 'f'),
        (vec![dir("x")], 'd'),
        (vec![dir("x"), file("x/in", "")], 'd'),
        (vec![symlink("x", "other")], 'l'),
        (vec![file("other", "1"), hardlink("x", "other")], 'f'),
        (vec![fifo("x")], 'p'),
        (vec![character("x", 1, 3)], 'c'),
        (vec![block("x", 7, 1)], 'b'),
    ]
}

#[test]
fn an_old_regular_file_is_a_file_and_with_a_slash_a_directory() {
    everywhere(|cage| {
        let parts = [
            entry(0, "old", "1").magic(V7),
            entry(b'7', "contiguous", "2"),
            entry(0, "d/", "").magic(V7).mode(0o755),
        ];
        cage.unpack(&[&parts]).ok();
        cage.has(&["contiguous", "d/", "old"]);
    });
}

#[test]
fn unsupported_types_are_refused() {
    for typeflag in *b"VMDNXAZs8?" {
        let name = char::from(typeflag);
        refused(entry(typeflag, "x", ""), &format!("entry \"x\": unsupported type '{name}'"));
    }
    refused(entry(0x1b, "x", ""), "unsupported type '\\u{1b}'");
}

#[test]
fn invalid_device_numbers_are_refused() {
    refused(character("c", 4096, 0), "device 4096:0, the largest is 4095:1048575");
    refused(character("c", 1, 1_048_576), "device 1:1048576");
    // Base-256 numbers: one beyond 32 bits, and a negative one.
    refused(character("c", 1, 3).at(329, b"\x80\0\0\x01\0\0\0\0"), "device 4294967296:3");
    refused(character("c", 1, 3).at(337, &[0xff; 8]), "the minor device number is negative");
    refused(entry(b'3', "c", "").magic(V7), "a device without device numbers");
}

#[test]
fn an_ordinary_user_cannot_create_devices_but_can_skip_them() {
    for place in PLACES {
        let mut cage = Cage::new(place);
        cage.unprivileged();
        let parts = [character("null", 1, 3), block("b", 7, 1), fifo("p"), file("f", "")];
        let run = cage.unpack(&[&parts]);
        run.fails(7, "entry \"null\": make the device").says("hint: ").says("--skip-devices");
        cage.nothing();
        cage.options(&["--skip-devices"]);
        cage.unpack(&[&parts]).status(0).says("\"null\": device left out");
        cage.has(&["f", "p"]);
        // --strict does not refuse a layer whose devices were left out by an option.
        cage.options(&["--strict", "--replace"]);
        cage.unpack(&[&parts]).status(0);
    }
}

#[test]
fn an_id_missing_in_the_user_namespace_is_named_in_the_error() {
    for place in PLACES {
        let cage = Cage::new(place);
        cage.scratch().chmod("box", 0o777);
        let layer = cage.write(&[&[file("f", "").owner(5, 6)]]);
        let unpack = tool("unpack-layer").dir(cage.dir()).arg("root").args(&layer);
        let run = cage.judged(unpack.under(&["unshare", "-r"]));
        run.fails(7, "set the owner to 5:6").says("hint: this user namespace has no such ID");
        let unpack = tool("unpack-layer").dir(cage.dir()).args(["--no-same-owner", "root"]);
        cage.judged(unpack.args(&layer).under(&["unshare", "-r"])).ok();
    }
}

#[test]
fn parents_without_an_entry_do_not_depend_on_the_umask() {
    everywhere_and_unprivileged(|cage| {
        let layer = cage.write(&[&[file("implied/dir/f", ""), entry(b'5', "implied/without", "")]]);
        let before = cage.tree();
        for umask in ["077", "027", "000"] {
            let script = format!("umask {umask} && exec \"$0\" \"$@\"");
            cage.only_options(&["--replace"]);
            let unpack = cage.command().args(&layer).under(&["dash", "-c", &script]);
            cage.judged(unpack).ok();
            for name in ["implied", "implied/dir"] {
                assert_eq!((cage.mode(name), cage.stat(name).mtime()), (0o755, 0), "{umask}");
            }
            assert_eq!(cage.mode("implied/without"), 0o644, "{umask}");
        }
        assert!(before.is_empty());
    });
}

#[test]
fn the_entry_of_a_directory_may_follow_its_files() {
    everywhere_and_unprivileged(|cage| {
        cage.unpack(&[&[file("d/f", ""), dir("d").mode(0o500).mtime(5)]]).ok();
        assert_eq!((cage.mode("d"), cage.stat("d").mtime()), (0o500, 5));
    });
}

#[test]
fn modes_are_exact_with_every_bit() {
    everywhere_and_unprivileged(|cage| {
        let modes = [0, 0o200, 0o644, 0o1777, 0o2755, 0o4755, 0o6711, 0o7777];
        let mut parts = vec![];
        for mode in modes {
            parts.push(file(format!("f{mode}"), "x").mode(mode));
            parts.push(dir(format!("d{mode}")).mode(mode));
            parts.push(file(format!("d{mode}/in"), "x"));
        }
        cage.unpack(&[&parts]).ok();
        for mode in modes {
            assert_eq!(cage.mode(&format!("f{mode}")), mode, "file {mode:o}");
            assert_eq!(cage.mode(&format!("d{mode}")), mode, "directory {mode:o}");
        }
    });
}

#[test]
fn type_bits_in_a_mode_are_ignored() {
    everywhere(|cage| {
        cage.unpack(&[&[file("f", "").mode(0o100_640), dir("d").mode(0o40_750)]]).ok();
        assert_eq!((cage.mode("f"), cage.mode("d")), (0o640, 0o750));
        assert!(cage.stat("f").is_file());
    });
}

mod as_root {
    use super::*;

    #[test]
    fn each_type_replaces_each_other_type() {
        for (lower, from) in each_type() {
            for (upper, to) in each_type() {
                everywhere(|cage| {
                    cage.unpack(&[&lower, &upper]).ok();
                    assert_eq!(letter(&cage.stat("x")), to, "{lower:?} {upper:?}");
                    let kept = cage.root("x/in").exists();
                    let merged = from == 'd' && to == 'd' && lower.len() + upper.len() > 2;
                    assert_eq!(
                        kept,
                        merged || upper.len() == 2 && to == 'd',
                        "{lower:?} {upper:?}"
                    );
                });
            }
        }
    }

    #[test]
    fn the_defaults_of_a_global_header_are_ignored_with_a_warning() {
        everywhere(|cage| {
            let global = extended(b'g', records(&[("mtime", "5"), ("uid", "7")]));
            cage.unpack(&[&[global, file("f", "")]]).status(0).says("a global header's defaults");
            assert_eq!((cage.stat("f").uid(), cage.stat("f").mtime()), (0, 1_000_000_000));
            cage.only_options(&["--replace"]);
            let comment = extended(b'g', records(&[("comment", "of git")]));
            cage.unpack(&[&[comment, file("f", "")]]).ok();
        });
        for key in ["path", "linkpath", "size"] {
            refused(
                extended(b'g', records(&[(key, "1")])),
                "a global header with a path or a size",
            );
        }
    }

    #[test]
    fn device_numbers_are_exact_to_the_last_bit() {
        everywhere(|cage| {
            let parts =
                [character("null", 1, 3), block("big", 4095, 1_048_575), character("z", 0, 1)];
            cage.unpack(&[&parts]).ok();
            let number = |name| cage.stat(name).rdev();
            assert_eq!(number("null"), rustix::fs::makedev(1, 3));
            assert_eq!(number("big"), rustix::fs::makedev(4095, 1_048_575));
        });
    }

    #[test]
    fn a_device_is_never_opened() {
        // No driver has this device number, so opening the device would fail.
        everywhere(|cage| {
            let parts = [
                character("none", 4095, 77).mode(0o4660).owner(5, 6).mtime(9),
                fifo("pipe").mode(0o4660).owner(5, 6).xattr("user.x", "1"),
            ];
            cage.unpack(&[&parts]).status(0);
            for name in ["none", "pipe"] {
                assert_eq!((cage.mode(name), cage.stat(name).uid()), (0o4660, 5), "{name}");
            }
            assert_eq!(cage.stat("none").mtime(), 9);
        });
    }

    #[test]
    fn set_id_bits_survive_a_change_of_owner() {
        everywhere(|cage| {
            let parts = [
                file("suid", "x").mode(0o6755).owner(5, 6),
                dir("sgid").mode(0o2775).owner(5, 6),
                file("sgid/f", "").owner(5, 7),
            ];
            cage.unpack(&[&parts]).ok();
            assert_eq!((cage.mode("suid"), cage.mode("sgid")), (0o6755, 0o2775));
            assert_eq!((cage.stat("sgid/f").uid(), cage.stat("sgid/f").gid()), (5, 7));
        });
    }

    #[test]
    fn nothing_is_inherited_from_the_parent_of_the_root() {
        for place in PLACES {
            let cage = Cage::new(place);
            // A set-group-ID directory passes on its group, and a default access control list its
            // entries.
            must(peer("chgrp").arg("7").arg(cage.dir()));
            fs::set_permissions(cage.dir(), fs::Permissions::from_mode(0o2755)).unwrap();
            let acl = "0x0200000001000700ffffffff020007000900000004000700ffffffff10000700ffffffff\
                   20000500ffffffff";
            let set = ["-n", "system.posix_acl_default", "-v", acl];
            must(peer("setfattr").args(set).arg(cage.dir()));
            cage.unpack(&[&[file("f", "").mode(0o640), dir("d/"), fifo("d/p"), file("i/f", "")]])
                .ok();
            for name in ["", "f", "d", "d/p", "i", "i/f"] {
                assert_eq!(cage.stat(name).gid(), 0, "{name}");
            }
            let modes = [cage.mode("f"), cage.mode("d"), cage.mode("i"), cage.mode("d/p")];
            assert_eq!(modes, [0o640, 0o755, 0o755, 0o644]);
            let listed = must(peer("getfattr").args(["-R", "-m", "-"]).arg(cage.root("")));
            assert_eq!(String::from_utf8_lossy(&listed), "");
        }
    }

    #[test]
    fn gnu_headers_are_accepted() {
        everywhere(|cage| {
            let parts = [dir("d").magic(GNU), file("d/f", "1").magic(GNU), character("d/c", 1, 3)];
            cage.unpack(&[&parts]).ok();
            cage.has(&["d/", "d/c", "d/f"]);
        });
    }
}
