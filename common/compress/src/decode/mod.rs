// SPDX-License-Identifier: Apache-2.0
//! Detects the compression of a layer from its first bytes, and decodes it.
//!
//! The media type is not used to detect the compression, because in real images it is sometimes
//! wrong. All members of gzip and all frames of zstd are decoded.

mod gzip;
mod zstd;

use common::error::{Error, Result};
use common::mediatype::{self, Compression, Kind, kind};
use common::notice;

use self::gzip::Gzip;
use self::zstd::Zstd;

/// The number of bytes that [`sniff`] needs.
pub const MAGIC: usize = 6;

/// The compression of a stream that begins with these bytes; `None` for a plain archive.
///
/// # Errors
/// Malformed if the compression is bzip2 or xz, which are not supported.
pub fn sniff(start: &[u8]) -> Result<Option<Compression>> {
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
pub fn media_type(compression: Option<Compression>) -> &'static str {
    match compression {
        None => mediatype::OCI_LAYER,
        Some(Compression::Gzip) => mediatype::OCI_LAYER_GZIP,
        Some(Compression::Zstd) => mediatype::OCI_LAYER_ZSTD,
    }
}

/// The name of a compression, for messages.
pub fn name(compression: Option<Compression>) -> &'static str {
    match compression {
        None => "tar",
        Some(Compression::Gzip) => "gzip",
        Some(Compression::Zstd) => "zstd",
    }
}

/// Warns if the media type of a layer does not match its compression. `layer` is the layer's name
/// in messages.
pub fn warn_of_label(layer: &str, compression: Option<Compression>, media_type: &str) {
    let Kind::Layer { compression: labelled, .. } = kind(media_type) else { return };
    if labelled != compression {
        notice::warn("media type", || {
            format!("layer {layer}: {}, but its media type is {media_type}", name(compression))
        });
    }
}

/// A decoder of gzip or zstd, at some position in a stream.
pub struct Decoder(Format);

enum Format {
    Gzip(Box<Gzip>),
    Zstd(Zstd),
}

impl Decoder {
    /// A decoder before the first byte.
    ///
    /// # Errors
    /// Malformed if libzstd cannot allocate memory.
    pub fn new(compression: Compression) -> Result<Decoder> {
        match compression {
            Compression::Gzip => Ok(Decoder(Format::Gzip(Box::new(Gzip::new())))),
            Compression::Zstd => Zstd::new()
                .map(|zstd| Decoder(Format::Zstd(zstd)))
                .map_err(|why| Error::malformed(format!("zstd: {why}"))),
        }
    }

    /// Decodes some bytes. Returns the number of bytes used from `input`, and the number written to
    /// `output`. If `output` is not full, all of `input` was used.
    ///
    /// # Errors
    /// Malformed if the data is invalid, if data follows its end, or if zstd needs a dictionary or
    /// a window of more than 128 MiB.
    pub fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize)> {
        match &mut self.0 {
            Format::Gzip(gzip) => gzip.decode(input, output),
            Format::Zstd(zstd) => zstd.decode(input, output),
        }
        .map_err(|why| self.wrong(&why))
    }

    /// Checks at the end of the input that the compressed data is complete.
    ///
    /// # Errors
    /// Malformed if it is cut short.
    pub fn finish(&self) -> Result<()> {
        match &self.0 {
            Format::Gzip(gzip) => gzip.finish(),
            Format::Zstd(zstd) => zstd.finish(),
        }
        .map_err(|why| self.wrong(&why))
    }

    fn wrong(&self, why: &str) -> Error {
        let format = match &self.0 {
            Format::Gzip(_) => "gzip",
            Format::Zstd(_) => "zstd",
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
