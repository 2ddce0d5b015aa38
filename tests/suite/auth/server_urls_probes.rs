// SPDX-License-Identifier: Apache-2.0
//! URLs that a registry sends to list-repositories and probe-registry: next pages, redirects, token
//! servers, and the Location of an upload. No server behind them receives a secret.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use tests::attack::{Attack, Credential};
use tests::fake::{Reply, Request};
use tests::images::Image;
use tests::urls::{Shape, Verdict, paths, shapes};

/// A registry with an image in `app` and an attacker who serves any request.
fn attack(by_tls: bool) -> Attack {
    let attack = Attack::start(by_tls);
    attack.registry.add_image("app", "1", &Image::small());
    attack.answer(|request| match request.method.as_str() {
        "GET" => Reply::json(200, &json!({"repositories": ["a"], "tags": ["1"], "manifests": []})),
        "PATCH" | "POST" => Reply::new(202).header("Location", &request.target),
        _ => Reply::new(204),
    });
    attack
}

fn all_shapes(attack: &Attack, path: &str) -> impl Iterator<Item = (Credential, Shape)> {
    let all = shapes(attack, path).into_iter().chain(paths(attack)).enumerate();
    all.map(|(number, shape)| (Credential::ALL[number % Credential::ALL.len()], shape))
}

#[test]
fn a_next_page_of_repositories_at_another_origin_is_refused() {
    for by_tls in [false, true] {
        let attack = attack(by_tls);
        for (credential, shape) in all_shapes(&attack, "/x/page") {
            let link = format!("<{}>; rel=\"next\"", shape.text);
            attack.fault(move |request, right| {
                let is_it = request.path == "/v2/_catalog";
                if is_it { right.without("Link").header("Link", &link) } else { right }
            });
            attack.forget();
            let host = attack.registry.host();
            let run = attack.tool("list-repositories", credential).arg(host).run();
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
fn a_redirect_of_any_request_that_reads_leaks_no_secret() {
    let is_read: [fn(&Request) -> bool; 6] = [
        |request| request.path == "/v2/",
        |request| request.path == "/v2/_catalog",
        Request::is_tags,
        Request::is_manifest,
        Request::is_blob,
        |request| request.path.contains("/referrers/"),
    ];
    for by_tls in [false, true] {
        let attack = attack(by_tls);
        for (number, (credential, shape)) in all_shapes(&attack, "/x/any").enumerate() {
            let is_it = is_read[number % is_read.len()];
            let target = shape.text.clone();
            attack.fault(
                move |request, right| {
                    if is_it(request) { Reply::redirect(307, &target) } else { right }
                },
            );
            attack.forget();
            let app = attack.registry.repo("app");
            let command = attack.tool("probe-registry", credential).args(["--retry-times", "1"]);
            let run = command.arg(app).run();
            let what = format!("{credential:?}: {:.200}", shape.text);
            attack.received_no_secret(&run, &what);
            if shape.verdict != Verdict::Other {
                assert_eq!(attack.received().len(), 0, "{what}: {run}");
            }
        }
    }
}

#[test]
fn the_location_of_a_probed_upload_receives_only_zeros() {
    for is_changed in [false, true] {
        let attack = attack(false);
        for (credential, shape) in all_shapes(&attack, "/x/upload") {
            let target = shape.text.clone();
            attack.fault(move |request, right| {
                let is_it = if is_changed { request.is_patch() } else { request.is_start() };
                if is_it { right.without("Location").header("Location", &target) } else { right }
            });
            attack.forget();
            let app = attack.registry.repo("app");
            let command = attack.tool("probe-registry", credential).args(["--retry-times", "1"]);
            let run = command.args([&app, "--write", &app]).run();
            let what = format!("{credential:?}: {:.200}", shape.text);
            attack.received_no_secret(&run, &what);
            let received = attack.received();
            assert!(received.iter().all(|r| r.body.iter().all(|byte| *byte == 0)), "{what}: {run}");
            if shape.verdict != Verdict::Other {
                assert_eq!(received.len(), 0, "{what}: {run}");
            }
        }
    }
}
