// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: archives that readers interpret differently are refused, and the error message
//! names the field. Accepted archives give the same tree with Go's archive/tar, GNU tar and
//! libarchive.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::cage::{Cage, PLACES};
use tests::judges::agree;
use tests::layers::{
    GNU, Part, USTAR, V7, archive, blocks, character, dir, entry, extended, file, hardlink, long,
    raw, records, symlink,
};

/// Asserts that the archive is accepted, and that the other readers unpack the same tree.
fn agreed(parts: &[Part], names: &[&str]) {
    let cage = Cage::new(PLACES[0]);
    agree(&cage, &archive(parts));
    cage.has(names);
}

/// Asserts that the archive is refused with this message and leaves no tree.
fn refused(parts: &[Part], words: &str) {
    let cage = Cage::new(PLACES[0]);
    cage.stream(archive(parts)).fails(6, words);
    cage.nothing();
}

/// A file whose header has another value in one field, and a file after it.
fn with(offset: usize, size: usize, bytes: &[u8]) -> [Part; 2] {
    [file("f", "data").field(offset, size, bytes), file("after", "")]
}

/// Entries to be hidden in the data of a file: a reader that assumes a smaller size finds them.
fn inner() -> Vec<u8> {
    blocks(&[file("hidden", "x"), file("hidden2", "y")])
}

// Sizes.

#[test]
fn an_extended_size_that_is_not_a_number_is_refused() {
    for size in ["+4", " 4", "4 ", "0x4", "-4", "99999999999999999999", "", "4\0", "4.0"] {
        refused(&[file("f", "data").pax(&[("size", size)])], "extended header: size: wrong value");
    }
    let beyond = [("size", "9223372036854775808")];
    refused(&[file("f", "data").pax(&beyond)], "size 9223372036854775808 is above 2^63-1");
}

#[test]
fn sizes_that_readers_interpret_differently_are_refused() {
    for spelling in [
        &b"00000000008"[..],
        b"4x",
        b"4\x00004",
        b"\x004",
        b"            ",
        b"-4",
        b"+4",
        b"\t4",
        b"4 4",
        b"\x81\0\0\0\0\0\0\0\0\0\0\x04",
    ] {
        refused(
            &with(124, 12, spelling),
            "header: the size is not a number that all tar programs read in the same way",
        );
    }
}

// Extended headers.

#[test]
fn two_extended_headers_in_a_row_are_refused() {
    let one = extended(b'x', records(&[("path", "a")]));
    let other = file("f", "").pax(&[("mtime", "1")]);
    refused(&[one, other], "two extended headers in a row");
}

#[test]
fn an_extended_header_without_valid_records_is_refused() {
    for wrong in [
        &b"7 a=b\n"[..], // the length is too large
        b"5 a=b\n",      // or too small
        b"6 a=b.",       // no newline
        b"6 abc\n",      // no equals sign
        b"0 a=b\n",
        b"99 a=b\n",
        b"+6 a=b\n",
        b" 6 a=b\n",
        b"6  a=b\n",
        b"a=b\n",
        b"6 a=b\n\0\0",
        b"5 =b\n",
        b"18446744073709551616 a=b\n",
    ] {
        let parts = [extended(b'x', wrong), file("f", "")];
        refused(&parts, "extended header: not a sequence of records");
    }
}

#[test]
fn names_that_are_empty_or_contain_nul_are_refused() {
    for key in ["path", "linkpath"] {
        for value in ["", "a\0b", "a\0"] {
            let words = format!("extended header: {key}: wrong value");
            refused(&[file("f", "").pax(&[(key, value)])], &words);
        }
    }
    for key in ["uname", "gname"] {
        refused(&[file("f", "").pax(&[(key, "a\0b")])], "wrong value");
    }
}

#[test]
fn an_extension_header_without_an_entry_is_refused() {
    let abouts = [extended(b'x', records(&[("path", "p")])), long(b'L', "l\0"), long(b'K', "l\0")];
    for about in abouts {
        let words = "an extended header without its entry";
        refused(&[file("f", ""), about.clone()], words);
        let cage = Cage::new(PLACES[0]);
        cage.stream(blocks(&[file("f", ""), about])).fails(6, words);
        cage.nothing();
    }
}

