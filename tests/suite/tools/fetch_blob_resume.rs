// SPDX-License-Identifier: Apache-2.0
//! fetch-blob resumes a download: within a run, after kill -9, and from servers whose ranges are
//! unreliable.

use std::path::Path;
use std::sync::Arc;

use tests::commands::fetch_blob;
use tests::eventually;
use tests::fake::{End, Reply, Request};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, noise, read_blob};
use tests::scratch::Scratch;
use tests::tools::{Command, Signal};

const MIB: u64 = 1 << 20;
const SIZE: usize = 6 << 20;

/// A registry with one large blob.
fn registry_with_blob() -> (FakeRegistry, Blob) {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", SIZE, 1);
    (registry, blob)
}

/// The command of most tests here: fetches the blob into `oci:l` by its line.
fn into_layout(registry: &FakeRegistry, blob: &Blob, scratch: &Scratch) -> Command {
    fetch_blob()
        .args([&registry.repo("app"), "--into", "oci:l"])
        .stdin(blob.line())
        .dir(scratch.path())
}

fn holds(scratch: &Scratch, blob: &Blob) -> bool {
    read_blob(&scratch.join("l"), &blob.digest).as_ref() == Some(&blob.bytes)
}

/// The number of bytes in the partial files of a directory.
fn partial_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum()
}

/// The first byte that a request's range asks for.
fn start(request: &Request) -> u64 {
    request.range().map_or(0, |range| range.start)
}

#[test]
fn a_cut_download_is_resumed_at_the_exact_byte() {
    let (registry, blob) = registry_with_blob();
    registry.fault(|request, right| match request.earlier {
        0 => right.cut(2_000_001, End::Fin),
        1 => right.cut(1_000_000, End::Fin),
        _ => right,
    });
    let scratch = Scratch::new();
    into_layout(&registry, &blob, &scratch).run().ok().stdout(blob.line());
    assert!(holds(&scratch, &blob));
    let starts: Vec<_> = registry.blob_requests().iter().map(start).collect();
    assert_eq!(starts, [0, 2_000_001, 3_000_001]);
}

#[test]
fn a_cut_download_to_stdout_is_resumed_too() {
    let (registry, blob) = registry_with_blob();
    registry.fault(|request, right| match request.earlier {
        0 => right.cut(2_000_001, End::Fin),
        _ => right,
    });
    let run = fetch_blob().arg(registry.repo("app")).stdin(blob.line()).run();
    run.ok().stdout(&blob.bytes);
    let starts: Vec<_> = registry.blob_requests().iter().map(start).collect();
    assert_eq!(starts, [0, 2_000_001]);
}

#[test]
fn broken_connections_use_up_no_retries_while_bytes_arrive() {
    let (registry, blob) = registry_with_blob();
    // There are more breaks than attempts allowed without progress. They end with FIN: a reset may
    // discard bytes that had arrived, and then an attempt might make no progress.
    registry.fault(|_, right| match right.code() {
        200 | 206 => right.cut(MIB + 17, End::Fin),
        _ => right,
    });
    let scratch = Scratch::new();
    let run = into_layout(&registry, &blob, &scratch).arg("--retry-times").arg("2").run();
    run.status(0).stdout(blob.line());
    assert!(holds(&scratch, &blob));
    assert!(registry.blob_requests().len() >= 6);
}

#[test]
fn without_progress_the_run_ends_and_keeps_the_received_bytes() {
    let (registry, blob) = registry_with_blob();
    registry.fault(|request, right| match request.earlier {
        0 => right.cut(3 * MIB, End::Fin),
        _ => Reply::hang_up(),
    });
    let scratch = Scratch::new();
    let run = into_layout(&registry, &blob, &scratch).args(["--retry-times", "3"]).run();
    run.fails(5, &blob.digest).stdout("");
    let requests = registry.blob_requests().len();
    assert!((3..=5).contains(&requests), "{requests} requests");
    assert!(!holds(&scratch, &blob));
    // The command is repeated after the network recovers.
    registry.heal();
    registry.server.forget();
    into_layout(&registry, &blob, &scratch).run().ok().stdout(blob.line());
    assert!(holds(&scratch, &blob));
    let starts: Vec<_> = registry.blob_requests().iter().map(start).collect();
    assert_eq!(starts.len(), 1);
    assert!((2 * MIB..=3 * MIB).contains(&starts[0]), "{starts:?}");
}

