// SPDX-License-Identifier: Apache-2.0
//! A name in a layout names complete images only: it moves to a new image when the last blob of
//! that image is stored. If an update stops for any reason, the old image keeps the name and stays
//! complete.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};
use tests::fake::Reply;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, file, index, noise, read_blob, read_index, types, write_image};
use tests::scratch::Scratch;
use tests::tools::{Command, Run, shell, tool};

// -q drops the warning that the name moves.
const PULL: &str = "fetch-manifest -q --max-wait 0 $REPO:1 --into oci:l | list-blobs |
    fetch-blob --max-wait 0 -j 1 $REPO --into oci:l >lines";

/// The old image and a newer one, which share their first layer.
fn images() -> [Image; 2] {
    let [old, new] = ["old", "new"].map(|text| {
        Image::new(&[&[file("base", noise(50_000, 1))], &[file("text", text)], &[file("x", text)]])
    });
    [old, new]
}

/// A layout in which the name 1 is the old image, and a registry in which the tag 1 is the new
/// image.
fn outdated() -> (FakeRegistry, Scratch, Image, Image) {
    let [old, new] = images();
    let registry = FakeRegistry::start();
    registry.add_image("app", "1", &old);
    let scratch = Scratch::new();
    script(PULL, &registry, &scratch).run().status(0);
    assert_named(&scratch, "1", &old);
    registry.add_image("app", "1", &new);
    (registry, scratch, old, new)
}

fn script(text: &str, registry: &FakeRegistry, scratch: &Scratch) -> Command {
    shell(text).env("REPO", registry.repo("app")).dir(scratch.path())
}

/// The digests of the entries with this name.
fn named(layout: &Path, name: &str) -> Vec<Value> {
    let entries = read_index(layout)["manifests"].as_array().unwrap().clone();
    let is_named =
        |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"] == name;
    entries.into_iter().filter(is_named).map(|entry| entry["digest"].clone()).collect()
}

/// Checks that the name belongs to this image only, and that the layout has every blob of the
/// image.
#[track_caller]
fn assert_named(scratch: &Scratch, name: &str, image: &Image) {
    let layout = scratch.join("l");
    assert_eq!(named(&layout, name), [json!(image.manifest.digest)], "{}", read_index(&layout));
    for blob in image.blobs().chain([&image.manifest]) {
        assert!(read_blob(&layout, &blob.digest).as_ref() == Some(&blob.bytes), "{}", blob.digest);
    }
}

fn waits(scratch: &Scratch) -> bool {
    scratch.join("l/ingest/names").exists()
}

#[test]
fn after_each_failure_of_an_update_the_old_image_keeps_the_name() {
    type Fault = fn(Reply) -> Reply;
    let faults: [(&str, Fault); 4] = [
        ("missing", |_| Reply::error(404, "BLOB_UNKNOWN", "blob unknown")),
        ("wrong", Reply::corrupted),
        ("network ends", |_| Reply::hang_up()),
        ("refused", |_| Reply::error(403, "DENIED", "denied")),
    ];
    for (what, fault) in faults {
        let (registry, scratch, old, new) = outdated();
        let before = fs::read(scratch.join("l/index.json")).unwrap();
        for blob in [&new.config, &new.layers[1], &new.layers[2]] {
            let path = format!("/blobs/{}", blob.digest);
            registry.fault(
                move |request, right| {
                    if request.path.ends_with(&path) { fault(right) } else { right }
                },
            );
            let run = script(PULL, &registry, &scratch).run();
            assert_ne!(run.code(), Some(0), "{what}: {run}");
            assert!(fs::read(scratch.join("l/index.json")).unwrap() == before, "{what}");
            assert_named(&scratch, "1", &old);
        }
        registry.heal();
        script(PULL, &registry, &scratch).run().ok();
        assert_named(&scratch, "1", &new);
        assert!(!waits(&scratch));
    }
}

