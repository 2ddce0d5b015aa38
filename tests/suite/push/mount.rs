// SPDX-License-Identifier: Apache-2.0
//! push-blob and mounts: a blob that another repository of the registry has is not sent, the number
//! of attempts is bounded, and no session that a refused mount opened is left behind.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use tests::commands::plain;
use tests::fake::{Reply, Request};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, noise, types, write_layout};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::{Command, tool};

fn push_blob(registry: &FakeRegistry, repository: &str) -> Command {
    plain("push-blob").args([&registry.repo(repository)])
}

/// A scratch directory with a blob in the file `layer` and in the layout `l`.
fn scratch_with_blob(len: usize) -> (Scratch, Blob) {
    let scratch = Scratch::new();
    let blob = Blob::new(types::TAR, noise(len, 1));
    scratch.write("layer", &blob.bytes);
    write_layout(&scratch.join("l"), "1", &blob, []);
    (scratch, blob)
}

/// The repositories that mounts were attempted from, in order.
fn tried(registry: &FakeRegistry) -> Vec<String> {
    registry.server.requests().iter().filter_map(|request| request.param("from")).collect()
}

fn mounts(request: &Request) -> bool {
    request.is_start() && request.param("mount").is_some()
}

#[test]
fn the_session_of_a_refused_mount_is_used() {
    let registry = FakeRegistry::start();
    let (scratch, blob) = scratch_with_blob(1000);
    let run = push_blob(&registry, "app").args(["layer", "--mount-from", &registry.repo("base")]);
    run.dir(scratch.path()).run().status(0);
    assert_eq!(registry.steps(), ["HEAD blob", "POST mount", "PUT session 1000"]);
    assert!(registry.blob("app", &blob.digest).is_some());
    assert_eq!(registry.sessions(), []);
}

#[test]
fn later_mount_sources_are_tried_and_no_session_is_left() {
    let registry = FakeRegistry::start();
    let (scratch, blob) = scratch_with_blob(20_000_000);
    registry.add_blob("c", blob.bytes.clone());
    let run = push_blob(&registry, "app").arg("layer");
    let run = ["a", "b", "c"]
        .iter()
        .fold(run, |run, name| run.args(["--mount-from", &registry.repo(name)]));
    run.dir(scratch.path()).run().status(0);
    assert!(registry.blob("app", &blob.digest).is_some());
    assert_eq!(registry.sessions(), [], "{:?}", registry.steps());
    assert_eq!(tried(&registry)[0], "a");
}

#[test]
fn a_refused_or_unsupported_mount_leads_to_an_upload() {
    for status in [400, 401, 403, 404, 405, 500, 503] {
        let registry = FakeRegistry::start();
        let (scratch, blob) = scratch_with_blob(1000);
        registry.add_blob("base", blob.bytes.clone());
        // With `instead` the registry opens no session. A session that it opened would be left
        // open, because these responses do not contain a session's URL.
        registry.intake(move |request| {
            if mounts(request) {
                tests::fake::Intake::instead(Reply::error(status, "UNKNOWN", "no mounts"))
            } else {
                tests::fake::Intake::whole()
            }
        });
        let run = push_blob(&registry, "app").args(["layer", "--media-type", types::TAR]);
        let run = run.args(["--mount-from", &registry.repo("base")]).dir(scratch.path()).run();
        assert_eq!(run.code(), Some(0), "{status}: {run}");
        run.stdout(blob.line());
        assert_eq!(registry.blob("app", &blob.digest).unwrap()[..], blob.bytes, "{status}");
        assert_eq!(registry.sessions(), [], "{status}");
    }
}

#[test]
fn a_small_blob_gets_few_mount_attempts() {
    for (len, most) in [(1000, 1), (100 << 10, 1), (200_000, 3), (11 << 20, 4)] {
        let registry = FakeRegistry::start();
        let (scratch, blob) = scratch_with_blob(len);
        registry.intake(|request| {
            if mounts(request) {
                tests::fake::Intake::instead(Reply::error(404, "BLOB_UNKNOWN", "not there"))
            } else {
                tests::fake::Intake::whole()
            }
        });
        let run = (0..8).fold(push_blob(&registry, "app").arg("layer"), |run, n| {
            run.args(["--mount-from", &registry.repo(&format!("base{n}"))])
        });
        run.dir(scratch.path()).run().status(0);
        let tried = tried(&registry);
        assert!((1..=most).contains(&tried.len()), "{len}: {tried:?}");
        assert!(registry.blob("app", &blob.digest).is_some());
    }
}

#[test]
fn the_nearest_source_recorded_in_a_layout_is_tried_first() {
    let registry = FakeRegistry::start();
    let (scratch, blob) = scratch_with_blob(200_000);
    let sources = json!({
        &blob.digest: {
            registry.host(): "a/other,team/app,team/base,z",
            "elsewhere.example": "team/near",
        },
    });
    scratch.write("l/distribution-sources", sources.to_string());
    for name in ["a/other", "team/base"] {
        registry.add_blob(name, blob.bytes.clone());
    }
    let run = push_blob(&registry, "team/app").args(["--from", "oci:l"]).stdin(blob.line());
    run.dir(scratch.path()).run().ok().stdout(blob.line());
    // No mount is attempted from the target itself or from a repository of another registry.
    assert_eq!(tried(&registry), ["team/base"]);
    assert_eq!(registry.steps(), ["HEAD blob", "POST mount"]);
}

