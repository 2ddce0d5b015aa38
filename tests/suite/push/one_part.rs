// SPDX-License-Identifier: Apache-2.0
//! Uploads from a pipe to registries that accept only one PATCH, or none: the bytes are kept in a
//! temporary file and sent again.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::fake::{Intake, Reply, Request};
use tests::fake_registry::FakeRegistry;
use tests::images::{file, noise, tar, types};
use tests::push::Push;
use tests::tools::{Command, Run};

/// A size of more than two parts: the bytes of a pipe are sent in parts.
const SIZE: usize = 20_000_000;

/// A push of a blob of this size from a pipe, with a directory for temporary files.
fn pipe(push: &Push) -> Command {
    let command = push.bare().args(["--media-type", types::TAR, &push.registry.repo("app")]);
    command.env("TMPDIR", temporary(push)).stdin(push.blob.bytes.clone())
}

/// The directory for temporary files.
fn temporary(push: &Push) -> std::path::PathBuf {
    let dir = push.scratch.join("temporary");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Whether a request sends a part after the first one of its session.
fn is_second(request: &Request) -> bool {
    let range = request.header("content-range");
    request.is_patch() && range.is_some_and(|range| !range.starts_with("0-"))
}

/// Refuses requests without doing what they ask.
fn refuse(
    registry: &FakeRegistry,
    which: impl Fn(&Request) -> bool + Send + Sync + 'static,
    reply: impl Fn() -> Reply + Send + Sync + 'static,
) {
    registry.intake(
        move |request| if which(request) { Intake::instead(reply()) } else { Intake::whole() },
    );
}

/// The responses with which registries refuse every PATCH, or every PATCH after the first.
fn refusals() -> Vec<Reply> {
    let words = "Stream uploads after first write are not allowed";
    vec![
        Reply::error(400, "BLOB_UPLOAD_INVALID", words),
        Reply::error(416, "BLOB_UPLOAD_INVALID", words),
        Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown"),
        Reply::error(405, "UNSUPPORTED", "not supported"),
        Reply::new(400),
        Reply::new(411),
        Reply::new(416).header("Range", "0-8388607"),
        Reply::new(501),
    ]
}

fn patches(push: &Push) -> usize {
    push.registry.steps().iter().filter(|step| step.starts_with("PATCH")).count()
}

#[test]
fn a_pipe_arrives_where_the_second_part_is_refused() {
    for reply in refusals() {
        let push = Push::of(SIZE);
        let shown = reply.code();
        refuse(&push.registry, is_second, move || reply.clone());
        let run = pipe(&push).run();
        run.status(0).silent();
        push.done(&run);
        assert_eq!(tests::scratch::list(&temporary(&push)), Vec::<String>::new(), "{shown}");
        let steps = push.registry.steps();
        assert!(steps.contains(&format!("PUT session {SIZE}")), "{shown}: {steps:#?}");
    }
}

#[test]
fn a_pipe_arrives_where_every_part_is_refused() {
    for reply in refusals() {
        let push = Push::of(SIZE);
        refuse(&push.registry, Request::is_patch, move || reply.clone());
        push.done(&pipe(&push).run());
    }
}

/// The registry requires parts that are larger than the tool's buffer for a pipe.
#[test]
fn a_pipe_arrives_in_parts_that_are_larger_than_the_buffer() {
    let push = Push::of(SIZE);
    push.registry.fault(|request, right| {
        if request.is_start() { right.header("OCI-Chunk-Min-Length", "12582912") } else { right }
    });
    push.done(&pipe(&push).run());
    let steps = push.registry.steps();
    assert!(steps.iter().any(|step| step == "PATCH session 16777216"), "{steps:#?}");
}

/// The state of the first session is lost, for example because the registry was restarted.
#[test]
fn a_pipe_arrives_when_its_first_session_is_lost() {
    let push = Push::of(SIZE);
    let once = tests::fake::first(1, is_second);
    refuse(&push.registry, once, || Reply::new(404));
    push.done(&pipe(&push).run());
}

/// After two accepted parts the tool no longer keeps their bytes, so it cannot replace a lost
/// session.
#[test]
fn nothing_is_kept_once_the_registry_accepts_parts() {
    let push = Push::of(SIZE);
    let last = |request: &Request| {
        let range = request.header("content-range");
        request.is_patch() && range.is_some_and(|range| range.starts_with("16777216-"))
    };
    refuse(&push.registry, last, || Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "unknown"));
    let run = pipe(&push).run();
    run.status(3).says("hint: write the input to a file first").stdout("");
    assert_eq!(push.registry.sessions(), []);
}

#[test]
fn a_refused_permission_is_final() {
    let push = Push::of(SIZE);
    refuse(&push.registry, is_second, || Reply::error(403, "DENIED", "denied"));
    pipe(&push).run().fails(4, "denied").stdout("");
    assert_eq!(patches(&push), 2);
    assert_eq!(push.registry.sessions(), []);
}

/// Later blobs of the run are written to a temporary file from the start.
#[test]
fn a_registry_that_accepts_one_part_is_asked_once_in_a_run() {
    let push = Push::of(1);
    refuse(&push.registry, is_second, || refusals().remove(0));
    for name in ["a", "b", "c"] {
        let seed = u64::from(name.as_bytes()[0]);
        push.scratch.write(name, tar(&[file("f", noise(SIZE, seed))]));
    }
    let run = push.bare().args(["--compress", "gzip", "-j", "1", &push.registry.repo("app")]);
    let run = run.env("TMPDIR", temporary(&push)).args(["a", "b", "c"]).run();
    assert_eq!(run.ok().lines().len(), 3);
    assert_eq!(patches(&push), 2, "{:#?}", push.registry.steps());
    assert_eq!(push.registry.sessions(), []);
}

fn without_temporary_files(push: &Push) -> Run {
    pipe(push).env("TMPDIR", push.scratch.join("absent")).run()
}

#[test]
fn a_missing_directory_for_temporary_files_matters_only_when_it_is_needed() {
    let push = Push::of(SIZE);
    push.done(&without_temporary_files(&push));
    let push = Push::of(SIZE);
    refuse(&push.registry, is_second, || refusals().remove(0));
    let run = without_temporary_files(&push);
    run.status(7).says("absent: no such file or directory").says("hint: TMPDIR").stdout("");
    assert_eq!(push.registry.sessions(), []);
}
