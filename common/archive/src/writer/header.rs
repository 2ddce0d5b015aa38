// SPDX-License-Identifier: Apache-2.0
//! Writes one header block. A value that does not fit into its field is written as a record of an
//! extended header. The field then stays zero, or has a shortened name.

use std::ops::Range;

use crate::header::{BLOCK, CHECKSUM, checksum};
use crate::number::put_octal;
use crate::records::Records;

/// The sizes of the name and prefix fields.
const NAME: usize = 100;
const PREFIX: usize = 155;

/// The positions of the fields.
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const TYPEFLAG: usize = 156;
const LINK: usize = 157;
const MAGIC: Range<usize> = 257..265;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;
const PREFIX_AT: usize = 345;

/// The largest numbers in fields of 8 and 12 bytes, whose last byte is a NUL.
const MAX_ID: u32 = 0o7_777_777;
const MAX_LONG: u64 = 0o77_777_777_777;

/// The beginning of the names of extended headers, as in Go.
const EXTENDED: &[u8] = b"PaxHeaders.0/";

/// The beginning of the header names of sparse files, as in GNU tar. Only readers that do not
/// support sparse files use these names.
const SPARSE: &[u8] = b"GNUSparseFile.0/";

/// A ustar header that is being written.
pub(super) struct Header {
    block: [u8; BLOCK],
}

impl Header {
    /// A header of the given type. All other fields are zero or empty.
    pub(super) fn new(typeflag: u8) -> Header {
        let mut header = Header { block: [0; BLOCK] };
        header.block[MAGIC].copy_from_slice(b"ustar\x0000");
        header.block[TYPEFLAG] = typeflag;
        for field in [MODE, UID, GID, SIZE, MTIME, MAJOR, MINOR] {
            header.put(field, 0);
        }
        header
    }

    /// The header block of an extended header whose records take `size` bytes.
    pub(super) fn extended(name: &[u8], size: usize) -> Header {
        let mut header = Header::new(b'x');
        header.substitute_name(EXTENDED, name);
        header.put(SIZE, size as u64);
        header
    }

    /// Sets the entry's name.
    pub(super) fn name(&mut self, name: &[u8], records: &mut Records) {
        if name.is_ascii() && self.ustar_name(name) {
            return;
        }
        records.add(b"path", name);
        self.substitute_name(b"", name);
    }

    /// Sets the name and size of a sparse file.
    pub(super) fn sparse_name(&mut self, name: &[u8], size: u64, records: &mut Records) {
        records.add(b"GNU.sparse.major", b"1");
        records.add(b"GNU.sparse.minor", b"0");
        records.add(b"GNU.sparse.name", name);
        records.add_number(b"GNU.sparse.realsize", size);
        self.substitute_name(SPARSE, name);
    }

    /// Sets the target of a link.
    pub(super) fn link(&mut self, target: &[u8], records: &mut Records) {
        if target.len() > NAME || !target.is_ascii() {
            records.add(b"linkpath", target);
            return;
        }
        self.text(LINK, target);
    }

    /// Sets the number of data bytes that follow.
    pub(super) fn size(&mut self, size: u64, records: &mut Records) {
        match size {
            0..=MAX_LONG => self.put(SIZE, size),
            _ => records.add_number(b"size", size),
        }
    }

    /// Sets the user ID and group ID.
    pub(super) fn owner(&mut self, uid: u32, gid: u32, records: &mut Records) {
        match uid {
            0..=MAX_ID => self.put(UID, uid.into()),
            _ => records.add_number(b"uid", uid),
        }
        match gid {
            0..=MAX_ID => self.put(GID, gid.into()),
            _ => records.add_number(b"gid", gid),
        }
    }

    /// Sets the modification time.
    pub(super) fn mtime(&mut self, seconds: i64, records: &mut Records) {
        match u64::try_from(seconds) {
            Ok(seconds @ 0..=MAX_LONG) => self.put(MTIME, seconds),
            _ => records.add_number(b"mtime", seconds),
        }
    }

    /// Sets the permission bits.
    pub(super) fn mode(&mut self, mode: u32) {
        self.put(MODE, (mode & 0o7777).into());
    }

    /// Sets the device numbers. Those of Linux always fit into the fields.
    pub(super) fn device(&mut self, (major, minor): (u32, u32)) {
        self.put(MAJOR, major.into());
        self.put(MINOR, minor.into());
    }

