// SPDX-License-Identifier: Apache-2.0
//! The scripted registry and two real ones get the same requests that write: uploads, mounts,
//! manifests, deletion. The module `doubles` describes the rules of the comparison.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use serde_json::json;
use tests::compare::{Step, ask, compare, compare_with, push};
use tests::curl::curl;
use tests::eventually;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, index, sha256, types};
use tests::peers::{must, peer};
use tests::registry::Registry;

/// A POST that starts an upload.
fn start() -> Step {
    ask("POST", "app/blobs/uploads/")
}

/// A PATCH of these bytes to the last Location, with a Content-Range if it is not empty.
fn patch(range: &str, bytes: &str) -> Step {
    let step = ask("PATCH", "{location}").body(bytes);
    if range.is_empty() { step } else { step.with(&format!("Content-Range: {range}")) }
}

/// The PUT that completes an upload of `whole`, with its last bytes.
fn close(bytes: &str, whole: &str) -> Step {
    let step = ask("PUT", &format!("{{location}}&digest={}", sha256(whole.as_bytes())));
    step.body(bytes)
}

/// A PUT of a manifest.
fn put(reference: &str, media_type: &str, bytes: impl AsRef<[u8]>) -> Step {
    let step = ask("PUT", &format!("app/manifests/{reference}")).body(bytes);
    step.with(&format!("Content-Type: {media_type}"))
}

/// An image in `app:1`, and these steps.
fn with_image(steps: impl IntoIterator<Item = Step>) {
    let mut all = push(&Image::small(), "1");
    all.extend(steps);
    compare(&all);
}

#[test]
fn an_upload_in_one_request_is_the_same() {
    let blob = format!("app/blobs/{}", sha256(b"some data"));
    compare(&[start(), close("some data", "some data"), ask("GET", &blob)]);
}

#[test]
fn an_upload_in_chunks_is_the_same() {
    compare(&[
        start(),
        patch("0-4", "some "),
        patch("5-8", "data"),
        ask("GET", "{location}"),
        close("", "some data"),
    ]);
}

#[test]
fn an_upload_without_content_range_is_the_same() {
    compare(&[
        start(),
        patch("", "some ").with("Transfer-Encoding: chunked"),
        patch("", "data").with("Transfer-Encoding: chunked"),
        close("", "some data"),
    ]);
}

#[test]
fn the_last_bytes_may_be_in_the_put() {
    compare(&[start(), patch("", "some "), close("data", "some data")]);
}

#[test]
fn a_chunk_out_of_order_is_the_same() {
    // Version 2.8 ignores Content-Range.
    let wrong = ["0-4", "9-13"].map(|range| patch(range, "data ").as_version_3());
    let [again, later] = wrong;
    compare(&[start(), patch("0-4", "some "), again, later]);
}

#[test]
fn a_chunk_with_a_wrong_content_range_is_the_same() {
    compare(&[start(), patch("0-9", "some ").as_version_3()]);
}

#[test]
fn the_status_of_an_upload_is_the_same() {
    compare(&[
        start(),
        ask("GET", "{location}"),
        patch("", "some data"),
        ask("GET", "{location}"),
        ask("GET", "{location}"),
    ]);
}

#[test]
fn an_old_state_is_the_same() {
    compare(&[
        start(),
        patch("", "some "),
        ask("PATCH", "{first}").body("data").as_version_3(),
        ask("PUT", &format!("{{first}}&digest={}", sha256(b""))).as_version_3(),
        ask("GET", "{first}").as_version_3(),
        patch("", "data"),
        ask("DELETE", "{first}").as_version_3(),
        ask("GET", "{first}").as_version_3(),
        ask("DELETE", "{location}"),
    ]);
}

#[test]
fn with_the_setting_strict_an_old_state_is_as_in_version_2_8() {
    let steps = [
        start(),
        patch("", "some "),
        ask("PATCH", "{first}").body("data").as_version_2_8(),
        ask("DELETE", "{first}").as_version_2_8(),
        ask("GET", "{first}").as_version_2_8(),
    ];
    compare_with(|settings| settings.strict = true, &steps);
}

