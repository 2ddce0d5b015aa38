// SPDX-License-Identifier: Apache-2.0
//! Detects the compression of a layer from its first bytes, and decodes it.
//!
//! The media type is not used for that: in real images it is sometimes wrong.

use common::error::{Error, Result};
use common::mediatype::{self, Compression};

use super::gzip::Gzip;
use super::zstd::Zstd;

/// The number of bytes that [`sniff`] needs.
pub(super) const MAGIC: usize = 6;

/// The compression of a stream that begins with these bytes; `None` for a plain archive.
///
/// # Errors
/// Malformed if the compression is bzip2 or xz, which are not supported.
pub(super) fn sniff(start: &[u8]) -> Result<Option<Compression>> {
    match start {
        [0x1f, 0x8b, ..] => Ok(Some(Compression::Gzip)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Ok(Some(Compression::Zstd))
        }
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Err(unsupported("bzip2")),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(unsupported("xz")),
        _ => Ok(None),
    }
}

fn unsupported(name: &str) -> Error {
    Error::malformed(format_args!("unsupported compression: {name} (gzip and zstd are supported)"))
}

/// The media type of a layer of the given compression.
pub(crate) fn media_type(compression: Option<Compression>) -> &'static str {
    match compression {
        None => mediatype::OCI_LAYER,
        Some(Compression::Gzip) => mediatype::OCI_LAYER_GZIP,
        Some(Compression::Zstd) => mediatype::OCI_LAYER_ZSTD,
    }
}

/// The name of a compression, for messages.
pub(crate) fn name(compression: Option<Compression>) -> &'static str {
    match compression {
        None => "tar",
        Some(Compression::Gzip) => "gzip",
        Some(Compression::Zstd) => "zstd",
    }
}

/// A decoder of gzip or zstd.
pub(super) enum Decoder {
    Gzip(Box<Gzip>),
    Zstd(Zstd),
}

impl Decoder {
    pub(super) fn new(compression: Compression) -> Result<Decoder> {
        match compression {
            Compression::Gzip => Ok(Decoder::Gzip(Box::new(Gzip::new()))),
            Compression::Zstd => Zstd::new()
                .map(Decoder::Zstd)
                .map_err(|why| Error::malformed(format!("zstd: {why}"))),
        }
    }

    /// Decodes some bytes. Returns the number of bytes used from `input`, and the number written to
    /// `output`. If `output` is not full, all of `input` was used.
    pub(super) fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize)> {
        match self {
            Decoder::Gzip(gzip) => gzip.decode(input, output),
            Decoder::Zstd(zstd) => zstd.decode(input, output),
        }
        .map_err(|why| self.wrong(&why))
    }

    /// Checks at the end of the input that the compressed data is complete.
    pub(super) fn finish(&self) -> Result<()> {
        match self {
            Decoder::Gzip(gzip) => gzip.finish(),
            Decoder::Zstd(zstd) => zstd.finish(),
        }
        .map_err(|why| self.wrong(&why))
    }

    fn wrong(&self, why: &str) -> Error {
        let format = match self {
            Decoder::Gzip(_) => "gzip",
            Decoder::Zstd(_) => "zstd",
        };
        Error::malformed(format_args!("{format}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magics() {
        assert_eq!(sniff(b"\x1f\x8b\x08\0").unwrap(), Some(Compression::Gzip));
        assert_eq!(sniff(b"\x28\xb5\x2f\xfd\0").unwrap(), Some(Compression::Zstd));
        assert_eq!(sniff(b"\x5f\x2a\x4d\x18\0").unwrap(), Some(Compression::Zstd));
        assert_eq!(sniff(b"etc/").unwrap(), None);
        assert_eq!(sniff(b"").unwrap(), None);
        for wrong in [&b"BZh91AY"[..], b"\xfd7zXZ\0"] {
            assert!(sniff(wrong).unwrap_err().to_string().starts_with("unsupported compression"));
        }
    }
}
