// SPDX-License-Identifier: Apache-2.0
//! What a layer's first bytes say about its compression, and the decoder for it.
//!
//! The bytes decide, never a media type: labels are wrong in real images.

use common::error::{Error, Result};
use common::mediatype::{self, Compression};

use super::gzip::Gzip;
use super::zstd::Zstd;

/// How many bytes it takes to tell.
pub(super) const MAGIC: usize = 6;

/// The compression of a stream by its first bytes; nothing for a plain archive.
///
/// # Errors
/// Malformed for the compressions that layers may not have, by name.
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

/// A compression in words.
pub(crate) fn name(compression: Option<Compression>) -> &'static str {
    match compression {
        None => "tar",
        Some(Compression::Gzip) => "gzip",
        Some(Compression::Zstd) => "zstd",
    }
}

/// A decoder of either kind.
pub(super) enum Decoder {
    /// gzip.
    Gzip(Box<Gzip>),
    /// zstd.
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

    /// Decodes: how much of `input` was used and how much of `output` was filled. When the output is not
    /// full, the input was used up.
    pub(super) fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize)> {
        match self {
            Decoder::Gzip(gzip) => gzip.decode(input, output),
            Decoder::Zstd(zstd) => zstd.decode(input, output),
        }
        .map_err(|why| self.wrong(&why))
    }

    /// The end of the input: an error if it may not end here.
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
