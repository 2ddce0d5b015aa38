// SPDX-License-Identifier: Apache-2.0
//! list-layer: all layers of an image together, the layer of each file, hidden entries, and one
//! file of the image, verified.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;

use serde_json::{Value, json};
use tests::cage::{Cage, PLACES};
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, noise, sha256, write_image};
use tests::layers::{Part, archive, character, dir, file, hardlink, opaque, symlink, whiteout};
use tests::merged::{listed, unpacked};
use tests::scratch::Scratch;
use tests::tools::{Command, Run, tool};

fn list() -> Command {
    tool("list-layer")
}

fn merged(layers: &[&[Part]], options: &[&str]) -> Run {
    let scratch = Scratch::new();
    let write = |(i, parts): (usize, &&[Part])| scratch.write(format!("layer{i}"), archive(parts));
    let files: Vec<_> = layers.iter().enumerate().map(write).collect();
    list().arg("--merged").args(options).args(files).run()
}

/// The names, with the number of the layer that each is from.
fn names(layers: &[&[Part]], options: &[&str]) -> Vec<String> {
    let digests: Vec<_> = layers.iter().map(|parts| sha256(&archive(parts))).collect();
    let number = |digest: &Value| digests.iter().position(|known| digest == known).unwrap();
    let run = merged(layers, &[&["--json"], options].concat());
    let name = |line: String| {
        let object: Value = serde_json::from_str(&line).unwrap();
        let name = object["name"].as_str().unwrap().to_owned();
        match object.get("hiddenBy") {
            Some(by) => format!("{} {} {name}", number(&object["layer"]), number(by)),
            None => format!("{} {name}", number(&object["layer"])),
        }
    };
    run.status(0).lines().into_iter().map(name).collect()
}

#[test]
fn each_file_has_its_layer_and_each_hidden_one_the_layer_that_hides_it() {
    let layers: [&[Part]; 3] = [
        &[dir("etc"), file("etc/a", "1"), file("etc/b", "1"), dir("var"), file("var/x", "1")],
        &[file("etc/a", "22"), whiteout("etc/b"), dir("var")],
        &[opaque("var"), file("var/y", "3"), hardlink("a", "etc/a")],
    ];
    let want = ["2 a", "0 etc/", "1 etc/a", "1 var/", "2 var/y"];
    assert_eq!(names(&layers, &[]), want);
    assert_eq!(names(&layers, &["--hidden"]), ["0 1 etc/a", "0 1 etc/b", "0 2 var/x"]);
    let short = |i: usize| sha256(&archive(layers[i]))[7..19].to_owned();
    let run = merged(&layers, &["--hidden"]);
    let line = format!("{} {} -rw-r--r-- 0/0 ", short(0), short(1));
    assert!(run.ok().lines()[0].starts_with(&line), "{run}");
    let run = merged(&layers, &[]);
    let line = format!("{} hrw-r--r-- 0/0 ", short(2));
    assert!(run.ok().lines()[0].starts_with(&line), "{run}");
    assert!(run.lines()[0].ends_with(" a link to etc/a"), "{run}");
}

#[test]
fn a_hard_link_whose_target_is_hidden_is_the_file_itself() {
    let layers: [&[Part]; 2] =
        [&[file("a", "four"), hardlink("b", "a")], &[whiteout("a"), file("c", "")]];
    let run = merged(&layers, &["--json"]);
    let first: Value = serde_json::from_str(&run.ok().lines()[0]).unwrap();
    assert_eq!((&first["name"], &first["type"]), (&json!("b"), &json!("file")));
    assert_eq!(first["size"], 4);
}

#[test]
fn a_hard_link_to_a_file_that_was_named_through_a_symbolic_link_has_its_path() {
    let layer = [dir("d"), symlink("l", "d"), file("l/x", ""), hardlink("h", "l/x")];
    let run = merged(&[&layer], &["--json"]);
    let object: Value = serde_json::from_str(&run.ok().lines()[2]).unwrap();
    assert_eq!((&object["name"], &object["link"]), (&json!("h"), &json!("d/x")));
}

