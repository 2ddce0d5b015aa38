// SPDX-License-Identifier: Apache-2.0
//! detect-mediatype: documents, layers, other bytes, and contradictory documents.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use tests::images::{Image, file, gzip, index, noise, sha256, tar, types};
use tests::schema1;
use tests::scratch::Scratch;
use tests::tools::{Command, Run, shell, tool};

fn detect() -> Command {
    tool("detect-mediatype")
}

fn detect_bytes(bytes: impl Into<Vec<u8>>) -> Run {
    detect().stdin(bytes).run()
}

/// Checks that the tool prints this media type for these bytes, and nothing else.
#[track_caller]
fn prints(bytes: impl Into<Vec<u8>>, media_type: &str) {
    detect_bytes(bytes).ok().stdout(format!("{media_type}\n"));
}

/// A zstd frame with a single uncompressed block.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).unwrap();
    assert!(size < 128 << 10);
    let mut frame = b"\x28\xb5\x2f\xfd\xa0".to_vec();
    frame.extend(size.to_le_bytes());
    frame.extend(&(size << 3 | 1).to_le_bytes()[..3]);
    frame.extend(bytes);
    frame
}

const CONFIG_OF_NOTHING: &str = r#"{"rootfs":{"type":"layers","diff_ids":[]},"config":{}}"#;

// Documents.

