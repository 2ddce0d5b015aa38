// SPDX-License-Identifier: Apache-2.0
//! Mirrors on the command line. Mirrors are tried first, in their order. If a mirror lacks the
//! content or fails, the next one is tried. No mirror gets a secret for the registry.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::fake::{End, Reply};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, file, noise, tar, types};
use tests::logins::{auths, keep, login};
use tests::ports::Closed;
use tests::scratch::Scratch;
use tests::tools::{Command, tool};

fn fetch_manifest() -> Command {
    tool("fetch-manifest").args(["--max-wait", "0"])
}

fn fetch_blob() -> Command {
    tool("fetch-blob").args(["--max-wait", "0"])
}

/// A registry and a mirror of it with the same image as `app:1`.
fn both() -> (FakeRegistry, FakeRegistry, Image) {
    let image = Image::small();
    let (registry, mirror) = (FakeRegistry::start(), FakeRegistry::start());
    registry.add_image("app", "1", &image);
    mirror.add_image("app", "1", &image);
    (registry, mirror, image)
}

/// A registry and a mirror of it with the same blob.
fn both_with_blob(len: usize) -> (FakeRegistry, FakeRegistry, Vec<u8>, String) {
    let (registry, mirror) = (FakeRegistry::start(), FakeRegistry::start());
    let bytes = noise(len, 1);
    let digest = registry.add_blob("app", bytes.clone());
    mirror.add_blob("app", bytes.clone());
    (registry, mirror, bytes, digest)
}

#[test]
fn the_registry_gets_no_request_if_the_mirror_has_the_image() {
    let (registry, mirror, image) = both();
    let run = fetch_manifest().args(["--mirror", &mirror.host(), &registry.repo("app:1")]).run();
    run.ok().stdout(&image.manifest.bytes);
    let layer = &image.layers[0];
    let run =
        fetch_blob().args(["--mirror", &mirror.host(), &registry.repo("app"), &layer.digest]).run();
    run.ok().stdout(&layer.bytes);
    assert!(registry.server.asked().is_empty(), "{:?}", registry.server.asked());
}

#[test]
fn an_unreachable_registry_is_read_from_its_mirror() {
    let (_, mirror, image) = both();
    let registry = Closed::new();
    let reference = format!("{}/app:1", registry.host());
    let run = fetch_manifest().args(["--mirror", &mirror.host(), &reference]).run();
    run.ok().stdout(&image.manifest.bytes);
}

#[test]
fn content_missing_at_a_mirror_is_read_from_the_registry_without_a_warning() {
    let (registry, _, image) = both();
    let mirror = FakeRegistry::start();
    let run = fetch_manifest().args(["--mirror", &mirror.host(), &registry.repo("app:1")]).run();
    run.ok().stdout(&image.manifest.bytes);
    assert_eq!(mirror.server.asked(), ["GET /v2/app/manifests/1"]);
}

#[test]
fn a_failing_mirror_is_abandoned_with_a_warning() {
    let (registry, mirror, image) = both();
    let faults: [fn(Reply) -> Reply; 7] = [
        |_| Reply::error(401, "UNAUTHORIZED", "who"),
        |_| Reply::error(403, "DENIED", "no"),
        |_| Reply::error(429, "TOOMANYREQUESTS", "later"),
        |_| Reply::error(503, "UNAVAILABLE", "later"),
        |_| Reply::hang_up(),
        |right| right.header("Content-Type", "text/html").body("<html>log in</html>"),
        |_| Reply::redirect(302, "http://169.254.169.254/"),
    ];
    for fault in faults {
        mirror.fault(move |_, right| fault(right));
        let run =
            fetch_manifest().args(["--mirror", &mirror.host(), &registry.repo("app:1")]).run();
        run.status(0).stdout(&image.manifest.bytes);
        run.says(&format!("warning: mirror {} (--mirror) is no longer used: ", mirror.host()));
    }
}

