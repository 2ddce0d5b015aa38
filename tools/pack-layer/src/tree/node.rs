// SPDX-License-Identifier: Apache-2.0
//! A file of any type in a tree, opened, with all its metadata that an archive holds.
//!
//! Regular files and directories are opened first and examined through their descriptor. So
//! metadata and content are of the same file, and a link that takes its place meanwhile is not
//! followed.

use std::os::fd::{AsRawFd, OwnedFd};

use common::error::{Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use super::failure::{changed, changed_from, trouble};
use super::listing::Name;
use super::xattrs;
use crate::rules::Rules;

/// How regular files and directories are opened. A fifo in the place of a file does not block.
const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// A file's identity on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

/// A file of any type, as it is to be packed.
pub(crate) struct Node {
    pub(crate) file_type: FileType,
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

impl Node {
    /// Opens what stands under a name in a directory.
    ///
    /// # Errors
    /// Content when it is not there any more, or something else by now; local trouble.
    pub(super) fn open(dir: &OwnedFd, name: &Name<'_>, rules: &Rules) -> Result<Node> {
        let wanted = match (name.is_regular, name.is_directory) {
            (true, _) => FileType::RegularFile,
            (_, true) => FileType::Directory,
            _ => return Node::special(dir, name.bytes, rules),
        };
        let fd = rustix::fs::openat(dir, name.bytes, OPEN, Mode::empty()).map_err(trouble)?;
        Node::of_open(fd, wanted, rules)
    }

    /// Looks at what is not opened: it would do something, or lead elsewhere.
    fn special(dir: &OwnedFd, name: &[u8], rules: &Rules) -> Result<Node> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(trouble)?;
        let file_type = file_type(&stat)?;
        if matches!(file_type, FileType::RegularFile | FileType::Directory) {
            return Err(changed());
        }
        let mut node = Node::of(&stat, file_type, None, rules);
        if file_type == FileType::Symlink {
            let target = rustix::fs::readlinkat(dir, name, Vec::new()).map_err(trouble)?;
            node.target = target.into_bytes();
        }
        let path = [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name].concat();
        node.xattrs = xattrs::of_path(&path)?;
        Ok(node)
    }

    /// Looks at an open regular file or directory.
    pub(super) fn of_open(fd: OwnedFd, wanted: FileType, rules: &Rules) -> Result<Node> {
        let stat = rustix::fs::fstat(&fd).map_err(trouble)?;
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
            // Its type differs between architectures.
            links: stat.st_nlink as _,
            // A symbolic link's mode says nothing; all systems but this one show 0777 too.
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

fn file_type(stat: &Stat) -> Result<FileType> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Unknown => Err(Error::malformed("a file of an unknown type")),
        known => Ok(known),
    }
}
