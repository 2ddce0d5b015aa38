// SPDX-License-Identifier: Apache-2.0
//! An optional field that is `null` counts as absent in all tools. A required field that is `null`
//! is refused.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::commands::{fetch_blob, fetch_manifest, plain};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, index, types};
use tests::scratch::Scratch;
use tests::tools::{shell, tool};

/// An image's manifest with these changes.
fn changed(image: &Image, change: impl FnOnce(&mut Value)) -> Blob {
    let mut document = image.manifest_json();
    change(&mut document);
    Blob::json(types::MANIFEST, &document)
}

#[test]
fn null_of_an_optional_field_is_absence_in_a_manifest() {
    let registry = FakeRegistry::with_image();
    let image = Image::small();
    let without = |document: &mut Value, key: &str| document[key] = Value::Null;
    for key in ["subject", "artifactType", "annotations", "mediaType"] {
        let manifest = changed(&image, |document| without(document, key));
        registry.add_manifest("app", "2", &manifest);
        fetch_manifest().arg(format!("{}:2", registry.repo("app"))).run().ok();
        tool("list-blobs").stdin(manifest.bytes.clone()).run().ok().stdout(image.lines());
        tool("detect-mediatype").stdin(manifest.bytes.clone()).run().ok();
    }
    for key in ["annotations", "urls", "data", "artifactType", "platform"] {
        let manifest = changed(&image, |document| without(&mut document["layers"][0], key));
        registry.add_manifest("app", "2", &manifest);
        fetch_manifest().arg(format!("{}:2", registry.repo("app"))).run().ok();
        let lines = tool("list-blobs").stdin(manifest.bytes).run().ok().stdout.clone();
        let scratch = Scratch::new();
        let run = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]);
        // The lines are printed unchanged.
        run.dir(scratch.path()).stdin(lines.clone()).run().ok().stdout(lines);
    }
}

#[test]
fn null_of_a_required_field_is_refused() {
    let image = Image::small();
    let run = |change: &dyn Fn(&mut Value)| {
        let manifest = changed(&image, change);
        tool("list-blobs").stdin(manifest.bytes).run().fails(6, "").stdout("");
    };
    for key in ["config", "schemaVersion"] {
        run(&|document| document[key] = Value::Null);
    }
    for key in ["mediaType", "digest", "size"] {
        run(&|document| document["layers"][0][key] = Value::Null);
    }
}

#[test]
fn a_null_artifact_type_or_platform_of_an_entry_counts_as_absent() {
    let registry = FakeRegistry::with_image();
    let image = Image::small();
    let mut entry = image.manifest.descriptor();
    entry["platform"] = json!({"os": "linux", "architecture": "amd64", "variant": null});
    entry["platform"]["os.version"] = Value::Null;
    entry["artifactType"] = Value::Null;
    entry["annotations"] = Value::Null;
    let document = json!({"schemaVersion": 2, "mediaType": types::INDEX, "manifests": [entry]});
    registry.add_manifest("app", "i", &Blob::json(types::INDEX, &document));
    let run = fetch_manifest().args(["-p", "linux/amd64", &format!("{}:i", registry.repo("app"))]);
    run.run().ok().stdout(image.manifest.bytes.clone());
}

#[test]
fn a_name_is_given_to_an_entry_whose_annotations_are_null() {
    let (scratch, registry) = (Scratch::new(), FakeRegistry::with_image());
    let nested = index(types::INDEX, &[(&Image::small().manifest, "linux/amd64")]);
    let mut document: Value = serde_json::from_slice(&nested.bytes).unwrap();
    document["manifests"][0]["annotations"] = Value::Null;
    registry.add_manifest("app", "i", &Blob::json(types::INDEX, &document));
    let args = ["-p", "linux/amd64", &format!("{}:i", registry.repo("app"))];
    let run = fetch_manifest().args(args).args(["--into", "oci:l:2", "-o", "m"]);
    run.dir(scratch.path()).run().ok();
    let repo = registry.repo("app");
    let blobs = format!("list-blobs m | fetch-blob --plain-http {repo} --into oci:l >lines");
    shell(&blobs).dir(scratch.path()).run().ok();
    tool("list-tags").arg("oci:l").dir(scratch.path()).run().ok().stdout("2\n");
}

#[test]
fn a_referrer_whose_artifact_type_is_null_has_its_configs_type() {
    let registry = FakeRegistry::with_image();
    let image = Image::small();
    let manifest = changed(&image, |document| {
        document["subject"] = image.manifest.descriptor();
        document["artifactType"] = Value::Null;
        document["annotations"] = Value::Null;
    });
    let put = plain("put-manifest")
        .arg(format!("{}@{}", registry.repo("app"), manifest.digest))
        .stdin(manifest.bytes.clone());
    put.run().ok();
    let tag = image.manifest.digest.replace(':', "-");
    let list = registry.manifest("app", &tag).unwrap();
    let list: Value = serde_json::from_slice(&list.bytes).unwrap();
    assert_eq!(list["manifests"][0]["artifactType"], types::CONFIG);
    assert_eq!(list["manifests"][0].get("annotations"), None);
}
