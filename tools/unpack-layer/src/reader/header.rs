// SPDX-License-Identifier: Apache-2.0
//! One header block of 512 bytes: its checksum, its dialect and its fields.
//!
//! As Go's archive/tar reads it, which is what container engines read layers with. Not here: what
//! follows from a type, and headers that speak about the next one.

use common::error::{Error, Result};

use super::number;

/// The size of a block.
pub(super) const BLOCK: usize = 512;

/// The dialects, told apart by the magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// No magic: the seventh edition's, or none that is known.
    V7,
    /// POSIX.
    Ustar,
    /// star's extension of POSIX: a shorter prefix.
    Star,
    /// GNU's, from before POSIX.
    Gnu,
}

/// A header block whose checksum is right.
pub(super) struct Header<'a> {
    block: &'a [u8; BLOCK],
    pub(super) dialect: Dialect,
}

impl<'a> Header<'a> {
    /// Checks the checksum, summed unsigned or signed as tools do and did.
    pub(super) fn parse(block: &'a [u8; BLOCK]) -> Option<Header<'a>> {
        let stated = number::octal(&block[148..156])?;
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (i, byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&i) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if stated != unsigned && stated != signed {
            return None;
        }
        let dialect = match &block[257..265] {
            b"ustar\x0000" if &block[508..512] == b"tar\0" => Dialect::Star,
            b"ustar\x0000" => Dialect::Ustar,
            b"ustar  \0" => Dialect::Gnu,
            _ => Dialect::V7,
        };
        Some(Header { block, dialect })
    }

    pub(super) fn typeflag(&self) -> u8 {
        self.block[156]
    }

    fn number(&self, what: &str, at: std::ops::Range<usize>) -> Result<i64> {
        number::numeric(&self.block[at])
            .ok_or_else(|| Error::malformed(format_args!("header: the {what} is no number")))
    }

    /// A number that may not be negative.
    fn count(&self, what: &str, at: std::ops::Range<usize>) -> Result<u64> {
        let value = self.number(what, at)?;
        u64::try_from(value)
            .map_err(|_| Error::malformed(format_args!("header: the {what} is negative ({value})")))
    }

    pub(super) fn size(&self) -> Result<u64> {
        self.count("size", 124..136)
    }

    /// The permission bits. Type bits, which some writers add, are left out: the type flag holds.
    pub(super) fn mode(&self) -> Result<u32> {
        Ok((self.number("mode", 100..108)? & 0o7777) as u32)
    }

    pub(super) fn uid(&self) -> Result<u64> {
        self.count("user ID", 108..116)
    }

    pub(super) fn gid(&self) -> Result<u64> {
        self.count("group ID", 116..124)
    }

    pub(super) fn mtime(&self) -> Result<i64> {
        self.number("modification time", 136..148)
    }

    /// A device's major and minor numbers; zero in the dialect that has no such fields.
    pub(super) fn device(&self) -> Result<(u64, u64)> {
        if self.dialect == Dialect::V7 {
            return Ok((0, 0));
        }
        Ok((self.count("major number", 329..337)?, self.count("minor number", 337..345)?))
    }

    /// The name, with its prefix where the dialect has one.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = until_nul(&self.block[..100]);
        let prefix = match self.dialect {
            Dialect::V7 => &b""[..],
            Dialect::Ustar => until_nul(&self.block[345..500]),
            Dialect::Star => until_nul(&self.block[345..476]),
            Dialect::Gnu => self.mistaken_prefix(),
        };
        if prefix.is_empty() { name.to_owned() } else { [prefix, b"/", name].concat() }
    }

    /// Old versions of Go wrote a prefix into GNU's headers, where times belong. Layers with such headers
    /// exist: like Go, a time that is no number is taken as the prefix.
    fn mistaken_prefix(&self) -> &'a [u8] {
        let wrong = |at: std::ops::Range<usize>| {
            let field = &self.block[at];
            field[0] != 0 && number::numeric(field).is_none()
        };
        let prefix = until_nul(&self.block[345..500]);
        if (wrong(345..357) || wrong(357..369)) && prefix.is_ascii() { prefix } else { b"" }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        until_nul(&self.block[157..257]).to_owned()
    }

    /// The four sparse parts of GNU's old form, whether more follow in a block of their own, and the
    /// file's size.
    pub(super) fn old_sparse(&self) -> Result<(&'a [u8], bool, u64)> {
        Ok((&self.block[386..482], self.block[482] != 0, self.count("real size", 483..495)?))
    }
}

/// A field's text, which ends at the first NUL.
pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}