#[test]
fn a_new_name_appears_when_its_image_is_whole() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "1", &image);
    let scratch = Scratch::new();
    let fetch = |args: &[&str]| tool("fetch-manifest").args(args).dir(scratch.path()).run();
    let blobs = |lines: String| {
        let run = tool("fetch-blob").args([&registry.repo("app"), "--into", "oci:l"]);
        run.dir(scratch.path()).stdin(lines).run()
    };
    fetch(&[&format!("{}:1", registry.repo("app")), "--into", "oci:l"]).ok();
    let hint = "the name is set when all blobs of the image are stored";
    fetch(&["oci:l:1"]).fails(3, "no entry named \"1\"").says(hint);
    fetch(&["oci:l"]).fails(3, "no entry").says(hint);
    let (last, first) = image.layers.split_last().unwrap();
    let lines = [&image.config].into_iter().chain(first).map(Blob::line).collect::<String>();
    // The config shows that the lines belong to this image. Without it there would be no warning.
    blobs(lines).status(0).says(&format!("the name \"1\" is not set yet: no blob {}", last.digest));
    assert_eq!(named(&scratch.join("l"), "1"), Vec::<Value>::new());
    blobs(last.line()).ok();
    assert_named(&scratch, "1", &image);
    fetch(&["oci:l:1"]).ok().stdout(&image.manifest.bytes);
    assert!(!waits(&scratch));
}

#[test]
fn an_image_without_a_name_gets_its_entry_when_it_is_whole() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "1", &image);
    let scratch = Scratch::new();
    let digest = &image.manifest.digest;
    let pull = PULL.replace("$REPO:1", &format!("$REPO@{digest}"));
    registry.remove_blob("app", &image.layers[1].digest);
    script(&pull, &registry, &scratch).run().status(3);
    assert_eq!(read_index(&scratch.join("l"))["manifests"], json!([]));
    registry.add_image("app", "1", &image);
    for _ in 0..2 {
        script(&pull, &registry, &scratch).run().ok();
        let entries = read_index(&scratch.join("l"))["manifests"].clone();
        assert_eq!(entries, json!([image.manifest.descriptor()]));
        assert!(!waits(&scratch));
    }
}

#[test]
fn an_index_is_named_when_all_its_images_are_whole() {
    let registry = FakeRegistry::start();
    let [amd64, arm64] = ["amd64", "arm64"].map(|arch| Image::for_platform("linux", arch));
    for image in [&amd64, &arm64] {
        registry.add_image("app", "", image);
    }
    let children = [(&amd64.manifest, "linux/amd64"), (&arm64.manifest, "linux/arm64")];
    let top = index(types::INDEX, &[(&index(types::INDEX, &children), "")]);
    let inner = index(types::INDEX, &children);
    registry.add_manifest("app", "", &inner);
    registry.add_manifest("app", "1", &top);
    let scratch = Scratch::new();
    // Without --recursive only the manifests of the index are stored.
    let run = script(PULL, &registry, &scratch).run();
    run.status(0).says("the name \"1\" is not set yet");
    assert_eq!(named(&scratch.join("l"), "1"), Vec::<Value>::new());
    let whole = PULL.replace("list-blobs", "list-blobs --recursive --from $REPO");
    script(&whole, &registry, &scratch).run().ok();
    assert_eq!(named(&scratch.join("l"), "1"), [json!(top.digest)]);
    for image in [amd64, arm64] {
        assert!(image.blobs().all(|b| read_blob(&scratch.join("l"), &b.digest).is_some()));
    }
}