#[test]
fn the_last_state_is_always_accepted() {
    compare(&[start(), patch("", "some "), ask("GET", "{location}"), ask("DELETE", "{location}")]);
}

#[test]
fn a_cancelled_upload_is_the_same() {
    compare(&[
        start(),
        patch("", "some "),
        ask("DELETE", "{location}"),
        ask("DELETE", "{location}"),
        ask("GET", "{location}"),
        patch("", "data"),
        close("", "some data"),
    ]);
}

#[test]
fn a_wrong_or_missing_digest_is_the_same() {
    let wrong = sha256(b"other");
    compare(&[
        start(),
        ask("PUT", "{location}").body("some data"),
        start(),
        close("some data", "other"),
        ask("GET", "{location}").as_version_3(),
        close("some data", "some data").as_version_3(),
        ask("GET", &format!("app/blobs/{wrong}")),
        start(),
        ask("PUT", "{location}&digest=sha256:abc").body("some data"),
    ]);
}

#[test]
fn a_mount_is_the_same() {
    let image = Image::small();
    let mount = |from: &str, digest: &str| {
        ask("POST", &format!("copy/blobs/uploads/?mount={digest}{from}"))
    };
    let digest = &image.config.digest;
    with_image([
        mount("&from=app", digest),
        ask("HEAD", &format!("copy/blobs/{digest}")),
        mount("&from=app", &sha256(b"none")),
        mount("&from=none", &image.layers[0].digest),
        mount("", &image.layers[0].digest),
        close("some data", "some data"),
    ]);
}

#[test]
fn a_post_with_a_digest_starts_an_upload() {
    let digest = sha256(b"some data");
    compare(&[ask("POST", &format!("app/blobs/uploads/?digest={digest}")).body("some data")]);
}

#[test]
fn a_manifest_with_missing_blobs_is_refused_in_the_same_way() {
    let image = Image::small();
    let none = ask("GET", "app/manifests/1");
    compare(&[put("1", types::MANIFEST, &image.manifest.bytes), none]);
}

#[test]
fn an_invalid_manifest_is_refused_in_the_same_way() {
    let image = Image::small();
    let bytes = &image.manifest.bytes;
    with_image([
        put("2", types::DOCKER_MANIFEST, bytes),
        put("2", types::MANIFEST, "{"),
        put("2", types::MANIFEST, "[]"),
        put(&sha256(b""), types::MANIFEST, bytes),
        put("2", "text/plain", bytes),
        put(&image.manifest.digest, types::MANIFEST, bytes),
        ask("GET", "app/tags/list"),
    ]);
}

#[test]
fn an_index_is_accepted_if_its_manifests_exist() {
    let image = Image::small();
    let index = index(types::INDEX, &[(&image.manifest, "linux/amd64")]);
    let mut steps = vec![put("2", types::INDEX, &index.bytes)];
    steps.extend(push(&image, "1"));
    steps.push(put("2", types::INDEX, &index.bytes));
    steps.push(ask("GET", "app/manifests/2").with(&format!("Accept: {}", types::INDEX)));
    compare(&steps);
}

#[test]
fn a_non_distributable_layer_may_be_missing_in_the_same_way() {
    let image = Image::small();
    let mut manifest = image.manifest_json();
    let kind = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    let foreign = Blob::new(kind, "x").descriptor();
    manifest["layers"].as_array_mut().unwrap().push(foreign);
    let without_urls = manifest.to_string();
    manifest["layers"][2]["urls"] = json!(["https://example.com/x"]);
    let with_urls = manifest.to_string();
    manifest["layers"][2]["mediaType"] = json!(types::TAR);
    let ordinary = manifest.to_string();
    with_image([
        put("2", types::MANIFEST, with_urls),
        put("3", types::MANIFEST, without_urls),
        // docker-registry 2.8 does not look for a layer that has urls.
        put("4", types::MANIFEST, ordinary).as_version_3(),
    ]);
}

