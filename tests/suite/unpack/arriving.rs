// SPDX-License-Identifier: Apache-2.0
//! Early lines: unpack-layer reads a blob while it is downloaded. The tests, not fetch-blob, write
//! the partial files.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};
use tests::eventually;
use tests::images::{Blob, Entry, Image, dir, file, noise, read_blob, tar, write_layout};
use tests::scratch::Scratch;
use tests::tools::{Command, Running, tool};

const NOISE: usize = 3_300_000;

/// An image with one layer, which begins with a small file, and a layout that has only the image's
/// config.
struct Download {
    scratch: Scratch,
    image: Image,
}

/// The partial file, locked as fetch-blob locks it.
struct Partial {
    path: PathBuf,
    whole: PathBuf,
    file: File,
}

impl Download {
    fn new() -> Download {
        Download::of(Image::new(&[&entries()]))
    }

    fn of(image: Image) -> Download {
        let scratch = Scratch::new();
        write_layout(&scratch.join("l"), "1", &image.config, []);
        std::fs::create_dir(scratch.join("l/ingest")).unwrap();
        Download { scratch, image }
    }

    fn layer(&self) -> &Blob {
        &self.image.layers[0]
    }

    fn half(&self) -> usize {
        self.layer().bytes.len() / 2
    }

    fn path(&self, blob: &Blob) -> PathBuf {
        self.scratch.join("l/ingest").join(blob.digest.replace(':', "-"))
    }

    /// Begins the download of a blob.
    fn begin(&self, blob: &Blob, bytes: &[u8]) -> Partial {
        let path = self.path(blob);
        let mut file =
            OpenOptions::new().read(true).append(true).create_new(true).open(&path).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        file.write_all(bytes).unwrap();
        let whole = self.scratch.join("l/blobs").join(blob.digest.replace(':', "/"));
        Partial { path, whole, file }
    }

    fn lines(&self) -> String {
        self.image.config.line() + &early(self.layer())
    }

    fn unpack(&self) -> Command {
        let command = tool("unpack-layer").args(["--from", "oci:l", "root"]);
        command.stdin(self.lines()).dir(self.scratch.path())
    }

    /// Starts to unpack, and waits until the first file of the layer exists.
    fn unpack_first_file(&self) -> Running {
        let running = self.unpack().start();
        let first = self.scratch.join(".root.unpacking/etc/first");
        eventually("the first file", || first.exists().then_some(()));
        running
    }

    /// Checks that no tree is left.
    fn no_tree(&self) {
        let names = self.scratch.list();
        assert!(!names.iter().any(|name| name.contains("root")), "{names:?}");
    }
}

impl Partial {
    fn add(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).unwrap();
    }

    fn publish(self) {
        std::fs::rename(&self.path, &self.whole).unwrap();
    }

    /// Replaces the bytes, as fetch-blob does when it downloads them again.
    fn replace(&mut self, bytes: &[u8]) {
        self.file.set_len(0).unwrap();
        self.add(bytes);
    }

    fn discard(self) {
        std::fs::remove_file(&self.path).unwrap();
    }
}

fn entries() -> [Entry; 3] {
    [dir("etc/"), file("etc/first", "first"), file("noise", noise(NOISE, 1))]
}

/// The early line of a blob.
fn early(blob: &Blob) -> String {
    blob.line().replace("}\n", ",\"early\":true}\n")
}

/// The bytes with one of them changed.
fn wrong(blob: &Blob, at: usize) -> Vec<u8> {
    let mut bytes = blob.bytes.clone();
    bytes[at] ^= 1;
    bytes
}

#[test]
fn a_layer_is_unpacked_while_it_arrives() {
    let download = Download::new();
    let layer = download.layer();
    let (first, second) = layer.bytes.split_at(download.half());
    let mut partial = download.begin(layer, first);
    let running = download.unpack_first_file();
    assert!(!download.scratch.join("root").exists());
    partial.add(&second[..1]);
    partial.add(&second[1..]);
    partial.publish();
    let run = running.wait();
    run.ok();
    assert_eq!(std::fs::read(download.scratch.join("root/etc/first")).unwrap(), b"first");
    let printed = run.lines();
    assert_eq!(printed.len(), 2, "{run}");
    assert!(printed[1].contains(&download.image.diff_ids[0]), "{run}");
    assert!(!printed[1].contains("early"), "{run}");
}

/// unpack-layer verifies the bytes itself, so it does not need fetch-blob after the last byte.
#[test]
fn all_bytes_suffice_if_fetch_blob_is_killed_before_it_names_the_blob() {
    let download = Download::new();
    let layer = download.layer();
    let (first, second) = layer.bytes.split_at(download.half());
    let mut partial = download.begin(layer, first);
    let running = download.unpack_first_file();
    partial.add(second);
    drop(partial);
    running.wait().ok();
    assert!(download.scratch.join("root/noise").exists());
}

#[test]
fn a_blob_that_is_whole_already_is_read_as_usual() {
    let download = Download::new();
    download.begin(download.layer(), &download.layer().bytes).publish();
    download.unpack().run().ok();
}

