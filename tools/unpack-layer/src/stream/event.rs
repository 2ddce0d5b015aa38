// SPDX-License-Identifier: Apache-2.0
//! What the reading thread and the caller's end of the stream say to each other.

use std::sync::Arc;

use common::error::Error;

use super::buffer::Buffer;
use super::layer::Step;

/// What the reading thread sends to the caller.
pub(super) enum Event {
    /// A layer begins, or a config came.
    Step(Step),
    /// Bytes of the layer's archive.
    Data(Arc<Buffer>),
    /// The layer's bytes are over.
    End,
    /// The reading failed; `hashed` says that the layer's verdict comes nevertheless.
    Failed { error: Error, hashed: bool },
}
