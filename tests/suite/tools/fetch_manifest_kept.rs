// SPDX-License-Identifier: Apache-2.0
//! fetch-manifest --into a layout that has the manifest already. If a digest is requested, the
//! stored manifest is used if the layout's record says that the repository has it, or if the
//! registry confirms this.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tests::commands::fetch_manifest;
use tests::fake::Reply;
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, index, read_blob, types, write_image};
use tests::scratch::Scratch;
use tests::tools::{Command, tool};

/// A registry and a layout that both have an image. The layout has no record of repositories.
fn start() -> (FakeRegistry, Scratch, Image) {
    let registry = FakeRegistry::with_image();
    let scratch = Scratch::new();
    let image = Image::small();
    write_image(&scratch.join("l"), "1", &image);
    (registry, scratch, image)
}

/// Fetches the image of a repository by its digest.
fn fetch(registry: &FakeRegistry, repository: &str, image: &Image, scratch: &Scratch) -> Command {
    let reference = format!("{}@{}", registry.repo(repository), image.manifest.digest);
    fetch_manifest().args([&reference, "--into", "oci:l"]).dir(scratch.path())
}

fn steps(registry: &FakeRegistry) -> Vec<String> {
    let methods = registry.server.requests().into_iter().map(|request| request.method);
    let methods = methods.collect();
    registry.server.forget();
    methods
}

/// The record of the repositories of a manifest.
fn record(scratch: &Scratch, image: &Image) -> Value {
    let text = fs::read(scratch.join("l/distribution-sources")).unwrap_or_default();
    let record: Value = serde_json::from_slice(&text).unwrap_or_default();
    record[&image.manifest.digest].clone()
}

#[test]
fn a_repository_that_confirms_the_manifest_is_recorded_and_not_asked_again() {
    let (registry, scratch, image) = start();
    fetch(&registry, "app", &image, &scratch).run().ok().stdout(&image.manifest.bytes);
    assert_eq!(steps(&registry), ["HEAD"]);
    assert_eq!(record(&scratch, &image), json!({registry.host(): "app"}));
    fetch(&registry, "app", &image, &scratch).run().ok().stdout(&image.manifest.bytes);
    assert_eq!(steps(&registry), Vec::<String>::new());
    // Another repository has to confirm that it has the manifest.
    registry.add_image("other", "1", &image);
    fetch(&registry, "other", &image, &scratch).run().ok().stdout(&image.manifest.bytes);
    assert_eq!(steps(&registry), ["HEAD"]);
    assert_eq!(record(&scratch, &image), json!({registry.host(): "app,other"}));
}

#[test]
fn a_recorded_manifest_needs_no_registry() {
    let (registry, scratch, image) = start();
    fetch(&registry, "app", &image, &scratch).run().ok();
    registry.fault(|_, _| Reply::error(503, "UNAVAILABLE", "down"));
    fetch(&registry, "app", &image, &scratch).run().ok().stdout(&image.manifest.bytes);
    fetch(&registry, "other", &image, &scratch).run().fails(5, "503").stdout("");
}

#[test]
fn a_manifest_that_the_repository_never_had_is_not_served() {
    let (registry, scratch, image) = start();
    registry.add_image("other", "1", &Image::big(10, 1));
    let before = record(&scratch, &image);
    for repository in ["other", "none"] {
        fetch(&registry, repository, &image, &scratch).run().fails(3, "404").stdout("");
        assert_eq!(record(&scratch, &image), before);
    }
    registry.fault(|_, _| Reply::error(403, "DENIED", "denied"));
    fetch(&registry, "app", &image, &scratch).run().fails(4, "403").stdout("");
    // A response to HEAD that names another manifest confirms nothing.
    registry.fault(|_, right| {
        let digest = format!("sha256:{}", "0".repeat(64));
        right.without("docker-content-digest").header("Docker-Content-Digest", digest)
    });
    registry.server.forget();
    fetch(&registry, "app", &image, &scratch).run().status(0).stdout(&image.manifest.bytes);
    assert_eq!(steps(&registry), ["HEAD", "GET"]);
}

