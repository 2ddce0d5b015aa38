// SPDX-License-Identifier: Apache-2.0
//! The buffers that travel between the threads: a fixed number, made once, shared by reference and used again.
//!
//! A buffer is filled by one thread and read by up to two others. Each sends its reference back
//! when it is done; the last one to come back can be written to again. So memory is bounded by the pool's
//! size, and the pool is also what holds a fast producer back.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// The size of a buffer: large enough that a file of ordinary size is written in one call.
pub(super) const SIZE: usize = 512 << 10;

/// How many there are, in all threads and channels together.
const COUNT: usize = 12;

/// A buffer and how much of it is filled.
pub(crate) struct Buffer {
    pub(super) bytes: Box<[u8]>,
    pub(super) len: usize,
}

impl Buffer {
    /// What it holds.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Where the buffers come from, and come back to.
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

    /// Takes a reference back from the thread that has the pool. Dropped, it would leave the pool one short.
    pub(super) fn give(&mut self, buffer: Arc<Buffer>) {
        self.own.push(buffer);
    }

    /// An empty buffer that nobody else sees; waits until there is one. Nothing when nobody is left to
    /// send one back.
    pub(super) fn take(&mut self) -> Option<Arc<Buffer>> {
        // Used ones first: they are still in the processor's cache.
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

/// Empties a buffer that came back; not if another reference to it is still to come.
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
    fn there_are_no_more_than_the_limit() {
        let (mut pool, back) = Pool::new();
        let held: Vec<_> = (0..COUNT).map(|_| pool.take().unwrap()).collect();
        drop(back);
        assert!(pool.take().is_none());
        drop(held);
    }
}
