// SPDX-License-Identifier: Apache-2.0
//! sweep-layout: removed and kept files, by entries, referrers and age. Nothing is removed from
//! damaged and hostile layouts.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tests::images::{Blob, Image, index, read_blob, read_index, types, write_image, write_layout};
use tests::schema1::{document, id};
use tests::scratch::Scratch;
use tests::tools::{Command, Run, shell, tool};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// The output of a sweep that removes nothing.
const NOTHING: &str = "blobs 0 0\npartial-files 0 0\nsources 0\n";

/// Makes a file as old as this many seconds.
fn make_old(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    fs::File::open(path).unwrap().set_modified(then).unwrap();
}

/// The layout `l` in a directory.
struct Place {
    dir: Scratch,
}

impl Place {
    /// A layout with these images. Their tags are their numbers, and all files are two hours old.
    fn of(images: &[&Image]) -> Place {
        let place = Place { dir: Scratch::new() };
        for (i, image) in images.iter().enumerate() {
            write_image(&place.dir.join("l"), &i.to_string(), image);
        }
        place.all_old();
        place
    }

    fn layout(&self) -> PathBuf {
        self.dir.join("l")
    }

    fn path(&self, blob: &Blob) -> PathBuf {
        self.layout().join("blobs").join(blob.digest.replace(':', "/"))
    }

    fn partial(&self, blob: &Blob) -> PathBuf {
        self.layout().join("ingest").join(blob.digest.replace(':', "-"))
    }

    fn has(&self, blob: &Blob) -> bool {
        self.path(blob).is_file()
    }

    /// Stores blobs without an entry, two hours old.
    fn add(&self, blobs: &[&Blob]) {
        for blob in blobs {
            fs::create_dir_all(self.path(blob).parent().unwrap()).unwrap();
            fs::write(self.path(blob), &blob.bytes).unwrap();
            make_old(&self.path(blob), 2 * HOUR);
        }
    }

    /// Stores a partial file, two hours old.
    fn add_partial(&self, path: &Path, bytes: &[u8]) {
        fs::create_dir_all(self.layout().join("ingest")).unwrap();
        fs::write(path, bytes).unwrap();
        make_old(path, 2 * HOUR);
    }

    fn all_old(&self) {
        for name in self.dir.list().iter().filter(|name| !name.ends_with('/')) {
            make_old(&self.dir.join(name), 2 * HOUR);
        }
    }

    fn sweep(&self, args: &[&str]) -> Run {
        self.command(args).run()
    }

    fn command(&self, args: &[&str]) -> Command {
        tool("sweep-layout").arg("l").args(args).dir(self.dir.path())
    }

    /// Checks that every image with these tags is complete.
    fn is_whole(&self, tags: &[&str]) {
        let script = "for tag in $tags; do fetch-manifest oci:l:$tag >m &&
            list-blobs --recursive --from oci:l m | verify-digest --from oci:l >/dev/null || exit
            done";
        shell(script).env("tags", tags.join(" ")).dir(self.dir.path()).run().ok();
    }

    /// Checks that this sweep fails and removes nothing.
    #[track_caller]
    fn refuses(&self, args: &[&str], status: i32, words: &str) {
        let before = self.dir.list();
        self.sweep(args).fails(status, words).stdout("");
        assert_eq!(self.dir.list(), before);
    }
}

fn other(text: &str) -> Blob {
    Blob::new(types::TAR_GZIP, text)
}

/// A manifest with a subject.
fn referrer(subject: &Blob, layer: &Blob) -> Blob {
    let empty = Blob::new("application/vnd.oci.empty.v1+json", "{}");
    Blob::json(
        types::MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": types::MANIFEST,
            "artifactType": "a/b",
            "config": empty.descriptor(),
            "layers": [layer.descriptor()],
            "subject": subject.descriptor(),
        }),
    )
}

// Blobs that stay, and blobs that are removed.

