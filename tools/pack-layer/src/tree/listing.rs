// SPDX-License-Identifier: Apache-2.0
//! The names in one directory, sorted as their paths sort in the archive.
//!
//! A directory's name counts with a slash after it, since that is how its path goes on: so the whole archive
//! is sorted bytewise, whatever is in a directory. The names lie in one buffer, so that a directory of a
//! million costs little more than their bytes.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, RawDir};
use rustix::io::Errno;

/// The bytes that one system call may list.
const BUFFER: usize = 32 << 10;

/// Sorted names.
#[derive(Default)]
pub(super) struct Listing {
    /// Names with their terminators: a slash after a directory's, a NUL after others.
    bytes: Vec<u8>,
    /// Where each begins, doubled, and one more for a regular file's.
    starts: Vec<usize>,
}

/// A name and what it was listed as.
pub(super) struct Name<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) is_directory: bool,
    /// Whether it may be opened without a look first.
    pub(super) is_regular: bool,
    /// The name with a slash if it is a directory's.
    key: &'a [u8],
}

impl Listing {
    /// Reads and sorts a directory's names.
    pub(super) fn read(fd: &OwnedFd) -> rustix::io::Result<Listing> {
        let mut listing = Listing::default();
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut dir = RawDir::new(fd, buffer.spare_capacity_mut());
        while let Some(entry) = dir.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not say.
                FileType::Unknown => {
                    match rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                        // Whoever opens it will say so.
                        Err(Errno::NOENT) => FileType::Unknown,
                        Err(cause) => return Err(cause),
                    }
                }
                kind => kind,
            };
            listing.push(name, kind);
        }
        listing.sort();
        Ok(listing)
    }

    fn push(&mut self, name: &[u8], kind: FileType) {
        self.starts.push(self.bytes.len() << 1 | usize::from(kind == FileType::RegularFile));
        self.bytes.extend_from_slice(name);
        self.bytes.push(if kind == FileType::Directory { b'/' } else { 0 });
    }

    fn sort(&mut self) {
        self.bytes.shrink_to_fit();
        let mut starts = std::mem::take(&mut self.starts);
        starts.sort_unstable_by(|a, b| self.name(*a).key.cmp(self.name(*b).key));
        self.starts = starts;
    }

    fn name(&self, start: usize) -> Name<'_> {
        let rest = &self.bytes[start >> 1..];
        let end = rest.iter().position(|byte| matches!(byte, 0 | b'/')).unwrap_or(rest.len());
        let is_directory = rest.get(end) == Some(&b'/');
        let key = &rest[..end + usize::from(is_directory)];
        Name { bytes: &rest[..end], is_directory, is_regular: start & 1 == 1, key }
    }

    /// The name of the given rank.
    pub(super) fn nth(&self, rank: usize) -> Option<Name<'_>> {
        self.starts.get(rank).map(|start| self.name(*start))
    }

    /// A name, whatever it is a name of.
    pub(super) fn find(&self, name: &[u8]) -> Option<Name<'_>> {
        let find =
            |key: &[u8]| self.starts.binary_search_by(|start| self.name(*start).key.cmp(key)).ok();
        // Nothing has a name both ways.
        find(name).or_else(|| find(&[name, b"/"].concat())).and_then(|rank| self.nth(rank))
    }

    /// Whether there is such a name.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.find(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_sort_as_their_paths_do() {
        let mut listing = Listing::default();
        let (file, directory) = (FileType::RegularFile, FileType::Directory);
        for (name, kind) in [
            (&b"a"[..], directory),
            (b"a.b", file),
            (b"a0", file),
            (b"B", directory),
            (b"a-", file),
        ] {
            listing.push(name, kind);
        }
        listing.sort();
        let names: Vec<&[u8]> = (0..5).map(|rank| listing.nth(rank).unwrap().bytes).collect();
        assert_eq!(names, [&b"B"[..], b"a-", b"a.b", b"a", b"a0"]);
        assert!(listing.nth(5).is_none());
        assert!(listing.nth(3).is_some_and(|name| name.is_directory && !name.is_regular));
        assert!(listing.nth(4).is_some_and(|name| name.is_regular));
        for name in [&b"B"[..], b"a-", b"a.b", b"a", b"a0"] {
            assert!(listing.has(name));
        }
        assert!(!listing.has(b"b") && !listing.has(b""));
    }
}
