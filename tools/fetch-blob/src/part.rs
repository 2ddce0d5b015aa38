// SPDX-License-Identifier: Apache-2.0
//! One part of a blob: a range of its bytes, the file they go to, and whether it is worth
//! splitting.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A part is split only if at least this much of it is left, in bytes.
const SPLIT_FROM: u64 = 64 << 20;

/// Parts begin at whole multiples of this.
pub(crate) const SPLIT_ALIGN: u64 = 1 << 20;

/// A part is split only if one connection alone would need longer for the rest: what is quicker
/// than this is not worth moving bytes from one file to another.
const SPLIT_WORTH: Duration = Duration::from_secs(2);

/// How long a connection is watched before its speed is believed.
const SPEED_AFTER: Duration = Duration::from_millis(100);

/// A stretch of the blob and its file.
#[derive(Clone)]
pub(crate) struct Part {
    /// The blob's offset of the file's first byte.
    pub(crate) start: u64,
    /// Where the next part begins; the blob's size for the last, `u64::MAX` while that is unknown.
    pub(crate) end: u64,
    /// Up to which offset the file has the blob's bytes.
    pub(crate) at: u64,
    pub(crate) file: Arc<File>,
    /// Whether a connection is filling it.
    pub(crate) busy: bool,
    /// When that began, and from which offset.
    since: (Instant, u64),
}

impl Part {
    pub(crate) fn new(start: u64, end: u64, at: u64, file: Arc<File>) -> Part {
        Part { start, end, at, file, busy: false, since: (Instant::now(), at) }
    }

    pub(crate) fn begin(&mut self) {
        self.busy = true;
        self.since = (Instant::now(), self.at);
    }

    pub(crate) fn left(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    pub(crate) fn is_worth_splitting(&self) -> bool {
        let (began, from) = self.since;
        let elapsed = began.elapsed();
        if self.left() < SPLIT_FROM || elapsed < SPEED_AFTER {
            return false;
        }
        let speed = (self.at - from) as f64 / elapsed.as_secs_f64();
        self.left() as f64 > speed * SPLIT_WORTH.as_secs_f64()
    }
}
