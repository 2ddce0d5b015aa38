// SPDX-License-Identifier: Apache-2.0
//! pack-layer --base: the difference of two trees, checked by unpacking both layers.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use tests::layers::names;
use tests::scratch::Scratch;
use tests::tools::{Command, tool};
use tests::trees::{make_node, set_time, set_times, set_xattr, snapshot};

/// Two trees with the same content at first.
struct Place {
    scratch: Scratch,
}

impl Place {
    /// Calls `fill` for each of the two trees.
    fn new(fill: impl Fn(&Path)) -> Place {
        let place = Place { scratch: Scratch::new() };
        for name in ["base", "tree"] {
            let root = place.scratch.join(name);
            fs::create_dir(&root).unwrap();
            fill(&root);
            set_times(&root, 1_000_000_000);
        }
        place
    }

    fn tree(&self) -> PathBuf {
        self.scratch.join("tree")
    }

    fn pack(&self) -> Command {
        tool("pack-layer").dir(self.scratch.path()).args(["tree", "--base", "base"])
    }

    /// The names in the layer, after a check that both layers together give the tree.
    fn names(&self) -> Vec<String> {
        let dir = self.scratch.path();
        tool("pack-layer").dir(dir).args(["base", "-o", "lower"]).run().status(0);
        self.pack().args(["--compress", "none", "-o", "upper"]).run().ok();
        let unpack = ["back", "lower", "upper", "--replace", "--no-sync"];
        tool("unpack-layer").dir(dir).args(unpack).run().ok();
        assert_eq!(snapshot(&dir.join("back")), snapshot(&self.tree()));
        names(&fs::read(dir.join("upper")).unwrap())
    }

    /// Resets all times, so that they do not reveal a change of content.
    fn same_time(&self) {
        set_times(&self.tree(), 1_000_000_000);
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.tree().join(name), content).unwrap();
    }

    fn remove(&self, name: &str) {
        let path = self.tree().join(name);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
    }
}

/// A tree with most types of files.
fn ordinary(root: &Path) {
    fs::create_dir_all(root.join("etc/deep/er")).unwrap();
    fs::create_dir(root.join("var")).unwrap();
    for name in ["a", "etc/b", "etc/deep/c", "etc/deep/er/d", "var/e"] {
        fs::write(root.join(name), name).unwrap();
    }
    fs::hard_link(root.join("etc/b"), root.join("etc/b2")).unwrap();
    symlink("b", root.join("etc/link")).unwrap();
    make_node(&root.join("fifo"), FileType::Fifo, (0, 0));
}

#[test]
fn equal_trees_give_an_empty_archive() {
    let place = Place::new(ordinary);
    assert_eq!(place.names(), Vec::<String>::new());
    assert_eq!(fs::read(place.scratch.join("upper")).unwrap(), vec![0; 1024]);
}

#[test]
fn a_new_file_is_packed_with_its_parent_directories() {
    let place = Place::new(ordinary);
    place.write("etc/deep/new", "x");
    set_time(&place.tree().join("etc/deep"), 1_000_000_000);
    assert_eq!(place.names(), ["./", "etc/", "etc/deep/", "etc/deep/new"]);
}

#[test]
fn changed_content_with_the_same_size_and_time_is_found() {
    let place = Place::new(ordinary);
    place.write("var/e", "VAR/E");
    place.same_time();
    assert_eq!(place.names(), ["./", "var/", "var/e"]);
}

#[test]
fn whiteouts_precede_new_files() {
    let place = Place::new(ordinary);
    for name in ["a", "etc/deep", "etc/link"] {
        place.remove(name);
    }
    place.write("A", "new");
    place.write("etc/0", "new");
    place.same_time();
    assert_eq!(
        place.names(),
        ["./", ".wh.a", "A", "etc/", "etc/.wh.deep", "etc/.wh.link", "etc/0"]
    );
}

#[test]
fn a_change_of_any_attribute_is_found() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 5] = [
        ("mode", |file| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        }),
        ("time", |file| set_time(file, 1_000_000_001)),
        ("xattr", |file| set_xattr(file, "user.k", b"v")),
        ("size", |file| fs::write(file, "longer").unwrap()),
        ("type", |file| {
            fs::remove_file(file).unwrap();
            make_node(file, FileType::Fifo, (0, 0));
        }),
    ];
    for (what, change) in changes {
        let place = Place::new(ordinary);
        let file = place.tree().join("var/e");
        change(&file);
        if what != "time" {
            set_time(&file, 1_000_000_000);
        }
        set_time(&place.tree().join("var"), 1_000_000_000);
        assert_eq!(place.names(), ["./", "var/", "var/e"], "{what}");
    }
    let place = Place::new(ordinary);
    set_xattr(&place.tree().join("etc/deep"), "user.k", b"v");
    assert_eq!(place.names(), ["./", "etc/", "etc/deep/"]);
    place.remove("etc/link");
    symlink("B", place.tree().join("etc/link")).unwrap();
    place.same_time();
    assert_eq!(place.names(), ["./", "etc/", "etc/deep/", "etc/link"]);
}

