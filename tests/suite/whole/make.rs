// SPDX-License-Identifier: Apache-2.0
//! The manual's makefile, unchanged: it builds an image from a base and two directories, and pushes
//! it.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use tests::images::Image;
use tests::peers::{must, peer};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::{Run, shell};

/// The makefile for this registry's host.
fn makefile(registry: &Registry) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../man/regutils-recipes.7");
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("\nBASE = ").unwrap();
    let (text, _) = rest.split_once("\n.Ed\n").unwrap();
    format!("BASE = {text}\n")
        .replace("\\e\n", "\\\n")
        .replace("\\&.", ".")
        .replace("BASE = alpine\n", &format!("BASE = {}\n", registry.repo("alpine")))
        .replace("registry.example/", &format!("{}/", registry.host()))
}

/// Runs make, which must succeed.
fn make(dir: &Scratch) -> Run {
    let run = shell("make").dir(dir.path()).run();
    run.status(0);
    run
}

/// A registry with a base image, and a directory with the files that the makefile needs.
fn registry_and_directory() -> (Registry, Scratch) {
    let registry = Registry::start();
    let dir = Scratch::new();
    registry.put_image("alpine", "3.20", &Image::small());
    for layer in ["bin", "etc"] {
        fs::create_dir_all(dir.join(layer)).unwrap();
        fs::write(dir.join(layer).join("a"), layer).unwrap();
    }
    dir.write("Makefile", makefile(&registry));
    (registry, dir)
}

#[test]
fn the_first_make_pushes_an_image_that_others_read() {
    let (registry, dir) = registry_and_directory();
    make(&dir);
    let image = format!("docker://{}:1", registry.repo("app"));
    let inspect = ["inspect", "--tls-verify=false", &image];
    let text = String::from_utf8(must(peer("skopeo").args(inspect))).unwrap();
    let known: serde_json::Value = serde_json::from_str(&text).unwrap();
    let base = Image::small().layers.len();
    assert_eq!(known["Layers"].as_array().unwrap().len(), base + 2, "{text}");
    // The image has a config, two new layers and the layers of the base, which were mounted from
    // the base's repository.
    let script = "fetch-manifest $1:1 --into oci:back | list-blobs |
        fetch-blob $1 --into oci:back | unpack-layer --from oci:back root";
    shell(&script.replace("$1", &registry.repo("app"))).dir(dir.path()).run().status(0);
    assert_eq!(fs::read_to_string(dir.join("root/a")).unwrap(), "etc");
}

/// The second build has another directory, other file times and modes, and, for root, files of
/// another user.
#[test]
fn the_same_files_give_the_same_image_elsewhere() {
    let (registry, dir) = registry_and_directory();
    make(&dir);
    let other = Scratch::new();
    other.write("Makefile", makefile(&registry));
    let script = "cp -r \"$1\"/bin \"$1\"/etc . && chmod 700 bin etc";
    let script = script.replace("$1", dir.path().to_str().unwrap());
    shell(&script).dir(other.path()).run().ok();
    if rustix::process::geteuid().is_root() {
        shell("chown -R 4321:4321 bin etc").dir(other.path()).run().ok();
    }
    make(&other);
    let manifest = |dir: &Scratch| fs::read_to_string(dir.join("manifest.json")).unwrap();
    assert_eq!(manifest(&dir), manifest(&other));
}

#[test]
fn a_second_make_does_nothing() {
    let (registry, dir) = registry_and_directory();
    make(&dir);
    let mark = registry.mark();
    make(&dir).stdout("make: 'pushed' is up to date.\n");
    assert_eq!(registry.answered_since(mark), Vec::<String>::new());
}

#[test]
fn one_changed_file_rebuilds_and_uploads_one_layer_only() {
    let (registry, dir) = registry_and_directory();
    make(&dir);
    let line = |layer: &str| fs::read_to_string(dir.join(format!("{layer}.line"))).unwrap();
    let bin = line("bin");
    let etc = line("etc");
    // The time is later than that of every built file, for any resolution of the file system's
    // clock.
    fs::write(dir.join("etc/a"), "changed").unwrap();
    let later = fs::metadata(dir.join("pushed")).unwrap().modified().unwrap();
    let later = later + std::time::Duration::from_secs(1);
    fs::File::options().write(true).open(dir.join("etc/a")).unwrap().set_modified(later).unwrap();
    let mark = registry.mark();

    make(&dir);

    assert_eq!(line("bin"), bin);
    assert_ne!(line("etc"), etc);
    let sent = registry.answered_since(mark);
    let puts = |part: &str| {
        sent.iter().filter(|step| step.starts_with("PUT") && step.contains(part)).count()
    };
    assert_eq!((puts("/blobs/uploads/"), puts("/manifests/")), (2, 1), "{sent:#?}");
}

#[test]
fn the_layers_of_earlier_images_are_swept_once_they_are_old() {
    let (registry, dir) = registry_and_directory();
    let file_of = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let digest = line["digest"].as_str().unwrap().replace(':', "/");
        dir.join("image/blobs").join(digest)
    };
    let layer = || file_of(&fs::read_to_string(dir.join("etc.line")).unwrap());
    make(&dir);
    let first = layer();
    let hours_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    let rebuild = |text: &str| {
        for blob in fs::read_dir(dir.join("image/blobs/sha256")).unwrap() {
            fs::File::open(blob.unwrap().path()).unwrap().set_modified(hours_ago).unwrap();
        }
        fs::write(dir.join("etc/a"), text).unwrap();
        let later = fs::metadata(dir.join("pushed")).unwrap().modified().unwrap();
        let later = later + std::time::Duration::from_secs(1);
        let file = fs::File::options().write(true).open(dir.join("etc/a")).unwrap();
        file.set_modified(later).unwrap();
        make(&dir);
    };
    rebuild("second");
    // The old layer, config and manifest are removed.
    let second = layer();
    assert!(!first.exists() && second.exists());
    assert_eq!(fs::read_dir(dir.join("image/blobs/sha256")).unwrap().count(), blobs_of_one_image());
    let verify = "fetch-manifest oci:image:1 | list-blobs | verify-digest --from oci:image";
    shell(verify).dir(dir.path()).run().ok();
    drop(registry);
}

/// The number of blobs of the image: the manifest, the config, the base's layers and two more. The
/// base's config does not count: nothing in the layout names it, so it is swept.
fn blobs_of_one_image() -> usize {
    Image::small().layers.len() + 4
}

#[test]
fn a_failing_command_leaves_no_make_target() {
    let (registry, dir) = registry_and_directory();
    fs::remove_dir_all(registry.storage()).unwrap();
    shell("make").dir(dir.path()).run().status(2).says("fetch-manifest: ");
    assert!(!dir.join("base.json").exists());
}
