// SPDX-License-Identifier: Apache-2.0
//! Runs with two registries: no secret for one registry is sent to the other, even if a registry's
//! responses ask for it.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::attack::{found_in, wire};
use tests::fake::{Intake, Reply, Request, Server};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, types};
use tests::logins::{at_home, basic, helper, keep, login};
use tests::scratch::Scratch;
use tests::tools::{Command, Run, tool};

/// A registry's own secrets.
struct Side {
    user: &'static str,
    password: &'static str,
    identity: &'static str,
    token: &'static str,
    header: &'static str,
}

const A: Side = Side {
    user: "alice",
    password: "alices-71c0-password",
    identity: "alices-99d1-identity",
    token: "alices-31b7-token",
    header: "alices-0a2f-header",
};

const B: Side = Side {
    user: "berta",
    password: "bertas-e550-password",
    identity: "bertas-4f1c-identity",
    token: "bertas-b206-token",
    header: "bertas-cc83-header",
};

impl Side {
    fn secrets(&self) -> [&'static str; 4] {
        [self.password, self.identity, self.token, self.header]
    }
}

/// The credential that a registry requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Basic,
    Login,
    Identity,
}

/// A registry that accepts only the credential of its side.
fn registry(side: &'static Side, kind: Kind) -> FakeRegistry {
    let registry = FakeRegistry::start();
    registry.intake(move |request| {
        let header = request.header("authorization");
        let is_accepted = if request.path == "/token" {
            true
        } else if kind == Kind::Basic {
            header == Some(&basic(side.user, side.password))
        } else {
            header == Some(&format!("Bearer {}", side.token))
        };
        let host = request.header("host").unwrap_or_default();
        let challenge = match kind {
            Kind::Basic => "Basic realm=\"it\"".to_owned(),
            _ => format!("Bearer realm=\"http://{host}/token\",service=\"it\""),
        };
        if is_accepted {
            Intake::whole()
        } else {
            Intake::instead(Reply::new(401).header("WWW-Authenticate", challenge))
        }
    });
    registry.fault(move |request, right| match request.path.as_str() {
        "/token" => token(side, kind, request),
        _ => right,
    });
    registry
}

fn token(side: &Side, kind: Kind, request: &Request) -> Reply {
    let by_login = request.header("authorization") == Some(&basic(side.user, side.password));
    let field = format!("&refresh_token={}", side.identity);
    let by_identity = String::from_utf8_lossy(&request.body).contains(&field);
    match (kind, by_login, by_identity) {
        (Kind::Login, true, _) | (Kind::Identity, _, true) => {
            Reply::json(200, &json!({"token": side.token, "expires_in": 300}))
        }
        _ => Reply::new(401),
    }
}

/// The entry for a side in a credential file.
fn entry(side: &Side, kind: Kind) -> Value {
    match kind {
        Kind::Identity => json!({"identitytoken": side.identity}),
        _ => login(side.user, side.password),
    }
}

/// Checks that no request to this server and nothing on the terminal contains a secret of this
/// side.
#[track_caller]
fn received_no_secret_of(server: &Server, of: &Side, run: &Run, what: &str) {
    for request in server.requests() {
        let found = found_in(&wire(&request), &of.secrets());
        assert!(found.is_empty(), "{what}: secrets {found:?} in {request:#?}\n{run}");
    }
    let output = [run.stdout.as_slice(), run.stderr.as_bytes()].concat();
    assert_eq!(found_in(&output, &of.secrets()), Vec::<&str>::new(), "{what}: {run}");
}

fn received_only_own_secrets(a: &FakeRegistry, b: &FakeRegistry, run: &Run, what: &str) {
    received_no_secret_of(&a.server, &B, run, what);
    received_no_secret_of(&b.server, &A, run, what);
}

/// Registry a, which has an image and a blob, registry b, and a home with the credentials stored
/// for them.
struct Two {
    a: FakeRegistry,
    b: FakeRegistry,
    home: Scratch,
    blob: Blob,
}

fn two(kind_a: Kind, kind_b: Kind, kept_for_b: bool) -> Two {
    let a = registry(&A, kind_a);
    let b = registry(&B, kind_b);
    let blob = a.add_noise("app", 100_000, 1);
    a.add_image("app", "1", &Image::small());
    let home = Scratch::new();
    let mut kept = json!({a.host(): entry(&A, kind_a)});
    if kept_for_b {
        kept[b.host()] = entry(&B, kind_b);
    }
    keep(&home, ".docker/config.json", &json!({"auths": kept}));
    Two { a, b, home, blob }
}

impl Two {
    fn copy(&self) -> Command {
        let command = tool("push-blob").args(["--max-wait", "0", "--plain-http"]);
        let command = command.args([&self.b.repo("app"), "--from-plain-http", "--from"]);
        let command = command.arg(self.a.repo("app")).stdin(self.blob.line());
        at_home(command, self.home.path()).dir(self.home.path())
    }
}

