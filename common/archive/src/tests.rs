// SPDX-License-Identifier: Apache-2.0
//! Tests of the reader on archives that are built block by block, without the crate's own writer.
//!
//! Helpers here may panic: this module is only compiled for tests (see `mod tests` in `lib.rs`).

use common::error::Result;

use crate::header::BLOCK;
use crate::parser::MAX_STACKED;
use crate::records::MAX_METADATA;
use crate::{Ending, EntryType, Reader, Segment};

/// A header block with the given fields and a correct checksum.
fn block(name: &str, typeflag: u8, size: u64, magic: &[u8; 8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0001750");
    block[116..123].copy_from_slice(b"0001750");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000001");
    block[156] = typeflag;
    block[257..265].copy_from_slice(magic);
    sum(&mut block);
    block
}

fn sum(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

const USTAR: &[u8; 8] = b"ustar\x0000";
const GNU: &[u8; 8] = b"ustar  \0";

fn padded(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().next_multiple_of(BLOCK), 0);
    data
}

fn part(name: &str, typeflag: u8, data: &[u8]) -> Vec<u8> {
    let magic = if matches!(typeflag, b'L' | b'K' | b'S') { GNU } else { USTAR };
    [block(name, typeflag, data.len() as u64, magic).to_vec(), padded(data)].concat()
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut data = Vec::new();
    for (keyword, value) in records {
        let rest = format!(" {keyword}={value}\n");
        let mut length = rest.len() + 1;
        while format!("{length}{rest}").len() != length {
            length += 1;
        }
        data.extend(format!("{length}{rest}").into_bytes());
    }
    part("PaxHeaders", b'x', &data)
}

fn end() -> Vec<u8> {
    vec![0; 2 * BLOCK]
}

/// Name, type and data of an entry.
type Listed = (String, EntryType, Vec<u8>);

/// The entries of an archive and its ending, or the error with which it is refused.
fn list(archive: &[u8]) -> Result<(Vec<Listed>, Ending)> {
    let mut reader = Reader::new(archive);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut data = Vec::new();
        loop {
            let bytes = reader.data()?;
            let count = bytes.len();
            if count == 0 {
                break;
            }
            data.extend_from_slice(bytes);
            reader.consume(count);
        }
        entries.push((String::from_utf8_lossy(&entry.name).into_owned(), entry.entry_type, data));
    }
    Ok((entries, reader.finish()?))
}

fn names(parts: &[Vec<u8>]) -> Result<Vec<String>> {
    let archive = [parts.concat(), end()].concat();
    Ok(list(&archive)?.0.into_iter().map(|(name, _, _)| name).collect())
}

#[test]
fn an_archive_is_read_in_order() {
    let archive = [part("d/", b'5', b""), part("d/f", b'0', b"hello"), end()].concat();
    let (entries, ending) = list(&archive).unwrap();
    assert_eq!(entries[0], ("d/".to_owned(), EntryType::Directory, vec![]));
    assert_eq!(entries[1], ("d/f".to_owned(), EntryType::Regular, b"hello".to_vec()));
    assert_eq!(ending, Ending::Marked);
}

#[test]
fn a_byte_at_a_time_is_the_same() {
    let archive = [part("d/f", b'0', &[7; 700]), end()].concat();
    let slow = std::io::BufReader::with_capacity(1, &archive[..]);
    let mut reader = Reader::new(slow);
    assert_eq!(reader.next().unwrap().unwrap().size, 700);
    assert!(reader.next().unwrap().is_none());
    assert_eq!(reader.finish().unwrap(), Ending::Marked);
}

#[test]
fn endings_are_distinguished() {
    let file = part("f", b'0', b"x");
    let ending = |tail: &[u8]| list(&[file.clone(), tail.to_vec()].concat()).map(|(_, e)| e);
    assert_eq!(ending(&end()).unwrap(), Ending::Marked);
    assert_eq!(ending(&[0; 10240]).unwrap(), Ending::Marked);
    assert_eq!(ending(&[0; 512]).unwrap(), Ending::Unmarked);
    assert_eq!(ending(&[]).unwrap(), Ending::Unmarked);
    assert_eq!(ending(&[end(), b"more".to_vec()].concat()).unwrap(), Ending::Trailing);
    assert!(ending(&[0; 100]).is_err());
    assert!(ending(&[vec![0; 512], file.clone()].concat()).is_err(), "a lone zero block");
    assert_eq!(list(&file[..600]).unwrap().1, Ending::CutPadding);
    assert!(list(&file[..512]).is_err(), "cut in the data");
    assert_eq!(list(b"").unwrap().1, Ending::Empty);
    assert!(list(b"{}").is_err());
}

#[test]
fn an_extended_size_replaces_that_of_the_header() {
    let inner = [part("hidden", b'0', b""), part("hidden2", b'0', b"")].concat();
    let file = [block("big", b'0', 0, USTAR).to_vec(), inner].concat();
    let parts = [pax(&[("size", "1024")]), file, part("after", b'0', b"")];
    assert_eq!(names(&parts).unwrap(), ["big", "after"]);
}

