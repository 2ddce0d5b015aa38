// SPDX-License-Identifier: Apache-2.0
//! fetch-manifest: output and storage, the choice of a platform, and refused documents.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::commands::fetch_manifest;
use tests::fake::Reply;
use tests::fake_registry::FakeRegistry;
use tests::images::{
    Blob, Image, index, read_blob, read_index, sha256, sha512, types, write_image, write_layout,
};
use tests::peers::{must, peer};
use tests::scratch::Scratch;
use tests::tools::tool;

/// A registry that serves these bytes with this media type, under their right digest.
fn registry_with(media_type: &str, bytes: impl Into<Vec<u8>>) -> (FakeRegistry, Blob) {
    let registry = FakeRegistry::start();
    let manifest = Blob::new(media_type, bytes);
    registry.add_manifest("app", "1", &manifest);
    (registry, manifest)
}

#[test]
fn the_exact_bytes_come_out_by_tag_and_by_digest() {
    // Spaces and unknown fields are preserved.
    let mut document = Image::small().manifest_json();
    document["x-unknown"] = json!({"b": 1, "a": [1.50, null]});
    let bytes = serde_json::to_vec_pretty(&document).unwrap();
    let (registry, manifest) = registry_with(types::MANIFEST, bytes);
    let app = registry.repo("app");
    for reference in [format!("{app}:1"), format!("{app}@{}", manifest.digest)] {
        fetch_manifest().arg(reference).run().ok().stdout(&manifest.bytes);
    }
}

#[test]
fn a_file_gets_the_bytes_and_stdout_nothing() {
    let (registry, manifest) = registry_with(types::MANIFEST, Image::small().manifest.bytes);
    let scratch = Scratch::new();
    let run = fetch_manifest().args([&format!("{}:1", registry.repo("app")), "-o", "m"]);
    run.dir(scratch.path()).run().ok().stdout("");
    assert_eq!(std::fs::read(scratch.join("m")).unwrap(), manifest.bytes);
    assert_eq!(scratch.list(), ["m"]);
}

#[test]
fn one_request_is_enough_and_accepts_the_current_media_types() {
    let (registry, _) = registry_with(types::MANIFEST, Image::small().manifest.bytes);
    fetch_manifest().arg(format!("{}:1", registry.repo("app"))).run().ok();
    assert_eq!(registry.server.asked(), ["GET /v2/app/manifests/1"]);
    let request = &registry.server.requests()[0];
    let accept = request.header("accept").unwrap_or_default();
    for media_type in [types::MANIFEST, types::INDEX, types::DOCKER_MANIFEST, types::DOCKER_LIST] {
        assert!(accept.contains(media_type), "Accept: {accept}");
    }
    assert!(!accept.contains("*/*") && !accept.contains("prettyjws"), "Accept: {accept}");
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert!(request.header("user-agent").is_some_and(|agent| !agent.is_empty()));
    assert_eq!(request.header("authorization"), None);
}

#[test]
fn media_type_narrows_the_accept_header() {
    let (registry, _) =
        registry_with(types::DOCKER_MANIFEST, Image::small().docker().manifest.bytes);
    let reference = format!("{}:1", registry.repo("app"));
    fetch_manifest().args([&reference, "--media-type", types::DOCKER_MANIFEST]).run().ok();
    let accept = registry.server.requests()[0].header("accept").unwrap().to_owned();
    assert_eq!(accept, types::DOCKER_MANIFEST);
}

#[test]
fn the_digest_needs_a_head_request_only() {
    let (registry, manifest) = registry_with(types::MANIFEST, Image::small().manifest.bytes);
    let reference = format!("{}:1", registry.repo("app"));
    let run = fetch_manifest().args([&reference, "--digest"]).run();
    run.ok().stdout(format!("{}\n", manifest.digest));
    assert_eq!(registry.server.asked(), ["HEAD /v2/app/manifests/1"]);
}

#[test]
fn the_descriptor_is_one_line() {
    let (registry, manifest) = registry_with(types::MANIFEST, Image::small().manifest.bytes);
    let reference = format!("{}:1", registry.repo("app"));
    let run = fetch_manifest().args([&reference, "--descriptor"]).run();
    let lines = run.ok().lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(serde_json::from_str::<Value>(&lines[0]).unwrap(), manifest.descriptor());
}

