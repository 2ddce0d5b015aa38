// SPDX-License-Identifier: Apache-2.0
//! A real registry behind a real nginx that limits bodies, redirects, drops headers, or requires a
//! password.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::certs::Authority;
use tests::images::{Blob, Image, noise, types, write_image};
use tests::logins::{PASSWORD, USER, at_home, auths, basic, keep, login};
use tests::nginx::{Front, Nginx};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::token_server::TokenServer;
use tests::tools::{Command, Run, tool};

/// A front with these directives that forwards all requests to the registry.
fn front(registry: &Registry, lines: &str) -> Nginx {
    let pass = format!("proxy_pass http://{};", registry.host());
    Front::bare().with(&format!("location / {{ {lines} {pass} }}")).start()
}

/// Pushes a blob of `size` bytes through a front.
fn push(front: &Nginx, size: usize, args: &[&str]) -> (Blob, Run) {
    let scratch = Scratch::new();
    let blob = Blob::new(types::TAR, noise(size, 1));
    scratch.write("layer", &blob.bytes);
    let command = tool("push-blob").args(["--max-wait", "0", "--media-type", types::TAR]);
    let run = command.args(args).args([&front.repo("app"), "layer"]).dir(scratch.path()).run();
    (blob, run)
}

#[test]
fn a_body_limit_is_reported_and_smaller_chunks_are_accepted() {
    let registry = Registry::start();
    let front = front(&registry, "client_max_body_size 1m;");
    let (_, run) = push(&front, 3_000_000, &[]);
    run.fails(6, "413").says("--chunk").stdout("");
    let (blob, run) = push(&front, 3_000_000, &["--chunk", "1M"]);
    run.ok().stdout(blob.line());
    assert_eq!(registry.get(&format!("app/blobs/{}", blob.digest)), blob.bytes);
}

#[test]
fn a_large_blob_is_sent_in_smaller_chunks_after_a_413() {
    let registry = Registry::start();
    let front = front(&registry, "client_max_body_size 10m;");
    let (blob, run) = push(&front, 30_000_000, &[]);
    run.ok().stdout(blob.line());
    assert_eq!(registry.get(&format!("app/blobs/{}", blob.digest)), blob.bytes);
    // Two requests are refused: the complete blob, and a chunk of 16 MiB. The chunks of 4 MiB are
    // accepted.
    let refused = front.answered().iter().filter(|line| line.ends_with(" 413")).count();
    assert_eq!(refused, 2, "{:#?}", front.answered());
}

#[test]
fn a_manifest_above_a_body_limit_exits_with_6() {
    let registry = Registry::start();
    let front = front(&registry, "client_max_body_size 100;");
    let scratch = Scratch::new();
    let image = Image::small();
    image.blobs().for_each(|blob| drop(registry.put_blob("app", &blob.bytes)));
    scratch.write("m", &image.manifest.bytes);
    let command = tool("put-manifest").args([&(front.repo("app") + ":1"), "m"]);
    command.dir(scratch.path()).run().fails(6, "413").says("exceeds the size limit").stdout("");
}

/// A front that redirects blob requests with an Authorization header to a storage server. That
/// server serves the registry's files, but only to requests without an Authorization or X-Key
/// header.
fn with_storage(registry: &Registry) -> (Nginx, Nginx) {
    let files = registry.storage().join("docker/registry/v2/blobs/sha256");
    let storage = Front::bare()
        .with("location / { if ($http_authorization) { return 400; }")
        .with(&format!("if ($http_x_key) {{ return 400; }} root {}; }}", files.display()))
        .start();
    let to = format!("http://{}/$2/$2$3/data?signature=hush", storage.host());
    let pass = format!("proxy_pass http://{};", registry.host());
    let front = Front::bare()
        .with("location ~ \"^/v2/(.+)/blobs/sha256:(..)(.+)$\" {")
        .with(&format!("if ($http_authorization) {{ return 307 {to}; }} {pass} }}"))
        .with(&format!("location / {{ {pass} }}"))
        .start();
    (front, storage)
}

