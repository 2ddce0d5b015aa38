// SPDX-License-Identifier: Apache-2.0
//! TLS failures: in the handshake, in the middle of a transfer, and with servers that do not use
//! TLS. None of them may lead to plain HTTP.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use tests::certs::{Authority, Identity};
use tests::fake::{End, Intake, Reply};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, noise, types};
use tests::nginx::Front;
use tests::scratch::Scratch;
use tests::servers::Process;
use tests::tools::{Command, tool};

fn fetch(host: &str, authority: &Authority) -> Command {
    let fetch = tool("fetch-manifest").args(["--max-wait", "0", "--retry-times", "2"]);
    fetch.arg(format!("{host}/app:1")).arg("--ca-file").arg(authority.certificate())
}

/// A registry with an image as `app:1`, with this certificate.
fn registry_as(identity: &Identity) -> FakeRegistry {
    FakeRegistry::with_image_and_tls(identity.server_config())
}

/// A certificate as private registries often have it: made by a single `openssl req -x509`, which
/// marks it as a CA certificate.
fn self_signed(scratch: &Scratch, names: &str, days: &str) -> Identity {
    let (certificate, key) = (scratch.join("self.pem"), scratch.join("self.key"));
    let mut openssl = tests::peers::peer("openssl");
    openssl
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=me", "-days", days]);
    openssl.args(["-addext", &format!("subjectAltName={names}")]);
    tests::peers::must(openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate));
    Identity { certificate, key }
}

#[test]
fn a_self_signed_certificate_is_trusted_if_it_is_the_ca_file() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let registry = registry_as(&self_signed(&scratch, "IP:127.0.0.1", "36500"));
    let run = fetch(&registry.host(), &authority).run();
    run.fails(6, "unknown issuer").says("--ca-file").stdout("");
    let named = tool("fetch-manifest").arg(format!("{}:1", registry.repo("app")));
    let named = named.arg("--ca-file").arg(scratch.join("self.pem"));
    named.run().ok().stdout(&Image::small().manifest.bytes);
}

#[test]
fn a_trusted_self_signed_certificate_is_refused_for_another_name() {
    let scratch = Scratch::new();
    let registry = registry_as(&self_signed(&scratch, "DNS:other.example", "36500"));
    let named = tool("fetch-manifest").arg(format!("{}:1", registry.repo("app")));
    let run = named.arg("--ca-file").arg(scratch.join("self.pem")).run();
    run.fails(6, "it is not for 127.0.0.1, but for other.example").stdout("");
    assert_eq!(registry.server.asked(), Vec::<String>::new());
}

#[test]
fn certificates_with_wrong_dates_or_names_are_reported_with_details() {
    let authority = Authority::new();
    for (names, from, to, words) in [
        (
            "IP:127.0.0.1",
            "20200101000000Z",
            "20200201000000Z",
            "it expired on Sat, 01 Feb 2020 00:00:00 GMT, and now it is ",
        ),
        (
            "IP:127.0.0.1",
            "20980101000000Z",
            "20991231000000Z",
            "it is not valid before Wed, 01 Jan 2098 00:00:00 GMT, and now it is ",
        ),
        (
            "DNS:other.example,DNS:*.another.example",
            "20200101000000Z",
            "20991231000000Z",
            "it is not for 127.0.0.1, but for other.example, *.another.example",
        ),
    ] {
        let registry = registry_as(&authority.issue(names, from, to));
        let run = fetch(&registry.host(), &authority).run();
        run.fails(6, words).stdout("");
        assert_eq!(registry.server.asked(), Vec::<String>::new());
    }
}

#[test]
fn plain_http_is_not_used_without_the_flag() {
    let (registry, authority) = (FakeRegistry::start(), Authority::new());
    registry.add_image("app", "1", &Image::small());
    let run = fetch(&registry.host(), &authority).run();
    run.fails(6, "the response is not TLS").says("--plain-http").stdout("");
    assert_eq!(registry.server.asked(), Vec::<String>::new());
    let plain = tool("fetch-manifest").arg(format!("{}:1", registry.repo("app")));
    plain.arg("--plain-http").run().ok();
}

