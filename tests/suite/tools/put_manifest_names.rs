// SPDX-License-Identifier: Apache-2.0
//! The names that put-manifest gives a manifest: a tag moves only if the command names it. The rule
//! is the same for repositories and layouts.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, read_index, sha512, types, write_image};
use tests::scratch::Scratch;
use tests::tools::{Command, Run, tool};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A registry that has two images, of which one is `latest`.
fn registry() -> (FakeRegistry, Image) {
    let registry = FakeRegistry::start();
    registry.set(|settings| settings.referrers = true);
    registry.add_image("app", "latest", &Image::big(100, 1));
    let image = Image::small();
    for blob in image.blobs() {
        registry.add_blob("app", blob.bytes.clone());
    }
    (registry, image)
}

/// A layout that has two images, of which one is `latest`.
fn layout() -> (Scratch, Image) {
    let scratch = Scratch::new();
    let image = Image::small();
    write_image(&scratch.join("l"), "latest", &Image::big(100, 1));
    for blob in image.blobs() {
        scratch.write(format!("l/blobs/{}", blob.digest.replace(':', "/")), &blob.bytes);
    }
    (scratch, image)
}

fn put(manifest: &Blob, args: &[&str]) -> Command {
    tool("put-manifest").args(["--max-wait", "0"]).args(args).stdin(manifest.bytes.clone())
}

/// The tags of the repository, sorted, without `latest`, which must not have moved.
fn tags(registry: &FakeRegistry) -> Vec<String> {
    let latest = Image::big(100, 1).manifest.digest;
    let mut tags = registry.tags("app");
    assert!(tags.contains(&("latest".to_owned(), latest)), "{tags:?}");
    tags.retain(|(tag, _)| tag != "latest");
    let mut tags: Vec<String> = tags.into_iter().map(|(tag, _)| tag).collect();
    tags.sort();
    tags
}

/// The digests of the layout's entries with their names, without `latest`, which must not have
/// moved.
fn entries(scratch: &Scratch) -> Vec<(String, String)> {
    let index = read_index(&scratch.join("l"));
    let entry = |entry: &serde_json::Value| {
        let name = entry["annotations"][REF_NAME].as_str().unwrap_or_default().to_owned();
        (entry["digest"].as_str().unwrap().to_owned(), name)
    };
    let mut entries: Vec<_> = index["manifests"].as_array().unwrap().iter().map(entry).collect();
    let latest = (Image::big(100, 1).manifest.digest, "latest".to_owned());
    assert!(entries.contains(&latest), "{entries:?}");
    entries.retain(|entry| *entry != latest);
    entries
}

#[track_caller]
fn is_refused(run: &Run, place: &str) {
    run.fails(2, "neither a tag nor a digest given").says("--by-digest").stdout("");
    run.says(&format!("hint: {place}:TAG "));
}

#[test]
fn a_repository_without_tag_or_digest_gives_status_2_without_a_request() {
    let (registry, image) = registry();
    let repository = registry.repo("app");
    for args in [&[repository.as_str()][..], &[&repository, "--check"], &[&repository, "-q"]] {
        is_refused(&put(&image.manifest, args).run(), &repository);
    }
    assert_eq!((registry.steps(), tags(&registry)), (Vec::<String>::new(), Vec::new()));
}

#[test]
fn a_layout_without_tag_or_digest_gives_status_2_and_is_left_unchanged() {
    let (scratch, image) = layout();
    is_refused(&put(&image.manifest, &["oci:l"]).dir(scratch.path()).run(), "oci:l");
    assert_eq!(entries(&scratch), []);
    is_refused(&put(&image.manifest, &["oci:new"]).dir(scratch.path()).run(), "oci:new");
    assert!(!scratch.join("new").exists());
}

#[test]
fn a_digest_file_is_not_written_for_a_refused_name() {
    let (scratch, image) = layout();
    let run = put(&image.manifest, &["oci:l", "--digestfile", "d"]).dir(scratch.path()).run();
    is_refused(&run, "oci:l");
    assert!(!scratch.join("d").exists());
}

