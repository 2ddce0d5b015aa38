// SPDX-License-Identifier: Apache-2.0
//! build-config --schema1: the config of a Docker schema 1 manifest, compared with the config that
//! skopeo makes.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::images::{Blob, Image, file, gzip, tar, types};
use tests::peers::{must, peer};
use tests::schema1::{self, GATE, id};
use tests::scratch::Scratch;
use tests::tools::{Run, tool};

/// A schema 1 manifest as Docker wrote it, of an image with two layers. Its topmost entry changes
/// no file, and one entry is repeated.
struct Old {
    image: Image,
    empty: Blob,
    records: Vec<Value>,
}

impl Old {
    fn new() -> Old {
        let records = vec![
            json!({
                "architecture": "amd64",
                "config": {"Hostname": "x", "Env": ["A=<1>&2"], "Cmd": ["sh"]},
                "container": "c",
                "container_config": {"Cmd": ["/bin/sh", "-c", "#(nop) CMD [\"sh\"] <&>\u{2028}é"]},
                "created": "2016-01-02T03:04:05.120000000Z",
                "docker_version": "1.9.1",
                "id": id('c'),
                "os": "linux",
                "parent": id('b'),
                "throwaway": true,
                "Size": 3,
                "zeta": 1,
                "alpha": [{"z": 1, "a": 2}],
            }),
            json!({
                "id": id('b'),
                "parent": id('a'),
                "created": "2016-01-02T03:04:04+01:00",
                "author": "me <me@example.com>",
                "comment": "c",
                "container_config": {"Cmd": ["a", "b"]},
            }),
            json!({
                "id": id('a'),
                "created": "2016-01-02T03:04:03Z",
                "container_config": {"Cmd": null},
            }),
        ];
        let empty = Blob::new("", gzip(&[0; 1024]));
        let image = Image::new(&[&[file("one", "1")], &[file("two", "2")]]);
        Old { image, empty, records }
    }

    fn document(&self) -> Value {
        let [base, top] = [&self.image.layers[0].digest, &self.image.layers[1].digest];
        let [third, second, first] = &self.records[..] else { unreachable!() };
        schema1::document(
            &[&self.empty.digest, top, top, base],
            &[third, second, second, first].map(Value::to_string),
        )
    }

    /// The document with its signature inside, as registries serve it.
    fn signed(&self) -> String {
        schema1::signed(&self.document())
    }

    /// The lines of its layers with their diff IDs.
    fn lines(&self) -> Vec<String> {
        let layers = self.image.layers.iter().zip(&self.image.diff_ids);
        let line = |(layer, diff_id): (&Blob, &String)| {
            let mut line = layer.descriptor();
            line["annotations"] = json!({"containerd.io/uncompressed": diff_id});
            format!("{line}\n")
        };
        layers.map(line).collect()
    }
}

fn convert(manifest: &str, lines: &str, args: &[&str]) -> Run {
    let dir = Scratch::new();
    dir.write("old.json", manifest);
    let command = tool("build-config").args(["--schema1", "old.json"]).args(args).env(GATE, "1");
    command.dir(dir.path()).stdin(lines).run()
}

#[test]
fn a_config_and_its_layers_make_a_manifest() {
    let old = Old::new();
    let dir = Scratch::new();
    dir.write("old.json", old.signed());
    dir.write("lines", old.lines().concat());
    let script = "{ build-config --schema1 old.json --into oci:layout <lines && cat lines; } |
        build-manifest --from oci:layout";
    let run = tests::tools::shell(script).env(GATE, "1").dir(dir.path()).run();
    let manifest: Value = serde_json::from_slice(&run.ok().stdout).unwrap();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
}

#[test]
fn schema_1_is_refused_by_default() {
    let old = Old::new();
    let dir = Scratch::new();
    dir.write("old.json", old.signed());
    for gate in [None, Some("")] {
        let mut command = tool("build-config").args(["--schema1", "old.json"]).dir(dir.path());
        if let Some(gate) = gate {
            command = command.env(GATE, gate);
        }
        let run = command.stdin(old.lines().concat()).run();
        run.fails(6, "[DEPRECATION NOTICE]").says("Suggest the author of old.json").stdout("");
    }
}

#[test]
fn layers_other_than_those_of_the_manifest_are_refused() {
    let old = Old::new();
    let lines = old.lines();
    let refused = |stdin: String, words: &str| {
        convert(&old.signed(), &stdin, &[]).fails(1, words).stdout("");
    };
    refused(lines[0].clone(), "got 1 of 2 layers: did the previous command fail?");
    refused(lines[1].clone() + &lines[0], "layer 1: digest differs: got ");
    refused(lines.concat() + &lines[0], "got 3 layers, want 2");
    convert(&old.signed(), "", &[]).fails(6, "no input").stdout("");
}

#[test]
fn a_manifest_without_a_platform_is_converted_unchanged_unless_one_is_given() {
    let mut old = Old::new();
    old.records[0].as_object_mut().unwrap().remove("os");
    let lines = old.lines().concat();
    let run = convert(&old.signed(), &lines, &[]);
    run.status(0).says("warning: the config has no os, as in Docker: --platform sets it");
    let config: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(config["os"], json!(null));
    let run = convert(&old.signed(), &lines, &["--platform", "linux/arm64"]);
    let config: Value = serde_json::from_slice(&run.ok().stdout).unwrap();
    assert_eq!((&config["os"], &config["architecture"]), (&json!("linux"), &json!("arm64")));
}

