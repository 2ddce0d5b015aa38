// SPDX-License-Identifier: Apache-2.0
//! Applies whiteouts: they remove files of lower layers, but never files of the current layer.
//!
//! The order of entries does not matter. A file whose entry follows the whiteout is made after the
//! removal. A file whose entry precedes it is kept with all its parent directories, because
//! [`upper`](super::upper) has recorded it. A whiteout whose path leads through a symbolic link of
//! a lower layer [waits](archive::walk::WaitingMarkers) for the end of the layer.
//!
//! One order cannot be repaired: an entry reaches its directory through a symbolic link of a lower
//! layer, and a later entry of the same layer hides or replaces the link. This order causes a
//! warning.

use common::error::{Error, Result};
use common::notice;
use rustix::fs::{Dir, FileType, Stat};
use rustix::io::Errno;

use super::directory::{self, os_error};
use super::overlay::{is_whiteout, make_whiteout};
use super::remove::remove;
use super::workspace::Workspace;
use archive::names::{self, Meaning, join};
use archive::walk::{Mark, Missing, Reached, Waiting, When};
use archive::{Entry, EntryType, shown};

impl Workspace {
    /// Applies a whiteout in the directory with the clean name `parent`.
    pub(super) fn whiteout(
        &mut self,
        entry: &Entry,
        parent: &[u8],
        meaning: &Meaning<'_>,
    ) -> Result<()> {
        if entry.entry_type == EntryType::Directory {
            return Err(Error::malformed("a whiteout that is a directory"));
        }
        if entry.size > 0 {
            notice::warn("whiteout with data", || {
                format!("{}: a whiteout with data, which is left out", shown(&entry.name))
            });
        }
        match meaning {
            Meaning::Whiteout(hidden) => self.hide(parent, hidden, When::Now),
            _ => self.hide_all(parent, When::Now),
        }
    }

    /// Applies the markers that waited for the end of the layer.
    pub(super) fn apply_waiting(&mut self) -> Result<()> {
        for Waiting { mark, path } in self.state.waiting.take() {
            let (parent, name) = names::split(&path);
            match mark {
                Mark::Whiteout => self.hide(parent, name, When::End),
                Mark::Opaque => self.hide_all(&path, When::End),
            }
            .map_err(|error| error.context(format_args!("whiteout of {}", shown(&path))))?;
        }
        Ok(())
    }

    /// Hides the file `hidden` of lower layers.
    fn hide(&mut self, parent: &[u8], hidden: &[u8], when: When) -> Result<()> {
        match self.walk.enter_for_marker(&mut self.state, parent, Mark::Whiteout, when)? {
            Reached::Directory => {}
            Reached::Nothing => return Ok(()),
            Reached::Undecided => {
                let path = join(parent.to_vec(), hidden);
                return self.state.waiting.add(Mark::Whiteout, path);
            }
        }
        let overlay = self.state.is_overlay();
        if !self.state.upper.is_over_lower() && !overlay {
            return Ok(());
        }
        let here = self.walk.here();
        if self.state.upper.has(here.inode, hidden) {
            match directory::stat(here, hidden) {
                Ok(stat) if is_directory(&stat) => return self.hide_below(hidden),
                Ok(_) => return Ok(()),
                Err(Errno::NOENT) if overlay => {}
                Err(Errno::NOENT) => return Ok(()),
                Err(cause) => return Err(os_error("stat", cause)),
            }
        } else if self.remove_lower(hidden)? {
            self.side.reset()?;
        }
        if overlay { self.leave_whiteout(hidden) } else { Ok(()) }
    }

    /// Removes a file of lower layers from the current directory. Returns whether it existed.
    fn remove_lower(&mut self, name: &[u8]) -> Result<bool> {
        self.state.refuse_mounts(|| self.walk.real_path(), name)?;
        let here = self.walk.here();
        if here.mounted && directory::stat(here, name).is_ok() {
            here.refuse_removal(name)?;
        }
        if !remove(&here.fd, name)? {
            return Ok(false);
        }
        here.dirty = true;
        self.state.warn_if_passed(here.inode, name);
        self.walk.forget_links();
        Ok(true)
    }

