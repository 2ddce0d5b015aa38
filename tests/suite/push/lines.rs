// SPDX-License-Identifier: Apache-2.0
//! push-blob with descriptor lines: blobs are streamed from a layout or a registry into another one
//! and verified, and each line is printed once its blob is confirmed.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::json;
use tests::fake::{End, Intake, Reply};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, index, noise, read_blob, types, write_image, write_layout};
use tests::peers::{must, peer};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::{Command, shell, tool};

fn push_blob(target: &str, from: &str) -> Command {
    tool("push-blob").args(["--max-wait", "0", target, "--from", from])
}

fn holds(registry: &FakeRegistry, repository: &str, image: &Image) -> bool {
    image.blobs().all(|blob| {
        registry.blob(repository, &blob.digest).is_some_and(|bytes| bytes[..] == blob.bytes)
    })
}

/// Flips a bit of a blob in a layout.
fn corrupt(layout: &Path, blob: &Blob) {
    let mut bytes = blob.bytes.clone();
    bytes[blob.bytes.len() / 2] ^= 1;
    std::fs::write(layout.join("blobs").join(blob.digest.replace(':', "/")), bytes).unwrap();
}

#[test]
fn from_a_layout_to_a_registry() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    let image = Image::small();
    write_image(&scratch.join("l"), "1", &image);
    let before = scratch.list();
    let run = push_blob(&registry.repo("app"), "oci:l").stdin(image.lines()).dir(scratch.path());
    run.run().ok().stdout(image.lines());
    assert!(holds(&registry, "app", &image));
    assert_eq!(registry.sessions(), []);
    // A layout may record the repositories that its blobs were sent to.
    let after: Vec<_> =
        scratch.list().into_iter().filter(|name| name != "l/distribution-sources").collect();
    assert_eq!(after, before);
}

#[test]
fn from_a_registry_to_another_with_nothing_on_disk() {
    let [source, target] = [(); 2].map(|()| FakeRegistry::start());
    let scratch = Scratch::new();
    let image = Image::big(3_000_000, 1);
    source.add_image("a", "1", &image);
    let run = push_blob(&target.repo("b"), &source.repo("a")).stdin(image.lines());
    let run = run.env("TMPDIR", scratch.path()).dir(scratch.path()).run();
    run.ok().stdout(image.lines());
    assert!(holds(&target, "b", &image));
    assert_eq!(scratch.list(), Vec::<String>::new());
    assert_eq!(source.steps().iter().filter(|step| *step == "GET blob").count(), 2);
}

#[test]
fn a_blob_that_the_target_has_is_not_fetched_from_the_source() {
    let [source, target] = [(); 2].map(|()| FakeRegistry::start());
    let image = Image::small();
    source.add_image("a", "1", &image);
    target.add_image("b", "1", &image);
    push_blob(&target.repo("b"), &source.repo("a")).stdin(image.lines()).run().ok();
    assert!(target.steps().iter().all(|step| step == "HEAD blob"), "{:?}", target.steps());
    assert_eq!(source.steps(), Vec::<String>::new());
}

#[test]
fn from_a_layout_or_a_registry_to_a_layout() {
    let source = FakeRegistry::start();
    let scratch = Scratch::new();
    let image = Image::small();
    source.add_image("a", "1", &image);
    write_image(&scratch.join("l"), "1", &image);
    for (from, to) in [("oci:l".to_owned(), "b"), (source.repo("a"), "c")] {
        let run = push_blob(&format!("oci:{to}"), &from).stdin(image.lines());
        run.dir(scratch.path()).run().ok().stdout(image.lines());
        for blob in image.blobs() {
            assert_eq!(read_blob(&scratch.join(to), &blob.digest).as_ref(), Some(&blob.bytes));
        }
    }
}

#[test]
fn a_repeated_line_is_moved_once_and_printed_each_time() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    let image = Image::small();
    write_image(&scratch.join("l"), "1", &image);
    let lines = image.lines().repeat(3);
    let run = push_blob(&registry.repo("app"), "oci:l").stdin(lines.clone());
    run.dir(scratch.path()).run().ok().stdout(lines);
    let sent = registry.steps().iter().filter(|step| step.starts_with("PUT")).count();
    assert_eq!(sent, 3);
}

