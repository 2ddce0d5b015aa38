// SPDX-License-Identifier: Apache-2.0
//! fetch-blob: the destinations of the bytes, and the lines printed for the input.

use tests::commands::fetch_blob;
use tests::fake::Reply;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, noise, read_blob, sha256, sha512, types, write_image};
use tests::peers::{must, peer};
use tests::scratch::Scratch;
use tests::tools::tool;

/// The digest of empty input.
const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The minimum number of bytes at the end of a stream that are held back until the digest matches.
const HELD_BACK: usize = 64 * 1024;

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn the_bytes_come_out_on_stdout() {
    let registry = FakeRegistry::start();
    let bytes = noise(300_000, 1);
    let digest = registry.add_blob("app", bytes.clone());
    fetch_blob().args([&registry.repo("app"), &digest]).run().ok().stdout(&bytes);
    let blob = Blob::new(types::TAR_GZIP, bytes);
    fetch_blob().arg(registry.repo("app")).stdin(blob.line()).run().ok().stdout(&blob.bytes);
}

#[test]
fn one_request_for_each_blob_is_enough_and_has_a_user_agent() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", noise(1000, 1));
    fetch_blob().args([&registry.repo("app"), &digest]).run().ok();
    assert_eq!(registry.server.asked(), [format!("GET /v2/app/blobs/{digest}")]);
    let request = &registry.server.requests()[0];
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert!(request.header("user-agent").is_some_and(|agent| !agent.is_empty()));
    assert_eq!((request.header("range"), request.header("authorization")), (None, None));
}

#[test]
fn a_file_appears_under_its_name_when_it_is_verified() {
    let registry = FakeRegistry::start();
    let bytes = noise(300_000, 1);
    let digest = registry.add_blob("app", bytes.clone());
    let scratch = Scratch::new();
    let app = registry.repo("app");
    fetch_blob().args([&app, &digest, "-o", "out"]).dir(scratch.path()).run().ok().stdout("");
    assert_eq!(std::fs::read(scratch.join("out")).unwrap(), bytes);
    assert_eq!(scratch.list(), ["out"]);

    registry.fault(|_, right| right.corrupted());
    fetch_blob().args([&app, &digest, "-o", "bad"]).dir(scratch.path()).run().fails(1, &digest);
    assert!(!scratch.join("bad").exists());
}

#[test]
fn the_end_of_a_stream_with_a_wrong_digest_is_never_written() {
    let registry = FakeRegistry::start();
    registry.fault(|_, right| right.corrupted());
    for len in [1, HELD_BACK, HELD_BACK + 1, 300_000] {
        let digest = registry.add_blob("app", noise(len, 1));
        let run = fetch_blob().args([&registry.repo("app"), &digest]).run();
        run.fails(1, &digest);
        assert!(run.stdout.len() <= len.saturating_sub(HELD_BACK), "{len}: {run}");
    }
}

#[test]
fn into_a_layout_lines_are_printed_unchanged_and_in_input_order() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "1", &image);
    let scratch = Scratch::new();
    // Unknown fields are kept. A repeated digest is printed each time.
    let odd = image.layers[1].line().replacen('{', "{\"x-odd\":[1.0,\"\"],", 1);
    let lines = format!("{}{odd}{}{odd}", image.config.line(), image.layers[0].line());
    let run = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]).stdin(lines.clone());
    run.dir(scratch.path()).run().ok().stdout(lines);
    for blob in image.blobs() {
        assert_eq!(read_blob(&scratch.join("l"), &blob.digest).as_ref(), Some(&blob.bytes));
    }
    assert_eq!(registry.blob_requests().len(), 3);
    assert!(
        !scratch.list().iter().any(|name| name.starts_with("l/ingest/") && name != "l/ingest/")
    );
}

#[test]
fn lines_stay_in_input_order_if_the_first_blob_arrives_last() {
    let registry = FakeRegistry::start();
    let blobs: Vec<_> = (0..6).map(|n| Blob::new(types::TAR, noise(5000, n))).collect();
    for blob in &blobs {
        registry.add_blob("app", blob.bytes.clone());
    }
    let first = blobs[0].digest.clone();
    registry.fault(
        move |request, right| if request.path.ends_with(&first) { right.stall(100) } else { right },
    );
    let scratch = Scratch::new();
    let lines: String = blobs.iter().map(Blob::line).collect();
    let running = fetch_blob()
        .args([&registry.repo("app"), "--into", "oci:l", "-j", "2"])
        .stdin(lines.clone())
        .dir(scratch.path())
        .start();
    // The other blobs are fetched while the first response stalls.
    registry.server.wait_for_requests(blobs.len());
    registry.server.release();
    running.wait().ok().stdout(lines);
}

