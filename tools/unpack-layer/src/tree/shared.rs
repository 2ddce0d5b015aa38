// SPDX-License-Identifier: Apache-2.0
//! What all parts of the unpacking share: the rules of the run, and what is counted and remembered.

use std::collections::HashMap;

use common::error::{Error, Result};
use common::notice;
use rustix::fs::{Mode, XattrFlags};
use rustix::io::Errno;

use super::directory::{self, Directory, WORKABLE, trouble};
use super::owner::Owner;
use super::upper::{Inode, Upper};

/// The mode of a directory that no entry speaks of.
const IMPLIED_MODE: u32 = 0o755;

/// The most bytes of paths that are kept for directories whose modes lock the caller out.
const MAX_LOCKED_BYTES: usize = 16 << 20;

/// What becomes of whiteouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whiteouts {
    /// They hide what lower layers have put into the tree.
    Apply,
    /// They are also written in an overlay file system's own form.
    Overlay,
    /// They are kept as the files they are in the archive.
    Keep,
}

/// The rules of the run.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// What becomes of whiteouts.
    pub(crate) whiteouts: Whiteouts,
    /// Whom files belong to.
    pub(crate) owner: Owner,
    /// Whether devices are left out.
    pub(crate) skip_devices: bool,
    /// Whether what is worth a warning is refused.
    pub(crate) strict: bool,
    /// Whether a link to a directory stays where a layer has a directory.
    pub(crate) keep_dirlinks: bool,
    /// Whether mount points are not entered.
    pub(crate) one_file_system: bool,
    /// The most bytes of files, all layers together, holes included.
    pub(crate) max_size: Option<u64>,
    /// The most entries of one layer, and the most directories that it may need without an entry.
    pub(crate) max_entries: u64,
}

/// A directory whose mode is set at the end, since until then the caller has to work in it.
struct Locked {
    path: Vec<u8>,
    mode: u32,
}

/// What all parts share.
pub(super) struct Shared {
    pub(super) rules: Rules,
    pub(super) upper: Upper,
    /// Whether no permission bits hold the caller back.
    pub(super) privileged: bool,
    /// Whether access control lists may be inherited, so that they must be removed from what is made.
    pub(super) acls: bool,
    /// The next directory that is made takes a whiteout's place.
    pub(super) next_is_opaque: bool,
    entries: u64,
    implied: u64,
    bytes: u64,
    locked: HashMap<Inode, Locked>,
    locked_bytes: usize,
}

impl Shared {
    pub(super) fn new(rules: Rules, over_lower: bool) -> Shared {
        Shared {
            rules,
            upper: Upper::new(over_lower),
            privileged: rustix::process::geteuid().is_root(),
            acls: over_lower,
            next_is_opaque: false,
            entries: 0,
            implied: 0,
            bytes: 0,
            locked: HashMap::new(),
            locked_bytes: 0,
        }
    }

    /// The next layer begins, over what there is.
    pub(super) fn next_layer(&mut self) {
        self.upper.next_layer();
        self.entries = 0;
        self.implied = 0;
    }

    /// Counts an entry of the layer at hand.
    pub(super) fn count_entry(&mut self) -> Result<()> {
        self.entries += 1;
        self.check_count(self.entries, "entries")
    }

    /// Counts a directory that the layer at hand has no entry for.
    fn count_implied(&mut self) -> Result<()> {
        self.implied += 1;
        self.check_count(self.implied, "directories without an entry")
    }

    fn check_count(&self, count: u64, what: &str) -> Result<()> {
        let limit = self.rules.max_entries;
        if count > limit {
            return Err(Error::malformed(format_args!("more than {limit} {what} (--max-entries)")));
        }
        Ok(())
    }