#[test]
fn a_line_is_printed_unchanged() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    let blob = Blob::new(types::TAR, "some data");
    write_layout(&scratch.join("l"), "1", &blob, []);
    let line = format!(
        "{{\"size\":9,\"digest\":\"{}\",\"annotations\":{{\"b\":\"ü\",\"a\":\"2\"}},\
         \"mediaType\":\"{}\",\"own\":[1.0,null]}}\n",
        blob.digest, blob.media_type
    );
    let run = push_blob(&registry.repo("app"), "oci:l").stdin(line.clone());
    run.dir(scratch.path()).run().ok().stdout(line);
}

#[test]
fn non_distributable_layers_are_skipped_with_a_warning_and_printed() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    let image = Image::small();
    let kind = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let foreign = Blob::new(kind, "some data");
    write_image(&scratch.join("l"), "1", &image);
    write_layout(&scratch.join("l"), "2", &foreign, []);
    let mut line = foreign.descriptor();
    line["urls"] = json!(["https://example.com/x"]);
    let line = format!("{line}\n");
    let lines = format!("{}{line}", image.lines());
    let run = push_blob(&registry.repo("app"), "oci:l").stdin(lines.clone());
    let run = run.dir(scratch.path()).run();
    run.status(0).stdout(&lines).says("push-blob: warning: ");
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    assert!(registry.blob("app", &foreign.digest).is_none());

    let run = push_blob(&registry.repo("app"), "oci:l").arg("--allow-nondistributable");
    run.stdin(line.clone()).dir(scratch.path()).run().ok().stdout(line);
    assert!(registry.blob("app", &foreign.digest).is_some());
}

/// An index and the images of its two platforms.
fn index_of_two() -> (Blob, Vec<Image>) {
    let images: Vec<_> =
        ["amd64", "arm64"].iter().map(|arch| Image::for_platform("linux", arch)).collect();
    let children = [(&images[0].manifest, "linux/amd64"), (&images[1].manifest, "linux/arm64")];
    (index(types::INDEX, &children), images)
}

#[test]
fn manifests_are_put_by_digest_after_all_lines_before_them() {
    let [source, target] = [(); 2].map(|()| FakeRegistry::start());
    let (_, images) = index_of_two();
    let mut lines = String::new();
    for image in &images {
        source.add_image("a", "", image);
        lines += &(image.lines() + &image.manifest.line());
    }
    // The scripted registry refuses a manifest if anything that it names is absent.
    target.intake(|request| {
        if request.is_close() && request.number < 9 {
            Intake::whole().after("HTTP/1.1 102 Processing\r\n\r\n")
        } else {
            Intake::whole()
        }
    });
    let run = push_blob(&target.repo("b"), &source.repo("a")).stdin(lines.clone()).run();
    run.ok().stdout(lines);
    for image in &images {
        let manifest = target.manifest("b", &image.manifest.digest).unwrap();
        assert!(manifest.bytes == image.manifest.bytes && manifest.media_type == types::MANIFEST);
    }
    assert_eq!(target.tags("b"), []);
}

#[test]
fn a_manifest_waits_for_a_slow_blob() {
    let [source, target] = [(); 2].map(|()| FakeRegistry::start());
    let image = Image::big(500_000, 1);
    source.add_image("a", "", &image);
    target.intake(|request| if request.is_session() { Intake::stall(20) } else { Intake::whole() });
    let lines = image.lines() + &image.manifest.line();
    let run = push_blob(&target.repo("b"), &source.repo("a")).stdin(lines.clone()).start();
    target.server.wait_for_stalls(2);
    assert!(!target.server.requests().iter().any(|r| r.is_manifest() && r.method == "PUT"));
    target.server.release();
    run.wait().ok().stdout(lines);
}

