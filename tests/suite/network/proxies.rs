// SPDX-License-Identifier: Apache-2.0
//! TLS through a proxy: the bytes that reach the proxy, the use of a proxy, and the side that an
//! error names.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::certs::Authority;
use tests::fake::{Reply, Server};
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, noise, sha256};
use tests::logins::{PASSWORD, USER, base64, basic, has_login};
use tests::ports::Closed;
use tests::proxy::{Proxy, Verdict};
use tests::scratch::Scratch;
use tests::tools::{Command, tool};

/// A host that no resolver knows.
const HOST: &str = "registry.example:443";

/// A registry with TLS and a certificate for that host name, and its authority.
fn registry() -> (FakeRegistry, Authority) {
    let authority = Authority::new();
    let identity = authority.issue("DNS:registry.example", "20200101000000Z", "20991231000000Z");
    let registry = FakeRegistry::with_image_and_tls(identity.server_config());
    (registry, authority)
}

fn fetch(authority: &Authority) -> Command {
    let command = tool("fetch-manifest").args(["--max-wait", "0", "--ca-file"]);
    command.arg(authority.certificate()).arg("registry.example/app:1")
}

/// A registry, and a proxy that can reach it.
struct Setup {
    registry: FakeRegistry,
    authority: Authority,
    proxy: Proxy,
}

impl Setup {
    /// A proxy with this script.
    fn with_script(script: impl Fn(&str) -> Verdict + Send + Sync + 'static) -> Setup {
        let (registry, authority) = registry();
        let proxy = Proxy::with_script(&[(HOST, &registry.host())], script);
        Setup { registry, authority, proxy }
    }

    /// A fetch of the registry's image through the proxy.
    fn fetch(&self) -> Command {
        fetch(&self.authority).env("https_proxy", self.proxy.url())
    }
}

#[test]
fn an_insecure_registry_is_reached_through_the_proxy() {
    let setup = Setup::with_script(|_| Verdict::Pass);
    let scratch = Scratch::new();
    let conf = "[[registry]]\nlocation = \"registry.example\"\ninsecure = true\n";
    let run = tool("fetch-manifest")
        .args(["--max-wait", "0", "registry.example/app:1"])
        .env("CONTAINERS_REGISTRIES_CONF", scratch.write("registries.conf", conf))
        .env("https_proxy", setup.proxy.url())
        .run();
    run.ok().stdout(&Image::small().manifest.bytes);
}

#[test]
fn a_proxy_sees_only_the_host_name() {
    let (registry, authority) = registry();
    registry.fault(|request, right| {
        if has_login(request) {
            return right;
        }
        Reply::error(401, "UNAUTHORIZED", "who is there")
            .header("WWW-Authenticate", "Basic realm=\"a test\"")
    });
    let proxy = Proxy::start(&[(HOST, &registry.host())]);
    let run = fetch(&authority)
        .args(["-u", USER])
        .env("REGISTRY_PASSWORD", PASSWORD)
        .env("https_proxy", proxy.url())
        .run();
    run.ok().stdout(&Image::small().manifest.bytes);
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(
        heads[0]
            .starts_with("CONNECT registry.example:443 HTTP/1.1\r\nHost: registry.example:443\r\n")
    );
    assert!(!heads[0].to_ascii_lowercase().contains("authorization"), "{}", heads[0]);
    for secret in [&basic(USER, PASSWORD), PASSWORD, "manifests"] {
        assert!(!proxy.has_received(secret), "{secret}");
    }
}

#[test]
fn many_requests_share_few_tunnels() {
    let (registry, authority) = registry();
    let image =
        Image::of_archives(&[1, 2, 3, 4].map(|seed| noise(300_000, seed)), "linux", "amd64");
    registry.add_image("app", "2", &image);
    let proxy = Proxy::start(&[(HOST, &registry.host())]);
    let scratch = Scratch::new();
    let run = tool("fetch-blob")
        .args(["-j", "1", "--into", "oci:l", "registry.example/app", "--ca-file"])
        .arg(authority.certificate())
        .env("https_proxy", proxy.url())
        .stdin(image.lines())
        .dir(scratch.path())
        .run();
    run.ok().stdout(image.lines());
    assert_eq!(proxy.asked(), ["CONNECT registry.example:443"]);
}