#[test]
fn the_number_of_extension_headers_is_limited() {
    let stacked = |count| vec![long(b'L', "name\0"); count];
    let cage = Cage::new(PLACES[0]);
    cage.stream(archive(&[stacked(16), vec![file("f", "").magic(GNU)]].concat())).ok();
    cage.has(&["name"]);
    refused(&[stacked(17), vec![file("f", "")]].concat(), "more than 16 headers about one entry");
    refused(&stacked(1000), "more than 16 headers about one entry");
}

#[test]
fn the_size_of_extension_headers_is_limited() {
    const MAX: usize = 1 << 20;
    let header = |length: usize| {
        let record = |value: usize| records(&[("comment", "x".repeat(value))]);
        // From one mebibyte on, the length has seven digits.
        record(length - "1048576 comment=\n".len())
    };
    let cage = Cage::new(PLACES[0]);
    cage.stream(archive(&[extended(b'x', header(MAX)), file("f", "")])).ok();
    let words = "extended header of 1048577 bytes, more than 1048576";
    refused(&[extended(b'x', header(MAX + 1)), file("f", "")], words);
    for size in [1 << 20 | 1, 1 << 30, (1 << 33) - 1] {
        for typeflag in *b"xgLK" {
            // The size is only announced: no data follows. The tool neither waits for data nor
            // allocates memory for it.
            let cage = Cage::new(PLACES[0]);
            let said = entry(typeflag, "x", "").magic(GNU).size(size);
            cage.stream(said.bytes()).fails(6, &format!("of {size} bytes, more than 1048576"));
        }
    }
    let most = b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff";
    let said = extended(b'x', "").at(124, most);
    refused(&[said], "9223372036854775807 bytes, more than");
}

// GNU's long names.

#[test]
fn an_empty_long_name_is_refused() {
    for text in ["", "\0", "\0name"] {
        refused(&[file("f", "").magic(GNU).after(&long(b'L', text))], "an empty long name");
    }
}

#[test]
fn long_names_and_extended_headers_that_contradict_each_other_are_refused() {
    let words = "a GNU long name that differs from the extended header's name";
    let sparse = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "f"),
        ("GNU.sparse.realsize", "0"),
    ];
    for (typeflag, about) in [
        (b'L', records(&[("path", "other")])),
        (b'L', records(&[("path", "long/")])),
        (b'K', records(&[("linkpath", "other")])),
        (b'L', records(&sparse)),
        (b'K', records(&sparse)),
    ] {
        let [about, long] = [extended(b'x', about), long(typeflag, "long\0")];
        refused(&[long.clone(), about.clone(), file("f", "")], words);
        refused(&[about, long, file("f", "")], words);
    }
}

mod as_root {
    use super::*;

    #[test]
    fn an_extended_size_counts_if_the_header_has_none() {
        let big = entry(b'0', "big", inner()).size(0).pax(&[("size", inner().len().to_string())]);
        agreed(&[big, file("after", "")], &["after", "big"]);
    }

    #[test]
    fn an_extended_size_overrides_that_of_the_header() {
        for said in [512, 1, 1 << 32] {
            let size = [("size", inner().len().to_string())];
            agreed(
                &[entry(b'0', "big", inner()).size(said).pax(&size), file("z", "")],
                &["big", "z"],
            );
        }
    }

    #[test]
    fn sizes_in_the_octal_notations_of_writers_are_accepted() {
        for spelling in
            [&b"00000000004\0"[..], b"000000000004", b"          4 ", b"4", b"4 \0 ", b"  4"]
        {
            agreed(&with(124, 12, spelling), &["after", "f"]);
        }
    }

    #[test]
    fn sizes_in_binary_are_read_and_bounded() {
        agreed(&with(124, 12, b"\x80\0\0\0\0\0\0\0\0\0\0\x04"), &["after", "f"]);
        refused(&with(124, 12, &[0xff; 12]), "header: the size is negative (-1)");
        refused(&with(124, 12, b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), "the size is not a number");
        let most = b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff";
        refused(&with(124, 12, most), "archive is cut short: 9223372036854773759 bytes");
    }