#[test]
fn nothing_is_printed_after_the_first_failed_line() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    let image = Image::small();
    write_image(&scratch.join("l"), "1", &image);
    let absent = Blob::new(types::TAR, "not stored anywhere");
    let lines = format!("{}{}{}", image.config.line(), absent.line(), image.layers[0].line());
    let push = push_blob(&registry.repo("app"), "oci:l").args(["-j", "1"]).stdin(lines);
    push.dir(scratch.path()).run().fails(3, &absent.digest).stdout(image.config.line());
    assert_eq!(registry.sessions(), []);
}

#[test]
fn a_missing_source_gives_status_3() {
    let [registry, other] = [(); 2].map(|()| FakeRegistry::start());
    let scratch = Scratch::new();
    let image = Image::small();
    // Three uploads fail at once. Each closes the session that it opened, whichever of them ends
    // the run.
    let many = std::iter::repeat_with(|| other.repo("nothing")).take(20);
    for from in many.chain(["oci:nothing".to_owned()]) {
        let run = push_blob(&registry.repo("app"), &from).stdin(image.lines());
        run.dir(scratch.path()).run().fails(3, "").stdout("");
        assert_eq!(registry.sessions(), [], "{from}: {:#?}", registry.steps());
    }
}

#[test]
fn bytes_with_another_digest_give_status_1_and_are_not_stored() {
    let [registry, source] = [(); 2].map(|()| FakeRegistry::start());
    let scratch = Scratch::new();
    let image = Image::big(3_000_000, 1);
    write_image(&scratch.join("l"), "1", &image);
    corrupt(&scratch.join("l"), &image.layers[0]);
    source.add_image("a", "1", &image);
    source.fault(|request, right| if request.is_blob() { right.corrupted() } else { right });
    for from in ["oci:l".to_owned(), source.repo("a")] {
        let run = push_blob(&registry.repo("app"), &from).stdin(image.layers[0].line());
        run.dir(scratch.path()).run().fails(1, "digest").stdout("");
        assert!(registry.blob("app", &image.layers[0].digest).is_none());
        assert_eq!(registry.sessions(), [], "{from}: {:?}", registry.steps());
    }
}

#[test]
fn a_line_with_the_wrong_size_is_refused() {
    let [registry, source] = [(); 2].map(|()| FakeRegistry::start());
    let scratch = Scratch::new();
    let blob = Blob::new(types::TAR, noise(100_000, 1));
    write_layout(&scratch.join("l"), "1", &blob, []);
    source.add_blob("a", blob.bytes.clone());
    for size in [99_999, 100_001] {
        for from in ["oci:l".to_owned(), source.repo("a")] {
            let mut line = blob.descriptor();
            line["size"] = json!(size);
            let run = push_blob(&registry.repo("app"), &from).stdin(format!("{line}\n"));
            let run = run.dir(scratch.path()).run();
            assert!(matches!(run.code(), Some(1 | 3)), "{size} {from}: {run}");
            run.stdout("");
            assert_eq!(registry.sessions(), [], "{from}: {:?}", registry.steps());
        }
    }
}

#[test]
fn a_broken_download_is_resumed() {
    let [source, target] = [(); 2].map(|()| FakeRegistry::start());
    let image = Image::big(3_000_000, 1);
    source.add_image("a", "1", &image);
    source.fault(|request, right| {
        if request.is_blob() && request.earlier == 0 { right.cut(200, End::Fin) } else { right }
    });
    push_blob(&target.repo("b"), &source.repo("a")).stdin(image.lines()).run().ok();
    assert!(holds(&target, "b", &image));
    assert_eq!(target.sessions(), []);
}

#[test]
fn a_source_that_always_breaks_gives_status_5_and_leaves_no_session() {
    let [source, target] = [(); 2].map(|()| FakeRegistry::start());
    let image = Image::big(3_000_000, 1);
    source.add_image("a", "1", &image);
    source.fault(|request, right| match request.earlier {
        0 => right.cut(1_000_000, End::Fin),
        _ => Reply::hang_up(),
    });
    let run = push_blob(&target.repo("b"), &source.repo("a")).stdin(image.layers[0].line()).run();
    run.fails(5, "").stdout("");
    // The session is not recorded for another run, because no home directory is set.
    assert_eq!(target.sessions(), [], "{:?}", target.steps());
}