#[test]
fn nothing_is_printed_after_the_first_failed_blob() {
    let registry = FakeRegistry::start();
    let blobs: Vec<_> = (0..4).map(|n| Blob::new(types::TAR, noise(5000, n))).collect();
    for blob in &blobs {
        registry.add_blob("app", blob.bytes.clone());
    }
    registry.remove_blob("app", &blobs[1].digest);
    let scratch = Scratch::new();
    let run = fetch_blob()
        .args([&registry.repo("app"), "--into", "oci:l", "-j", "1"])
        .stdin(blobs.iter().map(Blob::line).collect::<String>())
        .dir(scratch.path())
        .run();
    run.fails(3, &blobs[1].digest).stdout(blobs[0].line());
    // Repeating the command without the fault does not request the finished blobs again.
    registry.add_blob("app", blobs[1].bytes.clone());
    registry.server.forget();
    let lines: String = blobs.iter().map(Blob::line).collect();
    let run = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]).stdin(lines.clone());
    run.dir(scratch.path()).run().ok().stdout(lines);
    let first = format!("GET /v2/app/blobs/{}", blobs[0].digest);
    assert!(!registry.server.asked().contains(&first));
}

#[test]
fn a_blob_in_the_layout_is_not_requested_again() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    let scratch = Scratch::new();
    write_image(&scratch.join("l"), "1", &image);
    let run = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]).stdin(image.lines());
    run.dir(scratch.path()).run().ok().stdout(image.lines());
    assert_eq!(registry.server.asked(), nothing());
}

#[test]
fn recheck_finds_a_flipped_bit_and_repairs_the_blob() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "1", &image);
    let scratch = Scratch::new();
    write_image(&scratch.join("l"), "1", &image);
    let layer = &image.layers[0];
    let file = scratch.join("l/blobs").join(layer.digest.replace(':', "/"));
    let mut bytes = layer.bytes.clone();
    bytes[7] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let run = fetch_blob().args([&registry.repo("app"), "--into", "oci:l", "--recheck"]);
    run.stdin(image.lines()).dir(scratch.path()).run().status(0).stdout(image.lines());
    assert_eq!(read_blob(&scratch.join("l"), &layer.digest).as_ref(), Some(&layer.bytes));
    assert_eq!(registry.server.asked(), [format!("GET /v2/app/blobs/{}", layer.digest)]);
}

#[test]
fn the_empty_blob_needs_no_request() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    let app = registry.repo("app");
    fetch_blob().args([&app, EMPTY]).run().ok().stdout("");
    fetch_blob().args([&app, EMPTY, "-o", "out"]).dir(scratch.path()).run().ok();
    assert_eq!(std::fs::read(scratch.join("out")).unwrap(), b"");
    assert_eq!(registry.server.asked(), nothing());
}

#[test]
fn a_sha512_digest_is_checked() {
    let registry = FakeRegistry::start();
    let bytes = noise(1000, 1);
    let digest = sha512(&bytes);
    registry.add_blob_as("app", &digest, bytes.clone());
    let scratch = Scratch::new();
    fetch_blob().args([&registry.repo("app"), &digest]).run().ok().stdout(&bytes);
    let into = [&registry.repo("app"), &digest, "--into", "oci:l"];
    fetch_blob().args(into).dir(scratch.path()).run().ok();
    assert_eq!(read_blob(&scratch.join("l"), &digest), Some(bytes));
    registry.fault(|_, right| right.corrupted());
    fetch_blob().args([&registry.repo("app"), &digest]).run().fails(1, &digest).stdout("");
}

#[test]
fn digests_and_into_print_descriptor_lines() {
    let registry = FakeRegistry::start();
    let [a, b] = [1, 2].map(|seed| noise(1000, seed));
    let digests = [a, b].map(|bytes| registry.add_blob("app", bytes));
    let scratch = Scratch::new();
    let run = fetch_blob()
        .args([&registry.repo("app"), &digests[0], &digests[1], "--into", "oci:l"])
        .dir(scratch.path())
        .run();
    let lines = run.ok().lines();
    assert_eq!(lines.len(), 2);
    for (line, digest) in lines.iter().zip(&digests) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((line["digest"].as_str(), line["size"].as_u64()), (Some(&**digest), Some(1000)));
    }
}

