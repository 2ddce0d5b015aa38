// SPDX-License-Identifier: Apache-2.0
//! A file under a blob's name in a layout may be wrong: truncated, changed, or not a regular file.
//! The tools never use such a file as the blob.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use tests::commands::{fetch_blob, push_blob};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, index, read_blob, types, write_image, write_layout};
use tests::scratch::Scratch;
use tests::tools::{Command, tool};
use tests::trees::make_node;

/// The path of a blob in a layout.
fn path_of(layout: &Path, blob: &Blob) -> PathBuf {
    layout.join("blobs").join(blob.digest.replace(':', "/"))
}

/// The bytes of a blob with one byte changed.
fn changed(blob: &Blob) -> Vec<u8> {
    let mut bytes = blob.bytes.clone();
    bytes[blob.bytes.len() / 2] ^= 1;
    bytes
}

/// Makes a wrong file. The arguments are its path and the right blob.
type Spoil = fn(&Path, &Blob);

/// Wrong files whose size differs from the blob's, or that are not regular files.
const WRONG: [(&str, Spoil); 7] = [
    ("cut", |path, blob| std::fs::write(path, &blob.bytes[..blob.bytes.len() / 2]).unwrap()),
    ("too long", |path, blob| std::fs::write(path, [&blob.bytes[..], b"x"].concat()).unwrap()),
    ("a symbolic link to bytes of the same size", |path, blob| link(path, &changed(blob))),
    ("a symbolic link to the right bytes", |path, blob| link(path, &blob.bytes)),
    ("a dangling symbolic link", |path, _| symlink("nowhere", path).unwrap()),
    ("a socket", |path, _| make_node(path, FileType::Socket, (0, 0))),
    ("a fifo", |path, _| make_node(path, FileType::Fifo, (0, 0))),
];

/// A wrong file of the blob's size. Only a hash shows that it is wrong.
const SAME_SIZE: (&str, Spoil) =
    ("changed", |path, blob| std::fs::write(path, changed(blob)).unwrap());

fn link(path: &Path, bytes: &[u8]) {
    let target = path.with_extension("elsewhere");
    std::fs::write(&target, bytes).unwrap();
    symlink(target, path).unwrap();
}

/// A layout `l` with an image whose layer is wrong.
fn spoiled(image: &Image, spoil: Spoil) -> (Scratch, PathBuf) {
    let scratch = Scratch::new();
    write_image(&scratch.join("l"), "1", image);
    let path = path_of(&scratch.join("l"), &image.layers[0]);
    std::fs::remove_file(&path).unwrap();
    spoil(&path, &image.layers[0]);
    (scratch, path)
}

/// Whether the path is a regular file with the bytes of the blob.
fn is_right(path: &Path, blob: &Blob) -> bool {
    path.symlink_metadata().unwrap().is_file() && std::fs::read(path).unwrap() == blob.bytes
}

#[test]
fn fetch_blob_fetches_a_wrong_blob_again_by_its_line() {
    let (registry, image) = (FakeRegistry::start(), Image::small());
    registry.add_image("app", "1", &image);
    for (name, spoil) in WRONG {
        let (scratch, path) = spoiled(&image, spoil);
        registry.server.forget();
        let fetch = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]);
        let run = fetch.stdin(image.layers[0].line()).dir(scratch.path()).run();
        run.status(0).stdout(image.layers[0].line()).says("fetched again");
        assert!(is_right(&path, &image.layers[0]), "{name}");
        assert_eq!(registry.blob_requests().len(), 1, "{name}");
    }
}

#[test]
fn fetch_blob_fetches_a_wrong_blob_again_by_its_digest() {
    let (registry, image) = (FakeRegistry::start(), Image::small());
    registry.add_image("app", "1", &image);
    for (name, spoil) in WRONG.into_iter().chain([SAME_SIZE]) {
        let (scratch, path) = spoiled(&image, spoil);
        registry.server.forget();
        let digest = &image.layers[0].digest;
        let fetch = || {
            let fetch = fetch_blob().args([&registry.repo("app"), digest, "--into", "oci:l"]);
            fetch.dir(scratch.path()).run()
        };
        let want = Blob::new("application/octet-stream", &image.layers[0].bytes[..]).line();
        fetch().status(0).stdout(&want).says("fetched again");
        assert!(is_right(&path, &image.layers[0]), "{name}");
        assert_eq!(registry.blob_requests().len(), 1, "{name}");
        // The right blob is not fetched again.
        fetch().ok().stdout(&want);
        assert_eq!(registry.blob_requests().len(), 1, "{name}");
    }
}

