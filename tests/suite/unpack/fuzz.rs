// SPDX-License-Identifier: Apache-2.0
//! unpack-layer on randomly changed layers; the random numbers are the same in every run. For every
//! input, no file outside the root is changed, no run panics, memory is bounded, and a refusal is
//! reported in one line.
//!
//! The original layers are in `fuzz/corpus/reader`; each name describes the content of the layer. A
//! changed layer that reveals a fault becomes a separate test elsewhere. A failed test prints the
//! number of the run, from which the same layer can be made again.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use tests::cage::{Cage, PLACES};
use tests::layers::{
    BLOCK, Part, archive, checksum, dir, entry, extended, fifo, file, hardlink, opaque, records,
    symlink, whiteout,
};
use tests::merged;
use tests::tools::{Run, tool};

/// The limit of a run's address space: one zstd window, buffers and threads.
const MEMORY: u64 = 512 << 20;

/// Pseudo-random numbers, the same for the same seed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }
}

/// The layers of the corpus, with their names.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/reader");
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect();
    all.sort();
    assert!(all.len() > 20);
    all
}

/// The fields of a tar header: offset and length.
const FIELDS: [(usize, usize); 18] = [
    (0, 100),
    (100, 8),
    (108, 8),
    (116, 8),
    (124, 12),
    (136, 12),
    (156, 1),
    (157, 100),
    (257, 8),
    (265, 32),
    (329, 8),
    (337, 8),
    (345, 155),
    (345, 12),
    (386, 12),
    (398, 12),
    (482, 1),
    (483, 12),
];

/// Values for a field: numbers in all notations, and names that lead to various places.
const VALUES: [&[u8]; 44] = [
    b"",
    b"0",
    b"7777777",
    b"77777777777",
    b"-1",
    b" 5",
    b"5 ",
    b"5\0",
    b"0x5",
    b"9",
    b"00000000001",
    b"00000000777",
    b"\x80\0\0\0\0\0\0\x05",
    b"\x80\0\0\0\0\0\0\0\0\0\0\x05",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x81\0\0\0",
    b"ustar\x0000",
    b"ustar  \0",
    b"ustar\0\0\0",
    b"garbage!",
    b"x",
    b"g",
    b"L",
    b"K",
    b"S",
    b"1",
    b"2",
    b"5",
    b"6",
    b"7",
    b"../victim/hello",
    b"/victim/hello",
    b"d",
    b"d/",
    b"d/f",
    b"e/x/y",
    b".wh.d",
    b"d/.wh..wh..opq",
    b".wh.",
    b".",
    b"..",
    b"lib/f",
    b"out/../../root-evil/secret",
    b"a/../d/./f",
];

const KEYS: [&str; 18] = [
    "path",
    "linkpath",
    "size",
    "uid",
    "gid",
    "mtime",
    "atime",
    "GNU.sparse.major",
    "GNU.sparse.minor",
    "GNU.sparse.name",
    "GNU.sparse.realsize",
    "GNU.sparse.size",
    "GNU.sparse.map",
    "GNU.sparse.numblocks",
    "GNU.sparse.offset",
    "SCHILY.xattr.user.x",
    "SCHILY.xattr.system.posix_acl_default",
    "SCHILY.xattr.trusted.overlay.opaque",
];

/// The offsets of headers: blocks with digits in the checksum field.
fn headers(bytes: &[u8]) -> Vec<usize> {
    let is_header = |at: &usize| bytes[at + 148..at + 150].iter().all(u8::is_ascii_digit);
    (0..bytes.len() / BLOCK).map(|i| i * BLOCK).filter(is_header).collect()
}

/// Changes an archive somewhere. In most cases the checksum is corrected afterwards.
fn change(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let headers = headers(bytes);
    let Some(&at) = headers.get(dice.roll(headers.len().max(1))) else { return };
    let blocks = bytes.len() / BLOCK;
    match dice.roll(20) {
        0..=9 => {
            let (offset, size) = *dice.pick(&FIELDS);
            let value = dice.pick(&VALUES);
            let value = &value[..value.len().min(size)];
            let field = &mut bytes[at + offset..at + offset + size];
            if dice.roll(3) > 0 {
                field.fill(0);
            }
            field[..value.len()].copy_from_slice(value);
            checksum(&mut bytes[at..at + BLOCK]);
        }
        10 | 11 => {
            let i = at + dice.roll(BLOCK);
            bytes[i] = dice.roll(256) as u8;
            if dice.roll(10) > 0 {
                checksum(&mut bytes[at..at + BLOCK]);
            }
        }
        12 => {
            let i = dice.roll(bytes.len());
            bytes[i] ^= 1 << dice.roll(8);
        }
        13 => drop(bytes.drain(at..at + BLOCK)),
        14 => {
            let from = dice.roll(blocks) * BLOCK;
            let block = bytes[from..from + BLOCK].to_vec();
            bytes.splice(at..at, block);
        }
        15 => bytes.truncate(dice.roll(bytes.len())),
        16..=18 => {
            let pair = [(*dice.pick(&KEYS), *dice.pick(&VALUES))];
            let typeflag = *dice.pick(b"xxxg");
            bytes.splice(at..at, extended(typeflag, records(&pair)).bytes());
        }
        _ => {
            let typeflag = *dice.pick(b"0123456");
            let name = *dice.pick(&VALUES);
            let part = entry(typeflag, name, "").link(dice.pick(&VALUES)).mode(0o7777);
            bytes.splice(at..at, part.bytes());
        }
    }
}

