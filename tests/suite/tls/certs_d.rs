// SPDX-License-Identifier: Apache-2.0
//! The certificates stored for a host in the `certs.d` directories of docker and the containers
//! tools. They are found by the host's name, used for this host only, and reported if they are
//! invalid.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use tests::certs::{Authority, Identity};
use tests::fake::{Reply, Server};
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, noise};
use tests::scratch::Scratch;
use tests::tools::{Command, tool};

/// The limits: the number of entries in a directory, and the bytes of a file.
const MAX_ENTRIES: usize = 256;
const MAX_FILE: usize = 4 << 20;

/// The user's directories, in order of precedence.
const PLACES: [&str; 2] = [".config/containers/certs.d", ".config/docker/certs.d"];

/// A registry whose authority is trusted only through a `certs.d` directory, and a home for that
/// directory.
struct Setup {
    authority: Authority,
    registry: FakeRegistry,
    home: Scratch,
}

impl Setup {
    fn new() -> Setup {
        let authority = Authority::new();
        let registry = FakeRegistry::start_tls(authority.server().server_config());
        Setup::with(authority, registry)
    }

    /// The registry requests a client certificate of its own authority.
    fn asking() -> Setup {
        let authority = Authority::new();
        let config = authority.server().server_config_asking(&authority);
        Setup::with(authority, FakeRegistry::start_tls(config))
    }

    fn with(authority: Authority, registry: FakeRegistry) -> Setup {
        registry.add_image("app", "1", &Image::small());
        let home = Scratch::new();
        home.chmod("", 0o755);
        Setup { authority, registry, home }
    }