#[test]
fn a_file_and_a_directory_replace_each_other() {
    let place = Place::new(ordinary);
    place.remove("etc");
    place.write("etc", "a file");
    place.remove("a");
    fs::create_dir(place.tree().join("a")).unwrap();
    place.write("a/x", "x");
    place.same_time();
    assert_eq!(place.names(), ["./", "a/", "a/x", "etc"]);
}

/// Not every unpacker can link to a file of a lower layer, so the layer contains the file as well.
#[test]
fn a_new_hard_link_to_an_old_file_includes_the_file() {
    let place = Place::new(ordinary);
    fs::hard_link(place.tree().join("etc/deep/c"), place.tree().join("var/z")).unwrap();
    place.same_time();
    assert_eq!(place.names(), ["./", "etc/", "etc/deep/", "etc/deep/c", "var/", "var/z"]);
}

#[test]
fn a_hard_link_that_becomes_a_separate_file_is_packed_separately() {
    let place = Place::new(ordinary);
    place.remove("etc/b2");
    place.write("etc/b2", "etc/b");
    place.same_time();
    assert_eq!(place.names(), ["./", "etc/", "etc/b2"]);
}

#[test]
fn files_that_become_links_of_each_other_are_packed_together() {
    let fill = |root: &Path| {
        fs::write(root.join("a"), "x").unwrap();
        fs::write(root.join("b"), "x").unwrap();
    };
    let place = Place::new(fill);
    place.remove("b");
    fs::hard_link(place.tree().join("a"), place.tree().join("b")).unwrap();
    place.same_time();
    assert_eq!(place.names(), ["./", "a", "b"]);
}

#[test]
fn owners_and_times_overridden_by_options_are_not_changes() {
    let place = Place::new(ordinary);
    set_times(&place.tree(), 2_000_000_000);
    let size = |options: &[&str]| {
        let run = place.pack().args(["-o", "-", "--compress", "none"]).args(options).run();
        run.ok().stdout.len()
    };
    assert!(size(&[]) > 1024);
    assert_eq!(size(&["--mtime", "@5"]), 1024);
    let run = place.pack().args(["-o", "-", "--compress", "none"]);
    assert_eq!(run.env("SOURCE_DATE_EPOCH", "1000").run().ok().stdout.len(), 1024);
    if rustix::process::geteuid().is_root() {
        place.same_time();
        std::os::unix::fs::chown(place.tree().join("a"), Some(5), Some(6)).unwrap();
        assert_eq!(place.names(), ["./", "a"]);
        assert_eq!(size(&["--owner", "0:0"]), 1024);
    }
}

/// The trees have more nested directories than the tool keeps open. In two places, only one of the
/// trees has a deep directory.
#[test]
fn deep_additions_and_removals_are_found() {
    let deep = "d/".repeat(100);
    let fill = |root: &Path| {
        fs::create_dir_all(root.join("both").join(&deep)).unwrap();
        fs::write(root.join("both").join(&deep).join("removed"), "x").unwrap();
        fs::create_dir_all(root.join("removed").join(&deep)).unwrap();
        fs::write(root.join("z"), "x").unwrap();
    };
    let place = Place::new(fill);
    fs::create_dir_all(place.tree().join("added").join(&deep)).unwrap();
    fs::create_dir_all(place.tree().join("both/d/d/e").join(&deep)).unwrap();
    fs::write(place.tree().join("both").join(&deep).join("f"), "x").unwrap();
    place.remove(&format!("both/{deep}removed"));
    place.remove("removed");
    place.write("z", "y");
    place.same_time();
    let names = place.names();
    assert_eq!(names.len(), 1 + 101 + 1 + 100 + 101 + 2 + 1 + 1);
    assert!(names.contains(&".wh.removed".to_owned()), "{names:?}");
    assert!(names.contains(&format!("both/{deep}.wh.removed")), "{names:?}");
    assert_eq!(names.last().map(String::as_str), Some("z"));
}

#[test]
fn a_base_must_be_an_existing_directory() {
    let place = Place::new(ordinary);
    let with = |base: &str| {
        tool("pack-layer").dir(place.scratch.path()).args(["tree", "-o", "out", "--base", base])
    };
    with("missing").run().fails(3, "missing: no such file or directory").stdout("");
    with("tree/a").run().fails(2, "tree/a: not a directory").stdout("");
    with("base").args(["--whiteouts", "keep"]).run().fails(2, "--whiteouts keep and --base");
    assert!(!place.scratch.join("out").exists());
}

/// A layer on top could not hide such a name.
#[test]
fn a_base_with_whiteout_names_is_refused() {
    let place = Place::new(ordinary);
    place.scratch.write("base/etc/.wh.x", "");
    place.pack().args(["-o", "out"]).run().fails(6, "etc/.wh.x: a name that begins with .wh.");
    assert!(!place.scratch.join("out").exists());
}
