// SPDX-License-Identifier: Apache-2.0
//! Checks of the scripted server with curl: a fault in it would make other tests wrong.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::process::Output;

use tests::certs::Authority;
use tests::fake::{End, Reply, Server};
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, types};
use tests::peers::peer;

fn curl(args: &[&str]) -> Output {
    peer("curl").args(["-sS", "--max-time", "20", "--noproxy", "*"]).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_correct_response_arrives_whole_and_the_request_is_recorded() {
    let server = Server::start(|_| Reply::ok("body").header("X-Own", "yes"));
    let output = curl(&["-i", "-H", "X-Asked: a, b", &format!("{}/p?q=a%20b", server.url())]);
    let answer = text(&output.stdout);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nX-Own: yes\r\nContent-Length: 4\r\n\r\nbody"), "{answer}");
    let request = &server.requests()[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/p"));
    assert_eq!(request.param("q").as_deref(), Some("a b"));
    assert_eq!(request.header("x-asked"), Some("a, b"));
}

#[test]
fn connections_are_reused_and_requests_are_counted() {
    let server = Server::start(|request| Reply::ok(format!("{}", request.earlier)));
    let [a, b] = ["a", "b"].map(|path| format!("{}/{path}", server.url()));
    let output = curl(&[&a, &a, &b]);
    assert_eq!(text(&output.stdout), "010");
    assert_eq!(server.connections(), 1);
    assert_eq!(server.asked(), ["GET /a", "GET /a", "GET /b"]);
}

#[test]
fn request_bodies_are_read_with_a_length_and_in_chunks() {
    let server = Server::start(|request| Reply::ok(&request.body));
    assert_eq!(text(&curl(&["-d", "some data", &server.url()]).stdout), "some data");
    let chunked = ["-H", "Transfer-Encoding: chunked", "-d", "more data", &server.url()];
    assert_eq!(text(&curl(&chunked).stdout), "more data");
}

#[test]
fn head_has_the_length_and_no_body() {
    let server = Server::start(|_| Reply::ok("12345"));
    let output = curl(&["-I", &server.url()]);
    assert!(text(&output.stdout).contains("Content-Length: 5\r\n"));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_cut_body_is_cut_at_the_byte() {
    let server = Server::start(|_| Reply::ok([b'x'; 100_000]).cut(70_001, End::Fin));
    let output = curl(&[&server.url()]);
    assert_eq!(output.stdout.len(), 70_001);
    assert_eq!(output.status.code(), Some(18), "curl: transfer closed with bytes remaining");
}

#[test]
fn a_cut_with_reset_resets_the_connection() {
    let server = Server::start(|_| Reply::ok("12345").cut(0, End::Reset));
    let output = curl(&[&server.url()]);
    assert_eq!(output.status.code(), Some(56), "curl: {}", text(&output.stderr));
    let server = Server::start(|_| Reply::hang_up());
    let output = curl(&[&server.url()]);
    assert_eq!(output.status.code(), Some(56), "curl: {}", text(&output.stderr));
}

#[test]
fn a_stall_lasts_until_it_is_released() {
    let server = Server::start(|_| Reply::ok("12345").stall(3));
    let child = peer("curl")
        .args(["-sS", "--noproxy", "*", &server.url()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    server.wait_for_stalls(1);
    server.release();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "12345");
}

#[test]
fn content_lengths_can_be_wrong_or_missing() {
    let script = |request: &tests::fake::Request| match request.path.as_str() {
        "/more" => Reply::ok("12345").content_length(9),
        "/less" => Reply::ok("12345").content_length(3),
        "/two" => Reply::ok("12345").content_length(5).content_length(6),
        _ => Reply::ok("12345").close_delimited(),
    };
    let server = Server::start(script);
    let get = |path: &str| curl(&[&format!("{}{path}", server.url())]);
    assert_eq!(get("/more").status.code(), Some(18));
    assert_eq!(text(&get("/less").stdout), "123");
    let none = get("/none");
    assert_eq!((text(&none.stdout).as_str(), none.status.code()), ("12345", Some(0)));
    let two = curl(&["-i", &format!("{}/two", server.url())]);
    assert!(text(&two.stdout).contains("Content-Length: 5\r\nContent-Length: 6\r\n"));
}

#[test]
fn chunks_are_framed_and_can_be_broken() {
    let server = Server::start(|request| match request.path.as_str() {
        "/right" => Reply::ok([b'x'; 1000]).chunked(300),
        _ => Reply::ok([b'x'; 1000]).broken_chunk(300, 2),
    });
    let right = curl(&[&format!("{}/right", server.url())]);
    assert_eq!((right.stdout.len(), right.status.code()), (1000, Some(0)));
    let broken = curl(&[&format!("{}/broken", server.url())]);
    assert_eq!((broken.stdout.len(), broken.status.code()), (600, Some(56)));
}

#[test]
fn endless_bodies_and_headers_last_until_the_client_closes() {
    let server = Server::start(|request| match request.path.as_str() {
        "/body" => Reply::new(200).endless("more "),
        _ => Reply::new(200).endless_headers(),
    });
    let url = format!("{}/body", server.url());
    let pipe = "curl -sS --noproxy '*' \"$0\" | head -c 1000003";
    let body = peer("dash").args(["-c", pipe, &url]).output().unwrap();
    assert!(body.stdout.len() == 1_000_003 && body.stdout.ends_with(b" more mor"));
    let headers = curl(&[&format!("{}/headers", server.url())]);
    assert_ne!(headers.status.code(), Some(0));
}

#[test]
fn raw_bytes_and_early_hints_are_sent_unchanged() {
    let server = Server::start(|request| match request.path.as_str() {
        "/raw" => Reply::raw("SSH-2.0-OpenSSH\r\n"),
        _ => Reply::ok("12345").after("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    });
    let raw = curl(&["--http0.9", &format!("{}/raw", server.url())]);
    assert_eq!(text(&raw.stdout), "SSH-2.0-OpenSSH\r\n");
    let early = curl(&["-i", &format!("{}/early", server.url())]);
    let early = text(&early.stdout);
    assert!(early.starts_with("HTTP/1.1 103 Early Hints\r\n"), "{early}");
    assert!(early.ends_with("\r\n\r\n12345"), "{early}");
}

#[test]
fn a_tls_server_presents_the_authoritys_certificate() {
    let authority = Authority::new();
    let config = authority.server().server_config();
    let server = Server::start_tls(config, |_| Reply::ok("secret"));
    let ca = authority.certificate();
    let trusting = curl(&["--cacert", ca.to_str().unwrap(), &server.url()]);
    assert_eq!(text(&trusting.stdout), "secret", "{}", text(&trusting.stderr));
    let doubting = curl(&[&server.url()]);
    assert_eq!(doubting.status.code(), Some(60), "curl: certificate problem");
}

#[test]
fn a_plain_http_server_refuses_a_tls_client_hello_and_does_not_count_it() {
    let server = Server::start(|_| Reply::ok(""));
    let output = curl(&["-k", &server.url().replace("http", "https")]);
    assert_eq!(output.status.code(), Some(35), "curl: {}", text(&output.stderr));
    assert_eq!(server.asked(), Vec::<String>::new());
}

#[test]
fn the_registry_serves_the_requested_ranges() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", "0123456789");
    let url = format!("http://{}/blobs/{digest}", registry.host().clone() + "/v2/app");
    let get = |range: &str| text(&curl(&["-i", "-r", range, &url]).stdout);
    assert!(get("2-4").contains("206 Partial") && get("2-4").ends_with("\r\n\r\n234"));
    assert!(get("2-4").contains("Content-Range: bytes 2-4/10\r\n"));
    assert!(get("7-").ends_with("\r\n\r\n789"));
    assert!(get("5-99").contains("Content-Range: bytes 5-9/10\r\n"));
    assert!(get("10-").contains("416 ") && get("10-").contains("Content-Range: bytes */10\r\n"));
}

#[test]
fn the_registry_serves_manifests_by_tag_and_digest_and_errors_in_json() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("library/app", "1", &image);
    let url = format!("http://{}/v2/library/app/manifests", registry.host());
    for reference in ["1", &image.manifest.digest] {
        let accept = format!("Accept: {}", types::MANIFEST);
        let output = curl(&["-i", "-H", &accept, &format!("{url}/{reference}")]);
        let answer = text(&output.stdout);
        assert!(answer.contains(&format!("Content-Type: {}\r\n", types::MANIFEST)), "{answer}");
        assert!(answer.contains(&format!("Docker-Content-Digest: {}\r\n", image.manifest.digest)));
        assert!(answer.ends_with(&text(&image.manifest.bytes)));
    }
    let missing = curl(&["-i", &format!("{url}/2")]);
    assert!(text(&missing.stdout).contains("404 Not Found"));
    assert!(text(&missing.stdout).contains(r#""code":"MANIFEST_UNKNOWN""#));
}

#[test]
fn the_registry_lists_tags_in_pages() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    for tag in ["a", "b", "c"] {
        registry.add_image("app", tag, &image);
    }
    registry.tags_a_page(2);
    let url = format!("http://{}/v2/app/tags/list", registry.host());
    let first = text(&curl(&["-i", &url]).stdout);
    assert!(first.contains("Link: </v2/app/tags/list?last=b&n=2>; rel=\"next\"\r\n"), "{first}");
    assert!(first.ends_with(r#"{"name":"app","tags":["a","b"]}"#), "{first}");
    let second = text(&curl(&["-i", &format!("{url}?last=b&n=2")]).stdout);
    assert!(second.ends_with(r#"{"name":"app","tags":["c"]}"#) && !second.contains("Link"));
}

#[test]
fn the_registry_with_tokens_accepts_only_a_token_for_the_repository() {
    let registry = FakeRegistry::with_tokens();
    registry.add_image("app", "1", &Image::small());
    let url = format!("http://{}/v2/app/tags/list", registry.host());
    let refused = text(&curl(&["-i", &url]).stdout);
    assert!(refused.contains("401 Unauthorized"), "{refused}");
    assert!(refused.contains(",scope=\"repository:app:pull\"\r\n"), "{refused}");
    let token = |scope: &str| {
        let url = format!("http://{}/token?service=s&scope={scope}", registry.host());
        let answer = curl(&[&url]);
        let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
        format!("Authorization: Bearer {}", answer["token"].as_str().unwrap())
    };
    let other = curl(&["-i", "-H", &token("repository:other:pull"), &url]);
    assert!(text(&other.stdout).contains("401 Unauthorized"));
    let own = curl(&["-i", "-H", &token("repository:app:pull"), &url]);
    assert!(text(&own.stdout).contains("200 OK"));
}

#[test]
fn a_fault_changes_the_correct_response() {
    let registry = FakeRegistry::start();
    let digest = registry.add_blob("app", "0123456789");
    registry.fault(|request, right| match request.earlier {
        0 => right.status(503).header("Retry-After", "0"),
        _ => right,
    });
    let url = format!("http://{}/v2/app/blobs/{digest}", registry.host());
    assert!(text(&curl(&["-i", &url]).stdout).contains("503 "));
    assert!(text(&curl(&["-i", &url]).stdout).contains("200 OK"));
}
