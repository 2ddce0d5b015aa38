// SPDX-License-Identifier: Apache-2.0
//! The scripted registry and two real ones, all with tokens, get the same requests. The challenges
//! and the accepted tokens are compared. The module `doubles` describes the rules of the
//! comparison.

use tests::compare::{Step, ask, compare_at};
use tests::fake_registry::FakeRegistry;
use tests::images::sha256;
use tests::registry::Registry;
use tests::token_server::TokenServer;

fn compare(steps: &[Step]) {
    let double = FakeRegistry::with_tokens();
    let tokens = TokenServer::new();
    let second = Registry::with_tokens_of(&tokens);
    let third = Registry::version_3_with_tokens_of(&tokens);
    compare_at([double.host(), second.host(), third.host()], steps);
}

/// A request with a token for this scope.
fn with_token(step: Step, scope: &str) -> Step {
    step.with(&format!("Authorization: Bearer {{token {scope}}}"))
}

#[test]
fn challenges_name_the_same_scopes() {
    let digest = sha256(b"none");
    let blob = format!("app/blobs/{digest}");
    compare(&[
        ask("GET", "/v2/"),
        ask("GET", "_catalog"),
        ask("GET", "app/manifests/1"),
        ask("HEAD", "app/manifests/1"),
        ask("PUT", "app/manifests/1").body("{}"),
        ask("DELETE", "app/manifests/1"),
        ask("GET", &blob),
        ask("HEAD", &blob),
        ask("DELETE", &blob),
        ask("GET", "some/app/tags/list"),
        ask("POST", "app/blobs/uploads/"),
        ask("POST", &format!("app/blobs/uploads/?mount={digest}&from=base")),
        ask("POST", &format!("app/blobs/uploads/?mount={digest}")),
    ]);
}

#[test]
fn a_token_that_does_not_suffice_is_refused_in_the_same_way() {
    let list = || ask("GET", "app/tags/list");
    let start = || ask("POST", "app/blobs/uploads/");
    compare(&[
        list(),
        list().with("Authorization: Bearer junk"),
        with_token(list(), "repository:other:pull"),
        with_token(start(), "repository:app:pull"),
        with_token(start(), ""),
    ]);
}

#[test]
fn a_token_that_suffices_is_accepted_in_the_same_way() {
    let digest = sha256(b"some data");
    let mount = format!("copy/blobs/uploads/?mount={digest}&from=app");
    let both = "repository:copy:pull,push&scope=repository:app:pull";
    let app = "repository:app:pull,push";
    let with = |method: &str, path: &str, scope: &str| with_token(ask(method, path), scope);
    compare(&[
        ask("GET", "/v2/"),
        with("GET", "/v2/", ""),
        with("GET", "_catalog", "registry:catalog:*"),
        with("GET", "app/tags/list", "repository:app:pull"),
        with("POST", "app/blobs/uploads/", app),
        with("PUT", &format!("{{location}}&digest={digest}"), app).body("some data"),
        with("POST", &mount, "repository:copy:pull,push"),
        with("POST", &mount, both),
        with("POST", "app/blobs/uploads/", app),
        with("PATCH", "{location}", "repository:app:pull").body("some"),
        with("PATCH", "{location}", app).body("some"),
        with("GET", "{location}", "repository:app:pull"),
        with("DELETE", "{location}", app),
        with("DELETE", "{location}", "repository:app:pull,push,delete"),
    ]);
}
