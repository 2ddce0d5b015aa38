// SPDX-License-Identifier: Apache-2.0
//! Registries and proxies that answer an upload wrongly. Temporary failures are retried. Any other
//! failure ends the run with one line and the right status, stores no wrong blob and leaves no
//! session open.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::commands::plain;
use tests::fake::{End, Intake, Reply, Request, Server, first};
use tests::fake_registry::{FakeRegistry, TOKEN};
use tests::images::{Blob, sha256, types};
use tests::push::{Push, against, through};
use tests::tools::tool;

use super::PAGES;

const SIZE: usize = 3_000_000;

/// The length that a request's Content-Length header announces.
fn length(request: &Request) -> u64 {
    request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// Whether each request that was refused for its size was smaller than the refused ones before it.
fn learns(push: &Push, limit: u64) -> bool {
    let requests = push.registry.server.requests();
    let refused: Vec<_> = requests.iter().map(length).filter(|length| *length > limit).collect();
    refused.is_sorted_by(|a, b| a > b)
}

/// A proxy that accepts only requests up to this size and answers larger ones with an HTML page.
fn limited(limit: u64, end: End) -> impl Fn(&Request) -> Intake + Send + Sync + 'static {
    move |request| match length(request) > limit {
        true => {
            let page = Reply::new(413).header("Content-Type", "text/html").body("<html>");
            Intake::early(60_000, page, end)
        }
        false => Intake::whole(),
    }
}

#[test]
fn a_body_that_is_too_large_for_a_proxy_goes_in_pieces() {
    const LIMIT: u64 = 5 << 20;
    for end in [End::Fin, End::Reset] {
        let push = Push::of(20 << 20);
        push.registry.intake(limited(LIMIT, end));
        push.run(&[]).status(0);
        assert!(learns(&push, LIMIT), "{:#?}", push.registry.steps());
    }
}

#[test]
fn a_small_body_that_is_too_large_is_not_sent_again_at_its_size() {
    const LIMIT: u64 = 1 << 20;
    let push = Push::of(SIZE);
    push.registry.intake(limited(LIMIT, End::Fin));
    let run = push.run(&[]);
    assert!(matches!(run.code(), Some(0 | 6)), "{run}");
    assert!(learns(&push, LIMIT), "{:#?}", push.registry.steps());
    // With a suitable chunk size the upload succeeds.
    push.run(&["--chunk", "1M"]).status(0);
}

#[test]
fn a_body_of_any_size_that_is_too_large_is_6_and_not_tried_for_ever() {
    let (push, run) =
        against(SIZE, &[], |request| match request.is_session() && request.method != "DELETE" {
            true => Intake::instead(Reply::new(413).body("<html>")),
            false => Intake::whole(),
        });
    run.fails(6, "413");
    assert!(push.registry.steps().len() < 40, "{:#?}", push.registry.steps());
}

#[test]
fn a_chunk_that_is_too_large_for_a_registry_goes_otherwise() {
    // The 416 does not mean a wrong order of chunks here: PUT accepts any size, PATCH only small
    // bodies.
    let push = Push::of(9 << 20);
    push.registry.intake(|request| match request.is_patch() && length(request) > 4 << 20 {
        true => Intake::instead(Reply::error(
            416,
            "UNKNOWN",
            "request body is too large, it exceeds the maximum permissible limit of 4.00MiB",
        )),
        false => Intake::whole(),
    });
    push.run(&["--chunk", "8M"]).status(0);
    assert!(push.registry.steps().len() < 30, "{:#?}", push.registry.steps());
}

