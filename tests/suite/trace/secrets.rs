// SPDX-License-Identifier: Apache-2.0
//! A trace shows no secret, neither the user's nor a server's. A trace that is pasted into a shell
//! does no harm, even if the server is hostile.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::fake::{End, Intake, Reply, Server};
use tests::fake_registry::{FakeRegistry, TOKEN};
use tests::images::Image;
use tests::logins::{
    PASSWORD, USER, at_home, auths, base64, basic, fetch, keep, login, registry_with_login,
    registry_with_tokens,
};
use tests::proxy::Proxy;
use tests::push::Push;
use tests::scratch::Scratch;
use tests::tools::{Run, tool};
use tests::trace::{arguments, script};

const DOCKER: &str = ".docker/config.json";

/// Checks that stderr contains a trace, and none of the tests' secrets.
#[track_caller]
fn check_no_secret(run: &Run, more: &[&str]) {
    let both = base64(format!("{USER}:{PASSWORD}"));
    let form = PASSWORD.replace(' ', "%20");
    let plus = PASSWORD.replace(' ', "+");
    let known = [PASSWORD, &both, &form, &plus, &base64(PASSWORD), TOKEN, "_state", "hush-hush"];
    for secret in known.iter().chain(more) {
        run.does_not_say(secret);
    }
    run.says("curl -sS ");
}

#[test]
fn no_credential_is_shown() {
    for registry in [registry_with_login(), registry_with_tokens()] {
        let scratch = Scratch::new();
        keep(&scratch, DOCKER, &auths(&registry.host(), &login(USER, PASSWORD)));
        let run = fetch(&registry, &scratch).arg("--trace").run();
        check_no_secret(run.status(0), &[]);
        let run = fetch(&registry, &Scratch::new()).args(["--trace", "-u", USER]);
        let run = run.env("REGISTRY_PASSWORD", PASSWORD).run();
        check_no_secret(run.status(0), &[]);
        let run =
            fetch(&registry, &Scratch::new()).args(["--trace", "-u", USER, "--password-stdin"]);
        check_no_secret(run.stdin(format!("{PASSWORD}\n")).run().status(0), &[]);
        let authorization = format!("Authorization: {}", basic(USER, PASSWORD));
        let run = fetch(&registry, &Scratch::new()).args(["--trace", "-H", &authorization]).run();
        run.says("\"Authorization: $REGISTRY_HEADER\"");
        check_no_secret(&run, &[]);
    }
}

#[test]
fn given_headers_are_withheld_unless_they_are_known_to_be_harmless() {
    let registry = FakeRegistry::with_image();
    let secrets = ["Cookie: a=swordfish", "X-Other-Token: xyzzy1", "`id`: plugh2"];
    let mut command = fetch(&registry, &Scratch::new()).arg("--trace");
    command = command.args(["-H", "Pragma: no-cache"]);
    for secret in secrets {
        command = command.args(["-H", secret]);
    }
    let run = command.run();
    check_no_secret(run.status(0), &["swordfish", "xyzzy1", "plugh2"]);
    run.says(" -H 'Pragma: no-cache' ").says("-H '`id`: '\"$REGISTRY_HEADER_3\" ");
    let calls = arguments(&run.stderr, "");
    assert!(calls.iter().any(|call| call.contains(&"`id`: ".to_owned())), "{calls:#?}");
}

#[test]
fn a_secret_that_a_server_echoes_is_not_shown() {
    let registry = registry_with_tokens();
    let scratch = Scratch::new();
    keep(&scratch, DOCKER, &auths(&registry.host(), &login(USER, PASSWORD)));
    registry.fault(|request, right| {
        let header = request.header("authorization").unwrap_or_default().to_owned();
        let key = request.header("x-key").unwrap_or_default().to_owned();
        // The registry echoes the password too, which it has received in this header.
        let password = if header.starts_with("Basic ") { PASSWORD } else { "" };
        let right = right.header("Warning", format!("299 - \"{header} {password} {key}\""));
        let right = right.header("OCI-Said", format!("{header} {password}"));
        right
            .header("Location", format!("/{header}?{key}"))
            .header("Link", format!("</{key}>; rel=x"))
    });
    let run = fetch(&registry, &scratch).args(["--trace", "-H", "X-Key: xyzzy-plugh"]).run();
    check_no_secret(run.status(0), &["xyzzy-plugh"]);
}

