// SPDX-License-Identifier: Apache-2.0
//! Runs each fuzz target with the files of its corpus, and with variations of them. The variations
//! are the same in every run.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

/// The corpus files of a target, with their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect();
    all.sort();
    assert!(all.len() >= 5, "{target}: only {} files", all.len());
    all
}

/// Pseudo-random numbers, the same for the same seed (xorshift64*).
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}

/// Changes some bytes: replaces, removes or inserts them, or copies bytes from another file.
fn vary(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    for _ in 0..1 + dice.roll(3) {
        let at = dice.roll(bytes.len() + 1);
        let end = (at + dice.roll(20)).min(bytes.len());
        match dice.roll(5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
            3 if at < bytes.len() => bytes[at] = dice.roll(256) as u8,
            _ if other.is_empty() => {}
            _ => {
                let from = dice.roll(other.len());
                let to = (from + dice.roll(40)).min(other.len());
                drop(bytes.splice(at..end, other[from..to].iter().copied()));
            }
        }
    }
}

/// Calls a target with its corpus, and then with this number of variations.
fn run(name: &str, target: fn(&[u8]), variations: u64, mend: fn(&mut [u8])) {
    let corpus = corpus(name);
    for (file, bytes) in &corpus {
        println!("{file}");
        target(bytes);
    }
    for number in 0..variations {
        let mut dice = Dice((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (file, bytes) = &corpus[dice.roll(corpus.len())];
        let other = &corpus[dice.roll(corpus.len())].1;
        let mut bytes = bytes.clone();
        vary(&mut bytes, other, &mut dice);
        if dice.roll(4) > 0 {
            mend(&mut bytes);
        }
        // If the test fails, its last line identifies the variation.
        println!("variation {number}, of {file}");
        target(&bytes);
    }
}

/// Corrects the checksum of each block that looks like a header, so that other checks see the
/// change as well.
fn mend_checksums(archive: &mut [u8]) {
    for block in archive.chunks_exact_mut(512) {
        if block[148..150].iter().all(u8::is_ascii_digit) {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

#[test]
fn the_reader_and_the_check_agree() {
    run("reader", fuzz::reader, 3000, mend_checksums);
}

#[test]
fn kept_archives_are_accepted() {
    for (name, bytes) in corpus("reader").iter().filter(|(name, _)| name.ends_with(".tar")) {
        let mut reader = archive::Reader::new(&bytes[..]);
        let mut count = 0;
        while reader.next().unwrap().is_some() {
            count += 1;
        }
        assert!(count > 0, "{name}");
    }
}

#[test]
fn references_are_printed_as_they_were_read() {
    run("reference", fuzz::reference, 30_000, |_| ());
}

#[test]
fn urls_of_servers_lead_where_they_may() {
    run("url", fuzz::url, 30_000, |_| ());
}

#[test]
fn challenges_are_written_as_they_were_read() {
    run("challenge", fuzz::challenge, 30_000, |_| ());
}

#[test]
fn manifests_have_valid_descriptors() {
    run("manifest", fuzz::manifest, 10_000, |_| ());
}
