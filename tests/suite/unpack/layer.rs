// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: the state of DIR before, during and after a run; descriptor lines; and options.
//! The other files of this folder test the content of layers, including hostile layers, by subject.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tests::images::{Entry, Image, dir, file, gzip, sha256, symlink, tar, whiteout, write_image};
use tests::scratch::{Scratch, list};
use tests::tools::{Command, shell, tool};

/// A directory in which DIR is created, under the name `root`.
struct Place {
    scratch: Scratch,
}

impl Place {
    fn new() -> Place {
        Place { scratch: Scratch::new() }
    }

    fn unpack(&self) -> Command {
        tool("unpack-layer").dir(self.scratch.path()).arg("root")
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

    /// Asserts that neither the tree nor a partial tree exists.
    fn nothing(&self) {
        assert!(!self.scratch.join("root").exists());
        assert!(!self.scratch.join(".root.unpacking").exists());
    }
}

#[test]
fn kept_whiteouts_are_files() {
    let place = Place::new();
    place.scratch.write("layer", tar(&[file("a", ""), whiteout("a")]));
    place.unpack().args(["--whiteouts", "keep", "layer"]).run().ok();
    assert_eq!(place.tree(), [".wh.a", "a"]);
}

#[test]
fn times_are_those_of_the_archive() {
    let place = Place::new();
    place
        .unpack()
        .stdin(tar(&[dir("d"), file("d/f", ""), symlink("d/l", "f"), file("implied/f", "")]))
        .run()
        .ok();
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
    place.unpack().args(["l1", "l2"]).as_unprivileged().run().ok();
    assert_eq!(place.stat("locked").mode() & 0o7777, 0);
    place.unpack().args(["--replace", "l1"]).as_unprivileged().run().ok();
    fs::set_permissions(place.scratch.join("root/locked"), fs::Permissions::from_mode(0o700))
        .unwrap();
    assert_eq!(place.stat("locked/below").mode() & 0o7777, 0o555);
    assert_eq!(place.read("locked/below/f"), "x");
}

#[test]
fn with_a_digest_a_malformed_layer_is_reported_as_a_wrong_digest() {
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
fn a_terminal_as_stdin_is_refused() {
    let place = Place::new();
    // script(1) gives its command a terminal, and returns the command's status.
    let script = "script --quiet --return --command 'unpack-layer root' /dev/null 2>&1";
    let run = shell(script).dir(place.scratch.path()).run();
    run.status(2);
    assert!(run.lines().iter().any(|line| line.contains("a terminal")), "{run}");
    place.nothing();
}

#[test]
fn replacing_a_tree_removes_its_dirty_mark() {
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
fn options_for_descriptor_lines_are_refused_without_from() {
    let place = Place::new();
    place.scratch.write("layer", tar(&[file("a", b"a")]));
    for option in ["--no-config", "--any-type"] {
        place.unpack().args(["layer", option]).run().fails(2, "--from");
    }
    place.nothing();
}

#[test]
fn a_directory_that_is_not_empty_is_refused() {
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
fn onto_applies_to_an_existing_tree_and_marks_an_incomplete_one() {
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
fn a_stale_staging_directory_is_removed_and_a_locked_one_is_kept() {
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

// Descriptor lines.

/// An image of two layers, in a layout next to DIR.
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
fn lines_are_printed_in_order_with_their_diff_ids() {
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
fn the_line_of_the_config_is_required_at_any_position() {
    let place = Place::new();
    let (_, lines) = image(&place);
    let [config, first, second] = &lines[..] else { panic!("three lines") };
    from(&place).stdin([first.as_str(), config, second].concat()).run().ok();
    let unpack = || from(&place).arg("--replace");
    unpack().stdin([first.as_str(), second, config].concat()).run().ok();
    unpack().stdin([first.as_str(), second].concat()).run().fails(6, "no line of an image config");
    unpack().arg("--no-config").stdin([first.as_str(), second].concat()).run().ok();
}

#[test]
fn fewer_more_or_other_layers_than_the_config_lists_leave_nothing() {
    let place = Place::new();
    let (_, lines) = image(&place);
    let [config, first, second] = &lines[..] else { panic!("three lines") };
    let mismatch = "layers from manifest don't match image configuration";
    for (input, words) in [
        (vec![config, first], "got 1 of 2 layers: did the previous command fail?"),
        (vec![config], "got 0 of 2 layers"),
        (vec![config, second, first], mismatch),
        (vec![second, first, config], mismatch),
        (vec![config, first, second, second], mismatch),
    ] {
        let input: String = input.into_iter().map(String::as_str).collect();
        from(&place).stdin(input).run().fails(1, words);
        place.nothing();
    }
    from(&place).run().fails(6, "no input: did the previous command fail?");
    place.nothing();
}

#[test]
fn lines_of_other_types_than_layers_are_refused() {
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
fn a_missing_or_damaged_blob_is_reported() {
    let place = Place::new();
    let (image, lines) = image(&place);
    let blob = place.scratch.join("layout/blobs").join(image.layers[1].digest.replace(':', "/"));
    let mut bytes = fs::read(&blob).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    let hint = "--recheck fetches the blob again";
    from(&place).stdin(lines.concat()).run().fails(1, "digest differs").says(hint);
    fs::remove_file(&blob).unwrap();
    from(&place).stdin(lines.concat()).run().fails(3, &image.layers[1].digest).says("hint: ");
    place.nothing();
}

#[test]
fn a_blob_of_another_size_gives_status_1_and_a_hint() {
    let place = Place::new();
    let (image, lines) = image(&place);
    let blob = place.scratch.join("layout/blobs").join(image.layers[1].digest.replace(':', "/"));
    let size = image.layers[1].bytes.len();
    for torn in [&image.layers[1].bytes[..size - 1], &[&image.layers[1].bytes[..], b"x"].concat()] {
        fs::write(&blob, torn).unwrap();
        let run = from(&place).stdin(lines.concat()).run();
        let words = format!("size differs: got {}, want {size}", torn.len());
        run.fails(1, &words).says("hint: fetch-blob");
        place.nothing();
    }
}

#[test]
fn a_wrong_media_type_causes_a_warning_and_is_refused_by_strict() {
    let place = Place::new();
    let (_, lines) = image(&place);
    let lines = lines.concat().replace("layer.v1.tar+gzip", "layer.v1.tar");
    let run = from(&place).arg("--strict").stdin(lines.clone()).run();
    run.fails(6, "gzip, but its media type is application/vnd.oci.image.layer.v1.tar (--strict)");
    place.nothing();
    from(&place).stdin(lines).run().status(0).says("(2 times)");
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let place = Place::new();
    for flags in [
        &["--replace", "--onto"][..],
        &["--one-file-system"],
        &["--one-file-system", "--replace"],
        &["--no-same-owner", "--uid-map", "0:1:1"],
        &["--no-same-owner", "--gid-map", "0:1:1"],
        &["--uid-map", "0:1"],
        &["--uid-map", "0:0:0"],
        &["--max-size", "x"],
        &["--whiteouts", "none"],
        &["--from", "oci:l", "layer"],
        &["--from", "host/repo"],
        &["-", "-"],
    ] {
        let run = place.unpack().args(flags).stdin(tar(&[file("f", "")])).run();
        run.status(2);
        place.nothing();
    }
}

#[test]
fn a_descriptor_line_instead_of_bytes_is_refused() {
    let place = Place::new();
    let (_, lines) = image(&place);
    place.unpack().stdin(lines.concat()).run().fails(2, "a descriptor line").says("--from");
    place.nothing();
    let run = tool("unpack-layer").dir(Path::new("/")).args(["--replace", "--onto", "x"]).run();
    run.status(2);
}
