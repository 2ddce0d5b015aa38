// SPDX-License-Identifier: Apache-2.0
//! `--progress` of transfers that an earlier run began. The bytes of the earlier run count as done
//! from the first line on. The rate counts only the bytes of this run.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use tests::commands::fetch_blob;
use tests::eventually;
use tests::fake::{Intake, Reply, Request, first};
use tests::fake_registry::FakeRegistry;
use tests::images::Blob;
use tests::push::Push;
use tests::scratch::Scratch;
use tests::tools::{Command, Signal};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 6 * MIB;

/// The first JSON line of a run that stalls. Then the run is killed.
fn first_line(command: Command, scratch: &Scratch) -> Value {
    first_line_that(|_| true, command, scratch)
}

/// The first JSON line of a run for which `is` is true. Then the run is killed.
fn first_line_that(is: fn(&Value) -> bool, command: Command, scratch: &Scratch) -> Value {
    let to_file = ["dash", "-c", r#"exec "$0" "$@" 5>progress"#];
    let command = command.under(&to_file).args(["--progress", "json", "--progress-fd", "5"]);
    let running = command.start();
    let line = eventually("a line of progress", || {
        let text = std::fs::read_to_string(scratch.join("progress")).unwrap_or_default();
        // The last line may not be complete.
        let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        complete.lines().map(|line| serde_json::from_str(line).unwrap()).find(is)
    });
    running.kill().ended_by(Signal::KILL);
    line
}

fn number(line: &Value, field: &str) -> u64 {
    line[field].as_u64().unwrap()
}

/// A registry with a blob, of which the layout `l` has the first 4 MiB, in a partial file.
fn interrupted_download() -> (FakeRegistry, Blob, Scratch) {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", SIZE as usize, 1);
    let scratch = Scratch::new();
    registry.fault(|_, right| right.stall(4 * MIB));
    let running = into_layout(&registry, &blob, &scratch).start();
    let name = format!("l/ingest/sha256-{}", &blob.digest[7..]);
    eventually("4 MiB", || {
        let file = std::fs::metadata(scratch.join(&name)).ok()?;
        (file.len() == 4 * MIB).then_some(())
    });
    running.kill().ended_by(Signal::KILL);
    (registry, blob, scratch)
}

fn into_layout(registry: &FakeRegistry, blob: &Blob, scratch: &Scratch) -> Command {
    let command = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]);
    command.stdin(blob.line()).dir(scratch.path())
}

#[test]
fn a_resumed_download_begins_at_its_offset_and_the_rate_counts_new_bytes() {
    let (registry, blob, scratch) = interrupted_download();
    registry.fault(|_, right| right.stall(MIB));
    let line = first_line(into_layout(&registry, &blob, &scratch), &scratch);
    assert_eq!((number(&line, "offset"), number(&line, "total")), (5 * MIB, SIZE));
    assert!(number(&line, "rate") <= MIB, "{line}");
}

/// The registry sends no byte in this run.
#[test]
fn a_resumed_download_that_stalls_at_once_has_its_offset_and_rate_0() {
    let (registry, blob, scratch) = interrupted_download();
    registry.fault(|_, right| right.stall(0));
    let line = first_line(into_layout(&registry, &blob, &scratch), &scratch);
    assert_eq!((number(&line, "offset"), number(&line, "rate")), (4 * MIB, 0));
}

/// The registry refuses the range. After a wait, the tool removes the partial file and downloads
/// the blob from its start.
#[test]
fn a_download_that_begins_again_shows_the_bytes_that_are_left() {
    let (registry, blob, scratch) = interrupted_download();
    let ranged = first(1, |request: &Request| request.range().is_some());
    registry.fault(
        move |request, right| {
            if ranged(request) { Reply::new(416) } else { right.stall(MIB) }
        },
    );
    let has_less = |line: &Value| number(line, "offset") < 4 * MIB;
    let line = first_line_that(has_less, into_layout(&registry, &blob, &scratch), &scratch);
    assert!(number(&line, "offset") <= MIB, "{line}");
}

/// The file's bytes before the offset are read again to be hashed. They are not sent.
#[test]
fn a_resumed_upload_begins_at_its_offset_and_the_rate_counts_new_bytes() {
    for from_layout in [false, true] {
        let push = Push::of(SIZE as usize);
        let command = || if from_layout { push.line() } else { push.file() };
        let sends = |request: &Request| request.is_patch() || request.is_close();
        let stall = |after| {
            push.registry.intake(move |request| {
                if sends(request) { Intake::stall(after) } else { Intake::whole() }
            });
        };
        stall(5 * MIB);
        let running = command().start();
        push.registry.server.wait_for_stalls(1);
        running.kill().ended_by(Signal::KILL);
        stall(0);
        let line = first_line(command(), &push.scratch);
        let offset = number(&line, "offset");
        assert!((5 * MIB..=SIZE).contains(&offset), "{line}");
        assert!(number(&line, "rate") <= MIB, "{line}");
    }
}
