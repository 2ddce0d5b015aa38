// SPDX-License-Identifier: Apache-2.0
//! Checks of the scripted registry with curl and skopeo: manifests, referrers, deletion, tokens.
//! Checks of the real registry as a pull-through cache.

use serde_json::{Value, json};
use tests::curl::{Answer, curl};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, sha256, types, write_image};
use tests::peers::{must, peer};
use tests::registry::Registry;
use tests::scratch::Scratch;

fn url(registry: &FakeRegistry, rest: &str) -> String {
    format!("http://{}/v2/{rest}", registry.host())
}

/// Uploads a document with a Content-Type.
fn put(registry: &FakeRegistry, reference: &str, media_type: &str, document: &[u8]) -> Answer {
    let scratch = Scratch::new();
    let file = scratch.write("manifest", document);
    let data = format!("@{}", file.display());
    let content = format!("Content-Type: {media_type}");
    let target = url(registry, &format!("app/manifests/{reference}"));
    curl(&["-X", "PUT", "-H", &content, "--data-binary", &data, &target])
}

#[test]
fn a_manifest_is_accepted_if_everything_it_references_exists() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    let missing = put(&registry, "1", types::MANIFEST, &image.manifest.bytes);
    assert_eq!(missing.status(), "400");
    let errors: Value = serde_json::from_str(&missing.body).unwrap();
    let digests: Vec<_> =
        errors["errors"].as_array().unwrap().iter().map(|e| &e["detail"]).collect();
    let named: Vec<_> = image.blobs().map(|blob| json!(blob.digest)).collect();
    assert_eq!(digests, named.iter().collect::<Vec<_>>());
    for blob in image.blobs() {
        registry.add_blob("app", blob.bytes.clone());
    }
    let taken = put(&registry, "1", types::MANIFEST, &image.manifest.bytes);
    assert_eq!(taken.status(), "201");
    assert_eq!(taken.header("docker-content-digest"), Some(image.manifest.digest.as_str()));
    let held = registry.manifest("app", "1").unwrap();
    assert!(held.bytes == image.manifest.bytes && held.media_type == types::MANIFEST);
    assert_eq!(registry.tags("app"), [("1".to_owned(), image.manifest.digest.clone())]);
    let by_digest = &image.manifest.digest;
    assert_eq!(put(&registry, by_digest, types::MANIFEST, &image.manifest.bytes).status(), "201");
}

#[test]
fn a_manifest_with_a_wrong_type_or_digest_is_refused() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "", &image);
    let bytes = &image.manifest.bytes;
    assert_eq!(put(&registry, "1", types::DOCKER_MANIFEST, bytes).status(), "400");
    assert_eq!(put(&registry, "1", types::MANIFEST, b"{").status(), "400");
    assert_eq!(put(&registry, &sha256(b""), types::MANIFEST, bytes).status(), "400");
    assert_eq!(registry.tags("app"), []);
}

#[test]
fn an_index_needs_its_manifests_and_foreign_layers_may_be_missing() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    let index = tests::images::index(types::INDEX, &[(&image.manifest, "linux/amd64")]);
    assert_eq!(put(&registry, "1", types::INDEX, &index.bytes).status(), "400");
    registry.add_image("app", "", &image);
    assert_eq!(put(&registry, "1", types::INDEX, &index.bytes).status(), "201");
    let mut manifest = image.manifest_json();
    let foreign = Blob::new("application/vnd.oci.image.layer.nondistributable.v1.tar", "x");
    manifest["layers"].as_array_mut().unwrap().push(foreign.descriptor());
    let without_urls = manifest.to_string();
    assert_eq!(put(&registry, "2", types::MANIFEST, without_urls.as_bytes()).status(), "400");
    manifest["layers"][2]["urls"] = json!(["https://example.com/x"]);
    let manifest = manifest.to_string();
    assert_eq!(put(&registry, "2", types::MANIFEST, manifest.as_bytes()).status(), "201");
}

#[test]
fn referrers_and_tags_in_the_query_are_settings() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "1", &image);
    let mut manifest = image.manifest_json();
    manifest["subject"] = image.manifest.descriptor();
    manifest["artifactType"] = json!("text/x-own");
    let manifest = Blob::json(types::MANIFEST, &manifest);
    let referrers = url(&registry, &format!("app/referrers/{}", image.manifest.digest));
    let target = format!("{}?tag=a&tag=b", manifest.digest);
    let plain = put(&registry, &target, types::MANIFEST, &manifest.bytes);
    assert_eq!((plain.status(), plain.header("oci-subject")), ("201", None));
    assert_eq!(curl(&[&referrers]).status(), "404");
    assert_eq!(registry.tags("app").len(), 1);

    registry.set(|settings| {
        settings.referrers = true;
        settings.tags_by_query = true;
    });
    let put = put(&registry, &target, types::MANIFEST, &manifest.bytes);
    assert_eq!(put.header("oci-subject"), Some(image.manifest.digest.as_str()));
    assert_eq!(put.header("oci-tag"), Some("a"));
    assert_eq!(registry.tags("app").len(), 3);
    let index: Value = serde_json::from_str(&curl(&[&referrers]).body).unwrap();
    assert_eq!(index["manifests"][0]["digest"], json!(manifest.digest));
    assert_eq!(index["manifests"][0]["artifactType"], json!("text/x-own"));
}

