// SPDX-License-Identifier: Apache-2.0
//! put-manifest with valid and invalid input and healthy registries: exact bytes into a registry or
//! a layout.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::fake_registry::FakeRegistry;
use tests::images::{
    Blob, Image, index, read_blob, read_index, sha256, sha512, types, write_image, write_layout,
};
use tests::peers::{must, peer};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::{Command, tool};

fn put_manifest(reference: &str) -> Command {
    tool("put-manifest").args(["--max-wait", "0", reference])
}

/// A registry that has an image's blobs, and the image.
fn registry_with_blobs() -> (FakeRegistry, Image) {
    let registry = FakeRegistry::start();
    let image = Image::small();
    for blob in image.blobs() {
        registry.add_blob("app", blob.bytes.clone());
    }
    (registry, image)
}

fn tagged(registry: &FakeRegistry, tag: &str) -> String {
    format!("{}:{tag}", registry.repo("app"))
}

#[test]
fn the_bytes_are_sent_unchanged_in_one_request() {
    let (registry, image) = registry_with_blobs();
    let pretty = serde_json::to_vec_pretty(&image.manifest_json()).unwrap();
    let pretty = [b"\n ", &pretty[..], b"\n\n"].concat();
    let manifest = Blob::new(types::MANIFEST, pretty);
    let run = put_manifest(&tagged(&registry, "1")).stdin(manifest.bytes.clone()).run();
    run.ok().stdout(manifest.line());
    let held = registry.manifest("app", "1").unwrap();
    assert_eq!((held.bytes, held.media_type.as_str()), (manifest.bytes.clone(), types::MANIFEST));
    assert_eq!(registry.steps(), [format!("PUT manifest {}", manifest.bytes.len())]);
    let put = &registry.server.requests()[0];
    assert_eq!(put.header("content-type"), Some(types::MANIFEST));
}

#[test]
fn the_manifest_may_be_read_from_a_file() {
    let (registry, image) = registry_with_blobs();
    let scratch = Scratch::new();
    scratch.write("m", &image.manifest.bytes);
    let run = put_manifest(&tagged(&registry, "1")).arg("m").dir(scratch.path()).run();
    run.ok().stdout(image.manifest.line());
    let run = put_manifest(&tagged(&registry, "2")).arg("-").stdin(image.manifest.bytes.clone());
    run.run().ok().stdout(image.manifest.line());
    assert_eq!(registry.tags("app").len(), 2);
    put_manifest(&tagged(&registry, "1"))
        .arg("absent")
        .dir(scratch.path())
        .run()
        .fails(3, "absent");
}

#[test]
fn every_kind_of_manifest_is_sent_with_its_media_type() {
    let (registry, image) = registry_with_blobs();
    let docker = image.docker();
    let mut plain = image.manifest_json();
    plain.as_object_mut().unwrap().remove("mediaType");
    let plain = Blob::json(types::MANIFEST, &plain);
    for manifest in [&image.manifest, &docker.manifest, &plain] {
        let run = put_manifest(&tagged(&registry, "1")).stdin(manifest.bytes.clone()).run();
        run.status(0).stdout(manifest.line());
        assert_eq!(registry.manifest("app", "1").unwrap().media_type, manifest.media_type);
    }
    for (kind, child) in [(types::INDEX, &image), (types::DOCKER_LIST, &docker)] {
        let index = index(kind, &[(&child.manifest, "linux/amd64")]);
        let run = put_manifest(&tagged(&registry, "all")).stdin(index.bytes.clone()).run();
        run.ok().stdout(index.line());
        assert_eq!(registry.manifest("app", "all").unwrap().media_type, kind);
    }
}

#[test]
fn additional_tags_cost_one_request_each_or_none() {
    for by_query in [false, true] {
        let (registry, image) = registry_with_blobs();
        registry.set(|settings| settings.tags_by_query = by_query);
        let run = put_manifest(&tagged(&registry, "1")).args(["--tag", "2", "--tag", "latest"]);
        run.stdin(image.manifest.bytes.clone()).run().ok().stdout(image.manifest.line());
        let mut tags: Vec<_> = registry.tags("app").into_iter().map(|(tag, _)| tag).collect();
        tags.sort();
        assert_eq!(tags, ["1", "2", "latest"]);
        assert!(registry.steps().len() <= 3, "{:?}", registry.steps());
    }
}

