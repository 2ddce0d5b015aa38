// SPDX-License-Identifier: Apache-2.0
//! Registries that refuse a manifest, and the reported cause: immutable tags, several errors of
//! which only a later one is useful, wrong statuses, and missing blobs that the response does not
//! name.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::fake::{Intake, Reply, Request, first};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, index, sha512, types};
use tests::tools::{Run, tool};

/// A registry that has all blobs of an image.
fn registry_with_blobs(image: &Image) -> FakeRegistry {
    let registry = FakeRegistry::start();
    for blob in image.blobs() {
        registry.add_blob("app", blob.bytes.clone());
    }
    registry
}

fn put(registry: &FakeRegistry, name: &str, manifest: &Blob) -> Run {
    tool("put-manifest")
        .args(["--max-wait", "0", &format!("{}{name}", registry.repo("app"))])
        .stdin(manifest.bytes.clone())
        .run()
}

fn puts(registry: &FakeRegistry) -> usize {
    registry.steps().iter().filter(|step| step.starts_with("PUT")).count()
}

/// Puts an image's manifest, to which the registry responds with this status and body.
fn answered(status: u16, body: &Value) -> (FakeRegistry, Run) {
    let image = Image::small();
    let registry = registry_with_blobs(&image);
    let body = body.clone();
    registry.intake(move |request| match request.method.as_str() {
        "PUT" => Intake::instead(Reply::json(status, &body)),
        _ => Intake::whole(),
    });
    let run = put(&registry, ":1", &image.manifest);
    (registry, run)
}

/// Refusals to move an immutable tag, as Harbor, Amazon ECR, Quay, Google, Nexus and Artifactory
/// word them.
const IMMUTABLE: [(u16, &str, &str); 6] = [
    (412, "PRECONDITION", "Failed to process request due to 'app:1' configured as immutable."),
    (
        400,
        "TAG_INVALID",
        "The image tag '1' already exists in the 'app' repository and cannot be overwritten because the repository is immutable.",
    ),
    (409, "TAG_ALREADY_EXISTS", "tag 1"),
    (403, "DENIED", "Tag is immutable"),
    (400, "UNKNOWN", "Repository does not allow updating assets: docker"),
    (403, "FORBIDDEN", "Not enough permissions to overwrite artifact 'app:1'"),
];

#[test]
fn an_immutable_tag_gives_status_6_and_the_registrys_message() {
    for (status, code, message) in IMMUTABLE {
        let (registry, image) = (FakeRegistry::start(), Image::small());
        registry.add_image("app", "1", &Image::big(1000, 1));
        registry.intake(move |request| match request.method.as_str() {
            "PUT" => Intake::instead(Reply::error(status, code, message)),
            _ => Intake::whole(),
        });
        let run = put(&registry, ":1", &image.manifest);
        run.fails(6, "the tag is immutable").says(message).stdout("");
        assert_eq!(puts(&registry), 1);
    }
}

#[test]
fn an_immutable_tag_that_has_these_bytes_is_a_success() {
    for (status, code, message) in IMMUTABLE {
        let image = Image::small();
        let registry = registry_with_blobs(&image);
        // The first PUT is stored, but its response is lost.
        let lost = first(1, |request: &Request| request.method == "PUT");
        registry.fault(move |request, right| if lost(request) { Reply::hang_up() } else { right });
        let again = first(1, |request: &Request| request.method == "PUT");
        registry.intake(move |request| {
            if request.method != "PUT" || again(request) {
                return Intake::whole();
            }
            Intake::instead(Reply::error(status, code, message))
        });
        put(&registry, ":1", &image.manifest).ok().stdout(image.manifest.line());
        assert_eq!(puts(&registry), 2, "{:?}", registry.steps());
        // Repeating the same push succeeds too.
        put(&registry, ":1", &image.manifest).ok().stdout(image.manifest.line());
    }
}

#[test]
fn a_referrer_under_an_immutable_tag_is_listed_by_the_registry() {
    let (registry, image) = (FakeRegistry::with_image(), Image::small());
    registry.set(|settings| settings.referrers = true);
    let mut manifest = image.manifest_json();
    manifest["subject"] = image.manifest.descriptor();
    let manifest = Blob::json(types::MANIFEST, &manifest);
    registry.add_manifest("app", "note", &manifest);
    registry.intake(|request| {
        if request.path.ends_with("/note") && request.method == "PUT" {
            Intake::instead(Reply::error(409, "TAG_IMMUTABLE", "no"))
        } else {
            Intake::whole()
        }
    });
    put(&registry, ":note", &manifest).ok().stdout(manifest.line());
    assert_eq!(registry.tags("app").len(), 2, "no fallback tag: {:?}", registry.tags("app"));
}

