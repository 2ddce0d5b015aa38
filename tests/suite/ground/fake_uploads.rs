// SPDX-License-Identifier: Apache-2.0
//! Checks of the scripted registry's uploads, with curl.

use std::process::Stdio;

use tests::curl::{Answer, curl, run};
use tests::fake::{End, Intake, Reply, Request, Server, first};
use tests::fake_registry::FakeRegistry;
use tests::images::{noise, sha256};
use tests::peers::peer;
use tests::scratch::Scratch;

fn url(registry: &FakeRegistry, rest: &str) -> String {
    format!("http://{}/v2/{rest}", registry.host())
}

/// Breaks the first PATCH after this number of bytes.
fn first_patch_cut(after: u64) -> impl Fn(&Request) -> Intake + Send + Sync + 'static {
    let is_first = first(1, Request::is_patch);
    move |request| {
        if is_first(request) { Intake::cut(after, End::Reset) } else { Intake::whole() }
    }
}

fn begin(registry: &FakeRegistry) -> String {
    let begun = curl(&["-X", "POST", &url(registry, "app/blobs/uploads/")]);
    assert_eq!(begun.status(), "202", "{}", begun.head);
    begun.location().to_owned()
}

fn patch(location: &str, range: Option<&str>, data: &str) -> Answer {
    let range = range.map(|range| format!("Content-Range: {range}"));
    let mut args = vec!["-X", "PATCH", "--data-binary", data];
    args.extend(range.iter().flat_map(|range| ["-H", range]));
    args.push(location);
    curl(&args)
}

fn close(location: &str, bytes: &[u8], data: &str) -> Answer {
    let target = format!("{location}&digest={}", sha256(bytes));
    curl(&["-X", "PUT", "--data-binary", data, &target])
}

#[test]
fn a_blob_is_uploaded_with_one_put() {
    let registry = FakeRegistry::start();
    let location = begin(&registry);
    assert_eq!(registry.sessions(), [("app".to_owned(), 0)]);
    let done = close(&location, b"some data", "some data");
    assert_eq!(done.status(), "201");
    let digest = sha256(b"some data");
    assert_eq!(done.header("docker-content-digest"), Some(digest.as_str()));
    assert_eq!(done.location(), url(&registry, &format!("app/blobs/{digest}")));
    assert_eq!(registry.blob("app", &digest).unwrap()[..], *b"some data");
    assert_eq!(registry.sessions(), []);
    assert_eq!(registry.steps(), ["POST uploads", "PUT session 9"]);
}

#[test]
fn chunks_of_a_blob_must_arrive_in_order() {
    let registry = FakeRegistry::start();
    let location = begin(&registry);
    let one = patch(&location, Some("0-4"), "some ");
    assert_eq!((one.status(), one.header("range")), ("202", Some("0-4")));
    let again = patch(one.location(), Some("0-4"), "some ");
    assert!(again.status() == "416" && again.body.contains("RANGE_INVALID"));
    let wrong = patch(one.location(), Some("5-9"), "data");
    assert_eq!(wrong.status(), "400");
    let two = patch(one.location(), Some("5-8"), "data");
    assert_eq!((two.status(), two.header("range")), ("202", Some("0-8")));
    assert_eq!(close(two.location(), b"some data", "").status(), "201");
    assert!(registry.blob("app", &sha256(b"some data")).is_some());
}

#[test]
fn chunks_without_range_and_length_are_accepted() {
    let registry = FakeRegistry::start();
    let location = begin(&registry);
    let args = ["-X", "PATCH", "-H", "Transfer-Encoding: chunked", "--data-binary", "some "];
    let one = curl(&[&args[..], &[&location]].concat());
    assert_eq!((one.status(), one.header("range")), ("202", Some("0-4")));
    assert_eq!(close(one.location(), b"some data", "data").status(), "201");
}

#[test]
fn only_the_last_upload_state_is_accepted_and_only_unchanged() {
    let registry = FakeRegistry::start();
    let location = begin(&registry);
    let one = patch(&location, None, "some ");
    assert_ne!(one.location(), location);
    assert_eq!(patch(&location, None, "data").status(), "416");
    for spoil in [
        |l: &str| l.replace("%2f", "%2F"),
        |l: &str| l.replace("%7e", "~"),
        |l: &str| l.replace('+', "%20"),
        |l: &str| l.replace("==", ""),
        |l: &str| l.replace("empty=&", ""),
    ] {
        assert_eq!(patch(&spoil(one.location()), None, "data").status(), "416");
    }
    let status = curl(&[&location]);
    assert_eq!((status.status(), status.header("range")), ("204", Some("0-4")));
    assert_eq!(patch(status.location(), None, "data").status(), "202");
}

#[test]
fn after_a_wrong_digest_an_upload_stays_open() {
    let registry = FakeRegistry::start();
    let done = close(&begin(&registry), b"other", "some data");
    assert_eq!(done.status(), "400");
    assert!(done.body.contains("DIGEST_INVALID"));
    assert_eq!(registry.sessions(), [("app".to_owned(), 9)]);
    assert!(registry.blob("app", &sha256(b"other")).is_none());
}

