// SPDX-License-Identifier: Apache-2.0
//! URLs that a registry sends in challenges (realms), and redirects of token servers. A token
//! server may receive the secrets that are for token servers. No other server may receive them.

// clippy allows unwrap in test functions only, not in the helpers that they share.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use tests::attack::{Attack, IDENTITY, ISSUED, PASSWORD, Who};
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

fn fetch(attack: &Attack, who: Who) -> Command {
    attack.tool("fetch-manifest", who).arg(attack.registry.repo("app") + ":1")
}

/// A challenge with this realm, which may be any text.
fn challenge(realm: &str) -> Reply {
    let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
    let reply = Reply::error(401, "UNAUTHORIZED", "authentication required");
    reply.header("WWW-Authenticate", format!("Bearer realm=\"{realm}\",service=\"it\""))
}

/// The secrets that a token server may receive.
fn shown(who: Who) -> &'static [&'static str] {
    match who {
        Who::Login => &[PASSWORD],
        Who::Identity => &[IDENTITY],
        _ => &[],
    }
}

#[test]
fn realms_of_every_shape_learn_the_login_at_most() {
    for by_tls in [false, true] {
        let attack = attack(by_tls);
        let all = shapes(&attack, "/x/token").into_iter().chain(paths(&attack));
        for (number, shape) in all.enumerate() {
            let text = shape.text.clone();
            attack.detour(move |request, let_in| {
                (!let_in && request.path.starts_with("/v2/")).then(|| challenge(&text))
            });
            let other = [Who::Given, Who::Header][number / 2 % 2];
            for who in [Who::Login, Who::Identity, other] {
                attack.forget();
                let run = match number % 2 {
                    0 => fetch(&attack, who).run(),
                    _ => {
                        let command = attack.tool("fetch-token", who).env("TOKEN", "");
                        command.arg(attack.registry.repo("app")).run()
                    }
                };
                let what = format!("{who:?}: {:.200}", shape.text);
                let heard = attack.overheard().len();
                if run.code() == Some(0) && number % 2 == 1 {
                    // The tool prints the token: stdout contains a secret as it should.
                    continue;
                }
                attack.learned_only(&run, &what, shown(who));
                match shape.verdict {
                    _ if !who.asks() => assert_eq!(heard, 0, "{what}: {run}"),
                    Verdict::Away if shape.is_absolute => assert_eq!(heard, 1, "{what}: {run}"),
                    _ => assert_eq!(heard, 0, "{what}: {run}"),
                }
                if shape.verdict == Verdict::Never && who.asks() {
                    assert!(matches!(run.code(), Some(4 | 6)), "{what}: {run}");
                    run.fails(run.code().unwrap(), "").stdout("");
                }
            }
        }
    }
}

#[test]
fn a_token_server_that_redirects_takes_nothing_of_the_login_along() {
    for by_tls in [false, true] {
        let attack = attack(by_tls);
        let all = shapes(&attack, "/x/token").into_iter().chain(paths(&attack));
        for (number, shape) in all.enumerate() {
            let status = [301, 302, 303, 307, 308][number % 5];
            let text = shape.text.clone();
            attack.detour(move |request, _| {
                (request.path == "/token").then(|| Reply::redirect(status, &text))
            });
            for who in [Who::Login, Who::Identity] {
                attack.forget();
                let run = fetch(&attack, who).run();
                let what = format!("{who:?}, {status}: {:.200}", shape.text);
                attack.learned_nothing(&run, &what);
                let heard = attack.overheard();
                match (who, shape.verdict) {
                    (Who::Login, Verdict::Away) => {
                        assert_eq!(heard.len(), 1, "{what}: {run}");
                        run.status(0);
                    }
                    _ => assert_eq!(heard.len(), 0, "{what}: {run}"),
                }
                if (who, shape.verdict) == (Who::Login, Verdict::Never) {
                    run.fails(6, "token server").stdout("");
                }
            }
        }
    }
}

#[test]
fn a_token_server_that_redirects_an_identity_token_is_not_followed_even_home() {
    for status in [301, 302, 303, 307, 308] {
        let attack = attack(false);
        let home = format!("{}/other", attack.registry.server.url());
        attack.detour(move |request, _| {
            (request.path == "/token").then(|| Reply::redirect(status, &home))
        });
        fetch(&attack, Who::Identity).run().fails(6, &status.to_string()).stdout("");
        let asked = attack.registry.server.asked();
        assert!(asked.iter().all(|asked| !asked.contains("/other")), "{asked:?}");
    }
}

#[test]
fn the_root_of_the_api_that_redirects_challenges_for_nobody() {
    let attack = attack(false);
    let thief = attack.plain.url();
    let realm = format!("{thief}/token");
    attack.answer(move |request| match request.path.as_str() {
        "/token" => Reply::json(200, &json!({"token": ISSUED})),
        _ => challenge(&realm).header("WWW-Authenticate", "Basic realm=\"it\""),
    });
    // A 401 without a challenge makes clients request /v2/ to get one.
    attack.detour(move |request, let_in| match request.path.as_str() {
        "/v2/" => Some(Reply::redirect(307, &format!("{thief}/root"))),
        path if path.starts_with("/v2/") && !let_in => Some(Reply::new(401)),
        _ => None,
    });
    for who in [Who::Password, Who::Login, Who::Identity] {
        for name in ["fetch-manifest", "fetch-token", "list-tags"] {
            attack.forget();
            let command = attack.tool(name, who);
            let run = match name {
                "fetch-manifest" => command.arg(attack.registry.repo("app") + ":1").run(),
                _ => command.arg(attack.registry.repo("app")).run(),
            };
            attack.learned_nothing(&run, &format!("{name}: {who:?}"));
            let heard = attack.overheard();
            assert!(heard.iter().all(|request| request.path != "/token"), "{heard:#?}\n{run}");
            assert_ne!(run.code(), Some(0), "{run}");
        }
    }
}

