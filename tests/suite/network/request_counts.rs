// SPDX-License-Identifier: Apache-2.0
//! The number of requests and of simultaneous connections of a job: pulls and pushes with tokens,
//! from the first request to the last.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use tests::fake::Request;
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, dir, file, index, noise, types, write_image};
use tests::logins::at_home;
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::token_server::TokenServer;
use tests::tools::{Run, shell, tool};

/// The numbers of layers of the tested images.
const LAYERS: [usize; 3] = [1, 4, 20];

const PULL: &str = "fetch-manifest --plain-http $PLATFORM $REPO:1 --into oci:l | list-blobs |
     fetch-blob --plain-http $REPO --into oci:l | unpack-layer --from oci:l root";

const PUSH: &str = "list-blobs m | push-blob --plain-http $REPO --from oci:l >lines &&
     put-manifest --plain-http $REPO:1 m";

fn image(layers: usize) -> Image {
    let layers: Vec<Vec<_>> = (0..layers)
        .map(|number| vec![dir("d"), file(&format!("d/{number}"), noise(1000, number as u64 + 1))])
        .collect();
    let layers: Vec<&[_]> = layers.iter().map(Vec::as_slice).collect();
    Image::new(&layers)
}

fn run(text: &str, repo: &str, scratch: &Scratch) -> Run {
    let command = shell(text).env("REPO", repo).env("PLATFORM", "");
    at_home(command, scratch.path()).dir(scratch.path()).run()
}

/// Each program needs only one connection if it sends one request at a time.
#[test]
fn connections_are_reused_for_all_requests() {
    for registry in [FakeRegistry::start(), FakeRegistry::with_tokens()] {
        registry.add_image("app", "1", &image(20));
        let scratch = Scratch::new();
        let (app, one) = (registry.repo("app"), ["--plain-http", "-j", "1"]);
        tool("fetch-manifest").args(["--plain-http", &format!("{app}:1")]).run().ok();
        assert_eq!(registry.server.connections(), 1);
        let command = tool("fetch-blob").args(one).args([&app, "--into", "oci:l"]);
        command.stdin(image(20).lines()).dir(scratch.path()).run().ok();
        assert_eq!(registry.server.connections(), 2);
        let command = tool("push-blob").args(one).args([&registry.repo("b"), "--from", "oci:l"]);
        command.stdin(image(20).lines()).dir(scratch.path()).run().ok();
        assert_eq!(registry.server.connections(), 3);
        let command = tool("push-blob").args(one).args([&registry.repo("c"), "--from", &app]);
        command.arg("--from-plain-http").stdin(image(20).lines()).run().ok();
        assert!(registry.server.connections() <= 5);
    }
}

