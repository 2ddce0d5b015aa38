// SPDX-License-Identifier: Apache-2.0
//! Modes of directories that are set at the end of the run.
//!
//! Root can write to any directory. An ordinary user cannot write to a directory of mode 0555, for
//! example. Such a directory therefore gets its mode only after all layers are applied.

use std::collections::HashMap;

use rustix::io::Errno;

use super::upper::Inode;
use archive::names;

/// The maximum number of bytes that the paths may take in memory.
const MAX_BYTES: usize = 16 << 20;

/// The modes to set at the end, by directory.
#[derive(Default)]
pub(super) struct PendingModes {
    modes: HashMap<Inode, PendingMode>,
    bytes: usize,
}

/// The clean path of a directory, without symbolic links, and its final mode.
struct PendingMode {
    path: Vec<u8>,
    mode: u32,
}

impl PendingModes {
    /// Remembers the final mode of a directory.
    ///
    /// # Errors
    /// `ENOMEM` if the paths take more than 16 MiB.
    pub(super) fn add(&mut self, inode: Inode, path: Vec<u8>, mode: u32) -> rustix::io::Result<()> {
        self.bytes += path.len() + size_of::<(Inode, PendingMode)>();
        if self.bytes > MAX_BYTES {
            return Err(Errno::NOMEM);
        }
        self.modes.insert(inode, PendingMode { path, mode });
        Ok(())
    }

    /// Forgets a directory, whose mode was set again.
    pub(super) fn forget(&mut self, inode: Inode) {
        self.modes.remove(&inode);
    }

    /// Takes all directories out, with their paths and modes, the deepest first.
    pub(super) fn take(&mut self) -> Vec<(Inode, Vec<u8>, u32)> {
        let mut all: Vec<_> = std::mem::take(&mut self.modes)
            .into_iter()
            .map(|(inode, pending)| (inode, pending.path, pending.mode))
            .collect();
        all.sort_by(|a, b| names::depth(&b.1).cmp(&names::depth(&a.1)).then_with(|| a.1.cmp(&b.1)));
        all
    }
}
