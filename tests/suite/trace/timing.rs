// SPDX-License-Identifier: Apache-2.0
//! The comments of a trace that state the duration and the connection of an exchange.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::fake_registry::FakeRegistry;
use tests::images::Image;
use tests::tools::{Run, tool};

/// The comments about times, each number of seconds replaced by `T`.
fn times(run: &Run) -> Vec<String> {
    let is_time = |line: &&str| {
        let connects = line.contains(": connect ") || line.contains(": connection reused");
        connects || line.starts_with("# all ")
    };
    let masked = |line: &str| {
        let words = line.split(' ').collect::<Vec<_>>();
        let is_number = |word: &str| word.len() >= 5 && word.parse::<f64>().is_ok();
        let masked = words.iter().enumerate().map(|(i, word)| {
            let is_seconds = words.get(i + 1).is_some_and(|unit| unit.starts_with('s'));
            if is_seconds && is_number(word) { "T" } else { word }
        });
        masked.collect::<Vec<_>>().join(" ")
    };
    run.stderr.lines().filter(is_time).map(masked).collect()
}

#[test]
fn each_exchange_has_its_times_and_its_connection() {
    let registry = FakeRegistry::start();
    registry.add_image("app", "a", &Image::small());
    registry.add_image("app", "b", &Image::small());
    registry.tags_a_page(1);
    let (host, repository) = (registry.host(), registry.repo("app"));
    let url = registry.server.url();
    for flag in ["-v", "--trace"] {
        let run = tool("list-tags").args(["--plain-http", flag, &repository]).run();
        run.status(0).stdout("a\nb\n");
        let times = times(&run);
        assert_eq!(times.len(), 6, "{times:?}");
        assert_eq!(times[0], format!("# {host}, no TLS: connect T s, first byte T s"));
        assert_eq!(times[1], format!("# all T s, 27 bytes: GET {url}/v2/app/tags/list"));
        assert_eq!(times[2], format!("# {host}, no TLS: connection reused, first byte T s"));
        // The query may have the state of a list.
        assert!(times[3].ends_with("/v2/app/tags/list?(withheld)'"), "{times:?}");
    }
}

/// The source's exchange runs while the request to the target is being sent.
#[test]
fn an_exchange_inside_another_has_times_of_its_own() {
    let [source, target] = [(); 2].map(|()| FakeRegistry::start());
    let blob = source.add_noise("app", 500_000, 1);
    let run = tool("push-blob")
        .args(["--plain-http", "--from-plain-http", "--trace", "--from", &source.repo("app")])
        .arg(target.repo("app"))
        .stdin(blob.line())
        .run();
    run.status(0);
    let times = times(&run);
    let of = |host: &str| {
        let about = times.iter().filter(|line| line.starts_with(&format!("# {host}, ")));
        about.map(|line| line.split(": ").nth(1).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of(&source.host()), ["connect T s, first byte T s"]);
    let reused = "connection reused, first byte T s";
    assert_eq!(of(&target.host()), ["connect T s, first byte T s", reused, reused]);
    assert!(times.iter().any(|line| line.contains("500000 bytes: GET ")), "{times:?}");
}

mod with_peers {
    use super::*;
    use tests::certs::Authority;

    #[test]
    fn the_tls_version_is_named() {
        let authority = Authority::new();
        let registry = FakeRegistry::with_image_and_tls(authority.server().server_config());
        let fetch = tool("fetch-manifest").args(["--trace", "--ca-file"]);
        let run = fetch.arg(authority.certificate()).arg(registry.repo("app:1")).run();
        run.status(0);
        let times = times(&run);
        let want = format!("# {}, TLS 1.3: connect T s, first byte T s", registry.host());
        assert_eq!(
            times[0].replace("localhost", "127.0.0.1"),
            want.replace("localhost", "127.0.0.1")
        );
    }
}
