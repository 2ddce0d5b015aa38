// SPDX-License-Identifier: Apache-2.0
//! Credential helpers: correct ones and failing ones.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::fake_registry::FakeRegistry;
use tests::images::Image;
use tests::logins::{
    PASSWORD, USER, at_home, fetch, helper, keep, let_in, login, registry_with_login,
    registry_with_tokens,
};
use tests::scratch::Scratch;
use tests::tools::tool;

const DOCKER: &str = ".docker/config.json";

/// A helper that always prints the credential, and records its arguments and input.
fn right() -> String {
    let answer = json!({"ServerURL": "x", "Username": USER, "Secret": PASSWORD});
    format!("printf '%s ' \"$@\" >>\"$HOME/asked\"; cat >>\"$HOME/asked\"\necho '{answer}'")
}

/// A home with this docker configuration, and helpers given by names and scripts.
fn home(config: &Value, helpers: &[(&str, &str)]) -> Scratch {
    let home = Scratch::new();
    keep(&home, DOCKER, config);
    for (name, script) in helpers {
        helper(&home, name, script);
    }
    home
}

fn asked(home: &Scratch) -> String {
    std::fs::read_to_string(home.join("asked")).unwrap_or_default()
}

#[test]
fn a_helper_is_asked_for_the_host_after_a_challenge() {
    for registry in [registry_with_login(), registry_with_tokens()] {
        let host = registry.host();
        for config in [json!({"credsStore": "right"}), json!({"credHelpers": {(&host): "right"}})] {
            let home = home(&config, &[("right", &right())]);
            let_in(&fetch(&registry, &home).run());
            assert_eq!(asked(&home), format!("get {host}\n"));
        }
    }
}

#[test]
fn a_helper_is_not_asked_without_a_challenge() {
    let registry = FakeRegistry::with_image();
    let home = home(&json!({"credsStore": "right"}), &[("right", &right())]);
    let_in(&fetch(&registry, &home).run());
    assert_eq!(asked(&home), "");
}

#[test]
fn a_registrys_own_helper_takes_precedence_over_the_default_helper() {
    let registry = registry_with_login();
    let config = json!({"credsStore": "wrong", "credHelpers": {registry.host(): "right"}});
    let home = home(&config, &[("right", &right()), ("wrong", "exit 1")]);
    let_in(&fetch(&registry, &home).run());
}

#[test]
fn a_file_is_used_if_the_helper_has_no_credential() {
    let registry = registry_with_login();
    let config = json!({"credsStore": "empty", "auths": {registry.host(): login(USER, PASSWORD)}});
    let script = "echo 'credentials not found in native keychain'; exit 1";
    let_in(&fetch(&registry, &home(&config, &[("empty", script)])).run());
}

#[test]
fn an_identity_token_from_a_helper_is_sent_by_post() {
    let registry = FakeRegistry::with_tokens();
    registry.add_image("app", "1", &Image::small());
    let answer = json!({"Username": "<token>", "Secret": "id-1"});
    let script = format!("echo '{answer}'");
    let home = home(&json!({"credsStore": "id"}), &[("id", &script)]);
    fetch(&registry, &home).run();
    let request = registry.server.requests().into_iter().find(|r| r.path == "/token").unwrap();
    assert_eq!(request.method, "POST");
    assert!(String::from_utf8_lossy(&request.body).contains("refresh_token=id-1"));
}

#[test]
fn a_failing_helper_does_not_prevent_anonymous_access() {
    let public = FakeRegistry::with_tokens();
    public.add_image("app", "1", &Image::small());
    let private = registry_with_login();
    for (script, words) in [
        ("echo 'not logged in'; echo noise >&2; exit 1", "it failed: not logged in"),
        ("exit 3", "it failed: exit status: 3"),
        ("kill -9 $$", "it failed: signal: 9"),
        ("echo junk", "its response is not JSON"),
        ("exec </dev/null; exit 0", "its response is not JSON"),
        (
            "echo '{\"Username\":\"a:b\",\"Secret\":\"hush hush\"}'",
            "the user name contains a colon",
        ),
        ("yes '{}'", "larger than 65536 bytes"),
        ("exec sleep 600", "no response after 0.2 seconds"),
        ("sleep 5 & exec >&- <&-; wait", "its response is not JSON"),
    ] {
        let home = home(&json!({"credsStore": "it"}), &[("it", script)]);
        // A short limit for the helpers that sleep, and a long one for the others, which may be
        // slow.
        let limit = if script.contains("sleep") { "0.2" } else { "30" };
        let run = fetch(&public, &home).args(["--idle-timeout", limit]).run();
        assert_eq!(run.code(), Some(0), "{script}: {run}");
        run.stdout(&Image::small().manifest.bytes);
        assert_eq!(run.stderr.lines().count(), 1, "{script}: {run}");
        run.says("warning: credentials not read: docker-credential-it: ");
        run.does_not_say("hush").does_not_say("noise");
        if !script.contains("sleep 5") {
            run.says(words);
        }
        let run = fetch(&private, &home).args(["--idle-timeout", limit, "-q"]).run();
        run.fails(4, "login needed").says("docker-credential-it");
    }
}

#[test]
fn a_missing_helper_is_named_in_the_error() {
    let registry = registry_with_login();
    for name in ["none-such", "../bin/sh"] {
        let run = fetch(&registry, &home(&json!({"credsStore": name}), &[])).run();
        run.fails(4, "login needed").says(&format!("docker-credential-{name}: "));
    }
}

#[test]
fn a_helper_does_not_inherit_the_password_variable() {
    let registry = registry_with_login();
    let script = "echo \"${REGISTRY_PASSWORD-none}\" >\"$HOME/asked\"; exit 1";
    let home = home(&json!({"credsStore": "it"}), &[("it", script)]);
    fetch(&registry, &home).env("REGISTRY_PASSWORD", "another's").run().fails(4, "");
    assert_eq!(asked(&home), "none\n");
}

#[test]
fn a_copy_within_one_registry_runs_the_helper_once() {
    let registry = registry_with_login();
    let image = Image::small();
    let home = home(&json!({"credsStore": "right"}), &[("right", &right())]);
    let push = tool("push-blob")
        .args(["--max-wait", "0", &registry.repo("copy"), "--from", &registry.repo("app")])
        .stdin(image.lines());
    let run = at_home(push, home.path()).run();
    run.ok().stdout(image.lines());
    assert_eq!(asked(&home), format!("get {}\n", registry.host()));
}
