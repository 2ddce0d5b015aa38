// SPDX-License-Identifier: Apache-2.0
//! Whether the layers are those that the config speaks of: as many, and in the order of its diff
//! IDs.

use common::descriptor::Descriptor;
use common::error::{Error, Result};
use common::manifest::{MAX_CONFIG, diff_ids};
use layout::Layout;

use crate::parts::Parts;

/// Reads the config from the layout and compares. A line without a diff ID is taken at its place.
///
/// # Errors
/// Content: another number of layers, another diff ID, or a config that is not the one described.
/// Malformed: a blob that is no image config. Otherwise those of reading the layout.
pub(crate) fn check(parts: &Parts, layout: &Layout) -> Result<()> {
    let bytes = read(&parts.config, layout)?;
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

/// The config's bytes, of the digest and the size that its line has.
fn read(config: &Descriptor, layout: &Layout) -> Result<Vec<u8>> {
    let Descriptor { digest, size: want, .. } = config;
    if *want > MAX_CONFIG {
        let what = format_args!("{layout}@{digest}: {want} bytes, larger than {MAX_CONFIG}");
        return Err(Error::malformed(what));
    }
    let bytes = layout.read_blob(digest, MAX_CONFIG)?;
    let got = bytes.len() as u64;
    if got != *want {
        let what = format_args!("{layout}@{digest}: size differs: got {got}, want {want}");
        return Err(Error::content(what));
    }
    Ok(bytes)
}
