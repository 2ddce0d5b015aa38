// SPDX-License-Identifier: Apache-2.0
//! build-index: indexes from lines, entries that are completed from a layout, Docker manifest
//! lists, and refused input.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::{Value, json};
use tests::images::{Blob, Image, index, types, write_image, write_layout};
use tests::scratch::Scratch;
use tests::tools::{Command, Run, shell, tool};

const OCI_CONFIG: &str = types::CONFIG;
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

fn build(args: &[&str]) -> Command {
    tool("build-index").args(args)
}

fn document(run: &Run) -> Value {
    serde_json::from_slice(&run.ok().stdout).unwrap()
}

/// An image of one layer whose config has these fields.
fn image_of(config: Value) -> Image {
    let one = Image::new(&[]);
    Image::of_parts(config, one.layers, one.diff_ids)
}

/// The line of a manifest with a platform.
fn with_platform(manifest: &Blob, platform: &Value) -> String {
    let mut line = manifest.descriptor();
    line["platform"] = platform.clone();
    format!("{line}\n")
}

/// A layout with images.
fn layout_of(images: &[&Image]) -> Scratch {
    let dir = Scratch::new();
    for (i, image) in images.iter().enumerate() {
        write_image(&dir.join("l"), &i.to_string(), image);
    }
    dir
}

/// Builds from the layout `l` in a directory.
fn build_from(dir: &Scratch, args: &[&str], lines: impl Into<Vec<u8>>) -> Run {
    build(&[&["--from", "oci:l"], args].concat()).dir(dir.path()).stdin(lines).run()
}

// Indexes from lines.

#[test]
fn lines_become_an_index_in_their_order() {
    let (a, b) = (Image::for_platform("linux", "arm64"), Image::for_platform("linux", "amd64"));
    let want = index(types::INDEX, &[(&a.manifest, ""), (&b.manifest, "")]);
    let lines = a.manifest.line() + &b.manifest.line();
    build(&[]).stdin(lines).run().ok().stdout(&want.bytes);
    // The entries of an index give the same index again.
    let all = index(types::INDEX, &[(&a.manifest, "linux/arm64/v8"), (&b.manifest, "linux/amd64")]);
    let lines = tool("list-blobs").stdin(all.bytes.clone()).run().ok().stdout.clone();
    build(&[]).stdin(lines).run().ok().stdout(&all.bytes);
}

#[test]
fn an_entry_keeps_all_fields_but_its_name_in_a_layout() {
    let mut line = Image::small().manifest.descriptor();
    line["x"] = json!({"b": 1, "a": 2});
    line["annotations"] = json!({"k": "v"});
    let mut named = line.clone();
    named["annotations"]["org.opencontainers.image.ref.name"] = json!("1");
    named["annotations"]["io.containerd.image.name"] = json!("a/b:1");
    let run = build(&[]).stdin(format!("{named}\n")).run();
    let text = String::from_utf8(run.ok().stdout.clone()).unwrap();
    assert!(text.contains(&format!("[{line}]")), "{text}");
}

#[test]
fn annotations_a_subject_and_an_artifact_type_are_written_to_their_fields() {
    let manifest = Image::small().manifest;
    let subject = Image::big(10, 1).manifest;
    let dir = Scratch::new();
    dir.write("subject", subject.line());
    for text in ["subject", &subject.line()] {
        let args = ["--annotation", "b=x=y", "--annotation", "a=", "--artifact-type", "a/b"];
        let run = build(&args).args(["--subject", text]).dir(dir.path());
        run.stdin(manifest.line()).run().ok().stdout(
            json!({
                "schemaVersion": 2,
                "mediaType": types::INDEX,
                "artifactType": "a/b",
                "manifests": [manifest.descriptor()],
                "subject": subject.descriptor(),
                "annotations": {"b": "x=y", "a": ""},
            })
            .to_string(),
        );
    }
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let dir = Scratch::new();
    let line = Image::small().manifest.line();
    build(&["-o", "i"]).dir(dir.path()).stdin(line.clone()).run().ok().stdout("");
    assert!(dir.join("i").is_file());
    build(&["-o", "j"]).dir(dir.path()).stdin(line + "x").run().fails(6, "line 2: ");
    assert!(!dir.join("j").exists());
}

