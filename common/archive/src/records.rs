// SPDX-License-Identifier: Apache-2.0
//! Reads and writes the records of extended headers (POSIX.1-2001 pax): `LENGTH KEYWORD=VALUE\n`. A
//! value may contain any bytes.
//!
//! Not here: the meaning of a keyword.

use common::error::{Error, Result};

use crate::number;

/// The largest extended header or long name, in bytes. Go's archive/tar, which container engines
/// use to read layers, has the same limit.
pub(crate) const MAX_METADATA: u64 = 1 << 20;

/// The maximum number of digits of a record's length.
const MAX_DIGITS: usize = 20;

/// The keyword and value of the first record, and the records after it. `None` if the bytes do not
/// begin with a valid record.
pub(crate) fn split_first(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(MAX_DIGITS).position(|byte| *byte == b' ')?;
    let length = usize::try_from(number::decimal(&records[..space])?).ok()?;
    let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let keyword = &record[..equals];
    let value = &record[equals + 1..];
    if keyword.is_empty() || keyword.contains(&0) {
        return None;
    }
    Some((keyword, value, &records[length..]))
}

/// Records to write, in the order in which they were added.
#[derive(Default)]
pub(crate) struct Records {
    bytes: Vec<u8>,
}

impl Records {
    /// Adds a record. The keyword must not contain `=`.
    pub(crate) fn add(&mut self, keyword: &[u8], value: &[u8]) {
        let rest = keyword.len() + value.len() + 3;
        // The length includes its own digits.
        let mut length = rest;
        while length != rest + decimal_digits(length) {
            length = rest + decimal_digits(length);
        }
        self.bytes.extend_from_slice(format!("{length} ").as_bytes());
        self.bytes.extend_from_slice(keyword);
        self.bytes.push(b'=');
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
    }

    /// Adds a record whose value is a number.
    pub(crate) fn add_number(&mut self, keyword: &[u8], value: impl std::fmt::Display) {
        self.add(keyword, value.to_string().as_bytes());
    }

    /// The bytes of all records; empty if there are none.
    ///
    /// # Errors
    /// Malformed if they take more than [`MAX_METADATA`] bytes.
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        let size = self.bytes.len();
        if size as u64 > MAX_METADATA {
            return Err(Error::malformed(format_args!(
                "names and extended attributes take {size} bytes, container engines accept at \
                 most {MAX_METADATA}"
            )));
        }
        Ok(self.bytes)
    }
}

fn decimal_digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &str) -> String {
        let mut records = Records::default();
        records.add(b"path", value.as_bytes());
        String::from_utf8(records.finish().unwrap()).unwrap()
    }

    #[test]
    fn a_length_counts_itself() {
        assert_eq!(record("a"), "9 path=a\n");
        assert_eq!(record(""), "8 path=\n");
        assert_eq!(record("\0\n="), "12 path=\0\n=\n");
        for size in 80..1010 {
            let record = record(&"x".repeat(size));
            assert!(record.starts_with(&format!("{} ", record.len())), "{size}");
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for size in [0, 1, 80, 90, 91, 92, 1000] {
            let value = "=\n\0x".repeat(size);
            let written = [record(&value), record("next")].concat();
            let (keyword, read, rest) = split_first(written.as_bytes()).unwrap();
            assert_eq!((keyword, read), (&b"path"[..], value.as_bytes()));
            assert_eq!(rest, record("next").as_bytes());
        }
    }

    #[test]
    fn records_above_the_limit_are_refused() {
        let max = usize::try_from(MAX_METADATA).unwrap();
        let mut records = Records::default();
        // "1048576 a=" and a newline
        records.add(b"a", &vec![0; max - 11]);
        assert_eq!(records.bytes.len(), max);
        records.add(b"a", b"");
        assert!(records.finish().is_err());
    }
}