#[test]
fn a_useless_head_response_is_followed_by_a_get() {
    let (registry, manifest) = registry_with(types::MANIFEST, Image::small().manifest.bytes);
    let reference = format!("{}:1", registry.repo("app"));
    let useless: [fn(Reply) -> Reply; 4] = [
        |_| Reply::error(405, "UNSUPPORTED", "no HEAD here"),
        |_| Reply::new(404),
        |_| Reply::new(501),
        |right| right.without("docker-content-digest"),
    ];
    for spoil in useless {
        registry.fault(
            move |request, right| {
                if request.method == "HEAD" { spoil(right) } else { right }
            },
        );
        let run = fetch_manifest().args([&reference, "--digest"]).run();
        run.ok().stdout(format!("{}\n", manifest.digest));
    }
}

#[test]
fn the_platform_is_picked_from_an_index() {
    let registry = FakeRegistry::start();
    let [amd64, arm64] = ["amd64", "arm64"].map(|arch| Image::for_platform("linux", arch));
    for image in [&amd64, &arm64] {
        registry.add_image("app", "", image);
    }
    let top = index(
        types::INDEX,
        &[(&arm64.manifest, "linux/arm64/v8"), (&amd64.manifest, "linux/amd64")],
    );
    registry.add_manifest("app", "1", &top);
    let reference = format!("{}:1", registry.repo("app"));
    for (platform, image) in
        [("linux/amd64", &amd64), ("linux/arm64", &arm64), ("linux/arm64/v8", &arm64)]
    {
        let run = fetch_manifest().args(["-p", platform, &reference]).run();
        run.ok().stdout(&image.manifest.bytes);
    }
    // Without -p, the index itself is printed.
    fetch_manifest().arg(&reference).run().ok().stdout(&top.bytes);
}

#[test]
fn the_platform_is_found_in_a_list_inside_an_index() {
    let registry = FakeRegistry::start();
    let image = Image::for_platform("linux", "riscv64");
    registry.add_image("app", "", &image);
    let inner = index(types::DOCKER_LIST, &[(&image.manifest, "linux/riscv64")]);
    let middle = index(types::INDEX, &[(&inner, "")]);
    let top = index(types::INDEX, &[(&middle, "")]);
    for (tag, blob) in [("", &inner), ("", &middle), ("1", &top)] {
        registry.add_manifest("app", tag, blob);
    }
    let run = fetch_manifest()
        .args(["-p", "linux/riscv64", &format!("{}:1", registry.repo("app"))])
        .run();
    run.ok().stdout(&image.manifest.bytes);
}

#[test]
fn an_index_a_thousand_deep_is_refused_at_a_limit() {
    let registry = FakeRegistry::start();
    let mut top = index(types::INDEX, &[]);
    for _ in 0..1000 {
        registry.add_manifest("app", "", &top);
        top = index(types::INDEX, &[(&top, "")]);
    }
    registry.add_manifest("app", "1", &top);
    let reference = format!("{}:1", registry.repo("app"));
    fetch_manifest().args(["-p", "linux/amd64", &reference]).run().fails(6, "").stdout("");
    assert!(registry.server.requests().len() < 50);
}

#[test]
fn the_error_for_a_missing_platform_lists_the_available_ones() {
    let registry = FakeRegistry::start();
    let image = Image::for_platform("linux", "amd64");
    registry.add_image("app", "", &image);
    registry.add_manifest("app", "1", &index(types::INDEX, &[(&image.manifest, "linux/amd64")]));
    let reference = format!("{}:1", registry.repo("app"));
    let run = fetch_manifest().args(["-p", "windows/amd64", &reference]).run();
    run.fails(3, "windows/amd64").says("linux/amd64").stdout("");
}

#[test]
fn an_attestation_is_never_picked() {
    let registry = FakeRegistry::start();
    let image = Image::for_platform("linux", "amd64");
    let attestation = Image::for_platform("unknown", "unknown");
    registry.add_image("app", "", &image);
    registry.add_image("app", "", &attestation);
    let top = index(
        types::INDEX,
        &[(&attestation.manifest, "unknown/unknown"), (&image.manifest, "linux/amd64")],
    );
    registry.add_manifest("app", "1", &top);
    let reference = format!("{}:1", registry.repo("app"));
    let run = fetch_manifest().args(["-p", "linux/amd64", &reference]).run();
    run.ok().stdout(&image.manifest.bytes);
}

#[test]
fn bytes_that_do_not_match_the_digest_are_never_written() {
    let (registry, manifest) = registry_with(types::MANIFEST, Image::small().manifest.bytes);
    registry.fault(|_, right| right.corrupted());
    let reference = format!("{}@{}", registry.repo("app"), manifest.digest);
    let scratch = Scratch::new();
    fetch_manifest().arg(&reference).run().fails(1, &manifest.digest).stdout("");
    let into = ["--into", "oci:layout", "-o", "out", &reference];
    fetch_manifest().args(into).dir(scratch.path()).run().fails(1, "").stdout("");
    assert_eq!(read_blob(&scratch.join("layout"), &manifest.digest), None);
    assert!(!scratch.join("out").exists());
}

