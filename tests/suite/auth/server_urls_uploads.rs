// SPDX-License-Identifier: Apache-2.0
//! URLs that a registry sends in responses to writes: the Location of an upload, and redirects of
//! write requests. The server that gets the bytes of an upload receives no secret. A redirect of a
//! write to another origin is refused.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use tests::attack::{Attack, Credential};
use tests::fake::{Reply, Request};
use tests::images::{Blob, Image, noise, sha256, types};
use tests::scratch::Scratch;
use tests::tools::{Command, Run};
use tests::urls::{Shape, Verdict, paths, shapes};

const SIZE: usize = 200_000;

/// A registry, an attacker who accepts every upload, and a blob in the file `layer`.
fn attack(by_tls: bool) -> (Attack, Scratch, Blob) {
    let attack = Attack::start(by_tls);
    attack.answer(|request| match request.method.as_str() {
        "PUT" => Reply::new(201),
        "PATCH" | "POST" => Reply::new(202).header("Location", &request.target),
        _ => Reply::new(204).header("Range", "0-0"),
    });
    let scratch = Scratch::new();
    let blob = Blob::new(types::TAR, noise(SIZE, 1));
    scratch.write("layer", &blob.bytes);
    (attack, scratch, blob)
}

fn push(attack: &Attack, scratch: &Scratch, credential: Credential, args: &[&str]) -> Command {
    let command =
        attack.tool("push-blob", credential).args(["--media-type", types::TAR]).args(args);
    command.args([&attack.registry.repo("app"), "layer"]).dir(scratch.path())
}

fn all_shapes(attack: &Attack) -> impl Iterator<Item = (Credential, Shape)> {
    let all = shapes(attack, "/x/upload").into_iter().chain(paths(attack)).enumerate();
    all.map(|(number, shape)| (Credential::ALL[number % Credential::ALL.len()], shape))
}

#[track_caller]
fn judge(attack: &Attack, shape: &Shape, run: &Run, what: &str) {
    attack.received_no_secret(run, what);
    let received = attack.received().len();
    match shape.verdict {
        Verdict::Other => assert!(received > 0, "{what}: {run}"),
        _ => assert_eq!(received, 0, "{what}: {run}"),
    }
    // Wherever the bytes went, the registry does not have the blob.
    assert_ne!(run.code(), Some(0), "{what}: {run}");
    run.fails(run.code().unwrap_or(-1), "").stdout("");
    if shape.verdict == Verdict::Refused {
        run.status(6);
    }
}

#[test]
fn a_failing_redirect_of_the_blob_check_leaks_no_secret_and_the_blob_is_uploaded() {
    for by_tls in [false, true] {
        let (attack, scratch, blob) = attack(by_tls);
        // The attacker does not have the blob, and responds with various errors.
        for (number, (credential, shape)) in all_shapes(&attack).enumerate() {
            let status = [404, 403, 401, 400, 500][number % 5];
            attack.answer(move |_| Reply::new(status));
            let target = shape.text.clone();
            attack.fault(
                move |request, right| {
                    if request.is_blob() { Reply::redirect(307, &target) } else { right }
                },
            );
            attack.forget();
            attack.registry.remove_blob("app", &blob.digest);
            let run = push(&attack, &scratch, credential, &[]).run();
            let what = format!("{credential:?}, {status}: {:.200}", shape.text);
            attack.received_no_secret(&run, &what);
            let received = attack.received().len();
            assert_eq!(received > 0, shape.verdict == Verdict::Other, "{what}: {run}");
            run.status(0).stdout(blob.line());
            assert!(attack.registry.blob("app", &blob.digest).is_some(), "{what}");
        }
    }
}

#[test]
fn a_redirect_to_an_existing_blob_makes_the_upload_unnecessary() {
    for head in [200, 403] {
        let (attack, scratch, blob) = attack(false);
        let bytes: std::sync::Arc<[u8]> = blob.bytes.clone().into();
        attack.answer(move |request| match request.method.as_str() {
            "HEAD" if head != 200 => Reply::new(head),
            _ => Reply::ranged(request, std::sync::Arc::clone(&bytes)),
        });
        let target = format!("{}/blob", attack.plain.url());
        attack.fault(
            move |request, right| {
                if request.is_blob() { Reply::redirect(307, &target) } else { right }
            },
        );
        let run = push(&attack, &scratch, Credential::Login, &[]).run();
        run.ok().stdout(blob.line());
        attack.received_no_secret(&run, "a redirect");
        let steps = attack.registry.steps();
        assert!(steps.iter().all(|step| step != "POST uploads"), "{steps:#?}");
    }
}

