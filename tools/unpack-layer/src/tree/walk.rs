// SPDX-License-Identifier: Apache-2.0
//! Finds the directory of a name, as if the tree's root were the root directory of the process.
//!
//! A name is walked component by component. Each directory is opened relative to the previous one,
//! without following symbolic links. The text of a symbolic link is read and walked in the same
//! way. `..` goes back to the previous directory, but not above the root. Nothing outside the tree
//! can therefore be reached, even if a layer has hostile links or another process changes the tree.
//! This works on any kernel and with paths of any length. (openat2 with `RESOLVE_IN_ROOT` would
//! also stay inside the tree, but does not give the identity of the parent directories, which
//! whiteouts need.)
//!
//! The directories of the last walk stay open as a chain, because the next entry often needs the
//! same ones. The chain has only real directories, no symbolic links. Code that removes or replaces
//! a directory or a symbolic link must call [`Walk::forget_links`] or [`Walk::reset`].
//!
//! A walk continues from the part of the chain that it shares with the name. Every directory that
//! it opens and every symbolic link that it reads is counted, because a small layer can require a
//! huge number of them. See [`Counts::add_steps`](super::counts::Counts::add_steps).
//!
//! [`archive::walk`] has the rules of a walk, also those for markers.

use archive::walk::{self, Chain, Found, Mark, Missing, Obstacle, Purpose, Reached, When};
use common::error::{Error, Result};
use rustix::fs::PROC_SUPER_MAGIC;
use rustix::io::Errno;

use super::directory::{self, Directory, os_error};
use super::overlay::is_whiteout;
use super::state::TreeState;
use super::upper::Inode;

/// The maximum number of directories of the chain that are open at a time. They are the deepest
/// ones.
const MAX_OPEN: usize = 16;

/// A directory of the chain, below the root.
struct Slot {
    name: Vec<u8>,
    inode: Inode,
    /// Whether the directory is recorded as a parent of an entry of the current layer.
    marked: bool,
    /// Whether the directory is recorded as passed on the way through a symbolic link.
    passed: bool,
    /// Whether it was opaque when it was closed.
    opaque: bool,
    /// Whether it is in a file system that is mounted below the root.
    mounted: bool,
    open: Option<Directory>,
}

impl Slot {
    /// The slot's directory, opened again.
    fn reopened(&self, directory: Directory) -> Directory {
        Directory { opaque: self.opaque, mounted: self.mounted, ..directory }
    }
}

/// The chain of directories from the root to the directory that was entered last.
pub(super) struct Walk {
    root: Directory,
    slots: Vec<Slot>,
    /// The slots before this index are not open.
    first_open: usize,
    /// The name of the directory that was entered last; `None` if it must be walked again.
    entered: Option<Vec<u8>>,
    /// Whether symbolic links led to the directory that was entered last.
    through_link: bool,
}

impl Walk {
    pub(super) fn new(root: Directory) -> Walk {
        Walk { root, slots: Vec::new(), first_open: 0, entered: None, through_link: false }
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
        self.path_to(self.slots.len())
    }

    /// The name of the directory that was entered last in its parent; `None` for the root.
    pub(super) fn real_name(&self) -> Option<&[u8]> {
        self.slots.last().map(|slot| slot.name.as_slice())
    }

    fn path_to(&self, depth: usize) -> Vec<u8> {
        let slots = &self.slots[..depth.min(self.slots.len())];
        let names: Vec<&[u8]> = slots.iter().map(|slot| slot.name.as_slice()).collect();
        names.join(&b'/')
    }

    /// Enters the directory of a clean name. Returns whether it exists.
    pub(super) fn enter(
        &mut self,
        state: &mut TreeState,
        name: &[u8],
        missing: Missing,
    ) -> Result<bool> {
        Ok(self.go(state, name, Purpose::Entry(missing))? == Reached::Directory)
    }

    /// Enters the directory of a marker. The name without the prefix names a file of lower layers.
    pub(super) fn enter_for_marker(
        &mut self,
        state: &mut TreeState,
        name: &[u8],
        mark: Mark,
        when: When,
    ) -> Result<Reached> {
        self.go(state, name, Purpose::Marker(mark, when))
    }

