// SPDX-License-Identifier: Apache-2.0
//! list-blobs --diff-ids: the lines of layers with the diff IDs of the config. The lines can be
//! selected and combined before build-config reads them. The last tests copy manifests without
//! layers.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, file, index, tar, types, whiteout, write_image, write_layout};
use tests::schema1;
use tests::scratch::Scratch;
use tests::tools::{Command, Run, shell, tool};

const DIFF_ID: &str = "containerd.io/uncompressed";

fn list(from: &str, image: &Image) -> Command {
    let args = ["--plain-http", "--max-wait", "0", "--diff-ids", "--from", from];
    tool("list-blobs").args(args).stdin(image.manifest.bytes.clone())
}

/// The lines of an image's layers, with their diff IDs.
fn layers(image: &Image) -> Vec<Value> {
    let with_id = |(layer, id): (&Blob, &String)| {
        let mut line = layer.descriptor();
        line["annotations"] = json!({DIFF_ID: id});
        line
    };
    image.layers.iter().zip(&image.diff_ids).map(with_id).collect()
}

fn values(run: &Run) -> Vec<Value> {
    run.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn layers_get_their_diff_ids_and_the_config_is_printed_first() {
    let image = Image::small();
    for image in [image.docker(), image] {
        let registry = FakeRegistry::start();
        registry.add_image("app", "1", &image);
        let repository = registry.repo("app");
        let run = list(&repository, &image).run();
        let mut want = vec![image.config.descriptor()];
        want.extend(layers(&image));
        assert_eq!(values(run.ok()), want);
        assert_eq!(registry.steps(), ["GET blob"]);
        let run = list(&repository, &image).arg("--layers").run();
        assert_eq!(values(run.ok()), layers(&image));
    }
}

#[test]
fn an_uncompressed_layer_and_a_repeated_one_get_theirs_too() {
    let plain = tar(&[file("a", "x")]);
    let image = Image::of_plain(&[&plain, &plain]);
    let scratch = Scratch::new();
    write_image(&scratch.join("l"), "1", &image);
    let run = list("oci:l:1", &image).arg("--layers").dir(scratch.path()).run();
    assert_eq!(values(run.ok()), layers(&image));
}

#[test]
fn of_an_index_the_platform_selects_the_image() {
    let images = ["amd64", "arm64"].map(|arch| Image::for_platform("linux", arch));
    let [amd64, arm64] = &images;
    let children = [(&amd64.manifest, "linux/amd64"), (&arm64.manifest, "linux/arm64")];
    let top = Image { manifest: index(types::INDEX, &children), ..amd64.clone() };
    let scratch = Scratch::new();
    let blobs = images.iter().flat_map(|image| image.blobs().chain([&image.manifest]));
    write_layout(&scratch.join("l"), "1", &top.manifest, blobs);
    let run = list("oci:l", &top).args(["--layers", "-p", "linux/arm64"]).dir(scratch.path()).run();
    assert_eq!(values(run.ok()), layers(arm64));
    let run = list("oci:l", &top).dir(scratch.path()).run();
    run.fails(2, "an index, not an image").says("-p OS/ARCH").stdout("");
    // The platform of a single image is not compared, as without --diff-ids.
    let run =
        list("oci:l", amd64).args(["--layers", "-p", "linux/s390x"]).dir(scratch.path()).run();
    assert_eq!(values(run.ok()), layers(amd64));
}

#[test]
fn a_config_for_other_layers_gives_status_1() {
    let image = Image::small();
    let mut manifest = image.manifest_json();
    manifest["layers"].as_array_mut().unwrap().pop();
    let fewer = image.clone().with_manifest(&manifest);
    let mut manifest = image.manifest_json();
    let more = image.layers[0].descriptor();
    manifest["layers"].as_array_mut().unwrap().push(more);
    let more = image.clone().with_manifest(&manifest);
    let mut manifest = image.manifest_json();
    manifest["layers"][1]["annotations"] = json!({DIFF_ID: image.diff_ids[0]});
    let other = image.clone().with_manifest(&manifest);
    // An uncompressed layer, whose digest is its diff ID.
    let mut manifest = image.manifest_json();
    manifest["layers"][1]["mediaType"] = json!(types::TAR);
    let plain = image.clone().with_manifest(&manifest);
    let scratch = Scratch::new();
    write_image(&scratch.join("l"), "1", &image);
    for (image, words) in [
        (&fewer, "got 1 layers"),
        (&more, "got 3 layers"),
        (&other, "layer 2 ("),
        (&plain, "diff ID differs"),
    ] {
        let run = list("oci:l", image).dir(scratch.path()).run();
        run.fails(1, words).stdout("");
    }
}

#[test]
fn a_missing_or_wrong_config_prints_nothing() {
    let image = Image::small();
    for (config, status) in [(None, 3), (Some("{}"), 1)] {
        let scratch = Scratch::new();
        write_image(&scratch.join("l"), "1", &image);
        let path = scratch.join(format!("l/blobs/{}", image.config.digest.replace(':', "/")));
        match config {
            None => std::fs::remove_file(path).unwrap(),
            Some(text) => std::fs::write(path, text).unwrap(),
        }
        let run = list("oci:l", &image).dir(scratch.path()).run();
        run.fails(status, &image.config.digest).stdout("");
    }
    let no_rootfs = Blob::new(types::CONFIG, "{}");
    let mut manifest = image.manifest_json();
    manifest["config"] = no_rootfs.descriptor();
    let scratch = Scratch::new();
    write_layout(&scratch.join("l"), "1", &no_rootfs, []);
    let image = image.with_manifest(&manifest);
    list("oci:l", &image).dir(scratch.path()).run().fails(6, &no_rootfs.digest).stdout("");
}

#[test]
fn a_config_larger_than_the_limit_is_refused() {
    let mut manifest = Image::small().manifest_json();
    let registry = FakeRegistry::start();
    for (size, words) in [((4 << 20) + 1, "larger than 4194304"), (4 << 20, "404")] {
        manifest["config"]["size"] = json!(size);
        let image = Image::small().with_manifest(&manifest);
        let run = list(&registry.repo("app"), &image).run();
        run.says(words).stdout("");
        assert_ne!(run.code(), Some(0), "{run}");
    }
}

#[test]
fn wrong_usage_gives_status_2() {
    let image = Image::small();
    let scratch = Scratch::new();
    write_image(&scratch.join("l"), "1", &image);
    for more in ["--config", "--recursive"] {
        list("oci:l", &image).arg(more).run().fails(2, "cannot be used with");
    }
    let run = tool("list-blobs").arg("--diff-ids").stdin(image.manifest.bytes.clone()).run();
    run.fails(2, "--from").stdout("");
    let mut manifest = image.manifest_json();
    manifest["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json");
    let artifact = image.clone().with_manifest(&manifest);
    let run = list("oci:l", &artifact).dir(scratch.path()).run();
    run.fails(2, "not an image config").stdout("");
    let old = schema1::document(
        &[&image.layers[0].digest],
        &[r#"{"id":"a"}"#.replace('a', &schema1::id('a'))],
    );
    let old = Image { manifest: Blob::new(types::DOCKER_SCHEMA1, schema1::signed(&old)), ..image };
    let run = list("oci:l", &old).env("DOCKER_ENABLE_DEPRECATED_PULL_SCHEMA_1_IMAGE", "1");
    run.dir(scratch.path()).run().fails(2, "schema 1").stdout("");
}

// The pipelines.

/// A layout `l` with `old` and `new`, two versions of a base, and `app`: a base with two layers on
/// top, of which the upper one hides a file of the lower one.
fn bases_and_app() -> Scratch {
    let scratch = Scratch::new();
    let base = [file("os", "1")];
    let app = [file("app", "mine"), file("junk", "x")];
    let top = [whiteout("junk"), file("last", "y")];
    for (tag, image) in [
        ("old", Image::new(&[&base])),
        ("new", Image::new(&[&[file("os", "2")], &[file("more", "z")]])),
        ("app", Image::new(&[&base, &app, &top])),
    ] {
        write_image(&scratch.join("l"), tag, &image);
    }
    scratch
}

/// Runs a script that writes the lines of the wanted layers to `lines` and `base.json`, the config
/// to start from. The image is built as `l:built` and unpacked. Returns its files.
#[track_caller]
fn built(choose: &str) -> Vec<String> {
    let scratch = bases_and_app();
    let script = format!(
        "for tag in old new app; do fetch-manifest oci:l:$tag >$tag.m || exit; done
         {choose} &&
         {{ build-config $base --into oci:l <on-top && cat lines; }} |
             build-manifest --from oci:l >m && put-manifest oci:l:built m >put &&
         list-blobs m | unpack-layer --no-same-owner --from oci:l root"
    );
    let run = shell(&script).dir(scratch.path()).run();
    assert_eq!(run.code(), Some(0), "{choose}: {run}");
    let names = std::fs::read_dir(scratch.join("root")).unwrap();
    let text = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        format!("{name} {}", std::fs::read_to_string(entry.path()).unwrap())
    };
    let mut files: Vec<_> = names.map(|entry| text(entry.unwrap())).collect();
    files.sort();
    files
}

/// The image's own layers are moved from the old base to the new one.
#[test]
fn a_rebase_is_tail_and_cat() {
    let files = built(
        "list-blobs --layers --diff-ids --from oci:l app.m |
             tail -n +$(($(list-blobs --layers old.m | wc -l) + 1)) >on-top &&
         list-blobs --config new.m | fetch-blob oci:l >base.json && base='--base base.json' &&
         list-blobs --layers new.m >below && cat below on-top >lines",
    );
    assert_eq!(files, ["app mine", "last y", "more z", "os 2"]);
}

#[test]
fn dropping_a_layer_is_head() {
    let files = built(
        "list-blobs --layers --diff-ids --from oci:l app.m | head -n 2 >lines && cp lines on-top",
    );
    assert_eq!(files, ["app mine", "junk x", "os 1"]);
    let files = built(
        "list-blobs --layers --diff-ids --from oci:l app.m >all &&
         head -n 1 all >lines && tail -n 1 all >>lines && cp lines on-top",
    );
    assert_eq!(files, ["last y", "os 1"]);
}

/// The image's own layers become one layer, and the base is unchanged.
#[test]
fn squashing_the_upper_layers_is_head_and_cat() {
    let files = built(
        "list-blobs --layers --diff-ids --from oci:l app.m >all &&
         head -n 1 all | unpack-layer --no-config --no-same-owner --from oci:l below >lines &&
         unpack-layer --no-config --no-same-owner --from oci:l full <all >unpacked &&
         pack-layer full --base below --into oci:l >>lines && cp lines on-top &&
         test $(wc -l <lines) = 2",
    );
    assert_eq!(files, ["app mine", "last y", "os 1"]);
}

// Manifests without layers.

/// Copies a manifest from one registry to another, and into a layout, with the pipeline of the
/// manual.
#[track_caller]
fn copies(source: &FakeRegistry, manifest: &Blob) {
    let target = FakeRegistry::start();
    let scratch = Scratch::new();
    for walk in ["", "--recursive --from $FROM"] {
        for (to, move_blobs) in [
            (target.repo("app"), "push-blob $TO --from $FROM"),
            ("oci:l".to_owned(), "push-blob $TO --from $FROM"),
            ("oci:l".to_owned(), "fetch-blob $FROM --into $TO"),
        ] {
            let script = format!(
                "fetch-manifest $FROM:1 >m && list-blobs {walk} m | {move_blobs} >lines &&
                 put-manifest $TO:1 m && fetch-manifest $TO:1 | cmp - m && test -s lines"
            );
            let run = shell(&script).env("FROM", source.repo("app")).env("TO", &to);
            let run = run.dir(scratch.path()).run();
            assert_eq!(run.code(), Some(0), "{to}: {script}: {run}");
            assert_eq!(run.stdout, manifest.line().as_bytes());
        }
    }
}

#[test]
fn an_artifact_without_layers_is_copied() {
    for data in [json!("e30="), json!(null)] {
        let source = FakeRegistry::start();
        let empty = Blob::new("application/vnd.oci.empty.v1+json", "{}");
        source.add_blob("app", empty.bytes.clone());
        let mut config = empty.descriptor();
        config["data"] = data;
        let manifest = json!({"schemaVersion": 2, "mediaType": types::MANIFEST,
            "artifactType": "application/x", "config": config, "layers": []});
        let manifest = Blob::json(types::MANIFEST, &manifest);
        source.add_manifest("app", "1", &manifest);
        copies(&source, &manifest);
    }
}

#[test]
fn an_empty_index_and_an_image_without_layers_are_copied() {
    let source = FakeRegistry::start();
    let top = index(types::INDEX, &[]);
    source.add_manifest("app", "1", &top);
    copies(&source, &top);
    let image = Image::new(&[]);
    source.add_image("app", "1", &image);
    copies(&source, &image.manifest);
}
