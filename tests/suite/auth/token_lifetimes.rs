// SPDX-License-Identifier: Apache-2.0
//! Tokens that expire: in the middle of pushes and pulls, repeatedly, and when no new token is
//! available.
//!
//! The tests use no clock. The registry accepts the token issued last, until a chosen request makes
//! it expire.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tests::commands::plain;
use tests::fake::{End, Intake, Reply, Request, first};
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, noise, read_blob, write_image};
use tests::logins::{PASSWORD, USER};
use tests::push::Push;
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::token_server::TokenServer;
use tests::tools::tool;

const SIZE: usize = 1_000_000;

/// The number of the token that the registry accepts (0 for none), and of the token issued last.
#[derive(Default)]
struct Tokens {
    valid: AtomicUsize,
    issued: AtomicUsize,
}

/// The treatment of the request with which the token expires.
#[derive(Clone, Copy, Debug)]
enum Expiry {
    /// The registry reads the body and refuses the request.
    Before,
    /// The registry reads part of the body and refuses the request.
    During,
    /// The registry does what the request asks, but responds with a refusal.
    After,
}

const EXPIRIES: [Expiry; 3] = [Expiry::Before, Expiry::During, Expiry::After];

fn refusal(request: &Request) -> Reply {
    let host = request.header("host").unwrap_or_default();
    let challenge = format!("Bearer realm=\"http://{host}/token\",error=\"invalid_token\"");
    Reply::error(401, "UNAUTHORIZED", "expired").header("WWW-Authenticate", challenge)
}

/// Makes the registry require tokens that expire with each request for which `expires` is true.
fn expiring_tokens(
    registry: &FakeRegistry,
    expiry: Expiry,
    expires: impl Fn(&Request) -> bool + Send + Sync + 'static,
) -> Arc<Tokens> {
    let tokens = Arc::new(Tokens::default());
    let own = Arc::clone(&tokens);
    let issuing = Arc::clone(&tokens);
    let expired_after: Arc<std::sync::Mutex<Vec<(String, usize)>>> = Arc::default();
    let to_refuse = Arc::clone(&expired_after);
    registry.intake(move |request| {
        if request.path == "/token" {
            return Intake::whole();
        }
        let valid = format!("Bearer t-{}", own.valid.load(Ordering::SeqCst));
        if request.header("authorization") != Some(&valid) {
            return Intake::instead(refusal(request));
        }
        if !expires(request) {
            return Intake::whole();
        }
        // The registry accepts no token until it issues the next one.
        own.valid.store(0, Ordering::SeqCst);
        match expiry {
            Expiry::During if request.header("content-length").is_some_and(|l| l.len() > 3) => {
                Intake::early(1000, refusal(request), End::Reset)
            }
            Expiry::Before | Expiry::During => Intake::instead(refusal(request)),
            Expiry::After => {
                expired_after.lock().unwrap().push((request.target.clone(), request.number));
                Intake::whole()
            }
        }
    });
    registry.fault(move |request, right| {
        if request.path == "/token" {
            let number = issuing.issued.fetch_add(1, Ordering::SeqCst) + 1;
            issuing.valid.store(number, Ordering::SeqCst);
            return Reply::json(200, &json!({"token": format!("t-{number}"), "expires_in": 1}));
        }
        let this = (request.target.clone(), request.number);
        if to_refuse.lock().unwrap().contains(&this) { refusal(request) } else { right }
    });
    tokens
}

impl Tokens {
    fn issued(&self) -> usize {
        self.issued.load(Ordering::SeqCst)
    }
}

/// The number of body bytes that the registry read in PATCH and PUT requests.
fn kept_bytes(push: &Push) -> u64 {
    let sent = push.registry.server.requests();
    sent.iter().filter(|r| r.is_patch() || r.is_close()).map(|request| request.received).sum()
}

