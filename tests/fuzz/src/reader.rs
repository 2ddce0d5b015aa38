// SPDX-License-Identifier: Apache-2.0
//! The fuzz target for tar archives: the reader and the check.

use std::io::{BufRead, BufReader};

use archive::{BLOCK, Check, Ending, EntryType, Reader};
use common::error::Result;

/// The limits that the crate `archive` promises.
const MAX_METADATA: usize = 1 << 20;
const MAX_SEGMENTS: usize = 10_000;

/// The reader and the check accept the same archives, with one difference: the check requires an
/// end marker and no data after it. They refuse other archives with the same message. The result
/// does not depend on the pieces in which the bytes arrive. Data is as long as its entry states, no
/// byte is read twice, and no entry exceeds the limits.
pub fn reader(data: &[u8]) {
    let pulled = pull(data, data.len());
    let pushed = push(data, usize::MAX);
    match (&pulled, &pushed) {
        (Ok((_, Ending::Marked)), outcome) => assert_eq!(outcome, &Ok(())),
        (Ok((_, ending)), outcome) => assert!(outcome.is_err(), "{ending:?}"),
        (Err(why), outcome) => assert_eq!(outcome.as_ref(), Err(why)),
    }
    // Sizes around a block, and two that depend on the length.
    let length = data.len();
    for piece in [1, 7, BLOCK - 1, BLOCK + 1, 1 + length % 1021, 1 + length % 4099] {
        assert_eq!(pull(data, piece), pulled, "in pieces of {piece}");
        assert_eq!(push(data, piece), pushed, "in pieces of {piece}");
    }
}

/// An entry: its name, its type, and a checksum of its data.
type Seen = (Vec<u8>, EntryType, u64);

/// The entries and the ending, read through a buffer of this size.
fn pull(data: &[u8], buffer: usize) -> std::result::Result<(Vec<Seen>, Ending), String> {
    let mut reader = Reader::new(BufReader::with_capacity(buffer.max(1), data));
    let outcome = all(&mut reader);
    // Warnings are collected for the whole process, so they would accumulate.
    common::notice::take();
    let (seen, size, ending) = outcome.map_err(|error| error.to_string())?;
    assert!(size <= data.len() as u64, "{size} bytes of {}", data.len());
    Ok((seen, ending))
}

fn all(reader: &mut Reader<impl BufRead>) -> Result<(Vec<Seen>, u64, Ending)> {
    let mut seen = Vec::new();
    let mut size = 0;
    while let Some(entry) = reader.next()? {
        // A name is from a GNU long name, from an extended header, or from the fields of 155 and
        // 100 bytes.
        assert!(entry.name.len() <= MAX_METADATA.max(256) && entry.link.len() <= MAX_METADATA);
        let xattrs: usize = entry.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(xattrs <= MAX_METADATA);
        assert!(entry.xattrs.is_sorted_by(|a, b| a.0 < b.0), "each name once");
        let want = match (&entry.sparse, entry.entry_type) {
            (Some(map), _) => {
                assert!(map.len() <= MAX_SEGMENTS);
                let ends = map.iter().map(|segment| segment.offset + segment.length);
                assert!(map.iter().skip(1).zip(ends.clone()).all(|(next, end)| next.offset >= end));
                assert_eq!(ends.max().unwrap_or(0), entry.size);
                map.iter().map(|segment| segment.length).sum()
            }
            (None, EntryType::Regular) => entry.size,
            _ => 0,
        };
        let mut got = 0;
        let mut sum = 0u64;
        loop {
            let bytes = reader.data()?;
            let count = bytes.len();
            if count == 0 {
                break;
            }
            sum = bytes.iter().fold(sum, |sum, b| sum.rotate_left(5) ^ u64::from(*b));
            got += count as u64;
            reader.consume(count);
        }
        assert_eq!(got, want, "{}", archive::shown(&entry.name));
        size += BLOCK as u64 + got;
        seen.push((entry.name, entry.entry_type, sum));
    }
    Ok((seen, size, reader.finish()?))
}

/// The result of the check, which receives the archive in pieces.
fn push(data: &[u8], piece: usize) -> std::result::Result<(), String> {
    let mut check = Check::new();
    data.chunks(piece)
        .try_for_each(|bytes| check.update(bytes))
        .and_then(|()| check.finish())
        .map_err(|error| error.to_string())
}
