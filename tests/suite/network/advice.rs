// SPDX-License-Identifier: Apache-2.0
//! Hints name the options and files that help with the host that failed. The options for the
//! operand's registry do not apply to the registry of `--from`.

use tests::commands::{fetch_blob, plain, push_blob};
use tests::fake::{Reply, Server};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, index, write_layout};
use tests::scratch::Scratch;
use tests::tools::{Run, shell, tool};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry that requires a user name and a password for everything.
fn closed() -> FakeRegistry {
    let registry = FakeRegistry::start();
    registry.fault(|_, _| {
        Reply::error(401, "UNAUTHORIZED", "who?").header("WWW-Authenticate", "Basic realm=x")
    });
    registry
}

/// A run of push-blob that copies a blob from a registry into a new layout.
fn copy_from(source: &FakeRegistry, blob: &Blob, options: &[&str]) -> Run {
    let scratch = Scratch::new();
    let run = tool("push-blob").args(["--max-wait", "0", "oci:d", "--from", &source.repo("app")]);
    run.args(options).stdin(blob.line()).dir(scratch.path()).run()
}

#[test]
fn a_login_is_advised_with_the_options_of_the_host() {
    let registry = closed();
    let host = registry.host();
    let image = Image::small();
    let stored = format!("store credentials with podman login {host} or docker login {host}\n");
    let run = fetch_blob().args([&registry.repo("app"), &image.config.digest]).run();
    run.fails(4, &format!("hint: use -u NAME, or {stored}"));
    let run = copy_from(&registry, &image.config, &[]);
    run.fails(4, &format!("hint: {stored}")).does_not_say("-u NAME");
}

#[test]
fn a_refused_storage_host_is_permitted_by_an_option_only_for_the_operand() {
    let storage = Server::start(|_| Reply::ok("x"));
    let host = format!("127.0.0.2:{}", storage.port());
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", 1000, 1);
    let url = format!("http://{host}/x");
    registry.fault(
        move |request, right| {
            if request.is_blob() { Reply::redirect(307, &url) } else { right }
        },
    );
    let run = fetch_blob().args([&registry.repo("app"), &blob.digest]).run();
    run.fails(6, &format!("hint: --allow-host {host} permits this host\n"));
    let run = copy_from(&registry, &blob, &[]);
    let file = "~/.config/regutils/allowed-hosts";
    run.fails(6, &format!("hint: a line {host} in {file} permits this host\n"));
}

#[test]
fn a_missing_tag_gets_list_tags_as_hint() {
    let registry = FakeRegistry::with_image();
    let repo = registry.repo("app");
    let run = plain("fetch-manifest").arg(format!("{repo}:2")).run();
    run.fails(3, &format!("hint: list-tags {repo} lists the tags of the repository\n"));
    plain("list-tags").arg(&repo).run().ok().stdout("1\n");
    let digest = Image::small().layers[0].digest.clone();
    let run = plain("fetch-manifest").arg(format!("{repo}@{digest}")).run();
    run.fails(3, "404").does_not_say("hint");
}

/// The registry lacks the blobs of the manifest. This happens if list-blobs lists an index without
/// `--recursive`: it prints the manifests, but not their blobs.
#[test]
fn a_pushed_manifest_without_its_blobs_gets_recursive_as_hint() {
    let (source, target) = (FakeRegistry::start(), FakeRegistry::start());
    let image = Image::small();
    source.add_image("app", "1", &image);
    let run = push_blob()
        .args([&target.repo("app"), "--from", &source.repo("app")])
        .stdin(image.manifest.line())
        .run();
    let hint = "list-blobs --recursive lists a manifest after the blobs that it names";
    run.fails(6, &format!("push-blob: hint: {hint}\n")).stdout("");
}

#[test]
fn an_index_without_its_images_gets_recursive_as_hint() {
    let registry = FakeRegistry::start();
    let top = index(OCI_INDEX, &[(&Image::small().manifest, "linux/amd64")]);
    let put = |target: &str, scratch: &Scratch| {
        let put = plain("put-manifest").arg(target).stdin(top.bytes.clone());
        put.dir(scratch.path()).run()
    };
    let scratch = Scratch::new();
    let run = put(&format!("{}:1", registry.repo("app")), &scratch);
    let hint = "push-blob copies the blobs and manifests that list-blobs --recursive prints";
    run.fails(6, &format!("put-manifest: hint: {hint}\n"));
    put("oci:d:1", &scratch).fails(6, &format!("put-manifest: hint: {hint}\n"));
    let other = Image::small();
    write_layout(&scratch.join("d"), "x", &other.config, []);
    put("oci:d:1", &scratch).fails(6, &format!("put-manifest: hint: {hint}\n"));
}

mod with_peers {
    use std::fs;

    use tests::certs::Authority;
    use tests::proxy::Proxy;

    use super::*;

    const CONFIGURED: &str = "and so does \"insecure = true\" in registries.conf";

    #[test]
    fn plain_http_is_advised_with_the_option_of_the_host() {
        let (registry, authority) = (FakeRegistry::start(), Authority::new());
        let blob = registry.add_noise("app", 1000, 1);
        // With --ca-file, the tool does not probe whether a loopback host uses TLS.
        let ca_file = authority.certificate().to_string_lossy().into_owned();
        let run = tool("fetch-blob")
            .args(["--max-wait", "0", "--ca-file", &ca_file, &registry.repo("app"), &blob.digest])
            .run();
        run.fails(6, "the response is not TLS");
        run.says(&format!("hint: --plain-http uses http for this host, {CONFIGURED}\n"));
        let run = copy_from(&registry, &blob, &["--ca-file", &ca_file]);
        run.fails(6, "the response is not TLS");
        run.says(&format!("hint: --from-plain-http uses http for this host, {CONFIGURED}\n"));
        copy_from(&registry, &blob, &["--ca-file", &ca_file, "--from-plain-http"]).ok();
    }

