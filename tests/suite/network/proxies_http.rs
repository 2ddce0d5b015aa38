// SPDX-License-Identifier: Apache-2.0
//! Plain HTTP through a proxy, which reads everything: no secret may pass through it.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use tests::commands::plain;
use tests::fake::{End, Intake, Reply, Server};
use tests::fake_registry::{FakeRegistry, TOKEN};
use tests::images::{Blob, Image, noise, sha256, types};
use tests::logins::{
    PASSWORD, USER, auths, base64, keep, login, registry_with_login, registry_with_tokens,
};
use tests::proxy::{Proxy, Verdict};
use tests::scratch::Scratch;
use tests::tools::{Command, tool};

/// A host that no resolver knows.
const HOST: &str = "registry.example:5000";

fn registry() -> FakeRegistry {
    FakeRegistry::with_image()
}

fn proxy_to(registry: &FakeRegistry) -> Proxy {
    Proxy::start(&[(HOST, &registry.host())])
}

fn command(name: &str, proxy: &Proxy) -> Command {
    let command = plain(name);
    command.env("http_proxy", proxy.url())
}

fn fetch(proxy: &Proxy) -> Command {
    command("fetch-manifest", proxy).arg(format!("{HOST}/app:1"))
}

/// Checks that the run was refused because the proxy would have read a secret, and that no secret
/// reached the proxy.
#[track_caller]
fn is_refused_without_leak(run: &tests::tools::Run, proxy: &Proxy, secrets: &[&str]) {
    let words =
        format!("credentials not sent: the proxy {} could read them over plain http", proxy.host());
    run.fails(4, &words).says("hint: NO_PROXY=").stdout("");
    for secret in secrets {
        assert!(!proxy.has_received(secret), "{secret}");
    }
    assert!(proxy.heads().iter().all(|head| !head.to_ascii_lowercase().contains("authorization")));
}

#[test]
fn requests_use_the_absolute_form() {
    let registry = registry();
    let proxy = proxy_to(&registry);
    fetch(&proxy).run().ok().stdout(&Image::small().manifest.bytes);
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1);
    let line = "GET http://registry.example:5000/v2/app/manifests/1 HTTP/1.1\r\n";
    assert!(heads[0].starts_with(line), "{}", heads[0]);
    assert!(heads[0].to_ascii_lowercase().contains("\r\nhost: registry.example:5000\r\n"));
    assert_eq!(registry.server.asked(), ["GET /v2/app/manifests/1"]);
}

#[test]
fn the_default_port_is_left_out() {
    let registry = registry();
    let proxy = Proxy::start(&[("registry.example:80", &registry.host())]);
    for reference in ["registry.example/app:1", "registry.example:80/app:1"] {
        command("fetch-manifest", &proxy).arg(reference).run().ok();
    }
    for head in proxy.heads() {
        assert!(head.starts_with("GET http://registry.example/v2/app/manifests/1 "), "{head}");
    }
}

#[test]
fn one_connection_is_reused_for_many_requests() {
    let registry = registry();
    let image =
        Image::of_archives(&[1, 2, 3, 4].map(|seed| noise(300_000, seed)), "linux", "amd64");
    registry.add_image("app", "2", &image);
    let proxy = proxy_to(&registry);
    let scratch = Scratch::new();
    let run = command("fetch-blob", &proxy)
        .args(["-j", "1", &format!("{HOST}/app"), "--into", "oci:l"])
        .stdin(image.lines())
        .dir(scratch.path())
        .run();
    run.ok().stdout(image.lines());
    assert_eq!(proxy.connections(), 1);
    let asked = proxy.asked();
    assert_eq!(asked.len(), 5, "{asked:?}");
    assert!(
        asked.iter().all(|line| line.starts_with("GET http://registry.example:5000/v2/app/blobs/"))
    );
}

