// SPDX-License-Identifier: Apache-2.0
//! list-blobs: images, indexes, and the recursion from an index to its images.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, index, types, write_layout};
use tests::schema1;
use tests::scratch::Scratch;
use tests::tools::{Command, shell, tool};

fn list() -> Command {
    tool("list-blobs")
}

// One manifest.

#[test]
fn the_config_comes_first_then_the_layers_base_first() {
    let image = Image::small();
    for image in [image.docker(), image] {
        let manifest = image.manifest.bytes.clone();
        list().stdin(manifest.clone()).run().ok().stdout(image.lines());
        list().arg("-").stdin(manifest.clone()).run().ok().stdout(image.lines());
        list().arg("--config").stdin(manifest.clone()).run().ok().stdout(image.config.line());
        let layers: String = image.layers.iter().map(Blob::line).collect();
        list().arg("--layers").stdin(manifest).run().ok().stdout(layers);
    }
}

#[test]
fn a_repeated_layer_is_printed_each_time() {
    let mut image = Image::small();
    image.layers = vec![image.layers[0].clone(), image.layers[1].clone(), image.layers[0].clone()];
    let image = Image::of_parts(json!({}), image.layers, image.diff_ids);
    assert_eq!(list().stdin(image.manifest.bytes.clone()).run().ok().lines().len(), 4);
    list().stdin(image.manifest.bytes.clone()).run().ok().stdout(image.lines());
}

