// SPDX-License-Identifier: Apache-2.0
//! list-referrers and delete-manifest with real registries: Debian's docker-registry, distribution
//! 3, crane's and olareg. Only olareg has the referrers API. oras and regctl read the referrers
//! that our tools wrote, and our tools read theirs.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use tests::images::{Image, write_image};
use tests::peers::{must, peer};
use tests::referrers::{Referrer, SBOM, SIGNATURE, digests};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::small_registries::SmallRegistry;
use tests::tools::{Run, shell, tool};

/// A directory with the layout `x`, which has an image as `1`, and the file `note`.
fn layout() -> Scratch {
    let dir = Scratch::new();
    write_image(&dir.join("x"), "1", &Image::small());
    dir.write("note", "a note");
    dir
}

fn run(dir: &Scratch, script: &str, repo: &str) -> Run {
    shell(script).env("R", repo).dir(dir.path()).run()
}

/// Pushes the image of the layout under the tags 1 and 2.
#[track_caller]
fn push(dir: &Scratch, repo: &str) {
    let script = "fetch-manifest oci:x:1 >m && list-blobs m | push-blob \"$R\" --from oci:x &&
        put-manifest \"$R:1\" m && put-manifest \"$R:2\" m";
    run(dir, script, repo).ok();
}

/// Attaches an artifact with oras.
fn attach_by_oras(dir: &Scratch, repo: &str, artifact_type: &str) {
    let mut oras = peer("oras");
    oras.args(["attach", "--plain-http", "--artifact-type", artifact_type, &format!("{repo}:1")]);
    must(oras.arg("note:text/plain").current_dir(dir.path()));
}

/// Attaches an artifact with regctl.
fn attach_by_regctl(dir: &Scratch, repo: &str, artifact_type: &str) {
    regctl(
        dir,
        repo,
        &["artifact", "put", "--artifact-type", artifact_type, "-f", "note"],
        &["--subject", &format!("{repo}:1")],
    );
}

fn regctl(dir: &Scratch, repo: &str, args: &[&str], more: &[&str]) -> String {
    let host = repo.split_once('/').map_or(repo, |(host, _)| host);
    let command = || {
        let mut regctl = peer("regctl");
        regctl.env("HOME", dir.path()).current_dir(dir.path());
        regctl
    };
    must(command().args(["registry", "set", "--tls", "disabled", "--skip-check", host]));
    String::from_utf8_lossy(&must(command().args(args).args(more))).into_owned()
}

/// Attaches an artifact with our tools: a layer, an empty config, and a manifest with a subject.
#[track_caller]
fn attach(dir: &Scratch, repo: &str) -> String {
    let a = Referrer::of(&Image::small().manifest, SBOM, "ours");
    for blob in [&a.layer, &a.config] {
        tool("push-blob").arg(repo).stdin(blob.bytes.clone()).run().ok();
    }
    dir.write("ours.json", &a.manifest.bytes);
    let reference = format!("{repo}@{}", a.manifest.digest);
    tool("put-manifest").args([&reference, "ours.json"]).dir(dir.path()).run().ok();
    a.manifest.digest
}

/// The digests that oras and regctl list as referrers of tag 2.
fn seen_by_peers(dir: &Scratch, repo: &str) -> [Vec<String>; 2] {
    let reference = format!("{repo}:2");
    let mut oras = peer("oras");
    oras.args(["discover", "--plain-http", "--format", "json", &reference]);
    let seen: Value = serde_json::from_slice(&must(&mut oras)).unwrap();
    let listed = seen["referrers"].as_array().cloned().unwrap_or_default();
    let mut oras: Vec<String> =
        listed.iter().map(|one| one["digest"].as_str().unwrap().to_owned()).collect();
    let format = "{{range .Descriptors}}{{println .Digest}}{{end}}";
    let listed = regctl(dir, repo, &["artifact", "list", "--format", format], &[&reference]);
    let mut regctl: Vec<String> =
        listed.lines().filter(|line| line.contains(':')).map(str::to_owned).collect();
    oras.sort();
    regctl.sort();
    [oras, regctl]
}

