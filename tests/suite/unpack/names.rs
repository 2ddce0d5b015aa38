// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: names of entries in every notation, and the paths to which they resolve.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use tests::cage::{Cage, everywhere, everywhere_and_unprivileged};
use tests::layers::{Part, dir, entry, fifo, file, hardlink, symlink, whiteout};

/// Asserts that a layer of one entry is refused with this message and leaves no tree.
fn refused(part: &Part, words: &str) {
    everywhere_and_unprivileged(|cage| {
        cage.unpack(&[std::slice::from_ref(part)]).fails(6, words);
        cage.nothing();
    });
}

#[test]
fn an_absolute_name_is_resolved_from_the_root() {
    everywhere_and_unprivileged(|cage| {
        let name = cage.dir().join("victim/hello");
        cage.unpack(&[&[file("/etc/x", "1"), file(name.as_os_str().as_bytes(), "2")]]).ok();
        assert_eq!(cage.read("etc/x"), "1");
        assert_eq!(cage.read(name.to_str().unwrap()), "2");
    });
}

#[test]
fn redundant_slashes_and_dots_are_removed() {
    everywhere(|cage| {
        cage.unpack(&[&[file("//etc///x/./y", "1"), file("./etc/z", ""), dir("./")]]).ok();
        cage.has(&["etc/", "etc/x/", "etc/x/y", "etc/z"]);
    });
}

#[test]
fn names_that_lead_out_of_the_root_are_refused() {
    for name in ["../victim/new", "/../victim/new", "../new", "../../new", "a/../../victim/new"] {
        refused(&file(name, ""), "leads out of the root");
    }
}

#[test]
fn the_directory_above_the_root_is_refused() {
    for name in ["..", "../", "/..", "a/../.."] {
        refused(&dir(name), "leads out of the root");
    }
}

#[test]
fn dot_dot_components_that_stay_inside_are_resolved_textually() {
    everywhere(|cage| {
        cage.unpack(&[&[file("etc/f", "")], &[file("a/../b", ""), file("dne/../.wh.etc", "")]])
            .ok();
        cage.has(&["b"]);
    });
}

#[test]
fn names_that_begin_or_end_with_dots_are_ordinary() {
    everywhere(|cage| {
        cage.unpack(&[&[file("..foo", ""), file("foo..", ""), file("...", "")]]).ok();
        cage.has(&["...", "..foo", "foo.."]);
    });
}

#[test]
fn a_root_that_is_not_a_directory_is_refused() {
    for name in [".", "/.", "./", "/"] {
        for part in [symlink(name, "/victim"), hardlink(name, "f"), fifo(name)] {
            everywhere(|cage| {
                cage.unpack(&[&[file("f", ""), part.clone()]]).fails(6, "the root is a directory");
                cage.nothing();
            });
        }
    }
    refused(&file(".", ""), "the root is a directory");
}

#[test]
fn an_empty_name_is_refused_except_for_a_directory() {
    refused(&file("", ""), "the root is a directory");
    refused(&symlink("", "x"), "the root is a directory");
}

#[test]
fn a_symlink_named_dot_dot_is_refused_or_resolved_inside() {
    refused(&symlink("..", "/etc"), "leads out of the root");
    everywhere(|cage| {
        cage.unpack(&[&[symlink("localetc/sub/..", "/etc"), file("localetc/f", "1")]]).ok();
        assert_eq!((cage.link("localetc"), cage.read("etc/f")), ("/etc".into(), "1".into()));
    });
}

#[test]
fn a_sibling_directory_with_the_same_prefix_is_outside() {
    refused(&file("../root-evil/secret", "x"), "leads out of the root");
    everywhere(|cage| {
        let parts = [symlink("x", "../root-evil"), file("x/secret", "inside")];
        cage.unpack(&[&parts]).ok();
        assert_eq!(cage.read("root-evil/secret"), "inside");
    });
}