#[test]
fn an_unreachable_mirror_is_tried_once() {
    let (registry, _, image) = both();
    let closed = Closed::new();
    let mirror = closed.host();
    let scratch = Scratch::new();
    let into = format!("oci:{}", scratch.join("layout").display());
    let run = fetch_blob()
        .args(["--mirror", &mirror, &registry.repo("app"), "--into", &into])
        .stdin(image.lines())
        .run();
    run.status(0).stdout(image.lines()).says("is no longer used").does_not_say("times");
}

#[test]
fn mirrors_are_asked_in_their_order() {
    let (registry, second, image) = both();
    let (first, third) = (FakeRegistry::start(), FakeRegistry::start());
    third.add_image("app", "1", &image);
    let run = fetch_manifest()
        .args(["--mirror", &first.host(), "--mirror", &second.host(), "--mirror", &third.host()])
        .arg(registry.repo("app:1"))
        .run();
    run.ok().stdout(&image.manifest.bytes);
    assert_eq!((first.server.asked().len(), second.server.asked().len()), (1, 1));
    assert!(third.server.asked().is_empty() && registry.server.asked().is_empty());
}

#[test]
fn the_registrys_own_error_is_reported_if_all_fail() {
    let (registry, mirror, _) = both();
    mirror.fault(|_, _| Reply::error(403, "DENIED", "not you"));
    let run = fetch_manifest().args(["--mirror", &mirror.host(), &registry.repo("app:2")]).run();
    run.fails(3, &registry.repo("app:2")).stdout("");
    mirror.heal();
    registry.fault(|_, _| Reply::error(403, "DENIED", "not you either"));
    let run = fetch_manifest().args(["--mirror", &mirror.host(), &registry.repo("app:2")]).run();
    run.fails(4, "not you either").stdout("");
}

#[test]
fn a_mirrors_path_replaces_the_registrys_host() {
    let (registry, _, image) = both();
    let mirror = FakeRegistry::start();
    mirror.add_image("hub/eu/app", "1", &image);
    for name in [mirror.repo("hub/eu"), format!("http://{}", mirror.repo("hub/eu"))] {
        let run = fetch_manifest().args(["--mirror", &name, &registry.repo("app:1")]).run();
        run.ok().stdout(&image.manifest.bytes);
    }
    assert!(registry.server.asked().is_empty());
}

#[test]
fn an_https_mirror_is_never_used_with_plain_http() {
    let (registry, mirror, image) = both();
    let name = format!("https://{}", mirror.host());
    let run = fetch_manifest().args(["--mirror", &name, &registry.repo("app:1")]).run();
    run.status(0).says("is no longer used").stdout(&image.manifest.bytes);
    assert!(mirror.server.requests().is_empty());
}

#[test]
fn mirror_none_uses_only_the_registry() {
    let (registry, _, image) = both();
    let run = fetch_manifest().args(["--mirror", "none", &registry.repo("app:1")]).run();
    run.ok().stdout(&image.manifest.bytes);
    let run = fetch_manifest().args(["--mirror", "none", "--mirror", "a.invalid", "app:1"]).run();
    run.fails(2, "contradict");
}

#[test]
fn an_invalid_mirror_is_refused() {
    for wrong in
        ["", "/", "ftp://a.invalid", "a b", "me:pw@a.invalid", "a.invalid:0", "a.invalid/B"]
    {
        let run = fetch_manifest().args(["--mirror", wrong, "127.0.0.1:1/app:1"]).run();
        run.status(2).stdout("");
        assert!(!run.stderr.contains("pw@"), "{}", run.stderr);
    }
}