#[test]
fn a_layout_works_as_a_source() {
    let scratch = Scratch::new();
    let image = Image::small();
    write_image(&scratch.join("from"), "1", &image);
    let digest = &image.layers[0].digest;
    let fetch = |args: &[&str]| tool("fetch-blob").args(args).dir(scratch.path());
    fetch(&["oci:from", digest]).run().ok().stdout(&image.layers[0].bytes);
    let copy = fetch(&["oci:from", "--into", "oci:to"]).stdin(image.lines());
    copy.run().ok().stdout(image.lines());
    assert_eq!(read_blob(&scratch.join("to"), digest).as_ref(), Some(&image.layers[0].bytes));
    fetch(&["oci:from", &sha256(b"none")]).run().fails(3, &sha256(b"none"));
    fetch(&["oci:none", digest]).run().fails(3, "none");
}

#[test]
fn more_bytes_than_the_descriptor_says_are_refused() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 200_000, 1);
    let line = blob.line().replace("200000", "199999");
    let scratch = Scratch::new();
    let run = fetch_blob().arg(registry.repo("app")).stdin(line.clone()).run();
    run.fails(1, "");
    assert!(run.stdout.len() < 199_999, "{run}");
    let into = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]).stdin(line);
    into.dir(scratch.path()).run().fails(1, "").stdout("");
    assert_eq!(read_blob(&scratch.join("l"), &blob.digest), None);
}

#[test]
fn fewer_bytes_than_the_descriptor_says_are_refused() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 200_000, 1);
    let scratch = Scratch::new();
    let line = blob.line().replace("200000", "200001");
    let run = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]).stdin(line);
    run.dir(scratch.path()).run().fails(1, "").stdout("");
    assert_eq!(read_blob(&scratch.join("l"), &blob.digest), None);
}

#[test]
fn an_endless_blob_stops_at_max_size() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", noise(10, 1));
    registry.fault(|_, right| right.endless("more "));
    let scratch = Scratch::new();
    let args = [&registry.repo("app"), &digest, "--max-size", "1M"];
    let run = fetch_blob().args(args).run();
    run.fails(6, "");
    assert!(run.stdout.len() <= 1 << 20, "{run}");
    fetch_blob().args(args).args(["-o", "out"]).dir(scratch.path()).run().fails(6, "");
    assert!(!scratch.join("out").exists());
}

#[test]
fn max_size_allows_exactly_that_many_bytes() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", noise(1000, 1));
    let app = registry.repo("app");
    fetch_blob().args([&app, &digest, "--max-size", "1000"]).run().ok();
    fetch_blob().args([&app, &digest, "--max-size", "999"]).run().fails(6, "").stdout("");
}

#[test]
fn no_input_gives_status_6_and_creates_nothing() {
    let scratch = Scratch::new();
    let run = fetch_blob().args(["127.0.0.1:1/app", "--into", "oci:l"]).dir(scratch.path()).run();
    run.fails(6, "no input: did the previous command fail?").stdout("");
    assert_eq!(scratch.list(), nothing());
    fetch_blob().arg("127.0.0.1:1/app").run().fails(6, "no input").stdout("");
}

#[test]
fn lines_that_are_not_descriptors_give_status_6() {
    let registry = FakeRegistry::start();
    let digest = sha256(b"");
    for line in [
        "hello\n".to_owned(),
        "{}\n".to_owned(),
        "\u{1f}\u{8b}\n".to_owned(),
        format!("{{\"digest\":\"{digest}\"}}\n"),
        format!("{{\"mediaType\":\"a/b\",\"digest\":\"{digest}\",\"size\":-1}}\n"),
        format!("{{\"mediaType\":\"a/b\",\"digest\":\"{digest}\",\"size\":1.5}}\n"),
        "{\"mediaType\":\"a/b\",\"digest\":\"sha256:../../etc/passwd\",\"size\":1}\n".to_owned(),
        // A line that is cut in the middle.
        Blob::new(types::TAR, "x").line()[..60].to_owned(),
    ] {
        let scratch = Scratch::new();
        let run = fetch_blob()
            .args([&registry.repo("app"), "--into", "oci:l"])
            .stdin(line.clone())
            .dir(scratch.path())
            .run();
        assert_eq!(run.code(), Some(6), "{line}: {run}");
        run.fails(6, "").stdout("");
    }
    assert_eq!(registry.server.asked(), nothing());
}

