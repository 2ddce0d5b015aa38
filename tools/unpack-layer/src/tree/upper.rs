// SPDX-License-Identifier: Apache-2.0
//! What the layer at hand has put into the tree so far, so that its own whiteouts spare it.
//!
//! A place is a directory's device and inode with a name in it: it does not matter by which path, or through
//! which symbolic link, an entry came there. Of each place only a hash is kept, 63 bits of SipHash under a key
//! drawn at start, eight bytes an entry: a layer cannot aim at a collision, and the odds that a whiteout
//! spares by chance something that it should hide are one in 10^13 for each name it meets in a
//! layer of a million entries.
//!
//! The first layer of a fresh tree needs none of this: all that is there is its own.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// A directory's identity.
pub(super) type Inode = (u64, u64);

/// The places that the layer at hand has put something in.
pub(super) struct Upper {
    key: RandomState,
    /// Hashes of places; the lowest bit says that the place had an entry of its own, and was not only
    /// on the way to one.
    places: HashSet<u64, BuildHasherDefault<AsIs>>,
    /// Whether anything lower can be there at all.
    over_lower: bool,
}

impl Upper {
    /// Before the first layer; `over_lower` says that the tree is not empty.
    pub(super) fn new(over_lower: bool) -> Upper {
        Upper { key: RandomState::new(), places: HashSet::default(), over_lower }
    }

    /// The next layer begins: what was put there so far is now lower.
    pub(super) fn next_layer(&mut self) {
        self.over_lower = true;
        self.places.clear();
    }

    /// Whether there can be something of lower layers.
    pub(super) fn is_over_lower(&self) -> bool {
        self.over_lower
    }

    /// Notes an entry of the layer.
    pub(super) fn add(&mut self, directory: Inode, name: &[u8]) {
        if self.over_lower {
            let place = self.place(directory, name);
            self.places.insert(place | 1);
        }
    }

    /// Notes a directory on the way to an entry of the layer.
    pub(super) fn add_parent(&mut self, directory: Inode, name: &[u8]) {
        if self.over_lower {
            let place = self.place(directory, name);
            self.places.insert(place);
        }
    }

    /// Whether the layer has put something here, or below.
    pub(super) fn has(&self, directory: Inode, name: &[u8]) -> bool {
        let place = self.place(directory, name);
        !self.over_lower || self.places.contains(&place) || self.places.contains(&(place | 1))
    }

    /// Whether the layer has an entry of this very place.
    pub(super) fn has_entry(&self, directory: Inode, name: &[u8]) -> bool {
        !self.over_lower || self.places.contains(&(self.place(directory, name) | 1))
    }

    fn place(&self, directory: Inode, name: &[u8]) -> u64 {
        self.key.hash_one((directory, name)) & !1
    }
}

/// Takes what is a hash already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, value: u64) {
        // The table takes its buckets from the low bits, and the lowest is ours.
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
    fn a_first_layer_has_all_that_is_there() {
        let mut upper = Upper::new(false);
        assert!(upper.has((1, 2), b"x"));
        upper.next_layer();
        assert!(!upper.has((1, 2), b"x"));
    }

    #[test]
    fn entries_and_the_way_to_them_are_told_apart() {
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