const KINDS: [Kind; 3] = [Kind::Basic, Kind::Login, Kind::Identity];

#[test]
fn stored_credentials_go_only_to_their_own_registry() {
    for (kind_a, kind_b) in KINDS.into_iter().flat_map(|a| KINDS.map(|b| (a, b))) {
        let two = two(kind_a, kind_b, true);
        let run = two.copy().run();
        run.ok().stdout(two.blob.line());
        received_only_own_secrets(&two.a, &two.b, &run, &format!("{kind_a:?} to {kind_b:?}"));
    }
}

#[test]
fn given_credentials_go_only_to_the_operand() {
    for (kind_a, kind_b) in KINDS.into_iter().flat_map(|a| KINDS.map(|b| (a, b))) {
        for for_b in [false, true] {
            let two = two(kind_a, kind_b, for_b);
            let password = || two.copy().args(["-u", B.user]).env("REGISTRY_PASSWORD", B.password);
            let runs = match kind_b {
                Kind::Basic => {
                    let header = format!("Authorization: {}", basic(B.user, B.password));
                    vec![password(), two.copy().args(["-H", &header])]
                }
                kind => {
                    let header = format!("authorization: Bearer {}", B.token);
                    let token = two.copy().env("REGISTRY_TOKEN", B.token);
                    let mut runs = vec![token, two.copy().args(["-H", &header])];
                    runs.extend((kind == Kind::Login).then(password));
                    runs
                }
            };
            for command in runs {
                two.b.remove_blob("app", &two.blob.digest);
                let run = command.args(["-H", &format!("X-Key: {}", B.header)]).run();
                run.ok().stdout(two.blob.line());
                received_only_own_secrets(
                    &two.a,
                    &two.b,
                    &run,
                    &format!("{kind_a:?} to {kind_b:?}"),
                );
                let has_key = two.b.server.requests().iter().any(|r| r.header("x-key").is_some());
                assert!(has_key, "{run}");
            }
        }
    }
}

#[test]
fn credentials_given_for_the_operand_are_not_sent_to_the_source() {
    let two = two(Kind::Basic, Kind::Basic, false);
    std::fs::remove_dir_all(two.home.join(".docker")).unwrap();
    // Registry a would accept this password, but it is given for b.
    let run = two.copy().args(["-u", A.user]).env("REGISTRY_PASSWORD", A.password).run();
    run.fails(4, "").stdout("");
    assert!(two.a.server.requests().iter().all(|r| r.header("authorization").is_none()), "{run}");
}

#[test]
fn a_redirect_from_the_source_to_the_target_is_followed_anonymously() {
    for kind in KINDS {
        let two = two(kind, kind, true);
        let target = format!("{}/v2/app/blobs/{}", two.b.server.url(), two.blob.digest);
        two.a.fault(move |request, right| match request.path.as_str() {
            "/token" => token(&A, kind, request),
            _ if request.is_blob() => Reply::redirect(307, &target),
            _ => right,
        });
        let run = two.copy().run();
        run.fails(run.code().unwrap(), "").stdout("");
        received_only_own_secrets(&two.a, &two.b, &run, &format!("{kind:?}"));
        // The requests sent to the target because of the source's redirect are anonymous.
        let gets: Vec<_> = two.b.server.requests();
        let gets = gets.iter().filter(|r| r.is_blob() && r.method == "GET");
        assert!(gets.clone().count() > 0);
        gets.for_each(|get| assert_eq!(get.header("authorization"), None, "{run}"));
    }
}

#[test]
fn an_upload_location_at_the_source_gets_no_credential() {
    for kind in KINDS {
        let two = two(kind, kind, true);
        let target = format!("{}/v2/app/blobs/uploads/x", two.a.server.url());
        two.b.fault(move |request, right| match request.path.as_str() {
            "/token" => token(&B, kind, request),
            _ if request.is_start() => right.without("Location").header("Location", &target),
            _ => right,
        });
        let run = two.copy().run();
        run.fails(run.code().unwrap(), "").stdout("");
        received_only_own_secrets(&two.a, &two.b, &run, &format!("{kind:?}"));
        let puts: Vec<_> = two.a.server.requests();
        puts.iter()
            .filter(|request| request.method != "GET" && request.path != "/token")
            .for_each(|request| assert_eq!(request.header("authorization"), None, "{run}"));
    }
}

#[test]
fn a_registry_that_names_another_registrys_token_server_does_not_get_its_token() {
    for kind in [Kind::Login, Kind::Identity] {
        let two = two(kind, kind, true);
        let realm = format!("{}/token", two.b.server.url());
        two.a.intake(move |_| {
            let challenge =
                format!("Bearer realm=\"{realm}\",service=\"it\",scope=\"repository:app:push\"");
            Intake::instead(Reply::new(401).header("WWW-Authenticate", challenge))
        });
        let run = two.copy().run();
        run.fails(4, "").stdout("");
        received_no_secret_of(&two.a.server, &B, &run, &format!("{kind:?}"));
        // At most one token request has b's credential. The requests that a's challenge causes have
        // a's credential.
        let asked = two.b.server.requests();
        let asked: Vec<_> = asked.iter().filter(|r| r.path == "/token").collect();
        let as_b = asked.iter().filter(|r| !found_in(&wire(r), &B.secrets()).is_empty());
        assert!(as_b.count() <= 1, "{asked:#?}\n{run}");
    }
}

