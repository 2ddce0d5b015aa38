// SPDX-License-Identifier: Apache-2.0
//! build-manifest: images and artifacts from lines, the two families of media types, and refused
//! input.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, read_blob, sha256, types, write_image};
use tests::scratch::Scratch;
use tests::tools::{Command, Run, shell, tool};

const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

fn build(args: &[&str]) -> Command {
    tool("build-manifest").args(args)
}

fn document(run: &Run) -> Value {
    serde_json::from_slice(&run.ok().stdout).unwrap()
}

/// The lines of an image with the diff IDs of its layers, as the earlier tools of a pipe print
/// them.
fn marked_lines(image: &Image) -> Vec<String> {
    let layers = image.layers.iter().zip(&image.diff_ids).map(|(layer, diff_id)| {
        let mut line = layer.descriptor();
        line["annotations"] = json!({"containerd.io/uncompressed": diff_id});
        format!("{line}\n")
    });
    std::iter::once(image.config.line()).chain(layers).collect()
}

/// An image in a layout.
struct Stored {
    image: Image,
    dir: Scratch,
}

impl Stored {
    fn new() -> Stored {
        let stored = Stored { image: Image::small(), dir: Scratch::new() };
        write_image(&stored.dir.join("layout"), "1", &stored.image);
        stored
    }

    fn build(&self, stdin: impl Into<Vec<u8>>) -> Run {
        build(&["--from", "oci:layout"]).dir(self.dir.path()).stdin(stdin).run()
    }
}

// Images.

#[test]
fn lines_become_a_manifest_in_both_families_of_media_types() {
    let image = Image::small();
    for image in [image.docker(), image] {
        build(&[]).stdin(image.lines()).run().ok().stdout(&image.manifest.bytes);
    }
}

#[test]
fn diff_ids_are_dropped_and_other_fields_stay_in_their_order() {
    let stored = Stored::new();
    let lines = marked_lines(&stored.image).concat();
    stored.build(lines).ok().stdout(&stored.image.manifest.bytes);

    let image = Image::new(&[&[]]);
    let mut layer = image.layers[0].descriptor();
    layer["x"] = json!({"b": 1, "a": 2});
    layer["annotations"] = json!({"k": "v", "containerd.io/uncompressed": image.diff_ids[0]});
    layer["urls"] = json!(["https://example.com/layer"]);
    let run = build(&[]).stdin(format!("{}{layer}\n", image.config.line())).run();
    layer["annotations"] = json!({"k": "v"});
    let manifest = String::from_utf8(run.ok().stdout.clone()).unwrap();
    assert!(manifest.contains(&layer.to_string()), "{manifest}");
}

#[test]
fn a_repeated_layer_is_kept_each_time() {
    let image = Image::small();
    let layers = vec![image.layers[0].clone(); 3];
    let image = Image::of_parts(json!({}), layers, vec![image.diff_ids[0].clone(); 3]);
    build(&[]).stdin(image.lines()).run().ok().stdout(&image.manifest.bytes);
}

#[test]
fn annotations_and_a_subject_are_written_to_their_fields() {
    let image = Image::small();
    let subject = Image::big(10, 1).manifest;
    let dir = Scratch::new();
    let mut line = subject.descriptor();
    line["annotations"] = json!({"org.opencontainers.image.ref.name": "1"});
    dir.write("subject", format!("{line}\n"));
    let mut want = image.manifest_json();
    want["subject"] = subject.descriptor();
    want["annotations"] = json!({"b": "x=y", "a": ""});
    for text in ["subject", &line.to_string()] {
        let args = ["--annotation", "b=x=y", "--annotation", "a=", "--subject", text];
        let run = build(&args).dir(dir.path()).stdin(image.lines()).run();
        run.ok().stdout(want.to_string());
    }
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let stored = Stored::new();
    let dir = stored.dir.path();
    build(&["-o", "m"]).dir(dir).stdin(stored.image.lines()).run().ok().stdout("");
    assert_eq!(std::fs::read(stored.dir.join("m")).unwrap(), stored.image.manifest.bytes);
    build(&["-o", "n"])
        .dir(dir)
        .stdin(stored.image.config.line())
        .run()
        .fails(6, "no layers: did the previous command fail?");
    assert!(!stored.dir.join("n").exists());
}

// Comparison with the config.

#[test]
fn the_number_of_layers_must_equal_that_of_the_config() {
    let stored = Stored::new();
    let lines = marked_lines(&stored.image);
    let words = "got 1 of 2 layers: did the previous command fail?";
    stored.build(lines[..2].concat()).fails(1, words).stdout("");
    stored.build(lines[0].clone()).fails(1, "got 0 of 2 layers").stdout("");
    let more = lines.concat() + &lines[1];
    stored.build(more).fails(1, "got 3 layers, want 2 (image config ").stdout("");
}