    fn go(&mut self, state: &mut TreeState, name: &[u8], purpose: Purpose) -> Result<Reached> {
        if self.entered.as_deref() == Some(name) && !(purpose.is_marker() && self.through_link) {
            return Ok(Reached::Directory);
        }
        self.entered = None;
        let walked = walk::walk(&mut Walking { walk: self, state }, name, purpose)?;
        if walked.reached == Reached::Directory {
            self.entered = Some(name.to_owned());
            self.through_link = walked.through_link;
        }
        Ok(walked.reached)
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
            passed: false,
            opaque: false,
            mounted: directory.mounted,
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
    pub(super) fn back_to(&mut self, state: &mut TreeState, depth: usize) -> Result<()> {
        if self.slots.len() > depth {
            self.entered = None;
        }
        // The directory may have been closed because the chain had too many open directories.
        let closed = depth > 0 && self.first_open >= depth && depth <= self.slots.len();
        let reopened = if closed { Some(self.reopen(state, depth)?) } else { None };
        self.leave_below(depth)?;
        if let (Some(directory), Some(slot)) = (reopened, self.slots.last_mut()) {
            slot.open = Some(slot.reopened(directory));
            self.first_open = depth - 1;
        }
        Ok(())
    }

    /// Leaves the directories below this depth of the chain.
    fn leave_below(&mut self, depth: usize) -> Result<()> {
        while self.slots.len() > depth {
            if let Some(Slot { open: Some(mut directory), .. }) = self.slots.pop() {
                directory.leave()?;
            }
        }
        self.first_open = self.first_open.min(self.slots.len());
        Ok(())
    }

    /// Opens the directory at this depth of the chain again: from an open one below it, or from the
    /// root.
    fn reopen(&self, state: &mut TreeState, depth: usize) -> Result<Directory> {
        let up = self.first_open + 1 - depth;
        if up < depth
            && let Some(below) = self.slots.get(self.first_open).and_then(|slot| slot.open.as_ref())
        {
            state.counts.add_steps(up)?;
            if let Some(directory) = go_up(below, up)
                && directory.inode == self.slots[depth - 1].inode
            {
                return Ok(directory);
            }
        }
        state.counts.add_steps(depth)?;
        let mut directory: Option<Directory> = None;
        for slot in &self.slots[..depth] {
            let parent = directory.as_ref().unwrap_or(&self.root);
            directory = Some(Directory::open(parent, &slot.name).map_err(|e| os_error("open", e))?);
        }
        directory.ok_or_else(|| os_error("open", Errno::NOENT))
    }

    /// Leaves all directories except the root, where the next walk starts.
    pub(super) fn reset(&mut self) -> Result<()> {
        self.entered = None;
        self.leave_below(0)
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

    /// Records that entries of the current layer passed a symbolic link of a lower layer, which is
    /// in the directory at this depth of the chain. The directories above it are recorded too: they
    /// may be removed together with the link.
    fn mark_passed(&mut self, state: &mut TreeState, depth: usize, link: &[u8]) {
        let mut parent = self.root.inode;
        for slot in &mut self.slots[..depth] {
            if !std::mem::replace(&mut slot.passed, true) {
                state.upper.add_passed(parent, &slot.name);
            }
            parent = slot.inode;
        }
        state.upper.add_passed(parent, link);
    }

    /// Opens a component in the directory at this depth of the chain, or reads it if it is a
    /// symbolic link. The chain below that depth is kept, because a link often leads back into it.
    fn find(
        &mut self,
        state: &mut TreeState,
        depth: usize,
        name: &[u8],
        purpose: Purpose,
    ) -> Result<Found<Directory>> {
        let missing = purpose.missing(state.whiteout_parents());
        state.counts.add_steps(1)?;
        if depth > 0 && self.first_open >= depth {
            self.back_to(state, depth)?;
        }
        loop {
            let path = || self.path_to(depth);
            let here = self.at(depth);
            match state.open(here, name, path) {
                Ok(directory) => return Ok(Found::Directory(directory)),
                Err(Errno::NOENT) if missing == Missing::Stop => return Ok(Found::Nothing),
                Err(Errno::NOENT) => {}
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    match rustix::fs::readlinkat(&here.fd, name, Vec::new()) {
                        Ok(text) => {
                            refuse_procfs(here, &self.root)?;
                            let own = state.upper.has(here.inode, name);
                            return Ok(Found::Link { text: text.into_bytes(), own });
                        }
                        Err(Errno::INVAL) if missing == Missing::Stop => return Ok(Found::Nothing),
                        Err(Errno::INVAL) => {
                            match self.file_as_parent(state, depth, name, purpose)? {
                                Some(Obstacle::Removable) => {
                                    self.remove_file(state, depth, name)?
                                }
                                Some(Obstacle::Ends) => return Ok(Found::Nothing),
                                None => return Ok(Found::Undecided),
                            }
                        }
                        Err(Errno::NOENT) => continue,
                        Err(cause) => return Err(os_error("read a symbolic link", cause)),
                    }
                }
                Err(cause) => return Err(os_error("open a parent directory", cause)),
            }
            if matches!(purpose, Purpose::Marker(Mark::Whiteout, _)) && self.at(depth).opaque {
                // All files of lower layers are hidden there already.
                return Ok(Found::Nothing);
            }
            if state.makes_parents_last() && purpose.is_marker_now() {
                return Ok(Found::Undecided);
            }
            let directory = state.make_implied(self.at(depth), name, || self.path_to(depth))?;
            self.at_mut(depth).dirty = true;
            return Ok(Found::Directory(directory));
        }
    }

    /// The directory at this depth of the chain, which must be open.
    fn at(&self, depth: usize) -> &Directory {
        let slot = depth.checked_sub(1).and_then(|i| self.slots.get(i));
        slot.and_then(|slot| slot.open.as_ref()).unwrap_or(&self.root)
    }

    fn at_mut(&mut self, depth: usize) -> &mut Directory {
        let slot = depth.checked_sub(1).and_then(|i| self.slots.get_mut(i));
        slot.and_then(|slot| slot.open.as_mut()).unwrap_or(&mut self.root)
    }

    /// Decides about a file where a parent directory is needed. `None` means that the marker must
    /// wait for the end of the layer.
    fn file_as_parent(
        &self,
        state: &TreeState,
        depth: usize,
        name: &[u8],
        purpose: Purpose,
    ) -> Result<Option<Obstacle>> {
        let here = self.at(depth);
        let stat = directory::stat(here, name).map_err(|e| os_error("stat", e))?;
        // A whiteout in the form of an overlay file system.
        let hidden = is_whiteout(&stat) && state.opaque_mark.attribute().is_some();
        let own = state.upper.has(here.inode, name);
        if hidden && matches!(purpose, Purpose::Marker(Mark::Whiteout, _)) {
            return Ok(Some(Obstacle::Ends));
        }
        let obstacle = purpose.meets_file(own && !hidden)?;
        let waits = state.makes_parents_last() && purpose.is_marker_now();
        Ok(if waits && obstacle == Obstacle::Removable { None } else { Some(obstacle) })
    }

    /// Removes a file where a parent directory is needed.
    fn remove_file(&mut self, state: &mut TreeState, depth: usize, name: &[u8]) -> Result<()> {
        let here = self.at_mut(depth);
        let stat = directory::stat(here, name).map_err(|e| os_error("stat", e))?;
        here.refuse_removal(name)?;
        rustix::fs::unlinkat(&here.fd, name, rustix::fs::AtFlags::empty())
            .map_err(|e| os_error("replace a parent directory", e))?;
        here.dirty = true;
        state.next_is_opaque = is_whiteout(&stat) && state.opaque_mark.attribute().is_some();
        Ok(())
    }
}

/// A walk in the tree.
struct Walking<'a> {
    walk: &'a mut Walk,
    state: &'a mut TreeState,
}

