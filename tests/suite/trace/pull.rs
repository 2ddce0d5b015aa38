// SPDX-License-Identifier: Apache-2.0
//! The trace of a pull: its curl commands fetch the same bytes as the tool.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use tests::certs::Authority;
use tests::fake::{End, Reply, Server};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, noise, sha256, types};
use tests::logins::{self, PASSWORD, USER, at_home, auths, keep, login, registry_with_tokens};
use tests::proxy::Proxy;
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::token_server::TokenServer;
use tests::tools::{Command, Run, tool};
use tests::trace::{commands, script};

fn traced(name: &str) -> Command {
    tool(name).args(["--trace", "--max-wait", "0"])
}

/// The name of the file that a traced command writes a blob to.
fn file_of(digest: &str) -> String {
    format!("blob-{}", &digest[7..19])
}

/// Checks that the trace, run as a script, prints this and nothing on stderr.
#[track_caller]
fn replay_fetches(run: &Run, want: &[u8]) {
    script(run, &Scratch::new()).run().ok().stdout(want);
}

#[test]
fn a_trace_changes_neither_the_requests_nor_the_output() {
    let registry = FakeRegistry::with_image();
    for (name, status) in [("1", 0), ("2", 3)] {
        let reference = format!("{}:{name}", registry.repo("app"));
        let asked = |args: &[&str]| {
            registry.server.forget();
            let run = tool("fetch-manifest").args(["--max-wait", "0", &reference]).args(args).run();
            run.status(status);
            let requests = registry.server.requests();
            let heads =
                requests.iter().map(|r| (r.method.clone(), r.target.clone(), r.headers.clone()));
            (run.stdout, heads.collect::<Vec<_>>())
        };
        assert_eq!(asked(&[]), asked(&["--trace"]));
        // `-q` drops messages for people, but not the trace.
        assert_eq!(asked(&[]), asked(&["--trace", "-q"]));
    }
    let reference = format!("{}:1", registry.repo("app"));
    traced("fetch-manifest").args(["-q", &reference]).run().says("\n# 200 OK\n");
}

/// Pushes an image, with user name and password.
fn push_image(registry: &Registry) {
    let home = Scratch::new();
    keep(&home, ".docker/config.json", &auths(&registry.host(), &login(USER, PASSWORD)));
    tests::images::write_image(&home.join("l"), "1", &Image::small());
    let push = "fetch-manifest oci:l:1 >m && list-blobs m | push-blob $REPO --from oci:l >lines && \
         put-manifest $REPO:1 m";
    let push = tests::tools::shell(push).env("REPO", registry.repo("app")).dir(home.path());
    at_home(push, home.path()).run().ok();
}

/// A registry that redirects its blobs to another server by signed URLs, and that server.
fn registry_and_storage() -> (FakeRegistry, Server, Blob) {
    let registry = FakeRegistry::with_tokens();
    let blob = registry.add_noise("app", 5000, 1);
    let all: Arc<[u8]> = blob.bytes.clone().into();
    let storage = Server::start(move |request| {
        if request.query.contains("hush-hush") {
            Reply::ranged(request, Arc::clone(&all))
        } else {
            Reply::error(403, "DENIED", "no signature")
        }
    });
    let url = storage.url();
    registry.fault(move |request, right| match (request.is_blob(), right.code()) {
        (true, 200 | 206) => Reply::redirect(307, &format!("{url}/bucket?signature=hush-hush")),
        _ => right,
    });
    (registry, storage, blob)
}

#[test]
fn a_failed_request_is_traced_with_its_reason() {
    let registry = FakeRegistry::start();
    registry.fault(|_, _| Reply::hang_up());
    let fetch = traced("fetch-manifest").args([
        "--retry-times",
        "2",
        &format!("{}:1", registry.repo("app")),
    ]);
    let run = fetch.run();
    run.status(5).says("# failed: ").says("# waiting 0.0 s: ");
    assert_eq!(run.stderr.matches("\ncurl ").count(), 2, "{run}");
}