#[test]
fn blobs_that_no_entry_reaches_are_removed_and_counted() {
    let (kept, gone) = (Image::small(), Image::big(1000, 7));
    let place = Place::of(&[&kept]);
    let sha512 = Blob { digest: tests::images::sha512(b"x"), ..other("x") };
    place.add(&[&gone.config, &gone.layers[0], &gone.manifest, &sha512]);
    let all = [&gone.config, &gone.layers[0], &gone.manifest, &sha512];
    let bytes: usize = all.iter().map(|blob| blob.bytes.len()).sum();
    place.sweep(&[]).ok().stdout(format!("blobs 4 {bytes}\npartial-files 0 0\nsources 0\n"));
    assert!(!all.iter().any(|blob| place.has(blob)));
    place.is_whole(&["0"]);
    place.sweep(&[]).ok().stdout(NOTHING);
}

#[test]
fn everything_below_an_index_stays_and_a_directory_may_be_named_as_elsewhere() {
    let (amd64, arm64) =
        (Image::for_platform("linux", "amd64"), Image::for_platform("linux", "arm64"));
    let inner = index(types::INDEX, &[(&arm64.manifest, "linux/arm64")]);
    let outer = index(types::INDEX, &[(&amd64.manifest, "linux/amd64"), (&inner, "")]);
    let place = Place::of(&[]);
    let below = [&amd64.manifest, &arm64.manifest, &inner];
    let blobs = amd64.blobs().chain(arm64.blobs()).chain(below);
    write_layout(&place.layout(), "all", &outer, blobs);
    place.all_old();
    for name in ["l", "oci:l", "./l/"] {
        place.add(&[&other("x")]);
        let run = tool("sweep-layout").arg(name).dir(place.dir.path()).run();
        run.ok().stdout("blobs 1 1\npartial-files 0 0\nsources 0\n");
    }
    place.is_whole(&["all"]);
}

#[test]
fn an_entry_that_is_no_manifest_keeps_its_blob() {
    let place = Place::of(&[]);
    let blob = other("an artifact without a manifest");
    write_layout(&place.layout(), "x", &blob, []);
    place.all_old();
    place.sweep(&[]).ok().stdout(NOTHING);
}

#[test]
fn the_layers_of_a_docker_schema_1_image_stay() {
    let image = Image::small();
    let [base, top] = &image.layers[..] else { unreachable!() };
    let entries = [json!({"id": id('b'), "parent": id('a')}), json!({"id": id('a')})];
    let text = document(&[&top.digest, &base.digest], &entries.map(|entry| entry.to_string()));
    let manifest = Blob::json("application/vnd.docker.distribution.manifest.v1+json", &text);
    let place = Place::of(&[]);
    write_layout(&place.layout(), "old", &manifest, [base, top, &other("x")]);
    place.all_old();
    place.sweep(&[]).ok().stdout("blobs 1 1\npartial-files 0 0\nsources 0\n");
    assert!(place.has(base) && place.has(top) && place.has(&manifest));
}

/// A registry requires also the blobs that are not layers of the image: those of throwaway entries
/// and of repeated ones. list-blobs --recursive copies them into the layout.
#[test]
fn all_blobs_of_a_docker_schema_1_manifest_stay() {
    let image = Image::small();
    let [base, top] = &image.layers[..] else { unreachable!() };
    let (repeated, throwaway) = (other("repeated"), other("throwaway"));
    let entries = [
        json!({"id": id('c'), "parent": id('b')}),
        json!({"id": id('b'), "parent": id('a'), "throwaway": true}),
        json!({"id": id('a')}),
        json!({"id": id('a')}),
    ];
    let blobs = [&top.digest, &throwaway.digest, &repeated.digest, &base.digest];
    let text = document(&blobs.map(String::as_str), &entries.map(|entry| entry.to_string()));
    let manifest = Blob::json("application/vnd.docker.distribution.manifest.v1+json", &text);
    let place = Place::of(&[]);
    write_layout(&place.layout(), "old", &manifest, [base, top, &repeated, &throwaway]);
    place.all_old();
    place.sweep(&[]).ok().stdout(NOTHING);
}