#[test]
fn a_proxys_password_goes_only_to_the_proxy() {
    let (registry, authority) = registry();
    let proxy = Proxy::start(&[(HOST, &registry.host())]);
    let value = format!("http://prox%40y:pass%20word@{}", proxy.host());
    fetch(&authority).env("https_proxy", value).run().ok();
    let login = base64("prox@y:pass word");
    assert!(proxy.heads()[0].contains(&format!("\r\nProxy-Authorization: Basic {login}\r\n")));
    for request in registry.server.requests() {
        for name in ["proxy-authorization", "authorization"] {
            assert_eq!(request.header(name), None);
        }
    }
}

#[test]
fn loopback_hosts_are_reached_without_a_proxy() {
    let authority = Authority::new();
    let registry = FakeRegistry::with_image_and_tls(authority.server().server_config());
    let proxy = Proxy::start(&[]);
    for host in ["127.0.0.1", "localhost"] {
        let run = tool("fetch-manifest")
            .arg("--ca-file")
            .arg(authority.certificate())
            .arg(format!("{host}:{}/app:1", registry.server.port()))
            .env("all_proxy", proxy.url())
            .run();
        run.ok();
    }
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn a_host_in_no_proxy_is_reached_without_the_proxy() {
    let setup = Setup::with_script(|_| Verdict::Pass);
    // Without the proxy the host name cannot be resolved.
    let run = setup.fetch().env("NO_PROXY", "a.example, .registry.example").run();
    run.fails(5, "registry.example: ").says("resolve").does_not_say("proxy");
    assert_eq!((setup.proxy.connections(), setup.registry.server.connections()), (0, 0));
}

#[test]
fn a_redirect_to_another_host_uses_the_proxy_for_that_host() {
    let (registry, authority) = registry();
    let (content, digest) = (noise(1000, 1), sha256(&noise(1000, 1)));
    let identity = authority.issue("DNS:cdn.example", "20200101000000Z", "20991231000000Z");
    let storage = Server::start_tls(identity.server_config(), move |_| Reply::ok(&content));
    registry.fault(|request, right| {
        if !request.is_blob() {
            return right;
        }
        Reply::redirect(307, "https://cdn.example/x?signature=y")
    });
    let proxy = Proxy::start(&[(HOST, &registry.host()), ("cdn.example:443", &storage.host())]);
    let fetch = || {
        tool("fetch-blob")
            .args(["--max-wait", "0", "registry.example/app", &digest, "--ca-file"])
            .arg(authority.certificate())
            .env("https_proxy", proxy.url())
    };
    fetch().run().ok().stdout(noise(1000, 1));
    assert_eq!(proxy.asked(), ["CONNECT registry.example:443", "CONNECT cdn.example:443"]);
    let run = fetch().env("no_proxy", "cdn.example").run();
    run.fails(5, "cdn.example: ").says("resolve").does_not_say("proxy");
    assert_eq!(proxy.asked().len(), 3);
}

#[test]
fn a_proxy_that_requires_a_password_exits_with_4_at_once() {
    let setup = Setup::with_script(|_| {
        Verdict::page("407 Proxy Authentication Required", "Proxy-Authenticate: Basic\r\n")
    });
    let run = setup.fetch().run();
    run.fails(4, &format!("proxy {}: it requires a name and a password: 407", setup.proxy.host()));
    run.says("hint: $https_proxy can contain a name and password").stdout("");
    assert_eq!(setup.proxy.connections(), 1);
    assert_eq!(setup.registry.server.connections(), 0);
}

#[test]
fn a_password_refused_by_the_proxy_exits_with_4_and_is_not_shown() {
    let setup = Setup::with_script(|_| Verdict::page("407 No", ""));
    let value = format!("http://me:hunter22@{}", setup.proxy.host());
    let run = setup.fetch().env("https_proxy", value).run();
    run.fails(4, "it refused the name and password: 407")
        .says("the name and password are set in $https_proxy");
    run.does_not_say("hunter22").does_not_say(&base64("me:hunter22"));
    assert_eq!(setup.proxy.connections(), 1);
}

#[test]
fn an_unsupported_proxy_challenge_exits_with_4_and_is_named() {
    let setup = Setup::with_script(|_| {
        Verdict::page("407 No", "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n")
    });
    let words =
        format!("proxy {}: it does not accept a name and password, only", setup.proxy.host());
    setup.fetch().run().fails(4, &words).says("Negotiate, NTLM: 407").says("$https_proxy");
}

#[test]
fn a_proxy_that_forbids_the_tunnel_exits_with_4_at_once() {
    let setup = Setup::with_script(|_| Verdict::page("403 Forbidden", ""));
    let run = setup.fetch().run();
    let words =
        format!("proxy {}: CONNECT to registry.example failed: 403 Forbidden", setup.proxy.host());
    run.fails(4, &words)
        .says("the proxy is set in $https_proxy; NO_PROXY=registry.example bypasses it");
    assert_eq!(setup.proxy.connections(), 1);
}

#[test]
fn a_proxy_that_cannot_reach_the_registry_exits_with_5_after_retries() {
    for status in ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"] {
        let setup = Setup::with_script(move |_| Verdict::page(status, ""));
        let run = setup.fetch().args(["--retry-times", "3"]).run();
        run.fails(
            5,
            &format!("proxy {}: CONNECT to registry.example failed: {status}", setup.proxy.host()),
        );
        assert_eq!(setup.proxy.connections(), 3);
    }
}

