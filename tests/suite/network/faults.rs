// SPDX-License-Identifier: Apache-2.0
//! Networks and servers that misbehave: temporary failures are retried, final failures end the run
//! at once. In both cases no wrong bytes are stored. Other files test redirects, TLS and tokens.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tests::commands::{fetch_blob, fetch_manifest, plain};
use tests::fake::{End, Reply, Request, Server};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, gzip, noise, read_blob, types};
use tests::ports::Closed;
use tests::scratch::Scratch;
use tests::tools::{Run, shell, tool};

/// A change of a correct response.
type Fault = fn(Reply) -> Reply;

/// The result of fetching one blob into a layout from a registry with a fault.
struct Outcome {
    run: Run,
    requests: Vec<Request>,
    line: String,
    /// Whether the blob has its final name.
    stored: bool,
}

impl Outcome {
    #[track_caller]
    fn succeeded(&self, what: &str) -> &Outcome {
        assert_eq!(self.run.code(), Some(0), "{what}: {}", self.run);
        assert!(self.stored, "{what}");
        self.run.stdout(&self.line);
        self
    }

    #[track_caller]
    fn failed(&self, what: &str, status: i32) -> &Outcome {
        assert_eq!(self.run.code(), Some(status), "{what}: {}", self.run);
        assert!(!self.stored, "{what}");
        self.run.fails(status, "").stdout("");
        self
    }

    #[track_caller]
    fn requests(&self, what: &str, count: usize) -> &Outcome {
        assert_eq!(self.requests.len(), count, "{what}: {}", self.run);
        self
    }
}

/// Fetches a blob of 500,000 bytes from a registry with a fault.
fn through(fault: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Outcome {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 500_000, 1);
    registry.fault(fault);
    let scratch = Scratch::new();
    let run = fetch_blob()
        .args([&registry.repo("app"), "--into", "oci:l"])
        .stdin(blob.line())
        .dir(scratch.path())
        .run();
    let stored = read_blob(&scratch.join("l"), &blob.digest);
    assert!(stored.as_ref().is_none_or(|bytes| *bytes == blob.bytes), "wrong bytes were stored");
    let requests = registry.server.requests();
    let line = blob.line();
    Outcome { run, requests, line, stored: stored.is_some() }
}

/// Applies a fault to the first `count` requests with the same method and path.
fn first(
    count: usize,
    fault: impl Fn(Reply) -> Reply + Send + Sync + 'static,
) -> impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static {
    move |request, right| if request.earlier < count { fault(right) } else { right }
}

#[test]
fn a_refused_connection_exits_with_5_and_names_the_host() {
    let host = Closed::new();
    let run = fetch_manifest().arg(format!("{}/app:1", host.host())).run();
    run.fails(5, &host.host()).stdout("");
}

#[test]
fn an_unknown_host_exits_with_5() {
    let run = fetch_manifest().arg("no-such-host.invalid/app:1").run();
    run.fails(5, "no-such-host.invalid").does_not_say("attempts").stdout("");
}

#[test]
fn a_server_that_never_responds_ends_with_the_timeout() {
    // Connections are queued by the kernel, and never accepted.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let reference = format!("{}/app:1", listener.local_addr().unwrap());
    fetch_manifest().args(["--timeout", "0.5", &reference]).run().fails(5, "").stdout("");
}

#[test]
fn connections_that_break_before_the_body_are_retried() {
    let breaks: [(&str, Fault); 5] = [
        ("no response", |_| Reply::raw("")),
        ("a reset", |_| Reply::hang_up()),
        ("half a status line", |_| Reply::raw("HTTP/1.1 20").cut(0, End::Fin)),
        ("half a header", |_| Reply::raw("HTTP/1.1 200 OK\r\nContent-Le").cut(0, End::Reset)),
        ("no body", |right| right.cut(0, End::Fin)),
    ];
    for (what, fault) in breaks {
        through(first(2, fault)).succeeded(what);
        through(first(99, fault)).failed(what, 5);
    }
}

#[test]
fn attempts_without_progress_are_limited() {
    through(|_, _| Reply::new(503)).failed("503", 5).requests("the default", 5);
}