#[test]
fn a_token_that_expires_anywhere_in_a_push_is_fetched_again_once() {
    type Which = fn(&Request) -> bool;
    let places: [(&str, Which); 6] = [
        ("HEAD", |request| request.method == "HEAD"),
        ("POST", Request::is_start),
        ("the first PATCH", Request::is_patch),
        ("a later PATCH", |request| {
            request.header("content-range").is_some_and(|range| !range.starts_with("0-"))
        }),
        ("the last PATCH", |request| {
            request.header("content-range").is_some_and(|range| range.ends_with("-999999"))
        }),
        ("PUT", Request::is_close),
    ];
    for (place, is_it) in places {
        for expiry in EXPIRIES {
            for args in [&["--chunk", "256k"][..], &[]] {
                let push = Push::of(SIZE);
                let tokens = expiring_tokens(&push.registry, expiry, first(1, is_it));
                // The upload session stays open at the registry: the tool never received its
                // Location.
                let is_lost = place == "POST" && matches!(expiry, Expiry::After);
                let run = if is_lost { push.file().args(args).run() } else { push.run(args) };
                let what = format!("{place}, {expiry:?}, {args:?}: {:#?}", push.registry.steps());
                assert_eq!(run.code(), Some(0), "{what} {run}");
                let occurs = args.len() == 2 || !place.ends_with("PATCH");
                assert_eq!(tokens.issued(), if occurs { 2 } else { 1 }, "{what}");
                // Bytes that the registry has stored are not sent again.
                if matches!(expiry, Expiry::After) && !is_lost {
                    assert_eq!(kept_bytes(&push), SIZE as u64, "{what}");
                }
                let again = if args.is_empty() { SIZE as u64 } else { 256 << 10 };
                assert!(kept_bytes(&push) <= SIZE as u64 + again, "{what}");
            }
        }
    }
}

#[test]
fn tokens_that_expire_repeatedly_do_not_stop_a_push() {
    // The push uses only one connection. With several connections, a token that one connection
    // fetched may expire for another one, and then the next token too.
    for life in [7, 12] {
        let push = Push::of(1000);
        let count = AtomicUsize::new(0);
        let expires = move |_: &Request| count.fetch_add(1, Ordering::SeqCst) % life == life - 1;
        let tokens = expiring_tokens(&push.registry, Expiry::Before, expires);
        let names: Vec<String> = (0..20).map(|number| format!("layer-{number}")).collect();
        for (number, name) in names.iter().enumerate() {
            push.scratch.write(name, noise(50_000, number as u64 + 1));
        }
        let run = push.bare().args(["--media-type", "a/b", "-j", "1"]);
        let run = run.arg(push.registry.repo("app")).args(&names).run();
        let steps = push.registry.steps();
        assert_eq!(run.code(), Some(0), "{run} {steps:#?}");
        assert_eq!(run.lines().len(), 20);
        let expiries = steps.iter().filter(|step| *step != "GET /token").count() / life + 1;
        assert!(tokens.issued() <= expiries, "{} tokens: {steps:#?}", tokens.issued());
        assert_eq!(push.registry.sessions(), []);
    }
}

#[test]
fn a_pull_of_many_blobs_continues_with_new_tokens() {
    for (jobs, life) in [("1", 2), ("4", 9)] {
        let registry = FakeRegistry::start();
        let layers: Vec<Vec<u8>> = (1..=12).map(|seed| noise(40_000, seed)).collect();
        let image = Image::of_archives(&layers, "linux", "amd64");
        registry.add_image("app", "1", &image);
        let count = AtomicUsize::new(0);
        let expires = move |_: &Request| count.fetch_add(1, Ordering::SeqCst) % life == life - 1;
        let tokens = expiring_tokens(&registry, Expiry::Before, expires);
        let scratch = Scratch::new();
        let command = plain("fetch-blob").args(["-j", jobs]);
        let command = command.args([&registry.repo("app"), "--into", "oci:l"]);
        let run = command.stdin(image.lines()).dir(scratch.path()).run();
        run.ok().stdout(image.lines());
        assert!(read_blob(&scratch.join("l"), &image.config.digest).is_some());
        let asked = registry.blob_requests().len();
        assert!(
            tokens.issued() <= asked / life + 1,
            "{} tokens, {asked} requests",
            tokens.issued()
        );
    }
}

