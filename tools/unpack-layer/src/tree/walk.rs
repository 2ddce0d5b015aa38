// SPDX-License-Identifier: Apache-2.0
//! Finds the directory of a name, as if the tree's root were the root directory of the process.
//!
//! A name is walked component by component. Each directory is opened relative to the one before,
//! without following symbolic links. The text of a symbolic link is read and walked in the same
//! way. `..` goes back to the directory before, but not above the root. Nothing outside the tree
//! can therefore be reached, even if a layer has hostile links or another process changes the tree.
//! This works on any kernel and with paths of any length. (openat2 with `RESOLVE_IN_ROOT` would
//! also stay inside the tree, but does not give the identity of the parent directories, which
//! whiteouts need.)
//!
//! The directories of the last walk stay open as a chain, because the next entry often needs the
//! same ones. The chain has only real directories, no symbolic links. Code that removes or replaces
//! a directory or a symbolic link must call [`Walk::forget_links`] or [`Walk::reset`].

use std::borrow::Cow;

use common::error::{Error, Result};
use rustix::fs::PROC_SUPER_MAGIC;
use rustix::io::Errno;

use super::directory::{self, Directory, os_error};
use super::overlay::is_whiteout;
use super::state::TreeState;
use super::upper::Inode;

/// The most symbolic links in the walk of one name. The kernel has the same limit.
const MAX_LINKS: usize = 40;

/// The most directories of the chain that are open at a time. They are the deepest ones.
const MAX_OPEN: usize = 16;

/// The treatment of directories that do not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Make them. A file of a lower layer is replaced.
    Make,
    /// Stop.
    Stop,
}

/// A directory of the chain, below the root.
struct Slot {
    name: Vec<u8>,
    inode: Inode,
    /// Whether the directory is recorded as a parent of an entry of the current layer.
    marked: bool,
    /// Whether it was opaque when it was closed.
    opaque: bool,
    open: Option<Directory>,
}

/// The chain of directories from the root to the directory that was entered last.
pub(super) struct Walk {
    root: Directory,
    slots: Vec<Slot>,
    /// The slots before this index are not open.
    first_open: usize,
    /// The name of the directory that was entered last; `None` if it must be walked again.
    entered: Option<Vec<u8>>,
}

/// The type of a component of a name.
enum Found {
    Directory(Directory),
    Link(Vec<u8>),
    Nothing,
}

impl Walk {
    pub(super) fn new(root: Directory) -> Walk {
        Walk { root, slots: Vec::new(), first_open: 0, entered: None }
    }

    /// The root of the tree.
    pub(super) fn root(&mut self) -> &mut Directory {
        &mut self.root
    }

    /// The directory that was entered last.
    pub(super) fn here(&mut self) -> &mut Directory {
        self.slots.last_mut().and_then(|slot| slot.open.as_mut()).unwrap_or(&mut self.root)
    }

    /// The identity of the parent of the directory that was entered last.
    pub(super) fn above(&self) -> Inode {
        let above = self.slots.len().checked_sub(2).and_then(|i| self.slots.get(i));
        above.map_or(self.root.inode, |slot| slot.inode)
    }

    /// The depth below the root of the directory that was entered last.
    pub(super) fn depth(&self) -> usize {
        self.slots.len()
    }

    /// The path of the directory that was entered last, without symbolic links.
    pub(super) fn real_path(&self) -> Vec<u8> {
        let names: Vec<&[u8]> = self.slots.iter().map(|slot| slot.name.as_slice()).collect();
        names.join(&b'/')
    }

