// SPDX-License-Identifier: Apache-2.0
//! probe-registry --write: mounts, uploads in parts, deletes; nothing stays in the registry.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use tests::commands::plain;
use tests::fake::{Intake, Reply, Request};
use tests::fake_registry::FakeRegistry;
use tests::images::Image;
use tests::tools::{Command, Signal, shell, tool};

use super::probe_registry::{fact, facts};

/// The command for an image in `app`, with writing to `other`.
fn probe(registry: &FakeRegistry) -> Command {
    let (app, other) = (registry.repo("app"), registry.repo("other"));
    plain("probe-registry").args(["--retry-times", "1", &app, "--write", &other])
}

/// A registry with the same image in `app` and `other`.
fn registry() -> FakeRegistry {
    let registry = FakeRegistry::with_image();
    registry.add_image("other", "1", &Image::small());
    registry
}

/// The requests to the repository `other`.
fn writes(registry: &FakeRegistry) -> Vec<String> {
    let requests = registry.server.requests();
    requests.iter().filter(|r| r.path.contains("/other/")).map(Request::step).collect()
}

#[test]
fn the_facts_are_determined_and_nothing_stays() {
    let registry = registry();
    let run = probe(&registry).run();
    facts(
        run.ok(),
        &[
            ("mount", "yes"),
            ("upload", "yes"),
            ("least-chunk", "no: no OCI-Chunk-Min-Length header"),
            ("chunked-upload", "yes"),
            ("upload-cancel", "yes"),
        ],
    );
    for name in ["untag", "deletes"] {
        let value = fact(&run, name);
        assert!(value.starts_with("unknown: not refused for a"), "{value}");
        assert!(value.contains("that does not exist: 404 MANIFEST_UNKNOWN"), "{value}");
    }
    assert_eq!(
        writes(&registry),
        [
            "HEAD blob",
            "POST mount",
            "POST uploads",
            "PATCH session 1",
            "PATCH session 1",
            "DELETE session",
            "HEAD manifest",
            "DELETE manifest",
            "HEAD manifest",
            "DELETE manifest",
        ]
    );
    assert_eq!(registry.sessions(), []);
    assert_eq!(registry.tags("other"), registry.tags("app"));
    assert!(registry.manifest("other", "1").is_some());
    // Every name that was deleted was looked for before.
    let requests = registry.server.requests();
    let named = |method: &str| -> Vec<&str> {
        let of = |r: &&Request| r.method == method && r.path.contains("/other/manifests/");
        requests.iter().filter(of).map(|r| r.path.as_str()).collect()
    };
    assert_eq!(named("HEAD"), named("DELETE"));
}

#[test]
fn a_mount_that_would_add_a_blob_is_not_tried() {
    let registry = FakeRegistry::with_image();
    let run = probe(&registry).run();
    let to = registry.repo("other");
    facts(run.ok(), &[("mount", &format!("unknown: a mount would add a blob to {to}"))]);
    assert!(!writes(&registry).contains(&"POST mount".to_owned()));
    assert_eq!(registry.blob("other", &Image::small().config.digest), None);
}

#[test]
fn the_repository_of_write_is_read_if_no_other_is_named() {
    let registry = registry();
    let host = registry.host();
    let other = registry.repo("other");
    let run = plain("probe-registry").args([&host, "--write", &other]).run();
    facts(run.ok(), &[("blob-range", "yes"), ("mount", "yes (from the same repository)")]);
    assert_eq!(registry.sessions(), []);
}

#[test]
fn a_mount_that_opens_an_upload_is_not_one_and_the_upload_is_cancelled() {
    let registry = registry();
    registry.add_blob("third", "x");
    registry.fault(|request, right| {
        if request.is_start() && request.param("mount").is_some() {
            let host = request.header("host").unwrap();
            return Reply::new(202)
                .header("Location", format!("http://{host}/v2/other/blobs/uploads/mine"));
        }
        right
    });
    let run = probe(&registry).run();
    facts(run.ok(), &[("mount", "no: an upload was started instead")]);
    let asked = registry.server.asked();
    assert!(asked.contains(&"DELETE /v2/other/blobs/uploads/mine".to_owned()), "{asked:?}");
}