#[test]
fn invalid_lines_give_status_6() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    write_image(&scratch.join("l"), "1", &Image::small());
    for line in [
        "",
        "\n",
        "sha256:00\n",
        "{}\n",
        "{\"mediaType\":\"a/b\",\"digest\":\"sha256:../../etc/passwd\",\"size\":1}\n",
        "{\"mediaType\":\"a/b\",\"digest\":\"md5:00000000000000000000000000000000\",\"size\":1}\n",
    ] {
        let run = push_blob(&registry.repo("app"), "oci:l").stdin(line).dir(scratch.path()).run();
        run.fails(6, "").stdout("");
        assert_eq!(registry.sessions(), [], "{line}");
    }
    let run = push_blob(&registry.repo("app"), "oci:l").dir(scratch.path()).run();
    run.fails(6, "did the previous command fail?").stdout("");
}

#[test]
fn source_and_target_get_separate_tokens() {
    let [source, target] = [(); 2].map(|()| FakeRegistry::with_tokens());
    let image = Image::small();
    source.add_image("a", "1", &image);
    push_blob(&target.repo("b"), &source.repo("a")).stdin(image.lines()).run().ok();
    assert!(holds(&target, "b", &image));
    let scopes = |registry: &FakeRegistry| {
        let requests = registry.server.requests();
        let asked = requests.iter().filter(|request| request.path == "/token");
        asked.flat_map(|request| request.params("scope")).collect::<Vec<_>>().join(" ")
    };
    assert!(!scopes(&source).contains("push"), "{}", scopes(&source));
    assert!(scopes(&target).contains("repository:b:"), "{}", scopes(&target));
}

#[test]
fn a_blob_that_the_target_has_need_not_be_in_the_layout() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    let image = Image::small();
    write_layout(&scratch.join("l"), "1", &image.manifest, []);
    registry.add_image("app", "1", &image);
    let run = push_blob(&registry.repo("app"), "oci:l").stdin(image.lines()).dir(scratch.path());
    run.run().ok().stdout(image.lines());
}

mod with_peers {
    use super::*;

    #[test]
    fn between_repositories_of_one_registry_blobs_are_mounted() {
        let registry = Registry::start();
        let image = Image::small();
        registry.put_image("base", "1", &image);
        let mark = registry.mark();
        let run = push_blob(&registry.repo("app"), &registry.repo("base"));
        run.args(["-j", "1"]).stdin(image.lines()).run().ok().stdout(image.lines());
        let each = ["HEAD blob 404", "POST mount 201"];
        assert_eq!(registry.steps_since(mark), each.repeat(3));
        for blob in image.blobs() {
            assert_eq!(registry.get(&format!("app/blobs/{}", blob.digest)), blob.bytes);
        }
    }

    /// A real registry stores the wrong bytes neither under the expected digest nor under their
    /// own.
    #[test]
    fn a_wrong_blob_is_not_stored_by_a_real_registry() {
        for registry in [Registry::start(), Registry::version_3()] {
            let scratch = Scratch::new();
            let image = Image::big(3_000_000, 1);
            write_image(&scratch.join("l"), "1", &image);
            corrupt(&scratch.join("l"), &image.layers[0]);
            for chunk in [&[][..], &["--chunk", "1M"]] {
                let run = push_blob(&registry.repo("app"), "oci:l").args(chunk);
                let run = run.stdin(image.layers[0].line()).dir(scratch.path()).run();
                run.fails(1, "digest differs: got").stdout("");
                let mut stored = tests::scratch::list(&registry.storage());
                stored.retain(|name| name.contains("/blobs/sha256/") && name.ends_with("/data"));
                assert_eq!(stored, Vec::<String>::new(), "{chunk:?} {:#?}", registry.answered());
            }
        }
    }

