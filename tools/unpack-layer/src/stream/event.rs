// SPDX-License-Identifier: Apache-2.0
//! The messages from the reading thread to the caller's end of the stream.

use std::sync::Arc;

use common::error::Error;

use super::buffer::Buffer;
use super::layer::Step;

/// A message to the caller.
pub(super) enum Event {
    /// A layer begins, or an image config was read.
    Step(Step),
    /// Bytes of the layer's archive.
    Data(Arc<Buffer>),
    /// The end of the layer.
    End,
    /// Reading failed. If `hashed` is true, the rest of the layer is still hashed and a verdict
    /// follows.
    Failed { error: Error, hashed: bool },
}
