// SPDX-License-Identifier: Apache-2.0
//! delete-manifest: tags, manifests and lines, in registries and layouts.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::fake::{End, Intake, Reply, first};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, read_blob, read_index, types, write_image, write_layout};
use tests::referrers::{Referrer, SBOM, digests, fallback, list};
use tests::scratch::Scratch;
use tests::tools::{Run, shell, tool};

/// A registry with an image as `app:1` and `app:2`, and its manifest.
fn registry() -> (FakeRegistry, Blob) {
    let registry = FakeRegistry::with_image();
    let image = Image::small();
    registry.add_image("app", "2", &image);
    (registry, image.manifest)
}

/// Runs delete-manifest on `app` followed by `name`, for example `:1`.
fn delete(registry: &FakeRegistry, name: &str, args: &[&str]) -> Run {
    let command = tool("delete-manifest").args(["--max-wait", "0"]).args(args);
    command.arg(format!("{}{name}", registry.repo("app"))).run()
}

fn tags(registry: &FakeRegistry) -> Vec<String> {
    registry.tags("app").into_iter().map(|(tag, _)| tag).collect()
}

/// The requests that delete something.
fn deletes(registry: &FakeRegistry) -> Vec<String> {
    let requests = registry.server.requests().into_iter();
    requests.filter(|request| request.method == "DELETE").map(|request| request.path).collect()
}

#[test]
fn a_tag_removes_that_name_alone() {
    let (registry, image) = registry();
    delete(&registry, ":1", &[]).ok().stdout("");
    assert_eq!(tags(&registry), ["2"]);
    assert!(registry.manifest("app", &image.digest).is_some());
    assert_eq!(deletes(&registry), ["/v2/app/manifests/1"]);
}

#[test]
fn a_digest_removes_the_manifest_and_all_its_tags() {
    let (registry, image) = registry();
    registry.add_image("app", "other", &Image::big(10, 1));
    delete(&registry, &format!("@{}", image.digest), &[]).ok().stdout("");
    assert_eq!(tags(&registry), ["other"]);
    assert!(registry.manifest("app", &image.digest).is_none());
}

#[test]
fn a_missing_tag_or_manifest_gives_status_3_or_is_ignored() {
    let (registry, _) = registry();
    for name in [":3".to_owned(), format!("@sha256:{}", "0".repeat(64))] {
        delete(&registry, &name, &[]).fails(3, "404");
        delete(&registry, &name, &["--ignore-missing"]).ok();
    }
    let line = Image::big(10, 9).manifest.line();
    let command = || tool("delete-manifest").arg(registry.repo("app")).stdin(line.clone());
    command().run().fails(3, "404");
    command().arg("--ignore-missing").run().ok();
}

#[test]
fn a_tag_and_a_digest_together_are_refused() {
    let (registry, image) = registry();
    delete(&registry, &format!(":1@{}", image.digest), &[]).fails(2, "both a tag and a digest");
    assert_eq!(registry.steps(), Vec::<String>::new());
}

#[test]
fn without_a_name_nothing_is_assumed() {
    let (registry, image) = registry();
    registry.add_manifest("app", "latest", &image);
    delete(&registry, "", &[]).fails(6, "no input");
    assert_eq!(tags(&registry).len(), 3);
}

#[test]
fn lines_remove_many_manifests_each_once() {
    let (registry, image) = registry();
    let other = Image::big(10, 1);
    registry.add_image("app", "other", &other);
    registry.add_image("app", "kept", &Image::big(10, 2));
    let lines = format!("{}{}{}", image.line(), other.manifest.line(), image.line());
    tool("delete-manifest").arg(registry.repo("app")).stdin(lines).run().ok().stdout("");
    assert_eq!(tags(&registry), ["kept"]);
    assert_eq!(deletes(&registry).len(), 2);
}

#[test]
fn the_line_of_a_blob_is_refused() {
    let (registry, _) = registry();
    let config = Image::small().config;
    let run = tool("delete-manifest").arg(registry.repo("app")).stdin(config.line()).run();
    run.fails(6, "not a manifest").says("blobs are not deleted");
    assert_eq!(registry.steps(), Vec::<String>::new());
}

