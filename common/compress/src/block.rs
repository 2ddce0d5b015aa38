// SPDX-License-Identifier: Apache-2.0
//! The blocks that an archive is cut into on its way: filled by one thread, read by several, and
//! used again.
//!
//! There are only so many of them, so that whoever fills waits for those who read: that is what
//! bounds the memory.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// The bytes of a block: what pigz has. Smaller ones lose more at each flush, larger ones spread
/// worse.
pub(super) const BLOCK: usize = 128 << 10;

/// The blocks that are free.
pub(super) struct Pool {
    free: Receiver<Vec<u8>>,
    back: Sender<Vec<u8>>,
    /// How many more may be made.
    unmade: usize,
}

/// A block that is full, or the last.
pub(super) struct Block {
    bytes: Vec<u8>,
    filled: usize,
    back: Sender<Vec<u8>>,
}

impl Pool {
    /// A pool of at most so many blocks.
    pub(super) fn new(count: usize) -> Pool {
        let (back, free) = channel();
        Pool { free, back, unmade: count }
    }

    /// An empty block; waits until there is one. Blocks always come back, since those who read end
    /// with their input.
    pub(super) fn take(&mut self) -> Vec<u8> {
        if let Ok(bytes) = self.free.try_recv() {
            return bytes;
        }
        if self.unmade > 0 {
            self.unmade -= 1;
            return vec![0; BLOCK];
        }
        // The pool itself holds a sender: this cannot fail.
        self.free.recv().unwrap_or_else(|_| vec![0; BLOCK])
    }

    /// Makes a block to be read of one that was filled so far.
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
        // Nobody fills any more when this fails.
        let _ = self.back.send(std::mem::take(&mut self.bytes));
    }
}
