// SPDX-License-Identifier: Apache-2.0
//! The names of the files in `ingest/` that these tools write.

use common::digest::{Algorithm, Digest};

/// The name of the first partial file of a blob.
pub(crate) fn first(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm(), digest.hex())
}

/// A file in `ingest/`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Partial {
    /// A part of the blob with this digest: `ALG-HEX` or `ALG-HEX.OFFSET`.
    Of(Digest),
    /// A temporary file that an ended run left behind: `.NAME.HEX.part`.
    Temporary,
}

impl Partial {
    /// Recognises a name; `None` if these tools do not write such a name.
    pub(crate) fn from_name(name: &str) -> Option<Partial> {
        if let Some(stem) = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".part")) {
            let (_, random) = stem.rsplit_once('.')?;
            let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            return (random.len() == 16 && random.bytes().all(is_hex))
                .then_some(Partial::Temporary);
        }
        let (stem, offset) = name.split_once('.').unwrap_or((name, "1"));
        let is_offset = offset.parse::<u64>().is_ok_and(|n| n > 0 && n.to_string() == offset);
        let (algorithm, hex) = stem.split_once('-')?;
        let algorithm: Algorithm = algorithm.parse().ok()?;
        let digest = format!("{algorithm}:{hex}").parse().ok()?;
        is_offset.then_some(Partial::Of(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_tools_write_are_recognised() {
        let digest = Algorithm::Sha256.digest(b"x");
        let name = first(&digest);
        let of = Some(Partial::Of(digest));
        assert_eq!(Partial::from_name(&name), of);
        assert_eq!(Partial::from_name(&format!("{name}.1048576")), of);
        let temporary = Some(Partial::Temporary);
        assert_eq!(Partial::from_name(".index.json.0123456789abcdef.part"), temporary);
        for other in [
            "",
            "note",
            ".part",
            ".x.part",
            ".0123456789abcdef.part",
            ".x.0123456789abcdeF.part",
            ".x.123.part",
            "md5-ab",
            "sha256-ab",
        ] {
            assert_eq!(Partial::from_name(other), None, "{other}");
        }
        for end in [".", ".0", ".01", ".+1", ".1x", "0", ".1.2"] {
            assert_eq!(Partial::from_name(&format!("{name}{end}")), None, "{end}");
        }
    }
}
