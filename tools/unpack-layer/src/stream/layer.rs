// SPDX-License-Identifier: Apache-2.0
//! Layers before and after the stream: as a source returns them, and as the caller receives them.

use std::io::Read;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::Result;
use common::mediatype::Compression;

use crate::arriving::Arriving;

/// A layer to unpack, before its first byte is read.
pub(crate) struct LayerInput {
    /// The name in messages.
    pub(crate) name: String,
    /// The stored bytes.
    pub(crate) input: Box<dyn Read + Send>,
    /// The expected digest of the stored bytes, if known.
    pub(crate) digest: Option<Digest>,
    /// The expected number of stored bytes, if known.
    pub(crate) size: Option<u64>,
    /// The expected diff ID, if known.
    pub(crate) diff_id: Option<Digest>,
    /// The layer's descriptor line, if it had one.
    pub(crate) descriptor: Option<Descriptor>,
    /// The hint for wrong bytes, if there is one.
    pub(crate) repair: Option<String>,
    /// The partial file, if the blob has not arrived yet.
    pub(crate) arriving: Option<Arriving>,
}

/// An item of a source.
pub(crate) enum SourceItem {
    /// A layer.
    Layer(LayerInput),
    /// The descriptor of an image config, and the diff IDs in the config.
    Config(Descriptor, Vec<Digest>),
    /// All lines are those of the image that DIR was made of. They have the diff IDs.
    Same(Vec<Descriptor>),
}

/// A source of layers, used on a thread of its own.
pub(crate) type LayerSource = Box<dyn Iterator<Item = Result<SourceItem>>>;

/// A layer whose first bytes were read.
pub(crate) struct Layer {
    /// The name in messages.
    pub(crate) name: String,
    /// The expected digest of the stored bytes, if known.
    pub(crate) digest: Option<Digest>,
    /// The expected diff ID, if known.
    pub(crate) diff_id: Option<Digest>,
    /// The layer's descriptor line, if it had one.
    pub(crate) descriptor: Option<Descriptor>,
    /// The hint for wrong bytes, if there is one.
    pub(crate) repair: Option<String>,
    /// The partial file, if the blob had not arrived yet.
    pub(crate) arriving: Option<Arriving>,
    /// The compression, detected from the first bytes.
    pub(crate) compression: Option<Compression>,
}

/// An item of a source, as the caller receives it.
pub(crate) enum Step {
    /// A layer. Its archive is read from [`Stream`](super::Stream).
    Layer(Box<Layer>),
    /// The descriptor of an image config, and the diff IDs in the config.
    Config(Descriptor, Vec<Digest>),
    /// All lines are those of the image that DIR was made of. They have the diff IDs.
    Same(Vec<Descriptor>),
}
