// SPDX-License-Identifier: Apache-2.0
//! Reads archives: entries and their data, pulled from a buffered stream.
//!
//! Not here: what an archive may contain; that is `parser`'s.

use std::io::BufRead;

use common::error::{Error, Result};
use common::notice;

use crate::entry::{Ending, Entry};
use crate::header::is_zero;
use crate::parser::{Parser, clamp};

/// A reader at some place in an archive.
///
/// [`next`](Reader::next) gives an entry, [`data`](Reader::data) and [`consume`](Reader::consume)
/// its data, without copying it; after the last entry, [`finish`](Reader::finish) says how the
/// archive ends. After an error nothing more can be read. What is accepted but suspicious is a
/// warning in [`common::notice`].
pub struct Reader<R> {
    input: R,
    parser: Parser,
    ending: Option<Ending>,
}

impl<R: BufRead> Reader<R> {
    /// Reads an archive from its beginning.
    pub fn new(input: R) -> Reader<R> {
        let parser = Parser::new(|kind, text| notice::warn(kind, || text.to_owned()));
        Reader { input, parser, ending: None }
    }

    /// The next entry; `None` at the archive's end. Data of the entry before that was not read is
    /// passed over.
    ///
    /// # Errors
    /// Malformed: the archive is not one that all readers read alike, is cut short, or exceeds a
    /// limit. Else the input's: an [`Error`] inside its I/O error as it is, others as local
    /// trouble.
    #[expect(clippy::should_implement_trait, reason = "an error ends it, and data borrows from it")]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        while self.ending.is_none() {
            let bytes = fill(&mut self.input).map_err(|error| self.parser.context(error))?;
            if bytes.is_empty() {
                self.ending = Some(self.parser.end()?);
                break;
            }
            let (count, entry) = self.parser.take(bytes)?;
            self.input.consume(count);
            if entry.is_some() {
                return Ok(entry);
            }
            if self.parser.has_ended() {
                self.ending = Some(Ending::Marked);
            }
        }
        Ok(None)
    }

    /// The next bytes of the current entry's data, as many as are buffered; empty at its end. Of a
    /// sparse file, the segments one after the other.
    ///
    /// # Errors
    /// Malformed: the archive ends in the data. Else the input's.
    pub fn data(&mut self) -> Result<&[u8]> {
        let left = self.parser.data();
        if left == 0 {
            return Ok(&[]);
        }
        let bytes = fill(&mut self.input)?;
        if bytes.is_empty() {
            return Err(self.parser.cut_data());
        }
        Ok(&bytes[..bytes.len().min(clamp(left))])
    }

    /// Passes over `count` bytes that [`data`](Reader::data) returned.
    pub fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.parser.skip(count);
    }

    /// Reads the input to its very end after the last entry, and says how the archive ended.
    ///
    /// # Errors
    /// The input's.
    pub fn finish(&mut self) -> Result<Ending> {
        let mut ending = self.ending.unwrap_or(Ending::Unmarked);
        loop {
            let bytes = fill(&mut self.input)?;
            if bytes.is_empty() {
                return Ok(ending);
            }
            if ending == Ending::Marked && !is_zero(bytes) {
                ending = Ending::Trailing;
            }
            let count = bytes.len();
            self.input.consume(count);
        }
    }
}

/// The bytes that are buffered. A decoder's own failure is kept as it was.
fn fill(input: &mut impl BufRead) -> Result<&[u8]> {
    input.fill_buf().map_err(|cause| {
        match cause.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => error.clone(),
            None => Error::local("read layer", &cause),
        }
    })
}