#[test]
fn after_the_first_line_that_fails_nothing_more_is_removed() {
    let (registry, image) = registry();
    let missing = Image::big(10, 9).manifest;
    let lines = format!("{}{}", missing.line(), image.line());
    tool("delete-manifest").arg(registry.repo("app")).stdin(lines).run().fails(3, "404");
    assert!(registry.manifest("app", &image.digest).is_some());
}

/// The responses of registries that cannot delete a tag alone. The tag is never deleted by digest.
#[test]
fn a_registry_that_cannot_untag_deletes_nothing_and_says_so() {
    type Answer = fn() -> Reply;
    let answers: [(Answer, &str); 6] = [
        (|| Reply::error(400, "DIGEST_INVALID", "no"), "cannot remove a tag alone"),
        (|| Reply::error(400, "UNSUPPORTED", "no"), "cannot remove a tag alone"),
        (|| Reply::error(404, "MANIFEST_UNKNOWN", "no"), "cannot remove a tag alone"),
        (|| Reply::error(405, "UNSUPPORTED", "no"), "cannot remove a tag alone"),
        (|| Reply::new(501), "cannot remove a tag alone"),
        (|| Reply::ok("<html>"), "but did not delete it"),
    ];
    for (answer, why) in answers {
        let (registry, _) = registry();
        registry.intake(move |request| match request.method.as_str() {
            "DELETE" => Intake::instead(answer()),
            _ => Intake::whole(),
        });
        for options in [&[][..], &["--ignore-missing"]] {
            delete(&registry, ":1", options).fails(6, why).says("hint: ");
        }
        // A tag that does not exist is still ignored.
        delete(&registry, ":3", &["--ignore-missing"]).ok();
        assert!(deletes(&registry).iter().all(|path| !path.contains("sha256")));
    }
}

#[test]
fn deletes_that_are_switched_off_are_reported() {
    let (registry, image) = registry();
    registry.intake(|request| match request.method.as_str() {
        "DELETE" => Intake::instead(Reply::error(405, "UNSUPPORTED", "unsupported")),
        _ => Intake::whole(),
    });
    let run = delete(&registry, &format!("@{}", image.digest), &[]);
    run.fails(6, "deletes switched off: 405 UNSUPPORTED").says("storage.delete.enabled");
    delete(&registry, ":1", &[]).fails(6, "deletes are switched off, or");
}

#[test]
fn a_refusal_gives_status_4_and_other_answers_are_shown() {
    let answers = [
        (403, "DENIED", 4, "403 DENIED"),
        (500, "UNKNOWN", 5, "500"),
        (429, "TOOMANYREQUESTS", 5, "429"),
        (400, "GOOGLE_MANIFEST_DANGLING_TAG", 6, "remove its tags first"),
        (409, "CONFLICT", 6, "409 CONFLICT"),
    ];
    for (status, code, want, words) in answers {
        let (registry, image) = registry();
        registry.intake(move |request| match request.method.as_str() {
            "DELETE" => Intake::instead(Reply::error(status, code, "no")),
            _ => Intake::whole(),
        });
        delete(&registry, &format!("@{}", image.digest), &[]).fails(want, words);
    }
}

#[test]
fn a_lost_response_is_not_mistaken_for_a_missing_tag() {
    let (registry, image) = registry();
    for name in [":1".to_owned(), format!("@{}", image.digest)] {
        let lost = first(1, |request: &tests::fake::Request| request.method == "DELETE");
        registry.fault(
            move |request, right| if lost(request) { right.cut(0, End::Reset) } else { right },
        );
        let command = tool("delete-manifest").args(["--max-wait", "1"]);
        command.arg(format!("{}{name}", registry.repo("app"))).run().ok();
    }
    assert_eq!(tags(&registry), Vec::<String>::new());
}

