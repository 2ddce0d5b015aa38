// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: what becomes of layers, hostile ones too; what DIR is at every moment; and lines.
//!
//! Each archive is made by the tar crate or by hand. Beside DIR lies a canary that no layer may
//! reach.

// Only what a test function calls is a test to clippy; what these share is not.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tests::images::{
    Entry, Image, dir, file, gzip, hardlink, noise, sha256, symlink, tar, whiteout, write_image,
};
use tests::scratch::{Scratch, list};
use tests::tools::{Command, Run, shell, tool};

/// A directory with a canary in it, and DIR to be made there.
struct Place {
    scratch: Scratch,
}

impl Place {
    fn new() -> Place {
        let scratch = Scratch::new();
        scratch.write("victim/hello", "canary");
        scratch.write("root-evil/secret", "canary");
        Place { scratch }
    }

    fn unpack(&self) -> Command {
        tool("unpack-layer").dir(self.scratch.path()).arg("root")
    }

    /// Unpacks layers, each given by its entries, and then looks at the canary.
    fn layers(&self, layers: &[&[Entry]]) -> Run {
        let names: Vec<String> = (0..layers.len()).map(|i| format!("layer{i}")).collect();
        for (name, entries) in names.iter().zip(layers) {
            self.scratch.write(name, tar(entries));
        }
        let run = self.unpack().args(&names).run();
        for name in &names {
            fs::remove_file(self.scratch.join(name)).unwrap();
        }
        self.canary();
        run
    }

    fn canary(&self) {
        let victim = fs::metadata(self.scratch.join("victim/hello")).unwrap();
        assert_eq!((victim.mode() & 0o7777, victim.nlink()), (0o644, 1));
        assert_eq!(list(&self.scratch.join("victim")), ["hello"]);
        assert_eq!(list(&self.scratch.join("root-evil")), ["secret"]);
        for name in ["victim/hello", "root-evil/secret"] {
            assert_eq!(fs::read(self.scratch.join(name)).unwrap(), b"canary");
        }
    }

    fn tree(&self) -> Vec<String> {
        list(&self.scratch.join("root"))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.scratch.join("root").join(name)).unwrap()
    }

    fn stat(&self, name: &str) -> fs::Metadata {
        fs::symlink_metadata(self.scratch.join("root").join(name)).unwrap()
    }

    /// Nothing of the tree, and nothing half made.
    fn nothing(&self) {
        assert!(!self.scratch.join("root").exists());
        assert!(!self.scratch.join(".root.unpacking").exists());
    }
}

/// Where an entry's header does not say what the tar crate would write.
fn raw(name: &[u8], kind: u8, link: &[u8], data: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_size(data.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), vec![0; 1024]].concat()
}

// Whiteouts.

#[test]
fn whiteouts_hide_lower_files_whatever_the_order() {
    let lower = [dir("d"), file("d/old", "1"), file("d/both", "1"), file("x", "1")];
    let first = [whiteout("d/old"), whiteout("d/both"), file("d/both", "2"), whiteout("x")];
    let last = [file("d/both", "2"), whiteout("x"), whiteout("d/both"), whiteout("d/old")];
    for upper in [first, last] {
        let place = Place::new();
        place.layers(&[&lower, &upper]).ok();
        assert_eq!(place.tree(), ["d/", "d/both"]);
        assert_eq!(place.read("d/both"), "2");
    }
}

#[test]
fn an_opaque_directory_keeps_only_its_own_layers_files() {
    let lower = [dir("a"), dir("a/b"), file("a/b/old", ""), file("a/old", ""), symlink("a/l", "b")];
    let opaque = file("a/.wh..wh..opq", "");
    // "a/b/c" has no entry of its own.
    let new = file("a/b/c/new", "");
    for upper in [[opaque.clone(), new.clone()], [new, opaque]] {
        let place = Place::new();
        place.layers(&[&lower, &upper]).ok();
        assert_eq!(place.tree(), ["a/", "a/b/", "a/b/c/", "a/b/c/new"]);
    }
}

