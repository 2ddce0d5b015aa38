// SPDX-License-Identifier: Apache-2.0
//! The upload of bytes whose length and digest are not known at the start.
//!
//! The bytes are sent in parts from memory as they arrive. [`Parts`] reads the next part of a pipe
//! while one is sent. A part that failed is sent again from the offset that the registry reports.
//!
//! Some registries accept one part only, or none. Until the registry has accepted two parts, the
//! bytes are therefore also kept in a [`Spool`]. If a part is refused, the rest of the bytes is
//! kept there too, and the caller pushes the complete blob when all bytes have arrived. After two
//! accepted parts nothing is kept: if the registry loses one of them, the upload fails.
//!
//! A blob that fits into one part is not sent as a stream. Its digest is known before any byte is
//! sent, so that the caller can push it as it pushes a file.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::digest::{Algorithm, Digest, Hasher};
use common::error::{Error, Result};
use net::failure::Failure;
use net::retry::Backoff;

use super::Uploads;
use super::open_sessions::UploadSession;
use super::parts::{Part, Parts};
use super::plan::{SMALL_CHUNK, spend};
use super::refused::{Refused, Why};
use super::rereadable::Rereadable;
use super::spool::Spool;

/// The part size, in bytes. One part is held in memory, two if a pipe is read ahead. Registries
/// that store parts in an object store require at least 5 MiB.
pub(crate) const PART: usize = 8 << 20;

/// The hint if bytes must be sent again but were not kept.
const TO_A_FILE: &str = "write the input to a file first: a file can be sent in other ways";

/// The maximum number of times that one part is sent again after the registry refused it as out of
/// order.
const MAX_DISORDERS: u32 = 2;

/// The number of accepted parts after which the registry is known to accept parts.
const ENOUGH_PARTS: u32 = 2;

/// A blob that is being written. If it is dropped before [`finish`](Stream::finish), its session is
/// cancelled.
pub(crate) struct Stream {
    uploads: Arc<Uploads>,
    hasher: Option<Hasher>,
    /// The number of bytes written so far.
    size: u64,
    /// The last of the written bytes, which were not sent yet.
    part: Vec<u8>,
    session: Option<UploadSession>,
    /// The size of the largest part that is sent, in bytes.
    most: usize,
    /// The number of parts that the registry accepted.
    accepted: u32,
    /// The bytes before `part`, as long as they may have to be sent again.
    spool: Option<Box<Spool>>,
    /// Whether the blob is sent when all bytes have arrived, because a part was refused.
    is_deferred: bool,
}

/// A blob whose bytes were all written.
pub(crate) enum Finished {
    /// The registry has it.
    Sent(Digest, u64),
    /// The registry has no byte of it. The fields are its digest, its size and its bytes.
    Unsent(Digest, u64, Kept),
}

/// The bytes of a blob that was not sent.
pub(crate) enum Kept {
    /// In memory.
    Memory(Vec<u8>),
    /// In a temporary file.
    Spool(Box<Spool>),
}

impl Rereadable for Kept {
    fn open(&mut self, offset: u64) -> Result<Box<dyn Read + '_>> {
        match self {
            Kept::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(Box::new(&bytes[start..]))
            }
            Kept::Spool(spool) => spool.open(offset),
        }
    }
}

impl Uploads {
    /// Begins a blob of unknown length.
    ///
    /// `chunk` is the size of the largest part that is sent, in bytes. It is limited to [`PART`],
    /// which is also the default.
    pub(crate) fn stream(self: &Arc<Uploads>, chunk: Option<u64>) -> Stream {
        let most = chunk.and_then(|chunk| usize::try_from(chunk).ok()).unwrap_or(PART).min(PART);
        Stream {
            uploads: Arc::clone(self),
            hasher: Some(Algorithm::Sha256.hasher()),
            size: 0,
            part: Vec::new(),
            session: None,
            most,
            accepted: 0,
            spool: Some(Box::default()),
            is_deferred: self.refuses_parts.load(Ordering::Relaxed),
        }
    }
}

impl Stream {
    /// Completes the blob, or returns its bytes if none of them was sent.
    ///
    /// # Errors
    /// The registry's errors. Malformed if too many bytes had to be kept in a temporary file, local
    /// if that file could not be written.
    pub(crate) fn finish(mut self) -> Result<Finished> {
        let hasher = self.hasher.take().unwrap_or_else(|| Algorithm::Sha256.hasher());
        self.complete(hasher.finish())
    }

    /// The size of the parts in which the bytes should arrive.
    pub(crate) fn part_size(&self) -> usize {
        self.most
    }

    /// Writes and completes the blob that consists of these parts. Nothing was written before.
    ///
    /// # Errors
    /// The errors of the parts; otherwise as [`finish`](Stream::finish).
    pub(crate) fn send(mut self, mut parts: Parts) -> Result<Finished> {
        loop {
            match parts.next()? {
                Part::Full(bytes) => {
                    self.size += bytes.len() as u64;
                    self.part = bytes;
                    self.send_part()?;
                    parts.reuse(std::mem::take(&mut self.part));
                }
                Part::Last(bytes, digest) => {
                    self.size += bytes.len() as u64;
                    self.part = bytes;
                    return self.complete(digest);
                }
            }
        }
    }