    /// Makes the directory for a host in one of the places.
    fn directory(&self, place: &str, host: &str) -> PathBuf {
        let directory = self.home.join(place).join(host);
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// Makes the directory for the registry in the first place, with its authority.
    fn trusting(&self) -> PathBuf {
        let directory = self.directory(PLACES[0], &self.registry.host());
        copy(&self.authority.certificate(), &directory.join("ca.crt"));
        directory
    }

    fn fetch(&self) -> Command {
        let reference = format!("{}:1", self.registry.repo("app"));
        tool("fetch-manifest").args(["--max-wait", "0", &reference]).env("HOME", self.home.path())
    }

    fn is_fetched(&self) {
        self.fetch().run().ok().stdout(&Image::small().manifest.bytes);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
}

/// Copies a pair into a directory, as `NAME.cert` and `NAME.key`.
fn put(pair: &Identity, directory: &Path, name: &str) {
    copy(&pair.certificate, &directory.join(format!("{name}.cert")));
    copy(&pair.key, &directory.join(format!("{name}.key")));
}

#[test]
fn the_users_certs_d_directories_are_trusted_for_their_host() {
    for place in PLACES {
        let setup = Setup::new();
        setup.fetch().run().fails(6, "unknown issuer");
        let directory = setup.directory(place, &setup.registry.host());
        copy(&setup.authority.certificate(), &directory.join("any-name.crt"));
        setup.is_fetched();
        // XDG_CONFIG_HOME is used instead of ~/.config.
        setup.fetch().env("XDG_CONFIG_HOME", "/none").run().fails(6, "unknown issuer");
        let config = setup.home.join(".config");
        setup.fetch().env("HOME", "/none").env("XDG_CONFIG_HOME", config).run().ok();
    }
}

/// Each run has a mount namespace with an empty /etc. The second run adds the directory to it.
#[test]
fn the_systems_certs_d_directories_are_trusted_for_their_host() {
    for place in ["containers", "docker"] {
        let setup = Setup::new();
        let run = |script: &str| {
            let is_root = rustix::process::geteuid().is_root();
            let unshare = ["unshare", if is_root { "-m" } else { "-rm" }];
            let script = format!("mount -t tmpfs tmpfs /etc && {script} exec \"$@\"");
            let command = setup.fetch().env("CA", setup.authority.certificate());
            let command =
                command.env("DIR", format!("/etc/{place}/certs.d/{}", setup.registry.host()));
            command.under(&[&unshare[..], &["sh", "-c", &script, "sh"]].concat()).run()
        };
        run("").fails(6, "unknown issuer");
        run("mkdir -p $DIR && cp $CA $DIR/ca.crt &&").ok();
    }
}

#[test]
fn only_the_first_existing_directory_is_used() {
    let setup = Setup::new();
    let second = setup.directory(PLACES[1], &setup.registry.host());
    copy(&setup.authority.certificate(), &second.join("ca.crt"));
    setup.is_fetched();
    setup.directory(PLACES[0], &setup.registry.host());
    setup.fetch().run().fails(6, "unknown issuer");
}

#[test]
fn a_directory_for_another_host_or_port_is_not_used() {
    let setup = Setup::new();
    for host in ["127.0.0.1", "127.0.0.1:443", "localhost:5000"] {
        let directory = setup.directory(PLACES[0], host);
        copy(&setup.authority.certificate(), &directory.join("ca.crt"));
    }
    setup.fetch().run().fails(6, "unknown issuer");
    // The name of the host is compared, not its address.
    setup.trusting();
    let by_name = format!("localhost:{}/app:1", setup.registry.server.port());
    let fetch = tool("fetch-manifest").args(["--max-wait", "0", &by_name]);
    fetch.env("HOME", setup.home.path()).run().fails(6, "unknown issuer");
}

#[test]
fn certs_d_adds_to_the_ca_file() {
    let setup = Setup::new();
    setup.trusting();
    let other = Authority::called("another");
    setup.fetch().arg("--ca-file").arg(other.certificate()).run().ok();
}

/// The target of a redirect uses the directory for its own host.
#[test]
fn a_redirect_target_uses_its_own_directory() {
    let setup = Setup::new();
    setup.trusting();
    let digest = setup.registry.add_blob("app", noise(1000, 1));
    let (elsewhere, clients) = (Authority::called("another"), Authority::called("clients"));
    let config = elsewhere.server().server_config_asking(&clients);
    let storage = Server::start_tls(config, |_| Reply::ok(noise(1000, 1)));
    let url = storage.url();
    setup.registry.fault(move |request, right| {
        if !request.is_blob() {
            return right;
        }
        Reply::redirect(307, &format!("{url}/bucket"))
    });
    let fetch = || {
        let fetch = tool("fetch-blob").env("HOME", setup.home.path());
        fetch.args(["--max-wait", "0", &setup.registry.repo("app"), &digest])
    };
    fetch().run().fails(6, "unknown issuer").says(&storage.host());
    let directory = setup.directory(PLACES[0], &storage.host());
    copy(&elsewhere.certificate(), &directory.join("ca.crt"));
    let client = clients.client();
    put(&client, &directory, "client");
    fetch().run().ok().stdout(noise(1000, 1));
    assert_eq!(storage.requests()[0].client_certificate, Some(client.der()));
    assert_eq!(setup.registry.server.requests()[0].client_certificate, None);
}

#[test]
fn a_client_certificate_in_certs_d_is_sent() {
    let setup = Setup::asking();
    let directory = setup.trusting();
    let client = setup.authority.client();
    put(&client, &directory, "client");
    setup.is_fetched();
    // A certificate given by a flag is used instead.
    let given = setup.authority.client();
    let run = setup.fetch().arg("--cert-file").arg(&given.certificate);
    run.arg("--key-file").arg(&given.key).run().ok();
    let certificates: Vec<_> = setup
        .registry
        .server
        .requests()
        .into_iter()
        .map(|request| request.client_certificate)
        .collect();
    assert_eq!(certificates, [Some(client.der()), Some(given.der())]);
}

#[test]
fn the_client_certificate_of_the_requested_issuer_is_sent() {
    let setup = Setup::asking();
    let directory = setup.trusting();
    let other = Authority::called("another");
    put(&other.client(), &directory, "a");
    let client = setup.authority.client();
    put(&client, &directory, "b");
    setup.is_fetched();
    assert_eq!(setup.registry.server.requests()[0].client_certificate, Some(client.der()));
}

#[test]
fn an_invalid_certificate_pair_is_an_error() {
    let setup = Setup::asking();
    let client = setup.authority.client();
    let other = setup.authority.client();
    let directory = setup.trusting();
    let run = |words: &str| {
        let run = setup.fetch().run();
        run.fails(6, words).says(&directory.display().to_string()).stdout("");
        for name in ["a.cert", "a.key"] {
            let _ = std::fs::remove_file(directory.join(name));
        }
    };
    copy(&client.certificate, &directory.join("a.cert"));
    run("a client certificate without a.key");
    copy(&client.key, &directory.join("a.key"));
    run("a key without a.cert");
    put(&Identity { key: other.key, ..client }, &directory, "a");
    run("not the key of");
    std::fs::write(directory.join("a.cert"), "hello").unwrap();
    std::fs::write(directory.join("a.key"), "hello").unwrap();
    run("no certificate in it");
    assert_eq!(setup.registry.server.connections(), 0);
    setup.is_fetched();
}

#[test]
fn an_invalid_ca_file_causes_a_warning() {
    let setup = Setup::new();
    let directory = setup.trusting();
    std::fs::write(directory.join("junk.crt"), "hello").unwrap();
    let run = setup.fetch().run();
    run.status(0).says("junk.crt: no certificate in it: skipped");
    std::fs::remove_file(directory.join("junk.crt")).unwrap();
    std::os::unix::fs::symlink("nowhere", directory.join("gone.crt")).unwrap();
    setup.fetch().run().status(0).says("gone.crt: no such file: skipped");
    // Files with other names are ignored.
    std::fs::remove_file(directory.join("gone.crt")).unwrap();
    std::fs::write(directory.join("README"), "hello").unwrap();
    setup.is_fetched();
}

#[test]
fn an_unreadable_file_or_directory_is_a_warning_or_an_error() {
    let setup = Setup::new();
    let directory = setup.trusting();
    let relative = Path::new(PLACES[0]).join(setup.registry.host());
    setup.home.chmod(relative.join("ca.crt"), 0);
    setup.fetch().as_unprivileged().run().fails(7, "ca.crt: permission denied");
    setup.home.chmod(&relative, 0);
    let run = setup.fetch().as_unprivileged().run();
    run.status(6).says("unknown issuer").says("permission denied: skipped");
    setup.home.chmod(PLACES[0], 0);
    let second = setup.directory(PLACES[1], &setup.registry.host());
    copy(&setup.authority.certificate(), &second.join("ca.crt"));
    let run = setup.fetch().as_unprivileged().run();
    run.status(0).says("permission denied: skipped");
    setup.home.chmod(PLACES[0], 0o755);
    setup.home.chmod(&relative, 0o755);
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::write(&directory, "hello").unwrap();
    setup.fetch().run().fails(7, "not a directory");
}

#[test]
fn a_directory_with_more_files_than_the_limit_is_refused() {
    let setup = Setup::new();
    let directory = setup.trusting();
    for i in 1..MAX_ENTRIES {
        std::fs::write(directory.join(format!("{i}")), "").unwrap();
    }
    setup.is_fetched();
    std::fs::write(directory.join("last"), "").unwrap();
    setup.fetch().run().fails(6, "more than 256 files");
}

#[test]
fn a_file_larger_than_the_limit_is_refused() {
    let setup = Setup::new();
    let authority = std::fs::read(setup.authority.certificate()).unwrap();
    let file = setup.trusting().join("ca.crt");
    for (size, fits) in [(MAX_FILE, true), (MAX_FILE + 1, false)] {
        let mut bytes = vec![b'\n'; size - authority.len()];
        bytes.extend(&authority);
        std::fs::write(&file, &bytes).unwrap();
        let run = setup.fetch().run();
        if fits {
            run.ok()
        } else {
            run.fails(6, "larger than 4194304 bytes")
        };
    }
}
