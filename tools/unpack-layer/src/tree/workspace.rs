// SPDX-License-Identifier: Apache-2.0
//! The workspace in which entries are applied: the state of the tree, and two walks in it.

use archive::names;
use archive::walk::Missing;
use common::error::Result;
use common::notice;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::directories::warn_implied;
use super::directory::{self, os_error};
use super::remove::remove;
use super::state::TreeState;
use super::upper::Inode;
use super::walk::Walk;
use archive::shown;

/// A tree and its open directories.
pub(super) struct Workspace {
    pub(super) state: TreeState,
    /// The walk to the directory of the current entry.
    pub(super) walk: Walk,
    /// A second walk, to the targets of hard links and through directories that a whiteout hides.
    pub(super) side: Walk,
}

impl Workspace {
    /// Leaves all directories except the root.
    pub(super) fn reset(&mut self) -> Result<()> {
        self.walk.reset()?;
        self.side.reset()
    }

    /// Removes an existing file or directory that has the name of an entry.
    pub(super) fn remove_existing(&mut self, name: &[u8], entry_name: &[u8]) -> Result<()> {
        self.state.refuse_mounts(|| self.walk.real_path(), name)?;
        let here = self.walk.here();
        let stat = match directory::stat(here, name) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(|e| os_error("stat", e))?,
        };
        let duplicate = self.state.upper.has_entry(here.inode, name);
        if duplicate && !(self.state.is_overlay() && stat.st_rdev == 0) {
            warn_duplicate(entry_name);
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            here.refuse_removal(name)?;
        }
        here.dirty = true;
        remove(&here.fd, name)?;
        self.state.warn_if_passed(here.inode, name);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                self.walk.forget_links();
                self.side.reset()
            }
            FileType::Symlink => {
                self.walk.forget_links();
                self.side.forget_links();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Workspace {
    /// Warns of directories that have no entry in the layer, at its end. Inside an opaque directory
    /// there is no warning, because no attributes of lower layers can be lost there.
    pub(super) fn warn_of_implied(&mut self) -> Result<()> {
        let paths = self.state.implied.take();
        if paths.is_empty() {
            return Ok(());
        }
        self.side.reset()?;
        self.state.counts.begin_pass(paths.len());
        for path in paths {
            let (parent, name) = names::split(&path);
            if !self.side.enter(&mut self.state, parent, Missing::Stop)? {
                continue;
            }
            let here = self.side.here();
            // An entry may have replaced the directory together with its parents.
            let stat = directory::stat(here, name);
            let is_there =
                stat.is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory);
            if is_there && !here.opaque {
                warn_implied(&path);
            }
        }
        self.side.reset()
    }
}

impl TreeState {
    /// Warns if a file that is removed was a symbolic link through which earlier entries of the
    /// layer were reached, or a directory above such a link. With another order of entries, these
    /// entries would be in other directories.
    pub(super) fn warn_if_passed(&self, directory: Inode, name: &[u8]) {
        if self.upper.was_passed(directory, name) {
            notice::warn("passed link", || {
                format!(
                    "{}: hidden or replaced after entries of the same layer followed a symbolic \
                     link there: these entries are not moved",
                    shown(name)
                )
            });
        }
    }
}

/// Warns that a layer has two entries of the same name, which the OCI specification forbids.
fn warn_duplicate(name: &[u8]) {
    notice::warn("duplicate", || {
        format!("{}: appears twice in a layer: the last one is used", shown(name))
    });
}
