// SPDX-License-Identifier: Apache-2.0
//! push-blob with valid and invalid input and healthy registries: bytes and files into a registry
//! or a layout.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::commands::push_blob;
use tests::fake::Intake;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, file, gzip, noise, read_blob, sha256, tar, types};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::{shell, tool};

/// A blob that is also written to a file of this name.
fn layer(scratch: &Scratch, name: &str, len: usize, seed: u64) -> Blob {
    let blob = Blob::new(types::TAR, noise(len, seed));
    scratch.write(name, &blob.bytes);
    blob
}

fn holds(registry: &FakeRegistry, blob: &Blob) -> bool {
    registry.blob("app", &blob.digest).is_some_and(|bytes| bytes[..] == blob.bytes)
}

#[test]
fn a_file_is_looked_up_then_uploaded_in_one_request() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    let blob = layer(&scratch, "layer", 3_000_000, 1);
    let run = push_blob().args([&registry.repo("app"), "layer", "--media-type", types::TAR]);
    run.dir(scratch.path()).run().ok().stdout(blob.line());
    assert!(holds(&registry, &blob));
    assert_eq!(registry.steps(), ["HEAD blob", "POST uploads", "PUT session 3000000"]);
    let put = registry.server.requests().pop().unwrap();
    assert_eq!(put.header("content-length"), Some("3000000"));
    assert_eq!(put.header("content-type"), Some("application/octet-stream"));
    assert_eq!(scratch.list(), ["layer"]);
}

#[test]
fn bytes_are_read_from_stdin() {
    let registry = FakeRegistry::start();
    for len in [1, 1000, 5_000_000, 40_000_000] {
        let blob = Blob::new(types::TAR, noise(len, len as u64));
        for operand in [&[][..], &["-"]] {
            let run = push_blob().args(["--media-type", types::TAR, &registry.repo("app")]);
            let run = run.args(operand).stdin(blob.bytes.clone()).run();
            run.ok().stdout(blob.line());
            assert!(holds(&registry, &blob), "{len}");
            assert_eq!(registry.sessions(), [], "{len}: {:?}", registry.steps());
        }
    }
}

#[test]
fn files_are_printed_in_their_order() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    let names: Vec<_> = (0..9).map(|n| format!("layer{n}")).collect();
    let blobs: Vec<_> =
        names.iter().zip(1..).map(|(name, n)| layer(&scratch, name, 10_000, n)).collect();
    let run = push_blob().args(["--media-type", types::TAR, &registry.repo("app")]);
    let run = run.args(&names).dir(scratch.path()).run();
    run.ok().stdout(blobs.iter().map(Blob::line).collect::<String>());
    assert!(blobs.iter().all(|blob| holds(&registry, blob)));
}

#[test]
fn a_slow_blob_does_not_delay_the_others_and_is_printed_in_input_order() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    let slow = layer(&scratch, "slow", 500_000, 1);
    let quick = layer(&scratch, "quick", 1000, 2);
    registry.intake(|request| match request.header("content-length") {
        Some("500000") => Intake::stall(100_000),
        _ => Intake::whole(),
    });
    let run = push_blob().args(["--media-type", types::TAR, "-j", "2", &registry.repo("app")]);
    let run = run.args(["slow", "quick"]).dir(scratch.path()).start();
    registry.server.wait_for_stalls(1);
    tests::eventually("the quick blob", || holds(&registry, &quick).then_some(()));
    assert!(!holds(&registry, &slow));
    registry.server.release();
    run.wait().ok().stdout(slow.line() + &quick.line());
}

#[test]
fn with_j_1_a_single_connection_is_used() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    for n in 0..5 {
        layer(&scratch, &format!("layer{n}"), 1000, n);
    }
    let run = push_blob().args(["-j", "1", &registry.repo("app")]);
    let run = run.args((0..5).map(|n| format!("layer{n}"))).dir(scratch.path()).run();
    assert_eq!(run.ok().lines().len(), 5);
    assert_eq!(registry.server.connections(), 1);
}

