// SPDX-License-Identifier: Apache-2.0
//! list-layer: `--extract` finds a file from the top layer down and reads nothing after it.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::fake_registry::FakeRegistry;
use tests::images::{Image, noise};
use tests::layers::{Part, archive, dir, file, hardlink, opaque, symlink, whiteout};
use tests::scratch::Scratch;
use tests::tools::{Run, shell, tool};

/// Extracts a file from layers in files, base first.
fn extract(path: &str, layers: &[&[Part]]) -> Run {
    let scratch = Scratch::new();
    let write = |(i, parts): (usize, &&[Part])| scratch.write(format!("layer{i}"), archive(parts));
    let files: Vec<_> = layers.iter().enumerate().map(write).collect();
    tool("list-layer").args(["--extract", path]).args(files).run()
}

/// Extracts a file of an image in a registry.
fn remote(path: &str, registry: &FakeRegistry, lines: String) -> Run {
    let from = registry.repo("app");
    let args = ["--plain-http", "--max-wait", "0", "--idle-timeout", "5"];
    let args = [&args[..], &["--from", &from, "--extract", path]].concat();
    tool("list-layer").args(args).stdin(lines).run()
}

/// An image of a base, a layer with a file followed by 8 MiB, and a small layer on top.
fn image() -> Image {
    let [base, middle, top] = [
        archive(&[file("etc/base", "base")]),
        archive(&[file("etc/os-release", "NAME=x\n"), file("big", noise(8 << 20, 1))]),
        archive(&[file("etc/motd", "top")]),
    ];
    Image::of_archives(&[base, middle, top], "linux", "amd64")
}

/// The registry sends only the first 200 KB of the layer with the file, and no byte of the base.
/// The run must not need more.
#[test]
fn nothing_after_the_file_is_fetched_and_a_warning_says_that_it_is_not_verified() {
    let image = image();
    let registry = FakeRegistry::start();
    registry.add_image("app", "1", &image);
    let (base, middle) = (image.layers[0].digest.clone(), image.layers[1].digest.clone());
    registry.fault(move |request, right| {
        if request.target.ends_with(&middle) {
            right.stall(200_000)
        } else if request.target.ends_with(&base) {
            right.held()
        } else {
            right
        }
    });
    let run = remote("etc/os-release", &registry, image.lines());
    run.status(0).stdout("NAME=x\n");
    let words = format!("warning: not verified: layer {} was read only", image.layers[1].digest);
    run.says(&words);
    let wanted = [&image.config, &image.layers[2], &image.layers[1]].map(|blob| &blob.digest);
    let got = registry.blob_requests();
    assert_eq!(got.len(), wanted.len());
    for (request, digest) in got.iter().zip(wanted) {
        assert!(request.target.ends_with(digest.as_str()), "{}", request.target);
    }
}

/// fetch-blob is ended by SIGPIPE, because a pipe cannot hold the rest of the layer.
#[test]
fn a_program_that_sends_the_layer_is_stopped_after_the_file() {
    let image = image();
    let registry = FakeRegistry::start();
    registry.add_image("app", "1", &image);
    let script = "{ fetch-blob --plain-http \"$repo\" \"$digest\"; echo $? >status; } | \
        list-layer --extract /etc/os-release && cat status";
    let scratch = Scratch::new();
    let run = shell(script).dir(scratch.path()).env("repo", registry.repo("app"));
    let run = run.env("digest", &*image.layers[1].digest).run();
    run.ok().stdout("NAME=x\n141\n");
}

#[test]
fn a_layer_that_was_read_to_its_end_is_verified() {
    let image = image();
    let registry = FakeRegistry::start();
    registry.add_image("app", "1", &image);
    let top = image.layers[2].digest.clone();
    registry.fault(
        move |request, right| {
            if request.target.ends_with(&top) { right.corrupted() } else { right }
        },
    );
    remote("etc/os-release", &registry, image.lines()).fails(1, "digest differs").stdout("");
    // A layer with the right digest, but another diff ID than the image config has.
    let mut other = image.clone();
    other.diff_ids.swap(1, 2);
    let config = serde_json::json!({"architecture": "amd64", "os": "linux"});
    let other = Image::of_parts(config, other.layers, other.diff_ids);
    let registry = FakeRegistry::start();
    registry.add_image("app", "1", &other);
    let run = remote("etc/os-release", &registry, other.lines());
    run.fails(1, "diff ID differs").stdout("");
}

#[test]
fn missing_layers_are_detected_before_a_layer_is_fetched() {
    let image = image();
    let registry = FakeRegistry::start();
    registry.add_image("app", "1", &image);
    let cut = image.config.line() + &image.layers[0].line();
    remote("etc/base", &registry, cut).fails(1, "got 1 of 3 layers").stdout("");
    assert_eq!(registry.blob_requests().len(), 1);
    let layers: String = image.layers.iter().map(|layer| layer.line()).collect();
    remote("etc/base", &registry, layers.clone()).fails(6, "no line of an image config");
    let more = image.lines() + &image.layers[0].line();
    remote("etc/base", &registry, more).fails(1, "got 4 layers, want 3");
}

