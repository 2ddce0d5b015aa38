// SPDX-License-Identifier: Apache-2.0
//! All tools have the same rule: a layer is non-distributable if it has a media type of
//! non-distributable layers and its descriptor has `urls`. A layer with only one of the two is a
//! layer like any other.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use tests::commands::plain;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, write_layout};
use tests::scratch::Scratch;
use tests::tools::{Run, shell, tool};

const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// The layers that are ordinary by this rule: media type, and whether they have `urls`.
const ORDINARY: [(&str, bool); 3] = [(FOREIGN, false), (DOCKER_FOREIGN, false), ("", true)];

/// An image whose first layer has this media type (empty: unchanged) and perhaps `urls`.
fn image(media_type: &str, has_urls: bool) -> Image {
    let mut image = Image::small();
    if media_type == DOCKER_FOREIGN {
        image = image.docker();
    }
    let mut manifest = image.manifest_json();
    if !media_type.is_empty() {
        manifest["layers"][0]["mediaType"] = json!(media_type);
    }
    if has_urls {
        manifest["layers"][0]["urls"] = json!(["https://layers.example/1"]);
    }
    image.with_manifest(&manifest)
}

/// The line of the image's first layer, as list-blobs prints it.
fn line(image: &Image) -> String {
    format!("{}\n", image.manifest_json()["layers"][0])
}

/// Pushes the image from a layout with all of its blobs into a registry, then puts its manifest.
fn copy(registry: &FakeRegistry, image: &Image) -> (Run, Run) {
    let scratch = Scratch::new();
    write_layout(&scratch.join("l"), "1", &image.manifest, image.blobs());
    scratch.write("m", &image.manifest.bytes);
    let script = "list-blobs m | push-blob --plain-http --max-wait 0 \"$REPO\" --from oci:l";
    let pushed = shell(script).env("REPO", registry.repo("app")).dir(scratch.path()).run();
    let name = format!("{}:1", registry.repo("app"));
    (pushed, plain("put-manifest").args([&name, "m"]).dir(scratch.path()).run())
}

#[test]
fn a_layer_of_which_only_the_type_or_the_urls_say_so_is_pushed() {
    for (media_type, has_urls) in ORDINARY {
        let registry = FakeRegistry::start();
        let image = image(media_type, has_urls);
        let (pushed, put) = copy(&registry, &image);
        pushed.ok();
        put.ok();
        assert!(registry.blob("app", &image.layers[0].digest).is_some());
    }
}

#[test]
fn a_non_distributable_layer_is_skipped_and_its_manifest_is_put() {
    for media_type in [FOREIGN, DOCKER_FOREIGN] {
        let registry = FakeRegistry::start();
        let image = image(media_type, true);
        let (pushed, put) = copy(&registry, &image);
        pushed.status(0).says("skipped without --allow-nondistributable");
        put.ok();
        assert!(registry.blob("app", &image.layers[0].digest).is_none());
    }
}

#[test]
fn check_and_layouts_require_an_ordinary_layer_and_no_other() {
    for (media_type, has_urls, want) in [
        (FOREIGN, false, 6),
        (DOCKER_FOREIGN, false, 6),
        ("", true, 6),
        (FOREIGN, true, 0),
        (DOCKER_FOREIGN, true, 0),
    ] {
        let image = image(media_type, has_urls);
        let registry = FakeRegistry::start();
        registry.add_blob("app", image.config.bytes.clone());
        registry.add_blob("app", image.layers[1].bytes.clone());
        let scratch = Scratch::new();
        write_layout(&scratch.join("l"), "other", &image.config, [&image.layers[1]]);
        let in_registry = format!("{}:1", registry.repo("app"));
        for args in [&[in_registry.as_str(), "--check"][..], &["oci:l:1"]] {
            let put = plain("put-manifest").args(args).stdin(image.manifest.bytes.clone());
            let run = put.dir(scratch.path()).run();
            run.status(want);
            if want != 0 {
                run.says(&image.layers[0].digest).says("hint: push-blob or fetch-blob copies");
            }
        }
    }
}

/// The layout gets the image's name only when it has all blobs that the image needs.
#[test]
fn an_image_is_complete_without_a_non_distributable_layer_and_no_other() {
    for (media_type, has_urls, is_complete) in
        [(FOREIGN, false, false), ("", true, false), (FOREIGN, true, true)]
    {
        let image = image(media_type, has_urls);
        let registry = FakeRegistry::start();
        registry.add_manifest("app", "1", &image.manifest);
        let scratch = Scratch::new();
        write_layout(&scratch.join("l"), "other", &image.config, [&image.layers[1]]);
        let args = [&format!("{}:1", registry.repo("app")), "--into", "oci:l:new"];
        plain("fetch-manifest").args(args).dir(scratch.path()).run().status(0);
        let run = tool("list-tags").arg("oci:l").dir(scratch.path()).run();
        assert_eq!(run.lines().contains(&"new".to_owned()), is_complete, "{media_type}: {run}");
    }
}

