// SPDX-License-Identifier: Apache-2.0
//! The tools in a pipe unpack a complete image from a registry, and the tree is compared with
//! umoci's. Other tests kill the pipe and run it again, or make one of its programs fail.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tests::eventually;
use tests::fake::Reply;
use tests::fake_registry::FakeRegistry;
use tests::images::{Entry, Image, dir, file, hardlink, index, noise, symlink, types, whiteout};
use tests::peers::{must, peer};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::{Command, shell};

/// The pipeline as a user types it.
const PIPELINE: &str = "\
    fetch-manifest -p linux/amd64 \"$REF\" --into oci:layout | \
    list-blobs | \
    fetch-blob --max-wait 0 \"$REPO\" --into oci:layout | \
    unpack-layer --from oci:layout root";

fn pipeline(script: &str, repo: &str, scratch: &Scratch) -> Command {
    shell(script).env("REF", format!("{repo}:1")).env("REPO", repo).dir(scratch.path())
}

/// The attributes and contents of all files in a tree, by path. The times of directories are left
/// out, because the layers here do not state all of them.
fn tree(top: &Path) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let mut links: BTreeMap<u64, String> = BTreeMap::new();
    for name in tests::scratch::list(top) {
        let path = top.join(name.trim_end_matches('/'));
        let meta = path.symlink_metadata().unwrap();
        let what = if meta.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if meta.is_dir() {
            String::new()
        } else {
            let first = links.entry(meta.ino()).or_insert_with(|| name.clone());
            let bytes = fs::read(&path).unwrap();
            format!("{} {} ={first}", meta.mtime(), tests::images::sha256(&bytes))
        };
        let mode = meta.mode();
        let uid = meta.uid();
        let gid = meta.gid();
        seen.insert(name, format!("{mode:o} {uid}:{gid} {what}"));
    }
    seen
}

