// SPDX-License-Identifier: Apache-2.0
//! list-referrers in a registry: the referrers API, the list under the fallback tag, and copies of
//! an image with its referrers.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::fake::Reply;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, index, types};
use tests::referrers::{Referrer, SBOM, SIGNATURE, digests, fallback, list};
use tests::scratch::Scratch;
use tests::tools::{Run, shell, tool};

/// A registry with an image as `app:1`, and its manifest.
fn registry() -> (FakeRegistry, Blob) {
    let registry = FakeRegistry::with_image();
    let manifest = registry.manifest("app", "1").unwrap();
    (registry, manifest)
}

fn list_referrers(registry: &FakeRegistry, args: &[&str]) -> Run {
    let mut command = tool("list-referrers").args(["--max-wait", "0"]);
    command = command.args(args);
    command.arg(registry.repo("app:1")).run()
}

#[test]
fn the_referrers_api_is_listed_with_all_fields() {
    let (registry, image) = registry();
    registry.set(|settings| settings.referrers = true);
    let [a, b] = [(SBOM, "a"), (SIGNATURE, "b")].map(|(t, note)| Referrer::of(&image, t, note));
    [&a, &b].iter().for_each(|referrer| referrer.add_to(&registry));
    let lines = list_referrers(&registry, &[]);
    lines.ok();
    let mut got: Vec<Value> =
        lines.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    got.sort_by_key(|line| line["annotations"]["org.example.note"].to_string());
    assert_eq!(got, [a.listed(), b.listed()]);
}

#[test]
fn an_image_without_referrers_has_an_empty_list() {
    for has_api in [false, true] {
        let (registry, image) = registry();
        registry.set(|settings| settings.referrers = has_api);
        list_referrers(&registry, &[]).ok().stdout("");
        let by_digest = format!("{}@{}", registry.repo("app"), image.digest);
        tool("list-referrers").arg(&by_digest).run().ok().stdout("");
    }
}

#[test]
fn an_image_that_does_not_exist_gives_status_3() {
    let (registry, image) = registry();
    let digest = format!("sha256:{}", "0".repeat(64));
    assert_ne!(image.digest, digest);
    for name in [":2".to_owned(), format!("@{digest}")] {
        let reference = format!("{}{name}", registry.repo("app"));
        for option in ["--quiet", "--recursive"] {
            tool("list-referrers").args([option, &reference]).run().fails(3, "404").stdout("");
        }
    }
}

#[test]
fn pages_are_followed_and_each_referrer_is_printed_once() {
    let (registry, image) = registry();
    registry.set(|settings| {
        settings.referrers = true;
        settings.referrers_a_page = Some(2);
    });
    let referrers: Vec<_> = (0..7).map(|n| Referrer::of(&image, SBOM, &n.to_string())).collect();
    referrers.iter().for_each(|referrer| referrer.add_to(&registry));
    // The fallback tag lists one of them too, and one that the API does not list.
    let other = Referrer::of(&Image::big(10, 3).manifest, SBOM, "other");
    let listed = list(&[other.listed(), referrers[0].listed()]);
    registry.add_manifest("app", &fallback(&image), &listed);
    let printed = digests(list_referrers(&registry, &[]).ok());
    let mut want: Vec<_> = referrers.iter().map(|one| one.manifest.digest.clone()).collect();
    want.sort();
    want.push(other.manifest.digest.clone());
    assert_eq!(printed, want);
    let pages = registry.steps().iter().filter(|step| step.contains("referrers")).count();
    assert_eq!(pages, 4, "{:?}", registry.steps());
}

#[test]
fn a_list_that_is_cut_or_goes_round_is_not_complete() {
    let image = Image::small().manifest;
    let elsewhere = |link: &'static str| {
        let (registry, _) = registry();
        registry.set(|settings| settings.referrers = true);
        Referrer::of(&image, SBOM, "a").add_to(&registry);
        registry.fault(move |request, right| {
            let asked = request.param("page").unwrap_or_default();
            let link = link.replace('N', &format!("1{asked}"));
            if request.path.contains("/referrers/") { right.header("Link", link) } else { right }
        });
        list_referrers(&registry, &[])
    };
    elsewhere("<?page=N>; rel=next").fails(6, "without a new referrer");
    elsewhere("<?page=2>; rel=next").fails(6, "already read");
    elsewhere("</x").fails(6, "cannot be read");
    elsewhere("<http://registry.invalid/x>; rel=next").fails(6, "incomplete");
}