#[test]
fn a_412_means_a_change_only_if_a_condition_was_sent() {
    let (_, run) = answered(412, &json!({}));
    run.fails(6, "412 Precondition Failed").does_not_say("writer");
    // After a PUT by digest the tool sends no other request, because no tag is involved.
    let image = Image::small();
    let registry = registry_with_blobs(&image);
    registry.add_manifest("app", "", &image.manifest);
    registry.intake(|request| match request.method.as_str() {
        "PUT" => Intake::instead(Reply::error(412, "PRECONDITION", "it is immutable")),
        _ => Intake::whole(),
    });
    let run = put(&registry, &format!("@{}", image.manifest.digest), &image.manifest);
    run.fails(6, "it is immutable").stdout("");
    assert_eq!(registry.steps().len(), 1, "{:?}", registry.steps());
}

#[test]
fn the_first_error_with_a_known_code_is_reported() {
    let (_, run) = answered(
        400,
        &json!({"errors": [
            {"code": "UNKNOWN", "message": "unknown error", "detail": {}},
            {"code": "NAME_INVALID", "message": "a bad name", "detail": "upper case: App"},
            {"code": "TAG_INVALID", "message": "another"},
        ]}),
    );
    run.fails(6, "400 NAME_INVALID: a bad name (upper case: App)").does_not_say("another");
}

#[test]
fn a_server_error_that_rejects_the_content_is_final() {
    for code in
        ["MANIFEST_INVALID", "MANIFEST_UNVERIFIED", "DIGEST_INVALID", "TAG_INVALID", "UNSUPPORTED"]
    {
        let (registry, run) = answered(500, &json!({"errors": [{"code": code, "message": "m"}]}));
        run.fails(6, code).stdout("");
        assert_eq!(puts(&registry), 1, "{code}: {:?}", registry.steps());
    }
    let digest = Image::small().layers[0].digest.clone();
    for code in ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"] {
        let (registry, run) = answered(
            503,
            &json!({"errors": [{"code": "UNKNOWN"}, {"code": code, "detail": digest}]}),
        );
        run.fails(6, &digest).stdout("");
        assert_eq!(puts(&registry), 1, "{code}: {:?}", registry.steps());
    }
    let (registry, _) = answered(500, &json!({"errors": [{"code": "UNKNOWN", "message": "m"}]}));
    assert_eq!(puts(&registry), 5);
}

#[test]
fn a_missing_digest_is_found_in_every_form_of_error() {
    let image = Image::small();
    let (config, layer) = (&image.config.digest, &image.layers[0].digest);
    for error in [
        json!({"code": "MANIFEST_BLOB_UNKNOWN", "detail": format!("blob {layer} is missing")}),
        json!({"code": "MANIFEST_BLOB_UNKNOWN", "detail": [{"digest": layer}]}),
        // Amazon ECR
        json!({"code": "BLOB_UNKNOWN", "message": format!("Layers with digests '[{layer}]' required for pushing image do not exist")}),
    ] {
        let (_, run) = answered(400, &json!({"errors": [error]}));
        run.fails(6, &format!("the registry lacks {layer}")).does_not_say(config);
    }
    // The digest of the manifest itself is not reported as missing.
    let own = format!("{} names a blob that is unknown", image.manifest.digest);
    let (_, run) =
        answered(400, &json!({"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": own}]}));
    run.fails(6, "the registry lacks something that the manifest names");
}

#[test]
fn blobs_are_checked_if_the_registry_names_no_missing_digest() {
    for (status, code) in [(400, "MANIFEST_INVALID"), (404, "MANIFEST_BLOB_UNKNOWN")] {
        let image = Image::small();
        let registry = registry_with_blobs(&image);
        registry.remove_blob("app", &image.layers[1].digest);
        registry.intake(move |request| match request.method.as_str() {
            "PUT" => Intake::instead(Reply::error(status, code, "m")),
            _ => Intake::whole(),
        });
        let run = put(&registry, ":1", &image.manifest);
        run.fails(6, &format!("the registry lacks {}", image.layers[1].digest));
        run.says("push-blob").does_not_say(&image.layers[0].digest);
    }
    // The registry lacks a manifest that the index names.
    let [here, missing] = [1, 2].map(|seed| Image::big(1000, seed));
    let registry = FakeRegistry::start();
    registry.add_image("app", "", &here);
    registry.intake(|request| match request.method.as_str() {
        "PUT" => Intake::instead(Reply::error(400, "MANIFEST_INVALID", "m")),
        _ => Intake::whole(),
    });
    let top = index(types::INDEX, &[(&here.manifest, ""), (&missing.manifest, "")]);
    let run = put(&registry, ":1", &top);
    run.fails(6, &format!("the registry lacks {}", missing.manifest.digest));
    // If nothing is missing, the registry's own message is reported.
    let (registry, run) =
        answered(400, &json!({"errors": [{"code": "MANIFEST_INVALID", "message": "odd"}]}));
    run.fails(6, "400 MANIFEST_INVALID: odd");
    assert_eq!(puts(&registry), 1);
}