#[test]
fn parts_have_the_size_that_the_registry_requires() {
    for (least, sizes, chunked, shown) in [
        ("5", &[5, 5][..], "yes", "5 (bytes)"),
        ("16777216", &[16 << 20, 16 << 20], "yes", "16777216 (bytes)"),
        (
            "16777217",
            &[],
            "unknown: parts of more than 16777216 bytes are not sent",
            "16777217 (bytes)",
        ),
        ("0", &[1, 1], "yes", "0 (bytes)"),
        ("18446744073709551616", &[1, 1], "yes", "18446744073709551616 (not a number)"),
    ] {
        let registry = registry();
        registry.fault(move |request, right| {
            if request.is_start() { right.header("OCI-Chunk-Min-Length", least) } else { right }
        });
        let run = probe(&registry).run();
        facts(run.ok(), &[("least-chunk", shown), ("chunked-upload", chunked)]);
        let requests = registry.server.requests();
        let sent: Vec<_> = requests.iter().filter(|r| r.is_patch()).map(|r| r.received).collect();
        assert_eq!(sent, sizes);
        assert_eq!(registry.sessions(), []);
    }
}

#[test]
fn a_part_that_is_refused_is_named_and_the_session_is_cancelled() {
    for (number, which) in [(0, "first"), (1, "second")] {
        let registry = registry();
        let patches = AtomicUsize::new(0);
        registry.fault(move |request, right| {
            let is_it = request.is_patch() && patches.fetch_add(1, Ordering::SeqCst) == number;
            if is_it { Reply::new(416) } else { right }
        });
        let run = probe(&registry).run();
        let want = format!("no: the {which} part of 1 bytes: 416 Range Not Satisfiable");
        facts(run.ok(), &[("chunked-upload", &want), ("upload-cancel", "yes")]);
        assert_eq!(registry.sessions(), []);
    }
}

#[test]
fn a_refused_upload_is_a_fact() {
    for (status, code, want) in [
        (403, "DENIED", "no: 403 DENIED: read only"),
        (405, "UNSUPPORTED", "no: 405 UNSUPPORTED: read only"),
        (503, "UNAVAILABLE", "unknown: 503 UNAVAILABLE: read only"),
    ] {
        let registry = registry();
        registry.fault(move |request, right| {
            if matches!(request.method.as_str(), "GET" | "HEAD") {
                right
            } else {
                Reply::error(status, code, "read only")
            }
        });
        let run = probe(&registry).run();
        for name in ["mount", "upload", "untag", "deletes"] {
            facts(run.status(0), &[(name, want)]);
        }
        facts(&run, &[("chunked-upload", "unknown: no upload was started")]);
    }
}

#[test]
fn what_exists_is_never_deleted() {
    // A registry that responds to every HEAD with 200.
    let registry = registry();
    registry.fault(|request, right| {
        if request.method == "HEAD" && request.is_manifest() { Reply::new(200) } else { right }
    });
    let run = probe(&registry).run();
    let want = "unknown: HEAD of a tag that does not exist: 200";
    facts(run.ok(), &[("untag", want)]);
    let deleted = |r: &Request| r.method == "DELETE" && r.is_manifest();
    assert!(!registry.server.requests().iter().any(deleted));
}

#[test]
fn a_location_that_is_not_allowed_gets_no_bytes() {
    let registry = registry();
    registry.fault(|request, right| {
        if request.is_start() {
            Reply::new(202).header("Location", "http://10.0.0.1/v2/other/blobs/uploads/x")
        } else {
            right
        }
    });
    let run = probe(&registry).run();
    let upload = fact(run.ok(), "upload");
    assert!(upload.starts_with("unknown: ") && upload.contains("upload Location: "), "{run}");
    assert!(!registry.server.requests().iter().any(Request::is_patch));
}

