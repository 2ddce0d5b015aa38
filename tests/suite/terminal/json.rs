// SPDX-License-Identifier: Apache-2.0
//! `--progress json`: lines for programs.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::commands::{fetch_blob, push_blob};
use tests::eventually;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, noise, types, write_image};
use tests::scratch::Scratch;
use tests::tools::{shell, tool};

/// The lines, each a JSON object, in any order.
fn sorted(text: &str) -> Vec<Value> {
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(Value::to_string);
    lines
}

/// The line of a blob that is done.
fn done(blob: &Blob, status: &str) -> Value {
    json!({"digest": blob.digest, "size": blob.bytes.len(), "status": status})
}

#[track_caller]
fn says(stderr: &str, want: &[Value]) {
    let mut want = want.to_vec();
    want.sort_by_key(Value::to_string);
    assert_eq!(sorted(stderr), want);
}

/// A layout `l` with an image, its manifest in `m` and its lines in `lines`.
fn layout() -> (Scratch, Image) {
    let scratch = Scratch::new();
    let image = Image::small();
    write_image(&scratch.join("l"), "1", &image);
    scratch.write("m", &image.manifest.bytes);
    shell("list-blobs m >lines").dir(scratch.path()).run().ok();
    (scratch, image)
}

#[test]
fn each_blob_that_is_done_gets_a_line_that_says_how() {
    let (scratch, image) = layout();
    let blobs = || [&image.config].into_iter().chain(&image.layers);
    let all = |status: &str| blobs().map(|blob| done(blob, status)).collect::<Vec<_>>();
    let registry = FakeRegistry::start();
    let run = |script: &str| {
        let run = shell(script).env("APP", registry.repo("app")).dir(scratch.path()).run();
        run.status(0);
        run.stderr
    };
    let push = "push-blob --plain-http --progress json $APP --from oci:l <lines >/dev/null";
    says(&run(push), &all("pushed"));
    says(&run(push), &all("present"));
    let mount = "push-blob --plain-http --progress json ${APP}2 --mount-from $APP --from oci:l \
                 <lines >/dev/null";
    let mounted = run(mount);
    assert!(mounted.contains("\"mounted\""), "{mounted}");
    let fetch = "fetch-blob --plain-http --progress json $APP --into oci:f <lines >/dev/null";
    says(&run(fetch), &all("fetched"));
    says(&run(fetch), &all("present"));
    let verify = "verify-digest --progress json --from oci:l <lines >/dev/null";
    says(&run(verify), &all("verified"));
    let layers: Vec<_> = image.layers.iter().map(|layer| done(layer, "unpacked")).collect();
    let unpack = "unpack-layer --progress json --no-same-owner --from oci:l out <lines >/dev/null";
    says(&run(unpack), &layers);
    let packed = run("pack-layer --progress json out -o layer >line");
    let line: Value =
        serde_json::from_str(&std::fs::read_to_string(scratch.join("line")).unwrap()).unwrap();
    says(&packed, &[json!({"digest": line["digest"], "size": line["size"], "status": "packed"})]);
}

#[test]
fn the_same_bytes_from_a_pipe_get_their_line_at_the_end() {
    let scratch = Scratch::new();
    let blob = Blob::new(types::TAR, noise(100_000, 1));
    let push = tool("push-blob").args(["--progress", "json", "oci:l"]).dir(scratch.path());
    let run = push.stdin(blob.bytes.clone()).run();
    run.status(0);
    says(&run.stderr, &[done(&blob, "pushed")]);
}

/// The registry stalls, so that the blob is incomplete when the line for each second is printed.
#[test]
fn a_blob_under_way_gets_a_line_each_second() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 2_000_000, 1);
    registry.fault(|_, right| right.stall(1_500_000));
    let scratch = Scratch::new();
    scratch.write("line", blob.line());
    let script = "fetch-blob --plain-http --max-wait 0 --progress json --progress-fd 5 $APP \
                  --into oci:l <line 5>progress";
    let run = shell(script).env("APP", registry.repo("app")).dir(scratch.path()).start();
    let text = || std::fs::read_to_string(scratch.join("progress")).unwrap_or_default();
    let lines = eventually("two lines", || {
        let text = text();
        (text.lines().count() >= 2).then_some(text)
    });
    for line in lines.lines().take(2) {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let rate = line.as_object_mut().unwrap().remove("rate").unwrap();
        assert!(rate.is_u64(), "{rate}");
        let want = json!({"digest": blob.digest, "offset": 1_500_000, "total": 2_000_000});
        assert_eq!(line, want);
    }
    registry.server.release();
    let run = run.wait();
    run.ok();
    let last = text().lines().last().map(|line| serde_json::from_str(line).unwrap());
    assert_eq!(last, Some(done(&blob, "fetched")));
}

/// If digest and size are unknown, the line has neither.
#[test]
fn a_pipe_under_way_has_only_an_offset() {
    let scratch = Scratch::new();
    let script = "mkfifo more; { printf 'some bytes'; cat more; } |
        push-blob oci:l --progress json --progress-fd 5 5>progress";
    let run = shell(script).dir(scratch.path()).start();
    let line = eventually("a line", || {
        let text = std::fs::read_to_string(scratch.join("progress")).ok()?;
        text.contains('\n').then_some(text)
    });
    assert_eq!(sorted(&line)[0]["offset"], json!(10));
    assert!(sorted(&line)[0].get("digest").is_none() && sorted(&line)[0].get("total").is_none());
    std::fs::write(scratch.join("more"), "").unwrap();
    run.wait().status(0);
}

#[test]
fn a_descriptor_that_is_not_open_and_other_views_are_refused() {
    let digest = format!("sha256:{}", "1".repeat(64));
    let fetch = |args: &[&str]| fetch_blob().args(["127.0.0.1:1/app", &digest]).args(args).run();
    fetch(&["--progress", "json", "--progress-fd", "99"]).fails(2, "--progress-fd 99: bad file");
    fetch(&["--progress-fd", "2"]).fails(2, "--progress-fd requires --progress json");
    fetch(&["--progress", "json", "--progress-fd", "0"]).fails(2, "--progress-fd");
    let verify = tool("verify-digest").args(["--progress", "json", "--print"]);
    verify.run().fails(2, "--progress requires --from");
}

/// If the reader of the progress lines ends, the tool continues its work.
#[test]
fn a_closed_reader_of_the_progress_does_not_stop_the_work() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 100_000, 1);
    let scratch = Scratch::new();
    scratch.write("line", blob.line());
    let script = "{ fetch-blob --plain-http --progress json --progress-fd 5 $APP --into oci:l \
                  <line 5>&1 >/dev/null; echo $? >status; } | true";
    shell(script).env("APP", registry.repo("app")).dir(scratch.path()).run().ok();
    assert_eq!(std::fs::read_to_string(scratch.join("status")).unwrap(), "0\n");
    let stored = scratch.join("l/blobs/sha256").join(&blob.digest[7..]);
    assert_eq!(std::fs::read(stored).unwrap(), blob.bytes);
}

#[test]
fn off_a_terminal_nothing_is_drawn() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 100_000, 1);
    let run = fetch_blob().args([&registry.repo("app"), &blob.digest, "-o", "/dev/null"]).run();
    run.ok();
    push_blob().args([&registry.repo("app"), "/dev/stdin"]).stdin("some").run().ok();
}