#[test]
fn a_manifest_put_by_digest_gets_no_tag() {
    let (registry, image) = registry_with_blobs();
    for digest in [sha256(&image.manifest.bytes), sha512(&image.manifest.bytes)] {
        let reference = format!("{}@{digest}", registry.repo("app"));
        let run = put_manifest(&reference).stdin(image.manifest.bytes.clone()).run();
        assert_eq!(run.ok().lines().len(), 1);
        assert!(run.lines()[0].contains(&digest), "{run}");
        assert_eq!(registry.manifest("app", &digest).unwrap().bytes, image.manifest.bytes);
    }
    assert_eq!(registry.tags("app"), []);
}

#[test]
fn a_digest_other_than_in_the_reference_gives_status_1_without_a_request() {
    let (registry, image) = registry_with_blobs();
    for reference in ["app", "app:1"] {
        let reference = format!("{}@{}", registry.repo(reference), image.config.digest);
        let run = put_manifest(&reference).stdin(image.manifest.bytes.clone()).run();
        run.fails(1, &image.manifest.digest).says(&image.config.digest).stdout("");
    }
    assert_eq!(registry.steps(), Vec::<String>::new());
}

#[test]
fn the_digest_file_is_written_after_the_manifest_is_stored() {
    let (registry, image) = registry_with_blobs();
    let scratch = Scratch::new();
    let put = |name: &str| {
        put_manifest(&tagged(&registry, name))
            .args(["--digestfile", "digest"])
            .stdin(image.manifest.bytes.clone())
            .dir(scratch.path())
            .run()
    };
    registry.intake(|_| tests::fake::Intake::instead(tests::fake::Reply::new(403)));
    put("1").fails(4, "").stdout("");
    assert_eq!(scratch.list(), Vec::<String>::new());
    registry.heal();
    put("1").ok();
    let written = std::fs::read_to_string(scratch.join("digest")).unwrap();
    assert_eq!(written.trim_end(), image.manifest.digest);
}

#[test]
fn check_looks_up_all_blobs_and_lists_missing_ones() {
    let (registry, image) = registry_with_blobs();
    let put = || {
        let run = put_manifest(&tagged(&registry, "1")).arg("--check");
        run.stdin(image.manifest.bytes.clone()).run()
    };
    put().ok();
    let steps = registry.steps();
    let heads = steps.iter().take_while(|step| *step == "HEAD blob").count();
    assert_eq!((heads, steps.len()), (3, 4), "{steps:?}");

    registry.server.forget();
    registry.remove_blob("app", &image.config.digest);
    registry.remove_blob("app", &image.layers[1].digest);
    let run = put();
    assert!(matches!(run.code(), Some(3 | 6)), "{run}");
    run.says(&image.config.digest).says(&image.layers[1].digest).stdout("");
    run.does_not_say(&image.layers[0].digest);
    assert!(!registry.steps().iter().any(|step| step.starts_with("PUT")));
}

#[test]
fn check_looks_up_the_manifests_of_an_index_but_no_non_distributable_layer() {
    let (registry, image) = registry_with_blobs();
    let child = index(types::INDEX, &[(&image.manifest, "linux/amd64")]);
    let run = put_manifest(&tagged(&registry, "1")).arg("--check").stdin(child.bytes.clone());
    let run = run.run();
    assert!(matches!(run.code(), Some(3 | 6)), "{run}");
    run.says(&image.manifest.digest);

    let mut foreign =
        Blob::new("application/vnd.oci.image.layer.nondistributable.v1.tar", "x").descriptor();
    foreign["urls"] = json!(["https://example.com/x"]);
    let mut manifest = image.manifest_json();
    manifest["layers"].as_array_mut().unwrap().push(foreign);
    let run = put_manifest(&tagged(&registry, "1")).arg("--check").stdin(manifest.to_string());
    run.run().status(0);
}

