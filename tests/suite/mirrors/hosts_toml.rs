// SPDX-License-Identifier: Apache-2.0
//! Mirrors in hosts.toml, as containerd and nerdctl read it.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::fake_registry::FakeRegistry;
use tests::images::{Image, index, types};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::{Command, Run, tool};

/// A home with containerd's directory of hosts.toml files.
struct Certs {
    scratch: Scratch,
}

impl Certs {
    /// A home with one registry's hosts.toml.
    fn new(name: &str, text: &str) -> Certs {
        let certs = Certs { scratch: Scratch::new() };
        certs.add(name, text);
        certs
    }

    fn add(&self, name: &str, text: &str) {
        self.scratch.write(format!(".config/containerd/certs.d/{name}/hosts.toml"), text);
    }

    fn tool(&self, name: &str) -> Command {
        tool(name).args(["--max-wait", "0"]).env("HOME", self.scratch.path())
    }

    fn fetch_manifest(&self, reference: &str) -> Run {
        self.tool("fetch-manifest").arg(reference).run()
    }
}

/// A registry with an image as `app:1`.
fn with_image() -> (FakeRegistry, Image) {
    (FakeRegistry::with_image(), Image::small())
}

#[test]
fn a_host_is_read_before_the_registry_and_gets_the_ns_parameter() {
    let (mirror, image) = with_image();
    let text = format!("[host.\"http://{}\"]", mirror.host());
    let certs = Certs::new("registry.invalid_5000_", &text);
    let run = certs.fetch_manifest("registry.invalid:5000/app:1");
    run.ok().silent().stdout(&image.manifest.bytes);
    let layer = &image.layers[0];
    let fetch = certs.tool("fetch-blob").args(["registry.invalid:5000/app", &layer.digest]);
    fetch.run().ok().silent().stdout(&layer.bytes);
    let paths = ["/v2/app/manifests/1".to_owned(), format!("/v2/app/blobs/{}", layer.digest)];
    let requests = mirror.server.requests();
    assert_eq!(requests.iter().map(|request| &request.path).collect::<Vec<_>>(), paths.each_ref());
    for request in requests {
        assert_eq!(request.params("ns"), ["registry.invalid:5000"]);
    }
}

#[test]
fn hosts_are_asked_in_the_order_of_the_file_and_then_the_registry() {
    let (own, image) = with_image();
    // The hosts are in reverse order of their names, because the order in the file must decide.
    let mut hosts = [FakeRegistry::start(), FakeRegistry::start()];
    hosts.sort_by_key(|host| std::cmp::Reverse(host.host()));
    let text = hosts.each_ref().map(|host| format!("[host.\"http://{}\"]\n", host.host())).concat();
    let certs = Certs::new(&own.host(), &text);
    certs.fetch_manifest(&own.repo("app:1")).ok().silent().stdout(&image.manifest.bytes);
    assert_eq!(own.server.asked(), ["GET /v2/app/manifests/1"]);
    let [first, second] = hosts.each_ref().map(|host| host.server.requests());
    assert_eq!((first.len(), second.len()), (1, 1));
    hosts[0].add_image("app", "1", &image);
    hosts[1].server.forget();
    certs.fetch_manifest(&own.repo("app:1")).ok().silent();
    assert!(hosts[1].server.asked().is_empty());
}

#[test]
fn a_host_without_the_resolve_capability_is_not_asked_for_a_tag() {
    let (own, image) = with_image();
    let (pull, _) = with_image();
    let (resolve, _) = with_image();
    let certs = Certs::new(
        &own.host(),
        &format!(
            "[host.\"http://{}\"]\ncapabilities = [\"pull\"]\n\
             [host.\"http://{}\"]\ncapabilities = [\"resolve\"]\n\
             [host.\"http://127.0.0.1:1\"]\ncapabilities = [\"push\"]",
            pull.host(),
            resolve.host()
        ),
    );
    certs.fetch_manifest(&own.repo("app:1")).ok().silent().stdout(&image.manifest.bytes);
    assert_eq!((pull.server.asked().len(), resolve.server.asked().len()), (0, 1));
    let by_digest = format!("{}@{}", own.repo("app"), image.manifest.digest);
    certs.fetch_manifest(&by_digest).ok().silent();
    assert_eq!((pull.server.asked().len(), resolve.server.asked().len()), (1, 1));
    assert!(own.server.asked().is_empty());
}

