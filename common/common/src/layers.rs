// SPDX-License-Identifier: Apache-2.0
//! The rules for tools that read the layers of an image from descriptor lines: which lines they
//! accept, and how the layers are compared with the image config.

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::mediatype::{Kind, kind};

/// The largest image config that is read, in bytes.
pub const MAX_CONFIG: u64 = 4 << 20;

/// The meaning of a descriptor line to a tool that reads layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerLine {
    /// The line of the image config.
    Config,
    /// The line of a layer.
    Layer,
}

impl LayerLine {
    /// The meaning of a line. With `any_type`, an unknown media type counts as that of a layer.
    ///
    /// # Errors
    /// Malformed for a manifest, and for an unknown media type.
    pub fn of(descriptor: &Descriptor, any_type: bool) -> Result<LayerLine> {
        match kind(&descriptor.media_type) {
            Kind::Config => Ok(LayerLine::Config),
            Kind::Layer { .. } => Ok(LayerLine::Layer),
            Kind::Index | Kind::Manifest | Kind::Schema1 => Err(Error::malformed(format_args!(
                "{}: a manifest, not a layer",
                descriptor.digest
            ))
            .hint("fetch-manifest -p OS/ARCH REF | list-blobs lists the layers of one image")),
            _ if any_type => Ok(LayerLine::Layer),
            _ if is_document(&descriptor.media_type) => Err(Error::malformed(format_args!(
                "{}: {} is a document, not a layer",
                descriptor.digest, descriptor.media_type
            ))
            .hint("list-blobs --layers leaves the config out; read these lines with --no-config")),
            _ => Err(Error::malformed(format_args!(
                "{}: {} is not the media type of a layer",
                descriptor.digest, descriptor.media_type
            ))
            .hint("--any-type accepts the blob as a layer")),
        }
    }
}

/// Whether a media type is that of a JSON document, as the configs of artifacts and plugins are.
fn is_document(media_type: &str) -> bool {
    let media_type = media_type.to_ascii_lowercase();
    media_type.ends_with("+json") || media_type.ends_with("/json")
}

/// The diff IDs of the layers that were read, and those in the image config.
#[derive(Debug, Default)]
pub struct DiffIds {
    /// `None` before the image config was read.
    wanted: Option<Vec<Digest>>,
    got: Vec<Digest>,
}

impl DiffIds {
    /// The diff IDs in the image config; `None` before it was read.
    pub fn wanted(&self) -> Option<&[Digest]> {
        self.wanted.as_deref()
    }

    /// Sets the diff IDs in the image config.
    ///
    /// # Errors
    /// Content if they differ from those of the layers so far.
    pub fn set_wanted(&mut self, wanted: Vec<Digest>) -> Result<()> {
        self.wanted = Some(wanted);
        self.compare()
    }

    /// Adds the diff ID of a layer that was read to its end.
    ///
    /// # Errors
    /// Content if the image config was read and has another diff ID.
    pub fn add(&mut self, diff_id: Digest) -> Result<()> {
        self.got.push(diff_id);
        self.compare()
    }

    fn compare(&self) -> Result<()> {
        let Some(wanted) = &self.wanted else { return Ok(()) };
        if self.got.len() > wanted.len() {
            return Err(mismatch(format_args!(
                "got {} layers, want {}",
                self.got.len(),
                wanted.len()
            )));
        }
        for (i, (got, want)) in self.got.iter().zip(wanted).enumerate() {
            if got != want {
                let nth = i + 1;
                return Err(mismatch(format_args!("layer {nth}: got diff ID {got}, want {want}")));
            }
        }
        Ok(())
    }

    /// Compares `count`, the number of layers, with the image config. Called at the end.
    ///
    /// # Errors
    /// Content if there are fewer layers than the image config has. Malformed if no image config
    /// was read although it is `required`.
    pub fn check_number(&self, count: usize, required: bool) -> Result<()> {
        match &self.wanted {
            Some(wanted) if count < wanted.len() => Err(Error::content(format_args!(
                "got {count} of {} layers: did the previous command fail?",
                wanted.len()
            ))),
            None if required => {
                Err(Error::malformed("no line of an image config: did the previous command fail?")
                    .hint(
                        "--no-config accepts lines without a config; \
                         then missing layers are not detected",
                    ))
            }
            _ => Ok(()),
        }
    }

    /// [`check_number`](DiffIds::check_number) for the layers that were added.
    ///
    /// # Errors
    /// As for [`check_number`](DiffIds::check_number).
    pub fn check_end(&self, required: bool) -> Result<()> {
        self.check_number(self.got.len(), required)
    }
}

/// The error for a second image config.
pub fn second_config() -> Error {
    Error::malformed("got a second image config, want the layers of one image")
}

/// The error for layers that do not match the image config.
pub fn mismatch(how: impl std::fmt::Display) -> Error {
    Error::content(format_args!("layers from manifest don't match image configuration: {how}"))
}