/// A listener that passes each connection to `each`, one after the other, for the lifetime of the
/// test process.
fn listener(each: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(each));
    host
}

#[test]
fn a_connection_closed_during_the_handshake_exits_with_5() {
    let host = listener(|socket| {
        let _ = (&socket).read(&mut [0; 5]);
        let _ = socket.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut &socket, &mut std::io::sink());
    });
    let run = fetch(&host, &Authority::new()).run();
    run.fails(5, "the connection ended in the TLS handshake").stdout("");
}

/// The listener accepts connections, but sends nothing.
#[test]
fn a_stalled_handshake_ends_with_the_connect_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = silent.local_addr().unwrap().to_string();
    let run = fetch(&host, &Authority::new()).args(["--connect-timeout", "0.2"]).run();
    run.fails(5, "timed out connecting").says("gave up after 2 attempts").stdout("");
}

#[test]
fn tls_1_0_and_1_1_are_refused() {
    let authority = Authority::new();
    let server = authority.server();
    let [certificate, key] = [&server.certificate, &server.key].map(|file| file.to_str().unwrap());
    for version in ["-tls1", "-tls1_1"] {
        let identity = ["-cert", certificate, "-key", key, "-cipher", "ALL:@SECLEVEL=0"];
        let old = Process::openssl(&[&identity[..], &[version]].concat());
        let run = fetch(&old.host(), &authority).run();
        run.fails(6, "no common TLS version").stdout("");
    }
}

#[test]
fn no_common_cipher_suite_exits_with_6() {
    let authority = Authority::new();
    let server = authority.server();
    let [certificate, key] = [&server.certificate, &server.key].map(|file| file.to_str().unwrap());
    let identity = ["-cert", certificate, "-key", key];
    let old = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"];
    let old = Process::openssl(&[&identity[..], &old].concat());
    fetch(&old.host(), &authority)
        .run()
        .fails(6, "no cipher suite, group or signature scheme in common")
        .stdout("");
}

/// A record that cannot be decrypted counts as a broken connection: the download resumes.
#[test]
fn a_download_resumes_after_a_tls_failure() {
    let authority = Authority::new();
    let registry = registry_as(&authority.server());
    let blob = registry.add_noise("app", 300_000, 1);
    for end in [End::Garbled, End::Reset, End::Fin] {
        registry.server.forget();
        registry.fault(move |request, right| match request.earlier {
            0 => right.cut(100_000, end),
            _ => right,
        });
        let run = tool("fetch-blob")
            .args(["--max-wait", "0", &registry.repo("app"), "--ca-file"])
            .arg(authority.certificate())
            .stdin(blob.line())
            .run();
        run.status(0).stdout(&blob.bytes);
        let requests = registry.server.requests();
        assert_eq!(requests.len(), 2, "{end:?}");
        let range = requests[1].range().map(|range| range.start);
        // A reset may lose bytes that the client has not read yet.
        assert!(range.is_none_or(|start| start <= 100_000), "{end:?}: {range:?}");
        assert!(end == End::Reset || range.is_some(), "{end:?}");
    }
}

#[test]
fn an_upload_restarts_after_a_tls_failure() {
    let authority = Authority::new();
    let registry = registry_as(&authority.server());
    let scratch = Scratch::new();
    let blob = Blob::new(types::TAR, noise(300_000, 1));
    scratch.write("layer", &blob.bytes);
    registry.intake(move |request| {
        let is_first = request.is_close() && request.earlier == 0;
        if is_first { Intake::cut(100_000, End::Garbled) } else { Intake::whole() }
    });
    let run = tool("push-blob")
        .args(["--max-wait", "0", &registry.repo("app"), "layer", "--ca-file"])
        .arg(authority.certificate())
        .args(["--media-type", types::TAR])
        .dir(scratch.path());
    run.run().status(0).stdout(blob.line());
    assert!(registry.blob("app", &blob.digest).is_some());
}