#[test]
fn after_kill_9_at_most_a_mebibyte_is_requested_again() {
    for stop in [100_000, 2 * MIB + 12_345, SIZE as u64 - 1] {
        let (registry, blob) = registry_with_blob();
        registry.fault(move |_, right| right.stall(stop));
        let scratch = Scratch::new();
        let running = into_layout(&registry, &blob, &scratch).start();
        registry.server.wait_for_stalls(1);
        let ingest = scratch.join("l/ingest");
        eventually("the received bytes on the disk", || {
            (partial_bytes(&ingest) + MIB >= stop).then_some(())
        });
        running.kill().ended_by(Signal::KILL);
        let kept = partial_bytes(&ingest);
        assert!(!holds(&scratch, &blob));

        registry.heal();
        registry.server.forget();
        into_layout(&registry, &blob, &scratch).run().ok().stdout(blob.line());
        assert!(holds(&scratch, &blob));
        let from = registry.blob_requests().iter().map(start).min().unwrap();
        assert!(from + MIB >= kept && from <= kept, "kept {kept}, requested again from {from}");
        assert_eq!(partial_bytes(&ingest), 0, "{:?}", scratch.list());
    }
}

#[test]
fn a_download_to_a_file_resumes_after_kill_9_too() {
    let (registry, blob) = registry_with_blob();
    registry.fault(|_, right| right.stall(4 * MIB));
    let scratch = Scratch::new();
    let args = [&registry.repo("app"), "-o", "out"];
    let command = || fetch_blob().args(args).stdin(blob.line()).dir(scratch.path());
    let running = command().start();
    registry.server.wait_for_stalls(1);
    eventually("a partial file", || (partial_bytes(scratch.path()) >= 3 * MIB).then_some(()));
    running.kill();
    assert!(!scratch.join("out").exists());
    registry.heal();
    registry.server.forget();
    command().run().ok();
    assert!(std::fs::read(scratch.join("out")).unwrap() == blob.bytes);
    assert!(start(&registry.blob_requests()[0]) >= 2 * MIB);
    assert_eq!(scratch.list(), ["out"]);
}

#[test]
fn several_connections_resume_after_kill_9() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 80 << 20, 2);
    registry.fault(|_, right| right.stall(5 * MIB));
    let scratch = Scratch::new();
    let command = || into_layout(&registry, &blob, &scratch).args(["-j", "4"]);
    let running = command().start();
    // The blob is fetched in two parts: only a remainder of at least 64 MiB is split.
    registry.server.wait_for_stalls(2);
    let ingest = scratch.join("l/ingest");
    eventually("the received bytes on the disk", || {
        (partial_bytes(&ingest) >= 2 * 4 * MIB).then_some(())
    });
    running.kill();
    let kept = partial_bytes(&ingest);
    // For each connection, at most one mebibyte of the kept bytes is requested again.
    registry.heal();
    registry.server.forget();
    command().run().ok().stdout(blob.line());
    assert!(holds(&scratch, &blob));
    let asked: u64 = registry
        .blob_requests()
        .iter()
        .map(|request| {
            let range = request.range().unwrap_or(0..u64::MAX);
            range.end.min(80 * MIB) - range.start
        })
        .sum();
    assert!(asked + kept <= 82 * MIB, "kept {kept}, requested {asked} again");
}

#[test]
fn a_signal_ends_the_run_and_the_next_run_resumes() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (registry, blob) = registry_with_blob();
        registry.fault(|_, right| right.stall(3 * MIB));
        let scratch = Scratch::new();
        let running = into_layout(&registry, &blob, &scratch).start();
        registry.server.wait_for_stalls(1);
        let ingest = scratch.join("l/ingest");
        eventually("a partial file", || (partial_bytes(&ingest) >= 2 * MIB).then_some(()));
        running.signal(signal);
        running.wait().ended_by(signal).stdout("");
        registry.heal();
        registry.server.forget();
        into_layout(&registry, &blob, &scratch).run().ok();
        assert!(start(&registry.blob_requests()[0]) >= MIB);
    }
}

