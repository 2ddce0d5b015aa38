// SPDX-License-Identifier: Apache-2.0
//! An open directory of the tree, and its final times.
//!
//! Every change to a directory's content changes its modification time. The right times (those of
//! its entry, or those that it had) are therefore remembered while the directory is open, and set
//! again when it is left after a change. Therefore no list of directories has to be kept until the
//! end of the run.

use std::os::fd::OwnedFd;

use common::error::{Error, Result, Status};
use common::notice;
use rustix::fs::{AtFlags, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::mounts::open_unmounted;
use super::upper::Inode;
use archive::{Entry, Time, shown};

/// The flags with which directories are opened. Not `O_PATH`, because owner, mode and attributes
/// are set through the descriptor.
pub(super) const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The permission bits that a user needs to work in a directory that the user owns.
pub(super) const WORKABLE: u32 = 0o700;

/// An open directory.
pub(super) struct Directory {
    pub(super) fd: OwnedFd,
    pub(super) inode: Inode,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    /// The times to set when the directory is left.
    pub(super) times: Timestamps,
    /// Whether the directory's times differ from `times`.
    pub(super) dirty: bool,
    /// Whether it hides all lower layers in an overlay file system.
    pub(super) opaque: bool,
    /// Whether it is in a file system that is mounted below the root. Always false without
    /// `--onto`.
    pub(super) mounted: bool,
}

impl Directory {
    /// A directory with its current attributes.
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
            mounted: false,
        })
    }

    /// Opens a directory by its name in `parent`. Symbolic links are not followed.
    pub(super) fn open(parent: &Directory, name: &[u8]) -> rustix::io::Result<Directory> {
        Directory::new(rustix::fs::openat(&parent.fd, name, OPEN, Mode::empty())?)
    }

    /// Like `open`, but fails with `EXDEV` if the directory is a mount point.
    pub(super) fn open_unmounted(parent: &Directory, name: &[u8]) -> rustix::io::Result<Directory> {
        Directory::new(open_unmounted(&parent.fd, name)?)
    }

    /// Refuses to remove a file from a mounted file system, because such a file does not belong to
    /// the lower layers.
    ///
    /// # Errors
    /// Local if the directory is mounted.
    pub(super) fn refuse_removal(&self, name: &[u8]) -> Result<()> {
        if !self.mounted {
            return Ok(());
        }
        Err(Error::new(
            Status::Local,
            format_args!(
                "{}: in a mounted file system: --onto removes no files there",
                shown(name)
            ),
        )
        .hint("unmount that file system, or remove the file by other means"))
    }

    /// Leaves the directory: sets its times again if they changed.
    pub(super) fn leave(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.dirty) {
            return Ok(());
        }
        match rustix::fs::futimens(&self.fd, &self.times) {
            Ok(()) => Ok(()),
            // Another user owns the directory; its mode lets this user write.
            Err(Errno::PERM | Errno::ACCESS) => {
                notice::warn("directory times", || "a directory's times cannot be set".to_owned());
                Ok(())
            }
            Err(cause) => Err(Error::local("set a directory's times", &cause.into())),
        }
    }
}

/// The identity of a file.
pub(super) fn inode(stat: &Stat) -> Inode {
    (stat.st_dev as _, stat.st_ino as _)
}

/// The attributes of the file with this name. Symbolic links are not followed.
pub(super) fn stat(directory: &Directory, name: &[u8]) -> rustix::io::Result<Stat> {
    rustix::fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// The times of an entry. Without an access time, the modification time is used for both.
pub(super) fn times(entry: &Entry) -> Timestamps {
    let spec = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps {
        last_access: spec(entry.atime.unwrap_or(entry.mtime)),
        last_modification: spec(entry.mtime),
    }
}

/// The times of a directory without an entry. They are fixed, so that unpacking is reproducible.
pub(super) fn epoch() -> Timestamps {
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    Timestamps { last_access: zero, last_modification: zero }
}

/// The error for a failed system call on a file that an entry names: Malformed if the names in the
/// layer are the cause, else Local.
pub(super) fn os_error(what: &str, cause: Errno) -> Error {
    let words = std::io::Error::from(cause);
    match cause {
        Errno::NAMETOOLONG | Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::NOENT => {
            Error::malformed(format_args!("{what}: {}", common::error::os_message(&words)))
        }
        Errno::NOSYS => Error::local(what, &words).hint("/proc must be mounted"),
        Errno::XDEV => {
            Error::local(what, &words).hint("a mount point, which --one-file-system refuses")
        }
        _ => Error::local(what, &words),
    }
}
