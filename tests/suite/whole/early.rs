// SPDX-License-Identifier: Apache-2.0
//! An image is unpacked while its layers arrive: the pipeline with `fetch-blob --early`, with
//! faults of the registry and of the processes.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use tests::eventually;
use tests::fake::{End, Reply, Server};
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, dir, file, noise, read_blob, write_image};
use tests::scratch::Scratch;
use tests::tools::{Command, shell};

const PIPELINE: &str = "\
    fetch-manifest --plain-http \"$REPO:1\" --into oci:layout | list-blobs | \
    fetch-blob --plain-http --max-wait 0 --early \"$REPO\" --into oci:layout | \
    unpack-layer --from oci:layout root";

/// A size for which `--early` prints a line before the blob is complete. For smaller blobs it does
/// not.
const LARGE: usize = 3 << 20;

fn image() -> Image {
    Image::new(&[
        &[dir("etc/"), file("etc/first", "first"), file("etc/noise", noise(LARGE, 1))],
        &[file("second", "second"), file("noise", noise(LARGE, 2))],
    ])
}

fn registry_with(image: &Image) -> FakeRegistry {
    let registry = FakeRegistry::start();
    registry.add_image("app", "1", image);
    registry
}

fn pipeline(repo: &str, scratch: &Scratch) -> Command {
    shell(PIPELINE).env("REPO", repo).dir(scratch.path())
}

fn is_unpacked(scratch: &Scratch) -> bool {
    let read = |name: &str| std::fs::read(scratch.join("root").join(name)).unwrap_or_default();
    let whole = [("etc/first", b"first".to_vec()), ("etc/noise", noise(LARGE, 1))];
    let more = [("second", b"second".to_vec()), ("noise", noise(LARGE, 2))];
    whole.into_iter().chain(more).all(|(name, want)| read(name) == want)
}

fn no_tree(scratch: &Scratch) {
    let names = scratch.list();
    assert!(!names.iter().any(|name| name.contains("root")), "{names:?}");
}

#[test]
fn a_layer_is_unpacked_before_its_last_byte_is_sent() {
    let image = image();
    let registry = registry_with(&image);
    let stalled = image.layers[0].clone();
    let digest = stalled.digest.clone();
    registry.fault(
        move |request, right| {
            if request.path.ends_with(&digest) { right.stall(2 << 20) } else { right }
        },
    );
    let scratch = Scratch::new();
    let running = pipeline(&registry.repo("app"), &scratch).start();
    let first = scratch.join(".root.unpacking/etc/first");
    eventually("the first file", || first.exists().then_some(()));
    assert!(read_blob(&scratch.join("layout"), &stalled.digest).is_none());
    assert!(!scratch.join("root").exists());
    registry.server.release();
    let run = running.wait();
    run.ok();
    assert!(is_unpacked(&scratch) && !String::from_utf8_lossy(&run.stdout).contains("early"));
    assert!(image.blobs().all(|blob| read_blob(&scratch.join("layout"), &blob.digest).is_some()));
}

#[test]
fn broken_connections_are_resumed_under_the_reader() {
    let image = image();
    let registry = registry_with(&image);
    registry.fault(|request, right| {
        if request.is_blob() && request.earlier < 3 {
            right.cut(700_001, End::Reset)
        } else {
            right
        }
    });
    let scratch = Scratch::new();
    pipeline(&registry.repo("app"), &scratch).run().ok();
    assert!(is_unpacked(&scratch));
}

/// The registry sends all bytes again. fetch-blob skips the bytes that it has.
#[test]
fn a_registry_without_ranges_is_no_restart_for_the_reader() {
    let image = image();
    let registry = registry_with(&image);
    let layers = image.layers.clone();
    registry.fault(move |request, right| {
        let Some(layer) = layers.iter().find(|layer| request.path.ends_with(&layer.digest)) else {
            return right;
        };
        let all = Reply::ok(&layer.bytes);
        if request.earlier == 0 { all.cut(2 << 20, End::Fin) } else { all }
    });
    let scratch = Scratch::new();
    pipeline(&registry.repo("app"), &scratch).run().ok();
    assert!(is_unpacked(&scratch));
}