#[test]
fn an_invalid_manifest_gives_status_6_without_a_request() {
    let (registry, image) = registry_with_blobs();
    let mut both = image.manifest_json();
    both["manifests"] = json!([]);
    let mut path = image.manifest_json();
    path["config"]["digest"] = json!("sha256:../../etc/passwd");
    let twice = String::from_utf8(image.manifest.bytes.clone()).unwrap();
    let twice = twice.replacen("\"schemaVersion\":2", "\"schemaVersion\":2,\"layers\":[]", 1);
    let mut negative = image.manifest_json();
    negative["config"]["size"] = json!(-1);
    for (what, bytes) in [
        ("nothing", String::new()),
        ("white space", " \n".to_owned()),
        ("no JSON", "<html>".to_owned()),
        ("no object", "[]".to_owned()),
        ("empty", "{}".to_owned()),
        ("cut", String::from_utf8_lossy(&image.manifest.bytes[..100]).into_owned()),
        ("both", both.to_string()),
        ("a path", path.to_string()),
        ("a key twice", twice),
        ("a negative size", negative.to_string()),
        ("a config", String::from_utf8(image.config.bytes.clone()).unwrap()),
        ("two documents", format!("{0}{0}", image.manifest_json())),
        ("too deep", format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        ("too large", format!("{{\"x\":\"{}\"}}", "x".repeat(40 << 20))),
    ] {
        let run = put_manifest(&tagged(&registry, "1")).stdin(bytes).run();
        assert_eq!(run.code(), Some(6), "{what}: {run}");
        run.fails(6, "").stdout("");
    }
    assert_eq!(registry.steps(), Vec::<String>::new());
}

#[test]
fn empty_input_is_reported() {
    let (registry, _) = registry_with_blobs();
    let run = put_manifest(&tagged(&registry, "1")).run();
    run.fails(6, "did the previous command fail?").stdout("");
}

#[test]
fn wrong_usage_gives_status_2() {
    let (registry, image) = registry_with_blobs();
    let one = tagged(&registry, "1");
    for args in [
        &[][..],
        &["https://example.org/app"],
        &["app:UPPER CASE"],
        &[&one, "--tag", "no tag"],
        &[&one, "--tag", ""],
        &[&one, "m", "another"],
    ] {
        let run = tool("put-manifest").args(args).stdin(image.manifest.bytes.clone()).run();
        assert_eq!(run.code(), Some(2), "{run}");
        run.fails(2, "").stdout("");
    }
    let run = put_manifest(&one).stdin(image.manifest.line()).run();
    run.fails(2, "descriptor line").stdout("");
    assert_eq!(registry.steps(), Vec::<String>::new());
}

#[test]
fn a_layout_with_missing_blobs_gives_status_6_and_a_list() {
    let scratch = Scratch::new();
    let image = Image::small();
    let other = Image::big(1000, 1);
    write_image(&scratch.join("l"), "1", &other);
    write_layout(&scratch.join("l"), "config", &image.config, []);
    let before = read_index(&scratch.join("l"));
    let put = |bytes: &[u8]| put_manifest("oci:l:1").stdin(bytes).dir(scratch.path()).run();
    let run = put(&image.manifest.bytes);
    run.fails(6, "").says(&image.layers[0].digest).says(&image.layers[1].digest).stdout("");
    run.does_not_say(&image.config.digest);
    put(&index(types::INDEX, &[(&image.manifest, "")]).bytes).fails(6, &image.manifest.digest);
    // The tag did not move.
    assert_eq!(read_index(&scratch.join("l")), before);

    let mut manifest = other.manifest_json();
    let mut foreign =
        Blob::new("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "x").descriptor();
    foreign["urls"] = json!(["https://example.com/x"]);
    manifest["layers"].as_array_mut().unwrap().push(foreign);
    put(manifest.to_string().as_bytes()).status(0);
}

#[test]
fn a_missing_layout_is_not_created_for_a_refused_manifest() {
    let scratch = Scratch::new();
    let image = Image::small();
    let run = put_manifest("oci:l:1").stdin(image.manifest.bytes.clone()).dir(scratch.path()).run();
    run.fails(6, &image.config.digest).stdout("");
    assert_eq!(scratch.list(), Vec::<String>::new());
}

#[test]
fn an_unwritable_digest_file_gives_status_7_without_a_request() {
    let (registry, image) = registry_with_blobs();
    let scratch = Scratch::new();
    scratch.write("dir/file", "");
    for name in ["dir", "none/digest"] {
        let run = put_manifest(&tagged(&registry, "1")).args(["--digestfile", name]);
        let run = run.stdin(image.manifest.bytes.clone()).dir(scratch.path()).run();
        run.fails(7, "").stdout("");
        assert_eq!(registry.steps(), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn the_scope_of_the_token_is_pull_and_push() {
    let registry = FakeRegistry::with_tokens();
    let image = Image::small();
    registry.add_image("app", "", &image);
    put_manifest(&tagged(&registry, "1")).stdin(image.manifest.bytes).run().ok();
    let requests = registry.server.requests();
    let token = requests.iter().find(|request| request.path == "/token").unwrap();
    assert_eq!(token.params("scope"), ["repository:app:pull,push"]);
    assert_eq!(registry.tags("app").len(), 1);
}

#[test]
fn a_line_has_only_the_required_fields() {
    let (registry, image) = registry_with_blobs();
    let run = put_manifest(&tagged(&registry, "1")).stdin(image.manifest.bytes).run();
    let line: Value = serde_json::from_slice(&run.ok().stdout).unwrap();
    let keys: Vec<_> = line.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["mediaType", "digest", "size"]);
}

/// Each run reports its own digest. The tag names one of the two manifests.
#[test]
fn two_runs_that_move_one_tag_both_succeed() {
    let registry = FakeRegistry::start();
    let images = [1, 2].map(|seed| Image::big(1000, seed));
    for image in &images {
        registry.add_image("app", "", image);
    }
    registry.fault(|_, right| right.held());
    let start = |image: &Image| {
        let put =
            tool("put-manifest").args(["--plain-http", &format!("{}:1", registry.repo("app"))]);
        put.stdin(image.manifest.bytes.clone()).start()
    };
    let running = images.each_ref().map(start);
    registry.server.wait_for_stalls(2);
    registry.server.release();
    for (running, image) in running.into_iter().zip(&images) {
        running.wait().ok().stdout(image.manifest.line());
    }
    let held = registry.manifest("app", "1").unwrap().digest;
    assert!(images.iter().any(|image| image.manifest.digest == held));
}

mod with_peers {
    use super::*;

    #[test]
    fn a_layout_with_all_blobs_accepts_the_manifest() {
        let scratch = Scratch::new();
        let image = Image::small();
        let layout = scratch.join("l");
        write_image(&layout, "old", &image);
        std::fs::remove_file(layout.join("blobs").join(image.manifest.digest.replace(':', "/")))
            .unwrap();
        let run = put_manifest("oci:l:1").args(["--tag", "2"]).stdin(image.manifest.bytes.clone());
        run.dir(scratch.path()).run().ok().stdout(image.manifest.line());
        assert_eq!(read_blob(&layout, &image.manifest.digest), Some(image.manifest.bytes));
        let index = read_index(&layout);
        let names: Vec<_> = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap()
            })
            .collect();
        assert_eq!(names, ["old", "1", "2"]);
        must(peer("skopeo").args(["inspect", "--raw"]).arg(format!("oci:{}:2", layout.display())));
    }

    #[test]
    fn a_real_registry_returns_the_same_bytes() {
        let registry = Registry::start();
        let image = Image::small();
        for blob in image.blobs() {
            registry.put_blob("app", &blob.bytes);
        }
        let mark = registry.mark();
        let run = put_manifest(&format!("{}:1", registry.repo("app"))).args(["--tag", "2"]);
        run.stdin(image.manifest.bytes.clone()).run().ok().stdout(image.manifest.line());
        assert_eq!(registry.steps_since(mark), ["PUT manifest 201"; 2]);
        for tag in ["1", "2"] {
            assert_eq!(registry.get(&format!("app/manifests/{tag}")), image.manifest.bytes);
        }
        let shown = must(
            peer("skopeo")
                .args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"])
                .arg(format!("docker://{}:2", registry.repo("app"))),
        );
        assert_eq!(String::from_utf8(shown).unwrap().trim(), image.manifest.digest);
    }
}