    #[test]
    fn data_of_an_entry_that_can_have_none_is_refused() {
        for typeflag in *b"12346" {
            let part = entry(typeflag, "x", "data").link("y").device(1, 3);
            refused(&[part, file("after", "")], "4 bytes of data, but an entry");
        }
        // The size of a directory never means data; all readers agree on that.
        agreed(&[dir("d/").size(255), file("after", "")], &["after", "d/"]);
    }

    #[test]
    fn every_number_of_every_header_is_checked() {
        let places =
            [(100, "mode"), (108, "user ID"), (116, "group ID"), (136, "modification time")];
        for (offset, what) in places {
            let words = format!(
                "header: the {what} is not a number that all tar programs read in the same way \
                 (\"1x"
            );
            refused(&with(offset, 8, b"1x"), &words);
            // The same holds for the header of an extension, and for a field that an extended
            // header overrides.
            let about = extended(b'x', records(&[("comment", "x")])).field(offset, 8, b"1x");
            refused(&[about, file("f", "")], &words);
            let all = [("uid", "1"), ("gid", "1"), ("mtime", "1")];
            refused(&[file("f", "").field(offset, 8, b"1x").pax(&all)], &words);
        }
        refused(
            &[character("c", 1, 3).field(329, 8, b"x")],
            "the major device number is not a number",
        );
        refused(&with(337, 8, b"x"), "the minor device number is not a number");
        agreed(&with(329, 16, b"                "), &["after", "f"]);
    }

    #[test]
    fn the_last_value_of_a_repeated_keyword_counts() {
        agreed(&[file("f", "").pax(&[("path", "one"), ("path", "two")])], &["two"]);
    }

    #[test]
    fn keywords_that_only_some_readers_know_are_refused() {
        for key in [
            "SCHILY.realsize",
            "SUN.holesdata",
            "GNU.dumpdir",
            "GNU.volume.label",
            "GNU.volume.offset",
            "SCHILY.devmajor",
            "SUN.devminor",
        ] {
            let words =
                format!("extended header: {key}: tar programs interpret this keyword differently");
            refused(&[file("f", "data").pax(&[(key, "4")])], &words);
        }
        let harmless = [("SCHILY.dev", "4"), ("SCHILY.ino", "5"), ("MSWINDOWS.rawsd", "x")];
        agreed(&[file("f", "data").pax(&harmless)], &["f"]);
    }

    #[test]
    fn long_names_end_at_a_nul_or_with_their_data() {
        for length in [99, 100, 101, 300] {
            let name = "n".repeat(length.min(200)) + &"/m".repeat(length.saturating_sub(200) / 2);
            for text in [name.clone(), format!("{name}\0"), format!("{name}\0garbage")] {
                let part = file("short", "1").magic(GNU).after(&long(b'L', text));
                let cage = Cage::new(PLACES[0]);
                agree(&cage, &archive(&[part, file("after", "")]));
                assert!(cage.root(&name).is_file());
            }
        }
    }

    #[test]
    fn long_links_and_long_names_work_together() {
        let target = "t".repeat(150);
        let [name, link] = [long(b'L', "the/name\0"), long(b'K', format!("{target}\0"))];
        for about in [[&name, &link], [&link, &name]] {
            let part = symlink("n", "t").magic(GNU).after(about[0]).after(about[1]);
            agreed(&[part], &["the/", "the/name"]);
            let part = hardlink("n", "t").magic(GNU).after(about[0]).after(about[1]);
            agreed(&[file(&target, ""), part], &["the/", "the/name", &target]);
        }
    }

    #[test]
    fn the_last_of_two_long_names_counts() {
        let part = file("f", "").magic(GNU).after(&long(b'L', "one\0")).after(&long(b'L', "two\0"));
        agreed(&[part], &["two"]);
    }