/// A damaged blob keeps its final name until fetch-blob replaces it.
#[test]
fn a_damaged_blob_that_is_being_replaced_is_not_read() {
    let download = Download::new();
    let layer = download.layer();
    for damaged in [b"short".to_vec(), wrong(layer, 1000)] {
        let (first, second) = layer.bytes.split_at(download.half());
        let mut partial = download.begin(layer, first);
        std::fs::write(&partial.whole, damaged).unwrap();
        let running = download.unpack_first_file();
        partial.add(second);
        partial.publish();
        running.wait().ok();
        std::fs::remove_dir_all(download.scratch.join("root")).unwrap();
    }
    // A partial file that no process downloads does not hide a complete blob.
    drop(download.begin(layer, b"x"));
    download.unpack().run().ok();
}

#[test]
fn the_end_of_fetch_blob_gives_status_5_and_the_same_command_continues() {
    let download = Download::new();
    let layer = download.layer();
    let (first, second) = layer.bytes.split_at(download.half());
    let partial = download.begin(layer, first);
    let running = download.unpack_first_file();
    drop(partial);
    let run = running.wait();
    let counts = format!("after {} of {} bytes", first.len(), layer.bytes.len());
    run.fails(5, &counts).says("hint: repeat the command");
    download.no_tree();
    // No process downloads the blob when the line arrives.
    download.unpack().run().fails(5, &counts);
    std::fs::remove_file(download.path(layer)).unwrap();
    let mut partial = download.begin(layer, first);
    let running = download.unpack_first_file();
    partial.add(second);
    partial.publish();
    running.wait().ok();
}

#[test]
fn the_message_names_the_layer_even_if_only_a_few_bytes_arrived() {
    let download = Download::new();
    drop(download.begin(download.layer(), &download.layer().bytes[..3]));
    let run = download.unpack().run();
    run.fails(5, &format!("layer oci:l: {}: fetch-blob ended after 3 of", download.layer().digest));
    download.no_tree();
}

#[test]
fn bytes_that_were_refused_before_the_line_was_read_give_status_1() {
    let download = Download::new();
    let run = download.unpack().run();
    run.fails(1, "fetch-blob refused the bytes");
    download.no_tree();
}

#[test]
fn discarded_bytes_give_status_5_if_they_are_fetched_again() {
    let download = Download::new();
    let layer = download.layer();
    let first = &layer.bytes[..download.half()];
    let mut partial = download.begin(layer, first);
    let running = download.unpack_first_file();
    partial.replace(b"");
    running.wait().fails(5, "discarded");
    download.no_tree();
    drop(partial);
}

#[test]
fn bytes_that_fetch_blob_refused_give_status_1() {
    let download = Download::new();
    let layer = download.layer();
    let partial = download.begin(layer, &layer.bytes[..download.half()]);
    let running = download.unpack_first_file();
    partial.discard();
    running.wait().fails(1, "fetch-blob refused the bytes");
    download.no_tree();
}

/// fetch-blob decides whether wrong bytes are final: it may fetch them again.
#[test]
fn a_wrong_digest_waits_for_the_decision_of_fetch_blob() {
    type Decision = fn(Partial, &Blob);
    let decisions: [(Decision, i32, &str); 5] = [
        (|partial, _| partial.discard(), 1, "digest differs"),
        (|partial, _| drop(partial), 5, "ended before it verified"),
        (|mut partial, _| partial.replace(b"x"), 5, "discarded"),
        (
            |mut partial, blob| {
                partial.replace(&blob.bytes);
                partial.publish();
            },
            5,
            "discarded",
        ),
        (|partial, _| partial.publish(), 5, "discarded"),
    ];
    for (decide, status, words) in decisions {
        // Without compression, only the digest shows the wrong byte.
        let download = Download::of(Image::of_plain(&[&tar(&entries())]));
        let layer = download.layer();
        let bytes = wrong(layer, layer.bytes.len() - 100_000);
        let mut partial = download.begin(layer, &bytes[..download.half()]);
        let mut running = download.unpack_first_file();
        partial.add(&bytes[download.half()..]);
        // The last buffer has the end of the last file, so all bytes were read.
        let last = download.scratch.join(".root.unpacking/noise");
        let is_whole = || std::fs::metadata(&last).is_ok_and(|m| m.len() == NOISE as u64);
        eventually("the last file", || is_whole().then_some(()));
        assert!(running.is_running());
        decide(partial, layer);
        running.wait().fails(status, words);
        download.no_tree();
    }
}

#[test]
fn malformed_bytes_are_not_blamed_before_all_of_them_are_there() {
    let download = Download::new();
    let layer = download.layer();
    let bytes = wrong(layer, download.half() - 1000);
    let partial = download.begin(layer, &bytes[..download.half()]);
    let running = download.unpack_first_file();
    drop(partial);
    running.wait().fails(5, "fetch-blob ended after");
    download.no_tree();
}

