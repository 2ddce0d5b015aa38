// SPDX-License-Identifier: Apache-2.0
//! Maps of sparse files: which parts of a file an archive holds. What lies between is holes.
//!
//! Three writings lead to the same map: GNU's old header blocks, the numbers in an extended header (PAX 0.0 and
//! 0.1), and the numbers in front of the data (PAX 1.0). Only the reading of numbers and the rules
//! for a map are here, not where in an archive they stand.

use common::error::{Error, Result};

use super::header::BLOCK;
use super::number;

/// The most parts that a map may have.
pub(crate) const MAX_SEGMENTS: usize = 10_000;

/// A part of a sparse file that the archive holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// A map in the making.
#[derive(Debug, Default)]
pub(super) struct Map {
    segments: Vec<Segment>,
}

impl Map {
    /// Takes the next part.
    pub(super) fn push(&mut self, offset: u64, length: u64) -> Result<()> {
        if self.segments.len() == MAX_SEGMENTS {
            return Err(Error::malformed(format_args!(
                "sparse map: more than {MAX_SEGMENTS} parts"
            )));
        }
        self.segments.push(Segment { offset, length });
        Ok(())
    }

    /// The map, checked: in order, without overlap, inside the file, in whole blocks, to the file's end, and as long as the data.
    pub(super) fn finish(self, size: u64, stored: u64) -> Result<Vec<Segment>> {
        let mut end = 0;
        let mut held = 0u64;
        for segment in &self.segments {
            let after = segment.offset.checked_add(segment.length).filter(|after| *after <= size);
            let (true, Some(after)) = (segment.offset >= end, after) else {
                return Err(Error::malformed(format_args!(
                    "sparse map: {} bytes at {} overlap, or lie outside of the file's {size}",
                    segment.length, segment.offset
                )));
            };
            // GNU tar begins each part at a block, others go on where the part before ended.
            if segment.length > 0 && !held.is_multiple_of(BLOCK as u64) {
                return Err(Error::malformed(
                    "sparse map: a part that is no whole blocks, before another one",
                ));
            }
            end = after;
            held = held.saturating_add(segment.length);
        }
        // GNU tar makes a file as long as its map, others as long as it says.
        if end != size {
            return Err(Error::malformed(format_args!(
                "sparse map: ends at {end}, the file at {size}"
            )));
        }
        if held != stored {
            return Err(Error::malformed(format_args!(
                "sparse map: speaks of {held} bytes, the archive holds {stored}"
            )));
        }
        Ok(self.segments)
    }
}

/// The map of an extended header: offsets and lengths in turn, between commas.
pub(super) fn from_list(list: &[u8], pairs: u64) -> Result<Map> {
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
        return Err(Error::malformed(format_args!("sparse map: {count} parts, want {pairs}")));
    }
    Ok(map)
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
}
