// SPDX-License-Identifier: Apache-2.0
//! Finds the holes of a file and returns the segments of data between them.
//!
//! A file is packed as a sparse file only if the file system reports a hole in it. The positions of
//! the holes depend on the content alone: each aligned [`GRAIN`] of zeros is a hole, whatever the
//! file system's block size. Not here: how an archive stores segments.

use std::os::fd::OwnedFd;

use archive::Segment;
use common::error::Result;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::content::read_error;
use crate::tree::changed;

/// The size of the smallest hole, in bytes.
const GRAIN: u64 = 64 << 10;

/// The largest number of segments, because tar readers limit the size of the map. For a file with
/// more segments the grain is doubled until the segments are few enough.
const MAX_SEGMENTS: usize = 8192;

/// The segments of a file, in order; `None` if it has no holes.
pub(super) fn segments(fd: &OwnedFd, size: u64) -> Result<Option<Vec<Segment>>> {
    match rustix::fs::seek(fd, SeekFrom::Hole(0)) {
        Ok(hole) if hole < size => {}
        // The file has no holes, or the file system does not report them.
        Ok(_) | Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => return rewind(fd),
        Err(cause) => return Err(read_error(cause)),
    }
    let mut found = Segments { segments: Vec::new(), grain: GRAIN, size };
    let mut buffer = vec![0; GRAIN as usize];
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
            Ok(data) => (data - data % GRAIN).max(at),
            Err(Errno::NXIO) => break,
            Err(cause) => return Err(read_error(cause)),
        };
        let hole = rustix::fs::seek(fd, SeekFrom::Hole(data.max(at))).map_err(read_error)?;
        // If the data begins inside a grain, `data` was rounded down into the hole before it, and
        // SEEK_HOLE returns `data` itself. At least this one grain is examined.
        let end = hole.max(data + 1).next_multiple_of(GRAIN).min(size);
        at = data;
        while at < end {
            let length = GRAIN.min(size - at);
            let bytes = &mut buffer[..length as usize];
            read_exact(fd, bytes, at)?;
            if bytes.iter().any(|byte| *byte != 0) {
                found.push(at, length);
            }
            at += length;
        }
    }
    let segments = found.segments;
    let stored: u64 = segments.iter().map(|segment| segment.length).sum();
    if stored == size { rewind(fd) } else { Ok(Some(segments)) }
}

fn read_exact(fd: &OwnedFd, bytes: &mut [u8], at: u64) -> Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::io::pread(fd, &mut bytes[filled..], at + filled as u64) {
            Ok(0) => return Err(changed()),
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(cause) => return Err(read_error(cause)),
        }
    }
    Ok(())
}

/// Sets the file's offset back to 0, since the search for holes moves it.
fn rewind(fd: &OwnedFd) -> Result<Option<Vec<Segment>>> {
    rustix::fs::seek(fd, SeekFrom::Start(0)).map_err(read_error)?;
    Ok(None)
}

/// The segments found so far.
struct Segments {
    segments: Vec<Segment>,
    grain: u64,
    size: u64,
}

impl Segments {
    fn push(&mut self, offset: u64, length: u64) {
        let offset = offset - offset % self.grain;
        let end = (offset + length).next_multiple_of(self.grain).min(self.size);
        match self.segments.last_mut() {
            Some(last) if last.offset + last.length >= offset => {
                last.length = last.length.max(end - last.offset);
            }
            _ => self.segments.push(Segment { offset, length: end - offset }),
        }
        while self.segments.len() > MAX_SEGMENTS {
            self.grain *= 2;
            for segment in std::mem::take(&mut self.segments) {
                // Only the last of these calls can exceed the limit again. Each recursive call
                // doubles the grain, so the recursion is not deep.
                self.push(segment.offset, segment.length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_segments_make_coarser_grains() {
        let count = MAX_SEGMENTS as u64;
        let size = 4 * count * GRAIN + 1;
        let mut found = Segments { segments: Vec::new(), grain: GRAIN, size };
        for i in 0..count {
            found.push(2 * i * GRAIN, GRAIN);
        }
        assert_eq!((found.segments.len(), found.grain), (MAX_SEGMENTS, GRAIN));
        found.push(2 * count * GRAIN, GRAIN);
        assert_eq!((found.segments.len(), found.grain), (1, 2 * GRAIN));
        found.push(4 * count * GRAIN, 1);
        assert_eq!(found.segments.last().copied(), Some(Segment { offset: size - 1, length: 1 }));
    }
}
