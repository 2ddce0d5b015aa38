// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: archives and documents that are not layers. The archive of an image is unpacked
//! like a layer, with a warning that shows how to unpack the image.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use tests::cage::{Cage, PLACES, everywhere_and_unprivileged};
use tests::images::{Image, sha256, write_image};
use tests::layers::{Part, archive, dir, file, symlink};
use tests::peers::{must, peer};
use tests::scratch::{Scratch, list};
use tests::tools::{shell, tool};

const LAYOUT: &str = r#"{"imageLayoutVersion": "1.0.0"}"#;
const SAVED: &str = r#"[{"Config":"c.json","RepoTags":["x:1"],"Layers":["l/layer.tar"]}]"#;

#[test]
fn the_archive_of_an_image_is_unpacked_with_a_warning() {
    let layout = [file("oci-layout", LAYOUT), file("index.json", "{}"), dir("blobs")];
    let saved = [file("l/layer.tar", ""), file("./manifest.json", SAVED)];
    // Since version 25, docker save writes both. The warning then describes the layout.
    let both = [file("manifest.json", SAVED), file("oci-layout", LAYOUT)];
    let [image, docker] =
        ["an archive of an image, not a layer", "an archive of docker save, not a layer"];
    for (parts, words, names) in [
        (&layout[..], image, &["blobs/", "index.json", "oci-layout"][..]),
        (&saved, docker, &["l/", "l/layer.tar", "manifest.json"]),
        (&both, image, &["manifest.json", "oci-layout"]),
    ] {
        everywhere_and_unprivileged(|cage| {
            let run = cage.unpack(&[parts]);
            run.status(0).says("unpack-layer: warning: ").says(words);
            assert_eq!(run.lines().len(), 1, "{run}");
            cage.has(names);
            // An upper layer causes the same warning.
            cage.only_options(&["--replace"]);
            cage.unpack(&[&[file("f", "")], parts]).status(0).says(words);
            cage.only_options(&["--replace", "--strict"]);
            cage.unpack(&[parts]).fails(6, words);
        });
    }
}

#[test]
fn files_of_these_names_in_a_layer_cause_no_warning() {
    let large = format!("{}{SAVED}", " ".repeat(1 << 20));
    let layers: [&[Part]; 7] = [
        &[file("manifest.json", r#"{"name": "an extension"}"#)],
        &[file("oci-layout", "")],
        &[file("app/manifest.json", SAVED), file("app/oci-layout", LAYOUT)],
        &[dir("oci-layout"), file("oci-layout/x", LAYOUT)],
        &[symlink("manifest.json", "x"), file("x", SAVED)],
        &[file("manifest.json", SAVED), symlink("manifest.json", "/dev/zero")],
        &[file("manifest.json", &large)],
    ];
    for parts in layers {
        let cage = Cage::new(PLACES[0]);
        let run = cage.unpack(&[parts]);
        run.status(0).does_not_say("not a layer");
    }
    // Files of a lower layer cause no warning either.
    let cage = Cage::new(PLACES[0]);
    cage.unpack(&[&[file("manifest.json", "{}")], &[file("f", "")]]).ok();
}

#[test]
fn the_config_of_an_artifact_is_not_said_to_be_a_layer_of_another_type() {
    for media_type in [
        "application/vnd.cncf.helm.config.v1+json",
        "application/vnd.oci.empty.v1+json",
        "application/vnd.docker.plugin.v1+json",
        "application/json",
    ] {
        let scratch = Scratch::new();
        let image = Image::of_archives(&[archive(&[file("f", "")])], "linux", "amd64");
        write_image(&scratch.join("l"), "t", &image);
        let digest = sha256(b"{}");
        std::fs::write(scratch.join("l/blobs").join(digest.replace(':', "/")), "{}").unwrap();
        let line =
            format!("{{\"mediaType\":\"{media_type}\",\"digest\":\"{digest}\",\"size\":2}}\n");
        let unpack = |options: &[&str]| {
            let unpack = tool("unpack-layer").dir(scratch.path()).args(["--from", "oci:l", "root"]);
            unpack.args(options).stdin(line.clone()).run()
        };
        let run = unpack(&[]);
        run.fails(6, "is a document, not a layer").does_not_say("--any-type");
        run.says("hint: list-blobs --layers leaves the config out");
        // With --any-type the document is read as an archive.
        unpack(&["--any-type", "--no-config"]).fails(6, "not a tar archive");
    }
}

mod with_peers {
    use super::*;

    #[test]
    fn the_commands_of_the_warning_unpack_the_image() {
        let scratch = Scratch::new();
        let image = Image::of_archives(
            &[archive(&[file("f", "1")]), archive(&[file("g", "2")])],
            "linux",
            "amd64",
        );
        write_image(&scratch.join("l"), "t", &image);
        for (format, script) in [
            (
                "oci-archive:a.tar:t",
                "fetch-manifest oci:DIR | list-blobs | unpack-layer --from oci:DIR ROOT",
            ),
            (
                "docker-archive:a.tar:x:1",
                "cd DIR && unpack-layer ../ROOT $(jq -r '.[0].Layers[]' manifest.json)",
            ),
        ] {
            for name in ["DIR", "ROOT", "as-layer", "a.tar"] {
                let path = scratch.join(name);
                let _ = std::fs::remove_dir_all(&path);
                let _ = std::fs::remove_file(&path);
            }
            let mut skopeo = peer("skopeo");
            skopeo.args(["--insecure-policy", "copy", "-q", "oci:l:t", format]);
            must(skopeo.current_dir(scratch.path()));
            let run = tool("unpack-layer").dir(scratch.path()).args(["as-layer", "a.tar"]).run();
            run.status(0).says("not a layer: unpack it with tar");
            if format.starts_with("oci") {
                run.says(script);
            }
            std::fs::create_dir(scratch.join("DIR")).unwrap();
            must(peer("tar").args(["-xf", "a.tar", "-C", "DIR"]).current_dir(scratch.path()));
            shell(script).dir(Path::new(scratch.path())).run().status(0);
            assert_eq!(list(&scratch.join("ROOT")), ["f", "g"]);
        }
    }
}