#[test]
fn broken_bodies_are_resumed() {
    let breaks: [(&str, Fault); 6] = [
        ("cut", |right| right.cut(123_456, End::Fin)),
        ("reset", |right| right.cut(123_456, End::Reset)),
        ("cut in chunks", |right| right.chunked(1000).cut(123_456, End::Fin)),
        ("a broken chunk", |right| right.broken_chunk(10_000, 20)),
        ("cut without a Content-Length", |right| right.close_delimited().cut(123_456, End::Fin)),
        ("a byte missing", |right| right.cut(499_999, End::Fin)),
    ];
    for (what, fault) in breaks {
        through(first(1, fault)).succeeded(what);
    }
}

#[test]
fn every_correct_framing_is_accepted() {
    let framings: [(&str, Fault); 3] = [
        ("chunks", |right| right.chunked(777)),
        ("one big chunk", |right| right.chunked(1 << 20)),
        ("the end of the connection", Reply::close_delimited),
    ];
    for (what, fault) in framings {
        through(first(99, fault)).succeeded(what).requests(what, 1).run.silent();
    }
}

#[test]
fn interim_responses_are_skipped() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(3);
    let outcome = through(move |_, right| right.after(&hints));
    outcome.succeeded("early hints").requests("early hints", 1).run.silent();
}

#[test]
fn a_stalled_response_is_abandoned_and_resumed() {
    let registry = FakeRegistry::start();
    let bytes = noise(500_000, 1);
    let digest = registry.add_blob("app", bytes.clone());
    registry.fault(first(1, |right| right.stall(100_000)));
    let run = fetch_blob().args(["--idle-timeout", "2", &registry.repo("app"), &digest]).run();
    run.status(0).stdout(&bytes);
    assert_eq!(registry.blob_requests().len(), 2);
}

#[test]
fn a_very_slow_response_ends_with_the_timeout() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", noise(100_000, 1));
    registry.fault(|_, right| right.drip(1, Duration::from_millis(20)));
    let run = fetch_blob().args(["--timeout", "0.5", &registry.repo("app"), &digest]).run();
    run.fails(5, "").stdout("");
}

#[test]
fn a_reused_connection_that_was_closed_does_not_count_as_an_attempt() {
    let registry = FakeRegistry::start();
    let blobs: Vec<_> = (0..3).map(|n| Blob::new(types::TAR, noise(1000, n))).collect();
    for blob in &blobs {
        registry.add_blob("app", blob.bytes.clone());
    }
    registry.fault(|_, right| right.cut(1000, End::Fin));
    let scratch = Scratch::new();
    let lines: String = blobs.iter().map(Blob::line).collect();
    let run = fetch_blob()
        .args(["--retry-times", "1", "-j", "1", &registry.repo("app"), "--into", "oci:l"])
        .stdin(lines.clone())
        .dir(scratch.path())
        .run();
    run.ok().stdout(lines);
}

#[test]
fn temporary_statuses_are_retried() {
    for status in [408, 429, 500, 502, 503, 504, 522] {
        let what = status.to_string();
        through(first(2, move |_| Reply::new(status))).succeeded(&what).requests(&what, 3);
        through(move |_, _| Reply::new(status)).failed(&what, 5).requests(&what, 5);
    }
}

#[test]
fn final_statuses_are_not_retried() {
    for (status, code) in
        [(400, 6), (401, 4), (403, 4), (404, 3), (405, 6), (410, 3), (451, 4), (501, 6), (505, 6)]
    {
        let what = status.to_string();
        let outcome = through(move |_, _| Reply::new(status));
        outcome.failed(&what, code);
        // The tool may retry a 401 once.
        assert!(outcome.requests.len() <= 2, "{what}: {} requests", outcome.requests.len());
    }
}

#[test]
fn unexpected_statuses_exit_with_6() {
    for status in [201, 202, 204, 304, 299] {
        through(move |_, right| right.status(status)).failed(&status.to_string(), 6);
        let registry = FakeRegistry::with_image();
        registry.fault(move |_, right| right.status(status));
        let run = fetch_manifest().arg(format!("{}:1", registry.repo("app"))).run();
        assert_eq!(run.code(), Some(6), "{status}: {run}");
        run.stdout("");
    }
}

