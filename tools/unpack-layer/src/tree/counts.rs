// SPDX-License-Identifier: Apache-2.0
//! Counts entries and bytes, and checks them against the limits of the command line.

use archive::walk::Steps;
use common::error::{Error, Result};

use super::rules::Rules;

/// The numbers of entries, directories and bytes so far.
pub(super) struct Counts {
    /// The entries of the current layer.
    entries: u64,
    /// The parent directories that were made without an entry, in the current layer.
    implied: u64,
    /// The path components that were walked in the current layer.
    steps: Steps,
    /// The bytes of files in all layers, holes included.
    bytes: u64,
    max_entries: u64,
    max_size: Option<u64>,
}

impl Counts {
    /// Counts that begin at zero.
    pub(super) fn new(rules: &Rules) -> Counts {
        let Rules { max_entries, max_size, .. } = *rules;
        Counts { entries: 0, implied: 0, steps: Steps::default(), bytes: 0, max_entries, max_size }
    }

    /// Begins the next layer: entries and directories are counted per layer.
    pub(super) fn next_layer(&mut self) {
        self.entries = 0;
        self.implied = 0;
        self.steps = Steps::default();
    }

    /// Begins a pass that does not belong to a layer. It covers this number of directories.
    pub(super) fn begin_pass(&mut self, directories: usize) {
        self.entries = directories as u64;
        self.steps = Steps::default();
    }

    /// Counts path components that are walked.
    ///
    /// # Errors
    /// Malformed if the layer needs more path components than its number of entries permits.
    pub(super) fn add_steps(&mut self, steps: usize) -> Result<()> {
        self.steps.add(steps, self.entries)
    }

    /// Counts an entry.
    ///
    /// # Errors
    /// Malformed if the layer has more entries than `--max-entries`.
    pub(super) fn add_entry(&mut self) -> Result<()> {
        self.entries += 1;
        self.check(self.entries, "entries")
    }

    /// Counts a directory that the layer has no entry for.
    ///
    /// # Errors
    /// Malformed if the layer needs more than `--max-entries` of them.
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

    /// Counts the bytes of a file.
    ///
    /// # Errors
    /// Malformed if all files together have more than `--max-size`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_limited_per_layer() {
        let mut counts = Counts {
            entries: 0,
            implied: 0,
            steps: Steps::default(),
            bytes: 0,
            max_entries: 9,
            max_size: None,
        };
        let mut most = 1 << 18;
        counts.add_steps(most).unwrap();
        assert!(counts.add_steps(1).is_err());
        // Each layer has its own limit, and so has a pass that does not belong to a layer.
        counts.next_layer();
        counts.add_entry().unwrap();
        counts.add_steps(most + 64).unwrap();
        assert!(counts.add_steps(1).is_err());
        counts.begin_pass(2);
        most += 2 * 64;
        counts.add_steps(most).unwrap();
        assert!(counts.add_steps(1).is_err());
    }
}
