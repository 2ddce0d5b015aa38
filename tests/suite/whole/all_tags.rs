// SPDX-License-Identifier: Apache-2.0
//! The loops of regutils-recipes(7) over all tags: they mirror a repository in a layout, push all
//! tags of a layout, and copy all tags of a repository.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;

use serde_json::{Value, json};
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, file, index, noise, read_blob, read_index, types, write_image};
use tests::scratch::Scratch;
use tests::tools::Run;

use super::with_peers::readme::{examples, read, run};

const TAGS: [&str; 5] = ["1", "1.0", "latest", "2", "2.0-rc_1"];

/// The loop of the page that begins with this list of tags and uses this program.
fn recipe(list: &str, program: &str) -> String {
    let loops: Vec<_> = examples(&read("man/regutils-recipes.7"))
        .into_iter()
        .filter(|example| example.starts_with(list) && example.contains(program))
        .collect();
    assert_eq!(loops.len(), 1, "{list}, {program}: {loops:#?}");
    // The test does not wait between attempts.
    loops[0].replace("fetch-blob ", "fetch-blob --max-wait 0 ")
}

fn mirror(registry: &FakeRegistry, dir: &Scratch) -> Run {
    run(&recipe("list-tags alpine ", "--into oci:mirror"), registry, dir)
}

fn push(registry: &FakeRegistry, dir: &Scratch) -> Run {
    run(&recipe("list-tags oci:mirror ", "push-blob"), registry, dir)
}

fn copy(registry: &FakeRegistry, dir: &Scratch) -> Run {
    run(&recipe("list-tags alpine ", "push-blob"), registry, dir)
}

/// The image of a tag. All images share their first layer.
fn image(tag: &str) -> Image {
    Image::new(&[&[file("base", noise(50_000, 1))], &[file("tag", tag)]])
}

/// A registry that lists two tags on a page. The image of tag 1 is behind an index.
fn registry() -> FakeRegistry {
    let registry = FakeRegistry::start();
    registry.tags_a_page(2);
    for tag in TAGS {
        registry.add_image("alpine", tag, &image(tag));
    }
    let children = [(&image("1").manifest, "linux/amd64"), (&image("2").manifest, "linux/arm64")];
    registry.add_manifest("alpine", "1", &index(types::INDEX, &children));
    registry
}

/// The names in the layout `mirror` and the digests of their images.
fn names(dir: &Scratch) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let entries = read_index(&dir.join("mirror"))["manifests"].as_array().unwrap().clone();
    let named = entries.iter().map(|entry| {
        let name = text(&entry["annotations"]["org.opencontainers.image.ref.name"]);
        (name, text(&entry["digest"]))
    });
    named.collect()
}

#[test]
fn all_tags_of_a_repository_make_a_round_trip_through_a_layout() {
    let registry = registry();
    let dir = Scratch::new();
    mirror(&registry, &dir).ok();
    let by_name = |mut names: Vec<(String, String)>| {
        names.sort();
        names
    };
    assert_eq!(by_name(names(&dir)), by_name(registry.tags("alpine")));
    for tag in TAGS {
        for blob in image(tag).blobs() {
            let stored = read_blob(&dir.join("mirror"), &blob.digest);
            assert!(stored.as_ref() == Some(&blob.bytes), "{tag}");
        }
    }
    push(&registry, &dir).status(0);
    copy(&registry, &dir).status(0);
    for repository in ["all", "mirror"] {
        assert_eq!(by_name(registry.tags(repository)), by_name(registry.tags("alpine")));
        for tag in TAGS {
            let [from, to] = ["alpine", repository].map(|r| registry.manifest(r, tag).unwrap());
            assert!(from.bytes == to.bytes, "{repository}:{tag}");
            let blobs = image(tag);
            assert!(blobs.blobs().all(|blob| registry.blob(repository, &blob.digest).is_some()));
        }
    }
}