#[test]
fn a_request_repeated_on_a_new_connection_is_traced_once() {
    let registry = FakeRegistry::start();
    registry.add_image("app", "a", &Image::small());
    registry.add_image("app", "b", &Image::small());
    registry.tags_a_page(1);
    // The server closes the connection when the tool reuses it.
    registry.fault(|request, right| match request.number {
        1 => Reply::hang_up(),
        _ => right,
    });
    let run = traced("list-tags").arg(registry.repo("app")).run();
    run.status(0).stdout("a\nb\n");
    run.says("# sent again: the connection had been closed meanwhile\ncurl -sS ");
    // Each full page has a link to the next one: the third is empty.
    assert_eq!(commands(&run.stderr).len(), 3);
}

#[test]
fn a_failure_after_a_redirect_is_traced_with_its_reason() {
    let (registry, storage, blob) = registry_and_storage();
    let url = storage.url();
    registry.fault(move |request, right| match (request.is_blob(), right.code()) {
        (true, 200) => Reply::redirect(307, &format!("{url}/gone?signature=hush-hush&x=%20")),
        _ => right,
    });
    drop(storage);
    let fetch = traced("fetch-blob").args(["--retry-times", "1", &registry.repo("app")]);
    let run = fetch.arg(&blob.digest).run();
    run.status(5).does_not_say("hush-hush").says("/gone: failed: ");
}

#[test]
fn two_passwords_get_a_variable_each() {
    let [registry, other] = [(); 2].map(|()| logins::registry_with_login());
    let home = Scratch::new();
    let entries = serde_json::json!({"auths": {other.host(): login(USER, PASSWORD)}});
    keep(&home, ".docker/config.json", &entries);
    registry.fault(|request, right| {
        if request.header("authorization") == Some(&logins::basic(USER, "another one")) {
            right
        } else {
            Reply::new(401).header("WWW-Authenticate", "Basic realm=x")
        }
    });
    registry.remove_blob("app", &Image::small().layers[0].digest);
    let push = traced("push-blob").args([&registry.repo("app"), "--from", &other.repo("app")]);
    let push = push.args(["-u", USER]).env("REGISTRY_PASSWORD", "another one");
    let run = at_home(push.stdin(Image::small().lines()), home.path()).run();
    run.status(0).stdout(Image::small().lines());
    run.does_not_say("another one").does_not_say(PASSWORD);
    // The password from the environment has the variable's name, whichever password is used first.
    let at = |name: &str, host: &str| {
        let mut lines = run.stderr.lines().filter(|line| line.contains(&format!("//{host}/")));
        assert!(lines.any(|line| line.contains(&format!(" -u \"me:{name}\" "))), "{run}");
    };
    at("$REGISTRY_PASSWORD", &registry.host());
    at("$REGISTRY_PASSWORD_2", &other.host());
}

#[test]
fn an_abandoned_mirror_is_traced() {
    let registry = FakeRegistry::with_image();
    let mirror = FakeRegistry::start();
    mirror.fault(|_, _| Reply::new(500));
    let fetch = traced("fetch-manifest").args(["--mirror", &mirror.host()]);
    let run = fetch.arg(format!("{}:1", registry.repo("app"))).run();
    run.status(0).stdout(&Image::small().manifest.bytes);
    let (_, after) = run
        .stderr
        .split_once("# 500 Internal Server Error\n# Content-Length: 0\n")
        .unwrap_or_else(|| panic!("no status in {run}"));
    // The two lines before the reason have the times of the exchange.
    let reason = format!("# mirror {} is no longer used: ", mirror.host());
    assert!(after.lines().nth(2).is_some_and(|line| line.starts_with(&reason)), "{run}");
}

/// A host that no resolver knows.
const HOST: &str = "registry.example:5000";

