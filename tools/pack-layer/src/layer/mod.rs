// SPDX-License-Identifier: Apache-2.0
//! The layer's archive: writes the files of the tree as entries into the compressor.
//!
//! Not here: the choice of the files (`pack`), and the format of headers (the `archive` crate).

mod content;
mod holes;

use std::io::Write;

use archive::{END, EntryType, Member, Segment, padding};
use common::error::{Error, Result};
use compress::{Compressor, Finished};
use rustix::fs::FileType;

use crate::destination;
use crate::tree::Node;

/// The prefix of the names of whiteouts.
pub(crate) const WHITEOUT: &[u8] = b".wh.";

/// Files with fewer bytes are not searched for holes.
const MIN_SPARSE: u64 = 64 << 10;

/// An archive that is written into the compressor.
pub(crate) struct Archive<W> {
    output: Compressor<W>,
}

impl<W: Write + Send + 'static> Archive<W> {
    /// An empty archive.
    pub(crate) fn new(output: Compressor<W>) -> Archive<W> {
        Archive { output }
    }

    /// Appends an entry for a file of any type. If `first` is given, the entry is a hard link to
    /// that path.
    ///
    /// # Errors
    /// Content if the file changes while it is read. Malformed if the archive cannot hold an
    /// attribute of the file. Local if the file cannot be read or the layer cannot be written.
    pub(crate) fn node(&mut self, path: &[u8], node: &Node, first: Option<&[u8]>) -> Result<()> {
        let name = member_name(path, node.file_type);
        let member = member(&name, node)?;
        if let Some(first) = first {
            let link = Member {
                entry_type: EntryType::Hardlink,
                link: first,
                size: 0,
                xattrs: &[],
                ..member
            };
            return self.put(&link.headers()?);
        }
        let Some(fd) = node.fd.as_ref().filter(|_| node.file_type == FileType::RegularFile) else {
            return self.put(&member.headers()?);
        };
        let may_be_sparse = node.size >= MIN_SPARSE && node.allocated < node.size;
        let segments = if may_be_sparse { holes::segments(fd, node.size)? } else { None };
        let held = match &segments {
            None => {
                self.put(&member.headers()?)?;
                content::whole(&mut self.output, node, fd)?;
                node.size
            }
            Some(segments) => {
                self.put(&Member { sparse: Some(segments), ..member }.headers()?)?;
                content::segments(&mut self.output, node, fd, segments)?;
                segments.iter().map(|segment: &Segment| segment.length).sum()
            }
        };
        self.zeros(padding(held))
    }

    /// Appends a whiteout, which hides the path of lower layers.
    ///
    /// # Errors
    /// Local if the layer cannot be written.
    pub(crate) fn whiteout(&mut self, path: &[u8]) -> Result<()> {
        let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let name = [&path[..start], WHITEOUT, &path[start..]].concat();
        self.put(&Member::new(&name, EntryType::Regular).headers()?)
    }

    /// Writes the end of the archive and of the compressed stream.
    ///
    /// # Errors
    /// Local if the layer cannot be written.
    pub(crate) fn finish(mut self) -> Result<Finished<W>> {
        let ended = self.output.zeros(END).and_then(|()| self.output.finish());
        ended.map_err(|cause| destination::write_error(&cause))
    }

    /// Whether writing the layer failed. If it did, an error for an entry is an error of the
    /// output, not of the entry's file.
    pub(crate) fn has_failed(&self) -> bool {
        self.output.has_failed()
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write_all(bytes).map_err(|cause| destination::write_error(&cause))
    }

    fn zeros(&mut self, count: usize) -> Result<()> {
        self.output.zeros(count).map_err(|cause| destination::write_error(&cause))
    }
}

/// The archive member that describes a node.
fn member<'a>(name: &'a [u8], node: &'a Node) -> Result<Member<'a>> {
    let entry_type = match node.file_type {
        FileType::RegularFile => EntryType::Regular,
        FileType::Directory => EntryType::Directory,
        FileType::Symlink => EntryType::Symlink,
        FileType::Fifo => EntryType::Fifo,
        FileType::CharacterDevice => EntryType::CharacterDevice,
        FileType::BlockDevice => EntryType::BlockDevice,
        FileType::Socket | FileType::Unknown => return Err(Error::malformed("a socket")),
    };
    Ok(Member {
        name,
        entry_type,
        link: &node.target,
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        mtime: node.mtime,
        device: node.device,
        size: node.size,
        sparse: None,
        xattrs: &node.xattrs,
    })
}

/// A path as it is written into the archive.
fn member_name(path: &[u8], file_type: FileType) -> Vec<u8> {
    match (path, file_type) {
        (b"", _) => b"./".to_vec(),
        (path, FileType::Directory) => [path, b"/"].concat(),
        (path, _) => path.to_owned(),
    }
}
