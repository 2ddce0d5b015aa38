// SPDX-License-Identifier: Apache-2.0
//! Extended headers (POSIX.1-2001 pax): records of `LENGTH KEY=VALUE\n` about the entry that follows.
//!
//! In our own lines because the tar crate writes records from text only, and names and attributes are bytes;
//! and so that nothing of this run (a time, a process ID) is in them.

use common::error::{Error, Result};

/// The largest extended header that readers take: Go's limit, which container engines read with.
pub(super) const MAX_RECORDS: usize = 1 << 20;

/// The records about one entry, in the order in which they were added.
#[derive(Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
}

impl Records {
    /// Adds a record. The keyword has no `=` in it.
    pub(super) fn add(&mut self, keyword: &[u8], value: &[u8]) {
        let rest = keyword.len() + value.len() + 3;
        // The length counts its own digits.
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

    /// Adds a number.
    pub(super) fn add_number(&mut self, keyword: &[u8], value: impl std::fmt::Display) {
        self.add(keyword, value.to_string().as_bytes());
    }

    /// The records as an extended header has them; empty when none is needed.
    ///
    /// # Errors
    /// Malformed: more than readers take.
    pub(super) fn finish(self) -> Result<Vec<u8>> {
        match self.bytes.len() {
            0..=MAX_RECORDS => Ok(self.bytes),
            size => Err(Error::malformed(format_args!(
                "its names and extended attributes take {size} bytes, readers take {MAX_RECORDS}"
            ))),
        }
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
    fn too_much_is_refused() {
        let mut records = Records::default();
        // "1048576 a=" and a newline
        records.add(b"a", &vec![0; MAX_RECORDS - 11]);
        assert_eq!(records.bytes.len(), MAX_RECORDS);
        records.add(b"a", b"");
        assert!(records.finish().is_err());
    }
}
