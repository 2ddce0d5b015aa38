// SPDX-License-Identifier: Apache-2.0
//! Credentials that users store in files: the files, the servers that get the credentials, and the
//! errors if they are wrong.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::fake::{Reply, Server};
use tests::fake_registry::{FakeRegistry, TOKEN};
use tests::images::{Image, noise};
use tests::logins::{
    PASSWORD, USER, at_home, auths, basic, fetch, keep, let_in, login, registry_with_login,
    registry_with_tokens,
};
use tests::scratch::Scratch;
use tests::tools::tool;

const DOCKER: &str = ".docker/config.json";

/// A home whose docker configuration has the credential for the registry's host.
fn home(registry: &FakeRegistry) -> Scratch {
    let home = Scratch::new();
    keep(&home, DOCKER, &auths(&registry.host(), &login(USER, PASSWORD)));
    home
}

#[test]
fn a_password_is_sent_after_a_challenge_and_with_every_later_request() {
    let registry = registry_with_login();
    let home = home(&registry);
    let_in(&fetch(&registry, &home).run());
    let sent: Vec<_> = registry.server.requests();
    let sent: Vec<_> = sent.iter().map(|request| request.header("authorization")).collect();
    assert_eq!(sent, [None, Some(basic(USER, PASSWORD).as_str())]);

    registry.server.forget();
    let image = Image::small();
    let run = tool("fetch-blob").args([&registry.repo("app"), "--into", "oci:l"]);
    let run = at_home(run, home.path()).dir(home.path()).stdin(image.lines()).run();
    run.ok().stdout(image.lines());
    let sent = registry.server.requests();
    let without = sent.iter().filter(|request| request.header("authorization").is_none());
    assert_eq!(without.count(), 1, "{:?}", registry.server.asked());
}

#[test]
fn a_token_server_gets_the_password_and_the_registry_only_the_token() {
    let registry = registry_with_tokens();
    let_in(&fetch(&registry, &home(&registry)).run());
    let requests = registry.server.requests();
    let paths: Vec<_> = requests.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/v2/app/manifests/1", "/token", "/v2/app/manifests/1"]);
    assert_eq!(requests[0].header("authorization"), None);
    assert_eq!(requests[1].header("authorization"), Some(basic(USER, PASSWORD).as_str()));
    assert_eq!(requests[1].param("account").as_deref(), Some(USER));
    assert!(requests[2].header("authorization").unwrap().starts_with(&format!("Bearer {TOKEN}")));
}

#[test]
fn every_location_of_credential_files_is_searched() {
    for (variable, value, file) in [
        ("REGISTRY_AUTH_FILE", "own.json", "own.json"),
        ("XDG_RUNTIME_DIR", "run", "run/containers/auth.json"),
        ("XDG_CONFIG_HOME", "config", "config/containers/auth.json"),
        ("X", "x", ".config/containers/auth.json"),
        ("DOCKER_CONFIG", "docker", "docker/config.json"),
        ("X", "x", DOCKER),
    ] {
        let registry = registry_with_login();
        let home = Scratch::new();
        keep(&home, file, &auths(&registry.host(), &login(USER, PASSWORD)));
        let run = fetch(&registry, &home).env(variable, home.join(value)).run();
        assert_eq!(run.code(), Some(0), "{file}: {run}");
        let_in(&run);
    }
}

#[test]
fn a_named_credential_file_is_the_only_one_used() {
    let registry = registry_with_login();
    let home = home(&registry);
    keep(&home, "empty.json", &json!({}));
    keep(&home, "own.json", &auths(&registry.host(), &login(USER, PASSWORD)));
    let empty = home.join("empty.json");
    fetch(&registry, &home).arg("--authfile").arg(&empty).run().fails(4, "login needed");
    fetch(&registry, &home).env("REGISTRY_AUTH_FILE", &empty).run().fails(4, "login needed");
    // The flag takes precedence over the variable.
    let run = fetch(&registry, &home).env("REGISTRY_AUTH_FILE", &empty).arg("--authfile");
    let_in(&run.arg(home.join("own.json")).run());
    fetch(&registry, &home).args(["--authfile", "/nowhere"]).run().fails(3, "/nowhere");
}

#[test]
fn the_first_file_with_an_entry_for_the_host_is_used() {
    let registry = registry_with_login();
    let home = home(&registry);
    keep(&home, ".config/containers/auth.json", &auths("other.example", &login("a", "b")));
    let_in(&fetch(&registry, &home).run());
    let file = ".config/containers/auth.json";
    keep(&home, file, &auths(&registry.host(), &login("other", PASSWORD)));
    fetch(&registry, &home).run().fails(4, "credentials refused");
}

