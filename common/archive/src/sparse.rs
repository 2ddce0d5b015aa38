// SPDX-License-Identifier: Apache-2.0
//! Maps of sparse files: the segments of a file whose data is in the archive. The rest of the file
//! is holes.
//!
//! Three forms of a map are read: GNU's old header blocks, numbers in an extended header (GNU's PAX
//! forms 0.0 and 0.1), and lines of numbers before the data (PAX form 1.0). Only PAX form 1.0 is
//! written.
//!
//! Not here: the position of a map in an archive.

use common::error::{Error, Result};

use crate::header::BLOCK;
use crate::number;

/// The maximum number of segments of a map.
pub(crate) const MAX_SEGMENTS: usize = 10_000;

/// The maximum number of digits of a number in a map of PAX form 1.0.
const MAX_DIGITS: usize = 20;

/// A range of a sparse file whose data is in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The offset in the file, in bytes.
    pub offset: u64,
    /// The length in bytes.
    pub length: u64,
}

/// A map that is being read.
#[derive(Debug, Default)]
pub(crate) struct Map {
    segments: Vec<Segment>,
}

impl Map {
    /// Adds a segment.
    pub(crate) fn push(&mut self, offset: u64, length: u64) -> Result<()> {
        if self.segments.len() == MAX_SEGMENTS {
            return Err(Error::malformed(format_args!(
                "sparse map: more than {MAX_SEGMENTS} segments"
            )));
        }
        self.segments.push(Segment { offset, length });
        Ok(())
    }

    /// Adds the segments of a header block of GNU's old form. Returns whether another block may
    /// follow. An empty field ends the map, so another block must not follow it.
    pub(crate) fn push_fields(&mut self, fields: &[u8]) -> Result<bool> {
        for segment in fields.chunks_exact(24) {
            if segment[0] == 0 {
                return Ok(false);
            }
            let number = |field: &[u8]| {
                number::numeric(field)
                    .and_then(|value| u64::try_from(value).ok())
                    .ok_or_else(|| Error::malformed("sparse map: not a number"))
            };
            self.push(number(&segment[..12])?, number(&segment[12..])?)?;
        }
        Ok(true)
    }

    /// Checks the map and returns its segments. They must be in order, must not overlap, and must
    /// end exactly at the end of the file (`size`). Each segment except the last non-empty one must
    /// have a length that is a multiple of the block size. The lengths must add up to `stored`, the
    /// bytes of data in the archive.
    pub(crate) fn finish(self, size: u64, stored: u64) -> Result<Vec<Segment>> {
        let mut end = 0;
        let mut held = 0u64;
        for segment in &self.segments {
            let after = segment.offset.checked_add(segment.length);
            let Some(after) = after.filter(|after| segment.offset >= end && *after <= size) else {
                return Err(Error::malformed(format_args!(
                    "sparse map: the segment of {} bytes at {} is out of order, overlaps another \
                     one, or exceeds the file's {size} bytes",
                    segment.length, segment.offset
                )));
            };
            // GNU tar expects each segment's data at the start of a block. Other readers expect it
            // right after the data of the segment before.
            if segment.length > 0 && !held.is_multiple_of(BLOCK as u64) {
                return Err(Error::malformed(format_args!(
                    "sparse map: a segment before the last is not a multiple of {BLOCK} bytes"
                )));
            }
            end = after;
            held = held.saturating_add(segment.length);
        }
        // GNU tar gives the file the length of its map. Other readers give it the size that the
        // headers state.
        if end != size {
            return Err(Error::malformed(format_args!(
                "sparse map: ends at byte {end}, but the file has {size} bytes"
            )));
        }
        if held != stored {
            return Err(Error::malformed(format_args!(
                "sparse map: its segments have {held} bytes, but the archive has {stored} bytes \
                 of data"
            )));
        }
        Ok(self.segments)
    }
}

/// Parses the map of an extended header: offset, length, offset, length and so on, separated by
/// commas.
pub(crate) fn from_list(list: &[u8], pairs: u64) -> Result<Map> {
    let wrong = || Error::malformed("sparse map: not pairs of numbers");
    let mut map = Map::default();
    let mut numbers = list.split(|byte| *byte == b',').map(number::decimal);
    if list.is_empty() {
        return if pairs == 0 { Ok(map) } else { Err(wrong()) };
    }
    let mut count = 0;
    while let Some(offset) = numbers.next() {
        let length = numbers.next().flatten().ok_or_else(wrong)?;
        map.push(offset.ok_or_else(wrong)?, length)?;
        count += 1;
    }
    if count != pairs {
        return Err(Error::malformed(format_args!(
            "sparse map: got {count} segments, want {pairs}"
        )));
    }
    Ok(map)
}

/// A map of PAX form 1.0 that is being read. It precedes the data: decimal numbers, one on a line,
/// padded to a whole block.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    map: Map,
    line: Vec<u8>,
    /// The number of segments not read yet. `None` before the first line, which states the number
    /// of segments.
    left: Option<u64>,
    /// The offset of a segment whose length is on the next line.
    offset: Option<u64>,
    /// The number of bytes read.
    read: u64,
}