#[test]
fn a_source_given_by_option_is_tried_before_a_recorded_one() {
    let registry = FakeRegistry::start();
    let (scratch, blob) = scratch_with_blob(200_000);
    let sources = json!({&blob.digest: {registry.host(): "team/base"}});
    scratch.write("l/distribution-sources", sources.to_string());
    for name in ["far/away", "team/base"] {
        registry.add_blob(name, blob.bytes.clone());
    }
    let run = push_blob(&registry, "team/app").args(["--from", "oci:l"]).stdin(blob.line());
    let run = run.args(["--mount-from", &registry.repo("far/away")]).dir(scratch.path());
    run.run().ok();
    assert_eq!(tried(&registry), ["far/away"]);
}

#[test]
fn a_corrupt_distribution_sources_file_does_not_prevent_the_push() {
    for spoilt in ["{", "[]", "{\"sha256:00\":{}}", "{\"x\":{\"127.0.0.1\":\"../..,,A B\"}}"] {
        let registry = FakeRegistry::start();
        let (scratch, blob) = scratch_with_blob(1000);
        scratch.write("l/distribution-sources", spoilt);
        let run = push_blob(&registry, "app").args(["--from", "oci:l"]).stdin(blob.line());
        run.dir(scratch.path()).run().status(0).stdout(blob.line());
        assert!(registry.blob("app", &blob.digest).is_some());
    }
    // An invalid recorded path is not put into a request.
    let registry = FakeRegistry::start();
    let (scratch, blob) = scratch_with_blob(1000);
    let sources = json!({&blob.digest: {registry.host(): "../../x,UPPER,a&b=c"}});
    scratch.write("l/distribution-sources", sources.to_string());
    let run = push_blob(&registry, "app").args(["--from", "oci:l"]).stdin(blob.line());
    run.dir(scratch.path()).run().status(0).stdout(blob.line());
    assert_eq!(tried(&registry), Vec::<String>::new());
}

#[test]
fn the_target_is_not_mounted_from_itself() {
    let registry = FakeRegistry::start();
    let (scratch, blob) = scratch_with_blob(1000);
    let run = push_blob(&registry, "app").args(["layer", "--mount-from", &registry.repo("app")]);
    let run = run.dir(scratch.path()).run();
    assert!(matches!(run.code(), Some(0 | 2)), "{run}");
    assert_eq!(tried(&registry), Vec::<String>::new());
    assert_eq!(registry.blob("app", &blob.digest).is_some(), run.code() == Some(0));
}

#[test]
fn a_mount_asks_for_a_token_that_may_read_its_source() {
    let registry = FakeRegistry::with_tokens();
    let (scratch, blob) = scratch_with_blob(1000);
    registry.add_blob("base", blob.bytes.clone());
    let run = push_blob(&registry, "app").args(["layer", "--mount-from", &registry.repo("base")]);
    run.dir(scratch.path()).run().status(0);
    assert!(registry.blob("app", &blob.digest).is_some());
    let requests = registry.server.requests();
    let tokens: Vec<_> =
        requests.iter().filter(|r| r.path == "/token").flat_map(|r| r.params("scope")).collect();
    let tokens = tokens.join(" ");
    assert!(tokens.contains("repository:app:pull,push"), "{tokens}");
    assert!(tokens.contains("repository:base:pull"), "{tokens}");
    assert!(!registry.steps().iter().any(|step| step.starts_with("PUT")), "{:?}", registry.steps());
}

#[test]
fn an_unreadable_mount_source_leads_to_an_upload() {
    // Some token servers grant a token for fewer scopes; others refuse the token if they refuse one
    // of two scopes.
    for refuses in [false, true] {
        let registry = FakeRegistry::with_tokens();
        let (scratch, blob) = scratch_with_blob(1000);
        registry.add_blob("base", blob.bytes.clone());
        registry.grant(|scope| !scope.starts_with("repository:base:"));
        registry.fault(move |request, right| {
            if refuses && request.path == "/token" && request.query.contains("base") {
                Reply::error(403, "DENIED", "not for you")
            } else {
                right
            }
        });
        let run = push_blob(&registry, "app").args(["layer", "--media-type", types::TAR]);
        let run = run.args(["--mount-from", &registry.repo("base")]).dir(scratch.path()).run();
        assert_eq!(run.code(), Some(0), "{refuses}: {run} {:?}", registry.steps());
        run.stdout(blob.line());
        assert_eq!(registry.blob("app", &blob.digest).unwrap()[..], blob.bytes);
        assert_eq!(registry.sessions(), []);
        assert!(registry.steps().len() < 12, "{:?}", registry.steps());
    }
}

#[test]
fn a_mount_response_with_another_digest_is_refused() {
    let registry = FakeRegistry::start();
    let (scratch, blob) = scratch_with_blob(1000);
    registry.add_blob("base", blob.bytes.clone());
    registry.fault(|request, right| {
        if mounts(request) {
            right.change("Docker-Content-Digest", |_| tests::images::sha256(b"other"))
        } else {
            right
        }
    });
    let run = push_blob(&registry, "app").args(["layer", "--mount-from", &registry.repo("base")]);
    let run = run.dir(scratch.path()).run();
    let sent = registry.steps().iter().any(|step| step.starts_with("PUT"));
    assert!(run.code() == Some(1) || sent, "{run} {:?}", registry.steps());
}

mod with_peers {
    use super::*;

    #[test]
    fn a_mount_costs_a_head_and_a_post() {
        let registry = Registry::start();
        let (scratch, blob) = scratch_with_blob(200_000);
        registry.put_blob("base", &blob.bytes);
        let mark = registry.mark();
        let run =
            tool("push-blob").args([&registry.repo("app"), "layer", "--media-type", types::TAR]);
        let run = run.args(["--mount-from", &registry.repo("base")]).dir(scratch.path()).run();
        run.ok().stdout(blob.line());
        assert_eq!(registry.steps_since(mark), ["HEAD blob 404", "POST mount 201"]);
        assert_eq!(registry.get(&format!("app/blobs/{}", blob.digest)), blob.bytes);
    }
}
