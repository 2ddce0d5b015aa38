// SPDX-License-Identifier: Apache-2.0
//! Layers on their way through the stream: as a source has them, and as the caller sees them.

use std::io::Read;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::Result;
use common::mediatype::Compression;

/// A layer that is to be unpacked, before its first byte is read.
pub(crate) struct LayerInput {
    /// What messages call it.
    pub(crate) name: String,
    /// Its stored bytes.
    pub(crate) input: Box<dyn Read + Send>,
    /// Their digest and number, as far as known.
    pub(crate) digest: Option<Digest>,
    /// The number of stored bytes.
    pub(crate) size: Option<u64>,
    /// The digest of its archive, as far as known.
    pub(crate) diff_id: Option<Digest>,
    /// The line that it came with.
    pub(crate) descriptor: Option<Descriptor>,
}

/// What a source has next.
pub(crate) enum SourceItem {
    /// A layer.
    Layer(LayerInput),
    /// An image config's line and the diff IDs it lists.
    Config(Descriptor, Vec<Digest>),
}

/// Where layers come from: made and used on the reading thread.
pub(crate) type LayerSource = Box<dyn Iterator<Item = Result<SourceItem>>>;

/// A layer whose bytes begin to come.
pub(crate) struct Layer {
    /// What messages call it.
    pub(crate) name: String,
    /// Its stored bytes' digest, as far as known before.
    pub(crate) digest: Option<Digest>,
    /// Its diff ID, as far as known before.
    pub(crate) diff_id: Option<Digest>,
    /// The line that it came with.
    pub(crate) descriptor: Option<Descriptor>,
    /// What its first bytes say.
    pub(crate) compression: Option<Compression>,
}

/// What a source had, as the caller sees it.
pub(crate) enum Step {
    /// A layer; its bytes come from [`Stream`](super::Stream).
    Layer(Box<Layer>),
    /// An image config's line and the diff IDs it lists.
    Config(Descriptor, Vec<Digest>),
}