/// An image with most features of ordinary layers.
fn ordinary() -> Image {
    let executable = |path: &str| Entry::File(path.to_owned(), 0o755, noise(50_000, 3));
    Image::new(&[
        &[
            dir("bin/"),
            executable("bin/sh"),
            hardlink("bin/ash", "bin/sh"),
            symlink("bin/link", "/bin/sh"),
            dir("etc/"),
            file("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
            file("etc/removed", "x"),
            Entry::Dir("tmp/".to_owned(), 0o1777),
            dir("opt/"),
            dir("opt/old/"),
            file("opt/old/a", "a"),
            file("opt/old/b", "b"),
            Entry::Dir("private/".to_owned(), 0o700),
            Entry::File("setuid".to_owned(), 0o4755, b"x".to_vec()),
            file(&format!("long/{}/name", "x".repeat(120)), "long"),
            file("empty", ""),
        ],
        &[
            whiteout("etc/removed"),
            dir("opt/"),
            dir("opt/old/"),
            file("opt/old/.wh..wh..opq", ""),
            file("opt/old/c", "c"),
            file("etc/passwd", "changed\n"),
        ],
        &[file("added", noise(200_000, 4)), whiteout("empty")],
    ])
}

fn umoci_unpacked(layout: &Path, tag: &str, root: &Path) {
    let mut umoci = peer("umoci");
    umoci.args(["raw", "unpack"]);
    if !is_root() {
        umoci.arg("--rootless");
    }
    must(umoci.arg("--image").arg(format!("{}:{tag}", layout.display())).arg(root));
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// An image behind an index, on a registry that can be made to fail.
fn fake_registry(image: &Image) -> FakeRegistry {
    let registry = FakeRegistry::start();
    registry.add_image("app", "", image);
    registry.add_manifest("app", "1", &index(types::INDEX, &[(&image.manifest, "linux/amd64")]));
    registry
}

#[test]
fn a_whole_image_is_pulled_without_an_extra_request() {
    let image = ordinary();
    let registry = fake_registry(&image);
    let scratch = Scratch::new();
    pipeline(PIPELINE, &registry.repo("app"), &scratch).run().ok();
    let mut asked = registry.server.asked();
    asked.sort();
    let mut wanted: Vec<_> =
        image.blobs().map(|blob| format!("GET /v2/app/blobs/{}", blob.digest)).collect();
    wanted.push("GET /v2/app/manifests/1".to_owned());
    wanted.push(format!("GET /v2/app/manifests/{}", image.manifest.digest));
    wanted.sort();
    assert_eq!(asked, wanted);
    assert_eq!(fs::read(scratch.join("root/etc/passwd")).unwrap(), b"changed\n");
}

#[test]
fn after_kill_9_at_any_moment_repeating_the_pipeline_succeeds() {
    let image = Image::new(&[
        &[file("a", noise(3 << 20, 1))],
        &[file("b", noise(3 << 20, 2))],
        &[file("c", noise(1 << 20, 3))],
    ]);
    let registry = fake_registry(&image);
    let repo = registry.repo("app");
    // Each time another response stalls at some byte; the kill follows once it has stalled.
    for (stalled, at) in [
        ("/manifests/1".to_owned(), 50),
        (format!("/manifests/{}", image.manifest.digest), 0),
        (format!("/blobs/{}", image.config.digest), 10),
        (format!("/blobs/{}", image.layers[0].digest), 0),
        (format!("/blobs/{}", image.layers[0].digest), 2 << 20),
        (format!("/blobs/{}", image.layers[1].digest), 3 << 20),
        (format!("/blobs/{}", image.layers[2].digest), 1 << 10),
    ] {
        let scratch = Scratch::new();
        registry.fault(
            move |request, right| {
                if request.path.ends_with(&stalled) { right.stall(at) } else { right }
            },
        );
        let before = registry.server.stalls();
        let running = pipeline(PIPELINE, &repo, &scratch).start();
        registry.server.wait_for_stalls(before + 1);
        running.kill();
        assert!(!scratch.join("root").exists(), "{:?}", scratch.list());
        registry.heal();
        pipeline(PIPELINE, &repo, &scratch).run().status(0);
        let mut names = tests::scratch::list(&scratch.join("root"));
        names.sort();
        assert_eq!(names, ["a", "b", "c"]);
        let left: Vec<_> = scratch.list().into_iter().filter(|n| n.contains("unpacking")).collect();
        assert_eq!(left, Vec::<String>::new());
    }
}

#[test]
fn after_kill_9_while_unpacking_repeating_the_pipeline_succeeds() {
    let image = Image::new(&[&[file("a", noise(1 << 20, 1))], &[file("b", "b")]]);
    let registry = fake_registry(&image);
    let last = image.layers[1].digest.clone();
    registry.fault(
        move |request, right| if request.path.ends_with(&last) { right.stall(5) } else { right },
    );
    let scratch = Scratch::new();
    let running = pipeline(PIPELINE, &registry.repo("app"), &scratch).start();
    // The first layer is being applied, or has been, while the second stalls.
    eventually("the first file of the partial tree", || {
        scratch.list().iter().any(|name| name.ends_with(".root.unpacking/a")).then_some(())
    });
    running.kill();
    assert!(!scratch.join("root").exists());
    registry.heal();
    pipeline(PIPELINE, &registry.repo("app"), &scratch).run().status(0);
    assert_eq!(tests::scratch::list(&scratch.join("root")), ["a", "b"]);
    assert!(!scratch.join(".root.unpacking").exists());
}

#[test]
fn layers_are_unpacked_while_others_are_still_downloaded() {
    let image = Image::new(&[&[file("a", "a")], &[file("b", "b")]]);
    let registry = fake_registry(&image);
    let last = image.layers[1].digest.clone();
    registry.fault(
        move |request, right| if request.path.ends_with(&last) { right.stall(0) } else { right },
    );
    let scratch = Scratch::new();
    let running = pipeline(PIPELINE, &registry.repo("app"), &scratch).start();
    eventually("the file of the first layer", || {
        scratch.list().iter().any(|name| name.ends_with(".root.unpacking/a")).then_some(())
    });
    registry.server.release();
    running.wait().ok();
}

/// One of the programs is replaced by one that fails, either before its first output or in the
/// middle.
#[test]
fn a_failing_program_makes_the_last_program_fail() {
    let image = ordinary();
    let registry = fake_registry(&image);
    let repo = registry.repo("app");
    let stages: Vec<&str> = PIPELINE.split(" | ").map(str::trim).collect();
    for broken in 0..stages.len() - 1 {
        for failing in [
            "false".to_owned(),
            format!("{{ {}; }} | head -n 1", stages[broken]),
            format!("{{ {}; }} | head -c 100", stages[broken]),
            // All lines except for the last.
            format!("{{ {}; }} | sed '$d'", stages[broken]),
        ] {
            let mut stages: Vec<_> = stages.iter().map(|stage| (*stage).to_owned()).collect();
            stages[broken] = failing;
            let script = stages.join(" | ");
            let whole_manifest = broken == 0 && script.contains("head -n 1");
            let scratch = Scratch::new();
            let run = pipeline(&script, &repo, &scratch).run();
            if whole_manifest {
                // The manifest is one line, so nothing was lost.
                run.status(0);
                continue;
            }
            assert!(run.code().is_some_and(|code| code != 0), "{run}");
            assert!(!scratch.join("root").exists(), "{run}");
        }
    }
}

#[test]
fn a_registry_fault_at_any_request_fails_the_pipeline() {
    let image = ordinary();
    let digests: Vec<_> = [&image.manifest].into_iter().chain(image.blobs()).collect();
    for blob in digests {
        let faults: [fn(Reply) -> Reply; 3] =
            [|_| Reply::new(404), |_| Reply::new(500), Reply::corrupted];
        for fault in faults {
            let registry = fake_registry(&image);
            let broken = blob.digest.clone();
            registry.fault(
                move |request, right| {
                    if request.path.ends_with(&broken) { fault(right) } else { right }
                },
            );
            let scratch = Scratch::new();
            let script = PIPELINE.replace("fetch-manifest", "fetch-manifest --max-wait 0");
            let run = pipeline(&script, &registry.repo("app"), &scratch).run();
            assert!(run.code().is_some_and(|code| code != 0), "{run}");
            assert!(!scratch.join("root").exists(), "{run}");
            assert!(!run.stderr.contains("panicked"), "{run}");
        }
    }
}

#[test]
fn wrong_diff_ids_give_status_1_and_no_directory() {
    let good = ordinary();
    let mut diff_ids = good.diff_ids.clone();
    diff_ids.swap(0, 1);
    let config = serde_json::json!({"architecture": "amd64", "os": "linux"});
    let image = Image::of_parts(config, good.layers, diff_ids);
    let registry = fake_registry(&image);
    let scratch = Scratch::new();
    let run = pipeline(PIPELINE, &registry.repo("app"), &scratch).run();
    run.status(1).says("unpack-layer: ");
    assert!(!scratch.join("root").exists());
}

#[test]
fn a_manifest_with_too_few_layers_gives_status_1() {
    let good = ordinary();
    let layers = good.layers[..2].to_vec();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux"});
    let image = Image::of_parts(config, layers, good.diff_ids);
    let registry = fake_registry(&image);
    let scratch = Scratch::new();
    let run = pipeline(PIPELINE, &registry.repo("app"), &scratch).run();
    run.status(1).says("got 2 of 3 layers: did the previous command fail?");
    assert!(!scratch.join("root").exists());
}

#[test]
fn an_index_without_a_platform_is_refused_with_a_hint() {
    let registry = fake_registry(&ordinary());
    let scratch = Scratch::new();
    let script = PIPELINE.replace("-p linux/amd64 ", "");
    let run = pipeline(&script, &registry.repo("app"), &scratch).run();
    assert!(run.code().is_some_and(|code| code != 0), "{run}");
    run.says("-p");
    assert!(!scratch.join("root").exists());
}

#[test]
fn verify_digest_works_as_a_filter_in_a_pipe() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 300_000, 1);
    let script = "fetch-blob \"$REPO\" \"$DIGEST\" | verify-digest \"$DIGEST\"";
    let run =
        |digest: &str| shell(script).env("REPO", registry.repo("app")).env("DIGEST", digest).run();
    run(&blob.digest).ok().stdout(&blob.bytes);
    registry.remove_blob("app", &blob.digest);
    run(&blob.digest).status(6).says("no input").stdout("");
}