#[test]
fn odd_characters_are_kept_and_escaped_in_messages() {
    let odd = ["back\\slash", "c:olon", "new\nline", "\u{1b}[31mred", "tab\t", "é\u{301}"];
    everywhere(|cage| {
        let parts: Vec<Part> = odd.iter().map(|name| file(name, "")).collect();
        cage.unpack(&[&parts]).ok();
        let mut names = odd.map(str::to_owned);
        names.sort();
        assert_eq!(cage.tree(), names);
    });
    // `fails` asserts that no control character reaches the terminal.
    refused(&hardlink("new\nline\u{1b}[31m", "gone\r"), "\"new\\nline\\u{1b}[31m\"");
}

#[test]
fn names_are_bytes_in_no_encoding() {
    everywhere(|cage| {
        let names = [&b"caf\xe9"[..], b"\xcb\xcf\xc9-8", b"\xff\xfe"];
        cage.unpack(&[&names.map(|name| file(name, ""))]).ok();
        for name in names {
            assert!(cage.root("").join(OsStr::from_bytes(name)).is_file(), "{name:?}");
        }
    });
}

#[test]
fn a_component_may_be_as_long_as_the_file_system_allows() {
    everywhere(|cage| {
        cage.unpack(&[&[file("n".repeat(255), "")]]).ok();
    });
    refused(&file("n".repeat(256), ""), "file name too long");
    refused(&file(format!("{}/f", "n".repeat(256)), ""), "file name too long");
}

#[test]
fn paths_longer_than_the_limit_of_the_kernel_are_created_and_hidden() {
    everywhere_and_unprivileged(|cage| {
        let deep = format!("{}f", "d/".repeat(2000));
        let long = format!("{}f", format!("{}/", "n".repeat(250)).repeat(40));
        let lower = [file(&deep, "1"), file(&long, "1"), file("kept", "")];
        cage.unpack(&[&lower, &[whiteout("d"), whiteout(&"n".repeat(250))]]).ok();
        cage.has(&["kept"]);
    });
}

#[test]
fn a_path_ten_thousand_directories_deep_is_created() {
    let cage = Cage::new(tests::cage::PLACES[0]);
    let deep = format!("{}f", "d/".repeat(10_000));
    cage.unpack(&[&[file(&deep, "")], &[file(&deep, "x")], &[whiteout("d")]]).ok();
    cage.has(&[]);
}

#[test]
fn a_path_deeper_than_the_limit_is_refused() {
    // One directory more than the limit. Each component takes two bytes of the mebibyte that a
    // header may have.
    let deep = "d/".repeat(16_385);
    refused(&dir(deep), "deeper than 16384 directories");
}

#[test]
fn a_repeated_file_has_its_last_content_and_causes_a_warning() {
    everywhere(|cage| {
        let parts = [file("f", "1"), file("g", ""), file("f", "2").mode(0o600)];
        cage.unpack(&[&parts]).status(0).says("warning: \"f\": appears twice in a layer");
        assert_eq!((cage.read("f"), cage.mode("f")), ("2".to_owned(), 0o600));
    });
}

#[test]
fn a_repeated_file_is_refused_by_strict() {
    everywhere(|cage| {
        cage.options(&["--strict"]);
        cage.unpack(&[&[file("f", "1"), file("f", "2")]])
            .fails(6, "appears twice")
            .says("--strict");
        cage.nothing();
        // The same name in two layers is normal.
        cage.unpack(&[&[file("f", "1")], &[file("f", "2")]]).ok();
    });
}

#[test]
fn a_repeated_directory_has_the_last_attributes_and_keeps_its_files() {
    everywhere(|cage| {
        let parts = [dir("d").mode(0o700).mtime(1), file("d/f", ""), dir("d").mode(0o711).mtime(2)];
        cage.unpack(&[&parts]).ok();
        cage.has(&["d/", "d/f"]);
        assert_eq!((cage.mode("d"), cage.stat("d").mtime()), (0o711, 2));
    });
}

