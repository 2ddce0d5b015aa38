// SPDX-License-Identifier: Apache-2.0
//! Blobs that a manifest carries in the field `data` of their descriptors: put-manifest stores them
//! itself, so that the empty config of an artifact needs no other command.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::commands::plain;
use tests::fake::{End, Intake, Reply, first};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, index, read_blob, types, write_layout};
use tests::scratch::Scratch;
use tests::tools::{Command, Run, shell};

const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A descriptor that carries its content.
fn carrying(blob: &Blob) -> Value {
    let mut descriptor = blob.descriptor();
    descriptor["data"] = json!(STANDARD.encode(&blob.bytes));
    descriptor
}

fn empty() -> Blob {
    Blob::new(EMPTY, "{}")
}

/// The file of an artifact.
fn file() -> Blob {
    Blob::new("text/plain", "a file")
}

/// An artifact with these layers. The descriptor of its empty config carries the content.
fn artifact(layers: &[Value]) -> Blob {
    let manifest = json!({"schemaVersion": 2, "mediaType": types::MANIFEST,
        "artifactType": "application/x", "config": carrying(&empty()), "layers": layers});
    Blob::json(types::MANIFEST, &manifest)
}

/// An artifact of one file, which the registry has.
fn registry() -> (FakeRegistry, Blob) {
    let registry = FakeRegistry::start();
    registry.add_blob("app", file().bytes);
    (registry, artifact(&[file().descriptor()]))
}

fn put(registry: &FakeRegistry, manifest: &Blob) -> Command {
    let name = format!("{}:1", registry.repo("app"));
    plain("put-manifest").arg(name).stdin(manifest.bytes.clone())
}

fn has(registry: &FakeRegistry, blob: &Blob) -> bool {
    registry.blob("app", &blob.digest).is_some_and(|bytes| bytes[..] == blob.bytes)
}

#[test]
fn the_empty_config_is_sent_before_the_manifest() {
    let (registry, artifact) = registry();
    put(&registry, &artifact).run().ok().stdout(artifact.line());
    assert!(has(&registry, &empty()));
    let manifest = format!("PUT manifest {}", artifact.bytes.len());
    let steps = registry.steps();
    assert_eq!(steps, ["HEAD blob", "POST uploads", "PUT session 2", &manifest], "{steps:?}");
    // A blob that the registry has costs one request.
    registry.server.forget();
    put(&registry, &artifact).run().ok();
    assert_eq!(registry.steps(), ["HEAD blob", &manifest]);
}

#[test]
fn layers_are_sent_too_and_each_digest_once() {
    let registry = FakeRegistry::start();
    let layer = Blob::new("text/plain", vec![0xff; 5000]);
    let nothing = Blob::new("text/plain", "");
    let layers = [carrying(&layer), carrying(&empty()), layer.descriptor(), carrying(&nothing)];
    put(&registry, &artifact(&layers)).run().ok();
    assert!([&layer, &empty(), &nothing].iter().all(|blob| has(&registry, blob)));
    let starts = registry.steps().iter().filter(|step| *step == "POST uploads").count();
    assert_eq!(starts, 3, "{:?}", registry.steps());
}

/// The error is about the missing blob, and no store has the wrong data.
#[test]
fn wrong_data_is_not_used() {
    let right = Blob::new("text/plain", "right");
    for (data, why) in [
        ("d3Jvbmc=", "data: digest differs"),
        ("d3Jvbmch", "data: size differs: got 6"),
        ("cmlnaHQ", "data is not base64"),
        ("!", "data is not base64"),
        ("", "data: size differs: got 0"),
    ] {
        let mut layer = right.descriptor();
        layer["data"] = json!(data);
        let manifest = artifact(&[layer]);
        let registry = FakeRegistry::start();
        let run = put(&registry, &manifest).run();
        run.status(6).says(why).says("not used").says(&right.digest).stdout("");
        assert_eq!(registry.tags("app"), []);
        assert!(registry.blob("app", &right.digest).is_none());
        // If the registry has the blob, only the warning is printed.
        registry.add_blob("app", right.bytes.clone());
        put(&registry, &manifest).run().status(0).says(why);

        let scratch = Scratch::new();
        let run = plain("put-manifest").arg("oci:l:1").stdin(manifest.bytes);
        run.dir(scratch.path()).run().status(6).says(why).says(&right.digest);
        assert!(!scratch.join("l").exists());
    }
}

