// SPDX-License-Identifier: Apache-2.0
//! put-manifest with a manifest that has a subject: a registry with the referrers API lists it;
//! otherwise put-manifest adds it to the index under the referrers fallback tag.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use serde_json::{Value, json};
use tests::fake::{Intake, Reply, Request, first};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, index, sha512, types};
use tests::tools::{Run, tool};

/// The image in the registry that is the subject of the other manifests.
fn subject(registry: &FakeRegistry) -> Image {
    let image = Image::small();
    registry.add_image("app", "1", &image);
    image
}

/// A manifest with a subject; its blobs are those of the subject.
fn referrer(subject: &Image, note: &str) -> Blob {
    let mut manifest = subject.manifest_json();
    manifest["subject"] = subject.manifest.descriptor();
    manifest["artifactType"] = json!("application/vnd.example.note");
    manifest["annotations"] = json!({"org.example.note": note});
    Blob::json(types::MANIFEST, &manifest)
}

fn put(registry: &FakeRegistry, manifest: &Blob) -> Run {
    tool("put-manifest")
        .args(["--max-wait", "0", &format!("{}@{}", registry.repo("app"), manifest.digest)])
        .stdin(manifest.bytes.clone())
        .run()
}

fn fallback(subject: &Image) -> String {
    subject.manifest.digest.replace(':', "-")
}

/// The entries of the index under the fallback tag.
#[track_caller]
fn listed(registry: &FakeRegistry, subject: &Image) -> Vec<Value> {
    let held = registry.manifest("app", &fallback(subject));
    assert!(held.is_some(), "no fallback: {:?}", registry.steps());
    let held = held.unwrap();
    assert_eq!(held.media_type, types::INDEX);
    let index: Value = serde_json::from_slice(&held.bytes).unwrap();
    index["manifests"].as_array().unwrap().clone()
}

#[test]
fn a_registry_with_the_referrers_api_gets_no_fallback_tag() {
    let registry = FakeRegistry::start();
    registry.set(|settings| settings.referrers = true);
    let image = subject(&registry);
    let manifest = referrer(&image, "a");
    put(&registry, &manifest).ok().stdout(manifest.line());
    assert_eq!(registry.steps().len(), 1, "{:?}", registry.steps());
    assert_eq!(registry.tags("app").len(), 1);
}

#[test]
fn a_registry_without_the_referrers_api_gets_an_index_under_the_fallback_tag() {
    let registry = FakeRegistry::start();
    let image = subject(&registry);
    let manifest = referrer(&image, "a");
    put(&registry, &manifest).ok().stdout(manifest.line());
    let mut wanted = manifest.descriptor();
    wanted["artifactType"] = json!("application/vnd.example.note");
    wanted["annotations"] = json!({"org.example.note": "a"});
    assert_eq!(listed(&registry, &image), [wanted]);
}

#[test]
fn the_artifact_type_is_the_field_or_the_media_type_of_the_config() {
    let registry = FakeRegistry::start();
    let image = subject(&registry);
    let mut manifest = image.manifest_json();
    manifest["subject"] = image.manifest.descriptor();
    put(&registry, &Blob::json(types::MANIFEST, &manifest)).ok();
    assert_eq!(listed(&registry, &image)[0]["artifactType"], types::CONFIG);
}

#[test]
fn other_referrers_stay_and_each_is_listed_once() {
    let registry = FakeRegistry::start();
    let image = subject(&registry);
    let [a, b] = ["a", "b"].map(|note| referrer(&image, note));
    for manifest in [&a, &b, &a, &b] {
        put(&registry, manifest).ok();
    }
    let digests: Vec<_> =
        listed(&registry, &image).iter().map(|entry| entry["digest"].clone()).collect();
    assert_eq!(digests, [json!(a.digest), json!(b.digest)]);
    // A manifest that is listed already does not cause another write of the index.
    registry.server.forget();
    put(&registry, &a).ok();
    let puts = registry.steps().iter().filter(|step| step.starts_with("PUT")).count();
    assert_eq!(puts, 1, "{:?}", registry.steps());
}

