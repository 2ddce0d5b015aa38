// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: the beginning and the end of a layer, its compression and its digests.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::Stdio;

use tests::cage::{Cage, PLACES};
use tests::images::{gzip, noise, sha256, sha512};
use tests::layers::{archive, blocks, file};
use tests::peers::peer;
use tests::tools::{Run, shell};

/// A layer with a file named f.
fn layer() -> Vec<u8> {
    archive(&[file("f", noise(3000, 1))])
}

/// Unpacks bytes with these options in a new cage.
fn unpack(options: &[&str], bytes: impl Into<Vec<u8>>) -> (Cage, Run) {
    let mut cage = Cage::new(PLACES[0]);
    cage.options(options);
    let run = cage.stream(bytes);
    (cage, run)
}

/// Asserts that these bytes are accepted without a warning, and that f exists.
fn accepted(bytes: impl Into<Vec<u8>>) {
    let (cage, run) = unpack(&[], bytes);
    run.ok();
    assert!(cage.root("f").is_file());
}

/// Asserts that these bytes are accepted with a warning, and that --strict refuses them.
fn warned(bytes: &[u8], words: &str) {
    unpack(&[], bytes).1.status(0).says(&format!("warning: {words}"));
    let (cage, run) = unpack(&["--strict"], bytes);
    run.fails(6, words).says("(--strict)");
    cage.nothing();
}

/// Asserts that these bytes are refused with this message and leave no tree.
fn refused(bytes: impl Into<Vec<u8>>, words: &str) {
    let (cage, run) = unpack(&[], bytes);
    run.fails(6, words);
    cage.nothing();
}

