// SPDX-License-Identifier: Apache-2.0
//! Reads the parts of a manifest from standard input: finds the config and the layers, and refuses
//! all other lines.

use common::building;
use common::descriptor::Descriptor;
use common::digest::Algorithm;
use common::error::{Error, Result, printable};
use common::mediatype::{Kind, OCI_EMPTY, kind};
use serde_json::Value;

use crate::family::{self, Family};

/// A config and its layers, base first.
pub(crate) struct Parts {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

impl Parts {
    /// Reads standard input to its end.
    ///
    /// # Errors
    /// Malformed if there are no lines, if a line's media type is not allowed at its position, or
    /// if the lines together have more bytes than a manifest may have.
    pub(crate) fn read(artifact: bool, any_type: bool) -> Result<Parts> {
        let mut config = None;
        let mut layers = Vec::new();
        for line in building::lines()? {
            let descriptor = line?;
            refuse_manifest(&descriptor)?;
            let is_config = is_config(&descriptor);
            if config.is_none() {
                if is_config || any_type {
                    config = Some(descriptor);
                    continue;
                }
                if !artifact {
                    return Err(no_config(&descriptor));
                }
                config = Some(empty());
            }
            if !any_type {
                refuse_as_layer(&descriptor, artifact)?;
            }
            layers.push(descriptor);
        }
        let config = config.unwrap_or_else(empty);
        if config.media_type == OCI_EMPTY {
            if !artifact {
                let error = Error::malformed("the config is empty, but no artifact type is given");
                return Err(error.hint("--artifact-type TYPE sets the artifact type"));
            }
            if layers.is_empty() {
                // The OCI image specification requires a layer, since some registries refuse a
                // manifest without layers.
                layers.push(config.clone());
            }
        }
        Ok(Parts { config, layers })
    }

    /// Whether the config is an image config, which lists the layers' diff IDs.
    pub(crate) fn has_image_config(&self) -> bool {
        kind(&self.config.media_type) == Kind::Config
    }

    /// Refuses a manifest without layers. Only an image config can show that no lines are missing.
    ///
    /// # Errors
    /// Malformed if there are no layers.
    pub(crate) fn refuse_no_layers(&self) -> Result<()> {
        if self.layers.is_empty() {
            let error = Error::malformed("no layers: did the previous command fail?");
            return Err(error.hint("with --from oci:DIR, an image without layers is possible"));
        }
        Ok(())
    }

    /// Converts all media types to the given family, or checks that they belong to one family. Also
    /// returns that family.
    ///
    /// # Errors
    /// Malformed if no family is given and the parts belong to two, or if the family has no media
    /// type for a part.
    pub(crate) fn in_one_family(self, asked: Option<Family>) -> Result<(Parts, Family)> {
        let family = match asked {
            Some(family) => family,
            None => family::common_family(std::iter::once(&self.config).chain(&self.layers))?,
        };
        let layers = self.layers.into_iter().map(|layer| family.convert(layer));
        let parts =
            Parts { layers: layers.collect::<Result<_>>()?, config: family.convert(self.config)? };
        Ok((parts, family))
    }
}

/// Whether a line's media type is that of an image config or of OCI's empty config.
fn is_config(descriptor: &Descriptor) -> bool {
    kind(&descriptor.media_type) == Kind::Config || descriptor.media_type == OCI_EMPTY
}

/// The descriptor of OCI's empty config, which includes the content in its field `data`.
fn empty() -> Descriptor {
    let descriptor = Descriptor::new(OCI_EMPTY, Algorithm::Sha256.digest(b"{}"), 2);
    let mut value = descriptor.clone().into_value();
    if let Value::Object(fields) = &mut value {
        fields.insert("data".to_owned(), "e30=".into());
    }
    Descriptor::from_value(value).unwrap_or(descriptor)
}

fn refuse_manifest(descriptor: &Descriptor) -> Result<()> {
    let digest = &descriptor.digest;
    match kind(&descriptor.media_type) {
        Kind::Manifest | Kind::Index | Kind::Schema1 => {
            let error =
                Error::malformed(format_args!("{digest}: a manifest, not a config or a layer"));
            Err(error
                .hint("use list-blobs for the manifest's blobs, or --subject for the manifest"))
        }
        Kind::Plugin => Err(Error::malformed(format_args!("{digest}: target is a plugin"))),
        _ => Ok(()),
    }
}

fn no_config(descriptor: &Descriptor) -> Error {
    let Descriptor { digest, media_type, .. } = descriptor;
    let shown = printable(media_type);
    let error =
        Error::malformed(format_args!("the first line must be a config: {digest} is {shown}"));
    error.hint(match kind(media_type) {
        Kind::Layer { .. } => {
            "put the line that build-config --into prints before the layers' lines"
        }
        _ => "use --artifact-type for an artifact, or --any-type for a config",
    })
}

fn refuse_as_layer(descriptor: &Descriptor, artifact: bool) -> Result<()> {
    let Descriptor { digest, media_type, .. } = descriptor;
    match kind(media_type) {
        Kind::Layer { .. } => Ok(()),
        Kind::Config => {
            let error = Error::malformed(format_args!("{digest}: a second config"));
            Err(error.hint("list-blobs --layers leaves the config out"))
        }
        _ if artifact => Ok(()),
        _ => {
            let shown = printable(media_type);
            let error = Error::malformed(format_args!(
                "{digest}: {shown} is not the media type of a layer"
            ));
            Err(error.hint("use --any-type for a layer, or --artifact-type for an artifact"))
        }
    }
}