#[test]
fn a_directory_that_is_hidden_and_made_again_inherits_nothing() {
    let lower = [Entry::Dir("d".to_owned(), 0o700), file("d/old", "")];
    for upper in [[whiteout("d"), file("d/new", "")], [file("d/new", ""), whiteout("d")]] {
        let place = Place::new();
        place.layers(&[&lower, &upper]).ok();
        assert_eq!(place.tree(), ["d/", "d/new"]);
        assert_eq!(place.stat("d").mode() & 0o7777, 0o755);
    }
}

#[test]
fn files_that_came_through_a_link_are_spared_where_they_are() {
    let lower = [dir("usr"), dir("usr/lib"), file("usr/lib/old", ""), symlink("lib", "usr/lib")];
    let upper = [file("lib/new", ""), file("usr/lib/.wh..wh..opq", "")];
    let place = Place::new();
    place.layers(&[&lower, &upper]).ok();
    assert_eq!(place.tree(), ["lib", "usr/", "usr/lib/", "usr/lib/new"]);
}

#[test]
fn whiteouts_that_name_nothing_are_refused() {
    for name in [".wh.", ".wh..", "d/.wh...", ".wh.d/f", "d/.wh..wh.opq"] {
        let place = Place::new();
        let bytes = archive(&[raw(b"d/", b'5', b"", b""), raw(name.as_bytes(), b'0', b"", b"")]);
        place.unpack().stdin(bytes).run().fails(6, "whiteout");
        place.nothing();
    }
}

#[test]
fn a_whiteout_is_one_by_its_name_whatever_its_type() {
    let place = Place::new();
    place.scratch.write("lower", tar(&[file("key", "")]));
    place.scratch.write("upper", archive(&[raw(b".wh.key", b'1', b"nothing/there", b"")]));
    place.unpack().args(["lower", "upper"]).run().ok();
    assert!(place.tree().is_empty());
}

#[test]
fn kept_whiteouts_are_files() {
    let place = Place::new();
    place.scratch.write("layer", tar(&[file("a", ""), whiteout("a")]));
    place.unpack().args(["--whiteouts", "keep", "layer"]).run().ok();
    assert_eq!(place.tree(), [".wh.a", "a"]);
}

// Links.

#[test]
fn links_never_lead_out() {
    for target in ["../victim", "/../victim", "../../../../../../victim", "/victim"] {
        let place = Place::new();
        place.layers(&[&[symlink("x", target), file("x/hello", "contained")]]).ok();
        assert_eq!(place.read("victim/hello"), "contained");
    }
}

#[test]
fn a_chain_of_links_never_leads_out() {
    let place = Place::new();
    let entries = [
        dir("inner"),
        symlink("inner/up", ".."),
        symlink("inner/up/escape", "../victim"),
        file("inner/up/escape/new", ""),
    ];
    place.layers(&[&entries]).ok();
    assert!(place.tree().contains(&"victim/new".to_owned()));
}

#[test]
fn a_directory_replaced_by_a_link_is_walked_again() {
    let place = Place::new();
    let entries = [
        dir("foo"),
        file("foo/hello", "1"),
        symlink("foo", "/victim"),
        file("foo/hello", "2"),
        dir("foo"),
        file("foo/hello", "3"),
    ];
    place.layers(&[&entries]).status(0).says("\"foo\": comes twice in a layer, the last one holds");
    assert_eq!(place.read("victim/hello"), "2");
    assert_eq!(place.read("foo/hello"), "3");
}

#[test]
fn a_link_is_replaced_never_written_through() {
    let place = Place::new();
    place
        .layers(&[
            &[symlink("x", "../victim/hello"), symlink("y", "../victim")],
            &[file("x", "new"), Entry::Dir("y".to_owned(), 0o777)],
        ])
        .ok();
    assert!(place.stat("x").is_file());
    assert!(place.stat("y").is_dir());
}

#[test]
fn loops_of_links_are_refused() {
    let place = Place::new();
    let loops = [symlink("a", "b"), symlink("b", "a"), file("a/f", "")];
    place.layers(&[&loops]).fails(6, "entry \"a/f\": too many levels of symbolic links");
    place.nothing();
}

