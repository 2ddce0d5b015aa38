// SPDX-License-Identifier: Apache-2.0
//! Standard output, for lines and file contents. The last 64 KiB are held back until the layer is
//! verified.

use std::fs::File;

use archive::{Entry, Reader};
use common::error::{Error, Result};
use common::stdio;
use common::verify::{HOLD, HeldBack};

use crate::stream::Stream;

/// The hint for a binary file on a terminal.
pub(crate) const TO_A_TERMINAL: &str = "redirect standard output, or pipe it to a program";

/// A block of zeros, for the holes of sparse files.
static ZEROS: [u8; HOLE] = [0; HOLE];

const HOLE: usize = 64 << 10;

/// The output about one layer.
pub(crate) struct Output {
    held: HeldBack<File>,
    /// The bytes that were not passed to `held` yet.
    batch: Vec<u8>,
}

impl Output {
    /// Opens standard output.
    ///
    /// # Errors
    /// Local if it is closed.
    pub(crate) fn new() -> Result<Output> {
        Ok(Output { held: HeldBack::new(stdio::stdout()?), batch: Vec::new() })
    }

    /// Adds bytes: a line, or a part of a file.
    ///
    /// # Errors
    /// Local if standard output cannot be written.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.batch.extend_from_slice(bytes);
        if self.batch.len() < HOLD {
            return Ok(());
        }
        let written = self.held.write(&self.batch);
        self.batch.clear();
        written.map_err(write_error)
    }

    /// Writes the bytes that were held back. The layer must be verified already.
    ///
    /// # Errors
    /// Local if standard output cannot be written.
    pub(crate) fn release(mut self) -> Result<()> {
        self.held.write(&self.batch).map_err(write_error)?;
        self.held.release().map(drop).map_err(write_error)
    }
}

/// The error for standard output.
pub(crate) fn write_error(cause: std::io::Error) -> Error {
    Error::local("standard output", &cause)
}

/// Reads the content of a regular file from the archive, and passes it to `write`. Holes are zeros.
///
/// # Errors
/// Malformed if the archive is cut short, or if the file is larger than `limit`. Otherwise the
/// error of `write`.
pub(crate) fn content(
    entry: &Entry,
    reader: &mut Reader<Stream<'_>>,
    limit: Option<u64>,
    mut write: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    if let Some(limit) = limit.filter(|limit| entry.size > *limit) {
        let what = format_args!("more than {limit} bytes of files (--max-size)");
        return Err(Error::malformed(what));
    }
    let Some(segments) = &entry.sparse else {
        return copy(reader, entry.size, &mut write);
    };
    let mut at = 0;
    for segment in segments {
        zeros(segment.offset.saturating_sub(at), &mut write)?;
        copy(reader, segment.length, &mut write)?;
        at = segment.offset.saturating_add(segment.length);
    }
    zeros(entry.size.saturating_sub(at), &mut write)
}

fn copy(
    reader: &mut Reader<Stream<'_>>,
    mut left: u64,
    write: &mut impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    while left > 0 {
        let bytes = reader.data()?;
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        if count == 0 {
            return Err(Error::malformed(
                "sparse map: its segments are longer than the data in the archive",
            ));
        }
        write(&bytes[..count])?;
        reader.consume(count);
        left -= count as u64;
    }
    Ok(())
}

fn zeros(mut left: u64, write: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(HOLE).min(HOLE);
        write(&ZEROS[..count])?;
        left -= count as u64;
    }
    Ok(())
}
