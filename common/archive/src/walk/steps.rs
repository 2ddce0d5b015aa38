// SPDX-License-Identifier: Apache-2.0
//! Limits the number of path components that are walked for a layer.

use common::error::{Error, Result};

/// The number of path components that may be walked for a layer even if it has few entries. This is
/// enough for sixteen walks of the greatest depth ([`MAX_DEPTH`](crate::names::MAX_DEPTH)).
const STEPS: u64 = 1 << 18;

/// The number of path components that may be walked in addition for each entry. An entry needs few
/// steps if its directory is near that of the previous entry. Ordinary layers therefore stay far
/// below this limit.
const STEPS_PER_ENTRY: u64 = 64;

/// The path components that were walked: directories that were entered, and symbolic links that
/// were read. A directory that is still in the [`Chain`](super::Chain) of the previous walk is not
/// counted.
#[derive(Default)]
pub struct Steps(u64);

impl Steps {
    /// Counts walked components of a layer. `entries` is the number of its entries that were read.
    ///
    /// # Errors
    /// Malformed if more than 2^18 components, plus 64 for each entry, were walked for the layer.
    /// Without this limit, a layer of a few kilobytes could take minutes.
    pub fn add(&mut self, steps: usize, entries: u64) -> Result<()> {
        self.0 = self.0.saturating_add(steps as u64);
        let limit = STEPS.saturating_add(entries.saturating_mul(STEPS_PER_ENTRY));
        if self.0 > limit {
            return Err(Error::malformed(format_args!(
                "more than {limit} path components to walk for {entries} entries"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_bounded_at_the_limit() {
        for entries in [0, 2] {
            let limit = (STEPS + entries * STEPS_PER_ENTRY) as usize;
            let mut steps = Steps::default();
            steps.add(limit, entries).unwrap();
            assert!(steps.add(1, entries).is_err());
        }
    }
}