/// The output of a program that reads these bytes.
fn through(program: &str, args: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut child =
        peer(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

// Ends of archives.

#[test]
fn empty_input_is_refused_unless_its_digest_is_given() {
    refused("", "no input: did the previous command fail?");
    for option in ["--digest", "--diff-id"] {
        let (cage, run) = unpack(&[option, &sha256(b"")], "");
        run.ok();
        cage.has(&[]);
    }
}

#[test]
fn the_canonical_empty_layer_changes_nothing() {
    for bytes in [vec![0; 1024], gzip(&[0; 1024])] {
        let (cage, run) = unpack(&[], bytes);
        let line = &run.ok().lines()[0];
        assert!(
            line.contains(
                "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
            )
        );
        cage.has(&[]);
    }
}

#[test]
fn an_archive_without_a_complete_end_marker_causes_a_warning() {
    let parts = [file("f", "data")];
    warned(&blocks(&parts), "the archive has no end marker");
    warned(&[blocks(&parts), vec![0; 512]].concat(), "the archive has no end marker");
}

#[test]
fn a_lone_zero_block_with_more_after_it_is_refused() {
    let bytes = [blocks(&[file("f", "")]), vec![0; 512], archive(&[file("hidden", "")])].concat();
    refused(bytes, "a lone zero block with data after it");
}

#[test]
fn zeros_after_the_end_are_only_hashed() {
    for zeros in [1, 512, 10_240, 1 << 20] {
        let bytes = [layer(), vec![0; zeros]].concat();
        let (_, run) = unpack(&["--diff-id", &sha256(&bytes)], gzip(&bytes));
        run.ok();
        assert!(run.lines()[0].contains(&sha256(&bytes)));
    }
}

#[test]
fn data_after_the_end_is_hashed_and_not_unpacked() {
    let bytes = [layer(), archive(&[file("second", "")])].concat();
    warned(&bytes, "data after the end of the archive: hashed, not unpacked");
    let (cage, run) = unpack(&["--diff-id", &sha256(&bytes)], gzip(&bytes));
    run.status(0);
    cage.has(&["f"]);
}

#[test]
fn an_archive_cut_in_a_header_or_in_data_is_refused() {
    let whole = layer();
    for cut in [1, 100, 511] {
        refused(&whole[..cut], "not a tar archive");
    }
    for cut in [512, 600, 3511] {
        refused(&whole[..cut], "archive is cut short: ");
    }
    let two = blocks(&[file("f", ""), file("g", "")]);
    refused(&two[..700], "archive is cut short: in a header");
}

#[test]
fn an_archive_cut_in_the_padding_of_its_last_block_needs_a_digest() {
    let whole = blocks(&[file("f", "data")]);
    for cut in [516, 700, 1023] {
        refused(&whole[..cut], "archive is cut short: within its last block");
        let digest = sha256(&whole[..cut]);
        let (cage, run) = unpack(&["--digest", &digest], &whole[..cut]);
        run.status(0).says("warning: the archive ends within its last block");
        assert_eq!(cage.read("f"), "data");
    }
}

#[test]
fn the_error_names_the_file_in_which_the_archive_is_cut() {
    let bytes = blocks(&[file("g", ""), file("dir/f", noise(2000, 1))]);
    refused(&bytes[..1500], "entry \"dir/f\": archive is cut short: ");
}

// gzip.

#[test]
fn every_gzip_member_is_read() {
    let pieces: Vec<u8> = layer().chunks(100).flat_map(gzip).collect();
    accepted(pieces);
}

#[test]
fn empty_gzip_members_are_skipped_quickly() {
    let first = gzip(&layer()[..1000]);
    let second = gzip(&layer()[1000..]);
    let none = gzip(b"").repeat(200_000);
    accepted([first, none, second].concat());
}

/// A gzip member with optional fields: the flags, and the fields that they announce.
fn member(flags: u8, fields: &[u8], data: &[u8]) -> Vec<u8> {
    let plain = gzip(data);
    let mut bytes = [&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255], fields].concat();
    if flags & 2 != 0 {
        let crc = flate2_crc(&bytes);
        bytes.extend_from_slice(&(crc as u16).to_le_bytes());
    }
    [bytes, plain[10..].to_vec()].concat()
}

fn flate2_crc(bytes: &[u8]) -> u32 {
    // CRC-32 bit by bit: short, and independent of any library.
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn optional_gzip_fields_of_every_kind_are_skipped() {
    let extra = |length: usize| [&(length as u16).to_le_bytes()[..], &vec![7; length]].concat();
    accepted(member(4, &extra(0), &layer()));
    accepted(member(4, &extra(65_535), &layer()));
    accepted(member(8, b"name\0", &layer()));
    accepted(member(16, b"comment\0", &layer()));
    accepted(member(2, b"", &layer()));
    accepted(member(30, &[extra(5), b"name\0comment\0".to_vec()].concat(), &layer()));
    // A name of any length takes no memory.
    let name = [vec![b'n'; 8 << 20], vec![0]].concat();
    accepted(member(8, &name, &layer()));
}

#[test]
fn invalid_gzip_headers_are_refused() {
    refused(member(8, &[b'n'; 1000], b"")[..1000].to_vec(), "gzip: cut short");
    for flags in [0x20, 0x40, 0x80] {
        refused(member(flags, b"", &layer()), "gzip: reserved flags are set");
    }
    let mut method = gzip(&layer());
    method[2] = 7;
    refused(method, "gzip: unknown compression method 7");
    let mut check = member(2, b"", &layer());
    check[10] ^= 1;
    refused(check, "gzip: wrong checksum of a member's header");
}

#[test]
fn zeros_after_the_last_gzip_member_are_ignored() {
    for zeros in [1, 512, 10_240, 3 << 20] {
        let bytes = [gzip(&layer()), vec![0; zeros]].concat();
        let (_, run) = unpack(&["--digest", &sha256(&bytes)], bytes);
        run.ok();
    }
}

#[test]
fn anything_else_after_the_last_gzip_member_is_refused() {
    for junk in [&b"junk"[..], b"\0\0junk", b"\x1f", b"\x1f\x8c", &layer()] {
        let (cage, run) = unpack(&[], [gzip(&layer()), junk.to_vec()].concat());
        run.status(6).says("gzip: ");
        cage.nothing();
    }
}

#[test]
fn a_member_cut_anywhere_is_refused() {
    let whole = gzip(&layer());
    for cut in [3, 9, 15, whole.len() / 2, whole.len() - 9, whole.len() - 5, whole.len() - 1] {
        let (cage, run) = unpack(&[], &whole[..cut]);
        run.status(6);
        cage.nothing();
    }
    // A stream that is cut between two members is complete for gzip, but its archive is cut.
    refused(gzip(&layer()[..1000]), "archive is cut short");
}

#[test]
fn a_member_with_a_wrong_trailer_or_body_is_refused() {
    let whole = gzip(&layer());
    let damaged = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    refused(damaged(whole.len() - 8), "gzip: wrong checksum");
    refused(damaged(whole.len() - 1), "gzip: wrong length");
    // A block of an undefined type; a distance to before the beginning.
    refused([&whole[..10], &[0x07]].concat(), "gzip: invalid compressed data");
    refused([&whole[..10], &[0x63, 0x00, 0x02, 0x00]].concat(), "gzip: ");
}

// zstd.

fn zstd(args: &[&str], data: &[u8]) -> Vec<u8> {
    through("zstd", &[&["-q", "-c"], args].concat(), data)
}

fn skippable(data: &[u8]) -> Vec<u8> {
    [&[0x5a, 0x2a, 0x4d, 0x18], &(data.len() as u32).to_le_bytes()[..], data].concat()
}

// Digests.

#[test]
fn digests_of_either_algorithm_cover_every_byte() {
    let bytes = gzip(&layer());
    let (_, run) =
        unpack(&["--digest", &sha512(&bytes), "--diff-id", &sha256(&layer())], bytes.clone());
    run.ok();
    let (_, run) = unpack(&["--digest", &sha256(&bytes), "--diff-id", &sha512(&layer())], bytes);
    run.ok();
}

#[test]
fn an_invalid_digest_gives_status_2_before_anything_is_written() {
    let hex = "a".repeat(64);
    for digest in
        ["md5:x", &format!("sha256:{}", hex.to_uppercase()), &format!("sha256:{}", &hex[1..]), "x"]
    {
        let (cage, run) = unpack(&["--digest", digest], layer());
        run.fails(2, "--digest");
        cage.nothing();
    }
}

#[test]
fn input_that_arrives_byte_by_byte_gives_the_same_tree() {
    let stored = gzip(&layer());
    let cage = Cage::new(PLACES[0]);
    let file = cage.scratch().write("layer", &stored);
    let script = "dd bs=1 status=none <\"$layer\" | unpack-layer root";
    shell(script).dir(cage.dir()).env("layer", file).run().ok();
    assert_eq!(cage.stat("f").len(), 3000);
}

mod with_peers {
    use super::*;

    #[test]
    fn every_zstd_frame_is_read_and_skippable_ones_are_skipped() {
        let one = zstd(&[], &layer()[..1000]);
        let other = zstd(&[], &layer()[1000..]);
        let [toc, none] = [skippable(b"table of contents"), skippable(b"")];
        accepted([one.clone(), other.clone()].concat());
        accepted([&toc[..], &one, &none, &toc, &other, &toc].concat());
        let (_, run) = unpack(&[], [toc, one, other].concat());
        assert!(run.ok().lines()[0].contains("tar+zstd"));
    }

    #[test]
    fn a_zstd_checksum_may_be_absent_but_not_wrong() {
        accepted(zstd(&["--no-check"], &layer()));
        let mut wrong = zstd(&["--check"], &layer());
        *wrong.last_mut().unwrap() ^= 1;
        refused(wrong, "zstd: ");
    }

    #[test]
    fn a_frame_cut_anywhere_is_refused() {
        let whole = [zstd(&[], &layer()[..1000]), zstd(&[], &layer()[1000..])].concat();
        for cut in [5, 20, whole.len() / 2, whole.len() - 1] {
            let (cage, run) = unpack(&[], &whole[..cut]);
            run.status(6);
            cage.nothing();
        }
    }

    #[test]
    fn windows_up_to_128_mib_are_accepted_and_larger_ones_refused() {
        accepted(zstd(&["--ultra", "--long=27"], &layer()));
        // The header alone states the size of the window.
        let window = |log: u8| vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3, 1, 0, 0];
        for log in [28, 30, 31] {
            let mib = 1u64 << (log - 20);
            refused(window(log), &format!("zstd: window of {mib} MiB, more than 128"));
        }
    }

    #[test]
    fn zstd_dictionaries_old_versions_and_trailing_data_are_refused() {
        refused(vec![0x28, 0xb5, 0x2f, 0xfd, 1, 0, 7, 1, 0, 0], "zstd: needs a dictionary");
        for version in 0x22..=0x27 {
            refused(vec![version, 0xb5, 0x2f, 0xfd, 0, 0, 1, 0, 0], "not a tar archive");
        }
        refused([zstd(&[], &layer()), vec![0; 512]].concat(), "trailing data after the last frame");
        refused([zstd(&[], &layer()), b"junk".to_vec()].concat(), "trailing data");
    }

    #[test]
    fn unsupported_compressions_are_named_in_the_error() {
        refused(through("bzip2", &["-c"], &layer()), "unsupported compression: bzip2");
        refused(through("xz", &["-c"], &layer()), "unsupported compression: xz");
    }

    #[test]
    fn a_layer_compressed_twice_is_refused() {
        refused(gzip(&gzip(&layer())), "not a tar archive");
        refused(zstd(&[], &gzip(&layer())), "not a tar archive");
    }

    #[test]
    fn a_wrong_digest_or_diff_id_gives_status_1_and_leaves_nothing() {
        for option in ["--digest", "--diff-id"] {
            for bytes in [layer(), gzip(&layer()), zstd(&[], &layer())] {
                let (cage, run) = unpack(&[option, &sha256(b"other")], bytes);
                run.fails(1, "differs: got sha256:");
                cage.nothing();
            }
        }
    }

    /// The memory that one layer used must be free again for the next.
    #[test]
    fn more_layers_than_buffers_are_unpacked() {
        for compressed in [None, Some("gzip"), Some("zstd")] {
            let cage = Cage::new(PLACES[0]);
            let layers = (0..40).map(|i| {
                // Empty, small, exactly one buffer, more than one buffer.
                let size = [0, 100, (512 << 10) - 2048, 600_000][i % 4];
                let archive = archive(&[file(format!("f{i}"), noise(size, i as u64))]);
                let layer = compressed.map_or(archive.clone(), |by| through(by, &["-c"], &archive));
                cage.scratch().write(format!("in/layer{i}"), layer)
            });
            let layers: Vec<_> = layers.collect();
            let run = cage.judged(cage.command().args(layers));
            assert_eq!(run.ok().lines().len(), 40);
            assert_eq!(cage.tree().len(), 40);
        }
    }
}
