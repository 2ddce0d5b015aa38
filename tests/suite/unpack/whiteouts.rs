// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: whiteouts, in any order. They hide entries of lower layers, and never entries of
//! their own layer.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::MetadataExt;

use tests::cage::{Cage, PLACES, everywhere, everywhere_and_unprivileged};
use tests::layers::{Part, character, dir, entry, fifo, file, hardlink, opaque, symlink, whiteout};
use tests::peers::{must, peer};

/// Asserts that every order of the upper layer's parts gives the same tree.
fn in_any_order(lower: &[Part], upper: &[Part], names: &[&str]) {
    let mut orders = vec![vec![]];
    for part in upper {
        let longer = orders.iter().flat_map(|order: &Vec<Part>| {
            (0..=order.len()).map(|at| {
                let mut order = order.clone();
                order.insert(at, part.clone());
                order
            })
        });
        orders = longer.collect();
    }
    for order in orders {
        everywhere(|cage| {
            cage.unpack(&[lower, &order]).ok();
            cage.has(names);
        });
    }
}

/// Asserts that an upper layer with this entry is refused and leaves no tree.
fn refused(name: &str, words: &str) {
    everywhere(|cage| {
        cage.unpack(&[&[file("etc/f", "")], &[file(name, "")]]).fails(6, words);
        cage.nothing();
    });
}

#[test]
fn the_example_of_the_specification_works() {
    let lower =
        [dir("a"), file("a/file2", ""), file("b", ""), file("file1", ""), file("file3", "")];
    let upper = [whiteout("file1"), whiteout("a/file2"), whiteout("b"), file("file4", "")];
    in_any_order(&lower, &upper, &["a/", "file3", "file4"]);
}

#[test]
fn a_whiteout_of_a_missing_name_does_nothing() {
    everywhere(|cage| {
        cage.unpack(&[&[file("f", "")], &[whiteout("x"), whiteout("a/b/c"), whiteout("f/g")]]).ok();
        cage.has(&["f"]);
        // The same holds in a base layer.
        cage.only_options(&["--replace"]);
        cage.unpack(&[&[whiteout("x"), whiteout("a/b")]]).ok();
        cage.has(&[]);
    });
}

#[test]
fn a_hidden_tree_is_removed_without_following_its_links() {
    everywhere_and_unprivileged(|cage| {
        let lower = [
            dir("d"),
            symlink("d/up", "../../victim"),
            symlink("d/abs", cage.dir().join("victim").to_str().unwrap()),
            dir("d/e").mode(0o500),
            fifo("d/e/p"),
            file("d/e/f", ""),
        ];
        cage.unpack(&[&lower, &[whiteout("d")]]).ok();
        cage.has(&[]);
    });
}

#[test]
fn hiding_a_link_to_a_directory_removes_only_the_link() {
    everywhere(|cage| {
        cage.unpack(&[&[file("d/f", ""), symlink("l", "d")], &[whiteout("l")]]).ok();
        cage.has(&["d/", "d/f"]);
    });
}

#[test]
fn a_whiteout_behind_a_link_hides_a_file_inside_the_root() {
    for target in ["/etc", "../../etc", "etc"] {
        let lower = [file("etc/whitedout", ""), file("etc/x", ""), symlink("localetc", target)];
        in_any_order(&lower, &[whiteout("localetc/whitedout")], &["etc/", "etc/x", "localetc"]);
    }
}

#[test]
fn a_whiteout_behind_a_link_outwards_hides_nothing_outside() {
    everywhere_and_unprivileged(|cage| {
        let victim = cage.dir().join("victim");
        let links = [symlink("x", "../victim"), symlink("y", victim.to_str().unwrap())];
        let upper = [whiteout("x/hello"), whiteout("y/hello"), opaque("x"), opaque("y")];
        cage.unpack(&[&links, &upper]).ok();
    });
}

