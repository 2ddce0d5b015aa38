// SPDX-License-Identifier: Apache-2.0
//! Whether the layers are those that the config speaks of: as many, and in the order of its diff IDs.

use common::error::{Error, Result};
use common::manifest::{MAX_CONFIG, diff_ids};
use store::Store;

use crate::parts::Parts;

/// Reads the config from the store and compares. A line without a diff ID is taken at its place.
///
/// # Errors
/// Content: another number of layers, another diff ID, or a config that is not the one described. Otherwise the
/// store's, and malformed for what is no image config.
pub(crate) fn check(parts: &Parts, store: &Store) -> Result<()> {
    let bytes = store.read_blob(&parts.config, MAX_CONFIG)?;
    let config = &parts.config.digest;
    let wanted = diff_ids(&bytes).map_err(|e| e.context(format_args!("image config {config}")))?;
    let (came, want) = (parts.layers.len(), wanted.len());
    for (i, (layer, want)) in parts.layers.iter().zip(&wanted).enumerate() {
        let (place, digest) = (i + 1, &layer.digest);
        let got =
            layer.diff_id().map_err(|why| Error::malformed(format_args!("{digest}: {why}")))?;
        // Another algorithm's digest of the same archive is no other archive.
        let differs =
            |got: &common::digest::Digest| got != want && got.algorithm() == want.algorithm();
        if let Some(got) = got.filter(differs) {
            return Err(Error::content(format_args!(
                "layer {place} ({digest}): diff ID differs: got {got}, the config has {want}"
            )));
        }
    }
    match came {
        came if came == want => Ok(()),
        came if came < want => Err(Error::content(format_args!(
            "{came} of {want} layers came: did the command before it fail?"
        ))),
        came => Err(Error::content(format_args!(
            "{came} layers came, the config {config} speaks of {want}"
        ))),
    }
}
