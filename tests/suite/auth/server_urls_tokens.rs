// SPDX-License-Identifier: Apache-2.0
//! URLs that a registry sends in challenges (realms), and redirects of token servers. A token
//! server may receive the secrets that are for token servers. No other server may receive them.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use tests::attack::{Attack, Credential, IDENTITY, ISSUED, PASSWORD};
use tests::fake::Reply;
use tests::images::{Blob, Image, noise, types};
use tests::push::Push;
use tests::scratch::Scratch;
use tests::tools::Command;
use tests::urls::{Verdict, paths, shapes};

/// A registry with an image as `app:1`, and an attacker who issues valid tokens for it.
fn attack(by_tls: bool) -> Attack {
    let attack = Attack::start(by_tls);
    attack.registry.add_image("app", "1", &Image::small());
    attack.answer(|_| Reply::json(200, &json!({"token": ISSUED})));
    attack
}

fn fetch(attack: &Attack, credential: Credential) -> Command {
    attack.tool("fetch-manifest", credential).arg(attack.registry.repo("app") + ":1")
}

/// A challenge with this realm, which may be any text.
fn challenge(realm: &str) -> Reply {
    let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
    let reply = Reply::error(401, "UNAUTHORIZED", "authentication required");
    reply.header("WWW-Authenticate", format!("Bearer realm=\"{realm}\",service=\"it\""))
}

/// The secrets that a token server may receive.
fn allowed_secrets(credential: Credential) -> &'static [&'static str] {
    match credential {
        Credential::Login => &[PASSWORD],
        Credential::Identity => &[IDENTITY],
        _ => &[],
    }
}

#[test]
fn realms_of_every_shape_receive_at_most_the_secret_for_token_servers() {
    for by_tls in [false, true] {
        let attack = attack(by_tls);
        let all = shapes(&attack, "/x/token").into_iter().chain(paths(&attack));
        for (number, shape) in all.enumerate() {
            let text = shape.text.clone();
            attack.detour(move |request, let_in| {
                (!let_in && request.path.starts_with("/v2/")).then(|| challenge(&text))
            });
            let other = [Credential::Given, Credential::Header][number / 2 % 2];
            for credential in [Credential::Login, Credential::Identity, other] {
                attack.forget();
                let run = match number % 2 {
                    0 => fetch(&attack, credential).run(),
                    _ => {
                        let command = attack.tool("fetch-token", credential).env("TOKEN", "");
                        command.arg(attack.registry.repo("app")).run()
                    }
                };
                let what = format!("{credential:?}: {:.200}", shape.text);
                let received = attack.received().len();
                if run.code() == Some(0) && number % 2 == 1 {
                    // The tool prints the token, so stdout contains this secret.
                    continue;
                }
                attack.received_only(&run, &what, allowed_secrets(credential));
                match shape.verdict {
                    _ if !credential.asks() => assert_eq!(received, 0, "{what}: {run}"),
                    Verdict::Other if shape.is_absolute => assert_eq!(received, 1, "{what}: {run}"),
                    _ => assert_eq!(received, 0, "{what}: {run}"),
                }
                if shape.verdict == Verdict::Refused && credential.asks() {
                    assert!(matches!(run.code(), Some(4 | 6)), "{what}: {run}");
                    run.fails(run.code().unwrap(), "").stdout("");
                }
            }
        }
    }
}

#[test]
fn a_redirect_from_the_token_server_carries_no_secret() {
    for by_tls in [false, true] {
        let attack = attack(by_tls);
        let all = shapes(&attack, "/x/token").into_iter().chain(paths(&attack));
        for (number, shape) in all.enumerate() {
            let status = [301, 302, 303, 307, 308][number % 5];
            let text = shape.text.clone();
            attack.detour(move |request, _| {
                (request.path == "/token").then(|| Reply::redirect(status, &text))
            });
            for credential in [Credential::Login, Credential::Identity] {
                attack.forget();
                let run = fetch(&attack, credential).run();
                let what = format!("{credential:?}, {status}: {:.200}", shape.text);
                attack.received_no_secret(&run, &what);
                let received = attack.received();
                match (credential, shape.verdict) {
                    (Credential::Login, Verdict::Other) => {
                        assert_eq!(received.len(), 1, "{what}: {run}");
                        run.status(0);
                    }
                    _ => assert_eq!(received.len(), 0, "{what}: {run}"),
                }
                if (credential, shape.verdict) == (Credential::Login, Verdict::Refused) {
                    run.fails(6, "token server").stdout("");
                }
            }
        }
    }
}