#[test]
fn check_sends_nothing_if_another_blob_is_missing() {
    let registry = FakeRegistry::start();
    let artifact = artifact(&[file().descriptor()]);
    let run = put(&registry, &artifact).arg("--check").run();
    run.fails(6, &file().digest).does_not_say(&empty().digest);
    assert_eq!(registry.steps(), ["HEAD blob"]);
    registry.add_blob("app", file().bytes);
    put(&registry, &artifact).arg("--check").run().ok();
    assert!(has(&registry, &empty()));
}

#[test]
fn a_layout_gets_them_too() {
    let scratch = Scratch::new();
    let layout = scratch.join("l");
    let only = artifact(&[carrying(&empty())]);
    let put = |manifest: &Blob, name: &str| {
        let put = plain("put-manifest").arg(name).stdin(manifest.bytes.clone());
        put.dir(scratch.path()).run()
    };
    // Nothing else is missing, so the layout is created.
    put(&only, "oci:l:1").ok().stdout(only.line());
    assert_eq!(read_blob(&layout, &empty().digest), Some(b"{}".to_vec()));

    write_layout(&layout, "file", &file(), []);
    let other = artifact(&[file().descriptor()]);
    // A damaged blob is replaced.
    scratch.write(format!("l/blobs/{}", empty().digest.replace(':', "/")), "[]");
    put(&other, "oci:l:2").ok().stdout(other.line());
    assert_eq!(read_blob(&layout, &empty().digest), Some(b"{}".to_vec()));
}

#[test]
fn manifests_in_an_index_and_non_distributable_layers_are_not_sent() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "", &image);
    let mut document: Value =
        serde_json::from_slice(&index(types::INDEX, &[(&image.manifest, "")]).bytes).unwrap();
    document["manifests"][0] = carrying(&image.manifest);
    put(&registry, &Blob::json(types::INDEX, &document)).run().ok();

    let kind = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    let mut layer = carrying(&Blob::new(kind, "x"));
    layer["urls"] = json!(["https://layers.example/1"]);
    put(&registry, &artifact(&[layer])).run().ok();
    let starts = registry.steps().iter().filter(|step| *step == "POST uploads").count();
    assert_eq!(starts, 1, "{:?}", registry.steps());
}

#[test]
fn a_failed_upload_gives_its_status_and_the_tag_does_not_move() {
    for (status, want) in [(401, 4), (403, 4), (500, 5), (400, 6), (404, 3)] {
        for at_start in [true, false] {
            let (registry, artifact) = registry();
            registry.intake(move |request| {
                let is_it = if at_start { request.is_start() } else { request.is_close() };
                if is_it {
                    Intake::instead(Reply::error(status, "UNKNOWN", "not here"))
                } else {
                    Intake::whole()
                }
            });
            let run = put(&registry, &artifact).run();
            run.fails(want, if status == 401 { "401" } else { "not here" }).stdout("");
            assert_eq!(registry.tags("app"), [], "{status}");
            assert!(!registry.steps().iter().any(|step| step.starts_with("PUT manifest")));
            // The session is cancelled.
            assert_eq!(registry.sessions(), [], "{status}");
        }
    }
}

#[test]
fn a_lost_response_is_looked_up_before_anything_is_sent_again() {
    let (registry, artifact) = registry();
    let is_first = first(1, tests::fake::Request::is_close);
    registry.fault(
        move |request, right| {
            if is_first(request) { right.cut(0, End::Reset) } else { right }
        },
    );
    let name = format!("{}:1", registry.repo("app"));
    let put = tests::tools::tool("put-manifest").args(["--plain-http", "--max-wait", "1", &name]);
    put.stdin(artifact.bytes).run().status(0);
    let starts = registry.steps().iter().filter(|step| *step == "POST uploads").count();
    assert_eq!(starts, 1, "{:?}", registry.steps());
}

