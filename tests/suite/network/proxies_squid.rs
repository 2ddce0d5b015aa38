// SPDX-License-Identifier: Apache-2.0
//! squid as a proxy in front of real registries. Only squid can resolve their host name.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::certs::Authority;
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, noise};
use tests::peers::{must, peer};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::squid::{NAME, Setting, Squid};
use tests::tools::{shell, tool};

/// User name and password in a proxy URL: [`tests::logins::USER`] and [`tests::logins::PASSWORD`].
const LOGIN: &str = "me:open%20sesame";

fn port(host: &str) -> &str {
    host.rsplit_once(':').unwrap().1
}

/// An image that is larger than any buffer.
fn image() -> Image {
    Image::of_archives(&[noise(3_000_000, 1), noise(200_000, 2)], "linux", "amd64")
}

/// Pushes an image, fetches it again and compares. The shell variable `options` holds the options
/// of all tools.
const ROUND_TRIP: &str = "
    fetch-manifest oci:in >m &&
    list-blobs m | push-blob $options $repo --from oci:in >pushed &&
    put-manifest $options $repo:1 m >put &&
    fetch-manifest $options $repo:1 --into oci:out >n &&
    list-blobs n | fetch-blob $options $repo --into oci:out >fetched &&
    list-blobs n | verify-digest --from oci:out >verified &&
    cmp m n && list-tags $options $repo";

fn round_trip(repo: &str, options: &str, variable: &str, value: &str) {
    let scratch = Scratch::new();
    tests::images::write_image(&scratch.join("in"), "1", &image());
    let run = shell(ROUND_TRIP)
        .env("repo", repo)
        .env("options", options)
        .env(variable, value)
        .dir(scratch.path())
        .run();
    run.ok().stdout("1\n");
}

#[test]
fn an_image_makes_a_round_trip_with_plain_http() {
    let registry = Registry::start();
    let squid = Squid::start(&Setting::default());
    let repo = format!("{NAME}:{}/app", port(&registry.host()));
    round_trip(&repo, "--plain-http", "http_proxy", &squid.host());
    let answered = squid.wait_for_answers(8);
    assert!(answered.iter().all(|line| line.contains(&format!(" http://{NAME}:"))), "{answered:?}");
    assert!(answered.iter().any(|line| line.starts_with("PUT ") && line.ends_with(" 201")));
}

#[test]
fn an_image_makes_a_round_trip_with_https() {
    let authority = Authority::new();
    let identity = authority.issue(&format!("DNS:{NAME}"), "20200101000000Z", "20991231000000Z");
    let registry = FakeRegistry::start_tls(identity.server_config());
    let squid = Squid::start(&Setting { tunnels: &[registry.server.port()], ..Setting::default() });
    let repo = format!("{NAME}:{}/app", registry.server.port());
    let options = format!("--ca-file {}", authority.certificate().display());
    round_trip(&repo, &options, "https_proxy", &squid.host());
    let answered = squid.wait_for_answers(5);
    let tunnel = format!("CONNECT {NAME}:{} 200", registry.server.port());
    assert!(answered.iter().all(|line| *line == tunnel), "{answered:?}");
}