#[test]
fn a_partial_file_with_wrong_bytes_is_detected_and_replaced() {
    let (registry, blob) = registry_with_blob();
    for spoil in [
        // Unrelated bytes, a flipped bit, more bytes than the blob has.
        (|_: &[u8]| noise(2 << 20, 99)) as fn(&[u8]) -> Vec<u8>,
        |bytes| {
            let mut bytes = bytes[..2 << 20].to_vec();
            bytes[1 << 20] ^= 1;
            bytes
        },
        |bytes| [bytes, b"and more"].concat(),
        |_| Vec::new(),
    ] {
        let scratch = Scratch::new();
        let name = format!("l/ingest/{}", blob.digest.replace(':', "-"));
        scratch.write(&name, spoil(&blob.bytes));
        scratch.write("l/blobs/sha256/.keep", "");
        let run = into_layout(&registry, &blob, &scratch).run();
        run.status(0).stdout(blob.line());
        assert!(holds(&scratch, &blob));
    }
}

#[test]
fn a_complete_partial_file_needs_no_request() {
    let (registry, blob) = registry_with_blob();
    let scratch = Scratch::new();
    scratch.write(format!("l/ingest/{}", blob.digest.replace(':', "-")), &blob.bytes);
    into_layout(&registry, &blob, &scratch).run().ok().stdout(blob.line());
    assert!(holds(&scratch, &blob));
    assert_eq!(registry.server.asked(), Vec::<String>::new());
}

/// The first response is cut, and the request for the rest gets this response. The blob is complete
/// in the end.
fn completes_after(what: &str, answer: fn(&Request, Reply, Arc<[u8]>) -> Reply) {
    let (registry, blob) = registry_with_blob();
    let bytes: Arc<[u8]> = blob.bytes.clone().into();
    registry.fault(move |request, right| match (request.earlier, request.range()) {
        (0, _) => right.cut(2 * MIB, End::Fin),
        (1, Some(_)) => answer(request, right, Arc::clone(&bytes)),
        _ => right,
    });
    let scratch = Scratch::new();
    let run = into_layout(&registry, &blob, &scratch).run();
    assert_eq!(run.code(), Some(0), "{what}: {run}");
    run.stdout(blob.line());
    assert!(holds(&scratch, &blob), "{what}");
    assert!(registry.blob_requests().len() <= 4, "{what}: {:?}", registry.server.asked());
}

#[test]
fn a_whole_response_to_a_range_request_is_accepted() {
    completes_after("200", |_, _, bytes| Reply::ok(bytes));
}

#[test]
fn a_range_that_starts_at_another_byte_is_not_appended() {
    completes_after("206 from 0", |_, _, bytes| {
        let said = format!("bytes 0-{}/{}", bytes.len() - 1, bytes.len());
        Reply::new(206).header("Content-Range", said).body(&bytes)
    });
    completes_after("206 from one byte later", |request, _, bytes| {
        let from = start(request) as usize + 1;
        let said = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
        Reply::new(206).header("Content-Range", said).body(&bytes[from..])
    });
}

#[test]
fn a_range_without_a_valid_content_range_is_not_appended() {
    completes_after("no Content-Range", |_, right, _| right.without("content-range"));
    completes_after("garbage", |_, right, _| {
        right.without("content-range").header("Content-Range", "bytes of some kind")
    });
}

#[test]
fn a_range_with_another_total_size_is_not_appended() {
    completes_after("total", |request, right, bytes| {
        let said = format!("bytes {}-{}/{}", start(request), bytes.len() - 1, bytes.len() + 1);
        right.without("content-range").header("Content-Range", said)
    });
}

#[test]
fn a_range_shorter_than_requested_is_continued() {
    completes_after("shorter", |request, _, bytes| {
        let from = start(request) as usize;
        let said = format!("bytes {from}-{}/{}", from + 999, bytes.len());
        Reply::new(206).header("Content-Range", said).body(&bytes[from..from + 1000])
    });
}

#[test]
fn several_ranges_in_one_response_are_not_appended() {
    completes_after("multipart", |_, _, _| {
        Reply::new(206)
            .header("Content-Type", "multipart/byteranges; boundary=x")
            .body("--x\r\nContent-Range: bytes 0-0/1\r\n\r\na\r\n--x--")
    });
}

#[test]
fn a_416_restarts_the_download() {
    completes_after("416 without a size", |_, _, _| Reply::new(416));
    completes_after("416 with a smaller size", |_, _, _| {
        Reply::new(416).header("Content-Range", "bytes */1000")
    });
}