#[test]
fn a_whiteout_behind_a_dangling_link_does_nothing() {
    in_any_order(&[symlink("l", "gone")], &[whiteout("l/f")], &["l"]);
}

#[test]
fn whiteouts_without_a_name_are_refused() {
    for name in [".wh.", "etc/.wh.", ".wh..", "etc/.wh..", ".wh...", "etc/.wh..."] {
        refused(name, "a whiteout without a valid file name");
    }
}

#[test]
fn a_name_of_dots_can_be_hidden() {
    let lower = [file("...", ""), file("....", ""), file("...x", "")];
    let upper = [whiteout("..."), whiteout("...."), whiteout("...x")];
    in_any_order(&lower, &upper, &[]);
}

#[test]
fn an_opaque_directory_hides_lower_files_and_no_others() {
    let lower = [file("bin/my-app-binary", ""), file("bin/tools/a", ""), file("etc/my-app", "")];
    let upper = [opaque("bin"), file("bin/my-app-tools", ""), file("bin/tools/b", "")];
    let names = ["bin/", "bin/my-app-tools", "bin/tools/", "bin/tools/b", "etc/", "etc/my-app"];
    in_any_order(&lower, &upper, &names);
}

#[test]
fn an_opaque_directory_keeps_new_files_whose_parents_have_no_entry() {
    let lower = [file("a/b/old", ""), file("a/b/c/old", "")];
    let names = ["a/", "a/b/", "a/b/c/", "a/b/c/foo"];
    in_any_order(&lower, &[opaque("a"), file("a/b/c/foo", "")], &names);
}

#[test]
fn an_opaque_directory_keeps_new_files_of_every_type_and_hides_at_every_depth() {
    let lower = [
        file("a/f", ""),
        fifo("a/p"),
        symlink("a/s", "f"),
        file("a/d/e/old", ""),
        file("a/old/e/f", ""),
    ];
    let upper = [opaque("a"), symlink("a/l", "x"), fifo("a/q"), dir("a/d"), fifo("a/p")];
    in_any_order(&lower, &upper, &["a/", "a/d/", "a/l", "a/p", "a/q"]);
}

#[test]
fn an_opaque_directory_keeps_its_own_attributes() {
    everywhere(|cage| {
        let lower = [dir("a").mode(0o700).mtime(5), file("a/f", "")];
        cage.unpack(&[&lower, &[opaque("a")]]).ok();
        assert_eq!((cage.mode("a"), cage.stat("a").mtime()), (0o700, 5));
    });
}

#[test]
fn an_opaque_directory_without_an_entry_is_created() {
    everywhere(|cage| {
        cage.unpack(&[&[], &[opaque("x/y")]]).ok();
        cage.has(&["x/", "x/y/"]);
    });
}

#[test]
fn an_opaque_whiteout_replaces_a_lower_file_by_a_directory() {
    for lower in [file("a", ""), fifo("a")] {
        in_any_order(&[lower], &[opaque("a")], &["a/"]);
    }
    in_any_order(&[file("d/f", ""), symlink("a", "/d")], &[opaque("a")], &["a", "d/"]);
}

#[test]
fn an_opaque_root_hides_all_lower_layers() {
    let lower = [file("a/b", ""), file("c", ""), symlink("d", "a")];
    in_any_order(&lower, &[opaque(""), file("a/new", "")], &["a/", "a/new"]);
}

#[test]
fn a_new_file_written_through_a_link_is_kept_in_an_opaque_directory() {
    let lower = [file("usr/lib/old", ""), symlink("lib", "usr/lib")];
    let names = ["lib", "usr/", "usr/lib/", "usr/lib/new"];
    in_any_order(&lower, &[file("lib/new", ""), opaque("usr/lib")], &names);
    in_any_order(&lower, &[file("usr/lib/new", ""), opaque("lib")], &names);
}

