// SPDX-License-Identifier: Apache-2.0
//! Reads the content of a regular file directly into the blocks that are compressed.
//!
//! The archive holds exactly as many bytes as the entry's header states. If a file becomes shorter
//! while it is read, the rest would have to be filled with other bytes. If a file changes, its
//! first half may be old and its second half new. Such files never existed, so both cases are
//! errors.

use std::io::Write;
use std::os::fd::OwnedFd;

use archive::Segment;
use common::error::{Error, Result, Status, os_message};
use compress::Compressor;
use rustix::io::Errno;

use crate::destination;
use crate::tree::{Node, changed, changed_from};

/// Appends the complete content of a file. The file's offset must be 0.
pub(super) fn whole<W: Write + Send + 'static>(
    output: &mut Compressor<W>,
    node: &Node,
    fd: &OwnedFd,
) -> Result<()> {
    let size = node.size;
    let mut left = size;
    while left > 0 {
        match read(output, left, |room| rustix::io::read(fd, room))? {
            0 => return Err(changed_from(size, size - left)),
            count => left -= count,
        }
    }
    node.check_unchanged(fd)
}

/// Appends the segments of a sparse file.
pub(super) fn segments<W: Write + Send + 'static>(
    output: &mut Compressor<W>,
    node: &Node,
    fd: &OwnedFd,
    segments: &[Segment],
) -> Result<()> {
    for segment in segments {
        let mut at = segment.offset;
        let end = segment.offset + segment.length;
        while at < end {
            match read(output, end - at, |room| rustix::io::pread(fd, room, at))? {
                0 => return Err(changed()),
                count => at += count,
            }
        }
    }
    node.check_unchanged(fd)
}

/// Reads at most `most` bytes into the output's free space.
fn read<W: Write + Send + 'static>(
    output: &mut Compressor<W>,
    most: u64,
    mut read: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
) -> Result<u64> {
    let room = output.spare().map_err(|cause| destination::write_error(&cause))?;
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(room.len());
    loop {
        match read(&mut room[..most]) {
            Ok(count) => {
                output.advance(count);
                return Ok(count as u64);
            }
            Err(Errno::INTR) => {}
            Err(cause) => return Err(read_error(cause)),
        }
    }
}

/// The error for a file that cannot be read.
pub(super) fn read_error(cause: Errno) -> Error {
    Error::new(Status::Local, os_message(&cause.into()))
}