#[test]
fn the_most_specific_key_is_used() {
    let registry = registry_with_login();
    let host = registry.host();
    let (right, wrong) = (login(USER, PASSWORD), login("other", "wrong"));
    let cases: [Value; 5] = [
        json!({(&host): wrong, format!("{host}/app"): right}),
        json!({format!("https://{host}/v1/"): wrong, (&host): right}),
        json!({(&host): right, format!("{host}/ap"): wrong, format!("{host}/app/x"): wrong}),
        json!({format!("http://{host}"): right, "127.0.0.1": wrong}),
        // Docker stores an empty entry if a helper has the credential.
        json!({format!("{host}/app"): {}, (&host): right}),
    ];
    for case in cases {
        let home = Scratch::new();
        keep(&home, DOCKER, &json!({"auths": case}));
        let run = fetch(&registry, &home).run();
        assert_eq!(run.code(), Some(0), "{case}: {run}");
    }
}

#[test]
fn a_wrong_password_is_tried_once_by_all_connections_together() {
    for registry in [registry_with_login(), registry_with_tokens()] {
        let home = Scratch::new();
        keep(&home, DOCKER, &auths(&registry.host(), &login(USER, "a guess")));
        let image =
            Image::of_archives(&[1, 2, 3, 4].map(|seed| noise(1000, seed)), "linux", "amd64");
        registry.add_image("app", "2", &image);
        let run = tool("fetch-blob").args([&registry.repo("app"), "--into", "oci:l", "-j", "4"]);
        let run = at_home(run, home.path()).dir(home.path()).stdin(image.lines()).run();
        run.fails(4, "credentials refused").says(DOCKER).does_not_say("a guess").stdout("");
        let wrong = basic(USER, "a guess");
        let requests = registry.server.requests();
        let tried = requests.iter().filter(|r| r.header("authorization") == Some(&wrong));
        assert_eq!(tried.count(), 1, "{:?}", registry.server.asked());
    }
}

#[test]
fn an_unreadable_credential_file_does_not_prevent_anonymous_access() {
    let cases = ["{", "[]", "{\"auths\":{\"HOST\":{\"auth\":\"%\"}}}"];
    for text in cases {
        let public = FakeRegistry::with_tokens();
        public.add_image("app", "1", &Image::small());
        let home = Scratch::new();
        home.write(DOCKER, text.replace("HOST", &public.host()));
        let run = fetch(&public, &home).run();
        run.status(0).says("warning: credentials not read").says(DOCKER);
        run.stdout(&Image::small().manifest.bytes);

        let private = registry_with_login();
        home.write(DOCKER, text.replace("HOST", &private.host()));
        let run = fetch(&private, &home).arg("-q").run();
        run.fails(4, "login needed").says("hint: some credentials could not be read").says(DOCKER);
    }
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let registry = registry_with_login();
    let home = home(&registry);
    let text = std::fs::read_to_string(home.join(DOCKER)).unwrap();
    let padded = |len: usize| format!("{text}{}", " ".repeat(len - text.len()));
    home.write(DOCKER, padded(1 << 20));
    let_in(&fetch(&registry, &home).run());
    home.write(DOCKER, padded((1 << 20) + 1));
    fetch(&registry, &home).run().fails(4, "login needed").says("larger than");
}

#[test]
fn a_credential_file_readable_by_others_causes_a_warning_when_used() {
    let registry = registry_with_login();
    let home = home(&registry);
    home.chmod(DOCKER, 0o644);
    let run = fetch(&registry, &home).run();
    assert_eq!(run.status(0).stderr.lines().count(), 1, "{run}");
    run.says("warning: ").says("others can read it (mode 0644)");
    fetch(&registry, &home).arg("-q").run().ok();
    let public = FakeRegistry::with_image();
    let_in(&fetch(&public, &home).run());
}

#[test]
fn a_stored_registry_token_is_sent_as_the_bearer_token() {
    let registry = FakeRegistry::with_image();
    registry.fault(|request, right| match request.header("authorization") {
        Some("Bearer its-own") => right,
        _ => Reply::new(401).header("WWW-Authenticate", "Bearer realm=\"http://127.0.0.1:1/\""),
    });
    let home = Scratch::new();
    keep(&home, DOCKER, &auths(&registry.host(), &json!({"registrytoken": "its-own"})));
    let_in(&fetch(&registry, &home).run());
    assert_eq!(registry.server.requests().len(), 2);
}