#[test]
fn an_interrupted_run_cancels_the_upload() {
    for signal in [Signal::INT, Signal::TERM] {
        let registry = registry();
        registry.intake(|r| if r.is_patch() { Intake::stall(0) } else { Intake::whole() });
        let running = probe(&registry).start();
        registry.server.wait_for_stalls(1);
        assert_eq!(registry.sessions().len(), 1);
        running.signal(signal);
        running.wait().ended_by(signal);
        assert_eq!(registry.sessions(), []);
        assert_eq!(writes(&registry).last().unwrap(), "DELETE session");
    }
}

#[test]
fn a_run_that_is_out_of_time_cancels_the_upload() {
    let registry = registry();
    registry.intake(|r| if r.is_patch() { Intake::stall(0) } else { Intake::whole() });
    let run = probe(&registry).args(["--timeout", "1"]).run();
    run.fails(5, "out of time");
    assert_eq!(registry.sessions(), []);
}

#[test]
fn a_closed_stdout_ends_the_run_quietly_and_leaves_no_session() {
    let registry = registry();
    let script = "{ probe-registry --plain-http $HOST/app --write $HOST/other; echo $? >&2; } | \
        head -n 1";
    let run = shell(script).env("HOST", registry.host()).run();
    run.status(0);
    assert_eq!(run.stderr, format!("{}\n", 128 + Signal::PIPE.as_raw()), "{run}");
    assert_eq!(registry.sessions(), []);
}

#[test]
fn a_token_for_writing_is_fetched_only_with_write() {
    let registry = FakeRegistry::with_tokens();
    for name in ["app", "other"] {
        registry.add_image(name, "1", &Image::small());
    }
    let scopes = || -> Vec<String> {
        registry.server.requests().iter().flat_map(|request| request.params("scope")).collect()
    };
    plain("probe-registry").arg(registry.repo("app")).run().ok();
    assert!(!scopes().iter().any(|scope| scope.contains("push")), "{:?}", scopes());
    registry.server.forget();
    let run = probe(&registry).run();
    facts(run.ok(), &[("mount", "yes"), ("chunked-upload", "yes"), ("upload-cancel", "yes")]);
    assert!(scopes().iter().any(|scope| scope.contains("repository:other:pull,push")));
    assert_eq!(registry.sessions(), []);
}

mod with_peers {
    use super::*;
    use tests::registry::Registry;

    #[test]
    fn real_registries_are_described_and_keep_nothing() {
        let no_deletes = "no: 405 UNSUPPORTED: The operation is unsupported.";
        for (registry, untag, deletes) in [
            (Registry::start(), no_deletes, no_deletes),
            (Registry::with_deletes(), "no: 400 DIGEST_INVALID", "unknown: not refused"),
            (Registry::version_3(), "unknown: not refused", "unknown: not refused"),
        ] {
            for name in ["app", "other"] {
                registry.put_image(name, "1", &Image::small());
            }
            let uploads = registry.storage().join("docker/registry/v2/repositories/other/_uploads");
            let (app, other) = (registry.repo("app"), registry.repo("other"));
            let run = tool("probe-registry").args([&app, "--write", &other]).run();
            facts(
                run.ok(),
                &[
                    ("mount", "yes"),
                    ("upload", "yes"),
                    ("least-chunk", "no: no OCI-Chunk-Min-Length header"),
                    ("chunked-upload", "yes"),
                    ("upload-cancel", "yes"),
                ],
            );
            assert!(fact(&run, "untag").starts_with(untag), "{run}");
            assert!(fact(&run, "deletes").starts_with(deletes), "{run}");
            // The registry may keep the hash of a cancelled upload, but not its data.
            for upload in std::fs::read_dir(&uploads).into_iter().flatten() {
                assert!(!upload.unwrap().path().join("data").exists(), "{run}");
            }
            let tags = tool("list-tags").arg(&other).run();
            tags.ok().stdout("1\n");
        }
    }
}
