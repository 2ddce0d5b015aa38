// SPDX-License-Identifier: Apache-2.0
//! pack-layer: the destinations of a layer, the files left after a failure, archives that are
//! packed unchanged, and layers as read by other programs.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::FileType;
use serde_json::{Value, json};
use tests::fake_registry::FakeRegistry;
use tests::images::{
    Blob, Image, dir, file, gzip, noise, read_blob, sha256, tar, types, write_image,
};
use tests::peers::{must, peer};
use tests::scratch::Scratch;
use tests::tools::{Command, Run, shell, tool};
use tests::trees::{make_node, set_times, set_xattr, snapshot};

fn pack(scratch: &Scratch) -> Command {
    tool("pack-layer").dir(scratch.path())
}

fn place() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("tree/etc/motd", "hello\n");
    scratch.write("tree/bin/tool", noise(300_000, 1));
    set_times(&scratch.join("tree"), 1_000_000_000);
    scratch
}

fn line(run: &Run) -> Value {
    assert_eq!(run.lines().len(), 1, "{run}");
    serde_json::from_slice(&run.stdout).unwrap()
}

// Destinations.

#[test]
fn the_output_file_appears_complete_and_a_symlink_is_followed() {
    let scratch = place();
    scratch.write("real/layer", "old");
    symlink("real/layer", scratch.join("link")).unwrap();
    let run = pack(&scratch).args(["tree", "-o", "link"]).run();
    let layer = fs::read(scratch.join("real/layer")).unwrap();
    assert_eq!(line(run.ok())["digest"], sha256(&layer));
    assert!(scratch.join("link").is_symlink());
    assert_eq!(fs::read_dir(scratch.join("real")).unwrap().count(), 1);
    let run = pack(&scratch).args(["tree", "-o", "-"]).run();
    run.ok().stdout(layer);
}

