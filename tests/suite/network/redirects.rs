// SPDX-License-Identifier: Apache-2.0
//! Redirects: allowed targets are followed, without the secrets for the registry; other targets are
//! refused.

use std::sync::Arc;

use tests::certs::Authority;
use tests::commands::fetch_blob;
use tests::fake::{End, Reply, Server};
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, noise, types};
use tests::scratch::Scratch;
use tests::tools::tool;

/// A registry that redirects its blobs to another server, and that server, which responds to every
/// request with the blob's bytes.
fn registry_and_storage(
    registry: FakeRegistry,
    status: u16,
) -> (FakeRegistry, Server, Vec<u8>, String) {
    let bytes = noise(500_000, 1);
    let digest = registry.add_blob("app", bytes.clone());
    let all: Arc<[u8]> = bytes.clone().into();
    let storage = Server::start(move |request| Reply::ranged(request, Arc::clone(&all)));
    let url = storage.url();
    registry.fault(move |request, right| match (request.is_blob(), right.code()) {
        (true, 200 | 206) => {
            Reply::redirect(status, &format!("{url}/bucket?signature={}", request.earlier))
        }
        _ => right,
    });
    (registry, storage, bytes, digest)
}

#[test]
fn all_redirect_statuses_are_followed() {
    for status in [301, 302, 303, 307, 308] {
        let (registry, storage, bytes, digest) =
            registry_and_storage(FakeRegistry::start(), status);
        fetch_blob().args([&registry.repo("app"), &digest]).run().ok().stdout(&bytes);
        assert_eq!(storage.asked(), ["GET /bucket?signature=0"]);
    }
}

#[test]
fn given_headers_are_not_sent_to_storage() {
    let (registry, storage, bytes, digest) = registry_and_storage(FakeRegistry::start(), 307);
    let run = fetch_blob().args(["-H", "X-Key: secret", &registry.repo("app"), &digest]).run();
    run.ok().stdout(&bytes);
    assert_eq!(registry.server.requests()[0].header("x-key"), Some("secret"));
    assert_eq!(storage.requests()[0].header("x-key"), None);
    assert!(storage.requests()[0].header("user-agent").is_some());
}

#[test]
fn the_token_is_not_sent_to_storage() {
    let (registry, storage, bytes, digest) = registry_and_storage(FakeRegistry::with_tokens(), 307);
    fetch_blob().args([&registry.repo("app"), &digest]).run().ok().stdout(&bytes);
    assert!(registry.server.requests().iter().any(|r| r.header("authorization").is_some()));
    assert!(storage.requests().iter().all(|r| r.header("authorization").is_none()));
}

#[test]
fn a_relative_redirect_is_resolved_against_the_registry() {
    let registry = FakeRegistry::start();
    let bytes = noise(1000, 1);
    let digest = registry.add_blob("app", bytes.clone());
    let target = format!("/v2/app/blobs/{digest}?here=1#fragment");
    registry.fault(move |request, right| match request.query.as_str() {
        "here=1" => right,
        _ => Reply::redirect(307, &target),
    });
    fetch_blob().args([&registry.repo("app"), &digest]).run().ok().stdout(&bytes);
    assert_eq!(registry.server.requests()[1].target, format!("/v2/app/blobs/{digest}?here=1"));
}

#[test]
fn a_resumed_download_starts_at_the_registry_again_with_the_range() {
    let bytes = noise(500_000, 1);
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", bytes.clone());
    let all: Arc<[u8]> = bytes.clone().into();
    let storage = Server::start(move |request| {
        let right = Reply::ranged(request, Arc::clone(&all));
        if request.earlier == 0 { right.cut(200_000, End::Fin) } else { right }
    });
    let url = storage.url();
    registry.fault(move |request, _| {
        Reply::redirect(307, &format!("{url}/bucket?signature={}", request.earlier))
    });
    fetch_blob().args([&registry.repo("app"), &digest]).run().ok().stdout(&bytes);
    assert_eq!(storage.asked(), ["GET /bucket?signature=0", "GET /bucket?signature=1"]);
    assert_eq!(storage.requests()[1].range().map(|range| range.start), Some(200_000));
}

#[test]
fn an_expired_redirect_url_is_requested_once_more() {
    let (registry, _, bytes, digest) = registry_and_storage(FakeRegistry::start(), 307);
    let all: Arc<[u8]> = bytes.clone().into();
    for (status, good_from, code) in [(403, 1, Some(0)), (400, 1, Some(0)), (403, 99, None)] {
        registry.server.forget();
        let all = Arc::clone(&all);
        let storage = Server::start(move |request| {
            if request.earlier >= good_from {
                return Reply::ranged(request, Arc::clone(&all));
            }
            Reply::new(status).header("Content-Type", "application/xml").body("<Error/>")
        });
        let url = storage.url();
        registry.fault(move |_, _| Reply::redirect(307, &format!("{url}/bucket")));
        let run = fetch_blob().args([&registry.repo("app"), &digest]).run();
        match code {
            Some(code) => drop(run.status(code).stdout(&bytes)),
            None => assert!(matches!(run.code(), Some(4 | 5)), "{run}"),
        }
        assert_eq!(registry.blob_requests().len(), 2);
    }
}

