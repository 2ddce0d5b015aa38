// SPDX-License-Identifier: Apache-2.0
//! Hosts that a user or an administrator allows: token servers and storage at private addresses,
//! and storage that uses plain HTTP behind an https registry.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;

use tests::commands::{fetch_blob, fetch_manifest, plain, push_blob};
use tests::fake::{Reply, Server};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image};
use tests::scratch::Scratch;

/// A server at 127.0.0.2, which for a registry at 127.0.0.1 is an address that is not public. It
/// sends the same response to all requests.
fn private(body: &[u8]) -> String {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer = [head.as_bytes(), body].concat();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            std::thread::spawn(move || {
                while matches!(socket.read(&mut [0; 8192]), Ok(1..)) {
                    if socket.write_all(&answer).is_err() {
                        break;
                    }
                }
            });
        }
    });
    host
}

fn port_of(host: &str) -> &str {
    host.rsplit_once(':').unwrap().1
}

/// A registry that keeps a blob in storage at this host.
fn registry_with_storage(host: &str) -> (FakeRegistry, Blob) {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 1000, 1);
    let url = format!("http://{host}/bucket/x?X-Amz-Signature=abc");
    registry.fault(
        move |request, right| {
            if request.is_blob() { Reply::redirect(307, &url) } else { right }
        },
    );
    (registry, blob)
}

#[test]
fn storage_at_a_private_address_is_reached_if_it_is_allowed() {
    let bytes = tests::images::noise(1000, 1);
    let host = private(&bytes);
    let (registry, blob) = registry_with_storage(&host);
    let fetch = || fetch_blob().args([&registry.repo("app"), &blob.digest]);
    let run = fetch().run();
    run.fails(6, &format!("refused to go to {host}, a loopback address")).stdout("");
    run.says(&format!("fetch-blob: hint: --allow-host {host} permits this host"));
    for allowed in [host.as_str(), "127.0.0.2"] {
        fetch().args(["--allow-host", allowed]).run().ok().stdout(&blob.bytes);
        let two = ["--allow-host", "other.example", "--allow-host", allowed];
        fetch().args(two).run().ok().stdout(&blob.bytes);
    }
    for other in ["127.0.0.2:1", "127.0.0.3", "other.example"] {
        fetch().args(["--allow-host", other]).run().fails(6, "refused to go to").stdout("");
    }
}

#[test]
fn files_allow_hosts_too() {
    let bytes = tests::images::noise(1000, 1);
    let host = private(&bytes);
    let (registry, blob) = registry_with_storage(&host);
    let home = Scratch::new();
    let fetch = || {
        let fetch = fetch_blob().args([&registry.repo("app"), &blob.digest]);
        fetch.env("HOME", home.path()).env("XDG_CONFIG_HOME", home.join("config"))
    };
    fetch().run().fails(6, "refused to go to");
    let file = home.write(
        "config/regutils/allowed-hosts",
        format!("# storage\n\n  {host}  # minio\nauth.example:443\n"),
    );
    fetch().run().ok().stdout(&blob.bytes);
    home.write("config/regutils/allowed-hosts", "a\nhttp://b\n");
    let words = format!("{}: line 2: got \"http://b\", want HOST[:PORT]", file.display());
    fetch().run().fails(6, &words).stdout("");
    assert_eq!(registry.blob_requests().len(), 2);
}

/// `--allow-host` applies to the operand's registry only. For the registry of `--from`, the file
/// `allowed-hosts` applies.
#[test]
fn the_flag_is_not_for_the_registry_of_from() {
    let bytes = tests::images::noise(1000, 1);
    let host = private(&bytes);
    let (registry, blob) = registry_with_storage(&host);
    let scratch = Scratch::new();
    let target = FakeRegistry::start();
    let push = || {
        let push = push_blob().args([&target.repo("app"), "--from", &registry.repo("app")]);
        push.arg("--from-plain-http").stdin(blob.line()).dir(scratch.path())
    };
    push().args(["--allow-host", &host]).run().fails(6, "refused to go to").stdout("");
    scratch.write(".config/regutils/allowed-hosts", format!("{host}\n"));
    push().env("HOME", scratch.path()).run().status(0).stdout(blob.line());
}

#[test]
fn a_token_server_at_a_private_address_is_reached_if_it_is_allowed() {
    let host = private(b"{\"token\": \"t\"}");
    let registry = FakeRegistry::with_image();
    let challenge = format!("Bearer realm=\"http://{host}/token\"");
    registry.fault(move |request, right| {
        if request.header("authorization") == Some("Bearer t") {
            return right;
        }
        Reply::new(401).header("WWW-Authenticate", &challenge)
    });
    let fetch = || fetch_manifest().arg(format!("{}:1", registry.repo("app")));
    let run = fetch().run();
    run.fails(6, &format!("token realm: refused to go to {host}, a loopback address")).stdout("");
    run.says(&format!("--allow-host {host} permits this host"));
    fetch().args(["--allow-host", &host]).run().ok().stdout(&Image::small().manifest.bytes);
}