#[test]
fn a_failure_leaves_the_old_file_and_no_other() {
    let scratch = place();
    scratch.write("out/layer", "old");
    scratch.write("tree/.wh.x", "");
    pack(&scratch).args(["tree", "-o", "out/layer"]).run().fails(6, ".wh.x");
    pack(&scratch).args(["tree", "--into", "oci:store"]).run().fails(6, ".wh.x");
    assert_eq!(fs::read(scratch.join("out/layer")).unwrap(), b"old");
    assert_eq!(fs::read_dir(scratch.join("out")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(scratch.join("store/ingest")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(scratch.join("store/blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn a_full_disk_gives_status_7_and_leaves_no_file() {
    let scratch = place();
    let run = shell("pack-layer tree -o - >/dev/full").dir(scratch.path()).run();
    run.status(7).says("pack-layer: write standard output: no space left on device");
    let run = shell("pack-layer tree -o layer >&-").dir(scratch.path()).run();
    run.status(7).says("pack-layer: standard output: closed");
    assert!(!scratch.join("layer").exists());
    let Some(disk) = Scratch::small_disk(200) else { return };
    let out = disk.join("layer");
    let says = format!("pack-layer: write {}: no space left", out.display());
    pack(&scratch).arg("tree").arg("-o").arg(&out).run().fails(7, &says).stdout("");
    assert_eq!(disk.list(), Vec::<String>::new());
    let store = format!("oci:{}", disk.join("store").display());
    let says = format!("pack-layer: write {store}: no space left");
    pack(&scratch).args(["tree", "--into", &store]).run().fails(7, &says).stdout("");
}

#[test]
fn a_closed_stdout_ends_the_run_quietly() {
    let scratch = place();
    let script = "(pack-layer tree --compress none -o -; echo $? >status) | head -c 5";
    shell(script).dir(scratch.path()).run().ok();
    // The status of SIGPIPE, unless the tool had finished before.
    let status = fs::read_to_string(scratch.join("status")).unwrap();
    assert!(matches!(status.trim(), "141" | "0"), "{status}");
}

#[test]
fn a_layout_is_created_and_holds_only_complete_blobs() {
    let scratch = place();
    for _ in 0..2 {
        let run = pack(&scratch).args(["tree", "--into", "oci:store"]).run();
        let digest = line(run.ok())["digest"].as_str().unwrap().to_owned();
        let blob = read_blob(&scratch.join("store"), &digest).unwrap();
        assert_eq!(sha256(&blob), digest);
        assert_eq!(fs::read_dir(scratch.join("store/ingest")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(scratch.join("store/blobs/sha256")).unwrap().count(), 1);
    }
    let run = shell("pack-layer tree --into oci:store | verify-digest --from oci:store");
    run.dir(scratch.path()).run().ok();
    scratch.write("other/file", "");
    pack(&scratch).args(["tree", "--into", "oci:other"]).run().fails(7, "other content");
}

#[test]
fn a_fifo_is_written_directly_and_the_line_is_printed() {
    let scratch = place();
    make_node(&scratch.join("fifo"), FileType::Fifo, (0, 0));
    let command = pack(&scratch).args(["tree", "-o", "fifo"]).start();
    let layer = fs::read(scratch.join("fifo")).unwrap();
    let run = command.wait();
    assert_eq!(line(run.ok())["digest"], sha256(&layer));
}

#[test]
fn the_output_may_not_be_in_the_tree() {
    let scratch = place();
    fs::create_dir(scratch.join("tree/sub")).unwrap();
    symlink("tree/sub", scratch.join("aside")).unwrap();
    for out in [
        &["-o", "tree/layer"][..],
        &["-o", "tree/sub/layer"],
        &["-o", "aside/layer"],
        &["--into", "oci:tree/store"],
        &["--into", "oci:aside/new/store"],
    ] {
        pack(&scratch).arg("tree").args(out).run().fails(2, "the output is in the tree");
    }
    let inside = tool("pack-layer").dir(scratch.join("tree"));
    inside.args([".", "-o", "../layer"]).run().ok();
    for script in ["pack-layer tree -o - >tree/layer", "pack-layer tree -o out >tree/line"] {
        let run = shell(script).dir(scratch.path()).run();
        run.status(2).says("the output is in the tree that is packed");
        for name in ["tree/layer", "tree/line"] {
            let _ = fs::remove_file(scratch.join(name));
        }
    }
    assert!(!scratch.join("out").exists() && !scratch.join("tree/store").exists());
}

#[test]
fn wrong_usage_gives_status_2_and_a_missing_tree_3() {
    let scratch = place();
    pack(&scratch).arg("tree").run().fails(2, "no destination: -o FILE or --into oci:DIR");
    pack(&scratch).args(["tree", "-o", "x", "--into", "oci:y"]).run().fails(2, "--into");
    pack(&scratch).args(["-o", "x"]).run().fails(2, "<PATH>");
    pack(&scratch).args(["missing", "-o", "x"]).run().fails(3, "missing: no such file");
    pack(&scratch).args(["tree", "-o", "missing/x"]).run().fails(7, "missing/x");
    pack(&scratch).args(["tree", "-o", "tree"]).run().status(2);
    assert!(!scratch.join("x").exists() && !scratch.join("y").exists());
    symlink("tree", scratch.join("link")).unwrap();
    let [followed, direct] =
        ["link", "tree"].map(|root| pack(&scratch).args([root, "-o", "-"]).run());
    followed.ok().stdout(&direct.stdout);
}

// Archives.

fn archive() -> Vec<u8> {
    tar(&[dir("etc"), file("etc/motd", "hello\n"), file("big", noise(200_000, 2))])
}

#[test]
fn an_incomplete_archive_is_refused_and_leaves_no_file() {
    let scratch = Scratch::new();
    let fails = |input: &[u8], status: i32, words: &str| {
        let run = pack(&scratch).args(["-", "-o", "layer"]).stdin(input).run();
        run.fails(status, words).stdout("");
        assert_eq!(scratch.list(), Vec::<String>::new());
        run
    };
    let whole = archive();
    fails(b"", 6, "standard input: no input: did the previous command fail?");
    fails(&whole[..100], 6, "standard input: not a tar archive");
    fails(&whole[..5000], 6, "standard input: archive is cut short: ");
    fails(&whole[..whole.len() - 1024], 6, "no end marker");
    fails(&whole[..whole.len() - 512], 6, "no end marker");
    fails(&[whole.as_slice(), &whole].concat(), 6, "data after the end").says("hint: ");
    fails(b"{}", 6, "not a tar archive");
    fails(&gzip(&whole), 6, "compressed by gzip").says("hint: gzip -dc");
    fails(b"\x28\xb5\x2f\xfd....", 6, "compressed by zstd");
    fails(Blob::new(types::TAR, "x").line().as_bytes(), 2, "a descriptor line");
}

#[test]
fn options_that_shape_entries_are_refused_for_an_archive() {
    let scratch = Scratch::new();
    for options in [
        &["--owner", "0:0"][..],
        &["--mtime", "@0"],
        &["--base", "/"],
        &["--no-root"],
        &["--one-file-system"],
        &["--whiteouts", "keep"],
    ] {
        let run = pack(&scratch).args(["-", "-o", "layer"]).args(options).stdin(archive()).run();
        run.fails(2, &format!("{} does not apply to an archive", options[0])).stdout("");
    }
    assert_eq!(scratch.list(), Vec::<String>::new());
}

// Peers and repositories.

/// Writes an image of packed layers, with the diff IDs that were printed.
fn image(scratch: &Scratch, layers: &[Run]) {
    let blobs = layers.iter().map(|run| {
        let line = line(run);
        let digest = line["digest"].as_str().unwrap();
        let bytes = read_blob(&scratch.join("store"), digest).unwrap();
        Blob::new(line["mediaType"].as_str().unwrap(), bytes)
    });
    let blobs = blobs.collect();
    let diff_ids = layers.iter().map(|run| {
        line(run)["annotations"]["containerd.io/uncompressed"].as_str().unwrap().to_owned()
    });
    let config = json!({"architecture": "amd64", "os": "linux"});
    let image = Image::of_parts(config, blobs, diff_ids.collect());
    write_image(&scratch.join("store"), "t", &image);
}

/// A tree with features that tar formats represent in different ways.
fn varied(root: &Path) {
    fs::create_dir_all(root.join("d/e")).unwrap();
    for name in ["d/f", "d/e/g", "gone", "\u{fc}", &"n".repeat(200)] {
        fs::write(root.join(name), name).unwrap();
    }
    fs::hard_link(root.join("d/f"), root.join("h")).unwrap();
    symlink("d/f", root.join("l")).unwrap();
    make_node(&root.join("p"), FileType::Fifo, (0, 0));
    set_xattr(&root.join("d/f"), "user.k", b"v");
    fs::File::create(root.join("holes")).unwrap().set_len(1 << 20).unwrap();
    set_times(root, 1_000_000_000);
}

/// Packs a layer and pushes it to a repository at the same time.
const PUSH: &str =
    "pack-layer tree --compress none -o - | push-blob --plain-http $repo --compress gzip";

#[test]
fn a_repository_is_refused_with_a_hint_at_push_blob() {
    let scratch = place();
    let run = pack(&scratch).args(["tree", "--into", "app"]).run();
    run.fails(2, "pack-layer: --into app: expected oci:DIR\n").stdout("");
    run.says("hint: pack-layer PATH --compress none -o - | push-blob REPO --compress gzip");
}

#[test]
fn a_layer_is_pushed_to_a_repository_while_it_is_packed() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    scratch.write("tree/small", "x");
    let push = || {
        let packed = pack(&scratch).args(["tree", "-o", "layer"]).run();
        let run = shell(PUSH).env("repo", registry.repo("app")).dir(scratch.path()).run();
        run.ok().stdout(&packed.ok().stdout);
        let digest = line(&run)["digest"].as_str().unwrap().to_owned();
        let blob = registry.blob("app", &digest).unwrap();
        assert_eq!(sha256(&blob), digest);
        assert_eq!(blob[..], fs::read(scratch.join("layer")).unwrap());
    };
    push();

    // The layer is larger than one request, so it is uploaded in chunks from memory.
    scratch.write("tree/large", noise(20_000_000, 1));
    push();
    assert_eq!(registry.sessions(), []);
}

#[test]
fn a_packing_failure_leaves_no_upload_session() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    scratch.write("tree/a", noise(20_000_000, 1));
    scratch.write("tree/b/.wh.x", "");
    let run = shell(PUSH).env("repo", registry.repo("app")).dir(scratch.path()).run();
    run.status(6).says("pack-layer: ").says(".wh.x").says("push-blob: ").stdout("");
    assert_eq!(registry.sessions(), []);
}

mod with_peers {
    use super::*;

    #[test]
    fn an_archive_passes_unchanged() {
        let scratch = place();
        scratch.write("a.tar", archive());
        for run in [
            pack(&scratch).args(["-", "-o", "layer"]).stdin(archive()).run(),
            pack(&scratch).args(["a.tar", "-o", "layer"]).run(),
        ] {
            let annotations = &line(run.ok())["annotations"];
            assert_eq!(annotations["containerd.io/uncompressed"], sha256(&archive()));
        }
        let run =
            pack(&scratch).args(["-", "-o", "-", "--compress", "none"]).stdin(archive()).run();
        run.ok().stdout(archive());
        // Archives of other programs, with all their kinds of headers.
        let long = format!("tree/{}/{}", "d".repeat(150), "f".repeat(150));
        scratch.write(&long, "x");
        fs::File::create(scratch.join("tree/holes")).unwrap().set_len(1 << 20).unwrap();
        for command in [
            "tar -S --format=gnu -c tree",
            "tar -S --format=posix -c tree",
            "tar --format=v7 -c tree/etc",
            "bsdtar -c tree",
            "bsdtar --format=gnutar -c tree",
        ] {
            let script = format!("{command} | pack-layer - -o layer");
            shell(&script).dir(scratch.path()).run().ok();
        }
    }

    #[test]
    fn tar_programs_read_packed_layers() {
        let scratch = Scratch::new();
        fs::create_dir(scratch.join("tree")).unwrap();
        varied(&scratch.join("tree"));
        pack(&scratch).args(["tree", "-o", "layer"]).run().ok();
        let programs =
            [("tar", &["--xattrs", "--xattrs-include=*"][..]), ("bsdtar", &["--xattrs"])];
        for (program, options) in programs {
            let back = scratch.join(program);
            fs::create_dir(&back).unwrap();
            let mut extract = peer(program);
            extract.args(options).args(["--numeric-owner", "-xpf", "layer", "-C", program]);
            must(extract.current_dir(scratch.path()));
            // bsdtar does not set the time of a directory that exists already.
            assert_eq!(snapshot(&back)[1..], snapshot(&scratch.join("tree"))[1..], "{program}");
            let mut list = peer(program);
            let listed = must(list.args(["-tvf", "layer"]).current_dir(scratch.path()));
            assert_eq!(String::from_utf8_lossy(&listed).lines().count(), 12, "{program}");
        }
        must(peer("gzip").arg("-t").stdin(fs::File::open(scratch.join("layer")).unwrap()));
    }
}

mod as_root {
    use super::*;

    #[test]
    fn umoci_and_skopeo_read_packed_layers() {
        let scratch = Scratch::new();
        for name in ["base", "tree"] {
            fs::create_dir(scratch.join(name)).unwrap();
            varied(&scratch.join(name));
        }
        let into = ["--into", "oci:store"];
        let lower = pack(&scratch).arg("base").args(into).run();
        fs::remove_file(scratch.join("tree/gone")).unwrap();
        fs::remove_dir_all(scratch.join("tree/d/e")).unwrap();
        fs::write(scratch.join("tree/d/f"), "new").unwrap();
        fs::write(scratch.join("tree/d/e"), "no directory now").unwrap();
        set_times(&scratch.join("tree"), 1_000_000_000);
        let upper = pack(&scratch).args(["tree", "--base", "base"]).args(into).run();
        image(&scratch, &[lower, upper]);

        let mut umoci = peer("umoci");
        umoci.args(["raw", "unpack", "--image", "store:t", "theirs"]);
        if !rustix::process::geteuid().is_root() {
            umoci.arg("--rootless");
        }
        must(umoci.current_dir(scratch.path()));
        assert_eq!(snapshot(&scratch.join("theirs")), snapshot(&scratch.join("tree")));

        let mut skopeo = peer("skopeo");
        skopeo.args(["--insecure-policy", "copy", "-q", "oci:store:t", "dir:copied"]);
        must(skopeo.current_dir(scratch.path()));
    }
}