#[test]
fn higher_layers_and_their_whiteouts_win() {
    let base: &[Part] = &[dir("d"), file("d/a", "1"), file("d/b", "1"), file("e/f", "1")];
    let hides: &[Part] = &[whiteout("d/a"), opaque("e")];
    let top: &[Part] = &[file("d/b", "3")];
    extract("d/a", &[base, hides]).fails(3, "d/a: not in the image").stdout("");
    extract("e/f", &[base, hides]).fails(3, "not in the image");
    extract("d/b", &[base, hides]).status(0).stdout("1");
    extract("d/b", &[base, hides, top]).status(0).stdout("3");
    extract("d/b", &[base, top, hides]).status(0).stdout("3");
    extract("d/b", &[base, &[whiteout("d")], &[whiteout("x")]]).fails(3, "not in the image");
    extract("e/f", &[base, &[opaque("")]]).fails(3, "not in the image");
    // A whiteout does not hide files of its own layer, before or after it.
    extract("d/b", &[base, &[whiteout("d/b"), file("d/b", "2")]]).status(0).stdout("2");
    extract("d/b", &[base, &[file("d/b", "2"), opaque("d")]]).status(0).stdout("2");
    extract("d", &[base]).fails(3, "a directory, not a regular file");
    extract("d/b/x", &[base]).fails(3, "not in the image").stdout("");
    extract("d/b/x", &[base, &[symlink("d/b", "c")]]).fails(3, "not in the image");
}

#[test]
fn a_directory_of_a_higher_layer_replaces_what_a_lower_one_has() {
    let base: &[Part] = &[file("d/f", "1"), file("g", "1"), symlink("l", "d")];
    extract("l/f", &[base]).status(0).stdout("1");
    extract("l/f", &[base, &[dir("l")]]).fails(3, "l/f: not in the image");
    extract("l", &[base, &[dir("l")]]).fails(3, "l: a directory");
    extract("g", &[base, &[dir("g")]]).fails(3, "g: a directory");
    extract("g", &[base, &[file("g/x", "")]]).fails(3, "g: a directory");
    // The entry `l/x` is in the directory that the link names, so the link stays.
    extract("l/f", &[base, &[file("l/x", "")]]).status(0).stdout("1");
    let replaced: &[Part] = &[symlink("d", "e")];
    extract("d/f", &[base, replaced, &[dir("d")]]).fails(3, "d/f: not in the image");
}

#[test]
fn links_lead_to_any_layer() {
    let base: &[Part] = &[
        file("early", "early"),
        symlink("s", "early"),
        symlink("t", "late"),
        symlink("u", "/d/top"),
        symlink("lib", "usr/lib"),
        file("late", "late"),
        file("usr/lib/x", "x"),
        hardlink("h", "early"),
        hardlink("i", "late"),
    ];
    let top: &[Part] = &[file("d/top", "top"), hardlink("j", "early"), symlink("v", "h")];
    for (path, want) in [
        ("early", "early"),
        ("s", "early"),
        ("t", "late"),
        ("u", "top"),
        ("lib/x", "x"),
        ("h", "early"),
        ("i", "late"),
        ("j", "early"),
        ("v", "early"),
        ("./v", "early"),
    ] {
        extract(path, &[base, top]).status(0).stdout(want);
    }
    // A hard link names the file of its own layer or of a lower one, not a newer file of a higher
    // layer.
    let over: &[Part] = &[file("early", "new")];
    extract("h", &[base, over]).status(0).stdout("early");
    extract("s", &[base, over]).status(0).stdout("new");
    extract("j", &[base, top, over]).status(0).stdout("early");
    extract("a", &[&[symlink("a", "b"), symlink("b", "a")]])
        .fails(6, "a: too many levels of symbolic links");
}

#[test]
fn a_stream_is_read_once() {
    let bytes = archive(&[file("a", "1"), symlink("b", "c"), symlink("d", "a"), file("c", "3")]);
    let run = |path: &str| tool("list-layer").args(["--extract", path]).stdin(bytes.clone()).run();
    run("b").status(0).stdout("3");
    run("d").fails(2, "which cannot be read again").stdout("");
    run("a").ok().stdout("1");
}

/// The search does not read the entries after the file, but it checks every entry before it.
#[test]
fn limits_and_hostile_names_count_before_the_file() {
    let parts: Vec<Part> = (0..10).map(|i| file(format!("f{i}"), "x")).collect();
    let scratch = Scratch::new();
    let layer = scratch.write("layer", archive(&parts));
    let run = |path: &str, max: &str| {
        let args = ["--extract", path, "--max-entries", max];
        tool("list-layer").args(args).arg(&layer).run()
    };
    run("f4", "5").status(0).stdout("x");
    run("f4", "4").fails(6, "more than 4 entries (--max-entries)").stdout("");
    let hostile: &[Part] = &[file("../x", ""), file("f", "")];
    extract("f", &[hostile]).fails(6, "leads out of the root directory").stdout("");
    let after: &[Part] = &[file("f", "1"), file("../x", "")];
    extract("f", &[after]).status(0).stdout("1");
    extract("g", &[after]).fails(6, "leads out of the root directory");
}