#[track_caller]
fn seen_by_us(repo: &str) -> Vec<String> {
    let run = tool("list-referrers").arg(format!("{repo}:2")).run();
    let mut seen = digests(run.ok());
    seen.sort();
    seen
}

/// Attaches artifacts with all programs, lists them with all, copies the image with them, and
/// removes them.
#[track_caller]
fn referrers_are_listed_copied_and_removed(host: &str) {
    let dir = layout();
    let repo = format!("{host}/app");
    push(&dir, &repo);
    let ours = attach(&dir, &repo);
    attach_by_oras(&dir, &repo, SBOM);
    attach_by_regctl(&dir, &repo, SIGNATURE);

    let seen = seen_by_us(&repo);
    assert_eq!(seen.len(), 3);
    assert!(seen.contains(&ours));
    assert_eq!(seen_by_peers(&dir, &repo), [seen.clone(), seen.clone()]);
    for (artifact_type, count) in [(SBOM, 2), (SIGNATURE, 1), ("application/none", 0)] {
        let args = ["--artifact-type", artifact_type, &format!("{repo}:1")];
        assert_eq!(tool("list-referrers").args(args).run().ok().lines().len(), count);
    }

    let copy = format!("{host}/copy");
    let script = format!(
        "list-referrers --recursive \"$R:1\" | push-blob {copy} --from \"$R\" >/dev/null &&
        fetch-manifest \"$R:1\" | put-manifest {copy}:2"
    );
    run(&dir, &script, &repo).ok();
    assert_eq!(seen_by_us(&copy), seen);
    assert_eq!(seen_by_peers(&dir, &copy), [seen.clone(), seen.clone()]);

    tool("delete-manifest").arg(format!("{repo}@{ours}")).run().ok();
    let left: Vec<String> = seen.into_iter().filter(|digest| *digest != ours).collect();
    assert_eq!(seen_by_us(&repo), left);
    assert_eq!(seen_by_peers(&dir, &repo), [left.clone(), left]);
    run(&dir, "list-referrers \"$R:1\" | delete-manifest \"$R\"", &repo).ok();
    assert_eq!(seen_by_us(&repo), Vec::<String>::new());
    tool("delete-manifest").arg(format!("{repo}@{ours}")).run().fails(3, "404");
    tool("delete-manifest").args(["--ignore-missing", &format!("{repo}@{ours}")]).run().ok();
}

/// Removes tag 1, which must leave tag 2 and the manifest.
#[track_caller]
fn a_tag_is_removed_alone(host: &str) {
    let dir = layout();
    let repo = format!("{host}/tags");
    push(&dir, &repo);
    tool("delete-manifest").arg(format!("{repo}:1")).run().ok();
    tool("list-tags").arg(&repo).run().ok().stdout("2\n");
    let digest = format!("{}\n", Image::small().manifest.digest);
    tool("fetch-manifest").args(["--digest", &format!("{repo}:2")]).run().ok().stdout(digest);
    tool("delete-manifest").arg(format!("{repo}:1")).run().fails(3, "no such tag");
    tool("delete-manifest").args(["--ignore-missing", &format!("{repo}:1")]).run().ok();
}

#[test]
fn docker_registry_2_8() {
    let registry = Registry::with_deletes();
    referrers_are_listed_copied_and_removed(&registry.host());
}

#[test]
fn docker_registry_2_8_removes_no_tag() {
    let registry = Registry::with_deletes();
    let dir = layout();
    let repo = registry.repo("tags");
    push(&dir, &repo);
    let run = tool("delete-manifest").arg(format!("{repo}:1")).run();
    run.fails(6, "cannot remove a tag alone: 400").says("move the tag");
    assert_eq!(tool("list-tags").arg(&repo).run().ok().lines().len(), 2);
    tool("delete-manifest").args(["--ignore-missing", &format!("{repo}:9")]).run().ok();
    // As the hint says, the tag moves to another manifest, which is then removed by its digest.
    write_image(&dir.join("y"), "1", &Image::big(10, 7));
    let script = "fetch-manifest oci:y:1 >m && list-blobs m | push-blob \"$R\" --from oci:y &&
        put-manifest \"$R:1\" m && delete-manifest \"$R@$(fetch-manifest --digest oci:y:1)\"";
    shell(script).env("R", &repo).dir(dir.path()).run().status(0);
    tool("list-tags").arg(&repo).run().ok().stdout("2\n");
}