#[test]
fn a_manifest_that_is_not_valid_can_be_removed() {
    let registry = FakeRegistry::start();
    let text = Blob::new(types::MANIFEST, "not JSON");
    registry.add_manifest("app", "1", &text);
    delete(&registry, &format!("@{}", text.digest), &[]).ok();
    assert_eq!(tags(&registry), Vec::<String>::new());
}

/// An image with two referrers, listed under the fallback tag.
fn with_referrers() -> (FakeRegistry, Blob, [Referrer; 2]) {
    let (registry, image) = registry();
    let referrers = ["a", "b"].map(|note| Referrer::of(&image, SBOM, note));
    referrers.iter().for_each(|referrer| referrer.add_to(&registry));
    let list = list(&[referrers[0].listed(), referrers[1].listed()]);
    registry.add_manifest("app", &fallback(&image), &list);
    (registry, image, referrers)
}

/// The entries under the fallback tag; `None` if there is no such tag.
fn listed(registry: &FakeRegistry, image: &Blob) -> Option<Vec<Value>> {
    let list = registry.manifest("app", &fallback(image))?;
    let list: Value = serde_json::from_slice(&list.bytes).unwrap();
    Some(list["manifests"].as_array().unwrap().clone())
}

#[test]
fn the_list_of_the_subjects_referrers_is_kept_in_step() {
    let (registry, image, [a, b]) = with_referrers();
    delete(&registry, &format!("@{}", a.manifest.digest), &[]).ok();
    assert_eq!(listed(&registry, &image), Some(vec![b.listed()]));
    assert!(registry.manifest("app", &a.manifest.digest).is_none());
    // The list is removed together with its last referrer.
    delete(&registry, &format!("@{}", b.manifest.digest), &[]).ok();
    assert_eq!(listed(&registry, &image), None);
    assert_eq!(tags(&registry), ["1", "2"]);
}

#[test]
fn a_list_that_cannot_be_deleted_becomes_empty() {
    let (registry, image, [a, b]) = with_referrers();
    let list = registry.manifest("app", &fallback(&image)).unwrap();
    registry.add_manifest("app", &fallback(&image), &list);
    let kept = [&a, &b].map(|one| one.manifest.digest.clone());
    registry.intake(move |request| {
        let is_list = request.method == "DELETE" && !kept.iter().any(|d| request.path.ends_with(d));
        if is_list { Intake::instead(Reply::error(403, "DENIED", "no")) } else { Intake::whole() }
    });
    for one in [&a, &b] {
        delete(&registry, &format!("@{}", one.manifest.digest), &[]).ok();
    }
    assert_eq!(listed(&registry, &image), Some(Vec::new()));
}

#[test]
fn a_referrer_that_cannot_be_deleted_stays_listed() {
    for status in [403, 405] {
        let (registry, image, [a, b]) = with_referrers();
        registry.intake(move |request| match request.method.as_str() {
            "DELETE" => Intake::instead(Reply::error(status, "DENIED", "no")),
            _ => Intake::whole(),
        });
        delete(&registry, &format!("@{}", a.manifest.digest), &[]).status(if status == 403 {
            4
        } else {
            6
        });
        let mut entries = listed(&registry, &image).unwrap();
        entries.sort_by_key(|entry| entry["annotations"].to_string());
        assert_eq!(entries, [a.listed(), b.listed()]);
    }
}

#[test]
fn a_fallback_tag_that_is_no_list_does_not_prevent_the_removal() {
    let (registry, image) = registry();
    let a = Referrer::of(&image, SBOM, "a");
    a.add_to(&registry);
    registry.add_manifest("app", &fallback(&image), &image);
    delete(&registry, &format!("@{}", a.manifest.digest), &[]).ok();
    assert!(registry.manifest("app", &a.manifest.digest).is_none());
    assert_eq!(tags(&registry).len(), 3);

    let dir = Scratch::new();
    for (tag, one) in [("a", &a.manifest), (&fallback(&image), &image)] {
        write_layout(&dir.join("x"), tag, one, []);
    }
    delete_from(&dir, &[&format!("oci:x@{}", a.manifest.digest)]).ok();
    assert_eq!(names(&dir), [fallback(&image)]);
}

