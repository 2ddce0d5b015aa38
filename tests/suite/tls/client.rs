// SPDX-License-Identifier: Apache-2.0
//! Client certificates: they are sent only to the operand's own host, invalid pairs are refused
//! before anything is sent, and a missing required certificate is reported.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tests::certs::{Authority, Identity};
use tests::fake::{Reply, Server};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, noise, types};
use tests::nginx::Front;
use tests::peers::{must, peer};
use tests::registry::Registry;
use tests::tools::{Command, tool};

/// Authorities for servers and clients, and a registry that requests a client certificate.
struct Setup {
    servers: Authority,
    clients: Authority,
    client: Identity,
    registry: FakeRegistry,
}

impl Setup {
    /// The registry also accepts clients without a certificate, and records the certificates.
    fn asking() -> Setup {
        let (servers, clients) = (Authority::new(), Authority::called("clients"));
        let config = servers.server().server_config_asking(&clients);
        Setup::with(servers, clients, FakeRegistry::start_tls(config))
    }

    fn with(servers: Authority, clients: Authority, registry: FakeRegistry) -> Setup {
        registry.add_image("app", "1", &Image::small());
        let client = clients.client();
        Setup { servers, clients, client, registry }
    }

    fn fetch(&self, host: &str) -> Command {
        let trusted = tool("fetch-manifest").args(["--max-wait", "0", "--ca-file"]);
        trusted.arg(self.servers.certificate()).arg(format!("{host}/app:1"))
    }

    fn fetch_as(&self, client: &Identity) -> Command {
        with_certificate(self.fetch(&self.registry.host()), client)
    }

    /// The client certificates received, one per request.
    fn received_certificates(&self) -> Vec<Option<Vec<u8>>> {
        self.registry
            .server
            .requests()
            .into_iter()
            .map(|request| request.client_certificate)
            .collect()
    }
}

fn with_certificate(command: Command, client: &Identity) -> Command {
    command.arg("--cert-file").arg(&client.certificate).arg("--key-file").arg(&client.key)
}

fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> std::path::PathBuf {
    let file = dir.join(name);
    std::fs::write(&file, bytes).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    file
}

#[test]
fn a_client_certificate_is_sent_if_the_server_requests_it() {
    let setup = Setup::asking();
    setup.fetch_as(&setup.client).run().ok().stdout(&Image::small().manifest.bytes);
    let both = setup.client.joined();
    let run = setup.fetch(&setup.registry.host()).arg("--cert-file").arg(both).run();
    run.ok().stdout(&Image::small().manifest.bytes);
    assert_eq!(setup.received_certificates(), [Some(setup.client.der()), Some(setup.client.der())]);
}

#[test]
fn a_client_certificate_of_x509_version_1_is_accepted() {
    let registry = Registry::start();
    registry.put_image("app", "1", &Image::small());
    let setup = Setup::asking();
    let front = Front::of(&registry.host());
    let front = front.tls(&setup.servers.server()).for_clients_of(&setup.clients).start();
    let old = setup.clients.old_client();
    let run = with_certificate(setup.fetch(&front.host()), &old).run();
    run.ok().stdout(&Image::small().manifest.bytes);
}

