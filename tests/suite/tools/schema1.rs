// SPDX-License-Identifier: Apache-2.0
//! Docker's manifests of schema 1 in all tools that read or write manifests: from a tag to a root
//! file system, and to another registry.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, file, gzip, index, read_index, sha256, types};
use tests::schema1::{GATE, document, id, payload, signed};
use tests::scratch::Scratch;
use tests::tools::{Command, Run, shell, tool};

const NOTICE: &str = "[DEPRECATION NOTICE]";
const HINT: &str = "hint: DOCKER_ENABLE_DEPRECATED_PULL_SCHEMA_1_IMAGE=1 in the environment";

/// The pipeline of the manual: from a tag to a root file system and an image config.
const PIPELINE: &str = "fetch-manifest \"$REPO:1\" >m.json && list-blobs m.json | \
    fetch-blob \"$REPO\" --into oci:old | unpack-layer --no-config --from oci:old root >layers && \
    build-config --schema1 m.json --into oci:old <layers >config";

/// A tool that accepts schema 1.
fn open(name: &str) -> Command {
    tool(name).env(GATE, "1")
}

/// An image of two layers. An entry between them changes no file, and the upper one is listed
/// twice.
struct Old {
    image: Image,
    empty: Blob,
    manifest: Blob,
}

impl Old {
    fn new() -> Old {
        let image = Image::new(&[&[file("one", "1")], &[file("two", "2")]]);
        let empty = Blob::new("", gzip(&[0; 1024]));
        let [base, top] = [&image.layers[0].digest, &image.layers[1].digest];
        let entry = |own: char, parent: Option<char>, more: Value| {
            let mut entry = json!({"id": id(own), "os": "linux", "architecture": "amd64",
                "created": "2015-10-31T22:22:56Z", "docker_version": "1.9.1"});
            entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            if let Some(parent) = parent {
                entry["parent"] = json!(id(parent));
            }
            entry.to_string()
        };
        let top_entry = entry('c', Some('b'), json!({"config": {"Cmd": ["sh"]}}));
        let document = document(
            &[top, top, &empty.digest, base],
            &[
                top_entry.clone(),
                top_entry,
                entry('b', Some('a'), json!({"throwaway": true})),
                entry('a', None, json!({})),
            ],
        );
        let manifest = Blob::new(types::DOCKER_SCHEMA1, signed(&document));
        Old { image, empty, manifest }
    }

    fn payload(&self) -> Vec<u8> {
        payload(&self.manifest.bytes).unwrap()
    }

    fn digest(&self) -> String {
        sha256(&self.payload())
    }

    fn add_to(&self, registry: &FakeRegistry, repository: &str) {
        for blob in self.image.layers.iter().chain([&self.empty]) {
            registry.add_blob(repository, blob.bytes.clone());
        }
        registry.add_manifest(repository, "1", &self.manifest);
    }

    /// A registry with the image as `app:1`.
    fn registry(&self) -> FakeRegistry {
        let registry = FakeRegistry::start();
        self.add_to(&registry, "app");
        registry
    }
}

fn refused(run: &Run) {
    run.fails(6, NOTICE).says("Suggest the author of 127.0.0.1:").says(HINT).stdout("");
}

#[test]
fn a_signed_manifest_is_fetched_unchanged_and_has_the_digest_of_its_payload() {
    let old = Old::new();
    let registry = old.registry();
    let app = registry.repo("app");
    let by_tag = format!("{app}:1");
    let by_digest = format!("{app}@{}", old.digest());
    let fetch = |args: &[&str]| open("fetch-manifest").args(args).run();
    for reference in [&by_tag, &by_digest] {
        fetch(&[reference]).ok().stdout(&old.manifest.bytes);
        fetch(&[reference, "--digest"]).ok().stdout(old.digest() + "\n");
        let line: Value =
            serde_json::from_slice(&fetch(&[reference, "--descriptor"]).ok().stdout).unwrap();
        let size = old.manifest.bytes.len();
        assert_eq!(
            line,
            json!({"mediaType": types::DOCKER_SCHEMA1, "digest": old.digest(), "size": size})
        );
    }
    let accept = registry.server.requests()[0].header("accept").unwrap().to_owned();
    assert!(accept.contains(types::DOCKER_SCHEMA1), "{accept}");
}

