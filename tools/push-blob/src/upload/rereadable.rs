// SPDX-License-Identifier: Apache-2.0
//! Bytes that can be read again. An upload reads them again after a lost request.

use std::io::Read;

use common::error::Result;

/// Bytes that can be read again, from any offset.
pub(crate) trait Rereadable {
    /// A reader of the bytes from `offset` to the end.
    ///
    /// # Errors
    /// Absent or local if the source cannot be opened; content if it has another size.
    fn open(&mut self, offset: u64) -> Result<Box<dyn Read + '_>>;

    /// Checks that the bytes did not change since this value was created.
    ///
    /// # Errors
    /// Content if they changed.
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