#[test]
fn nested_opaque_directories_all_take_effect() {
    let lower = [file("a/b/c/old", ""), file("a/b/old", ""), file("a/old", "")];
    let upper = [opaque("a/b/c"), opaque("a"), file("a/b/c/new", "")];
    in_any_order(&lower, &upper, &["a/", "a/b/", "a/b/c/", "a/b/c/new"]);
}

#[test]
fn unknown_marks_are_refused() {
    for name in [".wh..wh.opq", "etc/.wh..wh..opqx", "etc/.wh..wh.", "etc/.wh..wh.plnk"] {
        refused(name, "an unknown .wh..wh. name");
    }
}

#[test]
fn entries_of_aufs_are_left_out_with_a_warning() {
    everywhere(|cage| {
        let parts = [
            dir(".wh..wh.plnk"),
            file(".wh..wh.plnk/12.34", "x"),
            dir(".wh..wh.orph"),
            file(".wh..wh.aufs", ""),
            file("f", ""),
        ];
        cage.unpack(&[&parts]).status(0).says("warning: AUFS's own entries");
        cage.has(&["f"]);
        cage.only_options(&["--replace", "--strict"]);
        cage.unpack(&[&parts]).fails(6, "AUFS's own entries");
    });
}

#[test]
fn a_file_that_its_own_layer_adds_and_hides_stays() {
    let upper = [file("x", "new"), whiteout("x")];
    in_any_order(&[file("x", "old")], &upper, &["x"]);
    everywhere(|cage| {
        cage.unpack(&[&[file("x", "old")], &upper]).ok();
        assert_eq!(cage.read("x"), "new");
        // A base layer has no lower layers.
        cage.only_options(&["--replace"]);
        cage.unpack(&[&upper]).ok();
        cage.has(&["x"]);
    });
}

#[test]
fn a_hidden_file_is_replaced_by_a_directory_without_an_entry() {
    in_any_order(&[file("foo", "")], &[whiteout("foo"), file("foo/bar", "")], &["foo/", "foo/bar"]);
    everywhere(|cage| {
        cage.unpack(&[&[file("foo", "")], &[whiteout("foo"), file("foo/bar", "")]]).ok();
        assert_eq!(cage.mode("foo"), 0o755);
    });
}

#[test]
fn a_file_and_a_name_below_it_can_both_be_hidden() {
    in_any_order(&[file("foo", "")], &[whiteout("foo"), whiteout("foo/bar")], &[]);
    in_any_order(&[file("foo/bar", "")], &[whiteout("foo"), whiteout("foo/bar")], &[]);
}

#[test]
fn redundant_whiteouts_are_accepted() {
    let upper = [whiteout("d/x"), opaque("d"), whiteout("d/x")];
    in_any_order(&[file("d/x", ""), file("d/y", "")], &upper, &["d/"]);
}

#[test]
fn a_whiteout_is_recognised_by_its_name_whatever_its_type() {
    for whiteout in [
        hardlink("tmp/.wh.KEY", "tmp/CERN.repo"),
        symlink("tmp/.wh.KEY", "KEY"),
        fifo("tmp/.wh.KEY"),
        character("tmp/.wh.KEY", 0, 0),
        entry(b'7', "tmp/.wh.KEY", ""),
    ] {
        in_any_order(&[file("tmp/KEY", "")], &[whiteout], &["tmp/"]);
    }
}

#[test]
fn a_whiteout_that_is_a_directory_is_refused() {
    everywhere(|cage| {
        let upper = [dir(".wh.x/")];
        cage.unpack(&[&[file("x", "")], &upper]).fails(6, "a whiteout that is a directory");
        cage.nothing();
    });
}

#[test]
fn a_whiteout_with_data_takes_effect_with_a_warning() {
    everywhere(|cage| {
        let upper = [file(".wh.x", "data"), file("y", "1")];
        cage.unpack(&[&[file("x", "")], &upper]).status(0).says("a whiteout with data");
        cage.has(&["y"]);
    });
}

#[test]
fn a_name_below_a_whiteout_is_refused() {
    refused(".wh.etc/f", "below a whiteout");
    refused("a/.wh.etc/b/f", "below a whiteout");
}