#[test]
fn an_upload_to_a_private_address_is_allowed_too() {
    let registry = FakeRegistry::start();
    let location = format!("http://127.0.0.2:{}/upload", port_of(&registry.host()));
    registry.fault(move |request, right| {
        if request.is_start() { Reply::new(202).header("Location", &location) } else { right }
    });
    let scratch = Scratch::new();
    scratch.write("f", "hello");
    let push = || push_blob().args([&registry.repo("app"), "f"]).dir(scratch.path());
    let run = push().run();
    run.fails(6, "upload Location: refused to go to 127.0.0.2:").says("--allow-host 127.0.0.2:");
    // The upload goes to 127.0.0.2, where no program listens on this port.
    push().args(["--allow-host", "127.0.0.2", "--retry-times", "1"]).run().fails(5, "127.0.0.2:");
}

/// Cloud providers offer secrets at link-local addresses. The error therefore has no hint that
/// names --allow-host.
#[test]
fn there_is_no_hint_for_a_link_local_address() {
    let (registry, blob) = registry_with_storage("169.254.169.254");
    let fetch = || fetch_blob().args([&registry.repo("app"), &blob.digest]);
    fetch().run().fails(6, "a link-local address").does_not_say("--allow-host");
}

#[test]
fn an_allowed_host_must_be_a_host() {
    for wrong in ["", "http://a.example", "a.example/x", "a:0", "*", "2130706433"] {
        let run = plain("fetch-manifest").args(["--allow-host", wrong, "127.0.0.1:1/app:1"]).run();
        run.fails(2, "--allow-host").stdout("");
    }
}

mod with_peers {
    use super::*;
    use tests::certs::Authority;
    use tests::tools::tool;

    #[test]
    fn storage_with_plain_http_behind_https_is_reached_if_it_is_allowed() {
        let authority = Authority::new();
        let registry = FakeRegistry::start_tls(authority.server().server_config());
        let blob = registry.add_noise("app", 1000, 1);
        let bytes = blob.bytes.clone();
        let storage = Server::start(move |_| Reply::ok(&bytes));
        let url = format!("{}/bucket/x?X-Amz-Signature=abc", storage.url());
        registry.fault(
            move |request, right| {
                if request.is_blob() { Reply::redirect(302, &url) } else { right }
            },
        );
        let fetch = || {
            let fetch = tool("fetch-blob").args(["--max-wait", "0"]).arg("--ca-file");
            fetch.arg(authority.certificate()).args([&registry.repo("app"), &blob.digest])
        };
        let host = format!("127.0.0.1:{}", storage.port());
        let run = fetch().run();
        run.fails(6, "refused to go from https to").says(&format!("--allow-host {host}"));
        assert!(storage.requests().is_empty());
        fetch().args(["--allow-host", &host]).run().ok().stdout(&blob.bytes);
        let request = &storage.requests()[0];
        assert_eq!(request.header("authorization"), None);
        // The trace has a separate command for the storage, because curl does not follow redirects
        // here.
        let run = fetch().args(["--allow-host", &host, "--trace"]).run();
        run.status(0).does_not_say("X-Amz-Signature");
        let scratch = Scratch::new();
        let script = tests::trace::script(&run, &scratch).run();
        script.status(0);
        assert!(scratch.list().iter().any(|name| name.starts_with("blob-")), "{run}");
    }

    /// A token server receives credentials: its URL must stay https.
    #[test]
    fn a_token_server_with_plain_http_behind_https_is_never_used() {
        let authority = Authority::new();
        let registry = FakeRegistry::with_image_and_tls(authority.server().server_config());
        let tokens = Server::start(|_| Reply::ok("{\"token\": \"t\"}"));
        let challenge = format!("Bearer realm=\"{}/token\"", tokens.url());
        registry.fault(move |_, _| Reply::new(401).header("WWW-Authenticate", &challenge));
        let fetch = tool("fetch-manifest").args(["--max-wait", "0"]).arg("--ca-file");
        let fetch = fetch.arg(authority.certificate()).arg(format!("{}:1", registry.repo("app")));
        let run = fetch.args(["--allow-host", "127.0.0.1"]).run();
        run.fails(6, "refused to go from https to").does_not_say("hint").stdout("");
        assert!(tokens.requests().is_empty());
    }
}