#[test]
fn names_out_of_the_root_are_refused() {
    for name in ["../victim/new", "/../victim/new", "a/../../victim/new", ".."] {
        let place = Place::new();
        place
            .unpack()
            .stdin(archive(&[raw(name.as_bytes(), b'0', b"", b"")]))
            .run()
            .fails(6, "root");
        place.canary();
        place.nothing();
    }
}

#[test]
fn hard_links_share_the_file() {
    let place = Place::new();
    let entries = [file("a", "1"), hardlink("b", "a"), hardlink("c", "/b"), symlink("s", "a")];
    place.layers(&[&entries, &[hardlink("d", "a"), file("a", "2"), hardlink("t", "s")]]).ok();
    assert_eq!((place.read("b"), place.read("a")), ("1".to_owned(), "2".to_owned()));
    assert_eq!(place.stat("b").nlink(), 3);
    assert_eq!(place.stat("t").ino(), place.stat("s").ino());
}

#[test]
fn wrong_hard_links_are_refused() {
    for (link, target, words) in [
        ("h", "missing", "not there"),
        ("h", "../victim/hello", "out of the root"),
        ("h", "../root-evil/secret", "out of the root"),
        ("h", "d", "a directory"),
        ("d/f", "d/f", "itself"),
        ("h", "d/.wh.f", "a whiteout"),
    ] {
        let place = Place::new();
        place.layers(&[&[dir("d"), file("d/f", ""), hardlink(link, target)]]).fails(6, words);
        place.nothing();
    }
}

// Attributes.

#[test]
fn times_are_the_archives() {
    let place = Place::new();
    place.layers(&[&[dir("d"), file("d/f", ""), symlink("d/l", "f"), file("implied/f", "")]]).ok();
    for name in ["d", "d/f", "d/l", "implied/f"] {
        assert_eq!(place.stat(name).mtime(), 1_000_000_000, "{name}");
    }
    for name in ["implied", "."] {
        assert_eq!(
            (place.stat(name).mtime(), place.stat(name).mode() & 0o7777),
            (0, 0o755),
            "{name}"
        );
    }
}

#[test]
fn modes_are_exact_whatever_the_umask() {
    let place = Place::new();
    let entries = [
        Entry::Dir("d".to_owned(), 0o1777),
        Entry::File("d/suid".to_owned(), 0o4755, b"x".to_vec()),
        Entry::Dir("locked".to_owned(), 0o500),
        file("locked/f", ""),
        Entry::File("none".to_owned(), 0, b"x".to_vec()),
    ];
    for umask in ["0077", "0000"] {
        fs::write(place.scratch.join("layer"), tar(&entries)).unwrap();
        let script = format!("umask {umask} && unpack-layer --replace root layer");
        shell(&script).dir(place.scratch.path()).run().ok();
        for (name, mode) in [("d", 0o1777), ("d/suid", 0o4755), ("locked", 0o500), ("none", 0)] {
            assert_eq!(place.stat(name).mode() & 0o7777, mode, "{name}");
        }
    }
}

#[test]
fn an_ordinary_user_gets_the_same_modes() {
    let place = Place::new();
    place.scratch.chmod(".", 0o777);
    let entries = [
        Entry::Dir("locked".to_owned(), 0o000),
        file("locked/f", ""),
        Entry::Dir("locked/below".to_owned(), 0o555),
        file("locked/below/f", "x"),
    ];
    let more = [whiteout("locked/f"), file("locked/below/g", "")];
    for (name, entries) in [("l1", &entries[..]), ("l2", &more[..])] {
        place.scratch.write(name, tar(entries));
    }
    place.unpack().args(["l1", "l2"]).as_nobody().run().ok();
    assert_eq!(place.stat("locked").mode() & 0o7777, 0);
    place.unpack().args(["--replace", "l1"]).as_nobody().run().ok();
    fs::set_permissions(place.scratch.join("root/locked"), fs::Permissions::from_mode(0o700))
        .unwrap();
    assert_eq!(place.stat("locked/below").mode() & 0o7777, 0o555);
    assert_eq!(place.read("locked/below/f"), "x");
}

