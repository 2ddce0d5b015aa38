// SPDX-License-Identifier: Apache-2.0
//! Connections that cannot be opened, names that cannot be resolved, waits between attempts, and
//! the time limit of a run.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use tests::commands::{fetch_blob, fetch_manifest, plain};
use tests::fake::{Reply, Server};
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, noise};
use tests::tools::Run;

/// A host whose kernel drops new connections: its queue is full, and no program accepts
/// connections.
fn black_hole() -> (TcpListener, Vec<TcpStream>) {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let wait = Duration::from_millis(200);
    let queued = std::iter::from_fn(|| TcpStream::connect_timeout(&address, wait).ok()).collect();
    (listener, queued)
}

#[test]
fn a_host_that_drops_connections_ends_with_the_connect_timeout() {
    let (listener, _queued) = black_hole();
    let host = listener.local_addr().unwrap().to_string();
    let run = fetch_manifest()
        .args(["--connect-timeout", "0.2", "--retry-times", "2", &format!("{host}/app:1")])
        .run();
    run.fails(5, &host).says("timed out").says("2 attempts").stdout("");
}

/// Each server is slow, but never silent for as long as the idle timeout.
#[test]
fn slow_servers_one_after_the_other_end_with_the_timeout_of_the_run() {
    let pause = Duration::from_millis(5);
    let bytes = noise(1 << 20, 1);
    let all: Arc<[u8]> = bytes.clone().into();
    let storage =
        Server::start(move |request| Reply::ranged(request, Arc::clone(&all)).drip(1, pause));
    let registry = FakeRegistry::with_tokens();
    let digest = registry.add_blob("app", bytes);
    let url = storage.url();
    registry.fault(move |request, right| {
        if right.code() == 200 && request.is_blob() {
            Reply::redirect(307, &format!("{url}/bucket")).body("moved").drip(1, pause)
        } else {
            right.drip(1, pause)
        }
    });
    let run = fetch_blob()
        .args(["--timeout", "3", "--idle-timeout", "2", &registry.repo("app"), &digest])
        .run();
    run.fails(5, "").stdout("");
    assert_eq!(storage.requests().len(), 1, "{:?}", registry.server.asked());
}

/// A list of three pages, each with this warning.
fn warned(text: &'static str) -> Run {
    let registry = FakeRegistry::start();
    for tag in ["a", "b", "c"] {
        registry.add_image("app", tag, &Image::small());
    }
    registry.tags_a_page(1);
    registry.fault(move |_, right| right.header("Warning", format!("299 - \"{text}\"")));
    let run = plain("list-tags").arg(registry.repo("app")).run();
    run.status(0).stdout("a\nb\nc\n");
    run
}

#[test]
fn a_warning_that_is_repeated_is_shown_once_and_never_raw() {
    let run = warned("moving soon");
    assert_eq!(run.says("moving soon").stderr.lines().count(), 1, "{run}");
    let run = warned("\u{9b}31mmoving\u{202e} soon");
    assert!(run.stderr.lines().count() <= 1, "{run}");
    assert!(run.stderr.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{run}");
}

mod with_peers {
    use super::*;
    use tests::scratch::Scratch;
    use tests::tools::tool;

    /// strace records the sleep and returns from it at once.
    #[test]
    fn a_retry_after_within_max_wait_is_waited_for() {
        let registry = FakeRegistry::with_image();
        registry.fault(|request, right| match request.earlier {
            0 => Reply::new(429).header("Retry-After", "3"),
            _ => right,
        });
        let scratch = Scratch::new();
        let log = scratch.join("log");
        let strace = ["strace", "-f", "-qq", "-e", "trace=clock_nanosleep", "-e"];
        let inject = "inject=clock_nanosleep:retval=0";
        let run = tool("fetch-manifest")
            .args(["--plain-http", "--max-wait", "5", &format!("{}:1", registry.repo("app"))])
            .under(&[&strace[..], &[inject, "-o", log.to_str().unwrap()]].concat())
            .run();
        run.status(0).says("waiting 3.0 s: ").stdout(&Image::small().manifest.bytes);
        let log = std::fs::read_to_string(log).unwrap();
        let waits: Vec<_> = log.lines().filter(|line| line.contains("tv_sec=")).collect();
        assert!(waits.len() == 1 && waits[0].contains("{tv_sec=3,"), "{log}");
        assert_eq!(registry.server.requests().len(), 2);
    }
}

mod as_root {
    use super::*;
    use tests::scratch::Scratch;
    use tests::tools::{shell, tool};

    #[test]
    fn a_name_that_cannot_be_resolved_for_now_is_tried_again() {
        // Without a network, the resolver cannot reach a name server.
        let run = tool("fetch-manifest")
            .args(["--max-wait", "0", "--retry-times", "3", "registry.example/app:1"])
            .under(&["unshare", "-n"])
            .run();
        run.fails(5, "registry.example").says("3 attempts").stdout("");
    }

    #[test]
    fn the_next_address_of_a_name_is_tried_if_the_first_refuses() {
        let registry = FakeRegistry::with_image();
        let scratch = Scratch::new();
        scratch.write("hosts", "127.0.0.9 two.test\n127.0.0.1 two.test\n");
        let script = "mount --bind hosts /etc/hosts && \
            exec fetch-manifest --plain-http --max-wait 0 --retry-times 1 two.test:$PORT/app:1";
        let run = shell(script)
            .env("PORT", registry.server.port().to_string())
            .dir(scratch.path())
            .under(&["unshare", "-m"])
            .run();
        run.ok().stdout(&Image::small().manifest.bytes);
    }

    /// A documented limit: the check of a redirect's target does not resolve names.
    #[test]
    fn a_redirect_to_a_name_with_a_private_address_is_followed() {
        let storage = Server::start(|_| Reply::ok("some data"));
        let registry = FakeRegistry::start();
        let digest = registry.add_blob("app", "some data");
        let url = format!("http://storage.test:{}/bucket", storage.port());
        registry.fault(move |_, _| Reply::redirect(307, &url));
        let scratch = Scratch::new();
        scratch.write("hosts", "127.0.0.1 storage.test\n");
        let script = "mount --bind hosts /etc/hosts && \
            exec fetch-blob --plain-http --max-wait 0 \"$APP\" \"$DIGEST\"";
        let run = shell(script)
            .env("APP", registry.repo("app"))
            .env("DIGEST", &digest)
            .dir(scratch.path())
            .under(&["unshare", "-m"])
            .run();
        run.ok().stdout("some data");
    }
}
