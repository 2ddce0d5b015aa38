// SPDX-License-Identifier: Apache-2.0
//! URLs that a registry sends in responses to read requests: redirects of every kind of request,
//! next pages of tags, and the URLs of layer descriptors. The tests check which URLs are followed,
//! and that no server behind them receives a secret.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use serde_json::json;
use tests::attack::{Attack, Credential};
use tests::fake::{End, Reply, Request};
use tests::images::{Blob, Image};
use tests::scratch::Scratch;
use tests::tools::{Command, Run};
use tests::urls::{Shape, Verdict, paths, shapes};

/// A registry with an image as `app:1` and a blob. The attacker's server has the same image and
/// blob, so that only the rules for URLs can prevent a client from fetching them there.
fn attack(by_tls: bool) -> (Attack, Blob) {
    let attack = Attack::start(by_tls);
    let image = Image::small();
    attack.registry.add_image("app", "1", &image);
    let blob = attack.registry.add_noise("app", 100_000, 1);
    let bytes: Arc<[u8]> = blob.bytes.clone().into();
    attack.answer(move |request| match request.path.as_str() {
        path if path.ends_with("/manifest") => Reply::ok(&image.manifest.bytes),
        path if path.ends_with("/tags") => Reply::json(200, &json!({"name": "app", "tags": ["1"]})),
        _ => Reply::ranged(request, Arc::clone(&bytes)),
    });
    (attack, blob)
}

/// A command with a request that a registry may redirect, and the path of the same content at the
/// attacker.
struct Place {
    name: &'static str,
    path: &'static str,
    is_it: fn(&Request) -> bool,
    command: fn(&Attack, &Blob, Credential) -> Command,
}

fn repo(attack: &Attack) -> String {
    attack.registry.repo("app")
}

const PLACES: [Place; 6] = [
    Place {
        name: "a manifest",
        path: "/x/manifest",
        is_it: |request| request.is_manifest() && request.method == "GET",
        command: |attack, _, credential| {
            attack.tool("fetch-manifest", credential).arg(format!("{}:1", repo(attack)))
        },
    },
    Place {
        name: "a manifest's HEAD",
        path: "/x/manifest",
        // If HEAD does not work, fetch-manifest sends a GET.
        is_it: Request::is_manifest,
        command: |attack, _, credential| {
            attack
                .tool("fetch-manifest", credential)
                .args(["--digest", &format!("{}:1", repo(attack))])
        },
    },
    Place {
        name: "a blob",
        path: "/x/blob",
        is_it: Request::is_blob,
        command: |attack, blob, credential| {
            attack.tool("fetch-blob", credential).args([&repo(attack), &blob.digest])
        },
    },
    Place {
        name: "a layer to be listed",
        path: "/x/blob",
        is_it: Request::is_blob,
        command: |attack, blob, credential| {
            let command = attack.tool("list-layer", credential);
            command.args(["--any-type", "--from", &repo(attack)]).stdin(blob.line())
        },
    },
    Place {
        name: "tags",
        path: "/x/tags",
        is_it: Request::is_tags,
        command: |attack, _, credential| attack.tool("list-tags", credential).arg(repo(attack)),
    },
    Place {
        name: "a blob to be copied",
        path: "/x/blob",
        is_it: Request::is_blob,
        command: |attack, blob, credential| {
            let command =
                attack.tool("push-blob", credential).args(["oci:l", "--from", &repo(attack)]);
            command.args(["--from-plain-http"]).stdin(blob.line())
        },
    },
];

/// The credential with this number. All credentials are used in turn.
fn nth_credential(number: usize) -> Credential {
    Credential::ALL[number % Credential::ALL.len()]
}

/// Checks whether the URL was followed as it should be, and that no secret leaked.
#[track_caller]
fn judge(attack: &Attack, shape: &Shape, run: &Run, what: &str) {
    attack.received_no_secret(run, what);
    let received = attack.received().len();
    let status = run.code();
    match shape.verdict {
        Verdict::Own => assert_eq!(received, 0, "{what}: {run}"),
        Verdict::Alias => {
            assert_eq!(received, 0, "{what}: {run}");
            run.fails(4, "401").stdout("");
        }
        Verdict::Other => assert!(received > 0 || status == Some(5), "{what}: {run}"),
        Verdict::Refused => {
            assert_eq!(received, 0, "{what}: {run}");
            run.fails(6, "").stdout("");
        }
        Verdict::Unresolvable => {
            assert_eq!(received, 0, "{what}: {run}");
            assert!(matches!(status, Some(5 | 6)), "{what}: {run}");
        }
    }
}

