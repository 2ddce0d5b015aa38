// SPDX-License-Identifier: Apache-2.0
//! Messages about the content of a file name the file, and messages about standard input name
//! standard input.

use tests::images::{Blob, Image, file, tar, types};
use tests::scratch::Scratch;
use tests::tools::{Command, tool};

/// Runs the command with the bytes in `doc`, and again with the bytes on standard input, and checks
/// the message.
#[track_caller]
fn names(command: &dyn Fn(&Scratch) -> Command, bytes: &[u8], status: i32, why: &str) {
    let dir = Scratch::new();
    dir.write("doc", bytes);
    let of_file = command(&dir).arg("doc").run();
    of_file.fails(status, &format!(": doc: {why}")).stdout("");
    let of_stdin = command(&dir).stdin(bytes.to_vec()).run();
    of_stdin.fails(status, &format!(": standard input: {why}")).stdout("");
}

#[test]
fn put_manifest_names_the_file_that_is_not_a_manifest() {
    let put = |dir: &Scratch| tool("put-manifest").arg("oci:x:1").dir(dir.path());
    let unknown = br#"{"schemaVersion":2,"mediaType":"application/x","layers":[]}"#;
    let config = br#"{"schemaVersion":2,"config":{"digest":"sha256:12"}}"#;
    for (bytes, why) in [
        (&b"{}"[..], "media-type: cannot determine\n"),
        (b"no JSON", "not valid JSON: "),
        (unknown, "unsupported manifest format \"application/x\"\n"),
        (config, "config: no mediaType\n"),
    ] {
        names(&put, bytes, 6, why);
    }
    let line = Image::small().manifest.line();
    names(&put, line.as_bytes(), 2, "got a descriptor line, want a manifest\n");
}

#[test]
fn put_manifest_names_the_file_with_another_digest() {
    let image = Image::small().manifest;
    let put = |dir: &Scratch| {
        let zeros = "0".repeat(64);
        tool("put-manifest").arg(format!("oci:x@sha256:{zeros}")).dir(dir.path())
    };
    names(&put, &image.bytes, 1, &format!("digest differs: got {}, want ", image.digest));
}

#[test]
fn push_blob_names_the_file_that_it_does_not_push() {
    let push = |dir: &Scratch| tool("push-blob").arg("oci:x").dir(dir.path());
    let compress = |dir: &Scratch| push(dir).args(["--compress", "gzip"]);
    let line = Image::small().manifest.line();
    names(&push, line.as_bytes(), 2, "got descriptor lines, want the bytes of a blob\n");
    names(&compress, b"\x1f\x8b\x08", 6, "--compress: the bytes are compressed already\n");
    names(&compress, b"no archive", 6, "--compress: not a tar archive\n");
    let whole = tar(&[file("a", "x")]);
    names(&compress, &whole[..whole.len() - 1024], 6, "--compress: ");
}

#[test]
fn push_blob_names_the_layer_that_is_not_an_archive() {
    let dir = Scratch::new();
    let layer = Blob::new(types::TAR, "no archive");
    dir.write("doc", &layer.bytes);
    tool("push-blob").args(["oci:from", "doc"]).dir(dir.path()).run().ok();
    let run = tool("push-blob").args(["oci:x", "--from", "oci:from", "--compress", "gzip"]);
    let run = run.stdin(layer.line()).dir(dir.path()).run();
    run.fails(6, &format!(": {}: --compress: not a tar archive\n", layer.digest)).stdout("");
}
