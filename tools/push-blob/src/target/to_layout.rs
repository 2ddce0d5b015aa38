// SPDX-License-Identifier: Apache-2.0
//! Storing a blob of known digest in a layout.

use common::descriptor::Descriptor;
use common::error::Result;
use common::progress::{How, Progress};
use layout::Layout;

use crate::copy::copy;
use crate::upload::rereadable::Rereadable;

/// Stores a blob, unless the layout has it.
///
/// # Errors
/// The source's errors; content if the bytes do not match the descriptor; local if the layout
/// cannot be written.
pub(super) fn store(
    layout: &Layout,
    descriptor: &Descriptor,
    source: &mut dyn Rereadable,
    progress: &Progress,
) -> Result<How> {
    if layout.blob(descriptor)?.is_some() {
        return Ok(How::Present);
    }
    let mut blob = layout.new_blob(descriptor.digest.algorithm())?;
    copy(&mut source.open(0)?, &mut blob, &descriptor.digest.to_string(), progress)?;
    source.check_unchanged()?;
    blob.finish_as(descriptor)?;
    Ok(How::Pushed)
}