// Entries that are completed from a layout.

#[test]
fn an_image_gets_the_platform_of_its_config_with_all_parts() {
    let platform = json!({
        "architecture": "arm",
        "os": "windows",
        "os.version": "10.0.17763.1",
        "os.features": ["win32k"],
        "variant": "v6",
    });
    let whole = image_of(platform.clone());
    let plain = Image::for_platform("linux", "amd64");
    let blank = image_of(
        json!({"architecture": "386", "os": "linux", "variant": "", "os.version": null, "os.features": []}),
    );
    let dir = layout_of(&[&whole, &plain, &blank]);
    let lines = [&whole, &plain, &blank].map(|image| image.manifest.line()).concat();
    let built = document(&build_from(&dir, &[], lines));
    let platforms: Vec<_> = built["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["platform"].to_string())
        .collect();
    let want = [
        platform.to_string(),
        r#"{"architecture":"amd64","os":"linux"}"#.to_owned(),
        r#"{"architecture":"386","os":"linux"}"#.to_owned(),
    ];
    assert_eq!(platforms, want);
}

#[test]
fn a_platform_in_the_line_is_kept_unless_it_is_not_that_of_the_config() {
    let image = Image::for_platform("linux", "arm64");
    let dir = layout_of(&[&image]);
    let more = json!({"os": "linux", "architecture": "aarch64", "variant": "v8"});
    let built = document(&build_from(&dir, &[], with_platform(&image.manifest, &more)));
    assert_eq!(built["manifests"][0]["platform"], more);
    // A platform without `os` and `architecture` counts as no platform.
    let none = with_platform(&image.manifest, &json!({"variant": "v8"}));
    let built = document(&build_from(&dir, &[], none));
    assert_eq!(built["manifests"][0]["platform"], json!({"architecture": "arm64", "os": "linux"}));
    for other in [
        json!({"os": "linux", "architecture": "amd64"}),
        json!({"os": "\u{1b}", "architecture": "arm64"}),
    ] {
        let run = build_from(&dir, &[], with_platform(&image.manifest, &other));
        run.fails(1, "platform differs: the line has ")
            .says("the config has linux/arm64")
            .stdout("");
    }
}

#[test]
fn an_artifact_gets_its_artifact_type_and_needs_no_platform() {
    let artifact = |config: &Blob, stated: Option<&str>| {
        let mut manifest = json!({"schemaVersion": 2, "mediaType": types::MANIFEST, "config": config.descriptor(), "layers": []});
        if let Some(stated) = stated {
            manifest["artifactType"] = json!(stated);
        }
        Blob::json(types::MANIFEST, &manifest)
    };
    let empty = Blob::new(EMPTY, "{}");
    let own = Blob::new("application/vnd.example.config+json", "{}");
    let blank = Blob::new(OCI_CONFIG, r#"{"architecture":"","os":"","rootfs":{}}"#);
    let dir = Scratch::new();
    let mut types = Vec::new();
    for (config, stated) in [
        (&empty, Some("a/b")),
        (&own, None),
        (&own, Some("a/c")),
        (&blank, Some("a/d")),
        (&empty, None),
    ] {
        let manifest = artifact(config, stated);
        write_layout(&dir.join("l"), "1", &manifest, [config]);
        let built = document(&build_from(&dir, &[], manifest.line()));
        let entry = &built["manifests"][0];
        assert_eq!(entry.get("platform"), None);
        types.push(entry["artifactType"].as_str().unwrap_or("none").to_owned());
    }
    assert_eq!(types, ["a/b", "application/vnd.example.config+json", "a/c", "a/d", "none"]);
}

#[test]
fn a_nested_index_is_read_and_listed_without_a_platform() {
    let image = Image::small();
    let nested = index(types::INDEX, &[(&image.manifest, "linux/amd64")]);
    let dir = Scratch::new();
    write_layout(&dir.join("l"), "1", &nested, []);
    let built = document(&build_from(&dir, &[], nested.line()));
    assert_eq!(built["manifests"], json!([nested.descriptor()]));
}

#[test]
fn annotations_of_manifests_are_copied_if_asked_for() {
    let mut manifest = Image::small().manifest_json();
    manifest["annotations"] = json!({"a": "of the manifest", "b": "also"});
    let image = Image::small().with_manifest(&manifest);
    let dir = layout_of(&[&image]);
    let mut line = image.manifest.descriptor();
    line["annotations"] = json!({"a": "of the line"});
    let lines = format!("{line}\n");
    let built = document(&build_from(&dir, &["--copy-annotations"], lines.clone()));
    assert_eq!(built["manifests"][0]["annotations"], json!({"a": "of the line", "b": "also"}));
    let built = document(&build_from(&dir, &[], lines.clone()));
    assert_eq!(built["manifests"][0]["annotations"], json!({"a": "of the line"}));
    build(&["--copy-annotations"]).stdin(lines).run().fails(2, "--from").stdout("");
}

#[test]
fn a_layout_that_lacks_a_manifest_or_its_config_is_refused() {
    let image = Image::small();
    let other = Image::big(10, 1);
    let dir = layout_of(&[&image]);
    build_from(&dir, &[], other.manifest.line()).fails(3, &other.manifest.digest).stdout("");
    let path = |blob: &Blob| dir.join("l/blobs").join(blob.digest.replace(':', "/"));
    std::fs::remove_file(path(&image.config)).unwrap();
    build_from(&dir, &[], image.manifest.line()).fails(3, &image.config.digest).stdout("");
    std::fs::remove_file(path(&image.manifest)).unwrap();
    build_from(&dir, &[], image.manifest.line()).fails(3, &image.manifest.digest).stdout("");
    let run = build(&["--from", "oci:none"]).dir(dir.path()).stdin(image.manifest.line()).run();
    run.fails(3, "oci:none: no such layout").stdout("");
    let run = build(&["--from", "app"]).stdin(image.manifest.line()).run();
    run.fails(2, "--from app: expected oci:DIR")
        .says("hint: fetch-manifest REPO@DIGEST --into")
        .stdout("");
}

#[test]
fn a_manifest_that_differs_from_its_line_is_refused() {
    let image = Image::small();
    let dir = layout_of(&[&image]);
    for (change, status, words) in [
        (json!({"size": image.manifest.bytes.len() + 1}), 1, "size differs: got "),
        (json!({"size": (4 << 20) + 1}), 6, "4194305 bytes, larger than 4194304"),
        (json!({"mediaType": types::DOCKER_MANIFEST}), 6, "declared as "),
        (json!({"mediaType": types::INDEX}), 6, "declared as "),
    ] {
        let mut line = image.manifest.descriptor();
        line.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        build_from(&dir, &[], format!("{line}\n")).fails(status, words).stdout("");
    }
    for blob in [&image.config, &image.manifest] {
        let path = dir.join("l/blobs").join(blob.digest.replace(':', "/"));
        let mut bytes = blob.bytes.clone();
        bytes[0] = b' ';
        std::fs::write(path, bytes).unwrap();
        build_from(&dir, &[], image.manifest.line()).fails(1, "digest differs: got ").stdout("");
    }
}

#[test]
fn a_hostile_config_is_refused() {
    let dir = Scratch::new();
    for (text, words) in [
        ("<html>", "not valid JSON"),
        ("{}", "has no platform"),
        (r#"{"os":"linux","architecture":""}"#, "has no platform"),
        (r#"{"os":1,"architecture":"amd64"}"#, "os is a number, not a string"),
        (r#"{"os":"linux","OS":"x","architecture":"amd64"}"#, "only in case"),
        (r#"{"os":"linux","os":"x","architecture":"amd64"}"#, "appears twice"),
        (
            r#"{"os":"linux","architecture":"amd64","os.features":[1]}"#,
            "os.features is not an array",
        ),
        (
            r#"{"os":"linux","architecture":"amd64","os.features":"x"}"#,
            "os.features is not an array",
        ),
    ] {
        let config = Blob::new(types::CONFIG, text);
        let manifest = json!({"schemaVersion": 2, "mediaType": types::MANIFEST, "config": config.descriptor(), "layers": []});
        let manifest = Blob::json(types::MANIFEST, &manifest);
        write_layout(&dir.join("l"), "1", &manifest, [&config]);
        let run = build_from(&dir, &[], manifest.line());
        run.fails(6, words).says(&config.digest).stdout("");
    }
    let plugin = Blob::new("application/vnd.docker.plugin.v1+json", "{}");
    let manifest = json!({"schemaVersion": 2, "mediaType": types::DOCKER_MANIFEST, "config": plugin.descriptor(), "layers": []});
    let manifest = Blob::json(types::DOCKER_MANIFEST, &manifest);
    write_layout(&dir.join("l"), "1", &manifest, [&plugin]);
    build_from(&dir, &[], manifest.line()).fails(6, "target is a plugin").stdout("");
}

// Duplicates.

#[test]
fn a_platform_that_appears_twice_is_refused_unless_it_is_allowed() {
    let (a, b) = (Image::big(10, 1).manifest, Image::big(10, 2).manifest);
    let pair = |one: Value, other: Value| with_platform(&a, &one) + &with_platform(&b, &other);
    let platform = |architecture: &str, variant: &str| json!({"os": "linux", "architecture": architecture, "variant": variant});
    let amd64 = json!({"os": "linux", "architecture": "amd64"});
    for (one, other) in [
        (amd64.clone(), amd64.clone()),
        (amd64.clone(), platform("x86_64", "")),
        (platform("arm64", ""), platform("arm64", "v8")),
        (platform("arm", "7"), platform("arm", "")),
        (platform("ppc64le", ""), platform("ppc64le", "")),
    ] {
        let lines = pair(one, other);
        let run = build(&[]).stdin(lines.clone()).run();
        run.fails(6, "appears twice: ").says(&a.digest).says(&b.digest);
        run.says("hint: --allow-duplicates").stdout("");
        let built = document(&build(&["--allow-duplicates"]).stdin(lines).run());
        assert_eq!(built["manifests"].as_array().unwrap().len(), 2);
    }
    let mut version = amd64.clone();
    version["os.version"] = json!("10");
    let mut features = amd64.clone();
    features["os.features"] = json!(["x"]);
    for other in [platform("amd64", "v2"), platform("arm64", ""), version, features] {
        build(&[]).stdin(pair(amd64.clone(), other)).run().ok();
    }
}

#[test]
fn a_manifest_without_a_platform_may_appear_only_once() {
    let (a, b) = (Image::big(10, 1).manifest, Image::big(10, 2).manifest);
    let unknown = json!({"os": "unknown", "architecture": "unknown"});
    // Attestations share the platform "unknown".
    build(&[]).stdin(with_platform(&a, &unknown) + &with_platform(&b, &unknown)).run().ok();
    build(&[]).stdin(a.line() + &b.line()).run().ok();
    // Two platforms may share one image.
    let noarch = |architecture: &str| {
        with_platform(&a, &json!({"os": "linux", "architecture": architecture}))
    };
    build(&[]).stdin(noarch("amd64") + &noarch("arm64")).run().ok();
    for line in [a.line(), with_platform(&a, &unknown)] {
        let run = build(&[]).stdin(line.clone() + &line).run();
        run.fails(6, &format!("{} appears twice", a.digest)).stdout("");
        build(&["--allow-duplicates"]).stdin(line.clone() + &line).run().ok();
    }
}

// Docker manifest lists.

#[test]
fn a_docker_manifest_list_has_docker_manifests_with_platforms() {
    let image = Image::small().docker();
    let dir = layout_of(&[&image]);
    let want = index(types::DOCKER_LIST, &[(&image.manifest, "linux/amd64")]);
    build_from(&dir, &["--docker"], image.manifest.line()).ok().stdout(&want.bytes);
    let want = index(types::INDEX, &[(&image.manifest, "linux/amd64")]);
    build_from(&dir, &[], image.manifest.line()).ok().stdout(&want.bytes);

    let run = build(&["--docker"]).stdin(image.manifest.line()).run();
    run.fails(6, "no platform: a Docker manifest list").says("hint: --from").stdout("");
    for wrong in [Image::small().manifest, index(types::DOCKER_LIST, &[])] {
        let run = build(&["--docker"]).stdin(wrong.line()).run();
        run.fails(6, "has only Docker manifests").says("hint: build-manifest --docker").stdout("");
    }
    for option in ["--annotation=a=b", "--artifact-type=a/b", "--subject=x"] {
        build(&["--docker", option]).stdin("").run().fails(2, "--docker").stdout("");
    }
}

// Refused input.

#[test]
fn lines_that_do_not_belong_into_an_index_are_refused() {
    let image = Image::small();
    let manifest = image.manifest.line();
    let schema1 = Blob::new("application/vnd.docker.distribution.manifest.v1+json", "{}").line();
    let mut empty = image.manifest.descriptor();
    empty["size"] = json!(0);
    let mut unsized_line = image.manifest.descriptor();
    unsized_line.as_object_mut().unwrap().remove("size");
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let deep = manifest.trim_end().trim_end_matches('}').to_owned() + ",\"x\":" + &deep + "}";
    for (stdin, words) in [
        (String::new(), "no input: did the previous command fail?"),
        ("\n\n".to_owned(), "no input: did the previous command fail?"),
        (image.config.line(), "is not the media type of a manifest or an index"),
        (manifest.clone() + &image.layers[0].line(), "is not the media type of a manifest"),
        (Blob::new("application/\u{1b}x", "{}").line(), "mediaType is not a media type"),
        (schema1, "a Docker schema 1 manifest"),
        (format!("{empty}\n"), "the size is 0"),
        (format!("{unsized_line}\n"), "line 1: no size"),
        (manifest.clone() + "{}\n", "line 2: no mediaType"),
        (String::from_utf8_lossy(&image.manifest.bytes).into_owned(), "line 1: no digest"),
        (deep, "line 1: not valid JSON: nested deeper"),
        ("x".to_owned(), "line 1: not valid JSON"),
    ] {
        build(&[]).stdin(stdin).run().fails(6, words).stdout("");
    }
    build(&[]).stdin(&b"\xff\xfe\n"[..]).run().fails(6, "invalid UTF-8").stdout("");
}

#[test]
fn an_index_larger_than_the_limit_is_refused() {
    let manifest = Image::small().manifest;
    let lines = |padding: usize| {
        let mut line = manifest.descriptor();
        line["annotations"] = json!({"x": "x".repeat(padding)});
        format!("{line}\n")
    };
    let smallest = build(&[]).stdin(lines(0)).run().ok().stdout.len();
    let most = (4 << 20) - smallest;
    assert_eq!(build(&[]).stdin(lines(most)).run().ok().stdout.len(), 4 << 20);
    let run = build(&[]).stdin(lines(most + 1)).run();
    run.fails(6, "the index: 4194305 bytes, larger than 4194304").stdout("");
    let run = build(&["--allow-duplicates"]).stdin(lines(5 << 19) + &lines(5 << 19)).run();
    run.fails(6, "too many lines: a manifest has at most").stdout("");
}

#[test]
fn an_invalid_subject_or_option_is_refused() {
    let dir = Scratch::new();
    let image = Image::small();
    dir.write("layer", image.layers[0].line());
    dir.write("manifest", &image.manifest.bytes);
    for (status, args, words) in [
        (2, ["--subject", ""], "--subject: empty"),
        (2, ["--subject", "-"], "standard input has the manifests' lines"),
        (2, ["--subject", "layer"], "is not the media type of a manifest"),
        (6, ["--subject", "manifest"], "manifest: "),
        (3, ["--subject", "none"], "none: no such file"),
        (2, ["--annotation", "=x"], "expected KEY=VALUE"),
        (2, ["--artifact-type", "sbom"], "not a media type"),
    ] {
        let run = build(&args).dir(dir.path()).stdin(image.manifest.line()).run();
        run.fails(status, words).stdout("");
    }
    let run = build(&["--annotation", "a=1", "--annotation", "a=2"]).run();
    run.fails(2, "--annotation: \"a\" given twice");
}

#[test]
fn a_closed_or_full_stdout_is_never_success() {
    let dir = Scratch::new();
    dir.write("lines", Image::small().manifest.line());
    for (script, words) in [
        ("build-index <lines >&-", "standard output: closed"),
        ("build-index <lines >/dev/full", "no space left on device"),
        ("build-index <&-", "standard input: closed"),
    ] {
        let run = shell(script).dir(dir.path()).run();
        run.says(words);
        assert_ne!(run.code(), Some(0), "{run}");
    }
}

// Pipelines.

/// Two platforms, built and joined as the manual's example does.
fn build_two_platforms(dir: &Path, docker: bool) {
    for (name, text) in [("amd64", "x"), ("arm64", "y")] {
        std::fs::create_dir_all(dir.join(name)).unwrap();
        std::fs::write(dir.join(name).join("file"), text).unwrap();
    }
    let script = "for p in amd64 arm64; do
        pack-layer $p --into oci:img >line &&
        { build-config --platform linux/$p --into oci:img <line && cat line; } |
        build-manifest $docker --from oci:img | put-manifest oci:img:$p || exit
        done | build-index $docker --from oci:img >index.json && put-manifest oci:img:1 index.json";
    let option = if docker { "--docker" } else { "" };
    let run = shell(script).env("docker", option).dir(dir).run();
    assert_eq!(run.ok().lines().len(), 1);
}

#[test]
fn the_pipeline_of_two_platforms_gives_an_image_for_each() {
    let dir = Scratch::new();
    build_two_platforms(dir.path(), false);
    for (name, text) in [("amd64", "x"), ("arm64", "y")] {
        let script = "fetch-manifest -p linux/$p oci:img:1 | list-blobs |
            unpack-layer --from oci:img root-$p >/dev/null && cat root-$p/file";
        shell(script).env("p", name).dir(dir.path()).run().ok().stdout(text);
    }
    // If a program before build-index fails, no index is stored.
    let run = shell("false | build-index --from oci:img").dir(dir.path()).run();
    run.status(6).says("build-index: no input").stdout("");
}

mod with_peers {
    use tests::peers::{must, peer};
    use tests::registry::Registry;

    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    /// skopeo chooses each platform from the layout and from a registry, in both formats.
    #[test]
    fn skopeo_finds_each_platform_in_a_layout_and_in_a_registry() {
        for docker in [false, true] {
            let dir = Scratch::new();
            build_two_platforms(dir.path(), docker);
            let registry = Registry::start();
            let script = "list-blobs --recursive --from oci:img index.json |
                push-blob $repo --from oci:img >lines && put-manifest $repo:1 index.json";
            shell(script).env("repo", registry.repo("app")).dir(dir.path()).run().ok();
            let remote = format!("docker://{}:1", registry.repo("app"));
            let local = format!("oci:{}:1", dir.join("img").display());
            for arch in ["amd64", "arm64"] {
                // skopeo finds no tag of a Docker manifest list in a layout.
                for place in [&remote, &local].into_iter().take(if docker { 1 } else { 2 }) {
                    let mut skopeo = peer("skopeo");
                    skopeo.args(["--override-os", "linux", "--override-arch", arch, "inspect"]);
                    skopeo.args(["--tls-verify=false", place]);
                    let known: Value = serde_json::from_str(&text(must(&mut skopeo))).unwrap();
                    assert_eq!(known["Architecture"], arch, "{place}");
                }
            }
            let mut copy = peer("skopeo");
            copy.args(["copy", "--all", "--preserve-digests", "--src-tls-verify=false", &remote]);
            must(copy.arg(format!("dir:{}", dir.join("back").display())));
            let same = "cmp back/manifest.json index.json";
            shell(same).dir(dir.path()).run().ok();
        }
    }

    /// umoci lists the tag of an index, and unpacks an image that the index lists.
    #[test]
    fn umoci_reads_the_layout_with_an_index() {
        let dir = Scratch::new();
        build_two_platforms(dir.path(), false);
        let mut list = peer("umoci");
        let tags = text(must(list.args(["ls", "--layout"]).arg(dir.join("img"))));
        assert_eq!(tags.lines().collect::<Vec<_>>(), ["amd64", "arm64", "1"]);
        let mut unpack = peer("umoci");
        unpack.args(["raw", "unpack", "--rootless", "--image"]);
        let image = format!("{}:arm64", dir.join("img").display());
        must(unpack.arg(image).arg(dir.join("root")));
        assert_eq!(std::fs::read_to_string(dir.join("root/file")).unwrap(), "y");
    }
}