#[test]
fn a_command_with_the_password_among_its_words_is_left_out() {
    let registry = registry_with_login();
    registry.fault(|request, right| match request.header("authorization") {
        Some(_) => right,
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
    });
    let run = fetch(&registry, &Scratch::new()).args(["--trace", "-u", USER]);
    let run = run.env("REGISTRY_PASSWORD", "curl").run();
    run.status(0).says("# left out: a line that would show a secret\n# 200 OK\n");
    let run = fetch(&registry, &Scratch::new()).args(["--trace", "-u", USER]);
    let run = run.env("REGISTRY_PASSWORD", "manifests").run();
    run.status(0).says("# left out: a line that would show a secret\n# 200 OK\n");
    run.does_not_say("curl -sS -u ");
}

#[test]
fn a_command_with_a_password_split_by_quotes_is_left_out() {
    let registry = registry_with_login();
    let run = fetch(&registry, &Scratch::new()).args(["--trace", "-u", "it's me"]);
    let run = run.env("REGISTRY_PASSWORD", "it's me").run();
    run.status(4).says("# left out: a line that would show a secret\n# 401 Unauthorized\n");
    run.does_not_say("s me").does_not_say("[secret]:");
}

#[test]
fn a_request_refused_because_of_a_proxy_is_not_traced() {
    let proxy = Proxy::start(&[]);
    let fetch = tool("fetch-manifest").args(["--trace", "--max-wait", "0", "--plain-http"]);
    let fetch = fetch.args(["-H", "X-Key: xyzzy-plugh", "registry.example:5000/app:1"]);
    let run = fetch.env("http_proxy", proxy.url()).run();
    run.status(4).says(" could read them over plain http").does_not_say("curl ");
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn no_upload_state_is_shown() {
    for args in [&["--trace"][..], &["--trace", "--chunk", "64k"]] {
        let push = Push::of(200_000);
        let run = push.file().args(args).run();
        check_no_secret(run.status(0), &[]);
        push.registry.intake(|request| {
            if !request.is_session() {
                return Intake::whole();
            }
            Intake::early(0, Reply::error(500, "UNKNOWN", "no"), End::Fin)
        });
        push.registry.remove_blob("app", &push.blob.digest);
        let run = push.file().args(args).args(["--retry-times", "2"]).run();
        check_no_secret(run.status(5), &[]);
    }
}

/// Texts that a server may send to make a shell run commands when the trace is pasted.
const HOSTILE: [&str; 12] = [
    "'; touch pwned; '",
    "\"; touch pwned; \"",
    "$(touch pwned)",
    "`touch pwned`",
    "x | touch pwned",
    "x & touch pwned",
    "x > pwned",
    "\\",
    "\\'; touch pwned #",
    "!! !$",
    "a\u{202e}b \u{9b}31m \u{1b}]0;x\u{7}",
    "'\"'\"'; touch pwned; ''\"'\"",
];

#[test]
fn hostile_response_text_does_nothing_when_the_trace_is_pasted() {
    for text in HOSTILE {
        let registry = FakeRegistry::with_image();
        let header = text.replace(|c: char| c.is_control(), "");
        registry.fault(move |request, right| {
            let right = right.header("Content-Type", &header).header("Link", &header);
            let right = right.header("WWW-Authenticate", &header).header("OCI-X", &header);
            let right =
                right.header("Location", format!("/{header}")).header("Retry-After", &header);
            let right = right.header("Warning", format!("299 - \"{header}\""));
            match request.number {
                0 => Reply::error(503, text, text).header("Link", &header),
                _ => right,
            }
        });
        let run = fetch(&registry, &Scratch::new()).arg("--trace").run();
        let trace = &run.stderr;
        assert!(!trace.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'), "{run}");
        let calls = arguments(trace, "");
        let curl: Vec<_> = calls.iter().filter(|call| call[0] == "-sS").collect();
        assert_eq!(curl.len(), 2, "{run}");
        let url = format!("http://{}/v2/app/manifests/1", registry.host());
        assert!(curl.iter().all(|call| call.last() == Some(&url)), "{calls:#?}");
    }
}

#[test]
fn a_url_from_a_server_is_a_single_shell_word() {
    // URLs that the tool follows and that are as hostile as possible.
    for query in ["a='b'&$(touch%20pwned)`id`", "a=;touch$IFS'pwned'", "{a,b}[1-3]", "'\"|x>pwned"]
    {
        let registry = FakeRegistry::with_image();
        registry.tags_a_page(1);
        let next = format!("</v2/app/tags/list?last=1&{query}>; rel=next");
        registry.fault(move |request, right| {
            if request.query.contains("last=1") {
                return right;
            }
            right.without("Link").header("Link", &next)
        });
        let run =
            tool("list-tags").args(["--trace", "--max-wait", "0", &registry.repo("app")]).run();
        if run.code() != Some(0) {
            // The tool refused it as an invalid URL.
            continue;
        }
        let calls = arguments(&run.stderr, "");
        let want = format!("http://{}/v2/app/tags/list?last=1&{query}", registry.host());
        assert!(calls.iter().any(|call| call.last() == Some(&want)), "{calls:#?}\n{run}");
    }
}

#[test]
fn a_user_name_is_quoted() {
    let registry = registry_with_tokens();
    for user in ["we$ird", "it's", "`id`", "a b", "\"q\""] {
        let run = fetch(&registry, &Scratch::new()).args(["--trace", "-u", user]);
        let run = run.env("REGISTRY_PASSWORD", "hunter22").run();
        run.status(4).does_not_say("hunter22");
        let calls = arguments(&run.stderr, "");
        let want = format!("{user}:");
        assert!(
            calls.iter().any(|call| call.windows(2).any(|w| w[0] == "-u" && w[1] == want)),
            "{calls:#?}"
        );
    }
}

#[test]
fn a_user_name_with_invisible_characters_is_escaped_for_the_shell() {
    let registry = registry_with_login();
    let user = "-%d\u{202e}1\u{200b}\\";
    let run = fetch(&registry, &Scratch::new()).args(["--trace", &format!("-u{user}")]);
    let run = run.env("REGISTRY_PASSWORD", "hunter22").run();
    run.status(4).does_not_say("\u{202e}").does_not_say("\u{200b}");
    let calls = arguments(&run.stderr, "");
    let want = format!("{user}:");
    let has = |call: &Vec<String>| call.windows(2).any(|w| w[0] == "-u" && w[1] == want);
    assert!(calls.iter().any(has), "{calls:#?}");
}

#[test]
fn an_identity_token_from_a_file_is_not_shown() {
    let registry = FakeRegistry::with_tokens();
    registry.add_image("app", "1", &Image::small());
    let scratch = Scratch::new();
    let entry = serde_json::json!({"auth": base64("<token>:"), "identitytoken": "hush-hush"});
    keep(&scratch, DOCKER, &auths(&registry.host(), &entry));
    let command = at_home(tool("fetch-manifest"), scratch.path());
    let run =
        command.args(["--trace", "--max-wait", "0", &format!("{}:1", registry.repo("app"))]).run();
    check_no_secret(&run, &[]);
    run.says("\"refresh_token=$REGISTRY_PASSWORD\"");
}

mod with_peers {
    use super::*;

    #[test]
    fn the_trace_bypasses_a_proxy_that_the_tool_bypassed() {
        let registry = registry_with_login();
        let recording = Server::start(|_| Reply::new(502));
        for name in ["http_proxy", "all_proxy", "ALL_PROXY"] {
            let run = fetch(&registry, &Scratch::new()).args(["--trace", "-u", USER]);
            let run = run.env("REGISTRY_PASSWORD", PASSWORD).env(name, recording.url()).run();
            run.status(0).says(" --noproxy '*' ");
            let again = script(&run, &Scratch::new()).env(name, recording.url()).run();
            assert!(again.ok().stdout.ends_with(&Image::small().manifest.bytes), "{again}");
        }
        assert!(recording.requests().is_empty(), "{:?}", recording.asked());
    }

    #[test]
    fn a_location_at_another_host_gets_no_token_from_the_trace() {
        let push = Push::to(FakeRegistry::with_tokens(), 1000);
        let run = push.file().arg("--trace").run();
        run.status(0);
        let own = format!("http://{}/", push.registry.host());
        for evil in [
            "http://evil.example/x",
            "//evil.example/x",
            ".evil.example/x",
            "@evil.example/x",
            "-o/etc/x",
        ] {
            let calls = arguments(&run.stderr, evil);
            let carries =
                |call: &&Vec<String>| call.iter().any(|word| word.starts_with("Authorization: "));
            let with_token: Vec<_> = calls.iter().filter(carries).collect();
            assert!(with_token.len() >= 3, "{calls:#?}");
            for call in with_token {
                assert!(call.last().is_some_and(|url| url.starts_with(&own)), "{call:#?}");
            }
        }
    }
}