/// A proxy ends TLS in front of a registry that uses plain HTTP.
#[test]
fn push_and_pull_work_with_a_registry_behind_a_tls_front() {
    let authority = Authority::new();
    let registry = tests::registry::Registry::start();
    let front = Front::of(&registry.host()).tls(&authority.server()).start();
    let scratch = Scratch::new();
    let blob = Blob::new(types::TAR, noise(300_000, 1));
    scratch.write("layer", &blob.bytes);
    let ca = authority.certificate();
    let push = tool("push-blob").args([&front.repo("app"), "layer", "--media-type", types::TAR]);
    push.arg("--ca-file").arg(&ca).dir(scratch.path()).run().ok().stdout(blob.line());
    let fetch = tool("fetch-blob").args([&front.repo("app"), &blob.digest]);
    fetch.arg("--ca-file").arg(&ca).run().ok().stdout(&blob.bytes);
}

/// No URL that a server sends may lead from TLS to plain HTTP.
#[test]
fn a_registry_with_tls_cannot_lead_to_plain_http() {
    let authority = Authority::new();
    let registry = registry_as(&authority.server());
    let plain = tests::fake::Server::start(|_| Reply::ok("{\"token\": \"t\", \"tags\": [\"x\"]}"));
    let (url, ca) = (plain.url(), authority.certificate());
    let run = |name: &str, args: &[&str]| {
        let run = tool(name).args(["--max-wait", "0"]).args(args).arg("--ca-file").arg(&ca).run();
        run.fails(6, "https");
        assert_eq!(plain.asked(), Vec::<String>::new(), "{run}");
    };
    let app = registry.repo("app");
    let to = url.clone();
    registry.fault(move |_, _| Reply::redirect(307, &format!("{to}/v2/app/manifests/1")));
    run("fetch-manifest", &[&format!("{app}:1")]);
    let to = url.clone();
    registry.fault(move |_, right| {
        right.header("Link", format!("<{to}/v2/app/tags/list>; rel=\"next\""))
    });
    run("list-tags", &[&app]);
    let to = url;
    registry.fault(move |_, _| {
        Reply::error(401, "UNAUTHORIZED", "who?")
            .header("WWW-Authenticate", format!("Bearer realm=\"{to}/token\",service=\"a\""))
    });
    run("fetch-manifest", &[&format!("{app}:1")]);
}

/// A server that uses TLS on its first connections, which it forwards to the registry. On all later
/// connections it responds in plain HTTP. Returns its host, and a receiver of the first byte of
/// each later connection.
fn tls_then_plain(registry: &FakeRegistry, tls_connections: usize) -> (String, Receiver<u8>) {
    let (sender, receiver) = channel();
    let behind = registry.host();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let host = listener(move |mut socket| {
        if count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < tls_connections {
            let other = TcpStream::connect(&behind).unwrap();
            for (mut from, mut to) in [(&socket, &other), (&other, &socket)]
                .map(|(a, b)| (a.try_clone().unwrap(), b.try_clone().unwrap()))
            {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
            return;
        }
        let mut first = [0; 1024];
        if socket.read(&mut first).is_ok_and(|n| n > 0) {
            let _ = sender.send(first[0]);
            let _ = socket.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
        let _ = socket.shutdown(Shutdown::Write);
    });
    (host, receiver)
}

/// The first byte of a TLS connection: a handshake record.
const TLS: u8 = 0x16;

/// The probe for TLS and the connection to the target use TLS; the connection to the source does
/// not.
#[test]
fn a_host_that_has_used_tls_is_never_used_with_plain_http() {
    let authority = Authority::new();
    let registry = registry_as(&authority.server());
    let home = Scratch::new();
    let blob = Blob::new(types::TAR, noise(1000, 1));
    let (host, later) = tls_then_plain(&registry, 2);
    let directory = home.join(".config/containers/certs.d").join(&host);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::copy(authority.certificate(), directory.join("ca.crt")).unwrap();
    let run = tool("push-blob")
        .args(["--max-wait", "0", &format!("{host}/app"), "--from", &format!("{host}/base")])
        .env("HOME", home.path())
        .stdin(blob.line())
        .run();
    run.fails(6, "the response is not TLS").stdout("");
    let firsts: Vec<u8> = later.try_iter().collect();
    assert!(!firsts.is_empty() && firsts.iter().all(|first| *first == TLS), "{firsts:x?}");
}