#[test]
fn uploads_are_forwarded_with_their_bodies() {
    let registry = registry();
    let proxy = proxy_to(&registry);
    // A body whose bytes look like requests must pass unchanged.
    let mut bytes = b"GET / HTTP/1.1\r\n\r\n".repeat(20_000);
    bytes.extend(noise(700_000, 1));
    let digest = sha256(&bytes);
    for chunk in [&[][..], &["--chunk", "100k"]] {
        registry.remove_blob("app", &digest);
        let run = command("push-blob", &proxy)
            .args(chunk)
            .args(["--media-type", types::TAR, &format!("{HOST}/app")])
            .stdin(bytes.clone())
            .run();
        run.ok();
        assert!(registry.blob("app", &digest).is_some_and(|blob| *blob == *bytes));
    }
    let image = Image::small();
    let run = command("put-manifest", &proxy)
        .arg(format!("{HOST}/app:2"))
        .stdin(image.manifest.bytes.clone())
        .run();
    run.status(0);
    assert!(registry.manifest("app", "2").is_some());
    assert!(proxy.asked().iter().all(|line| line.contains(" http://registry.example:5000/v2/")));
}

#[test]
fn an_early_refusal_of_an_upload_is_reported() {
    let registry = registry();
    registry.intake(|request| {
        if !request.is_close() && !request.is_patch() {
            return Intake::whole();
        }
        Intake::early(1000, Reply::error(403, "DENIED", "too much of it"), End::Fin)
    });
    let proxy = proxy_to(&registry);
    let run = command("push-blob", &proxy)
        .args(["--retry-times", "2", "--media-type", types::TAR, &format!("{HOST}/app")])
        .stdin(noise(8_000_000, 1))
        .run();
    run.fails(4, "too much of it");
}

#[test]
fn a_closed_connection_is_opened_again() {
    let registry = registry();
    registry.fault(|_, right| right.close());
    let image = Image::of_archives(&[1, 2].map(|seed| noise(30_000, seed)), "linux", "amd64");
    registry.add_image("app", "2", &image);
    let proxy = proxy_to(&registry);
    let scratch = Scratch::new();
    let run = command("fetch-blob", &proxy)
        .args(["-j", "1", &format!("{HOST}/app"), "--into", "oci:l"])
        .stdin(image.lines())
        .dir(scratch.path())
        .run();
    run.ok().stdout(image.lines());
    assert!(proxy.asked().iter().all(|line| line.starts_with("GET http://")));
}

#[test]
fn a_proxys_password_is_sent_once_with_every_request() {
    let registry = registry();
    let image = Image::of_archives(&[noise(30_000, 1)], "linux", "amd64");
    registry.add_image("app", "2", &image);
    let proxy = proxy_to(&registry);
    let scratch = Scratch::new();
    let run = command("fetch-blob", &proxy)
        .args(["-j", "1", &format!("{HOST}/app"), "--into", "oci:l"])
        .env("http_proxy", format!("http://me:pass%3Aword@{}", proxy.host()))
        .stdin(image.lines())
        .dir(scratch.path())
        .run();
    run.ok();
    let line = format!("\r\nProxy-Authorization: Basic {}\r\n", base64("me:pass:word"));
    assert_eq!(proxy.heads().len(), 2);
    assert!(proxy.heads().iter().all(|head| head.matches(&line).count() == 1));
}

#[test]
fn a_trace_names_the_proxy_but_not_its_password() {
    let registry = registry();
    let proxy = proxy_to(&registry);
    let value = format!("http://me:hunter22@{}", proxy.host());
    let run = fetch(&proxy).arg("--trace").env("http_proxy", value).run();
    run.status(0).says(&format!("the proxy {} from $http_proxy", proxy.host()));
    run.does_not_say("hunter22").does_not_say(&base64("me:hunter22"));
}

#[test]
fn anonymous_tokens_may_pass_through_a_proxy() {
    let registry = FakeRegistry::with_tokens();
    registry.add_image("app", "1", &Image::small());
    let proxy = proxy_to(&registry);
    fetch(&proxy).run().ok();
    assert_eq!(proxy.heads().len(), 3);
    assert!(proxy.has_received(TOKEN));
}

