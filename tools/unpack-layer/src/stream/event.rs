// SPDX-License-Identifier: Apache-2.0
//! The messages to the caller: from the source's thread, and from the reading thread of a lane.

use std::sync::Arc;

use common::error::Error;

use super::buffer::Buffer;
use super::layer::{Layer, Step};

/// A message from the source's thread, in the order of the source.
pub(super) enum Item {
    /// An item that no lane reads.
    Step(Step),
    /// The next layer of the lane with this number.
    Lane(usize),
}

/// A message from the reading thread of a lane.
pub(super) enum Event {
    /// A layer begins.
    Layer(Box<Layer>),
    /// Bytes of the layer's archive.
    Data(Arc<Buffer>),
    /// The end of the layer.
    End,
    /// Reading failed. If `hashed` is true, the rest of the layer is still hashed and a verdict
    /// follows.
    Failed { error: Error, hashed: bool },
}
