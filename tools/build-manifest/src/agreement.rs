// SPDX-License-Identifier: Apache-2.0
//! Checks the layers against the image config: their number, and their diff IDs in order.

use common::error::{Error, Result};
use common::manifest::{MAX_CONFIG, diff_ids};
use layout::Layout;

use crate::parts::Parts;

/// Reads the config from the layout and compares the layers with it. A line without a diff ID is
/// counted as a layer, but not compared.
///
/// # Errors
/// Content if the number of layers or a diff ID differs, or if the config's digest or size is not
/// that of its line. Malformed if the blob is not an image config. Absent or Local if the blob
/// cannot be read.
pub(crate) fn check(parts: &Parts, layout: &Layout) -> Result<()> {
    let bytes = layout.read_described(&parts.config, MAX_CONFIG)?;
    let config = &parts.config.digest;
    let wanted = diff_ids(&bytes).map_err(|e| e.context(format_args!("image config {config}")))?;
    for (i, (layer, want)) in parts.layers.iter().zip(&wanted).enumerate() {
        let number = i + 1;
        let digest = &layer.digest;
        let got =
            layer.diff_id().map_err(|why| Error::malformed(format_args!("{digest}: {why}")))?;
        // Digests of different algorithms cannot be compared: they differ even for the same
        // archive.
        let differs =
            |got: &common::digest::Digest| got != want && got.algorithm() == want.algorithm();
        if let Some(got) = got.filter(differs) {
            return Err(Error::content(format_args!(
                "layer {number} ({digest}): diff ID differs: got {got}, want {want}"
            )));
        }
    }
    let got = parts.layers.len();
    let want = wanted.len();
    if got < want {
        let what = format_args!("got {got} of {want} layers: did the previous command fail?");
        return Err(Error::content(what));
    }
    if got > want {
        let what = format_args!("got {got} layers, want {want} (image config {config})");
        return Err(Error::content(what));
    }
    Ok(())
}