#[test]
fn a_missing_ordinary_layer_is_a_failure_of_verify_digest() {
    for (media_type, has_urls) in ORDINARY {
        let image = image(media_type, has_urls);
        let scratch = Scratch::new();
        write_layout(&scratch.join("l"), "1", &image.config, []);
        let verify = tool("verify-digest").args(["--from", "oci:l"]).stdin(line(&image));
        verify.dir(scratch.path()).run().fails(3, &image.layers[0].digest).stdout("");
    }
}

/// The hint of unpack-layer works: fetch-blob fetches the layer from its URL.
#[test]
fn a_layer_that_was_skipped_is_fetched_from_its_urls() {
    let image = Image::small();
    let layer = image.layers[0].clone();
    let server = tests::fake::Server::start(move |_| tests::fake::Reply::ok(layer.bytes.clone()));
    let mut manifest = image.manifest_json();
    manifest["layers"][0]["mediaType"] = json!(FOREIGN);
    manifest["layers"][0]["urls"] = json!([server.url()]);
    let image = image.with_manifest(&manifest);
    let registry = FakeRegistry::start();
    registry.add_blob("app", "another");
    let scratch = Scratch::new();
    write_layout(&scratch.join("l"), "1", &image.manifest, [&image.config, &image.layers[1]]);
    scratch.write("m", &image.manifest.bytes);
    let unpack = || {
        shell("list-blobs m | unpack-layer --no-same-owner --from oci:l root")
            .dir(scratch.path())
            .run()
    };
    unpack()
        .status(3)
        .says(&image.layers[0].digest)
        .says("hint: fetch-blob STORE --into oci:l fetches the blob");
    let fetch = plain("fetch-blob").args([&registry.repo("app"), "--into", "oci:l"]);
    fetch.stdin(line(&image)).dir(scratch.path()).run().status(0);
    unpack().status(0);
}

mod with_peers {
    use super::*;
    use tests::registry::Registry;

    /// The hint does not suggest `--allow-nondistributable`: even if the registry has the layer, it
    /// does not permit the layer's URL.
    #[test]
    fn urls_that_a_real_registry_does_not_permit_are_named_as_the_cause() {
        for registry in [Registry::start(), Registry::version_3()] {
            let host = registry.host();
            for (media_type, has_urls, hint) in [
                (DOCKER_FOREIGN, true, "may not permit the urls"),
                (FOREIGN, true, "may not permit the urls"),
                (DOCKER_FOREIGN, false, "may require urls"),
            ] {
                let image = image(media_type, has_urls);
                let name = format!("{}:1", registry.repo("app"));
                for is_there in [false, true] {
                    let layer = &image.layers[0].digest;
                    for blob in image.blobs().filter(|blob| is_there || blob.digest != *layer) {
                        registry.put_blob("app", &blob.bytes);
                    }
                    let put = tool("put-manifest").args(["--max-wait", "0", &name]);
                    let run = put.stdin(image.manifest.bytes.clone()).run();
                    run.fails(6, &image.layers[0].digest).says(hint);
                    run.does_not_say("--allow-nondistributable").says(&host);
                }
            }
        }
    }

    /// A non-distributable layer without `urls` is a layer like any other for real registries.
    #[test]
    fn a_layer_without_urls_is_copied_between_real_registries() {
        let [from, to] = [Registry::start(), Registry::version_3()];
        let image = image(FOREIGN, false);
        from.put_image("app", "1", &image);
        let script = "fetch-manifest \"$FROM:1\" >m && list-blobs m >lines && \
            push-blob \"$TO\" --from \"$FROM\" <lines >out && put-manifest \"$TO:1\" m";
        let script = shell(script).env("FROM", from.repo("app")).env("TO", to.repo("app"));
        script.dir(Scratch::new().path()).run().ok();
        assert_eq!(to.get("app/manifests/1"), image.manifest.bytes);
    }

    /// The hint for a Docker layer without `urls` is followed: the media type is changed to OCI's.
    #[test]
    fn the_hint_for_a_docker_layer_without_urls_works() {
        let registry = Registry::start();
        let image = image(DOCKER_FOREIGN, false);
        for blob in image.blobs() {
            registry.put_blob("app", &blob.bytes);
        }
        let scratch = Scratch::new();
        scratch.write("m", &image.manifest.bytes);
        let script = "list-blobs m | build-manifest --oci >o && put-manifest \"$REPO:1\" o";
        let script = shell(script).env("REPO", registry.repo("app"));
        script.dir(scratch.path()).run().status(0);
        assert_eq!(registry.get("app/manifests/1"), std::fs::read(scratch.join("o")).unwrap());
    }

    /// A blob with a media type of non-distributable layers, but without `urls`, is pushed like any
    /// other. No manifest is needed.
    #[test]
    fn a_single_line_is_pushed_to_a_real_registry() {
        let registry = Registry::start();
        let scratch = Scratch::new();
        let layer = Blob::new(FOREIGN, "a layer");
        write_layout(&scratch.join("l"), "1", &layer, []);
        let push = tool("push-blob").args([&registry.repo("app"), "--from", "oci:l"]);
        push.stdin(layer.line()).dir(scratch.path()).run().ok().stdout(layer.line());
        assert_eq!(registry.get(&format!("app/blobs/{}", layer.digest)), b"a layer");
    }
}
