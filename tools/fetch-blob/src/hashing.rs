// SPDX-License-Identifier: Apache-2.0
//! Hashing a blob's parts in order while they are downloaded, and appending later parts to the
//! first file.
//!
//! A connection hashes the bytes that it receives if all bytes before them are hashed already,
//! because the received bytes are still in its processor's cache. The thread that waits for the
//! blob reads all other bytes back from the files: the bytes of an earlier run, and those of later
//! parts.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, MutexGuard, PoisonError};

use common::digest::Digest;
use common::error::{Error, Result};
use common::verify::Verifier;

use crate::blob::Blob;

/// The number of bytes read back at once.
const CHUNK: usize = 128 << 10;

/// The hash of the first bytes of a blob.
pub(crate) struct Hashed {
    verifier: Verifier,
    /// The number of bytes hashed.
    at: u64,
}

impl Hashed {
    pub(crate) fn new(digest: &Digest, stated: Option<u64>) -> Hashed {
        Hashed { verifier: Verifier::new(digest, stated), at: 0 }
    }

    fn update(&mut self, bytes: &[u8]) -> Result<()> {
        self.at += bytes.len() as u64;
        self.verifier.update(bytes)
    }
}

/// Hashes the blob to its end while it is downloaded. Returns its size if size and digest are
/// right.
///
/// # Errors
/// The error of a failed download; content if size or digest differ; local if a partial file cannot
/// be read or written.
pub(crate) fn hash(blob: &Blob) -> Result<u64> {
    let in_digest = |e: Error| e.context(&blob.digest);
    let mut buffer = Vec::new();
    let mut moved_from = 0;
    while let Some(Stored { mut hashed, part, file, end }) = next(blob)? {
        if part != moved_from {
            // The bytes of the previous part are all in the first file now.
            blob.drop_moved(moved_from);
            moved_from = part;
        }
        buffer.resize(CHUNK, 0);
        let offset = hashed.at;
        let wanted = usize::try_from(end - offset).unwrap_or(CHUNK).min(CHUNK);
        let read = &mut buffer[..wanted];
        file.read_exact_at(read, offset - part).map_err(|cause| {
            Error::local(format_args!("read back {}", blob.files.path().display()), &cause)
        })?;
        hashed.update(read).map_err(in_digest)?;
        drop(hashed);
        if part > 0 {
            blob.first().write_all_at(read, offset).map_err(|e| blob.write_error(&e))?;
        }
    }
    blob.drop_moved(moved_from);
    let verifier = std::mem::replace(&mut *blob.hashed(), Hashed::new(&blob.digest, None)).verifier;
    verifier.finish().map_err(in_digest)
}

/// Bytes that are not hashed yet.
struct Stored<'a> {
    hashed: MutexGuard<'a, Hashed>,
    /// The start of the part whose file has them.
    part: u64,
    file: Arc<File>,
    /// The end of the bytes in that file, as an offset in the blob.
    end: u64,
}

/// Waits until a file has bytes that are not hashed yet. `None` if all bytes of the blob are
/// hashed.
fn next(blob: &Blob) -> Result<Option<Stored<'_>>> {
    loop {
        let hashed = blob.hashed();
        let state = blob.lock();
        if let Some(error) = state.failure() {
            return Err(error);
        }
        if let Some(part) = state.part_with(hashed.at) {
            let (part, file, end) = (part.start, part.file.clone(), part.at);
            return Ok(Some(Stored { hashed, part, file, end }));
        }
        if state.is_full() {
            return Ok(None);
        }
        // A connection may hash from here on. It cannot have new bytes before `wait` unlocks the
        // state.
        drop(hashed);
        drop(blob.wait(state));
    }
}

impl Blob {
    pub(crate) fn hashed(&self) -> MutexGuard<'_, Hashed> {
        self.hashed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hashes received bytes of the first part, after they were written to the file. If bytes before
    /// them are not hashed yet, it does nothing, and they are read back later.
    ///
    /// # Errors
    /// Content if the blob is larger than its stated size.
    pub(crate) fn hash_received(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        // The thread that reads back holds the lock for one chunk. Waiting for the lock is
        // worthwhile, because that chunk is often the one before these bytes.
        let mut hashed = self.hashed();
        let done = hashed.at.checked_sub(offset).and_then(|done| usize::try_from(done).ok());
        match done.and_then(|done| bytes.get(done..)) {
            Some(rest) => hashed.update(rest).map_err(|e| e.context(&self.digest)),
            None => Ok(()),
        }
    }

    fn first(&self) -> Arc<File> {
        self.lock().parts[0].file.clone()
    }

    /// Removes the file of a later part, after its bytes were appended to the first file.
    fn drop_moved(&self, start: u64) {
        if start > 0 {
            self.files.remove(start);
        }
    }
}
