// SPDX-License-Identifier: Apache-2.0
//! Hashing a blob's parts in order while they are downloaded, and moving later parts behind the
//! first. Bytes that are not handed over in memory are read back from the files.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use common::error::{Error, Result};
use common::verify::Verifier;

use crate::blob::Blob;
use crate::handoff::Handed;

/// How many bytes are waited for: fewer would cost a wake-up each time, more would have left the
/// cache.
const LAG: u64 = 1 << 20;

/// What is read back at once: small enough to be in the processor's cache still.
const CHUNK: usize = 256 << 10;

/// Hashes the blob to its end, while it comes; the number of bytes when they are the right ones.
///
/// # Errors
/// The failure of whoever fills it; content when size or digest differ; local trouble.
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
            // The part before it is in the first one whole.
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
            blob.first().write_all_at(read, offset).map_err(|e| blob.trouble(&e))?;
        }
        offset += wanted as u64;
    }
    blob.drop_moved(moved_from);
    verifier.finish().map_err(in_digest)
}

/// Where the next bytes are.
enum Next {
    /// In memory.
    Handed(Handed),
    /// In the file of the part that begins at `part`, up to the offset `end`.
    Stored { part: u64, file: Arc<File>, end: u64 },
    /// Nowhere: this is the blob's end.
    End,
}

/// Waits until the byte at an offset is there.
fn next(blob: &Blob, offset: u64) -> Result<Next> {
    let mut state = blob.lock();
    loop {
        if let Some(error) = state.failure() {
            return Err(error);
        }
        state.awaited = 0;
        if let Some(handed) = state.handoff.take(offset) {
            return Ok(Next::Handed(handed));
        }
        if let Some(part) = state.having(offset) {
            let end = state.handoff.begins().map_or(part.at, |begins| part.at.min(begins));
            return Ok(Next::Stored { part: part.start, file: part.file.clone(), end });
        }
        if state.is_full() {
            return Ok(Next::End);
        }
        state.handoff.want(offset);
        state.awaited = offset + LAG;
        state = blob.wait(state);
    }
}

impl Blob {
    fn first(&self) -> Arc<File> {
        self.lock().parts[0].file.clone()
    }

    /// A later part's bytes are all behind the first's: its file is not needed.
    fn drop_moved(&self, start: u64) {
        if start > 0 {
            self.files.remove(start);
        }
    }
}