#[test]
fn an_upload_location_receives_only_the_bytes() {
    for by_tls in [false, true] {
        let (attack, scratch, _) = attack(by_tls);
        for (credential, shape) in all_shapes(&attack) {
            let target = shape.text.clone();
            attack.fault(move |request, right| {
                if !request.is_start() {
                    return right;
                }
                right.without("Location").header("Location", &target)
            });
            attack.forget();
            let run = push(&attack, &scratch, credential, &[]).run();
            judge(&attack, &shape, &run, &format!("{credential:?} by PUT to {:.200}", shape.text));
        }
    }
}

/// put-manifest uploads the blobs that a manifest carries in the field `data` of its descriptors.
#[test]
fn an_upload_location_for_a_carried_blob_receives_only_the_bytes() {
    for by_tls in [false, true] {
        let (attack, scratch, blob) = attack(by_tls);
        let config = json!({"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
            "digest": sha256(b"{}"), "data": "e30="});
        let manifest = json!({"schemaVersion": 2, "mediaType": types::MANIFEST, "config": config,
            "layers": [blob.descriptor()]});
        scratch.write("m", manifest.to_string());
        for (credential, shape) in all_shapes(&attack) {
            let target = shape.text.clone();
            attack.fault(move |request, right| {
                if !request.is_start() {
                    return right;
                }
                right.without("Location").header("Location", &target)
            });
            attack.forget();
            let command = attack.tool("put-manifest", credential);
            let command = command.arg(attack.registry.repo("app") + ":1").arg("m");
            let run = command.dir(scratch.path()).run();
            judge(&attack, &shape, &run, &format!("{credential:?} to {:.200}", shape.text));
        }
    }
}

#[test]
fn a_changed_upload_location_receives_only_the_bytes() {
    for by_tls in [false, true] {
        let (attack, scratch, blob) = attack(by_tls);
        for (credential, shape) in all_shapes(&attack) {
            let target = shape.text.clone();
            attack.fault(move |request, right| {
                if !request.is_patch() {
                    return right;
                }
                right.without("Location").header("Location", &target)
            });
            attack.forget();
            let run = push(&attack, &scratch, credential, &["--chunk", "64k"]).run();
            let what = format!("{credential:?} by PATCH to {:.200}", shape.text);
            // The next request may go to the session without its state, or with an old state if the
            // header is not text. The registry refuses it with 416, and the client then sends the
            // blob in one request.
            let may_succeed = shape.verdict == Verdict::Own || !shape.text.is_ascii();
            if may_succeed && run.code() == Some(0) {
                attack.received_no_secret(&run, &what);
                assert!(attack.received().is_empty(), "{what}: {run}");
                attack.registry.remove_blob("app", &blob.digest);
            } else {
                judge(&attack, &shape, &run, &what);
            }
        }
    }
}

#[test]
fn the_location_after_a_failed_mount_receives_only_the_bytes() {
    let (attack, scratch, blob) = attack(false);
    for (credential, shape) in all_shapes(&attack) {
        let target = shape.text.clone();
        attack.fault(move |request, right| match request.param("mount") {
            Some(_) => right.without("Location").header("Location", &target),
            None => right,
        });
        attack.forget();
        attack.registry.remove_blob("app", &blob.digest);
        let from = attack.registry.repo("other");
        let run = push(&attack, &scratch, credential, &["--mount-from", &from]).run();
        let what = format!("{credential:?}: {:.200}", shape.text);
        attack.received_no_secret(&run, &what);
        match shape.verdict {
            Verdict::Other => assert!(!attack.received().is_empty(), "{what}: {run}"),
            // The tool treats the mount as refused, and uploads the bytes to the registry.
            Verdict::Refused => {
                assert_eq!(attack.received().len(), 0, "{what}: {run}");
                run.ok().stdout(blob.line());
            }
            _ => assert_eq!(attack.received().len(), 0, "{what}: {run}"),
        }
    }
}

#[test]
fn an_upload_location_that_sends_challenges_or_redirects_gets_no_secret() {
    for by_tls in [false, true] {
        let (attack, scratch, _) = attack(by_tls);
        let attacker = if by_tls { attack.secure.url() } else { attack.plain.url() };
        let target = format!("{attacker}/x/upload");
        attack.fault(move |request, right| {
            if !request.is_start() {
                return right;
            }
            right.without("Location").header("Location", &target)
        });
        for credential in Credential::ALL {
            for chunk in [&[][..], &["--chunk", "64k"]] {
                for status in [401, 403, 407, 307, 308, 302] {
                    let challenge = format!("Bearer realm=\"{attacker}/token\"");
                    let home = format!("{attacker}/y/upload");
                    attack.answer(move |_| {
                        let reply = Reply::redirect(status, &home);
                        let reply = reply.header("WWW-Authenticate", "Basic realm=\"it\"");
                        reply.header("WWW-Authenticate", &challenge)
                    });
                    attack.forget();
                    let run = push(&attack, &scratch, credential, chunk).run();
                    let what = format!("{credential:?}, {status}");
                    attack.received_no_secret(&run, &what);
                    run.fails(run.code().unwrap_or(-1), "").stdout("");
                    let received = attack.received();
                    let is_place = |request: &Request| request.path == "/x/upload";
                    assert!(received.iter().all(is_place), "{what}: {received:#?}\n{run}");
                }
            }
        }
    }
}