#[test]
fn an_upload_can_be_cancelled_once() {
    let registry = FakeRegistry::start();
    let location = begin(&registry);
    assert_eq!(curl(&["-X", "DELETE", &location]).status(), "204");
    assert_eq!(registry.sessions(), []);
    let gone = curl(&["-X", "DELETE", &location]);
    assert!(gone.status() == "404" && gone.body.contains("BLOB_UPLOAD_UNKNOWN"));
    assert_eq!(close(&location, b"x", "x").status(), "404");
}

#[test]
fn a_mount_is_one_request_or_the_beginning_of_an_upload() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("base", "some data");
    let mount =
        |from: &str| url(&registry, &format!("app/blobs/uploads/?mount={digest}&from={from}"));
    let other = curl(&["-X", "POST", &mount("other")]);
    assert_eq!(other.status(), "202");
    assert_eq!(registry.sessions().len(), 1);
    assert_eq!(close(other.location(), b"x", "x").status(), "201");
    let mounted = curl(&["-X", "POST", &mount("base")]);
    assert_eq!(mounted.status(), "201");
    assert_eq!(mounted.header("docker-content-digest"), Some(digest.as_str()));
    assert!(registry.blob("app", &digest).is_some());
    assert_eq!(registry.steps(), ["POST mount", "PUT session 1", "POST mount"]);
}

#[test]
fn a_blob_is_uploaded_with_the_post_if_the_setting_allows_it() {
    let registry = FakeRegistry::start();
    let digest = sha256(b"some data");
    let target = url(&registry, &format!("app/blobs/uploads/?digest={digest}"));
    let post = || curl(&["-X", "POST", "--data-binary", "some data", &target]);
    assert_eq!(post().status(), "202");
    registry.forget_sessions();
    registry.set(|settings| settings.whole_posts = true);
    assert_eq!(post().status(), "201");
    assert_eq!(registry.blob("app", &digest).unwrap()[..], *b"some data");
    assert_eq!(registry.sessions(), []);
}

#[test]
fn a_broken_body_leaves_the_bytes_that_arrived() {
    let registry = FakeRegistry::start();
    let bytes = noise(3 << 20, 1);
    let scratch = Scratch::new();
    let file = scratch.write("file", &bytes);
    let data = format!("@{}", file.display());
    for end in [End::Reset, End::Fin] {
        let location = begin(&registry);
        let broken = first(1, Request::is_patch);
        registry.intake(move |request| {
            if broken(request) { Intake::cut(1_000_003, end) } else { Intake::whole() }
        });
        let args = ["-X", "PATCH", "--data-binary", &data, &location];
        assert!(!run(&args).status.success());
        assert_eq!(registry.sessions(), [("app".to_owned(), 1_000_003)]);
        let request = registry.server.requests().pop().unwrap();
        assert!(!request.whole && request.received == 1_000_003 && request.body.is_empty());
        let status = curl(&[&location]);
        assert_eq!(status.header("range"), Some("0-1000002"));
        let rest = scratch.write("rest", &bytes[1_000_003..]);
        let done = close(status.location(), &bytes, &format!("@{}", rest.display()));
        assert_eq!(done.status(), "201");
    }
    registry.set(|settings| settings.forgets_broken = true);
    registry.intake(|_| Intake::cut(5, End::Reset));
    let location = begin(&registry);
    run(&["-X", "PATCH", "--data-binary", &data, &location]);
    assert_eq!(registry.sessions(), []);
}

#[test]
fn a_broken_body_can_be_kept_in_part_and_an_old_upload_state_can_be_refused() {
    let registry = FakeRegistry::start();
    registry.set(|settings| settings.keeps_of_broken = Some(2));
    registry.intake(first_patch_cut(4));
    let location = begin(&registry);
    assert_eq!(patch(&location, None, "some data").head, "");
    assert_eq!(curl(&[&location]).header("range"), Some("0-1"));
    registry.set(|settings| settings.strict = true);
    assert!(curl(&[&location]).body.contains("BLOB_UPLOAD_INVALID"));
    assert_eq!(curl(&["-X", "DELETE", &location]).status(), "404");
    assert_eq!(registry.sessions(), [("app".to_owned(), 2)]);
}

#[test]
fn an_upload_state_can_stay_the_same() {
    let registry = FakeRegistry::start();
    registry.set(|settings| settings.steady = true);
    let location = begin(&registry);
    assert_eq!(patch(&location, Some("0-3"), "some").status(), "202");
    assert_eq!(patch(&location, Some("4-5"), " d").status(), "202");
    assert_eq!(close(&location, b"some data", "ata").status(), "201");
}

