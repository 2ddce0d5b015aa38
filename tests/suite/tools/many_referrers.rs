// SPDX-License-Identifier: Apache-2.0
//! Many referrers pushed in one run into a registry without the referrers API. Each list of
//! referrers is written once for all of them. If a run ends before that, the next run lists the
//! referrers that it finds in the registry.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use tests::fake::{Intake, Reply, first};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, types, write_layout};
use tests::referrers::{Referrer, SBOM, fallback};
use tests::scratch::Scratch;
use tests::tools::{Run, tool};

const MANY: usize = 12;

/// A layout `from` with these referrers.
fn source(referrers: &[Referrer]) -> Scratch {
    let dir = Scratch::new();
    let blobs = referrers.iter().flat_map(|r| [&r.config, &r.layer, &r.manifest]);
    write_layout(&dir.join("from"), "1", &referrers[0].manifest, blobs);
    dir
}

fn referrers(subject: &Blob, notes: &str) -> Vec<Referrer> {
    let referrer = |n| Referrer::of(subject, SBOM, &format!("{notes}{n:02}"));
    (0..MANY).map(referrer).collect()
}

/// The lines of the referrers' blobs and manifests. Their manifests have no artifact type, as in
/// the lines that fetch-manifest prints.
fn lines(referrers: &[Referrer]) -> String {
    let blobs = referrers.iter().flat_map(|r| [&r.config, &r.layer, &r.manifest]);
    blobs.map(Blob::line).collect()
}

fn push(registry: &FakeRegistry, dir: &Scratch, lines: String) -> Run {
    tool("push-blob")
        .args(["--max-wait", "0", &registry.repo("app"), "--from", "oci:from"])
        .stdin(lines)
        .dir(dir.path())
        .run()
}

/// The digests in the list under the fallback tag; none if there is no such tag.
fn listed(registry: &FakeRegistry, subject: &Blob) -> Vec<String> {
    let Some(held) = registry.manifest("app", &fallback(subject)) else { return Vec::new() };
    let list: Value = serde_json::from_slice(&held.bytes).unwrap();
    let digest = |entry: &Value| entry["digest"].as_str().unwrap().to_owned();
    list["manifests"].as_array().unwrap().iter().map(digest).collect()
}

fn digests(referrers: &[Referrer]) -> Vec<String> {
    referrers.iter().map(|referrer| referrer.manifest.digest.clone()).collect()
}

/// How often this manifest was put.
fn puts(registry: &FakeRegistry, name: &str) -> usize {
    let requests = registry.server.requests();
    let puts = requests.iter().filter(|request| request.method == "PUT");
    puts.filter(|request| request.path.ends_with(&format!("/manifests/{name}"))).count()
}

#[test]
fn each_list_is_written_once_for_many_referrers() {
    let registry = FakeRegistry::start();
    let images = [Image::for_platform("linux", "amd64"), Image::for_platform("linux", "arm64")];
    let [a, b] = [("a", &images[0]), ("b", &images[1])]
        .map(|(notes, image)| referrers(&image.manifest, notes));
    let mixed: Vec<Referrer> = a.iter().zip(&b).flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    push(&registry, &source(&mixed), lines(&mixed)).ok().stdout(lines(&mixed));
    for (image, referrers) in images.iter().zip([&a, &b]) {
        assert_eq!(listed(&registry, &image.manifest), digests(referrers));
        assert_eq!(puts(&registry, &fallback(&image.manifest)), 1);
    }
}

#[test]
fn a_registry_with_the_referrers_api_gets_no_list() {
    let registry = FakeRegistry::start();
    registry.set(|settings| settings.referrers = true);
    let image = Image::small().manifest;
    let all = referrers(&image, "");
    push(&registry, &source(&all), lines(&all)).ok();
    assert_eq!(registry.manifest("app", &fallback(&image)).map(|held| held.bytes), None);
}

/// The first run ends between the manifests and the list. No run that says success leaves a
/// referrer unlisted, although the second run finds all manifests in the registry.
#[test]
fn after_a_list_that_could_not_be_written_the_next_run_writes_it() {
    let registry = FakeRegistry::start();
    let image = Image::small().manifest;
    let all = referrers(&image, "");
    let dir = source(&all);
    let tag = fallback(&image);
    let once = first(1, move |request| request.method == "PUT" && request.path.ends_with(&tag));
    registry.intake(move |request| {
        if once(request) {
            Intake::instead(Reply::error(403, "DENIED", "not now"))
        } else {
            Intake::whole()
        }
    });
    push(&registry, &dir, lines(&all)).fails(4, "not now").stdout(lines(&all));
    assert_eq!(listed(&registry, &image), [""; 0]);
    push(&registry, &dir, lines(&all)).ok().stdout(lines(&all));
    assert_eq!(listed(&registry, &image), digests(&all));
}

#[test]
fn the_referrers_before_a_failed_line_are_listed() {
    let registry = FakeRegistry::start();
    let image = Image::small().manifest;
    let all = referrers(&image, "");
    let missing = Blob::new(types::MANIFEST, r#"{"schemaVersion":2}"#);
    let text = lines(&all[..3]) + &missing.line() + &lines(&all[3..]);
    push(&registry, &source(&all), text).fails(3, &missing.digest).stdout(lines(&all[..3]));
    assert_eq!(listed(&registry, &image), digests(&all[..3]));
}

/// Another manifest under one fallback tag does not prevent the other lists.
#[test]
fn a_fallback_tag_that_is_no_list_gives_status_6_and_other_lists_are_written() {
    let registry = FakeRegistry::start();
    let images = [Image::for_platform("linux", "amd64"), Image::for_platform("linux", "arm64")];
    let all: Vec<Referrer> =
        images.iter().map(|image| Referrer::of(&image.manifest, SBOM, "a")).collect();
    let tag = fallback(&images[0].manifest);
    registry.add_manifest("app", &tag, &images[0].manifest);
    let run = push(&registry, &source(&all), lines(&all));
    run.fails(6, &tag).says("left unchanged").stdout(lines(&all));
    let held = registry.manifest("app", &tag).unwrap();
    assert_eq!(held.bytes, images[0].manifest.bytes);
    assert_eq!(listed(&registry, &images[1].manifest), digests(&all[1..]));
}

/// A full list gets as many referrers as it has room for, and the run fails.
#[test]
fn a_full_list_takes_no_more_and_the_run_gives_status_6() {
    let registry = FakeRegistry::start();
    let image = Image::small().manifest;
    let note = |n| format!("{n}{}", "x".repeat(800_000));
    let all: Vec<Referrer> = (0..6).map(|n| Referrer::of(&image, SBOM, &note(n))).collect();
    let run = push(&registry, &source(&all), lines(&all));
    run.fails(6, "no room for another referrer").says(&all[5].manifest.digest);
    assert_eq!(listed(&registry, &image), digests(&all[..5]));
}

/// A manifest without a subject that the registry has is not put again.
#[test]
fn an_image_that_the_registry_has_is_not_put_again() {
    let registry = FakeRegistry::with_image();
    let image = Image::small();
    let dir = Scratch::new();
    write_layout(&dir.join("from"), "1", &image.manifest, image.blobs());
    push(&registry, &dir, image.manifest.line()).ok();
    assert_eq!(puts(&registry, &image.manifest.digest), 0);
    // Nor is the source needed.
    let other = Scratch::new();
    let config = Blob::new(types::CONFIG, "{}");
    write_layout(&other.join("from"), "1", &config, []);
    push(&registry, &other, image.manifest.line()).ok();
}
