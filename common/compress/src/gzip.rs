// SPDX-License-Identifier: Apache-2.0
//! One gzip member made of blocks that are compressed apart, as pigz does.
//!
//! Each block is deflated on its own, with the last 32 KiB of the block before as its dictionary,
//! and ends on a byte, so that the results can be joined. The blocks are always of the same size
//! and every encoder is a new one (a reset one keeps state), so that the bytes depend on nothing
//! but the input and the level.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

use crc32fast::Hasher as Crc;
use flate2::{Compress, Compression, FlushCompress, Status};

use super::block::{BLOCK, Block};

/// How far back deflate can refer.
const DICTIONARY: usize = 32 << 10;

/// Room for a block that does not get smaller: stored, with what surrounds it.
pub(super) const ROOM: usize = BLOCK + BLOCK / 64;

/// The member's header: deflate, no flags, no time, nothing about the level, an unknown system.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A block to be deflated.
pub(super) struct Job {
    pub(super) block: Arc<Block>,
    /// The block before it.
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

/// A worker: deflates until no more jobs come.
pub(super) fn work(jobs: &Mutex<Receiver<Job>>, level: u32) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, before, last, done, buffer }) = job else { return };
        let deflated = deflate(&block, before.as_deref(), last, level, buffer);
        // Given back before the result is told: who waits for a block finds it.
        drop((block, before));
        // Nobody waits for it when the output failed.
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
        // A flush is done when it leaves room.
        if status == Status::StreamEnd || (!last && bytes.len() < bytes.capacity()) {
            break;
        }
        bytes.reserve(ROOM);
    }
    let mut crc = Crc::new();
    crc.update(block);
    Ok(Deflated { bytes, crc })
}

/// What goes over all blocks: the check, and the buffers that are used again.
pub(super) struct Joiner {
    crc: Crc,
    size: u64,
    back: Sender<Vec<u8>>,
}

impl Joiner {
    /// Results go back to be used again by `back`.
    pub(super) fn new(back: Sender<Vec<u8>>) -> Joiner {
        Joiner { crc: Crc::new(), size: 0, back }
    }

    /// Takes the next block, whose bytes were written.
    pub(super) fn join(&mut self, deflated: Deflated, size: usize) {
        self.crc.combine(&deflated.crc);
        self.size = self.size.wrapping_add(size as u64);
        let _ = self.back.send(deflated.bytes);
    }

    /// The member's last bytes: the check and the size, modulo 2^32.
    pub(super) fn trailer(self) -> [u8; 8] {
        let mut trailer = [0; 8];
        trailer[..4].copy_from_slice(&self.crc.finalize().to_le_bytes());
        trailer[4..].copy_from_slice(&(self.size as u32).to_le_bytes());
        trailer
    }
}