/// Fetches `app:1` through the proxy in this variable, and runs the trace as a script. Checks that
/// the tool and the script get the manifest with the same requests.
#[track_caller]
fn fetch_and_replay(proxy: &Proxy, variable: &str, value: &str) -> Run {
    let fetch = traced("fetch-manifest").args(["--plain-http", &format!("{HOST}/app:1")]);
    let run = fetch.env(variable, value).run();
    run.status(0);
    let asked = proxy.asked();
    let again = script(&run, &Scratch::new()).env(variable, value).run();
    again.ok().stdout(&Image::small().manifest.bytes);
    assert_eq!(proxy.asked(), [asked.clone(), asked].concat());
    run
}

/// A registry with an image as `app:1`, and a proxy that can reach it.
fn registry_and_proxy() -> (FakeRegistry, Proxy) {
    let registry = FakeRegistry::with_image();
    let proxy = Proxy::start(&[(HOST, &registry.host())]);
    (registry, proxy)
}

mod with_peers {
    use super::*;

    #[test]
    fn the_trace_of_a_pull_by_tag_or_digest_fetches_the_same() {
        let registry = Registry::start();
        let image = Image::small();
        registry.put_image("app", "1", &image);
        let digest = &image.manifest.digest;
        for name in [":1".to_owned(), format!("@{digest}")] {
            let run = traced("fetch-manifest").arg(registry.repo("app") + &name).run();
            run.status(0).stdout(&image.manifest.bytes).says("# 200 OK\n# Content-Length: ");
            run.says(&format!("# Docker-Content-Digest: {digest}\n"));
            replay_fetches(&run, &image.manifest.bytes);
        }
        let layer = &image.layers[0];
        let run = traced("fetch-blob").args([&registry.repo("app"), &layer.digest]).run();
        run.status(0).stdout(&layer.bytes);
        let scratch = Scratch::new();
        script(&run, &scratch).run().ok().stdout("");
        assert_eq!(std::fs::read(scratch.join(file_of(&layer.digest))).unwrap(), layer.bytes);
    }

    #[test]
    fn the_trace_of_a_head_request_sends_a_head_request() {
        let registry = Registry::start();
        registry.put_image("app", "1", &Image::small());
        let reference = format!("{}:1", registry.repo("app"));
        let run = traced("fetch-manifest").args(["--digest", &reference]).run();
        run.status(0).says("curl -sS -I -H 'Accept: ");
        let again = script(&run, &Scratch::new()).run();
        let head = String::from_utf8_lossy(&again.ok().stdout).into_owned();
        assert!(head.contains(&Image::small().manifest.digest), "{head}");
    }

    #[test]
    fn the_trace_of_a_tag_list_reads_all_pages() {
        let registry = FakeRegistry::start();
        for tag in ["a", "b", "c", "d", "e"] {
            registry.add_image("app", tag, &Image::small());
        }
        registry.tags_a_page(2);
        let run = traced("list-tags").arg(registry.repo("app")).run();
        run.status(0).stdout("a\nb\nc\nd\ne\n").says("# Link: ");
        assert_eq!(commands(&run.stderr).len(), 3);
        let again = script(&run, &Scratch::new()).run();
        let text = String::from_utf8_lossy(&again.ok().stdout).into_owned();
        assert!(["\"a\"", "\"c\"", "\"e\""].iter().all(|tag| text.contains(tag)), "{text}");
    }

    #[test]
    fn the_trace_of_a_fetch_with_a_password_fetches_again() {
        let registry = Registry::with_login();
        let home = Scratch::new();
        keep(&home, ".docker/config.json", &auths(&registry.host(), &login(USER, PASSWORD)));
        let blob = Blob::new(types::TAR, noise(1000, 1));
        let mut push =
            tool("push-blob").args([&registry.repo("app"), "-"]).stdin(blob.bytes.clone());
        push = at_home(push.args(["--media-type", types::TAR]), home.path());
        push.run().status(0);
        let fetch = traced("fetch-blob").args([&registry.repo("app"), &blob.digest]);
        let run = at_home(fetch, home.path()).run();
        run.status(0).stdout(&blob.bytes).says(" -u \"me:$REGISTRY_PASSWORD\" ");
        run.says("# REGISTRY_PASSWORD: the password or identity token of me for ");
        run.says(&format!("# credentials for {}: {}", registry.host(), home.path().display()));
        let scratch = Scratch::new();
        script(&run, &scratch).run().status(0);
        assert_eq!(std::fs::read(scratch.join(file_of(&blob.digest))).unwrap(), blob.bytes);
    }