#[test]
fn a_wrong_manifest_from_a_mirror_is_not_accepted() {
    let (registry, mirror, image) = both();
    let other = Image::for_platform("linux", "arm64").manifest.bytes;
    mirror.fault(move |_, right| right.without("Docker-Content-Digest").body(&other));
    let name = registry.repo(&format!("app@{}", image.manifest.digest));
    let run = fetch_manifest().args(["--mirror", &mirror.host(), &name]).run();
    run.status(0).says("digest differs").stdout(&image.manifest.bytes);
    mirror.fault(|_, right| right.without("Docker-Content-Digest").body("{\"no\": \"manifest\"}"));
    let run = fetch_manifest().args(["--mirror", &mirror.host(), &registry.repo("app:1")]).run();
    run.status(0).says("is no longer used").stdout(&image.manifest.bytes);
}

#[test]
fn wrong_bytes_from_a_mirror_are_discarded_and_fetched_from_the_registry() {
    let scratch = Scratch::new();
    for len in [1000, 3_000_000] {
        let (registry, mirror, bytes, digest) = both_with_blob(len);
        mirror.fault(|_, right| right.corrupted());
        let file = scratch.join(format!("file{len}"));
        let run = fetch_blob()
            .args(["--mirror", &mirror.host(), &registry.repo("app"), &digest, "-o"])
            .arg(&file)
            .run();
        run.status(0).says("digest differs");
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
        let into = format!("oci:{}", scratch.join(format!("layout{len}")).display());
        let blob = Blob::new(types::TAR, bytes);
        let run = fetch_blob()
            .args(["--mirror", &mirror.host(), &registry.repo("app"), "--into", &into])
            .stdin(blob.line())
            .run();
        run.status(0).says("digest differs").stdout(blob.line());
    }
}

#[test]
fn two_mirrors_with_wrong_bytes_are_both_abandoned() {
    let (registry, mirror, bytes, digest) = both_with_blob(3_000_000);
    let other = FakeRegistry::start();
    other.add_blob("app", bytes.clone());
    mirror.fault(|_, right| right.corrupted());
    other.fault(|_, right| right.corrupted());
    let scratch = Scratch::new();
    let run = fetch_blob()
        .args(["--mirror", &mirror.host(), "--mirror", &other.host(), &registry.repo("app")])
        .args([&digest, "-o"])
        .arg(scratch.join("file"))
        .run();
    run.status(0).says(&mirror.host()).says(&other.host());
    assert_eq!(std::fs::read(scratch.join("file")).unwrap(), bytes);
}

#[test]
fn wrong_bytes_from_a_mirror_are_replaced_on_stdout_only_before_any_are_written() {
    let (registry, mirror, bytes, digest) = both_with_blob(60_000);
    mirror.fault(|_, right| right.corrupted());
    let run = fetch_blob().args(["--mirror", &mirror.host(), &registry.repo("app"), &digest]).run();
    run.status(0).says("digest differs").stdout(&bytes);
    let (registry, mirror, bytes, digest) = both_with_blob(600_000);
    mirror.fault(|_, right| right.corrupted());
    let run = fetch_blob().args(["--mirror", &mirror.host(), &registry.repo("app"), &digest]).run();
    run.fails(1, "digest differs").says("--mirror none");
    assert!(run.stdout.len() < bytes.len());
}

#[test]
fn a_download_that_breaks_at_a_mirror_resumes_at_the_registry() {
    let (registry, mirror, bytes, digest) = both_with_blob(500_000);
    mirror.fault(|_, right| right.cut(200_000, End::Reset));
    let scratch = Scratch::new();
    let file = scratch.join("file");
    let all = [registry.repo("app"), digest];
    for output in [&["-o", file.to_str().unwrap()][..], &["--retry-times", "1"]] {
        registry.server.forget();
        let run = fetch_blob().args(["--mirror", &mirror.host()]).args(&all).args(output).run();
        run.status(0).says("is no longer used");
        let asked = registry.blob_requests();
        assert_eq!(asked.len(), 1);
        let range = asked[0].range().unwrap();
        assert!(range.start > 0 && range.start <= 200_000, "{range:?}");
        if output.len() == 2 && output[0] == "-o" {
            assert_eq!(std::fs::read(&file).unwrap(), bytes);
        }
    }
}

