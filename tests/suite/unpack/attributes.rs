// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: owners, extended attributes and times, as root and as an ordinary user.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tests::cage::{Cage, PLACES, everywhere, everywhere_and_unprivileged};
use tests::layers::{Part, archive, dir, fifo, file, symlink};
use tests::peers::{must, peer};
use tests::scratch::Scratch;
use tests::tools::tool;

/// Asserts that a layer of one entry is refused with this message and leaves no tree.
fn refused(part: Part, words: &str) {
    everywhere_and_unprivileged(|cage| {
        cage.unpack(&[std::slice::from_ref(&part)]).fails(6, words);
        cage.nothing();
    });
}

/// The extended attributes of a file, as `name=hex` in the order of names.
fn attributes(path: &Path) -> Vec<String> {
    let mut getfattr = peer("getfattr");
    let listed = must(getfattr.args(["-h", "-m", "-", "-d", "-e", "hex"]).arg(path));
    let text = String::from_utf8_lossy(&listed).into_owned();
    let mut all: Vec<_> = text.lines().filter(|l| l.contains('=')).map(str::to_owned).collect();
    all.sort();
    all
}

// Owners.

#[test]
fn invalid_owner_ids_are_refused() {
    for (key, what) in [("uid", "user"), ("gid", "group")] {
        for id in ["4294967295", "4294967296", "18446744073709551615"] {
            let words = format!("{what} ID {id} is above 2^32-2");
            refused(file("f", "").pax(&[(key, id)]), &words);
        }
        refused(file("f", "").pax(&[(key, "-1")]), &format!("{key}: wrong value \"-1\""));
    }
    refused(file("f", "").at(108, &[0xff; 8]), "the user ID is negative (-1)");
}

#[test]
fn an_ordinary_user_owns_all_files_that_it_unpacks() {
    for place in PLACES {
        let mut cage = Cage::new(place);
        cage.unprivileged();
        cage.unpack(&[&[dir("d").owner(5, 6), file("d/f", "").owner(7, 8), symlink("s", "x")]])
            .ok();
        for name in ["", "d", "d/f", "s"] {
            assert_eq!((cage.stat(name).uid(), cage.stat(name).gid()), (65534, 65534), "{name}");
        }
    }
}

#[test]
fn mapping_to_the_own_ids_needs_no_privilege() {
    for place in PLACES {
        let mut cage = Cage::new(place);
        cage.unprivileged().options(&["--uid-map", "0:65534:1", "--gid-map", "0:65534:1"]);
        cage.unpack(&[&[dir("d"), file("d/f", "").mode(0o4755), symlink("s", "x")]]).ok();
        assert_eq!(cage.mode("d/f"), 0o4755);
        cage.options(&["--replace"]);
        cage.only_options(&["--replace", "--uid-map", "0:1:1", "--gid-map", "0:65534:1"]);
        let run = cage.unpack(&[&[file("f", "")]]);
        run.fails(7, "set the owner to 1:65534").says("hint: --no-same-owner");
    }
}

// Extended attributes.

#[test]
fn attributes_that_a_type_cannot_have_are_left_out_with_a_warning() {
    everywhere(|cage| {
        let parts = [symlink("s", "x").xattr("user.x", "1"), fifo("p").xattr("user.x", "1")];
        let run = cage.unpack(&[&parts]);
        run.status(0).says("extended attribute user.x: no permission, left out (2 times)");
    });
}

/// cap_net_raw+ep, in version 2 of the attribute's format.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

#[test]
fn capabilities_that_may_not_be_set_are_counted_in_a_warning() {
    for place in PLACES {
        let mut cage = Cage::new(place);
        cage.unprivileged();
        let part = file("ping", "x").mode(0o4755).xattr("security.capability", CAPABILITY);
        let part = part.xattr("security.ima", "\x04signature");
        let run = cage.unpack(&[std::slice::from_ref(&part)]);
        run.status(0).says("warning: extended attribute security.capability: no permission");
        run.says("(2 times)");
        assert_eq!(cage.mode("ping"), 0o4755);
        cage.options(&["--strict", "--replace"]);
        cage.unpack(&[&[part]]).fails(6, "security.capability: no permission, left out (--strict)");
    }
}

/// user::rw-, user:9:rw-, group::r--, mask::rw-, other::---.
const ACL: &[u8] = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x06\0\x09\0\0\0\
    \x04\0\x04\0\xff\xff\xff\xff\x10\0\x06\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";

// Times.

