// SPDX-License-Identifier: Apache-2.0
//! The names in one directory, sorted as their paths sort in the archive.
//!
//! A directory's name is sorted with a slash at its end, since the paths of its files continue with
//! a slash. Thus the complete archive is sorted bytewise. All names are in one buffer, so a
//! directory with a million names needs little more memory than the bytes of the names.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, RawDir};
use rustix::io::Errno;

/// The buffer size of one system call, in bytes.
const BUFFER: usize = 32 << 10;

/// The sorted names of a directory.
#[derive(Default)]
pub(super) struct Listing {
    /// The names, each with a terminator: a slash for a directory, a NUL for other files.
    bytes: Vec<u8>,
    /// The offset of each name, times 2, plus 1 if the name is that of a regular file.
    starts: Vec<usize>,
}

/// A name and the file type that the directory listed for it.
pub(super) struct Name<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) is_directory: bool,
    /// Whether the file is a regular file, which can be opened without a stat(2) before.
    pub(super) is_regular: bool,
    /// The sort key: the name, with a slash at its end if the file is a directory.
    key: &'a [u8],
}

impl Listing {
    /// Reads and sorts the names of a directory.
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
                // Some file systems do not list the file type.
                FileType::Unknown => {
                    match rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                        // The file was removed. Opening it reports that.
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

    /// The name at the given position of the sorted list.
    pub(super) fn nth(&self, rank: usize) -> Option<Name<'_>> {
        self.starts.get(rank).map(|start| self.name(*start))
    }

    /// Finds a name of a file of any type.
    pub(super) fn find(&self, name: &[u8]) -> Option<Name<'_>> {
        let find =
            |key: &[u8]| self.starts.binary_search_by(|start| self.name(*start).key.cmp(key)).ok();
        // A name is listed once, either as a directory or as another file.
        find(name).or_else(|| find(&[name, b"/"].concat())).and_then(|rank| self.nth(rank))
    }

    /// Whether the directory has the name.
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
        let file = FileType::RegularFile;
        let directory = FileType::Directory;
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
