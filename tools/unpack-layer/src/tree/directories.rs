// SPDX-License-Identifier: Apache-2.0
//! Directories of the tree: opened, made without an entry, given owner, mode and attributes.
//!
//! A caller other than root must be able to work in the directories of the tree, so a mode that
//! does not allow it is set at the end only.

use std::os::fd::AsFd;

use common::error::Result;
use common::notice;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::directory::{self, Directory, WORKABLE, trouble};
use super::rules::Whiteouts;
use super::state::TreeState;
use super::{attributes, names};
use archive::{Entry, shown};

/// The mode of a directory without an entry.
const IMPLIED_MODE: u32 = 0o755;

impl TreeState {
    /// Opens a directory by its name in another one. If it is the caller's and its mode locks the
    /// caller out, it is unlocked until the end. `path` says where `parent` is.
    pub(super) fn open(
        &mut self,
        parent: &Directory,
        name: &[u8],
        path: impl Fn() -> Vec<u8>,
    ) -> rustix::io::Result<Directory> {
        let open_directory =
            if self.rules.one_file_system { Directory::open_unmounted } else { Directory::open };
        let mut directory = match open_directory(parent, name) {
            Err(Errno::ACCESS) if !self.privileged => {
                let stat = directory::stat(parent, name)?;
                if stat.st_uid != self.rules.owner.caller.0 {
                    return Err(Errno::ACCESS);
                }
                let path = names::join(path(), name);
                self.pending_modes.add(directory::inode(&stat), path, stat.st_mode & 0o7777)?;
                make_workable(parent, name, stat.st_mode)?;
                open_directory(parent, name)?
            }
            other => other?,
        };
        self.unlock(&mut directory, || names::join(path(), name))?;
        self.opaque_mark.read(&mut directory, parent);
        Ok(directory)
    }

    /// Makes a directory of the caller's own fit to work in until the end.
    pub(super) fn unlock(
        &mut self,
        directory: &mut Directory,
        path: impl FnOnce() -> Vec<u8>,
    ) -> rustix::io::Result<()> {
        if self.privileged
            || directory.mode & WORKABLE == WORKABLE
            || directory.uid != self.rules.owner.caller.0
        {
            return Ok(());
        }
        self.pending_modes.add(directory.inode, path(), directory.mode)?;
        directory.mode |= WORKABLE;
        rustix::fs::fchmod(&directory.fd, Mode::from_raw_mode(directory.mode))
    }

    /// Makes a directory that the layer needs but has no entry for: 0755, the superuser's or the
    /// caller's, and of a fixed time.
    pub(super) fn make_implied(&mut self, parent: &Directory, name: &[u8]) -> Result<Directory> {
        self.counts.add_implied()?;
        let opaque = std::mem::take(&mut self.next_is_opaque);
        if self.rules.whiteouts == Whiteouts::Overlay && !opaque && !parent.opaque {
            notice::warn("overlay parent", || {
                let name = shown(name);
                format!("{name}: a directory without an entry: its attributes hide a lower layer's")
            });
        }
        rustix::fs::mkdirat(&parent.fd, name, Mode::from_raw_mode(IMPLIED_MODE))
            .map_err(|e| trouble("make a parent directory", e))?;
        let mut directory = Directory::open(parent, name).map_err(|e| trouble("open", e))?;
        directory.opaque = parent.opaque;
        self.reset_to_implied(&mut directory, false)?;
        if opaque {
            self.opaque_mark.set(&mut directory)?;
        }
        Ok(directory)
    }

    /// Gives a directory the attributes of one without an entry.
    pub(super) fn reset_to_implied(
        &mut self,
        directory: &mut Directory,
        had_attributes: bool,
    ) -> Result<()> {
        let (uid, gid) = self.rules.owner.implied()?;
        self.set_owner_and_mode(directory, uid, gid, IMPLIED_MODE, had_attributes, Vec::new)?;
        directory.times = directory::epoch();
        directory.dirty = true;
        Ok(())
    }

    /// Gives a directory its owner and mode, and takes the extended attributes away that it had
    /// before.
    fn set_owner_and_mode(
        &mut self,
        directory: &mut Directory,
        uid: u32,
        gid: u32,
        mode: u32,
        had_attributes: bool,
        path: impl FnOnce() -> Vec<u8>,
    ) -> Result<()> {
        if (directory.uid, directory.gid) != (uid, gid) {
            attributes::chown(&directory.fd, uid, gid)?;
            (directory.uid, directory.gid) = (uid, gid);
        }
        if had_attributes || self.acls {
            // A directory that hides what is below it in an overlay does so whatever entry it gets.
            attributes::clear(&directory.fd, self.opaque_mark.attribute())?;
        }
        let mut now = mode;
        if !self.privileged {
            self.pending_modes.forget(directory.inode);
            if mode & WORKABLE != WORKABLE {
                now |= WORKABLE;
                self.pending_modes
                    .add(directory.inode, path(), mode)
                    .map_err(|e| trouble("remember a mode", e))?;
            }
        }
        if directory.mode != now || self.acls {
            rustix::fs::fchmod(&directory.fd, Mode::from_raw_mode(now))
                .map_err(|e| trouble("set the mode", e))?;
            directory.mode = now;
        }
        Ok(())
    }

    /// Gives a directory its entry's attributes; its times when it is left.
    pub(super) fn set_attributes(
        &mut self,
        directory: &mut Directory,
        entry: &Entry,
        mode: u32,
        had_attributes: bool,
        path: impl FnOnce() -> Vec<u8>,
    ) -> Result<()> {
        let (uid, gid) = self.rules.owner.of(entry.uid, entry.gid)?;
        self.set_owner_and_mode(directory, uid, gid, mode, had_attributes, path)?;
        if !entry.xattrs.is_empty() {
            attributes::set(&attributes::Target::Open(directory.fd.as_fd()), &entry.xattrs)?;
            self.acls |= entry.xattrs.iter().any(|(name, _)| name == attributes::DEFAULT_ACL);
            if entry.xattrs.iter().any(|(name, _)| name == attributes::ACCESS_ACL) {
                rustix::fs::fchmod(&directory.fd, Mode::from_raw_mode(directory.mode))
                    .map_err(|e| trouble("set the mode", e))?;
            }
        }
        directory.times = directory::times(entry);
        directory.dirty = true;
        Ok(())
    }
}

/// Lets the caller into the caller's own directory, by its descriptor, so that nothing else is
/// changed.
fn make_workable(parent: &Directory, name: &[u8], mode: u32) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&parent.fd, name, flags, Mode::empty())?;
    attributes::chmod(&fd, mode & 0o7777 | WORKABLE)
}