    #[test]
    fn a_checksum_of_signed_bytes_or_in_any_notation_is_accepted_if_right() {
        let spoil = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut header = file("f", "").at(265, b"\xe9").bytes();
            change(&mut header);
            [raw(header), file("after", "")]
        };
        let sum = |header: &[u8], signed: bool| -> i64 {
            let byte = |b: &u8| if signed { i64::from(b.cast_signed()) } else { i64::from(*b) };
            let field: i64 = header[148..156].iter().map(byte).sum();
            header[..512].iter().map(byte).sum::<i64>() - field + 8 * 32
        };
        for spelling in ["{:06}\0 ", "{:07}\0", "{:07} ", "{: >6}\0 "] {
            for signed in [false, true] {
                let parts = spoil(&|header| {
                    let octal = format!("{:o}", sum(header, signed));
                    let text = match spelling {
                        "{:06}\0 " => format!("{octal:0>6}\0 "),
                        "{:07}\0" => format!("{octal:0>7}\0"),
                        "{:07} " => format!("{octal:0>7} "),
                        _ => format!("{octal: >6}\0 "),
                    };
                    header[148..156].copy_from_slice(text.as_bytes());
                });
                let cage = Cage::new(PLACES[0]);
                agree(&cage, &archive(&parts));
            }
        }
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let cage = Cage::new(PLACES[0]);
            cage.stream(archive(&spoil(change))).fails(6, "not a tar archive");
            let [wrong, after] = spoil(change);
            cage.stream(archive(&[after, wrong])).fails(6, "header: wrong checksum");
        };
        refused(&|header| header[0] = b'x');
        refused(&|header| header[148..156].copy_from_slice(b"        "));
        refused(&|header| header[149] = b'x');
        refused(&|header| {
            let octal = format!("\0{:0>6o}\0", sum(header, false));
            header[148..156].copy_from_slice(octal.as_bytes());
        });
    }

    #[test]
    fn a_prefix_is_part_of_the_name_only_in_formats_that_have_one() {
        let prefixed =
            |magic: &[u8; 8]| [file("name", "").magic(magic).field(345, 155, b"pre/fix")];
        agreed(&prefixed(USTAR), &["pre/", "pre/fix/", "pre/fix/name"]);
        // All readers ignore the version field after the magic.
        for magic in [b"ustar\0\0\0", b"ustar\0  ", b"ustar\0xx"] {
            agreed(&prefixed(magic), &["pre/", "pre/fix/", "pre/fix/name"]);
        }
        for magic in [V7, b"garbage!"] {
            agreed(&prefixed(magic), &["name"]);
        }
        // These magics are valid to libarchive, and invalid to Go.
        for magic in [b"ustarXYZ", b"ustar 00", b"ustar  x"] {
            let words = "header: unknown magic that begins with \"ustar\"";
            refused(&prefixed(magic), words);
            refused(&[character("c", 1, 3).magic(magic)], words);
            refused(&[file("f", "").magic(magic).field(329, 8, b"x")], "device number is not");
            // All readers agree if the magic makes no difference.
            agreed(&[file("f", "1").magic(magic), symlink("s", "f").magic(magic)], &["f", "s"]);
        }
    }

    #[test]
    fn numbers_of_spaces_that_a_nul_ends_are_zero() {
        // Old archives of Maven have such numbers if no user was given.
        for (offset, size) in [(100, 8), (108, 8), (116, 8), (136, 12), (329, 8), (337, 8)] {
            for spaces in 1..size {
                agreed(&with(offset, size, &vec![b' '; spaces]), &["after", "f"]);
            }
            if offset < 300 {
                let words = "is not a number that all tar programs read in the same way";
                refused(&with(offset, size, &vec![b' '; size]), words);
                refused(&with(offset, size, b"\0 "), words);
                refused(&with(offset, size, b" \0x"), words);
            }
        }
        let empty = [file("f", "").field(124, 12, b"           "), file("after", "")];
        agreed(&empty, &["after", "f"]);
        for magic in [USTAR, GNU, V7] {
            let maven = file("f", "1").magic(magic).field(108, 8, b"       ");
            let maven = maven.field(116, 8, b"       ").field(100, 8, b"100664 ");
            agreed(&[maven, file("after", "")], &["after", "f"]);
        }
        // Other numbers in the header of an extended header may be spaces too.
        let about = extended(b'x', records(&[("path", "p")])).field(108, 8, b"       ");
        agreed(&[about, file("f", "")], &["p"]);
        let star = file("f", "").at(508, b"tar\0").field(476, 24, &[b' '; 24]);
        agreed(&[star], &["f"]);
    }

    #[test]
    fn headers_about_others_need_no_magic() {
        for magic in [V7, USTAR, GNU] {
            for its in [V7, USTAR, GNU] {
                let about = extended(b'x', records(&[("path", "p"), ("size", "4")])).magic(magic);
                let part = entry(b'0', "f", "data").size(9999).magic(its);
                agreed(&[about, part, file("z", "")], &["p", "z"]);
                let about = long(b'L', "p\0").magic(magic);
                agreed(&[about, file("f", "").magic(its)], &["p"]);
                let about = long(b'K', "p\0").magic(magic);
                agreed(&[about, symlink("s", "t").magic(its)], &["s"]);
            }
        }
    }

    #[test]
    fn long_names_and_extended_headers_that_agree_are_taken() {
        let link = || symlink("s", "t");
        for (typeflag, text, about, name) in [
            (b'L', "p\0", records(&[("path", "p")]), "p"),
            (b'L', "p\0", records(&[("linkpath", "other")]), "p"),
            (b'K', "t2\0", records(&[("linkpath", "t2")]), "s"),
            (b'K', "t2\0", records(&[("path", "p")]), "p"),
            (b'K', "t2\0", records(&[("mtime", "5"), ("uid", "7")]), "s"),
        ] {
            let [about, long] = [extended(b'x', about), long(typeflag, text)];
            agreed(&[long.clone(), about.clone(), link()], &[name]);
            agreed(&[about, long, link()], &[name]);
        }
        for said in [0, 9999] {
            let part = entry(b'0', "f", "data").size(said);
            let about = extended(b'x', records(&[("size", "4")]));
            let long = long(b'L', "a/long/name\0");
            let names = ["a/", "a/long/", "a/long/name", "z"];
            agreed(&[long.clone(), about.clone(), part.clone(), file("z", "")], &names);
            agreed(&[about, long, part, file("z", "")], &names);
        }
    }

    #[test]
    fn the_prefix_of_the_star_format_is_shorter() {
        let star = |prefix: &[u8]| {
            let part = file("name", "").field(345, 155, prefix).at(508, b"tar\0");
            part.field(476, 12, b"00000000001").field(488, 12, b"00000000001")
        };
        agreed(&[star(b"pre")], &["pre/", "pre/name"]);
        let words = "header: the prefix extends into the access time";
        refused(&[star(&[b'p'; 131])], words);
        refused(&[star(b"").field(476, 12, b"1x")], "the access time is not a number");
    }

    #[test]
    fn times_and_prefixes_in_a_gnu_header_are_read_as_go_does() {
        let part = file("name", "").magic(GNU).field(345, 12, b"00000000001");
        agreed(&[part.field(357, 12, b"00000000001")], &["name"]);
        // Go before 1.8 wrote such headers, also into layers. GNU tar and libarchive lose the
        // prefix.
        let cage = Cage::new(PLACES[0]);
        let part = file("name", "").magic(GNU).field(345, 155, b"pre");
        cage.stream(archive(std::slice::from_ref(&part)))
            .status(0)
            .says("the prefix is used, as by container engines");
        cage.has(&["pre/", "pre/name"]);
        let mut cage = Cage::new(PLACES[0]);
        cage.options(&["--strict"]);
        cage.stream(archive(&[part])).fails(6, "a GNU header with a prefix in place of times");
    }

    #[test]
    fn a_regular_file_whose_name_ends_in_a_slash_is_refused() {
        for typeflag in *b"07" {
            refused(&[entry(typeflag, "d/", "")], "a regular file whose name ends in a slash");
        }
        refused(&[entry(0, "d/", "data")], "a regular file whose name ends in a slash");
        agreed(&[entry(0, "d/", "").magic(V7).mode(0o755)], &["d/"]);
    }

    #[test]
    fn files_with_macos_metadata_are_ordinary() {
        agreed(&[file("d/._f", "\0\x05\x16\x07"), file("d/f", "")], &["d/", "d/._f", "d/f"]);
    }
}