impl Lines {
    /// Reads bytes of the file's data until the map ends. Returns the number of bytes used, and
    /// whether the map has ended.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(usize, bool)> {
        for (i, byte) in bytes.iter().enumerate() {
            self.read += 1;
            match byte {
                // The padding of the last block.
                _ if self.left == Some(0) => {}
                b'\n' => self.end_line()?,
                _ if self.line.len() == MAX_DIGITS => return Err(not_a_number()),
                digit => self.line.push(*digit),
            }
            if self.left == Some(0) && self.read.is_multiple_of(BLOCK as u64) {
                return Ok((i + 1, true));
            }
        }
        Ok((bytes.len(), false))
    }

    /// The map, after it has ended.
    pub(crate) fn into_map(self) -> Map {
        self.map
    }

    fn end_line(&mut self) -> Result<()> {
        let number = number::decimal(&self.line).ok_or_else(not_a_number)?;
        self.line.clear();
        match (self.left, self.offset.take()) {
            (None, _) if number > MAX_SEGMENTS as u64 => {
                return Err(Error::malformed(format_args!(
                    "sparse map: {number} segments, more than {MAX_SEGMENTS}"
                )));
            }
            (None, _) => self.left = Some(number),
            (Some(_), None) => self.offset = Some(number),
            (Some(left), Some(offset)) => {
                self.map.push(offset, number)?;
                self.left = Some(left - 1);
            }
        }
        Ok(())
    }
}

fn not_a_number() -> Error {
    Error::malformed("sparse map: a line is not a number")
}

/// Writes a map of PAX form 1.0, padded to a whole block. If the file ends with a hole, an empty
/// segment at the file's end marks it, as GNU tar does.
pub(crate) fn lines(segments: &[Segment], size: u64) -> Vec<u8> {
    let has_end_hole = segments.last().is_none_or(|last| last.offset + last.length < size);
    let end = has_end_hole.then_some(Segment { offset: size, length: 0 });
    let mut map = format!("{}\n", segments.len() + usize::from(has_end_hole));
    for Segment { offset, length } in segments.iter().copied().chain(end) {
        map.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(u64, u64)]) -> Map {
        let mut map = Map::default();
        for (offset, length) in pairs {
            map.push(*offset, *length).unwrap();
        }
        map
    }

    #[test]
    fn maps_in_order_are_taken() {
        assert_eq!(map(&[(0, 512), (512, 5), (600, 0)]).finish(600, 517).unwrap().len(), 3);
        assert_eq!(map(&[(1 << 40, 0)]).finish(1 << 40, 0).unwrap().len(), 1);
        assert!(map(&[]).finish(0, 0).unwrap().is_empty());
    }

    #[test]
    fn wrong_maps_are_refused() {
        assert!(map(&[(0, 5), (4, 5)]).finish(20, 10).is_err(), "overlap");
        assert!(map(&[(10, 5), (0, 5)]).finish(20, 10).is_err(), "unsorted");
        assert!(map(&[(16, 5)]).finish(20, 5).is_err(), "beyond the end");
        assert!(map(&[(u64::MAX, 5)]).finish(20, 5).is_err(), "overflow");
        assert!(map(&[(0, 5), (10, 5)]).finish(20, 10).is_err(), "parts of blocks");
        assert!(map(&[(0, 5)]).finish(20, 5).is_err(), "shorter than the file");
        assert!(map(&[(0, 5)]).finish(5, 6).is_err(), "more data than the map");
    }

    #[test]
    fn the_number_of_parts_is_bounded() {
        let mut map = Map::default();
        for i in 0..MAX_SEGMENTS as u64 {
            map.push(i, 0).unwrap();
        }
        assert!(map.push(0, 0).is_err());
    }

    #[test]
    fn lists_are_strict() {
        assert_eq!(from_list(b"0,5,10,3", 2).unwrap().segments.len(), 2);
        assert!(from_list(b"", 0).is_ok());
        for (list, pairs) in [("0,5,10", 2), ("0,5", 2), ("0,-5", 1), ("0, 5", 1), ("", 1)] {
            assert!(from_list(list.as_bytes(), pairs).is_err(), "{list}");
        }
    }

    #[test]
    fn a_written_map_ends_where_the_file_ends() {
        let text = |segments: &[Segment], size| {
            let map = lines(segments, size);
            assert_eq!(map.len() % 512, 0);
            String::from_utf8(map).unwrap().trim_end_matches('\0').to_owned()
        };
        let segment = Segment { offset: 65536, length: 10 };
        assert_eq!(text(&[segment], 65546), "1\n65536\n10\n");
        assert_eq!(text(&[segment], 65547), "2\n65536\n10\n65547\n0\n");
        assert_eq!(text(&[], 7), "1\n7\n0\n");
    }

    #[test]
    fn a_written_map_is_read_back() {
        for count in [0, 1, 40, 8192] {
            let segments: Vec<_> =
                (0..count).map(|i| Segment { offset: i << 20, length: 65536 }).collect();
            let size = (count << 20) + 1;
            let written = lines(&segments, size);
            let mut read = Lines::default();
            assert_eq!(read.read(&written).unwrap(), (written.len(), true));
            let map = read.into_map().finish(size, count << 16).unwrap();
            assert_eq!(map[..map.len() - 1], segments);
            assert_eq!(map.last(), Some(&Segment { offset: size, length: 0 }));
        }
    }
}