#[test]
fn a_descriptor_keeps_all_its_fields_in_their_order() {
    let layer = r#"{"x-first":{"b":[1.50,null],"a":"é\u0001"},"size":1,"digest":"DIGEST","annotations":{"k":"v"},"mediaType":"a/b","urls":["https://example.com/x"]}"#;
    let layer = layer.replace("DIGEST", &Image::small().config.digest);
    let manifest = format!(
        "{{\"schemaVersion\":2,\n \"config\":{},\n \"layers\":[{layer}]}}\n",
        Image::small().config.descriptor()
    );
    let run = list().arg("--layers").stdin(manifest).run();
    let [got] = &run.ok().lines()[..] else { panic!("{run}") };
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parsed(got), parsed(&layer));
    assert!(got.starts_with(r#"{"x-first":{"b":[1.5"#), "{got}");
}

#[test]
fn an_image_without_layers_has_only_its_config() {
    let image = Image::new(&[]);
    list().stdin(image.manifest.bytes.clone()).run().ok().stdout(image.config.line());
    list().arg("--layers").stdin(image.manifest.bytes).run().ok().stdout("");
}

#[test]
fn a_named_file_is_read() {
    let dir = Scratch::new();
    let image = Image::small();
    let file = dir.write("m", &image.manifest.bytes);
    list().arg(&file).run().ok().stdout(image.lines());
    list().arg(dir.join("none")).run().fails(3, "/none: no such file");
    list().arg(dir.path()).run().fails(7, "is a directory");
    dir.chmod("m", 0o600);
    let run = list().arg(&file).as_unprivileged().run();
    // If the tests do not run as root, the tool runs as the owner of the file and can read it.
    if run.code() != Some(0) {
        run.fails(7, "permission denied");
    }
}

// Input that is not a manifest.

#[test]
fn no_input_is_an_error() {
    list().run().fails(6, "standard input: no input: did the previous command fail?").stdout("");
    list().arg("/dev/null").run().fails(6, "no input");
}

#[test]
fn an_invalid_manifest_is_refused_with_the_reason() {
    let image = Image::small();
    let plugin = String::from_utf8(image.docker().manifest.bytes)
        .unwrap()
        .replace(types::DOCKER_CONFIG, "application/vnd.docker.plugin.v1+json");
    for (bytes, words) in [
        (b"<html>".to_vec(), "standard input: not valid JSON"),
        (b"{}".to_vec(), "media-type: cannot determine"),
        (image.config.bytes.clone(), "standard input: "),
        (image.manifest.bytes[..100].to_vec(), "not valid JSON"),
        (br#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.to_vec(), "cannot determine"),
        (br#"{"schemaVersion":2,"config":{},"layers":[]}"#.to_vec(), "config: no mediaType"),
        (br#"{"manifests":[]}"#.to_vec(), "no schemaVersion"),
        (plugin.into_bytes(), "target is a plugin"),
        (vec![b' '; (4 << 20) + 1], "larger than 4194304 bytes"),
        (br#"{"schemaVersion":1,"fsLayers":[]}"#.to_vec(), "[DEPRECATION NOTICE]"),
    ] {
        list().stdin(bytes).run().fails(6, words).stdout("");
    }
    let open = list().env(schema1::GATE, "1").stdin(r#"{"schemaVersion":1,"fsLayers":[]}"#).run();
    open.fails(6, "no FSLayers in manifest for \"standard input\"").stdout("");
}

#[test]
fn one_invalid_descriptor_prevents_all_output() {
    let image = Image::small();
    for (field, value, words) in [
        ("digest", json!("sha256:../../etc/passwd"), "layers[1]: digest: "),
        ("digest", json!(image.config.digest.to_uppercase().replace("SHA", "sha")), "lower case"),
        ("digest", json!("blake3:00"), "unsupported algorithm"),
        ("size", json!(-1), "size -1 is not a whole number"),
        ("size", json!(1.5), "size 1.5"),
        ("size", json!("1"), "size is a string"),
        ("size", json!(u64::MAX), "size 18446744073709551615"),
    ] {
        let mut manifest = image.manifest_json();
        manifest["layers"][1][field] = value;
        list().stdin(manifest.to_string()).run().fails(6, words).stdout("");
    }
}

#[test]
fn a_descriptor_instead_of_a_manifest_is_refused() {
    let line = Image::small().manifest.line();
    list()
        .stdin(line)
        .run()
        .fails(2, "got a descriptor line, want a manifest")
        .says("hint: ")
        .stdout("");
}

// An index.

/// Two images and an attestation in an index, in a layout.
struct Many {
    amd64: Image,
    arm64: Image,
    attestation: Image,
    index: Blob,
    dir: Scratch,
}

impl Many {
    fn new() -> Many {
        let amd64 = Image::for_platform("linux", "amd64");
        let arm64 = Image::for_platform("linux", "arm64");
        let attestation = Image::of_parts(json!({"a": 1}), vec![amd64.layers[0].clone()], vec![]);
        let index = index(
            types::INDEX,
            &[
                (&amd64.manifest, "linux/amd64"),
                (&arm64.manifest, "linux/arm64"),
                (&attestation.manifest, "unknown/unknown"),
            ],
        );
        let many = Many { amd64, arm64, attestation, index, dir: Scratch::new() };
        let images = [&many.amd64, &many.arm64, &many.attestation];
        let blobs = images.into_iter().flat_map(|image| image.blobs().chain([&image.manifest]));
        write_layout(&many.dir.join("layout"), "x", &many.index, blobs);
        many
    }

    fn oci(&self) -> String {
        format!("oci:{}", self.dir.join("layout").display())
    }

    fn list(&self, args: &[&str]) -> tests::tools::Run {
        list().args(args).stdin(self.index.bytes.clone()).run()
    }

    /// The entry of the index for one of its images, as a line.
    fn entry(&self, image: &Image) -> String {
        let index: serde_json::Value = serde_json::from_slice(&self.index.bytes).unwrap();
        let mut entries = index["manifests"].as_array().unwrap().iter();
        format!("{}\n", entries.find(|e| e["digest"] == *image.manifest.digest).unwrap())
    }
}

#[test]
fn the_manifests_of_an_index_are_printed() {
    let many = Many::new();
    let images = [&many.amd64, &many.arm64, &many.attestation];
    many.list(&[]).ok().stdout(images.map(|image| many.entry(image)).concat());
}

#[test]
fn a_platform_picks_one_manifest_of_an_index() {
    let many = Many::new();
    many.list(&["-p", "linux/arm64"]).ok().stdout(many.entry(&many.arm64));
    many.list(&["-p", "linux/aarch64/v8"]).ok().stdout(many.entry(&many.arm64));
    let missing = many.list(&["-p", "linux/s390x"]);
    missing
        .fails(3, "no manifest for linux/s390x (the index offers: linux/amd64, linux/arm64")
        .stdout("");
    many.list(&["-p", "unknown/unknown"]).fails(3, "no manifest").stdout("");
}

#[test]
fn a_platform_and_a_store_list_the_blobs_of_an_image() {
    let many = Many::new();
    let from = ["-p", "linux/arm64", "--from", &many.oci()];
    many.list(&from).ok().stdout(many.arm64.lines());
    let config = [&from[..], &["--config"]].concat();
    many.list(&config).ok().stdout(many.arm64.config.line());
    // An image manifest is listed itself, and the store is not read.
    let image = list().args(["-p", "linux/arm64", "--from", "oci:/nonexistent"]);
    image.stdin(many.amd64.manifest.bytes.clone()).run().ok().stdout(many.amd64.lines());
}

#[test]
fn an_index_has_neither_config_nor_layers() {
    let many = Many::new();
    for flag in ["--config", "--layers"] {
        many.list(&[flag]).fails(2, "this is an index").says("hint: -p OS/ARCH").stdout("");
    }
}

#[test]
fn recursion_prints_each_digest_once_and_each_manifest_after_its_blobs() {
    let many = Many::new();
    let want = [
        many.amd64.lines(),
        many.entry(&many.amd64),
        many.arm64.lines(),
        many.entry(&many.arm64),
        // The attestation's layer was printed before.
        many.attestation.config.line(),
        many.entry(&many.attestation),
    ];
    many.list(&["--recursive", "--from", &many.oci()]).ok().stdout(want.concat());
}

#[test]
fn recursion_into_an_image_prints_each_blob_once() {
    let many = Many::new();
    let layers = vec![many.amd64.layers[0].clone(); 3];
    let image = Image::of_parts(json!({}), layers, vec![]);
    let args = ["--recursive", "--from", &many.oci()];
    let run = list().args(args).stdin(image.manifest.bytes.clone()).run();
    run.ok().stdout(image.config.line() + &image.layers[0].line());
}

#[test]
fn recursion_works_from_a_registry() {
    let many = Many::new();
    let registry = FakeRegistry::start();
    for image in [&many.amd64, &many.arm64, &many.attestation] {
        registry.add_image("app", "latest", image);
    }
    let want = many.list(&["--recursive", "--from", &many.oci()]);
    let got = many.list(&["--recursive", "--from", &registry.repo("app")]);
    got.ok().stdout(&want.stdout);
}

#[test]
fn a_missing_or_damaged_nested_manifest_ends_the_listing() {
    let many = Many::new();
    let path =
        |image: &Image| many.dir.join("layout/blobs").join(image.manifest.digest.replace(':', "/"));
    let before = many.amd64.lines() + &many.entry(&many.amd64);
    let mut bytes = many.arm64.manifest.bytes.clone();
    let last = bytes.len() - 1;
    bytes[last] = b' ';
    std::fs::write(path(&many.arm64), bytes).unwrap();
    let run = many.list(&["--recursive", "--from", &many.oci()]);
    run.fails(1, "digest differs").stdout(&before);
    std::fs::remove_file(path(&many.arm64)).unwrap();
    let run = many.list(&["--recursive", "--from", &many.oci()]);
    run.fails(3, &many.arm64.manifest.digest).stdout(&before);
}

/// A chain of nested indexes in a layout. The last index names an image.
fn nested(depth: usize) -> (Scratch, Vec<Blob>, Image) {
    let image = Image::for_platform("linux", "amd64");
    let mut chain = vec![image.manifest.clone()];
    for _ in 0..depth {
        chain.push(index(types::INDEX, &[(chain.last().unwrap(), "")]));
    }
    let dir = Scratch::new();
    let top = chain.last().unwrap();
    write_layout(&dir.join("layout"), "x", top, chain.iter().chain(image.blobs()));
    (dir, chain, image)
}

#[test]
fn indexes_in_indexes_are_followed_to_a_limit() {
    let (dir, chain, image) = nested(8);
    let oci = format!("oci:{}", dir.join("layout").display());
    let run =
        |top: &Blob| list().args(["--recursive", "--from", &oci]).stdin(top.bytes.clone()).run();
    let manifests: String = chain[..8].iter().map(Blob::line).collect();
    run(&chain[8]).ok().stdout(image.lines() + &manifests);

    let (dir, chain, _) = nested(9);
    let oci = format!("oci:{}", dir.join("layout").display());
    let args = ["--recursive", "--from", &oci];
    let run = list().args(args).stdin(chain[9].bytes.clone()).run();
    run.fails(6, "indexes nested deeper than 8").stdout("");
}

#[test]
fn a_platform_that_only_a_nested_index_may_have_needs_the_store() {
    let (_dir, chain, _) = nested(2);
    let run = list().args(["-p", "linux/amd64"]).stdin(chain[2].bytes.clone()).run();
    run.fails(2, "may be in the index").says("hint: --from").stdout("");
}

// Standard output and wrong usage.

#[test]
fn a_closed_or_full_stdout_is_never_success() {
    let dir = Scratch::new();
    dir.write("m", Image::small().manifest.bytes);
    for (script, words) in [
        ("list-blobs m >&-", "standard output: closed"),
        ("list-blobs m >/dev/full", "no space left on device"),
        ("list-blobs <&-", "standard input: closed"),
    ] {
        let run = shell(script).dir(dir.path()).run();
        run.says(words);
        assert_ne!(run.code(), Some(0), "{run}");
    }
}

#[test]
fn a_wrong_command_line_is_refused() {
    let cases: [(&[&str], &str); 8] = [
        (&["--config", "--layers"], "cannot be used with"),
        (&["--recursive"], "--from"),
        (&["--from", "oci:x"], "--from requires --recursive, -p or --diff-ids"),
        (&["--recursive", "--from", "oci:x", "-p", "linux/amd64"], "cannot be used with"),
        (&["--recursive", "--from", "localhost:5000"], "is a host"),
        (&["-p", "linux"], "invalid platform"),
        (&["a", "b"], "unexpected argument"),
        (&["--frob"], "--frob"),
    ];
    for (args, words) in cases {
        list().args(args).run().fails(2, words).stdout("");
    }
}

#[test]
fn help_and_version_are_printed() {
    for flag in ["-h", "--help", "-V", "--version"] {
        assert!(!list().arg(flag).run().ok().stdout.is_empty());
    }
}

#[test]
fn an_empty_index_is_printed_itself() {
    let top = index(types::INDEX, &[]);
    let dir = Scratch::new();
    write_layout(&dir.join("layout"), "x", &top, []);
    let oci = format!("oci:{}", dir.join("layout").display());
    let run = list().args(["--recursive", "--from", &oci]).stdin(top.bytes.clone()).run();
    run.ok().stdout(top.line());
}