impl Chain for Walking<'_> {
    type Directory = Directory;

    fn continues(&self, depth: usize, name: &[u8]) -> bool {
        self.walk.slots.get(depth).is_some_and(|slot| slot.name == name)
    }

    fn find(&mut self, depth: usize, name: &[u8], purpose: Purpose) -> Result<Found<Directory>> {
        self.walk.find(self.state, depth, name, purpose)
    }

    fn back_to(&mut self, depth: usize) -> Result<()> {
        self.walk.back_to(self.state, depth)
    }

    fn push(&mut self, name: &[u8], directory: Directory) -> Result<()> {
        self.walk.push(name, directory)
    }

    fn follows_lower(&mut self, depth: usize, link: &[u8]) {
        self.walk.mark_passed(self.state, depth, link);
    }
}

/// The maximum number of `..` components in one path. The path stays shorter than the kernel's
/// limit.
const MAX_UP: usize = 1024;

/// Opens the directory that is this number of levels above another one. The caller must check its
/// identity: another process may have moved the directory.
fn go_up(below: &Directory, levels: usize) -> Option<Directory> {
    let path = |levels: usize| "../".repeat(levels);
    let first = levels.min(MAX_UP);
    let open = |from: &Directory, levels| Directory::open(from, path(levels).as_bytes()).ok();
    let mut directory = open(below, first)?;
    let mut left = levels - first;
    while left > 0 {
        let next = left.min(MAX_UP);
        directory = open(&directory, next)?;
        left -= next;
    }
    Some(directory)
}

/// Refuses symbolic links in a procfs that is mounted in the tree: some of them do not lead to the
/// path in their text.
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