#[test]
fn long_names_and_extended_headers_must_not_contradict_each_other() {
    let long = part("././@LongLink", b'L', b"long\0");
    let file = part("f", b'0', b"");
    let of = |headers: &[Vec<u8>]| names(&[headers.concat(), file.clone()]);
    assert_eq!(of(std::slice::from_ref(&long)).unwrap(), ["long"]);
    assert_eq!(of(&[part("", b'L', b"first\0"), long.clone()]).unwrap(), ["long"]);
    assert_eq!(of(&[pax(&[("path", "p")])]).unwrap(), ["p"]);
    assert_eq!(of(&[pax(&[("mtime", "1")]), long.clone()]).unwrap(), ["long"]);
    for records in [("path", "long"), ("linkpath", "p"), ("size", "0")] {
        assert_eq!(of(&[pax(&[records]), long.clone()]).unwrap(), ["long"], "{records:?}");
        assert_eq!(of(&[long.clone(), pax(&[records])]).unwrap(), ["long"], "{records:?}");
    }
    assert!(of(&[pax(&[("path", "p")]), long.clone()]).is_err());
    assert!(of(&[long.clone(), pax(&[("path", "p")])]).is_err());
    let link = part("././@LongLink", b'K', b"long\0");
    assert!(of(&[link.clone(), pax(&[("linkpath", "p")])]).is_err());
    let sparse = [("GNU.sparse.size", "0"), ("GNU.sparse.numblocks", "0"), ("GNU.sparse.map", "")];
    assert!(of(&[pax(&sparse), link]).is_err());
    assert!(of(&[pax(&[("mtime", "1")]), pax(&[("mtime", "2")])]).is_err());
}

#[test]
fn headers_without_an_entry_are_refused() {
    assert!(names(&[pax(&[("path", "p")])]).is_err());
    assert!(names(&[part("", b'L', b"x\0")]).is_err());
    assert!(list(&pax(&[("path", "p")])).is_err());
}

#[test]
fn a_global_header_is_ignored_and_must_not_name() {
    let global = |records: &[(&str, &str)]| {
        let mut header = pax(records);
        header[156] = b'g';
        let mut first: [u8; BLOCK] = header[..BLOCK].try_into().unwrap();
        sum(&mut first);
        header[..BLOCK].copy_from_slice(&first);
        header
    };
    let file = part("f", b'0', b"");
    assert_eq!(names(&[global(&[("comment", "x")]), file.clone()]).unwrap(), ["f"]);
    assert!(names(&[global(&[("path", "x")]), file.clone()]).is_err());
    assert!(names(&[pax(&[("mtime", "1")]), global(&[("comment", "x")]), file]).is_err());
}

#[test]
fn stacked_headers_are_bounded() {
    let stack = |count| vec![part("", b'L', b"x\0"); count];
    let file = part("f", b'0', b"");
    assert!(names(&[stack(MAX_STACKED).concat(), file.clone()]).is_ok());
    assert!(names(&[stack(MAX_STACKED + 1).concat(), file]).is_err());
}

#[test]
fn metadata_is_bounded() {
    let named = |length: u64| {
        let long = part("", b'L', &vec![b'a'; length as usize]);
        names(&[long, part("f", b'0', b"")])
    };
    assert_eq!(named(MAX_METADATA).unwrap()[0].len() as u64, MAX_METADATA);
    assert!(named(MAX_METADATA + 1).is_err());
    let huge = block("", b'x', (1 << 33) - 1, USTAR);
    assert!(list(&huge).unwrap_err().to_string().contains("more than"));
}

#[test]
fn data_of_a_type_without_data_is_refused() {
    for typeflag in [b'1', b'2', b'3', b'4', b'6'] {
        assert!(names(&[part("x", typeflag, b"data")]).is_err());
        assert!(names(&[part("x", typeflag, b"")]).is_ok());
    }
    // The header of a directory is never followed by data, whatever size it states.
    assert_eq!(names(&[block("d/", b'5', 255, USTAR).to_vec()]).unwrap(), ["d/"]);
}

#[test]
fn types_that_are_not_files_are_refused() {
    for typeflag in *b"VMDNXAZs8" {
        assert!(names(&[part("x", typeflag, b"")]).is_err(), "{}", char::from(typeflag));
    }
    let kinds = |typeflag, name: &str| list(&part(name, typeflag, b"")).map(|(e, _)| e[0].1);
    assert_eq!(kinds(0, "f").unwrap(), EntryType::Regular);
    assert_eq!(kinds(0, "d/").unwrap(), EntryType::Directory);
    assert_eq!(kinds(b'7', "f").unwrap(), EntryType::Regular);
    assert!(kinds(b'0', "d/").is_err());
}

#[test]
fn checksums() {
    let mut wrong = part("f", b'0', b"");
    wrong[0] = b'g';
    assert!(list(&wrong).is_err());
    let mut signed = block("f", b'0', 0, USTAR);
    signed[0] = 0xe9;
    sum(&mut signed);
    let unsigned: i64 =
        std::str::from_utf8(&signed[148..154]).map(|t| i64::from_str_radix(t, 8)).unwrap().unwrap();
    signed[148..154].copy_from_slice(format!("{:06o}", unsigned - 256).as_bytes());
    assert!(list(&signed).is_ok());
}

