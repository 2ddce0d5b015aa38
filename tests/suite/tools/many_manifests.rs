// SPDX-License-Identifier: Apache-2.0
//! Many manifests in one run on a layout: `index.json` and each list of referrers are written once
//! for all of them. Written once for each, they would take quadratic time and disk space.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::images::{Blob, Image, read_index, types, write_image, write_layout};
use tests::referrers::{Referrer, SBOM, fallback, list};
use tests::scratch::Scratch;
use tests::tools::{Command, shell, tool};

const MANY: usize = 40;

fn referrers(subject: &Blob) -> Vec<Referrer> {
    (0..MANY).map(|n| Referrer::of(subject, SBOM, &format!("{n:02}"))).collect()
}

/// A scratch directory with the layout `from`, which has an image as `1` and its referrers, and
/// with the lines of the referrers' blobs and manifests in `lines`.
fn source() -> (Scratch, Image, Vec<Referrer>) {
    let dir = Scratch::new();
    let image = Image::small();
    let referrers = referrers(&image.manifest);
    let blobs = || referrers.iter().flat_map(|r| [&r.config, &r.layer, &r.manifest]);
    write_layout(&dir.join("from"), "1", &image.manifest, image.blobs().chain(blobs()));
    dir.write("lines", blobs().map(Blob::line).collect::<String>());
    (dir, image, referrers)
}

fn number_of_blobs(layout: &Path) -> usize {
    fs::read_dir(layout.join("blobs/sha256")).unwrap().count()
}

/// The digests in the list of a subject's referrers.
fn listed(layout: &Path, subject: &Blob) -> Vec<String> {
    let entries = read_index(layout)["manifests"].as_array().unwrap().clone();
    let is_list = |entry: &&Value| {
        entry["annotations"]["org.opencontainers.image.ref.name"] == fallback(subject).as_str()
    };
    let entry = entries.iter().find(is_list).unwrap();
    let name = entry["digest"].as_str().unwrap().replace(':', "/");
    let list: Value =
        serde_json::from_slice(&fs::read(layout.join("blobs").join(name)).unwrap()).unwrap();
    let digest = |entry: &Value| entry["digest"].as_str().unwrap().to_owned();
    list["manifests"].as_array().unwrap().iter().map(digest).collect()
}

fn digests(referrers: &[Referrer]) -> Vec<String> {
    referrers.iter().map(|referrer| referrer.manifest.digest.clone()).collect()
}

/// Every list that was ever stored is still there as a blob, so the blobs show how often the list
/// was written.
#[test]
fn one_list_is_written_for_many_referrers() {
    let (dir, image, referrers) = source();
    let copies = ["push-blob oci:x --from oci:from", "fetch-blob oci:from --into oci:x"];
    for copy in copies {
        let _ = fs::remove_dir_all(dir.join("x"));
        shell(&format!("{copy} <lines >printed")).dir(dir.path()).run().ok();
        let mut got = listed(&dir.join("x"), &image.manifest);
        let mut want = digests(&referrers);
        if copy.starts_with("fetch-blob") {
            got.sort();
            want.sort();
        }
        assert_eq!(got, want, "{copy}");
        // The blobs are one config, a layer and a manifest for each referrer, and the list.
        assert_eq!(number_of_blobs(&dir.join("x")), 1 + 2 * MANY + 1, "{copy}");
    }
}

#[test]
fn referrers_of_different_subjects_get_a_list_each() {
    let dir = Scratch::new();
    let images = [Image::for_platform("linux", "amd64"), Image::for_platform("linux", "arm64")];
    let referrers: Vec<Referrer> = images
        .iter()
        .flat_map(|image| ["a", "b"].map(|note| Referrer::of(&image.manifest, SBOM, note)))
        .collect();
    let blobs = || referrers.iter().flat_map(|r| [&r.config, &r.layer, &r.manifest]);
    write_layout(&dir.join("from"), "1", &images[0].manifest, blobs());
    dir.write("lines", blobs().map(Blob::line).collect::<String>());
    shell("push-blob oci:x --from oci:from <lines").dir(dir.path()).run().ok();
    for (image, referrers) in images.iter().zip(referrers.chunks(2)) {
        assert_eq!(listed(&dir.join("x"), &image.manifest), digests(referrers));
    }
}

