// SPDX-License-Identifier: Apache-2.0
//! Checks that the peers agree with each other and with the images made here. A failure in this
//! file means that the harness is broken, not a tool.

use tests::certs::Authority;
use tests::curl::curl;
use tests::eventually;
use tests::fake::{Reply, Server};
use tests::images::{Image, read_index, write_image};
use tests::nginx::Front;
use tests::peers::{must, peer};
use tests::registry::Registry;
use tests::scratch::Scratch;

#[test]
fn skopeo_pushes_an_image_made_here_and_the_registry_keeps_its_digest() {
    let registry = Registry::start();
    let image = Image::small();
    registry.push("app", "1", &image, "oci");
    assert_eq!(registry.get("app/manifests/1"), image.manifest.bytes);
    assert_eq!(registry.head(&format!("app/blobs/{}", image.layers[1].digest)), "200");
    let answered = registry.answered();
    assert!(answered.contains(&"PUT /v2/app/manifests/1 201".to_owned()), "{answered:#?}");
}

#[test]
fn skopeo_reads_the_manifest_of_an_image_uploaded_blob_by_blob() {
    let registry = Registry::start();
    let image = Image::small().docker();
    registry.put_image("library/app", "1", &image);
    let mut skopeo = peer("skopeo");
    skopeo.args(["inspect", "--raw", "--tls-verify=false"]);
    let raw = must(skopeo.arg(format!("docker://{}:1", registry.repo("library/app"))));
    assert_eq!(raw, image.manifest.bytes);
}

#[test]
fn a_registry_with_tls_serves_a_client_that_trusts_its_authority() {
    let registry = Registry::with_tls();
    let mut curl = peer("curl");
    curl.args(["-sS", "--noproxy", "*", "--cacert"]).arg(registry.authority().certificate());
    assert_eq!(must(curl.arg(format!("https://{}/v2/", registry.host()))), b"{}");
}

#[test]
fn a_registry_with_deletes_forgets_a_deleted_manifest() {
    let registry = Registry::with_deletes();
    let image = Image::small();
    registry.put_image("app", "1", &image);
    let mut curl = peer("curl");
    curl.args(["-sS", "--fail", "--noproxy", "*", "-X", "DELETE"]);
    let manifest = format!("app/manifests/{}", image.manifest.digest);
    must(curl.arg(format!("http://{}/v2/{manifest}", registry.host())));
    assert_eq!(registry.head(&manifest), "404");
}

#[test]
fn a_certificate_can_be_issued_with_a_past_expiry_date() {
    let authority = Authority::new();
    let identity = authority.issue("DNS:localhost", "20200101000000Z", "20200201000000Z");
    let mut openssl = peer("openssl");
    openssl.arg("verify").arg("-CAfile").arg(authority.certificate()).arg(identity.certificate);
    let output = openssl.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("certificate has expired"));
}

#[test]
fn umoci_unpacks_an_image_made_here() {
    let scratch = Scratch::new();
    let layout = scratch.join("layout");
    write_image(&layout, "1", &Image::small());
    write_image(&layout, "2", &Image::big(1000, 1));
    assert_eq!(read_index(&layout)["manifests"].as_array().unwrap().len(), 2);
    let mut umoci = peer("umoci");
    umoci.args(["raw", "unpack", "--rootless", "--image"]);
    must(umoci.arg(format!("{}:1", layout.display())).arg(scratch.join("root")));
    assert_eq!(std::fs::read(scratch.join("root/etc/motd")).unwrap(), b"changed\n");
    assert!(!scratch.join("root/etc/gone").exists());
}

#[test]
fn a_front_forwards_requests_and_obeys_its_directives() {
    let behind =
        Server::start(|request| Reply::ok(format!("{} {}", request.target, request.body.len())));
    let front = Front::of(&behind.host())
        .with("client_max_body_size 1k;")
        .with("location = /moved { return 307 /elsewhere; }")
        .start();
    let url = |path: &str| format!("http://{}{path}", front.host());
    assert_eq!(curl(&[&url("/a?b=%2F")]).body, "/a?b=%2F 0");
    let body = "x".repeat(1025);
    assert_eq!(curl(&["--data-binary", &body[1..], &url("/a")]).body, "/a 1024");
    assert_eq!(curl(&["--data-binary", &body, &url("/a")]).status(), "413");
    assert_eq!(curl(&[&url("/moved")]).status(), "307");
    assert_eq!(behind.requests().len(), 2);
    let answered = ["GET /a?b=%2F 200", "POST /a 200", "POST /a 413", "GET /moved 307"];
    eventually("the front's log", || (front.answered() == answered).then_some(()));
}