#[test]
fn an_unreachable_proxy_exits_with_5_and_is_named() {
    let (_registry, authority) = registry();
    let closed = Closed::new();
    let run = fetch(&authority).env("HTTPS_PROXY", closed.host()).run();
    run.fails(5, &format!("proxy {}: connection refused", closed.host()))
        .says("hint: the proxy is set in $HTTPS_PROXY");
}

#[test]
fn an_unknown_proxy_host_exits_with_5_and_is_named() {
    let (_registry, authority) = registry();
    let run = fetch(&authority).env("all_proxy", "proxy.invalid:3128").run();
    run.fails(5, "proxy proxy.invalid:3128: cannot resolve")
        .says("hint: the proxy is set in $all_proxy");
}

#[test]
fn a_proxy_that_does_not_use_http_exits_with_6_and_is_named() {
    for junk in
        ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 OK\r\n\r\n", "\0\0\0", "HTTP/1.1 2000 OK\r\n\r\n"]
    {
        let setup = Setup::with_script(|_| Verdict::Answer(junk.into()));
        let words = format!("proxy {}: the response is not HTTP", setup.proxy.host());
        setup.fetch().run().fails(6, &words).says("the proxy is set in $https_proxy");
        assert_eq!(setup.proxy.connections(), 1);
    }
}

#[test]
fn a_proxys_response_header_is_limited() {
    for (size, fails) in [(64 << 10, false), ((64 << 10) + 1, true), (200_000, true)] {
        let setup = Setup::with_script(move |_| {
            let header = "x".repeat(size - "HTTP/1.1 200 OK\r\nX: \r\n\r\n".len());
            Verdict::Answer(format!("HTTP/1.1 200 OK\r\nX: {header}\r\n\r\n").into())
        });
        let run = setup.fetch().args(["--retry-times", "1"]).run();
        let host = setup.proxy.host();
        if fails {
            run.fails(6, &format!("proxy {host}: the response's header is larger than"));
        } else {
            // The tunnel is open, but it leads to no server.
            run.fails(5, &format!("registry.example through the proxy {host}: "));
        }
    }
}

