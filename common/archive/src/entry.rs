// SPDX-License-Identifier: Apache-2.0
//! The entries of an archive, their types, and how an archive ends.
//!
//! Not here: how a header block holds any of it.

use common::error::{Error, Result, printable};

use crate::number::Time;
use crate::sparse::Segment;

/// The type of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A hard link to an entry that came before, or to a file of a lower layer.
    Hardlink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
}

/// An entry of an archive, as its headers describe it. Names are bytes, exactly as the archive has
/// them: they may lead anywhere.
#[derive(Debug)]
pub struct Entry {
    /// The name.
    pub name: Vec<u8>,
    /// The type.
    pub entry_type: EntryType,
    /// The target of a symbolic link, or the name that a hard link gives another name to.
    pub link: Vec<u8>,
    /// The permission bits, set-user-ID and the like included.
    pub mode: u32,
    /// The owner's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
    /// The time of the last modification.
    pub mtime: Time,
    /// The time of the last access, if the archive has it.
    pub atime: Option<Time>,
    /// The major and minor number of a device; of other types, whatever the header has there.
    pub device: (u64, u64),
    /// The size of the file in bytes, holes included. A directory's is whatever the archive says.
    pub size: u64,
    /// Of a sparse file: the segments whose data the archive holds, in order; the rest is holes.
    pub sparse: Option<Vec<Segment>>,
    /// Extended attributes, sorted by name, each name once.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether there are attributes in a form that is not read: ACLs as text, libarchive's
    /// encoding.
    pub foreign_attributes: bool,
}

/// How an archive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With two zero blocks, and only zeros after them.
    Marked,
    /// With two zero blocks, and then other bytes.
    Trailing,
    /// With one zero block or none: all readers accept that.
    Unmarked,
    /// Within the zeros that fill up the last entry's last block.
    CutPadding,
    /// There is not one byte.
    Empty,
}

impl EntryType {
    /// The type that a header's type flag means, of an entry of this name and so many bytes of
    /// data. What readers take for different things is refused.
    pub(crate) fn read(typeflag: u8, name: &[u8], size: u64) -> Result<EntryType> {
        let slash = name.ends_with(b"/");
        let entry_type = match typeflag {
            0 if slash && size == 0 => return Ok(EntryType::Directory),
            b'0' | b'7' | 0 | b'S' if slash => {
                return Err(Error::malformed("a regular file whose name ends in a slash"));
            }
            b'0' | b'7' | 0 | b'S' => return Ok(EntryType::Regular),
            b'5' => return Ok(EntryType::Directory),
            b'1' => EntryType::Hardlink,
            b'2' => EntryType::Symlink,
            b'3' => EntryType::CharacterDevice,
            b'4' => EntryType::BlockDevice,
            b'6' => EntryType::Fifo,
            other => {
                return Err(Error::malformed(format_args!(
                    "unsupported type '{}'",
                    char::from(other).escape_default()
                )));
            }
        };
        if size != 0 {
            return Err(Error::malformed(format_args!(
                "{size} bytes of data for what can have none"
            )));
        }
        Ok(entry_type)
    }

    /// The type flag that is written.
    pub(crate) fn typeflag(self) -> u8 {
        match self {
            EntryType::Regular => b'0',
            EntryType::Hardlink => b'1',
            EntryType::Symlink => b'2',
            EntryType::CharacterDevice => b'3',
            EntryType::BlockDevice => b'4',
            EntryType::Directory => b'5',
            EntryType::Fifo => b'6',
        }
    }
}

/// The most bytes of a name that are printed.
const MAX_SHOWN: usize = 200;

/// A name of an entry for a message: in quotes, control characters escaped, and of a name of more
/// than 200 bytes only its beginning and its end.
pub fn shown(name: &[u8]) -> String {
    let text = |part| printable(&String::from_utf8_lossy(part));
    if name.len() <= MAX_SHOWN {
        return format!("\"{}\"", text(name));
    }
    let (head, tail) = (&name[..MAX_SHOWN / 2], &name[name.len() - MAX_SHOWN / 2..]);
    format!("\"{}…{}\" ({} bytes)", text(head), text(tail), name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_shown_by_their_ends() {
        let at = "n".repeat(MAX_SHOWN);
        assert_eq!(shown(at.as_bytes()), format!("\"{at}\""));
        let long = format!("begin{at}end\n");
        let shown = shown(long.as_bytes());
        assert!(
            shown.starts_with("\"beginnnn") && shown.ends_with("nend\\n\" (209 bytes)"),
            "{shown}"
        );
    }
}