#[test]
fn the_same_bytes_twice_are_sent_once_and_printed_twice() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    // The blob is large enough that both uploads are in progress at the same time.
    let blob = layer(&scratch, "a", 20_000_000, 1);
    layer(&scratch, "b", 20_000_000, 1);
    let run = push_blob().args(["--media-type", types::TAR, &registry.repo("app"), "a", "b"]);
    run.dir(scratch.path()).run().ok().stdout(blob.line().repeat(2));
    let sent = registry.steps().iter().filter(|step| step.starts_with("PUT")).count();
    assert_eq!(sent, 1);
    assert_eq!(registry.sessions(), []);
}

#[test]
fn without_a_media_type_option_it_is_detected() {
    let registry = FakeRegistry::start();
    let layer = gzip(&tar(&[file("f", "x")]));
    for (bytes, fits) in [
        (layer, &[types::TAR_GZIP, "application/octet-stream"][..]),
        (noise(1000, 1), &["application/octet-stream"]),
    ] {
        let run = push_blob().arg(registry.repo("app")).stdin(bytes.clone()).run();
        let line: Value = serde_json::from_slice(&run.ok().stdout).unwrap();
        assert_eq!(line["digest"], sha256(&bytes));
        assert_eq!(line["size"], bytes.len());
        assert!(fits.contains(&line["mediaType"].as_str().unwrap()), "{line}");
    }
}

#[test]
fn empty_input_fails_without_a_request() {
    let registry = FakeRegistry::start();
    let run = push_blob().arg(registry.repo("app")).run();
    run.fails(6, "did the previous command fail?").stdout("");
    assert_eq!(registry.steps(), Vec::<String>::new());
}

#[test]
fn an_unreadable_file_fails_after_the_files_before_it_are_printed() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    let before = layer(&scratch, "before", 1000, 1);
    layer(&scratch, "after", 1000, 2);
    scratch.write("dir/file", "");
    for (wrong, status) in [("absent", 3), ("dir", 7)] {
        let run = push_blob().args(["--media-type", types::TAR, &registry.repo("app")]);
        let run = run.args(["-j", "1", "before", wrong, "after"]).dir(scratch.path()).run();
        run.fails(status, wrong).stdout(before.line());
        assert_eq!(registry.sessions(), []);
    }
}

#[test]
fn a_descriptor_line_given_as_bytes_is_refused_with_a_hint_at_from() {
    let registry = FakeRegistry::start();
    let line = Blob::new(types::TAR, "x").line();
    let run = push_blob().arg(registry.repo("app")).stdin(line.clone()).run();
    run.fails(2, "--from").stdout("");
    assert_eq!(registry.sessions(), []);
    assert!(registry.blob("app", &sha256(line.as_bytes())).is_none());
    // With a media type, the line itself is pushed as the content.
    let run = push_blob().args(["--media-type", "application/json", &registry.repo("app")]);
    run.stdin(line.clone()).run().status(0);
    assert!(registry.blob("app", &sha256(line.as_bytes())).is_some());
}

/// The printed line has a title, which build-manifest keeps in the manifest.
#[test]
fn the_lines_of_bytes_get_the_annotations() {
    const TITLE: &str = "org.opencontainers.image.title";
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    scratch.write("a", "first");
    scratch.write("b", "second");
    let annotations = ["--annotation", &format!("{TITLE}=a \"ü\" b=c"), "--annotation", "k="];
    let expected = json!({TITLE: "a \"ü\" b=c", "k": ""});
    for (files, stdin) in [(&["a", "b"][..], ""), (&[], "bytes"), (&["a"], "")] {
        for target in [registry.repo("app"), "oci:l".to_owned()] {
            let run = push_blob().args(annotations).arg(target).args(files).dir(scratch.path());
            let run = if stdin.is_empty() { run.run() } else { run.stdin(stdin).run() };
            for line in run.ok().lines() {
                let line: Value = serde_json::from_str(&line).unwrap();
                assert_eq!(line["annotations"], expected);
            }
            assert_eq!(run.lines().len(), files.len().max(1));
        }
    }
    scratch.write("t.tar", tar(&[file("f", "x")]));
    let run = push_blob().args(annotations).args(["--compress", "gzip", "oci:l", "t.tar"]);
    let run = run.dir(scratch.path()).run();
    let line: Value = serde_json::from_slice(&run.ok().stdout).unwrap();
    assert_eq!(line["annotations"][TITLE], expected[TITLE]);
    assert!(line["annotations"]["containerd.io/uncompressed"].is_string(), "{line}");
    let script = format!(
        "push-blob oci:l --media-type text/plain --annotation {TITLE}=a a |
         build-manifest --artifact-type application/x"
    );
    let run = shell(&script).dir(scratch.path()).run();
    let manifest: Value = serde_json::from_slice(&run.ok().stdout).unwrap();
    assert_eq!(manifest["layers"][0]["annotations"], json!({TITLE: "a"}));
}