// Streams.

#[test]
fn all_members_count_and_zeros_after_them() {
    let place = Place::new();
    let layer = tar(&[file("f", noise(300_000, 1))]);
    let (first, second) = layer.split_at(100_001);
    let stored = [gzip(first), gzip(second), vec![0; 512]].concat();
    let run = place.unpack().args(["--digest", &sha256(&stored)]).stdin(stored.clone()).run();
    let lines = run.ok().lines();
    assert!(lines[0].contains(&sha256(&layer)) && lines[0].contains(&sha256(&stored)), "{run}");
    assert_eq!(fs::read(place.scratch.join("root/f")).unwrap(), noise(300_000, 1));
    let place = Place::new();
    place.unpack().stdin([stored, b"junk".to_vec()].concat()).run().fails(6, "trailing data");
    place.nothing();
}

#[test]
fn a_wrong_digest_or_diff_id_leaves_nothing() {
    let layer = gzip(&tar(&[file("f", "x")]));
    for flag in ["--digest", "--diff-id"] {
        let place = Place::new();
        let run = place.unpack().args([flag, &sha256(b"other")]).stdin(layer.clone()).run();
        run.fails(1, "differs: got sha256:").says(&sha256(b"other"));
        place.nothing();
    }
}

#[test]
fn a_wrong_layer_is_that_and_not_malformed() {
    let place = Place::new();
    let digest = sha256(&gzip(&tar(&[file("f", "x")])));
    for wrong in [b"{}".to_vec(), gzip(b"junk"), gzip(&tar(&[file("f", "x")]))[..30].to_vec()] {
        place
            .unpack()
            .args(["--digest", &digest])
            .stdin(wrong.clone())
            .run()
            .fails(1, "digest differs");
        place.unpack().stdin(wrong).run().status(6);
        place.nothing();
    }
}

#[test]
fn a_layer_cut_anywhere_leaves_nothing() {
    let layer = tar(&[file("f", noise(2000, 1)), file("g", "x")]);
    let stored = gzip(&layer);
    for cut in [0, 5, 15, stored.len() / 2, stored.len() - 1] {
        let place = Place::new();
        place.unpack().stdin(&stored[..cut]).run().status(6);
        place.nothing();
    }
    for cut in [100, 600, 1500] {
        let place = Place::new();
        place.unpack().stdin(&layer[..cut]).run().status(6);
        place.nothing();
    }
}

#[test]
fn no_input_is_an_error_unless_nothing_was_asked_for() {
    let place = Place::new();
    place.unpack().run().fails(6, "no input: did the command before it fail?");
    place.nothing();
    place.unpack().args(["--digest", &sha256(b"")]).run().ok();
    assert!(place.tree().is_empty());
}

#[test]
fn a_terminal_is_no_layer() {
    let place = Place::new();
    // script gives its command a terminal of its own, and its status.
    let script = "script --quiet --return --command 'unpack-layer root' /dev/null 2>&1";
    let run = shell(script).dir(place.scratch.path()).run();
    run.status(2);
    assert!(run.lines().iter().any(|line| line.contains("a terminal")), "{run}");
    place.nothing();
}

#[test]
fn a_clean_tree_does_not_inherit_its_forerunners_mark() {
    let place = Place::new();
    let layer = tar(&[file("a", b"a")]);
    place.scratch.write("layer", &layer);
    place.scratch.write("cut", &layer[..700]);
    place.unpack().arg("layer").run().status(0);
    place.unpack().args(["cut", "--onto"]).run().status(6);
    place.unpack().args(["layer", "--onto"]).run().fails(7, "dirty");
    place.unpack().args(["layer", "--replace"]).run().status(0);
    place.unpack().args(["layer", "--onto"]).run().status(0);
}