#[test]
fn a_write_is_never_redirected_to_another_origin() {
    type Which = fn(&Request) -> bool;
    let kinds: [(&str, Which, &[&str]); 5] = [
        ("POST", Request::is_start, &[]),
        ("PUT", Request::is_close, &[]),
        ("PATCH", Request::is_patch, &["--chunk", "64k"]),
        ("closing PUT", Request::is_close, &["--chunk", "64k"]),
        ("manifest", Request::is_manifest, &[]),
    ];
    for by_tls in [false, true] {
        let (attack, scratch, _) = attack(by_tls);
        let image = Image::small();
        scratch.write("m", &image.manifest.bytes);
        image.blobs().for_each(|b| attack.registry.add_blob_as("app", &b.digest, b.bytes.clone()));
        let all: Vec<_> = all_shapes(&attack).filter(|(_, s)| s.verdict != Verdict::Own).collect();
        for (name, is_it, args) in kinds {
            for status in [301, 302, 303, 307, 308] {
                // Each URL is tested with one of the statuses, and a URL of another origin with all
                // of them.
                let picked = all.iter().enumerate().filter(|(number, (_, shape))| {
                    number % 5 == usize::from(status % 5) || shape.verdict == Verdict::Other
                });
                for (_, (credential, shape)) in picked {
                    let target = shape.text.clone();
                    attack.detour(move |request, let_in| {
                        (let_in && is_it(request)).then(|| Reply::redirect(status, &target))
                    });
                    attack.forget();
                    let run = match name {
                        "manifest" => {
                            let command = attack.tool("put-manifest", *credential);
                            let command = command.arg(attack.registry.repo("app") + ":1").arg("m");
                            command.dir(scratch.path()).run()
                        }
                        _ => push(&attack, &scratch, *credential, args).run(),
                    };
                    let what = format!("{name} by {credential:?}, {status} to {:.200}", shape.text);
                    attack.received_no_secret(&run, &what);
                    assert_eq!(attack.received().len(), 0, "{what}: {run}");
                    run.fails(6, "redirect").stdout("");
                }
            }
        }
    }
}

#[test]
fn a_write_follows_only_307_and_308_within_the_same_origin() {
    for (status, code) in [(301, 6), (302, 6), (303, 6), (307, 0), (308, 0)] {
        let (attack, scratch, _) = attack(false);
        let image = Image::small();
        scratch.write("m", &image.manifest.bytes);
        image.blobs().for_each(|b| attack.registry.add_blob_as("app", &b.digest, b.bytes.clone()));
        attack.detour(move |request, let_in| {
            let is_it = request.is_manifest() && request.query.is_empty() && let_in;
            is_it.then(|| Reply::redirect(status, &format!("{}?again=1", request.path)))
        });
        for credential in Credential::ALL {
            attack.forget();
            let command =
                attack.tool("put-manifest", credential).arg(attack.registry.repo("app") + ":1");
            let run = command.arg("m").dir(scratch.path()).run();
            run.status(code);
            let puts: Vec<_> = attack.registry.server.requests();
            let puts = puts.iter().filter(|r| r.method == "PUT" && r.query == "again=1");
            for request in puts {
                assert_eq!(request.body, image.manifest.bytes);
                assert!(request.header("authorization").is_some() && code == 0);
            }
        }
    }
}

#[test]
fn an_upload_body_is_not_redirected_even_within_the_same_origin() {
    for status in [301, 302, 303, 307, 308] {
        let (attack, scratch, blob) = attack(false);
        attack.detour(move |request, let_in| {
            let is_it = request.is_close() && let_in && !request.query.contains("again");
            is_it.then(|| Reply::redirect(status, &format!("{}&again=1", request.target)))
        });
        let run = push(&attack, &scratch, Credential::Login, &[]).run();
        run.fails(6, "redirect").stdout("");
        assert!(attack.registry.blob("app", &blob.digest).is_none());
        assert_eq!(attack.registry.sessions(), []);
    }
}

#[test]
fn an_http_location_from_a_registry_behind_tls_is_used_with_https() {
    let (attack, scratch, blob) = attack(true);
    attack.fault(|_, right| right.change("Location", |l| l.replace("https://", "http://")));
    for credential in Credential::ALL {
        for args in [&[][..], &["--chunk", "64k"]] {
            attack.forget();
            attack.registry.remove_blob("app", &blob.digest);
            let run = push(&attack, &scratch, credential, args).run();
            run.ok().stdout(blob.line());
            attack.received_no_secret(&run, &format!("{credential:?}"));
        }
    }
}