#[test]
fn times_are_exact_to_the_nanosecond_and_rounded_down() {
    for (text, seconds, nanoseconds) in [
        ("1350244992.023960108", 1_350_244_992, 23_960_108),
        ("1350244992.0239601089999", 1_350_244_992, 23_960_108),
        ("0.5", 0, 500_000_000),
        ("5", 5, 0),
    ] {
        everywhere(|cage| {
            let time = [("mtime", text)];
            let parts =
                [file("f", "").pax(&time), dir("d").pax(&time), symlink("s", "x").pax(&time)];
            cage.unpack(&[&parts]).ok();
            for name in ["f", "d", "s"] {
                let stat = cage.stat(name);
                assert_eq!((stat.mtime(), stat.mtime_nsec()), (seconds, nanoseconds), "{name}");
            }
        });
    }
}

#[test]
fn times_before_the_epoch_are_exact_too() {
    for (text, seconds, nanoseconds) in
        [("-1.5", -2, 500_000_000), ("-0.5", -1, 500_000_000), ("-5", -5, 0)]
    {
        everywhere(|cage| {
            cage.unpack(&[&[file("f", "").pax(&[("mtime", text)])]]).ok();
            let stat = cage.stat("f");
            assert_eq!((stat.mtime(), stat.mtime_nsec()), (seconds, nanoseconds), "{text}");
        });
    }
    everywhere(|cage| {
        cage.unpack(&[&[file("f", "").at(136, &[0xff; 12])]]).ok();
        assert_eq!(cage.stat("f").mtime(), -1);
    });
}

#[test]
fn times_beyond_the_range_of_the_file_system_are_accepted() {
    for text in ["253402300799", "9223372036854775807", "-9223372036854775807"] {
        everywhere(|cage| {
            let part = || file("f", "").pax(&[("mtime", text)]);
            cage.unpack(&[&[part(), dir("d").pax(&[("mtime", text)])]]).ok();
        });
    }
}

#[test]
fn invalid_times_are_refused() {
    for text in ["nan", "inf", "1e9", "0x5", " 5", "5 ", "1.2.3", "9223372036854775808"] {
        refused(file("f", "").pax(&[("mtime", text)]), "mtime: wrong value");
    }
    let digits = format!("1.{}", "9".repeat(1000));
    everywhere(|cage| {
        cage.unpack(&[&[file("f", "").pax(&[("mtime", &digits)])]]).ok();
    });
}

#[test]
fn a_directory_has_the_time_of_its_last_entry_after_later_changes() {
    everywhere_and_unprivileged(|cage| {
        let lower = [dir("./").mtime(1), dir("d").mtime(2), dir("d/e").mtime(3), file("d/e/f", "")];
        let upper = [file("d/e/g", ""), dir("d/e").mtime(4), file("d/g", ""), file("d/e/h", "")];
        cage.unpack(&[&lower, &upper]).ok();
        let time = |name| cage.stat(name).mtime();
        assert_eq!((time(""), time("d"), time("d/e")), (1, 2, 4));
    });
}

#[test]
fn a_symlink_has_its_own_time_and_its_mode_is_ignored() {
    everywhere_and_unprivileged(|cage| {
        let parts = [file("f", "").mtime(5), symlink("s", "f").mtime(6).mode(0)];
        cage.unpack(&[&parts]).ok();
        assert_eq!((cage.stat("s").mtime(), cage.stat("f").mtime()), (6, 5));
    });
}

#[test]
fn the_access_time_is_set_and_the_change_time_is_ignored() {
    everywhere(|cage| {
        let times = [("atime", "7.25"), ("ctime", "8"), ("mtime", "9")];
        cage.unpack(&[&[file("f", "").pax(&times), file("g", "").mtime(10)]]).ok();
        let access = |name| fs::metadata(cage.root(name)).unwrap().atime();
        assert_eq!((access("f"), access("g")), (7, 10));
    });
}

// Holes.

#[test]
fn zeros_of_a_large_file_take_no_disk_space() {
    const SIZE: usize = 64 << 20;
    everywhere(|cage| {
        let mut data = vec![0; SIZE];
        data[SIZE / 2..][..4].copy_from_slice(b"data");
        data[SIZE - 1] = b'!';
        cage.unpack(&[&[file("lastlog", &data), file("small", vec![0; 1 << 16])]]).ok();
        let stat = cage.stat("lastlog");
        assert_eq!(stat.len(), SIZE as u64);
        assert!(stat.blocks() * 512 < 1 << 20, "{} blocks", stat.blocks());
        assert!(fs::read(cage.root("lastlog")).unwrap() == data);
    });
}

#[test]
fn a_file_that_ends_in_zeros_keeps_its_length() {
    for size in [1 << 20, (1 << 20) - 1, (1 << 20) + 1, (3 << 20) + 77] {
        everywhere(|cage| {
            cage.unpack(&[&[file("f", vec![0; size])]]).ok();
            assert_eq!(cage.stat("f").len(), size as u64);
            assert!(fs::read(cage.root("f")).unwrap().iter().all(|byte| *byte == 0));
        });
    }
}

