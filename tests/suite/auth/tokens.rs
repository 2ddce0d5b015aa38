// SPDX-License-Identifier: Apache-2.0
//! Registries that require a token of every client, and token servers that misbehave.

use serde_json::{Value, json};
use tests::certs::Authority;
use tests::commands::plain;
use tests::fake::{End, Reply, Request, Server};
use tests::fake_registry::{FakeRegistry, TOKEN};
use tests::images::{Image, noise, read_blob};
use tests::scratch::Scratch;
use tests::tools::{Command, tool};

fn fetch_manifest(registry: &FakeRegistry) -> Command {
    let reference = format!("{}:1", registry.repo("app"));
    plain("fetch-manifest").args([&reference])
}

fn registry() -> FakeRegistry {
    let registry = FakeRegistry::with_tokens();
    registry.add_image("app", "1", &Image::small());
    registry
}

type Answer = fn() -> Reply;

fn is_token(request: &Request) -> bool {
    request.path == "/token"
}

#[test]
fn a_challenge_is_answered_by_a_token_for_its_scope() {
    let registry = registry();
    fetch_manifest(&registry).run().ok().stdout(&Image::small().manifest.bytes);
    let requests = registry.server.requests();
    let paths: Vec<_> = requests.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/v2/app/manifests/1", "/token", "/v2/app/manifests/1"]);
    assert_eq!(requests[1].param("service"), Some(registry.host()));
    assert_eq!(requests[1].params("scope"), ["repository:app:pull"]);
    assert_eq!(requests[0].header("authorization"), None);
    assert_eq!(requests[1].header("authorization"), None);
}

#[test]
fn one_token_serves_many_blobs() {
    let registry = registry();
    let image = Image::of_archives(&[1, 2, 3, 4].map(|seed| noise(1000, seed)), "linux", "amd64");
    registry.add_image("app", "2", &image);
    let scratch = Scratch::new();
    let run = tool("fetch-blob")
        .args(["--plain-http", &registry.repo("app"), "--into", "oci:l", "-j", "1"])
        .stdin(image.lines())
        .dir(scratch.path())
        .run();
    run.ok().stdout(image.lines());
    assert_eq!(registry.server.requests().iter().filter(|r| is_token(r)).count(), 1);
    assert!(read_blob(&scratch.join("l"), &image.config.digest).is_some());
}

#[test]
fn a_token_that_expires_in_mid_download_is_replaced() {
    let registry = FakeRegistry::with_tokens();
    let bytes = noise(500_000, 1);
    let digest = registry.add_blob("app", bytes.clone());
    registry.fault(|request, right| match (request.is_blob(), request.earlier) {
        (true, 1) => right.cut(200_000, End::Fin),
        (true, 2) => Reply::new(401).header(
            "WWW-Authenticate",
            format!(
                "Bearer realm=\"http://{}/token\",service=\"s\",scope=\"repository:app:pull\",\
                 error=\"invalid_token\"",
                request.header("host").unwrap()
            ),
        ),
        _ => right,
    });
    let run = plain("fetch-blob");
    run.args([&registry.repo("app"), &digest]).run().ok().stdout(&bytes);
    let tokens = registry.server.requests().iter().filter(|r| is_token(r)).count();
    assert_eq!(tokens, 2);
    let last = registry.blob_requests().pop().unwrap();
    assert_eq!(last.range().map(|range| range.start), Some(200_000));
}

#[test]
fn unusual_token_responses_are_accepted() {
    let changes: [fn(Value) -> Value; 6] = [
        |answer: Value| json!({"access_token": answer["token"]}),
        |answer| json!({"token": answer["token"], "access_token": answer["token"]}),
        |answer| json!({"token": answer["token"], "expires_in": 0}),
        |answer| json!({"token": answer["token"], "expires_in": -5, "issued_at": "never"}),
        |answer| json!({"token": answer["token"], "expires_in": "60"}),
        |answer| json!({"token": answer["token"], "expires_in": 1_000_000_000_000_u64}),
    ];
    for change in changes {
        let registry = registry();
        registry.fault(move |request, right| {
            if !is_token(request) {
                return right;
            }
            let scope = request.param("scope").unwrap_or_default();
            let digest = tests::images::sha256(scope.as_bytes());
            let token = format!("{TOKEN}{}", &digest[7..23]);
            Reply::json(200, &change(json!({"token": token})))
        });
        fetch_manifest(&registry).run().status(0).stdout(&Image::small().manifest.bytes);
    }
}

#[test]
fn a_bad_token_response_fails_with_its_exit_status() {
    let cases: [(&str, i32, Answer); 11] = [
        ("401", 4, || Reply::new(401)),
        ("403", 4, || Reply::new(403)),
        ("500 always", 5, || Reply::new(500)),
        ("429 for a day", 5, || Reply::new(429).header("Retry-After", "86400")),
        ("a page", 6, || Reply::ok("<html>").header("Content-Type", "text/html")),
        ("an empty object", 6, || Reply::json(200, &json!({}))),
        ("not JSON", 6, || Reply::ok("token")),
        ("a token that is not a string", 6, || Reply::json(200, &json!({"token": 1}))),
        ("a token with a line end", 6, || Reply::json(200, &json!({"token": "a\r\nX-Evil: 1"}))),
        ("a token outside ASCII", 6, || Reply::json(200, &json!({"token": "ä"}))),
        ("an endless body", 6, || Reply::new(200).endless("x")),
    ];
    for (what, code, answer) in cases {
        let registry = registry();
        registry.fault(move |request, right| if is_token(request) { answer() } else { right });
        let run = fetch_manifest(&registry).run();
        assert_eq!(run.code(), Some(code), "{what}: {run}");
        run.fails(code, "").stdout("");
    }
}

