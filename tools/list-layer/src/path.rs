// SPDX-License-Identifier: Apache-2.0
//! Names of entries, checked as unpack-layer checks them, and the count of entries.

use archive::names::{self, Meaning};
use archive::{Entry, EntryType, shown};
use common::error::{Error, Result};
use common::notice;

/// The clean name of an entry. Also checks the meaning of the name.
///
/// # Errors
/// Malformed, with the name of the entry, if unpack-layer refuses the name, or the type for this
/// name.
pub(crate) fn clean(entry: &Entry) -> Result<Vec<u8>> {
    checked(entry).map_err(|error| in_entry(error, entry))
}

fn checked(entry: &Entry) -> Result<Vec<u8>> {
    let clean = names::clean(&entry.name)?;
    let is_directory = entry.entry_type == EntryType::Directory;
    match names::meaning(&clean)? {
        Meaning::Whiteout(_) | Meaning::Opaque if is_directory => {
            return Err(Error::malformed("a whiteout that is a directory"));
        }
        Meaning::Whiteout(_) | Meaning::Opaque if entry.size > 0 => {
            notice::warn("whiteout with data", || {
                format!("{}: a whiteout with data, which is left out", shown(&entry.name))
            });
        }
        Meaning::Plain if clean.is_empty() && !is_directory => {
            return Err(Error::malformed("the root is a directory and cannot be replaced"));
        }
        _ => {}
    }
    Ok(clean)
}

/// Adds the name of an entry to an error.
pub(crate) fn in_entry(error: Error, entry: &Entry) -> Error {
    error.context(format_args!("entry {}", shown(&entry.name)))
}

/// The kind of a whiteout with this clean name, as it is printed; `None` for any other name.
pub(crate) fn whiteout(clean: &[u8]) -> Option<&'static str> {
    match names::meaning(clean) {
        Ok(Meaning::Whiteout(_)) => Some("file"),
        Ok(Meaning::Opaque) => Some("opaque"),
        Ok(Meaning::Aufs) => Some("aufs"),
        Ok(Meaning::Plain) | Err(_) => None,
    }
}

/// A count with the limit of `--max-entries`.
pub(crate) struct Count {
    what: &'static str,
    limit: u64,
    count: u64,
}

impl Count {
    /// A count of `what` that begins at zero.
    pub(crate) fn new(what: &'static str, limit: u64) -> Count {
        Count { what, limit, count: 0 }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// Malformed beyond the limit.
    pub(crate) fn add(&mut self) -> Result<()> {
        self.count += 1;
        if self.count > self.limit {
            let Count { what, limit, .. } = self;
            return Err(Error::malformed(format_args!("more than {limit} {what} (--max-entries)")));
        }
        Ok(())
    }
}

/// The bytes of names, link targets and extended attributes that are kept in memory.
pub(crate) struct Kept {
    limit: usize,
    bytes: usize,
}

/// The maximum number of bytes that are kept for all layers together.
pub(crate) const MAX_KEPT: usize = 256 << 20;

impl Kept {
    /// A count that begins at zero.
    pub(crate) fn new(limit: usize) -> Kept {
        Kept { limit, bytes: 0 }
    }

    /// Counts more bytes.
    ///
    /// # Errors
    /// Malformed beyond the limit.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limit {
            let limit = self.limit;
            let what = format_args!("more than {limit} bytes of names, links and attributes");
            return Err(Error::malformed(what));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_kept_bytes_are_bounded_at_the_limit() {
        let mut count = Count::new("entries", 2);
        assert!(count.add().is_ok() && count.add().is_ok());
        assert_eq!(count.add().unwrap_err().to_string(), "more than 2 entries (--max-entries)");
        let mut kept = Kept::new(10);
        assert!(kept.add(10).is_ok());
        assert!(kept.add(1).unwrap_err().to_string().starts_with("more than 10 bytes of names"));
    }
}
