// SPDX-License-Identifier: Apache-2.0
//! Registries and proxies that respond wrongly to an upload. Temporary failures are retried. Any
//! other failure ends the run with one line and the right status, stores no wrong blob and leaves
//! no session open.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::commands::plain;
use tests::fake::{End, Intake, Reply, Request, Server, first};
use tests::fake_registry::{FakeRegistry, TOKEN};
use tests::images::{Blob, sha256, sha512, types, write_layout};
use tests::push::{Push, against, through};
use tests::scratch::Scratch;
use tests::tools::tool;

use super::PAGES;

const SIZE: usize = 3_000_000;

/// The length that a request's Content-Length header announces.
fn length(request: &Request) -> u64 {
    request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// Whether each request that was refused for its size was smaller than the refused ones before it.
fn sizes_of_refused_requests_decrease(push: &Push, limit: u64) -> bool {
    let requests = push.registry.server.requests();
    let refused: Vec<_> = requests.iter().map(length).filter(|length| *length > limit).collect();
    refused.is_sorted_by(|a, b| a > b)
}

/// A proxy that accepts only requests up to this size and responds to larger ones with an HTML
/// page.
fn limited(limit: u64, end: End) -> impl Fn(&Request) -> Intake + Send + Sync + 'static {
    move |request| {
        if length(request) > limit {
            let page = Reply::new(413).header("Content-Type", "text/html").body("<html>");
            Intake::early(60_000, page, end)
        } else {
            Intake::whole()
        }
    }
}

#[test]
fn a_body_too_large_for_a_proxy_is_sent_in_chunks() {
    const LIMIT: u64 = 5 << 20;
    for end in [End::Fin, End::Reset] {
        let push = Push::of(20 << 20);
        push.registry.intake(limited(LIMIT, end));
        push.run(&[]).status(0);
        assert!(sizes_of_refused_requests_decrease(&push, LIMIT), "{:#?}", push.registry.steps());
    }
}

#[test]
fn a_small_body_that_is_too_large_is_not_sent_again_at_its_size() {
    const LIMIT: u64 = 1 << 20;
    let push = Push::of(SIZE);
    push.registry.intake(limited(LIMIT, End::Fin));
    let run = push.run(&[]);
    assert!(matches!(run.code(), Some(0 | 6)), "{run}");
    assert!(sizes_of_refused_requests_decrease(&push, LIMIT), "{:#?}", push.registry.steps());
    // With a suitable chunk size the upload succeeds.
    push.run(&["--chunk", "1M"]).status(0);
}

#[test]
fn refusing_every_body_size_gives_status_6_after_few_attempts() {
    let (push, run) = against(SIZE, &[], |request| {
        if request.is_session() && request.method != "DELETE" {
            Intake::instead(Reply::new(413).body("<html>"))
        } else {
            Intake::whole()
        }
    });
    run.fails(6, "413");
    assert!(push.registry.steps().len() < 40, "{:#?}", push.registry.steps());
}

#[test]
fn a_chunk_too_large_for_a_registry_is_sent_another_way() {
    // The 416 does not mean a wrong order of chunks here: PUT accepts any size, PATCH only small
    // bodies.
    let push = Push::of(9 << 20);
    push.registry.intake(|request| {
        if request.is_patch() && length(request) > 4 << 20 {
            Intake::instead(Reply::error(
                416,
                "UNKNOWN",
                "request body is too large, it exceeds the maximum permissible limit of 4.00MiB",
            ))
        } else {
            Intake::whole()
        }
    });
    push.run(&["--chunk", "8M"]).status(0);
    assert!(push.registry.steps().len() < 30, "{:#?}", push.registry.steps());
}