/// Unpacks changed layers, and checks the properties that must hold for every layer.
fn judge(cage: &Cage, number: u64, layers: &[&[u8]]) {
    let names =
        layers.iter().enumerate().map(|(i, bytes)| cage.scratch().write(format!("in/{i}"), bytes));
    let unpack = cage.command().args(["--max-size", "16M", "--max-entries", "1000"]);
    let unpack = unpack.args(names.collect::<Vec<_>>());
    let run = cage.judged(unpack.under(&["prlimit", &format!("--as={MEMORY}"), "--"]));
    assert!(matches!(run.code(), Some(0 | 6 | 7)), "run {number}: {run}");
    assert!(run.stderr.len() < 4096 && !run.stderr.contains("panicked"), "run {number}: {run}");
    for line in run.stderr.lines() {
        assert!(line.starts_with("unpack-layer: "), "run {number}: {run}");
        assert!(!line.chars().any(char::is_control), "run {number}: {run}");
    }
    if run.code() == Some(0) {
        // No unpacked file has the name of a whiteout.
        assert!(!cage.tree().iter().any(|name| name.contains(".wh.")), "run {number}: {run}");
    }
}

/// The failures of unpack-layer that list-layer does not have, because it makes no files.
const UNCHECKED: [&str; 4] = ["device", "user ID", "group ID", "file name too long"];

/// Checks that list-layer accepts the same layers, refuses others with the same words, and lists
/// the tree that unpack-layer makes. Returns whether the layers were accepted.
fn agree(cage: &Cage, number: u64, layers: &[&[u8]]) -> bool {
    let names =
        layers.iter().enumerate().map(|(i, bytes)| cage.scratch().write(format!("in/{i}"), bytes));
    let names: Vec<_> = names.collect();
    let unpacked = cage.judged(cage.command().args(["--max-entries", "1000"]).args(&names));
    let list = tool("list-layer").args(["--merged", "--json", "--max-entries", "1000"]);
    let listed = list.args(&names).under(&["prlimit", &format!("--as={MEMORY}"), "--"]).run();
    match (unpacked.code(), listed.code()) {
        (Some(0), Some(0)) => {
            let want = merged::unpacked(&cage.root(""));
            assert_eq!(merged::listed(&listed), want, "run {number}: {unpacked} {listed}");
        }
        // list-layer continued, to the end or to a later fault.
        (_, Some(0 | 6)) if UNCHECKED.iter().any(|words| unpacked.stderr.contains(words)) => {}
        (Some(6), Some(6)) => {
            let reason = |run: &Run| {
                let line = run.stderr.lines().find(|line| !line.contains(": warning: ")).unwrap();
                line.split_once(": ").unwrap().1.to_owned()
            };
            assert_eq!(reason(&listed), reason(&unpacked), "run {number}");
        }
        statuses => unreachable!("run {number}: {statuses:?}: {unpacked} {listed}"),
    }
    unpacked.code() == Some(0)
}

/// Makes `count` runs, each with a few changes to a layer of the corpus.
fn runs(count: u64, seed: u64, cage: &Cage, archives: bool, lower: bool) {
    changed(count, seed, archives, |number, base, bytes| {
        if lower { judge(cage, number, &[base, bytes]) } else { judge(cage, number, &[bytes]) }
    });
}

/// Passes `count` changed layers of the corpus to `judge`, each with its number and with a lower
/// layer.
fn changed(count: u64, seed: u64, archives: bool, judge: impl Fn(u64, &[u8], &[u8])) {
    let corpus = corpus();
    let (_, base) = corpus.iter().find(|(name, _)| name == "lower.tar").unwrap();
    let of_kind = |(name, _): &&(String, Vec<u8>)| name.ends_with(".tar") == archives;
    let kept: Vec<&(String, Vec<u8>)> = corpus.iter().filter(of_kind).collect();
    for number in seed..seed + count {
        let mut dice = Dice::new(number);
        let mut bytes = dice.pick(&kept).1.clone();
        if archives && dice.roll(3) == 0 {
            // Two layers joined into one archive.
            bytes.truncate(bytes.len() - 2 * BLOCK);
            bytes.extend(&dice.pick(&kept).1);
        }
        for _ in 0..1 + dice.roll(4) {
            if archives {
                change(&mut bytes, &mut dice);
            } else {
                let i = dice.roll(bytes.len());
                match dice.roll(8) {
                    0 => bytes.truncate(i.max(1)),
                    1 => drop(bytes.splice(i..i, [0; 7])),
                    2 => drop(bytes.drain(i..(i + 5).min(bytes.len() - 1).max(i))),
                    _ => bytes[i] = dice.roll(256) as u8,
                }
            }
        }
        judge(number, base, &bytes);
    }
}