#[test]
fn retry_after_is_honoured_up_to_max_wait() {
    let after = |text: &'static str| move |_| Reply::new(429).header("Retry-After", text);
    for text in
        ["0", "Fri, 01 Jan 2021 00:00:00 GMT", "Friday, 01-Jan-21 00:00:00 GMT", "banana", "-3"]
    {
        through(first(2, after(text))).succeeded(text).requests(text, 3);
    }
    // --max-wait is 0 here, so every time in the future exceeds it.
    for text in ["1", "86400", "1000000000000000000000000000000", "Fri, 31 Dec 2100 00:00:00 GMT"] {
        through(first(2, after(text))).failed(text, 5).requests(text, 1);
    }
}

#[test]
fn a_retry_after_beyond_max_wait_is_reported() {
    let outcome = through(|_, _| Reply::new(429).header("Retry-After", "86400"));
    outcome.run.says("86400");
}

#[test]
fn an_html_error_page_is_not_shown() {
    let page = "<html><h1>502 Bad Gateway</h1></html>";
    let outcome =
        through(move |_, _| Reply::new(502).header("Content-Type", "text/html").body(page));
    outcome.failed("502", 5).run.says("502").does_not_say("<h1>");
}

#[test]
fn a_response_that_is_not_http_exits_with_6_and_is_not_shown() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..],
        b"HTTP/0.9\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"\0\0\0\0\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ] {
        let what = bytes.escape_ascii().to_string();
        through(move |_, _| Reply::raw(bytes)).failed(&what, 6).run.does_not_say("OpenSSH");
    }
}

#[test]
fn invalid_content_lengths_exit_with_6() {
    for text in ["-5", "five", "0x10", "99999999999999999999999999", "5 5"] {
        through(move |_, right| right.content_length(text)).failed(text, 6);
    }
    through(|_, right| right.content_length(500_000).content_length(500_001)).failed("two", 6);
}

#[test]
fn bytes_after_the_content_length_are_not_read_as_the_next_response() {
    let registry = FakeRegistry::start();
    let blobs: Vec<_> = (0..3).map(|n| Blob::new(types::TAR, noise(1000, n))).collect();
    for blob in &blobs {
        registry.add_blob("app", blob.bytes.clone());
    }
    let bytes = blobs[0].bytes.clone();
    let first = blobs[0].digest.clone();
    registry.fault(move |request, right| {
        if !request.path.ends_with(&first) {
            return right;
        }
        let smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
        let long = [&bytes[..], smuggled].concat();
        right.body(long).content_length(1000)
    });
    let scratch = Scratch::new();
    let lines: String = blobs.iter().map(Blob::line).collect();
    let run = fetch_blob()
        .args(["-j", "1", &registry.repo("app"), "--into", "oci:l"])
        .stdin(lines.clone())
        .dir(scratch.path())
        .run();
    run.status(0).stdout(lines);
}

#[test]
fn a_content_encoding_is_refused() {
    let encoded =
        through(|_, right| right.header("Content-Encoding", "gzip").body(gzip(&noise(500_000, 1))));
    encoded.failed("gzip", 6);
    through(|_, right| right.header("Content-Encoding", "identity")).succeeded("identity");
}

#[test]
fn too_many_or_too_long_headers_exit_with_6() {
    through(|_, right| right.endless_headers()).failed("endless", 6);
    through(|_, right| right.header("X-Long", "x".repeat(70_000))).failed("70 000 bytes", 6);
    through(|_, right| (0..200).fold(right, |reply, n| reply.header(&format!("X-{n}"), "")))
        .failed("200 headers", 6);
}

#[test]
fn endless_interim_responses_exit_with_6() {
    let outcome = through(|_, right| right.after("HTTP/1.1 100 Continue\r\n\r\n".repeat(200_000)));
    outcome.failed("200 000 of them", 6);
}

#[test]
fn an_endless_error_body_is_truncated() {
    through(|_, _| Reply::new(404).endless("no ")).failed("404", 3);
}

