// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: sparse files in their four formats, and invalid maps.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::MetadataExt;

use tests::cage::{Cage, PLACES, everywhere};
use tests::judges::{agree, agree_with};
use tests::layers::{GNU, Part, archive, entry, file, padded, raw, symlink};

/// The parts of a sparse file that an archive holds: offset and length of each.
type Map<'a> = &'a [(u64, u64)];

/// GNU's old format: four parts in the header, then blocks of 21 parts.
fn old(name: &str, map: Map, size: u64, data: &[u8]) -> [Part; 2] {
    let number = |value: u64| match value {
        0..0o100_000_000_000 => format!("{value:011o}\0").into_bytes(),
        _ => [&[0x80, 0, 0, 0], &value.to_be_bytes()[..]].concat(),
    };
    let written: Vec<Vec<u8>> =
        map.iter().map(|(offset, length)| [number(*offset), number(*length)].concat()).collect();
    let (first, rest) = written.split_at(written.len().min(4));
    let mut header = entry(b'S', name, "").magic(GNU).size(data.len() as u64);
    header = header.at(386, &first.concat()).at(483, &number(size)[..12]);
    let blocks: Vec<&[Vec<u8>]> = rest.chunks(21).collect();
    let mut after = Vec::new();
    for (i, parts) in blocks.iter().enumerate() {
        let mut block = parts.concat();
        block.resize(512, 0);
        block[504] = u8::from(i + 1 < blocks.len());
        after.extend(block);
    }
    if !blocks.is_empty() {
        header = header.at(482, b"\x01");
    }
    after.extend(padded(data));
    [header, raw(after)]
}

/// PAX 0.0: each number is a record of its own.
fn pax00(name: &str, map: Map, size: u64, data: &[u8]) -> [Part; 2] {
    let mut part = file(name, data).pax(&[
        ("GNU.sparse.size", size.to_string()),
        ("GNU.sparse.numblocks", map.len().to_string()),
    ]);
    for (offset, length) in map {
        part = part.pax(&[("GNU.sparse.offset", offset.to_string())]);
        part = part.pax(&[("GNU.sparse.numbytes", length.to_string())]);
    }
    [part, raw("")]
}

/// PAX 0.1: one record with numbers separated by commas.
fn pax01(name: &str, map: Map, size: u64, data: &[u8]) -> [Part; 2] {
    let numbers: Vec<String> =
        map.iter().map(|(offset, length)| format!("{offset},{length}")).collect();
    let part = file("GNUSparseFile.0/x", data).pax(&[
        ("GNU.sparse.size", size.to_string()),
        ("GNU.sparse.numblocks", map.len().to_string()),
        ("GNU.sparse.map", numbers.join(",")),
        ("GNU.sparse.name", name.to_owned()),
    ]);
    [part, raw("")]
}

/// PAX 1.0: the numbers precede the data.
fn pax10(name: &str, map: Map, size: u64, data: &[u8]) -> [Part; 2] {
    let mut head = format!("{}\n", map.len());
    for (offset, length) in map {
        head.push_str(&format!("{offset}\n{length}\n"));
    }
    pax10_raw(name, &[padded(head.as_bytes()), data.to_vec()].concat(), size)
}

fn pax10_raw(name: &str, body: &[u8], size: u64) -> [Part; 2] {
    let part = file("GNUSparseFile.0/x", body).pax(&[
        ("GNU.sparse.major", "1".to_owned()),
        ("GNU.sparse.minor", "0".to_owned()),
        ("GNU.sparse.realsize", size.to_string()),
        ("GNU.sparse.name", name.to_owned()),
    ]);
    [part, raw("")]
}

/// Compares with all other readers, except for umoci in the old format, which it refuses.
fn agreed(cage: &Cage, format_name: &str, archive: &[u8]) {
    match format_name {
        "old" => agree_with(cage, archive, &["tar", "bsdtar"]),
        _ => agree(cage, archive),
    }
}