#[test]
fn registries_with_deletes_switched_off() {
    let registry = Registry::start();
    let dir = layout();
    let repo = registry.repo("app");
    push(&dir, &repo);
    let ours = attach(&dir, &repo);
    for name in [":1".to_owned(), format!("@{ours}")] {
        let run = tool("delete-manifest").arg(format!("{repo}{name}")).run();
        run.fails(6, "switched off").says("405 UNSUPPORTED").says("storage.delete.enabled");
    }
    assert_eq!(seen_by_us(&repo), [ours]);
}

#[test]
fn distribution_3() {
    let registry = Registry::version_3();
    referrers_are_listed_copied_and_removed(&registry.host());
    a_tag_is_removed_alone(&registry.host());
}

#[test]
fn distribution_3_with_tokens() {
    let server = tests::token_server::TokenServer::new();
    let registry = Registry::version_3_with_tokens_of(&server);
    let dir = layout();
    let repo = registry.repo("app");
    let login = |name: &str| {
        use tests::logins::{PASSWORD, USER};
        tool(name).args(["-u", USER]).env("REGISTRY_PASSWORD", PASSWORD).dir(dir.path())
    };
    let blobs = tool("list-blobs").arg("-").stdin(Image::small().manifest.bytes).run();
    login("push-blob").args([&repo, "--from", "oci:x"]).stdin(blobs.stdout).run().ok();
    for tag in ["1", "2"] {
        let reference = format!("{repo}:{tag}");
        login("put-manifest").arg(reference).stdin(Image::small().manifest.bytes).run().ok();
    }
    let a = Referrer::of(&Image::small().manifest, SBOM, "a");
    for blob in [&a.layer, &a.config] {
        login("push-blob").arg(&repo).stdin(blob.bytes.clone()).run().ok();
    }
    let reference = format!("{repo}@{}", a.manifest.digest);
    login("put-manifest").arg(&reference).stdin(a.manifest.bytes).run().ok();
    // delete-manifest also writes the list of referrers. This needs another permission.
    login("delete-manifest").arg(&reference).run().ok();
    login("list-referrers").arg(format!("{repo}:1")).run().ok().stdout("");
    login("delete-manifest").arg(format!("{repo}:1")).run().ok();
    login("list-tags").arg(&repo).run().ok().stdout("2\n");
}

#[test]
fn cranes_registry() {
    let registry = SmallRegistry::crane();
    referrers_are_listed_copied_and_removed(&registry.host());
    a_tag_is_removed_alone(&registry.host());
}

#[test]
fn olareg_with_the_referrers_api() {
    let registry = SmallRegistry::olareg();
    referrers_are_listed_copied_and_removed(&registry.host());
    a_tag_is_removed_alone(&registry.host());
    let tags = tool("list-tags").arg(format!("{}/app", registry.host())).run();
    assert!(!tags.ok().lines().iter().any(|tag| tag.starts_with("sha256-")), "{tags}");
}

/// A referrer is copied from a registry with the API to one without it, and back.
#[test]
fn copies_between_registries_with_and_without_the_api() {
    let olareg = SmallRegistry::olareg();
    let third = Registry::version_3();
    let dir = layout();
    let [a, b] = [olareg.host(), third.host()].map(|host| format!("{host}/app"));
    push(&dir, &a);
    attach(&dir, &a);
    attach_by_oras(&dir, &a, SIGNATURE);
    let seen = seen_by_us(&a);
    assert_eq!(seen.len(), 2);
    let back = format!("{}/back", olareg.host());
    for (from, to) in [(&a, &b), (&b, &back)] {
        let script = format!(
            "list-referrers --recursive {from}:2 | push-blob {to} --from {from} >/dev/null &&
            fetch-manifest {from}:2 | put-manifest {to}:2 >/dev/null"
        );
        run(&dir, &script, "").ok();
        assert_eq!(seen_by_us(to), seen);
        assert_eq!(seen_by_peers(&dir, to), [seen.clone(), seen.clone()]);
    }
}
