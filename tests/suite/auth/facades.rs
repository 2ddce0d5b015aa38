// SPDX-License-Identifier: Apache-2.0
//! Registries that redirect all requests to another registry. The other registry may require an
//! anonymous token. It never receives a credential.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::commands::{fetch_blob, fetch_manifest, plain};
use tests::fake::{Reply, Server};
use tests::fake_registry::{FakeRegistry, TOKEN};
use tests::images::Image;
use tests::logins::{PASSWORD, USER, auths, keep, login};
use tests::scratch::Scratch;
use tests::tools::tool;
use tests::trace::script;

/// A server that redirects all requests to a registry.
fn facade_of(registry: &FakeRegistry) -> Server {
    let host = registry.host();
    Server::start(move |request| Reply::redirect(307, &format!("http://{host}{}", request.target)))
}

fn with_image() -> FakeRegistry {
    let registry = FakeRegistry::with_tokens();
    registry.add_image("app", "1", &Image::small());
    registry
}

fn app(facade: &Server) -> String {
    format!("{}/app", facade.url().trim_start_matches("http://"))
}

#[test]
fn another_registry_gets_an_anonymous_token() {
    let registry = with_image();
    let facade = facade_of(&registry);
    let image = Image::small();
    let run = fetch_manifest().arg(format!("{}:1", app(&facade))).run();
    run.ok().silent().stdout(&image.manifest.bytes);
    let run = fetch_manifest().args(["--digest", &format!("{}:1", app(&facade))]).run();
    run.ok().stdout(format!("{}\n", image.manifest.digest));
    let layer = &image.layers[0];
    fetch_blob().args([&app(&facade), &layer.digest]).run().ok().stdout(&layer.bytes);
    plain("list-tags").arg(app(&facade)).run().ok().stdout("1\n");
}

#[test]
fn one_token_serves_all_blobs() {
    let registry = with_image();
    let facade = facade_of(&registry);
    let scratch = Scratch::new();
    let lines = Image::small().lines();
    let run = fetch_blob()
        .args(["-j", "1", &app(&facade), "--into", "oci:l"])
        .stdin(lines.clone())
        .dir(scratch.path())
        .run();
    run.status(0).stdout(lines);
    let asked = registry.server.requests();
    assert_eq!(asked.iter().filter(|request| request.path.starts_with("/token")).count(), 1);
}

#[test]
fn credentials_do_not_reach_the_other_registry() {
    let registry = with_image();
    let facade = facade_of(&registry);
    let home = Scratch::new();
    let host = app(&facade).replace("/app", "");
    keep(&home, ".docker/config.json", &auths(&host, &login(USER, PASSWORD)));
    let run = fetch_manifest()
        .arg(format!("{}:1", app(&facade)))
        .args(["-H", "X-Key: hush"])
        .env("HOME", home.path())
        .run();
    run.ok().stdout(&Image::small().manifest.bytes);
    for request in registry.server.requests() {
        assert!(request.header("x-key").is_none(), "{request:?}");
        let authorization = request.header("authorization").unwrap_or_default();
        let is_token = authorization.starts_with(&format!("Bearer {TOKEN}"));
        assert!(authorization.is_empty() || is_token, "{request:?}");
    }
}

#[test]
fn another_registry_that_requires_a_login_is_named() {
    let registry = with_image();
    registry.grant(|_| false);
    let facade = facade_of(&registry);
    let run = fetch_manifest().arg(format!("{}:1", app(&facade))).run();
    run.fails(4, &registry.host()).does_not_say("storage").stdout("");
    // The result is the same if the other registry requires Basic authentication.
    let basic = FakeRegistry::with_image();
    basic.fault(|_, _| Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""));
    let facade = facade_of(&basic);
    let run = fetch_manifest().arg(format!("{}:1", app(&facade))).run();
    let words = format!("redirected to {}, which requires a login", basic.host());
    run.fails(4, &words).does_not_say("storage").stdout("");
}

#[test]
fn another_registrys_token_server_is_checked() {
    for (realm, words) in [
        ("http://169.254.169.254/token", "a link-local address"),
        ("http://10.1.2.3/token", "a private address"),
        ("file:///token", "invalid URL"),
        ("/token", "not an absolute URL"),
    ] {
        let registry = FakeRegistry::with_image();
        let challenge = format!("Bearer realm=\"{realm}\"");
        registry.fault(move |_, _| Reply::new(401).header("WWW-Authenticate", &challenge));
        let facade = facade_of(&registry);
        let run = fetch_manifest().arg(format!("{}:1", app(&facade))).run();
        run.fails(6, words).says("token realm").stdout("");
    }
}

/// After a refused token, no other token is fetched.
#[test]
fn a_refused_anonymous_token_is_final() {
    let tokens = Server::start(|_| Reply::ok("{\"token\":\"t\"}"));
    let registry = FakeRegistry::with_image();
    let challenge = format!("Bearer realm=\"{}/token\"", tokens.url());
    registry.fault(move |_, _| Reply::new(401).header("WWW-Authenticate", &challenge));
    let facade = facade_of(&registry);
    let run = fetch_manifest().arg(format!("{}:1", app(&facade))).run();
    run.fails(4, "which requires a login").stdout("");
    assert_eq!(tokens.requests().len(), 1);
    assert!(registry.server.requests().len() <= 4);
}

/// Storage that refuses a signed URL with a challenge is not treated as a registry.
#[test]
fn a_challenge_of_storage_is_not_answered() {
    let tokens = Server::start(|_| Reply::ok("{\"token\":\"t\"}"));
    for target in ["/bucket/x", "/v2/app/blobs/x?X-Amz-Signature=abc"] {
        let challenge = format!("Bearer realm=\"{}/token\"", tokens.url());
        let storage =
            Server::start(move |_| Reply::new(401).header("WWW-Authenticate", &challenge));
        let registry = FakeRegistry::with_image();
        let url = format!("{}{target}", storage.url());
        registry.fault(move |_, _| Reply::redirect(307, &url));
        let run = fetch_manifest().arg(format!("{}:1", registry.repo("app"))).run();
        run.fails(4, "").stdout("");
        assert!(tokens.requests().is_empty(), "{target}");
    }
}

#[test]
fn the_trace_repeats_what_was_done() {
    let registry = with_image();
    let facade = facade_of(&registry);
    let run = tool("fetch-manifest")
        .args(["--trace", "--max-wait", "0", &format!("{}:1", app(&facade))])
        .run();
    run.status(0).does_not_say(TOKEN);
}

mod with_peers {
    use super::*;

    #[test]
    fn the_trace_as_a_script_fetches_the_same() {
        let registry = with_image();
        let facade = facade_of(&registry);
        let run = tool("fetch-manifest")
            .args(["--trace", "--max-wait", "0", &format!("{}:1", app(&facade))])
            .run();
        let fetched = script(&run, &Scratch::new()).run();
        let manifest = Image::small().manifest.bytes;
        assert!(fetched.stdout.ends_with(&manifest), "{fetched}");
    }
}
