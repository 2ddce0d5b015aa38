// SPDX-License-Identifier: Apache-2.0
//! A file of any type in a tree, with all metadata that an archive holds.
//!
//! Regular files and directories are opened first, and their metadata is read through the file
//! descriptor. Thus metadata and content belong to the same file. If a symbolic link replaces the
//! file before it is opened, the link is not followed.

use std::os::fd::{AsRawFd, OwnedFd};

use common::error::{Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use super::failure::{changed, changed_from, system_error};
use super::listing::Name;
use super::xattrs;
use crate::rules::Rules;

/// The flags that open regular files and directories. `NONBLOCK` prevents a wait if a fifo has
/// replaced the file.
const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// A file's identity on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

/// A file of any type, with the metadata of its entry.
pub(crate) struct Node {
    pub(crate) file_type: FileType,
    pub(crate) inode: Inode,
    pub(crate) links: u64,
    /// The permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The size of a regular file; 0 for other types.
    pub(crate) size: u64,
    /// The number of bytes that the file system has allocated for the file.
    pub(crate) allocated: u64,
    /// The time of the entry, in seconds since the epoch.
    pub(crate) mtime: i64,
    /// The time of the file in seconds and nanoseconds, to detect a change.
    pub(crate) own_mtime: (i64, i64),
    /// The major and minor number of a device; 0 for other types.
    pub(crate) device: (u32, u32),
    /// The target of a symbolic link; empty for other types.
    pub(crate) target: Vec<u8>,
    /// The extended attributes, sorted by name.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The open regular file or directory.
    pub(crate) fd: Option<OwnedFd>,
}

impl Node {
    /// Opens a file in a directory, by its listed name.
    ///
    /// # Errors
    /// Content if the file was removed, or replaced by one of another type, since the directory was
    /// listed. Local if the file cannot be read.
    pub(super) fn open(dir: &OwnedFd, name: &Name<'_>, rules: &Rules) -> Result<Node> {
        let wanted = if name.is_regular {
            FileType::RegularFile
        } else if name.is_directory {
            FileType::Directory
        } else {
            return Node::special(dir, name.bytes, rules);
        };
        let fd = rustix::fs::openat(dir, name.bytes, OPEN, Mode::empty()).map_err(system_error)?;
        Node::of_open(fd, wanted, rules)
    }

    /// Reads the metadata of a device, fifo, socket or symbolic link without opening it. Opening a
    /// device or a fifo can have side effects, and a symbolic link leads to another file.
    fn special(dir: &OwnedFd, name: &[u8], rules: &Rules) -> Result<Node> {
        let stat =
            rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(system_error)?;
        let file_type = file_type(&stat)?;
        if matches!(file_type, FileType::RegularFile | FileType::Directory) {
            return Err(changed());
        }
        let mut node = Node::of(&stat, file_type, None, rules);
        if file_type == FileType::Symlink {
            let target = rustix::fs::readlinkat(dir, name, Vec::new()).map_err(system_error)?;
            node.target = target.into_bytes();
        }
        let path = [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name].concat();
        node.xattrs = xattrs::of_path(&path)?;
        Ok(node)
    }

    /// Reads the metadata of an open regular file or directory.
    pub(super) fn of_open(fd: OwnedFd, wanted: FileType, rules: &Rules) -> Result<Node> {
        let stat = rustix::fs::fstat(&fd).map_err(system_error)?;
        if file_type(&stat)? != wanted {
            return Err(changed());
        }
        let xattrs = xattrs::of_open(&fd)?;
        Ok(Node { xattrs, ..Node::of(&stat, wanted, Some(fd), rules) })
    }

    fn of(stat: &Stat, file_type: FileType, fd: Option<OwnedFd>, rules: &Rules) -> Node {
        let (uid, gid) = rules.owner(stat.st_uid, stat.st_gid);
        let is_device = matches!(file_type, FileType::CharacterDevice | FileType::BlockDevice);
        let number = stat.st_rdev;
        Node {
            file_type,
            inode: inode(stat),
            // The type of `st_nlink` differs between architectures.
            links: stat.st_nlink as _,
            // The mode of a symbolic link has no effect. A fixed value gives the same bytes on all
            // systems.
            mode: if file_type == FileType::Symlink { 0o777 } else { stat.st_mode & 0o7777 },
            uid,
            gid,
            size: if file_type == FileType::RegularFile {
                u64::try_from(stat.st_size).unwrap_or(0)
            } else {
                0
            },
            allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
            mtime: rules.time(stat.st_mtime),
            own_mtime: own_mtime(stat),
            device: if is_device {
                (rustix::fs::major(number), rustix::fs::minor(number))
            } else {
                (0, 0)
            },
            target: Vec::new(),
            xattrs: Vec::new(),
            fd,
        }
    }

    /// Checks that the size and the time of an open file are still those of this node.
    ///
    /// # Errors
    /// Content if one of them changed. Local if the file's metadata cannot be read.
    pub(crate) fn check_unchanged(&self, fd: &OwnedFd) -> Result<()> {
        let stat = rustix::fs::fstat(fd).map_err(system_error)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if (size, own_mtime(&stat)) == (self.size, self.own_mtime) {
            return Ok(());
        }
        Err(if size == self.size { changed() } else { changed_from(self.size, size) })
    }
}

fn own_mtime(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

/// The identity of a file.
pub(crate) fn inode(stat: &Stat) -> Inode {
    Inode { device: stat.st_dev, number: stat.st_ino }
}

fn file_type(stat: &Stat) -> Result<FileType> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Unknown => Err(Error::malformed("a file of an unknown type")),
        known => Ok(known),
    }
}
