// SPDX-License-Identifier: Apache-2.0
//! fetch-manifest --into: a name of the layout that moves to another image.

#![allow(clippy::unwrap_used)]

use tests::commands::{fetch_blob, fetch_manifest};
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, dir, file, read_index};
use tests::scratch::Scratch;
use tests::tools::{Run, tool};

/// Two images of two repositories, with the same tag.
struct Two {
    registry: FakeRegistry,
    scratch: Scratch,
    first: Image,
    second: Image,
}

impl Two {
    fn new() -> Two {
        let (first, second) = (Image::small(), Image::new(&[&[dir("d"), file("d/f", "second")]]));
        let registry = FakeRegistry::start();
        registry.add_image("first", "1", &first);
        registry.add_image("second", "1", &second);
        Two { registry, scratch: Scratch::new(), first, second }
    }

    fn fetch(&self, repository: &str, options: &[&str]) -> Run {
        let image = format!("{}:1", self.registry.repo(repository));
        let fetch = fetch_manifest().args([&image, "--into", "oci:l"]).args(options);
        fetch.dir(self.scratch.path()).run()
    }

    /// Stores the blobs of an image, so that it gets its name.
    fn complete(&self, repository: &str, image: &Image) {
        let fetch = fetch_blob().args([&self.registry.repo(repository), "--into", "oci:l"]);
        fetch.stdin(image.lines()).dir(self.scratch.path()).run().ok().silent();
    }

    fn named(&self) -> String {
        let index = read_index(&self.scratch.join("l"));
        index["manifests"][0]["digest"].as_str().unwrap().to_owned()
    }

    /// The warning that the name moves.
    fn moves(&self) -> String {
        let (old, new) = (&self.first.manifest.digest, &self.second.manifest.digest);
        format!("fetch-manifest: warning: oci:l: the name \"1\" moves from {old} to {new}\n")
    }
}

#[test]
fn a_name_that_moves_to_another_image_is_reported_once() {
    let two = Two::new();
    two.fetch("first", &[]).ok().silent();
    two.complete("first", &two.first);
    // If the image is the same, the name does not move.
    two.fetch("first", &[]).ok().silent();
    let run = two.fetch("second", &[]);
    assert_eq!(run.status(0).stderr, two.moves());
    // The name moves when the new image is complete.
    assert_eq!(two.named(), two.first.manifest.digest);
    two.complete("second", &two.second);
    assert_eq!(two.named(), two.second.manifest.digest);
}

#[test]
fn a_move_is_not_reported_if_it_is_expected_or_nothing_is_to_be_reported() {
    for options in [["-q"], ["--if-changed"]] {
        let two = Two::new();
        two.fetch("first", &[]).ok().silent();
        two.complete("first", &two.first);
        two.fetch("second", &options).ok().silent();
    }
}

#[test]
fn another_name_is_no_move() {
    let two = Two::new();
    two.fetch("first", &[]).ok();
    two.complete("first", &two.first);
    let image = format!("{}:1", two.registry.repo("second"));
    let fetch = fetch_manifest().args([&image, "--into", "oci:l:other"]);
    fetch.dir(two.scratch.path()).run().ok().silent();
}

/// put-manifest does not report that the name moves, because its command line has the tag.
#[test]
fn put_manifest_moves_a_name_silently() {
    let two = Two::new();
    for (repository, image) in [("first", &two.first), ("second", &two.second)] {
        two.fetch(repository, &["-q"]).ok();
        two.complete(repository, image);
        let put = tool("put-manifest").arg("oci:l:latest").stdin(image.manifest.bytes.clone());
        put.dir(two.scratch.path()).run().ok().silent();
    }
}
