// SPDX-License-Identifier: Apache-2.0
//! Chooses the manifest for a platform from an index, including nested indexes.
//!
//! The platforms that the entries state are compared first. Only if none of them matches, the image
//! configs of entries without a platform are read, at most
//! [`MAX_EXAMINED`](common::selection::MAX_EXAMINED) of them.

use std::io::Read;

use common::descriptor::Descriptor;
use common::error::{Error, Result, Status, source_error};
pub use common::manifest::MAX_DEPTH;
use common::manifest::{Content, MAX_CONFIG};
use common::mediatype::{self, Kind};
use common::platform::Platform;
use common::selection;

use crate::Store;
use crate::manifest::{Document, ReadOptions};

/// A search for a platform in an index.
struct Search<'a> {
    store: &'a Store,
    wanted: &'a Platform,
    options: ReadOptions<'a>,
    /// The entries without a platform that were found, in order.
    unlabelled: Vec<Descriptor>,
    /// The platforms that the outermost index states.
    offered: Vec<Platform>,
}

impl Store {
    /// Finds the manifest for a platform in an index and its nested indexes. A document that is not
    /// an index is returned unchanged, but its config must be for the platform.
    ///
    /// # Errors
    /// Absent if no entry matches the platform; the message lists the platforms in the index, or
    /// names that of the image. Malformed if the indexes are nested too deep. Otherwise as for
    /// [`manifest`](Store::manifest).
    pub fn for_platform(
        &self,
        document: Document,
        wanted: &Platform,
        options: ReadOptions<'_>,
    ) -> Result<Document> {
        let digest = &document.descriptor.digest;
        let shown = format!("{self}@{digest}");
        let Content::Index { manifests } = &document.manifest.content else {
            self.check_image(&document, wanted).map_err(|error| error.context(shown))?;
            return Ok(document);
        };
        let offered = selection::offered(manifests);
        let mut search = Search { store: self, wanted, options, unlabelled: Vec::new(), offered };
        if let Some(found) = search.descend(document, 0)? {
            return Ok(found);
        }
        let Search { unlabelled, offered, .. } = search;
        let read = |entry: &Descriptor| self.platform_of(entry, options);
        let chosen = selection::by_config(&unlabelled, wanted, offered, read);
        self.described(chosen.map_err(|error| error.context(shown))?, options)
    }

    /// Checks that an image is for a platform. An artifact, and an image whose config is not in the
    /// store, is for any platform.
    fn check_image(&self, document: &Document, wanted: &Platform) -> Result<()> {
        match &document.manifest.content {
            Content::Schema1(image) => selection::check_platform(image.platform.clone(), wanted),
            Content::Image { config, .. }
                if mediatype::kind(&config.media_type) == Kind::Config =>
            {
                match self.small_blob(config, MAX_CONFIG) {
                    Ok(config) => selection::check_platform(selection::platform(&config), wanted),
                    Err(error) if error.status() == Status::Absent => Ok(()),
                    Err(error) => Err(error),
                }
            }
            _ => Ok(()),
        }
    }

    /// Chooses the entry for a platform among a layout's entries with the same name.
    ///
    /// # Errors
    /// As for [`for_platform`](Store::for_platform).
    pub(crate) fn choose(
        &self,
        named: &[Descriptor],
        wanted: &Platform,
        options: ReadOptions<'_>,
    ) -> Result<Descriptor> {
        if let Some(entry) = selection::candidates(named, wanted).first() {
            return Ok((*entry).clone());
        }
        let unlabelled: Vec<_> = selection::unlabelled(named).cloned().collect();
        let read = |entry: &Descriptor| self.platform_of(entry, options);
        selection::by_config(&unlabelled, wanted, selection::offered(named), read)
    }

    /// The platform in the image config of an entry. `None` if the entry is not an image that can
    /// be read, or if its config states no platform.
    fn platform_of(
        &self,
        entry: &Descriptor,
        options: ReadOptions<'_>,
    ) -> Result<Option<Platform>> {
        let config = self.described(entry.clone(), options).and_then(|document| {
            let Content::Image { config, .. } = document.manifest.content else { return Ok(None) };
            let is_image = mediatype::kind(&config.media_type) == Kind::Config;
            if is_image && config.size <= MAX_CONFIG {
                self.read_config(&config).map(Some)
            } else {
                Ok(None)
            }
        });
        match config {
            Ok(config) => Ok(config.and_then(|bytes| selection::platform(&bytes))),
            // An index may list manifests that this store does not have.
            Err(error) if matches!(error.status(), Status::Absent | Status::Malformed) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The verified bytes of an image config of at most [`MAX_CONFIG`] bytes.
    fn read_config(&self, config: &Descriptor) -> Result<Vec<u8>> {
        if let Some(bytes) = self.blob_at_once(config)? {
            return Ok(bytes);
        }
        loop {
            let mut bytes = Vec::new();
            let read = self.reader(config, 0).read_to_end(&mut bytes);
            read.map_err(|cause| source_error(&cause))?;
            let got = config.digest.algorithm().digest(&bytes);
            if got == config.digest {
                return Ok(bytes);
            }
            let what =
                format_args!("{self}: config: digest differs: got {got}, want {}", config.digest);
            let error = Error::content(what);
            if !self.drop_mirrors_of(&config.digest, &error) {
                return Err(error);
            }
        }
    }
}

impl Search<'_> {
    /// The manifest for the platform in an index or below it, judged by the platforms that the
    /// entries state. Entries without a platform are remembered.
    fn descend(&mut self, document: Document, depth: usize) -> Result<Option<Document>> {
        let Content::Index { manifests } = &document.manifest.content else {
            return Ok(Some(document));
        };
        let digest = &document.descriptor.digest;
        if depth >= MAX_DEPTH {
            return Err(Error::malformed(format_args!(
                "{}@{digest}: indexes nested deeper than {MAX_DEPTH}",
                self.store
            )));
        }
        for entry in selection::unlabelled(manifests) {
            let is_known = self.unlabelled.iter().any(|known| known.digest == entry.digest);
            // One entry more than the limit is kept, to show that the limit was exceeded.
            if !is_known && self.unlabelled.len() <= selection::MAX_EXAMINED {
                self.unlabelled.push(entry.clone());
            }
        }
        for entry in selection::candidates(manifests, self.wanted) {
            let chosen = match mediatype::kind(&entry.media_type) {
                Kind::Manifest | Kind::Index | Kind::Schema1 => {
                    self.store.described(entry.clone(), self.options)?
                }
                _ => continue,
            };
            match self.descend(chosen, depth + 1) {
                Ok(None) => {}
                // If a nested index without a platform has no match, a later entry may have one.
                Err(error) if entry.platform().is_none() && error.status() == Status::Absent => {}
                outcome => return outcome,
            }
        }
        Ok(None)
    }
}