    /// Sets the checksum and returns the block.
    pub(super) fn finish(mut self) -> [u8; BLOCK] {
        let sum = checksum(&self.block, |byte| byte.into());
        self.put(CHECKSUM, sum.unsigned_abs());
        self.block
    }

    fn put(&mut self, field: Range<usize>, value: u64) {
        put_octal(&mut self.block[field], value);
    }

    fn text(&mut self, at: usize, text: &[u8]) {
        self.block[at..at + text.len()].copy_from_slice(text);
    }

    /// Writes the name into the name field if it fits. A longer name is split at a slash between
    /// the prefix field and the name field. Returns whether the name fits.
    fn ustar_name(&mut self, name: &[u8]) -> bool {
        if name.len() <= NAME {
            self.text(0, name);
            return true;
        }
        // The last possible slash, but not the one that ends a directory's name.
        let most = name.len().min(PREFIX + 1);
        let cut = name[..most.min(name.len() - 1)].iter().rposition(|byte| *byte == b'/');
        let Some(cut) = cut.filter(|cut| *cut > 0 && name.len() - cut - 1 <= NAME) else {
            return false;
        };
        self.text(PREFIX_AT, &name[..cut]);
        self.text(0, &name[cut + 1..]);
        true
    }

    /// Writes a substitute name, for readers that do not know extended headers: `front`, then as
    /// many visible ASCII characters of the last component as fit.
    fn substitute_name(&mut self, front: &[u8], name: &[u8]) {
        let is_directory = name.ends_with(b"/");
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let room = NAME - front.len() - usize::from(is_directory && front.is_empty());
        let mut text = front.to_vec();
        text.extend(last.iter().filter(|byte| byte.is_ascii_graphic()).take(room));
        if is_directory && front.is_empty() {
            text.push(b'/');
        }
        self.text(0, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a name. Returns the name field, the prefix field, and whether a record was needed.
    fn fields(name: &str) -> (String, String, bool) {
        let mut records = Records::default();
        let mut header = Header::new(b'0');
        header.name(name.as_bytes(), &mut records);
        let block = header.finish();
        let text = |at: Range<usize>| {
            String::from_utf8(block[at].to_vec()).unwrap().trim_end_matches('\0').to_owned()
        };
        (text(0..100), text(345..500), !records.finish().unwrap().is_empty())
    }

    #[test]
    fn names_at_the_edges_of_the_fields() {
        let (x, y) = ("x".repeat(100), "y".repeat(155));
        assert_eq!(fields(&x), (x.clone(), String::new(), false));
        assert_eq!(fields(&format!("{y}/{x}")), (x.clone(), y.clone(), false));
        let directory = format!("{}/", &x[..99]);
        assert_eq!(fields(&format!("{y}/{directory}")), (directory, y.clone(), false));
        for long in [
            format!("{x}x"),
            format!("{y}y/{x}"),
            format!("{y}/{x}x"),
            format!("{x}/"),
            format!("/{x}"),
            "é".to_owned(),
        ] {
            let (name, prefix, has_record) = fields(&long);
            assert!(has_record && prefix.is_empty() && name.len() <= 100, "{long}");
        }
    }

    #[test]
    fn numbers_at_the_edges_of_the_fields() {
        let needs = |set: &dyn Fn(&mut Header, &mut Records)| {
            let mut records = Records::default();
            set(&mut Header::new(b'0'), &mut records);
            !records.finish().unwrap().is_empty()
        };
        assert!(!needs(&|header, records| header.owner(MAX_ID, MAX_ID, records)));
        assert!(needs(&|header, records| header.owner(MAX_ID + 1, 0, records)));
        assert!(needs(&|header, records| header.owner(0, MAX_ID + 1, records)));
        assert!(!needs(&|header, records| header.size(MAX_LONG, records)));
        assert!(needs(&|header, records| header.size(MAX_LONG + 1, records)));
        assert!(!needs(&|header, records| header.mtime(MAX_LONG as i64, records)));
        assert!(needs(&|header, records| header.mtime(MAX_LONG as i64 + 1, records)));
        assert!(needs(&|header, records| header.mtime(-1, records)));
        assert!(!needs(&|header, records| header.link(&[b'x'; NAME], records)));
        assert!(needs(&|header, records| header.link(&[b'x'; NAME + 1], records)));
    }
}
