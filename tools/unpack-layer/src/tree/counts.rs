// SPDX-License-Identifier: Apache-2.0
//! Counts entries and bytes, and checks them against the limits of the command line.

use common::error::{Error, Result};

use super::rules::Rules;

/// The number of path components that a layer may walk even if it has few entries. This is enough
/// for sixteen walks of the greatest depth ([`MAX_DEPTH`](archive::names::MAX_DEPTH)).
const STEPS: u64 = 1 << 18;

/// The number of path components that a layer may walk in addition for each entry. An entry needs
/// few steps if its directory is near that of the previous entry. Ordinary layers therefore stay
/// far below this limit.
const STEPS_PER_ENTRY: u64 = 64;

/// The numbers of entries, directories and bytes so far.
pub(super) struct Counts {
    /// The entries of the current layer.
    entries: u64,
    /// The parent directories that were made without an entry, in the current layer.
    implied: u64,
    /// The path components that were walked in the current layer.
    steps: u64,
    /// The bytes of files in all layers, holes included.
    bytes: u64,
    max_entries: u64,
    max_size: Option<u64>,
}

impl Counts {
    /// Counts that begin at zero.
    pub(super) fn new(rules: &Rules) -> Counts {
        let Rules { max_entries, max_size, .. } = *rules;
        Counts { entries: 0, implied: 0, steps: 0, bytes: 0, max_entries, max_size }
    }

    /// Begins the next layer: entries and directories are counted per layer.
    pub(super) fn next_layer(&mut self) {
        self.entries = 0;
        self.implied = 0;
        self.steps = 0;
    }

    /// Begins a pass over this number of directories that does not belong to a layer.
    pub(super) fn begin_pass(&mut self, directories: usize) {
        self.entries = directories as u64;
        self.steps = 0;
    }

    /// Counts path components that are walked: directories that are opened, and symbolic links that
    /// are read. Components of a directory that is still open are not counted.
    ///
    /// Malformed if the layer's names need more than [`STEPS`] components, plus [`STEPS_PER_ENTRY`]
    /// for each entry. Without this limit, a layer of a few kilobytes could take minutes.
    pub(super) fn add_steps(&mut self, steps: usize) -> Result<()> {
        self.steps = self.steps.saturating_add(steps as u64);
        let limit = STEPS.saturating_add(self.entries.saturating_mul(STEPS_PER_ENTRY));
        if self.steps > limit {
            return Err(Error::malformed(format_args!(
                "more than {limit} path components to walk for {} entries",
                self.entries
            )));
        }
        Ok(())
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
    fn steps_are_bounded_at_the_limit() {
        let mut counts =
            Counts { entries: 0, implied: 0, steps: 0, bytes: 0, max_entries: 9, max_size: None };
        let limit = (STEPS + 2 * STEPS_PER_ENTRY) as usize;
        counts.add_entry().unwrap();
        counts.add_entry().unwrap();
        counts.add_steps(limit).unwrap();
        assert!(counts.add_steps(1).is_err());
        // Each layer has its own limit, and so has a pass that does not belong to a layer.
        counts.next_layer();
        counts.add_steps(STEPS as usize).unwrap();
        assert!(counts.add_steps(1).is_err());
        counts.begin_pass(2);
        counts.add_steps(limit).unwrap();
        assert!(counts.add_steps(1).is_err());
    }
}
