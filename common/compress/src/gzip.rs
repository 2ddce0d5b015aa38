// SPDX-License-Identifier: Apache-2.0
//! Makes one gzip member from blocks that are compressed separately, as pigz does.
//!
//! Each block is deflated with the last 32 KiB of the previous block as its dictionary. Its result
//! ends on a byte boundary, so that the results can be concatenated.
//!
//! The output bytes depend on the input and the level only. Therefore all blocks have the same
//! size, and each block gets a new encoder: an encoder that is reset keeps some state.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

use crc32fast::Hasher as Crc;
use flate2::{Compress, Compression, FlushCompress, Status};

use super::block::{BLOCK, Block};

/// The size of deflate's window: how far back it can refer.
const DICTIONARY: usize = 32 << 10;

/// The size of a result's buffer, in bytes. It is enough for a block that cannot be compressed:
/// such a block is stored, with deflate's block headers.
pub(super) const ROOM: usize = BLOCK + BLOCK / 64;

/// The member's header (RFC 1952): deflate, no flags, no time, no level, unknown operating system.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A block to be deflated.
pub(super) struct Job {
    pub(super) block: Arc<Block>,
    /// The previous block.
    pub(super) before: Option<Arc<Block>>,
    pub(super) last: bool,
    pub(super) done: SyncSender<io::Result<Deflated>>,
    /// A buffer for the result.
    pub(super) buffer: Vec<u8>,
}

/// A block that was deflated.
pub(super) struct Deflated {
    pub(super) bytes: Vec<u8>,
    crc: Crc,
}

/// The function of a worker thread: deflates blocks until the channel of jobs is closed.
pub(super) fn work(jobs: &Mutex<Receiver<Job>>, level: u32) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, before, last, done, buffer }) = job else { return };
        let deflated = deflate(&block, before.as_deref(), last, level, buffer);
        // The blocks are released before the result is sent, so that a thread that waits for a
        // block gets one.
        drop((block, before));
        // Sending fails if the writing thread has ended: the result is then not needed.
        let _ = done.send(deflated);
    }
}

fn deflate(
    block: &[u8],
    before: Option<&Block>,
    last: bool,
    level: u32,
    mut bytes: Vec<u8>,
) -> io::Result<Deflated> {
    let mut encoder = Compress::new(Compression::new(level), false);
    if let Some(before) = before {
        encoder.set_dictionary(&before[before.len().saturating_sub(DICTIONARY)..])?;
    }
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    bytes.clear();
    bytes.reserve(ROOM);
    loop {
        let used = usize::try_from(encoder.total_in()).unwrap_or(usize::MAX);
        let status = encoder.compress_vec(&block[used..], &mut bytes, flush)?;
        // A flush is complete if the output buffer still has free space.
        if status == Status::StreamEnd || (!last && bytes.len() < bytes.capacity()) {
            break;
        }
        bytes.reserve(ROOM);
    }
    let mut crc = Crc::new();
    crc.update(block);
    Ok(Deflated { bytes, crc })
}

/// The state of the complete member: the CRC and size of the input, and the channel that returns
/// buffers.
pub(super) struct Joiner {
    crc: Crc,
    size: u64,
    back: Sender<Vec<u8>>,
}

impl Joiner {
    /// Buffers of written results are returned through `back`.
    pub(super) fn new(back: Sender<Vec<u8>>) -> Joiner {
        Joiner { crc: Crc::new(), size: 0, back }
    }

    /// Adds the next block, whose result was written. `size` is its size before compression.
    pub(super) fn join(&mut self, deflated: Deflated, size: usize) {
        self.crc.combine(&deflated.crc);
        self.size = self.size.wrapping_add(size as u64);
        let _ = self.back.send(deflated.bytes);
    }

    /// The member's trailer: the CRC-32, and the size of the input modulo 2^32.
    pub(super) fn trailer(self) -> [u8; 8] {
        let mut trailer = [0; 8];
        trailer[..4].copy_from_slice(&self.crc.finalize().to_le_bytes());
        trailer[4..].copy_from_slice(&(self.size as u32).to_le_bytes());
        trailer
    }
}
