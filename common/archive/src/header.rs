// SPDX-License-Identifier: Apache-2.0
//! One header block of 512 bytes: its checksum, its dialect and its fields.
//!
//! The fields are read as in Go's archive/tar, which container engines use to read layers.
//!
//! Not here: the meaning of types, and headers that describe the next entry.

use common::error::{Error, Result, printable};

use crate::number;

/// The size of a block in bytes. A header is one block; data is padded to whole blocks.
pub const BLOCK: usize = 512;

/// The dialect of a header, identified by its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The format of Seventh Edition Unix, without a magic. A header with an unknown magic is also
    /// read in this format.
    V7,
    /// The POSIX format.
    Ustar,
    /// The POSIX format with the extensions of the program star: a shorter prefix.
    Star,
    /// The format of GNU tar, older than POSIX.
    Gnu,
}

/// The numbers in a header.
pub(crate) struct Numbers {
    pub(crate) size: u64,
    /// The permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: i64,
    /// The major and minor numbers of a device; `None` in the V7 dialect, which has no such fields.
    pub(crate) device: Option<(u64, u64)>,
}

/// A header block whose checksum is correct.
pub(crate) struct Header<'a> {
    block: &'a [u8; BLOCK],
    pub(crate) dialect: Dialect,
}

impl<'a> Header<'a> {
    /// The header in a block, if its checksum is correct.
    pub(crate) fn parse(block: &'a [u8; BLOCK]) -> Option<Header<'a>> {
        if !is_header(block) {
            return None;
        }
        let dialect = match &block[257..265] {
            // Readers do not check the version field after the magic.
            [b'u', b's', b't', b'a', b'r', 0, ..] if &block[508..512] == b"tar\0" => Dialect::Star,
            [b'u', b's', b't', b'a', b'r', 0, ..] => Dialect::Ustar,
            b"ustar  \0" => Dialect::Gnu,
            _ => Dialect::V7,
        };
        Some(Header { block, dialect })
    }

    /// Whether the magic begins with "ustar" but is unknown. For such a header, libarchive reads
    /// the fields of the POSIX format, and other readers do not.
    fn has_odd_magic(&self) -> bool {
        self.dialect == Dialect::V7 && self.block[257..].starts_with(b"ustar")
    }

    /// Refuses an unknown magic if a field is set that only some readers read in such a header.
    pub(crate) fn check_magic(&self) -> Result<()> {
        if !self.has_odd_magic() {
            return Ok(());
        }
        let has_prefix = self.block[345] != 0;
        let is_device = matches!(self.typeflag(), b'3' | b'4');
        if has_prefix || is_device {
            return Err(malformed("unknown magic that begins with \"ustar\""));
        }
        self.device("major", 329..337)?;
        self.device("minor", 337..345)?;
        Ok(())
    }

    pub(crate) fn typeflag(&self) -> u8 {
        self.block[156]
    }

    /// The numbers in the header. All fields are checked, even those that this header's type does
    /// not use: some readers parse more fields than others, and would fail on an invalid one.
    pub(crate) fn numbers(&self) -> Result<Numbers> {
        let numbers = Numbers {
            size: self.count("size", 124..136)?,
            // Some writers add file type bits to the mode. They are dropped, because the type flag
            // states the type.
            mode: (self.number("mode", 100..108)? & 0o7777) as u32,
            uid: self.count("user ID", 108..116)?,
            gid: self.count("group ID", 116..124)?,
            mtime: self.number("modification time", 136..148)?,
            device: match self.dialect {
                Dialect::V7 => None,
                _ => Some((self.device("major", 329..337)?, self.device("minor", 337..345)?)),
            },
        };
        if self.dialect == Dialect::Star {
            for (what, at) in [("access time", 476..488), ("change time", 488..500)] {
                if !self.is_blank(at.clone()) {
                    self.number(what, at)?;
                }
            }
        }
        Ok(numbers)
    }

    fn number(&self, what: &str, at: std::ops::Range<usize>) -> Result<i64> {
        let field = &self.block[at];
        number::numeric(field).ok_or_else(|| {
            let text = printable(&String::from_utf8_lossy(until_nul(field)));
            malformed(format_args!(
                "the {what} is not a number that all tar programs read in the same way (\"{text}\")"
            ))
        })
    }

    /// A number that may not be negative.
    fn count(&self, what: &str, at: std::ops::Range<usize>) -> Result<u64> {
        let value = self.number(what, at)?;
        u64::try_from(value)
            .map_err(|_| malformed(format_args!("the {what} is negative ({value})")))
    }

    /// The major or minor number of a device. Some writers leave the field blank: a blank field
    /// counts as 0.
    fn device(&self, half: &str, at: std::ops::Range<usize>) -> Result<u64> {
        if self.is_blank(at.clone()) {
            return Ok(0);
        }
        self.count(&format!("{half} device number"), at)
    }

    fn is_blank(&self, at: std::ops::Range<usize>) -> bool {
        self.block[at].iter().all(|byte| matches!(byte, b' ' | 0))
    }

    /// The name, joined to its prefix if the dialect has a prefix field.
    pub(crate) fn name(&self) -> Result<Vec<u8>> {
        let name = until_nul(&self.block[..100]);
        self.check_magic()?;
        let prefix = match self.dialect {
            Dialect::V7 => &b""[..],
            Dialect::Ustar => until_nul(&self.block[345..500]),
            // Readers that do not know star's dialect read a prefix of up to 155 bytes.
            Dialect::Star => match until_nul(&self.block[345..500]) {
                prefix if prefix.len() > 131 => {
                    return Err(malformed("the prefix extends into the access time"));
                }
                prefix => prefix,
            },
            Dialect::Gnu => self.mistaken_prefix(),
        };
        Ok(if prefix.is_empty() { name.to_owned() } else { [prefix, b"/", name].concat() })
    }

    /// The prefix at the position where GNU's headers have times. Old versions of Go wrote such
    /// headers, and layers with them exist. As in Go, a time field that is not a number is the
    /// beginning of a prefix.
    pub(crate) fn mistaken_prefix(&self) -> &'a [u8] {
        let wrong = |at: std::ops::Range<usize>| {
            let field = &self.block[at];
            field[0] != 0 && !number::go_parses_number(field)
        };
        let prefix = until_nul(&self.block[345..500]);
        if (wrong(345..357) || wrong(357..369)) && prefix.is_ascii() { prefix } else { b"" }
    }

