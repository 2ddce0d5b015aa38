// SPDX-License-Identifier: Apache-2.0
//! The files of all layers together, in memory, as unpack-layer would make them.
//!
//! The rules are those of unpack-layer's tree: an entry replaces a file of the same name, and a
//! whiteout hides files of lower layers, but never files of its own layer. Both tools find the
//! directory of a name with [`archive::walk`].
//!
//! [`walk`] finds the directory of a name, [`whiteouts`] hides files, and [`visible`] lists the
//! result.
//!
//! Memory is bounded by the number of entries, by the number of directories without an entry, and
//! by the bytes of names, link targets and attributes. Time is bounded by the number of path
//! components that a layer may walk.
//!
//! Not here: unpack-layer's checks of owner IDs and device numbers.

mod visible;
mod walk;
mod whiteouts;

use std::collections::BTreeMap;

use archive::names::{self, Meaning};
use archive::walk::{Missing, Steps, WaitingMarkers, When};
use archive::{Entry, EntryType, shown};
use common::error::{Error, Result};
use common::notice;

use crate::path::{self, Count, Kept, MAX_KEPT};
pub(crate) use visible::Visible;
use walk::Walk;

/// The longest target of a symbolic link on Linux, in bytes.
const MAX_TARGET: usize = 4095;

/// The index of a directory in [`Tree::directories`]. The root is 0.
type DirectoryId = usize;

/// The index of an entry in [`Tree::entries`].
type EntryId = usize;

const ROOT: DirectoryId = 0;

/// An entry that was applied, and its position.
struct Applied {
    entry: Entry,
    layer: usize,
    /// The number of entries before it in its layer.
    number: u64,
    hidden_by: Option<usize>,
    /// The real path of its file, if its name leads through symbolic links.
    real_path: Option<Vec<u8>>,
}

struct Directory {
    files: BTreeMap<Box<[u8]>, File>,
    /// `None` if no layer has an entry for it.
    entry: Option<EntryId>,
    /// The layer that made it.
    layer: usize,
    /// The last layer that hid all files of lower layers in it.
    cleared: Option<usize>,
}

/// A file in a directory.
struct File {
    what: What,
    /// The last layer that has an entry for it or below it.
    upper: Option<usize>,
    /// The last layer that has an entry for it.
    own: Option<usize>,
}

#[derive(Clone, Copy)]
enum What {
    Directory(DirectoryId),
    /// Any other file. The entry of the name and the entry of the content differ for hard links.
    Other {
        name: EntryId,
        content: EntryId,
    },
}

/// The tree.
pub(crate) struct Tree {
    entries: Vec<Applied>,
    directories: Vec<Directory>,
    /// The number of layers that were begun.
    layers: usize,
    /// The number of entries of the current layer so far.
    number: u64,
    /// The walk to the directory of the current entry.
    walk: Walk,
    /// A second walk, to the targets of hard links.
    side: Walk,
    /// The whiteouts of the current layer that wait for its end.
    waiting: WaitingMarkers,
    /// The path components that were walked for the current layer.
    steps: Steps,
    count: Count,
    implied: Count,
    kept: Kept,
}

impl Tree {
    /// A tree that has only its root.
    pub(crate) fn new(max_entries: u64) -> Tree {
        Tree {
            entries: Vec::new(),
            directories: vec![Directory {
                files: BTreeMap::new(),
                entry: None,
                layer: 0,
                cleared: None,
            }],
            layers: 0,
            number: 0,
            walk: Walk::default(),
            side: Walk::default(),
            waiting: WaitingMarkers::default(),
            steps: Steps::default(),
            count: Count::new("entries", max_entries),
            implied: Count::new("directories without an entry", max_entries),
            kept: Kept::new(MAX_KEPT),
        }
    }

    /// Begins a layer.
    pub(crate) fn next_layer(&mut self) {
        self.layers += 1;
        self.number = 0;
        self.steps = Steps::default();
    }

    /// Ends a layer: applies the whiteouts that waited for it.
    ///
    /// # Errors
    /// Malformed, with the path of the whiteout, if it leads through too many symbolic links, or
    /// beyond a limit.
    pub(crate) fn end_layer(&mut self) -> Result<()> {
        self.apply_waiting()
    }

    /// The index of the current layer.
    fn layer(&self) -> usize {
        self.layers.saturating_sub(1)
    }

    /// Whether the current layer has an entry for a file or below it.
    fn is_own(&self, file: &File) -> bool {
        self.layer() == 0 || file.upper == Some(self.layer())
    }

    /// Whether an entry is that of a symbolic link.
    fn is_symlink(&self, id: EntryId) -> bool {
        self.entries[id].entry.entry_type == EntryType::Symlink
    }

