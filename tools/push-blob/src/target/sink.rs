// SPDX-License-Identifier: Apache-2.0
//! Blobs of unknown digest, into a repository or a layout.

use std::io::{self, Write};

use common::digest::Digest;
use common::error::Result;
use layout::ingest::NewBlob;

use crate::upload::stream::Stream;

/// A blob that is written in one go, and has its digest at the end.
pub(crate) enum Sink {
    /// Into a repository.
    Registry(Stream),
    /// Into a layout.
    Layout(NewBlob),
}

impl Sink {
    /// Ends the bytes: the blob is there, with this digest and size.
    ///
    /// # Errors
    /// The target's.
    pub(crate) fn finish(self) -> Result<(Digest, u64)> {
        match self {
            Sink::Registry(stream) => stream.finish(),
            Sink::Layout(blob) => blob.finish(),
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