#[test]
fn all_pages_of_tags_are_read_before_the_first_manifest() {
    let registry = registry();
    mirror(&registry, &Scratch::new()).ok();
    let requests = registry.server.requests();
    let first = requests.iter().position(|request| !request.is_tags()).unwrap();
    assert_eq!(first, 3);
    assert!(!requests[first..].iter().any(|request| request.is_tags()));
}

#[test]
fn a_second_run_of_a_mirror_fetches_only_manifests_and_new_blobs() {
    let registry = registry();
    let dir = Scratch::new();
    mirror(&registry, &dir).ok();
    registry.server.forget();
    mirror(&registry, &dir).ok();
    assert_eq!(registry.blob_requests().len(), 0);
    let new = image("new");
    registry.add_image("alpine", "2", &new);
    mirror(&registry, &dir).status(0).says("the name \"2\" moves");
    assert_eq!(registry.blob_requests().len(), 2);
    let mut tags = registry.tags("alpine");
    tags.sort();
    let mut stored = names(&dir);
    stored.sort();
    assert_eq!(stored, tags);
}

/// The first error ends the loop with its status. The tags before it are complete. The tag with the
/// error keeps its old image.
#[test]
fn an_error_in_one_tag_ends_the_loop() {
    let registry = registry();
    let dir = Scratch::new();
    mirror(&registry, &dir).ok();
    let old = names(&dir);
    let new = image("new");
    for tag in ["1.0", "latest", "2"] {
        registry.add_image("alpine", tag, &image(&format!("new {tag}")));
    }
    registry.add_image("alpine", "2", &new);
    registry.remove_blob("alpine", &new.layers[1].digest);
    registry.server.forget();
    mirror(&registry, &dir).status(3).says("fetch-blob: ");
    copy(&registry, &dir).status(3).says("push-blob: ");
    let digest = |tag: &str| {
        let names = names(&dir);
        names.into_iter().find(|(name, _)| name == tag).unwrap().1
    };
    assert_eq!(digest("1.0"), image("new 1.0").manifest.digest);
    for (tag, old) in old.iter().filter(|(tag, _)| ["2", "latest"].contains(&tag.as_str())) {
        assert_eq!(digest(tag), *old);
    }
    assert!(!registry.steps().iter().any(|step| step.ends_with("manifests/latest")));
    let copied: Vec<_> = registry.tags("mirror").into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(copied, ["1", "1.0"]);
}

#[test]
fn a_store_without_tags_is_an_error() {
    let registry = FakeRegistry::start();
    registry.add_blob("alpine", "x");
    let dir = Scratch::new();
    mirror(&registry, &dir).status(1);
    copy(&registry, &dir).status(1);
    // The push fails without a layout, and with a layout whose only image has no name.
    push(&registry, &dir).status(3);
    write_image(&dir.join("mirror"), "x", &image("x"));
    let mut index = read_index(&dir.join("mirror"));
    index["manifests"][0]["annotations"] = json!({});
    fs::write(dir.join("mirror/index.json"), index.to_string()).unwrap();
    push(&registry, &dir).status(1);
    assert_eq!(registry.tags("all"), []);
    // This repository does not exist.
    mirror(&FakeRegistry::start(), &dir).status(3);
}

/// A name in a layout may be any text. A name that is not a valid tag is an error; it is not left
/// out.
#[test]
fn a_name_that_cannot_be_a_tag_ends_the_push() {
    for name in ["docker.io/library/a:1", "two words", "-x", "a --insecure", "*", "ä", "$(touch x)"]
    {
        let registry = FakeRegistry::start();
        let dir = Scratch::new();
        for name in ["1", name, "2"] {
            write_image(&dir.join("mirror"), name, &image(name));
        }
        push(&registry, &dir).status(2).says("put-manifest: ");
        let pushed: Vec<_> = registry.tags("all").into_iter().map(|(tag, _)| tag).collect();
        assert_eq!(pushed, ["1"], "{name}");
        assert!(!dir.join("x").exists());
    }
}