#[test]
fn a_manifest_with_a_subject_is_the_same() {
    let image = Image::small();
    let mut manifest = image.manifest_json();
    manifest["subject"] = image.manifest.descriptor();
    with_image([
        put("2", types::MANIFEST, manifest.to_string()),
        put("3?tag=4", types::MANIFEST, &image.manifest.bytes),
        ask("GET", &format!("app/referrers/{}", image.manifest.digest)),
        ask("GET", "app/tags/list").as_version_3(),
    ]);
}

#[test]
fn if_match_is_honoured_on_purpose() {
    let image = Image::small();
    let put = || put("1", types::MANIFEST, &image.manifest.bytes);
    let wrong = put().with(&format!("If-Match: \"{}\"", image.config.digest));
    with_image([
        put().with(&format!("If-Match: \"{}\"", image.manifest.digest)),
        wrong.on_purpose("the real ones ignore it; a client that sends it must handle a 412"),
    ]);
}

#[test]
fn deletion_is_the_same() {
    let image = Image::small();
    let manifest = format!("app/manifests/{}", image.manifest.digest);
    let blob = format!("app/blobs/{}", image.config.digest);
    let delete = |path: &str| ask("DELETE", path);
    let mut steps = vec![delete(&blob), delete(&blob), ask("GET", &blob)];
    // Version 2.8 deletes no tag.
    let by_tag = delete("app/manifests/1").as_version_3();
    steps.extend([by_tag.clone(), by_tag, ask("GET", "app/tags/list").as_version_3()]);
    steps.extend([delete(&manifest), delete(&manifest), ask("GET", &manifest)]);
    // Version 2.8 responds with `null` instead of an empty list.
    steps.extend([ask("GET", "app/tags/list").as_version_3()]);
    steps.extend([delete("none/manifests/1").as_version_3()]);
    with_image(steps);
}

#[test]
fn unsupported_methods_are_the_same() {
    with_image([
        ask("POST", "app/manifests/1"),
        ask("PUT", "app/tags/list"),
        ask("PATCH", &format!("app/blobs/{}", Image::small().config.digest)),
        ask("DELETE", "app/tags/list"),
    ]);
}

/// The bytes that arrive before a connection ends are kept, and the status of the session includes
/// them.
#[test]
fn a_broken_chunk_is_kept_as_in_version_3() {
    let double = FakeRegistry::start();
    let third = Registry::version_3();
    for host in [double.host(), third.host()] {
        let uploads = format!("http://{host}/v2/app/blobs/uploads/");
        let location = curl(&["-X", "POST", &uploads]).location().to_owned();
        let path = location.split_once(&host).unwrap().1;
        let mut connection = TcpStream::connect(&host).unwrap();
        let head = format!(
            "PATCH {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: 100000\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(&[b'x'; 40_000]).unwrap();
        connection.shutdown(Shutdown::Both).unwrap();
        let range = || curl(&[&location]).header("range").map(str::to_owned);
        eventually("the bytes", || (range()? == "0-39999").then_some(()));
    }
}

/// If a client waits for `100 Continue`, the scripted registry and the real ones send it, or send
/// the refusal.
#[test]
fn expect_100_continue_is_the_same() {
    let double = FakeRegistry::start();
    let [second, third] = [Registry::start(), Registry::version_3()];
    for host in [double.host(), second.host(), third.host()] {
        let uploads = format!("http://{host}/v2/app/blobs/uploads/");
        let location = curl(&["-X", "POST", &uploads]).location().to_owned();
        let ask = |location: &str| {
            let mut curl = peer("curl");
            curl.args(["-sS", "-i", "--noproxy", "*", "--expect100-timeout", "20"]);
            curl.args(["-H", "Expect: 100-continue", "-X", "PATCH", "--data-binary", "some"]);
            curl.args(["-H", "Content-Type: application/octet-stream", location]);
            String::from_utf8(must(&mut curl)).unwrap()
        };
        let taken = ask(&location);
        assert!(taken.starts_with("HTTP/1.1 100 ") && taken.contains("HTTP/1.1 202 "), "{taken}");
        let stale = ask(&location);
        assert!(stale.starts_with("HTTP/1.1 4"), "{host}: {stale}");
    }
}
