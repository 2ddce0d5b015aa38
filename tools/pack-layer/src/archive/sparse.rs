// SPDX-License-Identifier: Apache-2.0
//! Files with holes, in GNU's form 1.0: the parts that are there, and a map of them in front.
//!
//! Whether a file has holes is what the file system says. Where they are in the archive is decided by the
//! content alone: each aligned [`GRAIN`] of zeros is one, whatever the size of the file system's blocks.

use std::os::fd::OwnedFd;

use common::error::Result;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::content::trouble;
use crate::tree::changed;

/// The least hole.
const GRAIN: u64 = 64 << 10;

/// The most parts: readers have limits for the map. Grains are doubled until a file has fewer.
const MAX_PARTS: usize = 8192;

/// A part of a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// The parts of a file, in order; of a file without holes nothing.
pub(super) fn parts(fd: &OwnedFd, size: u64) -> Result<Option<Vec<Part>>> {
    match rustix::fs::seek(fd, SeekFrom::Hole(0)) {
        Ok(hole) if hole < size => {}
        // Not every file system can tell.
        Ok(_) | Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => return rewind(fd),
        Err(cause) => return Err(trouble(cause)),
    }
    let mut parts = Parts { parts: Vec::new(), grain: GRAIN, size };
    let mut buffer = vec![0; GRAIN as usize];
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
            Ok(data) => (data - data % GRAIN).max(at),
            Err(Errno::NXIO) => break,
            Err(cause) => return Err(trouble(cause)),
        };
        let hole = rustix::fs::seek(fd, SeekFrom::Hole(data.max(at))).map_err(trouble)?;
        // Data may begin within the grain: then the hole found is the one before it.
        let end = hole.max(data + 1).next_multiple_of(GRAIN).min(size);
        at = data;
        while at < end {
            let length = GRAIN.min(size - at);
            let bytes = &mut buffer[..length as usize];
            read_exact(fd, bytes, at)?;
            if bytes.iter().any(|byte| *byte != 0) {
                parts.push(at, length);
            }
            at += length;
        }
    }
    let parts = parts.parts;
    let stored: u64 = parts.iter().map(|part| part.length).sum();
    if stored == size { rewind(fd) } else { Ok(Some(parts)) }
}

fn read_exact(fd: &OwnedFd, bytes: &mut [u8], at: u64) -> Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::io::pread(fd, &mut bytes[filled..], at + filled as u64) {
            Ok(0) => return Err(changed()),
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(cause) => return Err(trouble(cause)),
        }
    }
    Ok(())
}

/// Back to the beginning: looking for holes moves the descriptor.
fn rewind(fd: &OwnedFd) -> Result<Option<Vec<Part>>> {
    rustix::fs::seek(fd, SeekFrom::Start(0)).map_err(trouble)?;
    Ok(None)
}

/// Parts as they are found.
struct Parts {
    parts: Vec<Part>,
    grain: u64,
    size: u64,
}

impl Parts {
    fn push(&mut self, offset: u64, length: u64) {
        let offset = offset - offset % self.grain;
        let end = (offset + length).next_multiple_of(self.grain).min(self.size);
        match self.parts.last_mut() {
            Some(last) if last.offset + last.length >= offset => {
                last.length = last.length.max(end - last.offset);
            }
            _ => self.parts.push(Part { offset, length: end - offset }),
        }
        while self.parts.len() > MAX_PARTS {
            self.grain *= 2;
            for part in std::mem::take(&mut self.parts) {
                // Of fewer parts than before: this does not come here again.
                self.push(part.offset, part.length);
            }
        }
    }
}

/// The map as it stands before the data, filled up to a block. A hole at the end is told by an empty part
/// there, as GNU tar does.
pub(super) fn map(parts: &[Part], size: u64) -> Vec<u8> {
    let is_cut = parts.last().is_none_or(|last| last.offset + last.length < size);
    let end = is_cut.then_some(Part { offset: size, length: 0 });
    let mut map = format!("{}\n", parts.len() + usize::from(is_cut));
    for Part { offset, length } in parts.iter().copied().chain(end) {
        map.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(super::BLOCK), 0);
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_ends_where_the_file_ends() {
        let text = |parts: &[Part], size| {
            let map = map(parts, size);
            assert_eq!(map.len() % 512, 0);
            String::from_utf8(map).unwrap().trim_end_matches('\0').to_owned()
        };
        let part = Part { offset: 65536, length: 10 };
        assert_eq!(text(&[part], 65546), "1\n65536\n10\n");
        assert_eq!(text(&[part], 65547), "2\n65536\n10\n65547\n0\n");
        assert_eq!(text(&[], 7), "1\n7\n0\n");
    }

    #[test]
    fn too_many_parts_make_coarser_grains() {
        let count = MAX_PARTS as u64;
        let size = 4 * count * GRAIN + 1;
        let mut parts = Parts { parts: Vec::new(), grain: GRAIN, size };
        for i in 0..count {
            parts.push(2 * i * GRAIN, GRAIN);
        }
        assert_eq!((parts.parts.len(), parts.grain), (MAX_PARTS, GRAIN));
        parts.push(2 * count * GRAIN, GRAIN);
        assert_eq!((parts.parts.len(), parts.grain), (1, 2 * GRAIN));
        parts.push(4 * count * GRAIN, 1);
        assert_eq!(parts.parts.last().copied(), Some(Part { offset: size - 1, length: 1 }));
    }
}