#[test]
fn wrong_usage_gives_status_2() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    layer(&scratch, "layer", 1000, 1);
    let app = registry.repo("app");
    let tagged = format!("{app}:1");
    for args in [
        &[][..],
        &["localhost:5000", "layer"],
        &["oci:l:", "layer"],
        &["https://example.org/app", "layer"],
        &["-j", "0", &app, "layer"],
        &["--chunk", "0", &app, "layer"],
        &["--chunk", "much", &app, "layer"],
        &["--compress", "lzma", &app, "layer"],
        &["--media-type", "no type", &app, "layer"],
        &["--from", "oci:l", &app, "layer"],
        &["--from", "oci:l", "--media-type", types::TAR, &app],
        &["--from", "localhost:5000", &app],
        &["--annotation", "k", &app, "layer"],
        &["--annotation", "=v", &app, "layer"],
        &["--annotation", "k=1", "--annotation", "k=2", &app, "layer"],
        &["--annotation", "k=1", "--from", "oci:l", &app],
        &["--compress", "gzip", "--annotation", "containerd.io/uncompressed=x", &app, "layer"],
        &["--mount-from", "other.example/base", &app, "layer"],
        &["--mount-from", &tagged, &app, "layer"],
    ] {
        let run = tool("push-blob").args(args).dir(scratch.path()).run();
        assert_eq!(run.code(), Some(2), "{run}");
        run.fails(2, "").stdout("");
        assert_eq!(registry.steps(), Vec::<String>::new(), "{run}");
    }
    assert_eq!(scratch.list(), ["layer"]);
}

#[test]
fn files_and_stdin_are_stored_in_a_layout() {
    let scratch = Scratch::new();
    let [a, b] = [("a", 1), ("b", 2)].map(|(name, seed)| layer(&scratch, name, 100_000, seed));
    let run = tool("push-blob").args(["--media-type", types::TAR, "oci:l", "a", "b"]);
    run.dir(scratch.path()).run().ok().stdout(a.line() + &b.line());
    let by_stdin = Blob::new(types::TAR, noise(2_000_000, 3));
    let run = tool("push-blob").args(["--media-type", types::TAR, "oci:l"]);
    run.stdin(by_stdin.bytes.clone()).dir(scratch.path()).run().ok().stdout(by_stdin.line());
    for blob in [a, b, by_stdin] {
        assert_eq!(read_blob(&scratch.join("l"), &blob.digest), Some(blob.bytes));
    }
    assert!(tests::scratch::list(&scratch.join("l/ingest")).is_empty());
}

#[test]
fn empty_input_into_a_layout_fails() {
    let scratch = Scratch::new();
    let run = tool("push-blob").arg("oci:l").dir(scratch.path()).run();
    run.fails(6, "did the previous command fail?").stdout("");
    assert!(read_blob(&scratch.join("l"), &sha256(b"")).is_none());
}

#[test]
fn memory_does_not_grow_with_the_size_of_the_blob() {
    let scratch = Scratch::new();
    let blob = layer(&scratch, "layer", 100 << 20, 1);
    for script in [
        "push-blob --plain-http \"$APP\" layer --media-type \"$TYPE\"",
        "push-blob --plain-http \"$APP\" <layer --media-type \"$TYPE\"",
        "cat layer | push-blob --plain-http \"$APP\" --media-type \"$TYPE\"",
        "push-blob --plain-http --chunk 64M \"$APP\" layer --media-type \"$TYPE\"",
        "push-blob oci:l <layer --media-type \"$TYPE\"",
    ] {
        let registry = FakeRegistry::start();
        let limited = format!("ulimit -v 200000; {script}");
        let run = shell(&limited).env("APP", registry.repo("app")).env("TYPE", types::TAR);
        run.dir(scratch.path()).run().ok().stdout(blob.line());
        assert_eq!(registry.sessions(), [], "{script}");
    }
}

