// SPDX-License-Identifier: Apache-2.0
//! The files that the current layer has made so far. Its own whiteouts must not remove them.
//!
//! A place is the device and inode of a directory, with a name in it. The path, or the symbolic
//! links, through which an entry reached the place do not matter.
//!
//! Only a hash of each place is kept, eight bytes per entry: 63 bits of SipHash with a random key.
//! A layer therefore cannot construct a collision. The probability that a whiteout wrongly spares a
//! file of a lower layer is 1 in 10^13 for each name that it checks in a layer of a million
//! entries.
//!
//! For the first layer of a new tree nothing is recorded, because all files belong to this layer.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// A directory's identity.
pub(super) type Inode = (u64, u64);

/// The places at which the current layer has made files.
pub(super) struct Upper {
    key: RandomState,
    /// The hashes of places. The lowest bit is set if the place itself has an entry; it is clear
    /// for a parent directory of an entry.
    places: HashSet<u64, BuildHasherDefault<AsIs>>,
    /// The hashes of the places of symbolic links of lower layers through which entries of the
    /// current layer were reached, and of the directories above these links.
    passed: HashSet<u64, BuildHasherDefault<AsIs>>,
    /// Whether the tree can have files of lower layers.
    over_lower: bool,
}

impl Upper {
    /// The state before the first layer. `over_lower` means that the tree is not empty.
    pub(super) fn new(over_lower: bool) -> Upper {
        Upper {
            key: RandomState::new(),
            places: HashSet::default(),
            passed: HashSet::default(),
            over_lower,
        }
    }

    /// Begins the next layer: all existing files now belong to lower layers.
    pub(super) fn next_layer(&mut self) {
        self.over_lower = true;
        self.places.clear();
        self.passed.clear();
    }

    /// Whether the tree can have files of lower layers.
    pub(super) fn is_over_lower(&self) -> bool {
        self.over_lower
    }

    /// Records an entry of the layer.
    pub(super) fn add(&mut self, directory: Inode, name: &[u8]) {
        if self.over_lower {
            let place = self.place(directory, name);
            self.places.insert(place | 1);
        }
    }

    /// Records a parent directory of an entry of the layer.
    pub(super) fn add_parent(&mut self, directory: Inode, name: &[u8]) {
        if self.over_lower {
            let place = self.place(directory, name);
            self.places.insert(place);
        }
    }

    /// Whether the layer has an entry at this place or below it.
    pub(super) fn has(&self, directory: Inode, name: &[u8]) -> bool {
        let place = self.place(directory, name);
        !self.over_lower || self.places.contains(&place) || self.places.contains(&(place | 1))
    }

    /// Whether the layer has an entry at this place itself.
    pub(super) fn has_entry(&self, directory: Inode, name: &[u8]) -> bool {
        !self.over_lower || self.places.contains(&(self.place(directory, name) | 1))
    }

    /// Records a symbolic link of a lower layer through which an entry of the layer was reached, or
    /// a directory above such a link.
    pub(super) fn add_passed(&mut self, directory: Inode, name: &[u8]) {
        if self.over_lower {
            let place = self.place(directory, name);
            self.passed.insert(place);
        }
    }

    /// Whether entries of the layer passed a symbolic link at this place or below it.
    pub(super) fn was_passed(&self, directory: Inode, name: &[u8]) -> bool {
        !self.passed.is_empty() && self.passed.contains(&self.place(directory, name))
    }

    /// The hash of a place. Other records of the layer may use it as a key, too.
    pub(super) fn place(&self, directory: Inode, name: &[u8]) -> u64 {
        self.key.hash_one((directory, name)) & !1
    }
}

/// A hasher for values that already are hashes.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, value: u64) {
        // The hash table selects buckets by the low bits, and the lowest bit is our flag.
        self.0 = value.rotate_right(1);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_belong_to_the_first_layer() {
        let mut upper = Upper::new(false);
        assert!(upper.has((1, 2), b"x"));
        upper.next_layer();
        assert!(!upper.has((1, 2), b"x"));
    }

    #[test]
    fn entries_and_their_parents_are_distinguished() {
        let mut upper = Upper::new(true);
        upper.add_parent((1, 2), b"d");
        upper.add((1, 3), b"f");
        assert!(upper.has((1, 2), b"d") && !upper.has_entry((1, 2), b"d"));
        assert!(upper.has((1, 3), b"f") && upper.has_entry((1, 3), b"f"));
        assert!(!upper.has((1, 2), b"f"));
        upper.add((1, 2), b"d");
        assert!(upper.has_entry((1, 2), b"d"));
    }
}
