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
//!
//! A walk continues from the part of the chain that it shares with the name. Every directory that
//! it opens and every symbolic link that it reads is counted, because a small layer can require a
//! huge number of them. See [`Counts::add_steps`](super::counts::Counts::add_steps).
//!
//! The walk of a marker (a whiteout or an opaque whiteout) differs. A marker refers to a path of
//! the lower layers. If the current layer has put a symbolic link or another file on that path, the
//! path does not exist any more, and the marker has nothing to hide. If a symbolic link of a lower
//! layer is on the path, a later entry may still replace it, so the marker must wait for the end of
//! the layer.

use common::error::{Error, Result};
use rustix::fs::PROC_SUPER_MAGIC;
use rustix::io::Errno;

use super::directory::{self, Directory, os_error};
use super::marker::{Mark, Reached, Time};
use super::overlay::is_whiteout;
use super::pending_path::Pending;
use super::state::TreeState;
use super::upper::Inode;

/// The maximum number of symbolic links in the walk of one name. The kernel has the same limit.
const MAX_LINKS: usize = 40;

/// The maximum number of directories of the chain that are open at a time. They are the deepest
/// ones.
const MAX_OPEN: usize = 16;

/// The treatment of directories that do not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Make them. A file of a lower layer is replaced.
    Make,
    /// Stop.
    Stop,
}

/// The purpose of a walk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To the directory of an entry, or to a directory that must exist.
    Entry(Missing),
    /// To the directory of a marker.
    Marker(Mark, Time),
}

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

/// The type of a component of a name.
enum Found {
    Directory(Directory),
    /// A symbolic link, and whether it belongs to the current layer.
    Link(Vec<u8>, bool),
    Nothing,
    Undecided,
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

    /// Enters the directory of a marker. Its clean name refers to the lower layers.
    pub(super) fn enter_for_marker(
        &mut self,
        state: &mut TreeState,
        name: &[u8],
        mark: Mark,
        time: Time,
    ) -> Result<Reached> {
        self.go(state, name, Purpose::Marker(mark, time))
    }

    fn go(&mut self, state: &mut TreeState, name: &[u8], purpose: Purpose) -> Result<Reached> {
        let is_marker = matches!(purpose, Purpose::Marker(..));
        if self.entered.as_deref() == Some(name) && !(is_marker && self.through_link) {
            return Ok(Reached::Directory);
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
            match self.find(state, depth, &component, purpose)? {
                Found::Directory(directory) => {
                    self.back_to(state, depth)?;
                    self.push(&component, directory)?;
                    depth += 1;
                }
                Found::Nothing => return Ok(Reached::Nothing),
                Found::Undecided => return Ok(Reached::Undecided),
                Found::Link(_, true) if is_marker => return Ok(Reached::Nothing),
                Found::Link(_, false) if is_marker_now(purpose) => {
                    return Ok(Reached::Undecided);
                }
                Found::Link(text, own) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Error::malformed("too many levels of symbolic links"));
                    }
                    if !own && purpose == Purpose::Entry(Missing::Make) {
                        self.mark_passed(state, depth, &component);
                    }
                    if text.first() == Some(&b'/') {
                        depth = 0;
                    }
                    pending.push(text);
                }
            }
        }
        self.back_to(state, depth)?;
        self.entered = Some(name.to_owned());
        self.through_link = links > 0;
        Ok(Reached::Directory)
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
    ) -> Result<Found> {
        let missing = match purpose {
            Purpose::Entry(missing) => missing,
            // The directory of an opaque whiteout is made, even if no lower layer has it.
            Purpose::Marker(Mark::Opaque, _) => Missing::Make,
            Purpose::Marker(Mark::Whiteout, _) => state.whiteout_parents(),
        };
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
                            return Ok(Found::Link(text.into_bytes(), own));
                        }
                        Err(Errno::INVAL) if missing == Missing::Stop => return Ok(Found::Nothing),
                        Err(Errno::INVAL) => {
                            match self.file_as_parent(state, depth, name, purpose)? {
                                Obstacle::Removable => self.remove_file(state, depth, name)?,
                                Obstacle::Ends => return Ok(Found::Nothing),
                                Obstacle::Undecided => return Ok(Found::Undecided),
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
            if state.makes_parents_last() && is_marker_now(purpose) {
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

    /// Decides about a file where a parent directory is needed. Only a file of a lower layer may be
    /// replaced.
    fn file_as_parent(
        &self,
        state: &TreeState,
        depth: usize,
        name: &[u8],
        purpose: Purpose,
    ) -> Result<Obstacle> {
        let here = self.at(depth);
        let stat = directory::stat(here, name).map_err(|e| os_error("stat", e))?;
        let hidden = is_whiteout(&stat) && state.opaque_mark.attribute().is_some();
        let own = state.upper.has(here.inode, name);
        match purpose {
            Purpose::Marker(Mark::Whiteout, _) if hidden || own => Ok(Obstacle::Ends),
            Purpose::Marker(Mark::Opaque, _) if own && !hidden => Ok(Obstacle::Ends),
            Purpose::Entry(_) if own && !hidden => {
                Err(Error::malformed("a parent is a file of the same layer"))
            }
            _ if state.makes_parents_last() && is_marker_now(purpose) => Ok(Obstacle::Undecided),
            _ => Ok(Obstacle::Removable),
        }
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

/// The treatment of a file at a place where a walk needs a directory.
enum Obstacle {
    /// The file is removed to make room for the directory.
    Removable,
    /// The walk of a marker ends: the current layer has replaced the lower layers' path.
    Ends,
    /// The marker must wait for the end of the layer.
    Undecided,
}

fn is_marker_now(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Marker(_, Time::Now))
}

/// The maximum number of `..` components in one path, which is then shorter than the kernel's
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
/// path that is their text.
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
