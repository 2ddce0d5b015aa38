// SPDX-License-Identifier: Apache-2.0
//! Real registries that require authentication: by name and password, or by tokens of a token
//! server.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::images::{Image, write_image};
use tests::logins::{PASSWORD, USER, at_home, auths, keep, login};
use tests::peers::{must, peer};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::token_server::TokenServer;
use tests::tools::{Command, shell};

const DOCKER: &str = ".docker/config.json";

/// A home with the image in the layout `l`, and the credential for the registry.
fn home(registry: &Registry) -> Scratch {
    let home = Scratch::new();
    write_image(&home.join("l"), "1", &Image::small());
    keep(&home, DOCKER, &auths(&registry.host(), &login(USER, PASSWORD)));
    home
}

fn script(text: &str, registry: &Registry, home: &Scratch) -> Command {
    let command = shell(text).env("REPO", registry.repo("app")).env("HOST", registry.host());
    at_home(command, home.path()).dir(home.path())
}

const PUSH: &str = "fetch-manifest oci:l:1 >m && list-blobs m | push-blob $REPO --from oci:l >lines && \
     put-manifest $REPO:1 m";
const PULL: &str =
    "fetch-manifest $REPO:1 --into oci:back | list-blobs | fetch-blob $REPO --into oci:back";

/// The number of 401 responses of the registry.
fn refusals(registry: &Registry) -> usize {
    // The status is the third word.
    registry.answered().iter().filter(|line| line.split(' ').nth(2) == Some("401")).count()
}

#[test]
fn push_and_pull_work_with_a_registry_that_requires_a_password() {
    let registry = Registry::with_login();
    let home = home(&registry);
    script(PUSH, &registry, &home).run().ok();
    let run = script(PULL, &registry, &home).run();
    run.ok().stdout(Image::small().lines());
    // One challenge for each program that sent requests to it: push-blob, put-manifest,
    // fetch-manifest, fetch-blob.
    tests::eventually("the access log", || (refusals(&registry) >= 4).then_some(()));
    assert_eq!(refusals(&registry), 4, "{:#?}", registry.answered());

    // skopeo reads the same credential file.
    let mut skopeo = peer("skopeo");
    skopeo
        .args(["inspect", "--raw", "--tls-verify=false"])
        .arg("--authfile")
        .arg(home.join(DOCKER));
    let raw = must(skopeo.arg(format!("docker://{}:1", registry.repo("app"))));
    assert_eq!(raw, Image::small().manifest.bytes);
}

#[test]
fn a_credential_file_written_by_skopeo_is_read() {
    let registry = Registry::with_login();
    let home = home(&registry);
    script(PUSH, &registry, &home).run().ok();
    std::fs::remove_dir_all(home.join(".docker")).unwrap();
    let mut skopeo = peer("skopeo");
    skopeo.args(["login", "--tls-verify=false", "-u", USER, "-p", PASSWORD, "--authfile"]);
    must(skopeo.arg(home.join("auth.json")).arg(registry.host()));
    let run = script("fetch-manifest --authfile auth.json $REPO:1", &registry, &home).run();
    run.ok().stdout(&Image::small().manifest.bytes);
}

#[test]
fn a_wrong_password_is_refused_at_once() {
    let registry = Registry::with_login();
    let home = home(&registry);
    let run = script("exec fetch-manifest -u me $REPO:1", &registry, &home);
    let run = run.env("REGISTRY_PASSWORD", "a guess").run();
    run.status(4).says("credentials refused").does_not_say("a guess");
}

#[test]
fn push_and_pull_work_with_a_registry_that_requires_tokens() {
    let server = TokenServer::new();
    let registry = Registry::with_tokens_of(&server);
    let home = home(&registry);
    let pushed = script(PUSH, &registry, &home).run();
    assert_eq!(pushed.code(), Some(0), "{pushed}\n{:#?}", registry.answered());
    // One token for push-blob, and one for put-manifest.
    assert_eq!(server.server.requests().len(), 2, "{:?}", server.server.asked());
    server.server.forget();
    script(PULL, &registry, &home).run().ok().stdout(Image::small().lines());
    assert_eq!(server.server.requests().len(), 2, "{:?}", server.server.asked());

    // An anonymous client may pull, but not push.
    std::fs::remove_dir_all(home.join(".docker")).unwrap();
    script("rm -r back", &registry, &home).run().ok();
    script(PULL, &registry, &home).run().ok();
    script("exec put-manifest $REPO:2 m", &registry, &home).run().status(4).says("login needed");
}

#[test]
fn a_mount_fetches_a_token_for_both_repositories() {
    let server = TokenServer::new();
    let registry = Registry::with_tokens_of(&server);
    let home = home(&registry);
    script(PUSH, &registry, &home).run().ok();
    server.server.forget();
    let mount = "list-blobs m | push-blob $HOST/other --from $REPO";
    script(mount, &registry, &home).run().ok().stdout(Image::small().lines());
    let asked: Vec<_> =
        server.server.requests().iter().map(|request| request.params("scope")).collect();
    let target = "repository:other:pull,push".to_owned();
    assert!(asked.contains(&vec![target, "repository:app:pull".to_owned()]), "{asked:?}");
}

#[test]
fn an_expired_token_is_replaced_only_once() {
    let server = TokenServer::new();
    let registry = Registry::with_tokens_of(&server);
    let home = home(&registry);
    script(PUSH, &registry, &home).run().ok();
    server.server.forget();
    server.next_are_expired(1);
    script("fetch-manifest $REPO:1", &registry, &home).run().ok();
    assert_eq!(server.server.requests().len(), 2);
    server.server.forget();
    server.next_are_expired(100);
    script("exec fetch-manifest $REPO:1", &registry, &home).run().status(4).says("refused");
    assert_eq!(server.server.requests().len(), 2);
}

#[test]
fn curl_can_use_a_token_from_fetch_token() {
    let server = TokenServer::new();
    let registry = Registry::with_tokens_of(&server);
    let home = home(&registry);
    script(PUSH, &registry, &home).run().ok();
    let curl = "curl -fsS --noproxy '*' -H \"$(fetch-token --print-header $REPO)\" \
         http://$HOST/v2/app/tags/list";
    let run = script(curl, &registry, &home).run();
    assert!(String::from_utf8_lossy(&run.ok().stdout).contains("\"1\""), "{run}");
}
