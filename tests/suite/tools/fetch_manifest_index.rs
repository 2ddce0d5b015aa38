// SPDX-License-Identifier: Apache-2.0
//! fetch-manifest -p --into stores the index, too: as a blob without an entry. sweep-layout keeps
//! it as long as an entry reaches the image that was chosen.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::{Duration, SystemTime};

use tests::commands::fetch_manifest;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, index, read_blob, read_index, types, write_layout};
use tests::scratch::Scratch;
use tests::tools::{Command, Run, shell, tool};

/// A registry with an index of two images as `app:1`.
fn start() -> (FakeRegistry, Blob, [Image; 2]) {
    let registry = FakeRegistry::start();
    let images = ["amd64", "arm64"].map(|arch| Image::for_platform("linux", arch));
    for image in &images {
        registry.add_image("app", "", image);
    }
    let [amd64, arm64] = &images;
    let children = [(&amd64.manifest, "linux/amd64"), (&arm64.manifest, "linux/arm64")];
    let top = index(types::INDEX, &children);
    registry.add_manifest("app", "1", &top);
    (registry, top, images)
}

fn fetch(reference: &str, args: &[&str], scratch: &Scratch) -> Command {
    fetch_manifest().args([reference, "--into", "oci:l"]).args(args).dir(scratch.path())
}

/// Fetches the image for amd64 with all of its blobs.
fn pull(registry: &FakeRegistry, scratch: &Scratch) -> Run {
    let script = "fetch-manifest --plain-http -p linux/amd64 \"$REPO:1\" --into oci:l | list-blobs | \
        fetch-blob --plain-http \"$REPO\" --into oci:l";
    shell(script).env("REPO", registry.repo("app")).dir(scratch.path()).run()
}

fn digests(scratch: &Scratch) -> Vec<String> {
    let index = read_index(&scratch.join("l"));
    let entries = index["manifests"].as_array().unwrap().iter();
    entries.map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
}

fn sweep(scratch: &Scratch) -> Run {
    tool("sweep-layout").arg("l").dir(scratch.path()).run()
}

/// Makes all blobs two hours old.
fn all_old(scratch: &Scratch) {
    let then = SystemTime::now() - Duration::from_secs(2 * 60 * 60);
    for file in fs::read_dir(scratch.join("l/blobs/sha256")).unwrap() {
        fs::File::open(file.unwrap().path()).unwrap().set_modified(then).unwrap();
    }
}

#[test]
fn the_index_is_stored_without_an_entry() {
    let (registry, top, [amd64, arm64]) = start();
    let scratch = Scratch::new();
    pull(&registry, &scratch).ok();
    assert_eq!(digests(&scratch), [amd64.manifest.digest.as_str()]);
    assert_eq!(read_blob(&scratch.join("l"), &top.digest), Some(top.bytes.clone()));
    assert_eq!(read_blob(&scratch.join("l"), &arm64.manifest.digest), None);
    // The layout has one image, so the name is not needed.
    let run = tool("fetch-manifest").arg("oci:l").dir(scratch.path()).run();
    run.ok().stdout(&amd64.manifest.bytes);
    let by_digest = format!("oci:l@{}", top.digest);
    let run = tool("fetch-manifest").arg(by_digest).dir(scratch.path()).run();
    run.ok().stdout(&top.bytes);
}

/// A reference with the digest of the stored index needs no request.
#[test]
fn a_pinned_index_is_not_fetched_again() {
    let (registry, top, [amd64, _]) = start();
    let scratch = Scratch::new();
    pull(&registry, &scratch).ok();
    registry.server.forget();
    let pinned = format!("{}@{}", registry.repo("app"), top.digest);
    let run = fetch(&pinned, &["-p", "linux/amd64"], &scratch).run();
    run.ok().stdout(&amd64.manifest.bytes);
    assert_eq!(registry.steps(), Vec::<String>::new());
}

#[test]
fn without_a_platform_the_index_has_the_entry_as_before() {
    let (registry, top, images) = start();
    let scratch = Scratch::new();
    let blobs = images.iter().flat_map(|image| image.blobs().chain([&image.manifest]));
    write_layout(&scratch.join("l"), "x", &images[0].config, blobs);
    let tag = format!("{}:1", registry.repo("app"));
    fetch(&tag, &[], &scratch).run().ok();
    assert!(digests(&scratch).contains(&top.digest));
}