#[test]
fn a_sensible_minimum_chunk_size_is_obeyed_and_an_absurd_one_ignored() {
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
fn a_final_response_during_the_body_decides_the_status() {
    for end in [End::Fin, End::Reset] {
        for (status, want) in [(400, 6), (401, 4), (403, 4), (500, 5), (503, 5)] {
            let (_, run) = against(SIZE, &[], move |request| {
                let refusal = Reply::error(status, "UNKNOWN", "no more");
                if request.is_patch() || request.is_close() {
                    Intake::early(length(request).min(50_000), refusal, end)
                } else {
                    Intake::whole()
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
        push.registry.intake(move |request| {
            if expired(request) {
                let challenge = format!(
                    "Bearer realm=\"http://{host}/token\",service=\"s\",\
                     scope=\"repository:app:pull,push\",error=\"invalid_token\""
                );
                let refusal = Reply::error(401, "UNAUTHORIZED", "expired");
                Intake::early(50_000, refusal.header("WWW-Authenticate", challenge), end)
            } else {
                Intake::whole()
            }
        });
        push.run(&[]).status(0);
        let tokens = push.registry.steps().iter().filter(|s| *s == "GET /token").count();
        assert!((2..=3).contains(&tokens), "{:#?}", push.registry.steps());
    }
}

#[test]
fn a_registry_that_never_sends_100_continue_is_not_waited_for() {
    against(SIZE, &[], |_| Intake::whole().silent()).1.status(0);
}

#[test]
fn interim_responses_are_skipped() {
    for interim in
        ["HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]
    {
        against(SIZE, &[], move |_| Intake::whole().after(interim)).1.status(0);
        against(SIZE, &["--chunk", "1M"], move |_| Intake::whole().after(interim)).1.status(0);
        through(SIZE, move |_, right| right.after(interim)).1.status(0);
    }
}

#[test]
fn a_failed_head_request_does_not_prevent_the_push() {
    for status in [400, 401, 403, 405, 429, 500, 501, 503] {
        let (_, run) = against(SIZE, &[], move |request| {
            if request.method == "HEAD" {
                Intake::instead(Reply::new(status))
            } else {
                Intake::whole()
            }
        });
        assert_eq!(run.code(), Some(0), "{status}: {run}");
    }
}

#[test]
fn a_head_response_with_another_size_is_ignored_with_a_warning() {
    let push = Push::of(SIZE);
    push.registry.fault(|request, right| {
        if request.method == "HEAD" && request.earlier == 0 {
            Reply::new(200).content_length(1234)
        } else {
            right
        }
    });
    push.run(&[]).status(0).says("push-blob: warning: ");
    assert!(push.registry.steps().contains(&"POST uploads".to_owned()));
}

#[test]
fn a_refused_empty_blob_gives_status_6_and_is_called_empty() {
    let push = Push::of(SIZE);
    let empty = Blob::new(types::TAR, "");
    write_layout(&push.scratch.join("l"), "1", &empty, []);
    let command = || {
        tool("push-blob")
            .args(["--max-wait", "0", &push.registry.repo("app"), "--from", "oci:l"])
            .stdin(empty.line())
            .dir(push.scratch.path())
    };
    push.registry.intake(|request| {
        if request.is_close() {
            Intake::instead(Reply::error(400, "BLOB_UPLOAD_INVALID", "no bytes"))
        } else {
            Intake::whole()
        }
    });
    command().run().fails(6, "empty").stdout("");
    assert_eq!(push.registry.sessions(), []);
    assert!(push.registry.steps().len() < 12, "{:#?}", push.registry.steps());
    push.registry.heal();
    command().run().ok().stdout(empty.line());
    assert!(push.registry.blob("app", &empty.digest).is_some());
}

#[test]
fn a_201_with_another_digest_gives_status_1() {
    let (_, run) = through(SIZE, |request, right| {
        if request.is_close() {
            right.change("Docker-Content-Digest", |_| sha256(b"other"))
        } else {
            right
        }
    });
    run.fails(1, "the registry stored");
}

#[test]
fn a_digest_invalid_error_is_retried_once() {
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
fn a_web_server_that_accepts_everything_is_not_treated_as_a_registry() {
    for page in PAGES {
        let server = Server::start(move |_| page());
        let push = Push::of(SIZE);
        let run = plain("push-blob")
            .args([&format!("{}/app", server.host()), "layer"])
            .dir(push.scratch.path())
            .run();
        run.fails(6, "").stdout("");
    }
    // This server opens an upload session, and completes it with a web page.
    let (_, run) = against(SIZE, &[], |request| {
        if request.is_close() {
            Intake::instead(Reply::ok("<html>").header("Content-Type", "text/html"))
        } else {
            Intake::whole()
        }
    });
    run.fails(6, "");
}

#[test]
fn a_session_that_cannot_be_closed_does_not_hide_the_error() {
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
fn a_token_in_the_error_text_of_a_registry_is_redacted() {
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
fn a_request_without_a_response_ends_at_the_idle_timeout() {
    let never: [fn(&Request) -> bool; 3] =
        // After the last request the registry has to process the blob, so the wait for its response
        // may be ten times as long.
        [Request::is_start, Request::is_patch, Request::is_close];
    for which in never {
        let push = Push::of(SIZE);
        push.registry
            .fault(move |request, right| if which(request) { right.held() } else { right });
        let run = push
            .file()
            .args(["--chunk", "1M", "--idle-timeout", "0.1", "--retry-times", "1"])
            .run();
        run.fails(5, "timed out waiting for the response").stdout("");
        push.registry.server.release();
    }
}

#[test]
fn a_digest_refused_with_a_server_error_is_retried_once_too() {
    let wrong = || Intake::instead(Reply::error(500, "DIGEST_INVALID", "did not match"));
    let close = move |request: &Request| if request.is_close() { wrong() } else { Intake::whole() };
    let (push, run) = against(SIZE, &[], close);
    run.fails(6, "DIGEST_INVALID");
    assert_eq!(push.starts(), 2, "{:#?}", push.registry.steps());
}

#[test]
fn a_registry_without_sha512_gives_a_hint() {
    let registry = FakeRegistry::start();
    registry.intake(|request| {
        if request.is_close() {
            Intake::instead(Reply::error(400, "DIGEST_INVALID", "unsupported"))
        } else {
            Intake::whole()
        }
    });
    let scratch = Scratch::new();
    let bytes = b"a layer".to_vec();
    let blob = Blob { media_type: types::TAR.to_owned(), digest: sha512(&bytes), bytes };
    write_layout(&scratch.join("l"), "x", &blob, []);
    let run = plain("push-blob").args([&registry.repo("app"), "--from", "oci:l"]);
    let run = run.dir(scratch.path()).stdin(blob.line()).run();
    run.fails(6, "DIGEST_INVALID").says("hint: some registries support only sha256 digests");
}
