// SPDX-License-Identifier: Apache-2.0
//! Hard links: which names are one file.
//!
//! Of the names of a file the first in the archive's order is the file, the others link to it. The
//! tables hold files with several links only, so their memory is bounded by those.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, HashSet};

use rustix::fs::FileType;

use super::node::{Inode, Node};

/// The files with several links that were met, by the first of their names.
#[derive(Default)]
pub(crate) struct Firsts {
    met: HashMap<Inode, (Box<[u8]>, u64)>,
}

impl Firsts {
    /// Meets a name of a file: the first one, if that is another. A file of which all names were
    /// met is forgotten.
    pub(crate) fn meet(&mut self, node: &Node, path: &[u8]) -> Option<Box<[u8]>> {
        if !may_have_others(node) {
            return None;
        }
        match self.met.entry(node.inode) {
            Slot::Vacant(slot) => {
                slot.insert((path.into(), node.links - 1));
                None
            }
            Slot::Occupied(mut slot) => {
                slot.get_mut().1 -= 1;
                match slot.get().1 {
                    0 => Some(slot.remove().0),
                    _ => Some(slot.get().0.clone()),
                }
            }
        }
    }
}

/// Whether a file may have other names in the tree. Directories have, but not ones to be seen.
pub(crate) fn may_have_others(node: &Node) -> bool {
    node.links > 1 && !matches!(node.file_type, FileType::Directory | FileType::Socket)
}

/// How the links of a tree differ from those of the tree that it is compared with, found by a walk
/// before the one that packs: a name that comes late can change what is to be done with the first.
#[derive(Default)]
pub(crate) struct LinkChanges {
    here: Firsts,
    base: Firsts,
    /// Files of several names, one of which is new or changed: all names go into the layer, since a
    /// link to a file of a layer below is not for every unpacker to make.
    changed: HashSet<Inode>,
    /// Names that are another file than in the other tree, and have no other name now.
    parted: HashSet<Box<[u8]>>,
}

impl LinkChanges {
    /// Meets a name in both trees, or in the first alone; `differs` is told what the files
    /// themselves say.
    pub(crate) fn meet(&mut self, path: &[u8], here: &Node, base: Option<&Node>, differs: bool) {
        let first_here = self.here.meet(here, path);
        let first_base = base.and_then(|base| self.base.meet(base, path));
        if !differs && first_here == first_base {
            return;
        }
        if may_have_others(here) {
            self.changed.insert(here.inode);
        } else {
            self.parted.insert(path.into());
        }
    }

    /// Whether a name has to be packed for what was met.
    pub(crate) fn is_changed(&self, path: &[u8], here: &Node) -> bool {
        self.changed.contains(&here.inode) || self.parted.contains(path)
    }
}
