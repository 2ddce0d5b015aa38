// SPDX-License-Identifier: Apache-2.0
//! fetch-token: tokens for other programs.

use tests::fake::{Intake, Reply};
use tests::fake_registry::{FakeRegistry, TOKEN};
use tests::images::Image;
use tests::logins::{
    PASSWORD, USER, at_home, auths, basic, fetch, keep, login, registry_with_login,
    registry_with_tokens,
};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::tool;

const PUSH_SCOPE: &str = "repository:app:pull,push";

/// A registry whose token server grants anonymous tokens.
fn public() -> FakeRegistry {
    let registry = FakeRegistry::with_tokens();
    registry.add_image("app", "1", &Image::small());
    registry
}

#[test]
fn a_printed_token_works_in_another_run() {
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
    let lines =
        tool("fetch-token").args(["--print-header", &registry.repo("app")]).run().ok().lines();
    assert!(lines[0].starts_with(&format!("Authorization: Bearer {TOKEN}")), "{lines:?}");
}

#[test]
fn the_options_select_the_scopes() {
    let registry = public();
    let app = registry.repo("app");
    let other = registry.repo("other");
    for (args, scopes) in [
        (&[][..], &["repository:app:pull"][..]),
        (&["--push"], &["repository:app:pull,push"]),
        (
            &["--push", "--mount-from", &other],
            &["repository:app:pull,push", "repository:other:pull"],
        ),
        (&["--scope", "registry:catalog:*"], &["registry:catalog:*"]),
        (
            &["--scope", "repository:b:pull,delete", "--scope", "any text"],
            &["repository:b:pull,delete", "any text"],
        ),
        (
            &["--push", "--scope", "repository:app:delete", "--scope", "a:b"],
            &["repository:app:delete,pull,push", "a:b"],
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
fn for_a_registry_without_tokens_only_the_header_is_printed() {
    let registry = registry_with_login();
    let run = || {
        tool("fetch-token")
            .args([&registry.repo("app"), "-u", USER])
            .env("REGISTRY_PASSWORD", PASSWORD)
    };
    run().run().fails(4, "has no tokens").says("hint: --print-header").stdout("");
    run()
        .arg("--print-header")
        .run()
        .ok()
        .stdout(format!("Authorization: {}\n", basic(USER, PASSWORD)));
}

#[test]
fn a_registry_without_authentication_gives_status_3() {
    let registry = FakeRegistry::start();
    tool("fetch-token").arg(registry.repo("app")).run().fails(3, "no authentication").stdout("");
}

#[test]
fn a_challenge_of_the_repository_only_is_found() {
    let registry = public();
    registry.fault(|request, right| match request.path.as_str() {
        "/v2/" => Reply::ok("{}"),
        _ => right,
    });
    tool("fetch-token").arg(registry.repo("app")).run().ok();
    assert_eq!(registry.server.asked().len(), 3);
}

/// A registry that allows anonymous reading, and responds to anonymous writes with this challenge.
fn with_anonymous_reading_only(challenge: &'static str) -> FakeRegistry {
    let registry = FakeRegistry::with_image();
    registry.intake(move |request| {
        let reads = matches!(request.method.as_str(), "GET" | "HEAD");
        if reads || request.header("authorization").is_some() {
            Intake::whole()
        } else {
            let host = request.header("host").unwrap_or_default();
            let challenge = challenge.replace("HOST", host);
            Intake::instead(Reply::new(401).header("WWW-Authenticate", challenge))
        }
    });
    registry
}

#[test]
fn a_challenge_for_writing_only_is_found_with_push() {
    let registry = with_anonymous_reading_only("Bearer realm=\"http://HOST/token\",service=\"s\"");
    let fetch = |args: &[&str]| tool("fetch-token").args(args).arg(registry.repo("app")).run();
    fetch(&[]).fails(3, "no authentication");
    registry.server.forget();
    let lines = fetch(&["--push"]).ok().lines();
    assert!(lines[0].starts_with(TOKEN), "{lines:?}");
    let requests = registry.server.requests();
    assert_eq!(requests.last().map(|r| r.params("scope")), Some(vec![PUSH_SCOPE.to_owned()]));
    assert!(requests.iter().all(|request| request.method != "POST"));
    assert_eq!(registry.sessions(), []);

    let registry = with_anonymous_reading_only("Basic realm=\"it\"");
    let run =
        tool("fetch-token").args(["--push", "--print-header", "-u", USER, &registry.repo("app")]);
    let run = run.env("REGISTRY_PASSWORD", PASSWORD).run();
    run.ok().stdout(format!("Authorization: {}\n", basic(USER, PASSWORD)));
}

#[test]
fn a_refusal_without_a_challenge_gives_status_4() {
    for status in [401, 403] {
        let registry = FakeRegistry::start();
        registry.fault(move |_, _| Reply::new(status));
        let run = tool("fetch-token").args([&registry.repo("app"), "--push"]).run();
        run.fails(4, &status.to_string()).stdout("");
        assert_eq!(registry.server.asked().len(), 3);
    }
}

#[test]
fn the_header_option_sends_a_header_to_the_registry_only() {
    for option in ["-H", "--header"] {
        let registry = public();
        tool("fetch-token").args([&registry.repo("app"), option, "X-Own: 1"]).run().ok();
        let requests = registry.server.requests();
        assert_eq!(requests[0].header("x-own"), Some("1"));
        assert_eq!(requests[1].header("x-own"), None);
    }
}

/// For a scope that changes a repository, the tool looks for a challenge for writing, as with
/// --push.
#[test]
fn a_challenge_for_writing_only_is_found_with_a_scope() {
    let registry = with_anonymous_reading_only("Bearer realm=\"http://HOST/token\",service=\"s\"");
    let fetch =
        |scope: &str| tool("fetch-token").args(["--scope", scope]).arg(registry.repo("app")).run();
    fetch("repository:app:pull").fails(3, "no authentication");
    fetch("registry:catalog:*").fails(3, "no authentication");
    registry.server.forget();
    assert!(fetch("repository:app:delete").ok().lines()[0].starts_with(TOKEN));
    let requests = registry.server.requests();
    let scopes = requests.last().map(|request| request.params("scope"));
    assert_eq!(scopes, Some(vec!["repository:app:delete".to_owned()]));
}

#[test]
fn wrong_usage_gives_status_2() {
    for (args, words) in [
        (&["oci:l"][..], "layout"),
        (&["a.example/b:1"], "without tag"),
        (&["a.example/b", "--mount-from", "a.example/c"], "--push"),
        (&["a.example/b", "--push", "--mount-from", "c.example/c"], "same registry"),
        (&["a.example/b", "--push", "--mount-from", "oci:l"], "same registry"),
        (&["a.example/b", "--scope", ""], "--scope"),
    ] {
        tool("fetch-token").args(args).run().fails(2, words).stdout("");
    }
}

mod with_peers {
    use super::*;

    #[test]
    fn looking_for_a_challenge_leaves_no_upload_session() {
        let registry = Registry::start();
        registry.put_image("app", "1", &Image::small());
        let mark = registry.mark();
        tool("fetch-token")
            .args(["--push", &registry.repo("app")])
            .run()
            .fails(3, "no authentication");
        let steps = registry.steps_since(mark);
        assert_eq!(steps, ["GET /v2/ 200", "GET /v2/app/tags/list 200", "PATCH session 404"]);
        let uploads = registry.storage().join("docker/registry/v2/repositories/app/_uploads");
        assert!(std::fs::read_dir(uploads).is_ok_and(|mut left| left.next().is_none()));
    }
}
