// SPDX-License-Identifier: Apache-2.0
//! fetch-manifest --if-changed: if the layout has the image already, the tool does nothing and ends
//! with status 8.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use serde_json::json;
use tests::commands::{fetch_blob, fetch_manifest};
use tests::fake::Reply;
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, file, index, read_index, types, write_image};
use tests::scratch::Scratch;
use tests::tools::{Run, shell};

/// A registry that has an image as `app:1`, and a layout that has the image too.
fn pulled() -> (FakeRegistry, Scratch, Image) {
    let registry = FakeRegistry::with_image();
    let scratch = Scratch::new();
    let image = Image::small();
    write_image(&scratch.join("l"), "1", &image);
    (registry, scratch, image)
}

fn newer() -> Image {
    Image::new(&[&[file("new", "n")]])
}

fn fetch(registry: &FakeRegistry, scratch: &Scratch, more: &[&str]) -> Run {
    let reference = format!("{}:1", registry.repo("app"));
    let command = fetch_manifest().args(["--if-changed", &reference, "--into", "oci:l"]);
    command.args(more).dir(scratch.path()).run()
}

fn methods(registry: &FakeRegistry) -> Vec<String> {
    let methods = registry.server.requests().into_iter().map(|request| request.method).collect();
    registry.server.forget();
    methods
}

/// Every file below a directory, with its content.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let names = tests::scratch::list(dir).into_iter().filter(|name| !name.ends_with('/'));
    names.map(|name| (name.clone(), fs::read(dir.join(name)).unwrap())).collect()
}

#[test]
fn nothing_new_is_status_8_after_one_head_request() {
    let (registry, scratch, _) = pulled();
    fs::write(scratch.join("m"), "old").unwrap();
    let before = files(scratch.path());
    for more in [&[][..], &["--digest"], &["--descriptor"], &["-o", "m"], &["-q"]] {
        fetch(&registry, &scratch, more).status(8).silent().stdout("");
        assert_eq!(methods(&registry), ["HEAD"]);
        assert!(files(scratch.path()) == before);
    }
    // If the registry does not support HEAD, the tool sends GET.
    registry.fault(|request, right| if request.method == "HEAD" { Reply::new(405) } else { right });
    fetch(&registry, &scratch, &[]).status(8).silent().stdout("");
    assert!(files(scratch.path()) == before);
}

#[test]
fn a_tag_that_moved_is_fetched() {
    let (registry, scratch, old) = pulled();
    let new = newer();
    registry.add_image("app", "1", &new);
    // The new image counts as new until the layout has all its blobs.
    for _ in 0..2 {
        fetch(&registry, &scratch, &[]).ok().stdout(&new.manifest.bytes);
    }
    let into = [&registry.repo("app"), "--into", "oci:l"];
    fetch_blob().args(into).stdin(new.lines()).dir(scratch.path()).run().ok();
    fetch(&registry, &scratch, &[]).status(8).silent();
    // The tag moves back to the old image, which the layout still has.
    registry.add_image("app", "1", &old);
    fetch(&registry, &scratch, &[]).ok().stdout(&old.manifest.bytes);
    fetch(&registry, &scratch, &[]).status(8).silent();
}

#[test]
fn an_image_that_is_missing_or_incomplete_or_has_another_name_is_fetched() {
    let (registry, scratch, image) = pulled();
    fetch(&registry, &scratch, &["--into", "oci:l"]).status(8).silent();
    let reference = format!("{}:1", registry.repo("app"));
    for into in ["oci:l:other", "oci:new"] {
        let command = fetch_manifest().args(["--if-changed", &reference, "--into", into]);
        command.dir(scratch.path()).run().ok().stdout(&image.manifest.bytes);
    }
    for blob in image.blobs().chain([&image.manifest]) {
        fs::remove_file(scratch.join("l/blobs").join(blob.digest.replace(':', "/"))).unwrap();
        fetch(&registry, &scratch, &[]).ok().stdout(&image.manifest.bytes);
        write_image(&scratch.join("copy"), "1", &image);
        let name = blob.digest.replace(':', "/");
        fs::copy(scratch.join("copy/blobs").join(&name), scratch.join("l/blobs").join(&name))
            .unwrap();
    }
    fetch(&registry, &scratch, &[]).status(8).silent();
}

