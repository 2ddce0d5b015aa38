// SPDX-License-Identifier: Apache-2.0
//! Whether everything that a manifest refers to is in the layout, nested indexes included.
//!
//! Blobs are compared by size only: a blob under its final name was verified when it was stored.
//! Layers of schema 1 have no size and are hashed. Manifests are read and verified.

use std::collections::HashSet;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Result, Status};
use common::manifest::{Content, MAX_DEPTH, MAX_DIGESTS, MAX_SIZE, Manifest, Schema1};
use common::mediatype::{self, Kind};
use common::schema1;

use crate::{Held, Layout};

/// The result of the search for a missing blob of an image.
#[derive(Debug, PartialEq)]
pub(crate) enum Missing {
    /// Everything is in the layout.
    Nothing,
    /// The first blob or manifest that is absent, has another size, or is not a valid manifest.
    Blob(Digest),
    /// Not determined: the image has more than [`MAX_DIGESTS`] digests, or is nested deeper than
    /// [`MAX_DEPTH`].
    TooMany,
}

/// A blob or manifest to look up, and how many manifests are above it.
struct Open {
    descriptor: Descriptor,
    depth: usize,
}

impl Layout {
    /// Finds the first missing blob or manifest of an image. It may be the top manifest itself.
    /// Non-distributable layers may be missing.
    ///
    /// # Errors
    /// Local if a file cannot be read.
    pub(crate) fn missing_of(&self, top: &Descriptor) -> Result<Missing> {
        let mut seen: HashSet<Digest> = HashSet::new();
        let mut open = vec![Open { descriptor: top.clone(), depth: 0 }];
        while let Some(Open { descriptor, depth }) = open.pop() {
            if !seen.insert(descriptor.digest.clone()) {
                continue;
            }
            // The size of schema 1 in an index may include signatures, which a layout does not
            // keep.
            let is_schema1 = mediatype::kind(&descriptor.media_type) == Kind::Schema1;
            let size = (!is_schema1).then_some(descriptor.size);
            match self.check_blob(&descriptor.digest, size, false)? {
                Held::Blob(_) if mediatype::is_manifest(&descriptor.media_type) => {}
                Held::Blob(_) => continue,
                _ => return Ok(Missing::Blob(descriptor.digest)),
            }
            let Some(manifest) = self.stored_manifest(&descriptor)? else {
                return Ok(Missing::Blob(descriptor.digest));
            };
            if let Content::Schema1(image) = &manifest.content {
                match self.missing_layer(image)? {
                    Some(missing) => return Ok(Missing::Blob(missing)),
                    None => continue,
                }
            }
            let named = manifest.named();
            let is_too_deep = depth > MAX_DEPTH;
            if is_too_deep || seen.len() + open.len() + named.len() > MAX_DIGESTS {
                return Ok(Missing::TooMany);
            }
            let wanted =
                named.into_iter().rev().filter(|named| !named.is_non_distributable()).cloned();
            open.extend(wanted.map(|descriptor| Open { descriptor, depth: depth + 1 }));
        }
        Ok(Missing::Nothing)
    }

    /// Whether one of the digests is the config of this image, or a manifest in this index.
    pub(crate) fn is_about(&self, top: &Descriptor, digests: &HashSet<Digest>) -> bool {
        let Ok(Some(manifest)) = self.stored_manifest(top) else { return false };
        match &manifest.content {
            Content::Image { config, .. } => digests.contains(&config.digest),
            Content::Index { manifests } => manifests.iter().any(|m| digests.contains(&m.digest)),
            Content::Schema1(_) => false,
        }
    }

    /// Reads a manifest; `None` if it is absent, or if it does not match the descriptor.
    fn stored_manifest(&self, descriptor: &Descriptor) -> Result<Option<Manifest>> {
        let bytes = match self.read_blob(&descriptor.digest, MAX_SIZE) {
            Err(error) if error.status() == Status::Local => return Err(error),
            Err(_) => return Ok(None),
            Ok(bytes) => bytes,
        };
        let name = descriptor.digest.to_string();
        let parsed = Manifest::parse(&bytes, Some(&descriptor.media_type), &name, Schema1::Allowed);
        Ok(parsed.ok())
    }

    /// The first missing layer of a schema 1 image. Its layers have no sizes, and its config is
    /// part of the manifest.
    fn missing_layer(&self, image: &schema1::Image) -> Result<Option<Digest>> {
        for blob in image.layers() {
            if !matches!(self.check_blob(blob, None, false)?, Held::Blob(_)) {
                return Ok(Some(blob.clone()));
            }
        }
        Ok(None)
    }
}