/// A tag may have moved, so it is always resolved by the registry. The manifests below its index
/// are not fetched again.
#[test]
fn a_tag_is_resolved_and_the_manifests_of_its_index_are_kept() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "", &image);
    registry.add_manifest("app", "1", &index(types::INDEX, &[(&image.manifest, "linux/amd64")]));
    let scratch = Scratch::new();
    let fetch = || {
        let reference = format!("{}:1", registry.repo("app"));
        let command = fetch_manifest().args(["-p", "linux/amd64", &reference]);
        command.args(["--into", "oci:l"]).dir(scratch.path()).run()
    };
    for requests in [2, 1] {
        fetch().ok().stdout(&image.manifest.bytes);
        assert_eq!(steps(&registry), vec!["GET"; requests]);
    }
}

/// If the stored manifest has any fault, the registry's manifest is used and replaces it.
#[test]
fn a_local_problem_never_makes_a_fetch_fail() {
    type Damage = fn(&std::path::Path, &[u8]);
    let damages: [(&str, Damage); 5] = [
        ("empty", |path, _| fs::write(path, "").unwrap()),
        ("changed", |path, bytes| fs::write(path, bytes.to_ascii_uppercase()).unwrap()),
        ("too large", |path, _| fs::write(path, vec![b' '; (4 << 20) + 1]).unwrap()),
        ("no permission", |path, _| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        }),
        ("missing", |path, _| fs::remove_file(path).unwrap()),
    ];
    for (what, damage) in damages {
        let (registry, scratch, image) = start();
        fetch(&registry, "app", &image, &scratch).run().ok();
        steps(&registry);
        let path = scratch.join("l/blobs").join(image.manifest.digest.replace(':', "/"));
        damage(&path, &image.manifest.bytes);
        fetch(&registry, "app", &image, &scratch).run().ok().stdout(&image.manifest.bytes);
        // Root may read every file.
        if what != "no permission" {
            assert_eq!(steps(&registry), ["GET"], "{what}");
        }
        let stored = read_blob(&scratch.join("l"), &image.manifest.digest);
        assert!(stored == Some(image.manifest.bytes), "{what}");
    }
    // If the record cannot be used, the repository is asked.
    for text in ["", "{", "[]", "\u{0}"] {
        let (registry, scratch, image) = start();
        fs::write(scratch.join("l/distribution-sources"), text).unwrap();
        fetch(&registry, "app", &image, &scratch).run().ok().stdout(&image.manifest.bytes);
        assert_eq!(steps(&registry), ["HEAD"], "{text}");
    }
}

#[test]
fn a_record_that_cannot_be_written_is_a_warning() {
    let (registry, scratch, image) = start();
    fs::create_dir(scratch.join("l/distribution-sources")).unwrap();
    let run = fetch(&registry, "app", &image, &scratch).run();
    run.status(0).stdout(&image.manifest.bytes).says("fetch-manifest: warning: ");
}

#[test]
fn another_media_type_than_the_wanted_one_is_not_kept() {
    let (registry, scratch, image) = start();
    let run = fetch(&registry, "app", &image, &scratch).args(["--media-type", types::INDEX]).run();
    run.fails(3, "404").stdout("");
    assert_eq!(steps(&registry), ["GET"]);
}

#[test]
fn a_layout_that_cannot_be_written_gives_status_7_and_no_output() {
    let (registry, scratch, image) = start();
    fs::remove_dir_all(scratch.join("l/blobs")).unwrap();
    fs::write(scratch.join("l/blobs"), "").unwrap();
    fetch(&registry, "app", &image, &scratch).run().fails(7, "not a directory").stdout("");
    tool("fetch-manifest").arg("oci:l:1").dir(scratch.path()).run().status(7).stdout("");
}
