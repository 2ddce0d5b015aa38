// SPDX-License-Identifier: Apache-2.0
//! Referrers in layouts: the lists that put-manifest, push-blob and fetch-blob write, and the
//! referrers that list-referrers finds, also in layouts of other programs.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;

use serde_json::{Value, json};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, index, read_blob, read_index, types, write_image, write_layout};
use tests::referrers::{Referrer, SBOM, SIGNATURE, digests, fallback, list};
use tests::scratch::Scratch;
use tests::tools::{Run, shell, tool};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The layout `x` with an image as `1`, and the image's manifest.
fn layout() -> (Scratch, Blob) {
    let dir = Scratch::new();
    let image = Image::small();
    write_image(&dir.join("x"), "1", &image);
    (dir, image.manifest)
}

/// Stores a referrer's blobs, and puts its manifest.
fn put(dir: &Scratch, referrer: &Referrer) -> Run {
    tool("push-blob")
        .args(["oci:x"])
        .dir(dir.path())
        .stdin(referrer.layer.bytes.clone())
        .run()
        .ok();
    tool("push-blob")
        .args(["oci:x"])
        .dir(dir.path())
        .stdin(referrer.config.bytes.clone())
        .run()
        .ok();
    let reference = format!("oci:x@{}", referrer.manifest.digest);
    let command = tool("put-manifest").arg(reference).dir(dir.path());
    command.stdin(referrer.manifest.bytes.clone()).run()
}

fn list_referrers(dir: &Scratch, args: &[&str]) -> Run {
    tool("list-referrers").args(args).dir(dir.path()).run()
}

/// The entries of the list under the fallback tag of a subject; empty if there is no such entry.
fn listed(dir: &Scratch, subject: &Blob) -> Vec<Value> {
    let layout = dir.join("x");
    let index = read_index(&layout);
    let mut entries = index["manifests"].as_array().unwrap().iter();
    let tag = fallback(subject);
    let Some(entry) = entries.find(|entry| entry["annotations"][REF_NAME] == tag.as_str()) else {
        return Vec::new();
    };
    let bytes = read_blob(&layout, entry["digest"].as_str().unwrap()).unwrap();
    assert_eq!(entry["size"], bytes.len());
    let list: Value = serde_json::from_slice(&bytes).unwrap();
    list["manifests"].as_array().unwrap().clone()
}

#[test]
fn put_manifest_lists_a_referrer_under_the_fallback_tag() {
    let (dir, image) = layout();
    let [a, b] = ["a", "b"].map(|note| Referrer::of(&image, SBOM, note));
    for referrer in [&a, &b, &a] {
        put(&dir, referrer).ok();
    }
    assert_eq!(listed(&dir, &image), [a.listed(), b.listed()]);
    let run = list_referrers(&dir, &["oci:x:1"]);
    run.ok();
    assert_eq!(digests(&run), [a.manifest.digest, b.manifest.digest]);
}

#[test]
fn a_layout_with_one_image_and_a_list_needs_no_tag() {
    let dir = Scratch::new();
    let subject = Image::small().manifest;
    let a = Referrer::of(&subject, SBOM, "a");
    put(&dir, &a).ok();
    assert_eq!(read_index(&dir.join("x"))["manifests"].as_array().unwrap().len(), 2);
    let run = tool("fetch-manifest").args(["--digest", "oci:x"]).dir(dir.path()).run();
    run.ok().stdout(format!("{}\n", a.manifest.digest));
}

#[test]
fn an_entry_with_the_fallback_tag_that_is_no_list_is_left_unchanged() {
    let (dir, image) = layout();
    let other = Image::big(10, 4);
    write_image(&dir.join("x"), &fallback(&image), &other);
    let before = read_index(&dir.join("x"));
    put(&dir, &Referrer::of(&image, SBOM, "a")).fails(6, "left unchanged").stdout("");
    let after = read_index(&dir.join("x"));
    let kept = before["manifests"].as_array().unwrap();
    assert_eq!(after["manifests"].as_array().unwrap()[..2], kept[..]);
}

#[test]
fn the_entry_of_a_referrer_is_enough() {
    // oras writes an entry without a name, and no list.
    let (dir, image) = layout();
    let a = Referrer::of(&image, SBOM, "a");
    write_layout(&dir.join("x"), "sbom", &a.manifest, [&a.layer, &a.config]);
    let run = list_referrers(&dir, &["oci:x:1"]);
    run.ok();
    let line: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(line, a.listed());
    list_referrers(&dir, &["--artifact-type", SBOM, "oci:x:1"]).ok().stdout(&run.stdout);
    list_referrers(&dir, &["--artifact-type", SIGNATURE, "oci:x:1"]).ok().stdout("");
}

