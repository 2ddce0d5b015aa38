// SPDX-License-Identifier: Apache-2.0
//! Finds the directory of a name, and the file of a path, as if the tree's root were the root
//! directory of the process.

use std::rc::Rc;

use archive::EntryType;
use common::error::{Error, Result, printable};

use super::{DirectoryId, File, ROOT, Tree, What};
use crate::path::MAX_LINKS;

/// The treatment of directories that do not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Make them. A file of a lower layer is replaced.
    Make,
    /// Stop.
    Stop,
}

/// The real directories from the root to a directory, each with its name. The root has none.
pub(super) type Chain = Vec<(DirectoryId, Box<[u8]>)>;

impl Tree {
    /// Records the directories of a chain as parents of an entry of the current layer.
    pub(super) fn mark(&mut self, chain: &Chain) {
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
    pub(super) fn enter(&mut self, name: &[u8], missing: Missing) -> Result<Option<Rc<Chain>>> {
        if let Some((entered, chain)) = &self.entered
            && entered == name
        {
            return Ok(Some(Rc::clone(chain)));
        }
        let mut links = 0;
        let chain = self.walk(Vec::new(), name, missing, &mut links)?.map(Rc::new);
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
}

/// The directory at the end of a chain.
pub(super) fn last(chain: &Chain) -> DirectoryId {
    chain.last().map_or(ROOT, |(id, _)| *id)
}

/// The components of a path, the last one first.
fn components(path: &[u8]) -> Vec<Box<[u8]>> {
    path.split(|byte| *byte == b'/').rev().map(Into::into).collect()
}