#[test]
fn a_mirror_with_a_blob_of_another_size_is_abandoned() {
    let (registry, mirror, bytes, digest) = both_with_blob(500_000);
    let blob = Blob::new(types::TAR, bytes.clone());
    let longer = noise(500_001, 2);
    mirror.fault(move |request, right| if request.is_blob() { right.body(&longer) } else { right });
    let run = fetch_blob()
        .args(["--mirror", &mirror.host(), &registry.repo("app")])
        .stdin(blob.line())
        .run();
    assert_eq!(blob.digest, digest);
    run.status(0).says("size differs").stdout(&bytes);
}

#[test]
fn credentials_given_for_the_registry_are_not_sent_to_its_mirror() {
    let (registry, mirror, image) = both();
    let run = fetch_manifest()
        .args(["-H", "X-Key: secret", "--mirror", &mirror.host(), &registry.repo("app:1")])
        .env("REGISTRY_TOKEN", "secret-token")
        .run();
    run.ok().stdout(&image.manifest.bytes);
    mirror.fault(|_, _| {
        Reply::error(401, "UNAUTHORIZED", "who").header("WWW-Authenticate", "Basic realm=\"x\"")
    });
    let run = fetch_manifest()
        .args(["-u", "me", "--mirror", &mirror.host(), &registry.repo("app:1")])
        .env("REGISTRY_PASSWORD", "secret")
        .run();
    run.status(0).stdout(&image.manifest.bytes).says("login needed");
    for request in mirror.server.requests() {
        assert_eq!((request.header("authorization"), request.header("x-key")), (None, None));
    }
}

#[test]
fn a_mirror_gets_its_own_stored_credential() {
    let (registry, mirror, image) = both();
    let right = tests::logins::basic("mirrored", "pw");
    mirror.fault(move |request, answer| match request.header("authorization") {
        Some(header) if header == right => answer,
        _ => {
            Reply::error(401, "UNAUTHORIZED", "who").header("WWW-Authenticate", "Basic realm=\"x\"")
        }
    });
    let scratch = Scratch::new();
    keep(&scratch, "auth.json", &auths(&mirror.host(), &login("mirrored", "pw")));
    let run = fetch_manifest()
        .args(["--mirror", &mirror.host(), &registry.repo("app:1"), "--authfile"])
        .arg(scratch.join("auth.json"))
        .run();
    run.ok().stdout(&image.manifest.bytes);
    assert!(registry.server.asked().is_empty());
}

#[test]
fn the_manifests_of_an_index_are_read_from_a_mirror() {
    let (registry, mirror, image) = both();
    let run = tool("list-blobs")
        .args(["--from", &registry.repo("app"), "--recursive", "--mirror", &mirror.host()])
        .stdin(tests::images::index(types::INDEX, &[(&image.manifest, "linux/amd64")]).bytes)
        .run();
    run.ok();
    assert_eq!(run.lines().len(), image.layers.len() + 2);
    assert!(registry.server.asked().is_empty());
}

#[test]
fn a_blob_is_copied_from_a_mirror_unless_its_digest_is_wrong() {
    let (registry, mirror, image) = both();
    let push = |to: &FakeRegistry| {
        tool("push-blob")
            .args(["--max-wait", "0", &to.repo("copy"), "--from", &registry.repo("app")])
            .args(["--mirror", &mirror.host()])
            .stdin(image.lines())
            .run()
    };
    push(&FakeRegistry::start()).ok().stdout(image.lines());
    assert!(registry.server.asked().is_empty());
    mirror.fault(|_, right| right.corrupted());
    let target = FakeRegistry::start();
    push(&target).status(0).stdout(image.lines()).says("digest differs");
    assert!(image.blobs().all(|blob| target.blob("copy", &blob.digest).is_some()));
    assert!(target.sessions().is_empty());
}

