// SPDX-License-Identifier: Apache-2.0
//! fetch-blob and the local machine: full disks, names that exist already, resource limits, and
//! concurrent processes.

use std::os::unix::fs::symlink;

use tests::commands::fetch_blob;
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, noise, read_blob, write_image};
use tests::scratch::Scratch;
use tests::tools::shell;

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn a_full_disk_gives_status_7_and_leaves_no_final_file() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 3 << 20, 1);
    let app = registry.repo("app");
    // Without permission to mount a small disk, only the limit on the size of files below is
    // tested.
    if let Some(disk) = Scratch::small_disk(2048) {
        let into = fetch_blob().args([&app, "--into", "oci:l"]).stdin(blob.line());
        let hex = blob.digest.replace("sha256:", "");
        let says = format!("write l/blobs/sha256/{hex}: no space left");
        into.dir(disk.path()).run().fails(7, &says).stdout("");
        assert_eq!(read_blob(&disk.join("l"), &blob.digest), None);
        let file = fetch_blob().args([&app, &blob.digest, "-o", "out"]);
        file.dir(disk.path()).run().fails(7, "write out: no space left");
        assert!(!disk.join("out").exists());
        assert_eq!(registry.blob_requests().len(), 2, "a full disk is no reason to retry");
    }
    let scratch = Scratch::new();
    let script = "trap '' XFSZ; ulimit -f 2048; \
        fetch-blob --plain-http \"$APP\" \"$DIGEST\" -o out";
    let run = shell(script).env("APP", &app).env("DIGEST", &blob.digest).dir(scratch.path()).run();
    run.status(7).says("fetch-blob: ").says("too large");
    assert!(!scratch.join("out").exists());
}

#[test]
fn a_full_or_closed_stdout_gives_status_7() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", noise(1000, 1));
    let script = |redirection: &str| {
        let line = format!("fetch-blob --plain-http \"$APP\" \"$DIGEST\" {redirection}");
        shell(&line).env("APP", registry.repo("app")).env("DIGEST", &digest).run()
    };
    script(">/dev/full").status(7).says("fetch-blob: write standard output: no space left");
    script(">&-").status(7).says("standard output");
}

#[test]
fn a_directory_without_permission_gives_status_7() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", noise(1000, 1));
    let scratch = Scratch::new();
    scratch.chmod(".", 0o555);
    let args = [&registry.repo("app"), &digest];
    for target in [["-o", "out"], ["--into", "oci:l"]] {
        let run = fetch_blob().args(args).args(target).dir(scratch.path()).as_unprivileged().run();
        run.fails(7, "permission denied").stdout("");
    }
    assert_eq!(scratch.list(), nothing());
}

#[test]
fn an_output_name_may_be_a_symlink_or_a_device() {
    let registry = FakeRegistry::start();
    let bytes = noise(1000, 1);
    let digest = registry.add_blob("app", bytes.clone());
    let scratch = Scratch::new();
    let fetch = |name: &str| {
        fetch_blob().args([&registry.repo("app"), &digest, "-o", name]).dir(scratch.path()).run()
    };
    std::fs::create_dir(scratch.join("dir")).unwrap();
    fetch("dir").fails(7, "dir");
    fetch("none/out").fails(7, "none");
    // A symlink is followed.
    scratch.write("real", "");
    symlink("real", scratch.join("link")).unwrap();
    fetch("link").ok();
    assert_eq!(std::fs::read(scratch.join("real")).unwrap(), bytes);
    assert!(scratch.join("link").is_symlink());
    // A device is written directly, like stdout.
    fetch("/dev/null").ok();
    fetch("/dev/full").fails(7, "fetch-blob: write /dev/full: no space left");
    assert_eq!(scratch.list(), ["dir/", "link", "real"]);
}

#[test]
fn a_symlink_at_the_final_name_of_a_blob_is_not_followed() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "1", &image);
    let layer = &image.layers[0];
    let scratch = Scratch::new();
    write_image(&scratch.join("l"), "1", &image);
    let name = scratch.join("l/blobs").join(layer.digest.replace(':', "/"));
    std::fs::remove_file(&name).unwrap();
    scratch.write("outside", "precious");
    symlink(scratch.join("outside"), &name).unwrap();
    let run = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]).stdin(layer.line());
    run.dir(scratch.path()).run();
    assert_eq!(std::fs::read(scratch.join("outside")).unwrap(), b"precious");
}

#[test]
fn few_file_descriptors_are_enough() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "1", &image);
    let scratch = Scratch::new();
    let run = shell("ulimit -n 16; fetch-blob --plain-http \"$APP\" --into oci:l -j 1")
        .env("APP", registry.repo("app"))
        .stdin(image.lines())
        .dir(scratch.path())
        .run();
    run.ok().stdout(image.lines());
}

#[test]
fn several_processes_fetch_one_blob_into_one_layout() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 2 << 20, 1);
    let scratch = Scratch::new();
    let start = || {
        let fetch = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]);
        fetch.stdin(blob.line()).dir(scratch.path()).start()
    };
    for running in [start(), start(), start()] {
        running.wait().ok().stdout(blob.line());
    }
    assert!(read_blob(&scratch.join("l"), &blob.digest) == Some(blob.bytes));
}

#[test]
fn an_existing_file_is_kept_if_the_new_bytes_are_wrong() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", noise(1000, 1));
    registry.fault(|_, right| right.corrupted());
    let scratch = Scratch::new();
    scratch.write("out", "older");
    let run = fetch_blob().args([&registry.repo("app"), &digest, "-o", "out"]);
    run.dir(scratch.path()).run().fails(1, &digest);
    assert_eq!(std::fs::read(scratch.join("out")).unwrap(), b"older");
}

#[test]
fn a_blob_torn_by_a_power_loss_is_fetched_again() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "1", &image);
    let scratch = Scratch::new();
    write_image(&scratch.join("l"), "1", &image);
    let layer = &image.layers[0];
    std::fs::write(scratch.join("l/blobs").join(layer.digest.replace(':', "/")), "").unwrap();
    let run = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]).stdin(layer.line());
    run.dir(scratch.path()).run().status(0).stdout(layer.line());
    assert_eq!(read_blob(&scratch.join("l"), &layer.digest).as_ref(), Some(&layer.bytes));
}
