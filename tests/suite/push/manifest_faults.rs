// SPDX-License-Identifier: Apache-2.0
//! Registries that misbehave when a manifest is put: temporary failures are retried, only a stored
//! manifest counts as success, and no tag moves after a failure.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::commands::plain;
use tests::fake::{End, Intake, Reply, Request, Server, first};
use tests::fake_registry::{FakeRegistry, TOKEN};
use tests::images::{Image, sha256};
use tests::tools::{Run, tool};

use super::PAGES;

/// A registry with all blobs that an image names, and with another image under the tag.
fn registry_with_blobs() -> (FakeRegistry, Image) {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "1", &Image::big(1000, 1));
    for blob in image.blobs() {
        registry.add_blob("app", blob.bytes.clone());
    }
    (registry, image)
}

fn put(registry: &FakeRegistry, image: &Image) -> Run {
    tool("put-manifest")
        .args(["--max-wait", "0", &format!("{}:1", registry.repo("app"))])
        .stdin(image.manifest.bytes.clone())
        .run()
}

fn has_moved(registry: &FakeRegistry, image: &Image) -> bool {
    registry.manifest("app", "1").unwrap().digest == image.manifest.digest
}

/// Puts a manifest while a fault changes the registry's responses.
fn through(
    fault: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
) -> (FakeRegistry, Run) {
    let (registry, image) = registry_with_blobs();
    registry.fault(fault);
    let run = put(&registry, &image);
    if run.code() == Some(0) {
        assert!(has_moved(&registry, &image), "{run}");
        run.stdout(image.manifest.line());
    } else {
        run.fails(run.code().unwrap_or(-1), "").stdout("");
    }
    (registry, run)
}

/// Puts a manifest that the registry refuses with this response, without storing it.
fn refused(refusal: impl Fn(&Request) -> Intake + Send + Sync + 'static) -> (FakeRegistry, Run) {
    let (registry, image) = registry_with_blobs();
    registry.intake(refusal);
    let run = put(&registry, &image);
    assert_eq!(has_moved(&registry, &image), run.code() == Some(0), "{run}");
    if run.code() != Some(0) {
        run.fails(run.code().unwrap_or(-1), "").stdout("");
    }
    (registry, run)
}

fn puts(registry: &FakeRegistry) -> usize {
    registry.steps().iter().filter(|step| step.starts_with("PUT")).count()
}

#[test]
fn each_refusal_gives_its_exit_status() {
    for (status, code, want) in [
        (400, "MANIFEST_INVALID", 6),
        (400, "TAG_INVALID", 6),
        (400, "NAME_INVALID", 6),
        (401, "UNAUTHORIZED", 4),
        (403, "DENIED", 4),
        (404, "NAME_UNKNOWN", 3),
        (405, "UNSUPPORTED", 6),
        (409, "TAG_IMMUTABLE", 6),
        (413, "SIZE_INVALID", 6),
        (415, "MANIFEST_INVALID", 6),
        (429, "TOOMANYREQUESTS", 5),
        (500, "UNKNOWN", 5),
        (501, "UNSUPPORTED", 6),
        (503, "UNAVAILABLE", 5),
    ] {
        let (registry, run) =
            refused(move |_| Intake::instead(Reply::error(status, code, "why not")));
        assert_eq!(run.code(), Some(want), "{status} {code}: {run}");
        if status != 401 {
            run.says("why not");
        }
        assert_eq!(puts(&registry) > 1, want == 5, "{status}: {:?}", registry.steps());
    }
}

#[test]
fn an_immutable_tag_is_reported_as_immutable() {
    for (status, code) in [(403, "DENIED"), (409, "TAG_IMMUTABLE"), (400, "TAG_IMMUTABLE")] {
        let reply = Reply::error(status, code, "tag is immutable");
        let (_, run) = refused(move |_| Intake::instead(reply.clone()));
        assert!(matches!(run.code(), Some(4 | 6)), "{run}");
        run.says("immutable");
    }
}

#[test]
fn missing_blobs_are_listed_and_the_tag_does_not_move() {
    let (registry, image) = registry_with_blobs();
    registry.remove_blob("app", &image.config.digest);
    registry.remove_blob("app", &image.layers[1].digest);
    let run = put(&registry, &image);
    run.fails(6, &image.config.digest).says(&image.layers[1].digest).stdout("");
    run.does_not_say(&image.layers[0].digest);
    assert!(!has_moved(&registry, &image));
    assert!(puts(&registry) <= 5, "{:?}", registry.steps());
}

#[test]
fn an_error_detail_of_any_shape_is_accepted() {
    for detail in ["null", "\"text\"", "[]", "[{\"digest\":1}]", "{\"digest\":\"\\u001b[31m\"}"] {
        let error = format!(
            "{{\"errors\":[{{\"code\":\"MANIFEST_BLOB_UNKNOWN\",\"message\":\"m\",\"detail\":{detail}}}]}}"
        );
        let (_, run) = refused(move |_| {
            Intake::instead(Reply::new(404).header("Content-Type", "application/json").body(&error))
        });
        run.fails(6, "");
    }
}

