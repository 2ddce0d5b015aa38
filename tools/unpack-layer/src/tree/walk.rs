// SPDX-License-Identifier: Apache-2.0
//! Finds the directories that names lead to, as if the tree's root were the process's own.
//!
//! The way is walked component by component, each opened without following links and relative to
//! the one before; symbolic links are read and their text is walked here, `..` goes back along the
//! way that was come, and stops at the root. So nothing outside can be reached, whatever links a
//! layer has brought and whoever changes the tree meanwhile, on any kernel, and no path is too
//! long. (The kernel's own openat2 with RESOLVE_IN_ROOT gives the same containment, but not the
//! identity of the directories on the way, which whiteouts need.)
//!
//! The directories of the last way stay open, since the next entry's way is mostly the same. Only
//! true directories stand in that chain, never links; and whoever removes or replaces a directory
//! or a link says so, by [`Walk::forget_links`] and [`Walk::reset`].

use std::borrow::Cow;

use common::error::{Error, Result};
use rustix::fs::PROC_SUPER_MAGIC;
use rustix::io::Errno;

use super::directory::{self, Directory, trouble};
use super::overlay::is_whiteout;
use super::state::TreeState;
use super::upper::Inode;

/// How many symbolic links one name may lead through, as in the kernel.
const MAX_LINKS: usize = 40;

/// How many directories of the chain are open at a time, the deepest ones.
const MAX_OPEN: usize = 16;

/// What to do about directories that are not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Make them, also in the place of a lower layer's file.
    Make,
    /// Stop.
    Stop,
}

/// A directory on the way, below the root.
struct Slot {
    name: Vec<u8>,
    inode: Inode,
    /// Whether the layer at hand is known to have something in it.
    marked: bool,
    /// Whether it was opaque when it was closed.
    opaque: bool,
    open: Option<Directory>,
}

/// The way to the directory entered last.
pub(super) struct Walk {
    root: Directory,
    slots: Vec<Slot>,
    /// The slots before this one are not open.
    first_open: usize,
    /// The name that led to the last directory, while it still does.
    entered: Option<Vec<u8>>,
}

/// What a component of a name turned out to be.
enum Found {
    Directory(Directory),
    Link(Vec<u8>),
    Nothing,
}

impl Walk {
    pub(super) fn new(root: Directory) -> Walk {
        Walk { root, slots: Vec::new(), first_open: 0, entered: None }
    }

    /// The tree's root.
    pub(super) fn root(&mut self) -> &mut Directory {
        &mut self.root
    }

    /// The directory entered last.
    pub(super) fn here(&mut self) -> &mut Directory {
        self.slots.last_mut().and_then(|slot| slot.open.as_mut()).unwrap_or(&mut self.root)
    }

    /// The identity of the directory above the one entered last.
    pub(super) fn above(&self) -> Inode {
        let above = self.slots.len().checked_sub(2).and_then(|i| self.slots.get(i));
        above.map_or(self.root.inode, |slot| slot.inode)
    }

    /// How many directories below the root that is.
    pub(super) fn depth(&self) -> usize {
        self.slots.len()
    }

    /// Where that is, without links.
    pub(super) fn real_path(&self) -> Vec<u8> {
        let names: Vec<&[u8]> = self.slots.iter().map(|slot| slot.name.as_slice()).collect();
        names.join(&b'/')
    }

    /// Goes to the directory of a clean name; whether it is there.
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

    /// Goes into a directory that was just opened in this one.
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

    /// Goes back to a directory on the way, and leaves those below it.
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
        // It was closed because the way went too deep: walk there again.
        let mut directory: Option<Directory> = None;
        for slot in &self.slots {
            let parent = directory.as_ref().unwrap_or(&self.root);
            directory = Some(Directory::open(parent, &slot.name).map_err(|e| trouble("open", e))?);
        }
        self.first_open = depth - 1;
        if let Some(slot) = self.slots.last_mut() {
            slot.open = directory.map(|directory| Directory { opaque: slot.opaque, ..directory });
        }
        Ok(())
    }

    /// Leaves all directories but the root: the next way starts there.
    pub(super) fn reset(&mut self) -> Result<()> {
        self.entered = None;
        self.back_to(0)
    }

    /// A link was removed or replaced: names must be walked again.
    pub(super) fn forget_links(&mut self) {
        self.entered = None;
    }

    /// The directory entered last got new times, a mode or an owner: so did every open one that is
    /// the same.
    pub(super) fn alike(&mut self, inode: Inode) -> impl Iterator<Item = &mut Directory> {
        let open = self.slots.iter_mut().filter_map(|slot| slot.open.as_mut());
        open.chain([&mut self.root]).filter(move |directory| directory.inode == inode)
    }

    /// Notes that the layer at hand has something below each directory of the way.
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

    /// Opens what stands under a name here.
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
                            refuse_magic(here, &self.root)?;
                            return Ok(Found::Link(text.into_bytes()));
                        }
                        Err(Errno::INVAL) if missing == Missing::Stop => return Ok(Found::Nothing),
                        Err(Errno::INVAL) => self.clear(state, name)?,
                        Err(Errno::NOENT) => continue,
                        Err(cause) => return Err(trouble("read a symbolic link", cause)),
                    }
                }
                Err(cause) => return Err(trouble("open a parent directory", cause)),
            }
            let here = self.here();
            let directory = state.make_implied(here, name)?;
            here.dirty = true;
            return Ok(Found::Directory(directory));
        }
    }

    /// Removes what is no directory from the way: only a lower layer's may be replaced.
    fn clear(&mut self, state: &mut TreeState, name: &[u8]) -> Result<()> {
        let here = self.here();
        let stat = directory::stat(here, name).map_err(|e| trouble("stat", e))?;
        let whiteout = is_whiteout(&stat) && state.opaque_mark.attribute().is_some();
        if !whiteout && state.upper.has(here.inode, name) {
            return Err(Error::malformed("a parent directory is no directory"));
        }
        rustix::fs::unlinkat(&here.fd, name, rustix::fs::AtFlags::empty())
            .map_err(|e| trouble("replace a parent directory", e))?;
        here.dirty = true;
        state.next_is_opaque = whiteout;
        Ok(())
    }
}

/// procfs has links whose text is not where they lead; a tree may have one mounted in it.
fn refuse_magic(here: &Directory, root: &Directory) -> Result<()> {
    if here.inode.0 == root.inode.0 {
        return Ok(());
    }
    match rustix::fs::fstatfs(&here.fd) {
        Ok(fs) if fs.f_type != PROC_SUPER_MAGIC => Ok(()),
        Ok(_) => Err(Error::malformed("leads through a link in procfs")),
        Err(cause) => Err(trouble("statfs", cause)),
    }
}

/// The components that are still to be walked: of the name, and of links met on the way.
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