#[test]
fn the_least_chunk_that_a_registry_wants_is_kept_to_when_it_makes_sense() {
    for (text, args) in [
        ("1000000000000000000", &[][..]),
        ("1000000000000000000", &["--chunk", "1M"]),
        ("0", &["--chunk", "1M"]),
        ("-5", &["--chunk", "1M"]),
        ("much", &["--chunk", "1M"]),
        ("", &[]),
    ] {
        let push = Push::of(SIZE);
        push.registry.fault(move |_, right| right.header("OCI-Chunk-Min-Length", text));
        push.run(args).status(0);
    }
    let push = Push::of(SIZE);
    push.registry.fault(|_, right| right.header("OCI-Chunk-Min-Length", "1300000"));
    push.run(&["--chunk", "1M"]).status(0);
    let requests = push.registry.server.requests();
    let sent: Vec<_> =
        requests.iter().map(|request| request.received).filter(|sent| *sent > 0).collect();
    assert!(sent[..sent.len() - 1].iter().all(|sent| *sent >= 1_300_000), "{sent:?}");
}

#[test]
fn a_final_answer_while_the_body_is_sent_is_heard() {
    for end in [End::Fin, End::Reset] {
        for (status, want) in [(400, 6), (401, 4), (403, 4), (500, 5), (503, 5)] {
            let (_, run) = against(SIZE, &[], move |request| {
                let refusal = Reply::error(status, "UNKNOWN", "no more");
                match request.is_patch() || request.is_close() {
                    true => Intake::early(length(request).min(50_000), refusal, end),
                    false => Intake::whole(),
                }
            });
            assert_eq!(run.code(), Some(want), "{status} {end:?}: {run}");
            run.says(&status.to_string());
        }
    }
}

#[test]
fn a_token_that_expires_while_the_body_is_sent_is_replaced() {
    for end in [End::Fin, End::Reset] {
        let push = Push::to(FakeRegistry::with_tokens(), SIZE);
        let host = push.registry.host();
        let expired = first(1, Request::is_close);
        push.registry.intake(move |request| match expired(request) {
            true => {
                let challenge = format!(
                    "Bearer realm=\"http://{host}/token\",service=\"s\",\
                     scope=\"repository:app:pull,push\",error=\"invalid_token\""
                );
                let refusal = Reply::error(401, "UNAUTHORIZED", "expired");
                Intake::early(50_000, refusal.header("WWW-Authenticate", challenge), end)
            }
            false => Intake::whole(),
        });
        push.run(&[]).status(0);
        let tokens = push.registry.steps().iter().filter(|s| *s == "GET /token").count();
        assert!((2..=3).contains(&tokens), "{:#?}", push.registry.steps());
    }
}

#[test]
fn a_registry_that_says_nothing_before_the_body_is_not_waited_for() {
    against(SIZE, &[], |_| Intake::whole().silent()).1.status(0);
}