#[test]
fn a_redirect_of_an_identity_token_is_refused_even_to_the_same_host() {
    for status in [301, 302, 303, 307, 308] {
        let attack = attack(false);
        let home = format!("{}/other", attack.registry.server.url());
        attack.detour(move |request, _| {
            (request.path == "/token").then(|| Reply::redirect(status, &home))
        });
        fetch(&attack, Credential::Identity).run().fails(6, &status.to_string()).stdout("");
        let asked = attack.registry.server.asked();
        assert!(asked.iter().all(|asked| !asked.contains("/other")), "{asked:?}");
    }
}

#[test]
fn a_challenge_after_a_redirect_of_the_api_root_gets_no_secret() {
    let attack = attack(false);
    let attacker = attack.plain.url();
    let realm = format!("{attacker}/token");
    attack.answer(move |request| match request.path.as_str() {
        "/token" => Reply::json(200, &json!({"token": ISSUED})),
        _ => challenge(&realm).header("WWW-Authenticate", "Basic realm=\"it\""),
    });
    // A 401 without a challenge makes clients request /v2/ to get one.
    attack.detour(move |request, let_in| match request.path.as_str() {
        "/v2/" => Some(Reply::redirect(307, &format!("{attacker}/root"))),
        path if path.starts_with("/v2/") && !let_in => Some(Reply::new(401)),
        _ => None,
    });
    for credential in [Credential::Password, Credential::Login, Credential::Identity] {
        for name in ["fetch-manifest", "fetch-token", "list-tags"] {
            attack.forget();
            let command = attack.tool(name, credential);
            let run = match name {
                "fetch-manifest" => command.arg(attack.registry.repo("app") + ":1").run(),
                _ => command.arg(attack.registry.repo("app")).run(),
            };
            attack.received_no_secret(&run, &format!("{name}: {credential:?}"));
            let received = attack.received();
            assert!(
                received.iter().all(|request| request.path != "/token"),
                "{received:#?}\n{run}"
            );
            assert_ne!(run.code(), Some(0), "{run}");
        }
    }
}

/// Makes the registry challenge every request with a new realm.
fn always_a_new_realm(attack: &Attack) {
    let attacker = attack.plain.url();
    attack.detour(move |request, _| {
        let number = request.number;
        (request.path.starts_with("/v2/")).then(|| challenge(&format!("{attacker}/token/{number}")))
    });
    attack.answer(|request| Reply::json(200, &json!({"token": format!("t-{}", request.number)})));
}

#[test]
fn a_registry_with_a_new_realm_in_every_challenge_is_given_up_soon() {
    let attack = attack(false);
    always_a_new_realm(&attack);
    for credential in [Credential::Login, Credential::Identity] {
        for name in ["fetch-manifest", "list-tags", "fetch-blob"] {
            attack.forget();
            let app = attack.registry.repo("app");
            let command = attack.tool(name, credential);
            let blob = Blob::new(types::TAR, noise(10, 1));
            let run = match name {
                "fetch-manifest" => command.arg(app + ":1").run(),
                "list-tags" => command.arg(app).run(),
                _ => command.args([app, blob.digest]).run(),
            };
            run.fails(run.code().unwrap_or(-1), "").stdout("");
            assert!(matches!(run.code(), Some(4 | 6)), "{run}");
            attack.received_only(&run, name, allowed_secrets(credential));
            assert!(attack.received().len() <= 2, "{name}: {:#?}\n{run}", attack.plain.asked());
        }
    }
}

