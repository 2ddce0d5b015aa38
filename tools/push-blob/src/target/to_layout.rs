// SPDX-License-Identifier: Apache-2.0
//! A blob of known digest into a layout.

use common::descriptor::Descriptor;
use common::error::Result;
use common::progress::{How, Progress};
use layout::Layout;

use crate::copy::copy;
use crate::upload::rereadable::Rereadable;

/// Stores a blob, unless the layout has it.
///
/// # Errors
/// The source's; content when its bytes are not the descriptor's; local trouble with the layout.
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