#[test]
fn of_a_single_image_nothing_else_is_stored() {
    let (registry, _, [amd64, _]) = start();
    let scratch = Scratch::new();
    registry.add_manifest("app", "single", &amd64.manifest);
    let tag = format!("{}:single", registry.repo("app"));
    fetch(&tag, &["-p", "linux/amd64"], &scratch).run().status(0);
    let files = scratch.list();
    let blobs =
        files.iter().filter(|name| name.starts_with("l/blobs/sha256/") && !name.ends_with('/'));
    assert_eq!(blobs.count(), 1, "{files:?}");
}

#[test]
fn a_damaged_index_is_replaced_and_a_layout_is_a_source_too() {
    let (_, top, images) = start();
    let scratch = Scratch::new();
    let blobs = images.iter().flat_map(|image| image.blobs().chain([&image.manifest]));
    write_layout(&scratch.join("from"), "1", &top, blobs);
    let path = format!("l/blobs/{}", top.digest.replace(':', "/"));
    scratch.write(&path, "damaged");
    fetch("oci:from:1", &["-p", "linux/arm64"], &scratch).run().status(0);
    assert_eq!(read_blob(&scratch.join("l"), &top.digest), Some(top.bytes));
}

#[test]
fn if_changed_stores_nothing_for_an_unchanged_image() {
    let (registry, _, [amd64, _]) = start();
    let scratch = Scratch::new();
    pull(&registry, &scratch).ok();
    let other = index(types::INDEX, &[(&amd64.manifest, "linux/amd64")]);
    registry.add_manifest("app", "1", &other);
    let tag = format!("{}:1", registry.repo("app"));
    fetch(&tag, &["-p", "linux/amd64", "--if-changed"], &scratch).run().status(8);
    assert_eq!(read_blob(&scratch.join("l"), &other.digest), None);
}

#[test]
fn sweep_layout_keeps_the_index_while_its_image_has_an_entry() {
    let (registry, top, [amd64, _]) = start();
    let scratch = Scratch::new();
    pull(&registry, &scratch).ok();
    let is_there = || read_blob(&scratch.join("l"), &top.digest).is_some();
    // The other image of the index is not in the layout. This causes no warning.
    sweep(&scratch).ok();
    assert!(is_there());
    all_old(&scratch);
    sweep(&scratch).ok().stdout("blobs 0 0\npartial-files 0 0\nsources 0\n");
    assert!(is_there());

    // An update removes the old image together with its index.
    let new = Image::big(1000, 7);
    registry.add_image("app", "", &new);
    registry.add_manifest("app", "1", &index(types::INDEX, &[(&new.manifest, "linux/amd64")]));
    pull(&registry, &scratch).status(0).says("the name \"1\" moves");
    assert_eq!(digests(&scratch), [new.manifest.digest.as_str()]);
    all_old(&scratch);
    sweep(&scratch).ok();
    assert!(!is_there());
    assert_eq!(read_blob(&scratch.join("l"), &amd64.manifest.digest), None);
}

/// An index that was built here, and replaced, is not kept.
#[test]
fn sweep_layout_removes_an_index_that_was_not_fetched() {
    let (_, top, [amd64, arm64]) = start();
    let scratch = Scratch::new();
    let layout = scratch.join("l");
    let others = [&amd64, &arm64].into_iter().flat_map(|image| image.blobs());
    write_layout(&layout, "amd64", &amd64.manifest, others.chain([&top]));
    write_layout(&layout, "arm64", &arm64.manifest, []);
    all_old(&scratch);
    sweep(&scratch).ok();
    assert_eq!(read_blob(&layout, &top.digest), None);
    assert!(read_blob(&layout, &amd64.manifest.digest).is_some());
}

mod with_peers {
    use super::*;
    use tests::peers::{must, peer};

    #[test]
    fn skopeo_reads_the_layout() {
        let (registry, _, [amd64, _]) = start();
        let scratch = Scratch::new();
        pull(&registry, &scratch).ok();
        let mut skopeo = peer("skopeo");
        skopeo.args(["inspect", "--raw"]).arg(format!("oci:{}:1", scratch.join("l").display()));
        assert_eq!(must(&mut skopeo), amd64.manifest.bytes);
    }
}