#[test]
fn schema_1_is_refused_by_default_with_every_option() {
    let old = Old::new();
    let registry = old.registry();
    let app = registry.repo("app");
    let dir = Scratch::new();
    for reference in [format!("{app}:1"), format!("{app}@{}", old.digest())] {
        for args in [&[][..], &["--digest"], &["--descriptor"], &["--into", "oci:x"], &["-o", "x"]]
        {
            let run = tool("fetch-manifest").arg(&reference).args(args).dir(dir.path()).run();
            refused(&run);
        }
    }
    assert_eq!(dir.list(), Vec::<String>::new());
    let put = tool("put-manifest").arg(format!("{app}:2")).stdin(old.manifest.bytes.clone()).run();
    refused(&put);
    let list = tool("list-blobs").stdin(old.manifest.bytes.clone()).run();
    list.fails(6, NOTICE).says(HINT).stdout("");
    assert_eq!(registry.tags("app").len(), 1);
}

#[test]
fn the_digest_is_that_of_the_payload_whatever_the_header_covers() {
    let old = Old::new();
    let registry = old.registry();
    let reference = format!("{}:1", registry.repo("app"));
    let fetch = |args: &[&str]| open("fetch-manifest").arg(&reference).args(args).run();
    let raw = sha256(&old.manifest.bytes);
    let sha512 = tests::images::sha512(&old.payload());
    for (header, digest) in
        [(Some(raw), old.digest()), (None, old.digest()), (Some(sha512.clone()), sha512)]
    {
        registry.fault(move |request, right| {
            let right = right.without("docker-content-digest");
            match &header {
                Some(header) if request.is_manifest() => {
                    right.header("Docker-Content-Digest", header)
                }
                _ => right,
            }
        });
        fetch(&["--digest"]).ok().stdout(digest + "\n");
    }
    let wrong = sha256(b"another");
    registry.fault(move |_, right| {
        right.without("docker-content-digest").header("Docker-Content-Digest", &wrong)
    });
    fetch(&[]).fails(1, "digest differs").stdout("");
}

#[test]
fn the_digest_is_checked_before_the_structure() {
    let old = Old::new();
    let registry = FakeRegistry::start();
    let app = registry.repo("app");
    let mut other: Value = serde_json::from_slice(&old.payload()).unwrap();
    other["history"] = json!([]);
    let wrong = Blob::new(types::DOCKER_SCHEMA1, signed(&other));
    registry.add_manifest("app", "1", &wrong);
    let run = open("fetch-manifest").arg(format!("{app}:1")).run();
    let words = format!("length of history not equal to number of layers for \"{app}:1\"");
    run.fails(6, &words).stdout("");
    // If a digest is requested, the wrong digest is reported before the wrong structure.
    registry.fault(
        move |request, right| {
            if request.is_manifest() { right.body(&wrong.bytes) } else { right }
        },
    );
    registry.add_manifest("app", "", &old.manifest);
    let run = open("fetch-manifest").arg(format!("{app}@{}", old.digest())).run();
    run.fails(1, "digest differs: got sha256:").stdout("");
    assert!(registry.blob_requests().is_empty());
}