#[test]
fn referrers_of_what_stays_stay_without_an_entry() {
    let (image, gone) = (Image::small(), Image::big(10, 1).manifest);
    let place = Place::of(&[&image]);
    let (sbom, signature) = (other("sbom"), other("signature"));
    let of_image = referrer(&image.manifest, &sbom);
    let of_sbom = referrer(&of_image, &signature);
    let of_gone = referrer(&gone, &other("lost"));
    place.add(&[&sbom, &signature, &of_image, &of_sbom, &of_gone, &other("lost")]);
    place.sweep(&[]).ok();
    assert!([&sbom, &signature, &of_image, &of_sbom].into_iter().all(|blob| place.has(blob)));
    assert!(!place.has(&of_gone) && !place.has(&other("lost")));
}

#[test]
fn a_blob_that_is_also_a_manifest_keeps_what_it_names() {
    let image = Image::small();
    let mut entry = image.manifest.descriptor();
    entry["mediaType"] = json!("application/octet-stream");
    let holder =
        json!({"schemaVersion": 2, "mediaType": types::MANIFEST, "config": entry, "layers": []});
    let holder = Blob::json(types::MANIFEST, &holder);
    let place = Place::of(&[]);
    write_layout(&place.layout(), "holder", &holder, image.blobs());
    write_layout(&place.layout(), "image", &image.manifest, []);
    place.all_old();
    place.sweep(&[]).ok().stdout(NOTHING);
}

// Age.

#[test]
fn only_blobs_that_are_old_enough_are_removed() {
    let (young, old) = (other("young"), other("old"));
    for (args, removes_young, removes_old) in [
        (&[][..], false, true),
        (&["--keep-newer", "1h"], false, true),
        (&["--keep-newer", "20m"], true, true),
        (&["--keep-newer", "3600s"], false, true),
        (&["--keep-newer", "1d"], false, false),
        (&["--keep-newer", "0"], true, true),
    ] {
        let place = Place::of(&[]);
        write_image(&place.layout(), "1", &Image::small());
        place.add(&[&young, &old]);
        make_old(&place.path(&young), 30 * MINUTE);
        place.sweep(args).ok();
        let removed = (!place.has(&young), !place.has(&old));
        assert_eq!(removed, (removes_young, removes_old), "{args:?}");
    }
}

#[test]
fn a_time_in_the_future_is_new_unless_nothing_is() {
    let place = Place::of(&[&Image::small()]);
    let blob = other("x");
    place.add(&[&blob]);
    let later = SystemTime::now() + Duration::from_secs(10 * HOUR);
    fs::File::open(place.path(&blob)).unwrap().set_modified(later).unwrap();
    place.sweep(&[]).ok().stdout(NOTHING);
    place.sweep(&["--keep-newer", "0s"]).ok();
    assert!(!place.has(&blob));
}

#[test]
fn a_manifest_without_an_entry_stays_with_its_blobs_while_one_of_them_is_new() {
    let image = Image::small();
    let [base, top] = &image.layers[..] else { unreachable!() };
    type Renew = fn(&Place, &Image);
    let renewed: [(&str, Renew); 3] = [
        ("manifest", |place, image| make_old(&place.path(&image.manifest), MINUTE)),
        ("layer", |place, image| make_old(&place.path(&image.layers[1]), MINUTE)),
        ("partial file", |place, image| {
            fs::remove_file(place.path(&image.layers[1])).unwrap();
            place.add_partial(&place.partial(&image.layers[1]), b"x");
            make_old(&place.partial(&image.layers[1]), MINUTE);
        }),
    ];
    for (name, renew) in renewed {
        let place = Place::of(&[&Image::big(10, 1)]);
        place.add(&[&image.config, base, top, &image.manifest]);
        renew(&place, &image);
        place.sweep(&[]).ok().stdout(NOTHING);
        assert!(
            place.has(&image.manifest) && place.has(base) && place.has(&image.config),
            "{name}"
        );
        place.sweep(&["--keep-newer", "0s"]).ok();
        assert!(!place.has(&image.manifest) && !place.has(base), "{name}");
    }
    // If the only new blob also belongs to an image with an entry, the manifest without an entry is
    // removed.
    let shares = Image::of_parts(json!({}), vec![base.clone()], vec![image.diff_ids[0].clone()]);
    let place = Place::of(&[&shares]);
    place.add(&[&image.config, top, &image.manifest]);
    make_old(&place.path(base), MINUTE);
    place.sweep(&[]).ok();
    assert!(!place.has(&image.manifest) && !place.has(top));
}