#[test]
fn names_that_differ_in_case_or_in_unicodes_forms_are_different() {
    everywhere(|cage| {
        let names = ["PAM.7.gz", "pam.7.gz", "\u{e9}", "e\u{301}"];
        cage.unpack(&[&names.map(|name| file(name, name))]).ok();
        for name in names {
            assert_eq!(cage.read(name), name);
        }
    });
}

#[test]
fn a_file_of_the_same_layer_as_parent_is_refused() {
    for parent in [file("a", ""), fifo("a")] {
        everywhere(|cage| {
            let parts = [parent.clone(), file("a/b", "")];
            cage.unpack(&[&parts])
                .fails(6, "entry \"a/b\": a parent directory is a file of the same layer");
            cage.unpack(&[&[], &parts]).fails(6, "entry \"a/b\"");
            cage.nothing();
        });
    }
}

#[test]
fn names_that_the_tool_itself_uses_are_ordinary() {
    everywhere(|cage| {
        let names = [".lifted-1", ".root.dirty", ".root.unpacking", "root"];
        cage.unpack(&[&names.map(|name| file(name, name))]).ok();
        cage.has(&names);
        let deep = format!("{}f", "d/".repeat(40));
        let lower = [file(&deep, ""), dir("d/.lifted-1"), file("d/.lifted-2", "")];
        cage.options(&["--replace"]);
        cage.unpack(&[&lower, &[whiteout("d")]]).ok();
        cage.has(&[]);
    });
}

/// These path traversals are from public collections of malicious archives.
#[test]
fn known_path_traversals_stay_inside_or_are_refused() {
    let escape = |target: &str| [symlink("moo", target), file("moo/hello", "inside")];
    let attacks: [&[Part]; 7] = [
        &[file("/victim/hello", "inside")],
        &[file("../victim/hello", "inside")],
        &[file("d/../../victim/hello", "inside")],
        &[symlink("moo", "/victim/hello"), file("moo", "inside")],
        &escape("../victim"),
        &[symlink("cur", "."), symlink("par", "cur/.."), file("par/victim/hello", "inside")],
        &[
            symlink("a", "."),
            symlink("a/b", ".."),
            symlink("a/b/c", "../victim"),
            file("c/hello", "inside"),
        ],
    ];
    for attack in attacks {
        everywhere_and_unprivileged(|cage| {
            let run = cage.unpack(&[attack]);
            match run.code() {
                Some(0) => assert!(!cage.tree().is_empty()),
                _ => cage.nothing(),
            }
        });
    }
}

mod as_root {
    use super::*;

    #[test]
    fn an_entry_for_the_root_gives_it_its_attributes() {
        for name in [".", "./", "/", "", "a/.."] {
            everywhere(|cage| {
                cage.unpack(&[&[dir(name).mode(0o1750).owner(5, 6).mtime(77), file("f", "")]]).ok();
                let root = cage.stat("");
                assert_eq!(
                    (cage.mode(""), root.uid(), root.gid(), root.mtime()),
                    (0o1750, 5, 6, 77)
                );
            });
        }
    }

    #[test]
    fn a_file_of_a_lower_layer_is_replaced_by_a_directory() {
        for lower in [file("a", ""), fifo("a"), symlink("a", "/dne/"), symlink("a", "f")] {
            everywhere(|cage| {
                cage.unpack(&[&[file("f", ""), lower.clone()], &[dir("a"), file("a/b", "1")]]).ok();
                assert_eq!(cage.read("a/b"), "1");
            });
        }
        for lower in [file("a", ""), fifo("a"), entry(b'4', "a", "").device(7, 1)] {
            everywhere(|cage| {
                cage.unpack(&[std::slice::from_ref(&lower), &[file("a/b", "1")]]).ok();
                assert_eq!((cage.read("a/b"), cage.mode("a")), ("1".to_owned(), 0o755));
            });
        }
    }
}