#[test]
fn a_wrong_digest_header_is_refused_for_a_tag() {
    let (registry, _) = registry_with(types::MANIFEST, Image::small().manifest.bytes);
    registry.fault(|_, right| {
        right.without("docker-content-digest").header("Docker-Content-Digest", sha256(b"other"))
    });
    let reference = format!("{}:1", registry.repo("app"));
    fetch_manifest().arg(reference).run().fails(1, &sha256(b"other")).stdout("");
}

#[test]
fn a_wrong_digest_header_is_a_warning_for_a_digest() {
    let (registry, manifest) = registry_with(types::MANIFEST, Image::small().manifest.bytes);
    registry.fault(|_, right| {
        right.without("docker-content-digest").header("Docker-Content-Digest", sha256(b"other"))
    });
    let reference = format!("{}@{}", registry.repo("app"), manifest.digest);
    let run = fetch_manifest().arg(&reference).run();
    run.status(0).stdout(&manifest.bytes).says("fetch-manifest: warning: ");
    fetch_manifest().args(["-q", &reference]).run().ok();
}

#[test]
fn an_unsupported_invalid_or_missing_digest_header_is_ignored() {
    let (registry, manifest) = registry_with(types::MANIFEST, Image::small().manifest.bytes);
    let reference = format!("{}:1", registry.repo("app"));
    for header in ["blake3:00", "no digest", "sha256:ABC"] {
        registry.fault(move |_, right| {
            right.without("docker-content-digest").header("Docker-Content-Digest", header)
        });
        fetch_manifest().arg(&reference).run().status(0).stdout(&manifest.bytes);
    }
    registry.fault(|_, right| right.without("docker-content-digest"));
    fetch_manifest().arg(&reference).run().ok().stdout(&manifest.bytes);
}

#[test]
fn a_sha512_digest_is_computed_and_checked() {
    let registry = FakeRegistry::start();
    let mut manifest = Image::small().manifest;
    manifest.digest = sha512(&manifest.bytes);
    registry.add_manifest("app", "", &manifest);
    let reference = format!("{}@{}", registry.repo("app"), manifest.digest);
    fetch_manifest().arg(&reference).run().ok().stdout(&manifest.bytes);
    registry.fault(|_, right| right.corrupted());
    fetch_manifest().arg(&reference).run().fails(1, &manifest.digest).stdout("");
}

/// None of these documents may be accepted as a manifest.
#[test]
fn ambiguous_or_invalid_manifests_are_refused() {
    let image = Image::small();
    let good = image.manifest_json();
    let with = |key: &str, value: Value| {
        let mut document = good.clone();
        document[key] = value;
        document.to_string().into_bytes()
    };
    let text = String::from_utf8(image.manifest.bytes.clone()).unwrap();
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let upper = good.to_string().replace("sha256:", "sha256:A");
    let path = good.to_string().replace(&image.config.digest, "sha256:../../../etc/passwd");
    let cases: [(&str, Vec<u8>); 16] = [
        ("layers and manifests at once", with("manifests", json!([]))),
        ("a mediaType that is not its Content-Type", with("mediaType", json!(types::INDEX))),
        ("schema version 3", with("schemaVersion", json!(3))),
        ("a size that is text", text.replace("\"size\":", "\"size\":\"\",\"was\":").into_bytes()),
        ("a negative size", text.replace("\"size\":", "\"size\":-").into_bytes()),
        ("the key layers twice", text.replacen('{', "{\"layers\":[],", 1).into_bytes()),
        ("a path as digest", path.into_bytes()),
        ("digits in upper case", upper.into_bytes()),
        ("a second document behind it", format!("{text}{text}").into_bytes()),
        ("garbage behind it", format!("{text}]").into_bytes()),
        ("a byte order mark", format!("\u{feff}{text}").into_bytes()),
        ("no UTF-8", [b"{\"x\":\"\xff\",", &text.as_bytes()[1..]].concat()),
        ("nesting without end", format!("{{\"x\":{deep},{}", &text[1..]).into_bytes()),
        ("no object", b"[]".to_vec()),
        ("no JSON", b"hello".to_vec()),
        ("nothing at all", Vec::new()),
    ];
    for (what, bytes) in cases {
        let (registry, _) = registry_with(types::MANIFEST, bytes);
        let run = fetch_manifest().arg(format!("{}:1", registry.repo("app"))).run();
        assert_eq!(run.code(), Some(6), "{what}: {run}");
        run.fails(6, "").stdout("");
    }
}