#[test]
fn a_server_is_read_instead_of_the_registry() {
    let (server, image) = with_image();
    let certs = Certs::new("_default", &format!("server = \"http://{}\"", server.host()));
    certs.fetch_manifest("registry.invalid/app:1").ok().silent().stdout(&image.manifest.bytes);
    assert_eq!(server.server.requests()[0].query, "ns=registry.invalid");
    certs.fetch_manifest("registry.invalid/app:2").fails(3, "app:2").stdout("");
}

#[test]
fn a_server_key_inside_a_host_table_causes_a_warning() {
    let (own, image) = with_image();
    let mirror = FakeRegistry::start();
    let text = format!("[host.\"http://{}\"]\nserver = \"http://127.0.0.1:1\"", mirror.host());
    let run = Certs::new(&own.host(), &text).fetch_manifest(&own.repo("app:1"));
    run.status(0).stdout(&image.manifest.bytes);
    run.says("/hosts.toml: line 2: \"server\" in the table of a host is ignored");
}

#[test]
fn a_host_may_have_another_api_root() {
    let (_, image) = with_image();
    let roots = [
        ("/proxy", "", "/proxy/v2/app/manifests/1"),
        ("/proxy/v2", "", "/proxy/v2/app/manifests/1"),
        ("/v2/hub", "override_path = true", "/v2/hub/app/manifests/1"),
        ("", "override_path = true", "/app/manifests/1"),
    ];
    for (path, words, expected) in roots {
        let manifest = image.manifest.clone();
        let mirror = tests::fake::Server::start(move |_| {
            tests::fake::Reply::ok(&manifest.bytes).header("Content-Type", &manifest.media_type)
        });
        let text = format!("[host.\"{}{path}\"]\n{words}", mirror.url());
        let certs = Certs::new("registry.invalid", &text);
        let run = certs.fetch_manifest("registry.invalid/app:1");
        run.ok().silent().stdout(&image.manifest.bytes);
        assert_eq!(mirror.requests()[0].path, expected);
    }
}

