// SPDX-License-Identifier: Apache-2.0
//! Compares a node with its counterpart in the base tree, by their entries and their contents.
//!
//! Contents are compared byte by byte, unless both names are hard links to one file. An equal size
//! and an equal time in whole seconds do not prove that the contents are equal.

use std::os::fd::OwnedFd;

use common::error::Result;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::failure::{changed, system_error};
use super::node::Node;

/// The number of bytes that are compared at a time.
const PIECE: usize = 128 << 10;

/// Whether two nodes have the same metadata in the archive and the same content.
pub(crate) fn is_same(here: &Node, base: &Node) -> Result<bool> {
    let metadata = |node: &Node| {
        (node.file_type, node.mode, node.uid, node.gid, node.size, node.mtime, node.device)
    };
    if metadata(here) != metadata(base) || here.target != base.target || here.xattrs != base.xattrs
    {
        return Ok(false);
    }
    match (here.file_type, &here.fd, &base.fd) {
        (FileType::RegularFile, ..) if here.inode == base.inode => Ok(true),
        (FileType::RegularFile, Some(one), Some(other)) => has_same_content(here.size, one, other),
        (FileType::RegularFile, ..) => Err(changed()),
        _ => Ok(true),
    }
}

fn has_same_content(size: u64, one: &OwnedFd, other: &OwnedFd) -> Result<bool> {
    let [mut a, mut b] = [vec![0; PIECE], vec![0; PIECE]];
    let mut at = 0;
    while at < size {
        let count = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
        read(one, &mut a[..count], at)?;
        read(other, &mut b[..count], at)?;
        if a[..count] != b[..count] {
            return Ok(false);
        }
        at += count as u64;
    }
    Ok(true)
}

/// Fills the buffer from the offset `at` of a file.
fn read(fd: &OwnedFd, buffer: &mut [u8], at: u64) -> Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::pread(fd, &mut buffer[filled..], at + filled as u64) {
            Ok(0) => return Err(changed()),
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(cause) => return Err(system_error(cause)),
        }
    }
    Ok(())
}
