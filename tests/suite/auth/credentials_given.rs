// SPDX-License-Identifier: Apache-2.0
//! Credentials given on the command line and in the environment: the ways to give them, the
//! registry that gets them, and refused ones.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::fake::Reply;
use tests::fake_registry::FakeRegistry;
use tests::images::Image;
use tests::logins::{
    PASSWORD, USER, auths, basic, fetch, keep, let_in, login, registry_with_login,
};
use tests::scratch::Scratch;
use tests::tools::tool;

#[test]
fn a_password_is_read_from_stdin_a_file_or_the_environment() {
    let registry = registry_with_login();
    let home = Scratch::new();
    let fetch = || fetch(&registry, &home).args(["-u", USER]);
    let_in(&fetch().arg("--password-stdin").stdin(PASSWORD).run());
    let_in(&fetch().arg("--password-stdin").stdin(format!("{PASSWORD}\n")).run());
    let_in(&fetch().args(["--password-file", "-"]).stdin(PASSWORD).run());
    let_in(&fetch().env("REGISTRY_PASSWORD", PASSWORD).run());
    let file = home.write("password", format!("{PASSWORD}\r\n"));
    home.chmod("password", 0o600);
    let_in(&fetch().arg("--password-file").arg(&file).run());
    // The flag takes precedence over the variable.
    let_in(&fetch().env("REGISTRY_PASSWORD", "x").arg("--password-file").arg(&file).run());
    home.chmod("password", 0o644);
    let run = fetch().arg("--password-file").arg(&file).run();
    run.status(0).says("others can read it");
}

#[test]
fn a_given_password_takes_precedence_over_stored_credentials() {
    let registry = registry_with_login();
    let home = Scratch::new();
    keep(&home, ".docker/config.json", &auths(&registry.host(), &login(USER, PASSWORD)));
    let run = fetch(&registry, &home).args(["-u", USER]).env("REGISTRY_PASSWORD", "wrong one");
    run.run().fails(4, "credentials refused").says("$REGISTRY_PASSWORD").does_not_say("wrong one");
}

#[test]
fn usage_errors_exit_with_2_and_send_no_request() {
    let registry = registry_with_login();
    let home = Scratch::new();
    for (args, words) in [
        (&["-u", "me"][..], "without a password"),
        (&["-u", "a:b", "--password-stdin"], "colon"),
        (&["-u", "", "--password-stdin"], "empty user name"),
        (&["--password-stdin"], "--username"),
        (&["--password-file", "x"], "--username"),
        (&["-u", "me", "--password-stdin", "--password-file", "x"], "cannot be used with"),
        (&["-u", "me", "--password", "x"], "--password"),
        (&["-u", "me", "--password-stdin", "-H", "authorization: x"], "contradict each other"),
    ] {
        let run = fetch(&registry, &home).args(args).stdin(PASSWORD).run();
        assert_eq!(run.code(), Some(2), "{args:?}: {run}");
        run.fails(2, words);
    }
    fetch(&registry, &home).env("REGISTRY_TOKEN", "a b").run().fails(2, "$REGISTRY_TOKEN");
    fetch(&registry, &home).args(["-u", "me", "--password-stdin"]).run().fails(6, "no input");
    let nowhere = ["-u", "me", "--password-file", "/nowhere"];
    fetch(&registry, &home).args(nowhere).run().fails(3, "/nowhere");
    assert_eq!(registry.server.asked(), Vec::<String>::new());
}

#[test]
fn a_password_on_stdin_is_refused_if_stdin_is_the_input() {
    let home = Scratch::new();
    for (name, args) in [
        ("fetch-blob", &["h.example/a", "--into", "oci:l"][..]),
        ("list-blobs", &[]),
        ("list-blobs", &["-"]),
        ("list-layer", &["--from", "h.example/a"]),
        ("list-layer", &[]),
        ("list-layer", &["file", "-"]),
        ("push-blob", &["h.example/a"]),
        ("push-blob", &["h.example/a", "file", "-"]),
        ("push-blob", &["h.example/a", "--from", "oci:l"]),
        ("put-manifest", &["h.example/a:1"]),
        ("put-manifest", &["h.example/a:1", "-"]),
    ] {
        let run = tool(name).args(args).args(["-u", USER, "--password-stdin"]).dir(home.path());
        let run = run.stdin(PASSWORD).run();
        assert_eq!(run.code(), Some(2), "{run}");
        run.fails(2, "standard input").says("hint: ").stdout("");
    }
}

