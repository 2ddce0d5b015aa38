// SPDX-License-Identifier: Apache-2.0
//! Other processes that remove, write or read the files of a running fetch-blob.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::io::Read;

use tests::commands::fetch_blob;
use tests::eventually;
use tests::fake_registry::FakeRegistry;
use tests::images::{noise, read_blob};
use tests::scratch::Scratch;

const SIZE: usize = 3 << 20;

#[test]
fn a_partial_file_removed_during_the_download_leaves_nothing_false() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", SIZE, 1);
    registry
        .fault(|request, right| if request.earlier == 0 { right.stall(1 << 20) } else { right });
    let scratch = Scratch::new();
    let fetch = || {
        let command = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]);
        command.stdin(blob.line()).dir(scratch.path())
    };
    let running = fetch().start();
    registry.server.wait_for_stalls(1);
    let partial = scratch.join(format!("l/ingest/{}", blob.digest.replace(':', "-")));
    eventually("the partial file", || partial.exists().then_some(()));
    std::fs::remove_file(&partial).unwrap();
    registry.server.release();
    running.wait().fails(7, "removed or replaced").stdout("");
    assert_eq!(read_blob(&scratch.join("l"), &blob.digest), None);
    fetch().run().ok().stdout(blob.line());
    assert!(read_blob(&scratch.join("l"), &blob.digest) == Some(blob.bytes.clone()));
}

#[test]
fn several_processes_write_the_same_output_file() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", SIZE, 1);
    let scratch = Scratch::new();
    let start = || {
        let command = fetch_blob().args([&registry.repo("app"), &blob.digest, "-o", "out"]);
        command.dir(scratch.path()).start()
    };
    for running in [start(), start(), start()] {
        running.wait().ok();
    }
    assert!(std::fs::read(scratch.join("out")).unwrap() == blob.bytes);
    assert_eq!(scratch.list(), ["out"]);
}

#[test]
fn a_reader_of_a_replaced_file_keeps_the_old_bytes() {
    let registry = FakeRegistry::start();
    let [old, new] = [1, 2].map(|seed| noise(SIZE, seed));
    let digest = registry.add_blob("app", new.clone());
    let scratch = Scratch::new();
    let mut reader = std::fs::File::open(scratch.write("out", &old)).unwrap();
    let command = fetch_blob().args([&registry.repo("app"), &digest, "-o", "out"]);
    command.dir(scratch.path()).run().ok();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert!(bytes == old);
    assert!(std::fs::read(scratch.join("out")).unwrap() == new);
}

/// The mode of a new file is 0666 without the umask's bits, as for any program, and never with
/// set-ID bits.
#[test]
fn a_new_file_has_the_mode_that_the_umask_leaves() {
    use std::os::unix::fs::PermissionsExt;
    use tests::tools::shell;
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 1000, 1);
    for (umask, mode) in [("022", 0o644), ("027", 0o640), ("077", 0o600), ("000", 0o666)] {
        let scratch = Scratch::new();
        let script = "umask \"$UMASK\"; fetch-blob --plain-http \"$APP\" \"$DIGEST\" -o out && \
            fetch-blob --plain-http \"$APP\" \"$DIGEST\" --into oci:l";
        let run = shell(script)
            .env("UMASK", umask)
            .env("APP", registry.repo("app"))
            .env("DIGEST", &blob.digest)
            .dir(scratch.path())
            .run();
        run.status(0);
        let name = format!("l/blobs/{}", blob.digest.replace(':', "/"));
        for name in ["out", &name] {
            let found = std::fs::metadata(scratch.join(name)).unwrap().permissions().mode();
            assert_eq!(found & 0o7777, mode, "{name} with umask {umask}");
        }
    }
}
