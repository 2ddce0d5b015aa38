// SPDX-License-Identifier: Apache-2.0
//! Layers whose descriptors have `urls`: the registry is asked first, then these URLs in order,
//! without credentials or headers of the user.

use std::sync::Arc;

use serde_json::json;
use tests::commands::plain;
use tests::fake::{Reply, Server};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, noise};
use tests::scratch::Scratch;
use tests::tools::Run;

const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

fn layer() -> Blob {
    Blob::new(FOREIGN, noise(100_000, 1))
}

fn fetch(registry: &FakeRegistry, urls: &[String], scratch: &Scratch) -> Run {
    let mut descriptor = layer().descriptor();
    descriptor["urls"] = json!(urls);
    plain("fetch-blob")
        .args(["-H", "X-Key: secret"])
        .args([&registry.repo("app"), "--into", "oci:l"])
        .stdin(format!("{descriptor}\n"))
        .dir(scratch.path())
        .run()
}

/// A registry that has the repository but not the layer, and a server that has the layer.
fn registry_and_url_server() -> (FakeRegistry, Server) {
    let registry = FakeRegistry::with_tokens();
    registry.add_blob("app", "another");
    let bytes: Arc<[u8]> = layer().bytes.into();
    let url_server = Server::start(move |request| Reply::ranged(request, Arc::clone(&bytes)));
    (registry, url_server)
}

#[test]
fn the_registry_is_asked_first() {
    let (registry, url_server) = registry_and_url_server();
    registry.add_blob("app", layer().bytes);
    fetch(&registry, &[url_server.url()], &Scratch::new()).status(0);
    assert_eq!(url_server.asked(), Vec::<String>::new());
}

#[test]
fn the_urls_are_tried_in_order_without_credentials() {
    let (registry, url_server) = registry_and_url_server();
    let empty = Server::start(|_| Reply::new(404));
    let urls = [format!("{}/layer", empty.url()), format!("{}/layer", url_server.url())];
    fetch(&registry, &urls, &Scratch::new()).status(0);
    assert_eq!(empty.asked(), ["GET /layer"]);
    assert_eq!(url_server.asked(), ["GET /layer"]);
    for request in empty.requests().iter().chain(&url_server.requests()) {
        assert_eq!((request.header("authorization"), request.header("x-key")), (None, None));
    }
}

#[test]
fn forbidden_urls_are_skipped() {
    let (registry, url_server) = registry_and_url_server();
    let urls = [
        "http://169.254.169.254/latest".to_owned(),
        "file:///etc/passwd".to_owned(),
        "http://10.0.0.1/layer".to_owned(),
        url_server.url(),
    ];
    fetch(&registry, &urls, &Scratch::new()).status(0);
    assert_eq!(url_server.requests().len(), 1);
}

#[test]
fn wrong_bytes_from_a_url_are_refused() {
    let (registry, _) = registry_and_url_server();
    let wrong = Server::start(|_| Reply::ok(noise(100_000, 2)));
    let scratch = Scratch::new();
    fetch(&registry, &[wrong.url()], &scratch).fails(1, &layer().digest).stdout("");
    assert!(tests::images::read_blob(&scratch.join("l"), &layer().digest).is_none());
}

#[test]
fn a_layer_found_nowhere_gives_status_3() {
    let (registry, _) = registry_and_url_server();
    let empty = Server::start(|_| Reply::new(404));
    fetch(&registry, &[empty.url()], &Scratch::new()).fails(3, &layer().digest).stdout("");
}

#[test]
fn both_causes_are_reported_if_the_urls_fail_too() {
    let (registry, _) = registry_and_url_server();
    let gone = Server::start(|_| Reply::error(410, "GONE", "moved away"));
    let run = fetch(&registry, &[gone.url()], &Scratch::new());
    run.fails(3, "BLOB_UNKNOWN").says("; elsewhere: ").says("410 GONE: moved away");
    let urls = ["http://10.0.0.1/layer".to_owned(), gone.url()];
    let run = fetch(&registry, &urls, &Scratch::new());
    run.fails(3, "BLOB_UNKNOWN").says("10.0.0.1").says("(one of 2 urls)");
}

#[test]
fn a_url_that_fails_temporarily_is_retried_and_decides_the_status() {
    let (registry, _) = registry_and_url_server();
    let busy = Server::start(|_| Reply::error(503, "UNAVAILABLE", "busy"));
    let gone = Server::start(|_| Reply::new(404));
    let run = fetch(&registry, &[gone.url(), busy.url()], &Scratch::new());
    run.fails(5, "elsewhere: ").says("503 UNAVAILABLE: busy");
    assert_eq!(busy.requests().len(), 5);
    // The failure may be temporary.
    let bytes: Arc<[u8]> = layer().bytes.into();
    let some = tests::fake::first(2, |_| true);
    let late = Server::start(move |request| {
        if some(request) { Reply::new(503) } else { Reply::ranged(request, Arc::clone(&bytes)) }
    });
    fetch(&registry, &[late.url()], &Scratch::new()).status(0);
}
