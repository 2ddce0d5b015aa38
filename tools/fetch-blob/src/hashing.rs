// SPDX-License-Identifier: Apache-2.0
//! Hashing a blob's parts in order while they are downloaded, and appending later parts to the
//! first file. Bytes that do not arrive in memory are read back from the files.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use common::error::{Error, Result};
use common::verify::Verifier;

use crate::blob::Blob;
use crate::handoff::Handed;

/// The number of new bytes that wakes the waiting hashing thread. With fewer bytes it would wake
/// too often. With more bytes, the first of them would no longer be in the processor's cache.
const LAG: u64 = 1 << 20;

/// The number of bytes read back at once. They should still be in the processor's cache.
const CHUNK: usize = 256 << 10;

/// Hashes the blob to its end while it is downloaded. Returns its size if size and digest are
/// right.
///
/// # Errors
/// The error of a failed download; content if size or digest differ; local if a partial file cannot
/// be read or written.
pub(crate) fn hash(blob: &Blob) -> Result<u64> {
    let mut verifier = Verifier::new(&blob.digest, blob.stated);
    let in_digest = |e: Error| e.context(&blob.digest);
    let mut buffer = Vec::new();
    let mut offset = 0;
    let mut moved_from = 0;
    loop {
        let (part, file, end) = match next(blob, offset)? {
            Next::Handed(handed) => {
                verifier.update(handed.bytes()).map_err(in_digest)?;
                offset += handed.bytes().len() as u64;
                blob.lock().handoff.give_back(handed);
                continue;
            }
            Next::Stored { part, file, end } => (part, file, end),
            Next::End => break,
        };
        if part != moved_from {
            // The bytes of the previous part are all in the first file now.
            blob.drop_moved(moved_from);
            moved_from = part;
        }
        buffer.resize(CHUNK, 0);
        let wanted = usize::try_from(end - offset).unwrap_or(CHUNK).min(CHUNK);
        let read = &mut buffer[..wanted];
        file.read_exact_at(read, offset - part).map_err(|cause| {
            Error::local(format_args!("read back {}", blob.files.path().display()), &cause)
        })?;
        verifier.update(read).map_err(in_digest)?;
        if part > 0 {
            blob.first().write_all_at(read, offset).map_err(|e| blob.write_error(&e))?;
        }
        offset += wanted as u64;
    }
    blob.drop_moved(moved_from);
    verifier.finish().map_err(in_digest)
}

/// The place of the next bytes.
enum Next {
    /// In memory.
    Handed(Handed),
    /// In the file of the part that begins at `part`, up to the offset `end`.
    Stored { part: u64, file: Arc<File>, end: u64 },
    /// There are no more bytes: the blob is complete.
    End,
}

/// Waits until the byte at `offset` is available.
fn next(blob: &Blob, offset: u64) -> Result<Next> {
    let mut state = blob.lock();
    loop {
        if let Some(error) = state.failure() {
            return Err(error);
        }
        state.wake_at = 0;
        if let Some(handed) = state.handoff.take(offset) {
            return Ok(Next::Handed(handed));
        }
        if let Some(part) = state.part_with(offset) {
            let end = state.handoff.begins().map_or(part.at, |begins| part.at.min(begins));
            return Ok(Next::Stored { part: part.start, file: part.file.clone(), end });
        }
        if state.is_full() {
            return Ok(Next::End);
        }
        state.handoff.want(offset);
        state.wake_at = offset + LAG;
        state = blob.wait(state);
    }
}

impl Blob {
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