#[test]
fn a_credential_is_not_sent_through_the_proxy() {
    let (registry, scratch) = (registry_with_login(), Scratch::new());
    let proxy = proxy_to(&registry);
    keep(&scratch, "auth.json", &auths(HOST, &login(USER, PASSWORD)));
    let secret = base64(format!("{USER}:{PASSWORD}"));
    let given = fetch(&proxy).args(["-u", USER]).env("REGISTRY_PASSWORD", PASSWORD).run();
    is_refused_without_leak(&given, &proxy, &[PASSWORD, &secret]);
    let stored = fetch(&proxy).arg("--authfile").arg(scratch.join("auth.json")).run();
    is_refused_without_leak(&stored, &proxy, &[PASSWORD, &secret]);
}

#[test]
fn a_credential_for_the_token_server_is_not_sent_through_the_proxy() {
    let (registry, scratch) = (registry_with_tokens(), Scratch::new());
    let proxy = proxy_to(&registry);
    let secret = base64(format!("{USER}:{PASSWORD}"));
    let run = fetch(&proxy).args(["-u", USER]).env("REGISTRY_PASSWORD", PASSWORD).run();
    is_refused_without_leak(&run, &proxy, &[PASSWORD, &secret, "/token"]);
    // An identity token would be in the request's body.
    let entry = json!({"auth": base64("<token>:x"), "identitytoken": "an-identity-token"});
    keep(&scratch, "auth.json", &auths(HOST, &entry));
    let run = fetch(&proxy).arg("--authfile").arg(scratch.join("auth.json")).run();
    is_refused_without_leak(&run, &proxy, &["an-identity-token", "/token"]);
}

/// A proxy can also change plain HTTP: the token server in the challenge may be an attacker's.
#[test]
fn a_token_server_named_through_a_plain_http_proxy_gets_no_credential() {
    let registry = registry();
    registry.fault(|_, _| {
        Reply::error(401, "UNAUTHORIZED", "who is there")
            .header("WWW-Authenticate", "Bearer realm=\"https://auth.example/token\"")
    });
    let proxy = proxy_to(&registry);
    let run = fetch(&proxy)
        .args(["-u", USER])
        .env("REGISTRY_PASSWORD", PASSWORD)
        .env("https_proxy", proxy.url())
        .run();
    is_refused_without_leak(&run, &proxy, &[PASSWORD, "auth.example"]);
}

#[test]
fn given_tokens_and_headers_are_not_sent_through_the_proxy() {
    let registry = registry();
    let proxy = proxy_to(&registry);
    let run = fetch(&proxy).env("REGISTRY_TOKEN", "a-given-token").run();
    is_refused_without_leak(&run, &proxy, &["a-given-token"]);
    for header in ["Authorization: Bearer secret", "Cookie: secret", "X-Whatever: secret"] {
        let run = fetch(&proxy).args(["-H", header]).run();
        is_refused_without_leak(&run, &proxy, &["secret"]);
    }
    assert_eq!(proxy.connections(), 0);
    fetch(&proxy).args(["-H", "User-Agent: somebody"]).run().ok();
    assert!(proxy.has_received("somebody"));
}

#[test]
fn a_credential_in_plain_http_is_not_sent_through_a_socks_proxy() {
    let registry = registry_with_login();
    let proxy = proxy_to(&registry);
    let run = fetch(&proxy)
        .args(["-u", USER])
        .env("REGISTRY_PASSWORD", PASSWORD)
        .env("http_proxy", format!("socks5://{}", proxy.host()))
        .run();
    is_refused_without_leak(&run, &proxy, &[PASSWORD, &base64(format!("{USER}:{PASSWORD}"))]);
}