#[test]
fn failing_storage_is_retried_through_the_registry() {
    let bytes = noise(1000, 1);
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", bytes.clone());
    let all: Arc<[u8]> = bytes.clone().into();
    let storage = Server::start(move |request| match request.earlier {
        0 => Reply::new(503),
        _ => Reply::ranged(request, Arc::clone(&all)),
    });
    let url = storage.url();
    registry.fault(move |_, _| Reply::redirect(307, &format!("{url}/bucket")));
    fetch_blob().args([&registry.repo("app"), &digest]).run().ok().stdout(&bytes);
    assert_eq!(registry.blob_requests().len(), 2);
}

#[test]
fn storage_that_requires_a_token_gets_none() {
    let attacker = Server::start(|_| Reply::json(200, &serde_json::json!({"token": "x"})));
    let challenge = format!("Bearer realm=\"{}/token\",service=\"s\"", attacker.url());
    let storage = Server::start(move |_| Reply::new(401).header("WWW-Authenticate", &challenge));
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", noise(1000, 1));
    let url = storage.url();
    registry.fault(move |_, _| Reply::redirect(307, &format!("{url}/bucket")));
    let run = fetch_blob().args([&registry.repo("app"), &digest]).run();
    assert!(matches!(run.code(), Some(4..=6)), "{run}");
    run.stdout("");
    assert_eq!(attacker.asked(), Vec::<String>::new());
}

#[test]
fn a_redirect_loop_ends() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", noise(1000, 1));
    registry.fault(|request, _| match request.query.as_str() {
        "a" => Reply::redirect(307, "?b"),
        _ => Reply::redirect(307, "?a"),
    });
    fetch_blob().args([&registry.repo("app"), &digest]).run().fails(6, "").stdout("");
    assert!(registry.server.requests().len() < 25);
}

#[test]
fn a_redirect_chain_ends_at_the_limit() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", noise(1000, 1));
    registry.fault(|request, _| Reply::redirect(302, &format!("?step={}", request.number)));
    fetch_blob().args([&registry.repo("app"), &digest]).run().fails(6, "").stdout("");
    assert!(registry.server.requests().len() < 25);
}

#[test]
fn redirects_to_private_addresses_and_invalid_urls_are_refused() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", noise(1000, 1));
    let long = format!("http://example.com/{}", "x".repeat(64 << 10));
    for location in [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.2/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://10.0.0.1./",
        "http://172.16.0.1/",
        "http://192.168.0.1/",
        "http://100.64.0.1/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "data:text/plain,hello",
        "gopher://example.com/",
        "http://user:password@127.0.0.1/",
        "http://",
        "http://exa mple.com/",
        "",
        &long,
    ] {
        let target = location.to_owned();
        registry.fault(move |_, _| Reply::redirect(307, &target));
        registry.server.forget();
        let run = fetch_blob().args([&registry.repo("app"), &digest]).run();
        assert_eq!(run.code(), Some(6), "{location}: {run}");
        run.fails(6, "").stdout("").does_not_say("password");
        assert_eq!(registry.server.requests().len(), 1, "{location}");
    }
}

#[test]
fn a_redirect_without_a_location_exits_with_6() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", noise(1000, 1));
    for status in [300, 301, 302, 303, 304, 305, 307, 308] {
        registry.fault(move |_, _| Reply::new(status));
        let run = fetch_blob().args([&registry.repo("app"), &digest]).run();
        assert_eq!(run.code(), Some(6), "{status}: {run}");
    }
}

#[test]
fn a_signature_in_a_redirect_url_is_never_shown() {
    let storage = Server::start(|_| Reply::new(404));
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", noise(1000, 1));
    let url = storage.url();
    registry.fault(move |_, _| Reply::redirect(307, &format!("{url}/bucket?X-Signature=sesame")));
    let run = fetch_blob().args([&registry.repo("app"), &digest]).run();
    run.fails(3, "").does_not_say("sesame");
}

#[test]
fn redirects_of_manifests_and_tags_are_followed() {
    let image = Image::small();
    let target = FakeRegistry::start();
    target.add_image("elsewhere", "1", &image);
    let registry = FakeRegistry::start();
    let url = target.server.url();
    registry.fault(move |request, _| {
        let path = request.target.replace("/v2/app/", "/v2/elsewhere/");
        Reply::redirect(308, &format!("{url}{path}"))
    });
    let app = registry.repo("app");
    let scratch = Scratch::new();
    let run = tool("fetch-manifest").args(["--plain-http", &format!("{app}:1"), "-o", "m"]);
    run.dir(scratch.path()).run().ok();
    assert_eq!(std::fs::read(scratch.join("m")).unwrap(), image.manifest.bytes);
    assert!(target.server.requests()[0].header("accept").unwrap().contains(types::MANIFEST));
    tool("list-tags").args(["--plain-http", &app]).run().ok().stdout("1\n");
}

mod with_peers {
    use super::*;

    #[test]
    fn a_redirect_from_https_to_http_is_refused() {
        let authority = Authority::new();
        let registry = FakeRegistry::start_tls(authority.server().server_config());
        let digest = registry.add_blob("app", noise(1000, 1));
        let plain = Server::start(|_| Reply::ok("anything"));
        let url = plain.url();
        registry.fault(move |_, _| Reply::redirect(307, &format!("{url}/bucket")));
        let run = tool("fetch-blob")
            .args(["--max-wait", "0", &registry.repo("app"), &digest, "--ca-file"])
            .arg(authority.certificate())
            .run();
        run.fails(6, "https").stdout("");
        assert_eq!(plain.asked(), Vec::<String>::new());
    }
}