#[test]
fn a_long_digest_is_cut_to_fit_a_tag() {
    let registry = FakeRegistry::start();
    let image = subject(&registry);
    let digest = sha512(&image.manifest.bytes);
    let mut manifest = image.manifest_json();
    manifest["subject"] = image.manifest.descriptor();
    manifest["subject"]["digest"] = json!(digest);
    put(&registry, &Blob::json(types::MANIFEST, &manifest)).ok();
    let tag = format!("sha512-{}", &digest[7..71]);
    assert!(registry.manifest("app", &tag).is_some(), "{:?}", registry.tags("app"));
}

#[test]
fn a_fallback_tag_that_is_not_an_index_gives_status_6_and_is_kept() {
    let registry = FakeRegistry::start();
    let image = subject(&registry);
    registry.add_manifest("app", &fallback(&image), &image.manifest);
    put(&registry, &referrer(&image, "a")).fails(6, &fallback(&image)).stdout("");
    let held = registry.manifest("app", &fallback(&image)).unwrap();
    assert_eq!(held.bytes, image.manifest.bytes);
}

#[test]
fn an_unreadable_fallback_tag_is_not_overwritten() {
    for (status, want) in [(403, 4), (500, 5)] {
        let registry = FakeRegistry::start();
        let image = subject(&registry);
        let other = index(types::INDEX, &[(&image.manifest, "")]);
        registry.add_manifest("app", &fallback(&image), &other);
        registry.intake(move |request| match request.method.as_str() {
            "GET" => Intake::instead(Reply::error(status, "UNKNOWN", "not now")),
            _ => Intake::whole(),
        });
        put(&registry, &referrer(&image, "a")).fails(want, "not now").stdout("");
        let held = registry.manifest("app", &fallback(&image)).unwrap();
        assert_eq!(held.bytes, other.bytes);
    }
}

#[test]
fn a_referrer_added_by_another_client_at_the_same_time_is_kept() {
    let registry = Arc::new(FakeRegistry::start());
    let image = subject(&registry);
    let [ours, theirs] = ["ours", "theirs"].map(|note| referrer(&image, note));
    let tag = fallback(&image);
    let was = index(types::INDEX, &[]);
    registry.add_manifest("app", "", &theirs);
    registry.add_manifest("app", &tag, &was);
    // Another client writes its own index after the tool has read the index, and before the tool
    // writes it.
    let between = first(1, |request: &Request| request.method == "GET");
    let own = Arc::downgrade(&registry);
    let other = index(types::INDEX, &[(&theirs, "")]);
    registry.fault(move |request, right| {
        if between(request) && request.path.ends_with(&tag) {
            own.upgrade().unwrap().add_manifest("app", &tag, &other);
        }
        right
    });
    put(&registry, &ours).ok();
    let listed = listed(&registry, &image);
    let has = |manifest: &Blob| listed.iter().any(|entry| entry["digest"] == manifest.digest);
    assert!(has(&ours), "{listed:?}");
    assert!(has(&theirs), "{listed:?} {:?}", registry.steps());
}

#[test]
fn an_index_with_a_subject_is_listed_too() {
    let registry = FakeRegistry::start();
    let image = subject(&registry);
    let mut document: Value =
        serde_json::from_slice(&index(types::INDEX, &[(&image.manifest, "")]).bytes).unwrap();
    document["subject"] = image.manifest.descriptor();
    document["artifactType"] = json!("application/vnd.example.list");
    let manifest = Blob::json(types::INDEX, &document);
    put(&registry, &manifest).ok();
    let listed = listed(&registry, &image);
    assert_eq!(listed[0]["mediaType"], types::INDEX);
    assert_eq!(listed[0]["artifactType"], "application/vnd.example.list");
}

/// Puts a referrer, and checks that the run fails and leaves the fallback tag unchanged. The only
/// PUT is that of the referrer.
#[track_caller]
fn is_left_unchanged(registry: &FakeRegistry, subject: &Image, words: &str) {
    let there = registry.manifest("app", &fallback(subject));
    registry.server.forget();
    put(registry, &referrer(subject, "a")).fails(6, words).says("left unchanged").stdout("");
    let puts = registry.steps().iter().filter(|step| step.starts_with("PUT")).count();
    assert_eq!(puts, 1, "{:?}", registry.steps());
    let held = registry.manifest("app", &fallback(subject));
    assert_eq!(held.map(|held| held.bytes), there.map(|there| there.bytes));
}