#[test]
fn a_broken_download_resumes_at_its_offset_with_a_new_token() {
    let registry = FakeRegistry::start();
    let bytes = noise(SIZE, 1);
    let digest = registry.add_blob("app", bytes.clone());
    let issued = AtomicUsize::new(0);
    // Each token is valid for one response, which is cut after 300,000 bytes.
    registry.intake(|request| match request.header("authorization") {
        _ if request.path == "/token" => Intake::whole(),
        None => Intake::instead(refusal(request)),
        Some(_) => Intake::whole(),
    });
    let used = std::sync::Mutex::new(Vec::new());
    registry.fault(move |request, right| {
        if request.path == "/token" {
            let number = issued.fetch_add(1, Ordering::SeqCst);
            return Reply::json(200, &json!({"token": format!("t-{number}")}));
        }
        let token = request.header("authorization").unwrap_or_default().to_owned();
        let mut used = used.lock().unwrap();
        if used.contains(&token) {
            return refusal(request);
        }
        used.push(token);
        right.cut(300_000, End::Fin)
    });
    let run = plain("fetch-blob").args([&registry.repo("app")]);
    run.arg(&digest).run().ok().stdout(&bytes);
    let offsets: Vec<_> = registry
        .blob_requests()
        .iter()
        .map(|request| request.range().map_or(0, |range| range.start))
        .collect();
    // The first request has no token and is refused. Each later offset is requested twice: the
    // first request has a used token and is refused.
    assert_eq!(offsets, [0, 0, 300_000, 300_000, 600_000, 600_000, 900_000, 900_000]);
}

#[test]
fn a_registry_that_refuses_every_token_for_a_body_ends_the_push() {
    for args in [&["--chunk", "256k"][..], &[]] {
        for expiry in [Expiry::Before, Expiry::During] {
            let push = Push::of(SIZE);
            let takes_bytes = |request: &Request| request.is_patch() || request.is_close();
            let tokens = expiring_tokens(&push.registry, expiry, takes_bytes);
            let run = push.run(args);
            run.fails(4, "401");
            let steps = push.registry.steps();
            assert!(tokens.issued() <= 3, "{} tokens: {steps:#?}", tokens.issued());
            assert_eq!(push.registry.sessions(), [], "{steps:#?}");
        }
    }
}

#[test]
fn scopes_that_never_suffice_end_the_run_after_few_tokens() {
    for which in [Request::is_patch as fn(&Request) -> bool, Request::is_start, |request| {
        request.method == "HEAD"
    }] {
        let push = Push::of(SIZE);
        let count = AtomicUsize::new(0);
        push.registry.intake(move |request| {
            let is_in = request.header("authorization").is_some() && !which(request);
            if request.path == "/token" || is_in {
                return Intake::whole();
            }
            let host = request.header("host").unwrap_or_default();
            let number = count.fetch_add(1, Ordering::SeqCst);
            let challenge = format!(
                "Bearer realm=\"http://{host}/token\",error=\"insufficient_scope\",\
                 scope=\"repository:other-{number}:pull\""
            );
            Intake::instead(Reply::new(401).header("WWW-Authenticate", challenge))
        });
        push.registry.fault(|request, right| match request.path.as_str() {
            "/token" => Reply::json(200, &json!({"token": format!("t-{}", request.number)})),
            _ => right,
        });
        let run = push.run(&["--chunk", "256k"]);
        let steps = push.registry.steps();
        let tokens = steps.iter().filter(|step| *step == "GET /token").count();
        assert!(tokens <= 5, "{run}{steps:#?}");
        // If only HEAD is refused, the push may succeed.
        assert!(matches!(run.code(), Some(0 | 4)), "{run}{steps:#?}");
    }
}