/// The number of requests of each kind.
fn kinds(requests: &[Request]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for request in requests {
        let step = request.step();
        let kind = step.split(' ').take(2).collect::<Vec<_>>().join(" ");
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

#[test]
fn a_pull_with_tokens_sends_six_requests_more_than_layers() {
    for layers in LAYERS {
        let registry = FakeRegistry::with_tokens();
        registry.add_image("app", "1", &image(layers));
        let scratch = Scratch::new();
        run(PULL, &registry.repo("app"), &scratch).status(0);
        let requests = registry.server.requests();
        // A challenge and a token for each program, a manifest, a config, and the layers.
        assert_eq!(requests.len(), layers + 6, "{:#?}", kinds(&requests));
        assert_eq!(kinds(&requests)["GET /token"], 2);
    }
}

#[test]
fn an_index_adds_one_request_to_a_pull() {
    let registry = FakeRegistry::with_tokens();
    let image = image(4);
    registry.add_image("app", "", &image);
    let list = index(types::INDEX, &[(&image.manifest, "linux/amd64")]);
    registry.add_manifest("app", "1", &list);
    let scratch = Scratch::new();
    let command = shell(PULL).env("REPO", registry.repo("app")).env("PLATFORM", "-plinux/amd64");
    command.dir(scratch.path()).run().status(0);
    let requests = registry.server.requests();
    assert_eq!(requests.len(), 4 + 7, "{:#?}", kinds(&requests));
}

#[test]
fn a_pull_with_one_given_token_sends_four_requests_more_than_layers() {
    for layers in LAYERS {
        let registry = FakeRegistry::with_tokens();
        registry.add_image("app", "1", &image(layers));
        let scratch = Scratch::new();
        let all = format!("export REGISTRY_TOKEN=$(fetch-token --plain-http $REPO) && {PULL}");
        run(&all, &registry.repo("app"), &scratch).status(0);
        let requests = registry.server.requests();
        assert_eq!(requests.len(), layers + 4, "{:#?}", kinds(&requests));
        assert_eq!(kinds(&requests)["GET /token"], 1);
    }
}

#[test]
fn a_push_with_tokens_sends_three_requests_per_blob_and_five_more() {
    for layers in LAYERS {
        let registry = FakeRegistry::with_tokens();
        let scratch = Scratch::new();
        write_image(&scratch.join("l"), "1", &image(layers));
        scratch.write("m", &image(layers).manifest.bytes);
        run(PUSH, &registry.repo("app"), &scratch).status(0);
        let requests = registry.server.requests();
        let kinds = kinds(&requests);
        // Three requests per blob: HEAD, POST and PUT. In addition a challenge and a token for each
        // program, and the manifest.
        assert_eq!(requests.len(), 3 * (layers + 1) + 5, "{kinds:#?}");
        assert_eq!(kinds["GET /token"], 2);
        // A blob that the registry has costs only a HEAD request.
        registry.server.forget();
        run(PUSH, &registry.repo("app"), &scratch).status(0);
        assert_eq!(registry.server.requests().len(), layers + 1 + 5);
    }
}

#[test]
fn a_mount_fetches_one_more_token() {
    let registry = FakeRegistry::with_tokens();
    let image = image(4);
    registry.add_image("base", "1", &image);
    let scratch = Scratch::new();
    scratch.write("m", &image.manifest.bytes);
    let text = "list-blobs m | push-blob --plain-http $REPO --from $BASE >lines";
    let command = shell(text).env("REPO", registry.repo("app")).env("BASE", registry.repo("base"));
    command.dir(scratch.path()).run().ok();
    let requests = registry.server.requests();
    // A HEAD request and a mount per blob; a challenge, its token, and a token for both
    // repositories.
    assert_eq!(requests.len(), 2 * 5 + 3, "{:#?}", kinds(&requests));
}

#[test]
fn no_more_connections_than_allowed_are_opened() {
    for jobs in [1, 2, 5] {
        for registry in [FakeRegistry::start(), FakeRegistry::with_tokens()] {
            let image = image(20);
            registry.add_image("app", "1", &image);
            let scratch = Scratch::new();
            let jobs_text = jobs.to_string();
            let command = tool("fetch-blob").args(["--plain-http", "-j", &jobs_text, "--into"]);
            let command = command.args(["oci:l", &registry.repo("app")]).dir(scratch.path());
            command.stdin(image.lines()).run().ok();
            assert!(registry.server.connections() <= jobs, "{}", registry.server.connections());

            let command = tool("push-blob").args(["--plain-http", "-j", &jobs_text, "--from"]);
            let command = command.args(["oci:l", &registry.repo("other")]).dir(scratch.path());
            command.stdin(image.lines()).run().ok();
            assert!(registry.server.connections() <= 2 * jobs);
        }
    }
}

#[test]
fn a_large_blob_uses_no_more_connections_than_allowed() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 140 << 20, 1);
    let scratch = Scratch::new();
    let command = tool("fetch-blob").args(["--plain-http", "-j", "3", "-o", "b"]);
    let command = command.args([&registry.repo("app"), &blob.digest]).dir(scratch.path());
    command.run().ok();
    assert!(registry.server.connections() <= 3, "{:?}", registry.server.asked());
}

mod with_peers {
    use super::*;

    #[test]
    fn a_real_registry_gets_the_same_number_of_requests() {
        let server = TokenServer::new();
        let registry = Registry::with_tokens_of(&server);
        let scratch = Scratch::new();
        let image = image(4);
        write_image(&scratch.join("l"), "1", &image);
        scratch.write("m", &image.manifest.bytes);
        let home = tests::logins::auths(
            &registry.host(),
            &tests::logins::login(tests::logins::USER, tests::logins::PASSWORD),
        );
        tests::logins::keep(&scratch, ".docker/config.json", &home);
        let mut before = 0;
        // The counts leave out requests to the token server.
        for (text, want) in [(PUSH, 3 * 5 + 3), ("rm -r l", 0), (PULL, 4 + 4)] {
            run(text, &registry.repo("app"), &scratch).status(0);
            let answered = || registry.answered().len() - before;
            tests::eventually("the access log", || (answered() >= want).then_some(()));
            assert_eq!(answered(), want, "{:#?}", registry.answered());
            before += want;
        }
        assert_eq!(server.server.requests().len(), 4);
    }
}