#[test]
fn a_third_realm_in_one_run_is_refused() {
    let attack = attack(false);
    let attacker = attack.plain.url();
    // The registry serves each blob only after a challenge with a realm for this blob alone.
    attack.detour(move |request, let_in| {
        let is_first = request.is_blob() && request.earlier == 0;
        (is_first || !let_in).then(|| challenge(&format!("{attacker}/{}", request.path)))
    });
    let image = Image::of_archives(&[1, 2, 3, 4, 5, 6].map(|s| noise(1000, s)), "linux", "amd64");
    attack.registry.add_image("app", "2", &image);
    for credential in [Credential::Login, Credential::Identity] {
        for jobs in ["1", "4"] {
            attack.forget();
            let scratch = Scratch::new();
            let command =
                attack.tool("fetch-blob", credential).args(["--into", "oci:l", "-j", jobs]);
            let run = command.arg(attack.registry.repo("app")).stdin(image.lines());
            let run = run.dir(scratch.path()).run();
            let asked: std::collections::BTreeSet<_> =
                attack.received().into_iter().map(|request| request.path).collect();
            run.fails(6, "realm");
            assert_eq!(asked.len(), 2, "{run}");
        }
    }
}

#[test]
fn realms_that_differ_only_in_the_query_count_as_one() {
    let attack = attack(false);
    let attacker = attack.plain.url();
    attack.detour(move |request, let_in| {
        let is_first = request.is_blob() && request.earlier == 0;
        let realm = format!("{attacker}/token?nonce={}", request.number);
        (is_first || !let_in).then(|| challenge(&realm))
    });
    let image = Image::of_archives(&[1, 2, 3, 4].map(|s| noise(1000, s)), "linux", "amd64");
    attack.registry.add_image("app", "2", &image);
    let scratch = Scratch::new();
    let command = attack.tool("fetch-blob", Credential::Login).args(["--into", "oci:l", "-j", "1"]);
    let run = command.arg(attack.registry.repo("app")).stdin(image.lines());
    run.dir(scratch.path()).run().ok();
}

#[test]
fn a_realm_that_appears_during_an_upload_receives_at_most_the_secret_for_token_servers() {
    for credential in [Credential::Login, Credential::Identity] {
        let attack = attack(false);
        let attacker = attack.plain.url();
        let push = Push::of(300_000);
        attack.detour(move |request, _| {
            let expires = (request.is_patch() || request.is_close()) && request.earlier == 0;
            expires.then(|| challenge(&format!("{attacker}/token")))
        });
        let run = attack.tool("push-blob", credential).args([
            "--chunk",
            "100k",
            "--media-type",
            types::TAR,
        ]);
        let run = run.args([&attack.registry.repo("app"), "layer"]).dir(push.scratch.path()).run();
        run.status(0).stdout(push.blob.line());
        attack.received_only(&run, &format!("{credential:?}"), allowed_secrets(credential));
        assert!(!attack.received().is_empty());
        assert!(attack.registry.blob("app", &push.blob.digest).is_some());
    }
}

#[test]
fn fetch_token_sends_secrets_only_to_the_token_server() {
    for by_tls in [false, true] {
        let attack = attack(by_tls);
        let attacker = if by_tls { attack.secure.url() } else { attack.plain.url() };
        for credential in [Credential::Password, Credential::Login, Credential::Identity] {
            for challenge in ["Basic realm=\"it\"", "Bearer realm=\"REALM/token\""] {
                let challenge = challenge.replace("REALM", &attacker);
                attack.answer(move |_| Reply::new(401).header("WWW-Authenticate", &challenge));
                let target = attacker.clone();
                attack.detour(move |request, _| match request.path.as_str() {
                    "/token" => None,
                    path => Some(Reply::redirect(307, &format!("{target}{path}"))),
                });
                for args in [&[][..], &["--push"], &["--print-header"]] {
                    attack.forget();
                    let run = attack.tool("fetch-token", credential).args(args);
                    let run = run.arg(attack.registry.repo("app")).run();
                    attack.received_no_secret(&run, &format!("{credential:?} {args:?}"));
                    assert_ne!(run.code(), Some(0), "{run}");
                    let received = attack.received();
                    assert!(
                        received.iter().all(|request| request.path != "/token"),
                        "{received:#?}"
                    );
                }
            }
        }
    }
}
