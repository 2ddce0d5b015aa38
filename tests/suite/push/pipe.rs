// SPDX-License-Identifier: Apache-2.0
//! Pushes from a pipe: what is read while a part is sent, and when a failure is reported.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{JoinHandle, spawn};

use tests::eventually;
use tests::fake::{End, Intake, Reply, Request};
use tests::images::types;
use tests::peers::{must, peer};
use tests::push::Push;
use tests::tools::Running;

const MIB: usize = 1 << 20;

/// The size of a part.
const PART: usize = 8 * MIB;

/// A push of the fifo `pipe`.
fn start(push: &Push) -> Running {
    must(peer("mkfifo").arg(push.scratch.join("pipe")));
    push.bare().args(["--media-type", types::TAR, &push.registry.repo("app"), "pipe"]).start()
}

/// Writes bytes to the fifo on a thread of its own, and counts them. The thread returns the open
/// fifo. The thread ends if a write fails, because the reader has ended.
fn write(push: &Push, bytes: &[u8]) -> (Arc<AtomicUsize>, JoinHandle<File>) {
    let (path, bytes) = (push.scratch.join("pipe"), bytes.to_vec());
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let writer = spawn(move || {
        let mut pipe = File::options().write(true).open(path).unwrap();
        for piece in bytes.chunks(MIB / 4) {
            if pipe.write_all(piece).is_err() {
                break;
            }
            count.fetch_add(piece.len(), Ordering::SeqCst);
        }
        pipe
    });
    (written, writer)
}

#[test]
fn the_next_part_is_read_while_one_is_sent() {
    let push = Push::of(3 * PART + 5);
    push.registry.intake(|request| {
        if request.is_patch() { Intake::stall(MIB as u64) } else { Intake::whole() }
    });
    let running = start(&push);
    let (written, writer) = write(&push, &push.blob.bytes);
    push.registry.server.wait_for_stalls(1);
    // The first part is still being sent.
    eventually("the second part to be read", || {
        (written.load(Ordering::SeqCst) >= 2 * PART).then_some(())
    });
    assert_eq!(push.registry.sessions().len(), 1);
    push.registry.server.release();
    drop(writer.join().unwrap());
    push.done(&running.wait());
}

/// The program that writes the pipe may be slow, or wait for something itself.
#[test]
fn a_refusal_is_reported_while_the_pipe_stays_open() {
    for reset in [false, true] {
        let push = Push::of(PART + 100_000);
        push.registry.intake(move |request| {
            let reply = Reply::error(403, "DENIED", "no parts");
            if !request.is_patch() {
                Intake::whole()
            } else if reset {
                Intake::early(MIB as u64, reply, End::Reset)
            } else {
                Intake::instead(reply)
            }
        });
        let running = start(&push);
        let (_, writer) = write(&push, &push.blob.bytes);
        let run = running.wait();
        run.fails(if reset { run.code().unwrap() } else { 4 }, "").stdout("");
        assert_eq!(push.registry.sessions(), [], "{:#?}", push.registry.steps());
        drop(writer.join().unwrap());
    }
}

/// The bytes that were read ahead are not lost, and are sent once.
#[test]
fn a_part_that_broke_is_sent_again_before_the_next_one() {
    for cut in [0, MIB, PART - 1] {
        let push = Push::of(3 * PART);
        let tried = AtomicUsize::new(0);
        push.registry.intake(move |request| {
            if request.is_patch() && tried.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                Intake::cut(cut as u64, End::Fin)
            } else {
                Intake::whole()
            }
        });
        let running = start(&push);
        let (_, writer) = write(&push, &push.blob.bytes);
        drop(writer.join().unwrap());
        push.done(&running.wait());
        assert_eq!(push.sent(), push.blob.bytes.len() as u64, "{:#?}", push.registry.steps());
    }
}

/// A part is sent only when more bytes follow it. The tool therefore knows the digest of a blob of
/// one part: it first asks for the blob with HEAD, and then sends it in one request.
#[test]
fn a_blob_of_one_part_is_sent_like_a_file() {
    for (len, is_one) in [(PART - 1, true), (PART, true), (PART + 1, false)] {
        let push = Push::of(len);
        let running = start(&push);
        let (_, writer) = write(&push, &push.blob.bytes);
        drop(writer.join().unwrap());
        push.done(&running.wait());
        let sent = |request: &&Request| request.is_patch();
        let parts = push.registry.server.requests().iter().filter(sent).count();
        assert_eq!(parts == 0, is_one, "{len}: {:#?}", push.registry.steps());
    }
}