#[test]
fn at_most_sixty_four_blobs_are_checked() {
    let registry = FakeRegistry::start();
    let layers: Vec<_> = (0..80).map(|n| Blob::new(types::TAR, format!("{n}"))).collect();
    let image = Image::of_parts(json!({"architecture": "amd64", "os": "linux"}), layers, vec![]);
    registry.intake(|request| match request.method.as_str() {
        "PUT" => Intake::instead(Reply::error(400, "MANIFEST_INVALID", "m")),
        _ => Intake::whole(),
    });
    put(&registry, ":1", &image.manifest).fails(6, "and 54 more");
    let asked = registry.server.requests().iter().filter(|request| request.is_blob()).count();
    assert_eq!(asked, 64);
}

#[test]
fn the_hint_names_the_possible_causes() {
    let image = Image::small();
    for (reply, want, not) in [
        (Reply::new(404).body("404 page not found\n"), "media type", "DIGEST"),
        (Reply::error(404, "NAME_UNKNOWN", "m"), "created first", "media type"),
    ] {
        let registry = registry_with_blobs(&image);
        registry.intake(move |request| match request.method.as_str() {
            "PUT" => Intake::instead(reply.clone()),
            _ => Intake::whole(),
        });
        put(&registry, ":1", &image.manifest).fails(3, "404").says(want).does_not_say(not);
    }
    // First the manifest has a sha512 digest, then a layer has one.
    let mut with_layer = image.manifest_json();
    with_layer["layers"][0]["digest"] = json!(sha512(&image.layers[0].bytes));
    let with_layer = Blob::json(types::MANIFEST, &with_layer);
    let by_digest = format!("@{}", sha512(&image.manifest.bytes));
    for (name, manifest) in [(by_digest.as_str(), &image.manifest), (":1", &with_layer)] {
        for (status, code, want) in [(400, "DIGEST_INVALID", 6), (404, "", 3), (400, "UNKNOWN", 6)]
        {
            let registry = registry_with_blobs(&image);
            registry.intake(move |request| match request.method.as_str() {
                "PUT" => Intake::instead(Reply::error(status, code, "m")),
                _ => Intake::whole(),
            });
            put(&registry, name, manifest).fails(want, "").says("support only sha256 digests");
        }
    }
}

#[test]
fn a_reason_phrase_of_the_servers_own_is_shown() {
    let reply = |line: &str| Reply::raw(format!("{line}\r\nContent-Length: 0\r\n\r\n"));
    for (line, want) in [
        ("HTTP/1.1 403 Storage quota exceeded", "403 Storage quota exceeded"),
        ("HTTP/1.1 403 FORBIDDEN", "403 Forbidden"),
        ("HTTP/1.1 403", "403 Forbidden"),
        ("HTTP/1.1 599 Odd", "599 Odd"),
        ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 Quota", "403 Quota"),
    ] {
        let image = Image::small();
        let registry = registry_with_blobs(&image);
        let line = line.to_owned();
        registry.intake(move |_| Intake::instead(reply(&line)));
        put(&registry, ":1", &image.manifest).says(want);
    }
}

mod with_peers {
    use super::*;
    use tests::registry::Registry;

    /// docker-registry does not permit the URL of this layer. It responds 500 with three errors.
    /// Only the last error names the missing blob.
    #[test]
    fn a_url_that_a_real_registry_does_not_permit_gives_status_6_at_once() {
        let registry = Registry::start();
        let image = Image::small().docker();
        registry.put_image("app", "1", &image);
        let mut manifest = image.manifest_json();
        let foreign = Blob::new(
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "a layer that is elsewhere",
        );
        let mut layer = foreign.descriptor();
        layer["urls"] = json!(["https://layers.example/1"]);
        manifest["layers"] = json!([layer]);
        let mark = registry.mark();
        let run = tool("put-manifest")
            .args(["--max-wait", "0", &format!("{}:2", registry.repo("app"))])
            .stdin(manifest.to_string())
            .run();
        run.fails(6, &format!("MANIFEST_BLOB_UNKNOWN: the registry lacks {}", foreign.digest));
        // Sending the blob would not help: the registry then gives the same response.
        run.says("may not permit the urls").does_not_say("--allow-nondistributable");
        let steps = registry.steps_since(mark);
        assert_eq!(steps.iter().filter(|step| step.starts_with("PUT")).count(), 1, "{steps:?}");
    }
}
