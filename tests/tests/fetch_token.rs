// SPDX-License-Identifier: Apache-2.0
//! fetch-token: tokens for other programs.

use tests::fake::Reply;
use tests::fake_registry::{FakeRegistry, TOKEN};
use tests::images::Image;
use tests::logins::{
    PASSWORD, USER, at_home, auths, basic, fetch, keep, login, registry_with_login,
    registry_with_tokens,
};
use tests::scratch::Scratch;
use tests::tools::tool;

/// A registry that gives tokens to anybody.
fn public() -> FakeRegistry {
    let registry = FakeRegistry::with_tokens();
    registry.add_image("app", "1", &Image::small());
    registry
}

#[test]
fn a_token_is_printed_and_serves_another_run() {
    let registry = public();
    let lines = tool("fetch-token").arg(registry.repo("app")).run().ok().lines();
    assert!(lines.len() == 1 && lines[0].starts_with(TOKEN), "{lines:?}");
    assert_eq!(registry.server.asked().len(), 2);
    registry.server.forget();
    let run = fetch(&registry, &Scratch::new()).env("REGISTRY_TOKEN", &lines[0]).run();
    run.ok().stdout(&Image::small().manifest.bytes);
    assert_eq!(registry.server.asked().len(), 1);
}

#[test]
fn the_whole_header_is_printed() {
    let registry = public();
    let lines = tool("fetch-token").args(["--header", &registry.repo("app")]).run().ok().lines();
    assert!(lines[0].starts_with(&format!("Authorization: Bearer {TOKEN}")), "{lines:?}");
}

#[test]
fn what_is_asked_for_is_what_is_to_be_done() {
    let registry = public();
    let (app, other) = (registry.repo("app"), registry.repo("other"));
    for (args, scopes) in [
        (&[][..], &["repository:app:pull"][..]),
        (&["--push"], &["repository:app:pull,push"]),
        (
            &["--push", "--mount-from", &other],
            &["repository:app:pull,push", "repository:other:pull"],
        ),
    ] {
        registry.server.forget();
        tool("fetch-token").arg(&app).args(args).run().ok();
        assert_eq!(registry.server.requests()[1].params("scope"), scopes);
    }
}

#[test]
fn the_users_credentials_are_used() {
    let registry = registry_with_tokens();
    let home = Scratch::new();
    let run = || at_home(tool("fetch-token").arg(registry.repo("app")), home.path());
    run().run().fails(4, "login needed").stdout("");
    keep(&home, ".docker/config.json", &auths(&registry.host(), &login(USER, PASSWORD)));
    run().run().ok();
    run().args(["-u", USER, "--password-stdin"]).stdin("a guess").run().fails(4, "refused");
}

#[test]
fn a_registry_without_tokens_has_a_header_alone() {
    let registry = registry_with_login();
    let run = || {
        tool("fetch-token")
            .args([&registry.repo("app"), "-u", USER])
            .env("REGISTRY_PASSWORD", PASSWORD)
    };
    run().run().fails(4, "has no tokens").says("hint: --header").stdout("");
    run().arg("--header").run().ok().stdout(format!("Authorization: {}\n", basic(USER, PASSWORD)));
}

#[test]
fn a_registry_that_asks_nobody_is_3() {
    let registry = FakeRegistry::start();
    tool("fetch-token").arg(registry.repo("app")).run().fails(3, "asks nobody").stdout("");
}

#[test]
fn a_registry_that_asks_only_at_the_repository_is_understood() {
    let registry = public();
    registry.fault(|request, right| match request.path.as_str() {
        "/v2/" => Reply::ok("{}"),
        _ => right,
    });
    tool("fetch-token").arg(registry.repo("app")).run().ok();
    assert_eq!(registry.server.asked().len(), 3);
}

#[test]
fn a_header_for_the_registry_is_given_by_its_short_name() {
    let registry = public();
    tool("fetch-token").args([&registry.repo("app"), "-H", "X-Own: 1"]).run().ok();
    let requests = registry.server.requests();
    assert_eq!(requests[0].header("x-own"), Some("1"));
    assert_eq!(requests[1].header("x-own"), None);
}

#[test]
fn wrong_calls_are_2() {
    for (args, words) in [
        (&["oci:l"][..], "layout"),
        (&["a.example/b:1"], "without tag"),
        (&["a.example/b", "--mount-from", "a.example/c"], "--push"),
        (&["a.example/b", "--push", "--mount-from", "c.example/c"], "same registry"),
        (&["a.example/b", "--push", "--mount-from", "oci:l"], "same registry"),
    ] {
        tool("fetch-token").args(args).run().fails(2, words).stdout("");
    }
}
