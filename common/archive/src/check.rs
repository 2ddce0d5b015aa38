// SPDX-License-Identifier: Apache-2.0
//! Checks an archive that the caller copies unchanged. The caller passes all its bytes to the
//! check.
//!
//! The archive must be one that [`Reader`](crate::Reader) accepts. In addition, two zero blocks
//! must mark its end, and only zeros may follow them. Readers would ignore a second archive after
//! these blocks.
//!
//! Not here: copying the bytes, which is the caller's work.

use common::error::{Error, Result};
use common::notice;

use crate::capability::{CAPABILITY, has_root_id};
use crate::entry::{Ending, Entry, shown};
use crate::header::is_zero;
use crate::parser::{Parser, not_an_archive};

/// The state of the check of an archive.
pub struct Check {
    parser: Parser,
}

impl Default for Check {
    fn default() -> Check {
        Check::new()
    }
}

impl Check {
    /// A check at the beginning of an archive.
    pub fn new() -> Check {
        // The parser's warnings are dropped: they are only for readers that interpret the entries.
        Check { parser: Parser::new(|_, _| ()) }
    }

    /// Checks the next bytes, in pieces of any size.
    ///
    /// # Errors
    /// Malformed if the bytes are not a tar archive, if it is damaged, if tar programs interpret it
    /// differently, or if data follows its end.
    pub fn update(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.parser.has_ended() {
                if is_zero(bytes) {
                    return Ok(());
                }
                let error = Error::malformed("data after the end of the archive");
                return Err(error
                    .hint("a layer has only one archive: make a separate layer of each archive"));
            }
            let (count, entry) = self.parser.take(bytes)?;
            if let Some(entry) = entry {
                warn_of_root_id(&entry);
            }
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Ends the check after the last byte.
    ///
    /// # Errors
    /// Malformed if the archive is incomplete.
    pub fn finish(&self) -> Result<()> {
        let where_cut = match self.parser.end()? {
            Ending::Marked | Ending::Trailing => return Ok(()),
            Ending::Empty => return Err(not_an_archive()),
            Ending::Unmarked => "no end marker",
            Ending::CutPadding => "within its last block",
        };
        Err(Error::malformed(format_args!("archive is cut short: {where_cut}")))
    }
}

/// Warns of capabilities that no other machine uses. They are not converted, because that would
/// change the archive.
fn warn_of_root_id(entry: &Entry) {
    let is_bound = |(name, value): &(Vec<u8>, Vec<u8>)| name == CAPABILITY && has_root_id(value);
    if entry.xattrs.iter().any(is_bound) {
        notice::warn("capability's root ID", || {
            format!(
                "entry {}: security.capability has the root ID of a user namespace (revision 3): \
                 it has no effect outside of that namespace",
                shown(&entry.name)
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BLOCK;

    /// A header with a correct checksum.
    fn header(kind: u8, size: &str) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(kind));
        header.as_old_mut().size[..size.len()].copy_from_slice(size.as_bytes());
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    /// Checks the bytes in pieces of the given size. Returns the error message, if any.
    fn outcome(bytes: &[u8], piece: usize) -> Option<String> {
        let mut check = Check::new();
        let looked = bytes.chunks(piece).try_for_each(|bytes| check.update(bytes));
        looked.and_then(|()| check.finish()).err().map(|error| error.to_string())
    }

    /// The error message, which must not depend on the size of the pieces; empty without an error.
    fn error_of(bytes: &[u8]) -> String {
        let whole = outcome(bytes, usize::MAX);
        for piece in [1, 7, 512, 1000] {
            assert_eq!(outcome(bytes, piece), whole, "in pieces of {piece}");
        }
        whole.unwrap_or_default()
    }

    fn blocks(count: usize) -> Vec<u8> {
        vec![0; count * BLOCK]
    }

    #[test]
    fn whole_archives_pass() {
        let file = [header(b'0', "1001"), vec![1; 513], vec![0; 511]].concat();
        assert_eq!(error_of(&[file.clone(), blocks(2)].concat()), "");
        assert_eq!(error_of(&[file.clone(), blocks(20)].concat()), "");
        assert_eq!(error_of(&blocks(2)), "");
        let sized = [header(b'x', "14"), b"12 size=513\n".to_vec(), vec![0; 500]].concat();
        let file = [sized, header(b'0', "0"), vec![1; 513], vec![0; 511], blocks(2)].concat();
        assert_eq!(error_of(&file), "");
        assert_eq!(error_of(&[header(b'5', "1000"), blocks(2)].concat()), "");
    }

    #[test]
    fn an_incomplete_archive_is_refused() {
        let file = [header(b'0', "1001"), vec![1; 513], vec![0; 511]].concat();
        assert_eq!(error_of(b"hello"), "not a tar archive");
        assert_eq!(error_of(&[b'x'; 600]), "not a tar archive");
        assert_eq!(error_of(&file), "archive is cut short: no end marker");
        assert_eq!(
            error_of(&[&file, &blocks(1)[..]].concat()),
            "archive is cut short: no end marker"
        );
        assert_eq!(error_of(&file[..600]), "archive is cut short: 425 bytes of data are missing");
        assert_eq!(error_of(&[&file, &file[..5]].concat()), "archive is cut short: in a header");
        assert_eq!(error_of(&[&file, &[b'x'; 512][..]].concat()), "header: wrong checksum");
        assert!(error_of(&[blocks(1), file.clone()].concat()).starts_with("a lone zero block"));
        assert!(error_of(&[file.clone(), blocks(2), file].concat()).starts_with("data after"));
        assert!(
            error_of(&[header(b'2', "1"), blocks(3)].concat())
                .starts_with("entry \"\": 1 bytes of data")
        );
        assert!(error_of(&header(b'0', "9")).starts_with("header: the size is not a number"));
        assert!(error_of(&[header(b'x', "4"), blocks(1)].concat()).contains("not a sequence"));
        assert!(error_of(&header(b'x', "4000001")).starts_with("extended header of 1048577"));
        assert!(!error_of(&header(b'x', "4000000")).starts_with("extended header of"));
    }
}