mod with_peers {
    use super::*;

    #[test]
    fn user_attributes_are_set_on_files_and_directories() {
        everywhere_and_unprivileged(|cage| {
            let values =
                [("user.text", &b"value"[..]), ("user.nul", b"a\0b\n=c"), ("user.none", b"")];
            let with = |part: Part| values.iter().fold(part, |part, (name, v)| part.xattr(name, v));
            cage.unpack(&[&[with(file("f", "")), with(dir("d")), with(dir("./"))]]).ok();
            let want = ["user.none=\"\"", "user.nul=0x6100620a3d63", "user.text=0x76616c7565"];
            for name in ["f", "d", ""] {
                let got = attributes(&cage.root(name));
                let got: Vec<_> = got.iter().map(|a| a.replace("=0x\"\"", "=\"\"")).collect();
                assert_eq!(got.len(), want.len(), "{name}: {got:?}");
                assert_eq!(got[1..], want[1..], "{name}");
            }
        });
    }

    #[test]
    fn an_attribute_of_the_largest_size_in_linux_is_exact() {
        // tmpfs stores 64 KiB. ext4 stores only as much as fits into a block, and the error names
        // the attribute.
        let cage = Cage::new(PLACES[0]);
        cage.unpack(&[&[file("f", "").xattr("user.big", [b'x'; 65_536])]]).ok();
        let value =
            must(peer("getfattr").args(["-n", "user.big", "--only-values"]).arg(cage.root("f")));
        assert_eq!(value.len(), 65_536);
        let cage = Cage::new(PLACES[0]);
        let run = cage.unpack(&[&[file("f", "").xattr("user.big", [b'x'; 65_537])]]);
        run.fails(6, "extended attribute user.big: ");
        let cage = Cage::new(PLACES[1]);
        let run = cage.unpack(&[&[file("f", "").xattr("user.big", [b'x'; 65_536])]]);
        run.status(7).says("entry \"f\": extended attribute user.big: ");
        cage.nothing();
    }

    #[test]
    fn an_attributes_name_ends_at_the_first_equals_sign_and_is_not_decoded() {
        everywhere(|cage| {
            cage.unpack(&[&[file("f", "").xattr("user.a%3Db", "1").xattr("user.c=d", "2")]]).ok();
            assert_eq!(attributes(&cage.root("f")), ["user.a%3Db=0x31", "user.c=0x643d32"]);
        });
    }

    #[test]
    fn labels_of_the_host_are_ignored() {
        everywhere(|cage| {
            let part =
                file("f", "").xattr("security.selinux", "label").xattr("system.nfs4_acl", "x");
            cage.unpack(&[&[part]]).ok();
            assert_eq!(attributes(&cage.root("f")), Vec::<String>::new());
        });
    }

    #[test]
    fn attributes_that_steer_the_kernel_are_left_out_with_a_warning() {
        everywhere_and_unprivileged(|cage| {
            let names = ["trusted.x", "trusted.overlay.redirect", "user.overlay.origin"];
            let part = names.iter().fold(file("f", ""), |part, name| part.xattr(name, "1"));
            cage.unpack(&[&[part.xattr("user.kept", "1")]])
                .status(0)
                .says("a layer may not set it");
            assert_eq!(attributes(&cage.root("f")), ["user.kept=0x31"]);
        });
    }

    #[test]
    fn access_lists_are_set_in_binary_and_agree_with_the_mode() {
        everywhere(|cage| {
            let list = "system.posix_acl_access";
            let default = "system.posix_acl_default";
            let parts = [
                file("f", "").mode(0o660).owner(5, 6).xattr(list, ACL),
                dir("d").mode(0o755).xattr(default, ACL),
                file("d/f", "").mode(0o644),
                dir("d/e").mode(0o755),
            ];
            cage.unpack(&[&parts]).ok();
            assert_eq!((cage.mode("f"), attributes(&cage.root("f")).len()), (0o660, 1));
            assert_eq!(attributes(&cage.root("d")).len(), 1);
            // Files and directories created below inherit nothing from the default list.
            for (name, mode) in [("d/f", 0o644), ("d/e", 0o755)] {
                assert_eq!(
                    (cage.mode(name), attributes(&cage.root(name))),
                    (mode, vec![]),
                    "{name}"
                );
            }
        });
    }

    #[test]
    fn attributes_in_other_formats_are_left_out_with_a_warning() {
        everywhere(|cage| {
            let text = file("f", "").pax(&[("SCHILY.acl.access", "user::rw-")]);
            let base64 = file("g", "").pax(&[("LIBARCHIVE.xattr.user.x", "Mg==")]);
            let both = base64.xattr("user.x", "1");
            let run = cage.unpack(&[&[text, both]]);
            run.status(0).says("SCHILY.acl and LIBARCHIVE.xattr attributes are left out");
            assert_eq!(attributes(&cage.root("g")), ["user.x=0x31"]);
        });
    }
}

