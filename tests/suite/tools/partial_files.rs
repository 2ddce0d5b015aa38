// SPDX-License-Identifier: Apache-2.0
//! Files with names that are known in advance: partial downloads, saved uploads, staging
//! directories. A file under such a name is used only if this user created it.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::FileType;
use tests::commands::fetch_blob;
use tests::fake::{End, Intake};
use tests::fake_registry::FakeRegistry;
use tests::images::{file, noise, sha256, tar};
use tests::push::Push;
use tests::scratch::Scratch;
use tests::tools::{Run, tool};
use tests::trees::make_node;

const MIB: usize = 1 << 20;

/// Creates an obstacle. The arguments are the path of the work file, and a file that must not
/// change.
type Put = fn(&Path, &Path);

const IN_THE_WAY: [(&str, Put); 7] = [
    ("a hard link", |path, other| std::fs::hard_link(other, path).unwrap()),
    ("a symbolic link", |path, other| symlink(other, path).unwrap()),
    ("a dangling symbolic link", |path, _| symlink("nowhere", path).unwrap()),
    ("a fifo", |path, _| make_node(path, FileType::Fifo, (0, 0))),
    ("a socket", |path, _| make_node(path, FileType::Socket, (0, 0))),
    ("an empty directory", |path, _| std::fs::create_dir(path).unwrap()),
    ("a file that cannot be read", |path, _| {
        std::fs::write(path, "").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
    }),
];

/// A blob in a registry, and an empty directory to fetch it into.
struct Place {
    registry: FakeRegistry,
    scratch: Scratch,
    bytes: Vec<u8>,
    digest: String,
}

impl Place {
    fn new() -> Place {
        let (registry, bytes) = (FakeRegistry::start(), noise(3 * MIB, 1));
        let digest = registry.add_blob("app", &bytes[..]);
        let scratch = Scratch::new();
        scratch.write("other", "precious");
        std::fs::create_dir_all(scratch.join("l/ingest")).unwrap();
        Place { registry, scratch, bytes, digest }
    }

    /// The partial file and the final file of each destination, with its option.
    fn names(&self) -> [([&str; 2], String, String); 2] {
        let hex = self.digest.strip_prefix("sha256:").unwrap();
        [
            (["-o", "out"], format!(".out.{}.part", &hex[..12]), "out".to_owned()),
            (
                ["--into", "oci:l"],
                format!("l/ingest/sha256-{hex}"),
                format!("l/blobs/sha256/{hex}"),
            ),
        ]
    }

    fn fetch(&self, options: &[&str]) -> Run {
        let fetch = fetch_blob().args([&self.registry.repo("app"), &self.digest]).args(options);
        fetch.dir(self.scratch.path()).run()
    }

    /// Checks that the final file is right and is not the other file, and that the other file is
    /// unchanged.
    #[track_caller]
    fn judge(&self, path: &str, name: &str) {
        let found = self.scratch.join(path).symlink_metadata().unwrap();
        assert!(found.is_file() && found.nlink() == 1, "{name}");
        assert_eq!(found.uid(), self.scratch.path().metadata().unwrap().uid(), "{name}");
        assert!(std::fs::read(self.scratch.join(path)).unwrap() == self.bytes, "{name}");
        let other = std::fs::read_to_string(self.scratch.join("other")).unwrap();
        assert_eq!(other, "precious", "{name}");
    }
}

#[test]
fn a_partial_file_of_the_wrong_kind_is_made_anew() {
    for (name, put) in IN_THE_WAY {
        let place = Place::new();
        for (options, partial, path) in place.names() {
            put(&place.scratch.join(&partial), &place.scratch.join("other"));
            place.fetch(&options).ok();
            place.judge(&path, name);
            assert!(place.scratch.join(&partial).symlink_metadata().is_err(), "{name}");
        }
    }
}

#[test]
fn a_later_part_that_is_not_ours_is_not_taken() {
    for (name, put) in IN_THE_WAY {
        let place = Place::new();
        for (options, partial, path) in place.names() {
            let part = format!("{partial}.{MIB}");
            put(&place.scratch.join(&part), &place.scratch.join("other"));
            place.fetch(&options).ok();
            place.judge(&path, name);
            assert!(place.scratch.join(&part).symlink_metadata().is_err(), "{name}");
        }
    }
}

/// A directory with content is not removed. Instead, the blob is downloaded to a file without a
/// name.
#[test]
fn a_partial_file_that_cannot_be_removed_does_not_stop_a_download() {
    let place = Place::new();
    for (options, partial, path) in place.names() {
        place.scratch.write(format!("{partial}/file"), "kept");
        place.fetch(&options).status(0).says("a later run cannot continue this download");
        place.judge(&path, &partial);
        assert!(place.scratch.join(format!("{partial}/file")).exists());
    }
}

/// Another process holds the lock, and the partial file does not grow.
#[test]
fn a_lock_that_is_held_without_progress_is_waited_for_no_longer_than_the_idle_timeout() {
    let place = Place::new();
    for (options, partial, path) in place.names() {
        let held = std::fs::File::create(place.scratch.join(&partial)).unwrap();
        held.lock().unwrap();
        let run = place.fetch(&[&options[..], &["--idle-timeout", "0.2"]].concat());
        run.status(0).says("another process has locked this file");
        place.judge(&path, &partial);
        assert_eq!(std::fs::metadata(place.scratch.join(&partial)).unwrap().len(), 0);
    }
    let mut left = place.scratch.list();
    left.retain(|name| name.contains(".part"));
    assert_eq!(left, [place.names()[0].1.clone()]);
}