#[test]
fn a_list_is_enough_and_its_fields_are_not_trusted() {
    // regctl writes a list, and no entry for the referrer itself.
    let (dir, image) = layout();
    let a = Referrer::of(&image, SBOM, "a");
    let other = Referrer::of(&Image::big(10, 4).manifest, SBOM, "other");
    let mut entry = a.listed();
    entry["artifactType"] = json!(SIGNATURE);
    let missing = Referrer::of(&image, SBOM, "missing");
    let listed = list(&[entry, other.listed(), missing.listed()]);
    let blobs = [&a, &other].map(|one| [&one.manifest, &one.layer, &one.config]);
    write_layout(&dir.join("x"), &fallback(&image), &listed, blobs.into_iter().flatten());
    let run = list_referrers(&dir, &["oci:x:1"]);
    run.status(0).says("skipped");
    let line: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(line, a.listed());
}

#[test]
fn a_broken_manifest_elsewhere_in_the_layout_is_skipped() {
    let (dir, image) = layout();
    put(&dir, &Referrer::of(&image, SBOM, "a")).ok();
    let other = Image::big(10, 4);
    write_image(&dir.join("x"), "other", &other);
    fs::write(dir.join("x/blobs").join(other.manifest.digest.replace(':', "/")), "{}").unwrap();
    let run = list_referrers(&dir, &["oci:x:1"]);
    run.status(0).says("skipped");
    assert_eq!(run.lines().len(), 1);
}

#[test]
fn subjects_that_form_a_cycle_end() {
    // Manifests cannot form a cycle, because each has the digest of its subject. But a list can
    // name any manifest.
    let (dir, image) = layout();
    let a = Referrer::of(&image, SBOM, "a");
    let b = Referrer::of(&a.manifest, SBOM, "b");
    [&a, &b].iter().for_each(|referrer| {
        put(&dir, referrer).ok();
    });
    let listed = list(&[a.listed(), b.listed()]);
    let listed_again = index(types::INDEX, &[(&listed, ""), (&a.manifest, "")]);
    write_layout(&dir.join("x"), &fallback(&b.manifest), &listed_again, [&listed]);
    let run = list_referrers(&dir, &["--recursive", "oci:x:1"]);
    run.ok();
    let printed = digests(&run);
    for one in [&a, &b] {
        let count = printed.iter().filter(|digest| **digest == one.manifest.digest).count();
        assert_eq!(count, 1, "{printed:?}");
    }
}

#[test]
fn a_digest_that_is_not_there_gives_status_3() {
    let (dir, _) = layout();
    let absent = format!("oci:x@sha256:{}", "0".repeat(64));
    for reference in [&absent, "oci:x:2", "oci:y"] {
        list_referrers(&dir, &[reference]).status(3).stdout("");
    }
}

#[test]
fn fetch_blob_and_push_blob_list_the_referrers_that_they_store() {
    let registry = FakeRegistry::with_image();
    registry.set(|settings| settings.referrers = true);
    let image = registry.manifest("app", "1").unwrap();
    let [a, b] = ["a", "b"].map(|note| Referrer::of(&image, SBOM, note));
    [&a, &b].iter().for_each(|referrer| referrer.add_to(&registry));
    let copies = ["push-blob oci:x --from \"$A\"", "fetch-blob \"$A\" --into oci:x"];
    for copy in copies {
        let dir = Scratch::new();
        let script = format!("list-referrers --recursive \"$A:1\" | {copy} >/dev/null");
        shell(&script).env("A", registry.repo("app")).dir(dir.path()).run().ok();
        let mut got = listed(&dir, &image);
        got.sort_by_key(|entry| entry["annotations"].to_string());
        assert_eq!(got, [a.listed(), b.listed()], "{copy}");
    }
    // The referrer gets its entry when its last blob arrives. Then it is also in the list.
    let dir = Scratch::new();
    let script =
        "fetch-manifest \"$A\" --into oci:x | list-blobs | fetch-blob \"${A%@*}\" --into oci:x";
    let name = format!("{}@{}", registry.repo("app"), a.manifest.digest);
    shell(script).env("A", name).dir(dir.path()).run().ok();
    assert_eq!(listed(&dir, &image), [a.listed()]);
}

