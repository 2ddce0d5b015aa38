// SPDX-License-Identifier: Apache-2.0
//! The scripted registry (the double) and two real registries get the same requests. A test may
//! rely only on behaviour of the double that a real registry has too. If the double differs from
//! both on purpose, the step has the reason, given by `on_purpose`.
//!
//! Not compared, because neither real registry supports them: tags in the query, a blob in the
//! POST. The referrers API is compared with olareg in `doubles_referrers`.

use tests::compare::{Step, ask, compare, compare_with, push, push_to};
use tests::images::{Image, sha256, types};

/// An image in `app:1`, and these steps.
fn with_image(steps: impl IntoIterator<Item = Step>) {
    let mut all = push(&Image::small(), "1");
    all.extend(steps);
    compare(&all);
}

/// A GET and a HEAD of the same path.
fn both(path: &str) -> [Step; 2] {
    ["GET", "HEAD"].map(|method| ask(method, path))
}

#[test]
fn the_api_root_is_the_same() {
    compare(&[ask("GET", "/v2/"), ask("HEAD", "/v2/"), ask("GET", "/elsewhere")]);
}

#[test]
fn a_manifest_is_the_same_by_tag_and_by_digest() {
    let accept = format!("Accept: {}", types::MANIFEST);
    let by_digest = format!("app/manifests/{}", Image::small().manifest.digest);
    let paths = ["app/manifests/1", &by_digest];
    with_image(paths.iter().flat_map(|path| both(path)).map(|step| step.with(&accept)));
}

#[test]
fn the_accept_header_decides_whether_a_manifest_is_served() {
    let get = |accept: &str| ask("GET", "app/manifests/1").with(&format!("Accept: {accept}"));
    let list = format!("{}, {}", types::DOCKER_MANIFEST, types::MANIFEST);
    with_image([get("*/*"), get(&list), get(types::DOCKER_MANIFEST), get("text/plain")]);
}

#[test]
fn a_missing_manifest_blob_or_repository_is_the_same() {
    let none = sha256(b"none");
    let paths = [
        "app/manifests/none".to_owned(),
        format!("app/manifests/{none}"),
        format!("app/blobs/{none}"),
        "none/manifests/1".to_owned(),
        format!("none/manifests/{none}"),
        format!("none/blobs/{none}"),
        "none/tags/list".to_owned(),
        format!("app/referrers/{none}"),
    ];
    with_image(paths.iter().flat_map(|path| both(path)));
}

#[test]
fn a_blob_is_the_same() {
    let blob = format!("app/blobs/{}", Image::small().config.digest);
    with_image(both(&blob));
}

#[test]
fn ranges_of_a_blob_are_the_same() {
    let config = Image::small().config;
    let blob = format!("app/blobs/{}", config.digest);
    let len = config.bytes.len();
    let range = |text: &str| ask("GET", &blob).with(&format!("Range: {text}"));
    let taken = ["bytes=0-3", "bytes=5-", "bytes=5-100000", "bytes=-4"];
    // In a 416, version 2.8 also sends an ETag.
    let outside = [format!("bytes={len}-"), format!("bytes={}-", len + 5)];
    let refused = outside.iter().map(String::as_str).chain(["bytes=7-3", "lines=1-2"]);
    let last = range(&format!("bytes={}-", len - 1));
    let refused = refused.map(|text| range(text).as_version_3());
    with_image(taken.map(range).into_iter().chain([last]).chain(refused));
}

#[test]
fn tag_lists_are_the_same() {
    let mut steps = push(&Image::small(), "b");
    for tag in ["a", "d", "c"] {
        steps.extend(push(&Image::small(), tag).pop());
    }
    for query in ["", "?n=2", "?n=2&last=b", "?n=2&last=d", "?n=10&last=a", "?last=bb", "?last=c"] {
        // Version 2.8 lists all tags on one page, in the order of the directory.
        steps.push(ask("GET", &format!("app/tags/list{query}")).as_version_3());
    }
    compare(&steps);
}

#[test]
fn lists_of_repositories_are_the_same() {
    let mut steps = vec![ask("GET", "_catalog")];
    for name in ["app", "b/c", "b/a", "d"] {
        steps.extend(push_to(name, &Image::small(), "1"));
    }
    for query in ["", "?n=2", "?n=2&last=b/a", "?n=2&last=d", "?n=4", "?last=bb", "?n=1000"] {
        steps.push(ask("GET", &format!("_catalog{query}")));
    }
    steps.push(ask("GET", "_catalog?n=1001"));
    compare(&steps);
}

#[test]
fn with_the_setting_unsorted_a_tag_list_is_as_in_version_2_8() {
    let mut steps = push(&Image::small(), "1");
    steps.push(ask("GET", "app/tags/list"));
    steps.push(ask("GET", "app/tags/list?last=5").as_version_2_8());
    compare_with(|settings| settings.unsorted = true, &steps);
}
