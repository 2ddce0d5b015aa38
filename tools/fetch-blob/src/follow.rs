// SPDX-License-Identifier: Apache-2.0
//! Following a blob's parts as they fill: hashing them in order, and moving later parts behind the first.

use std::os::unix::fs::FileExt;

use common::error::{Error, Result};
use common::verify::Verifier;

use crate::blob::Blob;

/// How many bytes are waited for: fewer would cost a wake-up each time, more would have left the cache.
const LAG: u64 = 1 << 20;

/// What is read back at once: small enough to be in the processor's cache still.
const CHUNK: usize = 256 << 10;

/// Hashes the blob to its end, while it comes; the number of bytes when they are the right ones.
///
/// # Errors
/// The failure of whoever fills it; content when size or digest differ; local trouble.
pub(crate) fn follow(blob: &Blob) -> Result<u64> {
    let mut verifier = Verifier::new(&blob.digest, blob.stated);
    let mut buffer = vec![0; CHUNK];
    let mut offset = 0;
    let mut moved_from = 0;
    while let Some((start, at, file, first)) = next(blob, offset)? {
        if start != moved_from {
            // The part before it is in the first one whole.
            blob.drop_moved(moved_from);
            moved_from = start;
        }
        let wanted = usize::try_from(at - offset).unwrap_or(CHUNK).min(CHUNK);
        let read = &mut buffer[..wanted];
        file.read_exact_at(read, offset - start).map_err(|cause| {
            Error::local(format_args!("read back {}", blob.place.path().display()), &cause)
        })?;
        let in_digest = |e: Error| e.context(&blob.digest);
        verifier.update(read).map_err(in_digest)?;
        if start > 0 {
            first.write_all_at(read, offset).map_err(|e| blob.trouble(&e))?;
        }
        offset += wanted as u64;
    }
    blob.drop_moved(moved_from);
    verifier.finish().map_err(|e| e.context(&blob.digest))
}

type Stretch = (u64, u64, std::sync::Arc<std::fs::File>, std::sync::Arc<std::fs::File>);

/// Waits until the byte at an offset is there: the part that has it (its start, how far it has come, its file)
/// and the first part's file. Nothing at the blob's end.
fn next(blob: &Blob, offset: u64) -> Result<Option<Stretch>> {
    let mut state = blob.lock();
    loop {
        if let Some(error) = state.failure() {
            return Err(error);
        }
        state.awaited = 0;
        let first = state.parts[0].file.clone();
        if let Some(part) = state.having(offset) {
            return Ok(Some((part.start, part.at, part.file.clone(), first)));
        }
        if state.is_full() {
            return Ok(None);
        }
        state.awaited = offset + LAG;
        state = blob.wait(state);
    }
}

impl Blob {
    /// A later part's bytes are all behind the first's: its file is not needed.
    fn drop_moved(&self, start: u64) {
        if start > 0 {
            self.place.remove(start);
        }
    }
}
