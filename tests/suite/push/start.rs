// SPDX-License-Identifier: Apache-2.0
//! Registries that respond wrongly to the start of an upload, and the upload locations that they
//! send.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::certs::Authority;
use tests::fake::{End, Intake, Reply, Request, Server, first};
use tests::fake_registry::FakeRegistry;
use tests::push::{Push, against, through};
use tests::tools::Run;

const SIZE: usize = 1_500_000;

/// Pushes to a registry that changes its response to the POST that begins an upload.
fn started(change: impl Fn(Reply) -> Reply + Send + Sync + 'static) -> (Push, Run) {
    through(SIZE, move |request, right| if request.is_start() { change(right) } else { right })
}

#[test]
fn a_start_response_without_a_location_gives_status_6() {
    let push = Push::of(SIZE);
    push.registry
        .fault(|request, right| if request.is_start() { right.without("Location") } else { right });
    // The client cannot close a session whose location it does not know.
    push.file().run().fails(6, "Location").stdout("");
    assert_eq!(push.registry.steps()[..2], ["HEAD blob", "POST uploads"]);
}

#[test]
fn a_location_is_resolved_and_its_query_sent_back_unchanged() {
    let cut = |location: &str, at: &str| location[location.find(at).unwrap()..].to_owned();
    started(move |right| right.change("Location", |l| cut(l, "//"))).1.status(0);
    started(move |right| right.change("Location", |l| cut(l, "/v2/"))).1.status(0);
    started(|right| right.change("Location", |l| l.rsplit_once('/').unwrap().1.to_owned()))
        .1
        .status(0);
    started(|right| right.change("Location", |l| format!("{l}#fragment"))).1.status(0);
    let push = Push::of(SIZE);
    push.registry.set(|settings| settings.relative = true);
    push.run(&["--chunk", "1M"]).ok();
}

#[test]
fn an_invalid_or_forbidden_location_gives_status_6() {
    for location in [
        "",
        "file:///etc/passwd",
        "http://169.254.169.254/upload?x=y",
        "http://10.0.0.1/upload?x=y",
        "http://me:secret@HOST/upload",
        "http://[::1",
    ] {
        let push = Push::of(SIZE);
        push.registry.fault(move |request, right| {
            if request.is_start() {
                let host = request.header("host").unwrap_or_default();
                right.change("Location", |_| location.replace("HOST", host))
            } else {
                right
            }
        });
        let run = push.file().run();
        assert_eq!(run.code(), Some(6), "{location}: {run}\n{:#?}", push.registry.steps());
        run.fails(6, "").stdout("").does_not_say("secret");
        assert!(push.registry.blob("app", &push.blob.digest).is_none(), "{location}");
    }
}

#[test]
fn another_host_gets_no_credentials() {
    let other = Server::start(|request| match request.method.as_str() {
        "HEAD" => Reply::new(404),
        _ => Reply::new(201),
    });
    for host in ["127.0.0.1", "localhost"] {
        let push = Push::to(FakeRegistry::with_tokens(), SIZE);
        let place = format!("http://{host}:{}/upload?a=b", other.port());
        push.registry.fault(move |request, right| {
            if request.is_start() { right.change("Location", |_| place.clone()) } else { right }
        });
        let run = push.file().args(["-H", "X-Own: secret"]).run();
        // The other host claims to have the blob; the registry says that it does not exist.
        assert!(matches!(run.code(), Some(5 | 6)), "{run}");
        run.stdout("");
        for request in other.requests() {
            assert_eq!(request.header("authorization"), None);
            assert_eq!(request.header("x-own"), None);
        }
    }
}

#[test]
fn a_201_without_a_mount_counts_only_if_the_blob_exists() {
    let push = Push::of(SIZE);
    push.registry.intake(|request| {
        if request.is_start() { Intake::instead(Reply::new(201)) } else { Intake::whole() }
    });
    push.run(&[]).fails(6, "201");
    // The blob exists after all: another client was faster.
    push.registry.fault(|request, right| {
        if request.earlier == 1 { Reply::error(404, "BLOB_UNKNOWN", "blob unknown") } else { right }
    });
    push.registry.add_blob("app", push.blob.bytes.clone());
    push.run(&[]).status(0);
}

#[test]
fn the_response_to_the_start_decides_the_status() {
    for (status, code, want) in [
        (401, "UNAUTHORIZED", 4),
        (403, "DENIED", 4),
        (404, "NAME_UNKNOWN", 3),
        (400, "NAME_INVALID", 6),
        (405, "UNSUPPORTED", 6),
        (429, "TOOMANYREQUESTS", 5),
        (500, "UNKNOWN", 5),
        (503, "UNAVAILABLE", 5),
    ] {
        let (push, run) = against(SIZE, &[], move |request| {
            if request.is_start() {
                Intake::instead(Reply::error(status, code, "why not"))
            } else {
                Intake::whole()
            }
        });
        assert_eq!(run.code(), Some(want), "{status}: {run}");
        assert_eq!(push.starts() > 1, want == 5, "{status}: {} starts", push.starts());
    }
}

#[test]
fn a_start_that_fails_temporarily_is_retried() {
    for fault in [
        || Intake::instead(Reply::new(503).header("Retry-After", "0")),
        || Intake::instead(Reply::new(502).body("<html>")),
        || Intake::instead(Reply::hang_up()),
        || Intake::cut(0, End::Fin),
    ] {
        let starts = first(2, Request::is_start);
        let (_, run) = against(
            SIZE,
            &[],
            move |request| if starts(request) { fault() } else { Intake::whole() },
        );
        run.status(0);
    }
}

#[test]
fn a_redirected_post_is_an_error() {
    for status in [301, 302, 303] {
        let other = Server::start(|_| Reply::new(204));
        let place = other.url();
        let push = Push::of(SIZE);
        push.registry.intake(move |request| match request.method.as_str() {
            "POST" => Intake::instead(Reply::redirect(status, &place)),
            _ => Intake::whole(),
        });
        push.run(&[]).fails(6, "redirect");
        assert_eq!(other.asked(), Vec::<String>::new());
    }
}

mod with_peers {
    use super::*;

    #[test]
    fn an_http_location_on_the_host_of_an_https_registry_becomes_https() {
        let authority = Authority::new();
        let push = Push::to(FakeRegistry::start_tls(authority.server().server_config()), SIZE);
        push.registry
            .fault(|_, right| right.change("Location", |l| l.replace("https://", "http://")));
        let run = push.file().arg("--ca-file").arg(authority.certificate()).run();
        push.judge(run).ok();
    }

    #[test]
    fn an_https_registry_cannot_send_an_upload_to_another_host_over_http() {
        let authority = Authority::new();
        let other = Server::start(|_| Reply::new(201));
        let push = Push::to(FakeRegistry::start_tls(authority.server().server_config()), SIZE);
        let place = format!("http://localhost:{}/upload?a=b", other.port());
        push.registry.fault(move |request, right| {
            if request.is_start() { right.change("Location", |_| place.clone()) } else { right }
        });
        let run = push.file().arg("--ca-file").arg(authority.certificate()).run();
        run.fails(6, "").stdout("");
        assert_eq!(other.asked(), Vec::<String>::new());
    }
}
