// SPDX-License-Identifier: Apache-2.0
//! Finds the directory of a name, and the file of a path. [`archive::walk`] has the rules, which
//! are also those of unpack-layer.
//!
//! Code that removes a file must call [`Tree::forget`], which ends the walks through it.

use archive::EntryType;
use archive::walk::{
    self, Chain, Found, MAX_LINKS, Mark, Missing, Obstacle, Purpose, Reached, When,
};
use common::error::{Error, Result, printable};

use super::{DirectoryId, File, ROOT, Tree, What};

/// The real directories from the root to the directory that was entered last. The root is left out.
#[derive(Default)]
pub(super) struct Walk {
    /// Each directory with its name.
    slots: Vec<(DirectoryId, Box<[u8]>)>,
    /// The name of the directory that was entered last; `None` if it must be walked again.
    entered: Option<Vec<u8>>,
    /// Whether symbolic links led to that directory.
    through_link: bool,
}

impl Walk {
    /// The directory that was entered last.
    pub(super) fn here(&self) -> DirectoryId {
        self.slots.last().map_or(ROOT, |(id, _)| *id)
    }

    /// The path of that directory, without symbolic links.
    fn real_path(&self) -> Vec<u8> {
        let names: Vec<&[u8]> = self.slots.iter().map(|(_, name)| &**name).collect();
        names.join(&b'/')
    }

    /// That path if symbolic links led there; `None` otherwise.
    pub(super) fn real_path_through_link(&self) -> Option<Vec<u8>> {
        self.through_link.then(|| self.real_path())
    }

    /// Must be called after a symbolic link was removed: the same name may now lead to another
    /// directory.
    pub(super) fn forget_links(&mut self) {
        self.entered = None;
    }

    /// Enters a directory in the current one.
    pub(super) fn push(&mut self, name: &[u8], id: DirectoryId) {
        if let Some(entered) = &mut self.entered {
            *entered = archive::names::join(std::mem::take(entered), name);
        }
        self.slots.push((id, name.into()));
    }

    fn go(&mut self, tree: &mut Tree, name: &[u8], purpose: Purpose) -> Result<Reached> {
        if self.entered.as_deref() == Some(name) && !(purpose.is_marker() && self.through_link) {
            return Ok(Reached::Directory);
        }
        self.entered = None;
        let walked = walk::walk(&mut Walking { walk: self, tree }, name, purpose)?;
        if walked.reached == Reached::Directory {
            self.entered = Some(name.to_owned());
            self.through_link = walked.through_link;
        }
        Ok(walked.reached)
    }
}

/// A walk in the tree.
struct Walking<'a> {
    walk: &'a mut Walk,
    tree: &'a mut Tree,
}

impl Chain for Walking<'_> {
    type Directory = DirectoryId;

    fn continues(&self, depth: usize, name: &[u8]) -> bool {
        self.walk.slots.get(depth).is_some_and(|(_, slot)| **slot == *name)
    }

    fn find(&mut self, depth: usize, name: &[u8], purpose: Purpose) -> Result<Found<DirectoryId>> {
        let above = depth.checked_sub(1).and_then(|i| self.walk.slots.get(i));
        self.tree.find_in(above.map_or(ROOT, |(id, _)| *id), name, purpose)
    }

    fn back_to(&mut self, depth: usize) -> Result<()> {
        self.walk.slots.truncate(depth);
        Ok(())
    }

    fn push(&mut self, name: &[u8], directory: DirectoryId) -> Result<()> {
        self.walk.push(name, directory);
        Ok(())
    }
}

impl Tree {
    /// Enters the directory with a clean name. Returns whether it exists.
    pub(super) fn enter(&mut self, name: &[u8], missing: Missing) -> Result<bool> {
        Ok(self.go(name, Purpose::Entry(missing))? == Reached::Directory)
    }

    /// Enters the directory of a marker. The name without the prefix names a file of lower layers.
    pub(super) fn enter_for_marker(
        &mut self,
        name: &[u8],
        mark: Mark,
        when: When,
    ) -> Result<Reached> {
        self.go(name, Purpose::Marker(mark, when))
    }