#[test]
fn each_diff_id_must_equal_that_of_the_config_at_the_same_position() {
    let stored = Stored::new();
    let [config, base, top] = &marked_lines(&stored.image)[..] else { unreachable!() };
    let run = stored.build([config.as_str(), top, base].concat());
    run.fails(1, "layer 1 (").says("diff ID differs: got ").says(", want ").stdout("");
    // A line without a diff ID is accepted.
    let silent = stored.image.layers[1].line();
    stored.build([config.as_str(), base, &silent].concat()).ok();
    // The digest of an uncompressed archive is its diff ID.
    let plain = Blob::new(types::TAR, "another archive").line();
    stored.build([config.as_str(), &plain, top].concat()).fails(1, "layer 1 (").stdout("");
    let wrong = top.replace(&stored.image.diff_ids[1], "sha256:x");
    stored.build([config.as_str(), base, &wrong].concat()).fails(6, "annotation ").stdout("");
}

#[test]
fn a_config_without_layers_makes_a_manifest_without_layers() {
    let image = Image::new(&[]);
    let dir = Scratch::new();
    write_image(&dir.join("layout"), "1", &image);
    let from = ["--from", "oci:layout"];
    let run = build(&from).dir(dir.path()).stdin(image.config.line()).run();
    run.ok().stdout(&image.manifest.bytes);
    let run = build(&[]).stdin(image.config.line()).run();
    run.fails(6, "no layers: did the previous command fail?").says("hint: with --from").stdout("");
}

#[test]
fn a_config_that_differs_from_its_descriptor_is_refused() {
    let stored = Stored::new();
    let digest = stored.image.config.digest.clone();
    let path = stored.dir.join("layout/blobs").join(digest.replace(':', "/"));
    let bytes = read_blob(&stored.dir.join("layout"), &digest).unwrap();
    let lines = stored.image.lines();

    let mut line = stored.image.config.descriptor();
    line["size"] = json!(bytes.len() + 1);
    let wrong_size = lines.replace(stored.image.config.line().trim_end(), &line.to_string());
    stored.build(wrong_size).fails(1, "size differs: got ").stdout("");
    line["size"] = json!(bytes.len() - 1);
    let wrong_size = lines.replace(stored.image.config.line().trim_end(), &line.to_string());
    stored.build(wrong_size).fails(1, "size differs: got ").stdout("");
    line["size"] = json!((4 << 20) + 1);
    let too_large = lines.replace(stored.image.config.line().trim_end(), &line.to_string());
    stored.build(too_large).fails(6, "4194305 bytes, larger than 4194304").stdout("");

    let mut changed = bytes.clone();
    changed[0] = b' ';
    std::fs::write(&path, changed).unwrap();
    stored.build(lines.clone()).fails(1, "digest differs: got ").stdout("");
    std::fs::remove_file(&path).unwrap();
    stored.build(lines.clone()).fails(3, &digest).stdout("");
    build(&["--from", "oci:none"]).dir(stored.dir.path()).stdin(lines).run().fails(3, "oci:none");
}

#[test]
fn an_invalid_config_is_refused() {
    let dir = Scratch::new();
    for (text, words) in [
        ("{}", "invalid rootfs in image configuration"),
        (r#"{"rootfs":{"diff_ids":["x"]}}"#, "rootfs.diff_ids[0]"),
        ("<html>", "not valid JSON"),
    ] {
        let config = Blob::new(types::CONFIG, text);
        let image = Image { config, ..Image::small() };
        write_image(&dir.join("layout"), "1", &image);
        let run = build(&["--from", "oci:layout"]).dir(dir.path()).stdin(image.lines()).run();
        run.fails(6, words).says(&image.config.digest).stdout("");
    }
}

#[test]
fn a_config_in_a_registry_is_fetched_into_a_layout_first() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "1", &image);
    let lines = marked_lines(&image);
    let config = &lines[0];
    let layers = lines[1..].concat();
    // Only the config is fetched; the layers stay in the registry.
    let script = "{ echo \"$config\" | fetch-blob --plain-http --max-wait 0 $repo --into oci:l &&
        printf %s \"$layers\"; } | build-manifest --from oci:l";
    let build_from = |config: &str| {
        let run = shell(script).env("config", config.trim_end()).env("layers", &layers);
        let dir = Scratch::new();
        run.env("repo", registry.repo("app")).dir(dir.path()).run()
    };
    build_from(config).ok().stdout(&image.manifest.bytes);
    assert_eq!(registry.blob_requests().len(), 1);

    let fails = |config: &str, words: &str| {
        // build-manifest receives no input from the pipe.
        let run = build_from(config);
        run.status(6).says(words).says("build-manifest: no input").stdout("");
    };
    let missing = Image::big(10, 1);
    fails(&missing.config.line(), &missing.config.digest);
    let longer = |by: usize| {
        let mut config = image.config.descriptor();
        config["size"] = json!(image.config.bytes.len() + by - 1);
        config.to_string()
    };
    fails(&longer(2), "size differs: ");
    fails(&longer(0), "size differs: ");
    registry.fault(|request, right| if request.is_blob() { right.corrupted() } else { right });
    fails(config, "digest differs: got ");
    let run = build(&["--from", "app"]).stdin(image.lines()).run();
    run.fails(2, "--from app: expected oci:DIR").says("hint: fetch-blob REPO --into").stdout("");
}

