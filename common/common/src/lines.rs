// SPDX-License-Identifier: Apache-2.0
//! Reads descriptor lines, which the tools exchange through pipes.

use std::io::BufRead;

use crate::descriptor::{Descriptor, Line};
use crate::error::{Error, Result, printable};

/// The longest line, in bytes. It is the maximum size of a manifest: a descriptor is part of a
/// manifest, even if it contains the bytes of its blob (`data`).
pub const MAX_LINE: u64 = crate::manifest::MAX_SIZE;

/// The message for empty input where input was expected.
pub const NO_INPUT: &str = "no input: did the previous command fail?";

/// An iterator over descriptor lines. Each line is returned as soon as it arrives. `T` is
/// [`Descriptor`], or [`Line`] if lines without a size are accepted.
///
/// Empty lines are skipped. Input without any descriptor is an error: in a pipe it means that the
/// previous command failed. After an error the iterator ends.
pub struct Lines<R, T = Descriptor> {
    input: R,
    parse: fn(&[u8]) -> std::result::Result<T, String>,
    line: Vec<u8>,
    number: u64,
    has_input: bool,
    done: bool,
}

impl<R: BufRead> Lines<R> {
    /// Reads descriptors from `input`.
    pub fn new(input: R) -> Lines<R> {
        Lines::of(input, Descriptor::from_line)
    }
}

impl<R: BufRead> Lines<R, Line> {
    /// Reads descriptors with or without a size from `input`.
    pub fn with_unsized(input: R) -> Lines<R, Line> {
        Lines::of(input, Line::from_line)
    }
}

impl<R: BufRead, T> Lines<R, T> {
    fn of(input: R, parse: fn(&[u8]) -> std::result::Result<T, String>) -> Lines<R, T> {
        Lines { input, parse, line: Vec::new(), number: 0, has_input: false, done: false }
    }

    fn read(&mut self) -> Result<Option<T>> {
        loop {
            self.line.clear();
            let mut limited = std::io::Read::take(&mut self.input, MAX_LINE + 1);
            let count = limited
                .read_until(b'\n', &mut self.line)
                .map_err(|cause| Error::local("read standard input", &cause))?;
            self.number += 1;
            if count == 0 && !self.has_input {
                return Err(Error::malformed(NO_INPUT));
            }
            if count == 0 {
                return Ok(None);
            }
            if count as u64 > MAX_LINE {
                return Err(self.wrong(&format!("longer than {MAX_LINE} bytes")));
            }
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            self.has_input = true;
            return (self.parse)(&self.line).map(Some).map_err(|why| self.wrong(&why));
        }
    }

    fn wrong(&self, why: &str) -> Error {
        let error = Error::malformed(format_args!("line {}: {}", self.number, printable(why)));
        if matches!(Line::from_line(&self.line), Ok(Line::Unsized(_))) {
            return error.hint("fetch-blob completes lines without a size");
        }
        error.hint("expected descriptor lines, one JSON object each, as list-blobs prints them")
    }
}

impl<R: BufRead, T> Iterator for Lines<R, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if self.done {
            return None;
        }
        let next = self.read().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Whether the first line of the bytes is a descriptor line. A tool that expects raw bytes uses
/// this to tell the user that descriptor lines need `--from`.
pub fn looks_like_descriptor(start: &[u8]) -> bool {
    let first = start.split(|b| *b == b'\n').next().unwrap_or_default();
    Line::from_line(first).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Status;

    const LINE: &str = r#"{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}"#;

    fn all(text: &str) -> Vec<Result<Descriptor>> {
        Lines::new(text.as_bytes()).collect()
    }

    #[test]
    fn lines_are_read_with_or_without_the_last_newline() {
        assert_eq!(all(&format!("{LINE}\n\n{LINE}")).into_iter().filter(|l| l.is_ok()).count(), 2);
    }

    #[test]
    fn empty_input_is_an_error() {
        for text in ["", "\n\n"] {
            let lines = all(text);
            assert_eq!(lines.len(), 1);
            let error = lines[0].as_ref().unwrap_err();
            assert_eq!(
                (error.status(), error.to_string()),
                (Status::Malformed, NO_INPUT.to_owned())
            );
        }
    }

    #[test]
    fn reading_ends_after_a_bad_line() {
        let lines = all(&format!("{LINE}\n{{}}\n{LINE}\n"));
        assert_eq!(lines.len(), 2);
        assert!(lines[1].as_ref().unwrap_err().to_string().starts_with("line 2: "));
    }

    #[test]
    fn a_line_is_bounded_at_the_limit() {
        let padded = |n: usize| format!("{}{LINE}", " ".repeat(n - LINE.len()));
        assert!(all(&padded(MAX_LINE as usize))[0].is_ok());
        assert!(all(&padded(MAX_LINE as usize + 1))[0].is_err());
    }

    #[test]
    fn a_descriptor_line_is_recognised() {
        assert!(looks_like_descriptor(LINE.as_bytes()));
        assert!(looks_like_descriptor(format!("{LINE}\n{LINE}").as_bytes()));
        assert!(looks_like_descriptor(LINE.replace(",\"size\":0", "").as_bytes()));
        assert!(!looks_like_descriptor(b"\x1f\x8b\x08"));
        assert!(!looks_like_descriptor(b"{}"));
    }
}