#[test]
fn an_invalid_document_is_refused_with_the_message_of_docker() {
    let old = Old::new();
    let lines = old.lines().concat();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut document = old.document();
        change(&mut document);
        document.to_string()
    };
    let record = |index: usize, key: &str, value: Value| {
        let mut old = Old::new();
        old.records[index][key] = value;
        old.signed()
    };
    let signed = old.signed();
    let no_chain = format!("Invalid parent ID. Expected {}, got {}.", id('a'), id('9'));
    for (manifest, words) in [
        (with(&|d| d["schemaVersion"] = json!(2)), "unsupported schema version 2 for \"old.json\""),
        (with(&|d| d["history"] = json!([])), "length of history not equal to number of layers"),
        (
            with(&|d| {
                d["fsLayers"] = json!([]);
                d["history"] = json!([]);
            }),
            "no FSLayers in manifest for \"old.json\"",
        ),
        (record(0, "id", json!("x")), "image ID 'x' is invalid"),
        (record(2, "parent", json!(id('0'))), "Invalid parent ID in the base layer of the image."),
        (record(1, "parent", json!(id('9'))), &no_chain),
        (record(0, "id", json!(id('a'))), "appears multiple times in manifest"),
        (record(1, "created", json!("yesterday")), "created: invalid time \"yesterday\""),
        (
            with(&|d| d["history"][1]["v1Compatibility"] = json!("{")),
            "history[1]: v1Compatibility: ",
        ),
        (with(&|d| d["fsLayers"][0]["blobSum"] = json!("sha256:../x")), "fsLayers[0]: blobSum: "),
        (with(&|d| d["signatures"] = json!([])), "signatures: empty"),
        (
            signed.replace("\"name\": \"app\"", "\"name\": \"app-and-more\""),
            "signatures: the payload",
        ),
        (signed.replace("\"protected\":\"", "\"protected\":\"!"), "protected is not base64url"),
        (
            old.image.manifest_json().to_string(),
            "is not the media type of a Docker schema 1 manifest",
        ),
        ("{".to_owned(), "not valid JSON"),
        (" ".repeat((4 << 20) + 1), "larger than 4194304 bytes"),
    ] {
        convert(&manifest, &lines, &[]).fails(6, words).says("old.json: ").stdout("");
    }
}

#[test]
fn options_for_fields_of_the_manifest_are_refused() {
    for args in [
        ["--env", "A=1"],
        ["--base", "x"],
        ["--created", "@0"],
        ["--author", "x"],
        ["--comment", "x"],
    ] {
        convert("{}", "", &args).fails(2, "cannot be used with").stdout("");
    }
    let run = tool("build-config").args(["--schema1", "-"]).run();
    run.fails(2, "standard input has the layers' lines");
}

#[test]
fn an_empty_archive_in_an_entry_not_marked_throwaway_is_a_layer() {
    // As in Docker: an entry has no layer only if the manifest marks it `throwaway`.
    let archive = tar(&[]);
    let layer = Blob::new(types::TAR, archive);
    let record =
        json!({"id": id('a'), "docker_version": "1.10.0", "os": "linux", "architecture": "amd64"});
    let document = json!({
        "schemaVersion": 1,
        "fsLayers": [{"blobSum": layer.digest}],
        "history": [{"v1Compatibility": record.to_string()}],
    });
    let run = convert(&document.to_string(), &layer.line(), &[]);
    run.ok().stdout(format!(
        r#"{{"architecture":"amd64","docker_version":"1.10.0","history":[{{}}],"os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        layer.digest
    ));
}

mod with_peers {
    use super::*;

    #[test]
    fn the_config_equals_that_of_skopeo() {
        let old = Old::new();
        for manifest in [old.signed(), old.document().to_string()] {
            let ours = convert(&manifest, &old.lines().concat(), &[]);
            let dir = Scratch::new();
            dir.write("in/manifest.json", old.signed());
            dir.write("in/version", "Directory Transport Version: 1.1\n");
            for blob in old.image.layers.iter().chain([&old.empty]) {
                dir.write(format!("in/{}", &blob.digest["sha256:".len()..]), &blob.bytes);
            }
            let mut skopeo = peer("skopeo");
            skopeo.args(["--insecure-policy", "copy", "--quiet", "--format", "v2s2"]);
            let place = |name: &str| format!("dir:{}", dir.join(name).display());
            must(skopeo.args([place("in"), place("out")]));
            let theirs: Value =
                serde_json::from_slice(&std::fs::read(dir.join("out/manifest.json")).unwrap())
                    .unwrap();
            let digest = theirs["config"]["digest"].as_str().unwrap();
            let config = std::fs::read(dir.join("out").join(&digest["sha256:".len()..])).unwrap();
            // skopeo writes the fields of a history entry in the order of older versions of Docker.
            let [ours, theirs] = [&ours.ok().stdout, &config]
                .map(|config| serde_json::from_slice::<Value>(config).unwrap());
            assert_eq!(ours, theirs);
        }
    }
}
