// SPDX-License-Identifier: Apache-2.0
//! The entry of an index that is chosen for a platform, if entries state no platform or only a part
//! of it.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::commands::{fetch_manifest, plain};
use tests::fake::Reply;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, index, types, write_image, write_layout};
use tests::scratch::Scratch;
use tests::tools::{Run, tool};

/// A registry with images for these platforms, and their manifests.
fn registry_with(platforms: &[&str]) -> (FakeRegistry, Vec<Image>) {
    let registry = FakeRegistry::start();
    let images = platforms.iter().map(|platform| {
        let (os, architecture) = platform.split_once('/').unwrap();
        Image::for_platform(os, architecture)
    });
    let images: Vec<_> = images.collect();
    images.iter().for_each(|image| registry.add_image("app", "", image));
    (registry, images)
}

/// An index of these entries.
fn index_of(entries: &[Value]) -> Blob {
    let document = json!({"schemaVersion": 2, "mediaType": types::INDEX, "manifests": entries});
    Blob::json(types::INDEX, &document)
}

/// An entry with a platform.
fn entry(image: &Image, platform: Value) -> Value {
    let mut entry = image.manifest.descriptor();
    entry["platform"] = platform;
    entry
}

fn pick(registry: &FakeRegistry, platform: &str, top: &Blob) -> Run {
    registry.add_manifest("app", "1", top);
    registry.server.forget();
    fetch_manifest().args(["-p", platform, &format!("{}:1", registry.repo("app"))]).run()
}

fn blobs_asked(registry: &FakeRegistry) -> usize {
    registry.server.requests().iter().filter(|request| request.is_blob()).count()
}

#[test]
fn an_entry_without_a_platform_is_judged_by_its_config() {
    let (registry, images) = registry_with(&["linux/arm64", "linux/amd64"]);
    let top = index(types::INDEX, &[(&images[0].manifest, ""), (&images[1].manifest, "")]);
    pick(&registry, "linux/amd64", &top).ok().stdout(&images[1].manifest.bytes);
    pick(&registry, "linux/arm64/v8", &top).ok().stdout(&images[0].manifest.bytes);
    let run = pick(&registry, "linux/s390x", &top);
    run.fails(3, "no manifest for linux/s390x").says("linux/arm64, linux/amd64").stdout("");
    // An empty or incomplete platform counts as no platform.
    let parts = [json!({}), json!({"os": "linux", "architecture": ""}), json!({"os": "linux"})];
    for platform in parts {
        let top = index_of(&[entry(&images[1], platform)]);
        pick(&registry, "linux/amd64", &top).ok().stdout(&images[1].manifest.bytes);
    }
}

#[test]
fn configs_are_read_only_if_no_entry_states_the_platform() {
    let (registry, images) = registry_with(&["linux/amd64", "linux/arm64"]);
    let stated = Image::big(100, 1);
    registry.add_image("app", "", &stated);
    let inner = index(types::INDEX, &[(&stated.manifest, "linux/amd64")]);
    registry.add_manifest("app", "", &inner);
    for children in [
        [(&images[0].manifest, ""), (&stated.manifest, "linux/amd64")],
        [(&images[0].manifest, ""), (&inner, "")],
    ] {
        let run = pick(&registry, "linux/amd64", &index(types::INDEX, &children));
        run.ok().stdout(&stated.manifest.bytes);
        assert_eq!(blobs_asked(&registry), 0);
    }
    // Configs of manifests in a nested index are read too.
    let inner = index(types::INDEX, &[(&images[0].manifest, "")]);
    registry.add_manifest("app", "", &inner);
    for platform in ["", "linux/amd64"] {
        let top = index(types::INDEX, &[(&images[1].manifest, "linux/arm64"), (&inner, platform)]);
        pick(&registry, "linux/amd64", &top).ok().stdout(&images[0].manifest.bytes);
    }
}