/// Two updates of one name at once: the manifest that was fetched last gets the name, whichever is
/// complete first.
#[test]
fn of_two_updates_at_once_the_later_manifest_gets_the_name() {
    for first_to_end in [0, 1] {
        let (registry, scratch, _, one) = outdated();
        let two = Image::new(&[&[file("two", "2")]]);
        registry.add_image("app", "2", &two);
        let repo = registry.repo("app");
        for tag in ["1", "2"] {
            let from = format!("{repo}:{tag}");
            let fetch = tool("fetch-manifest").args(["-q", &from, "--into", "oci:l:1"]);
            fetch.dir(scratch.path()).run().ok();
        }
        let order = if first_to_end == 0 { [&one, &two] } else { [&two, &one] };
        for image in order {
            let fetch = tool("fetch-blob").args([&repo, "--into", "oci:l"]).stdin(image.lines());
            fetch.dir(scratch.path()).run().ok();
            // The image of the earlier manifest, if it is complete last, does not get the name
            // back.
            let want = if image.manifest.digest == one.manifest.digest && first_to_end == 0 {
                &one
            } else {
                &two
            };
            assert_named(&scratch, "1", want);
        }
        assert!(!waits(&scratch));
    }
}

#[test]
fn pipelines_at_the_same_time_in_one_layout_each_name_their_image() {
    let registry = FakeRegistry::start();
    let image = |n: u8| Image::new(&[&[file("base", noise(50_000, 1))], &[file("n", [n; 9])]]);
    for n in 0..4 {
        registry.add_image("app", &n.to_string(), &image(n));
    }
    let scratch = Scratch::new();
    let all = format!("for n in 0 1 2 3; do {} & done; wait", PULL.replace(":1", ":$n"));
    script(&all.replace(">lines", ">$n.lines"), &registry, &scratch).run().ok();
    for n in 0..4 {
        assert_named(&scratch, &n.to_string(), &image(n));
    }
    assert!(!waits(&scratch));
}

/// If another command changes the name after an update began, the update no longer changes it.
#[test]
fn an_interrupted_update_does_not_undo_a_later_change() {
    for by_us in [true, false] {
        let (registry, scratch, _, new) = outdated();
        let lost = new.layers[1].digest.clone();
        registry.remove_blob("app", &lost);
        script(PULL, &registry, &scratch).run().status(3);
        assert!(waits(&scratch));
        let other = Image::new(&[&[file("other", "o")]]);
        if by_us {
            write_image(&scratch.join("l"), "other", &other);
            let put = tool("put-manifest").arg("oci:l:1").stdin(other.manifest.bytes.clone());
            put.dir(scratch.path()).run().status(0);
        } else {
            let path = scratch.join("l/index.json");
            fs::remove_file(&path).unwrap();
            write_image(&scratch.join("l"), "1", &other);
        }
        registry.add_image("app", "1", &new);
        let fetch = tool("fetch-blob").args([&registry.repo("app"), "--into", "oci:l"]);
        fetch.stdin(new.lines()).dir(scratch.path()).run().ok();
        assert_named(&scratch, "1", &other);
        assert!(!waits(&scratch));
    }
}

#[test]
fn a_rollback_ends_a_waiting_update() {
    let (registry, scratch, old, new) = outdated();
    let lost = new.layers[1].digest.clone();
    registry.remove_blob("app", &lost);
    script(PULL, &registry, &scratch).run().status(3);
    let put = tool("put-manifest").arg("oci:l:1").stdin(old.manifest.bytes.clone());
    put.dir(scratch.path()).run().status(0);
    assert!(!waits(&scratch));
    registry.add_image("app", "1", &new);
    let fetch = tool("fetch-blob").args([&registry.repo("app"), "--into", "oci:l"]);
    fetch.stdin(new.lines()).dir(scratch.path()).run().ok();
    assert_named(&scratch, "1", &old);
}

#[test]
fn push_blob_completes_an_image_too() {
    let scratch = Scratch::new();
    let image = Image::small();
    write_image(&scratch.join("from"), "1", &image);
    let copy = "fetch-manifest oci:from:1 --into oci:l | list-blobs |
        push-blob oci:l --from oci:from >lines";
    shell(copy).dir(scratch.path()).run().ok();
    assert_named(&scratch, "1", &image);
}