#[test]
fn more_bytes_than_stated_are_refused() {
    let download = Download::new();
    let layer = download.layer();
    let mut bytes = layer.bytes.clone();
    bytes.push(0);
    let partial = download.begin(layer, &bytes);
    download.unpack().run().fails(1, "size differs");
    download.no_tree();
    drop(partial);
}

#[test]
fn a_config_that_has_not_arrived_is_awaited() {
    let download = Download::new();
    let config = &download.image.config;
    std::fs::remove_file(download.scratch.join("l/blobs").join(config.digest.replace(':', "/")))
        .unwrap();
    let layer = download.begin(download.layer(), &download.layer().bytes);
    let lines = early(config) + &early(download.layer());
    let unpack = || download.unpack().stdin(lines.clone());
    // fetch-blob ends before the blob is complete.
    drop(download.begin(config, &config.bytes[..10]));
    unpack().run().fails(5, "after 10 of");
    std::fs::remove_file(download.path(config)).unwrap();
    // fetch-blob discards the bytes, or completes the blob.
    for whole in [false, true] {
        let mut partial = download.begin(config, &config.bytes[..10]);
        let running = unpack().start();
        if whole {
            partial.add(&config.bytes[10..]);
            partial.publish();
            running.wait().ok();
        } else {
            partial.discard();
            running.wait().fails(1, "fetch-blob refused the bytes");
            download.no_tree();
        }
    }
    drop(layer);
}

#[test]
fn a_repeated_early_line_is_applied_each_time() {
    let mut download = Download::new();
    let layer = download.layer().clone();
    let diff_id = download.image.diff_ids[0].clone();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux"});
    download.image =
        Image::of_parts(config, vec![layer.clone(), layer.clone()], vec![diff_id.clone(), diff_id]);
    write_layout(&download.scratch.join("l"), "2", &download.image.config, []);
    let mut partial = download.begin(&layer, &layer.bytes[..download.half()]);
    let lines = download.lines() + &early(&layer);
    let running = download.unpack().stdin(lines).start();
    let first = download.scratch.join(".root.unpacking/etc/first");
    eventually("the first file", || first.exists().then_some(()));
    partial.add(&layer.bytes[download.half()..]);
    partial.publish();
    assert_eq!(running.wait().ok().lines().len(), 3);
}

#[test]
fn a_partial_file_of_another_kind_is_not_read() {
    let download = Download::new();
    let path = download.path(download.layer());
    let elsewhere = download.scratch.write("elsewhere", &download.layer().bytes);
    symlink(elsewhere, &path).unwrap();
    download.unpack().run().fails(7, "ingest");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    download.unpack().run().fails(7, "not a regular file");
    std::fs::remove_dir(&path).unwrap();
    let name = rustix::fs::CWD;
    rustix::fs::mknodat(name, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    download.unpack().run().fails(7, "not a regular file");
    download.no_tree();
}

/// A partial file is read only for an early line.
#[test]
fn other_lines_and_other_tools_need_the_whole_blob() {
    let download = Download::new();
    let layer = download.layer();
    let partial = download.begin(layer, &layer.bytes[..download.half()]);
    let plain = download.image.config.line() + &layer.line();
    download.unpack().stdin(plain).run().fails(3, "has not arrived yet");
    let early = early(layer);
    let run = |name: &str, args: &[&str]| {
        tool(name).args(args).stdin(early.clone()).dir(download.scratch.path()).run()
    };
    let hint = "only unpack-layer accepts the early lines";
    run("verify-digest", &["--from", "oci:l"]).fails(3, "has not arrived yet").says(hint);
    run("push-blob", &["oci:m", "--from", "oci:l"]).fails(3, "has not arrived yet").says(hint);
    run("fetch-blob", &["oci:l", "--into", "oci:m"]).fails(3, "has not arrived yet").says(hint);
    run("list-layer", &["--from", "oci:l"]).fails(3, "has not arrived yet").says(hint);
    run("build-manifest", &["--from", "oci:l"]).fails(6, "an early line").says(hint);
    run("build-config", &["--into", "oci:l"]).fails(6, "an early line").says(hint);
    // If the layout has the complete blob, an early line is used like an ordinary line.
    drop(partial);
    std::fs::remove_file(download.path(layer)).unwrap();
    download.begin(layer, &layer.bytes).publish();
    run("verify-digest", &["--from", "oci:l"]).ok().stdout(layer.line());
    run("push-blob", &["oci:m", "--from", "oci:l"]).ok().stdout(layer.line());
    assert!(read_blob(&download.scratch.join("m"), &layer.digest).is_some());
}

/// A non-distributable layer may be absent, but not if it is arriving.
#[test]
fn verify_digest_does_not_skip_an_arriving_foreign_layer() {
    let download = Download::new();
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let layer = Blob { media_type: foreign.to_owned(), ..download.layer().clone() };
    let partial = download.begin(&layer, &layer.bytes[..download.half()]);
    let verify = tool("verify-digest").args(["--from", "oci:l"]).dir(download.scratch.path());
    verify.stdin(early(&layer)).run().fails(3, "has not arrived yet").stdout("");
    drop(partial);
}
