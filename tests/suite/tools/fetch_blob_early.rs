// SPDX-License-Identifier: Apache-2.0
//! fetch-blob --early prints a line when its blob begins to arrive.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use tests::commands::fetch_blob;
use tests::eventually;
use tests::fake::{End, Reply};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, noise, read_blob, types};
use tests::scratch::Scratch;
use tests::tools::{Command, shell};

/// A size for which `--early` prints a line before the blob is complete. For smaller blobs it does
/// not.
const LARGE: usize = 3 << 20;

fn early(blob: &Blob) -> String {
    blob.line().replace("}\n", ",\"early\":true}\n")
}

/// fetch-blob, with its output in the file `lines`, so that it can be read during the run.
fn fetch(registry: &FakeRegistry, scratch: &Scratch, lines: String) -> Command {
    let script = "exec fetch-blob --plain-http --max-wait 0 --early \"$APP\" --into oci:l >lines";
    shell(script).env("APP", registry.repo("app")).stdin(lines).dir(scratch.path())
}

fn printed(scratch: &Scratch) -> String {
    std::fs::read_to_string(scratch.join("lines")).unwrap_or_default()
}

fn holds(layout: &Path, blob: &Blob) -> bool {
    read_blob(layout, &blob.digest).as_ref() == Some(&blob.bytes)
}

#[test]
fn the_line_of_a_large_blob_is_printed_when_it_begins_to_arrive() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", LARGE, 1);
    registry.fault(|_, right| right.stall(1 << 20));
    let scratch = Scratch::new();
    let running = fetch(&registry, &scratch, blob.line()).start();
    let line = eventually("the line", || Some(printed(&scratch)).filter(|text| !text.is_empty()));
    assert_eq!(line, early(&blob));
    assert!(read_blob(&scratch.join("l"), &blob.digest).is_none());
    registry.server.release();
    running.wait().ok();
    assert_eq!(printed(&scratch), early(&blob));
    assert!(holds(&scratch.join("l"), &blob));
}

/// The lines of a small blob, of a blob that the layout has, and of a blob without a stated size.
#[test]
fn other_lines_are_printed_when_their_blobs_are_whole() {
    let registry = FakeRegistry::start();
    let small = registry.add_noise("app", 1 << 20, 1);
    let [there, unsized_] = [2, 3].map(|seed| registry.add_noise("app", LARGE, seed));
    let scratch = Scratch::new();
    fetch(&registry, &scratch, there.line()).run().ok();
    let without_size = unsized_.line().replace(&format!(",\"size\":{LARGE}"), "");
    fetch(&registry, &scratch, small.line() + &there.line() + &without_size).run().ok();
    assert_eq!(printed(&scratch), small.line() + &there.line() + &unsized_.line());
    // Digests on the command line have no size either.
    let by_digest = fetch_blob().args(["--early", &registry.repo("app"), &unsized_.digest]);
    let run = by_digest.args(["--into", "oci:m"]).dir(scratch.path()).run();
    assert!(!run.ok().lines()[0].contains("early"), "{run}");
}

#[test]
fn the_mark_of_an_early_input_line_is_removed() {
    let registry = FakeRegistry::start();
    let small = registry.add_noise("app", 1000, 1);
    let scratch = Scratch::new();
    fetch(&registry, &scratch, early(&small)).run().ok();
    assert_eq!(printed(&scratch), small.line());
}

#[test]
fn a_repeated_blob_is_fetched_once_and_printed_each_time() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", LARGE, 1);
    registry.fault(|_, right| right.stall(1 << 20));
    let scratch = Scratch::new();
    let running = fetch(&registry, &scratch, blob.line().repeat(3)).start();
    let text = early(&blob).repeat(3);
    eventually("three lines", || (printed(&scratch) == text).then_some(()));
    registry.server.release();
    running.wait().ok();
    assert_eq!(registry.blob_requests().len(), 1);
}

#[test]
fn a_repeated_blob_with_another_size_fails() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", LARGE, 1);
    registry.fault(|_, right| right.stall(1 << 20));
    let scratch = Scratch::new();
    let other = blob.line().replace(&LARGE.to_string(), &(LARGE + 1).to_string());
    let running = fetch(&registry, &scratch, blob.line() + &other).start();
    eventually("two lines", || (printed(&scratch).lines().count() == 2).then_some(()));
    registry.server.release();
    running.wait().status(1).says("size differs");
}

#[test]
fn a_blob_that_does_not_arrive_has_no_line() {
    let scratch = Scratch::new();
    let blob = Blob::new(types::TAR, noise(LARGE, 1));
    for (code, status) in [(404, 3), (503, 5), (403, 4)] {
        let registry = FakeRegistry::start();
        registry.add_blob("app", &blob.bytes[..]);
        registry.fault(move |_, _| Reply::new(code));
        fetch(&registry, &scratch, blob.line()).run().status(status);
        assert_eq!(printed(&scratch), "");
    }
}

