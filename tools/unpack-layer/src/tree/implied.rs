// SPDX-License-Identifier: Apache-2.0
//! Directories that were made without an entry, but whose entry may follow in the same layer.
//!
//! Used only for `--whiteouts overlay`: the warning about such a directory must wait for the end of
//! the layer.

use std::collections::HashMap;

/// The maximum number of bytes that the paths may take in memory.
const MAX_BYTES: usize = 16 << 20;

/// The bytes that a directory takes in addition to its path.
const OVERHEAD: usize = 48;

/// The directories that have no entry yet.
#[derive(Default)]
pub(super) struct ImpliedDirectories {
    /// The clean paths, by the hash of the place.
    paths: HashMap<u64, Box<[u8]>>,
    bytes: usize,
}

impl ImpliedDirectories {
    /// Records a directory. Returns false if the paths take more than 16 MiB.
    pub(super) fn add(&mut self, place: u64, path: Vec<u8>) -> bool {
        if self.bytes >= MAX_BYTES {
            return false;
        }
        self.bytes += path.len() + OVERHEAD;
        self.paths.insert(place, path.into_boxed_slice());
        true
    }

    /// Forgets the directory at a place, which now has an entry.
    pub(super) fn forget(&mut self, place: u64) {
        if let Some(path) = self.paths.remove(&place) {
            self.bytes = self.bytes.saturating_sub(path.len() + OVERHEAD);
        }
    }

    /// Takes the paths of all directories out, sorted.
    pub(super) fn take(&mut self) -> Vec<Box<[u8]>> {
        let mut paths: Vec<_> = std::mem::take(self).paths.into_values().collect();
        paths.sort_unstable();
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_removes_its_directory() {
        let mut implied = ImpliedDirectories::default();
        for (place, path) in [(1, "b"), (2, "a"), (3, "a/c")] {
            assert!(implied.add(place, path.into()));
        }
        implied.forget(1);
        implied.forget(9);
        let taken = implied.take();
        assert_eq!(taken, [b"a".to_vec().into_boxed_slice(), b"a/c".to_vec().into_boxed_slice()]);
    }

    #[test]
    fn memory_is_bounded_at_the_limit() {
        let mut implied = ImpliedDirectories::default();
        assert!(implied.add(1, vec![b'x'; MAX_BYTES - OVERHEAD - 1]));
        assert!(implied.add(2, b"y".to_vec()));
        assert!(!implied.add(3, b"z".to_vec()));
        implied.forget(1);
        assert!(implied.add(3, b"z".to_vec()));
    }
}