#[test]
fn a_redirect_uses_the_proxy_for_its_own_host() {
    let registry = registry();
    let bytes = noise(1000, 1);
    let digest = registry.add_blob("app", bytes.clone());
    let storage = Server::start(move |_| Reply::ok(&bytes));
    registry.fault(|request, right| {
        if request.is_blob() { Reply::redirect(307, "http://cdn.example/x") } else { right }
    });
    let direct = Proxy::start(&[("cdn.example:80", &storage.host())]);
    let proxy = Proxy::start(&[(HOST, &registry.host()), ("cdn.example:80", &storage.host())]);
    let fetch = || command("fetch-blob", &proxy).args([&format!("{HOST}/app"), &digest]);
    fetch().run().ok();
    assert_eq!(proxy.asked()[1], "GET http://cdn.example/x");
    fetch().env("NO_PROXY", ".cdn.example").run().fails(5, "cdn.example: ").says("resolve");
    assert_eq!((proxy.asked().len(), direct.connections()), (3, 0));
}

#[test]
fn a_407_or_403_of_a_proxy_exits_with_4_and_names_the_proxy() {
    let registry = registry();
    let proxy = Proxy::with_script(&[(HOST, &registry.host())], |_| {
        Verdict::page("407 Proxy Authentication Required", "Proxy-Authenticate: Basic\r\n")
    });
    let run = fetch(&proxy).run();
    run.fails(4, &format!("proxy {}: it requires a name and a password: 407", proxy.host()));
    run.says("hint: $http_proxy can contain a name and password");
    assert_eq!(proxy.connections(), 1);

    let proxy = Proxy::with_script(&[], |_| {
        Verdict::page("407 No", "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n")
    });
    let run = fetch(&proxy).run();
    run.fails(
        4,
        &format!(
            "proxy {}: it does not accept a name and password, only Negotiate, NTLM: 407",
            proxy.host()
        ),
    );

    let proxy = Proxy::with_script(&[], |_| Verdict::page("403 Forbidden", ""));
    let run = fetch(&proxy).run();
    run.fails(4, &format!("the proxy {} or the server behind it: 403 Forbidden", proxy.host()));
    run.says("hint: the proxy is set in $http_proxy");
    assert_eq!(proxy.connections(), 1);
}

#[test]
fn a_registrys_own_refusal_does_not_name_the_proxy() {
    let registry = registry();
    registry.fault(|_, _| Reply::error(403, "DENIED", "not you"));
    let proxy = proxy_to(&registry);
    fetch(&proxy).run().fails(4, "403 DENIED: not you").does_not_say("proxy");
}

#[test]
fn a_proxy_that_cannot_reach_the_registry_exits_with_5_after_retries() {
    let proxy = Proxy::start(&[]);
    let run = fetch(&proxy).args(["--retry-times", "3"]).run();
    run.fails(5, &format!("the proxy {} or the server behind it: 502", proxy.host()));
    assert_eq!(proxy.heads().len(), 3);
}

#[test]
fn a_proxy_that_closes_or_does_not_use_http_is_named() {
    let proxy = Proxy::with_script(&[], |_| Verdict::Answer(Vec::new()));
    let run = fetch(&proxy).args(["--retry-times", "2"]).run();
    let place = format!("{HOST} through the proxy {}", proxy.host());
    run.fails(5, &format!("{place}: the connection ended before the response"));
    let proxy = Proxy::with_script(&[], |_| Verdict::Answer(b"SSH-2.0\r\n\r\n".to_vec()));
    let place = format!("{HOST} through the proxy {}", proxy.host());
    fetch(&proxy).run().fails(6, &format!("{place}: invalid HTTP: "));
}

#[test]
fn the_variable_http_proxy_in_upper_case_is_ignored_under_cgi() {
    let registry = registry();
    let proxy = proxy_to(&registry);
    let fetch = tool("fetch-manifest").args(["--plain-http", &format!("{HOST}/app:1")]);
    let run = fetch.env("HTTP_PROXY", proxy.url()).env("REQUEST_METHOD", "GET").run();
    run.fails(5, "resolve");
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn a_blob_that_looks_like_http_passes_unchanged() {
    let registry = registry();
    let blob = Blob::new("", b"HTTP/1.1 200 OK\r\n\r\n".repeat(10_000));
    let digest = registry.add_blob("app", blob.bytes.clone());
    let proxy = proxy_to(&registry);
    let run = command("fetch-blob", &proxy).args([&format!("{HOST}/app"), &digest]).run();
    run.ok().stdout(&blob.bytes);
}
