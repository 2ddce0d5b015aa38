// SPDX-License-Identifier: Apache-2.0
//! TLS: trusted certificates, and the errors for all others.

use tests::certs::Authority;
use tests::fake::End;
use tests::fake_registry::FakeRegistry;
use tests::images::Image;
use tests::registry::Registry;
use tests::tools::{Command, tool};

fn fetch_manifest(registry: &FakeRegistry) -> Command {
    tool("fetch-manifest").args(["--max-wait", "0", &format!("{}:1", registry.repo("app"))])
}

/// A registry with a certificate for these names and dates.
fn registry_as(authority: &Authority, names: &str, from: &str, to: &str) -> FakeRegistry {
    let identity = authority.issue(names, from, to);
    FakeRegistry::with_image_and_tls(identity.server_config())
}

fn good(authority: &Authority) -> FakeRegistry {
    registry_as(authority, "IP:127.0.0.1,DNS:localhost", "20200101000000Z", "20991231000000Z")
}

#[test]
fn a_loopback_registry_without_tls_is_used_with_plain_http() {
    let registry = FakeRegistry::with_image();
    fetch_manifest(&registry).run().ok().stdout(&Image::small().manifest.bytes);
}

#[test]
fn plain_http_and_insecure_together_exit_with_2() {
    let run =
        tool("fetch-manifest").args(["--plain-http", "--insecure", "127.0.0.1:1/app:1"]).run();
    run.fails(2, "").stdout("");
}

mod with_peers {
    use super::*;

    #[test]
    fn an_unknown_authority_is_refused_with_a_hint_at_ca_file() {
        let authority = Authority::new();
        let registry = good(&authority);
        let run = fetch_manifest(&registry).run();
        run.fails(6, "certificate not trusted").says("--ca-file").stdout("");
        assert_eq!(registry.server.asked(), Vec::<String>::new());
    }

    #[test]
    fn a_ca_file_makes_its_authority_trusted() {
        let authority = Authority::new();
        let registry = good(&authority);
        let run = fetch_manifest(&registry).arg("--ca-file").arg(authority.certificate()).run();
        run.ok().stdout(&Image::small().manifest.bytes);
    }

    #[test]
    fn a_missing_or_invalid_ca_file_is_refused() {
        let authority = Authority::new();
        let registry = good(&authority);
        let none = authority.dir().join("none.pem");
        let run = fetch_manifest(&registry).arg("--ca-file").arg(&none).run();
        assert!(run.code().is_some_and(|code| code != 0), "{run}");
        run.says("none.pem").stdout("");
        std::fs::write(&none, "hello").unwrap();
        let run = fetch_manifest(&registry).arg("--ca-file").arg(&none).run();
        assert!(run.code().is_some_and(|code| code != 0), "{run}");
        run.says("none.pem").stdout("");
    }

    #[test]
    fn insecure_accepts_an_untrusted_certificate() {
        let authority = Authority::new();
        let registry = good(&authority);
        fetch_manifest(&registry)
            .arg("--insecure")
            .run()
            .status(0)
            .stdout(&Image::small().manifest.bytes);
    }

    #[test]
    fn certificates_with_wrong_dates_or_names_are_refused() {
        let authority = Authority::new();
        for (names, from, to, words) in [
            ("IP:127.0.0.1", "20200101000000Z", "20200201000000Z", "expired"),
            ("IP:127.0.0.1", "20980101000000Z", "20991231000000Z", "not valid before"),
            ("DNS:other.example", "20200101000000Z", "20991231000000Z", "other.example"),
        ] {
            let registry = registry_as(&authority, names, from, to);
            let run = fetch_manifest(&registry).arg("--ca-file").arg(authority.certificate()).run();
            run.fails(6, words).stdout("");
            assert_eq!(registry.server.asked(), Vec::<String>::new());
        }
    }

    #[test]
    fn plain_http_to_a_server_with_tls_fails() {
        let authority = Authority::new();
        let registry = good(&authority);
        let run = fetch_manifest(&registry).arg("--plain-http").run();
        assert!(matches!(run.code(), Some(5 | 6)), "{run}");
        run.stdout("");
    }

    #[test]
    fn an_end_without_close_notify_is_accepted_if_the_digest_is_right() {
        let authority = Authority::new();
        let registry = FakeRegistry::start_tls(authority.server().server_config());
        let blob = registry.add_noise("app", 300_000, 1);
        for (stop, requests) in [(300_000, 1), (100_000, 2)] {
            registry.server.forget();
            registry.fault(move |request, right| match request.earlier {
                0 => right.close_delimited().cut(stop, End::Fin),
                _ => right,
            });
            let run = tool("fetch-blob")
                .args(["--max-wait", "0", &registry.repo("app"), "--ca-file"])
                .arg(authority.certificate())
                .stdin(blob.line())
                .run();
            run.status(0).stdout(&blob.bytes);
            assert_eq!(registry.server.requests().len(), requests);
        }
    }

    #[test]
    fn a_real_registry_with_tls_is_read() {
        let registry = Registry::with_tls();
        let image = Image::small();
        registry.put_image("app", "1", &image);
        let run = tool("fetch-manifest")
            .arg(format!("{}:1", registry.repo("app")))
            .arg("--ca-file")
            .arg(registry.authority().certificate())
            .run();
        run.ok().stdout(&image.manifest.bytes);
    }
}