#[test]
fn a_page_that_fails_after_the_first_is_an_error() {
    for (status, want) in [(404, 3), (500, 5), (403, 4)] {
        let (registry, image) = registry();
        registry.set(|settings| {
            settings.referrers = true;
            settings.referrers_a_page = Some(1);
        });
        ["a", "b"].iter().for_each(|note| Referrer::of(&image, SBOM, note).add_to(&registry));
        registry.fault(move |request, right| {
            if request.param("last").is_some() {
                Reply::error(status, "UNKNOWN", "no")
            } else {
                right
            }
        });
        let run = list_referrers(&registry, &[]);
        run.fails(want, "incomplete");
        assert_eq!(digests(&run).len(), 1);
    }
}

#[test]
fn the_artifact_type_is_filtered_by_the_registry_or_here() {
    for has_filter in [true, false] {
        let (registry, image) = registry();
        registry.set(|settings| settings.referrers = true);
        if !has_filter {
            // The registry ignores the filter and lists all referrers.
            registry.fault(|request, right| {
                if !request.path.contains("/referrers/") {
                    return right;
                }
                let body = list(&[
                    Referrer::of(&Image::small().manifest, SBOM, "a").listed(),
                    Referrer::of(&Image::small().manifest, SIGNATURE, "b").listed(),
                ]);
                right.without("OCI-Filters-Applied").body(body.bytes)
            });
        }
        let a = Referrer::of(&image, SBOM, "a");
        a.add_to(&registry);
        Referrer::of(&image, SIGNATURE, "b").add_to(&registry);
        let lines = list_referrers(&registry, &["--artifact-type", SBOM]);
        lines.ok();
        assert_eq!(digests(&lines), [a.manifest.digest], "{has_filter}");
        let asked = registry.server.requests();
        let asked = asked.iter().find(|request| request.path.contains("/referrers/")).unwrap();
        assert_eq!(asked.param("artifactType").as_deref(), Some(SBOM));
    }
}

#[test]
fn an_entry_without_artifact_type_gets_that_of_its_manifest() {
    for stated in [None, Some("application/vnd.oci.empty.v1+json")] {
        let (registry, image) = registry();
        let a = Referrer::of(&image, SBOM, "a");
        a.add_to(&registry);
        let mut entry = a.manifest.descriptor();
        if let Some(stated) = stated {
            entry["artifactType"] = json!(stated);
        }
        registry.add_manifest("app", &fallback(&image), &list(&[entry]));
        let lines = list_referrers(&registry, &["--artifact-type", SBOM]);
        lines.ok();
        let got: Value = serde_json::from_slice(&lines.stdout).unwrap();
        assert_eq!(got, a.listed());
        list_referrers(&registry, &["--artifact-type", SIGNATURE]).ok().stdout("");
    }
}

#[test]
fn without_the_api_the_fallback_tag_is_listed_whatever_the_answer() {
    let answers: [fn() -> Reply; 7] = [
        || Reply::new(404).body("404 page not found\n"),
        || Reply::error(404, "NAME_UNKNOWN", "unknown"),
        || Reply::error(400, "UNSUPPORTED", "no"),
        || Reply::new(405),
        || Reply::new(501),
        || Reply::new(200).header("Content-Type", "text/html").body("<html>log in</html>"),
        || Reply::new(200).header("Content-Type", "text/plain").body("hello"),
    ];
    for answer in answers {
        let (registry, image) = registry();
        let a = Referrer::of(&image, SBOM, "a");
        a.add_to(&registry);
        registry.add_manifest("app", &fallback(&image), &list(&[a.listed()]));
        registry.fault(
            move |request, right| {
                if request.path.contains("/referrers/") { answer() } else { right }
            },
        );
        let lines = list_referrers(&registry, &[]);
        // The status alone is checked, because a warning says that a web page is ignored.
        lines.status(0);
        assert_eq!(digests(&lines), [a.manifest.digest]);
    }
}

#[test]
fn a_refusal_or_a_failure_of_the_api_is_an_error() {
    for (status, want) in [(403, 4), (500, 5)] {
        let (registry, _) = registry();
        registry.fault(move |request, right| {
            let is_api = request.path.contains("/referrers/");
            if is_api { Reply::error(status, "UNKNOWN", "not now") } else { right }
        });
        list_referrers(&registry, &[]).fails(want, "not now").stdout("");
    }
}

