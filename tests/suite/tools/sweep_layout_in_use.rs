// SPDX-License-Identifier: Apache-2.0
//! sweep-layout and a pipeline that uses the same layout: the pipeline loses no blob that it
//! stored, or found there.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::FileType;
use tests::commands::{fetch_blob, plain};
use tests::eventually;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, noise, types, write_image};
use tests::scratch::Scratch;
use tests::tools::{Command, Run, shell, tool};
use tests::trees::make_node;

/// Makes a file two hours old.
fn make_old(path: &Path) {
    let then = SystemTime::now() - Duration::from_secs(2 * 60 * 60);
    fs::File::open(path).unwrap().set_modified(then).unwrap();
}

fn is_old(path: &Path) -> bool {
    let age = fs::metadata(path).unwrap().modified().unwrap().elapsed();
    age.unwrap_or_default() > Duration::from_secs(60 * 60)
}

/// The layout `l` with the image `kept`, and a blob that no entry names, two hours old.
struct Place {
    dir: Scratch,
    found: Blob,
}

impl Place {
    fn new() -> Place {
        let place = Place { dir: Scratch::new(), found: Blob::new(types::TAR, "found") };
        write_image(&place.dir.join("l"), "kept", &Image::small());
        fs::create_dir(place.dir.join("l/ingest")).unwrap();
        place.store(&place.found);
        place
    }

    fn store(&self, blob: &Blob) {
        fs::write(self.path(blob), &blob.bytes).unwrap();
        make_old(&self.path(blob));
    }

    fn path(&self, blob: &Blob) -> PathBuf {
        self.dir.join("l/blobs").join(blob.digest.replace(':', "/"))
    }

    fn has(&self, blob: &Blob) -> bool {
        self.path(blob).is_file()
    }

    fn sweep(&self) -> Run {
        tool("sweep-layout").arg("l").dir(self.dir.path()).run()
    }
}

#[test]
fn a_sweep_is_refused_while_a_download_is_at_work_and_keeps_what_it_found_and_stored() {
    let registry = FakeRegistry::start();
    let (place, unused) = (Place::new(), Blob::new(types::TAR, "unused"));
    place.store(&unused);
    let stored = Blob::new(types::TAR, noise(1000, 1));
    let coming = Blob::new(types::TAR, noise(4 << 20, 2));
    for blob in [&stored, &coming] {
        registry.add_blob("app", &blob.bytes[..]);
    }
    let stalls = coming.digest.clone();
    registry.fault(
        move |request, right| {
            if request.target.contains(&stalls) { right.stall(2 << 20) } else { right }
        },
    );
    let lines = [&place.found, &stored, &coming].map(Blob::line).concat();
    let fetch = || {
        let fetch = fetch_blob().args([&registry.repo("app"), "--into", "oci:l", "-j", "1"]);
        fetch.stdin(lines.clone()).dir(place.dir.path())
    };
    let download = fetch().start();
    registry.server.wait_for_stalls(1);
    eventually("the stored blob", || place.has(&stored).then_some(()));

    place.sweep().fails(5, "oci:l: another process uses the layout").says("hint: ").stdout("");
    assert!(place.has(&place.found) && place.has(&unused));

    // The download is killed before it stores its blob.
    download.kill();
    let partial = place.dir.join("l/ingest").join(coming.digest.replace(':', "-"));
    assert!(partial.is_file());
    place.sweep().ok();
    assert!(!place.has(&unused));
    assert!(place.has(&place.found) && place.has(&stored) && partial.is_file());
    registry.heal();
    fetch().run().ok().stdout(&lines);
}