#[test]
fn the_run_ends_if_no_second_token_is_available() {
    type Fault = fn(Reply) -> Reply;
    let faults: [(i32, Fault); 6] = [
        (4, |_| Reply::new(401)),
        (4, |_| Reply::error(403, "DENIED", "no more")),
        (5, |_| Reply::new(500)),
        (5, |_| Reply::hang_up()),
        (5, |right| right.stall(3)),
        (6, |_| Reply::ok("<html>").header("Content-Type", "text/html")),
    ];
    for (code, fault) in faults {
        let push = Push::of(SIZE);
        let digest = push.registry.add_blob("app", noise(1000, 2));
        // The first token of a run is valid until bytes are uploaded or downloaded.
        push.registry.intake(|request| {
            let moves = request.is_close() || (request.is_blob() && request.method == "GET");
            match request.header("authorization") {
                _ if request.path == "/token" => Intake::whole(),
                Some(_) if !moves => Intake::whole(),
                _ => Intake::instead(refusal(request)),
            }
        });
        let serve = move |request: &Request, right| {
            let token = Reply::json(200, &json!({"token": format!("t-{}", request.earlier)}));
            match request.path.as_str() {
                "/token" if request.earlier == 0 => token,
                "/token" => fault(token),
                _ => right,
            }
        };
        push.registry.fault(serve);
        // Without a token the tool cannot cancel the open upload session either.
        let run = push.file().args(["--idle-timeout", "0.2", "--retry-times", "2"]).run();
        assert_eq!(run.code(), Some(code), "{run}{:#?}", push.registry.steps());

        push.registry.server.forget();
        let run =
            tool("fetch-blob").args(["--max-wait", "0", "--retry-times", "2", "--plain-http"]);
        let run = run.args(["--idle-timeout", "0.2", &push.registry.repo("app"), &digest]).run();
        run.fails(code, "").stdout("");
    }
}

mod with_peers {
    use super::*;

    #[test]
    fn an_expired_token_at_a_real_registry_is_fetched_again() {
        let server = TokenServer::new();
        let registry = Registry::with_tokens_of(&server);
        let scratch = Scratch::new();
        let layers: Vec<Vec<u8>> = (1..=6).map(|seed| noise(200_000, seed)).collect();
        let image = Image::of_archives(&layers, "linux", "amd64");
        write_image(&scratch.join("l"), "1", &image);
        let app = registry.repo("app");
        let known = |name, args: &[&str]| {
            let command = tool(name).args(["--max-wait", "0", "-u", USER, &app]).args(args);
            let command = command.env("REGISTRY_PASSWORD", PASSWORD).dir(scratch.path());
            command.stdin(image.lines()).run()
        };
        for (name, args) in [
            ("push-blob", &["--from", "oci:l", "--chunk", "64k", "-j", "4"][..]),
            ("fetch-blob", &["--into", "oci:back", "-j", "4"]),
        ] {
            server.server.forget();
            server.next_are_expired(1);
            known(name, args).ok().stdout(image.lines());
            assert_eq!(server.server.requests().len(), 2, "{name}");
            server.server.forget();
            server.next_are_expired(100);
            let run = known(name, &[args, &["-q"][..]].concat());
            if name == "push-blob" {
                run.fails(4, "401").stdout("");
            }
            // One new token per request, until the first line fails.
            assert!(server.server.requests().len() <= 16, "{name}: {:?}", server.server.asked());
            server.next_are_expired(0);
        }
        let uploads = registry.storage().join("docker/registry/v2/repositories/app/_uploads");
        assert!(std::fs::read_dir(uploads).is_ok_and(|mut left| left.next().is_none()));
    }
}
