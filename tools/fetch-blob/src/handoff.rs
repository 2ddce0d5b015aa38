// SPDX-License-Identifier: Apache-2.0
//! Passing bytes from the connection to the hashing thread in memory, so that they are not read
//! back from the file.
//!
//! This is only an optimisation. Every byte is written to the blob's file first, and a hashing
//! thread that lags behind reads it from there. The number of waiting buffers is therefore limited,
//! for one blob and for the process, and an offered buffer may be declined at any time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The maximum number of buffers that wait for one blob's hashing thread.
const MAX_WAITING: usize = 16;

/// The maximum number of buffers that wait for all hashing threads of the process.
const MAX_WAITING_IN_ALL: usize = 64;

static WAITING: AtomicUsize = AtomicUsize::new(0);

/// A buffer of the blob's bytes, as they were received.
pub(crate) struct Handed {
    offset: u64,
    buffer: Vec<u8>,
    filled: usize,
}

impl Handed {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }
}

/// The buffers that wait for the hashing thread. Their bytes are consecutive.
#[derive(Default)]
pub(crate) struct Handoff {
    waiting: VecDeque<Handed>,
    spare: Vec<Vec<u8>>,
    /// The offset of the next bytes that are accepted.
    next: u64,
}

impl Handoff {
    /// Offers bytes at `offset`. If they are accepted, their buffer is taken and replaced with
    /// another buffer.
    pub(crate) fn offer(&mut self, offset: u64, buffer: &mut Vec<u8>, filled: usize) {
        let wanted = offset == self.next && self.waiting.len() < MAX_WAITING;
        if !wanted || filled == 0 || WAITING.load(Ordering::Relaxed) >= MAX_WAITING_IN_ALL {
            return;
        }
        WAITING.fetch_add(1, Ordering::Relaxed);
        self.next += filled as u64;
        let other = self.spare.pop().unwrap_or_else(|| vec![0; buffer.len()]);
        let buffer = std::mem::replace(buffer, other);
        self.waiting.push_back(Handed { offset, buffer, filled });
    }

    /// Takes the buffer that begins at `offset`, if it is waiting.
    pub(crate) fn take(&mut self, offset: u64) -> Option<Handed> {
        self.waiting.front().filter(|handed| handed.offset == offset)?;
        WAITING.fetch_sub(1, Ordering::Relaxed);
        self.waiting.pop_front()
    }

    /// The offset of the first waiting buffer.
    pub(crate) fn begins(&self) -> Option<u64> {
        self.waiting.front().map(|handed| handed.offset)
    }

    /// Called when the hashing thread has hashed all bytes up to `offset`. The bytes at that offset
    /// are accepted next.
    pub(crate) fn want(&mut self, offset: u64) {
        self.clear();
        self.next = offset;
    }

    /// Returns a buffer for reuse.
    pub(crate) fn give_back(&mut self, handed: Handed) {
        self.spare.push(handed.buffer);
    }

    fn clear(&mut self) {
        WAITING.fetch_sub(self.waiting.len(), Ordering::Relaxed);
        self.waiting.clear();
    }
}

impl Drop for Handoff {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_consecutive_bytes_are_accepted_up_to_the_limit() {
        let mut handoff = Handoff::default();
        let mut buffer = vec![7; 10];
        handoff.offer(5, &mut buffer, 10);
        assert!(handoff.begins().is_none());
        for i in 0..MAX_WAITING as u64 + 3 {
            handoff.offer(i * 10, &mut buffer, 10);
        }
        assert_eq!(handoff.waiting.len(), MAX_WAITING);
        assert!(handoff.take(10).is_none());
        let handed = handoff.take(0).unwrap();
        assert_eq!(handed.bytes(), [7; 10]);
        handoff.give_back(handed);
        handoff.want(400);
        assert!(handoff.begins().is_none());
        handoff.offer(400, &mut buffer, 7);
        assert_eq!(handoff.take(400).unwrap().bytes().len(), 7);
    }
}
