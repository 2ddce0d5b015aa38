// SPDX-License-Identifier: Apache-2.0
//! What an archive is read as: its entries, their types, and its end.
//!
//! Not here: how any of it is written.

use common::error::{Error, Result, printable};

use super::number::Time;
use super::sparse::Segment;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
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
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: Vec<u8>,
    /// What it is.
    pub(crate) kind: Kind,
    /// What a link points to.
    pub(crate) link: Vec<u8>,
    /// The permission bits, set-user-ID and the like included.
    pub(crate) mode: u32,
    /// The owner.
    pub(crate) uid: u64,
    /// The group.
    pub(crate) gid: u64,
    /// When it was modified.
    pub(crate) mtime: Time,
    /// When it was read, where the archive says.
    pub(crate) atime: Option<Time>,
    /// A device's major and minor numbers.
    pub(crate) device: (u64, u64),
    /// The file's size, holes included.
    pub(crate) size: u64,
    /// The parts that the archive holds, of a sparse file.
    pub(crate) sparse: Option<Vec<Segment>>,
    /// Extended attributes.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether attributes came in a form that is not applied.
    pub(crate) foreign_attributes: bool,
}

/// How an archive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
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
pub(super) fn kind(typeflag: u8, name: &[u8], size: u64) -> Result<Kind> {
    let slash = name.ends_with(b"/");
    let kind = match typeflag {
        0 if slash && size == 0 => return Ok(Kind::Directory),
        b'0' | b'7' | 0 | b'S' if slash => {
            return Err(Error::malformed("a regular file whose name ends in a slash"));
        }
        b'0' | b'7' | 0 | b'S' => return Ok(Kind::Regular),
        b'5' => return Ok(Kind::Directory),
        b'1' => Kind::Hardlink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharacterDevice,
        b'4' => Kind::BlockDevice,
        b'6' => Kind::Fifo,
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
pub(crate) fn shown(name: &[u8]) -> String {
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