#[test]
fn redirects_to_urls_of_every_shape_leak_no_secret() {
    for by_tls in [false, true] {
        let (attack, blob) = attack(by_tls);
        for place in &PLACES {
            // push-blob's credential flags apply to its operand; the credential for --from is in
            // files.
            let is_copy = place.name.ends_with("copied");
            if is_copy && by_tls {
                continue;
            }
            let all = shapes(&attack, place.path).into_iter().chain(paths(&attack));
            for (number, shape) in all.enumerate() {
                let credential =
                    if is_copy { Credential::Identity } else { nth_credential(number) };
                let (is_it, target) = (place.is_it, shape.text.clone());
                attack.fault(
                    move |request, right| {
                        if is_it(request) { Reply::redirect(307, &target) } else { right }
                    },
                );
                attack.forget();
                let scratch = Scratch::new();
                let run = (place.command)(&attack, &blob, credential).dir(scratch.path()).run();
                let what = format!("{} by {credential:?} to {:.200}", place.name, shape.text);
                judge(&attack, &shape, &run, &what);
            }
        }
    }
}

#[test]
fn a_download_resumes_through_the_registry_and_leaks_no_secret() {
    for by_tls in [false, true] {
        let (attack, blob) = attack(by_tls);
        let bytes: Arc<[u8]> = blob.bytes.clone().into();
        attack.answer(move |request| {
            let right = Reply::ranged(request, Arc::clone(&bytes));
            if request.range().is_none() { right.cut(30_000, End::Fin) } else { right }
        });
        for credential in Credential::ALL {
            let attacker = if by_tls { attack.secure.url() } else { attack.plain.url() };
            attack.fault(move |request, right| {
                if !request.is_blob() {
                    return right;
                }
                Reply::redirect(302, &format!("{attacker}/blob?signature={}", request.earlier))
            });
            attack.forget();
            let run =
                attack.tool("fetch-blob", credential).args([&repo(&attack), &blob.digest]).run();
            run.status(0).stdout(&blob.bytes);
            attack.received_no_secret(&run, &format!("{credential:?}"));
            let received = attack.received();
            assert_eq!(received.len(), 2, "{run}");
            assert_eq!(received[1].range().map(|range| range.start), Some(30_000));
        }
    }
}

#[test]
fn an_attackers_challenge_gets_no_credential() {
    for by_tls in [false, true] {
        let (attack, blob) = attack(by_tls);
        let attacker = if by_tls { attack.secure.url() } else { attack.plain.url() };
        let challenges = [
            "Basic realm=\"it\"".to_owned(),
            format!("Bearer realm=\"{attacker}/token\",service=\"it\""),
            format!("Bearer realm=\"{}/token\",service=\"it\"", attack.registry.server.url()),
            "Negotiate, NTLM, Digest realm=\"it\",nonce=\"1\"".to_owned(),
        ];
        for status in [401, 403, 407, 400] {
            for (place, challenge) in
                PLACES[..4].iter().flat_map(|p| challenges.iter().map(move |l| (p, l)))
            {
                let (challenge, target) = (challenge.clone(), format!("{attacker}{}", place.path));
                let is_it = place.is_it;
                attack.answer(move |_| {
                    let reply = Reply::new(status).header("WWW-Authenticate", &challenge);
                    reply.header("Proxy-Authenticate", &challenge)
                });
                attack.fault(
                    move |request, right| {
                        if is_it(request) { Reply::redirect(307, &target) } else { right }
                    },
                );
                for credential in [Credential::Password, Credential::Login, Credential::Identity] {
                    attack.forget();
                    let run = (place.command)(&attack, &blob, credential).run();
                    let what = format!("{} by {credential:?}, {status}", place.name);
                    attack.received_no_secret(&run, &what);
                    run.fails(run.code().unwrap_or(-1), "").stdout("");
                    assert!(matches!(run.code(), Some(4 | 6)), "{what}: {run}");
                    let received = attack.received();
                    assert!(received.iter().all(|request| request.path != "/token"), "{what}");
                    assert!(received.len() <= 4, "{what}: {run}");
                }
            }
        }
    }
}

#[test]
fn a_redirect_loop_through_the_registry_is_ended() {
    let (attack, blob) = attack(false);
    let back = format!("{}/v2/app/blobs/{}?again=", attack.registry.server.url(), blob.digest);
    attack.answer(move |request| Reply::redirect(307, &format!("{back}{}", request.number)));
    let attacker = attack.plain.url();
    attack.fault(move |request, right| {
        if !request.is_blob() {
            return right;
        }
        Reply::redirect(307, &format!("{attacker}/blob?round={}", request.number))
    });
    for credential in Credential::ALL {
        attack.forget();
        let run = attack.tool("fetch-blob", credential).args([&repo(&attack), &blob.digest]).run();
        attack.received_no_secret(&run, &format!("{credential:?}"));
        run.fails(6, "redirects").stdout("");
        assert!(attack.received().len() <= 10, "{run}");
    }
}

#[test]
fn a_next_page_at_another_origin_is_refused() {
    for by_tls in [false, true] {
        let (attack, _) = attack(by_tls);
        let all = shapes(&attack, "/x/tags").into_iter().chain(paths(&attack));
        for (number, shape) in all.enumerate() {
            let credential = nth_credential(number);
            let link = format!("<{}>; rel=\"next\"", shape.text);
            attack.fault(
                move |request, right| {
                    if request.is_tags() { right.header("Link", &link) } else { right }
                },
            );
            attack.forget();
            let run = attack.tool("list-tags", credential).arg(repo(&attack)).run();
            let what = format!("{credential:?}: {:.200}", shape.text);
            attack.received_no_secret(&run, &what);
            assert_eq!(attack.received().len(), 0, "{what}: {run}");
            if shape.verdict != Verdict::Own {
                assert_eq!(run.code(), Some(6), "{what}: {run}");
            }
        }
    }
}

