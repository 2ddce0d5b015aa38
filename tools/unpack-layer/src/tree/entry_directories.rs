// SPDX-License-Identifier: Apache-2.0
//! Makes the directories that have entries.
//!
//! An existing directory keeps its content and gets the entry's attributes.

use common::error::{Result, Status};
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use super::directory::{self, Directory, os_error};
use super::overlay::is_whiteout;
use super::rules::Whiteouts;
use super::state::TreeState;
use super::workspace::Workspace;
use archive::walk::Missing;
use archive::{Entry, names};

/// The directory of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The directory that the walk has entered. It has the entry's attributes.
    Entered,
    /// The root directory, through a symbolic link that was kept. The caller must set the entry's
    /// attributes.
    Root,
}

impl Workspace {
    /// Makes the directory of an entry, or sets the attributes of an existing one.
    pub(super) fn directory(&mut self, entry: &Entry, name: &[u8]) -> Result<Place> {
        let make = |state: &TreeState, here: &Directory| {
            let needed = if state.privileged { 0 } else { directory::WORKABLE };
            let mode = Mode::from_raw_mode(entry.mode & 0o1777 | needed);
            rustix::fs::mkdirat(&here.fd, name, mode)
        };
        let mut made = make(&self.state, self.walk.here());
        let mut opaque = false;
        if made == Err(Errno::EXIST) {
            let stat = directory::stat(self.walk.here(), name).map_err(|e| os_error("stat", e))?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                opaque = self.state.rules.whiteouts == Whiteouts::Overlay && is_whiteout(&stat);
                if self.state.rules.keep_dirlinks
                    && FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
                    && let Some(place) = self.behind_link(entry, name)?
                {
                    return Ok(place);
                }
                self.remove_existing(name, &entry.name)?;
                made = make(&self.state, self.walk.here());
            }
        }
        let existed = made == Err(Errno::EXIST);
        if !existed {
            made.map_err(|e| os_error("make the directory", e))?;
            self.walk.here().dirty = true;
        }
        let Workspace { state, walk, .. } = self;
        let path = walk.real_path();
        let mut directory =
            state.open(walk.here(), name, || path.clone()).map_err(|e| os_error("open", e))?;
        let path = || names::join(path.clone(), name);
        state.set_attributes(&mut directory, entry, entry.mode, existed, path)?;
        if opaque {
            state.opaque_mark.set(&mut directory)?;
        }
        for same in walk.same_inode(directory.inode) {
            (same.uid, same.gid, same.mode) = (directory.uid, directory.gid, directory.mode);
            (same.times, same.dirty) = (directory.times.clone(), true);
        }
        walk.push(name, directory)?;
        Ok(Place::Entered)
    }

    /// Sets the entry's attributes on the directory to which a symbolic link leads. If the link
    /// does not lead to a directory, returns `None`, and the walk is in the link's directory again.
    fn behind_link(&mut self, entry: &Entry, name: &[u8]) -> Result<Option<Place>> {
        let parent = self.walk.real_path();
        let path = names::join(parent.clone(), name);
        match self.walk.enter(&mut self.state, &path, Missing::Stop) {
            Ok(true) => {}
            Err(error) if error.status() != Status::Malformed => return Err(error),
            _ => {
                self.walk.enter(&mut self.state, &parent, Missing::Stop)?;
                return Ok(None);
            }
        }
        if self.walk.depth() == 0 {
            return Ok(Some(Place::Root));
        }
        self.walk.mark(&mut self.state);
        let path = self.walk.real_path();
        let Workspace { state, walk, .. } = self;
        let here = walk.here();
        state.set_attributes(here, entry, entry.mode, true, || path)?;
        let inode = here.inode;
        let like = (here.uid, here.gid, here.mode);
        let times = here.times.clone();
        for same in walk.same_inode(inode) {
            (same.uid, same.gid, same.mode) = like;
            (same.times, same.dirty) = (times.clone(), true);
        }
        Ok(Some(Place::Entered))
    }
}
