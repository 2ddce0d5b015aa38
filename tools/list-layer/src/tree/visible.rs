// SPDX-License-Identifier: Apache-2.0
//! Lists the files of the tree, and the entries that are hidden.

use archive::{Entry, names};
use common::error::Result;

use super::{Directory, EntryId, ROOT, Tree, What};

/// A file of the merged tree.
pub(crate) enum Visible<'a> {
    /// A directory that no layer has an entry for.
    Implied {
        /// The layer that needs the directory.
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

impl Tree {
    /// The entries that a higher layer hides, each with its layer and the layer that hides it.
    pub(crate) fn hidden(&self) -> impl Iterator<Item = (&Entry, usize, usize)> {
        self.entries
            .iter()
            .filter_map(|applied| applied.hidden_by.map(|by| (&applied.entry, applied.layer, by)))
    }

    /// Passes all files to `visit`, sorted by path.
    ///
    /// # Errors
    /// The error of `visit`.
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
            let link = match &applied.real_path {
                Some(path) => path.clone(),
                None => names::clean(&applied.entry.name)?,
            };
            Visible::Link { entry: &applied.entry, layer: self.entries[name].layer, link }
        } else {
            Visible::Entry { entry: &applied.entry, layer: applied.layer }
        })
    }
}
