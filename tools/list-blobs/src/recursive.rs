// SPDX-License-Identifier: Apache-2.0
//! Lists everything below an index, nested indexes included: each digest once, each manifest after
//! its blobs.

use std::collections::HashSet;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result};
use common::manifest::{Content, MAX_DEPTH, MAX_DIGESTS, Manifest};
use common::mediatype;
use store::{Asking, Document, Store};

use crate::lines::LineWriter;

/// A walk down an index.
pub(crate) struct Walk<'a> {
    store: Store,
    asking: Asking<'a>,
    seen: HashSet<Digest>,
    output: &'a mut LineWriter,
}

impl<'a> Walk<'a> {
    /// A walk through the manifests of a store, which are read with the options in `asking`.
    pub(crate) fn new(store: Store, asking: Asking<'a>, output: &'a mut LineWriter) -> Walk<'a> {
        Walk { store, asking, seen: HashSet::new(), output }
    }

    /// Prints everything below a manifest, but not the manifest itself. An index without entries is
    /// the exception: it is printed, because the next program treats empty input as a failure.
    ///
    /// # Errors
    /// Malformed if indexes are nested too deep or if there are too many digests. Otherwise as for
    /// [`Store::manifest`].
    pub(crate) fn print_below(&mut self, document: Document) -> Result<()> {
        let Document { manifest, descriptor, .. } = document;
        if matches!(&manifest.content, Content::Index { manifests } if manifests.is_empty()) {
            return self.put_once(&descriptor);
        }
        self.walk(manifest, 0)
    }

    fn walk(&mut self, manifest: Manifest, depth: usize) -> Result<()> {
        let manifests = match manifest.content {
            Content::Image { config, layers } => {
                return std::iter::once(config)
                    .chain(layers)
                    .try_for_each(|blob| self.put_once(&blob));
            }
            Content::Index { .. } if depth >= MAX_DEPTH => {
                let what = format_args!("{}: indexes nested deeper than {MAX_DEPTH}", self.store);
                return Err(Error::malformed(what));
            }
            Content::Index { manifests } => manifests,
            // A registry requires all of them, also the blobs that are not layers of the image.
            Content::Schema1(image) => {
                return image.blobs.iter().try_for_each(|blob| {
                    if self.is_new(blob)? { self.output.put_schema1(blob) } else { Ok(()) }
                });
            }
        };
        for entry in manifests {
            if mediatype::is_manifest(&entry.media_type) && !self.seen.contains(&entry.digest) {
                // The next program can use the lines so far while the next manifest is read.
                self.output.flush()?;
                let child = self.store.described(entry.clone(), self.asking)?;
                self.walk(child.manifest, depth + 1)?;
            }
            self.put_once(&entry)?;
        }
        Ok(())
    }

    fn put_once(&mut self, descriptor: &Descriptor) -> Result<()> {
        if self.is_new(&descriptor.digest)? { self.output.put(descriptor) } else { Ok(()) }
    }

    /// Whether the digest was not printed yet. It counts as printed from now on.
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
