// SPDX-License-Identifier: Apache-2.0
//! The files of all layers together, in memory, as unpack-layer would make them.
//!
//! The rules are those of unpack-layer's tree: names are resolved as if the tree's root were the
//! root directory, an entry replaces a file of the same name, and a whiteout hides files of lower
//! layers, but never files of its own layer.
//!
//! Memory is bounded by the number of entries, by the number of directories without an entry, and
//! by the bytes of names, link targets and attributes.
//!
//! Not here: unpack-layer's checks of owner IDs and device numbers.

use std::collections::BTreeMap;

use archive::names::{self, Meaning};
use archive::{Entry, EntryType, shown};
use common::error::{Error, Result, printable};
use common::notice;

use crate::path::{self, Count, Kept, MAX_KEPT, MAX_LINKS};

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
}

struct Directory {
    files: BTreeMap<Box<[u8]>, File>,
    /// `None` if no layer has an entry for it.
    entry: Option<EntryId>,
    /// The layer that made it.
    layer: usize,
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

/// A file of the merged tree.
pub(crate) enum Visible<'a> {
    /// A directory that no layer has an entry for.
    Implied {
        /// The layer that needs it.
        layer: usize,
    },
    /// A file with an entry.
    Entry {
        /// The entry with its attributes.
        entry: &'a Entry,
        /// The layer of the entry.
        layer: usize,
    },
    /// A hard link to a file that is visible, too.
    Link {
        /// The entry of that file.
        entry: &'a Entry,
        /// The layer that has the link.
        layer: usize,
        /// The path of that file.
        link: Vec<u8>,
    },
}

/// The treatment of directories that do not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// Make them. A file of a lower layer is replaced.
    Make,
    /// Stop.
    Stop,
}

/// The real directories from the root to a directory, each with its name. The root has none.
type Chain = Vec<(DirectoryId, Box<[u8]>)>;

/// The tree.
pub(crate) struct Tree {
    entries: Vec<Applied>,
    directories: Vec<Directory>,
    /// The number of layers that were begun.
    layers: usize,
    /// The number of entries of the current layer so far.
    number: u64,
    /// The name and the chain of the directory that was entered last.
    entered: Option<(Vec<u8>, Chain)>,
    count: Count,
    implied: Count,
    kept: Kept,
}

impl Tree {
    /// A tree that has only its root.
    pub(crate) fn new(max_entries: u64) -> Tree {
        Tree {
            entries: Vec::new(),
            directories: vec![Directory { files: BTreeMap::new(), entry: None, layer: 0 }],
            layers: 0,
            number: 0,
            entered: None,
            count: Count::new("entries", max_entries),
            implied: Count::new("directories without an entry", max_entries),
            kept: Kept::new(MAX_KEPT),
        }
    }

    /// Begins a layer.
    pub(crate) fn next_layer(&mut self) {
        self.layers += 1;
        self.number = 0;
    }

