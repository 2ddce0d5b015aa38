// SPDX-License-Identifier: Apache-2.0
//! If one of many blobs fails, the run ends at once. If no blob is requested from a registry, the
//! registry need not be reachable.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::commands::{fetch_blob, push_blob};
use tests::eventually;
use tests::fake::Intake;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, noise, read_blob, types, write_image, write_layout};
use tests::ports::Closed;
use tests::scratch::Scratch;
use tests::tools::tool;

const SIZE: usize = 100_000;

/// A small blob, a blob whose transfer stalls, and a blob that is missing.
fn blobs() -> [Blob; 3] {
    [(1000, 1), (SIZE, 2), (SIZE, 3)].map(|(size, seed)| Blob::new(types::TAR, noise(size, seed)))
}

fn lines(blobs: &[&Blob]) -> String {
    blobs.iter().map(|blob| blob.line()).collect()
}

#[test]
fn fetch_blob_ends_at_once_when_a_blob_behind_a_slow_one_fails() {
    let [small, slow, absent] = blobs();
    let registry = FakeRegistry::start();
    for blob in [&small, &slow] {
        registry.add_blob("app", &blob.bytes[..]);
    }
    let scratch = Scratch::new();
    let (layout, digests) = (scratch.join("l"), [&small, &slow, &absent].map(|b| b.digest.clone()));
    registry.fault(move |request, right| {
        if request.path.ends_with(&digests[1]) {
            return right.stall(SIZE as u64 / 2);
        }
        if request.path.ends_with(&digests[2]) {
            eventually("the small blob", || read_blob(&layout, &digests[0]));
        }
        right
    });
    let fetch = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]);
    let fetch = fetch.stdin(lines(&[&small, &slow, &absent])).dir(scratch.path()).start();
    // The stall never ends, so only the missing blob can end the run.
    let run = fetch.wait();
    run.fails(3, &absent.digest);
    let printed = String::from_utf8_lossy(&run.stdout);
    assert!(printed.is_empty() || printed == small.line(), "{run}");
    assert_eq!(read_blob(&scratch.join("l"), &small.digest), Some(small.bytes));
    assert_eq!(read_blob(&scratch.join("l"), &slow.digest), None);
    let partial = slow.digest.replace(':', "-");
    assert!(scratch.list().contains(&format!("l/ingest/{partial}")), "{:?}", scratch.list());
}

#[test]
fn fetch_blob_ends_at_once_when_a_blob_behind_a_slow_one_is_too_large() {
    let [small, slow, _] = blobs();
    let registry = FakeRegistry::start();
    for blob in [&small, &slow] {
        registry.add_blob("app", &blob.bytes[..]);
    }
    registry.fault(|_, right| right.stall(10));
    let scratch = Scratch::new();
    let fetch = fetch_blob().args([&registry.repo("app"), "--into", "oci:l", "--max-size", "1000"]);
    let run = fetch.stdin(lines(&[&small, &slow])).dir(scratch.path()).run();
    run.fails(6, "--max-size").stdout("");
}

#[test]
fn push_blob_ends_at_once_when_a_blob_behind_a_slow_one_fails() {
    let [_, slow, absent] = blobs();
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    write_layout(&scratch.join("l"), "1", &slow, []);
    registry.intake(|request| {
        let has_bytes = request.is_patch() || request.is_close();
        if has_bytes { Intake::stall(SIZE as u64 / 2) } else { Intake::whole() }
    });
    let push = push_blob().args([&registry.repo("app"), "--from", "oci:l"]);
    let run = push.stdin(lines(&[&slow, &absent])).dir(scratch.path()).run();
    run.fails(3, &absent.digest).stdout("");
    // A failed file ends the run in the same way.
    scratch.write("slow", &slow.bytes);
    let push = push_blob().args([&registry.repo("app"), "slow", "absent"]);
    push.dir(scratch.path()).run().fails(3, "absent").stdout("");
}

#[test]
fn push_blob_ends_at_once_when_a_source_behind_a_slow_one_fails() {
    let [_, slow, absent] = blobs();
    let registry = FakeRegistry::start();
    registry.add_blob("app", &slow.bytes[..]);
    let digest = slow.digest.clone();
    registry.fault(move |request, right| {
        if request.path.ends_with(&digest) { right.stall(SIZE as u64 / 2) } else { right }
    });
    let scratch = Scratch::new();
    let push = tool("push-blob").args(["oci:l", "--from-plain-http", "--from"]);
    let push = push.args([&registry.repo("app"), "--max-wait", "0"]);
    let run = push.stdin(lines(&[&slow, &absent])).dir(scratch.path()).run();
    run.fails(3, &absent.digest).stdout("");
    assert_eq!(read_blob(&scratch.join("l"), &slow.digest), None);
}

/// A loopback host is probed for TLS when the first blob is needed, not before.
#[test]
fn a_stopped_registry_is_not_asked_for_blobs_that_the_layout_has() {
    let image = Image::small();
    let scratch = Scratch::new();
    write_image(&scratch.join("l"), "1", &image);
    let stopped = Closed::new();
    let repository = format!("{}/app", stopped.host());
    let once = ["--max-wait", "0", "--retry-times", "1"];
    let fetch = |layout: &str| {
        let fetch = tool("fetch-blob").args([&repository, "--into", layout]).args(once);
        fetch.stdin(image.lines()).dir(scratch.path()).run()
    };
    fetch("oci:l").ok().stdout(image.lines());
    fetch("oci:new").fails(5, &stopped.host()).stdout("");
    let push = |layout: &str| {
        let push = tool("push-blob").args([layout, "--from", &repository]).args(once);
        push.stdin(image.lines()).dir(scratch.path()).run()
    };
    push("oci:l").ok().stdout(image.lines());
    push("oci:new").fails(5, &stopped.host()).stdout("");
}
