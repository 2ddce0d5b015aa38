// SPDX-License-Identifier: Apache-2.0
//! The referrers in a layout: the manifests that have a subject and that an entry of `index.json`
//! reaches.
//!
//! This finds the referrers that any program has stored. A referrer has an entry, or is in a list
//! of referrers that has an entry. The fields of a referrer in a list are not used: the manifest
//! itself is read. A manifest that no entry reaches is not part of the layout any more.

use std::collections::{HashMap, HashSet};

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::manifest::{self, Content, MAX_DEPTH, MAX_DIGESTS, MAX_SIZE, Schema1};
use common::{mediatype, notice};
use layout::Layout;

/// The referrers in a layout, by subject.
pub(crate) struct Found {
    by_subject: HashMap<Digest, Vec<Descriptor>>,
    seen: HashSet<Digest>,
}

impl Found {
    /// Reads all manifests that the entries reach. A manifest that is missing or invalid is skipped
    /// with a warning.
    ///
    /// # Errors
    /// Malformed if `index.json` is invalid, or if the entries reach more than [`MAX_DIGESTS`]
    /// manifests. Local if a file cannot be read.
    pub(crate) fn in_layout(layout: &Layout) -> Result<Found> {
        let mut found = Found { by_subject: HashMap::new(), seen: HashSet::new() };
        for entry in layout.entries()? {
            found.visit(layout, &entry, 0)?;
        }
        Ok(found)
    }

    /// Passes the descriptor of every referrer of `subject` to `each`. With `artifact_type`, only
    /// those of that type. Returns whether `subject` has any referrer, of any type.
    ///
    /// # Errors
    /// Content if a manifest changed. Local if it cannot be read. Otherwise the error of `each`.
    pub(crate) fn referrers(
        &self,
        layout: &Layout,
        subject: &Digest,
        artifact_type: Option<&str>,
        each: &mut dyn FnMut(Descriptor) -> Result<()>,
    ) -> Result<bool> {
        let Some(referrers) = self.by_subject.get(subject) else { return Ok(false) };
        for referrer in referrers {
            let bytes = layout.read_described(referrer, MAX_SIZE)?;
            let referrer = manifest::referrer(&bytes, referrer)?;
            if artifact_type.is_none_or(|wanted| referrer.artifact_type() == Some(wanted)) {
                each(referrer)?;
            }
        }
        Ok(true)
    }

    /// Records a manifest if it has a subject, and the manifests of an index. `depth` is the number
    /// of indexes above it. Indexes that are nested deeper than [`MAX_DEPTH`] are skipped.
    fn visit(&mut self, layout: &Layout, descriptor: &Descriptor, depth: usize) -> Result<()> {
        let digest = &descriptor.digest;
        if !mediatype::is_manifest(&descriptor.media_type) || self.seen.contains(digest) {
            return Ok(());
        }
        if self.seen.len() >= MAX_DIGESTS {
            let what =
                format_args!("{layout}: its entries reach more than {MAX_DIGESTS} manifests");
            return Err(Error::malformed(what));
        }
        self.seen.insert(digest.clone());
        let manifest = match layout.read_manifest(descriptor, Schema1::Allowed) {
            Err(error) if error.status() == Status::Local => return Err(error),
            Err(error) => {
                notice::warn("skipped manifest", || format!("{error}: skipped"));
                return Ok(());
            }
            Ok((_, manifest)) => manifest,
        };
        if let Some(subject) = manifest.subject {
            let own = Descriptor::new(&manifest.media_type, digest.clone(), descriptor.size);
            self.by_subject.entry(subject.digest).or_default().push(own);
        }
        match manifest.content {
            Content::Index { manifests } if depth < MAX_DEPTH => {
                manifests.iter().try_for_each(|entry| self.visit(layout, entry, depth + 1))
            }
            _ => Ok(()),
        }
    }
}