#[test]
fn interim_answers_are_not_the_answer() {
    for interim in
        ["HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]
    {
        against(SIZE, &[], move |_| Intake::whole().after(interim)).1.status(0);
        against(SIZE, &["--chunk", "1M"], move |_| Intake::whole().after(interim)).1.status(0);
        through(SIZE, move |_, right| right.after(interim)).1.status(0);
    }
}

#[test]
fn a_head_that_is_refused_is_no_reason_not_to_push() {
    for status in [400, 401, 403, 405, 429, 500, 501, 503] {
        let (_, run) = against(SIZE, &[], move |request| match request.method == "HEAD" {
            true => Intake::instead(Reply::new(status)),
            false => Intake::whole(),
        });
        assert_eq!(run.code(), Some(0), "{status}: {run}");
    }
}

#[test]
fn a_head_with_another_size_is_not_believed() {
    let push = Push::of(SIZE);
    push.registry.fault(|request, right| match request.method == "HEAD" && request.earlier == 0 {
        true => Reply::new(200).content_length(1234),
        false => right,
    });
    push.run(&[]).status(0).says("push-blob: warning: ");
    assert!(push.registry.steps().contains(&"POST uploads".to_owned()));
}

#[test]
fn an_empty_blob_that_is_refused_is_6_and_named() {
    let push = Push::of(SIZE);
    let empty = Blob::new(types::TAR, "");
    tests::images::write_layout(&push.scratch.join("l"), "1", &empty, []);
    let command = || {
        tool("push-blob")
            .args(["--max-wait", "0", &push.registry.repo("app"), "--from", "oci:l"])
            .stdin(empty.line())
            .dir(push.scratch.path())
    };
    push.registry.intake(|request| match request.is_close() {
        true => Intake::instead(Reply::error(400, "BLOB_UPLOAD_INVALID", "no bytes")),
        false => Intake::whole(),
    });
    command().run().fails(6, "empty").stdout("");
    assert_eq!(push.registry.sessions(), []);
    assert!(push.registry.steps().len() < 12, "{:#?}", push.registry.steps());
    push.registry.heal();
    command().run().ok().stdout(empty.line());
    assert!(push.registry.blob("app", &empty.digest).is_some());
}

#[test]
fn created_with_another_digest_is_1() {
    let (_, run) = through(SIZE, |request, right| match request.is_close() {
        true => right.change("Docker-Content-Digest", |_| sha256(b"other")),
        false => right,
    });
    run.fails(1, "the registry stored");
}

#[test]
fn a_digest_that_the_registry_computes_otherwise_is_sent_once_more_and_no_more() {
    let wrong = || Intake::instead(Reply::error(400, "DIGEST_INVALID", "did not match"));
    let once = first(1, Request::is_close);
    let (_, run) =
        against(SIZE, &[], move |request| if once(request) { wrong() } else { Intake::whole() });
    run.status(0);
    let (push, run) =
        against(
            SIZE,
            &[],
            move |request| if request.is_close() { wrong() } else { Intake::whole() },
        );
    assert!(matches!(run.code(), Some(1 | 6)), "{run}");
    run.says("DIGEST_INVALID");
    assert_eq!(push.starts(), 2, "{:#?}", push.registry.steps());
}

#[test]
fn a_web_server_that_likes_everything_is_no_registry() {
    for page in PAGES {
        let server = Server::start(move |_| page());
        let push = Push::of(SIZE);
        let run = plain("push-blob")
            .args([&format!("{}/app", server.host()), "layer"])
            .dir(push.scratch.path())
            .run();
        run.fails(6, "").stdout("");
    }
    // A web server that even begins an upload, and then forgets it.
    let (_, run) = against(SIZE, &[], |request| match request.is_close() {
        true => Intake::instead(Reply::ok("<html>").header("Content-Type", "text/html")),
        false => Intake::whole(),
    });
    run.fails(6, "");
}

#[test]
fn sessions_that_cannot_be_closed_do_not_hide_the_error() {
    for status in [401, 403, 404, 405, 500, 503] {
        let push = Push::of(SIZE);
        push.registry.intake(move |request| match request.method.as_str() {
            "PUT" => Intake::instead(Reply::error(403, "DENIED", "read only now")),
            "DELETE" => Intake::instead(Reply::error(status, "UNSUPPORTED", "not that")),
            _ => Intake::whole(),
        });
        push.file().run().fails(4, "read only now").does_not_say("not that").stdout("");
    }
}

#[test]
fn what_a_registry_says_back_is_cleaned_and_without_secrets() {
    let push = Push::to(FakeRegistry::with_tokens(), SIZE);
    push.registry.intake(|request| match request.header("authorization") {
        Some(header) if request.is_close() => {
            let text = format!("\u{1b}[31m{header}\r\n\u{9b}31m");
            Intake::instead(Reply::error(403, "DENIED", &text))
        }
        _ => Intake::whole(),
    });
    push.run(&[]).fails(4, "DENIED").does_not_say(TOKEN);
}

#[test]
fn a_step_that_is_never_answered_ends_with_the_idle_time() {
    let never: [fn(&Request) -> bool; 3] =
        // The registry has to process the blob after the last request, which therefore may take ten
        // times as long.
        [Request::is_start, Request::is_patch, Request::is_close];
    for which in never {
        let push = Push::of(SIZE);
        push.registry.fault(move |request, right| match which(request) {
            true => right.held(),
            false => right,
        });
        let run = push
            .file()
            .args(["--chunk", "1M", "--idle-timeout", "0.1", "--retry-times", "1"])
            .run();
        run.fails(5, "timed out waiting for the response").stdout("");
        push.registry.server.release();
    }
}