#[test]
fn options_of_lines_are_refused_without_lines() {
    let place = Place::new();
    place.scratch.write("layer", tar(&[file("a", b"a")]));
    for option in ["--no-config", "--any-type"] {
        place.unpack().args(["layer", option]).run().fails(2, "--from");
    }
    place.nothing();
}

#[test]
fn limits_hold() {
    let layer = gzip(&tar(&[file("zeros", vec![0; 1 << 20]), file("f", "")]));
    for (flag, limit, words) in
        [("--max-size", "1M", "--max-size"), ("--max-entries", "1", "--max-entries")]
    {
        let place = Place::new();
        place.unpack().args([flag, limit]).stdin(layer.clone()).run().fails(6, words);
        place.nothing();
    }
    let place = Place::new();
    place.unpack().args(["--max-size", "2M", "--max-entries", "2"]).stdin(layer).run().ok();
}

// DIR.

#[test]
fn a_directory_with_something_in_it_is_refused() {
    let place = Place::new();
    place.scratch.write("root/kept", "");
    let run = place.unpack().stdin(tar(&[file("f", "")])).run();
    run.fails(7, "root: not empty").says("--replace").says("--onto");
    assert_eq!(place.tree(), ["kept"]);
}

#[test]
fn replacing_is_all_or_nothing() {
    let place = Place::new();
    place.scratch.write("root/old", "");
    place.unpack().arg("--replace").stdin("junk").run().fails(6, "not a tar archive");
    assert_eq!(place.tree(), ["old"]);
    place.unpack().arg("--replace").stdin(tar(&[file("new", "")])).run().ok();
    assert_eq!(place.tree(), ["new"]);
    assert!(!place.scratch.join(".root.unpacking").exists());
}

#[test]
fn onto_applies_to_what_is_there_and_marks_what_was_cut_short() {
    let place = Place::new();
    place.scratch.write("root/d/old", "");
    place.scratch.write("root/x", "");
    let layer = tar(&[whiteout("x"), file("d/new", "")]);
    place.unpack().arg("--onto").stdin(layer.clone()).run().ok();
    assert_eq!(place.tree(), ["d/", "d/new", "d/old"]);
    assert!(!place.scratch.join(".root.dirty").exists());
    place.unpack().arg("--onto").stdin(&layer[..600]).run().status(6);
    assert!(place.scratch.join(".root.dirty").exists());
    place.unpack().arg("--onto").stdin(layer).run().fails(7, "dirty");
}

#[test]
fn a_stale_staging_directory_goes_and_a_held_one_is_respected() {
    let place = Place::new();
    place.scratch.write(".root.unpacking/half/made", "");
    place.unpack().stdin(tar(&[file("f", "")])).run().ok();
    assert_eq!(place.tree(), ["f"]);
    fs::remove_dir_all(place.scratch.join("root")).unwrap();
    place.scratch.write(".root.unpacking/half/made", "");
    let staging = fs::File::open(place.scratch.join(".root.unpacking")).unwrap();
    staging.lock().unwrap();
    place.unpack().stdin(tar(&[file("f", "")])).run().fails(7, "another run");
    assert!(place.scratch.join(".root.unpacking/half/made").exists());
}

#[test]
fn very_deep_trees_are_made_hidden_and_removed() {
    let place = Place::new();
    let deep = "d/".repeat(3000);
    let mut header = Vec::new();
    let record = format!(" path={deep}f\n");
    write!(header, "{}{record}", record.len() + 4).unwrap();
    let layer = archive(&[raw(b"x", b'x', b"", &header), raw(b"f", b'0', b"", b"")]);
    place.scratch.write("lower", layer);
    place.scratch.write("upper", tar(&[whiteout("d"), file("f", "")]));
    place.unpack().arg("lower").run().ok();
    place.unpack().args(["--replace", "lower", "upper"]).run().ok();
    assert_eq!(place.tree(), ["f"]);
    assert!(!place.scratch.join(".root.unpacking").exists());
}

// Lines.

