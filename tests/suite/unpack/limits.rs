// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: decompression bombs and other layers that exhaust a machine. Options limit their
//! use of the disk; the tool itself limits their use of memory.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::Stdio;

use tests::cage::{Cage, PLACES};
use tests::images::{gzip, noise};
use tests::layers::{archive, blocks, entry, file};
use tests::peers::peer;
use tests::tools::{Run, shell};

/// Unpacks bytes with these options in a new cage.
fn unpack(options: &[&str], bytes: impl Into<Vec<u8>>) -> (Cage, Run) {
    let mut cage = Cage::new(PLACES[0]);
    cage.options(options);
    let run = cage.stream(bytes);
    (cage, run)
}

/// One zstd frame.
fn zstd(args: &[&str], data: &[u8]) -> Vec<u8> {
    let mut child = peer("zstd")
        .args(["-q", "-c"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let data = data.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&data).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn max_entries_allows_exactly_that_many_entries() {
    let parts: Vec<_> = (0..10).map(|i| file(format!("f{i}"), "")).collect();
    let (_, run) = unpack(&["--max-entries", "10"], archive(&parts));
    run.ok();
    let (cage, run) = unpack(&["--max-entries", "9"], archive(&parts));
    run.fails(6, "more than 9 entries (--max-entries)");
    cage.nothing();
    // An entry may need directories that have no entry. These are counted too.
    let deep = file("a/b/c/d/f", "");
    let (_, run) = unpack(&["--max-entries", "4"], archive(std::slice::from_ref(&deep)));
    run.ok();
    let (_, run) = unpack(&["--max-entries", "3"], archive(&[deep]));
    run.fails(6, "more than 3 directories without an entry (--max-entries)");
}

/// Unpacks a layer `times` times. Returns the peak memory of the run in KiB, as counted by the
/// kernel.
fn memory(cage: &Cage, stored: &[u8], times: usize) -> (Run, u64) {
    let layer = cage.scratch().write("layer", stored);
    let layers = "\"$layer\" ".repeat(times);
    let script = format!("exec time -f %M -o \"$out\" unpack-layer root --no-sync {layers}");
    let out = cage.scratch().join("memory");
    let command = shell(&script).dir(cage.dir()).env("out", &out).env("layer", layer);
    let run = command.run();
    let text = std::fs::read_to_string(out).unwrap();
    (run, text.lines().last().unwrap().parse().unwrap())
}

/// The memory that no layer may exceed: buffers, threads and the program itself.
const MEMORY_KIB: u64 = 40 << 10;

mod with_peers {
    use super::*;

    #[test]
    fn a_decompression_bomb_stops_at_max_size() {
        const ZEROS: usize = 64 << 20;
        let bomb = archive(&[file("zeros", vec![0; ZEROS])]);
        for stored in [gzip(&bomb), zstd(&[], &bomb)] {
            assert!(stored.len() < ZEROS / 100);
            let (cage, run) = unpack(&["--max-size", "16M"], stored.clone());
            run.fails(6, "(--max-size)");
            cage.nothing();
            let (_, run) = unpack(&["--max-size", "65M"], stored);
            run.ok();
        }
    }

    #[test]
    fn max_size_allows_exactly_that_many_bytes() {
        let bytes = archive(&[file("f", noise(3000, 1))]);
        let size = bytes.len().to_string();
        let less = (bytes.len() - 1).to_string();
        for stored in [bytes.clone(), gzip(&bytes), zstd(&[], &bytes)] {
            unpack(&["--max-size", &size], stored.clone()).1.ok();
            unpack(&["--max-size", &less], stored).1.fails(6, &format!("more than {less} bytes"));
        }
    }

    #[test]
    fn max_size_counts_the_archives_of_all_layers() {
        let bytes = archive(&[file("f", noise(3000, 1))]);
        let size = 2 * bytes.len();
        let cage = Cage::new(PLACES[0]);
        let layer = cage.scratch().write("layer", gzip(&bytes));
        let run = |limit: usize| {
            let limit = limit.to_string();
            cage.command().args(["--max-size", &limit]).arg(&layer).arg(&layer).run()
        };
        run(size - 1).fails(6, &format!("more than {} bytes (--max-size)", size - 1));
        cage.nothing();
        run(size).ok();
    }

    #[test]
    fn memory_is_bounded_whatever_a_layer_contains() {
        let many: Vec<u8> = (0..40_000).flat_map(|i| file(format!("f{i}"), "").bytes()).collect();
        let named: Vec<u8> = (0..60)
            .flat_map(|i| file(format!("{}{i}", "a/../".repeat(100_000)), "").bytes())
            .collect();
        let huge = blocks(&[entry(b'0', "big", "").size((1 << 33) - 1)]);
        let cases = [
            ("a large file", gzip(&archive(&[file("zeros", vec![0; 64 << 20])]))),
            ("many entries", gzip(&many)),
            ("long names", gzip(&named)),
            ("many files over lower ones", gzip(&many)),
            ("a large file over a lower one", gzip(&archive(&[file("zeros", noise(48 << 20, 1))]))),
            ("a size without data", huge),
            ("the largest window", zstd(&["--ultra", "--long=27"], &many)),
        ];
        for (what, stored) in cases {
            let cage = Cage::new(PLACES[0]);
            let (run, used) = memory(&cage, &stored, 1 + usize::from(what.contains("lower")));
            // The window has to be in memory, so the limit is raised by its size. Only the 20 MiB
            // that the archive fills are used.
            let most = if what.contains("window") { MEMORY_KIB + (128 << 10) } else { MEMORY_KIB };
            assert!(used < most, "{what}: {used} KiB of {run}");
        }
    }

    #[test]
    fn a_file_larger_than_8_gib_is_streamed() {
        // The same frame of zeros is repeated, so that not even the test has the complete file in
        // memory.
        const PIECE: usize = 64 << 20;
        const PIECES: usize = (8 << 30) / PIECE;
        let size = (PIECE * PIECES + 512) as u64;
        let header =
            entry(b'0', "big", "").at(124, &[&[0x80, 0, 0, 0], &size.to_be_bytes()[..]].concat());
        let end = zstd(&[], &[vec![b'x'; 512], vec![0; 1024]].concat());
        let zeros = zstd(&[], &vec![0; PIECE]);
        let stored = [zstd(&[], &header.bytes()), zeros.repeat(PIECES), end].concat();
        let cage = Cage::new(PLACES[0]);
        let (run, used) = memory(&cage, &stored, 1);
        assert_eq!(run.code(), Some(0), "{run}");
        assert_eq!(cage.stat("big").len(), size);
        assert!(used < MEMORY_KIB, "{used} KiB");
    }

    #[test]
    fn the_longest_list_of_attributes_takes_little_memory() {
        let pairs: Vec<(String, &str)> =
            (0..30_000).map(|i| (format!("SCHILY.xattr.trusted.{i}"), "x")).collect();
        let pairs: Vec<(&str, &str)> =
            pairs.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let cage = Cage::new(PLACES[0]);
        let (run, used) = memory(&cage, &archive(&[file("f", "").pax(&pairs[..25_000])]), 1);
        run.status(0).says("25000 times");
        assert!(used < MEMORY_KIB, "{used} KiB");
    }
}