#[test]
fn the_media_type_field_of_manifests_and_indexes_decides() {
    let image = Image::small();
    prints(image.manifest.bytes.clone(), types::MANIFEST);
    prints(image.docker().manifest.bytes, types::DOCKER_MANIFEST);
    for media_type in [types::INDEX, types::DOCKER_LIST] {
        prints(index(media_type, &[(&image.manifest, "linux/amd64")]).bytes, media_type);
    }
    prints(r#"{"mediaType":"application/vnd.example+json"}"#, "application/vnd.example+json");
}

#[test]
fn manifests_without_a_media_type_are_recognised_by_their_fields() {
    prints(r#"{"schemaVersion":2,"config":{},"layers":[]}"#, types::MANIFEST);
    prints(r#"{"layers":null}"#, types::MANIFEST);
    prints(r#"{"schemaVersion":2,"manifests":[]}"#, types::INDEX);
    prints(" \n\t{\"manifests\":[]}\n", types::INDEX);
}

#[test]
fn an_image_config_is_recognised_by_its_diff_ids() {
    prints(Image::small().config.bytes, types::CONFIG);
    prints(CONFIG_OF_NOTHING, types::CONFIG);
}

#[test]
fn other_documents_of_a_layout_are_recognised() {
    prints(r#"{"imageLayoutVersion":"1.0.0"}"#, "application/vnd.oci.layout.header.v1+json");
    let dir = Scratch::new();
    let file = dir.write("line", Image::small().config.line());
    detect().arg(file).run().ok().stdout("application/vnd.oci.descriptor.v1+json\n");
}

#[test]
fn a_descriptor_line_instead_of_bytes_is_refused() {
    detect_bytes(Image::small().lines())
        .fails(2, "got a descriptor line, want the bytes of a blob")
        .stdout("");
}

#[test]
fn a_document_without_known_fields_cannot_be_determined() {
    for text in [
        "{}",
        "null",
        " null\n",
        r#"{"a":1}"#,
        r#"{"rootfs":{}}"#,
        r#"{"rootfs":{"diff_ids":null}}"#,
        r#"{"manifests":[],"layers":[]}"#,
        r#"{"schemaVersion":2,"rootfs":{"diff_ids":[]}}"#,
    ] {
        detect_bytes(text).fails(6, "standard input: media-type: cannot determine").stdout("");
    }
}

#[test]
fn a_document_that_contradicts_itself_is_refused_saying_why() {
    let with = |media_type: &str, field: &str| {
        let mut document = json!({"mediaType": media_type});
        document[field] = json!(null);
        detect_bytes(document.to_string())
    };
    let words = |media_type: &str, fields: &str| {
        format!("media-type: \"{media_type}\" should not have {fields}")
    };
    for media_type in [types::MANIFEST, types::DOCKER_MANIFEST] {
        for field in ["manifests", "fsLayers"] {
            let words = words(media_type, "\"manifests\" or \"fsLayers\"");
            with(media_type, field).fails(6, &words).stdout("");
        }
    }
    for media_type in [types::INDEX, types::DOCKER_LIST] {
        for field in ["config", "layers", "fsLayers"] {
            let words = words(media_type, "\"config\", \"layers\", or \"fsLayers\"");
            with(media_type, field).fails(6, &words).stdout("");
        }
    }
    let unknown = r#"{"mediaType":"application/vnd.example+json","manifests":[],"layers":[]}"#;
    detect_bytes(unknown).fails(6, "both an index's and a manifest's fields");
    let config = CONFIG_OF_NOTHING.replace("\"config\"", "\"layers\"");
    detect_bytes(config).fails(6, "both an image config's and a manifest's fields");
}

#[test]
fn a_document_that_parsers_could_read_differently_is_refused() {
    detect_bytes(r#"{"layers":[],"layers":[]}"#).fails(6, "layers");
    detect_bytes(r#"{"manifests":[],"Layers":[]}"#)
        .fails(6, "differs from \"layers\" only in case");
    detect_bytes(CONFIG_OF_NOTHING.replace('{', "{\"Layers\":1,")).fails(6, "");
    detect_bytes(b"\xef\xbb\xbf{\"manifests\":[]}".to_vec()).fails(6, "byte order mark");
    detect_bytes(b"{\"a\":\"\xff\"}".to_vec()).fails(6, "invalid UTF-8");
    detect_bytes(r#"{"manifests":[]}{"manifests":[]}"#).fails(6, "not valid JSON");
    detect_bytes(r#"{"mediaType":5}"#).fails(6, "mediaType is a number, not a string");
    detect_bytes(r#"{"mediaType":"a\nb"}"#).fails(6, "mediaType").stdout("");
}

#[test]
fn a_cut_document_is_an_error_wherever_it_is_cut() {
    let manifest = Image::small().manifest.bytes;
    for end in [1, 2, 20, manifest.len() / 2, manifest.len() - 1] {
        detect_bytes(&manifest[..end]).fails(6, "not valid JSON").stdout("");
    }
}

#[test]
fn a_document_nested_too_deeply_or_too_large_is_refused() {
    let deep = "{\"a\":".repeat(100_000);
    detect_bytes(deep).fails(6, "nested deeper than");
    let long = |len: usize| {
        let text = r#"{"manifests":[],"x":""}"#;
        text.replace("\"\"", &format!("\"{}\"", "x".repeat(len - text.len())))
    };
    prints(long(8 << 20), types::INDEX);
    detect_bytes(long((8 << 20) + 1)).fails(6, "a JSON document larger than 8388608 bytes");
}

#[test]
fn schema_1_is_refused_unless_it_is_enabled_and_its_structure_is_valid() {
    let record = json!({"id": schema1::id('a')});
    let document = schema1::document(&[&sha256(b"x")], &[record.to_string()]);
    let open = |text: String| detect().env(schema1::GATE, "1").stdin(text).run();
    for (text, media_type) in [
        (schema1::signed(&document), types::DOCKER_SCHEMA1),
        (document.to_string(), "application/vnd.docker.distribution.manifest.v1+json"),
    ] {
        let hint = "hint: DOCKER_ENABLE_DEPRECATED_PULL_SCHEMA_1_IMAGE=1 in the environment";
        detect_bytes(text.clone()).fails(6, "[DEPRECATION NOTICE]").says(hint);
        open(text).ok().stdout(format!("{media_type}\n"));
    }
    let no_layers = schema1::signed(&schema1::document(&[], &[]));
    open(no_layers).fails(6, "no FSLayers in manifest for \"standard input\"");
    let other = schema1::signed(&document).replace("\"signatures\"", "\"x\": 1, \"signatures\"");
    open(other).fails(6, "the document differs from the signed payload");
}

// Layers.

#[test]
fn layers_are_recognised_by_their_archive() {
    let archive = tar(&[file("a", "a"), file("b", noise(200_000, 1))]);
    prints(archive.clone(), types::TAR);
    prints(gzip(&archive), types::TAR_GZIP);
    prints(zstd(&archive[..2048]), "application/vnd.oci.image.layer.v1.tar+zstd");
    // The beginning of an archive is enough.
    prints(&archive[..512], types::TAR);
    prints(&gzip(&archive)[..100_000], types::TAR_GZIP);
}

#[test]
fn archives_of_every_tar_format_are_recognised() {
    let dir = Scratch::new();
    dir.write("a", "a");
    for format in ["v7", "oldgnu", "gnu", "ustar", "pax"] {
        let run = shell("tar --format=\"$F\" -c a | detect-mediatype").env("F", format);
        run.dir(dir.path()).run().ok().stdout(format!("{}\n", types::TAR));
    }
}

#[test]
fn an_archive_of_no_files_is_an_archive() {
    for len in [1024, 10240] {
        prints(vec![0; len], types::TAR);
        prints(gzip(&vec![0; len]), types::TAR_GZIP);
    }
    for len in [1, 512, 1025, 1 << 20] {
        prints(vec![0; len], "application/octet-stream");
    }
}

#[test]
fn empty_members_and_frames_before_the_archive_are_skipped() {
    let archive = tar(&[file("a", "a")]);
    prints([gzip(b""), gzip(&archive[..100]), gzip(&archive[100..])].concat(), types::TAR_GZIP);
    let skippable = b"\x53\x2a\x4d\x18\x03\0\0\0abc";
    let frames = [&skippable[..], &zstd(b""), &zstd(&archive)].concat();
    prints(frames, "application/vnd.oci.image.layer.v1.tar+zstd");
}

#[test]
fn compressed_data_without_an_archive_is_just_gzip_or_zstd() {
    prints(gzip(b"hello"), "application/gzip");
    prints(gzip(b""), "application/gzip");
    prints(gzip(&noise(100_000, 1)), "application/gzip");
    prints(zstd(b"hello"), "application/zstd");
}

#[test]
fn compressed_data_cut_before_its_content_is_known_is_an_error() {
    let layer = gzip(&tar(&[file("a", noise(10_000, 1))]));
    for end in [2, 9, 20] {
        detect_bytes(&layer[..end]).fails(6, "begins as application/gzip, but: ").stdout("");
    }
    detect_bytes(b"\x1f\x8bnonsense".to_vec()).fails(6, "begins as application/gzip");
    detect_bytes(&zstd(b"hello")[..9]).fails(6, "begins as application/zstd");
    // This frame has a window of 2 GiB.
    let huge = b"\x28\xb5\x2f\xfd\x00\xa8\x01\0\0".to_vec();
    detect_bytes(huge).fails(6, "begins as application/zstd");
}

#[test]
fn a_header_with_a_wrong_checksum_is_not_an_archive() {
    let mut archive = tar(&[file("a", "a")]);
    archive[0] ^= 1;
    prints(archive.clone(), "application/octet-stream");
    prints(gzip(&archive), "application/gzip");
}

#[test]
fn everything_else_is_an_octet_stream() {
    for bytes in [&b"x"[..], b"<html>", b"[1]", b"BZh9", b"\xfd7zXZ\0", b"\x7fELF"] {
        prints(bytes, "application/octet-stream");
    }
}

#[test]
fn only_the_beginning_of_an_endless_layer_is_read() {
    let script = "{ cat layer; cat /dev/zero; } | detect-mediatype";
    let dir = Scratch::new();
    dir.write("layer", tar(&[file("a", "a")]));
    shell(script).dir(dir.path()).run().ok().stdout(format!("{}\n", types::TAR));
}

// Files.

#[test]
fn with_several_files_each_line_begins_with_the_file_name() {
    let dir = Scratch::new();
    dir.write("a b", tar(&[file("a", "a")]));
    dir.write("new\nline", "x");
    let run = detect().args(["a b", "new\nline"]).dir(dir.path()).run();
    run.ok().stdout(format!("a b: {}\nnew\\nline: application/octet-stream\n", types::TAR));
    detect().arg("a b").dir(dir.path()).run().ok().stdout(format!("{}\n", types::TAR));
    let with_stdin = detect().args(["a b", "-"]).stdin("x").dir(dir.path()).run();
    with_stdin.ok().stdout(format!("a b: {}\n-: application/octet-stream\n", types::TAR));
}

#[test]
fn a_failing_file_does_not_stop_the_others() {
    let dir = Scratch::new();
    dir.write("a", "a");
    dir.write("empty", "");
    let run = detect().args(["a", "none", "empty", "a"]).dir(dir.path()).run();
    run.fails(3, "2 of 4 failed: none: no such file");
    run.stdout("a: application/octet-stream\n".repeat(2));
    detect().arg("empty").dir(dir.path()).run().fails(6, "empty: empty");
    detect().arg(".").dir(dir.path()).run().fails(7, "is a directory");
}

#[test]
fn an_unreadable_file_is_named_in_the_error() {
    let dir = Scratch::new();
    let file = dir.write("secret", "x");
    dir.chmod("secret", 0o600);
    let run = detect().arg(file).as_unprivileged().run();
    // If the tests do not run as root, the tool runs as the owner of the file and can read it.
    if run.code() != Some(0) {
        run.fails(7, "/secret: permission denied");
    }
}

#[test]
fn no_input_is_an_error() {
    detect_bytes("").fails(6, "no input: did the previous command fail?").stdout("");
}

#[test]
fn a_closed_or_full_stdout_is_never_success() {
    shell("detect-mediatype /bin/sh >&-").run().status(7).says("standard output: closed");
    shell("detect-mediatype /bin/sh >/dev/full").run().status(7).says("no space left on device");
}

#[test]
fn a_wrong_command_line_is_refused() {
    detect().arg("--mime").run().fails(2, "--mime").stdout("");
    detect().arg("-V").run().ok();
    assert!(!detect().arg("--help").run().ok().stdout.is_empty());
}

#[test]
fn the_media_type_of_every_blob_of_an_image_is_detected() {
    let image = Image::small();
    assert_eq!(image.config.digest, sha256(&image.config.bytes));
    for blob in image.blobs().chain([&image.manifest]) {
        prints(blob.bytes.clone(), &blob.media_type);
    }
}
