// SPDX-License-Identifier: Apache-2.0
//! An open directory of the tree, and the times that it is to be left with.
//!
//! Every change to a directory's content sets its modification time. So the times are remembered
//! when a directory is entered (those of its entry, or those it had), and put back when it is left
//! if anything was changed: no list of directories is kept for the end, and each has the right
//! times whenever it is not being worked in.

use std::os::fd::{AsFd, OwnedFd};

use common::error::{Error, Result};
use common::notice;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::upper::Inode;
use archive::{Entry, Time};

/// How directories are opened: for real, since owner, modes and attributes are set through the
/// descriptor.
pub(super) const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The permission bits that it takes to work in one's own directory.
pub(super) const WORKABLE: u32 = 0o700;

/// An open directory.
pub(super) struct Directory {
    pub(super) fd: OwnedFd,
    pub(super) inode: Inode,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    /// The times to leave it with.
    pub(super) times: Timestamps,
    /// Whether its times are not those.
    pub(super) dirty: bool,
    /// Whether it hides all lower layers, for an overlay file system.
    pub(super) opaque: bool,
}

impl Directory {
    /// A directory as it is now.
    pub(super) fn new(fd: OwnedFd) -> rustix::io::Result<Directory> {
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Directory {
            fd,
            inode: inode(&stat),
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            times: Timestamps {
                last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ },
                last_modification: Timespec {
                    tv_sec: stat.st_mtime as _,
                    tv_nsec: stat.st_mtime_nsec as _,
                },
            },
            dirty: false,
            opaque: false,
        })
    }

    /// Opens a directory by its name in another one; no symbolic link is followed.
    pub(super) fn open(parent: &Directory, name: &[u8]) -> rustix::io::Result<Directory> {
        Directory::new(rustix::fs::openat(&parent.fd, name, OPEN, Mode::empty())?)
    }

    /// The same, but not what is mounted there: `EXDEV`.
    pub(super) fn open_unmounted(parent: &Directory, name: &[u8]) -> rustix::io::Result<Directory> {
        Directory::new(open_unmounted(&parent.fd, name)?)
    }

    /// Leaves it: puts its times back if they changed.
    pub(super) fn leave(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.dirty) {
            return Ok(());
        }
        match rustix::fs::futimens(&self.fd, &self.times) {
            Ok(()) => Ok(()),
            // Somebody else's directory, worked in by permission.
            Err(Errno::PERM | Errno::ACCESS) => {
                notice::warn("directory times", || "a directory's times cannot be kept".to_owned());
                Ok(())
            }
            Err(cause) => Err(Error::local("set a directory's times", &cause.into())),
        }
    }
}

/// Opens a directory of the same file system and mount as the one it is in; `EXDEV` for another.
///
/// A kernel (or a filter of system calls) without openat2 does not see a part of the same file
/// system that is mounted there.
pub(super) fn open_unmounted(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::openat2(&parent, name, OPEN, Mode::empty(), ResolveFlags::NO_XDEV) {
        Err(Errno::NOSYS | Errno::PERM) => {}
        outcome => return outcome,
    }
    let fd = rustix::fs::openat(&parent, name, OPEN, Mode::empty())?;
    if rustix::fs::fstat(&fd)?.st_dev != rustix::fs::fstat(&parent)?.st_dev {
        return Err(Errno::XDEV);
    }
    Ok(fd)
}

/// What a file is known by.
pub(super) fn inode(stat: &Stat) -> Inode {
    (stat.st_dev as _, stat.st_ino as _)
}

/// What stands under a name, without following it.
pub(super) fn stat(directory: &Directory, name: &[u8]) -> rustix::io::Result<Stat> {
    rustix::fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// An entry's times: where it has no access time, that of its modification.
pub(super) fn times(entry: &Entry) -> Timestamps {
    let spec = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps {
        last_access: spec(entry.atime.unwrap_or(entry.mtime)),
        last_modification: spec(entry.mtime),
    }
}

/// The times of a directory that no layer has an entry for: always the same, so that unpacking is
/// reproducible.
pub(super) fn epoch() -> Timestamps {
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    Timestamps { last_access: zero, last_modification: zero }
}

/// A system call's failure about something that an entry named: what only an entry's own words can
/// cause is the layer's fault, the rest is local trouble.
pub(super) fn trouble(what: &str, cause: Errno) -> Error {
    let words = std::io::Error::from(cause);
    match cause {
        Errno::NAMETOOLONG | Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::NOENT => {
            Error::malformed(format_args!("{what}: {}", common::error::os_words(&words)))
        }
        Errno::NOSYS => Error::local(what, &words).hint("/proc must be mounted"),
        Errno::XDEV => Error::local(what, &words).hint("a mount point, and --one-file-system"),
        _ => Error::local(what, &words),
    }
}
