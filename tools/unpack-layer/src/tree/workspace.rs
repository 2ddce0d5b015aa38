// SPDX-License-Identifier: Apache-2.0
//! The workspace in which entries are applied: the state of the tree, and two walks in it.

use common::error::Result;
use common::notice;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::directory::{self, os_error};
use super::remove::remove;
use super::rules::Whiteouts;
use super::state::TreeState;
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
        let here = self.walk.here();
        let stat = match directory::stat(here, name) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(|e| os_error("stat", e))?,
        };
        let duplicate = self.state.upper.has_entry(here.inode, name);
        if duplicate && !(self.state.rules.whiteouts == Whiteouts::Overlay && stat.st_rdev == 0) {
            warn_duplicate(entry_name);
        }
        here.dirty = true;
        remove(&here.fd, name)?;
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

/// Warns that a layer has two entries of the same name, which the OCI specification forbids.
fn warn_duplicate(name: &[u8]) {
    notice::warn("duplicate", || {
        format!("{}: appears twice in a layer: the last one is used", shown(name))
    });
}
