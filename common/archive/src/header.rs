// SPDX-License-Identifier: Apache-2.0
//! One header block of 512 bytes: its checksum, its dialect and its fields.
//!
//! As Go's archive/tar reads it, which is what container engines read layers with. Not here: what
//! follows from a type, and headers that speak about the next one.

use common::error::{Error, Result, printable};

use crate::number;

/// The size of a block, in bytes: headers are one, data is filled up to whole ones.
pub const BLOCK: usize = 512;

/// The dialects, told apart by the magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// No magic: the seventh edition's, or none that is known.
    V7,
    /// POSIX.
    Ustar,
    /// star's extension of POSIX: a shorter prefix.
    Star,
    /// GNU's, from before POSIX.
    Gnu,
}

/// The numbers of a header.
pub(crate) struct Numbers {
    pub(crate) size: u64,
    /// The permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: i64,
    /// A device's major and minor numbers; nothing in the dialect that has no such fields.
    pub(crate) device: Option<(u64, u64)>,
}

/// A header block whose checksum is right.
pub(crate) struct Header<'a> {
    block: &'a [u8; BLOCK],
    pub(crate) dialect: Dialect,
}

impl<'a> Header<'a> {
    /// The header in a block, if its checksum is right.
    pub(crate) fn parse(block: &'a [u8; BLOCK]) -> Option<Header<'a>> {
        if !is_header(block) {
            return None;
        }
        let dialect = match &block[257..265] {
            // The version behind the magic is not looked at, by anybody.
            [b'u', b's', b't', b'a', b'r', 0, ..] if &block[508..512] == b"tar\0" => Dialect::Star,
            [b'u', b's', b't', b'a', b'r', 0, ..] => Dialect::Ustar,
            b"ustar  \0" => Dialect::Gnu,
            _ => Dialect::V7,
        };
        Some(Header { block, dialect })
    }

    /// Whether the magic is one that readers take for different dialects.
    fn has_odd_magic(&self) -> bool {
        self.dialect == Dialect::V7 && self.block[257..].starts_with(b"ustar")
    }

    pub(crate) fn typeflag(&self) -> u8 {
        self.block[156]
    }

    /// All numbers of the header. Every one is checked, of a header too that is not used for them:
    /// a reader that looks at more fields than another would stop where the other goes on.
    pub(crate) fn numbers(&self) -> Result<Numbers> {
        let numbers = Numbers {
            size: self.count("size", 124..136)?,
            // Type bits, which some writers add, are left out: the type flag holds.
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
            self.number("access time", 476..488)?;
            self.number("change time", 488..500)?;
        }
        Ok(numbers)
    }

    fn number(&self, what: &str, at: std::ops::Range<usize>) -> Result<i64> {
        let field = &self.block[at];
        number::numeric(field).ok_or_else(|| {
            let text = printable(&String::from_utf8_lossy(until_nul(field)));
            malformed(format_args!(
                "the {what} is no number that all readers agree on (\"{text}\")"
            ))
        })
    }

    /// A number that may not be negative.
    fn count(&self, what: &str, at: std::ops::Range<usize>) -> Result<u64> {
        let value = self.number(what, at)?;
        u64::try_from(value)
            .map_err(|_| malformed(format_args!("the {what} is negative ({value})")))
    }

    /// Half of a device's number: nothing but spaces is how some writers say that there is none.
    fn device(&self, half: &str, at: std::ops::Range<usize>) -> Result<u64> {
        if self.block[at.clone()].iter().all(|byte| matches!(byte, b' ' | 0)) {
            return Ok(0);
        }
        self.count(&format!("{half} device number"), at)
    }

    /// The name, with its prefix where the dialect has one.
    pub(crate) fn name(&self) -> Result<Vec<u8>> {
        let name = until_nul(&self.block[..100]);
        if self.has_odd_magic() {
            return Err(malformed("the magic is not one that all readers know"));
        }
        let prefix = match self.dialect {
            Dialect::V7 => &b""[..],
            Dialect::Ustar => until_nul(&self.block[345..500]),
            // Who does not know star's dialect reads on to 500.
            Dialect::Star => match until_nul(&self.block[345..500]) {
                prefix if prefix.len() > 131 => {
                    return Err(malformed("the prefix goes on into the access time"));
                }
                prefix => prefix,
            },
            Dialect::Gnu => self.mistaken_prefix(),
        };
        Ok(if prefix.is_empty() { name.to_owned() } else { [prefix, b"/", name].concat() })
    }

    /// Old versions of Go wrote a prefix into GNU's headers, where times belong. Layers with such
    /// headers exist: like Go, a time that is no number is taken as the prefix.
    pub(crate) fn mistaken_prefix(&self) -> &'a [u8] {
        let wrong = |at: std::ops::Range<usize>| {
            let field = &self.block[at];
            field[0] != 0 && !number::is_number_to_go(field)
        };
        let prefix = until_nul(&self.block[345..500]);
        if (wrong(345..357) || wrong(357..369)) && prefix.is_ascii() { prefix } else { b"" }
    }

    pub(crate) fn link(&self) -> Vec<u8> {
        until_nul(&self.block[157..257]).to_owned()
    }

    /// Whether GNU's sparse fields are in use in a header that is not of a sparse file: libarchive
    /// looks at them all the same.
    pub(crate) fn has_stray_sparse_fields(&self) -> bool {
        let set = self.block[386] != 0 || self.block[482] != 0 || self.block[483] != 0;
        self.dialect == Dialect::Gnu
            && self.typeflag() != b'S'
            && set
            && self.mistaken_prefix().is_empty()
    }

    /// The four sparse parts of GNU's old form, whether more follow in a block of their own, and
    /// the file's size.
    pub(crate) fn old_sparse(&self) -> Result<(&'a [u8], bool, u64)> {
        Ok((&self.block[386..482], self.block[482] != 0, self.count("real size", 483..495)?))
    }
}

/// Where a header has its checksum.
pub(crate) const CHECKSUM: std::ops::Range<usize> = 148..156;

/// Whether a block is a header: it has a right checksum, summed unsigned, or signed as some old
/// programs did.
pub fn is_header(block: &[u8; BLOCK]) -> bool {
    let Some(stated) = number::octal(&block[CHECKSUM]) else { return false };
    stated == checksum(block, |byte| byte.into())
        || stated == checksum(block, |byte| byte.cast_signed().into())
}

/// The sum of a header's bytes, its checksum counted as spaces.
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

/// A field's text, which ends at the first NUL.
pub(crate) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}
