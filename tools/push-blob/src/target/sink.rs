// SPDX-License-Identifier: Apache-2.0
//! Writing a blob whose digest is not known before its end, into a repository or a layout.

use std::io::{self, Write};

use common::error::Result;
use layout::ingest::NewBlob;

use crate::upload::stream::{Finished, Stream};

/// A blob that is written from start to end. Its digest is known at the end.
pub(crate) enum Sink {
    /// Into a repository.
    Registry(Stream),
    /// Into a layout.
    Layout(NewBlob),
}

impl Sink {
    /// Completes the blob in the target, or returns its bytes if none of them was sent.
    ///
    /// # Errors
    /// The target's errors.
    pub(crate) fn finish(self) -> Result<Finished> {
        match self {
            Sink::Registry(stream) => stream.finish(),
            Sink::Layout(blob) => blob.finish().map(|(digest, size)| Finished::Sent(digest, size)),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Registry(stream) => stream.write(bytes),
            Sink::Layout(blob) => blob.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