#[test]
fn a_malformed_or_too_large_index_gives_status_6() {
    let image = Image::small().manifest;
    let entry = Referrer::of(&image, SBOM, "a").listed();
    let wrong_digest = entry.to_string().replace("sha256:", "sha256:x");
    let bodies = [
        ("[]".to_owned(), "not a JSON object"),
        (String::from_utf8(image.bytes).unwrap(), "declared as"),
        (r#"{"schemaVersion":2,"manifests":{}}"#.to_owned(), "manifests is an object"),
        (format!(r#"{{"schemaVersion":2,"manifests":[{wrong_digest}]}}"#), "digest"),
        (format!(r#"{{"schemaVersion":2,"x":"{}"}}"#, "y".repeat(4 << 20)), "larger than 4194304"),
    ];
    for (body, why) in bodies {
        let (registry, _) = registry();
        registry.fault(move |request, right| {
            let is_api = request.path.contains("/referrers/");
            let index = || Reply::new(200).header("Content-Type", types::INDEX);
            if is_api { index().body(body.as_bytes()) } else { right }
        });
        list_referrers(&registry, &[]).fails(6, why).stdout("");
    }
}

#[test]
fn one_digest_many_times_is_printed_once() {
    let (registry, image) = registry();
    let a = Referrer::of(&image, SBOM, "a");
    let entries = vec![a.listed(); 5000];
    registry.add_manifest("app", &fallback(&image), &list(&entries));
    assert_eq!(list_referrers(&registry, &[]).ok().lines().len(), 1);
}

#[test]
fn a_fallback_tag_that_is_no_list_is_ignored_with_a_warning() {
    let (registry, image) = registry();
    let platforms = index(types::INDEX, &[(&image, "linux/amd64")]);
    for other in [&image, &platforms] {
        registry.add_manifest("app", &fallback(&image), other);
        let run = list_referrers(&registry, &[]);
        run.status(0).stdout("").says("ignored");
    }
}

/// An image with an SBOM that has a signature.
fn signed() -> (FakeRegistry, [Referrer; 2]) {
    let (registry, image) = registry();
    let sbom = Referrer::of(&image, SBOM, "sbom");
    let signature = Referrer::of(&sbom.manifest, SIGNATURE, "signature");
    [&sbom, &signature].iter().for_each(|referrer| referrer.add_to(&registry));
    for (subject, referrer) in [(&image, &sbom), (&sbom.manifest, &signature)] {
        registry.add_manifest("app", &fallback(subject), &list(&[referrer.listed()]));
    }
    (registry, [sbom, signature])
}

#[test]
fn recursive_prints_each_manifest_after_its_blobs_and_the_image_first() {
    let (registry, [sbom, signature]) = signed();
    let image = Image::small();
    let printed = digests(list_referrers(&registry, &["--recursive"]).ok());
    let mut want: Vec<String> = image.blobs().map(|blob| blob.digest.clone()).collect();
    want.push(image.manifest.digest.clone());
    want.extend([&sbom.config, &sbom.layer, &sbom.manifest].map(|blob| blob.digest.clone()));
    want.extend([&signature.layer, &signature.manifest].map(|blob| blob.digest.clone()));
    assert_eq!(printed, want);
}

#[test]
fn recursive_follows_the_manifests_of_an_index_too() {
    let registry = FakeRegistry::start();
    let image = Image::small();
    registry.add_image("app", "", &image);
    let top = index(types::INDEX, &[(&image.manifest, "linux/amd64")]);
    registry.add_manifest("app", "1", &top);
    let a = Referrer::of(&image.manifest, SBOM, "a");
    let b = Referrer::of(&top, SIGNATURE, "b");
    [&a, &b].iter().for_each(|referrer| referrer.add_to(&registry));
    registry.set(|settings| settings.referrers = true);
    let printed = digests(list_referrers(&registry, &["--recursive"]).ok());
    for digest in [&a.manifest.digest, &b.manifest.digest, &top.digest] {
        assert_eq!(printed.iter().filter(|printed| *printed == digest).count(), 1, "{printed:?}");
    }
    // The artifact type applies to the referrers of the image, not to the referrers of these
    // referrers.
    let printed = list_referrers(&registry, &["--recursive", "--artifact-type", SBOM]);
    printed.ok();
    let printed = digests(&printed);
    assert!(printed.contains(&a.manifest.digest) && !printed.contains(&b.manifest.digest));
}

#[test]
fn recursive_skips_referrers_that_are_missing_or_of_another_subject() {
    let (registry, image) = registry();
    let missing = Referrer::of(&image, SBOM, "missing");
    let other = Referrer::of(&Image::big(10, 3).manifest, SBOM, "other");
    other.add_to(&registry);
    // The image itself is listed as its own referrer.
    let mut own = image.descriptor();
    own["artifactType"] = json!(SBOM);
    let entries = [missing.listed(), other.listed(), own];
    registry.add_manifest("app", &fallback(&image), &list(&entries));
    let run = list_referrers(&registry, &["--recursive"]);
    run.status(0).says("does not exist: skipped").says("another subject: skipped");
    let printed = digests(&run);
    assert_eq!(printed.len(), Image::small().blobs().count() + 1, "{printed:?}");
}

#[test]
fn recursive_refuses_a_referrer_with_wrong_bytes_or_size() {
    for by_size in [false, true] {
        let (registry, image) = registry();
        let a = Referrer::of(&image, SBOM, "a");
        a.add_to(&registry);
        let mut entry = a.listed();
        if by_size {
            entry["size"] = json!(1);
        } else {
            let digest = a.manifest.digest.clone();
            registry.fault(
                move |request, right| {
                    if request.path.ends_with(&digest) { right.corrupted() } else { right }
                },
            );
        }
        registry.add_manifest("app", &fallback(&image), &list(&[entry]));
        list_referrers(&registry, &["--recursive"]).fails(1, "differs");
    }
}

#[test]
fn recursive_without_the_image_prints_its_referrers() {
    let registry = FakeRegistry::start();
    let image = Image::small().manifest;
    let a = Referrer::of(&image, SBOM, "a");
    a.add_to(&registry);
    registry.set(|settings| settings.referrers = true);
    let reference = format!("{}@{}", registry.repo("app"), image.digest);
    let run = tool("list-referrers").args(["--recursive", &reference]).run();
    run.status(0).says("only its referrers are printed");
    assert_eq!(digests(&run).len(), 3);
}

#[test]
fn a_copy_in_one_line_has_the_image_and_all_its_referrers() {
    let (source, [sbom, signature]) = signed();
    for has_api in [false, true] {
        let target = FakeRegistry::start();
        target.set(|settings| settings.referrers = has_api);
        let dir = Scratch::new();
        for b in [target.repo("app"), "oci:copy".to_owned()] {
            let run = shell(
                "list-referrers --recursive \"$A\" |
                    push-blob \"$B\" --from \"${A%:*}\" >/dev/null &&
                fetch-manifest \"$A\" | put-manifest \"$B:1\" >/dev/null &&
                list-referrers \"$B:1\" && list-referrers \"$B@$SBOM\"",
            )
            .env("A", source.repo("app:1"))
            .env("B", &b)
            .env("SBOM", &sbom.manifest.digest)
            .dir(dir.path())
            .run();
            let want = [&sbom, &signature].map(|one| one.manifest.digest.clone());
            assert_eq!(digests(run.ok()), want, "{b}");
        }
    }
}

/// A run was stopped after it stored the manifest, and before it changed the list. The next run
/// completes this.
#[test]
fn a_referrer_that_is_there_but_not_listed_is_listed_by_a_copy() {
    let (source, [sbom, _]) = signed();
    let target = FakeRegistry::with_image();
    sbom.add_to(&target);
    shell("list-referrers --recursive \"$A:1\" | push-blob \"$B\" --from \"$A\"")
        .env("A", source.repo("app"))
        .env("B", target.repo("app"))
        .run()
        .ok();
    let lines = list_referrers(&target, &[]);
    lines.ok();
    assert_eq!(digests(&lines), [sbom.manifest.digest]);
}

#[test]
fn a_wrong_command_line_is_refused() {
    for args in [&["--artifact-type", "", "app"][..], &["--artifact-type", "a b", "app"], &[]] {
        tool("list-referrers").args(args).run().status(2);
    }
}

mod at_length {
    use super::*;

    /// The registry lists new referrers on one page after the other, without an end.
    #[test]
    fn more_than_200000_referrers_are_refused() {
        let (registry, _) = registry();
        registry.set(|settings| settings.referrers = true);
        registry.fault(|request, right| {
            if !request.path.contains("/referrers/") {
                return right;
            }
            let page: u64 = request.param("last").and_then(|last| last.parse().ok()).unwrap_or(0);
            let entries: Vec<Value> = (0..15_000)
                .map(|n| {
                    let digest = format!("sha256:{:064x}", page * 15_000 + n);
                    json!({"mediaType": types::MANIFEST, "digest": digest, "size": 1,
                        "artifactType": SBOM})
                })
                .collect();
            let body = list(&entries).bytes;
            let link = format!("<?last={}>; rel=next", page + 1);
            right.header("Link", link).body(body)
        });
        let run = list_referrers(&registry, &[]);
        run.fails(6, "more than 200000 referrers");
        let lines = run.stdout.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines, 200_000);
    }
}
