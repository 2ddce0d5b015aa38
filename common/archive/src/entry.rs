// SPDX-License-Identifier: Apache-2.0
//! The entries of an archive, their types, and the ways in which an archive can end.
//!
//! Not here: the format of header blocks.

use common::error::{Error, Result, printable};
use common::notice;

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
    /// A hard link to an earlier entry, or to a file of a lower layer.
    Hardlink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
}

/// An entry of an archive, as its headers describe it. Names are the bytes in the archive,
/// unchanged and unchecked: a name may contain `..` or begin with `/`.
#[derive(Debug)]
pub struct Entry {
    /// The name.
    pub name: Vec<u8>,
    /// The type.
    pub entry_type: EntryType,
    /// The target of a symbolic or hard link.
    pub link: Vec<u8>,
    /// The permission bits, with set-user-ID, set-group-ID and sticky bit.
    pub mode: u32,
    /// The user ID of the owner.
    pub uid: u64,
    /// The group ID.
    pub gid: u64,
    /// The time of the last modification.
    pub mtime: Time,
    /// The time of the last access, if the archive has it.
    pub atime: Option<Time>,
    /// The major and minor number of a device. Meaningless for other types.
    pub device: (u64, u64),
    /// The size of the file in bytes, holes included. Meaningless for directories.
    pub size: u64,
    /// The segments of a sparse file whose data is in the archive, in order. The rest of the file
    /// is holes.
    pub sparse: Option<Vec<Segment>>,
    /// Extended attributes, sorted by name, each name once.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether the entry also has attributes in a form that this crate does not read: access
    /// control lists as text (`SCHILY.acl.*`), or libarchive's encoding (`LIBARCHIVE.xattr.*`).
    pub foreign_attributes: bool,
}

/// How an archive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With two zero blocks, and only zeros after them.
    Marked,
    /// With two zero blocks, and then other bytes.
    Trailing,
    /// With at most one zero block, which all readers accept.
    Unmarked,
    /// Within the padding of the last entry's last block.
    CutPadding,
    /// Before the first byte: the input is empty.
    Empty,
}

impl Ending {
    /// Warns of an incomplete ending, or refuses it. If no digest of the layer is known
    /// (`verifiable` is false), only the ending shows whether the archive is complete. In that
    /// case, more endings are refused.
    ///
    /// # Errors
    /// Malformed if the archive is refused.
    pub fn accept(self, verifiable: bool) -> Result<()> {
        match self {
            Ending::Marked => {}
            Ending::Trailing => notice::warn("trailing data", || {
                "data after the end of the archive: hashed, not unpacked".to_owned()
            }),
            Ending::Unmarked => {
                notice::warn("end of archive", || "the archive has no end marker".to_owned())
            }
            Ending::CutPadding if verifiable => notice::warn("end of archive", || {
                "the archive ends within its last block".to_owned()
            }),
            Ending::CutPadding => {
                return Err(Error::malformed("archive is cut short: within its last block"));
            }
            Ending::Empty if verifiable => {}
            Ending::Empty => {
                return Err(Error::malformed("an empty archive without an end marker"));
            }
        }
        Ok(())
    }
}

impl EntryType {
    /// The type of an entry, from its type flag, its name and the size of its data. Refuses
    /// combinations that readers interpret differently.
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
                "{size} bytes of data, but an entry of this type has none"
            )));
        }
        Ok(entry_type)
    }

    /// The type flag that the writer uses for this type.
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

/// The maximum number of bytes of a name that are printed.
const MAX_SHOWN: usize = 200;

/// An entry's name for a message: in quotes, with control characters escaped. A name of more than
/// 200 bytes is shortened to its first and last 100 bytes.
pub fn shown(name: &[u8]) -> String {
    let text = |part| printable(&String::from_utf8_lossy(part));
    if name.len() <= MAX_SHOWN {
        return format!("\"{}\"", text(name));
    }
    let head = &name[..MAX_SHOWN / 2];
    let tail = &name[name.len() - MAX_SHOWN / 2..];
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