    #[test]
    fn one_pipeline_copies_a_multi_platform_image_between_registries() {
        let [source, target] = [(); 2].map(|()| Registry::start());
        let (index, images) = index_of_two();
        for image in &images {
            source.put_image("app", &image.manifest.digest, image);
        }
        source.put_manifest("app", "1", &index);
        let scratch = Scratch::new();
        let script = "fetch-manifest \"$A\":1 >m && list-blobs --recursive --from \"$A\" m |
        push-blob \"$B\" --from \"$A\" >lines && put-manifest \"$B\":1 m";
        let run = shell(script).env("A", source.repo("app")).env("B", target.repo("copies/app"));
        run.dir(scratch.path()).run().ok().stdout(index.line());
        assert_eq!(target.get("copies/app/manifests/1"), index.bytes);
        for platform in ["amd64", "arm64"] {
            let layout = scratch.join(platform);
            must(
                peer("skopeo")
                    .args(["--insecure-policy", "--override-arch", platform, "copy", "--quiet"])
                    .args(["--src-tls-verify=false", "--override-os", "linux"])
                    .arg(format!("docker://{}:1", target.repo("copies/app")))
                    .arg(format!("oci:{}:1", layout.display())),
            );
        }
    }

    #[test]
    fn a_pull_through_cache_works_as_a_source() {
        let [upstream, target] = [(); 2].map(|()| Registry::start());
        let image = Image::big(3_000_000, 1);
        upstream.put_image("a", "1", &image);
        let cache = Registry::cache_of(&upstream);
        let run = push_blob(&target.repo("b"), &cache.repo("a")).stdin(image.lines()).run();
        run.ok().stdout(image.lines());
        for blob in image.blobs() {
            assert_eq!(target.get(&format!("b/blobs/{}", blob.digest)), blob.bytes);
        }
    }

    #[test]
    fn only_plain_layers_are_compressed_on_the_way() {
        let registry = FakeRegistry::start();
        let scratch = Scratch::new();
        let archive = tests::images::tar(&[tests::images::file("f", "text ".repeat(100_000))]);
        let plain = Blob::new(types::TAR, archive);
        let gzipped = Blob::new(types::TAR_GZIP, tests::images::gzip(&plain.bytes));
        write_layout(&scratch.join("l"), "1", &plain, [&gzipped]);
        for (how, suffix) in [("gzip", "+gzip"), ("zstd", "+zstd")] {
            let run = push_blob(&registry.repo("app"), "oci:l").args(["--compress", how]);
            let run = run.stdin(plain.line() + &gzipped.line()).dir(scratch.path()).run();
            let lines = run.ok().lines();
            let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
            assert_eq!(line["mediaType"], format!("{}{suffix}", types::TAR));
            assert_eq!(line["annotations"]["containerd.io/uncompressed"], plain.digest.as_str());
            let held = registry.blob("app", line["digest"].as_str().unwrap()).unwrap();
            assert_eq!(line["size"], held.len());
            assert!(held.len() < plain.bytes.len() / 10);
            if how == "gzip" {
                scratch.write("held.gz", &held);
                let bytes = must(peer("pigz").arg("-dc").arg(scratch.join("held.gz")));
                assert!(bytes == plain.bytes);
            }
            assert_eq!(format!("{}\n", lines[1]), gzipped.line());
            assert_eq!(registry.sessions(), []);
        }
    }
}

#[test]
fn an_empty_index_is_copied() {
    let [source, target] = [(); 2].map(|()| FakeRegistry::start());
    let top = index(types::INDEX, &[]);
    source.add_manifest("app", "1", &top);
    let script = "fetch-manifest --plain-http \"$FROM:1\" >m && \
        list-blobs --plain-http --recursive --from \"$FROM\" m | \
        push-blob --plain-http --from-plain-http \"$TO\" --from \"$FROM\" && \
        put-manifest --plain-http \"$TO:1\" m";
    let scratch = Scratch::new();
    let run = shell(script).env("FROM", source.repo("app")).env("TO", target.repo("app"));
    run.dir(scratch.path()).run().ok();
    assert_eq!(target.manifest("app", "1").unwrap().bytes, top.bytes);
}