// The two families of media types.

#[test]
fn mixed_families_of_media_types_are_refused_unless_an_option_chooses_one() {
    let image = Image::small();
    let docker = image.docker();
    let lines = image.config.line() + &docker.layers[0].line() + &image.layers[1].line();
    let run = build(&[]).stdin(lines.clone()).run();
    run.fails(6, "media types of two families: ").says("hint: --oci or --docker").stdout("");
    build(&["--oci"]).stdin(lines.clone()).run().ok().stdout(&image.manifest.bytes);
    build(&["--docker"]).stdin(lines).run().ok().stdout(&docker.manifest.bytes);
    build(&["--docker"]).stdin(image.lines()).run().ok().stdout(&docker.manifest.bytes);
    build(&["--oci"]).stdin(docker.lines()).run().ok().stdout(&image.manifest.bytes);
}

#[test]
fn non_distributable_layers_change_their_family_and_keep_their_urls() {
    let image = Image::small();
    let mut layer = image.layers[0].descriptor();
    layer["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    layer["urls"] = json!(["https://example.com/layer"]);
    let lines = format!("{}{layer}\n", image.config.line());
    let built = document(&build(&["--oci"]).stdin(lines).run());
    layer["mediaType"] = json!("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
    assert_eq!(built["layers"], json!([layer]));
}

#[test]
fn content_without_a_docker_media_type_is_refused() {
    let image = Image::small();
    let zstd = image.config.line() + &Blob::new(ZSTD, "x").line();
    build(&["--docker"])
        .stdin(zstd.clone())
        .run()
        .fails(6, "Docker has no media type for a zstd layer");
    build(&[]).stdin(zstd).run().ok();
    let docker = image.docker().lines() + &Blob::new("a/b", "x").line();
    let run = build(&["--any-type"]).stdin(docker.clone()).run();
    run.fails(6, "Docker has no media type for a/b").says("hint: --oci").stdout("");
    build(&["--any-type", "--oci"]).stdin(docker).run().ok();
    let run = build(&["--annotation", "a=b"]).stdin(image.docker().lines()).run();
    run.fails(2, "--annotation: the lines have Docker's media types")
        .says("hint: --oci")
        .stdout("");
}

// Artifacts.

#[test]
fn an_artifact_needs_no_config() {
    let sbom = Blob::new("application/spdx+json", "{}");
    let args = ["--artifact-type", "application/spdx+json", "--subject"];
    let subject = Image::small().manifest;
    let run = build(&args).arg(subject.line()).stdin(sbom.line()).run();
    run.ok().stdout(
        json!({
            "schemaVersion": 2,
            "mediaType": types::MANIFEST,
            "artifactType": "application/spdx+json",
            "config": {"mediaType": EMPTY, "digest": sha256(b"{}"), "size": 2, "data": "e30="},
            "layers": [sbom.descriptor()],
            "subject": subject.descriptor(),
        })
        .to_string(),
    );
}

#[test]
fn an_artifact_may_have_a_config_of_an_image_or_of_its_own() {
    let image = Image::small();
    let own = Blob::new("application/vnd.example.config+json", "{}");
    let artifact = ["--artifact-type", "application/vnd.example"];
    let built = document(&build(&artifact).stdin(image.lines()).run());
    assert_eq!(built["config"], image.config.descriptor());
    let lines = own.line() + &own.line();
    let built = document(&build(&artifact).stdin(lines.clone()).run());
    assert_eq!(built["layers"], json!([own.descriptor(), own.descriptor()]));
    let args = [&artifact[..], &["--any-type"]].concat();
    let built = document(&build(&args).stdin(lines.clone()).run());
    assert_eq!(built["config"], own.descriptor());
    assert_eq!(built["layers"], json!([own.descriptor()]));
    let built = document(&build(&["--any-type"]).stdin(lines).run());
    assert_eq!(built["config"], own.descriptor());
}

#[test]
fn an_artifact_without_a_layer_gets_the_empty_layer() {
    let empty = Blob::new(EMPTY, "{}");
    let built = document(&build(&["--artifact-type", "a/b"]).stdin(empty.line()).run());
    assert_eq!(built["config"], empty.descriptor());
    assert_eq!(built["layers"], json!([empty.descriptor()]));
    build(&[])
        .stdin(empty.line())
        .run()
        .fails(6, "the config is empty")
        .says("hint: --artifact-type");
}

// Refused input.

#[test]
fn no_lines_at_all_are_an_error() {
    for args in [&[][..], &["--artifact-type", "a/b"], &["--any-type"]] {
        build(args).run().fails(6, "no input: did the previous command fail?").stdout("");
    }
}

#[test]
fn lines_that_do_not_belong_into_a_manifest_are_refused() {
    let image = Image::small();
    let config = image.config.line();
    let layer = image.layers[0].line();
    let other = Blob::new("application/spdx+json", "{}").line();
    let plugin = Blob::new("application/vnd.docker.plugin.v1+json", "{}").line();
    for (stdin, words) in [
        (layer.clone(), "the first line must be a config"),
        (layer.clone() + &config, "the first line must be a config"),
        (other.clone(), "the first line must be a config"),
        (config.clone() + &layer + &config, "a second config"),
        (config.clone() + &other, "application/spdx+json is not the media type of a layer"),
        (config.clone() + &image.manifest.line(), "a manifest, not a config or a layer"),
        (image.manifest.line(), "a manifest, not a config or a layer"),
        (plugin + &layer, "target is a plugin"),
        (config.clone() + "{}\n", "line 2: no mediaType"),
        ("x".to_owned(), "line 1: not valid JSON"),
    ] {
        build(&[]).stdin(stdin).run().fails(6, words).stdout("");
    }
}

#[test]
fn a_manifest_larger_than_the_limit_is_refused() {
    let image = Image::small();
    let lines = |padding: usize| {
        let mut layer = image.layers[0].descriptor();
        layer["annotations"] = json!({"x": "x".repeat(padding)});
        format!("{}{layer}\n", image.config.line())
    };
    let smallest = build(&[]).stdin(lines(0)).run().ok().stdout.len();
    let most = (4 << 20) - smallest;
    assert_eq!(build(&[]).stdin(lines(most)).run().ok().stdout.len(), 4 << 20);
    let run = build(&[]).stdin(lines(most + 1)).run();
    run.fails(6, "the manifest: 4194305 bytes, larger than 4194304").stdout("");
    let one = lines(5 << 19);
    let layer = one.split_once('\n').unwrap().1;
    let run = build(&[]).stdin(format!("{one}{layer}")).run();
    run.fails(6, "too many lines: a manifest has at most").stdout("");
}

#[test]
fn a_closed_or_full_stdout_is_never_success() {
    let dir = Scratch::new();
    dir.write("lines", Image::small().lines());
    for (script, words) in [
        ("build-manifest <lines >&-", "standard output: closed"),
        ("build-manifest <lines >/dev/full", "no space left on device"),
        ("build-manifest <&-", "standard input: closed"),
    ] {
        let run = shell(script).dir(dir.path()).run();
        run.says(words);
        assert_ne!(run.code(), Some(0), "{run}");
    }
}

#[test]
fn an_invalid_subject_is_refused() {
    let dir = Scratch::new();
    let image = Image::small();
    dir.write("layer", image.layers[0].line());
    dir.write("manifest", &image.manifest.bytes);
    dir.write("empty", "");
    for (status, subject, words) in [
        (2, "", "--subject: empty"),
        (2, "-", "standard input has the config's and the layers' lines"),
        (2, "{", "--subject: not valid JSON"),
        (2, "layer", "is not the media type of a manifest"),
        (3, "none", "none: no such file"),
        (6, "manifest", "manifest: no digest"),
        (6, "empty", "empty: no input"),
    ] {
        let run = build(&["--subject", subject]).dir(dir.path()).stdin(image.lines()).run();
        run.fails(status, words).stdout("");
    }
}

#[test]
fn a_wrong_command_line_is_refused() {
    let cases: [(&[&str], &str); 9] = [
        (&["--docker", "--oci"], "cannot be used with"),
        (&["--docker", "--annotation", "a=b"], "cannot be used with"),
        (&["--docker", "--artifact-type", "a/b"], "cannot be used with"),
        (&["--docker", "--subject", "x"], "cannot be used with"),
        (&["--annotation", "a"], "expected KEY=VALUE"),
        (&["--annotation", "a=1", "--annotation", "a=1"], "--annotation: \"a\" given twice"),
        (&["--artifact-type", "sbom"], "not a media type"),
        (&["--from", "localhost:5000"], "is a host"),
        (&["x"], "unexpected argument"),
    ];
    for (args, words) in cases {
        build(args).stdin(Image::small().lines()).run().fails(2, words).stdout("");
    }
}