    #[test]
    fn the_trace_fetches_tokens_again() {
        let server = TokenServer::new();
        let registry = Registry::with_tokens_of(&server);
        let home = Scratch::new();
        keep(&home, ".docker/config.json", &auths(&registry.host(), &login(USER, PASSWORD)));
        let image = Image::small();
        push_image(&registry);
        let fetch = traced("fetch-manifest").arg(format!("{}:1", registry.repo("app")));
        let run = at_home(fetch, home.path()).run();
        run.status(0).stdout(&image.manifest.bytes);
        run.says("\nREGISTRY_TOKEN=$(curl -sS -u \"me:$REGISTRY_PASSWORD\" 'http://");
        run.says("' | jq -r '.token // .access_token')\n");
        run.says(" -H \"Authorization: Bearer $REGISTRY_TOKEN\" ");
        let again = script(&run, &Scratch::new()).run();
        assert!(again.ok().stdout.ends_with(&image.manifest.bytes), "{again}");
    }

    #[test]
    fn a_second_token_gets_a_variable_of_its_own() {
        let server = TokenServer::new();
        let registry = Registry::with_tokens_of(&server);
        push_image(&registry);
        server.next_are_expired(1);
        let run = traced("fetch-manifest").arg(format!("{}:1", registry.repo("app"))).run();
        run.status(0).says("\nREGISTRY_TOKEN=$(curl ").says("\nREGISTRY_TOKEN_2=$(curl ");
        run.says("\"Authorization: Bearer $REGISTRY_TOKEN\"");
        run.says("\"Authorization: Bearer $REGISTRY_TOKEN_2\"");
        let again = script(&run, &Scratch::new()).run();
        assert!(again.ok().stdout.ends_with(&Image::small().manifest.bytes), "{again}");
    }

    #[test]
    fn a_token_from_the_environment_is_traced_as_that_variable() {
        let registry = registry_with_tokens();
        let home = Scratch::new();
        keep(&home, ".docker/config.json", &auths(&registry.host(), &login(USER, PASSWORD)));
        let token = at_home(tool("fetch-token").arg(registry.repo("app")), home.path()).run();
        let token = token.status(0).lines().remove(0);
        let fetch = traced("fetch-manifest").arg(format!("{}:1", registry.repo("app")));
        let run = fetch.env("REGISTRY_TOKEN", &token).run();
        run.status(0).does_not_say(&token).says("\"Authorization: Bearer $REGISTRY_TOKEN\"");
        let again = script(&run, &Scratch::new()).env("REGISTRY_TOKEN", &token).run();
        again.ok().stdout(&Image::small().manifest.bytes);
    }