mod as_root {
    use super::*;

    #[test]
    fn owners_are_exact_up_to_the_largest() {
        everywhere(|cage| {
            let largest = "4294967294";
            let parts = [
                file("octal", "").owner(0o7_777_777, 0o7_777_777),
                file("binary", "").at(108, b"\x80\0\0\0\xff\xff\xff\xfe"),
                file("decimal", "").pax(&[("uid", largest), ("gid", largest)]),
                symlink("link", "x").pax(&[("uid", largest)]),
            ];
            cage.unpack(&[&parts]).ok();
            let owner = |name| (cage.stat(name).uid(), cage.stat(name).gid());
            assert_eq!(owner("octal"), (0o7_777_777, 0o7_777_777));
            assert_eq!(owner("binary"), (4_294_967_294, 0));
            assert_eq!(owner("decimal"), (4_294_967_294, 4_294_967_294));
            assert_eq!(owner("link"), (4_294_967_294, 0));
        });
    }

    #[test]
    fn names_of_owners_are_ignored() {
        everywhere(|cage| {
            let part = file("f", "").owner(1000, 1000).at(265, b"root\0").at(297, b"root\0");
            cage.unpack(&[&[part.pax(&[("uname", "daemon"), ("gname", "daemon")])]]).ok();
            assert_eq!((cage.stat("f").uid(), cage.stat("f").gid()), (1000, 1000));
        });
    }

    #[test]
    fn ids_are_mapped_by_ranges_and_unmapped_ids_are_refused() {
        everywhere(|cage| {
            cage.options(&[
                "--uid-map",
                "0:1000:1",
                "--uid-map",
                "1:100000:9",
                "--gid-map",
                "0:7:9",
            ]);
            let parts = [file("a", "").owner(0, 0), file("b", "").owner(9, 8), file("i/f", "")];
            cage.unpack(&[&parts]).ok();
            let owner = |name| (cage.stat(name).uid(), cage.stat(name).gid());
            assert_eq!((owner("a"), owner("b")), ((1000, 7), (100_008, 15)));
            assert_eq!((owner("i"), owner("")), ((1000, 7), (1000, 7)));
            cage.options(&["--replace"]);
            let run = cage.unpack(&[&[file("f", "").owner(10, 0)]]);
            run.fails(6, "user ID 10 is in no mapped range");
        });
    }

    #[test]
    fn capabilities_survive_the_change_of_owner() {
        everywhere(|cage| {
            let part =
                file("ping", "x").mode(0o755).owner(5, 6).xattr("security.capability", CAPABILITY);
            cage.unpack(&[&[part]]).ok();
            let listed = must(peer("getcap").arg(cage.root("ping")));
            assert!(String::from_utf8_lossy(&listed).contains("cap_net_raw=ep"));
            assert_eq!(cage.stat("ping").uid(), 5);
        });
    }

    #[test]
    fn a_second_entry_of_a_directory_replaces_its_attributes() {
        everywhere(|cage| {
            let lower = dir("d").mode(0o700).owner(5, 6).mtime(7).xattr("user.old", "1");
            let lower = lower.xattr("system.posix_acl_default", ACL);
            let upper = dir("d").mode(0o751).owner(8, 9).mtime(10).xattr("user.new", "1");
            cage.unpack(&[&[lower, file("d/f", "")], &[upper]]).ok();
            let d = cage.stat("d");
            assert_eq!((cage.mode("d"), d.uid(), d.gid(), d.mtime()), (0o751, 8, 9, 10));
            assert_eq!(attributes(&cage.root("d")), ["user.new=0x31"]);
            assert!(cage.root("d/f").exists());
        });
    }

    #[test]
    fn a_file_system_without_attributes_causes_one_warning() {
        let scratch = Scratch::new();
        must(peer("mount").args(["-t", "ramfs", "ramfs"]).arg(scratch.path()));
        let layer =
            archive(&[file("f", "").xattr("user.x", "1"), file("g", "").xattr("user.x", "1")]);
        let unpack = || tool("unpack-layer").dir(scratch.path()).stdin(layer.clone());
        let run = unpack().arg("root").run();
        let strict = unpack().args(["other", "--strict"]).run();
        let left = scratch.join("other").exists();
        must(peer("umount").arg(scratch.path()));
        let words = "extended attribute user.x: not supported by the file system, left out";
        run.status(0).says(&format!("warning: {words} (2 times)"));
        strict.fails(6, words);
        assert!(!left);
    }
}
