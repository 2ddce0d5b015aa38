// SPDX-License-Identifier: Apache-2.0
//! Servers that echo the secrets they received, in every part of a response that a message may
//! show, complete or truncated. No secret and no part of a secret may reach stderr.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use tests::attack::{AUTHORIZED, Attack, BEARER, Credential, IDENTITY, ISSUED, PASSWORD};
use tests::fake::{Reply, Request};
use tests::images::Image;
use tests::logins::basic;
use tests::tools::{Command, Run};

fn attack() -> Attack {
    let attack = Attack::start(false);
    attack.registry.add_image("app", "1", &Image::small());
    attack
}

fn fetch(attack: &Attack, credential: Credential) -> Command {
    attack.tool("fetch-manifest", credential).arg(attack.registry.repo("app") + ":1")
}

/// The secrets that the registry itself received with this request.
fn sent(request: &Request) -> String {
    let header = |name| request.header(name).unwrap_or_default().to_owned();
    format!("{} {} {}", header("authorization"), header("x-key"), header("cookie"))
}

/// Checks that not even the beginning of a secret is on stderr.
#[track_caller]
fn shows_no_part(run: &Run, what: &str) {
    let encoded = basic(tests::attack::NAME, PASSWORD);
    let encoded = encoded.strip_prefix("Basic ").unwrap();
    let own = tests::attack::OWN.map(|(_, value)| value);
    let all = [PASSWORD, IDENTITY, BEARER, ISSUED, AUTHORIZED, own[0], "own-5d2a-cookie", encoded];
    for secret in all {
        assert!(!run.stderr.contains(&secret[..6]), "{what}: part of {secret}: {run}");
    }
}

#[test]
fn an_echoed_secret_is_not_shown_from_any_part_of_a_response() {
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
        ("an invalid redirect", |_, text| Reply::redirect(307, text)),
    ];
    for (place, echo) in echoes {
        for credential in Credential::ALL {
            let attack = attack();
            attack.fault(
                move |request, right| {
                    if request.is_manifest() { echo(right, &sent(request)) } else { right }
                },
            );
            let run = fetch(&attack, credential).run();
            let what = format!("{place}, {credential:?}");
            attack.received_no_secret(&run, &what);
            shows_no_part(&run, &what);
        }
    }
}

#[test]
fn an_echoed_secret_is_not_shown_from_a_challenge() {
    for credential in Credential::ALL {
        for form in ["SENT", "Bearer realm=\"http://10.0.0.1/SENT\"", "Bearer realm=\"SENT\""] {
            let attack = attack();
            attack.fault(move |request, right| {
                if !request.is_manifest() {
                    return right;
                }
                let challenge = form.replace("SENT", &sent(request).replace(' ', "."));
                Reply::new(401).header("WWW-Authenticate", challenge)
            });
            let run = fetch(&attack, credential).run();
            let what = format!("{form}, {credential:?}");
            attack.received_no_secret(&run, &what);
            shows_no_part(&run, &what);
            run.fails(run.code().unwrap(), "").stdout("");
        }
    }
}

#[test]
fn an_echoed_secret_is_not_shown_where_a_message_is_truncated() {
    for credential in Credential::ALL {
        let attack = attack();
        for before in (960..1030).step_by(3) {
            attack.fault(move |request, right| {
                if !request.is_manifest() {
                    return right;
                }
                let text = format!("{}{}", "x".repeat(before), sent(request));
                Reply::error(403, "DENIED", &text)
            });
            let run = fetch(&attack, credential).run();
            run.fails(4, "DENIED").stdout("");
            shows_no_part(&run, &format!("{before} before, {credential:?}"));
        }
    }
}

#[test]
fn a_secret_echoed_by_a_token_server_is_not_shown() {
    for credential in [Credential::Login, Credential::Identity] {
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
            let run = fetch(&attack, credential).run();
            run.fails(5, "token server").stdout("");
            shows_no_part(&run, &format!("{credential:?}, escaped: {escaped}"));
            assert_eq!(
                tests::attack::secrets_in(run.stderr.as_bytes()),
                Vec::<&str>::new(),
                "{run}"
            );
        }
    }
}