/// A line that fails does not undo the lines before it.
#[test]
fn the_referrers_before_a_failed_line_are_listed() {
    let (dir, image, referrers) = source();
    let lines = fs::read_to_string(dir.join("lines")).unwrap();
    let missing = Blob::new(types::MANIFEST, r#"{"schemaVersion":2}"#);
    let first: String = lines.lines().take(6).map(|line| format!("{line}\n")).collect();
    let run = tool("push-blob").args(["oci:x", "--from", "oci:from"]).dir(dir.path());
    run.stdin(first + &missing.line() + &lines).run().fails(3, &missing.digest);
    assert_eq!(listed(&dir.join("x"), &image.manifest), digests(&referrers[..2]));
}

/// A list that is not full yet gets as many referrers as it has room for.
#[test]
fn a_full_list_takes_no_more_and_the_run_succeeds_with_a_warning() {
    let dir = Scratch::new();
    let image = Image::small();
    let large: Vec<Referrer> = (0..6)
        .map(|n| Referrer::of(&image.manifest, SBOM, &format!("{n}{}", "x".repeat(800_000))))
        .collect();
    let blobs = || large.iter().flat_map(|r| [&r.config, &r.layer, &r.manifest]);
    write_layout(&dir.join("from"), "1", &image.manifest, blobs());
    dir.write("lines", blobs().map(Blob::line).collect::<String>());
    let run = shell("push-blob oci:x --from oci:from <lines").dir(dir.path()).run();
    run.status(0).says("is not listed as a referrer").says("no room for another referrer");
    assert_eq!(listed(&dir.join("x"), &image.manifest), digests(&large[..5]));
}

/// A layout `x` with an image and its referrers, all of them listed.
fn with_list() -> (Scratch, Image, Vec<Referrer>) {
    let dir = Scratch::new();
    let image = Image::small();
    let referrers = referrers(&image.manifest);
    let list = list(&referrers.iter().map(Referrer::listed).collect::<Vec<_>>());
    let blobs = referrers.iter().flat_map(|r| [&r.config, &r.layer, &r.manifest]);
    write_layout(&dir.join("x"), "1", &image.manifest, image.blobs().chain(blobs));
    write_layout(&dir.join("x"), &fallback(&image.manifest), &list, []);
    let mut index = read_index(&dir.join("x"));
    let entries = referrers.iter().map(|referrer| referrer.manifest.descriptor());
    index["manifests"].as_array_mut().unwrap().extend(entries);
    fs::write(dir.join("x/index.json"), index.to_string()).unwrap();
    (dir, image, referrers)
}

fn delete(dir: &Scratch, lines: String, args: &[&str]) -> Command {
    tool("delete-manifest").arg("oci:x").args(args).dir(dir.path()).stdin(lines)
}

fn lines(referrers: &[Referrer]) -> String {
    referrers.iter().map(|referrer| referrer.manifest.line()).collect()
}

#[test]
fn one_list_is_written_for_many_removed_referrers() {
    let (dir, image, referrers) = with_list();
    let before = number_of_blobs(&dir.join("x"));
    delete(&dir, lines(&referrers[1..]), &[]).run().ok();
    assert_eq!(listed(&dir.join("x"), &image.manifest), digests(&referrers[..1]));
    assert_eq!(read_index(&dir.join("x"))["manifests"].as_array().unwrap().len(), 3);
    assert_eq!(number_of_blobs(&dir.join("x")), before + 1);
}

#[test]
fn the_manifests_before_a_missing_one_are_removed_and_the_others_stay() {
    let missing = Blob::new(types::MANIFEST, "{}");
    for (args, status, left) in [(&[][..], 3, &[2, 3][..]), (&["--ignore-missing"], 0, &[3])] {
        let (dir, image, referrers) = with_list();
        let text = lines(&referrers[..2]) + &missing.line() + &lines(&referrers[2..3]);
        let run = delete(&dir, text, args).run();
        if status == 0 {
            run.ok()
        } else {
            run.fails(status, &missing.digest)
        };
        let want = digests(&referrers[left[0]..]);
        assert_eq!(listed(&dir.join("x"), &image.manifest), want);
    }
}

/// An invalid line is reported after the manifests before it are removed.
#[test]
fn the_manifests_before_an_invalid_line_are_removed() {
    let (dir, image, referrers) = with_list();
    delete(&dir, lines(&referrers[..2]) + "not a line\n", &[]).run().status(6);
    assert_eq!(listed(&dir.join("x"), &image.manifest), digests(&referrers[2..]));
}

mod with_peers {
    use super::*;

    /// Counts how often a command replaces index.json.
    fn replaced(command: Command) -> usize {
        let scratch = Scratch::new();
        let log = scratch.join("log");
        let calls = "trace=rename,renameat,renameat2,link,linkat";
        let strace = ["strace", "-f", "-qq", "-e", calls, "-o", log.to_str().unwrap()];
        command.under(&strace).run().ok();
        let log = fs::read_to_string(log).unwrap();
        log.lines().filter(|line| line.contains("index.json\"")).count()
    }

    #[test]
    fn index_json_is_replaced_once_for_many_names_or_lines() {
        let dir = Scratch::new();
        let image = Image::small();
        write_image(&dir.join("x"), "1", &image);
        let put = tool("put-manifest").arg("oci:x:2").dir(dir.path());
        let put = (3..MANY).fold(put, |put, tag| put.args(["--tag", &tag.to_string()]));
        assert_eq!(replaced(put.stdin(image.manifest.bytes.clone())), 1);
        assert_eq!(read_index(&dir.join("x"))["manifests"].as_array().unwrap().len(), MANY - 1);

        let (dir, _, referrers) = with_list();
        assert_eq!(replaced(delete(&dir, lines(&referrers), &[])), 1);

        let (dir, ..) = source();
        let push = tool("push-blob").args(["oci:from", "--from", "oci:from"]).dir(dir.path());
        let lines = fs::read_to_string(dir.join("lines")).unwrap();
        assert_eq!(replaced(push.stdin(lines)), 1);
    }
}