/// The first bytes are right at first, and are hashed. After the 416 they are sent again, and wrong.
#[test]
fn bytes_that_are_sent_again_after_a_416_are_verified() {
    for into_a_file in [false, true] {
        let (registry, blob) = registry_with_blob();
        let mut wrong = blob.bytes.clone();
        wrong[0] ^= 1;
        let wrong: Arc<[u8]> = wrong.into();
        registry.fault(move |request, right| match request.earlier {
            0 => right.cut(2 * MIB, End::Fin),
            1 => Reply::new(416),
            _ => Reply::ok(&wrong),
        });
        let scratch = Scratch::new();
        let run = if into_a_file {
            let command = fetch_blob().args([&registry.repo("app"), "-o", "file"]);
            command.arg(&blob.digest).dir(scratch.path()).run()
        } else {
            into_layout(&registry, &blob, &scratch).run()
        };
        run.fails(1, "digest differs").stdout("");
        assert_eq!(read_blob(&scratch.join("l"), &blob.digest), None);
        assert!(!scratch.join("file").exists());
    }
}

#[test]
fn wrong_bytes_in_a_resumed_range_are_detected_and_fetched_again() {
    completes_after("corrupted rest", |_, right, _| right.corrupted());
}

#[test]
fn a_server_without_ranges_gets_few_requests_for_the_whole_blob() {
    let (registry, blob) = registry_with_blob();
    let bytes: Arc<[u8]> = blob.bytes.clone().into();
    registry.fault(move |_, _| Reply::ok(&bytes).cut(2 * MIB, End::Fin));
    let scratch = Scratch::new();
    let run = into_layout(&registry, &blob, &scratch).run();
    run.fails(5, "").stdout("");
    assert!(registry.blob_requests().len() <= 8, "{} requests", registry.blob_requests().len());
}

#[test]
fn bytes_that_stay_wrong_give_status_1() {
    let (registry, blob) = registry_with_blob();
    registry.fault(|request, right| match request.earlier {
        0 => right.cut(2 * MIB, End::Fin),
        _ => right.corrupted(),
    });
    let scratch = Scratch::new();
    into_layout(&registry, &blob, &scratch).run().fails(1, &blob.digest).stdout("");
    assert!(!holds(&scratch, &blob));
    assert!(registry.blob_requests().len() <= 3);
}

#[test]
fn wrong_bytes_in_a_whole_response_are_not_requested_again() {
    let (registry, blob) = registry_with_blob();
    registry.fault(|_, right| right.corrupted());
    let scratch = Scratch::new();
    into_layout(&registry, &blob, &scratch).run().fails(1, &blob.digest).stdout("");
    assert_eq!(registry.blob_requests().len(), 1);
    assert_eq!(partial_bytes(&scratch.join("l/ingest")), 0, "{:?}", scratch.list());
}

#[test]
fn a_blob_deleted_during_the_download_gives_status_3() {
    let (registry, blob) = registry_with_blob();
    registry.fault(|request, right| match request.earlier {
        0 => right.cut(2 * MIB, End::Fin),
        _ => Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
    });
    let scratch = Scratch::new();
    into_layout(&registry, &blob, &scratch).run().fails(3, &blob.digest).stdout("");
}

#[test]
fn the_lock_of_a_killed_run_does_not_block_the_next_run() {
    let (registry, blob) = registry_with_blob();
    registry.fault(|request, right| match request.earlier {
        0 => right.stall(2 * MIB),
        _ => right,
    });
    let scratch = Scratch::new();
    let first = into_layout(&registry, &blob, &scratch).start();
    registry.server.wait_for_stalls(1);
    let second = into_layout(&registry, &blob, &scratch).start();
    first.kill();
    second.wait().status(0).stdout(blob.line());
    assert!(holds(&scratch, &blob));
}

#[test]
fn bytes_beyond_the_content_range_are_refused_and_not_stored() {
    let (registry, blob) = registry_with_blob();
    let bytes: Arc<[u8]> = blob.bytes.clone().into();
    registry.fault(move |request, right| match request.range() {
        None => right.cut(2 * MIB, End::Fin),
        Some(range) => {
            let from = range.start as usize;
            let said = format!("bytes {from}-{}/{}", from + 999, bytes.len());
            let body = [&bytes[from..from + 1000], &[0; 1000][..]].concat();
            Reply::new(206).header("Content-Range", said).body(body)
        }
    });
    let scratch = Scratch::new();
    into_layout(&registry, &blob, &scratch).run().fails(6, "longer than stated").stdout("");
    assert!(!holds(&scratch, &blob));
    registry.heal();
    into_layout(&registry, &blob, &scratch).run().ok().stdout(blob.line());
    assert!(holds(&scratch, &blob));
}
