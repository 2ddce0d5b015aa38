// SPDX-License-Identifier: Apache-2.0
//! The message about a failed blob names the store that the blob is from.

#![allow(clippy::unwrap_used)]

use std::fs;

use tests::commands::{fetch_blob, plain, push_blob};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, gzip, write_image};
use tests::scratch::Scratch;
use tests::tools::{Run, tool};

/// A registry and a layout that have other bytes for the layer of an image.
struct Wrong {
    registry: FakeRegistry,
    scratch: Scratch,
    layer: Blob,
}

impl Wrong {
    fn new() -> Wrong {
        let (registry, scratch, image) = (FakeRegistry::start(), Scratch::new(), Image::small());
        let layer = image.layers[0].clone();
        // A complete gzip member, so that only the digest is wrong.
        let other = gzip(&vec![0; 1024]);
        registry.add_blob_as("app", &layer.digest, other.clone());
        write_image(&scratch.join("l"), "1", &image);
        let hex = layer.digest.split_once(':').unwrap().1;
        fs::write(scratch.join("l/blobs/sha256").join(hex), &other).unwrap();
        let layer = Blob { bytes: other, ..layer };
        Wrong { registry, scratch, layer }
    }

    /// The descriptor line, with the size of the wrong bytes.
    fn line(&self) -> String {
        let Blob { media_type, digest, bytes } = &self.layer;
        let size = bytes.len();
        format!("{{\"mediaType\":\"{media_type}\",\"digest\":\"{digest}\",\"size\":{size}}}\n")
    }
}

#[track_caller]
fn names(run: &Run, store: &str) {
    run.fails(1, "digest differs");
    let (_, message) = run.stderr.split_once(": ").unwrap();
    assert!(message.starts_with(store), "{store}: {run}");
}

#[test]
fn wrong_bytes_of_a_registry_name_it() {
    let wrong = Wrong::new();
    let repo = wrong.registry.repo("app");
    let dir = wrong.scratch.path();
    let digest = &wrong.layer.digest;
    names(&fetch_blob().args([&repo, digest]).run(), &repo);
    names(&fetch_blob().args([&repo, digest, "-o", "f"]).dir(dir).run(), &repo);
    let into = |name: &str| plain(name).stdin(wrong.line()).dir(dir);
    names(&into("fetch-blob").args([&repo, "--into", "oci:d"]).run(), &repo);
    names(&push_blob().args(["oci:d", "--from", &repo]).stdin(wrong.line()).dir(dir).run(), &repo);
    names(&into("list-layer").args(["--from", &repo]).run(), &repo);
}

#[test]
fn wrong_bytes_of_a_layout_name_it() {
    let wrong = Wrong::new();
    let dir = wrong.scratch.path();
    names(&tool("fetch-blob").args(["oci:l", &wrong.layer.digest]).dir(dir).run(), "oci:l");
    let run = |args: &[&str]| tool(args[0]).args(&args[1..]).stdin(wrong.line()).dir(dir).run();
    names(&run(&["fetch-blob", "oci:l", "--into", "oci:d"]), "oci:l");
    names(&run(&["push-blob", "oci:d", "--from", "oci:l"]), "oci:l");
    names(&run(&["verify-digest", "--from", "oci:l"]), "oci:l");
    names(&run(&["list-layer", "--from", "oci:l"]), "oci:l");
    let unpack = run(&["unpack-layer", "--no-config", "--from", "oci:l", "r"]);
    names(&unpack, "layer oci:l");
    unpack.says("hint: fetch-blob STORE --into oci:l --recheck fetches the blob again\n");
}

/// An error about the target does not name the source, and an error about the source does not name
/// the target.
#[test]
fn a_target_that_stored_other_bytes_is_not_taken_for_the_source() {
    let target = FakeRegistry::start();
    let scratch = Scratch::new();
    let image = Image::small();
    write_image(&scratch.join("l"), "1", &image);
    target.fault(|request, right| match request.method.as_str() {
        "PUT" => right.without("Docker-Content-Digest").header(
            "Docker-Content-Digest",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        _ => right,
    });
    let run = push_blob()
        .args([&target.repo("app"), "--from", "oci:l"])
        .stdin(image.config.line())
        .dir(scratch.path())
        .run();
    run.fails(1, "the registry stored").does_not_say("oci:l");
}