#[test]
fn an_index_of_images_under_the_fallback_tag_is_not_a_list_of_referrers() {
    let registry = FakeRegistry::start();
    let image = subject(&registry);
    for (media_type, platform) in
        [(types::INDEX, "linux/amd64"), (types::DOCKER_LIST, ""), (types::DOCKER_LIST, "linux/arm")]
    {
        let other = index(media_type, &[(&image.manifest, platform)]);
        registry.add_manifest("app", &fallback(&image), &other);
        is_left_unchanged(&registry, &image, "not a list of referrers");
    }
    let text =
        Blob::new(types::INDEX, r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:x"}]}"#);
    registry.add_manifest("app", &fallback(&image), &text);
    is_left_unchanged(&registry, &image, "manifests[0]");
}

#[test]
fn a_subject_served_under_its_own_fallback_tag_is_not_a_list_of_referrers() {
    let registry = FakeRegistry::start();
    let image = subject(&registry);
    // An index whose entries have no platform could be a list of referrers.
    let top = index(types::INDEX, &[(&image.manifest, "")]);
    for subject in [&top, &image.manifest] {
        registry.add_manifest("app", "1", subject);
        registry.add_manifest("app", &subject.digest.replace(':', "-"), subject);
        let own = Image { manifest: subject.clone(), ..image.clone() };
        let mut manifest = image.manifest_json();
        manifest["subject"] = subject.descriptor();
        registry.server.forget();
        let run = put(&registry, &Blob::json(types::MANIFEST, &manifest));
        run.fails(6, "the subject itself").says("not listed").stdout("");
        let held = registry.manifest("app", &fallback(&own)).unwrap();
        assert_eq!(held.bytes, subject.bytes);
        let puts = registry.steps().iter().filter(|step| step.starts_with("PUT")).count();
        assert_eq!(puts, 1, "{:?}", registry.steps());
    }
}

#[test]
fn a_manifest_that_is_served_only_if_its_type_is_accepted_is_not_overwritten() {
    let registry = FakeRegistry::start();
    let image = subject(&registry);
    registry.add_manifest("app", &fallback(&image), &image.manifest);
    registry.fault(|request, right| {
        let accept = request.header("accept").unwrap_or_default();
        match request.method.as_str() {
            "GET" if !accept.contains(types::MANIFEST) => {
                Reply::error(404, "MANIFEST_UNKNOWN", "OCI manifest found, but not accepted")
            }
            _ => right,
        }
    });
    is_left_unchanged(&registry, &image, "the subject itself");
}

#[test]
fn entries_with_both_artifact_type_and_platform_or_neither_are_referrers() {
    let registry = FakeRegistry::start();
    let image = subject(&registry);
    let [a, b] = ["a", "b"].map(|note| referrer(&image, note));
    registry.add_manifest("app", "", &a);
    for manifests in [json!(null), json!([]), json!([a.descriptor()])] {
        let document =
            json!({"schemaVersion": 2, "mediaType": types::INDEX, "manifests": manifests});
        registry.add_manifest("app", &fallback(&image), &Blob::json(types::INDEX, &document));
        put(&registry, &b).ok();
    }
    let mut typed = a.descriptor();
    typed["artifactType"] = json!("application/x");
    typed["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let document = json!({"schemaVersion": 2, "mediaType": types::INDEX, "manifests": [typed]});
    registry.add_manifest("app", &fallback(&image), &Blob::json(types::INDEX, &document));
    put(&registry, &b).ok();
    assert_eq!(listed(&registry, &image).len(), 2);
}

mod with_peers {
    use super::*;
    use tests::registry::Registry;

    /// docker-registry 2.8 responds 404 if the stored type is not accepted.
    #[test]
    fn an_image_under_the_fallback_tag_of_a_real_registry_is_not_overwritten() {
        let registry = Registry::start();
        let (image, other) = (Image::small(), Image::big(100, 1));
        registry.put_image("app", "1", &image);
        registry.put_image("app", &fallback(&image), &other);
        let manifest = referrer(&image, "a");
        let run = tool("put-manifest")
            .args(["--max-wait", "0", &format!("{}@{}", registry.repo("app"), manifest.digest)])
            .stdin(manifest.bytes)
            .run();
        run.fails(6, "not a list of referrers").says("left unchanged").stdout("");
        let reference = format!("{}:{}", registry.repo("app"), fallback(&image));
        let args = ["--digest", &reference];
        let digest = format!("{}\n", other.manifest.digest);
        tool("fetch-manifest").args(args).run().ok().stdout(digest);
    }
}