#[test]
fn a_tag_is_moved_only_if_if_match_has_its_digest() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "1", &image);
    let scratch = Scratch::new();
    let data = format!("@{}", scratch.write("m", &image.manifest.bytes).display());
    let content = format!("Content-Type: {}", types::MANIFEST);
    let put = |etag: &str| {
        let etag = format!("If-Match: \"{etag}\"");
        let target = url(&registry, "app/manifests/1");
        let args = ["-X", "PUT", "-H", &content, "-H", &etag, "--data-binary", &data, &target];
        curl(&args).status().to_owned()
    };
    assert_eq!(put(&image.manifest.digest), "201");
    assert_eq!(put(&image.config.digest), "412");
}

#[test]
fn a_deleted_blob_or_tag_is_missing_afterwards() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "1", &image);
    let delete = |rest: &str| curl(&["-X", "DELETE", &url(&registry, rest)]).status().to_owned();
    let blob = format!("app/blobs/{}", image.config.digest);
    assert_eq!([delete(&blob), delete(&blob)], ["202", "404"]);
    assert_eq!([delete("app/manifests/1"), delete("app/manifests/1")], ["202", "404"]);
    assert!(registry.manifest("app", &image.manifest.digest).is_some());
}

#[test]
fn an_upload_needs_a_token_for_pull_and_push_and_a_mount_also_for_its_source() {
    let registry = FakeRegistry::with_tokens();
    let digest = registry.add_blob("base", "some data");
    let token = |scopes: &[&str]| {
        let scopes: String = scopes.iter().map(|scope| format!("&scope={scope}")).collect();
        let answer = curl(&[&format!("http://{}/token?service=s{scopes}", registry.host())]);
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        format!("Authorization: Bearer {}", answer["token"].as_str().unwrap())
    };
    let target = url(&registry, &format!("app/blobs/uploads/?mount={digest}&from=base"));
    let mount = |token: &str| curl(&["-X", "POST", "-H", token, &target]);
    let app = "repository:app:pull,push";
    let base = "repository:base:pull";
    let refused = mount(&token(&[app]));
    assert_eq!(refused.status(), "401");
    let challenge = refused.header("www-authenticate").unwrap();
    let scopes = format!("scope=\"{app} {base}\",error=\"insufficient_scope\"");
    assert!(challenge.ends_with(&scopes), "{challenge}");
    assert_eq!(mount(&token(&["repository:app:pull", base])).status(), "401");
    assert_eq!(mount(&token(&["repository:app:push,pull", base])).status(), "201");
    registry.grant(|scope| !scope.contains("base"));
    assert_eq!(mount(&token(&[app, base])).status(), "401");
    // Bytes of a request without a token are not kept.
    let begun = curl(&["-X", "POST", "-H", &token(&[app]), &url(&registry, "app/blobs/uploads/")]);
    let patch = ["-X", "PATCH", "-d", "some", begun.location()];
    assert_eq!(curl(&patch).status(), "401");
    assert_eq!(registry.sessions(), [("app".to_owned(), 0)]);
}

#[test]
fn skopeo_can_push_an_image_to_the_scripted_registry() {
    let registry = FakeRegistry::start();
    registry.set(|settings| settings.any_spelling = true);
    let image = Image::small();
    let scratch = Scratch::new();
    write_image(&scratch.join("l"), "1", &image);
    let args = ["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"];
    must(
        peer("skopeo")
            .args(args)
            .arg(format!("oci:{}:1", scratch.join("l").display()))
            .arg(format!("docker://{}:1", registry.repo("app"))),
    );
    assert_eq!(registry.manifest("app", "1").unwrap().bytes, image.manifest.bytes);
    for blob in image.blobs() {
        assert_eq!(registry.blob("app", &blob.digest).unwrap()[..], blob.bytes);
    }
    assert_eq!(registry.sessions(), []);
}

#[test]
fn a_real_pull_through_cache_serves_upstream_blobs_and_logs_requests() {
    let upstream = Registry::start();
    let image = Image::small();
    upstream.put_image("app", "1", &image);
    let cache = Registry::cache_of(&upstream);
    let (here, there) = (cache.mark(), upstream.mark());
    let blob = format!("app/blobs/{}", image.config.digest);
    assert_eq!(cache.get(&blob), image.config.bytes);
    assert_eq!(cache.steps_since(here), ["GET blob 200"]);
    assert!(upstream.answered_since(there).contains(&format!("GET /v2/{blob} 200")));
}