#[test]
fn nothing_is_printed_before_all_layers_are_verified() {
    let image = Image::small();
    let scratch = Scratch::new();
    write_image(&scratch.join("l"), "1", &image);
    let run = |lines: String, options: &[&str]| {
        let command = list().args(["--from", "oci:l", "--merged"]).args(options);
        command.dir(scratch.path()).stdin(lines).run()
    };
    assert_eq!(run(image.lines(), &[]).ok().lines().len(), 7);
    let layers: String = image.layers.iter().map(|layer| layer.line()).collect();
    run(layers.clone(), &[]).fails(6, "no line of an image config").stdout("");
    run(layers.clone(), &["--no-config"]).ok();
    // The line of the config may be the last one.
    run(layers + &image.config.line(), &[]).ok();
    let one = image.config.line() + &image.layers[0].line();
    run(one, &[]).fails(1, "got 1 of 2 layers").stdout("");
    let hex = image.layers[1].digest.split_once(':').unwrap().1;
    let blob = scratch.join("l/blobs/sha256").join(hex);
    let mut bytes = fs::read(&blob).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&blob, bytes).unwrap();
    run(image.lines(), &[]).fails(1, "digest differs").stdout("");
}

#[test]
fn an_image_that_unpack_layer_refuses_is_refused_with_its_words() {
    let deep = "../".repeat(2000);
    let refused: [&[&[Part]]; 9] = [
        &[&[hardlink("a", "b")]],
        &[&[dir("d"), hardlink("a", "d")]],
        &[&[file("a", ""), hardlink("a", "a")]],
        &[&[hardlink("a", "../b")]],
        &[&[hardlink("a", ".wh.b")]],
        &[&[file("a", ""), file("a/b", "")]],
        &[&[symlink("a", "b"), symlink("b", "a"), file("a/f", "")]],
        &[&[symlink("a", "")]],
        &[&[symlink("a", "").pax(&[("linkpath", deep.as_str())])]],
    ];
    for (i, layers) in refused.iter().enumerate() {
        let cage = Cage::new(PLACES[0]);
        let unpacked = cage.unpack(layers);
        let said = unpacked.fails(6, "entry").stderr.lines().next().unwrap().to_owned();
        let reason = said.split_once(": entry").unwrap().1;
        let run = merged(layers, &[]);
        assert!(run.fails(6, reason).stdout.is_empty(), "{i}: {run}");
    }
}

/// Layers in which names lead through links, and whiteouts precede and follow the entries that they
/// hide.
fn stacks() -> Vec<Vec<Vec<Part>>> {
    let long = "n".repeat(200);
    vec![
        vec![
            vec![dir("usr"), dir("usr/lib"), symlink("lib", "usr/lib"), file("usr/lib/a", "1")],
            vec![file("lib/a", "22"), file("lib/new/b", "2"), whiteout("lib/gone")],
            vec![whiteout("lib"), dir("lib"), file("lib/c", "3")],
        ],
        vec![
            vec![dir("d"), file("d/a", ""), file("d/b", ""), dir("d/e"), file("d/e/f", "")],
            vec![file("d/new", ""), opaque("d"), file("d/e/g", "")],
        ],
        vec![
            vec![dir("d").mode(0o700).owner(7, 8), file("d/a", "")],
            vec![file("d/b", ""), whiteout("d")],
        ],
        vec![
            vec![file("a", "1"), hardlink("b", "a"), hardlink("d/c", "b")],
            vec![file("a", "22"), whiteout("b")],
            vec![hardlink("e", "d/c"), whiteout("d")],
        ],
        vec![
            vec![file("p", ""), symlink("q", "/p/../d"), dir("d").mode(0o711)],
            vec![file("p/x", ""), file("q/y", ""), symlink("r", "../../q")],
            vec![file("r/z", ""), file(&long, "").mtime(5), whiteout("missing/x")],
        ],
        vec![
            vec![file("x/y/z", ""), dir("x").mode(0o750), opaque("o")],
            vec![symlink("x/y", "nowhere"), file("x/y/w", ""), dir("x").mode(0o770)],
            vec![file("a", "1"), file("a", "2"), dir("a"), file("a/b", ""), opaque("x/nowhere")],
        ],
        vec![
            vec![dir(".").mode(0o711).owner(3, 4), file("f", "")],
            vec![file("g", ""), opaque("")],
            vec![file("./h/../i", ""), file(".wh..wh.plnk/1.2", "")],
        ],
    ]
}