    /// Completes the blob, whose last bytes are in `part`.
    fn complete(mut self, digest: Digest) -> Result<Finished> {
        let size = self.size;
        let is_in_memory = self.spool.as_ref().is_some_and(|spool| spool.is_empty());
        if self.session.is_none() && is_in_memory {
            let bytes = std::mem::take(&mut self.part);
            return Ok(Finished::Unsent(digest, size, Kept::Memory(bytes)));
        }
        self.send_part()?;
        if self.is_deferred
            && let Some(spool) = self.spool.take()
        {
            return Ok(Finished::Unsent(digest, size, Kept::Spool(spool)));
        }
        let mut backoff = Backoff::new(self.uploads.registry.client());
        while let Some(session) = &self.session {
            match self.uploads.close(session, &digest) {
                Ok(()) => self.session = None,
                Err(Refused { failure, .. }) => {
                    // The blob may be stored, and only the response was lost.
                    if matches!(self.uploads.registry.has_blob(&digest, size), Ok(true)) {
                        self.uploads.leave(session);
                        self.session = None;
                        break;
                    }
                    backoff.wait(failure)?;
                }
            }
        }
        Ok(Finished::Sent(digest, size))
    }

    /// Sends the part that is held in memory, or keeps it for later.
    fn send_part(&mut self) -> Result<()> {
        if self.is_deferred {
            return self.keep_part();
        }
        let base = self.size - self.part.len() as u64;
        let mut backoff = Backoff::new(self.uploads.registry.client());
        let mut disorders = MAX_DISORDERS;
        let mut in_doubt = false;
        loop {
            let failure = match self.send_rest(base, in_doubt) {
                Ok(()) => {
                    self.part_is_sent();
                    return Ok(());
                }
                Err(refused) => match refused.why {
                    Why::TooLarge if self.most > SMALL_CHUNK as usize => {
                        self.most = SMALL_CHUNK as usize;
                        continue;
                    }
                    Why::Failed => refused.failure,
                    Why::OutOfOrder if spend(&mut disorders) => {
                        Failure::temporary(refused.failure.error)
                    }
                    Why::TooLarge => return Err(refused.failure.error.hint(TO_A_FILE)),
                    _ => return self.defer(refused.failure.error),
                },
            };
            in_doubt = true;
            backoff.wait(failure)?;
        }
    }

    /// Continues after the registry has accepted the part. The part is kept too, until the registry
    /// is known to accept parts.
    fn part_is_sent(&mut self) {
        if self.accepted >= ENOUGH_PARTS {
            self.spool = None;
        }
        if let Some(spool) = &mut self.spool {
            spool.append(&self.part);
        }
    }

    /// Stops sending parts. All bytes are kept, and the caller sends them when the last one has
    /// arrived.
    fn defer(&mut self, why: Error) -> Result<()> {
        if self.spool.is_none() {
            return Err(why.hint(TO_A_FILE));
        }
        if let Some(session) = self.session.take() {
            self.uploads.cancel(&session);
        }
        self.uploads.refuses_parts.store(true, Ordering::Relaxed);
        self.is_deferred = true;
        self.keep_part()
    }

    /// Keeps the part that is held in memory.
    fn keep_part(&mut self) -> Result<()> {
        let Some(spool) = &mut self.spool else { return Ok(()) };
        spool.append(&self.part);
        let name = self.uploads.registry.repository();
        spool.check().map_err(|error| error.context(format_args!("{name}: upload")))
    }

    fn send_rest(&mut self, base: u64, in_doubt: bool) -> std::result::Result<(), Refused> {
        let what = format!("{}: upload", self.uploads.registry.repository());
        let end = base + self.part.len() as u64;
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.uploads.begin()?,
        };
        if let Some(least) = session.min_chunk
            && least > self.most as u64
        {
            self.uploads.cancel(&session);
            let error = Error::malformed(format_args!(
                "{what}: the registry requires parts of {least} bytes or more, the limit here is {}",
                self.most
            ));
            return Err(Refused::new(Why::Unsupported, error));
        }
        let outcome = self.send_from(&mut session, &what, base, end, in_doubt);
        self.session = Some(session);
        outcome
    }

    fn send_from(
        &mut self,
        session: &mut UploadSession,
        what: &str,
        base: u64,
        end: u64,
        in_doubt: bool,
    ) -> std::result::Result<(), Refused> {
        if in_doubt {
            match self.uploads.ask(session)? {
                Some(offset) if (base..=end).contains(&offset) => session.offset = offset,
                _ => {
                    let why =
                        format_args!("{what}: interrupted, and the input cannot be read again");
                    return Err(Refused::new(Why::Gone, Error::unavailable(why)));
                }
            }
        }
        while session.offset < end {
            let start = (session.offset - base) as usize;
            let length = (self.part.len() - start).min(self.most);
            let mut bytes = &self.part[start..start + length];
            self.uploads.send_part(session, what, &mut bytes, length as u64)?;
            self.accepted = self.accepted.saturating_add(1);
        }
        Ok(())
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.part.len() >= self.most {
            self.send_part().map_err(io::Error::other)?;
            self.part.clear();
        }
        let n = bytes.len().min(self.most - self.part.len());
        let bytes = &bytes[..n];
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.part.extend_from_slice(bytes);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.uploads.cancel(&session);
        }
    }
}
