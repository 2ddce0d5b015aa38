// SPDX-License-Identifier: Apache-2.0
//! One part of a blob: its range, its file, and the decision whether to split it.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A part is split only if at least this many of its bytes are missing.
const SPLIT_FROM: u64 = 64 << 20;

/// The start of each part is a multiple of this number of bytes.
pub(crate) const SPLIT_ALIGN: u64 = 1 << 20;

/// A part is split only if its connection would need longer than this for the rest. For a shorter
/// rest, splitting is not worthwhile, because the bytes of the second part must be copied to the
/// first file.
const SPLIT_WORTH: Duration = Duration::from_secs(4);

/// The time for which the speed of a connection is measured before it is used.
const SPEED_AFTER: Duration = Duration::from_millis(100);

/// A range of the blob and the file that holds it.
#[derive(Clone)]
pub(crate) struct Part {
    /// The offset in the blob of the file's first byte.
    pub(crate) start: u64,
    /// The start of the next part. For the last part, the size of the blob, or `u64::MAX` while the
    /// size is unknown.
    pub(crate) end: u64,
    /// The end of the bytes in the file, as an offset in the blob.
    pub(crate) at: u64,
    pub(crate) file: Arc<File>,
    /// Whether a connection is filling the part.
    pub(crate) busy: bool,
    /// The time and the offset at which that connection began.
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
