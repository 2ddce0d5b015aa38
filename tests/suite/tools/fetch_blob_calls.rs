// SPDX-License-Identifier: Apache-2.0
//! fetch-blob when system calls fail, and the order of the calls that make a blob permanent.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::commands::fetch_blob;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, read_blob};
use tests::scratch::Scratch;
use tests::tools::Run;

/// A registry with one blob, and a directory for the layout `l`.
struct Place {
    registry: FakeRegistry,
    blob: Blob,
    scratch: Scratch,
}

impl Place {
    fn new() -> Place {
        let registry = FakeRegistry::start();
        let blob = registry.add_noise("app", 3 << 20, 1);
        Place { registry, blob, scratch: Scratch::new() }
    }

    /// The name of the partial file.
    fn partial(&self) -> String {
        let name = format!("l/ingest/{}", self.blob.digest.replace(':', "-"));
        self.scratch.join(name).to_str().unwrap().to_owned()
    }

    /// Fetches the blob into the layout, under strace with these options.
    fn fetch(&self, options: &[&str]) -> Run {
        let strace = [&["strace", "-f", "-qq", "-o", "/dev/null"], options].concat();
        let command = fetch_blob().args([&self.registry.repo("app"), "--into", "oci:l"]);
        let command = command.stdin(self.blob.line()).dir(self.scratch.path());
        if options.is_empty() { command.run() } else { command.under(&strace).run() }
    }

    fn holds(&self) -> bool {
        let found = read_blob(&self.scratch.join("l"), &self.blob.digest);
        assert!(found.as_ref().is_none_or(|bytes| *bytes == self.blob.bytes), "a false blob");
        found.is_some()
    }

    /// Checks that the same command succeeds without the fault.
    fn again(&self, what: &str) {
        let run = self.fetch(&[]);
        assert_eq!(run.code(), Some(0), "{what}: {run}");
        assert!(self.holds(), "{what}");
    }
}

#[test]
fn received_bytes_are_hashed_and_not_read_back() {
    let place = Place::new();
    let calls = place.scratch.join("calls");
    let strace = ["strace", "-f", "-qq", "-e", "trace=pread64", "-o", calls.to_str().unwrap()];
    let command = fetch_blob().args([&place.registry.repo("app"), "--into", "oci:l", "-j", "1"]);
    let command = command.stdin(place.blob.line()).dir(place.scratch.path());
    command.under(&strace).run().status(0);
    let read: u64 = std::fs::read_to_string(&calls)
        .unwrap()
        .lines()
        .filter(|call| !call.contains("ELF"))
        .filter_map(|call| call.rsplit_once("= ")?.1.parse::<u64>().ok())
        .sum();
    // The thread that waits for the blob may hash some chunks itself. It reads only these back from
    // the file.
    assert!(read < 1 << 20, "{read} bytes read back");
}

#[test]
fn a_failing_write_sync_or_rename_gives_status_7_and_no_final_file() {
    for (calls, error, words) in [
        ("write,pwrite64", "ENOSPC", "no space left"),
        ("write,pwrite64", "EDQUOT", "quota"),
        ("write,pwrite64", "EFBIG", "too large"),
        ("write,pwrite64", "EIO", "input/output error"),
        ("fsync,fdatasync", "ENOSPC", "no space left"),
        ("fsync,fdatasync", "EIO", "input/output error"),
        ("rename,renameat,renameat2,linkat", "ENOSPC", "no space left"),
        ("rename,renameat,renameat2,linkat", "EROFS", "read-only"),
    ] {
        let place = Place::new();
        let partial = place.partial();
        let inject = format!("inject={calls}:error={error}");
        let relative = partial.rsplit_once("/l/").unwrap().1;
        let relative = format!("l/{relative}");
        let run = place.fetch(&["-P", &partial, "-P", &relative, "-e", &inject]);
        assert_eq!(run.code(), Some(7), "{calls} {error}: {run}");
        run.fails(7, words).stdout("");
        assert!(!place.holds(), "{calls} {error}");
        assert_eq!(place.registry.blob_requests().len(), 1, "{calls} {error}: asked again");
        place.again(&format!("{calls} {error}"));
    }
}

#[test]
fn a_partial_file_that_cannot_be_read_never_becomes_the_blob() {
    let place = Place::new();
    place.scratch.write("l/blobs/sha256/.keep", "");
    let partial = place.partial();
    place.scratch.write(&partial, &place.blob.bytes[..2 << 20]);
    let run = place.fetch(&["-P", &partial, "-e", "inject=read,pread64:error=EIO"]);
    run.fails(7, "input/output error").stdout("");
    assert!(!place.holds());
    place.again("EIO");
}

#[test]
fn interrupted_system_calls_are_repeated() {
    for calls in [
        "write,pwrite64:error=EINTR:when=1+3",
        "recvfrom:error=EINTR:when=2+3",
        "sendto:error=EINTR:when=1+2",
        "fsync,fdatasync:error=EINTR:when=1+2",
    ] {
        let place = Place::new();
        let run = place.fetch(&["-e", &format!("inject={calls}")]);
        assert_eq!(run.code(), Some(0), "{calls}: {run}");
        assert!(place.holds(), "{calls}");
    }
}

#[test]
fn a_file_system_without_locks_is_an_error_that_leaves_nothing_false() {
    let place = Place::new();
    let run = place.fetch(&["-e", "inject=flock:error=ENOLCK"]);
    run.fails(7, "no locks available").stdout("");
    assert!(!place.holds());
    place.again("ENOLCK");
}

#[test]
fn a_blob_is_synced_before_it_gets_its_final_name() {
    let place = Place::new();
    let log = place.scratch.join("log");
    let strace = ["-e", "trace=fsync,fdatasync,rename,renameat,renameat2,linkat", "-y", "-o"];
    place.fetch(&[&strace[..], &[log.to_str().unwrap()]].concat()).status(0);
    let log = std::fs::read_to_string(log).unwrap();
    let (_, hex) = place.blob.digest.split_once(':').unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(hex)).collect();
    let sync = lines.iter().position(|line| line.contains("sync(")).expect(&log);
    let name = format!("blobs/sha256/{hex}");
    let renamed = lines.iter().position(|line| line.contains(&name)).expect(&log);
    assert!(sync < renamed, "{log}");
}
