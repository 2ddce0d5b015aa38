// SPDX-License-Identifier: Apache-2.0
//! Reads the entries of an archive and their data from a buffered stream.
//!
//! Not here: the rules for the content of an archive, which are in `parser`.

use std::io::BufRead;

use common::error::{Error, Result};
use common::notice;

use crate::entry::{Ending, Entry};
use crate::header::is_zero;
use crate::parser::{Parser, clamp};

/// Reads an archive.
///
/// [`next`](Reader::next) returns an entry. [`data`](Reader::data) and [`consume`](Reader::consume)
/// give access to its data without copying. After the last entry, [`finish`](Reader::finish)
/// returns how the archive ends. After an error nothing more can be read. Suspicious but accepted
/// content causes a warning in [`common::notice`].
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

    /// The input.
    pub fn get_ref(&self) -> &R {
        &self.input
    }

    /// The input, from the first byte that the reader has not consumed.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// The next entry; `None` at the archive's end. Unread data of the previous entry is skipped.
    ///
    /// # Errors
    /// Malformed if the archive is invalid, if tar programs interpret it differently, if it is cut
    /// short, or if it exceeds a limit. If the input cannot be read, returns the [`Error`] inside
    /// the I/O error if there is one, otherwise Local.
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

    /// The buffered part of the current entry's data that was not consumed yet. It is empty only at
    /// the end of the data. The data of a sparse file is that of its segments, one after the other.
    ///
    /// # Errors
    /// Malformed if the archive ends within the data. If the input cannot be read, as for
    /// [`next`](Reader::next).
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

    /// Skips `count` bytes that [`data`](Reader::data) returned.
    pub fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.parser.skip(count);
    }

    /// Reads the rest of the input after the last entry, and returns how the archive ended.
    ///
    /// # Errors
    /// If the input cannot be read, as for [`next`](Reader::next).
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

/// The buffered bytes. An [`Error`] inside the I/O error (of a decoder, for example) is returned
/// unchanged.
fn fill(input: &mut impl BufRead) -> Result<&[u8]> {
    input.fill_buf().map_err(|cause| {
        match cause.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => error.clone(),
            None => Error::local("read layer", &cause),
        }
    })
}
