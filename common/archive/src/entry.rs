// SPDX-License-Identifier: Apache-2.0
//! What an archive is read as: its entries, their types, and its end.
//!
//! Not here: how any of it is written.

use common::error::{Error, Result, printable};

use super::number::Time;
use super::sparse::Segment;

/// What an entry is.
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

/// An entry of an archive. Names are as they were written.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is.
    pub entry_type: EntryType,
    /// What a link points to.
    pub link: Vec<u8>,
    /// The permission bits, set-user-ID and the like included.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The group.
    pub gid: u64,
    /// When it was modified.
    pub mtime: Time,
    /// When it was read, where the archive says.
    pub atime: Option<Time>,
    /// A device's major and minor numbers.
    pub device: (u64, u64),
    /// The file's size, holes included.
    pub size: u64,
    /// The parts that the archive holds, of a sparse file.
    pub sparse: Option<Vec<Segment>>,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether attributes came in a form that is not applied.
    pub foreign_attributes: bool,
}

/// How an archive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its two zero blocks, and no more than zeros after them.
    Marked,
    /// With its two zero blocks, and then something else.
    Trailing,
    /// With one zero block, or none: all readers take that.
    Unmarked,
    /// In the zeros that fill up the last entry's last block.
    CutPadding,
    /// Before the first block.
    Empty,
}

/// What a type flag means; refused is what readers take for different things.
pub(super) fn kind(typeflag: u8, name: &[u8], size: u64) -> Result<EntryType> {
    let slash = name.ends_with(b"/");
    let kind = match typeflag {
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
        return Err(Error::malformed(format_args!("{size} bytes of data for what can have none")));
    }
    Ok(kind)
}

/// The most bytes of a name that are printed; of a longer one its beginning and its end.
const MAX_SHOWN: usize = 200;

/// A name of an entry, fit to print. Never so long that it would hide what is wrong with it.
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