type Format = fn(&str, Map, u64, &[u8]) -> [Part; 2];
const FORMATS: [(&str, Format); 4] = [("old", old), ("0.0", pax00), ("0.1", pax01), ("1.0", pax10)];

/// Asserts that a map is refused in all four formats.
fn refused(map: Map, size: u64, data: &[u8], words: &str) {
    for (format_name, write) in FORMATS {
        let cage = Cage::new(PLACES[0]);
        let run = cage.stream(archive(&write("f", map, size, data)));
        assert!(run.stderr.contains(words), "{format_name}: {run}");
        run.status(6);
        cage.nothing();
    }
}

#[test]
fn a_file_that_is_one_hole_takes_no_disk_space() {
    for (format_name, write) in FORMATS {
        everywhere(|cage| {
            let run = cage.stream(archive(&write("f", &[(1 << 40, 0)], 1 << 40, b"")));
            assert_eq!(run.code(), Some(0), "{format_name}: {run}");
            assert_eq!((cage.stat("f").len(), cage.stat("f").blocks()), (1 << 40, 0));
        });
    }
}

#[test]
fn parts_that_overlap_or_lie_outside_are_refused() {
    let words = "out of order, overlaps another one, or exceeds the file's 20 bytes";
    refused(&[(0, 5), (4, 5)], 20, &[b'x'; 10], words);
    refused(&[(512, 512), (0, 5)], 1024, &[b'x'; 517], "or exceeds the file's 1024 bytes");
    refused(&[(16, 5)], 20, b"xxxxx", words);
}

#[test]
fn a_map_of_more_or_fewer_bytes_than_the_data_is_refused() {
    refused(&[(0, 4)], 4, b"xxxxx", "have 4 bytes, but the archive has 5 bytes of data");
    refused(&[(0, 6)], 6, b"xxxxx", "have 6 bytes, but the archive has 5 bytes of data");
}

#[test]
fn a_map_that_does_not_reach_the_end_of_the_file_is_refused() {
    // GNU tar ends the file where the map ends.
    refused(&[(0, 5)], 20, b"xxxxx", "sparse map: ends at byte 5, but the file has 20 bytes");
}

#[test]
fn only_the_last_part_may_end_within_a_block() {
    // GNU tar reads each part from the beginning of a block; Go and libarchive do not.
    refused(&[(0, 5), (10, 5)], 20, &[b'x'; 10], "not a multiple of 512 bytes");
}

#[test]
fn the_number_of_parts_is_limited() {
    const MAX: u64 = 10_000;
    let map = |count| -> Vec<(u64, u64)> { (1..=count).map(|i| (2 * i, 0)).collect() };
    for (format_name, write) in FORMATS {
        let cage = Cage::new(PLACES[0]);
        let run = cage.stream(archive(&write("f", &map(MAX), 2 * MAX, b"")));
        assert_eq!(run.code(), Some(0), "{format_name}: {run}");
    }
    refused(&map(MAX + 1), 2 * MAX + 2, b"", "segments");
}

#[test]
fn invalid_numbers_in_a_map_are_refused() {
    for body in ["1\n0\n5", "x\n", "-1\n", "+1\n0\n0\n", "1\n0\n5 \n", "111111111111111111111\n"] {
        let cage = Cage::new(PLACES[0]);
        let run = cage.stream(archive(&pax10_raw("f", &padded(body.as_bytes()), 4096)));
        run.fails(6, "sparse map: ");
    }
    let lists = [("0,-5", "1"), ("0", "1"), ("0,5,", "1"), (" 0,5", "1"), ("0,5", "2"), ("", "1")];
    for (list, count) in lists {
        let part = file("f", "hello").pax(&[
            ("GNU.sparse.size", "5"),
            ("GNU.sparse.numblocks", count),
            ("GNU.sparse.map", list),
        ]);
        let cage = Cage::new(PLACES[0]);
        cage.stream(archive(&[part])).fails(6, "sparse map: ");
    }
}

#[test]
fn a_map_that_continues_after_its_end_is_refused() {
    // The header announces another block, although its own parts have ended.
    let [header, data] = old("f", &[(0, 5)], 5, b"hello");
    let cage = Cage::new(PLACES[0]);
    cage.stream(archive(&[header.at(482, b"\x01"), data])).fails(6, "another block after its end");
}

