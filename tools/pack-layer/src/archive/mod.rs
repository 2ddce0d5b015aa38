// SPDX-License-Identifier: Apache-2.0
//! Writes the archive: a header for each entry, in the plain ustar format wherever that can say it, with an
//! extended header where it cannot.
//!
//! The same entries give the same bytes: no names of users and groups, whole seconds, and nothing of the machine
//! or the run.

mod content;
mod header;
mod pax;
mod sparse;

use std::io::Write;

use common::error::{Error, Result};
use compress::{Compressor, Finished};

use crate::destination;
use crate::tree::{Entry, Kind};
use header::Header;
use pax::Records;

/// The size of a block.
const BLOCK: usize = 512;

/// The blocks of zeros that end an archive.
const END: usize = 2 * BLOCK;

/// What the names of whiteouts begin with.
pub(crate) const WHITEOUT: &[u8] = b".wh.";

/// Files below this size are not looked at for holes.
const LEAST_SPARSE: u64 = 64 << 10;

/// An archive on its way into the compressor.
pub(crate) struct Archive<W> {
    output: Compressor<W>,
}

impl<W: Write + Send + 'static> Archive<W> {
    /// An empty archive.
    pub(crate) fn new(output: Compressor<W>) -> Archive<W> {
        Archive { output }
    }

    /// Appends something of a tree: what it is, or a link to its first name.
    ///
    /// # Errors
    /// Content when a file changes meanwhile; malformed when an attribute does not fit; local trouble.
    pub(crate) fn entry(&mut self, path: &[u8], entry: &Entry, first: Option<&[u8]>) -> Result<()> {
        let name = member_name(path, entry.kind);
        let Some(fd) = entry.fd.as_ref().filter(|_| entry.kind == Kind::Regular && first.is_none())
        else {
            return self.header(&name, entry, first, None);
        };
        let may_be_sparse = entry.size >= LEAST_SPARSE && entry.allocated < entry.size;
        let parts = if may_be_sparse { sparse::parts(fd, entry.size)? } else { None };
        let Some(parts) = parts else {
            self.header(&name, entry, None, None)?;
            content::whole(&mut self.output, entry, fd)?;
            return self.fill(entry.size);
        };
        let map = sparse::map(&parts, entry.size);
        let stored = map.len() as u64 + parts.iter().map(|part| part.length).sum::<u64>();
        self.header(&name, entry, None, Some(stored))?;
        self.put(&map)?;
        content::parts(&mut self.output, entry, fd, &parts)?;
        self.fill(stored)
    }

    /// Appends a whiteout: it hides what layers below have under the path.
    ///
    /// # Errors
    /// Local trouble.
    pub(crate) fn whiteout(&mut self, path: &[u8]) -> Result<()> {
        let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let name = [&path[..start], WHITEOUT, &path[start..]].concat();
        let mut records = Records::default();
        let mut header = Header::new(b'0');
        header.name(&name, &mut records);
        self.headers(&name, header, records)
    }

    /// Ends the archive, and the layer.
    ///
    /// # Errors
    /// Local trouble.
    pub(crate) fn finish(mut self) -> Result<Finished<W>> {
        let ended = self.output.zeros(END).and_then(|()| self.output.finish());
        ended.map_err(|cause| destination::trouble(&cause))
    }

    /// An entry's header; of a sparse file, with what is stored of it.
    fn header(
        &mut self,
        name: &[u8],
        entry: &Entry,
        first: Option<&[u8]>,
        stored: Option<u64>,
    ) -> Result<()> {
        let mut records = Records::default();
        let mut header = Header::new(match (first, entry.kind) {
            (Some(_), _) => b'1',
            (_, Kind::Regular) => b'0',
            (_, Kind::Symlink) => b'2',
            (_, Kind::CharacterDevice) => b'3',
            (_, Kind::BlockDevice) => b'4',
            (_, Kind::Directory) => b'5',
            (_, Kind::Fifo) => b'6',
            (_, Kind::Socket) => return Err(Error::malformed("a socket")),
        });
        let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
        let link = first.unwrap_or(&entry.target);
        if !is_text(name) || !is_text(link) {
            // Without this a reader may take the bytes for text.
            records.add(b"hdrcharset", b"BINARY");
        }
        match stored {
            None => header.name(name, &mut records),
            Some(_) => header.sparse_name(name, entry.size, &mut records),
        }
        header.link(link, &mut records);
        header.size(stored.unwrap_or(if first.is_some() { 0 } else { entry.size }), &mut records);
        header.owner(entry.uid, entry.gid, &mut records);
        header.mtime(entry.mtime, &mut records);
        header.mode(entry.mode);
        header.device(entry.device);
        if first.is_none() {
            for (name, value) in &entry.xattrs {
                records.add(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
            }
        }
        self.headers(name, header, records)
    }

    /// A header, after the extended one if it needs one.
    fn headers(&mut self, name: &[u8], header: Header, records: Records) -> Result<()> {
        let records = records.finish()?;
        if !records.is_empty() {
            self.put(&Header::extended(name, records.len()).finish())?;
            self.put(&records)?;
            self.fill(records.len() as u64)?;
        }
        self.put(&header.finish())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write_all(bytes).map_err(|cause| destination::trouble(&cause))
    }

    /// Fills up to a block after so many bytes.
    fn fill(&mut self, size: u64) -> Result<()> {
        let rest = (size % BLOCK as u64) as usize;
        let zeros = if rest == 0 { 0 } else { BLOCK - rest };
        self.output.zeros(zeros).map_err(|cause| destination::trouble(&cause))
    }
}

/// A path as an archive has it.
fn member_name(path: &[u8], kind: Kind) -> Vec<u8> {
    match (path, kind) {
        (b"", _) => b"./".to_vec(),
        (path, Kind::Directory) => [path, b"/"].concat(),
        (path, _) => path.to_owned(),
    }
}
