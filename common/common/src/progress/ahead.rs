// SPDX-License-Identifier: Apache-2.0
//! Reading lines ahead of the work on them, so that the total is known early.

use std::sync::mpsc::sync_channel;

use super::Progress;

/// The maximum number of lines that are read ahead.
const READ_AHEAD: usize = 256;

/// The bytes that a line adds to the expected total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: its content is not moved.
    Nothing,
    /// Content of an unknown size.
    Unknown,
    /// This number of bytes.
    Bytes(u64),
}

impl Progress {
    /// Reads lines on a separate thread, ahead of the caller, and adds their expected bytes.
    /// `lines` is called on that thread. Without a display, the lines are not read ahead.
    pub fn ahead<T: Send + 'static, I: Iterator<Item = T> + 'static>(
        &self,
        lines: impl FnOnce() -> I + Send + 'static,
        mut expected: impl FnMut(&T) -> Expected + Send + 'static,
    ) -> Box<dyn Iterator<Item = T>> {
        if self.0.is_none() {
            return Box::new(lines());
        }
        let progress = self.clone();
        let (send, receive) = sync_channel(READ_AHEAD);
        std::thread::spawn(move || {
            for line in lines() {
                progress.add_expected(expected(&line));
                if send.send(line).is_err() {
                    return;
                }
            }
            progress.all_expected();
        });
        Box::new(receive.into_iter())
    }
}