#[test]
fn the_merged_image_is_the_tree_that_unpack_layer_makes() {
    for (i, stack) in stacks().iter().enumerate() {
        let layers: Vec<&[Part]> = stack.iter().map(Vec::as_slice).collect();
        for count in 1..=layers.len() {
            let cage = Cage::new(PLACES[0]);
            cage.unpack(&layers[..count]).status(0);
            let run = merged(&layers[..count], &["--json"]);
            run.status(0);
            assert_eq!(listed(&run), unpacked(&cage.root("")), "stack {i}, {count} layers");
        }
    }
}

// Extracting a file.

/// Extracts a file from layers in files.
fn extract(path: &str, layers: &[&[Part]], options: &[&str]) -> Run {
    let scratch = Scratch::new();
    let write = |(i, parts): (usize, &&[Part])| scratch.write(format!("layer{i}"), archive(parts));
    let files: Vec<_> = layers.iter().enumerate().map(write).collect();
    list().args(["--extract", path]).args(options).args(files).run()
}

#[test]
fn every_file_of_the_merged_image_has_the_content_that_unpack_layer_gives_it() {
    let mut count = 0;
    for stack in stacks() {
        let layers: Vec<&[Part]> = stack.iter().map(Vec::as_slice).collect();
        let cage = Cage::new(PLACES[0]);
        cage.unpack(&layers).status(0);
        for name in cage.tree().iter().filter(|name| !name.ends_with('/')) {
            // The links of these layers do not lead out of the tree.
            if let Ok(link) = fs::read_link(cage.root(name)) {
                assert!(link.is_relative() || link.starts_with("/p"), "{name}");
                continue;
            }
            let run = extract(name, &layers, &["--verify", "-q"]);
            run.ok().stdout(fs::read(cage.root(name)).unwrap());
            count += 1;
        }
    }
    assert_eq!(count, 15);
}

#[test]
fn a_path_is_resolved_inside_the_image() {
    let layers: [&[Part]; 2] = [
        &[
            dir("etc"),
            symlink("etc/os-release", "../usr/lib/os-release"),
            file("usr/lib/os-release", "NAME=x\n"),
            symlink("lib", "/usr/lib"),
            symlink("up", "../../../../etc"),
            symlink("loop", "loop"),
            character("null", 1, 3),
            hardlink("hard", "usr/lib/os-release"),
        ],
        &[whiteout("hard"), hardlink("twin", "lib/os-release")],
    ];
    for path in [
        "etc/os-release",
        "/etc/os-release",
        "./etc//os-release",
        "etc/../etc/os-release",
        "../etc/os-release",
        "lib/os-release",
        "up/os-release",
        "lib/../lib/os-release",
        "twin",
    ] {
        extract(path, &layers, &["--verify"]).ok().stdout("NAME=x\n");
        extract(path, &layers, &[]).ok().stdout("NAME=x\n");
    }
    for (path, words) in [
        ("etc", "etc: a directory, not a regular file"),
        ("/", "a directory, not a regular file"),
        ("up", "a directory, not a regular file"),
        ("null", "a device or a named pipe"),
        ("hard", "hard: not in the image"),
        ("etc/none", "not in the image"),
        ("etc/os-release/x", "not in the image"),
        ("", "a directory"),
    ] {
        extract(path, &layers, &["--verify"]).fails(3, words).stdout("");
        extract(path, &layers, &[]).fails(3, words).stdout("");
    }
    for options in [&[][..], &["--verify"]] {
        extract("loop", &layers, options).fails(6, "too many levels of symbolic links");
        extract("loop/x", &layers, options).fails(6, "too many levels of symbolic links");
    }
}

#[test]
fn a_chain_of_forty_links_is_the_longest() {
    let chain = |count: usize| {
        let mut parts = vec![file("l0", "end")];
        let link = |i: usize| symlink(format!("l{i}"), format!("l{}", i - 1));
        parts.extend((1..=count).map(link));
        parts
    };
    for options in [&[][..], &["--verify"]] {
        extract("l40", &[&chain(40)], options).ok().stdout("end");
        extract("l41", &[&chain(41)], options).fails(6, "too many levels of symbolic links");
    }
}