    /// The index of the current layer.
    fn layer(&self) -> usize {
        self.layers.saturating_sub(1)
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
            Meaning::Whiteout(hidden) => self.hide(parent, hidden),
            Meaning::Opaque => self.hide_all_in(parent),
        };
        applied.map_err(|error| path::in_entry(error, entry))
    }

    fn root_entry(&mut self, entry: &Entry, number: u64) -> Result<()> {
        let id = self.keep(entry, number)?;
        self.directories[ROOT].entry = Some(id);
        self.directories[ROOT].layer = self.layer();
        Ok(())
    }

    /// Keeps an entry.
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
        self.entries.push(Applied { entry, layer: self.layer(), number, hidden_by: None });
        Ok(self.entries.len() - 1)
    }

    /// Makes the file of an entry in the directory `parent`.
    fn place(&mut self, entry: &Entry, parent: &[u8], name: &[u8], number: u64) -> Result<()> {
        let chain = self.enter(parent, Missing::Make)?.unwrap_or_default();
        self.mark(&chain);
        let here = last(&chain);
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
                self.remove_existing(here, name, entry);
                What::Other { name: self.keep(entry, number)?, content }
            }
            _ => {
                check_target(entry)?;
                self.remove_existing(here, name, entry);
                let id = self.keep(entry, number)?;
                What::Other { name: id, content: id }
            }
        };
        let layer = Some(self.layer());
        self.directories[here].files.insert(name.into(), File { what, upper: layer, own: layer });
        Ok(())
    }

    fn new_directory(&mut self, entry: Option<EntryId>) -> DirectoryId {
        let layer = self.layer();
        self.directories.push(Directory { files: BTreeMap::new(), entry, layer });
        self.directories.len() - 1
    }

    /// The content of the file that a hard link leads to. `here` and `name` are the place of the
    /// link itself.
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
        let missing = || to("missing (it must be an earlier entry, or be in a lower layer)");
        let chain = self.enter(parent, Missing::Stop)?.ok_or_else(missing)?;
        if last(&chain) == here && target == name {
            return Err(to("itself"));
        }
        match self.directories[last(&chain)].files.get(target).map(|file| file.what) {
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
        self.entered = None;
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

    /// Hides the file `hidden` of lower layers.
    fn hide(&mut self, parent: &[u8], hidden: &[u8]) -> Result<()> {
        let Some(chain) = self.enter(parent, Missing::Stop)? else { return Ok(()) };
        if self.layer() == 0 {
            return Ok(());
        }
        let here = last(&chain);
        let layer = Some(self.layer());
        let Some(file) = self.directories[here].files.get(hidden) else { return Ok(()) };
        match file.what {
            _ if file.upper != layer => {
                let what = file.what;
                self.directories[here].files.remove(hidden);
                self.forget(what);
            }
            What::Directory(id) => {
                if file.own != layer {
                    self.reset(id);
                }
                self.hide_below(id);
            }
            What::Other { .. } => {}
        }
        Ok(())
    }

    /// Takes the attributes that a lower layer gave to a directory.
    fn reset(&mut self, id: DirectoryId) {
        let layer = self.layer();
        if let Some(entry) = self.directories[id].entry.take() {
            self.entries[entry].hidden_by = Some(layer);
        }
        self.directories[id].layer = layer;
    }

    /// Hides all files of lower layers in the directory with this name.
    fn hide_all_in(&mut self, name: &[u8]) -> Result<()> {
        let chain = self.enter(name, Missing::Make)?.unwrap_or_default();
        self.mark(&chain);
        if self.layer() > 0 {
            self.hide_below(last(&chain));
        }
        Ok(())
    }

    /// Hides all files of lower layers below a directory.
    fn hide_below(&mut self, id: DirectoryId) {
        let layer = Some(self.layer());
        let mut pending = vec![id];
        while let Some(id) = pending.pop() {
            let files = std::mem::take(&mut self.directories[id].files);
            for (name, file) in files {
                if file.upper != layer {
                    self.forget(file.what);
                    continue;
                }
                if let What::Directory(below) = file.what {
                    pending.push(below);
                }
                self.directories[id].files.insert(name, file);
            }
        }
    }

    /// Records the directories of a chain as parents of an entry of the current layer.
    fn mark(&mut self, chain: &Chain) {
        let layer = Some(self.layer());
        for (i, (_, name)) in chain.iter().enumerate().rev() {
            let parent = i.checked_sub(1).map_or(ROOT, |above| chain[above].0);
            match self.directories[parent].files.get_mut(name) {
                Some(file) if file.upper != layer => file.upper = layer,
                _ => return,
            }
        }
    }

    /// Finds the directory with a clean name. `None` if it does not exist.
    fn enter(&mut self, name: &[u8], missing: Missing) -> Result<Option<Chain>> {
        if let Some((entered, chain)) = &self.entered
            && entered == name
        {
            return Ok(Some(chain.clone()));
        }
        let mut links = 0;
        let chain = self.walk(Vec::new(), name, missing, &mut links)?;
        self.entered = chain.clone().map(|chain| (name.to_owned(), chain));
        Ok(chain)
    }

    /// Walks from a directory along a path, through symbolic links.
    fn walk(
        &mut self,
        mut chain: Chain,
        path: &[u8],
        missing: Missing,
        links: &mut usize,
    ) -> Result<Option<Chain>> {
        let mut pending = components(path);
        while let Some(component) = pending.pop() {
            match &*component {
                b"" | b"." => continue,
                b".." => {
                    chain.pop();
                    continue;
                }
                _ => {}
            }
            let here = last(&chain);
            let file = self.directories[here].files.get(&component);
            let (what, upper) = (file.map(|file| file.what), file.and_then(|file| file.upper));
            match what {
                Some(What::Directory(id)) => {
                    chain.push((id, component));
                    continue;
                }
                Some(What::Other { content, .. })
                    if self.entries[content].entry.entry_type == EntryType::Symlink =>
                {
                    *links += 1;
                    if *links > MAX_LINKS {
                        return Err(Error::malformed("too many levels of symbolic links"));
                    }
                    let target = &self.entries[content].entry.link;
                    if target.first() == Some(&b'/') {
                        chain.clear();
                    }
                    pending.extend(components(target));
                    continue;
                }
                _ if missing == Missing::Stop => return Ok(None),
                Some(what) => {
                    if upper == Some(self.layer()) || self.layer() == 0 {
                        return Err(Error::malformed("a parent is a file of the same layer"));
                    }
                    self.directories[here].files.remove(&component);
                    self.forget(what);
                }
                None => {}
            }
            self.implied.add()?;
            self.kept.add(component.len())?;
            let id = self.new_directory(None);
            let file = File { what: What::Directory(id), upper: None, own: None };
            self.directories[here].files.insert(component.clone(), file);
            chain.push((id, component));
        }
        Ok(Some(chain))
    }

    /// Finds a regular file. `path` is resolved as in the root directory of a container. Returns
    /// the layer, and the number of entries before the file's in that layer.
    ///
    /// # Errors
    /// Absent if the file does not exist or is not a regular file. Malformed after too many
    /// symbolic links.
    pub(crate) fn find(&mut self, path: &[u8]) -> Result<(usize, u64)> {
        let shown_path = printable(&String::from_utf8_lossy(path));
        let absent = |why: &str| Error::absent(format_args!("{shown_path}: {why}"));
        let mut links = 0;
        let mut chain = Vec::new();
        let mut path = path.to_vec();
        loop {
            while path.last() == Some(&b'/') {
                path.pop();
            }
            let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
                Some(slash) => (path[..=slash].to_vec(), path[slash + 1..].to_vec()),
                None => (Vec::new(), path),
            };
            if parent.first() == Some(&b'/') {
                chain.clear();
            }
            let walked = self
                .walk(chain, &parent, Missing::Stop, &mut links)
                .map_err(|error| error.context(&shown_path))?;
            chain = walked.ok_or_else(|| absent("not in the image"))?;
            if matches!(&*name, b"" | b"." | b"..") {
                return Err(absent("a directory, not a regular file"));
            }
            let file = self.directories[last(&chain)].files.get(&*name);
            let content = match file.ok_or_else(|| absent("not in the image"))?.what {
                What::Directory(_) => return Err(absent("a directory, not a regular file")),
                What::Other { content, .. } => &self.entries[content],
            };
            match content.entry.entry_type {
                EntryType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        let error = Error::malformed("too many levels of symbolic links");
                        return Err(error.context(&shown_path));
                    }
                    path = content.entry.link.clone();
                }
                EntryType::Regular => return Ok((content.layer, content.number)),
                _ => return Err(absent("a device or a named pipe, not a regular file")),
            }
        }
    }

    /// The entries that a higher layer hides, each with its layer and the layer that hides it.
    pub(crate) fn hidden(&self) -> impl Iterator<Item = (&Entry, usize, usize)> {
        self.entries
            .iter()
            .filter_map(|applied| applied.hidden_by.map(|by| (&applied.entry, applied.layer, by)))
    }

    /// Passes all files to `visit`, sorted by path.
    ///
    /// # Errors
    /// As `visit` fails.
    pub(crate) fn visit(
        &self,
        mut visit: impl FnMut(&[u8], Visible<'_>) -> Result<()>,
    ) -> Result<()> {
        let root = &self.directories[ROOT];
        if root.entry.is_some() {
            visit(b"", self.visible_directory(root))?;
        }
        let mut path: Vec<u8> = Vec::new();
        // For each directory of the path: its files that were not visited, and the path's length.
        let mut open = vec![(root.files.iter(), 0)];
        while let Some((files, length)) = open.last_mut() {
            path.truncate(*length);
            let Some((name, file)) = files.next() else {
                open.pop();
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            match file.what {
                What::Directory(id) => {
                    let directory = &self.directories[id];
                    visit(&path, self.visible_directory(directory))?;
                    open.push((directory.files.iter(), path.len()));
                }
                What::Other { name, content } => visit(&path, self.visible_file(name, content)?)?,
            }
        }
        Ok(())
    }

    fn visible_directory(&self, directory: &Directory) -> Visible<'_> {
        match directory.entry {
            None => Visible::Implied { layer: directory.layer },
            Some(id) => {
                Visible::Entry { entry: &self.entries[id].entry, layer: self.entries[id].layer }
            }
        }
    }

    fn visible_file(&self, name: EntryId, content: EntryId) -> Result<Visible<'_>> {
        let applied = &self.entries[content];
        let is_link = name != content && applied.hidden_by.is_none();
        Ok(if is_link {
            let link = names::clean(&applied.entry.name)?;
            Visible::Link { entry: &applied.entry, layer: self.entries[name].layer, link }
        } else {
            Visible::Entry { entry: &applied.entry, layer: applied.layer }
        })
    }
}

/// The directory at the end of a chain.
fn last(chain: &Chain) -> DirectoryId {
    chain.last().map_or(ROOT, |(id, _)| *id)
}

/// The components of a path, the last one first.
fn components(path: &[u8]) -> Vec<Box<[u8]>> {
    path.split(|byte| *byte == b'/').rev().map(Into::into).collect()
}

fn check_target(entry: &Entry) -> Result<()> {
    let length = entry.link.len();
    if entry.entry_type == EntryType::Symlink && !(1..=MAX_TARGET).contains(&length) {
        return Err(Error::malformed(format_args!(
            "symbolic link with a target of {length} bytes, want 1 to {MAX_TARGET}"
        )));
    }
    Ok(())
}
