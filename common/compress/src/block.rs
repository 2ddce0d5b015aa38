// SPDX-License-Identifier: Apache-2.0
//! The blocks into which the input is divided. One thread fills a block, several threads read it,
//! and then its memory is reused.
//!
//! The number of blocks is fixed: the filling thread waits while all blocks are in use. This limits
//! the memory.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// The size of a block in bytes, as in pigz. Smaller blocks compress worse, since each block ends
/// with a flush. Larger blocks are harder to spread over the threads.
pub(super) const BLOCK: usize = 128 << 10;

/// The free blocks.
pub(super) struct Pool {
    free: Receiver<Vec<u8>>,
    back: Sender<Vec<u8>>,
    /// The number of blocks that are not allocated yet.
    unmade: usize,
}

/// A block that is full, or the last block. It returns to the pool when it is dropped.
pub(super) struct Block {
    bytes: Vec<u8>,
    filled: usize,
    back: Sender<Vec<u8>>,
}

impl Pool {
    /// A pool of at most `count` blocks.
    pub(super) fn new(count: usize) -> Pool {
        let (back, free) = channel();
        Pool { free, back, unmade: count }
    }

    /// A free block. Waits until a block is free. The wait always ends, because each reading thread
    /// finally drops its blocks.
    pub(super) fn take(&mut self) -> Vec<u8> {
        if let Ok(bytes) = self.free.try_recv() {
            return bytes;
        }
        if self.unmade > 0 {
            self.unmade -= 1;
            return vec![0; BLOCK];
        }
        // The pool itself holds a sender, so receiving cannot fail.
        self.free.recv().unwrap_or_else(|_| vec![0; BLOCK])
    }

    /// Makes a readable block from the first `filled` bytes of `bytes`.
    pub(super) fn seal(&self, bytes: Vec<u8>, filled: usize) -> Arc<Block> {
        Arc::new(Block { bytes, filled, back: self.back.clone() })
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // Sending fails if the pool was dropped: the block is then not needed.
        let _ = self.back.send(std::mem::take(&mut self.bytes));
    }
}