#[test]
fn layers_are_listed_base_first_without_sizes_and_completed_by_fetch_blob() {
    let old = Old::new();
    let registry = old.registry();
    let dir = Scratch::new();
    dir.write("m.json", &old.manifest.bytes);
    let line = |blob: &Blob| {
        let media_type = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        format!(r#"{{"mediaType":"{media_type}","digest":"{}"}}"#, blob.digest) + "\n"
    };
    let listed = old.image.layers.iter().map(line).collect::<String>();
    let list = |args: &[&str]| open("list-blobs").arg("m.json").args(args).dir(dir.path()).run();
    for args in [&[][..], &["--layers"], &["-p", "linux/amd64"]] {
        list(args).ok().stdout(&listed);
    }
    list(&["--config"]).fails(2, "has no config").says("hint: build-config --schema1").stdout("");
    list(&["-p", "linux/s390x"]).fails(3, "the image is for linux/amd64, not linux/s390x");
    // --recursive lists all blobs, because a copy needs them all.
    let all = list(&["--recursive", "--from", "oci:none"]);
    list(&["--recursive", "--from", &registry.repo("app")])
        .ok()
        .stdout([&old.image.layers[0], &old.empty, &old.image.layers[1]].map(line).concat());
    all.fails(3, "no such layout");

    let fetch = tool("fetch-blob").args([&registry.repo("app"), "--into", "oci:layout"]);
    let fetched = fetch.stdin(listed.clone()).dir(dir.path()).run();
    let sizes =
        old.image.layers.iter().map(|layer| {
            line(layer).replace("}\n", &format!(",\"size\":{}}}\n", layer.bytes.len()))
        });
    fetched.ok().stdout(sizes.collect::<String>());
    let one = tool("fetch-blob").arg(registry.repo("app")).stdin(line(&old.empty)).run();
    one.ok().stdout(&old.empty.bytes);
    // A tool that needs the size refuses the line with a hint.
    let unpack = tool("unpack-layer").args(["--no-config", "--from", "oci:layout", "root"]);
    unpack.stdin(listed).dir(dir.path()).run().fails(6, "no size").says("hint: fetch-blob");
}

#[test]
fn a_tag_becomes_a_root_file_system_and_an_image_of_schema_2() {
    let old = Old::new();
    let registry = old.registry();
    let dir = Scratch::new();
    let script =
        format!("{PIPELINE} && cat config layers | build-manifest --from oci:old --docker");
    let run = shell(&script).env(GATE, "1").env("REPO", registry.repo("app")).dir(dir.path()).run();
    let manifest: Value = serde_json::from_slice(&run.ok().stdout).unwrap();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
    for (name, text) in [("one", "1"), ("two", "2")] {
        assert_eq!(std::fs::read_to_string(dir.join("root").join(name)).unwrap(), text);
    }
    let asked = |digest: &str| registry.blob_requests().iter().any(|r| r.target.ends_with(digest));
    assert!(!asked(&old.empty.digest), "a blob that is not a layer was fetched");
}

#[test]
fn a_signed_manifest_is_put_unchanged() {
    let old = Old::new();
    let registry = old.registry();
    let (app, copy) = (registry.repo("app"), registry.repo("copy"));
    let dir = Scratch::new();
    dir.write("m.json", &old.manifest.bytes);
    let put = |args: &[&str]| open("put-manifest").args(args).arg("m.json").dir(dir.path()).run();
    put(&["--check", &format!("{copy}:1")]).fails(6, "missing").says(&old.empty.digest);
    put(&[&format!("{copy}@{}", old.manifest.digest)]).fails(1, "digest differs");
    let script =
        "list-blobs --recursive --from \"$APP\" m.json | push-blob \"$COPY\" --from \"$APP\" &&
        put-manifest --check \"$COPY:1\" m.json";
    let run =
        shell(script).env(GATE, "1").env("APP", &app).env("COPY", &copy).dir(dir.path()).run();
    assert_eq!(run.ok().lines().len(), 4);
    let held = registry.manifest("copy", "1").unwrap();
    assert_eq!((held.bytes, held.digest), (old.manifest.bytes.clone(), old.digest()));
    let line = put(&[&format!("{copy}@{}", old.digest())]);
    assert!(String::from_utf8_lossy(&line.ok().stdout).contains(&old.digest()));
}

#[test]
fn a_layout_gets_the_payload_under_its_digest() {
    let old = Old::new();
    let registry = old.registry();
    let dir = Scratch::new();
    let reference = format!("{}:1", registry.repo("app"));
    let words = "warning: sha256:";
    let fetch = open("fetch-manifest").args([&reference, "--into", "oci:a"]).dir(dir.path()).run();
    fetch.status(0).says(words).says("cannot hold the signatures").stdout(&old.manifest.bytes);
    let stored = |layout: &str| {
        let entry = read_index(&dir.join(layout))["manifests"][0].clone();
        assert_eq!(entry["digest"], json!(old.digest()));
        assert_eq!(entry["size"], json!(old.payload().len()));
        tests::images::read_blob(&dir.join(layout), &old.digest()).unwrap()
    };
    let digest = format!("oci:a@{}", old.digest());
    let again = open("fetch-manifest").arg(&digest).dir(dir.path()).run();
    again.ok().stdout(old.payload());
    let put = |dir: &Scratch| {
        let put = open("put-manifest").arg("oci:a:2").stdin(old.manifest.bytes.clone());
        put.dir(dir.path()).run()
    };
    put(&dir).fails(6, &old.image.layers[0].digest).does_not_say(&old.empty.digest);
    let fill = "fetch-manifest \"$DIGEST\" | list-blobs | fetch-blob \"$APP\" --into oci:a";
    let fill = shell(fill).env(GATE, "1").env("APP", registry.repo("app"));
    fill.env("DIGEST", digest).dir(dir.path()).run().ok();
    // The layout has all layers now, so the manifest has its tag.
    assert_eq!(stored("a"), old.payload());
    let command = open("fetch-manifest").args(["--if-changed", &reference, "--into", "oci:a"]);
    command.dir(dir.path()).run().status(8).silent().stdout("");
    put(&dir).status(0);
    assert_eq!(stored("a"), old.payload());
}

#[test]
fn a_lists_schema_1_child_is_chosen_listed_and_copied() {
    let old = Old::new();
    let registry = old.registry();
    let dir = Scratch::new();
    for (size, tag) in [(old.manifest.bytes.len(), "signed"), (old.payload().len(), "payload")] {
        let mut list: Value = serde_json::from_slice(
            &index(types::DOCKER_LIST, &[(&old.manifest, "linux/amd64")]).bytes,
        )
        .unwrap();
        list["manifests"][0]["digest"] = json!(old.digest());
        list["manifests"][0]["size"] = json!(size);
        registry.add_manifest("app", tag, &Blob::json(types::DOCKER_LIST, &list));
        let reference = format!("{}:{tag}", registry.repo("app"));
        let child = ["-p", "linux/amd64", &reference];
        refused(&tool("fetch-manifest").args(child).run());
        open("fetch-manifest").args(child).run().ok().stdout(&old.manifest.bytes);
        let copy = registry.repo(&format!("copy-{tag}"));
        let script =
            "fetch-manifest \"$REF\" >m && list-blobs --recursive --from \"$APP\" m >lines &&
            push-blob \"$COPY\" --from \"$APP\" <lines >/dev/null && put-manifest \"$COPY:1\" m";
        let run = shell(script).env(GATE, "1").env("REF", &reference).env("COPY", &copy);
        run.env("APP", registry.repo("app")).dir(dir.path()).run().ok();
        let held = registry.manifest(&format!("copy-{tag}"), &old.digest()).unwrap();
        assert_eq!(held.bytes, old.manifest.bytes);
        // A layout cannot hold the signed form, and no wrong blob appears in it.
        for tool in ["fetch-blob \"$APP\" --into oci:no", "push-blob oci:no --from \"$APP\""] {
            let script = format!("{tool} <lines >/dev/null");
            let run = shell(&script).env(GATE, "1").env("APP", registry.repo("app"));
            run.dir(dir.path())
                .run()
                .status(6)
                .says("a layout cannot hold a signed schema 1 manifest");
            assert_eq!(tests::images::read_blob(&dir.join("no"), &old.digest()), None);
        }
    }
}

#[test]
fn verify_digest_accepts_the_digest_of_the_payload() {
    let old = Old::new();
    let dir = Scratch::new();
    dir.write("m.json", &old.manifest.bytes);
    dir.write("payload", old.payload());
    let digest = old.digest();
    let verify = |args: &[&str]| tool("verify-digest").args(args).dir(dir.path());
    verify(&[&digest, "m.json", "payload"]).run().ok();
    verify(&[&sha256(&old.manifest.bytes), "m.json"]).run().ok();
    let filter = verify(&[&digest]).stdin(old.manifest.bytes.clone()).run();
    filter.ok().stdout(&old.manifest.bytes);
    let size = old.manifest.bytes.len().to_string();
    verify(&["--size", &size, &digest, "m.json"]).run().ok();
    verify(&["--size", "1", &digest, "m.json"]).run().fails(1, "m.json: ");
    let sha512 = tests::images::sha512(&old.payload());
    verify(&[&sha512, "m.json"]).run().ok();
    // A changed payload, a change outside of the payload, and no signature.
    let text = String::from_utf8(old.manifest.bytes.clone()).unwrap();
    let mut unsigned: Value = serde_json::from_str(&text).unwrap();
    unsigned["signatures"] = json!([]);
    for wrong in [text.replace("linux", "Linux"), format!("{text} "), unsigned.to_string()] {
        let run = verify(&[&digest]).stdin(wrong.clone()).run();
        if wrong.ends_with(' ') {
            // White space after the document is not signed, and has no meaning.
            run.ok().stdout(wrong);
        } else {
            assert_eq!((run.code(), run.stdout.len() < wrong.len()), (Some(1), true), "{run}");
        }
    }
}

#[test]
fn a_single_image_must_be_for_the_given_platform() {
    let registry = FakeRegistry::with_image();
    let old = Old::new();
    old.add_to(&registry, "old");
    for reference in [format!("{}:1", registry.repo("app")), format!("{}:1", registry.repo("old"))]
    {
        let fetch = |platform| open("fetch-manifest").args(["-p", platform, &reference]).run();
        fetch("linux/s390x").fails(3, "the image is for linux/amd64, not linux/s390x").stdout("");
        fetch("linux/amd64").ok();
    }
}

/// The headers of a response that describe a manifest, sorted.
fn described_by(headers: &str) -> Vec<String> {
    let wanted = ["content-type", "docker-content-digest", "etag"];
    let mut lines: Vec<String> = headers
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()))
        .filter(|line| wanted.iter().any(|name| line.starts_with(name)))
        .collect();
    lines.sort();
    lines
}