/// A random part of a layer. There are few names, so that the parts of several layers concern the
/// same files.
fn small_part(dice: &mut Dice, layer: u64) -> Part {
    let parents =
        ["", "", "", "a/", "a/", "b/", "l/", "l/", "a/b/", "a/l/", "l/a/", "l/l/", "b/a/l/"];
    let name =
        |dice: &mut Dice| format!("{}{}", dice.pick(&parents), dice.pick(&["a", "b", "l", "x"]));
    let path = name(dice);
    match dice.roll(24) {
        0..=4 => dir(&path).mode(0o700 + dice.roll(8) as u32).mtime(layer),
        5..=8 => file(&path, "x".repeat(dice.roll(9))).mtime(dice.roll(99) as u64),
        9..=11 => symlink(
            &path,
            dice.pick(&["a", "b", "/b", "/a/b", "..", "../a", "l", "gone", "/", "x/.."]),
        ),
        12 => hardlink(&path, name(dice)),
        13 => fifo(&path),
        14 | 15 => opaque(path.rsplit_once('/').map_or("", |(parent, _)| parent)),
        16 | 17 => opaque(&path),
        _ => whiteout(&path),
    }
}

/// Up to four random layers of a few parts each.
fn small_layers(seed: u64) -> Vec<Vec<u8>> {
    let mut dice = Dice::new(seed);
    let count = 2 + dice.roll(3) as u64;
    (0..count)
        .map(|layer| {
            let parts: Vec<Part> =
                (0..2 + dice.roll(7)).map(|_| small_part(&mut dice, layer)).collect();
            archive(&parts)
        })
        .collect()
}

#[test]
fn random_bytes_are_refused() {
    let cage = Cage::new(PLACES[0]);
    for seed in 0..50 {
        let bytes = tests::images::noise(600 + seed as usize, seed);
        let run = tool("unpack-layer").dir(cage.dir()).arg("root").stdin(bytes).run();
        run.fails(6, "");
        cage.nothing();
    }
}

mod as_root {
    use super::*;

    #[test]
    fn the_layers_of_the_corpus_are_accepted() {
        for (name, bytes) in corpus() {
            let cage = Cage::new(PLACES[0]);
            let run = cage.stream(bytes);
            assert_eq!(run.code(), Some(0), "{name}: {run}");
            assert!(!cage.tree().is_empty(), "{name}");
        }
    }
}

mod at_length {
    use super::*;

    #[test]
    fn changed_archives_do_no_harm() {
        let mut cage = Cage::new(PLACES[0]);
        cage.options(&["--replace"]);
        runs(700, 0, &cage, true, false);
    }

    #[test]
    fn changed_archives_over_a_lower_layer_do_no_harm() {
        let mut cage = Cage::new(PLACES[1]);
        cage.options(&["--replace"]);
        runs(500, 10_000, &cage, true, true);
    }

    #[test]
    fn changed_archives_do_no_harm_to_an_ordinary_user() {
        let mut cage = Cage::new(PLACES[0]);
        cage.unprivileged().options(&["--replace", "--skip-devices"]);
        runs(150, 20_000, &cage, true, true);
    }

    #[test]
    fn changed_archives_do_no_harm_as_an_overlay() {
        let mut cage = Cage::new(PLACES[0]);
        cage.options(&["--replace", "--whiteouts", "overlay"]);
        runs(200, 30_000, &cage, true, true);
    }

    #[test]
    fn changed_streams_do_no_harm() {
        let mut cage = Cage::new(PLACES[0]);
        cage.options(&["--replace"]);
        runs(400, 40_000, &cage, false, false);
    }

    #[test]
    fn changed_archives_are_listed_as_they_are_unpacked() {
        let mut cage = Cage::new(PLACES[0]);
        cage.options(&["--replace"]);
        changed(500, 50_000, true, |number, _, bytes| {
            agree(&cage, number, &[bytes]);
        });
        changed(500, 60_000, true, |number, base, bytes| {
            agree(&cage, number, &[base, bytes]);
        });
        changed(200, 70_000, false, |number, _, bytes| {
            agree(&cage, number, &[bytes]);
        });
    }
    #[test]
    fn small_layers_are_listed_as_they_are_unpacked() {
        let mut cage = Cage::new(PLACES[0]);
        cage.options(&["--replace"]);
        let runs = 600;
        let mut unpacked = 0;
        for number in 80_000..80_000 + runs {
            let layers = small_layers(number);
            let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
            unpacked += u64::from(agree(&cage, number, &layers));
        }
        // Most random layers must be valid, or little is compared.
        assert!(unpacked * 3 > runs, "{unpacked} of {runs}");
    }
}