#[test]
fn a_mirror_is_accepted_only_for_reads() {
    for args in [
        &["push-blob", "127.0.0.1:1/a", "--mirror", "m.invalid"][..],
        &["list-blobs", "--mirror", "m.invalid"],
        &["list-layer", "--mirror", "m.invalid"],
    ] {
        tool(args[0]).args(&args[1..]).stdin("x").run().fails(2, "--mirror requires --from");
    }
    for name in ["put-manifest", "fetch-token", "list-tags"] {
        tool(name).args(["--mirror", "m.invalid", "127.0.0.1:1/a"]).run().status(2);
    }
}

#[test]
fn a_copy_succeeds_although_two_mirrors_send_wrong_bytes() {
    let (registry, mirror, image) = both();
    let other = FakeRegistry::start();
    other.add_image("app", "1", &image);
    mirror.fault(|_, right| right.corrupted());
    other.fault(|_, right| right.corrupted());
    let target = FakeRegistry::start();
    let run = tool("push-blob")
        .args(["--max-wait", "0", &target.repo("copy"), "--from", &registry.repo("app")])
        .args(["--mirror", &mirror.host(), "--mirror", &other.host()])
        .stdin(image.lines())
        .run();
    run.status(0).stdout(image.lines()).says(&mirror.host()).says(&other.host());
}

#[test]
fn wrong_bytes_from_a_mirror_are_not_compressed() {
    let (registry, mirror, _) = both();
    let image = Image::of_plain(&[&tar(&[file("a", "plain\n")])]);
    registry.add_image("app", "plain", &image);
    mirror.add_image("app", "plain", &image);
    mirror.fault(|_, right| right.corrupted());
    let run = tool("push-blob")
        .args(["--max-wait", "0", &FakeRegistry::start().repo("copy"), "--compress", "gzip"])
        .args(["--from", &registry.repo("app"), "--mirror", &mirror.host()])
        .stdin(image.layers[0].line())
        .run();
    run.status(0).says("is no longer used");
}

#[test]
fn only_the_mirror_that_sent_wrong_bytes_is_abandoned() {
    let (registry, corrupt, _) = both();
    let right = FakeRegistry::start();
    let [first, second] = [1, 2].map(|seed| Blob::new(types::TAR, noise(1000, seed)));
    right.add_blob("app", first.bytes.clone());
    corrupt.add_blob("app", second.bytes.clone());
    registry.add_blob("app", second.bytes.clone());
    corrupt.fault(|_, answer| answer.corrupted());
    let scratch = Scratch::new();
    let lines = first.line() + &second.line();
    let run = fetch_blob()
        .args(["-j", "1", "--mirror", &right.host(), "--mirror", &corrupt.host()])
        .args([&registry.repo("app"), "--into"])
        .arg(format!("oci:{}", scratch.join("layout").display()))
        .stdin(lines.as_str())
        .run();
    run.status(0).stdout(&lines).says(&corrupt.host()).does_not_say(&right.host());
}

#[test]
fn layers_are_listed_from_a_mirror_and_wrong_bytes_name_it() {
    let (registry, mirror, image) = both();
    let list = |mode: &str| {
        let args = ["--max-wait", "0", "--from", &registry.repo("app"), mode];
        tool("list-layer").args(args).args(["--mirror", &mirror.host()]).stdin(image.lines()).run()
    };
    for mode in ["--json", "--merged"] {
        list(mode).ok();
    }
    assert!(registry.server.asked().is_empty());
    let digest = image.layers[0].digest.clone();
    mirror.fault(
        move |request, right| {
            if request.target.ends_with(&digest) { right.corrupted() } else { right }
        },
    );
    for mode in ["--json", "--merged"] {
        let run = list(mode);
        run.fails(1, "digest differs").says(&mirror.host()).stdout("");
        run.says("hint: a mirror sent some of the bytes: --mirror none");
    }
}