#[test]
fn all_referrers_are_removed_in_a_pipe() {
    let (registry, image, _) = with_referrers();
    let run = shell("list-referrers \"$A:1\" | delete-manifest \"$A\"");
    run.env("A", registry.repo("app")).run().ok();
    assert_eq!(listed(&registry, &image), None);
    assert!(registry.manifest("app", &image.digest).is_some());
}

#[test]
fn the_token_is_for_deleting() {
    let registry = FakeRegistry::with_tokens();
    registry.add_image("app", "1", &Image::small());
    delete(&registry, ":1", &[]).ok();
    let requests = registry.server.requests();
    let asked = requests.iter().filter_map(|request| request.param("scope"));
    assert_eq!(asked.collect::<Vec<_>>(), ["repository:app:pull,delete"]);
    // A token server that does not know the action `delete` leaves it out of the token. The error
    // then shows the registry's refusal.
    registry.grant(|scope| !scope.contains("delete"));
    registry.add_image("app", "1", &Image::small());
    delete(&registry, ":1", &[]).fails(4, "401");
}

/// A layout `x` with an image as `1` and `2` and another one as `3`.
fn layout() -> (Scratch, Blob) {
    let dir = Scratch::new();
    let image = Image::small();
    write_image(&dir.join("x"), "1", &image);
    write_image(&dir.join("x"), "2", &image);
    write_image(&dir.join("x"), "3", &Image::big(10, 1));
    (dir, image.manifest)
}

fn names(dir: &Scratch) -> Vec<String> {
    let index = read_index(&dir.join("x"));
    let name = |entry: &Value| {
        entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap_or("-").to_owned()
    };
    index["manifests"].as_array().unwrap().iter().map(name).collect()
}

fn delete_from(dir: &Scratch, args: &[&str]) -> Run {
    tool("delete-manifest").args(args).dir(dir.path()).run()
}

#[test]
fn in_a_layout_a_tag_removes_its_entry_and_a_digest_all_entries() {
    let (dir, image) = layout();
    delete_from(&dir, &["oci:x:1"]).ok().stdout("");
    assert_eq!(names(&dir), ["2", "3"]);
    write_image(&dir.join("x"), "4", &Image::small());
    delete_from(&dir, &[&format!("oci:x@{}", image.digest)]).ok().stdout("");
    assert_eq!(names(&dir), ["3"]);
    // The blobs stay until sweep-layout removes them.
    assert!(read_blob(&dir.join("x"), &image.digest).is_some());
    let run = tool("sweep-layout").args(["--keep-newer", "0s", "x"]).dir(dir.path()).run();
    run.status(0);
    assert!(read_blob(&dir.join("x"), &image.digest).is_none());
}

#[test]
fn in_a_layout_what_is_missing_gives_status_3_or_is_ignored() {
    let (dir, _) = layout();
    let before = read_index(&dir.join("x"));
    let absent = format!("oci:x@sha256:{}", "0".repeat(64));
    for name in [&absent, "oci:x:4", "oci:y:1"] {
        delete_from(&dir, &[name]).status(3).stdout("");
        delete_from(&dir, &["--ignore-missing", name]).ok();
    }
    assert_eq!(read_index(&dir.join("x")), before);
}