#[test]
fn a_platform_is_compared_after_it_was_picked() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "", &image);
    registry.add_manifest("app", "1", &index(types::INDEX, &[(&image.manifest, "linux/amd64")]));
    let scratch = Scratch::new();
    let platform = ["-p", "linux/amd64"];
    fetch(&registry, &scratch, &platform).ok().stdout(&image.manifest.bytes);
    let into = [&registry.repo("app"), "--into", "oci:l"];
    fetch_blob().args(into).stdin(image.lines()).dir(scratch.path()).run().ok();
    methods(&registry);
    fetch(&registry, &scratch, &platform).status(8).silent().stdout("");
    // Only the index was fetched.
    assert_eq!(methods(&registry), ["GET"]);
}

#[test]
fn a_digest_without_a_name_is_there_if_it_has_an_entry() {
    let (registry, scratch, image) = pulled();
    let reference = format!("{}@{}", registry.repo("app"), image.manifest.digest);
    let command = || {
        let command = fetch_manifest().args(["--if-changed", &reference, "--into", "oci:l"]);
        command.dir(scratch.path()).run()
    };
    command().status(8).silent();
    let index = json!({"schemaVersion": 2, "manifests": []});
    fs::write(scratch.join("l/index.json"), index.to_string()).unwrap();
    command().ok();
    command().status(8).silent();
}

#[test]
fn an_error_is_never_status_8() {
    for (reply, status) in [
        (Reply::error(404, "MANIFEST_UNKNOWN", "unknown"), 3),
        (Reply::error(403, "DENIED", "denied"), 4),
        (Reply::error(503, "UNAVAILABLE", "down"), 5),
        (Reply::ok("{}"), 6),
    ] {
        let (registry, scratch, _) = pulled();
        registry.fault(move |_, _| reply.clone());
        fetch(&registry, &scratch, &[]).fails(status, "").stdout("");
    }
    let registry = FakeRegistry::with_image();
    let reference = format!("{}:1", registry.repo("app"));
    fetch_manifest().args(["--if-changed", &reference]).run().fails(2, "--into");
}

/// An interrupted update is abandoned if the tag moves back to the image that the layout has.
#[test]
fn an_interrupted_update_ends_when_nothing_is_new_any_more() {
    let (registry, scratch, old) = pulled();
    let new = newer();
    registry.add_image("app", "1", &new);
    fetch(&registry, &scratch, &[]).ok();
    registry.add_image("app", "1", &old);
    fetch(&registry, &scratch, &[]).status(8).silent();
    let into = [&registry.repo("app"), "--into", "oci:l"];
    fetch_blob().args(into).stdin(new.lines()).dir(scratch.path()).run().ok();
    assert_eq!(read_index(&scratch.join("l"))["manifests"][0]["digest"], old.manifest.digest);
}

/// The command line of the manual. Its status is 0 for a new image, 8 if nothing changed, and
/// another status for an error.
#[test]
fn pulling_if_newer_is_one_line_with_a_status() {
    let registry = FakeRegistry::with_image();
    let scratch = Scratch::new();
    let pull = || {
        let script = "fetch-manifest --if-changed $REPO:1 --into oci:l >m &&
            list-blobs m | fetch-blob --max-wait 0 $REPO --into oci:l |
            unpack-layer --replace --from oci:l root >lines";
        shell(script).env("REPO", registry.repo("app")).dir(scratch.path()).run()
    };
    pull().status(0);
    pull().status(8).silent();
    let new = newer();
    registry.add_image("app", "1", &new);
    registry.remove_blob("app", &new.layers[0].digest);
    for _ in 0..2 {
        let run = pull();
        run.says("fetch-blob: ");
        // The status depends on whether the config arrived before the error: either a layer is
        // missing, or unpack-layer has no input.
        assert!(matches!(run.code(), Some(1 | 6)), "{run}");
        assert!(scratch.join("root/etc/motd").exists());
    }
    registry.add_image("app", "1", &new);
    pull().status(0);
    assert_eq!(fs::read_to_string(scratch.join("root/new")).unwrap(), "n");
    pull().status(8).silent();
}