#[test]
fn a_blob_that_a_tool_finds_in_the_layout_is_new() {
    let place = Place::new();
    let found = &place.found;
    place.dir.write("file", &found.bytes);
    write_image(&place.dir.join("other"), "1", &Image::of_plain(&[&found.bytes]));
    let image = Image::of_plain(&[&found.bytes]);
    place.store(&image.config);
    let registry = FakeRegistry::start();
    let run_in = |command: Command| command.dir(place.dir.path()).run();
    let ways: [(&str, &dyn Fn() -> Run); 4] = [
        ("push-blob, a file", &|| {
            run_in(tool("push-blob").args(["oci:l", "file", "--media-type", types::TAR]))
        }),
        ("push-blob, a line", &|| {
            run_in(tool("push-blob").args(["oci:l", "--from", "oci:other"]).stdin(found.line()))
        }),
        ("fetch-blob", &|| {
            let fetch = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]);
            run_in(fetch.stdin(found.line()))
        }),
        ("put-manifest, which fails", &|| {
            let more = Image::of_plain(&[&found.bytes, b"missing"]);
            let put = tool("put-manifest").arg("oci:l:new");
            let run = run_in(put.stdin(more.manifest.bytes.clone()));
            run.status(6);
            run
        }),
    ];
    for (name, way) in ways {
        make_old(&place.path(found));
        let run = way();
        assert!(name.contains("fails") || run.code() == Some(0), "{name}: {run}");
        assert!(!is_old(&place.path(found)), "{name}");
        place.sweep().ok();
        assert!(place.has(found), "{name}");
    }
    make_old(&place.path(found));
    place.sweep().ok();
    assert!(!place.has(found));
}

/// A long run ends with blobs that it stored hours ago. The next command, which names them, has not
/// begun yet.
#[test]
fn all_blobs_of_a_run_are_new_when_it_ends() {
    for tool in ["fetch-blob", "push-blob"] {
        let (registry, place) = (FakeRegistry::start(), Place::new());
        let coming = Blob::new(types::TAR, noise(4 << 20, 2));
        registry.add_blob("app", &coming.bytes[..]);
        let lines = place.found.line() + &coming.line();
        let from = registry.repo("app");
        let args = match tool {
            "fetch-blob" => [from.as_str(), "--into", "oci:l"],
            _ => ["oci:l", "--from", from.as_str()],
        };
        make_old(&place.path(&place.found));
        registry.fault(|_, right| right.stall(2 << 20));
        let command = plain(tool).args(args);
        let run = command.stdin(lines.clone()).dir(place.dir.path()).start();
        eventually("the found blob", || (!is_old(&place.path(&place.found))).then_some(()));
        registry.server.wait_for_stalls(1);
        make_old(&place.path(&place.found));
        registry.server.release();
        run.wait().ok().stdout(&lines);
        assert!(!is_old(&place.path(&place.found)), "{tool}");
    }
}

/// An earlier run wrote the last byte of a partial file and was stopped before it named the blob.
#[test]
fn a_blob_from_an_old_partial_file_is_new() {
    let registry = FakeRegistry::start();
    let place = Place::new();
    let blob = Blob::new(types::TAR, noise(1000, 1));
    registry.add_blob("app", &blob.bytes[..]);
    let partial = place.dir.join("l/ingest").join(blob.digest.replace(':', "-"));
    fs::write(&partial, &blob.bytes).unwrap();
    make_old(&partial);
    let fetch = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]);
    fetch.stdin(blob.line()).dir(place.dir.path()).run().ok();
    place.sweep().ok();
    assert!(place.has(&blob));
}

#[test]
fn a_sweep_is_refused_while_a_reader_is_at_work() {
    let place = Place::new();
    // verify-digest waits for its next line.
    let fifo = place.dir.join("lines");
    make_node(&fifo, FileType::Fifo, (0, 0));
    let script = "verify-digest --from oci:l <lines";
    let reader = shell(script).dir(place.dir.path()).start();
    let mut lines = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    std::io::Write::write_all(&mut lines, Image::small().config.line().as_bytes()).unwrap();
    eventually("the refusal", || (place.sweep().code() == Some(5)).then_some(()));
    drop(lines);
    reader.wait().ok();
}