#[test]
fn a_temporary_failure_is_retried() {
    for fault in [
        || Intake::instead(Reply::new(503).header("Retry-After", "0")),
        || Intake::instead(Reply::new(502).body("<html>")),
        || Intake::instead(Reply::new(429)),
        || Intake::instead(Reply::hang_up()),
        || Intake::instead(Reply::raw("")),
        || Intake::instead(Reply::raw("HTTP/1.1 20").cut(0, End::Fin)),
        || Intake::cut(100, End::Reset),
        || Intake::cut(0, End::Fin),
    ] {
        let some = first(2, Request::is_manifest);
        let (registry, run) =
            refused(move |request| if some(request) { fault() } else { Intake::whole() });
        run.status(0);
        assert_eq!(puts(&registry), 3, "{:?}", registry.steps());
    }
}

#[test]
fn a_put_whose_response_is_lost_succeeds_in_the_end() {
    let lost = first(1, Request::is_manifest);
    let (registry, run) =
        through(move |request, right| if lost(request) { Reply::hang_up() } else { right });
    run.status(0);
    assert!(registry.steps().len() <= 3, "{:?}", registry.steps());
}

#[test]
fn a_response_during_the_body_decides_the_status() {
    for end in [End::Fin, End::Reset] {
        for (status, want) in [(401, 4), (413, 6), (403, 4)] {
            let (_, run) = refused(move |_| Intake::early(200, Reply::new(status), end));
            assert_eq!(run.code(), Some(want), "{status} {end:?}: {run}");
        }
    }
}

#[test]
fn a_success_status_counts_only_if_the_manifest_is_stored() {
    // Any 2xx status with the right digest is a success.
    for status in [200, 202, 204] {
        through(move |_, right| right.status(status)).1.status(0);
    }
    // Without a digest in the response, the manifest is looked up.
    for status in [200, 201, 202, 204] {
        through(move |request, right| match request.method.as_str() {
            "PUT" => right.status(status).without("Docker-Content-Digest"),
            _ => right,
        })
        .1
        .status(0);
    }
    // The status alone proves nothing.
    for status in [200, 202, 204] {
        let (_, run) = refused(move |request| match request.method.as_str() {
            "PUT" => Intake::instead(Reply::new(status)),
            _ => Intake::whole(),
        });
        run.fails(6, "");
    }
}

#[test]
fn another_digest_in_the_response_gives_status_1() {
    let (registry, image) = registry_with_blobs();
    registry.fault(|_, right| right.change("Docker-Content-Digest", |_| sha256(b"other")));
    put(&registry, &image).fails(1, "the registry stored").stdout("");
}

#[test]
fn a_web_server_that_accepts_everything_is_not_treated_as_a_registry() {
    for page in PAGES {
        let server = Server::start(move |_| page());
        let reference = format!("{}/app:1", server.host());
        let run = plain("put-manifest").args([&reference]);
        run.stdin(Image::small().manifest.bytes).run().fails(6, "").stdout("");
    }
}

#[test]
fn a_redirected_put_is_an_error() {
    for status in [301, 302, 303] {
        let other = Server::start(|_| Reply::new(204));
        let place = other.url();
        let (_, run) = refused(move |_| Intake::instead(Reply::redirect(status, &place)));
        run.fails(6, "redirect");
        assert_eq!(other.asked(), Vec::<String>::new());
    }
}

#[test]
fn one_failing_tag_of_several_fails_the_run() {
    let (registry, image) = registry_with_blobs();
    registry.intake(|request| {
        if request.path.ends_with("/2") {
            Intake::instead(Reply::error(403, "DENIED", "not that one"))
        } else {
            Intake::whole()
        }
    });
    let run = tool("put-manifest")
        .args(["--max-wait", "0", &format!("{}:1", registry.repo("app")), "--tag", "2"])
        .stdin(image.manifest.bytes.clone())
        .run();
    run.fails(4, "not that one").stdout("");
}

#[test]
fn a_registry_that_takes_only_some_tags_in_the_query_gets_the_others_one_by_one() {
    let (registry, image) = registry_with_blobs();
    registry.set(|settings| settings.tags_by_query = true);
    registry.fault(
        |request, right| {
            if request.query.contains("tag=") { right.without("OCI-Tag") } else { right }
        },
    );
    let run = tool("put-manifest")
        .args(["--max-wait", "0", &format!("{}:1", registry.repo("app")), "--tag", "2"])
        .args(["--tag", "3"])
        .stdin(image.manifest.bytes.clone())
        .run();
    run.ok();
    assert_eq!(registry.tags("app").len(), 3);
}

#[test]
fn a_token_in_the_error_text_of_a_registry_is_redacted() {
    let registry = FakeRegistry::with_tokens();
    registry.intake(|request| match request.header("authorization") {
        Some(header) => {
            let text = format!("\u{1b}[31m{header}\r\n\u{9b}31m");
            Intake::instead(Reply::error(403, "DENIED", &text))
        }
        None => Intake::whole(),
    });
    put(&registry, &Image::small()).fails(4, "DENIED").does_not_say(TOKEN);
}