/// cosign states no artifact type, but gives the config a type.
#[test]
fn a_signature_of_cosign_has_the_type_of_its_config() {
    const TYPE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
    let (dir, image) = layout();
    let mut signature = Referrer::of(&image, SBOM, "a signature");
    let mut manifest: Value = serde_json::from_slice(&signature.manifest.bytes).unwrap();
    manifest.as_object_mut().unwrap().remove("artifactType");
    manifest["config"]["mediaType"] = json!(TYPE);
    manifest["layers"][0]["mediaType"] = json!("application/vnd.dev.cosign.simplesigning.v1+json");
    signature.manifest = Blob::json(types::MANIFEST, &manifest);
    put(&dir, &signature).ok();
    assert_eq!(listed(&dir, &image)[0]["artifactType"], TYPE);
    let registry = FakeRegistry::start();
    for has_api in [false, true] {
        registry.set(|settings| settings.referrers = has_api);
        let repo = registry.repo(if has_api { "a" } else { "b" });
        let run = shell(
            "list-referrers --recursive oci:x:1 | push-blob \"$B\" --from oci:x >/dev/null &&
            fetch-manifest oci:x:1 | put-manifest \"$B:1\" >/dev/null &&
            list-referrers --artifact-type \"$TYPE\" \"$B:1\"",
        );
        let run = run.env("B", repo).env("TYPE", TYPE).dir(dir.path()).run();
        assert_eq!(digests(run.ok()), std::slice::from_ref(&signature.manifest.digest));
    }
}

#[test]
fn a_referrer_without_its_blobs_is_not_listed() {
    let registry = FakeRegistry::with_image();
    let image = registry.manifest("app", "1").unwrap();
    let a = Referrer::of(&image, SBOM, "a");
    a.add_to(&registry);
    let dir = Scratch::new();
    let run = tool("push-blob")
        .args(["oci:x", "--from", &registry.repo("app")])
        .dir(dir.path())
        .stdin(format!("{}\n", a.listed()))
        .run();
    run.status(0).says("not listed as a referrer: oci:x: no blob");
    assert_eq!(listed(&dir, &image), Vec::<Value>::new());
}

mod with_peers {
    use super::*;
    use tests::peers::{must, peer};

    /// The referrers of the image in the layout, as oras and regctl list them.
    fn seen_by_peers(dir: &Scratch, digest: &str) {
        let mut oras = peer("oras");
        oras.args(["discover", "--format", "json", "--oci-layout", "x:1"]).current_dir(dir.path());
        let oras = String::from_utf8(must(&mut oras)).unwrap();
        assert!(oras.contains(digest), "oras: {oras}");
        let mut regctl = peer("regctl");
        regctl.args(["artifact", "list", "ocidir://x:1"]).current_dir(dir.path());
        let regctl = String::from_utf8(must(regctl.env("HOME", dir.path()))).unwrap();
        assert!(regctl.contains(digest), "regctl: {regctl}");
    }

    #[test]
    fn oras_and_regctl_find_what_put_manifest_writes() {
        let (dir, image) = layout();
        let a = Referrer::of(&image, SBOM, "a");
        put(&dir, &a).ok();
        seen_by_peers(&dir, &a.manifest.digest);
    }

    #[test]
    fn what_oras_and_regctl_write_is_found_and_copied() {
        let (dir, _) = layout();
        dir.write("sbom", "an sbom");
        let mut oras = peer("oras");
        oras.args(["attach", "--oci-layout", "--artifact-type", SBOM, "x:1", "sbom:text/plain"]);
        must(oras.current_dir(dir.path()));
        let mut regctl = peer("regctl");
        regctl.args(["artifact", "put", "--artifact-type", SIGNATURE, "--subject", "ocidir://x:1"]);
        must(regctl.args(["-f", "sbom"]).env("HOME", dir.path()).current_dir(dir.path()));
        for artifact_type in [SBOM, SIGNATURE] {
            let run = list_referrers(&dir, &["--artifact-type", artifact_type, "oci:x:1"]);
            assert_eq!(run.ok().lines().len(), 1, "{artifact_type}");
        }
        let script =
            "list-referrers --recursive oci:x:1 | push-blob oci:y --from oci:x >/dev/null &&
            fetch-manifest oci:x:1 | put-manifest oci:y:1 >/dev/null && rm -r x && mv y x &&
            list-referrers oci:x:1";
        let run = shell(script).dir(dir.path()).run();
        let copied = digests(run.ok());
        assert_eq!(copied.len(), 2);
        copied.iter().for_each(|digest| seen_by_peers(&dir, digest));
    }
}