#[test]
fn rsa_ec_and_ed25519_keys_work_in_all_pem_forms() {
    let setup = Setup::asking();
    let dir = setup.clients.dir();
    for (name, kind) in [
        ("rsa", &["-newkey", "rsa:2048"][..]),
        ("p384", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"]),
        ("ed25519", &["-newkey", "ed25519"]),
    ] {
        let [key, request, certificate] =
            ["key", "csr", "pem"].map(|ending| dir.join(format!("{name}.{ending}")));
        let mut openssl = peer("openssl");
        openssl.args(["req", "-nodes", "-subj", "/CN=x", "-addext", "subjectAltName=DNS:x"]);
        must(openssl.args(kind).arg("-keyout").arg(&key).arg("-out").arg(&request));
        let mut openssl = peer("openssl");
        openssl.args(["ca", "-batch", "-notext", "-config", "ca.cnf", "-days", "36500"]);
        openssl.arg("-in").arg(&request).arg("-out").arg(&certificate).current_dir(dir);
        must(&mut openssl);
        let client = Identity { certificate, key };
        setup.fetch_as(&client).run().ok();
        // The old PEM form names the type of key: RSA PRIVATE KEY, EC PRIVATE KEY.
        if name != "ed25519" {
            let old = dir.join(format!("{name}.old"));
            let mut openssl = peer("openssl");
            openssl.args(["pkey", "-traditional", "-in"]).arg(&client.key).arg("-out").arg(&old);
            must(&mut openssl);
            setup.fetch_as(&Identity { key: old, ..client }).run().ok();
        }
    }
}

#[test]
fn an_invalid_certificate_pair_is_refused_before_anything_is_sent() {
    let setup = Setup::asking();
    let (dir, client) = (setup.clients.dir(), &setup.client);
    let other = setup.clients.client();
    let junk = write(dir, "junk", "hello");
    let empty = write(dir, "empty", "");
    let broken =
        write(dir, "broken", "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n");
    let no_certificate =
        write(dir, "none", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n");
    let absent = dir.join("absent");
    let encrypted = dir.join("encrypted");
    let mut openssl = peer("openssl");
    openssl.args(["pkey", "-aes128", "-passout", "pass:x", "-in"]).arg(&client.key).arg("-out");
    must(openssl.arg(&encrypted));
    let old = dir.join("encrypted-old");
    let mut openssl = peer("openssl");
    openssl.args(["pkey", "-traditional", "-aes128", "-passout", "pass:x", "-in"]).arg(&client.key);
    must(openssl.arg("-out").arg(&old));
    for (certificate, key, status, words) in [
        (&client.certificate, &other.key, 6, "not the key of"),
        (&client.certificate, &client.certificate, 6, "no key in it"),
        (&client.certificate, &junk, 6, "no key in it"),
        (&client.certificate, &empty, 6, "no key in it"),
        (&client.certificate, &absent, 3, "absent: no such file"),
        (&client.certificate, &encrypted, 6, "the key in it is encrypted"),
        (&client.certificate, &old, 6, "the key in it is encrypted"),
        (&client.key, &client.key, 6, "no certificate in it"),
        (&junk, &client.key, 6, "no certificate in it"),
        (&broken, &client.key, 6, "not PEM"),
        (&no_certificate, &client.key, 6, "the certificate in it is invalid"),
        (&absent, &client.key, 3, "absent: no such file"),
        (&dir.to_owned(), &client.key, 7, "is a directory"),
    ] {
        let pair = Identity { certificate: certificate.clone(), key: key.clone() };
        let run = setup.fetch_as(&pair).run();
        run.fails(status, words).says("-file ").stdout("");
    }
    assert_eq!(setup.registry.server.connections(), 0);
}

#[test]
fn conflicting_flags_exit_with_2() {
    let setup = Setup::asking();
    let fetch = || setup.fetch(&setup.registry.host());
    fetch().arg("--cert-file").arg(&setup.client.certificate).run().fails(2, "--key-file");
    fetch().arg("--key-file").arg(&setup.client.key).run().fails(2, "--cert-file");
    let run = with_certificate(fetch(), &setup.client).arg("--plain-http").run();
    run.fails(2, "--plain-http");
    assert_eq!(setup.registry.server.connections(), 0);
}

#[test]
fn a_key_readable_by_others_causes_a_warning() {
    let setup = Setup::asking();
    std::fs::set_permissions(&setup.client.key, Permissions::from_mode(0o644)).unwrap();
    let run = setup.fetch_as(&setup.client).run();
    run.status(0).says("others can read it (mode 0644)");
}

/// The target of a redirect requests a client certificate, and gets none.
#[test]
fn a_redirect_target_gets_no_client_certificate() {
    let setup = Setup::asking();
    let server = setup.servers.server();
    let blob = Blob::new(types::TAR, noise(1000, 1));
    let bytes = blob.bytes.clone();
    let storage =
        Server::start_tls(server.server_config_asking(&setup.clients), move |_| Reply::ok(&bytes));
    setup.registry.add_blob("app", blob.bytes.clone());
    let url = storage.url();
    setup.registry.fault(move |request, right| {
        if !request.is_blob() {
            return right;
        }
        Reply::redirect(307, &format!("{url}/bucket"))
    });
    let run =
        tool("fetch-blob").args(["--max-wait", "0", &setup.registry.repo("app"), &blob.digest]);
    let run =
        with_certificate(run.arg("--ca-file").arg(setup.servers.certificate()), &setup.client)
            .run();
    run.ok().stdout(&blob.bytes);
    assert_eq!(setup.received_certificates(), [Some(setup.client.der())]);
    assert_eq!(storage.requests()[0].client_certificate, None);
}

#[test]
fn a_token_server_at_another_host_gets_no_client_certificate() {
    let setup = Setup::asking();
    let config = setup.servers.server().server_config_asking(&setup.clients);
    let tokens = Server::start_tls(config, |_| Reply::ok("{\"token\": \"t\"}"));
    let realm = tokens.url();
    setup.registry.fault(move |request, right| match request.header("authorization") {
        Some(_) => right,
        None => Reply::error(401, "UNAUTHORIZED", "who?")
            .header("WWW-Authenticate", format!("Bearer realm=\"{realm}/token\",service=\"a\"")),
    });
    setup.fetch_as(&setup.client).run().ok();
    assert_eq!(tokens.requests()[0].client_certificate, None);
    assert_eq!(setup.received_certificates().len(), 2);
    assert!(
        setup.received_certificates().iter().all(|received| *received == Some(setup.client.der()))
    );
}

#[test]
fn the_host_of_from_gets_the_client_certificate_only_if_it_is_the_operands_host() {
    let setup = Setup::asking();
    let config = setup.servers.server().server_config_asking(&setup.clients);
    let from = FakeRegistry::start_tls(config);
    let blob = from.add_noise("base", 1000, 1);
    setup.registry.add_blob("base", blob.bytes.clone());
    for (host, to, shows) in [(&from, "app", false), (&setup.registry, "other", true)] {
        host.server.forget();
        let run = tool("push-blob").args(["--max-wait", "0", &setup.registry.repo(to), "--from"]);
        let run = run.arg(host.repo("base")).arg("--ca-file").arg(setup.servers.certificate());
        with_certificate(run.stdin(blob.line()), &setup.client).run().ok();
        let requests = host.server.requests();
        assert!(!requests.is_empty());
        assert!(
            requests.iter().all(|request| request.client_certificate.is_some() == shows),
            "{to}"
        );
    }
}

#[test]
fn a_mirror_gets_no_client_certificate() {
    let setup = Setup::asking();
    let config = setup.servers.server().server_config_asking(&setup.clients);
    let mirror = FakeRegistry::with_image_and_tls(config);
    setup.fetch_as(&setup.client).args(["--mirror", &mirror.host()]).run().ok();
    assert_eq!(mirror.server.requests().len(), 1);
    assert_eq!(mirror.server.requests()[0].client_certificate, None);
}

/// With TLS 1.2 the refusal is part of the handshake, with TLS 1.3 it follows the handshake. Some
/// servers refuse with an HTTP response.
#[test]
fn a_required_client_certificate_is_reported() {
    let (servers, clients) = (Authority::new(), Authority::called("clients"));
    let server = servers.server();
    let new = FakeRegistry::start_tls(server.server_config_for(&clients));
    let old = FakeRegistry::start_tls(server.server_config_tls12_for(&clients));
    let setup = Setup::with(servers, clients, old);
    new.add_image("app", "1", &Image::small());
    let behind = FakeRegistry::with_image();
    let front = Front::of(&behind.host()).tls(&server).for_clients_of(&setup.clients).start();
    for host in [new.host(), setup.registry.host(), front.host()] {
        let run = setup.fetch(&host).run();
        run.fails(4, "client certificate").says("--cert-file").stdout("");
        with_certificate(setup.fetch(&host), &setup.client).run().ok();
    }
    assert_eq!(behind.server.requests().len(), 1);
}

#[test]
fn a_refused_client_certificate_is_reported() {
    let (servers, clients) = (Authority::new(), Authority::called("clients"));
    let server = servers.server();
    let new = FakeRegistry::start_tls(server.server_config_for(&clients));
    let old = FakeRegistry::start_tls(server.server_config_tls12_for(&clients));
    let setup = Setup::with(servers, clients, old);
    let unknown = Authority::called("unknown");
    let client = unknown.client();
    for host in [new.host(), setup.registry.host()] {
        let run = with_certificate(setup.fetch(&host), &client).run();
        run.fails(4, "client certificate refused").stdout("");
    }
}

/// The registry requests a client certificate, but also accepts clients without one.
#[test]
fn a_400_response_is_not_reported_as_a_missing_client_certificate() {
    let setup = Setup::asking();
    setup.registry.fault(|_, _| Reply::error(400, "NAME_INVALID", "what a name"));
    let run = setup.fetch(&setup.registry.host()).run();
    run.fails(6, "what a name").does_not_say("client certificate");
}