    /// Hides a directory of lower layers that the current layer has too. Its content is removed
    /// except for files of the current layer, and it keeps no attributes of lower layers.
    fn hide_below(&mut self, name: &[u8]) -> Result<()> {
        let here = self.walk.here();
        here.refuse_removal(name)?;
        let own = self.state.upper.has_entry(here.inode, name);
        // The directory of the lower layers is hidden, so no attributes of it can be lost.
        self.state.implied.forget(self.state.upper.place(here.inode, name));
        let path = join(self.walk.real_path(), name);
        self.walk.enter(&mut self.state, &path, Missing::Make)?;
        // A mounted file system does not belong to the lower layers.
        self.walk.here().refuse_removal(name)?;
        if !own && self.state.upper.is_over_lower() {
            let Workspace { state, walk, .. } = self;
            state.reset_to_implied(walk.here(), true)?;
        }
        self.hide_all_here()
    }

    /// Hides all files of lower layers in a directory.
    fn hide_all(&mut self, path: &[u8], when: When) -> Result<()> {
        match self.walk.enter_for_marker(&mut self.state, path, Mark::Opaque, when)? {
            Reached::Directory => self.hide_all_here(),
            Reached::Nothing => Ok(()),
            Reached::Undecided => self.state.waiting.add(Mark::Opaque, path.to_vec()),
        }
    }

    /// Hides all files of lower layers in the directory that was entered last.
    fn hide_all_here(&mut self) -> Result<()> {
        self.walk.mark(&mut self.state);
        let overlay = self.state.is_overlay();
        if overlay && self.walk.depth() == 0 {
            // The kernel ignores an opaque mark on a layer's root directory.
            return Err(Error::malformed(
                "hides all lower layers, which an overlay cannot express",
            )
            .hint("use --whiteouts apply, and mount the tree without lower layers"));
        }
        if overlay {
            let Workspace { state, walk, .. } = self;
            state.opaque_mark.set(walk.here())?;
        }
        if !self.state.upper.is_over_lower() && !overlay {
            return Ok(());
        }
        self.side.reset()?;
        let path = self.walk.real_path();
        self.side.enter(&mut self.state, &path, Missing::Stop)?;
        let mut changed = false;
        let mut pending: Vec<(usize, Vec<u8>)> = Vec::new();
        loop {
            changed |= self.clear_lower(&mut pending)?;
            let Some((depth, name)) = pending.pop() else { break };
            let Workspace { state, side, .. } = self;
            side.back_to(state, depth)?;
            let path = side.real_path();
            let directory = state
                .open(side.here(), &name, || path.clone())
                .map_err(|e| os_error("open a directory to hide in", e))?;
            side.push(&name, directory)?;
        }
        self.side.reset()?;
        if changed {
            self.walk.here().dirty = true;
            self.walk.forget_links();
        }
        Ok(())
    }

    /// Removes files of lower layers in the current directory of the walk `side`. Directories that
    /// stay are added to `pending`: their content must be checked too. Returns whether anything was
    /// removed.
    fn clear_lower(&mut self, pending: &mut Vec<(usize, Vec<u8>)>) -> Result<bool> {
        let overlay = self.state.is_overlay();
        let depth = self.side.depth();
        let path = if self.state.mounts.is_empty() { Vec::new() } else { self.side.real_path() };
        let here = self.side.here();
        let mut changed = false;
        let entries = Dir::read_from(&here.fd).map_err(|e| os_error("read a directory", e))?;
        for entry in entries {
            let entry = entry.map_err(|e| os_error("read a directory", e))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if !self.state.upper.has(here.inode, name) {
                here.refuse_removal(name)?;
                self.state.refuse_mounts(|| path.clone(), name)?;
                changed |= remove(&here.fd, name)?;
                self.state.warn_if_passed(here.inode, name);
                continue;
            }
            // A layer may repeat a marker. Each time, the files that were kept are read again, so
            // they count as steps.
            self.state.counts.add_steps(1)?;
            if !matches!(
                entry.file_type(),
                FileType::Directory | FileType::CharacterDevice | FileType::Unknown
            ) {
                continue;
            }
            let stat = directory::stat(here, name).map_err(|e| os_error("stat", e))?;
            if is_directory(&stat) {
                pending.push((depth, name.to_owned()));
            } else if overlay && is_whiteout(&stat) {
                here.refuse_removal(name)?;
                changed |= remove(&here.fd, name)?;
            }
        }
        here.dirty |= changed;
        Ok(changed)
    }

    /// Writes a whiteout in the form of an overlay file system, except in an opaque directory,
    /// where all files of lower layers are hidden already.
    fn leave_whiteout(&mut self, name: &[u8]) -> Result<()> {
        self.walk.mark(&mut self.state);
        let here = self.walk.here();
        if here.opaque {
            return Ok(());
        }
        match make_whiteout(here, name) {
            Ok(()) => here.dirty = true,
            Err(Errno::EXIST) => {}
            Err(cause) => return Err(os_error("make a whiteout", cause)),
        }
        Ok(())
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}