#[test]
fn wrong_usage_gives_status_2() {
    let digest = sha256(b"x");
    for args in [
        &[][..],
        &["localhost:5000", &digest],
        &["app", "sha256:abc"],
        &["app", "blake3:00"],
        &["app", &digest, &digest],
        &["app", &digest, "-o", "f", "--into", "oci:l"],
        &["app", &digest, "-j", "0"],
        &["app", &digest, "--into", "not-a-layout"],
    ] {
        let run = tool("fetch-blob").args(args).run();
        assert_eq!(run.code(), Some(2), "{run}");
        run.fails(2, "").stdout("");
    }
    let two = Blob::new(types::TAR, "a").line() + &Blob::new(types::TAR, "b").line();
    let run = fetch_blob().arg("127.0.0.1:1/app").stdin(two).run();
    run.fails(2, "--into").stdout("");
}

#[test]
fn the_largest_blob_is_fetched_over_several_connections_if_one_is_slow() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 80 << 20, 1);
    registry
        .fault(|request, right| if request.earlier == 0 { right.stall(5 << 20) } else { right });
    let scratch = Scratch::new();
    let running = fetch_blob()
        .args([&registry.repo("app"), "--into", "oci:l", "-j", "4"])
        .stdin(blob.line())
        .dir(scratch.path())
        .start();
    registry.server.wait_for_requests(2);
    registry.server.release();
    running.wait().ok().stdout(blob.line());
    assert!(read_blob(&scratch.join("l"), &blob.digest) == Some(blob.bytes));
    assert!((2..=4).contains(&registry.server.connections()), "{:?}", registry.server.asked());
    // On stdout the bytes have to be in order.
    let digest = registry.add_blob("app", noise(70 << 20, 2));
    registry.server.forget();
    fetch_blob().args([&registry.repo("app"), &digest, "-j", "4"]).run().ok();
    assert_eq!(registry.server.requests().len(), 1);
}

#[test]
fn a_registry_that_allows_one_connection_serves_the_blob_over_it() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 80 << 20, 1);
    registry.fault(|request, right| match request.earlier {
        0 => right.stall(5 << 20),
        _ => Reply::error(503, "UNAVAILABLE", "too many connections"),
    });
    let scratch = Scratch::new();
    let running = fetch_blob()
        .args([&registry.repo("app"), "--into", "oci:l", "-j", "2", "--retry-times", "2"])
        .stdin(blob.line())
        .dir(scratch.path())
        .start();
    // The second connection is refused until its retries are used up.
    registry.server.wait_for_requests(3);
    registry.fault(|_, right| right);
    registry.server.release();
    running.wait().ok().stdout(blob.line());
    assert!(read_blob(&scratch.join("l"), &blob.digest) == Some(blob.bytes));
}

#[test]
fn a_failure_before_the_first_byte_leaves_no_file() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", noise(1000, 1));
    let scratch = Scratch::new();
    let run = |digest: &str, more: &[&str]| {
        let run = fetch_blob().args([&registry.repo("app"), digest]).args(more);
        run.dir(scratch.path()).run()
    };
    run(&sha256(b"not there"), &["-o", "out"]).fails(3, "404");
    run(&digest, &["--max-size", "1", "-o", "out"]).fails(6, "--max-size");
    run(&digest, &["-o", "new/"]).fails(7, "new/");
    run(&digest, &["-o", "out", "--recheck"]).fails(2, "--recheck");
    assert_eq!(scratch.list(), nothing());
}

#[test]
fn a_manifest_named_by_a_line_is_written_to_stdout_too() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "1", &image);
    let line = image.manifest.line();
    let run = fetch_blob().arg(registry.repo("app")).stdin(line).run();
    run.ok().stdout(&image.manifest.bytes);
}

mod with_peers {
    use super::*;

    #[test]
    fn skopeo_reads_the_layout_afterwards() {
        let registry = FakeRegistry::start();
        let image = Image::small();
        registry.add_image("app", "1", &image);
        let scratch = Scratch::new();
        write_image(&scratch.join("l"), "1", &image);
        std::fs::remove_dir_all(scratch.join("l/blobs")).unwrap();
        let reference = format!("{}:1", registry.repo("app"));
        let manifest = tool("fetch-manifest").args(["--plain-http", &reference, "--into", "oci:l"]);
        manifest.dir(scratch.path()).run().ok();
        let run =
            fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]).stdin(image.lines());
        run.dir(scratch.path()).run().ok();
        let mut skopeo = peer("skopeo");
        skopeo.args(["--insecure-policy", "copy", "-q", "oci:l:1", "oci:again:1"]);
        must(skopeo.current_dir(scratch.path()));
        assert_eq!(
            read_blob(&scratch.join("again"), &image.layers[0].digest).as_ref(),
            Some(&image.layers[0].bytes)
        );
    }
}