/// Makes the registry challenge every request with a new realm.
fn never_content(attack: &Attack) {
    let thief = attack.plain.url();
    attack.detour(move |request, _| {
        let number = request.number;
        (request.path.starts_with("/v2/")).then(|| challenge(&format!("{thief}/token/{number}")))
    });
    attack.answer(|request| Reply::json(200, &json!({"token": format!("t-{}", request.number)})));
}

#[test]
fn a_new_realm_each_time_ends_soon() {
    let attack = attack(false);
    never_content(&attack);
    for who in [Who::Login, Who::Identity] {
        for name in ["fetch-manifest", "list-tags", "fetch-blob"] {
            attack.forget();
            let app = attack.registry.repo("app");
            let command = attack.tool(name, who);
            let blob = Blob::new(types::TAR, noise(10, 1));
            let run = match name {
                "fetch-manifest" => command.arg(app + ":1").run(),
                "list-tags" => command.arg(app).run(),
                _ => command.args([app, blob.digest]).run(),
            };
            run.fails(run.code().unwrap_or(-1), "").stdout("");
            assert!(matches!(run.code(), Some(4 | 6)), "{run}");
            attack.learned_only(&run, name, shown(who));
            assert!(attack.overheard().len() <= 2, "{name}: {:#?}\n{run}", attack.plain.asked());
        }
    }
}

#[test]
fn two_realms_a_run_are_enough() {
    let attack = attack(false);
    let thief = attack.plain.url();
    // The registry serves each blob only after a challenge with a realm for this blob alone.
    attack.detour(move |request, let_in| {
        let is_first = request.is_blob() && request.earlier == 0;
        (is_first || !let_in).then(|| challenge(&format!("{thief}/{}", request.path)))
    });
    let image = Image::of_archives(&[1, 2, 3, 4, 5, 6].map(|s| noise(1000, s)), "linux", "amd64");
    attack.registry.add_image("app", "2", &image);
    for who in [Who::Login, Who::Identity] {
        for jobs in ["1", "4"] {
            attack.forget();
            let scratch = Scratch::new();
            let command = attack.tool("fetch-blob", who).args(["--into", "oci:l", "-j", jobs]);
            let run = command.arg(attack.registry.repo("app")).stdin(image.lines());
            let run = run.dir(scratch.path()).run();
            let asked: std::collections::BTreeSet<_> =
                attack.overheard().into_iter().map(|request| request.path).collect();
            run.fails(6, "realm");
            assert_eq!(asked.len(), 2, "{run}");
        }
    }
}

#[test]
fn a_realm_that_changes_only_its_query_is_one_realm() {
    let attack = attack(false);
    let thief = attack.plain.url();
    attack.detour(move |request, let_in| {
        let is_first = request.is_blob() && request.earlier == 0;
        let realm = format!("{thief}/token?nonce={}", request.number);
        (is_first || !let_in).then(|| challenge(&realm))
    });
    let image = Image::of_archives(&[1, 2, 3, 4].map(|s| noise(1000, s)), "linux", "amd64");
    attack.registry.add_image("app", "2", &image);
    let scratch = Scratch::new();
    let command = attack.tool("fetch-blob", Who::Login).args(["--into", "oci:l", "-j", "1"]);
    let run = command.arg(attack.registry.repo("app")).stdin(image.lines());
    run.dir(scratch.path()).run().ok();
}

#[test]
fn a_realm_that_comes_in_mid_upload_learns_the_login_at_most() {
    for who in [Who::Login, Who::Identity] {
        let attack = attack(false);
        let thief = attack.plain.url();
        let push = Push::of(300_000);
        attack.detour(move |request, _| {
            let dies = (request.is_patch() || request.is_close()) && request.earlier == 0;
            dies.then(|| challenge(&format!("{thief}/token")))
        });
        let run =
            attack.tool("push-blob", who).args(["--chunk", "100k", "--media-type", types::TAR]);
        let run = run.args([&attack.registry.repo("app"), "layer"]).dir(push.scratch.path()).run();
        run.status(0).stdout(push.blob.line());
        attack.learned_only(&run, &format!("{who:?}"), shown(who));
        assert!(!attack.overheard().is_empty());
        assert!(attack.registry.blob("app", &push.blob.digest).is_some());
    }
}

#[test]
fn fetch_token_tells_nobody_but_the_token_server() {
    for by_tls in [false, true] {
        let attack = attack(by_tls);
        let thief = if by_tls { attack.secure.url() } else { attack.plain.url() };
        for who in [Who::Password, Who::Login, Who::Identity] {
            for lure in ["Basic realm=\"it\"", "Bearer realm=\"REALM/token\""] {
                let lure = lure.replace("REALM", &thief);
                attack.answer(move |_| Reply::new(401).header("WWW-Authenticate", &lure));
                let target = thief.clone();
                attack.detour(move |request, _| match request.path.as_str() {
                    "/token" => None,
                    path => Some(Reply::redirect(307, &format!("{target}{path}"))),
                });
                for args in [&[][..], &["--push"], &["--header"]] {
                    attack.forget();
                    let run = attack.tool("fetch-token", who).args(args);
                    let run = run.arg(attack.registry.repo("app")).run();
                    attack.learned_nothing(&run, &format!("{who:?} {args:?}"));
                    assert_ne!(run.code(), Some(0), "{run}");
                    let heard = attack.overheard();
                    assert!(heard.iter().all(|request| request.path != "/token"), "{heard:#?}");
                }
            }
        }
    }
}
