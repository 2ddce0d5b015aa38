// SPDX-License-Identifier: Apache-2.0
//! Walks down from manifests, nested indexes included. Passes each digest once, and each manifest
//! after its blobs.

use std::collections::HashSet;

use common::descriptor::{Descriptor, Line, Unsized};
use common::digest::Digest;
use common::error::{Error, Result};
use common::manifest::{Content, MAX_DEPTH, MAX_DIGESTS, Manifest};
use common::mediatype;

use crate::{ReadOptions, Store};

/// A step of a walk.
#[derive(Debug)]
pub enum Step {
    /// A blob, or a manifest whose blobs were passed before it.
    Line(Line),
    /// Another manifest will be read now, which may take time.
    Pause,
}

/// A walk through the manifests of a store. It passes each digest once, whatever the number of
/// calls.
pub struct Walk<'a> {
    store: &'a Store,
    options: ReadOptions<'a>,
    seen: HashSet<Digest>,
}

impl<'a> Walk<'a> {
    /// A walk through the manifests of a store, which are read with these options.
    pub fn new(store: &'a Store, options: ReadOptions<'a>) -> Walk<'a> {
        Walk { store, options, seen: HashSet::new() }
    }

    /// Passes everything below a manifest to `each`, but not the manifest itself.
    ///
    /// # Errors
    /// Malformed if indexes are nested too deep or if there are too many digests. The error of
    /// `each`. Otherwise as for [`Store::manifest`].
    pub fn below(
        &mut self,
        manifest: Manifest,
        each: &mut dyn FnMut(Step) -> Result<()>,
    ) -> Result<()> {
        self.walk(manifest, 0, each)
    }

    /// Passes a descriptor to `each`, unless its digest was passed before.
    ///
    /// # Errors
    /// Malformed if there are too many digests; otherwise the error of `each`.
    pub fn once(
        &mut self,
        descriptor: &Descriptor,
        each: &mut dyn FnMut(Step) -> Result<()>,
    ) -> Result<()> {
        if self.is_new(&descriptor.digest)? {
            each(Step::Line(Line::Whole(descriptor.clone())))
        } else {
            Ok(())
        }
    }

    /// Whether a digest was passed.
    pub fn has_passed(&self, digest: &Digest) -> bool {
        self.seen.contains(digest)
    }

    fn walk(
        &mut self,
        manifest: Manifest,
        depth: usize,
        each: &mut dyn FnMut(Step) -> Result<()>,
    ) -> Result<()> {
        let manifests = match manifest.content {
            Content::Image { config, layers } => {
                return std::iter::once(config)
                    .chain(layers)
                    .try_for_each(|blob| self.once(&blob, each));
            }
            Content::Index { .. } if depth >= MAX_DEPTH => {
                let what = format_args!("{}: indexes nested deeper than {MAX_DEPTH}", self.store);
                return Err(Error::malformed(what));
            }
            Content::Index { manifests } => manifests,
            // A registry requires all of them, even the blobs that are not layers of the image.
            Content::Schema1(image) => {
                return image.blobs.iter().try_for_each(|blob| {
                    if !self.is_new(blob)? {
                        return Ok(());
                    }
                    let line = Unsized::new(mediatype::DOCKER_LAYER_GZIP, blob.clone());
                    each(Step::Line(Line::Unsized(line)))
                });
            }
        };
        for entry in manifests {
            if mediatype::is_manifest(&entry.media_type) && !self.seen.contains(&entry.digest) {
                each(Step::Pause)?;
                let child = self.store.described(entry.clone(), self.options)?;
                self.walk(child.manifest, depth + 1, each)?;
            }
            self.once(&entry, each)?;
        }
        Ok(())
    }

    /// Marks a digest as passed. Returns whether it was not passed before.
    fn is_new(&mut self, digest: &Digest) -> Result<bool> {
        if self.seen.contains(digest) {
            return Ok(false);
        }
        if self.seen.len() >= MAX_DIGESTS {
            let what =
                format_args!("the index refers to more than {MAX_DIGESTS} blobs and manifests");
            return Err(Error::malformed(what));
        }
        Ok(self.seen.insert(digest.clone()))
    }
}