#[test]
fn a_password_on_stdin_is_accepted_if_stdin_is_unused() {
    let registry = registry_with_login();
    let image = Image::small();
    let home = Scratch::new();
    home.write("m", &image.manifest.bytes);
    home.write("f", "x");
    let repo = registry.repo("app");
    let host = registry.host();
    let tagged = format!("{repo}:2");
    for (name, args) in [
        ("fetch-blob", &[repo.as_str(), image.config.digest.as_str()][..]),
        ("list-tags", &[&repo]),
        ("list-repositories", &[&host]),
        ("probe-registry", &[&repo]),
        ("push-blob", &["--media-type", "a/b", &repo, "f"]),
        ("put-manifest", &[&tagged, "m"]),
    ] {
        let run = tool(name).args(args).args(["-u", USER, "--password-stdin"]).dir(home.path());
        let run = run.stdin(PASSWORD).run();
        assert_eq!(run.code(), Some(0), "{run}");
    }
}

#[test]
fn a_given_token_is_sent_with_the_first_request() {
    let registry = FakeRegistry::with_image();
    registry.fault(|request, right| match request.header("authorization") {
        Some("Bearer given") => right,
        _ => Reply::new(401).header("WWW-Authenticate", "Bearer realm=\"http://127.0.0.1:1/\""),
    });
    let home = Scratch::new();
    let_in(&fetch(&registry, &home).env("REGISTRY_TOKEN", "given").run());
    assert_eq!(registry.server.requests().len(), 1);

    registry.server.forget();
    let run = fetch(&registry, &home).env("REGISTRY_TOKEN", "another").run();
    run.fails(4, "credentials refused").says("$REGISTRY_TOKEN").does_not_say("another");
    assert_eq!(registry.server.requests().len(), 1);
}

#[test]
fn a_given_authorization_header_replaces_all_other_credentials() {
    let registry = registry_with_login();
    let home = Scratch::new();
    let header = format!("Authorization: {}", basic(USER, PASSWORD));
    let run = fetch(&registry, &home).args(["-H", &header]).env("REGISTRY_TOKEN", "x");
    let_in(&run.run());
    assert_eq!(registry.server.requests().len(), 1);
    let wrong = format!("Authorization: {}", basic(USER, "wrong"));
    let run = fetch(&registry, &home).args(["-H", &wrong]).run();
    run.fails(4, "401").does_not_say(&basic(USER, "wrong"));
    assert_eq!(registry.server.requests().len(), 2);
}

#[test]
fn credentials_given_for_one_registry_are_not_sent_to_another() {
    let image = Image::small();
    let from = FakeRegistry::start();
    from.add_image("app", "1", &image);
    from.fault(|_, _| {
        Reply::error(401, "UNAUTHORIZED", "who?").header("WWW-Authenticate", "Basic realm=x")
    });
    for (name, value, args) in
        [("REGISTRY_TOKEN", "given-token", &[][..]), ("REGISTRY_PASSWORD", PASSWORD, &["-u", USER])]
    {
        let target = FakeRegistry::start();
        from.server.forget();
        let run = tool("push-blob")
            .args([&target.repo("b"), "--from", &from.repo("app"), "--max-wait", "0"])
            .args(args)
            .env(name, value)
            .stdin(image.lines())
            .run();
        run.fails(4, "login needed").stdout("");
        let asked = from.server.requests();
        assert!(!asked.is_empty());
        assert!(asked.iter().all(|request| request.header("authorization").is_none()));
    }
}

#[test]
fn credential_files_apply_to_the_registry_of_from_too() {
    let image = Image::small();
    let from = registry_with_login();
    let target = FakeRegistry::start();
    let home = Scratch::new();
    keep(&home, ".docker/config.json", &auths(&from.host(), &login(USER, PASSWORD)));
    let run = tool("push-blob").args([&target.repo("b"), "--from", &from.repo("app")]);
    let run = run.env("HOME", home.path()).stdin(image.lines()).run();
    run.ok().stdout(image.lines());
}