#[test]
fn a_head_request_that_fails_does_not_prevent_the_upload() {
    let (registry, artifact) = registry();
    registry.fault(|request, right| match request.method.as_str() {
        "HEAD" => Reply::new(405),
        _ => right,
    });
    put(&registry, &artifact).run().ok();
    assert!(has(&registry, &empty()));
}

#[test]
fn another_digest_in_the_response_gives_status_1() {
    let (registry, artifact) = registry();
    let other = file().digest;
    registry.fault(move |request, right| {
        if request.is_close() {
            right.without("Docker-Content-Digest").header("Docker-Content-Digest", &other)
        } else {
            right
        }
    });
    put(&registry, &artifact).run().fails(1, "the registry stored").stdout("");
    assert_eq!(registry.tags("app"), []);
}

/// The pipeline that attaches a file to an image, as a user types it.
const ATTACH: &str = "push-blob $REPO --media-type text/plain file | \
    build-manifest --artifact-type application/x --subject \"$(fetch-manifest --descriptor $REF)\" >a && \
    put-manifest $REPO a";

/// Attaches a file to the image, and returns the digest of the artifact.
#[track_caller]
fn attach(repository: &str, reference: &str, scratch: &Scratch) -> String {
    scratch.write("file", file().bytes);
    let script = shell(ATTACH).env("REPO", repository).env("REF", reference);
    let run: Run = script.dir(scratch.path()).run();
    run.ok();
    let line: Value = serde_json::from_slice(&run.stdout).unwrap();
    line["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_file_is_attached_to_an_image_in_a_layout() {
    let scratch = Scratch::new();
    let image = Image::small();
    tests::images::write_image(&scratch.join("l"), "1", &image);
    let digest = attach("oci:l", "oci:l:1", &scratch);
    assert_eq!(read_blob(&scratch.join("l"), &empty().digest), Some(b"{}".to_vec()));
    assert!(read_blob(&scratch.join("l"), &digest).is_some());
    let tags = plain("list-tags").arg("oci:l").dir(scratch.path()).run();
    // The list of the image's referrers has a name too, as in a registry.
    let list = image.manifest.digest.replace(':', "-");
    tags.ok().stdout(format!("1\n{list}\n"));
}

mod with_peers {
    use super::*;
    use tests::peers::{must, peer};
    use tests::registry::Registry;
    use tests::small_registries::SmallRegistry;

    fn referrers(registry: &str, repository: &str) -> String {
        let mut oras = peer("oras");
        oras.args(["discover", "--plain-http", "--format", "json"]);
        oras.arg(format!("{registry}/{repository}:1"));
        String::from_utf8(must(&mut oras)).unwrap()
    }

    #[test]
    fn a_file_is_attached_to_an_image_in_real_registries() {
        for registry in [Registry::start(), Registry::version_3()] {
            let image = Image::small();
            registry.put_image("app", "1", &image);
            let repository = registry.repo("app");
            let digest = attach(&repository, &format!("{repository}:1"), &Scratch::new());
            assert_eq!(registry.get(&format!("app/blobs/{}", empty().digest)), b"{}");
            assert!(referrers(&registry.host(), "app").contains(&digest));
        }
    }

    #[test]
    fn a_file_is_attached_to_an_image_in_cranes_registry() {
        let crane = SmallRegistry::crane();
        let scratch = Scratch::new();
        tests::images::write_image(&scratch.join("l"), "1", &Image::small());
        let script = "fetch-manifest oci:l:1 >m && list-blobs m | push-blob $REPO --from oci:l && \
            put-manifest $REPO:1 m";
        let repository = format!("{}/app", crane.host());
        let copy = shell(script).env("REPO", &repository).dir(scratch.path()).run();
        copy.ok();
        let digest = attach(&repository, &format!("{repository}:1"), &scratch);
        assert!(referrers(&crane.host(), "app").contains(&digest));
    }
}