#[test]
fn a_killed_client_leaves_the_bytes_that_it_sent() {
    let registry = FakeRegistry::start();
    let scratch = Scratch::new();
    let file = scratch.write("file", noise(8 << 20, 1));
    let location = begin(&registry);
    registry.intake(
        |request| {
            if request.is_patch() { Intake::stall(3 << 20) } else { Intake::whole() }
        },
    );
    let mut client = peer("curl")
        .args(["-sS", "--noproxy", "*", "-X", "PATCH", "-T"])
        .arg(file)
        .arg(location)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    registry.server.wait_for_stalls(1);
    client.kill().unwrap();
    client.wait().unwrap();
    assert_eq!(registry.sessions(), [("app".to_owned(), 3 << 20)]);
    assert_eq!(registry.server.requests().pop().unwrap().received, 3 << 20);
}

#[test]
fn an_early_response_is_sent_before_the_rest_of_the_body_is_read() {
    for end in [End::Fin, End::Reset] {
        let registry = FakeRegistry::start();
        let scratch = Scratch::new();
        let file = scratch.write("file", noise(8 << 20, 1));
        let location = begin(&registry);
        registry.intake(move |_| Intake::early(70_000, Reply::new(413).body("<html>"), end));
        let data = format!("@{}", file.display());
        let answer = curl(&["-X", "PATCH", "--data-binary", &data, &location]);
        assert_eq!((answer.status(), answer.body.as_str()), ("413", "<html>"), "{end:?}");
        assert_eq!(registry.sessions(), [("app".to_owned(), 0)]);
        assert_eq!(registry.server.requests().pop().unwrap().received, 70_000);
    }
}

#[test]
fn a_body_can_be_read_and_discarded() {
    let registry = FakeRegistry::start();
    let location = begin(&registry);
    registry.intake(|_| Intake::instead(Reply::new(503)));
    assert_eq!(patch(&location, None, "some").status(), "503");
    assert_eq!(registry.sessions(), [("app".to_owned(), 0)]);
    assert_eq!(registry.steps(), ["POST uploads", "PATCH session 4"]);
    registry.heal();
    assert_eq!(patch(&location, None, "some").status(), "202");
}

#[test]
fn a_completed_request_can_get_a_wrong_response_or_none() {
    let registry = FakeRegistry::start();
    let location = begin(&registry);
    registry.fault(|_, right| right.change("Range", |_| "0-99".to_owned()).without("Location"));
    let wrong = patch(&location, None, "some");
    assert_eq!((wrong.header("range"), wrong.header("location")), (Some("0-99"), None));
    registry.fault(|_, _| Reply::hang_up());
    let status = curl(&[&location]);
    assert_eq!(status.head, "");
    registry.heal();
    let status = curl(&[&location]);
    registry.fault(|_, _| Reply::hang_up());
    assert_eq!(close(status.location(), b"some", "").head, "");
    assert!(registry.blob("app", &sha256(b"some")).is_some());
}

#[test]
fn a_response_can_be_held_back() {
    let server = Server::start(|_| Reply::ok("late").held());
    let client = peer("curl")
        .args(["-sS", "--noproxy", "*", &server.url()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    server.wait_for_stalls(1);
    server.release();
    assert_eq!(client.wait_with_output().unwrap().stdout, b"late");
}

#[test]
fn expect_100_continue_gets_a_100_or_a_refusal() {
    let registry = FakeRegistry::start();
    let expect = ["-H", "Expect: 100-continue", "-X", "PATCH", "--data-binary", "some"];
    let location = begin(&registry);
    let answer = Answer::of(
        &peer("curl")
            .args(["-sS", "-i", "--noproxy", "*", "--expect100-timeout", "20"])
            .args(expect)
            .arg(&location)
            .output()
            .unwrap(),
    );
    assert!(answer.head.starts_with("HTTP/1.1 100 ") && answer.body.contains(" 202 "));
    // The state has changed: the registry refuses the request before the body is sent.
    let mut stale = peer("curl");
    stale.args(["-sS", "-i", "--noproxy", "*", "--expect100-timeout", "20"]).args(expect);
    let refused = Answer::of(&stale.arg(&location).output().unwrap());
    assert_eq!(refused.status(), "416");
    assert_eq!(registry.server.requests().pop().unwrap().received, 0);
    registry.intake(|_| Intake::whole().silent());
    let fresh = curl(&[&location]).location().to_owned();
    let mut silent = peer("curl");
    silent.args(["-sS", "-i", "--noproxy", "*", "--expect100-timeout", "0.01"]).args(expect);
    let answer = Answer::of(&silent.arg(&fresh).output().unwrap());
    assert_eq!(answer.status(), "202", "{}", answer.head);
}

#[test]
fn interim_responses_are_sent_before_the_body_is_read() {
    let registry = FakeRegistry::start();
    let location = begin(&registry);
    registry.intake(|_| Intake::whole().after("HTTP/1.1 102 Processing\r\n\r\n"));
    let answer = patch(&location, None, "some");
    assert_eq!(answer.status(), "102");
    assert!(answer.body.starts_with("HTTP/1.1 202 "), "{}", answer.body);
}
