// SPDX-License-Identifier: Apache-2.0
//! The buffers that the threads of a lane exchange: a fixed number, shared by reference and reused.
//!
//! One thread fills a buffer and up to two others read it. Each sends its reference back when it
//! has read the buffer. When the last reference is back, the buffer can be filled again. The size
//! of the pool therefore bounds the memory, and makes the reading thread wait if the others are
//! slower.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// The size of a buffer: large enough that a file of ordinary size is written in one call.
pub(super) const SIZE: usize = 512 << 10;

/// The number of buffers of a lane, in all its threads and channels together. With more buffers, a
/// lane reads further ahead while the caller uses another lane's layer.
const COUNT: usize = 24;

/// A buffer, filled up to `len`.
pub(crate) struct Buffer {
    pub(super) bytes: Box<[u8]>,
    pub(super) len: usize,
}

impl Buffer {
    /// The filled part.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The pool that gives out the buffers and takes them back.
pub(super) struct Pool {
    made: usize,
    own: Vec<Arc<Buffer>>,
    back: Receiver<Arc<Buffer>>,
}

impl Pool {
    pub(super) fn new() -> (Pool, Sender<Arc<Buffer>>) {
        let (sender, back) = channel();
        (Pool { made: 0, own: Vec::new(), back }, sender)
    }

    /// Takes a reference back from the thread that owns the pool. If the thread dropped the
    /// reference instead, the pool would lose a buffer.
    pub(super) fn give(&mut self, buffer: Arc<Buffer>) {
        self.own.push(buffer);
    }

    /// An empty buffer without other references. Blocks until one is free; `None` if all other
    /// threads have ended, so that no buffer can be sent back.
    pub(super) fn take(&mut self) -> Option<Arc<Buffer>> {
        // Reused buffers first: they may still be in the processor's cache.
        while let Some(mut buffer) = self.own.pop().or_else(|| self.back.try_recv().ok()) {
            if reset(&mut buffer) {
                return Some(buffer);
            }
        }
        if self.made < COUNT {
            self.made += 1;
            return Some(Arc::new(Buffer { bytes: vec![0; SIZE].into_boxed_slice(), len: 0 }));
        }
        loop {
            let mut buffer = self.back.recv().ok()?;
            if reset(&mut buffer) {
                return Some(buffer);
            }
        }
    }
}

/// Empties a returned buffer. Returns false if another reference to it still exists.
fn reset(buffer: &mut Arc<Buffer>) -> bool {
    match Arc::get_mut(buffer) {
        Some(buffer) => {
            buffer.len = 0;
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_its_last_reference_is_back() {
        let (mut pool, back) = Pool::new();
        let first = pool.take().unwrap();
        let at = first.bytes.as_ptr();
        let second = first.clone();
        back.send(first).unwrap();
        assert_ne!(pool.take().unwrap().bytes.as_ptr(), at);
        back.send(second).unwrap();
        assert_eq!(pool.take().unwrap().bytes.as_ptr(), at);
    }

    #[test]
    fn the_number_of_buffers_is_limited() {
        let (mut pool, back) = Pool::new();
        let held: Vec<_> = (0..COUNT).map(|_| pool.take().unwrap()).collect();
        drop(back);
        assert!(pool.take().is_none());
        drop(held);
    }
}