    pub(crate) fn link(&self) -> Vec<u8> {
        until_nul(&self.block[157..257]).to_owned()
    }

    /// Whether a GNU header has data in the sparse fields although the file is not sparse.
    /// libarchive would read these fields.
    pub(crate) fn has_stray_sparse_fields(&self) -> bool {
        let set = self.block[386] != 0 || self.block[482] != 0 || self.block[483] != 0;
        self.dialect == Dialect::Gnu
            && self.typeflag() != b'S'
            && set
            && self.mistaken_prefix().is_empty()
    }

    /// The sparse fields of GNU's old form: the fields of four segments, whether a block with more
    /// segments follows, and the file's size.
    pub(crate) fn old_sparse(&self) -> Result<(&'a [u8], bool, u64)> {
        Ok((&self.block[386..482], self.block[482] != 0, self.count("real size", 483..495)?))
    }
}

/// The position of the checksum field.
pub(crate) const CHECKSUM: std::ops::Range<usize> = 148..156;

/// Whether a block is a header: its checksum is correct, as a sum of unsigned bytes or, as some old
/// programs computed it, of signed bytes.
pub fn is_header(block: &[u8; BLOCK]) -> bool {
    let Some(stated) = number::octal(&block[CHECKSUM]) else { return false };
    stated == checksum(block, |byte| byte.into())
        || stated == checksum(block, |byte| byte.cast_signed().into())
}

/// The sum of a header's bytes, with the checksum field counted as spaces.
pub(crate) fn checksum(block: &[u8; BLOCK], value: fn(u8) -> i64) -> i64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| value(*byte)).sum::<i64>();
    sum(block) - sum(&block[CHECKSUM]) + 8 * value(b' ')
}

/// Whether all bytes are zero, as in the blocks that end an archive.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn malformed(what: impl std::fmt::Display) -> Error {
    Error::malformed(format_args!("header: {what}"))
}

/// The text of a field, up to the first NUL.
pub(crate) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}