// Dry runs, and other files.

#[test]
fn a_dry_run_prints_the_lines_and_removes_nothing() {
    let place = Place::of(&[&Image::small()]);
    let (a, b) =
        (Blob::new("application/octet-stream", "a"), Blob::new("application/octet-stream", "b"));
    place.add(&[&a, &b, &other("young")]);
    make_old(&place.path(&other("young")), MINUTE);
    place.add_partial(&place.partial(&a), b"x");
    let before = place.dir.list();
    let mut lines = place.sweep(&["--dry-run"]).ok().lines();
    lines.sort();
    let mut want = [a.line(), b.line()].map(|line| line.trim_end().to_owned());
    want.sort();
    assert_eq!(lines, want);
    assert_eq!(place.dir.list(), before);
    // With the printed lines, blobs can be saved before a sweep removes them.
    let script = "sweep-layout --dry-run l | push-blob oci:saved --from oci:l";
    assert_eq!(shell(script).dir(place.dir.path()).run().ok().lines().len(), 2);
}

#[test]
fn unknown_files_are_left() {
    let place = Place::of(&[&Image::small()]);
    let hex = "AB".repeat(32);
    let names = [
        "README",
        "blobs/note",
        "blobs/sha256/README",
        "blobs/sha256/abc",
        "blobs/md5/00",
        "ingest/note",
        "ingest/sha256-abc",
        "ingest/.x.part",
        "blobs/sha256/.x.0123456789abcdef.part",
    ];
    let upper = format!("blobs/sha256/{hex}");
    for name in names.into_iter().chain([upper.as_str()]) {
        let path = place.layout().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let lower = place.layout().join("blobs/sha256");
    fs::create_dir(lower.join("cd".repeat(32))).unwrap();
    symlink("README", lower.join("ef".repeat(32))).unwrap();
    let before = place.dir.list();
    place.sweep(&["--keep-newer", "0s"]).ok().stdout(NOTHING);
    assert_eq!(place.dir.list(), before);
}

#[test]
fn stale_partial_files_are_removed_unless_an_entry_reaches_the_missing_blob() {
    let image = Image::small();
    let place = Place::of(&[&image]);
    let [base, top] = &image.layers[..] else { unreachable!() };
    fs::remove_file(place.path(top)).unwrap();
    let unreached = other("x");
    let part = |blob: &Blob| PathBuf::from(format!("{}.1048576", place.partial(blob).display()));
    let temporary = place.layout().join("ingest/.index.json.0123456789abcdef.part");
    let kept = [place.partial(top), part(top), place.partial(&other("young"))];
    let gone =
        [place.partial(base), place.partial(&unreached), part(&unreached), temporary.clone()];
    for path in kept.iter().chain(&gone) {
        place.add_partial(path, b"abc");
    }
    make_old(&kept[2], MINUTE);
    place.sweep(&[]).ok().stdout("blobs 0 0\npartial-files 4 12\nsources 0\n");
    assert!(kept.iter().all(|path| path.exists()) && !gone.iter().any(|path| path.exists()));
}

#[test]
fn the_records_of_gone_blobs_are_removed() {
    let image = Image::small();
    let place = Place::of(&[&image]);
    let (gone, absent) = (other("gone"), other("absent"));
    place.add(&[&gone]);
    // This blob is missing, but an entry reaches it.
    fs::remove_file(place.path(&image.layers[1])).unwrap();
    let record = |of: &[&Blob]| {
        let mut record = serde_json::Map::new();
        record.insert("note".to_owned(), json!(1));
        for blob in of {
            record.insert(blob.digest.clone(), json!({"registry.example": "a,b"}));
        }
        Value::Object(record).to_string()
    };
    let file = place.layout().join("distribution-sources");
    fs::create_dir_all(place.layout().join("ingest")).unwrap();
    let [base, top] = &image.layers[..] else { unreachable!() };
    fs::write(&file, record(&[&gone, base, &absent, top])).unwrap();
    place.sweep(&[]).ok().stdout("blobs 1 4\npartial-files 0 0\nsources 2\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), record(&[base, top]));
    for unread in ["<html>", "[]"] {
        fs::write(&file, unread).unwrap();
        place.sweep(&[]).ok().stdout(NOTHING);
        assert_eq!(fs::read_to_string(&file).unwrap(), unread);
    }
}

// Damaged and hostile layouts: nothing is removed.

#[test]
fn a_damaged_layout_is_refused() {
    let image = Image::small();
    type Spoil = fn(&Place, &Image);
    let spoils: [(i32, &str, Spoil); 8] = [
        (6, "index.json: not valid JSON", |place, _| {
            let index = place.layout().join("index.json");
            let bytes = fs::read(&index).unwrap();
            fs::write(&index, &bytes[..bytes.len() / 2]).unwrap();
        }),
        (6, "index.json: not JSON: empty", |place, _| {
            fs::write(place.layout().join("index.json"), "").unwrap()
        }),
        (6, "index.json: missing", |place, _| {
            fs::remove_file(place.layout().join("index.json")).unwrap()
        }),
        (6, "index.json: ", |place, image| {
            let mut index = read_index(&place.layout());
            index["manifests"][0]["digest"] = json!(image.manifest.digest.replace(':', ":../"));
            fs::write(place.layout().join("index.json"), index.to_string()).unwrap();
        }),
        (6, "no manifest ", |place, image| fs::remove_file(place.path(&image.manifest)).unwrap()),
        (1, "digest differs", |place, image| {
            let mut bytes = image.manifest.bytes.clone();
            bytes[0] = b' ';
            fs::write(place.path(&image.manifest), bytes).unwrap();
        }),
        (1, "size differs", |place, _| {
            let mut index = read_index(&place.layout());
            index["manifests"][0]["size"] = json!(1);
            fs::write(place.layout().join("index.json"), index.to_string()).unwrap();
        }),
        (6, "not an OCI image layout", |place, _| {
            fs::remove_file(place.layout().join("oci-layout")).unwrap()
        }),
    ];
    for (status, words, spoil) in spoils {
        let place = Place::of(&[&image]);
        place.add(&[&other("x")]);
        spoil(&place, &image);
        place.refuses(&[], status, words);
        place.refuses(&["--allow-missing"], status, words);
    }
    let place = Place::of(&[]);
    place.refuses(&[], 3, "oci:l: no such layout");
}

#[test]
fn a_missing_manifest_of_an_index_is_refused_unless_it_is_allowed() {
    let (here, away) =
        (Image::for_platform("linux", "amd64"), Image::for_platform("linux", "arm64"));
    let top =
        index(types::INDEX, &[(&away.manifest, "linux/arm64"), (&here.manifest, "linux/amd64")]);
    let place = Place::of(&[]);
    write_layout(&place.layout(), "1", &top, here.blobs().chain([&here.manifest, &other("x")]));
    place.all_old();
    place.refuses(&[], 6, &away.manifest.digest);
    place.sweep(&[]).says("hint: --allow-missing skips");
    let run = place.sweep(&["--allow-missing"]);
    run.status(0)
        .says("warning: oci:l: no manifest")
        .stdout("blobs 1 1\npartial-files 0 0\nsources 0\n");
    assert!(place.has(&here.manifest) && place.has(&here.layers[0]));
    place.sweep(&["--allow-missing", "-q"]).ok();
}

#[test]
fn a_hostile_manifest_is_refused() {
    let image = Image::small();
    let both = json!({"schemaVersion": 2, "manifests": [], "config": image.config.descriptor(), "layers": []});
    let place = Place::of(&[]);
    write_layout(&place.layout(), "1", &Blob::json(types::MANIFEST, &both), [&other("x")]);
    place.all_old();
    place.refuses(&[], 6, "media-type: cannot determine");
}

#[test]
fn indexes_may_be_nested_eight_deep() {
    let image = Image::small();
    let place = Place::of(&[]);
    write_image(&place.layout(), "0", &image);
    let mut top = image.manifest.clone();
    for depth in 1..=9 {
        let outer = index(types::INDEX, &[(&top, "")]);
        fs::remove_file(place.layout().join("index.json")).unwrap();
        write_layout(&place.layout(), "0", &outer, [&top]);
        place.all_old();
        if depth <= 8 {
            place.sweep(&[]).ok().stdout(NOTHING);
        } else {
            place.refuses(&[], 6, "nested deeper than 8");
        }
        top = outer;
    }
}

#[test]
fn directories_that_are_symbolic_links_are_refused() {
    for name in ["blobs", "blobs/sha256", "ingest"] {
        let place = Place::of(&[&Image::small()]);
        place.add(&[&other("x")]);
        fs::create_dir_all(place.layout().join("ingest")).unwrap();
        fs::rename(place.layout().join(name), place.dir.join("elsewhere")).unwrap();
        symlink(place.dir.join("elsewhere"), place.layout().join(name)).unwrap();
        place.refuses(&["--keep-newer", "0s"], 6, &format!("{name} is a symbolic link"));
    }
    // The path of the layout may contain a symbolic link.
    let place = Place::of(&[&Image::small()]);
    symlink("l", place.dir.join("link")).unwrap();
    tool("sweep-layout").arg("link").dir(place.dir.path()).run().ok();
}

#[test]
fn a_wrong_command_line_is_refused() {
    let place = Place::of(&[&Image::small()]);
    for args in
        [&["--keep-newer", "1w"][..], &["--keep-newer", ""], &["--keep-newer=-1h"], &["other"]]
    {
        place.refuses(args, 2, "");
    }
    for name in ["oci:l:1", "oci:"] {
        tool("sweep-layout").arg(name).dir(place.dir.path()).run().fails(2, "oci:");
    }
    tool("sweep-layout").run().fails(2, "<DIR>");
}

#[test]
fn a_failure_of_the_disk_or_of_stdout_is_7() {
    let place = Place::of(&[&Image::small()]);
    place.add(&[&other("x")]);
    let run = shell("sweep-layout l >&-").dir(place.dir.path()).run();
    run.status(7).says("standard output: closed");
    assert!(place.has(&other("x")));
    place.dir.chmod(".", 0o755);
    place.dir.chmod("l/blobs/sha256", 0o555);
    place.command(&[]).as_unprivileged().run().fails(7, "remove l/blobs/sha256/").stdout("");
    place.dir.chmod("l/blobs/sha256", 0o755);
    let run = shell("sweep-layout l >/dev/full").dir(place.dir.path()).run();
    run.status(7).says("no space left on device");
    place.is_whole(&["0"]);
}

mod at_length {
    use super::*;

    /// The sweep can keep at most 200,000 digests in memory.
    #[test]
    fn entries_that_reach_too_many_blobs_are_refused() {
        let config = Blob::new(types::CONFIG, "{}");
        let mut number = 0_u64;
        let mut manifest = |layers: usize| {
            let layers: Vec<_> = (0..layers)
                .map(|_| {
                    number += 1;
                    json!({"mediaType": types::TAR, "digest": format!("sha256:{number:064x}"), "size": 1})
                })
                .collect();
            let text = json!({"schemaVersion": 2, "mediaType": types::MANIFEST, "config": config.descriptor(), "layers": layers});
            Blob::json(types::MANIFEST, &text)
        };
        // Ten manifests with 19,999 layers each. One manifest has one layer less, because the
        // shared config counts too.
        let place = Place::of(&[]);
        let mut manifests: Vec<_> = (0..9).map(|_| manifest(19_999)).collect();
        manifests.push(manifest(19_998));
        for (i, blob) in manifests.iter().enumerate() {
            write_layout(&place.layout(), &i.to_string(), blob, [&config, &other("x")]);
        }
        place.all_old();
        place.sweep(&[]).ok().stdout("blobs 1 1\npartial-files 0 0\nsources 0\n");
        write_layout(&place.layout(), "more", &other("one more"), []);
        place.all_old();
        place.refuses(&[], 6, "reach more than 200000 blobs");
    }

    /// Other tools do not wait forever for a sweep that does not end.
    #[test]
    fn a_sweep_that_never_ends_is_5_for_other_tools() {
        let image = Image::small();
        let place = Place::of(&[&image]);
        let held = fs::File::open(place.layout().join("blobs")).unwrap();
        held.lock().unwrap();
        let put = || tool("put-manifest").arg("oci:l:2").stdin(&image.manifest.bytes[..]);
        let put = || put().dir(place.dir.path());
        put().run().fails(5, "oci:l: sweep-layout has locked the layout for 30 seconds");
        held.unlock().unwrap();
        put().run().ok();
    }
}

mod with_peers {
    use tests::peers::{must, peer};

    use super::*;

    /// kill -9 at any removal leaves the image complete, and the next sweep removes the rest.
    #[test]
    fn a_sweep_that_is_killed_leaves_a_valid_layout() {
        let image = Image::small();
        let place = Place::of(&[&image]);
        let blobs: Vec<_> = (0..5).map(|i| other(&format!("blob {i}"))).collect();
        for nth in 1..=3 {
            place.add(&blobs.iter().collect::<Vec<_>>());
            let inject = format!("inject=unlink:signal=KILL:when={nth}");
            let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
            let run = place.command(&[]).under(&strace).run();
            assert_ne!(run.code(), Some(0), "{run}");
            let left = blobs.iter().filter(|blob| place.has(blob)).count();
            assert!((1..5).contains(&left) || nth == 1, "{left}");
            place.is_whole(&["0"]);
        }
        place.sweep(&[]).ok();
        assert!(!blobs.iter().any(|blob| place.has(blob)));
        assert!(read_blob(&place.layout(), &image.manifest.digest).is_some());
    }

    /// In a layout that skopeo and umoci wrote, the blobs of a removed tag are removed.
    #[test]
    fn a_layout_of_other_programs_is_swept() {
        let (a, b) = (Image::small(), Image::big(1000, 1));
        let place = Place::of(&[]);
        write_image(&place.dir.join("from"), "a", &a);
        write_image(&place.dir.join("from"), "b", &b);
        for tag in ["a", "b"] {
            let name = |dir: &str| format!("oci:{}:{tag}", place.dir.join(dir).display());
            must(peer("skopeo").args(["copy", &name("from"), &name("l")]));
        }
        let removed = format!("{}:b", place.layout().display());
        must(peer("umoci").args(["rm", "--image", &removed]));
        place.all_old();
        place.sweep(&[]).ok();
        assert!(!place.has(&b.layers[0]) && place.has(&a.layers[0]));
        let kept = format!("oci:{}:a", place.layout().display());
        must(peer("skopeo").args([
            "copy",
            &kept,
            &format!("dir:{}", place.dir.join("d").display()),
        ]));
    }
}