#[test]
fn a_failed_download_without_a_name_leaves_nothing() {
    let place = Place::new();
    place.registry.fault(|_, right| right.corrupted());
    for (options, partial, path) in place.names() {
        place.scratch.write(format!("{partial}/file"), "kept");
        let before = place.scratch.list();
        place.fetch(&options).fails(1, &place.digest);
        assert!(!place.scratch.join(path).exists());
        if options[0] == "-o" {
            assert_eq!(place.scratch.list(), before);
        }
    }
}

#[test]
fn a_saved_upload_that_is_not_ours_is_made_anew() {
    for (name, put) in IN_THE_WAY {
        let push = Push::of(3 * MIB);
        let saved = format!("{}/app {}", push.registry.host(), push.blob.digest);
        let saved = sha256(saved.as_bytes()).replace("sha256:", "");
        let uploads = push.scratch.join("home/.local/state/regutils/uploads");
        std::fs::create_dir_all(&uploads).unwrap();
        let other = push.scratch.write("other", "precious");
        put(&uploads.join(&saved), &other);
        push.registry.intake(|request| {
            let has_bytes = request.is_patch() || request.is_close();
            if has_bytes { Intake::cut(0, End::Fin) } else { Intake::whole() }
        });
        push.file().args(["--retry-times", "1"]).run().fails(5, "");
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "precious", "{name}");
        push.registry.intake(|_| Intake::whole());
        push.done(&push.file().run());
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "precious", "{name}");
        assert_eq!(push.remembered(), 0, "{name}");
    }
}

#[test]
fn a_staging_directory_of_the_wrong_kind_is_removed() {
    for (name, put) in IN_THE_WAY {
        let scratch = Scratch::new();
        let other = scratch.write("other", "precious");
        put(&scratch.join(".root.unpacking"), &other);
        let unpack = tool("unpack-layer").arg("root").stdin(tar(&[file("f", "")]));
        unpack.dir(scratch.path()).run().ok();
        assert_eq!(scratch.list(), ["other", "root/", "root/f"], "{name}");
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "precious", "{name}");
    }
}

/// The name of a temporary file would be longer than the name of the output file. It is cut to the
/// file system's limit.
#[test]
fn the_longest_name_of_a_file_is_short_enough() {
    const NAME_MAX: usize = 255;
    let place = Place::new();
    for name in ["n".repeat(NAME_MAX), "é".repeat(NAME_MAX / 2)] {
        place.registry.fault(|_, right| right.cut(MIB as u64, End::Fin));
        let options = ["-o", &name[..], "--retry-times", "1"];
        place.fetch(&options).fails(5, &place.digest);
        place.registry.heal();
        place.registry.server.forget();
        place.fetch(&options).ok();
        place.judge(&name, &name);
        let ranges: Vec<_> = place.registry.blob_requests().iter().map(|r| r.range()).collect();
        assert_eq!(ranges.len(), 1, "{ranges:?}");
        assert!(ranges[0].as_ref().is_some_and(|range| range.start > 0), "{ranges:?}");
        // The temporary file of pack-layer has such a name too. It is never resumed.
        place.scratch.write("tree/file", "");
        let pack = tool("pack-layer").args(["tree", "-o", &name[..]]);
        pack.dir(place.scratch.path()).run().ok();
    }
}

mod as_root {
    use super::*;
    use std::os::unix::fs::chown;

    const NOBODY: u32 = 65534;

    #[test]
    fn a_partial_file_of_another_user_is_made_anew() {
        let place = Place::new();
        for (options, partial, path) in place.names() {
            let partial = place.scratch.join(partial);
            std::fs::write(&partial, &place.bytes[..MIB]).unwrap();
            std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o666)).unwrap();
            chown(&partial, Some(NOBODY), None).unwrap();
            place.registry.server.forget();
            place.fetch(&options).ok();
            place.judge(&path, "owner");
            let mode = place.scratch.join(path).metadata().unwrap().mode();
            assert_eq!(mode & 0o022, 0);
            let requests = place.registry.blob_requests();
            assert!(requests.iter().all(|request| request.range().is_none()), "{requests:?}");
        }
    }

    /// In a directory such as /tmp the file of another user cannot be removed.
    #[test]
    fn a_partial_file_that_may_not_be_removed_is_left_unchanged() {
        let place = Place::new();
        let [(options, partial, path), _] = place.names();
        let shared = place.scratch.join("shared");
        std::fs::create_dir(&shared).unwrap();
        std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o1777)).unwrap();
        let partial = shared.join(partial);
        std::fs::write(&partial, &place.bytes[..MIB]).unwrap();
        std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o666)).unwrap();
        let fetch = fetch_blob().args([&place.registry.repo("app"), &place.digest]).args(options);
        let run = fetch.dir(&shared).as_unprivileged().run();
        run.status(0).says("a later run cannot continue this download");
        assert!(std::fs::read(shared.join(&path)).unwrap() == place.bytes);
        assert_eq!(shared.join(&path).metadata().unwrap().uid(), NOBODY);
        assert_eq!(partial.metadata().unwrap().len(), MIB as u64);
    }
}