#[test]
fn a_proxy_that_closes_or_does_not_respond_exits_with_5_and_is_named() {
    let setup = Setup::with_script(|_| Verdict::Answer(Vec::new()));
    let run = setup.fetch().args(["--retry-times", "2"]).run();
    run.fails(
        5,
        &format!("proxy {}: the connection ended before the response", setup.proxy.host()),
    );
    assert_eq!(setup.proxy.connections(), 2);

    let setup = Setup::with_script(|_| Verdict::Hang);
    let run = setup.fetch().args(["--retry-times", "1", "--connect-timeout", "0.3"]).run();
    run.fails(5, &format!("proxy {}: timed out connecting", setup.proxy.host()));
}

#[test]
fn interim_responses_and_every_2xx_of_a_proxy_are_accepted() {
    let setup = Setup::with_script(|_| {
        Verdict::Answer(
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.0 403 No\r\n\r\n".to_vec(),
        )
    });
    setup.fetch().run().fails(
        4,
        &format!("proxy {}: CONNECT to registry.example failed: 403", setup.proxy.host()),
    );
    let setup =
        Setup::with_script(|_| Verdict::Answer(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()));
    let run = setup.fetch().args(["--retry-times", "1"]).run();
    run.fails(5, &format!("registry.example through the proxy {}: ", setup.proxy.host()));
}

#[test]
fn a_registrys_certificate_is_checked_behind_a_proxy_too() {
    let (registry, _) = registry();
    let proxy = Proxy::start(&[(HOST, &registry.host())]);
    let run = fetch(&Authority::new()).env("https_proxy", proxy.url()).run();
    run.fails(6, "certificate not trusted: ").says("registry.example through the proxy");
    assert_eq!(registry.server.connections(), 0);
}

#[test]
fn a_malformed_proxy_exits_with_2_names_its_variable_and_shows_no_password() {
    let (registry, authority) = registry();
    for (value, words) in [
        ("http://me:hunter22@p:99999", "invalid proxy URL: expected http://HOST:PORT"),
        ("ftp://me:hunter22@p", "invalid proxy URL: expected http://HOST:PORT"),
        (
            "socks4://me:hunter22@p",
            "unsupported proxy scheme socks4: expected http, https or socks5",
        ),
        ("http://me:hunter22%@p", "the name or password is not percent-encoded"),
    ] {
        let run = fetch(&authority).env("HTTPS_PROXY", value).run();
        run.fails(2, &format!("$HTTPS_PROXY: {words}")).does_not_say("hunter22").stdout("");
    }
    let run = fetch(&authority).env("HTTPS_PROXY", "ftp://p").env("no_proxy", "*").run();
    run.fails(5, "resolve");
    assert_eq!(registry.server.connections(), 0);
}

#[test]
fn a_socks_proxy_tunnels_http_and_https_and_resolves_names() {
    let (registry, authority) = registry();
    let plain = FakeRegistry::with_image();
    let proxy = Proxy::start(&[(HOST, &registry.host()), ("plain.example:5000", &plain.host())]);
    for scheme in ["socks5", "socks5h"] {
        let value = format!("{scheme}://{}", proxy.host());
        fetch(&authority).env("https_proxy", value).run().ok();
    }
    let value = format!("socks5://me:open%20sesame@{}", proxy.host());
    let run = tool("fetch-manifest")
        .args(["--plain-http", "plain.example:5000/app:1"])
        .env("ALL_PROXY", value)
        .run();
    run.ok();
    assert_eq!(
        proxy.asked(),
        [
            "SOCKS registry.example:443",
            "SOCKS registry.example:443",
            "SOCKS plain.example:5000 me:open sesame"
        ]
    );
    assert!(plain.server.asked().iter().all(|line| line.starts_with("GET /v2/")));
}

#[test]
fn a_socks_proxy_that_cannot_reach_the_registry_is_named() {
    let (_registry, authority) = registry();
    let proxy = Proxy::start(&[]);
    let run = fetch(&authority)
        .args(["--retry-times", "1"])
        .env("https_proxy", format!("socks5://{}", proxy.host()))
        .run();
    run.fails(5, &format!("proxy {}: host unreachable", proxy.host())).says("$https_proxy");
}