#[test]
fn the_chunk_option_splits_the_upload() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    let blob = layer(&scratch, "layer", 2_500_000, 1);
    let run =
        push_blob().args(["--media-type", types::TAR, "--chunk", "1M", &registry.repo("app")]);
    run.arg("layer").dir(scratch.path()).run().ok().stdout(blob.line());
    assert!(holds(&registry, &blob));
    let sent = ["PATCH session 1048576", "PATCH session 1048576", "PATCH session 402848"];
    assert_eq!(registry.steps()[2..5], sent);
    assert_eq!(registry.steps()[5..], ["PUT session 0"]);
    let requests = registry.server.requests();
    let ranges: Vec<_> =
        requests.iter().filter_map(|request| request.header("content-range")).collect();
    assert_eq!(ranges, ["0-1048575", "1048576-2097151", "2097152-2499999"]);
}

#[test]
fn compressing_a_compressed_file_is_refused() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    scratch.write("layer", gzip(b"x"));
    for (args, stdin) in [(&["layer"][..], vec![]), (&[][..], gzip(b"x"))] {
        let run = tool("push-blob").args(["--max-wait", "0", "--compress", "gzip"]);
        let run = run.arg(registry.repo("app")).args(args).stdin(stdin).dir(scratch.path()).run();
        run.fails(6, "compressed already").says("hint: ").stdout("");
    }
    assert_eq!(registry.steps(), [""; 0]);
}

#[test]
fn only_a_complete_archive_is_compressed() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    let whole = tar(&[file("a", noise(100_000, 1))]);
    for bytes in
        [b"hello\n".to_vec(), whole[..50_000].to_vec(), whole[..whole.len() - 1024].to_vec()]
    {
        let run = tool("push-blob").args(["--max-wait", "0", "--compress", "zstd"]);
        let run = run.arg(registry.repo("app")).stdin(bytes).dir(scratch.path()).run();
        run.fails(6, "--compress: ").stdout("");
    }
    assert_eq!(registry.sessions(), []);
}

#[test]
fn options_for_descriptor_lines_are_refused_without_from() {
    for option in ["--from-plain-http", "--from-insecure", "--allow-nondistributable"] {
        for operands in [&["oci:l"][..], &["oci:l", "file"]] {
            tool("push-blob").arg(option).args(operands).run().fails(2, "--from").stdout("");
        }
    }
}

mod with_peers {
    use super::*;

    #[test]
    fn an_existing_blob_costs_one_head_request() {
        let registry = Registry::start();
        let scratch = Scratch::new();
        let blob = layer(&scratch, "layer", 200_000, 1);
        let push = || {
            let run =
                push_blob().args([&registry.repo("app"), "layer", "--media-type", types::TAR]);
            run.dir(scratch.path()).run()
        };
        let mark = registry.mark();
        push().ok().stdout(blob.line());
        assert_eq!(
            registry.steps_since(mark),
            ["HEAD blob 404", "POST uploads 202", "PUT session 201"]
        );
        assert_eq!(registry.get(&format!("app/blobs/{}", blob.digest)), blob.bytes);
        let mark = registry.mark();
        push().ok().stdout(blob.line());
        assert_eq!(registry.steps_since(mark), ["HEAD blob 200"]);
    }

    #[test]
    fn a_real_registry_accepts_chunks_and_streams() {
        let registry = Registry::start();
        let scratch = Scratch::new();
        let blob = layer(&scratch, "layer", 3_500_000, 1);
        for (repository, chunks, stdin) in
            [("a", true, false), ("b", false, true), ("c", true, true), ("d/e/f", false, false)]
        {
            let run = push_blob().args(["--media-type", types::TAR, &registry.repo(repository)]);
            let run = run.args(chunks.then_some(["--chunk", "1M"]).iter().flatten());
            let run = if stdin { run.stdin(blob.bytes.clone()) } else { run.arg("layer") };
            run.dir(scratch.path()).run().ok().stdout(blob.line());
            assert_eq!(registry.get(&format!("{repository}/blobs/{}", blob.digest)), blob.bytes);
        }
        let left = tests::scratch::list(&registry.storage());
        let sessions =
            left.iter().filter(|name| name.contains("/_uploads/") && name.ends_with("data"));
        assert_eq!(sessions.collect::<Vec<_>>(), Vec::<&String>::new());
    }
}