#[test]
fn by_digest_stores_the_manifest_without_a_tag() {
    let (registry, image) = registry();
    let run = put(&image.manifest, &[&registry.repo("app"), "--by-digest"]).run();
    run.ok().stdout(image.manifest.line());
    assert_eq!(tags(&registry), Vec::<String>::new());
    assert!(registry.manifest("app", &image.manifest.digest).is_some());

    let (scratch, image) = layout();
    let run = put(&image.manifest, &["oci:l", "--by-digest"]).dir(scratch.path()).run();
    run.ok().stdout(image.manifest.line());
    assert_eq!(entries(&scratch), [(image.manifest.digest, String::new())]);
}

#[test]
fn a_digest_in_the_reference_is_enough() {
    let (registry, image) = registry();
    let at = format!("{}@{}", registry.repo("app"), image.manifest.digest);
    for args in [&[at.as_str()][..], &[&at, "--by-digest"]] {
        put(&image.manifest, args).run().ok();
    }
    let sha512 = format!("{}@{}", registry.repo("app"), sha512(&image.manifest.bytes));
    put(&image.manifest, &[&sha512, "--tag", "2"]).run().ok();
    assert!(registry.manifest("app", &self::sha512(&image.manifest.bytes)).is_some());
    assert_eq!(tags(&registry), ["2"]);

    let (scratch, image) = layout();
    let at = format!("oci:l@{}", image.manifest.digest);
    put(&image.manifest, &[&at]).dir(scratch.path()).run().ok();
    assert_eq!(entries(&scratch), [(image.manifest.digest, String::new())]);
}

#[test]
fn the_tags_of_the_option_alone_are_enough() {
    let (registry, image) = registry();
    let args = [&registry.repo("app"), "--tag", "1", "--tag", "2", "--tag", "1"];
    put(&image.manifest, &args).run().ok();
    assert_eq!(tags(&registry), ["1", "2"]);
    assert_eq!(registry.steps().len(), 2, "{:?}", registry.steps());

    let (scratch, image) = layout();
    put(&image.manifest, &["oci:l", "--tag", "1"]).dir(scratch.path()).run().ok();
    assert_eq!(entries(&scratch), [(image.manifest.digest, "1".to_owned())]);
}

#[test]
fn latest_moves_if_it_is_named() {
    let (registry, image) = registry();
    put(&image.manifest, &[&format!("{}:latest", registry.repo("app"))]).run().ok();
    let tags = registry.tags("app");
    assert_eq!(tags, [("latest".to_owned(), image.manifest.digest)]);
}

#[test]
fn a_tag_and_by_digest_contradict_each_other() {
    let (registry, image) = registry();
    for reference in [format!("{}:1", registry.repo("app")), "oci:l:1".to_owned()] {
        let run = put(&image.manifest, &[&reference, "--by-digest"]).run();
        run.fails(2, "--by-digest").says(&reference).stdout("");
    }
    assert_eq!(registry.steps(), Vec::<String>::new());
}

#[test]
fn a_manifest_with_a_subject_needs_no_name() {
    let (registry, image) = registry();
    let mut manifest = image.manifest_json();
    manifest["subject"] = image.manifest.descriptor();
    let referrer = Blob::json(types::MANIFEST, &manifest);
    put(&referrer, &[&registry.repo("app")]).run().ok().stdout(referrer.line());
    assert_eq!(tags(&registry), Vec::<String>::new());
    assert_eq!(registry.steps().len(), 1, "{:?}", registry.steps());
    assert!(registry.manifest("app", &referrer.digest).is_some());

    let (scratch, _) = layout();
    put(&referrer, &["oci:l"]).dir(scratch.path()).run().ok();
    let index = read_index(&scratch.join("l"));
    let entry = &index["manifests"][1];
    assert_eq!(entry["digest"], json!(referrer.digest));
    assert_eq!(entry["annotations"].get(REF_NAME), None);
    // A subject that is null counts as absent.
    manifest["subject"] = json!(null);
    let run = put(&Blob::json(types::MANIFEST, &manifest), &[&registry.repo("app")]).run();
    is_refused(&run, &registry.repo("app"));
}