#[test]
fn two_pipelines_share_one_layout() {
    let image = Image::new(&[&[file("a", noise(2 << 20, 1))], &[file("b", noise(1 << 20, 2))]]);
    let registry = fake_registry(&image);
    let scratch = Scratch::new();
    let start = |root: &str| {
        let script = PIPELINE.replace(" root", &format!(" {root}"));
        pipeline(&script, &registry.repo("app"), &scratch).start()
    };
    let running = ["one", "two", "three"].map(start);
    for running in running {
        running.wait().status(0);
    }
    for root in ["one", "two", "three"] {
        assert_eq!(tests::scratch::list(&scratch.join(root)), ["a", "b"]);
    }
}

mod with_peers {
    use super::*;

    #[test]
    fn an_image_pushed_by_skopeo_gives_the_same_tree_as_with_umoci() {
        let registry = Registry::start();
        let scratch = Scratch::new();
        let script = PIPELINE.replace("-p linux/amd64 ", "");
        registry.push("some/app", "1", &ordinary(), "oci");
        pipeline(&script, &registry.repo("some/app"), &scratch).run().ok();
        // Other programs can read the layout, and they unpack the same tree from it.
        let mut skopeo = peer("skopeo");
        skopeo.args(["--insecure-policy", "copy", "-q", "oci:layout:1", "oci:theirs:1"]);
        must(skopeo.current_dir(scratch.path()));
        umoci_unpacked(&scratch.join("theirs"), "1", &scratch.join("umoci"));
        let [ours, theirs] = ["root", "umoci"].map(|name| tree(&scratch.join(name)));
        assert_eq!(ours, theirs);
        assert!(ours.contains_key("opt/old/c") && !ours.contains_key("opt/old/a"));

        // The image has Docker's media types, which umoci does not know.
        registry.push("docker/app", "1", &ordinary(), "v2s2");
        let script = script.replace("layout root", "layout docker");
        pipeline(&script, &registry.repo("docker/app"), &scratch).run().status(0);
        assert_eq!(tree(&scratch.join("docker")), ours);
    }

    #[test]
    fn everything_works_without_a_network_from_a_layout() {
        let image = ordinary();
        let scratch = Scratch::new();
        tests::images::write_image(&scratch.join("source"), "1", &image);
        let script =
            "fetch-manifest oci:source:1 | list-blobs | unpack-layer --from oci:source root";
        shell(script).dir(scratch.path()).run().ok();
        umoci_unpacked(&scratch.join("source"), "1", &scratch.join("umoci"));
        assert_eq!(tree(&scratch.join("root")), tree(&scratch.join("umoci")));
    }
}
