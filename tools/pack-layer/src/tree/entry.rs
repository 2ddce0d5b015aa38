// SPDX-License-Identifier: Apache-2.0
//! One thing in a tree, as it is opened and looked at: everything that an archive says of it.
//!
//! What has content is opened first and looked at through its descriptor, so that what is said and what
//! is read are of the same file, and no link that takes its place meanwhile is followed.

use std::os::fd::{AsRawFd, OwnedFd};

use common::error::{Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::listing::Name;
use super::xattrs;
use crate::rules::Rules;

/// How regular files and directories are opened. A fifo in the place of a file does not block.
const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// What a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Regular,
    Directory,
    Symlink,
    Fifo,
    CharacterDevice,
    BlockDevice,
    /// Archives have none.
    Socket,
}

/// A file's identity on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

/// One thing, as it is to be packed.
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) inode: Inode,
    pub(crate) links: u64,
    /// The permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Of a regular file; else 0.
    pub(crate) size: u64,
    /// The bytes that the file system has of it.
    pub(crate) allocated: u64,
    pub(crate) mtime: i64,
    /// As the file system has it, to see a change.
    pub(crate) own_mtime: (i64, i64),
    /// Major and minor number of a device; else 0.
    pub(crate) device: (u32, u32),
    /// Where a symbolic link leads.
    pub(crate) target: Vec<u8>,
    /// Sorted by name.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// A regular file or a directory, open.
    pub(crate) fd: Option<OwnedFd>,
}

impl Entry {
    /// Opens what stands under a name in a directory.
    ///
    /// # Errors
    /// Content when it is not there any more, or something else by now; local trouble.
    pub(super) fn open(dir: &OwnedFd, name: &Name<'_>, rules: &Rules) -> Result<Entry> {
        let wanted = match (name.is_regular, name.is_directory) {
            (true, _) => Kind::Regular,
            (_, true) => Kind::Directory,
            _ => return Entry::special(dir, name.bytes, rules),
        };
        let fd = rustix::fs::openat(dir, name.bytes, OPEN, Mode::empty()).map_err(trouble)?;
        Entry::of_open(fd, wanted, rules)
    }

    /// Looks at what is not opened: it would do something, or lead elsewhere.
    fn special(dir: &OwnedFd, name: &[u8], rules: &Rules) -> Result<Entry> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(trouble)?;
        let kind = kind(&stat)?;
        if matches!(kind, Kind::Regular | Kind::Directory) {
            return Err(changed());
        }
        let mut entry = Entry::of(&stat, kind, None, rules);
        if kind == Kind::Symlink {
            let target = rustix::fs::readlinkat(dir, name, Vec::new()).map_err(trouble)?;
            entry.target = target.into_bytes();
        }
        let path = [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name].concat();
        entry.xattrs = xattrs::of_path(&path)?;
        Ok(entry)
    }

    /// Looks at an open regular file or directory.
    pub(super) fn of_open(fd: OwnedFd, wanted: Kind, rules: &Rules) -> Result<Entry> {
        let stat = rustix::fs::fstat(&fd).map_err(trouble)?;
        if kind(&stat)? != wanted {
            return Err(changed());
        }
        let xattrs = xattrs::of_open(&fd)?;
        Ok(Entry { xattrs, ..Entry::of(&stat, wanted, Some(fd), rules) })
    }

    fn of(stat: &Stat, kind: Kind, fd: Option<OwnedFd>, rules: &Rules) -> Entry {
        let (uid, gid) = rules.owner(stat.st_uid, stat.st_gid);
        let is_device = matches!(kind, Kind::CharacterDevice | Kind::BlockDevice);
        let number = stat.st_rdev;
        Entry {
            kind,
            inode: inode(stat),
            links: stat.st_nlink,
            // A symbolic link's mode says nothing; all systems but this one show 0777 too.
            mode: if kind == Kind::Symlink { 0o777 } else { stat.st_mode & 0o7777 },
            uid,
            gid,
            size: if kind == Kind::Regular { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
            allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
            mtime: rules.time(stat.st_mtime),
            own_mtime: own_mtime(stat),
            device: match is_device {
                true => (rustix::fs::major(number), rustix::fs::minor(number)),
                false => (0, 0),
            },
            target: Vec::new(),
            xattrs: Vec::new(),
            fd,
        }
    }

    /// An error when the open file is not as it was when it was opened.
    pub(crate) fn check_unchanged(&self, fd: &OwnedFd) -> Result<()> {
        let stat = rustix::fs::fstat(fd).map_err(trouble)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if (size, own_mtime(&stat)) == (self.size, self.own_mtime) {
            return Ok(());
        }
        Err(match size == self.size {
            true => changed(),
            false => changed_from(self.size, size),
        })
    }
}

fn own_mtime(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

/// A file's identity.
pub(crate) fn inode(stat: &Stat) -> Inode {
    Inode { device: stat.st_dev, number: stat.st_ino }
}

fn kind(stat: &Stat) -> Result<Kind> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Kind::Regular),
        FileType::Directory => Ok(Kind::Directory),
        FileType::Symlink => Ok(Kind::Symlink),
        FileType::Fifo => Ok(Kind::Fifo),
        FileType::CharacterDevice => Ok(Kind::CharacterDevice),
        FileType::BlockDevice => Ok(Kind::BlockDevice),
        FileType::Socket => Ok(Kind::Socket),
        FileType::Unknown => Err(Error::malformed("a file of an unknown type")),
    }
}

/// The file was not left alone.
pub(crate) fn changed() -> Error {
    Error::content("changed while it was read")
}

/// The file got another size.
pub(crate) fn changed_from(want: u64, got: u64) -> Error {
    Error::content(format_args!("changed while it was read: got {got} bytes, want {want}"))
}

/// A failed system call on something that was there a moment ago.
pub(super) fn trouble(cause: Errno) -> Error {
    match cause {
        Errno::NOENT => Error::content("vanished while the tree was read"),
        Errno::LOOP | Errno::NOTDIR => changed(),
        _ => {
            let words = common::error::os_words(&cause.into());
            Error::new(common::error::Status::Local, words)
        }
    }
}
