// SPDX-License-Identifier: Apache-2.0
//! Bytes that can be read again, as an upload needs them whose request was lost.

use std::io::Read;

use common::error::Result;

/// Bytes that can be read again, from any offset.
pub(crate) trait Rereadable {
    /// The bytes from `offset` to the end.
    ///
    /// # Errors
    /// The source's own.
    fn open(&mut self, offset: u64) -> Result<Box<dyn Read + '_>>;

    /// Checks that they are those that they were when this value was made.
    ///
    /// # Errors
    /// Content, when they changed.
    fn check_unchanged(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Bytes in memory.
impl Rereadable for &[u8] {
    fn open(&mut self, offset: u64) -> Result<Box<dyn Read + '_>> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        Ok(Box::new(&self[start..]))
    }
}