/// An image of two layers in a layout beside DIR.
fn image(place: &Place) -> (Image, Vec<String>) {
    let image = Image::new(&[&[file("a", ""), file("b", "")], &[whiteout("a"), file("c", "")]]);
    write_image(&place.scratch.join("layout"), "t", &image);
    let lines = image.lines().lines().map(|line| format!("{line}\n")).collect();
    (image, lines)
}

fn from(place: &Place) -> Command {
    place.unpack().args(["--from", "oci:layout"])
}

#[test]
fn lines_come_out_in_order_with_their_diff_ids() {
    let place = Place::new();
    let (image, lines) = image(&place);
    let run = from(&place).stdin(lines.concat()).run();
    let out = run.ok().lines();
    assert_eq!(out.len(), 3);
    assert_eq!(format!("{}\n", out[0]), lines[0]);
    for (line, diff_id) in out[1..].iter().zip(&image.diff_ids) {
        assert!(line.contains(&format!("\"containerd.io/uncompressed\":\"{diff_id}\"")), "{line}");
    }
    assert_eq!(place.tree(), ["b", "c"]);
}

#[test]
fn the_configs_line_may_come_anywhere_but_must_come() {
    let place = Place::new();
    let (_, lines) = image(&place);
    let [config, first, second] = &lines[..] else { panic!("three lines") };
    from(&place).stdin([first.as_str(), config, second].concat()).run().ok();
    let unpack = || from(&place).arg("--replace");
    unpack().stdin([first.as_str(), second, config].concat()).run().ok();
    unpack().stdin([first.as_str(), second].concat()).run().fails(6, "no image config came");
    unpack().arg("--no-config").stdin([first.as_str(), second].concat()).run().ok();
}

#[test]
fn fewer_more_or_other_layers_than_the_config_lists_leave_nothing() {
    let place = Place::new();
    let (_, lines) = image(&place);
    let [config, first, second] = &lines[..] else { panic!("three lines") };
    let mismatch = "layers from manifest don't match image configuration";
    for (input, words) in [
        (vec![config, first], "1 of 2 layers came: did the command before it fail?"),
        (vec![config], "0 of 2 layers came"),
        (vec![config, second, first], mismatch),
        (vec![second, first, config], mismatch),
        (vec![config, first, second, second], mismatch),
    ] {
        let input: String = input.into_iter().map(String::as_str).collect();
        from(&place).stdin(input).run().fails(1, words);
        place.nothing();
    }
    from(&place).run().fails(6, "no input: did the command before it fail?");
    place.nothing();
}

#[test]
fn lines_that_are_no_layers_are_refused() {
    let place = Place::new();
    let (image, lines) = image(&place);
    from(&place)
        .stdin(image.manifest.line())
        .run()
        .fails(6, "a manifest")
        .says("hint: ")
        .says("-p");
    let other = lines[1].replace("image.layer.v1.tar+gzip", "other");
    from(&place)
        .stdin([&lines[0], &other].map(String::as_str).concat())
        .run()
        .fails(6, "--any-type");
    place.nothing();
    from(&place)
        .arg("--any-type")
        .stdin([&lines[0], &other, &lines[2]].map(String::as_str).concat())
        .run()
        .ok();
}

#[test]
fn a_blob_that_is_absent_or_wrong_is_told() {
    let place = Place::new();
    let (image, lines) = image(&place);
    let blob = place.scratch.join("layout/blobs").join(image.layers[1].digest.replace(':', "/"));
    let mut bytes = fs::read(&blob).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    from(&place).stdin(lines.concat()).run().fails(1, "digest differs");
    fs::remove_file(&blob).unwrap();
    from(&place).stdin(lines.concat()).run().fails(3, &image.layers[1].digest).says("hint: ");
    place.nothing();
}

#[test]
fn a_line_where_bytes_are_wanted_is_refused() {
    let place = Place::new();
    let (_, lines) = image(&place);
    place.unpack().stdin(lines.concat()).run().fails(2, "a descriptor line").says("--from");
    place.nothing();
    let run = tool("unpack-layer").dir(Path::new("/")).args(["--replace", "--onto", "x"]).run();
    run.status(2);
}
