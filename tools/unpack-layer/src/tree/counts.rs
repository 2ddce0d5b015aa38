// SPDX-License-Identifier: Apache-2.0
//! How much has been unpacked, and the limits that the command line sets.

use common::error::{Error, Result};

use super::rules::Rules;

/// Entries, directories and bytes so far.
pub(super) struct Counts {
    /// Entries of the current layer.
    entries: u64,
    /// Directories that the current layer needed without an entry.
    implied: u64,
    /// Bytes of files, of all layers, holes included.
    bytes: u64,
    max_entries: u64,
    max_size: Option<u64>,
}

impl Counts {
    /// Nothing yet.
    pub(super) fn new(rules: &Rules) -> Counts {
        let Rules { max_entries, max_size, .. } = *rules;
        Counts { entries: 0, implied: 0, bytes: 0, max_entries, max_size }
    }

    /// The next layer begins: entries and directories are counted for each layer.
    pub(super) fn next_layer(&mut self) {
        self.entries = 0;
        self.implied = 0;
    }

    /// Counts an entry.
    ///
    /// # Errors
    /// Malformed: the layer has too many.
    pub(super) fn add_entry(&mut self) -> Result<()> {
        self.entries += 1;
        self.check(self.entries, "entries")
    }

    /// Counts a directory that the layer has no entry for.
    ///
    /// # Errors
    /// Malformed: the layer needs too many.
    pub(super) fn add_implied(&mut self) -> Result<()> {
        self.implied += 1;
        self.check(self.implied, "directories without an entry")
    }

    fn check(&self, count: u64, what: &str) -> Result<()> {
        let limit = self.max_entries;
        if count > limit {
            return Err(Error::malformed(format_args!("more than {limit} {what} (--max-entries)")));
        }
        Ok(())
    }

    /// Counts a file's bytes.
    ///
    /// # Errors
    /// Malformed: there are too many.
    pub(super) fn add_bytes(&mut self, bytes: u64) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        match self.max_size {
            Some(limit) if self.bytes > limit => {
                Err(Error::malformed(format_args!("more than {limit} bytes of files (--max-size)")))
            }
            _ => Ok(()),
        }
    }
}
