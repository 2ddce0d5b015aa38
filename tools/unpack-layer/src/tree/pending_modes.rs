// SPDX-License-Identifier: Apache-2.0
//! Modes that directories get at the end, since until then the caller has to work in them.
//!
//! Only for a caller whom permission bits hold back: a directory with an entry of, say, mode 0555
//! stays writable to its owner until all layers are applied.

use std::collections::HashMap;

use rustix::io::Errno;

use super::upper::Inode;

/// The most bytes of paths that are kept.
const MAX_BYTES: usize = 16 << 20;

/// The modes to be set at the end, by directory.
#[derive(Default)]
pub(super) struct PendingModes {
    modes: HashMap<Inode, PendingMode>,
    bytes: usize,
}

/// A directory's path, clean and without links, and the mode that it is to have.
struct PendingMode {
    path: Vec<u8>,
    mode: u32,
}

impl PendingModes {
    /// Remembers the mode that a directory is to have.
    ///
    /// # Errors
    /// `ENOMEM`: there are too many.
    pub(super) fn add(&mut self, inode: Inode, path: Vec<u8>, mode: u32) -> rustix::io::Result<()> {
        self.bytes += path.len() + size_of::<(Inode, PendingMode)>();
        if self.bytes > MAX_BYTES {
            return Err(Errno::NOMEM);
        }
        self.modes.insert(inode, PendingMode { path, mode });
        Ok(())
    }

    /// Forgets a directory: it has another mode now.
    pub(super) fn forget(&mut self, inode: Inode) {
        self.modes.remove(&inode);
    }

    /// Takes all directories with their paths and modes, deepest first.
    pub(super) fn take(&mut self) -> Vec<(Inode, Vec<u8>, u32)> {
        let mut all: Vec<_> = std::mem::take(&mut self.modes)
            .into_iter()
            .map(|(inode, pending)| (inode, pending.path, pending.mode))
            .collect();
        let depth = |path: &[u8]| match path {
            [] => 0,
            _ => 1 + path.iter().filter(|byte| **byte == b'/').count(),
        };
        all.sort_by(|a, b| depth(&b.1).cmp(&depth(&a.1)).then_with(|| a.1.cmp(&b.1)));
        all
    }
}