    /// Counts a file's bytes.
    pub(super) fn count_bytes(&mut self, bytes: u64) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        match self.rules.max_size {
            Some(limit) if self.bytes > limit => {
                Err(Error::malformed(format_args!("more than {limit} bytes of files (--max-size)")))
            }
            _ => Ok(()),
        }
    }

    /// The attribute that makes a directory opaque to an overlay file system, if such marks are wanted.
    pub(super) fn opaque_name(&self) -> Option<&'static str> {
        match (self.rules.whiteouts, self.privileged) {
            (Whiteouts::Overlay, true) => Some("trusted.overlay.opaque"),
            (Whiteouts::Overlay, false) => Some("user.overlay.opaque"),
            _ => None,
        }
    }

    /// Opens a directory by its name in another one. One of the caller's own whose mode locks him out is
    /// unlocked until the end; `path` says where `parent` is.
    pub(super) fn open(
        &mut self,
        parent: &Directory,
        name: &[u8],
        path: impl Fn() -> Vec<u8>,
    ) -> rustix::io::Result<Directory> {
        let open_directory = match self.rules.one_file_system {
            true => Directory::open_unmounted,
            false => Directory::open,
        };
        let mut directory = match open_directory(parent, name) {
            Err(Errno::ACCESS) if !self.privileged => {
                let stat = directory::stat(parent, name)?;
                if stat.st_uid != self.rules.owner.caller.0 {
                    return Err(Errno::ACCESS);
                }
                self.lock(directory::inode(&stat), join(path(), name), stat.st_mode & 0o7777)?;
                make_workable(parent, name, stat.st_mode)?;
                open_directory(parent, name)?
            }
            other => other?,
        };
        self.unlock(&mut directory, || join(path(), name))?;
        if let Some(opaque) = self.opaque_name() {
            let mut value = [0u8; 8];
            let read = rustix::fs::fgetxattr(&directory.fd, opaque, &mut value[..]);
            directory.opaque = parent.opaque || (read == Ok(1) && value[0] == b'y');
        }
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
        self.lock(directory.inode, path(), directory.mode)?;
        directory.mode |= WORKABLE;
        rustix::fs::fchmod(&directory.fd, Mode::from_raw_mode(directory.mode))
    }

    /// Remembers the mode that a directory is to have at the end.
    pub(super) fn lock(
        &mut self,
        inode: Inode,
        path: Vec<u8>,
        mode: u32,
    ) -> rustix::io::Result<()> {
        self.locked_bytes += path.len() + size_of::<(Inode, Locked)>();
        if self.locked_bytes > MAX_LOCKED_BYTES {
            return Err(Errno::NOMEM);
        }
        self.locked.insert(inode, Locked { path, mode });
        Ok(())
    }

    /// Forgets it: the directory has another mode now.
    pub(super) fn forget_lock(&mut self, inode: Inode) {
        self.locked.remove(&inode);
    }

    /// The directories whose modes are still to be set, deepest first.
    pub(super) fn take_locked(&mut self) -> Vec<(Inode, Vec<u8>, u32)> {
        let mut all: Vec<_> = std::mem::take(&mut self.locked)
            .into_iter()
            .map(|(inode, locked)| (inode, locked.path, locked.mode))
            .collect();
        let depth = |path: &[u8]| match path {
            [] => 0,
            _ => 1 + path.iter().filter(|byte| **byte == b'/').count(),
        };
        all.sort_by(|a, b| depth(&b.1).cmp(&depth(&a.1)).then_with(|| a.1.cmp(&b.1)));
        all
    }

    /// Makes a directory that the layer needs but has no entry for: 0755, the superuser's or the caller's,
    /// and of a fixed time.
    pub(super) fn make_implied(&mut self, parent: &Directory, name: &[u8]) -> Result<Directory> {
        self.count_implied()?;
        let opaque = std::mem::take(&mut self.next_is_opaque);
        if self.rules.whiteouts == Whiteouts::Overlay && !opaque && !parent.opaque {
            notice::warn("overlay parent", || {
                let name = crate::reader::shown(name);
                format!("{name}: a directory without an entry: its attributes hide a lower layer's")
            });
        }
        rustix::fs::mkdirat(&parent.fd, name, Mode::from_raw_mode(IMPLIED_MODE))
            .map_err(|e| trouble("make a parent directory", e))?;
        let mut directory = Directory::open(parent, name).map_err(|e| trouble("open", e))?;
        directory.opaque = parent.opaque;
        self.reset_to_implied(&mut directory, false)?;
        if opaque {
            self.make_opaque(&mut directory)?;
        }
        Ok(directory)
    }

    /// Gives a directory what one has that no entry speaks of.
    pub(super) fn reset_to_implied(
        &mut self,
        directory: &mut Directory,
        had_attributes: bool,
    ) -> Result<()> {
        let (uid, gid) = self.rules.owner.implied()?;
        self.set_directory(directory, uid, gid, IMPLIED_MODE, had_attributes, Vec::new)?;
        directory.times = directory::epoch();
        directory.dirty = true;
        Ok(())
    }

    /// Gives a directory its owner and mode, and takes the extended attributes away that it had before.
    pub(super) fn set_directory(
        &mut self,
        directory: &mut Directory,
        uid: u32,
        gid: u32,
        mode: u32,
        had_attributes: bool,
        path: impl FnOnce() -> Vec<u8>,
    ) -> Result<()> {
        if (directory.uid, directory.gid) != (uid, gid) {
            super::attributes::chown(&directory.fd, uid, gid)?;
            (directory.uid, directory.gid) = (uid, gid);
        }
        if had_attributes || self.acls {
            // A directory that hides what is below it in an overlay does so whatever entry it gets.
            super::attributes::clear(&directory.fd, self.opaque_name())?;
        }
        let mut now = mode;
        if !self.privileged {
            self.forget_lock(directory.inode);
            if mode & WORKABLE != WORKABLE {
                now |= WORKABLE;
                self.lock(directory.inode, path(), mode)
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

    /// Marks a directory as hiding everything below it in an overlay.
    pub(super) fn make_opaque(&mut self, directory: &mut Directory) -> Result<()> {
        let Some(name) = self.opaque_name() else { return Ok(()) };
        rustix::fs::fsetxattr(&directory.fd, name, b"y", XattrFlags::empty()).map_err(|e| {
            Error::local(format_args!("mark a directory as opaque ({name})"), &e.into())
        })?;
        directory.opaque = true;
        Ok(())
    }

    /// Warns that an entry came twice, which layers must not have.
    pub(super) fn warn_duplicate(&self, name: &[u8]) {
        notice::warn("duplicate", || {
            format!("{}: comes twice in a layer, the last one holds", crate::reader::shown(name))
        });
    }
}

/// Lets the caller into a directory of his own. Through its descriptor, so that nothing else is hit.
pub(super) fn make_workable(parent: &Directory, name: &[u8], mode: u32) -> rustix::io::Result<()> {
    use rustix::fs::OFlags;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&parent.fd, name, flags, Mode::empty())?;
    super::attributes::chmod(&fd, mode & 0o7777 | WORKABLE)
}

/// The clean name of what is called `name` in the directory of the clean name `path`.
pub(super) fn join(mut path: Vec<u8>, name: &[u8]) -> Vec<u8> {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