    /// The hint for a registry without TLS names this setting.
    #[test]
    fn insecure_in_registries_conf_serves_all_programs_of_a_pipe() {
        let (registry, authority) = (FakeRegistry::with_image(), Authority::new());
        let ca_file = authority.certificate().to_string_lossy().into_owned();
        let scratch = Scratch::new();
        let text = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.host());
        let file = scratch.write("registries.conf", text);
        let image = format!("{}:1", registry.repo("app"));
        let program = |name: &str, operands: &[&str]| {
            let program = tool(name).args(["--max-wait", "0", "--ca-file", &ca_file]);
            program.args(operands).env("CONTAINERS_REGISTRIES_CONF", &file)
        };
        let small = Image::small();
        let run = program("fetch-manifest", &[&image]).run();
        run.ok().stdout(&small.manifest.bytes);
        let repo = registry.repo("app");
        let run = program("fetch-blob", &[&repo]).stdin(small.config.line()).run();
        run.ok().stdout(&small.config.bytes);
        let run = program("push-blob", &[&registry.repo("other"), "--from", &repo]);
        run.stdin(small.config.line()).run().ok();
    }

    #[test]
    fn an_unknown_authority_is_trusted_by_a_file_in_certs_d() {
        let authority = Authority::new();
        let registry = FakeRegistry::with_image_and_tls(authority.server().server_config());
        let home = Scratch::new();
        let fetch = || {
            let fetch = tool("fetch-manifest").env("HOME", home.path());
            fetch.args(["--max-wait", "0", &format!("{}:1", registry.repo("app"))])
        };
        let run = fetch().run();
        run.fails(6, "certificate not trusted");
        run.says(
            "hint: --ca-file FILE trusts this authority, and so does a .crt file in the host's \
             certs.d directory\n",
        );
        let directory = home.join(".config/containers/certs.d").join(registry.host());
        fs::create_dir_all(&directory).unwrap();
        fs::copy(authority.certificate(), directory.join("ca.crt")).unwrap();
        fetch().run().ok();
    }

    #[test]
    fn a_client_certificate_is_advised_with_an_option_only_for_the_operand() {
        let (authority, clients) = (Authority::new(), Authority::new());
        let registry = FakeRegistry::start_tls(authority.server().server_config_for(&clients));
        let blob = registry.add_noise("app", 1000, 1);
        let ca_file = authority.certificate().to_string_lossy().into_owned();
        let run = tool("fetch-blob")
            .args(["--max-wait", "0", "--ca-file", &ca_file, &registry.repo("app"), &blob.digest])
            .run();
        run.fails(4, "hint: --cert-file FILE and --key-file FILE present a client certificate\n");
        let run = copy_from(&registry, &blob, &["--ca-file", &ca_file]);
        let hint = "hint: a .cert and a .key file in the host's certs.d directory present a client \
                    certificate\n";
        run.fails(4, hint);
    }

    /// Credentials for Docker Hub are stored under `docker.io`, not under the host name of its API.
    #[test]
    fn a_login_is_advised_with_the_name_of_the_reference() {
        let authority = Authority::new();
        let api = "registry-1.docker.io";
        let identity = authority.issue(&format!("DNS:{api}"), "20200101000000Z", "20991231000000Z");
        let registry = FakeRegistry::start_tls(identity.server_config());
        registry.fault(move |_, _| {
            let challenge = format!("Bearer realm=\"https://{api}/token\",service=\"s\"");
            Reply::error(401, "UNAUTHORIZED", "who?").header("WWW-Authenticate", challenge)
        });
        let proxy = Proxy::start(&[("registry-1.docker.io:443", &registry.host())]);
        let run = tool("fetch-manifest")
            .args(["--max-wait", "0", "a/b", "--ca-file"])
            .arg(authority.certificate())
            .env("https_proxy", proxy.url())
            .run();
        run.fails(4, "podman login docker.io or docker login docker.io\n");
    }

    /// As regutils-network(7) says, the user's files apply to all programs of a pipe, without an
    /// option.
    #[test]
    fn files_of_the_user_apply_to_all_programs_of_a_pipe() {
        let authority = Authority::new();
        let registry = FakeRegistry::with_image_and_tls(authority.server().server_config());
        let (home, work) = (Scratch::new(), Scratch::new());
        let host = registry.host();
        let run = || {
            let script = format!(
                "set -e; fetch-manifest {host}/app:1 --into oci:l >m; list-blobs m >lines; \
                 fetch-blob {host}/app --into oci:l <lines >/dev/null; \
                 push-blob {host}/copy --from {host}/app <lines; put-manifest {host}/copy:1 m"
            );
            shell(&script).env("HOME", home.path()).dir(work.path()).run()
        };
        run().status(6);
        let text = format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n");
        let directory = home.join(".config/containers/registries.conf.d");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("local.conf"), text).unwrap();
        run().ok();
        assert_eq!(registry.tags("copy").len(), 1);
    }
}
