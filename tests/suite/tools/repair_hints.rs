// SPDX-License-Identifier: Apache-2.0
//! A blob of a layout is missing, or has wrong bytes or a wrong size. Every tool that reads it
//! shows the command that fetches it, and this command mends the layout.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;

use serde_json::json;
use tests::commands::plain;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, index, types, write_image, write_layout};
use tests::scratch::Scratch;
use tests::tools::{Run, shell, tool};

/// A layout `l` with an image as `1` and an index of it as `all`. Their documents are in `m` and
/// `i`, and the lines of the image's config and layers in `lines`.
struct Place {
    dir: Scratch,
    image: Image,
}

impl Place {
    fn new() -> Place {
        let (dir, image) = (Scratch::new(), Image::for_platform("linux", "amd64"));
        write_image(&dir.join("l"), "1", &image);
        let all = index(types::INDEX, &[(&image.manifest, "linux/amd64")]);
        write_layout(&dir.join("l"), "all", &all, []);
        dir.write("m", &image.manifest.bytes);
        dir.write("i", &all.bytes);
        dir.write("manifest-line", image.manifest.line());
        let lines = std::iter::once(&image.config).chain(&image.layers);
        dir.write("lines", lines.map(Blob::line).collect::<String>());
        Place { dir, image }
    }

    /// Changes one byte of a blob, or removes the last one.
    fn damage(&self, blob: &Blob, is_cut: bool) {
        let mut bytes = blob.bytes.clone();
        if is_cut {
            bytes.pop();
        } else {
            *bytes.last_mut().unwrap() ^= 1;
        }
        fs::write(self.dir.join("l/blobs").join(blob.digest.replace(':', "/")), bytes).unwrap();
    }

    fn remove(&self, blob: &Blob) {
        fs::remove_file(self.dir.join("l/blobs").join(blob.digest.replace(':', "/"))).unwrap();
    }

    fn run(&self, command: &str) -> Run {
        let _ = fs::remove_dir_all(self.dir.join("new"));
        shell(command).dir(self.dir.path()).run()
    }

    /// Checks that each command fails with this hint, whatever the damage.
    fn hints(&self, blob: &Blob, commands: &[&str], hint: &str) {
        for is_cut in [false, true] {
            self.damage(blob, is_cut);
            for command in commands {
                let name = command.split(' ').next().unwrap();
                self.run(command).status(1).says(&format!("{name}: hint: {hint}\n"));
            }
        }
    }

    /// Runs the command of a hint for a registry that has the image, and checks that all blobs are
    /// right then.
    fn is_mended_by(&self, command: &str, stdin: &str) {
        let registry = FakeRegistry::start();
        registry.add_image("app", "1", &self.image);
        let command = command.replace("STORE", "REPO").replace("REPO", &registry.repo("app"));
        let words: Vec<&str> = command.split(' ').collect();
        let run = plain(words[0]).args(&words[1..]).stdin(stdin).dir(self.dir.path()).run();
        run.status(0);
        let all = self.image.manifest.line() + &fs::read_to_string(self.dir.join("lines")).unwrap();
        tool("verify-digest").args(["--from", "oci:l"]).stdin(all).dir(self.dir.path()).run().ok();
    }
}

const FETCH_BLOB: &str = "fetch-blob STORE --into oci:l --recheck";

#[test]
fn a_wrong_layer_is_fetched_again() {
    let place = Place::new();
    let layer = &place.image.layers[0];
    let one = format!("fetch-blob oci:l {} -o new", layer.digest);
    let commands = [
        "list-layer --from oci:l <lines",
        "list-layer --merged --from oci:l <lines",
        "list-layer --extract nothing --from oci:l <lines",
        "unpack-layer --from oci:l new <lines",
        "verify-digest --from oci:l <lines",
        "push-blob oci:new --from oci:l <lines",
        &one,
        &one.replace(" -o new", ""),
        "fetch-blob oci:l --into oci:new <lines",
    ];
    place.hints(layer, &commands, &format!("{FETCH_BLOB} fetches the blob again"));
    place.is_mended_by(FETCH_BLOB, &fs::read_to_string(place.dir.join("lines")).unwrap());
}

