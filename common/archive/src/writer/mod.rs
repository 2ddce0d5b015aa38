// SPDX-License-Identifier: Apache-2.0
//! Writes the headers of an entry: a ustar header, and an extended header before it if ustar alone
//! cannot express the entry.
//!
//! The same entry always gives the same bytes: names of users and groups are left out, times are
//! whole seconds, and the bytes do not depend on the machine or the run.
//!
//! Not here: the data of an entry. The caller writes it between [`Member::headers`] and
//! [`padding`].

mod header;

use common::error::Result;

use crate::entry::EntryType;
use crate::header::BLOCK;
use crate::records::Records;
use crate::sparse::{self, Segment};
use header::Header;

/// The number of zero bytes that end an archive.
pub const END: usize = 2 * BLOCK;

/// An entry to write.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The name. The name of a directory ends in a slash.
    pub name: &'a [u8],
    /// The type.
    pub entry_type: EntryType,
    /// The target of a symbolic or hard link; else empty.
    pub link: &'a [u8],
    /// The permission bits, with set-user-ID, set-group-ID and sticky bit.
    pub mode: u32,
    /// The user ID of the owner.
    pub uid: u32,
    /// The group ID.
    pub gid: u32,
    /// The time of the last modification, in seconds since the epoch.
    pub mtime: i64,
    /// The major and minor number of a device; else zeros. Those of Linux always fit into the
    /// header.
    pub device: (u32, u32),
    /// The size of a regular file in bytes, holes included; else 0.
    pub size: u64,
    /// The segments of a sparse file whose data is written, in order.
    pub sparse: Option<&'a [Segment]>,
    /// Extended attributes. A name must not contain `=`.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

impl<'a> Member<'a> {
    /// An entry with a name and a type. All other fields are zero or empty.
    pub fn new(name: &'a [u8], entry_type: EntryType) -> Member<'a> {
        Member {
            name,
            entry_type,
            link: b"",
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: 0,
            device: (0, 0),
            size: 0,
            sparse: None,
            xattrs: &[],
        }
    }

    /// The bytes before the data: an extended header if needed, the header, and the map of a sparse
    /// file. The data that the caller writes next is `size` bytes, or the bytes of the segments.
    ///
    /// # Errors
    /// Malformed if the names and attributes take more than 1 MiB, because readers refuse larger
    /// headers.
    pub fn headers(&self) -> Result<Vec<u8>> {
        let map = self.sparse.map(|segments| sparse::lines(segments, self.size));
        let mut records = Records::default();
        let mut header = Header::new(self.entry_type.typeflag());
        let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
        if !is_text(self.name) || !is_text(self.link) {
            // Without this record a reader may decode the names as UTF-8.
            records.add(b"hdrcharset", b"BINARY");
        }
        match (&map, self.sparse) {
            (Some(map), Some(segments)) => {
                let held: u64 = segments.iter().map(|segment| segment.length).sum();
                header.sparse_name(self.name, self.size, &mut records);
                header.link(self.link, &mut records);
                header.size(map.len() as u64 + held, &mut records);
            }
            _ => {
                header.name(self.name, &mut records);
                header.link(self.link, &mut records);
                header.size(self.size, &mut records);
            }
        }
        header.owner(self.uid, self.gid, &mut records);
        header.mtime(self.mtime, &mut records);
        header.mode(self.mode);
        header.device(self.device);
        for (name, value) in self.xattrs {
            records.add(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        let records = records.finish()?;
        let mut bytes = Vec::with_capacity(BLOCK);
        if !records.is_empty() {
            bytes.extend_from_slice(&Header::extended(self.name, records.len()).finish());
            bytes.extend_from_slice(&records);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
        bytes.extend_from_slice(&header.finish());
        bytes.extend_from_slice(&map.unwrap_or_default());
        Ok(bytes)
    }
}

/// The number of zero bytes that pad `size` bytes of data to whole blocks.
pub fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ending, Reader};

    /// Writes a member with this data, and returns the entry that the reader reads.
    fn read_back(member: &Member<'_>, data: &[u8]) -> crate::Entry {
        let mut archive = member.headers().unwrap();
        archive.extend_from_slice(data);
        archive.resize(archive.len() + padding(data.len() as u64) + END, 0);
        let mut reader = Reader::new(&archive[..]);
        let entry = reader.next().unwrap().unwrap();
        assert_eq!(reader.data().unwrap(), data);
        assert!(reader.next().unwrap().is_none());
        assert_eq!(reader.finish().unwrap(), Ending::Marked);
        entry
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let xattrs = [(b"user.x".to_vec(), b"\0=\n".to_vec())];
        let long = "d/".repeat(200);
        for name in ["f", "d/f", long.as_str(), "é"] {
            for id in [0, 0o7_777_777, u32::MAX] {
                let member = Member {
                    link: b"",
                    mode: 0o4755,
                    uid: id,
                    gid: id,
                    mtime: -5,
                    xattrs: &xattrs,
                    ..Member::new(name.as_bytes(), EntryType::Directory)
                };
                let entry = read_back(&member, b"");
                assert_eq!((entry.name.as_slice(), entry.mode), (name.as_bytes(), 0o4755));
                assert_eq!((entry.uid, entry.gid), (id.into(), id.into()));
                assert_eq!((entry.mtime.seconds, entry.mtime.nanoseconds), (-5, 0));
                assert_eq!(entry.xattrs, xattrs);
            }
        }
        for (entry_type, link) in
            [(EntryType::Symlink, "t".repeat(101)), (EntryType::Hardlink, "é".into())]
        {
            let link = link.as_bytes();
            let entry = read_back(&Member { link, ..Member::new(b"\xff", entry_type) }, b"");
            assert_eq!((entry.entry_type, entry.link.as_slice()), (entry_type, link));
        }
    }

    #[test]
    fn a_sparse_file_is_read_as_it_was_written() {
        let segments = [Segment { offset: 512, length: 5 }];
        let member =
            Member { size: 4096, sparse: Some(&segments), ..Member::new(b"f", EntryType::Regular) };
        let entry = read_back(&member, b"hello");
        assert_eq!((entry.name.as_slice(), entry.size), (&b"f"[..], 4096));
        let map = entry.sparse.unwrap();
        assert_eq!(map, [segments[0], Segment { offset: 4096, length: 0 }]);
    }

    #[test]
    fn padding_fills_blocks() {
        let sizes = [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511), (u64::MAX, 1)];
        for (size, want) in sizes {
            assert_eq!(padding(size), want, "{size}");
        }
    }
}
