// SPDX-License-Identifier: Apache-2.0
//! stdout is a terminal: descriptor lines have a short form for people, and binary data is refused.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::fake_registry::FakeRegistry;
use tests::images::{Image, noise, sha256, write_image};
use tests::scratch::Scratch;
use tests::terminal::OnTerminal;
use tests::tools::{Command, Run, shell, tool};

/// The kinds of the descriptors in the image's manifest.
const ALL: [&str; 3] = ["config", "layer", "layer"];

/// A directory with the layout `l` that has an image named `1`, and the image.
fn layout() -> (Scratch, Image) {
    let scratch = Scratch::new();
    let image = Image::small();
    write_image(&scratch.join("l"), "1", &image);
    scratch.write("m", &image.manifest.bytes);
    (scratch, image)
}

fn on(columns: u16, command: Command) -> Run {
    command.run_on_terminal(columns, OnTerminal::Stdout)
}

/// The rows that a run printed, each with its newline removed.
#[track_caller]
fn rows(run: &Run) -> Vec<String> {
    run.status(0);
    let text = String::from_utf8(run.stdout.clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Every tool that prints descriptor lines, with a command whose line describes the image's layer
/// or config.
#[test]
fn each_tool_prints_one_short_row_for_a_descriptor() {
    let (scratch, image) = layout();
    let registry = FakeRegistry::start();
    let repository = registry.repo("app");
    let lines = shell("list-blobs m").dir(scratch.path()).run();
    scratch.write("lines", &lines.stdout);
    scratch.write("tree/file", "text");
    let all = "list-blobs m | ";
    for (script, want) in [
        ("list-blobs m", &ALL[..]),
        (&format!("{all}fetch-blob oci:l --into oci:o"), &ALL),
        (&format!("{all}push-blob oci:p --from oci:l"), &ALL),
        (&format!("{all}push-blob --plain-http $REPO --from oci:l"), &ALL),
        (&format!("{all}verify-digest --from oci:l"), &ALL),
        (&format!("{all}unpack-layer --from oci:l --no-same-owner out"), &ALL),
        ("put-manifest oci:l:2 m", &["manifest"]),
        ("fetch-manifest --descriptor oci:l:1", &["manifest"]),
        ("pack-layer tree --into oci:q", &["layer"]),
        ("pack-layer tree --into oci:q | build-config --into oci:q", &["config"]),
    ] {
        let run = on(100, shell(script).env("REPO", &repository).dir(scratch.path()));
        let rows = rows(&run);
        let kinds: Vec<_> = rows.iter().map(|row| row.rsplit("  ").next().unwrap()).collect();
        assert_eq!(kinds, want, "{script}: {run}");
        for row in rows {
            let (digest, size) = row.split_once("  ").unwrap();
            assert!(digest.starts_with("sha256:") && digest.len() == 71, "{script}: {row}");
            assert!(size.contains("B  ") && row.len() <= 100, "{script}: {row}");
        }
    }
    let config = &image.config;
    let want = format!("{}  {:>6}  config", config.digest, format!("{} B", config.bytes.len()));
    let first = rows(&on(100, shell("list-blobs m").dir(scratch.path())));
    assert_eq!(first[0], want);
}

#[test]
fn a_pipe_and_a_file_get_json_lines_even_if_a_terminal_is_near() {
    let (scratch, _) = layout();
    let json = shell("list-blobs m").dir(scratch.path()).run().stdout;
    for script in ["list-blobs m | cat", "list-blobs m >f && cat f"] {
        let run = shell(script).dir(scratch.path());
        run.run_on_terminal(80, OnTerminal::Both).status(0).stdout(&json);
    }
    let run = shell("fetch-manifest --descriptor oci:l:1 -o f && cat f").dir(scratch.path());
    let run = run.run_on_terminal(80, OnTerminal::Both);
    assert!(run.stdout.starts_with(b"{\"mediaType\":"), "{run}");
}

#[test]
fn a_row_is_never_wider_than_the_terminal_and_cuts_the_digest_only_below_its_width() {
    let (scratch, _) = layout();
    for columns in [200, 88, 80, 79, 78, 71, 70, 40, 1] {
        let list = shell("list-blobs m").dir(scratch.path());
        let rows = rows(&on(columns, list));
        assert_eq!(rows.len(), ALL.len());
        for row in rows {
            assert!(row.chars().count() <= usize::from(columns), "{columns}: {row}");
            let digest = row.split(' ').next().unwrap();
            assert_eq!(digest.len() == 71, columns >= 71, "{columns}: {row}");
        }
    }
}

#[test]
fn a_layer_is_not_written_to_a_terminal_unless_the_user_says_so() {
    let (scratch, image) = layout();
    let (layer, config) = (&image.layers[0], &image.config);
    let fetch = || tool("fetch-blob").arg("oci:l").dir(scratch.path());
    let run = on(80, fetch().arg(&layer.digest));
    run.fails(2, "standard output: a terminal").says("hint: -o FILE").stdout("");
    on(80, fetch().args([&layer.digest, "-o", "-"])).ok().stdout(&layer.bytes);
    // An image config is text.
    on(80, fetch().arg(&config.digest)).ok().stdout(&config.bytes);
    on(80, tool("fetch-manifest").arg("oci:l:1").dir(scratch.path()))
        .ok()
        .stdout(&image.manifest.bytes);

    scratch.write("blob", &layer.bytes);
    let verify = shell("verify-digest $DIGEST <blob").env("DIGEST", &layer.digest);
    on(80, verify.dir(scratch.path())).status(2).says("standard output: a terminal").stdout("");
}

/// The first 64 KiB of a large blob would be written before the blob is verified.
#[test]
fn a_large_binary_blob_is_refused_before_a_byte_is_written() {
    let registry = FakeRegistry::start();
    let bytes = noise(1 << 20, 1);
    let digest = registry.add_blob("app", bytes.clone());
    let fetch = tool("fetch-blob").args(["--plain-http", &registry.repo("app"), &digest]);
    on(80, fetch).fails(2, "standard output: a terminal").stdout("");
    assert_eq!(sha256(&bytes), digest);
}

#[test]
fn a_binary_file_of_a_layer_is_not_written_to_a_terminal() {
    let scratch = Scratch::new();
    scratch.write("tree/text", "some text\n");
    scratch.write("tree/binary", [0u8, 1, 2]);
    shell("pack-layer tree -o layer >/dev/null").dir(scratch.path()).run().status(0);
    for more in [&[][..], &["--verify"]] {
        let list = |path: &str| {
            let list = tool("list-layer").args(["--extract", path, "layer"]).args(more);
            on(80, list.dir(scratch.path()))
        };
        list("text").status(0).stdout("some text\n");
        list("binary").status(2).says("a terminal").stdout("");
    }
}
