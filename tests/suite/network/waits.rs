// SPDX-License-Identifier: Apache-2.0
//! Waits between attempts: their length, and the lines that report them.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;

use tests::fake::Reply;
use tests::fake_registry::FakeRegistry;
use tests::ports::Closed;
use tests::tools::{Command, tool};

/// A tool that waits between its attempts, but not for long.
fn waiting(name: &str) -> Command {
    tool(name).args(["--plain-http", "--max-wait", "0.1"])
}

#[test]
fn only_the_first_short_wait_is_told_off_a_terminal() {
    let registry = FakeRegistry::with_image();
    registry.fault(|_, _| Reply::new(503));
    let reference = registry.repo("app:1");
    let run = waiting("fetch-manifest").args(["--retry-times", "3", &reference]).run();
    run.status(5);
    let lines: Vec<_> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{run}");
    let begins = format!("fetch-manifest: waiting 0.1 s: {reference}: ");
    assert!(lines[0].starts_with(&begins), "{run}");
    assert!(lines[0].ends_with(" (attempt 1 of 3)"), "{run}");
    // The line has the reference, then the reason, then the number of attempts.
    assert!(lines[1].starts_with(&format!("fetch-manifest: {reference}: ")), "{run}");
    assert!(lines[1].ends_with(": gave up after 3 attempts"), "{run}");
    let run = waiting("fetch-manifest").args(["-q", "--retry-times", "2", &reference]).run();
    run.fails(5, ": gave up after 2 attempts").does_not_say("waiting");
}

#[test]
fn a_wait_of_no_time_is_not_told() {
    let closed = Closed::new();
    let host = closed.host();
    let run = tool("fetch-manifest").args(["--max-wait", "0", &format!("{host}/app:1")]).run();
    run.fails(5, ": connection refused: gave up after 5 attempts").does_not_say("waiting");
}

#[test]
fn a_wait_is_a_comment_of_a_trace_and_not_told_twice() {
    let closed = Closed::new();
    let host = closed.host();
    let list = waiting("list-tags").args(["--trace", "--retry-times", "2"]);
    let run = list.arg(format!("{host}/app")).run();
    run.status(5).says("# waiting 0.1 s: ").does_not_say("list-tags: waiting");
}

/// Both lines of each tool name the object that it requested.
#[test]
fn a_refused_connection_names_what_was_asked_for() {
    let closed = Closed::new();
    let host = closed.host();
    let digest = format!("sha256:{}", "1".repeat(64));
    let manifest = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    for options in [&["--plain-http"][..], &[]] {
        for (name, args, stdin) in [
            ("fetch-manifest", vec![format!("{host}/app:1")], ""),
            ("fetch-blob", vec![format!("{host}/app"), digest.clone()], ""),
            ("list-tags", vec![format!("{host}/app")], ""),
            ("fetch-token", vec![format!("{host}/app")], ""),
            ("push-blob", vec![format!("{host}/app")], "some bytes"),
            ("put-manifest", vec![format!("{host}/app:1")], manifest),
        ] {
            let run = tool(name)
                .args(options)
                .args(["--max-wait", "0.1", "--retry-times", "2"])
                .args(args)
                .stdin(stdin)
                .run();
            run.status(5).stdout("");
            let lines: Vec<_> = run.stderr.lines().collect();
            assert_eq!(lines.len(), 2, "{run}");
            assert!(lines[0].starts_with(&format!("{name}: waiting 0.1 s: {host}/app")), "{run}");
            assert!(lines[0].ends_with(": connection refused (attempt 1 of 2)"), "{run}");
            assert!(lines[1].starts_with(&format!("{name}: {host}/app")), "{run}");
            let ending = ": connection refused: gave up after 2 attempts";
            assert!(lines[1].ends_with(ending), "{run}");
        }
    }
}

mod with_peers {
    use super::*;
    use tests::scratch::Scratch;
    use tests::tools::Run;

    /// Runs a command under strace, which records its sleeps and returns from them at once. Returns
    /// the run and the lengths of the sleeps in seconds.
    fn slept(command: Command) -> (Run, Vec<f64>) {
        let scratch = Scratch::new();
        let log = scratch.join("log");
        let inject = "inject=clock_nanosleep:retval=0";
        let strace = ["strace", "-f", "-qq", "-e", "trace=clock_nanosleep", "-e", inject, "-o"];
        let run = command.under(&[&strace[..], &[log.to_str().unwrap()]].concat()).run();
        let log = std::fs::read_to_string(&log).unwrap();
        let number = |line: &str, name: &str| -> Option<f64> {
            let (_, rest) = line.split_once(name)?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        let seconds =
            |line| Some(number(line, "tv_sec=")? + number(line, "tv_nsec=").unwrap_or(0.0) / 1e9);
        (run, log.lines().filter_map(seconds).collect())
    }

    #[test]
    fn a_host_that_never_answered_gets_about_3_seconds() {
        let closed = Closed::new();
        let host = closed.host();
        let fetch = tool("fetch-manifest").args(["--plain-http", &format!("{host}/app:1")]);
        let (run, waits) = slept(fetch);
        run.status(5).says("gave up after 5 attempts");
        let all: f64 = waits.iter().sum();
        assert!(waits.len() == 4 && (3.0..4.0).contains(&all), "{waits:?}");
    }

    #[test]
    fn a_registry_that_says_503_gets_the_long_patience() {
        let registry = FakeRegistry::with_image();
        registry.fault(|_, _| Reply::new(503));
        let (run, waits) =
            slept(tool("fetch-manifest").args(["--plain-http", &registry.repo("app:1")]));
        run.status(5).says("gave up after 5 attempts");
        let all: f64 = waits.iter().sum();
        assert!(waits.len() == 4 && (15.0..20.0).contains(&all), "{waits:?}");
    }

    /// A registry that responded once and then refuses connections may be restarting.
    #[test]
    fn a_host_that_answered_before_gets_the_long_patience() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            let (mut socket, _) = listener.accept().unwrap();
            drop(listener);
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n");
        });
        let (run, waits) =
            slept(tool("fetch-manifest").args(["--plain-http", &format!("{host}/app:1")]));
        server.join().unwrap();
        run.status(5).says("connection refused: gave up after 5 attempts");
        let all: f64 = waits.iter().sum();
        assert!(waits.len() == 4 && (15.0..20.0).contains(&all), "{waits:?}");
    }

    #[test]
    fn a_long_wait_is_told_each_time() {
        let registry = FakeRegistry::with_image();
        registry.fault(|_, _| Reply::new(429).header("Retry-After", "20"));
        let fetch = tool("fetch-manifest").args(["--plain-http", "--retry-times", "3"]);
        let (run, waits) = slept(fetch.arg(registry.repo("app:1")));
        run.status(5);
        assert_eq!(waits, [20.0, 20.0]);
        assert_eq!(run.stderr.matches("fetch-manifest: waiting 20.0 s: ").count(), 2, "{run}");
    }
}