#[test]
fn control_characters_in_headers_and_errors_are_never_echoed() {
    for reply in [
        Reply::new(403).header("X-\u{1b}[31m", "\u{1b}[31m"),
        Reply::new(403).header("Content-Type", "text/\u{1b}[31m"),
        Reply::error(403, "\u{1b}[31mDENIED", "\u{9b}31m\r\n\u{202e}text"),
        Reply::error(400, "X", &"long ".repeat(10_000)),
    ] {
        let outcome = through(move |_, _| reply.clone());
        assert!(
            outcome.run.stderr.chars().all(|c| c == '\n' || !c.is_control()),
            "{}",
            outcome.run
        );
        assert!(outcome.run.stderr.len() < 4096, "{}", outcome.run);
    }
}

#[test]
fn a_registrys_warning_is_shown_once_and_cleaned() {
    let registry = FakeRegistry::with_image();
    registry.fault(|_, right| right.header("Warning", "299 - \"moving soon\""));
    let run = fetch_manifest().arg(format!("{}:1", registry.repo("app"))).run();
    run.status(0).says("fetch-manifest: warning: ").says("moving soon");
}

#[test]
fn a_manifest_request_is_retried_too() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "1", &image);
    let reference = format!("{}:1", registry.repo("app"));
    let faults: [Fault; 5] = [
        |_| Reply::hang_up(),
        |right| right.cut(100, End::Fin),
        |right| right.cut(100, End::Reset),
        |_| Reply::new(503).header("Retry-After", "0"),
        |right| right.broken_chunk(50, 2),
    ];
    for fault in faults {
        registry.server.forget();
        registry.fault(first(2, fault));
        fetch_manifest().arg(&reference).run().ok().stdout(&image.manifest.bytes);
        assert_eq!(registry.server.requests().len(), 3);
    }
}

#[test]
fn a_tag_list_request_is_retried_too() {
    let registry = FakeRegistry::with_image();
    registry.fault(first(2, |right| right.cut(5, End::Fin)));
    let run = plain("list-tags").args([&registry.repo("app")]);
    run.run().ok().stdout("1\n");
}

#[test]
fn memory_does_not_grow_with_the_blob() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", noise(100 << 20, 1));
    let script = "ulimit -v 100000; fetch-blob --plain-http \"$APP\" \"$DIGEST\" -o out -j 4";
    let scratch = Scratch::new();
    let run = shell(script).env("APP", registry.repo("app")).env("DIGEST", &digest);
    run.dir(scratch.path()).run().ok();
}

#[test]
fn cookies_are_not_kept() {
    let server = Server::start(|request| {
        let tags = serde_json::json!({"tags": ["a"]});
        let link = format!("</v2/app/tags/list?page={}>; rel=\"next\"", request.number);
        let reply = Reply::json(200, &tags).header("Set-Cookie", "id=1; Path=/");
        if request.number < 2 { reply.header("Link", link) } else { reply }
    });
    tool("list-tags").args(["--plain-http", &format!("{}/app", server.host())]).run();
    assert!(server.requests().len() > 1);
    assert!(server.requests().iter().all(|request| request.header("cookie").is_none()));
}

#[test]
fn a_loopback_registry_that_starts_late_is_waited_for() {
    let image = Image::small();
    let registry = FakeRegistry::start();
    registry.add_image("app", "1", &image);
    // The port refuses connections at first. Later a front of the registry listens there.
    let closed = Closed::new();
    let reference = format!("{}/app:1", closed.host());
    let running = tool("fetch-manifest")
        .args(["--retry-times", "100", "--max-wait", "0.05", &reference])
        .start();
    let front = closed.listen();
    let host = registry.host();
    std::thread::spawn(move || {
        for client in front.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&host).unwrap());
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let (mut from, mut to) = (server, client);
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        }
    });
    running.wait().ok().stdout(&image.manifest.bytes);
}

#[test]
fn a_header_that_every_request_sets_itself_is_refused() {
    for header in ["Content-Length: 5", "transfer-encoding: chunked", "Host: a", "Connection: x"] {
        let run = fetch_manifest().args(["-H", header, "127.0.0.1:1/app:1"]).run();
        run.fails(2, "cannot be set").stdout("");
    }
}

#[test]
fn a_timeout_of_zero_is_refused() {
    for option in ["--idle-timeout", "--connect-timeout", "--timeout"] {
        let run = tool("fetch-manifest").args([option, "0", "127.0.0.1:1/app:1"]).run();
        run.fails(2, "must be greater than 0").stdout("");
    }
}