#[test]
fn a_mount_sends_no_credential_to_another_registry() {
    for kind in KINDS {
        let two = two(kind, kind, true);
        let file = two.home.write("layer", &two.blob.bytes);
        two.b.add_blob("base", two.blob.bytes.clone());
        let command = tool("push-blob").args(["--max-wait", "0", &two.b.repo("app")]).arg(file);
        let command = command.args(["--mount-from", &two.b.repo("base")]);
        let run = at_home(command.args(["--media-type", types::TAR]), two.home.path()).run();
        run.ok().stdout(two.blob.line());
        assert_eq!(two.a.server.asked(), Vec::<String>::new());
        received_no_secret_of(&two.b.server, &A, &run, &format!("{kind:?}"));
        let command = tool("push-blob").args([&two.b.repo("app"), "--mount-from"]);
        let run = at_home(command.arg(two.a.repo("app")), two.home.path()).run();
        run.fails(2, "same registry");
        assert_eq!(two.a.server.asked(), Vec::<String>::new());
    }
}

#[test]
fn a_mirror_gets_only_stored_credentials() {
    for kind in KINDS {
        let two = two(kind, kind, false);
        two.b.add_image("app", "1", &Image::small());
        let own = two.b.repo("app") + ":1";
        let command = tool("fetch-manifest").args(["--max-wait", "0", "--mirror"]);
        let command = command.args([&format!("http://{}", two.a.host()), &own]);
        let command = command.args(["-H", &format!("X-Key: {}", B.header)]);
        let command = match kind {
            Kind::Identity => command.env("REGISTRY_TOKEN", B.token),
            _ => command.args(["-u", B.user]).env("REGISTRY_PASSWORD", B.password),
        };
        let run = at_home(command, two.home.path()).run();
        run.status(0).stdout(&Image::small().manifest.bytes);
        assert!(!two.a.server.requests().is_empty(), "{run}");
        received_only_own_secrets(&two.a, &two.b, &run, &format!("{kind:?}"));
    }
}

#[test]
fn a_helper_runs_after_a_challenge_and_only_for_that_registry() {
    let two = two(Kind::Basic, Kind::Basic, false);
    let script = |side: &Side| {
        let answer = json!({"ServerURL": "x", "Username": side.user, "Secret": side.password});
        format!("cat >>\"$HOME/asked\"\necho '{answer}'")
    };
    helper(&two.home, "a", &script(&A));
    helper(&two.home, "b", &script(&B));
    let kept = json!({"credHelpers": {two.a.host(): "a", two.b.host(): "b"}});
    keep(&two.home, ".docker/config.json", &kept);
    let run = two.copy().run();
    run.ok().stdout(two.blob.line());
    received_only_own_secrets(&two.a, &two.b, &run, "helpers");
    let asked = std::fs::read_to_string(two.home.join("asked")).unwrap();
    let mut asked: Vec<_> = asked.lines().collect();
    asked.sort_unstable();
    let (a, b) = (two.a.host(), two.b.host());
    let mut want = [a.as_str(), b.as_str()];
    want.sort_unstable();
    assert_eq!(asked, want);
}

#[test]
fn no_tool_runs_a_helper_without_a_challenge() {
    let registry = FakeRegistry::with_image();
    let home = Scratch::new();
    helper(&home, "it", "cat >>\"$HOME/asked\"; exit 1");
    keep(&home, ".docker/config.json", &json!({"credsStore": "it"}));
    let (app, blob) = (registry.repo("app"), Image::small().config);
    home.write("m", &Image::small().manifest.bytes);
    for (name, args) in [
        ("fetch-manifest", vec![format!("{app}:1")]),
        ("fetch-blob", vec![app.clone(), blob.digest.clone()]),
        ("list-tags", vec![app.clone()]),
        ("list-repositories", vec![registry.host()]),
        ("probe-registry", vec![app.clone(), "--write".to_owned(), app.clone()]),
        ("push-blob", vec![app.clone(), "m".to_owned()]),
        ("put-manifest", vec![format!("{app}:2"), "m".to_owned()]),
        ("fetch-token", vec![app.clone()]),
        ("fetch-token", vec!["--push".to_owned(), app.clone()]),
    ] {
        let run = at_home(tool(name).args(args), home.path()).dir(home.path()).run();
        assert!(matches!(run.code(), Some(0 | 3)), "{run}");
        assert!(!home.join("asked").exists(), "{name}");
        let requests = registry.server.requests();
        assert!(requests.iter().all(|request| request.header("authorization").is_none()));
    }
}