#[test]
fn dialects_have_their_prefixes() {
    let named = |magic: &[u8; 8], at: usize, tail: bool| {
        let mut header = block("name", b'0', 0, magic);
        header[at..at + 3].copy_from_slice(b"pre");
        if tail {
            header[508..512].copy_from_slice(b"tar\0");
        }
        sum(&mut header);
        names(&[header.to_vec()]).unwrap().remove(0)
    };
    assert_eq!(named(USTAR, 345, false), "pre/name");
    assert_eq!(named(USTAR, 345, true), "pre/name");
    assert_eq!(named(b"garbage!", 345, false), "name");
    // A GNU header has times at this position. A field that is not a time is read as a prefix.
    assert_eq!(named(GNU, 345, false), "pre/name");
    let mut times = block("name", b'0', 0, GNU);
    times[345..356].copy_from_slice(b"00000000001");
    sum(&mut times);
    assert_eq!(names(&[times.to_vec()]).unwrap(), ["name"]);
}

#[test]
fn sizes_and_identities_in_base256() {
    let mut header = block("f", b'0', 0, USTAR);
    header[124..136].copy_from_slice(&[0xff; 12]);
    sum(&mut header);
    assert!(list(&header).unwrap_err().to_string().contains("negative"));
    header[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    sum(&mut header);
    assert!(list(&header).is_err());
    let mut header = block("f", b'5', 0, USTAR);
    header[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe]);
    sum(&mut header);
    let archive = header.to_vec();
    assert_eq!(Reader::new(&archive[..]).next().unwrap().unwrap().uid, 0xffff_fffe);
}

#[test]
fn sparse_files_in_all_forms_have_the_same_map() {
    let map = [Segment { offset: 512, length: 5 }, Segment { offset: 4096, length: 0 }];
    let mut old = block("f", b'S', 5, GNU);
    for (i, (offset, length)) in [(512, 5), (4096, 0)].into_iter().enumerate() {
        let at = 386 + 24 * i;
        old[at..at + 11].copy_from_slice(format!("{offset:011o}").as_bytes());
        old[at + 12..at + 23].copy_from_slice(format!("{length:011o}").as_bytes());
    }
    old[483..494].copy_from_slice(format!("{:011o}", 4096).as_bytes());
    sum(&mut old);
    let data = padded(b"hello");
    let file = part("GNUSparseFile.0/f", b'0', b"hello");
    let old = [old.to_vec(), data].concat();
    let named = ("GNU.sparse.name", "f");
    let zero = [
        pax(&[
            ("GNU.sparse.size", "4096"),
            ("GNU.sparse.numblocks", "2"),
            ("GNU.sparse.offset", "512"),
            ("GNU.sparse.numbytes", "5"),
            ("GNU.sparse.offset", "4096"),
            ("GNU.sparse.numbytes", "0"),
            named,
        ]),
        file.clone(),
    ]
    .concat();
    let one = [
        pax(&[
            ("GNU.sparse.size", "4096"),
            ("GNU.sparse.numblocks", "2"),
            ("GNU.sparse.map", "512,5,4096,0"),
            named,
        ]),
        file,
    ]
    .concat();
    let body = [padded(b"2\n512\n5\n4096\n0\n"), b"hello".to_vec()].concat();
    let before = [
        pax(&[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.realsize", "4096"),
            named,
        ]),
        part("GNUSparseFile.0/f", b'0', &body),
    ]
    .concat();
    for (form, archive) in [("old", old), ("0.0", zero), ("0.1", one), ("1.0", before)] {
        let archive = [archive, part("after", b'0', b""), end()].concat();
        let mut reader = Reader::new(&archive[..]);
        let entry = reader.next().unwrap().unwrap();
        assert_eq!((entry.name.as_slice(), entry.size), (&b"f"[..], 4096), "{form}");
        assert_eq!(entry.sparse.as_deref(), Some(&map[..]), "{form}");
        assert_eq!(reader.data().unwrap(), b"hello", "{form}");
        reader.consume(5);
        assert_eq!(reader.next().unwrap().unwrap().name, b"after", "{form}");
        assert!(reader.next().unwrap().is_none(), "{form}");
    }
}

#[test]
fn a_sparse_map_before_the_data_is_strict() {
    let with = |body: &[u8]| {
        let header = pax(&[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.realsize", "4096"),
            ("GNU.sparse.name", "f"),
        ]);
        names(&[header, part("f", b'0', body)])
    };
    assert!(with(&padded(b"1\n4096\n0\n")).is_ok());
    for wrong in ["1\n0\n5", "x\n", "-1\n", "10001\n", "1\n0\n5\n", "111111111111111111111\n"] {
        assert!(with(&padded(wrong.as_bytes())).is_err(), "{wrong}");
    }
}
