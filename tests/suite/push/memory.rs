// SPDX-License-Identifier: Apache-2.0
//! push-blob and the record of the repositories that have a blob. The record is in the layout, or
//! in the user's state directory if the run uses no layout.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};
use tests::commands::plain;
use tests::fake::{Intake, Reply};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, noise, sha256, types, write_layout};
use tests::scratch::Scratch;
use tests::tools::{Command, shell};

/// The user's record, below the home.
const RECORD: &str = "home/.local/state/regutils/distribution-sources";

/// A registry, and a home with the file `layer`.
struct Place {
    registry: FakeRegistry,
    scratch: Scratch,
    blob: Blob,
}

impl Place {
    /// A place with a blob that is small enough for one mount attempt only.
    fn new() -> Place {
        Place::of(1000)
    }

    fn of(size: usize) -> Place {
        let scratch = Scratch::new();
        let blob = Blob::new(types::TAR, noise(size, 1));
        scratch.write("layer", &blob.bytes);
        scratch.write("home/.keep", "");
        Place { registry: FakeRegistry::start(), scratch, blob }
    }

    fn command(&self, name: &str) -> Command {
        let home = self.scratch.join("home");
        plain(name).env("HOME", home).dir(self.scratch.path())
    }

    /// The command that pushes into a repository.
    fn push(&self, repository: &str) -> Command {
        self.command("push-blob").arg(self.registry.repo(repository))
    }

    /// Pushes the file.
    #[track_caller]
    fn push_file(&self, repository: &str) {
        self.push(repository).arg("layer").run().ok();
    }

    /// The requests to the registry for a push of the file.
    fn steps_of_file(&self, repository: &str) -> Vec<String> {
        self.registry.server.forget();
        self.push_file(repository);
        self.registry.steps()
    }

    /// The repositories that the run tried to mount the blob from, in order.
    fn tried(&self) -> Vec<String> {
        let requests = self.registry.server.requests();
        requests.iter().filter_map(|request| request.param("from")).collect()
    }

    /// Removes the blob from repositories.
    fn remove(&self, repositories: &[&str]) {
        for name in repositories {
            self.registry.remove_blob(name, &self.blob.digest);
        }
    }

    /// Writes a record of the blob at the registry.
    fn write(&self, file: &str, repositories: &str) -> PathBuf {
        let record = json!({&self.blob.digest: {self.registry.host(): repositories}});
        self.scratch.write(file, record.to_string())
    }

    /// The repositories that a record has for the blob at a host.
    fn recorded_at(&self, file: &str, host: &str) -> String {
        let bytes = std::fs::read(self.scratch.join(file)).unwrap();
        let record: Value = serde_json::from_slice(&bytes).unwrap();
        record[&self.blob.digest][host].as_str().unwrap_or_default().to_owned()
    }

    fn recorded(&self, file: &str) -> String {
        self.recorded_at(file, &self.registry.host())
    }
}

const MOUNTED: [&str; 2] = ["HEAD blob", "POST mount"];

#[test]
fn a_file_that_was_pushed_is_mounted_into_the_next_repository() {
    let place = Place::new();
    place.push_file("a");
    assert_eq!(place.recorded(RECORD), "a");
    assert_eq!(place.steps_of_file("b"), MOUNTED);
    assert_eq!(place.recorded(RECORD), "a,b");
    assert!(place.registry.blob("b", &place.blob.digest).is_some());
}