    fn go(&mut self, name: &[u8], purpose: Purpose) -> Result<Reached> {
        let mut walk = std::mem::take(&mut self.walk);
        let reached = walk.go(self, name, purpose);
        self.walk = walk;
        reached
    }

    /// Finds an existing directory without leaving the one that was entered last.
    pub(super) fn directory(&mut self, name: &[u8]) -> Result<Option<DirectoryId>> {
        let mut side = std::mem::take(&mut self.side);
        let reached = side.go(self, name, Purpose::Entry(Missing::Stop));
        let id = side.here();
        self.side = side;
        Ok((reached? == Reached::Directory).then_some(id))
    }

    /// Records the directories of the walk as parents of an entry of the current layer.
    pub(super) fn mark(&mut self) {
        let layer = Some(self.layer());
        for (i, (_, name)) in self.walk.slots.iter().enumerate().rev() {
            let parent = i.checked_sub(1).map_or(ROOT, |above| self.walk.slots[above].0);
            match self.directories[parent].files.get_mut(name) {
                Some(file) if file.upper != layer => file.upper = layer,
                _ => return,
            }
        }
    }

    /// Finds a component of a name in a directory.
    fn find_in(
        &mut self,
        here: DirectoryId,
        name: &[u8],
        purpose: Purpose,
    ) -> Result<Found<DirectoryId>> {
        self.steps.add(1, self.number)?;
        // A whiteout hides files but does not become a file, so no directory is made for it.
        let missing = purpose.missing(Missing::Stop);
        let file = self.directories[here].files.get(name);
        let own = file.is_some_and(|file| self.is_own(file));
        match file.map(|file| file.what) {
            Some(What::Directory(id)) => return Ok(Found::Directory(id)),
            Some(What::Other { content, .. }) if self.is_symlink(content) => {
                let text = self.entries[content].entry.link.clone();
                return Ok(Found::Link { text, own });
            }
            _ if missing == Missing::Stop => return Ok(Found::Nothing),
            Some(what) => match purpose.meets_file(own)? {
                Obstacle::Ends => return Ok(Found::Nothing),
                Obstacle::Removable => {
                    self.directories[here].files.remove(name);
                    self.forget(what);
                }
            },
            None => {}
        }
        self.implied.add()?;
        self.kept.add(name.len())?;
        let id = self.new_directory(None);
        let file = File { what: What::Directory(id), upper: None, own: None };
        self.directories[here].files.insert(name.into(), file);
        Ok(Found::Directory(id))
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
        let mut path = path.to_vec();
        for _ in 0..=MAX_LINKS {
            while path.last() == Some(&b'/') {
                path.pop();
            }
            let (parent, name) = archive::names::split(&path);
            // The walks of the layers do not count here, only this walk.
            self.steps = walk::Steps::default();
            let is_there =
                self.enter(parent, Missing::Stop).map_err(|error| error.context(&shown_path))?;
            if !is_there {
                return Err(absent("not in the image"));
            }
            if matches!(name, b"" | b"." | b"..") {
                return Err(absent("a directory, not a regular file"));
            }
            let file = self.directories[self.walk.here()].files.get(name);
            let content = match file.ok_or_else(|| absent("not in the image"))?.what {
                What::Directory(_) => return Err(absent("a directory, not a regular file")),
                What::Other { content, .. } => &self.entries[content],
            };
            match content.entry.entry_type {
                EntryType::Symlink => {
                    let target = &content.entry.link;
                    path = if target.first() == Some(&b'/') {
                        target.clone()
                    } else {
                        archive::names::join(self.walk.real_path(), target)
                    };
                }
                EntryType::Regular => return Ok((content.layer, content.number)),
                _ => return Err(absent("a device or a named pipe, not a regular file")),
            }
        }
        Err(Error::malformed(format_args!("{shown_path}: too many levels of symbolic links")))
    }
}
