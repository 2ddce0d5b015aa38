// SPDX-License-Identifier: Apache-2.0
//! unpack-layer on layers that are changed by chance: so many, always the same ones. Whatever
//! comes, nothing outside is touched, nothing panics, memory is bounded, and what is refused is
//! refused in one line.
//!
//! The layers that are changed are kept in `fuzz/corpus/reader`; each name says what is in it. A
//! run that shows something becomes a case of its own elsewhere. A failed test says the number of
//! the run, which is all it takes to make the same layer again.

// Only what a test function calls is a test to clippy; what these share is not.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use tests::cage::{Cage, PLACES};
use tests::layers::{BLOCK, checksum, entry, extended, records};
use tests::tools::tool;

/// The most address space of a run: a window of zstd's, buffers, threads.
const MEMORY: u64 = 512 << 20;

/// Numbers by chance, the same for the same seed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below a limit.
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

/// The kept layers, by name.
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

/// The fields of a header: where they begin and how long they are.
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

/// What may stand in one: numbers in all spellings, names that lead everywhere.
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

/// Where headers begin: blocks with digits where the checksum is.
fn headers(bytes: &[u8]) -> Vec<usize> {
    let is_header = |at: &usize| bytes[at + 148..at + 150].iter().all(u8::is_ascii_digit);
    (0..bytes.len() / BLOCK).map(|i| i * BLOCK).filter(is_header).collect()
}

/// Changes an archive somewhere, and mends the checksums that it breaks, mostly.
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
            let (typeflag, name) = (*dice.pick(b"0123456"), *dice.pick(&VALUES));
            let part = entry(typeflag, name, "").link(dice.pick(&VALUES)).mode(0o7777);
            bytes.splice(at..at, part.bytes());
        }
    }
}

/// Unpacks a layer that was changed, and judges what no layer may bring about.
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
        // Of the names that are there, none is a whiteout's.
        assert!(!cage.tree().iter().any(|name| name.contains(".wh.")), "run {number}: {run}");
    }
}

/// So many runs over the corpus, each with a few changes.
fn runs(count: u64, seed: u64, cage: &Cage, archives: bool, lower: bool) {
    let corpus = corpus();
    let (_, base) = corpus.iter().find(|(name, _)| name == "lower.tar").unwrap();
    let of_kind = |(name, _): &&(String, Vec<u8>)| name.ends_with(".tar") == archives;
    let kept: Vec<&(String, Vec<u8>)> = corpus.iter().filter(of_kind).collect();
    for number in seed..seed + count {
        let mut dice = Dice::new(number);
        let mut bytes = dice.pick(&kept).1.clone();
        if archives && dice.roll(3) == 0 {
            // One after the other, as one archive.
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
        match lower {
            true => judge(cage, number, &[base, &bytes]),
            false => judge(cage, number, &[&bytes]),
        }
    }
}

#[test]
fn noise_is_no_layer() {
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
    fn the_kept_layers_are_taken_as_they_are() {
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
    fn changed_archives_over_others_do_no_harm() {
        let mut cage = Cage::new(PLACES[1]);
        cage.options(&["--replace"]);
        runs(500, 10_000, &cage, true, true);
    }

    #[test]
    fn changed_archives_do_no_harm_to_an_ordinary_user() {
        let mut cage = Cage::new(PLACES[0]);
        cage.nobody().options(&["--replace", "--skip-devices"]);
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
}