#[test]
fn a_hosts_headers_are_sent_only_to_it_and_never_shown() {
    let (own, image) = with_image();
    let mirror = FakeRegistry::start();
    let text = format!(
        "[host.\"http://{}\".header]\nAuthorization = \"Bearer opensesame\"\nx-a = [\"1\", \"2\"]",
        mirror.host()
    );
    let certs = Certs::new(&own.host(), &text);
    certs.fetch_manifest(&own.repo("app:1")).ok().silent().stdout(&image.manifest.bytes);
    let request = &mirror.server.requests()[0];
    assert_eq!(request.header("Authorization"), Some("Bearer opensesame"));
    let both = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-a"));
    assert_eq!(both.map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    let own_request = &own.server.requests()[0];
    assert_eq!((own_request.header("Authorization"), own_request.header("x-a")), (None, None));
    mirror.fault(|_, _| tests::fake::Reply::error(403, "DENIED", "not with opensesame"));
    let run = certs.fetch_manifest(&own.repo("app:1"));
    run.status(0).says("is no longer used: ").does_not_say("opensesame");
}

#[test]
fn only_the_most_specific_directory_is_used() {
    let (own, image) = with_image();
    let (escaped, plain, default) = (with_image().0, with_image().0, with_image().0);
    let certs = Certs { scratch: Scratch::new() };
    let port = own.server.port();
    let names = ["_default".to_owned(), own.host(), format!("127.0.0.1_{port}_")];
    for (name, mirror) in names.iter().zip([&default, &plain, &escaped]) {
        certs.add(name, &format!("[host.\"http://{}\"]", mirror.host()));
        certs.fetch_manifest(&own.repo("app:1")).ok().silent().stdout(&image.manifest.bytes);
        assert_eq!(mirror.server.asked().len(), 1, "{name}");
    }
    assert_eq!([&default, &plain].map(|mirror| mirror.server.asked().len()), [1, 1]);
    assert!(own.server.asked().is_empty());
    // A directory without hosts.toml configures no mirror, and less specific directories are not
    // read.
    std::fs::remove_file(
        certs.scratch.join(format!(".config/containerd/certs.d/{}/hosts.toml", names[2])),
    )
    .unwrap();
    certs.fetch_manifest(&own.repo("app:1")).ok().silent();
    assert_eq!(own.server.asked().len(), 1);
}

#[test]
fn registries_conf_precedes_hosts_toml_and_is_never_mixed_with_it() {
    let (own, image) = with_image();
    let (of_containers, of_containerd) = (FakeRegistry::start(), with_image().0);
    let certs = Certs::new("_default", &format!("[host.\"http://{}\"]", of_containerd.host()));
    let conf = |location: &str| {
        let mirror = of_containers.host();
        let text = format!(
            "[[registry]]\nlocation = \"{location}\"\n[[registry.mirror]]\nlocation = \"{mirror}\""
        );
        certs.scratch.write(".config/containers/registries.conf", text);
    };
    conf(&own.host());
    certs.fetch_manifest(&own.repo("app:1")).ok().silent().stdout(&image.manifest.bytes);
    assert_eq!((of_containers.server.asked().len(), own.server.asked().len()), (1, 1));
    assert!(of_containerd.server.asked().is_empty());
    conf("another.invalid");
    certs.fetch_manifest(&own.repo("app:1")).ok().silent();
    assert_eq!((of_containers.server.asked().len(), own.server.asked().len()), (1, 1));
    assert_eq!(of_containerd.server.asked().len(), 1);
}

#[test]
fn writes_go_to_the_registry_itself() {
    let (own, _) = with_image();
    let (mirror, _) = with_image();
    let text = format!("server = \"http://{0}\"\n[host.\"http://{0}\"]", mirror.host());
    let certs = Certs::new(&own.host(), &text);
    certs.tool("push-blob").arg(own.repo("app")).stdin("new bytes").run().ok();
    certs.tool("list-tags").arg(own.repo("app")).run().ok();
    assert!(!own.server.asked().is_empty());
}

#[test]
fn an_invalid_file_is_an_error_before_any_request() {
    let (own, _) = with_image();
    for (text, line, words) in [
        ("[host.\"https://a.invalid\"]\ncapabilities = [\"fetch\"]", 2, "unknown capability"),
        ("server = \"https://a.invalid/", 1, ""),
        ("[host.\"ftp://a.invalid\"]", 1, "unsupported URL scheme \"ftp\""),
    ] {
        let certs = Certs::new(&own.host(), text);
        let run = certs.fetch_manifest(&own.repo("app:1"));
        run.fails(6, words).says(&format!("{}/hosts.toml: line {line}: ", own.host())).stdout("");
    }
    assert!(own.server.asked().is_empty());
}

#[test]
fn the_manifest_of_an_index_is_read_from_the_same_mirror() {
    let mirror = FakeRegistry::start();
    let image = Image::small();
    mirror.add_image("app", "amd64", &image);
    let list = index(types::INDEX, &[(&image.manifest, "linux/amd64")]);
    mirror.add_manifest("app", "1", &list);
    let text = format!("[host.\"http://{}\"]", mirror.host());
    let certs = Certs::new("registry.invalid", &text);
    let run = certs.tool("fetch-manifest").args(["-p", "linux/amd64", "registry.invalid/app:1"]);
    run.run().ok().silent().stdout(&image.manifest.bytes);
}

mod with_peers {
    use super::*;

    #[test]
    fn a_host_with_skip_verify_may_have_an_untrusted_certificate() {
        let (own, image) = (FakeRegistry::start(), Image::small());
        own.add_image("app", "1", &image);
        let mirror = Registry::with_tls();
        mirror.put_image("app", "1", &image);
        let text = format!("[host.\"https://{}\"]\n", mirror.host());
        let run = Certs::new(&own.host(), &text).fetch_manifest(&own.repo("app:1"));
        run.status(0).stdout(&image.manifest.bytes).says("certificate not trusted");
        own.server.forget();
        let text = text + "skip_verify = true";
        let run = Certs::new(&own.host(), &text).fetch_manifest(&own.repo("app:1"));
        run.ok().silent().stdout(&image.manifest.bytes);
        // An http URL with the port of a TLS server works too.
        let text = text.replace("https:", "http:");
        let run = Certs::new(&own.host(), &text).fetch_manifest(&own.repo("app:1"));
        run.ok().silent().stdout(&image.manifest.bytes);
        assert!(own.server.asked().is_empty());
    }

    #[test]
    fn a_hosts_certificates_are_trusted_only_for_that_host() {
        let image = Image::small();
        let (own, mirror) = (Registry::with_tls(), Registry::with_tls());
        mirror.put_image("app", "1", &image);
        own.put_image("app", "2", &image);
        let certs = Certs::new(
            &own.host(),
            &format!("[host.\"https://{}\"]\nca = \"mirror.crt\"", mirror.host()),
        );
        let file = format!(".config/containerd/certs.d/{}/mirror.crt", own.host());
        certs.scratch.write(&file, std::fs::read(mirror.authority().certificate()).unwrap());
        let run = certs.fetch_manifest(&own.repo("app:1"));
        run.ok().silent().stdout(&image.manifest.bytes);
        certs.fetch_manifest(&own.repo("app:2")).fails(6, "certificate not trusted").stdout("");
        std::fs::remove_file(certs.scratch.join(file)).unwrap();
        let run = certs.fetch_manifest(&own.repo("app:1"));
        run.fails(7, "/mirror.crt: no such file").says("hosts.toml: ").stdout("");
    }
}

/// A key with which other programs choose another name or server causes a warning.
#[test]
fn an_unknown_key_gives_a_warning() {
    let (mirror, image) = with_image();
    let host = mirror.host();
    for (text, words) in [
        (
            // A file as k3s writes it.
            format!(
                "server = \"http://{host}/v2\"\n[host]\n[host.\"http://{host}/v2\"]\n  \
                 [host.\"http://{host}/v2\".rewrite]\n    \"^library/(.*)\" = \"mirrored/$1\"\n"
            ),
            "line 4: \"rewrite\" is not supported and is ignored",
        ),
        (
            format!("[host.\"http://{host}\"]\nRewrites = true\n"),
            "line 2: \"Rewrites\" is not supported and is ignored",
        ),
        (
            format!("via = \"x\"\n[host.\"http://{host}\"]\n"),
            "line 1: \"via\" is not supported and is ignored",
        ),
    ] {
        let certs = Certs::new("registry.invalid_5000_", &text);
        let run = certs.fetch_manifest("registry.invalid:5000/app:1");
        run.status(0).says(words).says("warning").stdout(&image.manifest.bytes);
    }
    let text = format!(
        "[host.\"http://{host}\"]\nDial_Timeout = \"1s\"\nCapabilities = [\"pull\", \"resolve\"]\n"
    );
    let certs = Certs::new("registry.invalid_5000_", &text);
    certs.fetch_manifest("registry.invalid:5000/app:1").ok().silent();
}

/// Service names in Docker Compose and Swarm may have underscores.
#[test]
fn a_host_may_have_underscores() {
    let (mirror, image) = with_image();
    let text = format!("[host.\"http://{}\"]", mirror.host());
    let certs = Certs::new("my_registry_5000_", &text);
    certs.fetch_manifest("my_registry:5000/app:1").ok().stdout(&image.manifest.bytes);
    let text = "[host.\"http://my_mirror:5000\"]\n[host.\"http://127.0.0.1:1\"]\n".to_owned();
    let certs = Certs::new("registry.invalid_5000_", &text);
    let run =
        certs.tool("fetch-manifest").args(["--retry-times", "1", "registry.invalid:5000/a:1"]);
    run.run().fails(5, "").does_not_say("invalid host");
    for reference in ["_my:5000/app:1", "my_:5000/app:1", "my_.example/app:1"] {
        certs.fetch_manifest(reference).fails(2, "invalid host");
    }
}