#[test]
fn a_download_that_fails_gives_status_5_and_the_same_line_continues() {
    let image = image();
    let registry = registry_with(&image);
    let digest = image.layers[1].digest.clone();
    let scratch = Scratch::new();
    let second = scratch.join(".root.unpacking/second");
    registry.fault(move |request, right| match request.earlier {
        _ if !request.path.ends_with(&digest) => right,
        0 => right.cut(2 << 20, End::Fin),
        _ => {
            // Waits until unpack-layer has received the early line.
            eventually("the first file of the layer", || second.exists().then_some(()));
            Reply::new(503)
        }
    });
    let run = pipeline(&registry.repo("app"), &scratch).run();
    run.status(5)
        .says("unpack-layer: layer oci:layout: sha256:")
        .says("fetch-blob ended after 2097152 of");
    no_tree(&scratch);
    registry.heal();
    registry.server.forget();
    pipeline(&registry.repo("app"), &scratch).run().ok();
    assert!(is_unpacked(&scratch));
    let requests = registry.blob_requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].range().map(|range| range.start), Some(2 << 20));
}

#[test]
fn a_killed_fetch_blob_gives_status_5_and_the_same_line_continues() {
    let image = image();
    let registry = registry_with(&image);
    let digest = image.layers[0].digest.clone();
    registry.fault(
        move |request, right| {
            if request.path.ends_with(&digest) { right.stall(2 << 20) } else { right }
        },
    );
    let scratch = Scratch::new();
    // The shell writes its process ID, and fetch-blob replaces the shell.
    let script = PIPELINE.replace("fetch-blob", "sh -c 'echo $$ >pid; exec fetch-blob \"$@\"' -");
    let running = shell(&script).env("REPO", registry.repo("app")).dir(scratch.path()).start();
    let first = scratch.join(".root.unpacking/etc/first");
    eventually("the first file", || first.exists().then_some(()));
    let pid = std::fs::read_to_string(scratch.join("pid")).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    running.wait().status(5).says("fetch-blob ended after");
    no_tree(&scratch);
    registry.heal();
    registry.server.release();
    pipeline(&registry.repo("app"), &scratch).run().ok();
    assert!(is_unpacked(&scratch));
}

/// All responses of the registry have the wrong byte, so fetch-blob does not fetch the bytes again.
#[test]
fn a_wrong_byte_gives_status_1_and_no_tree() {
    let image = image();
    let registry = registry_with(&image);
    let digest = image.layers[1].digest.clone();
    let scratch = Scratch::new();
    let first = scratch.join(".root.unpacking/etc/first");
    registry.fault(move |request, right| {
        if !request.path.ends_with(&digest) {
            return right;
        }
        // Waits until unpack-layer has received the line of the config. Without it, unpack-layer
        // would fail because it has no input.
        eventually("the first file", || first.exists().then_some(()));
        right.corrupted()
    });
    let run = pipeline(&registry.repo("app"), &scratch).run();
    run.status(1).says("digest differs");
    no_tree(&scratch);
    assert!(read_blob(&scratch.join("layout"), &image.layers[1].digest).is_none());
    registry.heal();
    pipeline(&registry.repo("app"), &scratch).run().ok();
    assert!(is_unpacked(&scratch));
}

/// The bytes came from two responses and are wrong, so fetch-blob fetches them again. unpack-layer
/// has used the wrong ones.
#[test]
fn a_blob_that_is_fetched_again_gives_status_5_or_the_right_tree() {
    let image = image();
    let registry = registry_with(&image);
    let digest = image.layers[1].digest.clone();
    registry.fault(move |request, right| match request.earlier {
        _ if !request.path.ends_with(&digest) => right,
        0 => right.cut(2 << 20, End::Fin),
        1 => right.corrupted(),
        _ => right,
    });
    let scratch = Scratch::new();
    let run = pipeline(&registry.repo("app"), &scratch).run();
    if run.code() == Some(0) {
        // unpack-layer read the line only after the blob was fetched again.
        assert!(is_unpacked(&scratch), "{run}");
        return;
    }
    run.status(5).says("fetch-blob discarded wrong bytes");
    no_tree(&scratch);
    pipeline(&registry.repo("app"), &scratch).run().ok();
    assert!(is_unpacked(&scratch));
}