#[test]
fn an_identity_token_is_sent_by_post() {
    let registry = FakeRegistry::with_image();
    let home = Scratch::new();
    let entry = json!({"auth": tests::logins::base64("<token>:"), "identitytoken": "id+1"});
    keep(&home, DOCKER, &auths(&registry.host(), &entry));
    registry.fault(|request, right| {
        let host = request.header("host").unwrap();
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
        match (request.path.as_str(), request.header("authorization")) {
            ("/token", _) => Reply::json(200, &json!({"access_token": "posted"})),
            (_, Some("Bearer posted")) => right,
            _ => Reply::new(401).header("WWW-Authenticate", challenge),
        }
    });
    let_in(&fetch(&registry, &home).run());
    assert_eq!(registry.server.requests().len(), 3);
    let request = registry.server.requests().into_iter().find(|r| r.path == "/token").unwrap();
    let fields = String::from_utf8(request.body.clone()).unwrap();
    assert_eq!(request.method, "POST");
    assert_eq!(request.header("authorization"), None);
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    for field in [
        "grant_type=refresh_token",
        "client_id=regutils",
        "scope=repository:app:pull",
        "refresh_token=id%2B1",
        "service=",
    ] {
        assert!(fields.contains(field), "{field} in {fields}");
    }
}

#[test]
fn a_token_server_without_identity_tokens_is_asked_by_get() {
    for status in [400, 401, 403, 404, 405, 501] {
        let registry = FakeRegistry::with_tokens();
        registry.add_image("app", "1", &Image::small());
        registry.fault(move |request, right| match request.method.as_str() {
            "POST" => Reply::new(status),
            _ => right,
        });
        let home = Scratch::new();
        let entry = json!({"auth": tests::logins::base64("me:"), "identitytoken": "id-1"});
        keep(&home, DOCKER, &auths(&registry.host(), &entry));
        let_in(&fetch(&registry, &home).run());
        let get = &registry.server.requests()[2];
        assert_eq!(get.header("authorization"), Some(basic("me", "id-1").as_str()), "{status}");

        let entry = json!({"auth": tests::logins::base64("<token>:id-1")});
        keep(&home, DOCKER, &auths(&registry.host(), &entry));
        let run = fetch(&registry, &home).run();
        run.status(0).says("does not accept identity tokens").does_not_say("id-1");
    }
}

#[test]
fn a_redirect_from_the_token_server_does_not_carry_the_password() {
    let registry = registry_with_tokens();
    let elsewhere = Server::start(|_| Reply::json(200, &json!({"token": "x"})));
    let target = format!("{}/token", elsewhere.url());
    registry.fault(
        move |request, right| {
            if request.path == "/token" { Reply::redirect(307, &target) } else { right }
        },
    );
    fetch(&registry, &home(&registry)).run().fails(4, "");
    // The registry refuses the token `x`, so the client fetches another token.
    let requests = elsewhere.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_token_without_enough_scope_is_replaced_once() {
    let registry = registry_with_tokens();
    registry.fault(|request, right| {
        if !request.is_manifest() || request.earlier == 0 {
            return right;
        }
        let challenge = format!(
            "Bearer realm=\"http://{}/token\",service=\"s\",scope=\"repository:more:pull\",\
             error=\"insufficient_scope\"",
            request.header("host").unwrap()
        );
        Reply::error(401, "UNAUTHORIZED", "more").header("WWW-Authenticate", challenge)
    });
    let run = fetch(&registry, &home(&registry)).run();
    run.fails(4, "credentials refused, or no such repository").stdout("");
    let tokens: Vec<_> = registry.server.requests();
    let tokens: Vec<_> = tokens.iter().filter(|r| r.path == "/token").collect();
    assert_eq!(tokens.len(), 2);
    assert_eq!(tokens[1].params("scope"), ["repository:more:pull", "repository:app:pull"]);
}

#[test]
fn a_refused_login_is_named_with_a_hint_how_to_pull_without_it() {
    let registry = FakeRegistry::with_tokens();
    registry.add_image("app", "1", &Image::small());
    registry.fault(|request, right| {
        if request.path == "/token" && request.header("authorization").is_some() {
            Reply::error(403, "DENIED", "expired")
        } else {
            right
        }
    });
    let home = home(&registry);
    let run = fetch(&registry, &home).run();
    let hint = "config.json; for public images, --authfile /dev/null uses no credentials";
    run.status(4).says(hint).does_not_say(PASSWORD);
    let_in(&fetch(&registry, &home).args(["--authfile", "/dev/null"]).run());
    // A credential from an option or a variable is not skipped.
    let run = fetch(&registry, &home).args(["-u", "me"]).env("REGISTRY_PASSWORD", "x").run();
    run.status(4).says("--username").does_not_say("/dev/null");
}