#[test]
fn storage_behind_a_redirect_gets_no_credential() {
    let server = TokenServer::new();
    let with_tokens = Registry::with_tokens_of(&server);
    let with_login = Registry::with_login();
    for registry in [with_tokens, with_login] {
        let (front, storage) = with_storage(&registry);
        let home = Scratch::new();
        let image = Image::small();
        write_image(&home.join("l"), "1", &image);
        home.write("m", &image.manifest.bytes);
        keep(&home, ".docker/config.json", &auths(&front.host(), &login(USER, PASSWORD)));
        let app = front.repo("app");
        let here = |command: Command| {
            let command = command.args(["--max-wait", "0", "-H", "X-Key: hush hush"]);
            at_home(command, home.path()).dir(home.path())
        };
        let command = tool("push-blob").args([&app, "--from", "oci:l"]).stdin(image.lines());
        here(command).run().ok();
        here(tool("put-manifest").args([&(app.clone() + ":1"), "m"])).run().ok();
        let run = here(tool("fetch-blob").args([&app, "--into", "oci:back"])).stdin(image.lines());
        run.run().ok().stdout(image.lines());
        // Each blob was requested with HEAD before the push (404), and then with GET.
        let served = storage.answered();
        let is = |start: &str, end: &str| {
            served.iter().filter(|line| line.starts_with(start) && line.ends_with(end)).count()
        };
        let count = image.blobs().count();
        let counts = (is("HEAD ", " 404"), is("GET ", " 200"), served.len());
        assert_eq!(counts, (count, count, 2 * count), "{served:#?}");
        // The layout has all blobs, so fetch-manifest gives the copy its tag, and skopeo finds it.
        here(tool("fetch-manifest").args([&(app + ":1"), "--into", "oci:back"])).run().status(0);
        let layout = format!("oci:{}:1", home.join("back").display());
        let mut skopeo = tests::peers::peer("skopeo");
        tests::peers::must(skopeo.args(["inspect", "--raw", &layout]));
    }
}

#[test]
fn a_partial_blob_is_completed_from_storage() {
    let registry = Registry::with_login();
    let (front, storage) = with_storage(&registry);
    let scratch = Scratch::new();
    let blob = Blob::new(types::TAR, noise(2_000_000, 1));
    scratch.write("layer", &blob.bytes);
    let known = |command: Command| {
        command.args(["-u", USER]).env("REGISTRY_PASSWORD", PASSWORD).dir(scratch.path())
    };
    known(tool("push-blob").args([&front.repo("app"), "layer"])).run().ok();
    // A partial file, as an earlier run leaves it.
    let digits = &blob.digest["sha256:".len()..][..12];
    scratch.write(format!(".out.{digits}.part"), &blob.bytes[..700_000]);
    known(tool("fetch-blob").args([&front.repo("app"), &blob.digest, "-o", "out"])).run().ok();
    assert_eq!(std::fs::read(scratch.join("out")).unwrap(), blob.bytes);
    let served = storage.answered();
    assert!(served.last().unwrap().ends_with(" 206"), "{served:#?}");
}

