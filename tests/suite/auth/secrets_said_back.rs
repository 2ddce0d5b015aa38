// SPDX-License-Identifier: Apache-2.0
//! Servers that echo the secrets they received, in every part of a response that a message may
//! show, whole or truncated. No secret and no part of a secret may reach stderr.

// clippy allows unwrap in test functions only, not in the helpers that they share.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use tests::attack::{AUTHORIZED, Attack, BEARER, IDENTITY, ISSUED, PASSWORD, Who};
use tests::fake::{Reply, Request};
use tests::images::Image;
use tests::logins::basic;
use tests::tools::{Command, Run};

fn attack() -> Attack {
    let attack = Attack::start(false);
    attack.registry.add_image("app", "1", &Image::small());
    attack
}

fn fetch(attack: &Attack, who: Who) -> Command {
    attack.tool("fetch-manifest", who).arg(attack.registry.repo("app") + ":1")
}

/// The secrets that the registry itself received with this request.
fn sent(request: &Request) -> String {
    let header = |name| request.header(name).unwrap_or_default().to_owned();
    format!("{} {} {}", header("authorization"), header("x-key"), header("cookie"))
}

/// Checks that not even the beginning of a secret is on stderr.
#[track_caller]
fn shows_no_part(run: &Run, what: &str) {
    let login = basic(tests::attack::NAME, PASSWORD);
    let login = login.strip_prefix("Basic ").unwrap();
    let own = tests::attack::OWN.map(|(_, value)| value);
    let all = [PASSWORD, IDENTITY, BEARER, ISSUED, AUTHORIZED, own[0], "own-5d2a-cookie", login];
    for secret in all {
        assert!(!run.stderr.contains(&secret[..6]), "{what}: of {secret}: {run}");
    }
}

#[test]
fn in_whatever_place_of_an_answer() {
    type Echo = fn(Reply, &str) -> Reply;
    let echoes: [(&str, Echo); 11] = [
        ("a message", |_, text| Reply::error(403, "DENIED", text)),
        ("a code", |_, text| Reply::error(403, text, "no")),
        ("an old message", |_, text| Reply::json(403, &json!({"details": text}))),
        ("a text", |_, text| Reply::new(403).body(text)),
        ("XML", |_, text| {
            let xml = format!("<?xml version=\"1.0\"?><Error><Message>{text}</Message></Error>");
            Reply::new(403).body(xml)
        }),
        ("a warning", |right, text| right.header("Warning", format!("299 - \"{text}\""))),
        ("a media type", |right, text| {
            right.without("Content-Type").header("Content-Type", text.replace(' ', "/"))
        }),
        ("an encoding", |right, text| right.header("Content-Encoding", text)),
        ("a digest", |right, text| {
            right.without("Docker-Content-Digest").header("Docker-Content-Digest", text)
        }),
        ("a redirect", |_, text| {
            Reply::redirect(307, &format!("http://10.0.0.1/{}", text.replace(' ', "/")))
        }),
        ("no redirect", |_, text| Reply::redirect(307, text)),
    ];
    for (place, echo) in echoes {
        for who in Who::ALL {
            let attack = attack();
            attack.fault(
                move |request, right| {
                    if request.is_manifest() { echo(right, &sent(request)) } else { right }
                },
            );
            let run = fetch(&attack, who).run();
            let what = format!("{place}, {who:?}");
            attack.learned_nothing(&run, &what);
            shows_no_part(&run, &what);
        }
    }
}

#[test]
fn in_a_challenge() {
    for who in Who::ALL {
        for form in ["SENT", "Bearer realm=\"http://10.0.0.1/SENT\"", "Bearer realm=\"SENT\""] {
            let attack = attack();
            attack.fault(move |request, right| {
                if !request.is_manifest() {
                    return right;
                }
                let challenge = form.replace("SENT", &sent(request).replace(' ', "."));
                Reply::new(401).header("WWW-Authenticate", challenge)
            });
            let run = fetch(&attack, who).run();
            let what = format!("{form}, {who:?}");
            attack.learned_nothing(&run, &what);
            shows_no_part(&run, &what);
            run.fails(run.code().unwrap(), "").stdout("");
        }
    }
}

#[test]
fn where_a_message_is_cut() {
    for who in Who::ALL {
        let attack = attack();
        for before in (960..1030).step_by(3) {
            attack.fault(move |request, right| {
                if !request.is_manifest() {
                    return right;
                }
                let text = format!("{}{}", "x".repeat(before), sent(request));
                Reply::error(403, "DENIED", &text)
            });
            let run = fetch(&attack, who).run();
            run.fails(4, "DENIED").stdout("");
            shows_no_part(&run, &format!("{before} before, {who:?}"));
        }
    }
}

#[test]
fn by_a_token_server() {
    for who in [Who::Login, Who::Identity] {
        for escaped in [false, true] {
            let attack = attack();
            let realm = format!("{}/token", attack.plain.url());
            attack.detour(move |_, _| {
                let challenge = format!("Bearer realm=\"{realm}\",service=\"it\"");
                Some(Reply::new(401).header("WWW-Authenticate", challenge))
            });
            attack.answer(move |request| {
                let body = String::from_utf8_lossy(&request.body).into_owned();
                let header = request.header("authorization").unwrap_or_default();
                let body =
                    if escaped { body } else { body.replace("%2B", "+").replace("%2F", "/") };
                Reply::error(500, "UNKNOWN", &format!("{header} {body}"))
            });
            let run = fetch(&attack, who).run();
            run.fails(5, "token server").stdout("");
            shows_no_part(&run, &format!("{who:?}, escaped: {escaped}"));
            assert_eq!(
                tests::attack::secrets_in(run.stderr.as_bytes()),
                Vec::<&str>::new(),
                "{run}"
            );
        }
    }
}
