// SPDX-License-Identifier: Apache-2.0
//! Opens directories of the tree, makes parents that have no entry, and sets owner, mode and
//! attributes.
//!
//! A user other than root needs access to the directories of the tree until the end of the run. A
//! mode that denies this access is therefore set at the end.

use std::os::fd::AsFd;

use archive::names;
use common::error::Result;
use common::notice;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::attributes;
use super::directory::{self, Directory, WORKABLE, os_error};
use super::state::TreeState;
use archive::{Entry, shown};

/// The mode of a directory without an entry.
const IMPLIED_MODE: u32 = 0o755;

impl TreeState {
    /// Opens a directory by its name in `parent`. If the user owns it but its mode denies access,
    /// the mode is changed until the end of the run. `path` is the path of `parent`.
    pub(super) fn open(
        &mut self,
        parent: &Directory,
        name: &[u8],
        path: impl Fn() -> Vec<u8>,
    ) -> rustix::io::Result<Directory> {
        let mut directory = match self.open_directory(parent, name) {
            Err(Errno::ACCESS) if !self.privileged => {
                let stat = directory::stat(parent, name)?;
                if stat.st_uid != self.rules.owner.caller.0 {
                    return Err(Errno::ACCESS);
                }
                let path = names::join(path(), name);
                self.pending_modes.add(directory::inode(&stat), path, stat.st_mode & 0o7777)?;
                make_workable(parent, name, stat.st_mode)?;
                self.open_directory(parent, name)?
            }
            other => other?,
        };
        self.unlock(&mut directory, || names::join(path(), name))?;
        self.opaque_mark.read(&mut directory, parent);
        Ok(directory)
    }

    fn open_directory(&self, parent: &Directory, name: &[u8]) -> rustix::io::Result<Directory> {
        if !self.onto || parent.mounted {
            let directory = Directory::open(parent, name)?;
            return Ok(Directory { mounted: parent.mounted, ..directory });
        }
        match Directory::open_unmounted(parent, name) {
            Err(Errno::XDEV) if !self.rules.one_file_system => {
                Ok(Directory { mounted: true, ..Directory::open(parent, name)? })
            }
            other => other,
        }
    }

    /// Makes a directory that the user owns accessible until the end of the run.
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

    /// Makes a parent directory without an entry: mode 0755, owned by root or by the user, with a
    /// fixed time.
    ///
    /// `path` is the path of `parent`.
    pub(super) fn make_implied(
        &mut self,
        parent: &Directory,
        name: &[u8],
        path: impl Fn() -> Vec<u8>,
    ) -> Result<Directory> {
        self.counts.add_implied()?;
        let opaque = std::mem::take(&mut self.next_is_opaque);
        if self.is_overlay() && !opaque && !parent.opaque {
            let place = self.upper.place(parent.inode, name);
            let path = names::join(path(), name);
            if !self.implied.add(place, path) {
                warn_implied(name);
            }
        }
        rustix::fs::mkdirat(&parent.fd, name, Mode::from_raw_mode(IMPLIED_MODE))
            .map_err(|e| os_error("make a parent directory", e))?;
        let mut directory = Directory::open(parent, name).map_err(|e| os_error("open", e))?;
        directory.opaque = parent.opaque;
        directory.mounted = parent.mounted;
        self.reset_to_implied(&mut directory, false)?;
        if opaque {
            self.opaque_mark.set(&mut directory)?;
        }
        Ok(directory)
    }

    /// Sets the attributes that a directory without an entry has.
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

    /// Sets the owner and mode of a directory, and removes the extended attributes that it had.
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
            // The opaque mark is kept: a directory stays opaque if it gets a new entry.
            attributes::clear(&directory.fd, self.opaque_mark.attribute())?;
        }
        let mut now = mode;
        if !self.privileged {
            self.pending_modes.forget(directory.inode);
            if mode & WORKABLE != WORKABLE {
                now |= WORKABLE;
                self.pending_modes
                    .add(directory.inode, path(), mode)
                    .map_err(|e| os_error("remember a mode", e))?;
            }
        }
        if directory.mode != now || self.acls {
            rustix::fs::fchmod(&directory.fd, Mode::from_raw_mode(now))
                .map_err(|e| os_error("set the mode", e))?;
            directory.mode = now;
        }
        Ok(())
    }

    /// Sets the attributes of an entry on a directory. [`Directory::leave`] sets the times.
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
                    .map_err(|e| os_error("set the mode", e))?;
            }
        }
        directory.times = directory::times(entry);
        directory.dirty = true;
        Ok(())
    }
}

/// Warns of a directory that has no entry in its layer, with `--whiteouts overlay`.
pub(super) fn warn_implied(path: &[u8]) {
    notice::warn("overlay parent", || {
        let path = shown(path);
        format!("{path}: a directory without an entry: its attributes hide those of lower layers")
    });
}

/// Gives the user access to a directory that the user owns. Uses a descriptor, so that a symbolic
/// link is never followed.
fn make_workable(parent: &Directory, name: &[u8], mode: u32) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&parent.fd, name, flags, Mode::empty())?;
    attributes::chmod(&fd, mode & 0o7777 | WORKABLE)
}
