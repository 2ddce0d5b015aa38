// SPDX-License-Identifier: Apache-2.0
//! The state of a tree that is being unpacked, except its open directories.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use archive::names;
use archive::walk::{Missing, WaitingMarkers};
use common::error::Result;
use rustix::io::Errno;

use super::counts::Counts;
use super::image_archive::ImageFiles;
use super::implied::ImpliedDirectories;
use super::overlay::OpaqueMark;
use super::pending_modes::PendingModes;
use super::remove::remove_error;
use super::rules::{Rules, Whiteouts};
use super::upper::{Inode, Upper};

/// The state of a tree.
pub(super) struct TreeState {
    pub(super) rules: Rules,
    pub(super) counts: Counts,
    /// The files of the current layer.
    pub(super) upper: Upper,
    pub(super) pending_modes: PendingModes,
    /// The files of an image archive that the current layer has in its root directory.
    pub(super) image_files: ImageFiles,
    /// The markers of the current layer that wait for its end.
    pub(super) waiting: WaitingMarkers,
    /// The directories that have no entry in the current layer so far; only with `--whiteouts
    /// overlay`.
    pub(super) implied: ImpliedDirectories,
    pub(super) opaque_mark: OpaqueMark,
    /// Whether the tree existed before the run. Other users may then be able to change it, and file
    /// systems may be mounted in it.
    pub(super) onto: bool,
    /// The mount points at the start of the run, relative to the tree; only with `onto`.
    pub(super) mounts: Vec<PathBuf>,
    /// Whether the tool runs as root, so that permission bits do not matter.
    pub(super) privileged: bool,
    /// Whether new files may inherit access control lists, which must then be removed.
    pub(super) acls: bool,
    /// Whether the next parent directory that is made replaces a whiteout, and must therefore be
    /// opaque.
    pub(super) next_is_opaque: bool,
}

impl TreeState {
    /// The state before the first layer. `over_lower` means that the tree is not empty.
    pub(super) fn new(rules: Rules, over_lower: bool) -> TreeState {
        let privileged = rustix::process::geteuid().is_root();
        TreeState {
            counts: Counts::new(&rules),
            upper: Upper::new(over_lower),
            pending_modes: PendingModes::default(),
            image_files: ImageFiles::default(),
            waiting: WaitingMarkers::default(),
            implied: ImpliedDirectories::default(),
            opaque_mark: OpaqueMark::new(rules.whiteouts, privileged),
            onto: over_lower,
            mounts: Vec::new(),
            privileged,
            acls: over_lower,
            next_is_opaque: false,
            rules,
        }
    }

    /// Begins the next layer.
    pub(super) fn next_layer(&mut self) {
        self.upper.next_layer();
        self.counts.next_layer();
    }

    /// Whether whiteouts are written in the form of an overlay file system.
    pub(super) fn is_overlay(&self) -> bool {
        self.rules.whiteouts == Whiteouts::Overlay
    }

    /// The treatment of missing directories on the path of a whiteout: an overlay file system needs
    /// them, because the whiteout becomes a file.
    pub(super) fn whiteout_parents(&self) -> Missing {
        if self.is_overlay() { Missing::Make } else { Missing::Stop }
    }

    /// Whether a marker whose directories are missing waits for the end of the layer, because their
    /// entries may follow. If there is no memory for more waiting markers, the directories are made
    /// at once.
    pub(super) fn makes_parents_last(&self) -> bool {
        self.is_overlay() && self.waiting.has_room()
    }

    /// Records an entry of the current layer, which was made at this place.
    pub(super) fn add_entry(&mut self, directory: Inode, name: &[u8]) {
        self.upper.add(directory, name);
        if self.is_overlay() {
            self.implied.forget(self.upper.place(directory, name));
        }
    }

    /// Refuses to remove the file with this name if something is mounted there or below it.
    /// `parent` is the path of its directory. The check precedes the removal, so that no file
    /// beside a mount is removed before the mount is found.
    ///
    /// # Errors
    /// Local if there is a mount.
    pub(super) fn refuse_mounts(
        &self,
        parent: impl FnOnce() -> Vec<u8>,
        name: &[u8],
    ) -> Result<()> {
        if self.mounts.is_empty() {
            return Ok(());
        }
        let path = names::join(parent(), name);
        let path = Path::new(OsStr::from_bytes(&path));
        if self.mounts.iter().any(|mount| mount.starts_with(path)) {
            return Err(remove_error(name, Errno::BUSY));
        }
        Ok(())
    }
}