#[test]
fn the_same_image_again_changes_no_file() {
    let (registry, scratch, _, new) = outdated();
    script(PULL, &registry, &scratch).run().ok();
    let tag_other = PULL.replace("--into oci:l |", "--into oci:l:2 |");
    script(&tag_other, &registry, &scratch).run().ok();
    let manifest = format!("l/blobs/{}", new.manifest.digest.replace(':', "/"));
    let inodes = || {
        ["l/index.json", "l/distribution-sources", &manifest]
            .map(|name| fs::metadata(scratch.join(name)).unwrap().ino())
    };
    let before = inodes();
    // The entry of name 1 is not the last one of the layout.
    script(PULL, &registry, &scratch).run().ok();
    assert_eq!(inodes(), before);
}

#[test]
fn a_damaged_file_of_waiting_names_is_replaced() {
    let (registry, scratch, old, new) = outdated();
    let huge = vec![b' '; (4 << 20) + 1];
    let texts: [&[u8]; 6] =
        [b"", b"{", b"{}", br#"[1,{},{"descriptor":1,"name":2,"replaces":3}]"#, b"\xff", &huge];
    for text in texts {
        fs::write(scratch.join("l/ingest/names"), text).unwrap();
        let fetch = tool("fetch-blob").args([&registry.repo("app"), "--into", "oci:l"]);
        fetch.stdin(old.lines()).dir(scratch.path()).run().ok();
        assert_named(&scratch, "1", &old);
    }
    script(PULL, &registry, &scratch).run().ok();
    assert_named(&scratch, "1", &new);
    assert!(fs::read_dir(scratch.join("l/ingest")).unwrap().count() <= 1);
}

/// The number of names that wait for their images is limited: the oldest are dropped.
#[test]
fn of_more_than_1000_waiting_names_the_oldest_are_dropped() {
    let (registry, scratch, old, new) = outdated();
    let lines: Vec<Value> = (0..1000)
        .map(|i| json!({"descriptor": new.manifest.descriptor(), "name": format!("n{i}"), "replaces": []}))
        .collect();
    fs::write(scratch.join("l/ingest/names"), json!(lines).to_string()).unwrap();
    let fetch = tool("fetch-manifest").arg(format!("{}:1", registry.repo("app")));
    fetch.args(["--into", "oci:l:n1000"]).dir(scratch.path()).run().ok();
    let waiting: Value =
        serde_json::from_slice(&fs::read(scratch.join("l/ingest/names")).unwrap()).unwrap();
    let names: Vec<_> = waiting.as_array().unwrap().iter().map(|w| w["name"].clone()).collect();
    assert_eq!(names.len(), 1000);
    assert_eq!((&names[0], &names[999]), (&json!("n1"), &json!("n1000")));
    assert_named(&scratch, "1", &old);
}

/// An `index.json` that is too large to be read again would make every image of the layout
/// unusable.
#[test]
fn an_entry_that_makes_the_index_too_large_is_refused() {
    let (registry, scratch, ..) = outdated();
    let index = read_index(&scratch.join("l"));
    let mut of_bytes = index.clone();
    of_bytes["filler"] = json!("x".repeat((4 << 20) - index.to_string().len() - 50));
    let mut of_values = index;
    of_values["filler"] = json!(vec![0; 99_985]);
    for index in [of_bytes, of_values] {
        let path = scratch.join("l/index.json");
        fs::write(&path, index.to_string()).unwrap();
        script(PULL, &registry, &scratch).run();
        tool("fetch-manifest").arg("oci:l:1").dir(scratch.path()).run().ok();
        let before = fs::read(&path).unwrap();
        let put = tool("fetch-manifest").arg(format!("{}:1", registry.repo("app")));
        let put = put.args(["--into", "oci:l:2"]).dir(scratch.path()).run();
        put.fails(7, "too many entries").stdout("");
        assert!(fs::read(&path).unwrap() == before);
        tool("fetch-manifest").arg("oci:l:1").dir(scratch.path()).run().ok();
    }
}

mod with_peers {
    use super::*;
    use tests::peers::{must, peer};
    use tests::tools::Signal;

    /// The system calls that change a file or its name.
    const CHANGES: [&str; 8] =
        ["write", "linkat", "rename", "unlink", "mkdir", "flock", "fdatasync", "openat"];

    /// Runs a command under strace and kills it at its nth such call. `None` if it ended before.
    fn killed(command: Command, call: &str, nth: u32) -> Option<Run> {
        let inject = format!("inject={call}:signal=KILL:when={nth}");
        let run = command.under(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject]).run();
        (run.code() != Some(0)).then_some(run)
    }

    /// Kills one of the two tools that store an image at each step of an update. Returns whether
    /// the name had moved.
    fn killed_at_each_step(is_last: bool) -> Vec<bool> {
        let mut states = Vec::new();
        for call in CHANGES {
            let mut nth = 1;
            loop {
                let (registry, scratch, old, new) = outdated();
                let repo = registry.repo("app");
                let manifest = || {
                    let tool = tool("fetch-manifest").arg(format!("{repo}:1"));
                    tool.args(["-q", "--into", "oci:l"]).dir(scratch.path())
                };
                let blobs = || {
                    let tool = tool("fetch-blob").args(["-j", "1", &repo, "--into", "oci:l"]);
                    tool.stdin(new.lines()).dir(scratch.path())
                };
                if is_last {
                    manifest().run().ok();
                }
                let command = if is_last { blobs() } else { manifest() };
                let Some(run) = killed(command, call, nth) else { break };
                run.ended_by(Signal::KILL);
                // The name belongs to the old or to the new image, and that image is complete.
                let layout = scratch.join("l");
                let is_new = named(&layout, "1") == [json!(new.manifest.digest)];
                assert_named(&scratch, "1", if is_new { &new } else { &old });
                states.push(is_new);
                let shown = format!("oci:{}:1", layout.display());
                must(peer("skopeo").args(["inspect", "--raw", &shown]));
                // Repeating the two commands completes the update and leaves no state.
                manifest().run().ok();
                blobs().run().ok();
                assert_named(&scratch, "1", &new);
                assert!(!waits(&scratch), "{call} {nth}");
                // Most files are opened before the first change, so not every openat is tested.
                nth += if call == "openat" { 1 + nth / 4 } else { 1 };
            }
        }
        states
    }

    #[test]
    fn after_kill_9_at_each_step_the_old_image_keeps_the_name_until_the_new_is_whole() {
        let states = killed_at_each_step(false);
        assert!(states.len() > 10 && !states.contains(&true), "{states:?}");
        let states = killed_at_each_step(true);
        assert!(states.len() > 20, "{states:?}");
        assert!(states.contains(&true) && states.contains(&false), "{states:?}");
    }

    /// A disk that is full at the moment when the name moves: the old image keeps the name.
    #[test]
    fn if_the_name_cannot_be_written_the_old_image_keeps_it() {
        for call in ["rename", "linkat", "fdatasync", "flock", "unlink"] {
            for nth in 1..30 {
                let (registry, scratch, old, new) = outdated();
                let repo = registry.repo("app");
                let from = format!("{repo}:1");
                tool("fetch-manifest")
                    .args(["-q", &from, "--into", "oci:l"])
                    .dir(scratch.path())
                    .run()
                    .ok();
                let inject = format!("inject={call}:error=ENOSPC:when={nth}");
                let command = tool("fetch-blob").args(["-j", "1", &repo, "--into", "oci:l"]);
                let command = command.stdin(new.lines()).dir(scratch.path());
                let run =
                    command.under(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject]).run();
                let is_new = named(&scratch.join("l"), "1") == [json!(new.manifest.digest)];
                assert_named(&scratch, "1", if is_new { &new } else { &old });
                assert!(is_new || run.code() == Some(7), "{call} {nth}: {run}");
                if run.code() == Some(0) && run.stderr.is_empty() {
                    break;
                }
            }
        }
    }
}