#[test]
fn a_registry_fault_at_any_blob_fails_the_pipeline() {
    let image = image();
    for blob in image.blobs() {
        let faults: [fn(Reply) -> Reply; 4] = [
            |_| Reply::new(404),
            |_| Reply::new(500),
            Reply::corrupted,
            |right| right.cut(1_500_000, End::Reset),
        ];
        for (i, fault) in faults.into_iter().enumerate() {
            let registry = registry_with(&image);
            let digest = blob.digest.clone();
            registry.fault(move |request, right| match request.earlier {
                _ if !request.path.ends_with(&digest) => right,
                0 => fault(right),
                _ if i == 3 => Reply::new(500),
                _ => fault(right),
            });
            let scratch = Scratch::new();
            let run = pipeline(&registry.repo("app"), &scratch).run();
            if i == 3 && blob.bytes.len() < 1_500_000 {
                run.ok();
                continue;
            }
            assert!(run.code().is_some_and(|code| code != 0), "{run}");
            no_tree(&scratch);
        }
    }
}

/// Lines are lost between the programs, or the first program fails.
#[test]
fn a_failing_program_makes_the_last_program_fail() {
    let image = image();
    let registry = registry_with(&image);
    let cuts = [
        ("| list-blobs |", "| false |"),
        ("| list-blobs |", "| list-blobs | sed '$d' |"),
        ("--into oci:layout | unpack-layer", "--into oci:layout | sed '$d' | unpack-layer"),
        ("--into oci:layout | unpack-layer", "--into oci:layout | head -c 100 | unpack-layer"),
    ];
    for (from, to) in cuts {
        let script = PIPELINE.replace(from, to);
        assert_ne!(script, PIPELINE);
        let scratch = Scratch::new();
        let run = shell(&script).env("REPO", registry.repo("app")).dir(scratch.path()).run();
        assert!(run.code().is_some_and(|code| code != 0), "{run}");
        no_tree(&scratch);
    }
}

/// The layout is on another file system than the directory that unpack-layer makes.
#[test]
fn the_layout_may_be_on_another_file_system() {
    let image = image();
    let registry = registry_with(&image);
    let elsewhere = Scratch::new_in(std::path::Path::new("/dev/shm"));
    let scratch = Scratch::new();
    let layout = elsewhere.join("layout").display().to_string();
    let script = PIPELINE.replace("oci:layout", "oci:\"$LAYOUT\"");
    let run = shell(&script).env("REPO", registry.repo("app")).env("LAYOUT", layout);
    run.dir(scratch.path()).run().ok();
    assert!(is_unpacked(&scratch));
}

#[test]
fn a_damaged_blob_of_the_layout_is_replaced_while_it_is_unpacked() {
    let image = image();
    let registry = registry_with(&image);
    let scratch = Scratch::new();
    write_image(&scratch.join("layout"), "old", &image);
    let layer = scratch.join("layout/blobs").join(image.layers[0].digest.replace(':', "/"));
    std::fs::write(&layer, &image.layers[0].bytes[1..]).unwrap();
    let run = pipeline(&registry.repo("app"), &scratch).run();
    run.status(0).says("fetched again");
    assert!(is_unpacked(&scratch));
}

/// The registry lacks a layer. Only the URL in the layer's descriptor leads to it.
#[test]
fn a_non_distributable_layer_is_unpacked_while_it_arrives() {
    let mut image = image();
    let bytes: Arc<[u8]> = image.layers[0].bytes.clone().into();
    let elsewhere =
        Server::start(move |request| Reply::ranged(request, Arc::clone(&bytes)).stall(2 << 20));
    let mut manifest = image.manifest_json();
    manifest["layers"][0]["mediaType"] =
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
    manifest["layers"][0]["urls"] = serde_json::json!([elsewhere.url()]);
    image = image.with_manifest(&manifest);
    let registry = registry_with(&image);
    registry.remove_blob("app", &image.layers[0].digest);
    let scratch = Scratch::new();
    let running = pipeline(&registry.repo("app"), &scratch).start();
    let first = scratch.join(".root.unpacking/etc/first");
    eventually("the first file", || first.exists().then_some(()));
    elsewhere.release();
    running.wait().status(0);
    assert!(is_unpacked(&scratch));
}

mod with_peers {
    use super::*;
    use tests::registry::Registry;

    #[test]
    fn an_image_of_a_real_registry_is_unpacked_while_it_arrives() {
        let image = image();
        let registry = Registry::start();
        registry.put_image("app", "1", &image);
        let scratch = Scratch::new();
        for _ in 0..2 {
            pipeline(&registry.repo("app"), &scratch).run().ok();
            assert!(is_unpacked(&scratch));
            // The second run reads everything from the layout.
            std::fs::remove_dir_all(scratch.join("root")).unwrap();
        }
    }
}
