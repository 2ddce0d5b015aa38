// SPDX-License-Identifier: Apache-2.0
//! Hard links: finds the names that refer to the same file.
//!
//! The first name of a file, in the archive's order, gets the entry with the content. The file's
//! other names are hard links to it. The tables hold only files with several links, so the number
//! of such files bounds their memory.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, HashSet};

use rustix::fs::FileType;

use super::node::{Inode, Node};

/// The files with several links that the walk has reached, each with its first name and the number
/// of names still to be reached.
#[derive(Default)]
pub(crate) struct FirstNames {
    files: HashMap<Inode, (Box<[u8]>, u64)>,
}

impl FirstNames {
    /// Records a name of a file. Returns the file's first name, or `None` if this is the first. A
    /// file is removed from the table when all its names were recorded.
    pub(crate) fn record(&mut self, node: &Node, path: &[u8]) -> Option<Box<[u8]>> {
        if !may_have_others(node) {
            return None;
        }
        match self.files.entry(node.inode) {
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

/// Whether a file may have other names in the tree. Directories do not count: their other links are
/// `.` and `..`. Sockets are not packed.
pub(crate) fn may_have_others(node: &Node) -> bool {
    node.links > 1 && !matches!(node.file_type, FileType::Directory | FileType::Socket)
}

/// The differences between the hard links of a tree and those of its base tree. A separate walk
/// finds them before the tree is packed, since a later name of a file can decide how its first name
/// is packed.
#[derive(Default)]
pub(crate) struct LinkChanges {
    here: FirstNames,
    base: FirstNames,
    /// Files with several names, if at least one of the names is new or changed. All their names
    /// are packed, since not every unpacker can make a hard link to a file of a lower layer.
    changed: HashSet<Inode>,
    /// Names that were hard links in the base tree, and are the only name of their file now.
    separated: HashSet<Box<[u8]>>,
}

impl LinkChanges {
    /// Records a name that is in both trees, or only in the packed one (`base` is `None`).
    /// `differs` says whether the metadata or contents of the two files differ.
    pub(crate) fn record(&mut self, path: &[u8], here: &Node, base: Option<&Node>, differs: bool) {
        let first_here = self.here.record(here, path);
        let first_base = base.and_then(|base| self.base.record(base, path));
        if !differs && first_here == first_base {
            return;
        }
        if may_have_others(here) {
            self.changed.insert(here.inode);
        } else {
            self.separated.insert(path.into());
        }
    }

    /// Whether a name must be packed because its hard links changed.
    pub(crate) fn is_changed(&self, path: &[u8], here: &Node) -> bool {
        self.changed.contains(&here.inode) || self.separated.contains(path)
    }
}