/// A partial file of an earlier run does not yet count as an arriving blob.
#[test]
fn a_resumed_blob_has_a_line_when_new_bytes_arrive() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", LARGE, 1);
    let scratch = Scratch::new();
    let lines = scratch.join("lines");
    registry.fault(move |request, right| {
        if request.earlier == 0 {
            return right.cut(1 << 20, End::Fin);
        }
        let is_printed = || std::fs::metadata(&lines).is_ok_and(|lines| lines.len() > 0);
        eventually("the line", || is_printed().then_some(()));
        Reply::new(503)
    });
    fetch(&registry, &scratch, blob.line()).run().status(5);
    assert_eq!(printed(&scratch), early(&blob));
    registry.fault(|_, _| Reply::new(503));
    fetch(&registry, &scratch, blob.line()).run().status(5);
    assert_eq!(printed(&scratch), "");
    registry.fault(|_, right| right.stall(1000));
    let running = fetch(&registry, &scratch, blob.line()).start();
    eventually("the line", || (printed(&scratch) == early(&blob)).then_some(()));
    registry.server.release();
    running.wait().ok();
    assert!(holds(&scratch.join("l"), &blob));
}

#[test]
fn a_failed_blob_gives_its_status_even_after_an_early_line() {
    let registry = FakeRegistry::start();
    let [first, second] = [1, 2].map(|seed| registry.add_noise("app", LARGE, seed));
    let broken = second.digest.clone();
    registry.fault(
        move |request, right| {
            if request.path.ends_with(&broken) { right.corrupted() } else { right }
        },
    );
    let scratch = Scratch::new();
    let run = fetch(&registry, &scratch, first.line() + &second.line()).run();
    run.status(1).says("digest differs");
    // fetch-blob may fail before it prints the lines.
    let all = early(&first) + &early(&second);
    let printed = printed(&scratch).replace(&first.line(), &early(&first));
    assert!(all.starts_with(&printed), "{printed}");
    assert!(read_blob(&scratch.join("l"), &second.digest).is_none());
}

/// unpack-layer cannot find an unnamed partial file.
#[test]
fn a_blob_in_an_unnamed_file_has_an_ordinary_line() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", LARGE, 1);
    let scratch = Scratch::new();
    let partial = scratch.join("l/ingest").join(blob.digest.replace(':', "-"));
    std::fs::create_dir_all(partial.join("in the way")).unwrap();
    fetch(&registry, &scratch, blob.line()).run().status(0).says("cannot continue");
    assert_eq!(printed(&scratch), blob.line());
}

/// A second process waits until the first has stored the blob, and then prints an ordinary line.
#[test]
fn a_blob_that_another_process_fetches_has_an_ordinary_line() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", LARGE, 1);
    registry.fault(|_, right| right.stall(1 << 20));
    let scratch = Scratch::new();
    let first = fetch(&registry, &scratch, blob.line()).start();
    eventually("the early line", || (printed(&scratch) == early(&blob)).then_some(()));
    let command = fetch_blob().args(["--early", &registry.repo("app"), "--into", "oci:l"]);
    let second = command.stdin(blob.line()).dir(scratch.path()).start();
    registry.server.release();
    first.wait().ok();
    second.wait().ok().stdout(blob.line());
    assert_eq!(registry.blob_requests().len(), 1);
}

#[test]
fn small_blobs_are_fetched_over_all_connections() {
    let registry = FakeRegistry::start();
    let blobs: Vec<_> = (0..8).map(|seed| registry.add_noise("app", LARGE, seed)).collect();
    registry.fault(|request, right| if request.earlier == 0 { right.stall(10) } else { right });
    let scratch = Scratch::new();
    let lines: String = blobs.iter().map(Blob::line).collect();
    let running = fetch(&registry, &scratch, lines).start();
    registry.server.wait_for_stalls(4);
    registry.server.release();
    running.wait().ok();
    assert!(blobs.iter().all(|blob| holds(&scratch.join("l"), blob)));
    let all: String = blobs.iter().map(early).collect();
    assert_eq!(
        printed(&scratch).replace(",\"early\":true", ""),
        all.replace(",\"early\":true", "")
    );
}

#[test]
fn early_goes_with_into() {
    let scratch = Scratch::new();
    let digest = noise(1, 1);
    let digest = tests::images::sha256(&digest);
    for more in [&["-o", "out"][..], &[]] {
        let run = fetch_blob().args(["--early", "localhost:1/app", &digest]).args(more);
        run.dir(scratch.path()).run().fails(2, "--into");
    }
}