#[test]
fn incomplete_sets_of_sparse_keywords_are_refused() {
    let all = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.realsize", "5"),
        ("GNU.sparse.name", "f"),
    ];
    for missing in 0..all.len() {
        let part = all.iter().enumerate().filter(|(i, _)| *i != missing);
        let part = part.fold(file("f", padded(b"0\n")), |part, (_, pair)| part.pax(&[*pair]));
        let cage = Cage::new(PLACES[0]);
        cage.stream(archive(&[part])).fails(6, "incomplete set of sparse keywords");
    }
    for key in ["GNU.sparse.offset", "GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.name"] {
        let cage = Cage::new(PLACES[0]);
        let run = cage.stream(archive(&[file("f", "hello").pax(&[(key, "5")])]));
        run.fails(6, "sparse keywords");
    }
}

#[test]
fn a_sparse_map_of_another_type_than_a_file_is_refused() {
    let map = [("GNU.sparse.size", "0"), ("GNU.sparse.numblocks", "0"), ("GNU.sparse.map", "")];
    let cage = Cage::new(PLACES[0]);
    let run = cage.stream(archive(&[symlink("s", "x").pax(&map)]));
    run.fails(6, "a sparse map for an entry that is not a regular file");
}

#[test]
fn sparse_fields_of_an_ordinary_file_are_refused() {
    // libarchive reads these fields in every GNU header; the other readers do not.
    for (offset, bytes) in [(386, &b"00000000001"[..]), (482, b"\x01"), (483, b"00000000001")] {
        let cage = Cage::new(PLACES[0]);
        let run = cage.stream(archive(&[file("f", "").magic(GNU).at(offset, bytes)]));
        run.fails(6, "header: sparse fields, but not a sparse file");
    }
}

#[test]
fn max_size_counts_holes() {
    for (format_name, write) in FORMATS {
        let parts = write("f", &[(1 << 40, 0)], 1 << 40, b"");
        let mut cage = Cage::new(PLACES[0]);
        cage.options(&["--max-size", "1T"]);
        let run = cage.stream(archive(&parts));
        assert_eq!(run.code(), Some(0), "{format_name}: {run}");
        let mut cage = Cage::new(PLACES[0]);
        cage.options(&["--max-size", "1023G"]);
        cage.stream(archive(&parts)).fails(6, "bytes of files (--max-size)");
    }
}

#[test]
fn the_largest_possible_size_is_refused_by_the_file_system() {
    for (_, write) in FORMATS {
        let cage = Cage::new(PLACES[1]);
        let size = (1 << 62) - 1;
        let run = cage.stream(archive(&write("f", &[(size, 0)], size, b"")));
        assert!(matches!(run.code(), Some(6 | 7)), "{run}");
        cage.nothing();
    }
}

mod as_root {
    use super::*;

    #[test]
    fn all_readers_unpack_the_same_file_from_all_four_formats() {
        for (format_name, write) in FORMATS {
            let cage = Cage::new(PLACES[1]);
            let content = [vec![b'a'; 1024], b"hello".to_vec()].concat();
            let [header, data] = write("f", &[(512, 1024), (4096, 5), (8192, 0)], 8192, &content);
            agreed(&cage, format_name, &archive(&[header, data, file("z", "1")]));
            cage.has(&["f", "z"]);
            let content = cage.read("f");
            assert_eq!((&content[1534..1537], &content[4096..4102]), ("aa\0", "hello\0"));
        }
    }

    #[test]
    fn maps_of_many_parts_continue_in_more_blocks() {
        let map: Vec<(u64, u64)> = (0..100).map(|i| (i * 1024 + 512, 512)).collect();
        for (format_name, write) in FORMATS {
            let cage = Cage::new(PLACES[0]);
            agreed(&cage, format_name, &archive(&write("f", &map, 102_400, &[b'x'; 51_200])));
        }
    }
}
