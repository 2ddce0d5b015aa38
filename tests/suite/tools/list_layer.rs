// SPDX-License-Identifier: Apache-2.0
//! list-layer: the entries of single layers, as columns and as JSON, and refused input.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::cage::{Cage, PLACES};
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, gzip, noise, sha256, write_image};
use tests::layers::{
    Part, archive, block, character, dir, entry, fifo, file, hardlink, opaque, symlink, whiteout,
};
use tests::scratch::Scratch;
use tests::tools::{Command, Run, shell, tool};

fn list() -> Command {
    tool("list-layer")
}

fn stream(bytes: impl Into<Vec<u8>>) -> Run {
    list().stdin(bytes).run()
}

fn objects(run: &Run) -> Vec<Value> {
    run.ok().lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Entries of all types, with names that need escapes.
fn all_types() -> Vec<Part> {
    vec![
        dir("d").mode(0o1777),
        file("d/f", "four").mode(0o4755).owner(1000, 20).mtime(951_782_399),
        file(b"d/\xff\xc3\n\\ x\x1b[31m".as_slice(), ""),
        file("d/\u{202e}é", ""),
        symlink("d/s", "../a b"),
        hardlink("d/h", "d/f"),
        fifo("d/p").mode(0o620),
        character("d/c", 1, 3),
        block("d/b", 259, 65536),
        file("d/big", noise(100_000, 1)).owner(2_000_000, 2_000_000),
        file("d/x", "").xattr("user.a", b"\0\xff"),
        whiteout("gone"),
        opaque("d"),
    ]
}

#[test]
fn columns_escape_what_controls_a_terminal() {
    let want = [
        "drwxrwxrwt 0/0               0 2001-09-09 01:46 d",
        "-rwsr-xr-x 1000/20           4 2000-02-28 23:59 d/f",
        "-rw-r--r-- 0/0               0 2001-09-09 01:46 d/\\377\\303\\n\\\\ x\\033[31m",
        "-rw-r--r-- 0/0               0 2001-09-09 01:46 d/\\342\\200\\256é",
        "lrwxrwxrwx 0/0               0 2001-09-09 01:46 d/s -> ../a b",
        "hrw-r--r-- 0/0               0 2001-09-09 01:46 d/h link to d/f",
        "prw--w---- 0/0               0 2001-09-09 01:46 d/p",
        "crw-r--r-- 0/0             1,3 2001-09-09 01:46 d/c",
        "brw-r--r-- 0/0       259,65536 2001-09-09 01:46 d/b",
        "-rw-r--r-- 2000000/2000000 100000 2001-09-09 01:46 d/big",
        "-rw-r--r-- 0/0                  0 2001-09-09 01:46 d/x",
        "-rw-r--r-- 0/0                  0 2001-09-09 01:46 .wh.gone",
        "-rw-r--r-- 0/0                  0 2001-09-09 01:46 d/.wh..wh..opq",
    ];
    assert_eq!(stream(archive(&all_types())).ok().lines(), want);
}

#[test]
fn json_loses_nothing() {
    let bytes = archive(&all_types());
    let digest = sha256(&bytes);
    let scratch = Scratch::new();
    let path = scratch.write("layer", &bytes);
    let got = objects(&list().arg("--json").arg(&path).run());
    assert_eq!(got.len(), 13);
    assert_eq!(
        got[1],
        json!({"name": "d/f", "type": "file", "mode": "4755", "uid": 1000, "gid": 20, "size": 4,
            "mtime": "2000-02-28T23:59:59Z", "layer": digest})
    );
    assert_eq!(got[2]["name"], "d/\u{fffd}\u{fffd}\n\\ x\x1b[31m");
    assert_eq!(got[2]["nameBase64"], "ZC//wwpcIHgbWzMxbQ==");
    assert_eq!(got[3].get("nameBase64"), None);
    assert_eq!((&got[4]["type"], &got[4]["link"]), (&json!("symlink"), &json!("../a b")));
    assert_eq!((&got[5]["type"], &got[5]["link"]), (&json!("hardlink"), &json!("d/f")));
    assert_eq!(got[6]["type"], "fifo");
    assert_eq!((&got[7]["type"], &got[7]["device"]), (&json!("character"), &json!([1, 3])));
    assert_eq!((&got[8]["type"], &got[8]["device"]), (&json!("block"), &json!([259, 65536])));
    assert_eq!(got[10]["xattrs"], json!([{"name": "user.a", "valueBase64": "AP8="}]));
    assert_eq!(got[11]["whiteout"], "file");
    assert_eq!(got[12]["whiteout"], "opaque");
    // The digest of a stream is known only at its end.
    let streamed = objects(&list().arg("--json").stdin(bytes.clone()).run());
    assert_eq!(streamed[1]["layer"], Value::Null);
    let named = list().args(["--json", "--digest", &digest]).stdin(bytes).run();
    assert_eq!(objects(&named), got);
}

#[test]
fn fractions_of_a_second_and_times_before_the_epoch_are_kept() {
    let early = file("f", "").pax(&[("mtime", "-0.5")]);
    let late = file("g", "").pax(&[("mtime", "1350244992.023960108")]);
    let got = objects(&list().arg("--json").stdin(archive(&[early, late])).run());
    assert_eq!(got[0]["mtime"], "1969-12-31T23:59:59.5Z");
    assert_eq!(got[1]["mtime"], "2012-10-14T20:03:12.023960108Z");
}

// Sources.

#[test]
fn files_streams_and_stores_give_the_same_lines() {
    let image = Image::small();
    let scratch = Scratch::new();
    write_image(&scratch.join("l"), "1", &image);
    let registry = FakeRegistry::with_image();
    let files: Vec<_> = image
        .layers
        .iter()
        .enumerate()
        .map(|(i, layer)| scratch.write(format!("layer{i}"), &layer.bytes))
        .collect();
    let want = list().args(&files).run();
    assert_eq!(want.ok().lines().len(), 10);
    let one = list().stdin(image.layers[0].bytes.clone()).run();
    assert_eq!(one.ok().lines(), want.lines()[..7]);
    let layout = list().args(["--from", "oci:l"]).dir(scratch.path()).stdin(image.lines()).run();
    layout.ok().stdout(&want.stdout);
    let from = registry.repo("app");
    let remote = list().args(["--plain-http", "--from", &from]).stdin(image.lines()).run();
    remote.ok().stdout(&want.stdout);
    // The config and each layer are requested once, through one connection.
    assert_eq!(registry.blob_requests().len(), 3);
    assert_eq!(registry.server.connections(), 1);
}

#[test]
fn lines_of_other_things_and_missing_layers_are_refused() {
    let image = Image::small();
    let scratch = Scratch::new();
    write_image(&scratch.join("l"), "1", &image);
    let from =
        |lines: String| list().args(["--from", "oci:l"]).dir(scratch.path()).stdin(lines).run();
    from(image.manifest.line()).fails(6, "a manifest, not a layer").stdout("");
    let other = image.layers[0].line().replace("tar+gzip", "other");
    from(other.clone()).fails(6, "is not the media type of a layer").stdout("");
    let any = list().args(["--any-type", "--from", "oci:l"]).dir(scratch.path()).stdin(other);
    any.run().status(0);
    from(String::new()).fails(6, "no input: did the previous command fail?");
    let cut: String = [image.config.line(), image.layers[0].line()].concat();
    from(cut).fails(1, "got 1 of 2 layers: did the previous command fail?");
    // Without the config, the number of layers is not checked.
    from(image.layers[1].line()).ok();
    let mut lines = image.config.line();
    lines.push_str(&image.layers[1].line());
    lines.push_str(&image.layers[0].line());
    from(lines).fails(1, "layers from manifest don't match image configuration: layer 1");
    let absent = image.layers[0].line().replace(&image.layers[0].digest, &sha256(b"absent"));
    from(absent).fails(3, "no blob sha256:").stdout("");
}

#[test]
fn contradictory_options_are_refused() {
    let scratch = Scratch::new();
    let path = scratch.write("layer", archive(&[file("f", "")]));
    let layer = path.to_str().unwrap();
    let digest = &*sha256(b"");
    for (args, words) in [
        (&["--hidden", layer][..], "--merged"),
        (&["--verify", layer], "--extract"),
        (&["--extract", "f", "--digest", digest, layer], "--extract stops before the digest"),
        (&["--extract", "f", "--diff-id", digest, layer], "--verify reads and verifies"),
        (&["--extract", "f", "--json", layer], "cannot be used with"),
        (&["--extract", "f", "--merged", layer], "cannot be used with"),
        (&["--from", "oci:l", layer], "cannot be used with"),
        (&["--no-config", layer], "require --from"),
        (&["--from", "oci:l", "--no-config"], "--no-config requires --merged or --extract"),
        (&["--any-type", layer], "require --from"),
        (&["--mirror", "none", layer], "--mirror requires --from"),
        (&["--digest", "sha256:00", layer], "invalid value"),
        (&["-", "-"], "- given twice"),
        (&["--extract", "f", "--verify", "-"], "reads the layer of the file twice"),
        (&["--extract", "f", "--verify"], "reads the layer of the file twice"),
        (&["--extract", "f", "--verify", "/dev/null"], "reads the layer of the file twice"),
    ] {
        list().args(args).run().fails(2, words).stdout("");
    }
    stream(Image::small().lines())
        .fails(2, "got a descriptor line, want a layer")
        .says("--from STORE");
    list().arg(scratch.join("none")).run().fails(3, "none: no such file");
    list()
        .arg("oci:none")
        .run()
        .fails(3, "oci:none: no such file")
        .says("list-layer --from oci:none\n");
    list().arg(scratch.path()).run().fails(7, "is a directory");
    stream("").fails(6, "no input");
}

// Verification.

#[test]
fn wrong_bytes_are_never_listed_to_their_end() {
    let image = Image::small();
    let registry = FakeRegistry::with_image();
    let from = registry.repo("app");
    let run = || list().args(["--plain-http", "--from", &from]).stdin(image.lines()).run();
    registry.fault(|request, right| {
        if request.is_blob() && right.code() == 200 { right.corrupted() } else { right }
    });
    run().fails(1, "digest differs").stdout("");
    registry.heal();
    let bytes = archive(&[file("f", "x")]);
    let wrong = sha256(b"other");
    for option in ["--digest", "--diff-id"] {
        let run = list().args([option, &wrong]).stdin(bytes.clone()).run();
        run.fails(1, "differs: got sha256:").stdout("");
    }
    list().args(["--diff-id", &sha256(&bytes)]).stdin(gzip(&bytes)).run().ok();
}

#[test]
fn a_list_of_more_than_64_kib_is_cut_if_the_digest_differs() {
    let parts: Vec<_> = (0..3000).map(|i| file(format!("file-{i}"), "")).collect();
    let bytes = archive(&parts);
    let whole = stream(bytes.clone());
    assert!(whole.ok().stdout.len() > 128 << 10);
    let wrong = list().args(["--digest", &sha256(b"other")]).stdin(bytes).run();
    wrong.fails(1, "digest differs");
    assert!(wrong.stdout.len() <= whole.stdout.len() - (64 << 10));
    assert!(!wrong.stdout.is_empty() && whole.stdout.starts_with(&wrong.stdout));
}

#[test]
fn the_entries_before_a_fault_are_listed_if_the_bytes_are_right() {
    let good = archive(&[file("f", "x")]);
    let mut bad = good[..1024].to_vec();
    bad.extend_from_slice(&archive(&[file("g", "")])[..512]);
    bad.truncate(1024 + 300);
    let run = stream(bad.clone());
    run.fails(6, "archive is cut short: in a header");
    assert_eq!(run.lines().len(), 1);
    let run = list().args(["--digest", &sha256(&bad)]).stdin(bad.clone()).run();
    run.fails(6, "archive is cut short: in a header");
    assert_eq!(run.lines().len(), 1);
    let run = list().args(["--digest", &sha256(&good)]).stdin(bad).run();
    run.fails(1, "digest differs").stdout("");
}

/// Every archive that unpack-layer refuses for its format or its names is refused with the same
/// words and the same status.
#[test]
fn hostile_layers_are_refused_as_by_unpack_layer() {
    let corpus: Vec<Vec<u8>> = vec![
        archive(&[file("../f", "")]),
        archive(&[file("a/../../f", "")]),
        archive(&[file("d/".repeat(16_385) + "f", "")]),
        archive(&[entry(b'5', "d/.wh.x", "")]),
        archive(&[file(".wh.", "")]),
        archive(&[file(".wh..", "")]),
        archive(&[file("d/.wh..wh.other", "")]),
        archive(&[file(".wh.d/f", "")]),
        archive(&[file("/", "").field(156, 1, b"2")]),
        archive(&[entry(b'V', "volume", "")]),
        archive(&[entry(b'2', "s", "data").link("t")]),
        archive(&[file("f", "data").field(124, 12, b"4x")]),
        [b"g", &archive(&[file("f", "data")])[1..]].concat(),
        archive(&[file("f", "data")])[..700].to_vec(),
        archive(&[file("f", "data")])[..100].to_vec(),
        gzip(&archive(&[file("f", "data")]))[..40].to_vec(),
        [gzip(&archive(&[file("f", "data")])), b"junk".to_vec()].concat(),
        b"BZh91AY&SY".to_vec(),
        b"\xfd7zXZ\0".to_vec(),
        vec![7; 2000],
        b"\x28\xb5\x2f\xfd\x01\x00\x07\x01\x00\x00".to_vec(),
        b"\x28\xb5\x2f\xfd\x00\x90\x01\x00\x00".to_vec(),
    ];
    for (i, bytes) in corpus.iter().enumerate() {
        let cage = Cage::new(PLACES[0]);
        let unpacked = cage.stream(bytes.clone());
        let mut said = unpacked.stderr.lines().filter(|line| !line.contains(": warning: "));
        let said = said.next().unwrap_or_else(|| panic!("{i} is accepted"));
        let want = said.replacen("unpack-layer", "list-layer", 1);
        let listed = stream(bytes.clone());
        listed.fails(unpacked.code().unwrap(), &want);
        assert_eq!(listed.code(), Some(6), "{i}: {listed}");
        let merged = list().arg("--merged").stdin(bytes.clone()).run();
        merged.fails(6, &want).stdout("");
    }
}

// Limits.

#[test]
fn limits_at_the_edge() {
    let parts: Vec<_> = (0..10).map(|i| file(format!("f{i}"), "")).collect();
    let bytes = archive(&parts);
    let run = |args: &[&str]| list().args(args).stdin(bytes.clone()).run();
    run(&["--max-entries", "10"]).ok();
    run(&["--max-entries", "9"]).fails(6, "more than 9 entries (--max-entries)");
    run(&["--merged", "--max-entries", "10"]).ok();
    let refused = run(&["--merged", "--max-entries", "9"]);
    refused.fails(6, "more than 9 entries (--max-entries)").stdout("");
    let size = bytes.len();
    run(&["--max-size", &size.to_string()]).ok();
    run(&["--max-size", &(size - 1).to_string()]).fails(6, "(--max-size)");
    let packed = gzip(&bytes);
    let run =
        |max: usize| list().args(["--max-size", &max.to_string()]).stdin(packed.clone()).run();
    run(size).ok();
    run(size - 1).fails(6, &format!("more than {} bytes (--max-size)", size - 1));
}

#[test]
fn the_limits_of_an_image_hold_for_all_layers_together() {
    let scratch = Scratch::new();
    let layer = |i: usize| {
        scratch.write(format!("layer{i}"), archive(&[file(format!("f{i}"), ""), dir("d")]))
    };
    let layers = [layer(0), layer(1)];
    let run = |args: &[&str]| list().args(args).args(&layers).run();
    run(&["--max-entries", "2"]).ok();
    run(&["--merged", "--max-entries", "4"]).ok();
    run(&["--merged", "--max-entries", "3"]).fails(6, "more than 3 entries");
    run(&["--extract", "f0", "--verify", "--max-entries", "4"]).ok();
    run(&["--extract", "f0", "--verify", "--max-entries", "3"]).fails(6, "more than 3 entries");
    // Without --verify, the search ends at the file: the entry after it is not read.
    run(&["--extract", "f0", "--max-entries", "3"]).ok();
    run(&["--extract", "f0", "--max-entries", "2"]).fails(6, "more than 2 entries");
    let deep = scratch.write("deep", archive(&[file("a/b/c/d/f", "")]));
    let run = |max: &str| list().args(["--merged", "--max-entries", max]).arg(&deep).run();
    run("4").ok();
    run("3").fails(6, "more than 3 directories without an entry (--max-entries)");
}

/// Ten thousand layers are accepted, and one more is not. No layer is read before all are known.
#[test]
fn the_number_of_layers_is_bounded() {
    let scratch = Scratch::new();
    write_image(&scratch.join("l"), "1", &Image::small());
    let absent = Image::big(1, 9).layers[0].line();
    let run = |count: usize| {
        let args = ["--from", "oci:l", "--no-config", "--extract", "f"];
        list().args(args).dir(scratch.path()).stdin(absent.repeat(count)).run()
    };
    run(10_000).fails(3, "no blob");
    run(10_001).fails(6, "more than 10000 layers");
}

mod with_peers {
    use super::*;
    use std::path::Path;
    use tests::packages::{crates, debian};
    use tests::peers::peer;

    /// The lines that GNU tar prints. Its exit status is ignored: if only the file's name tells it
    /// the compression, it fails after the last line.
    fn tar(layer: &Path) -> String {
        let mut tar = peer("tar");
        tar.args(["--numeric-owner", "--utc", "-tvf"]).arg(layer).env("LC_ALL", "C.UTF-8");
        String::from_utf8(tar.output().unwrap().stdout).unwrap()
    }

    /// The layer has a few hundred kilobytes, and decompresses to 256 MiB of zeros.
    #[test]
    fn memory_does_not_grow_with_the_layer() {
        let scratch = Scratch::new();
        let layer = scratch.write("layer", gzip(&archive(&[file("zeros", vec![0; 256 << 20])])));
        for mode in ["--json", "--merged", "--extract zeros", "--extract zeros --verify"] {
            let script = format!("exec time -f %M -o memory list-layer -q {mode} \"$layer\" >out");
            let run = shell(&script).dir(scratch.path()).env("layer", &layer).run();
            run.status(0);
            let text = std::fs::read_to_string(scratch.join("memory")).unwrap();
            let kib: u64 = text.lines().last().unwrap().parse().unwrap();
            assert!(kib < 40 << 10, "{mode}: {kib} KiB");
            if mode.starts_with("--extract") {
                assert_eq!(std::fs::metadata(scratch.join("out")).unwrap().len(), 256 << 20);
            }
        }
    }

    #[test]
    fn entries_of_all_types_are_listed_as_by_gnu_tar() {
        let scratch = Scratch::new();
        let parts = all_types();
        // GNU tar does not escape bidirectional controls.
        let parts: Vec<_> =
            parts.into_iter().enumerate().filter(|(i, _)| *i != 3).map(|(_, part)| part).collect();
        let layer = scratch.write("layer", archive(&parts));
        list().arg(&layer).run().ok().stdout(tar(&layer));
    }

    /// The corpus has files of all formats and compressions. The only difference is in
    /// `prefix.tar`, where a header of GNU's format has a prefix. Container engines use the prefix.
    /// GNU tar ignores it, because its own headers have times in these bytes.
    #[test]
    fn the_corpus_is_listed_as_by_gnu_tar() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/reader");
        let mut count = 0;
        for file in std::fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()) {
            let run = list().arg(&file).run();
            let mut want = tar(&file);
            if file.ends_with("prefix.tar") {
                want = want.replace(" g\n", " old/go/g\n");
            }
            run.status(0).stdout(want);
            count += 1;
        }
        assert!(count > 20);
    }

    #[test]
    fn crates_are_listed_as_by_gnu_tar() {
        let crates = crates(30);
        let mut lines = 0;
        for package in &crates {
            let layer = package.layer.as_ref().unwrap();
            let run = list().arg("-q").arg(layer).run();
            run.ok().stdout(tar(layer));
            lines += run.lines().len();
        }
        assert!(lines > 600);
    }

    #[test]
    fn debian_packages_are_listed_as_by_gnu_tar() {
        let scratch = Scratch::new();
        let mut lines = 0;
        for package in debian(60) {
            let layer = scratch.write("layer", &package.archive);
            let run = list().arg(&layer).run();
            run.ok().stdout(tar(&layer));
            lines += run.lines().len();
        }
        assert!(lines > 6000);
    }
}
