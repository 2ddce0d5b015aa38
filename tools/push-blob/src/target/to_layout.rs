// SPDX-License-Identifier: Apache-2.0
//! Storing a blob of known digest in a layout.

use common::descriptor::Descriptor;
use common::error::Result;
use common::notice;
use common::progress::{How, Progress};
use layout::{Held, Layout};

use crate::copy::copy;
use crate::upload::rereadable::Rereadable;

/// Stores a blob, unless the layout has it. With `hash`, a blob that the layout has is hashed. A
/// wrong file under the blob's name is replaced.
///
/// # Errors
/// The source's errors; content if the bytes do not match the descriptor; local if the layout
/// cannot be written.
pub(super) fn store(
    layout: &Layout,
    descriptor: &Descriptor,
    source: &mut dyn Rereadable,
    hash: bool,
    progress: &Progress,
) -> Result<How> {
    let Descriptor { digest, size, .. } = descriptor;
    match layout.check_blob(digest, Some(*size), hash)? {
        Held::Blob(_) => return Ok(How::Present),
        Held::Absent => {}
        Held::Wrong(what) => {
            notice::warn("mended", || {
                format!("{digest}: invalid blob in the layout: {what}: replaced")
            });
        }
    }
    let mut blob = layout.new_blob(digest.algorithm())?;
    copy(&mut source.open(0)?, &mut blob, &digest.to_string(), (progress, Some(digest)))?;
    source.check_unchanged()?;
    blob.finish_as(descriptor)?;
    Ok(How::Pushed)
}