#[test]
fn push_blob_of_a_file_replaces_a_wrong_blob() {
    let image = Image::small();
    let layer = &image.layers[0];
    for (name, spoil) in WRONG.into_iter().chain([SAME_SIZE]) {
        let (scratch, path) = spoiled(&image, spoil);
        scratch.write("file", &layer.bytes);
        let push = tool("push-blob").args(["oci:l", "file", "--media-type", &layer.media_type]);
        let run = push.dir(scratch.path()).run();
        run.status(0).stdout(layer.line()).says("replaced");
        assert!(is_right(&path, layer), "{name}");
    }
}

#[test]
fn push_blob_of_lines_replaces_a_wrong_blob() {
    let image = Image::small();
    let layer = &image.layers[0];
    for (name, spoil) in WRONG {
        let (scratch, path) = spoiled(&image, spoil);
        write_image(&scratch.join("from"), "1", &image);
        let push = tool("push-blob").args(["oci:l", "--from", "oci:from"]).stdin(layer.line());
        push.dir(scratch.path()).run().status(0).stdout(layer.line()).says("replaced");
        assert!(is_right(&path, layer), "{name}");
    }
}

#[test]
fn push_blob_replaces_a_wrong_manifest() {
    let image = Image::small();
    for (name, spoil) in WRONG.into_iter().chain([SAME_SIZE]) {
        let scratch = Scratch::new();
        for layout in ["from", "l"] {
            write_image(&scratch.join(layout), "1", &image);
        }
        let path = path_of(&scratch.join("l"), &image.manifest);
        std::fs::remove_file(&path).unwrap();
        spoil(&path, &image.manifest);
        let line = image.manifest.line();
        let push = tool("push-blob").args(["oci:l", "--from", "oci:from"]).stdin(&line[..]);
        push.dir(scratch.path()).run().status(0).stdout(&line);
        assert!(is_right(&path, &image.manifest), "{name}");
    }
}

#[test]
fn put_manifest_refuses_a_tag_on_a_wrong_blob() {
    let image = Image::small();
    for (name, spoil) in WRONG {
        let (scratch, _) = spoiled(&image, spoil);
        let put = tool("put-manifest").args(["oci:l:2"]).stdin(&image.manifest.bytes[..]);
        let run = put.dir(scratch.path()).run();
        run.status(6).stdout("").says(&image.layers[0].digest).says("invalid blob in the layout");
        let index = std::fs::read_to_string(scratch.join("l/index.json")).unwrap();
        assert!(!index.contains("\"2\""), "{name}: {index}");
    }
}

#[test]
fn pack_layer_replaces_a_wrong_blob() {
    for (name, spoil) in WRONG.into_iter().chain([SAME_SIZE]) {
        let scratch = Scratch::new();
        scratch.write("tree/file", "content");
        let pack = || {
            let pack = tool("pack-layer").args(["tree", "--into", "oci:l"]);
            pack.env("SOURCE_DATE_EPOCH", "0").dir(scratch.path()).run()
        };
        let line = pack().ok().lines().remove(0);
        let digest = line.split('"').find(|word| word.starts_with("sha256:")).unwrap().to_owned();
        let right = Blob::new("", read_blob(&scratch.join("l"), &digest).unwrap());
        let path = path_of(&scratch.join("l"), &right);
        std::fs::remove_file(&path).unwrap();
        spoil(&path, &right);
        pack().ok();
        assert!(is_right(&path, &right), "{name}");
    }
}

/// No tool that reads a layout passes on wrong bytes of the right size.
#[test]
fn no_reader_serves_changed_bytes() {
    let image = Image::small();
    let layer = &image.layers[0];
    let registry = FakeRegistry::start();
    let (scratch, _) = spoiled(&image, SAME_SIZE.1);
    let run = |command: Command, line: String| {
        command.stdin(line).dir(scratch.path()).run().fails(1, &layer.digest).stdout("");
    };
    run(fetch_blob().args(["oci:l"]), layer.line());
    run(fetch_blob().args(["oci:l", "--into", "oci:new"]), layer.line());
    run(fetch_blob().args(["oci:l", "-o", "out"]), layer.line());
    run(push_blob().args([&registry.repo("app"), "--from", "oci:l"]), layer.line());
    run(push_blob().args(["oci:new", "--from", "oci:l"]), layer.line());
    run(tool("verify-digest").args(["--from", "oci:l"]), layer.line());
    run(tool("unpack-layer").args(["root", "--from", "oci:l", "--no-config"]), layer.line());
    assert_eq!(registry.blob("app", &layer.digest), None);
    assert_eq!(read_blob(&scratch.join("new"), &layer.digest), None);
    for name in ["out", "root"] {
        assert!(!scratch.join(name).exists(), "{name}");
    }
}