#[test]
fn a_plugin_is_refused_also_inside_a_manifest_list() {
    let plugin = "application/vnd.docker.plugin.v1+json";
    let image = Image::small().docker();
    let mut document = image.manifest_json();
    document["config"]["mediaType"] = json!(plugin);
    let image = image.with_manifest(&document);
    let (registry, manifest) = registry_with(types::DOCKER_MANIFEST, image.manifest.bytes);
    let app = registry.repo("app");
    fetch_manifest().arg(format!("{app}:1")).run().fails(6, "target is a plugin").stdout("");
    registry.add_manifest("app", "list", &index(types::DOCKER_LIST, &[(&manifest, "linux/amd64")]));
    let run = fetch_manifest().args(["-p", "linux/amd64", &format!("{app}:list")]).run();
    run.fails(6, "target is a plugin").stdout("");
}

#[test]
fn schema_1_is_refused_by_default() {
    let document = json!({"schemaVersion": 1, "name": "app", "tag": "1", "architecture": "amd64",
        "fsLayers": [], "history": [], "signatures": []});
    let (registry, _) = registry_with(types::DOCKER_SCHEMA1, document.to_string());
    let run = fetch_manifest().arg(format!("{}:1", registry.repo("app"))).run();
    run.fails(6, "schema").stdout("");
}

#[test]
fn an_html_page_is_refused() {
    let (registry, _) = registry_with(types::MANIFEST, Image::small().manifest.bytes);
    registry.fault(|_, _| {
        Reply::ok("<!doctype html><title>Log in</title>").header("Content-Type", "text/html")
    });
    let run = fetch_manifest().arg(format!("{}:1", registry.repo("app"))).run();
    run.fails(6, "text/html").does_not_say("doctype").stdout("");
}

#[test]
fn an_endless_manifest_is_refused_at_the_limit() {
    let (registry, _) = registry_with(types::MANIFEST, Image::small().manifest.bytes);
    for length in [None, Some("99999999999")] {
        registry.fault(move |_, _| {
            let reply = Reply::new(200).header("Content-Type", types::MANIFEST);
            match length {
                Some(length) => reply.content_length(length).endless(" "),
                None => reply.endless(" "),
            }
        });
        let run = fetch_manifest().arg(format!("{}:1", registry.repo("app"))).run();
        run.fails(6, "larger than").stdout("");
    }
}

#[test]
fn without_a_content_type_the_document_decides_the_media_type() {
    let mut document = Image::small().manifest_json();
    document.as_object_mut().unwrap().remove("mediaType");
    let (registry, manifest) = registry_with(types::MANIFEST, document.to_string());
    let reference = format!("{}:1", registry.repo("app"));
    registry.fault(|_, right| right.without("content-type"));
    fetch_manifest().arg(&reference).run().ok().stdout(&manifest.bytes);
    let run = fetch_manifest().args([&reference, "--descriptor"]).run();
    let line: Value = serde_json::from_slice(&run.ok().stdout).unwrap();
    assert_eq!(line["mediaType"], types::MANIFEST);
}

#[test]
fn every_kind_of_404_gives_status_3() {
    let (registry, _) = registry_with(types::MANIFEST, Image::small().manifest.bytes);
    let reference = format!("{}:none", registry.repo("app"));
    let ways: [fn() -> Reply; 4] = [
        || Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        || Reply::error(404, "UNKNOWN", "unknown"),
        || Reply::new(404).header("Content-Type", "text/html").body("<h1>no</h1>"),
        || Reply::new(404),
    ];
    let scratch = Scratch::new();
    for way in ways {
        registry.fault(move |_, _| way());
        fetch_manifest().arg(&reference).run().fails(3, &reference).stdout("");
        let run = fetch_manifest().args([&reference, "-o", "out"]).dir(scratch.path()).run();
        run.fails(3, "");
        assert_eq!(scratch.list(), Vec::<String>::new());
    }
}

#[test]
fn escape_sequences_of_a_server_do_not_reach_the_terminal() {
    let (registry, _) = registry_with(types::MANIFEST, Image::small().manifest.bytes);
    registry.fault(|_, _| Reply::error(403, "DENIED", "\u{1b}]0;gotcha\u{7}\nroot@host# "));
    let run = fetch_manifest().arg(format!("{}:1", registry.repo("app"))).run();
    run.fails(4, "");
}