#[test]
fn only_the_user_may_read_the_record() {
    let place = Place::new();
    place.push_file("a");
    let mode = |name: &str| {
        std::fs::metadata(place.scratch.join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(RECORD), 0o600);
    assert_eq!(mode("home/.local/state/regutils"), 0o700);
    let beside = std::fs::read_dir(place.scratch.join("home/.local/state/regutils")).unwrap();
    assert_eq!(beside.count(), 1);
}

#[test]
fn a_blob_that_the_target_has_is_recorded_too() {
    let place = Place::new();
    place.registry.add_blob("a", place.blob.bytes.clone());
    assert_eq!(place.steps_of_file("a"), ["HEAD blob"]);
    assert_eq!(place.recorded(RECORD), "a");
}

#[test]
fn the_bytes_of_a_pipe_are_recorded_and_mounted() {
    let place = Place::new();
    for (repository, steps) in
        [("a", &["HEAD blob", "POST uploads", "PUT session 1000"][..]), ("b", &MOUNTED)]
    {
        place.registry.server.forget();
        place.push(repository).stdin(place.blob.bytes.clone()).run().ok();
        assert_eq!(place.registry.steps(), steps);
    }
}

#[test]
fn a_pipe_that_is_sent_as_it_arrives_is_recorded() {
    let place = Place::of(20_000_000);
    place.push("a").stdin(place.blob.bytes.clone()).run().ok();
    assert_eq!(place.steps_of_file("b"), MOUNTED);
}

#[test]
fn a_pipe_that_is_kept_until_its_end_is_mounted() {
    let place = Place::of(20_000_000);
    place.push_file("a");
    place.registry.intake(|request| {
        if request.is_patch() { Intake::instead(Reply::new(405)) } else { Intake::whole() }
    });
    place.push("b").stdin(place.blob.bytes.clone()).run().ok();
    let steps = place.registry.steps();
    assert_eq!(steps[steps.len() - 2..], MOUNTED, "{steps:#?}");
    assert_eq!(place.tried(), ["a"]);
    assert_eq!(place.registry.sessions(), []);
}

#[test]
fn a_layer_piped_from_pack_layer_is_recorded_and_mounted() {
    let place = Place::new();
    place.scratch.write("tree/file", "x");
    let home = place.scratch.join("home");
    for (repository, is_mounted) in [("a", false), ("b", true)] {
        place.registry.server.forget();
        let target = place.registry.repo(repository);
        let script = format!(
            "pack-layer tree --mtime @0 -o - | push-blob --plain-http --max-wait 0 {target}"
        );
        shell(&script).env("HOME", &home).dir(place.scratch.path()).run().ok();
        assert_eq!(place.registry.steps() == MOUNTED, is_mounted);
    }
}

#[test]
fn both_repositories_of_a_copy_between_registries_are_recorded() {
    let place = Place::new();
    let source = FakeRegistry::start();
    source.add_blob("x", place.blob.bytes.clone());
    let copy = |repository: &str| {
        let from = ["--from", &source.repo("x"), "--from-plain-http"];
        place.push(repository).args(from).stdin(place.blob.line()).run().ok();
    };
    copy("a");
    assert_eq!(place.recorded(RECORD), "a");
    assert_eq!(place.recorded_at(RECORD, &source.host()), "x");
    place.registry.server.forget();
    source.server.forget();
    copy("b");
    assert_eq!(place.registry.steps(), MOUNTED);
    assert_eq!(source.steps(), Vec::<String>::new());
}

/// A compressed layer is a new blob, which the source does not have.
#[test]
fn a_layer_that_is_compressed_on_the_way_is_not_recorded_for_the_source() {
    let place = Place::new();
    let source = FakeRegistry::start();
    let layer = Blob::new(types::TAR, tests::images::tar(&[tests::images::file("f", "x")]));
    source.add_blob("x", layer.bytes.clone());
    let from = ["--from", &source.repo("x"), "--from-plain-http", "--compress", "gzip"];
    let run = place.push("a").args(from).stdin(layer.line()).run();
    run.ok();
    let record = std::fs::read_to_string(place.scratch.join(RECORD)).unwrap();
    assert!(record.contains(&place.registry.host()), "{record}");
    assert!(!record.contains(&source.host()), "{record}");
}

#[test]
fn a_copy_into_a_layout_is_recorded_there() {
    let place = Place::new();
    place.registry.add_blob("x", place.blob.bytes.clone());
    let from = ["oci:new", "--from", &place.registry.repo("x"), "--from-plain-http"];
    place.command("push-blob").args(from).stdin(place.blob.line()).run().ok();
    assert_eq!(place.recorded("new/distribution-sources"), "x");
    assert!(!place.scratch.join(RECORD).exists());
}

#[test]
fn a_copy_of_a_layout_takes_over_the_record() {
    let place = Place::new();
    write_layout(&place.scratch.join("l"), "1", &place.blob, []);
    place.write("l/distribution-sources", "x,y");
    let copy = place.command("push-blob").args(["oci:new", "--from", "oci:l"]);
    copy.stdin(place.blob.line()).run().ok();
    assert_eq!(place.recorded("new/distribution-sources"), "x,y");
    assert_eq!(place.recorded("l/distribution-sources"), "x,y");
    assert!(!place.scratch.join(RECORD).exists());
}

#[test]
fn a_blob_that_was_fetched_to_a_file_is_mounted() {
    for options in [&["-o", "fetched"][..], &[]] {
        let place = Place::new();
        place.registry.add_blob("x", place.blob.bytes.clone());
        let fetch = place.command("fetch-blob").arg(place.registry.repo("x"));
        fetch.arg(&place.blob.digest).args(options).run().status(0);
        assert_eq!(place.recorded(RECORD), "x");
        assert_eq!(place.steps_of_file("a"), MOUNTED);
    }
}

#[test]
fn among_equals_the_youngest_is_tried() {
    let place = Place::new();
    for repository in ["b", "c", "a"] {
        place.push_file(repository);
    }
    place.registry.server.forget();
    place.push_file("d");
    assert_eq!(place.tried(), ["a"]);
    // A repository that gets the blob again becomes the newest.
    place.push_file("b");
    place.registry.server.forget();
    place.push_file("e");
    assert_eq!(place.tried(), ["b"]);
}

#[test]
fn a_repository_that_lacks_the_blob_is_forgotten() {
    let place = Place::new();
    place.write(RECORD, "has,gone");
    place.registry.add_blob("has", place.blob.bytes.clone());
    // One mount attempt, which opens an upload session.
    assert_eq!(place.steps_of_file("a")[..2], MOUNTED);
    assert_eq!(place.tried(), ["gone"]);
    assert_eq!(place.recorded(RECORD), "has,a");
    place.remove(&["a"]);
    // The second push tries "a", which is the newest and lacks the blob now. The third push tries
    // "has".
    place.push_file("b");
    place.remove(&["b"]);
    place.registry.server.forget();
    place.push_file("b");
    assert_eq!(place.tried(), ["has"]);
}

#[test]
fn a_layout_forgets_too_and_so_does_the_users_record() {
    let place = Place::new();
    write_layout(&place.scratch.join("l"), "1", &place.blob, []);
    std::fs::create_dir_all(place.scratch.join("l/ingest")).unwrap();
    place.write("l/distribution-sources", "gone");
    place.write(RECORD, "kept,gone");
    place.push("a").args(["--from", "oci:l"]).stdin(place.blob.line()).run().ok();
    assert_eq!(place.tried(), ["gone"]);
    assert_eq!(place.recorded("l/distribution-sources"), "a");
    assert_eq!(place.recorded(RECORD), "kept");
}

/// The tool writes nothing to a layout of another program.
#[test]
fn a_push_from_a_layout_without_a_record_is_recorded_for_the_user() {
    let place = Place::new();
    write_layout(&place.scratch.join("l"), "1", &place.blob, []);
    let _ = std::fs::remove_dir_all(place.scratch.join("l/ingest"));
    place.push("a").args(["--from", "oci:l"]).stdin(place.blob.line()).run().ok();
    assert_eq!(place.recorded(RECORD), "a");
    assert!(!place.scratch.join("l/distribution-sources").exists());
}

#[test]
fn the_status_of_a_failed_mount_decides_whether_its_source_is_forgotten() {
    for (status, is_forgotten) in [
        (400, true),
        (404, true),
        (405, true),
        (429, false),
        (500, false),
        (503, false),
        // The request is anonymous. Another user may be allowed to read the source, so it stays
        // recorded.
        (401, false),
        (403, false),
    ] {
        let place = Place::new();
        place.write(RECORD, "x");
        place.registry.intake(move |request| {
            if request.param("mount").is_some() {
                Intake::instead(Reply::error(status, "UNKNOWN", "not mounted"))
            } else {
                Intake::whole()
            }
        });
        place.push_file("a");
        let want = if is_forgotten { "a" } else { "x,a" };
        assert_eq!(place.recorded(RECORD), want, "{status}");
    }
}

#[test]
fn a_source_that_a_login_may_not_read_is_forgotten_and_nothing_secret_is_recorded() {
    let place = Place { registry: FakeRegistry::with_tokens(), ..Place::new() };
    place.write(RECORD, "x");
    place.registry.fault(|request, right| {
        if request.param("mount").is_some() {
            Reply::error(403, "DENIED", "not for you")
        } else {
            right
        }
    });
    place.scratch.write("password", "secret-word");
    let login = ["--username", "user", "--password-file", "password"];
    place.push("a").args(login).arg("layer").run().status(0);
    assert_eq!(place.tried(), ["x"]);
    assert_eq!(place.recorded(RECORD), "a");
    let record: Value =
        serde_json::from_slice(&std::fs::read(place.scratch.join(RECORD)).unwrap()).unwrap();
    assert_eq!(record, json!({&place.blob.digest: {place.registry.host(): "a"}}));
}

#[test]
fn at_50_repositories_the_oldest_is_dropped() {
    let place = Place::new();
    let names: Vec<String> = (0..50).map(|n| format!("r{n}")).collect();
    place.write(RECORD, &names.join(","));
    place.registry.add_blob("r49", place.blob.bytes.clone());
    assert_eq!(place.steps_of_file("new"), MOUNTED);
    let recorded = place.recorded(RECORD);
    assert_eq!(recorded.split(',').count(), 50);
    assert!(recorded.starts_with("r1,r2,") && recorded.ends_with(",r49,new"), "{recorded}");
}

#[test]
fn many_processes_record_at_once() {
    let place = Place::new();
    let blobs: Vec<Blob> = (0..16).map(|n| Blob::new(types::TAR, noise(100, n))).collect();
    let start = |blob: &Blob| place.push("a").stdin(blob.bytes.clone()).start();
    let running: Vec<_> = blobs.iter().map(start).collect();
    for running in running {
        running.wait().ok();
    }
    let bytes = std::fs::read(place.scratch.join(RECORD)).unwrap();
    let record: Value = serde_json::from_slice(&bytes).unwrap();
    for blob in &blobs {
        assert_eq!(record[&blob.digest][place.registry.host()], "a");
    }
}

#[test]
fn an_unusable_record_does_not_prevent_the_push() {
    let large = vec![b' '; (1 << 20) + 1];
    for spoilt in ["{", "[]", "{\"sha256:00\":7}", &String::from_utf8(large).unwrap()] {
        let place = Place::new();
        place.scratch.write(RECORD, spoilt);
        place.push_file("a");
        assert_eq!(place.recorded(RECORD), "a");
    }
    // A directory under the record's name, a file under the name of the state directory, and a
    // missing home.
    for (file, home) in [
        (&format!("{RECORD}/x")[..], "home"),
        ("home/.local/state/regutils", "home"),
        ("unused", "absent"),
    ] {
        let place = Place::new();
        place.scratch.write(file, "");
        let push = place.push("a").env("HOME", place.scratch.join(home)).arg("layer").run();
        push.ok();
        assert!(place.registry.blob("a", &place.blob.digest).is_some());
        assert!(!place.scratch.join("absent").exists());
    }
}

#[test]
fn xdg_state_home_has_the_record_where_it_is_set() {
    let place = Place::new();
    let state = place.scratch.join("state");
    place.push("a").env("XDG_STATE_HOME", state).arg("layer").run().ok();
    assert_eq!(place.recorded("state/regutils/distribution-sources"), "a");
    assert!(!place.scratch.join(RECORD).exists());
}

/// If the record would exceed 1 MiB, its oldest blobs are removed.
#[test]
fn the_record_is_bounded() {
    let place = Place::new();
    let entry =
        |n: usize| (sha256(n.to_string().as_bytes()), json!({"a.example": "r".repeat(200)}));
    let entries: serde_json::Map<String, Value> = (0..3602).map(entry).collect();
    let text = Value::Object(entries).to_string();
    assert!(((1 << 20) - 500..1 << 20).contains(&text.len()), "{}", text.len());
    place.scratch.write(RECORD, text);
    for n in 0..20 {
        place.push("a").stdin(noise(100, n)).run().ok();
    }
    let text = std::fs::read_to_string(place.scratch.join(RECORD)).unwrap();
    assert!(text.len() <= 1 << 20);
    let record: Value = serde_json::from_str(&text).unwrap();
    assert!(record.get(sha256(b"0")).is_none());
    assert!(record.get(sha256(b"3499")).is_some());
    for n in 0..20 {
        assert!(record.get(sha256(&noise(100, n))).is_some());
    }
}

mod at_length {
    use super::*;

    /// A stopped process may hold the lock forever.
    #[test]
    fn a_lock_that_is_never_released_does_not_prevent_the_push() {
        let place = Place::new();
        place.push_file("a");
        let dir = std::fs::File::open(place.scratch.join(RECORD).parent().unwrap()).unwrap();
        rustix::fs::flock(&dir, rustix::fs::FlockOperation::LockExclusive).unwrap();
        place.push_file("b");
        assert_eq!(place.recorded(RECORD), "a");
        drop(dir);
        place.push_file("b");
        assert_eq!(place.recorded(RECORD), "a,b");
    }
}
