// SPDX-License-Identifier: Apache-2.0
//! Hashing a blob's bytes while they are sent. Each byte is hashed once and in order, even if it is
//! sent several times.
//!
//! The bytes are read, hashed and written in pieces that stay in the processor's cache. The hashed
//! bytes are therefore the sent ones, even if the file changes. sendfile(2) does not guarantee
//! this: it sends a page as it is when the receiver reads it. It is also not cheaper if the registry
//! is on the same machine: it saves two copies, but the registry then reads the bytes from memory,
//! not from the cache. Both together need 1.1 times the processor time.

use std::io::{self, Read};

use common::digest::Digest;
use common::error::source_error;
use common::error::{Error, Result};
use common::verify::{BUFFER, Verifier};

use super::plan::Watcher;
use super::rereadable::Rereadable;

/// The bytes of a source, verified while they are sent.
pub(super) struct HashedOnce<'a> {
    /// The hash of the bytes read so far; `None` after the complete blob was verified.
    verifier: Option<Verifier>,
    /// The number of bytes hashed.
    hashed: u64,
    size: u64,
    watcher: &'a dyn Watcher,
}

impl<'a> HashedOnce<'a> {
    /// Expects bytes of this digest and size.
    pub(super) fn new(digest: &Digest, size: u64, watcher: &'a dyn Watcher) -> HashedOnce<'a> {
        HashedOnce { verifier: Some(Verifier::new(digest, Some(size))), hashed: 0, size, watcher }
    }

    /// Reads and hashes the bytes before `offset` that were not hashed yet. An earlier run sent
    /// them, so they are not reported as sent.
    ///
    /// # Errors
    /// The source's errors; content if the source is shorter than `offset`.
    pub(super) fn catch_up(&mut self, offset: u64, source: &mut dyn Rereadable) -> Result<()> {
        if self.hashed >= offset {
            return Ok(());
        }
        let from = self.hashed;
        let mut reader = self.reader_watched_by(&(), from, source)?;
        let mut buffer = vec![0; BUFFER];
        let mut left = offset - from;
        while left > 0 {
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match reader.read(&mut buffer[..want]) {
                Ok(0) => return Err(Error::content("the source ended early")),
                Ok(n) => left -= n as u64,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(source_error(&cause)),
            }
        }
        Ok(())
    }

    /// A reader of the bytes from `offset` on.
    ///
    /// # Errors
    /// The source's errors.
    pub(super) fn reader<'r>(
        &'r mut self,
        offset: u64,
        source: &'r mut dyn Rereadable,
    ) -> Result<impl Read + 'r> {
        self.reader_watched_by(self.watcher, offset, source)
    }

    fn reader_watched_by<'r>(
        &'r mut self,
        watcher: &'r dyn Watcher,
        offset: u64,
        source: &'r mut dyn Rereadable,
    ) -> Result<Reader<'r>> {
        let inner = source.open(offset)?;
        Ok(Reader {
            inner,
            at: offset,
            verifier: &mut self.verifier,
            hashed: &mut self.hashed,
            size: self.size,
            watcher,
        })
    }
}

/// A reader of the source from an offset on. If the blob is wrong, its last bytes are not returned.
struct Reader<'r> {
    inner: Box<dyn Read + 'r>,
    at: u64,
    verifier: &'r mut Option<Verifier>,
    hashed: &'r mut u64,
    size: u64,
    watcher: &'r dyn Watcher,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let known = self.hashed.saturating_sub(self.at).min(n as u64);
        self.at += n as u64;
        if let Some(verifier) = &mut self.verifier {
            verifier.update(&buffer[known as usize..n]).map_err(io::Error::other)?;
            *self.hashed = self.at.max(*self.hashed);
        }
        if *self.hashed == self.size
            && let Some(verifier) = self.verifier.take()
        {
            verifier.finish().map_err(io::Error::other)?;
        }
        self.watcher.sent(n as u64);
        Ok(n)
    }
}