mod with_peers {
    use tests::judges::differences;
    use tests::peers::{must, peer};
    use tests::registry::Registry;
    use tests::trees::exactly;

    use super::*;

    /// A real registry with an image in schema 1 and in schema 2, both written by skopeo.
    fn registry() -> (Registry, Image) {
        let registry = Registry::with_schema1();
        let image = Image::new(&[
            &[file("one", "1"), file("removed", "x"), tests::images::dir("etc/")],
            &[file("etc/two", "2"), tests::images::whiteout("removed")],
        ]);
        let step = |text: &str| json!({"created": "2016-01-02T03:04:05Z", "created_by": text});
        let mut nothing = step("CMD [\"sh\"]");
        nothing["empty_layer"] = json!(true);
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2016-01-02T03:04:05Z",
            "docker_version": "1.12.0",
            "config": {"Cmd": ["sh"]},
            "history": [step("ADD a"), nothing, step("ADD b")],
        });
        let image = Image::of_parts(config, image.layers, image.diff_ids);
        registry.push("app", "1", &image, "v2s1");
        registry.push("app", "2", &image, "v2s2");
        (registry, image)
    }

    fn curl(args: &[&str], url: &str) -> String {
        let mut curl = peer("curl");
        curl.args(["-sS", "--http1.1", "--fail-with-body", "--noproxy", "*"]).args(args);
        String::from_utf8(must(curl.arg(url))).unwrap()
    }

    #[test]
    fn a_tag_of_a_real_registry_is_fetched_only_if_schema_1_is_allowed() {
        let (registry, _) = registry();
        let app = registry.repo("app");
        let reference = format!("{app}:1");
        let bytes = open("fetch-manifest").arg(&reference).run().ok().stdout.clone();
        let digest = sha256(&payload(&bytes).unwrap());
        let by_digest = format!("{app}@{digest}");
        for reference in [&reference, &by_digest] {
            let run = open("fetch-manifest").args([reference, "--digest"]).run();
            run.ok().stdout(digest.clone() + "\n");
            let run = open("fetch-manifest").args([reference, "--descriptor"]).run();
            assert!(String::from_utf8_lossy(&run.ok().stdout).contains(types::DOCKER_SCHEMA1));
            for args in [&[][..], &["--digest"], &["--descriptor"]] {
                refused(&tool("fetch-manifest").arg(reference).args(args).run());
            }
        }
        // The registry signs the payload again for each response: only the bytes differ.
        let verify = open("verify-digest").arg(&digest).stdin(bytes.clone()).run();
        verify.ok().stdout(&bytes);
        let detect = open("detect-mediatype").stdin(bytes).run();
        detect.ok().stdout(format!("{}\n", types::DOCKER_SCHEMA1));
    }

    #[test]
    fn the_scripted_registry_answers_as_the_real_one() {
        let (real, _) = registry();
        let dir = Scratch::new();
        let url = format!("http://{}/v2/app/manifests/", real.host());
        let bytes = curl(&[], &format!("{url}1"));
        let digest = sha256(&payload(bytes.as_bytes()).unwrap());

        let double = FakeRegistry::start();
        for layer in serde_json::from_str::<Value>(&bytes).unwrap()["fsLayers"].as_array().unwrap()
        {
            let layer = layer["blobSum"].as_str().unwrap();
            double.add_blob("app", real.get(&format!("app/blobs/{layer}")));
        }
        let own = format!("http://{}/v2/app/manifests/", double.host());
        let data = format!("@{}", dir.write("m", &bytes).display());
        let content = format!("Content-Type: {}", types::DOCKER_SCHEMA1);
        let put = ["-X", "PUT", "-D", "-", "-H", &content, "--data-binary", &data];
        let [stored, theirs] =
            [&own, &url].map(|url| described_by(&curl(&put, &format!("{url}3"))));
        assert_eq!(stored, theirs);
        for name in ["3", &digest] {
            for method in [&["-I"][..], &["-D", "-", "-o", "/dev/null"]] {
                let [ours, theirs] =
                    [&own, &url].map(|url| described_by(&curl(method, &format!("{url}{name}"))));
                assert_eq!(ours, theirs, "{name} {method:?}");
                assert!(ours.iter().any(|line| line.contains(&digest)), "{ours:?}");
            }
        }
        // Neither registry knows the manifest by the digest of all its bytes.
        let raw = sha256(bytes.as_bytes());
        assert_eq!(real.head(&format!("app/manifests/{raw}")), "404");
        assert!(double.manifest("app", &raw).is_none());
    }

    #[test]
    fn a_tag_of_a_real_registry_unpacks_as_umoci_unpacks_schema_2() {
        let (registry, image) = registry();
        let dir = Scratch::new();
        let app = registry.repo("app");
        shell(PIPELINE).env(GATE, "1").env("REPO", &app).dir(dir.path()).run().ok();
        let mut skopeo = peer("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]);
        must(
            skopeo
                .arg(format!("docker://{app}:2"))
                .arg(format!("oci:{}:2", dir.join("new").display())),
        );
        let mut umoci = peer("umoci");
        umoci.args(["raw", "unpack", "--rootless", "--image"]);
        must(umoci.arg(format!("{}:2", dir.join("new").display())).arg(dir.join("theirs")));
        let [ours, theirs] = ["root", "theirs"].map(|tree| exactly(&dir.join(tree)));
        let differing = differences(&ours, &theirs);
        assert!(differing.is_empty(), "{differing:#?}");
        let config: Value =
            serde_json::from_slice(&std::fs::read(dir.join("config")).unwrap()).unwrap();
        let config = tests::images::read_blob(&dir.join("old"), config["digest"].as_str().unwrap());
        let config: Value = serde_json::from_slice(&config.unwrap()).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"], json!(image.diff_ids));
    }

    #[test]
    fn a_tag_of_a_real_registry_is_copied_with_the_same_digest() {
        let (registry, _) = registry();
        let dir = Scratch::new();
        let script = "fetch-manifest \"$APP:1\" >m &&
            list-blobs --recursive --from \"$APP\" m | push-blob \"$COPY\" --from \"$APP\" >lines &&
            put-manifest --check \"$COPY:1\" m && fetch-manifest --digest \"$COPY:1\"";
        let run = shell(script).env(GATE, "1").env("APP", registry.repo("app"));
        let run = run.env("COPY", registry.repo("copy")).dir(dir.path()).run();
        let lines = run.ok().lines();
        let put: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(put["digest"], json!(lines[1]));
        let closed = tool("put-manifest").arg(format!("{}:2", registry.repo("copy"))).arg("m");
        refused(&closed.dir(dir.path()).run());
    }
}