#[test]
fn a_wrong_config_is_fetched_again() {
    let place = Place::new();
    let commands = [
        "list-layer --from oci:l <lines",
        "unpack-layer --from oci:l new <lines",
        "verify-digest --from oci:l <lines",
        "push-blob oci:new --from oci:l <lines",
        "fetch-blob oci:l --into oci:new <lines",
        "build-manifest --from oci:l <lines",
        "build-index --from oci:l <manifest-line",
        "list-blobs --diff-ids --from oci:l m",
        "fetch-manifest -p linux/amd64 oci:l:1",
    ];
    place.hints(&place.image.config, &commands, &format!("{FETCH_BLOB} fetches the blob again"));
    place.is_mended_by(FETCH_BLOB, &place.image.config.line());
}

#[test]
fn a_wrong_manifest_is_fetched_again() {
    let place = Place::new();
    let manifest = &place.image.manifest;
    let by_digest = format!("fetch-manifest oci:l@{}", manifest.digest);
    let commands = [
        "fetch-manifest oci:l:1",
        &by_digest,
        "fetch-manifest -p linux/amd64 oci:l:all",
        "list-blobs --recursive --from oci:l i",
        "build-index --from oci:l <manifest-line",
    ];
    let mend = format!("fetch-manifest REPO@{} --into oci:l", manifest.digest);
    place.hints(manifest, &commands, &format!("{mend} fetches the manifest again"));
    place.is_mended_by(&mend, "");
}

#[test]
fn a_missing_blob_is_fetched() {
    let place = Place::new();
    let layer = &place.image.layers[0];
    let fetch = "fetch-blob STORE --into oci:l";
    place.remove(layer);
    for command in [
        "list-layer --from oci:l <lines",
        "list-layer --extract platform --from oci:l <lines",
        "unpack-layer --from oci:l new <lines",
        "verify-digest --from oci:l <lines",
        "push-blob oci:new --from oci:l <lines",
        "fetch-blob oci:l --into oci:new <lines",
    ] {
        let name = command.split(' ').next().unwrap();
        let run = place.run(command);
        run.status(3).says(&format!("{name}: hint: {fetch} fetches the blob\n"));
    }
    let foreign = layer.line().replace("layer.v1", "layer.nondistributable.v1");
    assert_ne!(foreign, layer.line());
    place.dir.write("foreign", foreign);
    let run = place.run("unpack-layer --no-config --from oci:l new <foreign");
    run.status(3).says(&format!("unpack-layer: hint: {fetch} fetches the blob\n"));
    place.is_mended_by(fetch, &layer.line());
    place.remove(&place.image.config);
    for command in ["list-layer --from oci:l <lines", "build-manifest --from oci:l <lines"] {
        place.run(command).status(3).says(&format!("hint: {fetch} fetches the blob\n"));
    }
}

#[test]
fn a_missing_manifest_is_fetched() {
    let place = Place::new();
    let digest = &place.image.manifest.digest;
    let fetch = format!("fetch-manifest REPO@{digest} --into oci:l");
    place.remove(&place.image.manifest);
    for (status, command) in [
        (3, "fetch-manifest -p linux/amd64 oci:l:all"),
        (3, &format!("fetch-manifest oci:l@{digest}")),
        (3, "list-blobs --recursive --from oci:l i"),
        (3, "build-index --from oci:l <manifest-line"),
        (6, "sweep-layout oci:l"),
    ] {
        let name = command.split(' ').next().unwrap();
        let run = place.run(command);
        run.status(status).says(&format!("{name}: hint: {fetch} fetches the manifest\n"));
    }
    place.is_mended_by(&fetch, "");
}

/// The bytes of the layer are those of its digest, so fetching it again would not help.
#[test]
fn a_layer_with_another_diff_id_than_the_config_is_not_a_wrong_blob() {
    let place = Place::new();
    let other = format!("sha256:{}", "0".repeat(64));
    let config = json!({"os": "linux", "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [other]}});
    let config = Blob::json(types::CONFIG, &config);
    write_layout(&place.dir.join("l"), "other", &config, []);
    place.dir.write("lines", config.line() + &place.image.layers[0].line());
    for command in [
        "list-layer --merged --from oci:l <lines",
        "list-layer --extract nothing --from oci:l <lines",
        "unpack-layer --from oci:l new <lines",
    ] {
        place.run(command).status(1).says("diff ID").does_not_say("fetches");
    }
}