#[test]
fn the_target_of_a_symlink_may_be_a_whiteout_name() {
    everywhere(|cage| {
        cage.unpack(&[&[symlink("s", ".wh.x")]]).ok();
        assert_eq!(cage.link("s"), ".wh.x");
    });
}

#[test]
fn existing_files_with_whiteout_names_are_ordinary() {
    everywhere(|cage| {
        fs::create_dir_all(cage.root("d")).unwrap();
        for name in [".wh.foo", "foo", "d/.wh.bar"] {
            fs::write(cage.root(name), "").unwrap();
        }
        cage.options(&["--onto"]);
        cage.unpack(&[&[file("new", "")]]).ok();
        cage.has(&[".wh.foo", "d/", "d/.wh.bar", "foo", "new"]);
        cage.unpack(&[&[opaque("d"), whiteout("foo")]]).ok();
        cage.has(&[".wh.foo", "d/", "new"]);
    });
}

#[test]
fn an_unreadable_directory_is_hidden_too() {
    for place in PLACES {
        let mut cage = Cage::new(place);
        cage.unprivileged();
        let lower = [dir("d"), dir("d/e"), file("d/e/f", ""), dir("d/e").mode(0), dir("d").mode(0)];
        cage.unpack(&[&lower, &[whiteout("d/e/f")]]).ok();
        assert_eq!(cage.mode("d"), 0);
        cage.options(&["--onto"]);
        cage.unpack(&[&[whiteout("d")]]).ok();
        cage.has(&[]);
    }
}

#[test]
fn a_parent_has_the_time_of_its_entry_or_keeps_its_own() {
    everywhere(|cage| {
        let lower = [dir("d").mtime(5), file("d/old", ""), dir("e").mtime(6), file("e/old", "")];
        let upper = [dir("e").mtime(7), whiteout("d/old"), whiteout("e/old"), file("d/new", "")];
        cage.unpack(&[&lower, &upper, &[file("e/newer", "")]]).ok();
        assert_eq!((cage.stat("d").mtime(), cage.stat("e").mtime()), (5, 7));
    });
}

mod with_peers {
    use super::*;

    #[test]
    fn a_directory_hidden_and_added_by_one_layer_has_only_new_content() {
        let lower = [dir("dir").mode(0o700).mtime(5).xattr("user.old", "1"), file("dir/old", "")];
        let upper = [whiteout("dir"), dir("dir"), file("dir/new", "")];
        in_any_order(&lower, &upper, &["dir/", "dir/new"]);
        for upper in
            [[whiteout("dir"), file("dir/new", "")], [file("dir/new", ""), whiteout("dir")]]
        {
            everywhere(|cage| {
                cage.unpack(&[&lower, &upper]).ok();
                assert_eq!((cage.mode("dir"), cage.stat("dir").mtime()), (0o755, 0));
                let listed = must(peer("getfattr").arg("-d").arg(cage.root("dir")));
                assert!(listed.is_empty());
            });
        }
    }
}

mod as_root {
    use super::*;

    #[test]
    fn hiding_an_immutable_file_is_an_error() {
        // The disk's file system supports file flags; tmpfs supports them since Linux 6.6.
        let mut cage = Cage::new(PLACES[1]);
        fs::create_dir(cage.root("")).unwrap();
        fs::write(cage.root("fixed"), "").unwrap();
        must(peer("chattr").arg("+i").arg(cage.root("fixed")));
        cage.options(&["--onto"]);
        let runs = [whiteout("fixed"), file("fixed", "new")].map(|part| {
            let run = cage.unpack(&[&[part]]);
            fs::remove_file(cage.dir().join(".root.dirty")).unwrap();
            run
        });
        must(peer("chattr").arg("-i").arg(cage.root("fixed")));
        for run in runs {
            run.fails(7, "remove \"fixed\"").says("hint: the file may be immutable");
        }
    }
}