#[test]
fn skopeo_reads_the_same_through_the_same_proxy() {
    let registry = Registry::start();
    let image = image();
    registry.put_image("app", "1", &image);
    let squid = Squid::start(&Setting::default());
    let reference = format!("{NAME}:{}/app:1", port(&registry.host()));
    let mut skopeo = peer("skopeo");
    skopeo.args(["inspect", "--raw", "--tls-verify=false"]).arg(format!("docker://{reference}"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.to_lowercase().ends_with("_proxy")) {
        skopeo.env_remove(name);
    }
    let theirs = must(skopeo.env("http_proxy", format!("http://{}", squid.host())));
    let ours = tool("fetch-manifest")
        .args(["--plain-http", &reference])
        .env("http_proxy", squid.host())
        .run();
    ours.ok().stdout(&theirs);
}

#[test]
fn a_proxys_password_is_accepted_and_a_missing_or_wrong_one_is_reported() {
    let authority = Authority::new();
    let identity = authority.issue(&format!("DNS:{NAME}"), "20200101000000Z", "20991231000000Z");
    let secure = FakeRegistry::start_tls(identity.server_config());
    let plain = Registry::start();
    let image = Image::small();
    secure.add_image("app", "1", &image);
    plain.put_image("app", "1", &image);
    let tunnels = &[secure.server.port()];
    let squid = Squid::start(&Setting { tunnels, login: true, ..Setting::default() });
    let options =
        [format!("--ca-file={}", authority.certificate().display()), "--plain-http".to_owned()];
    let hosts = [secure.host(), plain.host()];
    for ((option, host), variable) in options.iter().zip(hosts).zip(["https_proxy", "http_proxy"]) {
        let fetch = |value: String| {
            tool("fetch-manifest")
                .args(["--max-wait", "0", option, &format!("{NAME}:{}/app:1", port(&host))])
                .env(variable, value)
                .run()
        };
        fetch(format!("http://{LOGIN}@{}", squid.host())).ok();
        let anonymous = fetch(format!("http://{}", squid.host()));
        anonymous
            .fails(4, &format!("proxy {}: it requires a name and a password: 407", squid.host()));
        let wrong = fetch(format!("http://me:hunter22@{}", squid.host()));
        wrong.fails(4, "it refused the name and password: 407").does_not_say("hunter22");
    }
}

#[test]
fn errors_from_squid_name_the_proxy() {
    let squid = Squid::start(&Setting::default());
    let run = tool("fetch-manifest")
        .args(["--max-wait", "0", &format!("{NAME}/app:1")])
        .env("https_proxy", squid.host())
        .run();
    run.fails(4, &format!("proxy {}: CONNECT to {NAME} failed: 403 Forbidden", squid.host()));
    let run = tool("fetch-manifest")
        .args(["--max-wait", "0", "--retry-times", "2", "--plain-http", &format!("{NAME}:1/app:1")])
        .env("http_proxy", squid.host())
        .run();
    run.fails(5, &format!("the proxy {} or the server behind it: 503", squid.host()));
    assert_eq!(squid.wait_for_answers(3).len(), 3);
}

#[test]
fn tls_to_the_proxy_requires_a_trusted_certificate() {
    let authority = Authority::new();
    let identity = authority.issue(&format!("DNS:{NAME}"), "20200101000000Z", "20991231000000Z");
    let secure = FakeRegistry::start_tls(identity.server_config());
    let plain = Registry::start();
    let tunnels = &[secure.server.port()];
    let squid = Squid::start(&Setting { tunnels, login: true, identity: Some(authority.server()) });
    let value = format!("https://{LOGIN}@{}", squid.host());
    let options = format!("--ca-file {}", authority.certificate().display());
    let repo = format!("{NAME}:{}/app", secure.server.port());
    round_trip(&repo, &options, "https_proxy", &value);

    // The proxy is not trusted without --ca-file. --insecure does not apply to the proxy.
    plain.put_image("app", "1", &Image::small());
    let run = tool("fetch-manifest")
        .args(["--plain-http", &format!("{NAME}:{}/app:1", port(&plain.host()))])
        .env("http_proxy", &value)
        .run();
    run.fails(6, &format!("proxy {}: certificate not trusted", squid.host()));
    let run = tool("fetch-manifest")
        .args(["--insecure", &format!("{repo}:1")])
        .env("https_proxy", &value)
        .run();
    run.fails(6, &format!("proxy {}: certificate not trusted", squid.host()));
    let run = tool("fetch-manifest")
        .args(["--plain-http", &format!("{NAME}:{}/app:1", port(&plain.host()))])
        .arg(options.replace(' ', "="))
        .env("http_proxy", &value)
        .run();
    run.ok();
}