    #[test]
    fn an_identity_token_is_traced_as_the_password_variable() {
        let registry = FakeRegistry::with_image();
        registry.fault(|request, right| {
            let body = String::from_utf8_lossy(&request.body);
            let is_right = body.contains("refresh_token=open%20sesame");
            match request.path.as_str() {
                "/token" if is_right => {
                    Reply::json(200, &serde_json::json!({"access_token": "let-me-in"}))
                }
                "/token" => Reply::error(401, "UNAUTHORIZED", "no"),
                _ if request.header("authorization") == Some("Bearer let-me-in") => right,
                _ => {
                    let host = request.header("host").unwrap_or_default();
                    let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"it\"");
                    Reply::new(401).header("WWW-Authenticate", challenge)
                }
            }
        });
        let home = Scratch::new();
        let entry =
            serde_json::json!({"auth": logins::base64("<token>:"), "identitytoken": PASSWORD});
        keep(&home, ".docker/config.json", &auths(&registry.host(), &entry));
        let run = at_home(
            traced("fetch-manifest").arg(format!("{}:1", registry.repo("app"))),
            home.path(),
        );
        let run = run.run();
        run.says(
            " --data-urlencode 'grant_type=refresh_token' --data-urlencode 'client_id=regutils' ",
        );
        run.says(" --data-urlencode \"refresh_token=$REGISTRY_PASSWORD\" ").does_not_say("sesame");
        let asked = || {
            let token =
                registry.server.requests().into_iter().find(|r| r.path == "/token").unwrap();
            let mut body =
                String::from_utf8_lossy(&token.body).replace("%3A", ":").replace("%2F", "/");
            body = body.replace("%2C", ",").replace('+', "%20");
            (token.method.clone(), body, token.header("authorization").map(str::to_owned))
        };
        let first = asked();
        registry.server.forget();
        script(&run, &Scratch::new()).run().status(0);
        assert_eq!(asked(), first);
    }

    #[test]
    fn the_trace_of_a_fetch_with_tls_trusts_the_same_certificates() {
        let registry = Registry::with_tls();
        let image = Image::small();
        registry.put_image("app", "1", &image);
        let fetch = || traced("fetch-manifest").arg(format!("{}:1", registry.repo("app")));
        let run = fetch().arg("--ca-file").arg(registry.authority().certificate()).run();
        run.status(0).says("curl -sS --http1.1 --cacert '/");
        replay_fetches(&run, &image.manifest.bytes);
        let run = fetch().arg("--insecure").run();
        run.status(0).says("curl -sS --http1.1 -k ");
        replay_fetches(&run, &image.manifest.bytes);
        let run = fetch().run();
        run.status(6).says("# failed: ").says("certificate not trusted");
        assert!(run.stderr.starts_with("curl -sS --http1.1 "), "{run}");
    }

    #[test]
    fn the_trace_sends_a_client_certificate_only_to_the_registry() {
        let authority = Authority::new();
        let identity = authority.server();
        let registry = FakeRegistry::start_tls(identity.server_config());
        let storage = FakeRegistry::start_tls(authority.server().server_config());
        let blob = storage.add_noise("app", 5000, 1);
        let target =
            format!("{}/v2/app/blobs/{}?signature=hush-hush", storage.server.url(), blob.digest);
        registry.fault(move |_, _| Reply::redirect(307, &target));
        let scratch = Scratch::new();
        let certificate = scratch.join("a:b.pem");
        std::fs::copy(&identity.certificate, &certificate).unwrap();
        let fetch = traced("fetch-blob").args([&registry.repo("app"), &blob.digest, "--ca-file"]);
        let fetch = fetch.arg(authority.certificate()).arg("--cert-file").arg(&certificate);
        let run = fetch.arg("--key-file").arg(&identity.key).run();
        run.status(0).stdout(&blob.bytes).says("LOCATION=$(curl -sS ").does_not_say(" -L ");
        run.says(&format!("/a\\:b.pem' --key '{}' -o /dev/null ", identity.key.display()));
        assert_eq!(run.stderr.matches(" --cert ").count(), 1, "{run}");
        // The warning about a key that others can read is not part of the trace.
        let lines = run.stderr.lines().filter(|line| !line.starts_with("fetch-blob: "));
        let trace: String = lines.map(|line| format!("{line}\n")).collect();
        let again = tests::tools::shell(&trace).dir(scratch.path()).run();
        again.ok();
        assert_eq!(std::fs::read(scratch.join(file_of(&blob.digest))).unwrap(), blob.bytes);
    }

    #[test]
    fn the_trace_lets_curl_follow_a_redirect() {
        let (registry, storage, blob) = registry_and_storage();
        let run = traced("fetch-blob").args([&registry.repo("app"), &blob.digest]).run();
        run.status(0).stdout(&blob.bytes).does_not_say("hush-hush");
        run.says("\ncurl -sS -L ").says("# 307 Temporary Redirect\n");
        run.says(&format!("# Location: '{}/bucket?(withheld)'\n", storage.url()));
        run.says(&format!("# GET {}/bucket: 200 OK\n# Content-Length: 5000\n", storage.url()));
        storage.forget();
        let scratch = Scratch::new();
        script(&run, &scratch).run().status(0);
        assert_eq!(std::fs::read(scratch.join(file_of(&blob.digest))).unwrap(), blob.bytes);
        assert!(storage.requests().iter().all(|request| request.header("authorization").is_none()));
    }

    #[test]
    fn the_trace_sends_a_given_header_only_to_the_registry() {
        let (registry, storage, blob) = registry_and_storage();
        let fetch = traced("fetch-blob").args(["-H", "X-Key: mum's the word", "-H", "Accept: */*"]);
        let run = fetch.args([&registry.repo("app"), &blob.digest]).run();
        run.status(0).stdout(&blob.bytes).does_not_say("hush-hush").does_not_say("the word");
        run.says("# REGISTRY_HEADER: the value of the header X-Key\n");
        run.says(" -H \"X-Key: $REGISTRY_HEADER\" ").says(" -H 'Accept: */*' ");
        run.says("LOCATION=$(curl -sS -H ").says(" -w '%{redirect_url}' ");
        storage.forget();
        registry.server.forget();
        let scratch = Scratch::new();
        script(&run, &scratch).env("REGISTRY_HEADER", "mum's the word").run().status(0);
        assert_eq!(std::fs::read(scratch.join(file_of(&blob.digest))).unwrap(), blob.bytes);
        assert_eq!(storage.requests().len(), 1);
        assert_eq!(storage.requests()[0].header("x-key"), None);
        let own = registry.server.requests().into_iter().filter(|r| r.is_blob());
        assert!(own.clone().count() > 0);
        own.for_each(|r| assert_eq!(r.header("x-key"), Some("mum's the word")));
    }

    #[test]
    fn the_trace_writes_a_range_into_a_file_of_its_own() {
        let registry = FakeRegistry::start();
        let blob = registry.add_noise("app", 200_000, 1);
        registry.fault(|request, right| match request.range() {
            None => right.cut(100_000, End::Fin),
            Some(_) => right,
        });
        let scratch = Scratch::new();
        let fetch = traced("fetch-blob").args([&registry.repo("app"), &blob.digest, "-o", "out"]);
        let run = fetch.dir(scratch.path()).run();
        run.status(0).says("# waiting 0.0 s: ").says(" -H 'Range: bytes=100000-");
        let scratch = Scratch::new();
        script(&run, &scratch).run();
        let rest = std::fs::read(scratch.join(file_of(&blob.digest) + ".100000")).unwrap();
        assert_eq!(sha256(&[&blob.bytes[..100_000], &rest[..]].concat()), blob.digest);
    }

    #[test]
    fn the_traces_of_several_connections_do_not_mix() {
        let registry = FakeRegistry::with_tokens();
        let scratch = Scratch::new();
        let blobs: Vec<Blob> = (0..64).map(|i| Blob::new(types::TAR, noise(3000, i))).collect();
        blobs.iter().for_each(|blob| drop(registry.add_blob("app", blob.bytes.clone())));
        let lines: String = blobs.iter().map(Blob::line).collect();
        let fetch =
            traced("fetch-blob").args(["-j", "8", &registry.repo("app"), "--into", "oci:l"]);
        let run = fetch.dir(scratch.path()).stdin(lines.clone()).run();
        run.status(0).stdout(lines);
        // Each block is a command, its status and its response's headers; no other block is mixed
        // in.
        let blocks = run.stderr.replace("REGISTRY_TOKEN=$(", "");
        assert_eq!(blocks.matches("\ncurl ").count(), 64 + 2);
        for block in blocks.split("\ncurl ").skip(1) {
            let status = block.lines().nth(1).unwrap();
            assert!(status == "# 200 OK" || status == "# 401 Unauthorized", "{block}");
            let length = block.matches("# Content-Length: ").count();
            assert_eq!(length, 1, "{block}");
        }
        let again = script(&run, &scratch);
        again.run().status(0);
        for blob in blobs {
            assert_eq!(std::fs::read(scratch.join(file_of(&blob.digest))).unwrap(), blob.bytes);
        }
    }

    #[test]
    fn the_trace_names_a_proxy_whose_variable_curl_does_not_read() {
        let (_registry, proxy) = registry_and_proxy();
        let value = format!("http://me:hunter22@{}", proxy.host());
        let run = fetch_and_replay(&proxy, "HTTP_PROXY", &value);
        run.says(" -x \"$HTTP_PROXY\" ").does_not_say("hunter22");
        let login = format!("\r\nProxy-Authorization: Basic {}\r\n", logins::base64("me:hunter22"));
        assert!(proxy.heads().iter().all(|head| head.contains(&login)), "{:?}", proxy.heads());
    }

    #[test]
    fn the_trace_lets_a_socks_proxy_resolve_names() {
        let (_registry, proxy) = registry_and_proxy();
        let run = fetch_and_replay(&proxy, "all_proxy", &format!("socks5://{}", proxy.host()));
        run.says(" -x \"socks5h://${all_proxy#*://}\" ");
    }

    #[test]
    fn the_trace_uses_the_proxy_for_the_redirects_host() {
        let registry = FakeRegistry::start();
        let storage = FakeRegistry::start();
        let blob = storage.add_noise("app", 5000, 1);
        let target = format!("http://storage.example:5000/v2/app/blobs/{}", blob.digest);
        registry.fault(move |_, _| Reply::redirect(307, &target));
        let proxy = Proxy::start(&[("storage.example:5000", &storage.host())]);
        let fetch = traced("fetch-blob").args([&registry.repo("app"), &blob.digest]);
        let run = fetch.env("http_proxy", proxy.url()).run();
        run.status(0).stdout(&blob.bytes).does_not_say(" -L ");
        let asked = proxy.asked();
        let scratch = Scratch::new();
        script(&run, &scratch).env("http_proxy", proxy.url()).run().status(0);
        assert_eq!(std::fs::read(scratch.join(file_of(&blob.digest))).unwrap(), blob.bytes);
        assert_eq!(proxy.asked(), [asked.clone(), asked].concat());
    }

    #[test]
    fn the_trace_reaches_a_redirecting_loopback_token_server_without_the_proxy() {
        let registry = FakeRegistry::with_tokens();
        registry.add_image("app", "1", &Image::small());
        registry.fault(|request, right| {
            if request.path != "/token" || request.query.contains("again") {
                return right;
            }
            Reply::redirect(307, &format!("{}&again=1", request.target))
        });
        let recording = Server::start(|_| Reply::new(502));
        let fetch = traced("fetch-manifest").arg(format!("{}:1", registry.repo("app")));
        let run = fetch.env("http_proxy", recording.url()).run();
        run.status(0).says("\nREGISTRY_TOKEN=$(curl ");
        let again = script(&run, &Scratch::new()).env("http_proxy", recording.url()).run();
        assert!(again.ok().stdout.ends_with(&Image::small().manifest.bytes), "{again}");
        assert!(recording.requests().is_empty(), "{:?}", recording.asked());
    }

    #[test]
    fn the_trace_refuses_a_redirect_from_https_to_http() {
        let authority = Authority::new();
        let [registry, storage] =
            [(); 2].map(|()| FakeRegistry::start_tls(authority.server().server_config()));
        let plain = Server::start(|_| Reply::new(200));
        let blob = storage.add_noise("app", 5000, 1);
        let target = format!("{}/v2/app/blobs/{}", storage.server.url(), blob.digest);
        registry.fault(move |_, _| Reply::redirect(307, &target));
        let fetch = traced("fetch-blob").args([&registry.repo("app"), &blob.digest, "--ca-file"]);
        let run = fetch.arg(authority.certificate()).run();
        run.status(0).stdout(&blob.bytes).says(" -L --proto-redir '=https' ");
        let url = plain.url();
        storage.fault(move |_, _| Reply::redirect(307, &url));
        storage.server.forget();
        let again = script(&run, &Scratch::new()).run();
        assert_ne!(again.code(), Some(0), "{again}");
        assert_eq!(storage.server.requests().len(), 1);
        assert!(plain.requests().is_empty(), "{:?}", plain.asked());
    }
}
