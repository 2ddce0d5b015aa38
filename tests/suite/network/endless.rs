// SPDX-License-Identifier: Apache-2.0
//! Every part of a response's framing that a server can make endless or very large ends the
//! request: with status 6, and without another attempt.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tests::commands::{fetch_blob, fetch_manifest, plain};
use tests::fake::Reply;
use tests::fake_registry::FakeRegistry;
use tests::images::Image;
use tests::proxy::{Proxy, Verdict};
use tests::scratch::Scratch;
use tests::tools::tool;

/// The limit of a response's head, and of its trailers.
const LIMIT: usize = 64 << 10;

/// The size of a connection's buffer. The limit of trailers is checked once per buffer.
const BUFFER: usize = 128 << 10;

/// A server that responds to each request with a prefix, and then repeats a pattern until the
/// client closes the connection.
struct Endless {
    host: String,
    connections: Arc<AtomicUsize>,
}

impl Endless {
    fn start(prefix: &str, pattern: &str) -> Endless {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let (prefix, pattern) = (prefix.to_owned(), pattern.repeat(1000));
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let (prefix, pattern) = (prefix.clone(), pattern.clone());
                std::thread::spawn(move || answer(socket, &prefix, &pattern));
            }
        });
        Endless { host, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn answer(mut socket: TcpStream, prefix: &str, pattern: &str) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut buffer = [0; 4096];
        match socket.read(&mut buffer) {
            Ok(n @ 1..) => head.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
    let mut sent = socket.write_all(prefix.as_bytes());
    while sent.is_ok() {
        sent = socket.write_all(pattern.as_bytes());
    }
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The name of each element, the bytes that precede it, and the pattern that never ends.
fn elements() -> Vec<(&'static str, String, &'static str)> {
    let of = |text: &str| text.to_owned();
    let chunked = |text: &str| format!("{CHUNKED}{text}");
    vec![
        ("status line", of("HTTP/1.1 200 "), "OK"),
        ("version", of("HTTP/"), "1"),
        ("header lines", of("HTTP/1.1 200 OK\r\n"), "A: b\r\n"),
        ("header name", of("HTTP/1.1 200 OK\r\n"), "a"),
        ("header value", of("HTTP/1.1 200 OK\r\nA: "), "b"),
        ("empty lines before the status line", String::new(), "\r\n"),
        ("interim responses", String::new(), "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"),
        ("body of an interim response", of("HTTP/1.1 100 Continue\r\n\r\n"), "body"),
        ("chunk size", chunked(""), "0"),
        ("chunk size without a digit", chunked(""), " "),
        ("chunk extension", chunked("1;a="), "b"),
        ("chunk extensions", chunked("1"), ";a"),
        ("line end after a chunk", chunked("1\r\na"), "b"),
        ("trailer lines", chunked("0\r\n"), "A: b\r\n"),
        ("trailer name", chunked("0\r\n"), "a"),
        ("trailer value", chunked("0\r\nA: "), "b"),
        ("trailer lines after content", chunked("2\r\n{}\r\n0\r\n"), "A: b\r\n"),
    ]
}

#[test]
fn endless_framing_of_a_manifest_gives_status_6_at_once() {
    for (element, prefix, pattern) in elements() {
        let server = Endless::start(&prefix, pattern);
        let run = fetch_manifest().arg(format!("{}/app:1", server.host)).run();
        assert_eq!(run.code(), Some(6), "{element}: {run}");
        run.fails(6, &server.host).stdout("");
        assert_eq!(server.connections(), 1, "{element}: {run}");
    }
}

/// A HEAD has no body, so that only the head can be endless. A failed HEAD is followed by a GET.
#[test]
fn endless_heads_of_a_head_request_give_status_6() {
    for (element, prefix, pattern) in elements() {
        if prefix.starts_with(CHUNKED) {
            continue;
        }
        let server = Endless::start(&prefix, pattern);
        let run = fetch_manifest().arg("--digest").arg(format!("{}/app:1", server.host)).run();
        assert_eq!(run.code(), Some(6), "{element}: {run}");
        assert!(server.connections() <= 2, "{element}: {run}");
    }
}

#[test]
fn endless_trailers_of_a_blob_give_status_6() {
    let blob = tests::images::Blob::new("text/plain", b"hello");
    let trailers = format!("{CHUNKED}5\r\nhello\r\n0\r\n");
    let server = Endless::start(&trailers, "A: b\r\n");
    let repository = format!("{}/app", server.host);
    let run = fetch_blob().args([&repository, &blob.digest]).run();
    run.fails(6, "more than 65536 bytes of trailers").stdout("");
    assert_eq!(server.connections(), 1, "{run}");
}

#[test]
fn endless_trailers_of_a_page_give_status_6() {
    let page = "{\"tags\":[\"a\"],\"repositories\":[\"a\"]}";
    let trailers = format!("{CHUNKED}{:x}\r\n{page}\r\n0\r\n", page.len());
    for (name, path) in [("list-tags", "/app"), ("list-repositories", "")] {
        let server = Endless::start(&trailers, "A: b\r\n");
        let run = plain(name).arg(format!("{}{path}", server.host)).run();
        run.fails(6, "more than 65536 bytes of trailers").stdout("a\n");
        assert_eq!(server.connections(), 1, "{run}");
    }
}

/// Responses to all kinds of requests are read in the same way, including writes and requests to a
/// token server.
#[test]
fn endless_trailers_end_every_kind_of_request() {
    let scratch = Scratch::new();
    scratch.write("m", Image::small().manifest.bytes);
    let (trailers, pattern) = ("0\r\n", "A: b\r\n");
    for (status, commands) in [
        ("200 OK", ["list-tags", "fetch-token", "probe-registry"].as_slice()),
        ("404 Not Found", &["list-tags", "fetch-manifest", "fetch-blob", "probe-registry"]),
        ("202 Accepted", &["push-blob"]),
        ("201 Created", &["put-manifest"]),
        ("307 Temporary Redirect\r\nLocation: /x", &["list-tags", "fetch-manifest"]),
    ] {
        let head = format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n{trailers}");
        for name in commands {
            let server = Endless::start(&head, pattern);
            let repository = format!("{}/app", server.host);
            let command = plain(name).dir(scratch.path());
            let run = match *name {
                "fetch-manifest" => command.arg(format!("{repository}:1")),
                "fetch-blob" => command.args([&repository, &Image::small().config.digest]),
                "push-blob" => command.args([&repository, "m"]),
                "put-manifest" => command.args([&format!("{repository}:1"), "m"]),
                _ => command.arg(&repository),
            }
            .run();
            assert!(run.code().is_some(), "{name} {status}: {run}");
            assert!(server.connections() <= 10, "{name} {status}: {run}");
        }
    }
}

/// A token server's response is limited in its content and its framing.
#[test]
fn an_endless_token_gives_status_6() {
    let endless = "{\"token\":\"";
    let chunk = format!("{:x}\r\n{endless}\r\n", endless.len());
    for (element, prefix, pattern) in [
        ("trailers", format!("{CHUNKED}2\r\n{{}}\r\n0\r\n"), "A: b\r\n"),
        ("content", format!("{CHUNKED}{chunk}"), "1\r\na\r\n"),
        (
            "content with Content-Length",
            "HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n".to_owned(),
            "a",
        ),
        ("head", "HTTP/1.1 200 OK\r\n".to_owned(), "A: b\r\n"),
    ] {
        let tokens = Endless::start(&prefix, pattern);
        let registry = FakeRegistry::with_image();
        let challenge = format!("Bearer realm=\"http://{}/token\"", tokens.host);
        registry.fault(move |_, _| Reply::new(401).header("WWW-Authenticate", &challenge));
        let run = fetch_manifest().arg(format!("{}:1", registry.repo("app"))).run();
        assert_eq!(run.code(), Some(6), "{element}: {run}");
        run.fails(6, &tokens.host).stdout("");
        assert_eq!(tokens.connections(), 1, "{element}: {run}");
    }
}

#[test]
fn endless_responses_of_a_proxy_give_status_6() {
    for pattern in ["HTTP/1.1 103 Early Hints\r\n\r\n", "A: b\r\n", "HTTP/1.1 200 "] {
        let answer = format!("HTTP/1.1 200 OK\r\n{}", pattern.repeat(100_000));
        let proxy = Proxy::with_script(&[], move |_| Verdict::Answer(answer.clone().into_bytes()));
        let run = tool("fetch-manifest")
            .args(["--max-wait", "0", "registry.example/app:1"])
            .env("https_proxy", format!("http://{}", proxy.host()))
            .run();
        assert!(matches!(run.code(), Some(5 | 6)), "{pattern}: {run}");
    }
}

#[test]
fn trailers_are_skipped_up_to_the_limit() {
    let manifest = Image::small().manifest;
    for (size, is_skipped) in [(LIMIT, true), (LIMIT + 2 * BUFFER, false)] {
        let trailer = "A: bcdef\r\n";
        let mut trailers = trailer.repeat(size / trailer.len() - 1);
        trailers.push_str(&format!("A: {}\r\n\r\n", "b".repeat(size - trailers.len() - 7)));
        assert_eq!(trailers.len(), size);
        let registry = FakeRegistry::with_image();
        let content = String::from_utf8(manifest.bytes.to_vec()).unwrap();
        let answer = format!("{CHUNKED}{:x}\r\n{content}\r\n0\r\n{trailers}", content.len());
        registry.fault(move |_, _| Reply::raw(answer.clone()));
        let run = fetch_manifest().arg(format!("{}:1", registry.repo("app"))).run();
        if is_skipped {
            run.ok().stdout(&content);
        } else {
            run.fails(6, "more than 65536 bytes of trailers").stdout("");
        }
    }
}

#[test]
fn the_unit_of_a_content_range_may_have_any_case() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 300_000, 1);
    registry.fault(|request, right| {
        let right = right.change("Content-Range", |value| value.replace("bytes", "Bytes"));
        if request.earlier == 0 { right.cut(100_000, tests::fake::End::Fin) } else { right }
    });
    let run = fetch_blob().args([&registry.repo("app"), &blob.digest]).run();
    run.status(0).stdout(&blob.bytes);
    assert_eq!(registry.blob_requests().len(), 2);
}