#[test]
fn a_redirect_from_http_to_https_is_followed_for_reads_only_and_without_secrets() {
    let authority = Authority::new();
    let (open, closed) = (Registry::start(), Registry::with_login());
    for (registry, code) in [(&open, 0), (&closed, 4)] {
        let pass = format!("proxy_pass http://{};", registry.host());
        let refuse = "if ($http_authorization) { return 418; } if ($http_x_key) { return 418; }";
        let secure = Front::bare().tls(&authority.server());
        let secure = secure.with(&format!("location / {{ {refuse} {pass} }}")).start();
        let to = format!("return 301 https://{}$request_uri;", secure.host());
        let plain = Front::bare().with(&format!("location / {{ {to} }}")).start();
        let image = Image::small();
        if code == 0 {
            registry.put_image("app", "1", &image);
        }
        let known = |command: Command| {
            let command = command.args(["--max-wait", "0", "--ca-file"]);
            let command = command.arg(authority.certificate()).args(["-H", "X-Key: hush hush"]);
            command.args(["--plain-http", "-u", USER]).env("REGISTRY_PASSWORD", PASSWORD)
        };
        let run = known(tool("fetch-manifest").arg(plain.repo("app") + ":1")).run();
        run.status(code);
        let run = known(tool("fetch-blob").args([&plain.repo("app"), &image.config.digest])).run();
        run.status(code);
        let answered = secure.answered();
        assert!(!answered.is_empty());
        assert!(answered.iter().all(|line| !line.ends_with(" 418")), "{answered:#?}");

        // A redirect of a write is not followed.
        let scratch = Scratch::new();
        scratch.write("layer", "bytes");
        let before = secure.answered().len();
        let run = known(tool("push-blob").args([&plain.repo("app"), "layer"]));
        let run = run.dir(scratch.path()).run();
        run.fails(6, "not followed when writing").stdout("");
        // A redirect does not count as an existing manifest either.
        write_image(&scratch.join("l"), "1", &image);
        let run = known(tool("push-blob").args([&plain.repo("new"), "--from", "oci:l"]));
        let run = run.stdin(image.manifest.line()).dir(scratch.path()).run();
        run.fails(if code == 0 { 6 } else { 4 }, "").stdout("");
        let after = secure.answered();
        assert!(after[before..].iter().all(|line| !line.starts_with("P")), "{after:#?}");
    }
}

#[test]
fn a_front_that_drops_the_authorization_header_ends_the_run_at_once() {
    let server = TokenServer::new();
    for registry in [Registry::with_login(), Registry::with_tokens_of(&server)] {
        let front = front(&registry, "proxy_set_header Authorization \"\";");
        let known = |command: Command| {
            let command = command.args(["--max-wait", "0", "-u", USER]);
            command.env("REGISTRY_PASSWORD", PASSWORD).run()
        };
        let run = known(tool("fetch-manifest").arg(front.repo("app") + ":1"));
        run.fails(4, "credentials refused").does_not_say(PASSWORD).stdout("");
        assert!(front.answered().len() <= 3, "{:#?}", front.answered());
        let scratch = Scratch::new();
        scratch.write("layer", noise(1000, 1));
        let run = known(tool("push-blob").args([&front.repo("app"), "layer"]).dir(scratch.path()));
        run.fails(4, "credentials refused").stdout("");
        assert!(front.answered().len() <= 10, "{:#?}", front.answered());
    }
    assert!(server.server.requests().len() <= 5, "{:#?}", server.server.asked());
}

#[test]
fn a_front_that_requires_a_password_only_for_writes_allows_anonymous_reads() {
    let registry = Registry::start();
    let scratch = Scratch::new();
    let users = scratch.write("users", format!("{USER}:{{PLAIN}}{PASSWORD}\n"));
    let users = format!("auth_basic it; auth_basic_user_file {};", users.display());
    let front = front(&registry, &format!("limit_except GET HEAD {{ {users} }}"));
    let app = front.repo("app");
    let token = |args: &[&str]| {
        let command = tool("fetch-token").args(args).args(["-u", USER]).arg(&app);
        command.env("REGISTRY_PASSWORD", PASSWORD).run()
    };
    token(&["--print-header"]).fails(3, "no authentication");
    let header = format!("Authorization: {}\n", basic(USER, PASSWORD));
    token(&["--print-header", "--push"]).ok().stdout(&header);

    let blob = Blob::new(types::TAR, noise(1000, 1));
    scratch.write("layer", &blob.bytes);
    let push = || tool("push-blob").args([&app, "layer"]).dir(scratch.path());
    push().run().fails(4, "login needed");
    push().args(["-u", USER]).env("REGISTRY_PASSWORD", PASSWORD).run().ok();
    tool("fetch-blob").args([&app, &blob.digest]).run().ok().stdout(&blob.bytes);
    let steps = front.answered();
    let begun = steps.iter().filter(|line| line.starts_with("POST ") && line.ends_with(" 202"));
    assert_eq!(begun.count(), 1, "{steps:#?}");
}