#[test]
fn the_name_of_containerd_is_removed_too() {
    let (dir, _) = layout();
    let path = dir.join("x/index.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("org.opencontainers.image.ref.name", "io.containerd.image.name");
    std::fs::write(&path, text).unwrap();
    delete_from(&dir, &["oci:x:3"]).ok();
    assert_eq!(read_index(&dir.join("x"))["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn a_name_that_waits_for_its_blobs_is_dropped() {
    for by_digest in [false, true] {
        let registry = FakeRegistry::with_image();
        let image = registry.manifest("app", "1").unwrap();
        let dir = Scratch::new();
        let fetch = tool("fetch-manifest").args([&registry.repo("app:1"), "--into", "oci:x:new"]);
        let manifest = fetch.dir(dir.path()).run();
        let name =
            if by_digest { format!("oci:x@{}", image.digest) } else { "oci:x:new".to_owned() };
        delete_from(&dir, &[&name]).ok();
        shell("list-blobs | fetch-blob \"$A\" --into oci:x >/dev/null")
            .env("A", registry.repo("app"))
            .stdin(manifest.stdout.clone())
            .dir(dir.path())
            .run()
            .ok();
        assert_eq!(names(&dir), Vec::<String>::new());
        delete_from(&dir, &[&name]).status(3);
    }
}

#[test]
fn in_a_layout_the_list_of_referrers_is_kept_in_step() {
    let registry = FakeRegistry::with_image();
    let image = registry.manifest("app", "1").unwrap();
    registry.set(|settings| settings.referrers = true);
    let referrers = ["a", "b"].map(|note| Referrer::of(&image, SBOM, note));
    referrers.iter().for_each(|referrer| referrer.add_to(&registry));
    let dir = Scratch::new();
    let copy = "list-referrers --recursive \"$A:1\" | push-blob oci:x --from \"$A\" >/dev/null";
    shell(copy).env("A", registry.repo("app")).dir(dir.path()).run().ok();
    let subject = format!("oci:x@{}", image.digest);
    let list = || tool("list-referrers").arg(&subject).dir(dir.path()).run();
    let before = digests(&list());
    assert_eq!(before.len(), 2);
    delete_from(&dir, &[&format!("oci:x@{}", before[0])]).ok();
    assert_eq!(digests(&list()), before[1..]);
    delete_from(&dir, &[&format!("oci:x@{}", before[0])]).status(3);
    shell("list-referrers \"$SUBJECT\" | delete-manifest oci:x")
        .env("SUBJECT", &subject)
        .dir(dir.path())
        .run()
        .ok();
    list().ok().stdout("");
    // The empty list stays. It tells sweep-layout that the referrers were removed, so sweep-layout
    // removes their manifests.
    assert_eq!(names(&dir), [fallback(&image)]);
    shell("fetch-manifest \"$A\" | put-manifest oci:x:1")
        .env("A", registry.repo("app:1"))
        .dir(dir.path())
        .run()
        .ok();
    tool("sweep-layout").args(["--keep-newer", "0s", "x"]).dir(dir.path()).run().status(0);
    assert!(read_blob(&dir.join("x"), &image.digest).is_some());
    assert!(before.iter().all(|digest| read_blob(&dir.join("x"), digest).is_none()));
}

#[test]
fn other_fields_and_entries_of_index_json_stay() {
    let (dir, _) = layout();
    let path = dir.join("x/index.json");
    let mut index = read_index(&dir.join("x"));
    index["annotations"] = json!({"a": "b"});
    index["manifests"][1]["platform"] = json!({"os": "linux", "architecture": "arm"});
    std::fs::write(&path, index.to_string()).unwrap();
    delete_from(&dir, &["oci:x:1"]).ok();
    let mut want = index.clone();
    want["manifests"].as_array_mut().unwrap().remove(0);
    assert_eq!(read_index(&dir.join("x")), want);
}

/// The lines are read to their end all the same: a wrong one is reported.
#[test]
fn with_lines_too_a_missing_layout_gives_status_3_or_is_ignored() {
    let dir = Scratch::new();
    let image = Image::small();
    let delete = |lines: String, args: &[&str]| {
        tool("delete-manifest").arg("oci:x").args(args).dir(dir.path()).stdin(lines).run()
    };
    delete(image.manifest.line(), &[]).fails(3, "oci:x");
    delete(image.manifest.line(), &["--ignore-missing"]).ok();
    let wrong = image.manifest.line() + &image.config.line();
    delete(wrong, &["--ignore-missing"]).fails(6, "not a manifest");
    delete(String::new(), &["--ignore-missing"]).fails(6, "no input");
    assert_eq!(dir.list(), Vec::<String>::new());
}