#[test]
fn no_reader_serves_a_changed_manifest() {
    let image = Image::small();
    let (path, scratch) =
        (|scratch: &Scratch| path_of(&scratch.join("l"), &image.manifest), Scratch::new());
    let top = index(types::INDEX, &[(&image.manifest, "linux/amd64")]);
    write_layout(&scratch.join("l"), "1", &top, image.blobs().chain([&image.manifest]));
    std::fs::write(path(&scratch), changed(&image.manifest)).unwrap();
    let fetch = tool("fetch-manifest").args(["oci:l:1", "-p", "linux/amd64"]);
    fetch.dir(scratch.path()).run().fails(1, &image.manifest.digest).stdout("");
    let list = tool("list-blobs").args(["--recursive", "--from", "oci:l"]).stdin(&top.bytes[..]);
    list.dir(scratch.path()).run().fails(1, &image.manifest.digest).stdout("");
    std::fs::write(path_of(&scratch.join("l"), &image.config), changed(&image.config)).unwrap();
    let build = tool("build-manifest").args(["--from", "oci:l"]).stdin(image.lines());
    build.dir(scratch.path()).run().fails(1, &image.config.digest).stdout("");
}

/// A directory cannot be replaced by a file, so the blob is not even fetched.
#[test]
fn a_directory_in_the_way_is_reported_before_the_blob_is_fetched() {
    let (registry, image) = (FakeRegistry::start(), Image::small());
    registry.add_image("app", "1", &image);
    let (scratch, path) = spoiled(&image, |path, _| std::fs::create_dir(path).unwrap());
    let digest = &image.layers[0].digest;
    let fetch = fetch_blob().args([&registry.repo("app"), digest, "--into", "oci:l"]);
    fetch.dir(scratch.path()).run().fails(7, "is a directory").stdout("");
    assert_eq!(registry.blob_requests().len(), 0);
    scratch.write("file", &image.layers[0].bytes);
    let push = tool("push-blob").args(["oci:l", "file"]).dir(scratch.path()).run();
    push.fails(7, "is a directory").stdout("");
    assert!(path.is_dir());
}

/// The two small files of a layout have a size limit.
#[test]
fn a_file_of_the_layout_that_is_too_large_gives_status_6() {
    const MOST: usize = 4 << 20;
    let image = Image::small();
    for name in ["oci-layout", "index.json"] {
        let scratch = Scratch::new();
        write_image(&scratch.join("l"), "1", &image);
        let right = std::fs::read_to_string(scratch.join("l").join(name)).unwrap();
        for (size, status) in [(MOST, 0), (MOST + 1, 6)] {
            let padding = " ".repeat(size - right.len());
            scratch.write(format!("l/{name}"), [&right[..], &padding].concat());
            let tags = tool("list-tags").arg("oci:l").dir(scratch.path()).run();
            let fetch = fetch_blob().args(["oci:l", "--into", "oci:new"]);
            let fetch = fetch.stdin(image.lines()).dir(scratch.path()).run();
            if status == 0 {
                tags.ok().stdout("1\n");
                fetch.ok();
            } else {
                tags.fails(status, &format!("{name}: larger than {MOST} bytes"));
                if name == "oci-layout" {
                    fetch.fails(status, &format!("{name}: larger than {MOST} bytes"));
                }
            }
        }
    }
}

mod at_length {
    use super::*;

    /// A tool holds the lock of the layout only while it replaces a small file. If another process
    /// keeps the lock, a tool does not wait forever.
    #[test]
    fn a_lock_that_is_never_released_gives_status_5() {
        let image = Image::small();
        let scratch = Scratch::new();
        write_image(&scratch.join("l"), "1", &image);
        let held = std::fs::File::open(scratch.join("l")).unwrap();
        held.lock().unwrap();
        let put = || tool("put-manifest").arg("oci:l:2").stdin(&image.manifest.bytes[..]);
        put().dir(scratch.path()).run().fails(5, "oci:l: another process has locked the layout");
        held.unlock().unwrap();
        put().dir(scratch.path()).run().ok();
    }
}