/// The layouts have the blobs already, so the manifest gets its entry at once.
#[test]
fn into_a_layout_the_manifest_is_stored_and_tagged() {
    let image = Image::small();
    let (registry, manifest) = registry_with(types::MANIFEST, image.manifest.bytes.clone());
    let scratch = Scratch::new();
    let tag = format!("{}:1", registry.repo("app"));
    let digest = format!("{}@{}", registry.repo("app"), manifest.digest);
    for (reference, target, name) in [
        (&tag, "oci:as-tagged", json!("1")),
        (&tag, "oci:named:mine", json!("mine")),
        (&digest, "oci:unnamed", Value::Null),
    ] {
        let layout = scratch.join(target.split(':').nth(1).unwrap());
        put_blobs(&layout, &image);
        let run = fetch_manifest().args([reference, "--into", target]).dir(scratch.path()).run();
        run.ok().stdout(&manifest.bytes);
        let entries = read_index(&layout)["manifests"].clone();
        assert_eq!(entries.as_array().unwrap().len(), 1, "{entries}");
        assert_eq!(entries[0]["digest"], manifest.digest);
        assert_eq!(entries[0]["annotations"]["org.opencontainers.image.ref.name"], name);
        assert_eq!(read_blob(&layout, &manifest.digest).as_ref(), Some(&manifest.bytes));
    }
}

/// Makes a layout that has the blobs of an image, but no entry.
fn put_blobs(layout: &std::path::Path, image: &Image) {
    write_image(layout, "x", image);
    std::fs::write(layout.join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
}

#[test]
fn a_layout_is_read_like_a_registry() {
    let scratch = Scratch::new();
    let [amd64, arm64] = ["amd64", "arm64"].map(|arch| Image::for_platform("linux", arch));
    let top =
        index(types::INDEX, &[(&amd64.manifest, "linux/amd64"), (&arm64.manifest, "linux/arm64")]);
    write_layout(&scratch.join("l"), "multi", &top, [&amd64.manifest, &arm64.manifest]);
    let fetch = |args: &[&str]| tool("fetch-manifest").args(args).dir(scratch.path()).run();
    fetch(&["oci:l"]).ok().stdout(&top.bytes);
    fetch(&["oci:l:multi", "-p", "linux/arm64"]).ok().stdout(&arm64.manifest.bytes);
    fetch(&[&format!("oci:l@{}", amd64.manifest.digest)]).ok().stdout(&amd64.manifest.bytes);
    fetch(&["oci:l:other"]).fails(3, "other").says("multi");
    fetch(&["oci:nowhere"]).fails(3, "nowhere");
    write_image(&scratch.join("l"), "second", &amd64);
    fetch(&["oci:l"]).fails(2, "").says("multi").says("second");
}

#[test]
fn a_damaged_manifest_in_a_layout_is_not_served() {
    let scratch = Scratch::new();
    let image = Image::small();
    write_image(&scratch.join("l"), "1", &image);
    let blob = scratch.join("l/blobs").join(image.manifest.digest.replace(':', "/"));
    std::fs::write(blob, "{}").unwrap();
    tool("fetch-manifest").arg("oci:l:1").dir(scratch.path()).run().status(1).stdout("");
}

#[test]
fn wrong_usage_gives_status_2_without_a_request() {
    let registry = FakeRegistry::start();
    let app = registry.repo("app");
    for args in [
        vec![],
        vec![format!("{app}/UPPER:1")],
        vec![format!("{app}:bad tag")],
        vec![format!("{app}@sha256:abc")],
        vec![format!("{app}:1"), "--no-such-flag".to_owned()],
        vec![format!("{app}:1"), "--digest".to_owned(), "--descriptor".to_owned()],
        vec![format!("{app}:1"), "-p".to_owned(), "linux".to_owned()],
        vec![format!("{app}:1"), format!("{app}:2")],
        vec!["127.0.0.1:99999/app:1".to_owned()],
    ] {
        let run = fetch_manifest().args(&args).run();
        assert_eq!(run.code(), Some(2), "{run}");
        run.fails(2, "").stdout("");
    }
    assert_eq!(registry.server.asked(), Vec::<String>::new());
}

mod with_peers {
    use super::*;

    #[test]
    fn skopeo_reads_the_stored_tag() {
        let image = Image::small();
        let (registry, manifest) = registry_with(types::MANIFEST, image.manifest.bytes.clone());
        let scratch = Scratch::new();
        put_blobs(&scratch.join("l"), &image);
        let reference = format!("{}:1", registry.repo("app"));
        fetch_manifest().args([&reference, "--into", "oci:l:y"]).dir(scratch.path()).run().ok();
        let mut skopeo = peer("skopeo");
        skopeo.args(["inspect", "--raw"]).arg(format!("oci:{}:y", scratch.join("l").display()));
        assert_eq!(must(&mut skopeo), manifest.bytes);
    }
}