#[test]
fn an_entry_that_is_not_an_image_is_never_chosen_by_its_config() {
    let (registry, images) = registry_with(&["linux/amd64"]);
    let image = &images[0];
    let mut artifact = image.manifest_json();
    artifact["artifactType"] = json!("application/x");
    artifact["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json");
    let artifact = Blob::json(types::MANIFEST, &artifact);
    registry.add_manifest("app", "", &artifact);
    let (mut marked, mut typed) = (image.manifest.descriptor(), image.manifest.descriptor());
    marked["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    typed["artifactType"] = json!("application/x");
    for entries in [&[artifact.descriptor()][..], &[marked], &[typed]] {
        let run = pick(&registry, "linux/amd64", &index_of(entries));
        run.fails(3, "no manifest for linux/amd64").stdout("");
        assert_eq!(blobs_asked(&registry), 0);
    }
}

#[test]
fn at_most_sixteen_configs_are_read() {
    let (registry, images) = registry_with(&["linux/amd64"]);
    let others: Vec<_> = (0..16)
        .map(|n| Image::for_platform("linux", &format!("other{n}")))
        .inspect(|image| registry.add_image("app", "", image))
        .collect();
    let top = |count: usize| {
        let others = others[..count].iter().map(|image| image.manifest.descriptor());
        // A repeated entry is examined only once.
        let twice = others.clone().chain(others);
        index_of(&twice.chain([images[0].manifest.descriptor()]).collect::<Vec<_>>())
    };
    pick(&registry, "linux/amd64", &top(15)).ok().stdout(&images[0].manifest.bytes);
    assert_eq!(blobs_asked(&registry), 16);
    let run = pick(&registry, "linux/amd64", &top(16));
    run.fails(3, "only the first 16 entries without a platform were examined").stdout("");
    assert_eq!(blobs_asked(&registry), 16);
}

#[test]
fn a_config_that_cannot_be_read_is_passed_over_or_ends_the_search() {
    let (registry, images) = registry_with(&["linux/amd64", "linux/amd64"]);
    let other = Image::for_platform("linux", "arm64");
    let top = index(types::INDEX, &[(&other.manifest, ""), (&images[1].manifest, "")]);
    // First the manifest is missing, then the config is missing, then the config is not JSON.
    pick(&registry, "linux/amd64", &top).ok();
    registry.add_manifest("app", "", &other.manifest);
    pick(&registry, "linux/amd64", &top).ok();
    let junk = Blob::new(types::CONFIG, "{");
    registry.add_blob("app", "{");
    let mut manifest = other.manifest_json();
    manifest["config"] = junk.descriptor();
    let manifest = Blob::json(types::MANIFEST, &manifest);
    registry.add_manifest("app", "", &manifest);
    pick(
        &registry,
        "linux/amd64",
        &index(types::INDEX, &[(&manifest, ""), (&images[1].manifest, "")]),
    )
    .ok();
    // A refusal, a broken server and wrong bytes end the run.
    registry.add_image("app", "", &other);
    for (status, want) in [(403, 4), (503, 5)] {
        registry.fault(
            move |request, right| {
                if request.is_blob() { Reply::new(status) } else { right }
            },
        );
        pick(&registry, "linux/amd64", &top).fails(want, "").stdout("");
    }
    registry.fault(|request, right| if request.is_blob() { right.corrupted() } else { right });
    pick(&registry, "linux/amd64", &top).fails(1, "digest differs").stdout("");
    // A config that is too large is not read.
    registry.heal();
    let mut manifest = other.manifest_json();
    manifest["config"]["size"] = json!((4 << 20) + 1);
    let manifest = Blob::json(types::MANIFEST, &manifest);
    registry.add_manifest("app", "", &manifest);
    let run = pick(&registry, "linux/amd64", &index(types::INDEX, &[(&manifest, "")]));
    run.fails(3, "").stdout("");
    assert_eq!(blobs_asked(&registry), 0);
}

#[test]
fn an_entry_without_an_os_version_comes_after_those_that_fit() {
    let (registry, images) = registry_with(&["windows/amd64", "windows/arm64"]);
    let windows = |image: &Image, version: &str| {
        let mut platform = json!({"os": "windows", "architecture": "amd64"});
        if !version.is_empty() {
            platform["os.version"] = json!(version);
        }
        entry(image, platform)
    };
    let [plain, other] = [&images[0], &images[1]];
    for (entries, want) in [
        ([windows(plain, ""), windows(other, "10.0.17763.1")], &other.manifest),
        ([windows(plain, ""), windows(other, "10.0.20348.1")], &plain.manifest),
    ] {
        let run = pick(&registry, "windows/amd64:10.0.17763", &index_of(&entries));
        run.ok().stdout(&want.bytes);
    }
    let top = index_of(&[windows(other, "10.0.20348.1")]);
    pick(&registry, "windows/amd64:10.0.17763", &top).fails(3, "10.0.20348.1").stdout("");
}

#[test]
fn an_exact_variant_is_preferred_to_an_unstated_one() {
    let (registry, images) = registry_with(&["linux/arm64", "linux/other"]);
    let [bare, v8] = [&images[0].manifest, &images[1].manifest];
    let top = index(types::INDEX, &[(bare, "linux/arm64"), (v8, "linux/arm64/v8")]);
    pick(&registry, "linux/arm64/v8", &top).ok().stdout(&v8.bytes);
    pick(&registry, "linux/arm64", &top).ok().stdout(&bare.bytes);
    let top = index(types::INDEX, &[(bare, "linux/ppc64le"), (v8, "linux/ppc64le/power9")]);
    pick(&registry, "linux/ppc64le/power9", &top).ok().stdout(&v8.bytes);
    pick(&registry, "linux/ppc64le/power8", &top).ok().stdout(&bare.bytes);
}

#[test]
fn a_layouts_entries_without_a_platform_are_judged_alike() {
    let scratch = Scratch::new();
    let [arm64, amd64] = ["arm64", "amd64"].map(|arch| Image::for_platform("linux", arch));
    for image in [&arm64, &amd64] {
        write_image(&scratch.join("l"), "1", image);
    }
    let top = index(types::INDEX, &[(&arm64.manifest, ""), (&amd64.manifest, "")]);
    write_layout(&scratch.join("l"), "2", &top, []);
    let run = |args: &[&str]| tool("fetch-manifest").args(args).dir(scratch.path()).run();
    for reference in ["oci:l:1", "oci:l:2"] {
        run(&["-p", "linux/amd64", reference]).ok().stdout(&amd64.manifest.bytes);
        run(&["-p", "linux/s390x", reference]).fails(3, "linux/arm64, linux/amd64");
    }
    run(&["oci:l:1"]).fails(6, "names 2 manifests");
}

#[test]
fn list_blobs_needs_the_store_for_entries_without_a_platform() {
    let (registry, images) = registry_with(&["linux/arm64", "linux/amd64"]);
    let top = index(types::INDEX, &[(&images[0].manifest, ""), (&images[1].manifest, "")]);
    let run = |args: &[&str]| {
        plain("list-blobs").args(["-p", "linux/amd64"]).args(args).stdin(top.bytes.clone()).run()
    };
    run(&["--from", &registry.repo("app")]).ok().stdout(images[1].lines());
    let run = tool("list-blobs").args(["-p", "linux/amd64"]).stdin(top.bytes.clone()).run();
    run.status(3).stdout("").says("no manifest for linux/amd64").says("hint: --from STORE");
}
