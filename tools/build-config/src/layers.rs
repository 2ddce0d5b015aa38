// SPDX-License-Identifier: Apache-2.0
//! Reads the descriptor lines of the layers on standard input: their diff IDs and digests.

use common::descriptor::{Descriptor, UNCOMPRESSED};
use common::digest::Digest;
use common::error::{Error, Result, printable};
use common::lines::{Lines, NO_INPUT};
use common::mediatype::{Kind, kind};
use common::{notice, stdio};

/// The largest number of layers in one run: far more than any system can mount.
pub(crate) const MAX_LAYERS: usize = 10_000;

/// The layers that the lines name, base first.
pub(crate) struct Layers {
    /// The diff IDs.
    pub(crate) diff_ids: Vec<Digest>,
    /// The digests of the blobs.
    pub(crate) blobs: Vec<Digest>,
}

impl Layers {
    /// No layers.
    pub(crate) fn none() -> Layers {
        Layers { diff_ids: Vec::new(), blobs: Vec::new() }
    }

    /// Reads standard input to its end.
    ///
    /// # Errors
    /// Malformed if there are no lines or too many, if a line is an early line, if it does not
    /// describe a layer, or if it has no diff ID.
    pub(crate) fn read() -> Result<Layers> {
        let mut layers = Layers::none();
        for line in Lines::new(stdio::stdin()?) {
            let descriptor = line.map_err(hint_no_layers)?;
            descriptor.refuse_early()?;
            refuse_non_layer(&descriptor)?;
            if layers.blobs.len() == MAX_LAYERS {
                return Err(Error::malformed(format_args!("more than {MAX_LAYERS} layers")));
            }
            layers.diff_ids.push(diff_id(&descriptor)?);
            layers.blobs.push(descriptor.digest);
        }
        Ok(layers)
    }

    /// Warns if the lines begin with all layers of the base. They are then probably the lines of
    /// the complete image, not only those of the new layers.
    pub(crate) fn warn_of_repeated_base(&self, base: &[Digest]) {
        if !base.is_empty() && self.diff_ids.starts_with(base) {
            notice::warn("repeated base", || {
                "the lines begin with the base's own layers: the image now has them twice"
                    .to_owned()
            });
        }
    }
}

/// Adds a hint about `--no-layers` to the error about an empty input.
fn hint_no_layers(error: Error) -> Error {
    if error.to_string() != NO_INPUT {
        return error;
    }
    error.hint("--no-layers makes a config without reading lines")
}

fn refuse_non_layer(descriptor: &Descriptor) -> Result<()> {
    let Descriptor { media_type, digest, .. } = descriptor;
    let wrong = |what: &str| Error::malformed(format_args!("{digest}: {what}, not a layer"));
    Err(match kind(media_type) {
        Kind::Layer { .. } => return Ok(()),
        Kind::Config | Kind::Plugin => {
            wrong("a config").hint("list-blobs --layers leaves the config out")
        }
        Kind::Index | Kind::Manifest | Kind::Schema1 => wrong("a manifest")
            .hint("list-blobs --layers --diff-ids --from STORE lists the layers of a manifest"),
        Kind::Other => {
            let shown = printable(media_type);
            Error::malformed(format_args!("{digest}: {shown} is not the media type of a layer"))
        }
    })
}

fn diff_id(descriptor: &Descriptor) -> Result<Digest> {
    let digest = &descriptor.digest;
    match descriptor.diff_id() {
        Ok(Some(diff_id)) => Ok(diff_id),
        Ok(None) => {
            let what = format_args!("{digest}: no diff ID (annotation {UNCOMPRESSED})");
            Err(Error::malformed(what)
                .hint("pack-layer and unpack-layer print lines with diff IDs"))
        }
        Err(why) => Err(Error::malformed(format_args!("{digest}: {why}"))),
    }
}
