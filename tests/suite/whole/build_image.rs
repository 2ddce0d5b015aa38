// SPDX-License-Identifier: Apache-2.0
//! Images that the tools build in a pipe, as read by skopeo, umoci and docker-registry.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::images::{
    Blob, Image, dir, file, read_blob, types, whiteout, write_image, write_layout,
};
use tests::peers::{must, peer};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::{Run, shell};

/// A base image and a layer to put on top of it, both stored in one layout.
struct Fixture {
    base: Image,
    app: Image,
    dir: Scratch,
}

/// The documented pipeline: a base's config and layers and one layer on top, with no foreign
/// program.
const ON_BASE: &str = "{
    build-config --base base.json $OPTIONS --into oci:layout <app.line &&
        list-blobs --layers base-manifest.json && cat app.line
} | build-manifest --from oci:layout $FAMILY >m.json";

impl Fixture {
    fn new(base: Image) -> Fixture {
        let app = Image::new(&[&[whiteout("etc/gone"), file("etc/motd", "app\n"), dir("app/")]]);
        let fixture = Fixture { base, app, dir: Scratch::new() };
        let layout = fixture.dir.join("layout");
        write_image(&layout, "base", &fixture.base);
        write_image(&layout, "app", &fixture.app);
        fixture.dir.write("base.json", &fixture.base.config.bytes);
        fixture.dir.write("base-manifest.json", &fixture.base.manifest.bytes);
        let mut line = fixture.app.layers[0].descriptor();
        line["annotations"] = json!({"containerd.io/uncompressed": fixture.app.diff_ids[0]});
        fixture.dir.write("app.line", format!("{line}\n"));
        fixture
    }

    fn run(&self, options: &str, family: &str) -> Run {
        let script = shell(ON_BASE).env("OPTIONS", options).env("FAMILY", family);
        script.dir(self.dir.path()).run()
    }

    /// The built image, which gets a tag in the layout.
    fn built(&self) -> Image {
        let bytes = std::fs::read(self.dir.join("m.json")).unwrap();
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let layout = self.dir.join("layout");
        let blob = |descriptor: &Value| Blob {
            media_type: text(&descriptor["mediaType"]),
            digest: text(&descriptor["digest"]),
            bytes: read_blob(&layout, &text(&descriptor["digest"])).unwrap(),
        };
        let manifest = Blob::new(&text(&document["mediaType"]), bytes);
        write_layout(&layout, "1", &manifest, []);
        let config = blob(&document["config"]);
        let parsed: Value = serde_json::from_slice(&config.bytes).unwrap();
        let diff_ids = parsed["rootfs"]["diff_ids"].as_array().unwrap().iter().map(text).collect();
        let layers = document["layers"].as_array().unwrap().iter().map(blob).collect();
        Image { manifest, config, layers, diff_ids }
    }

    fn oci(&self) -> String {
        format!("{}:1", self.dir.join("layout").display())
    }
}

/// Checks that the pipe failed with this message. Its status is that of its last command.
#[track_caller]
fn failed(run: &Run, words: &str) {
    run.says(words);
    assert_ne!(run.code(), Some(0), "{run}");
}

#[test]
fn skopeo_and_umoci_read_an_image_on_a_base() {
    let fixture = Fixture::new(Image::small());
    fixture.run("--env A=1 --entrypoint /bin/tool --label k=v --workdir /app", "").ok();
    let built = fixture.built();
    assert_eq!(built.layers.len(), 3);

    let mut skopeo = peer("skopeo");
    let seen = must(skopeo.arg("inspect").arg(format!("oci:{}", fixture.oci())));
    let seen: Value = serde_json::from_slice(&seen).unwrap();
    assert_eq!(seen["Labels"], json!({"k": "v"}));
    assert_eq!(seen["Env"], json!(["A=1"]));
    assert_eq!(seen["Digest"], built.manifest.digest);

    let stat = must(peer("umoci").args(["stat", "--json", "--image"]).arg(fixture.oci()));
    let stat: Value = serde_json::from_slice(&stat).unwrap();
    assert_eq!(stat["history"].as_array().unwrap().len(), 3);

    let bundle = fixture.dir.join("bundle");
    let mut umoci = peer("umoci");
    umoci.args(["unpack", "--rootless", "--image"]).arg(fixture.oci());
    must(umoci.arg(&bundle));
    assert_eq!(std::fs::read(bundle.join("rootfs/etc/motd")).unwrap(), b"app\n");
    let runtime: Value =
        serde_json::from_slice(&std::fs::read(bundle.join("config.json")).unwrap()).unwrap();
    assert_eq!(runtime["process"]["args"], json!(["/bin/tool"]));
    assert_eq!(runtime["process"]["cwd"], "/app");
}

#[test]
fn unpack_layer_agrees_with_the_built_documents() {
    let fixture = Fixture::new(Image::small());
    fixture.run("", "").ok();
    let script = "list-blobs m.json | unpack-layer --from oci:layout root";
    assert_eq!(shell(script).dir(fixture.dir.path()).run().ok().lines().len(), 4);
    assert_eq!(std::fs::read(fixture.dir.join("root/etc/motd")).unwrap(), b"app\n");
}

#[test]
fn a_registry_accepts_an_image_in_either_family() {
    let registry = Registry::start();
    for (tag, family) in [("oci", ""), ("docker", "--docker")] {
        let fixture = Fixture::new(Image::small());
        fixture.run("--cmd sh", family).ok();
        let built = fixture.built();
        registry.put_image("app", tag, &built);
        assert_eq!(registry.get(&format!("app/manifests/{tag}")), built.manifest.bytes);
        let mut skopeo = peer("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]);
        skopeo.arg(format!("docker://{}:{tag}", registry.repo("app")));
        must(skopeo.arg(format!("dir:{}", fixture.dir.join("copy").display())));
    }
}

#[test]
fn a_docker_base_and_an_oci_layer_need_an_option_that_chooses_the_family() {
    let fixture = Fixture::new(Image::small().docker());
    failed(&fixture.run("", ""), "media types of two families");
    for (family, media_type) in [("--oci", types::MANIFEST), ("--docker", types::DOCKER_MANIFEST)] {
        fixture.run("", family).ok();
        assert_eq!(fixture.built().manifest.media_type, media_type);
    }
}

#[test]
fn a_step_that_fails_leaves_no_manifest() {
    let fixture = Fixture::new(Image::small());
    std::fs::write(fixture.dir.join("app.line"), "").unwrap();
    failed(&fixture.run("", ""), "no input: did the previous command fail?");
    assert_eq!(std::fs::read(fixture.dir.join("m.json")).unwrap(), b"");
}

#[test]
fn skopeo_and_umoci_read_an_image_from_nothing() {
    let app = Image::new(&[&[file("hello", "hello\n")]]);
    let scratch = Scratch::new();
    let layout = scratch.join("layout");
    write_image(&layout, "app", &app);
    scratch.write("layer", &app.layers[0].bytes);
    let script = "unpack-layer out layer >layer.line &&
        { build-config -p linux/amd64 --cmd /hello --into oci:layout <layer.line &&
            cat layer.line; } | build-manifest --from oci:layout";
    let run = shell(script).dir(scratch.path()).run();
    let manifest = Blob::new(types::MANIFEST, run.ok().stdout.clone());
    write_layout(&layout, "1", &manifest, []);
    let image = format!("{}:1", layout.display());
    must(peer("umoci").args(["stat", "--image", &image]));
    let mut skopeo = peer("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--quiet", "--format", "v2s2"]);
    must(skopeo.arg(format!("oci:{image}")).arg(format!("dir:{}", scratch.join("copy").display())));
}