#[test]
fn the_link_of_a_page_of_referrers_leaks_no_secret() {
    for by_tls in [false, true] {
        let (attack, blob) = attack(by_tls);
        attack.registry.set(|settings| settings.referrers = true);
        let all = shapes(&attack, "/x/referrers").into_iter().chain(paths(&attack));
        for (number, shape) in all.enumerate() {
            let credential = nth_credential(number);
            let link = format!("<{}>; rel=\"next\"", shape.text);
            attack.fault(move |request, right| {
                let is_page = request.path.contains("/referrers/");
                if is_page { right.header("Link", &link) } else { right }
            });
            attack.forget();
            let subject = format!("{}@{}", repo(&attack), blob.digest);
            let run = attack.tool("list-referrers", credential).arg(subject).run();
            let what = format!("{credential:?}: {:.200}", shape.text);
            attack.received_no_secret(&run, &what);
            assert_eq!(attack.received().len(), 0, "{what}: {run}");
            if shape.verdict != Verdict::Own {
                assert_eq!(run.code(), Some(6), "{what}: {run}");
            }
        }
    }
}

#[test]
fn the_urls_of_a_layer_leak_no_secret() {
    for by_tls in [false, true] {
        let (attack, blob) = attack(by_tls);
        attack.registry.remove_blob("app", &blob.digest);
        let all = shapes(&attack, "/x/blob").into_iter().chain(paths(&attack));
        for (number, shape) in all.enumerate() {
            let credential = nth_credential(number);
            for text in
                [shape.text.clone(), format!("{}\n", shape.text), format!("\n{}", shape.text)]
            {
                let mut line = blob.descriptor();
                line["urls"] = json!([text]);
                attack.forget();
                let run = attack
                    .tool("fetch-blob", credential)
                    .arg(repo(&attack))
                    .stdin(format!("{line}\n"));
                let run = run.run();
                let what = format!("{credential:?}: {text:.200?}");
                attack.received_no_secret(&run, &what);
                let received = attack.received().len();
                // Plain HTTP is allowed for these URLs even if the registry uses TLS, because the
                // bytes are checked by their digest.
                let is_http = shape.text.to_lowercase().starts_with("http:");
                match shape.verdict {
                    _ if text.contains('\n') => assert_eq!(received, 0, "{what}: {run}"),
                    Verdict::Other if shape.is_absolute => assert!(received > 0, "{what}: {run}"),
                    Verdict::Refused if by_tls && is_http => {}
                    _ => assert_eq!(received, 0, "{what}: {run}"),
                }
                if received == 0 {
                    run.fails(3, "404").stdout("");
                }
            }
        }
    }
}

#[test]
fn a_layer_url_at_the_registry_itself_gets_no_secret() {
    let (attack, blob) = attack(false);
    attack.registry.remove_blob("app", &blob.digest);
    let mut line = blob.descriptor();
    line["urls"] =
        json!([format!("{}/v2/other/blobs/{}", attack.registry.server.url(), blob.digest)]);
    for credential in Credential::ALL {
        attack.forget();
        let run = attack
            .tool("fetch-blob", credential)
            .arg(repo(&attack))
            .stdin(format!("{line}\n"))
            .run();
        run.fails(3, "404");
        let requests = attack.registry.server.requests();
        let last = requests.last().unwrap();
        assert!(last.path.starts_with("/v2/other/"), "{run}");
        assert_eq!((last.header("authorization"), last.header("x-key")), (None, None));
    }
}

#[test]
fn a_layer_url_may_redirect_only_to_allowed_urls() {
    let (attack, blob) = attack(false);
    attack.registry.remove_blob("app", &blob.digest);
    let bytes: Arc<[u8]> = blob.bytes.clone().into();
    let elsewhere = attack.secure.url();
    let mut line = blob.descriptor();
    line["urls"] = json!([format!("{}/x/blob", attack.plain.url())]);
    for (target, is_followed) in [
        (format!("{elsewhere}/hop"), true),
        (format!("{}/hop", attack.plain.url()), true),
        ("http://169.254.169.254/latest".to_owned(), false),
        ("file:///etc/passwd".to_owned(), false),
        (format!("http://me:pw@127.0.0.1:{}/hop", attack.plain.port()), false),
    ] {
        let bytes = Arc::clone(&bytes);
        attack.answer(move |request| match request.path.as_str() {
            "/hop" => Reply::ranged(request, Arc::clone(&bytes)),
            _ => Reply::redirect(307, &target),
        });
        attack.forget();
        let run = attack.tool("fetch-blob", Credential::Login).arg(repo(&attack));
        let run = run.stdin(format!("{line}\n")).run();
        attack.received_no_secret(&run, "a redirect");
        if is_followed {
            run.ok().stdout(&blob.bytes);
        } else {
            run.fails(3, "404");
        }
    }
}