    /// Enters the directory of a clean name. Returns whether it exists.
    pub(super) fn enter(
        &mut self,
        state: &mut TreeState,
        name: &[u8],
        missing: Missing,
    ) -> Result<bool> {
        if self.entered.as_deref() == Some(name) {
            return Ok(true);
        }
        self.entered = None;
        let mut depth = 0usize;
        let mut links = 0;
        let mut pending = Pending::new(name);
        while let Some(component) = pending.next() {
            match component.as_ref() {
                b"" | b"." => continue,
                b".." => {
                    depth = depth.saturating_sub(1);
                    continue;
                }
                _ => {}
            }
            if self.slots.get(depth).is_some_and(|slot| slot.name == component.as_ref()) {
                depth += 1;
                continue;
            }
            self.back_to(depth)?;
            match self.find(state, &component, missing)? {
                Found::Directory(directory) => {
                    self.push(&component, directory)?;
                    depth += 1;
                }
                Found::Nothing => return Ok(false),
                Found::Link(text) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Error::malformed("too many levels of symbolic links"));
                    }
                    if text.first() == Some(&b'/') {
                        depth = 0;
                    }
                    pending.push(text);
                }
            }
        }
        self.back_to(depth)?;
        self.entered = Some(name.to_owned());
        Ok(true)
    }

    /// Enters a directory that was just opened in the current one.
    pub(super) fn push(&mut self, name: &[u8], directory: Directory) -> Result<()> {
        if let Some(entered) = &mut self.entered {
            if !entered.is_empty() {
                entered.push(b'/');
            }
            entered.extend_from_slice(name);
        }
        self.slots.push(Slot {
            name: name.to_owned(),
            inode: directory.inode,
            marked: false,
            opaque: false,
            open: Some(directory),
        });
        if self.slots.len() - self.first_open > MAX_OPEN {
            let slot = &mut self.slots[self.first_open];
            if let Some(mut directory) = slot.open.take() {
                slot.opaque = directory.opaque;
                directory.leave()?;
            }
            self.first_open += 1;
        }
        Ok(())
    }

    /// Goes back to the directory at this depth of the chain, and leaves those below it.
    pub(super) fn back_to(&mut self, depth: usize) -> Result<()> {
        if self.slots.len() > depth {
            self.entered = None;
        }
        while self.slots.len() > depth {
            if let Some(Slot { open: Some(mut directory), .. }) = self.slots.pop() {
                directory.leave()?;
            }
        }
        if self.first_open < depth || depth == 0 {
            self.first_open = self.first_open.min(depth);
            return Ok(());
        }
        // It was closed because the chain had too many open directories: open it again, from the
        // root.
        let mut directory: Option<Directory> = None;
        for slot in &self.slots {
            let parent = directory.as_ref().unwrap_or(&self.root);
            directory = Some(Directory::open(parent, &slot.name).map_err(|e| os_error("open", e))?);
        }
        self.first_open = depth - 1;
        if let Some(slot) = self.slots.last_mut() {
            slot.open = directory.map(|directory| Directory { opaque: slot.opaque, ..directory });
        }
        Ok(())
    }

    /// Leaves all directories except the root, where the next walk starts.
    pub(super) fn reset(&mut self) -> Result<()> {
        self.entered = None;
        self.back_to(0)
    }

    /// Must be called after a symbolic link was removed or replaced: the same name may now lead to
    /// another directory.
    pub(super) fn forget_links(&mut self) {
        self.entered = None;
    }

    /// The open directories with this identity. After a directory got new times, a mode or an
    /// owner, all of them must be updated.
    pub(super) fn same_inode(&mut self, inode: Inode) -> impl Iterator<Item = &mut Directory> {
        let open = self.slots.iter_mut().filter_map(|slot| slot.open.as_mut());
        open.chain([&mut self.root]).filter(move |directory| directory.inode == inode)
    }

    /// Records all directories of the chain as parents of an entry of the current layer.
    pub(super) fn mark(&mut self, state: &mut TreeState) {
        if !state.upper.is_over_lower() {
            return;
        }
        for i in (0..self.slots.len()).rev() {
            if self.slots[i].marked {
                return;
            }
            let parent = i.checked_sub(1).map_or(self.root.inode, |above| self.slots[above].inode);
            state.upper.add_parent(parent, &self.slots[i].name);
            self.slots[i].marked = true;
        }
    }

    /// Opens a component in the current directory, or reads it if it is a symbolic link.
    fn find(&mut self, state: &mut TreeState, name: &[u8], missing: Missing) -> Result<Found> {
        loop {
            let path = || self.real_path();
            let here = self.slots.last().and_then(|slot| slot.open.as_ref()).unwrap_or(&self.root);
            match state.open(here, name, path) {
                Ok(directory) => return Ok(Found::Directory(directory)),
                Err(Errno::NOENT) if missing == Missing::Stop => return Ok(Found::Nothing),
                Err(Errno::NOENT) => {}
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    match rustix::fs::readlinkat(&here.fd, name, Vec::new()) {
                        Ok(text) => {
                            refuse_procfs(here, &self.root)?;
                            return Ok(Found::Link(text.into_bytes()));
                        }
                        Err(Errno::INVAL) if missing == Missing::Stop => return Ok(Found::Nothing),
                        Err(Errno::INVAL) => self.remove_file(state, name)?,
                        Err(Errno::NOENT) => continue,
                        Err(cause) => return Err(os_error("read a symbolic link", cause)),
                    }
                }
                Err(cause) => return Err(os_error("open a parent directory", cause)),
            }
            let here = self.here();
            let directory = state.make_implied(here, name)?;
            here.dirty = true;
            return Ok(Found::Directory(directory));
        }
    }

    /// Removes a file where a parent directory is needed. Only a file of a lower layer may be
    /// replaced.
    fn remove_file(&mut self, state: &mut TreeState, name: &[u8]) -> Result<()> {
        let here = self.here();
        let stat = directory::stat(here, name).map_err(|e| os_error("stat", e))?;
        let whiteout = is_whiteout(&stat) && state.opaque_mark.attribute().is_some();
        if !whiteout && state.upper.has(here.inode, name) {
            return Err(Error::malformed("a parent is a file of the same layer"));
        }
        rustix::fs::unlinkat(&here.fd, name, rustix::fs::AtFlags::empty())
            .map_err(|e| os_error("replace a parent directory", e))?;
        here.dirty = true;
        state.next_is_opaque = whiteout;
        Ok(())
    }
}

/// Refuses symbolic links in a procfs that is mounted in the tree: the text of some of them is not
/// the path to which they lead.
fn refuse_procfs(here: &Directory, root: &Directory) -> Result<()> {
    if here.inode.0 == root.inode.0 {
        return Ok(());
    }
    match rustix::fs::fstatfs(&here.fd) {
        Ok(fs) if fs.f_type != PROC_SUPER_MAGIC => Ok(()),
        Ok(_) => Err(Error::malformed("leads through a symbolic link in procfs")),
        Err(cause) => Err(os_error("statfs", cause)),
    }
}

/// The components that were not walked yet: of the name, and of symbolic links in it.
struct Pending<'a> {
    texts: Vec<(Cow<'a, [u8]>, usize)>,
}

impl<'a> Pending<'a> {
    fn new(name: &'a [u8]) -> Pending<'a> {
        Pending { texts: vec![(Cow::Borrowed(name), 0)] }
    }

    fn push(&mut self, text: Vec<u8>) {
        self.texts.push((Cow::Owned(text), 0));
    }

    fn next(&mut self) -> Option<Cow<'a, [u8]>> {
        loop {
            let (text, at) = self.texts.last_mut()?;
            if *at >= text.len() {
                self.texts.pop();
                continue;
            }
            let rest = &text[*at..];
            let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let range = *at..*at + end;
            *at += end + 1;
            return Some(match text {
                Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
                Cow::Owned(text) => Cow::Owned(text[range].to_vec()),
            });
        }
    }
}