#[test]
fn the_holes_of_a_sparse_file_are_zeros() {
    let mut whole = b"1\n4\n3\n".to_vec();
    whole.resize(512, 0);
    whole.extend_from_slice(b"abc");
    let sparse = file("GNUSparseFile.0/f", whole).pax(&[
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "f"),
        ("GNU.sparse.realsize", "7"),
    ]);
    let layers: [&[Part]; 1] = [&[sparse]];
    for options in [&[][..], &["--verify"]] {
        extract("f", &layers, options).ok().stdout(b"\0\0\0\0abc");
    }
}

#[test]
fn a_file_larger_than_max_size_is_refused() {
    let mut map = b"1\n1048573\n3\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"abc");
    let sparse = file("GNUSparseFile.0/f", map).pax(&[
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "f"),
        ("GNU.sparse.realsize", "1048576"),
    ]);
    let layers: [&[Part]; 1] = [&[sparse]];
    for verify in [&[][..], &["--verify"]] {
        let run = |max: &str| extract("f", &layers, &[&["--max-size", max], verify].concat());
        assert_eq!(run("1M").ok().stdout.len(), 1 << 20);
        run("1048575").fails(6, "more than 1048575 bytes of files (--max-size)").stdout("");
    }
}

#[test]
fn a_file_of_a_wrong_layer_is_not_written_to_its_end() {
    let image = Image::of_plain(&[&archive(&[file("f", noise(200_000, 1)), file("g", "")])]);
    let registry = FakeRegistry::start();
    registry.add_image("app", "1", &image);
    let from = registry.repo("app");
    let run = || {
        let args = ["--plain-http", "--from", &from, "--extract", "f", "--verify"];
        list().args(args).stdin(image.lines()).run()
    };
    assert_eq!(run().ok().stdout, noise(200_000, 1));
    // The config is requested once, and the layer twice.
    assert_eq!(registry.blob_requests().len(), 3);
    let digest = image.layers[0].digest.clone();
    // The second reading gets other bytes after the file.
    let wrong = digest.clone();
    registry.fault(move |request, right| {
        if request.target.ends_with(&wrong) && request.earlier % 2 == 1 {
            right.corrupted()
        } else {
            right
        }
    });
    let cut = run();
    cut.fails(1, "digest differs");
    assert!(cut.stdout.len() <= 200_000 - (64 << 10), "{}", cut.stdout.len());
    registry.heal();
    registry.fault(
        move |request, right| {
            if request.target.ends_with(&digest) { right.corrupted() } else { right }
        },
    );
    run().fails(1, "digest differs").stdout("");
}

#[test]
fn a_path_that_is_not_utf8_names_a_file() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = Scratch::new();
    let layer = scratch.write("layer", archive(&[file(b"\xff".as_slice(), "x")]));
    let path = std::ffi::OsStr::from_bytes(b"\xff");
    list().arg("--extract").arg(path).arg(&layer).run().ok().stdout("x");
    let path = std::ffi::OsStr::from_bytes(b"\x1b\xff");
    list().arg("--extract").arg(path).arg(&layer).run().fails(3, "\\u{1b}");
}

mod with_peers {
    use super::*;
    use tests::packages::debian;

    /// Debian packages as the layers of one image. The merged image is the tree of unpack-layer,
    /// and each file is from the highest layer that has it.
    #[test]
    fn packages_as_layers_are_merged_as_unpack_layer_unpacks_them() {
        let scratch = Scratch::new();
        let packages = debian(60);
        let write = |(i, package): (usize, &tests::packages::Package)| {
            scratch.write(format!("layer{i:03}"), &package.archive)
        };
        let files: Vec<_> = packages.iter().enumerate().map(write).collect();
        let root = scratch.join("root");
        let unpack = tool("unpack-layer").args(["-q", "--no-sync", "--no-same-owner"]);
        unpack.arg(&root).args(&files).run().status(0);
        let run = list().args(["-q", "--merged", "--json"]).args(&files).run();
        run.ok();
        assert_eq!(listed(&run), unpacked(&root));
        assert!(run.lines().len() > 6000);
    }
}