    /// Applies an entry of the current layer.
    ///
    /// # Errors
    /// Malformed, with the name of the entry, if unpack-layer would refuse it, or beyond a limit.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<()> {
        self.count.add().map_err(|error| path::in_entry(error, entry))?;
        let clean = path::clean(entry)?;
        let number = self.number;
        self.number += 1;
        let (parent, name) = names::split(&clean);
        let applied = match names::meaning(&clean)? {
            Meaning::Plain if name.is_empty() => self.root_entry(entry, number),
            Meaning::Plain => self.place(entry, parent, name, number),
            Meaning::Aufs => {
                notice::warn("aufs", || "AUFS's own entries (.wh..wh.*) are left out".to_owned());
                Ok(())
            }
            Meaning::Whiteout(hidden) => self.hide(parent, hidden, When::Now),
            Meaning::Opaque => self.hide_all(parent, When::Now),
        };
        applied.map_err(|error| path::in_entry(error, entry))
    }

    fn root_entry(&mut self, entry: &Entry, number: u64) -> Result<()> {
        let id = self.keep(entry, number)?;
        self.directories[ROOT].entry = Some(id);
        self.directories[ROOT].layer = self.layer();
        Ok(())
    }

    fn keep(&mut self, entry: &Entry, number: u64) -> Result<EntryId> {
        let xattrs: usize = entry.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.kept.add(entry.name.len() + entry.link.len() + xattrs)?;
        let entry = Entry {
            name: entry.name.clone(),
            link: entry.link.clone(),
            xattrs: entry.xattrs.clone(),
            sparse: None,
            ..*entry
        };
        let layer = self.layer();
        self.entries.push(Applied { entry, layer, number, hidden_by: None, real_path: None });
        Ok(self.entries.len() - 1)
    }

    /// Makes the file of an entry in the directory `parent`.
    fn place(&mut self, entry: &Entry, parent: &[u8], name: &[u8], number: u64) -> Result<()> {
        self.enter(parent, Missing::Make)?;
        self.mark();
        let here = self.walk.here();
        let existing = self.directories[here].files.get(name).map(|file| file.what);
        let what = match (entry.entry_type, existing) {
            (EntryType::Directory, Some(What::Directory(id))) => {
                let entry = self.keep(entry, number)?;
                self.directories[id].entry = Some(entry);
                self.directories[id].layer = self.layer();
                What::Directory(id)
            }
            (EntryType::Directory, _) => {
                self.remove_existing(here, name, entry);
                let entry = self.keep(entry, number)?;
                What::Directory(self.new_directory(Some(entry)))
            }
            (EntryType::Hardlink, _) => {
                let content = self.link_target(entry, here, name)?;
                What::Other { name: self.keep(entry, number)?, content }
            }
            _ => {
                check_target(entry)?;
                self.remove_existing(here, name, entry);
                let id = self.keep(entry, number)?;
                if let Some(parent) = self.walk.real_path_through_link() {
                    let path = names::join(parent, name);
                    self.kept.add(path.len())?;
                    self.entries[id].real_path = Some(path);
                }
                What::Other { name: id, content: id }
            }
        };
        let layer = Some(self.layer());
        self.directories[here].files.insert(name.into(), File { what, upper: layer, own: layer });
        if let What::Directory(id) = what {
            // The next entry is often in this directory.
            self.walk.push(name, id);
        }
        Ok(())
    }

    fn new_directory(&mut self, entry: Option<EntryId>) -> DirectoryId {
        let layer = self.layer();
        self.directories.push(Directory { files: BTreeMap::new(), entry, layer, cleared: None });
        self.directories.len() - 1
    }

    /// The content of the file that a hard link leads to. `here` and `name` are the directory and
    /// the name of the link itself. An existing file of that name is removed. If that file is a
    /// directory that contains the target, the target is then missing, as for unpack-layer.
    fn link_target(&mut self, entry: &Entry, here: DirectoryId, name: &[u8]) -> Result<EntryId> {
        let to = |what: &str| {
            Error::malformed(format_args!("hard link to {}: {what}", shown(&entry.link)))
        };
        let clean = names::clean(&entry.link).map_err(|error| to(&error.to_string()))?;
        if names::is_whiteout(&clean) {
            return Err(to("a whiteout"));
        }
        let (parent, target) = names::split(&clean);
        if target.is_empty() {
            return Err(to("a directory"));
        }
        let missing =
            || to("missing (the target must be an earlier entry, or be in a lower layer)");
        let from = self.directory(parent)?.ok_or_else(missing)?;
        if from == here && target == name {
            return Err(to("itself"));
        }
        if !self.directories[from].files.contains_key(target) {
            return Err(missing());
        }
        self.remove_existing(here, name, entry);
        let from = self.directory(parent)?.ok_or_else(missing)?;
        match self.directories[from].files.get(target).map(|file| file.what) {
            None => Err(missing()),
            Some(What::Directory(_)) => Err(to("a directory")),
            Some(What::Other { content, .. }) => Ok(content),
        }
    }

    /// Removes the file that an entry replaces.
    fn remove_existing(&mut self, here: DirectoryId, name: &[u8], entry: &Entry) {
        let layer = Some(self.layer());
        let Some(file) = self.directories[here].files.remove(name) else { return };
        if file.own == layer {
            notice::warn("duplicate", || {
                let name = shown(&entry.name);
                format!("{name}: appears twice in a layer: the last one is used")
            });
        }
        self.forget(file.what);
    }

    /// Records that a file and all below it are hidden by the current layer.
    fn forget(&mut self, what: What) {
        match what {
            What::Directory(_) => {
                self.walk.forget_links();
                self.side = Walk::default();
            }
            What::Other { content, .. } if self.is_symlink(content) => {
                self.walk.forget_links();
                self.side.forget_links();
            }
            What::Other { .. } => {}
        }
        let layer = self.layer();
        let mut pending = vec![what];
        while let Some(what) = pending.pop() {
            let id = match what {
                What::Other { name, .. } => Some(name),
                What::Directory(id) => {
                    let files = std::mem::take(&mut self.directories[id].files);
                    pending.extend(files.into_values().map(|file| file.what));
                    self.directories[id].entry
                }
            };
            if let Some(id) = id {
                self.entries[id].hidden_by = Some(layer);
            }
        }
    }
}

fn check_target(entry: &Entry) -> Result<()> {
    let length = entry.link.len();
    if entry.entry_type == EntryType::Symlink && !(1..=MAX_TARGET).contains(&length) {
        return Err(Error::malformed(format_args!(
            "symbolic link: got a target of {length} bytes, want 1 to {MAX_TARGET}"
        )));
    }
    Ok(())
}
