// SPDX-License-Identifier: Apache-2.0
//! Adds the diff IDs of an image's config to the lines of its layers, in the annotation that
//! build-config reads. The lines can then be selected and combined before a new config is built.

use common::descriptor::{Descriptor, UNCOMPRESSED};
use common::digest::Digest;
use common::error::{Error, Result, printable};
use common::manifest::{Content, MAX_CONFIG, Manifest, diff_ids};
use common::mediatype::{Kind, kind};
use store::Store;

/// The manifest with a diff ID in the descriptor of each layer. The config is read from the store.
///
/// # Errors
/// Usage if the manifest is an index or a schema 1 manifest, or if the media type of its config is
/// not that of an image config. Content if the number of layers or a known diff ID differs from the
/// config. Malformed if the config is invalid. Otherwise as for [`Store::small_blob`].
pub(crate) fn add(mut manifest: Manifest, store: &Store) -> Result<Manifest> {
    let (config, layers) = match &mut manifest.content {
        Content::Image { config, layers } => (config, layers),
        Content::Index { .. } => {
            let error = Error::usage("--diff-ids: this is an index, not an image");
            return Err(error.hint("-p OS/ARCH selects an image"));
        }
        Content::Schema1(_) => {
            let what = "--diff-ids: this is a schema 1 manifest, which has no config";
            return Err(Error::usage(what).hint("unpack-layer prints lines with diff IDs"));
        }
    };
    if kind(&config.media_type) != Kind::Config {
        let media_type = printable(&config.media_type);
        let what = format_args!("--diff-ids: the config is {media_type}, not an image config");
        return Err(Error::usage(what));
    }
    let bytes = store.small_blob(config, MAX_CONFIG)?;
    let name = &config.digest;
    let ids = diff_ids(&bytes).map_err(|e| e.context(format_args!("image config {name}")))?;
    let (got, want) = (layers.len(), ids.len());
    if got != want {
        let what = format_args!("got {got} layers, want {want} (image config {name})");
        return Err(Error::content(what));
    }
    for (number, (layer, id)) in layers.iter_mut().zip(&ids).enumerate() {
        check(layer, id, number + 1)?;
        *layer = layer.clone().with_annotation(UNCOMPRESSED, &id.to_string());
    }
    Ok(manifest)
}

/// If the layer's descriptor has a diff ID, checks that the config has the same one.
fn check(layer: &Descriptor, want: &Digest, number: usize) -> Result<()> {
    let digest = &layer.digest;
    let known = layer.diff_id().map_err(|why| Error::malformed(format_args!("{digest}: {why}")))?;
    match known {
        // Digests of different algorithms cannot be compared.
        Some(got) if got != *want && got.algorithm() == want.algorithm() => Err(Error::content(
            format_args!("layer {number} ({digest}): diff ID differs: got {got}, want {want}"),
        )),
        _ => Ok(()),
    }
}