#[test]
fn a_token_server_that_recovers_is_asked_again() {
    let registry = registry();
    registry.fault(
        |request, right| {
            if is_token(request) && request.earlier < 2 { Reply::new(503) } else { right }
        },
    );
    fetch_manifest(&registry).run().ok();
}

/// Changes the challenges of 401 responses to these, with `HOST` replaced.
fn challenged_by(registry: &FakeRegistry, challenges: &'static [&'static str]) {
    registry.fault(move |request, right| match right.code() {
        401 => {
            let host = request.header("host").unwrap_or_default();
            let bare = Reply::error(401, "UNAUTHORIZED", "authentication required");
            challenges
                .iter()
                .fold(bare, |r, c| r.header("WWW-Authenticate", c.replace("HOST", host)))
        }
        _ => right,
    });
}

#[test]
fn challenges_in_every_spelling_are_accepted() {
    for challenges in [
        &["bearer realm=\"http://HOST/token\",service=\"s\",scope=\"repository:app:pull\""][..],
        &["Bearer  realm = \"http://HOST/token\" , service=s, scope=\"repository:app:pull\""],
        &["Negotiate", "Bearer realm=\"http://HOST/token\",scope=\"repository:app:pull\""],
        &["Basic realm=\"a, b\", Bearer realm=\"http://HOST/token\",scope=\"repository:app:pull\""],
        &["Bearer realm=", "Bearer realm=\"http://HOST/token\",scope=\"repository:app:pull\""],
        &["Bearer scope=\"repository:app:pull\",realm=\"http:\\//HOST/token\",,"],
    ] {
        let registry = registry();
        challenged_by(&registry, challenges);
        let run = fetch_manifest(&registry).run();
        assert_eq!(run.code(), Some(0), "{challenges:?}: {run}");
    }
}

#[test]
fn unsupported_challenges_exit_with_4() {
    for (challenges, words) in
        [(&["Negotiate"][..], "negotiate"), (&["Basic realm=\"registry\""], ""), (&[], "")]
    {
        let registry = registry();
        challenged_by(&registry, challenges);
        let run = fetch_manifest(&registry).run();
        assert_eq!(run.code(), Some(4), "{challenges:?}: {run}");
        run.fails(4, words).stdout("");
        assert!(registry.server.requests().len() <= 2);
    }
}

#[test]
fn realms_with_a_private_address_a_user_or_another_scheme_are_refused() {
    for challenges in [
        &["Bearer realm=\"http://169.254.169.254/token\""][..],
        &["Bearer realm=\"http://10.0.0.1/token\""],
        &["Bearer realm=\"file:///etc/passwd\""],
        &["Bearer realm=\"http://me:secret@HOST/token\""],
        &["Bearer realm=\"\""],
    ] {
        let registry = registry();
        challenged_by(&registry, challenges);
        let run = fetch_manifest(&registry).run();
        assert!(matches!(run.code(), Some(4 | 6)), "{challenges:?}: {run}");
        run.stdout("").does_not_say("secret");
        assert_eq!(registry.server.requests().len(), 1, "{challenges:?}");
    }
}

#[test]
fn a_registry_that_refuses_every_token_ends_the_run() {
    let registry = registry();
    registry.fault(|request, right| {
        if !is_token(request) {
            return right;
        }
        Reply::json(200, &json!({"token": format!("another-{}", request.earlier)}))
    });
    let run = fetch_manifest(&registry).run();
    run.fails(4, "").stdout("");
    assert!(registry.server.requests().len() <= 6, "{:?}", registry.server.asked());
}

#[test]
fn a_token_is_never_shown_even_if_the_registry_echoes_it() {
    let registry = registry();
    registry.fault(|request, right| match request.header("authorization") {
        Some(header) => Reply::error(403, "DENIED", &format!("you sent {header}")),
        None => right,
    });
    fetch_manifest(&registry).run().fails(4, "DENIED").does_not_say(TOKEN);
}

mod with_peers {
    use super::*;

    #[test]
    fn an_http_realm_from_a_registry_with_tls_is_refused() {
        let authority = Authority::new();
        let realm = Server::start(|_| Reply::json(200, &json!({"token": "x"})));
        let registry = FakeRegistry::start_tls(authority.server().server_config());
        let challenge = format!("Bearer realm=\"{}/token\"", realm.url());
        registry.fault(move |_, _| Reply::new(401).header("WWW-Authenticate", &challenge));
        let run = tool("fetch-manifest")
            .args([&format!("{}:1", registry.repo("app")), "--ca-file"])
            .arg(authority.certificate())
            .run();
        run.fails(6, "https").stdout("");
        assert_eq!(realm.asked(), Vec::<String>::new());
    }
}
