// SPDX-License-Identifier: Apache-2.0
//! Finds the digests to keep: those that the entries reach, those of their referrers, and those
//! that a pipeline stored or used a short time ago.

use std::collections::{HashMap, HashSet};

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::manifest::{Content, MAX_DEPTH, MAX_DIGESTS, Schema1};
use common::referrers::fallback_tag;
use common::{mediatype, notice};
use layout::{Layout, REF_NAME};

use crate::age::Ages;
use crate::unlisted;

/// Reads all manifests that are kept. Returns their digests, and the digests of everything that
/// they name.
///
/// # Errors
/// Malformed if `index.json` or a manifest is malformed, or if the manifest of an entry is missing.
/// Malformed if a manifest of an index is missing and `allow_missing` is not set, if indexes are
/// nested too deep, or if there are too many digests. Content if the size or digest of a manifest
/// differs. Local if a file cannot be read.
pub(crate) fn walk(layout: &Layout, ages: &Ages, allow_missing: bool) -> Result<HashSet<Digest>> {
    let mut walk = Walk {
        layout,
        allow_missing,
        is_listed: true,
        reached: HashSet::new(),
        news: Vec::new(),
        read: HashSet::new(),
    };
    let entries = layout.entries()?;
    for entry in &entries {
        walk.visit(entry, 0)?;
    }
    let names: HashSet<&str> =
        entries.iter().filter_map(|entry| entry.annotation(REF_NAME)).collect();
    let mut referrers: HashMap<Digest, Vec<Descriptor>> = HashMap::new();
    let mut staged = Vec::new();
    for unlisted in unlisted::find(layout, ages, &walk.reached)? {
        if unlisted.is_index_of_reached {
            // Only the index itself is kept, not the images of other platforms.
            walk.keep(&unlisted.descriptor.digest)?;
        }
        if unlisted.is_new {
            staged.push(unlisted.descriptor);
        } else if let Some(subject) = unlisted.subject
            // If the subject has a list of referrers, this referrer was removed from the list.
            && !names.contains(fallback_tag(&subject).as_str())
        {
            referrers.entry(subject).or_default().push(unlisted.descriptor);
        }
    }
    // A manifest that no entry lists yet may name another one that does not exist yet.
    walk.allow_missing = true;
    walk.is_listed = false;
    loop {
        for digest in std::mem::take(&mut walk.news) {
            staged.extend(referrers.remove(&digest).into_iter().flatten());
        }
        let Some(next) = staged.pop() else { return Ok(walk.reached) };
        walk.visit(&next, 0)?;
    }
}

/// A walk down from manifests.
struct Walk<'a> {
    layout: &'a Layout,
    /// Whether a missing manifest of an index is skipped.
    allow_missing: bool,
    /// Whether the walk is below an entry. Only there a missing manifest causes a warning.
    is_listed: bool,
    reached: HashSet<Digest>,
    /// The digests that were reached since this list was last emptied.
    news: Vec<Digest>,
    /// The manifests that were read. A manifest may have been reached as a blob before it is read.
    read: HashSet<Digest>,
}

impl Walk<'_> {
    /// Keeps the blob of a descriptor and everything below it. `depth` is the number of indexes
    /// above it.
    fn visit(&mut self, descriptor: &Descriptor, depth: usize) -> Result<()> {
        let digest = &descriptor.digest;
        self.keep(digest)?;
        if !mediatype::is_manifest(&descriptor.media_type) || self.read.contains(digest) {
            return Ok(());
        }
        let (_, manifest) = match self.layout.read_manifest(descriptor, Schema1::Allowed) {
            Err(error) if error.status() == Status::Absent => {
                return self.missing(descriptor, depth);
            }
            read => read?,
        };
        self.read.insert(digest.clone());
        match manifest.content {
            Content::Image { config, layers } => {
                std::iter::once(config).chain(layers).try_for_each(|blob| self.keep(&blob.digest))
            }
            Content::Index { .. } if depth >= MAX_DEPTH => {
                let layout = self.layout;
                let what = format_args!("{layout}: indexes nested deeper than {MAX_DEPTH}");
                Err(Error::malformed(what))
            }
            Content::Index { manifests } => {
                manifests.iter().try_for_each(|entry| self.visit(entry, depth + 1))
            }
            // A registry requires all of them, even the blobs that are not layers of the image.
            Content::Schema1(image) => image.blobs.iter().try_for_each(|blob| self.keep(blob)),
        }
    }

    fn missing(&self, descriptor: &Descriptor, depth: usize) -> Result<()> {
        let (layout, digest) = (self.layout, &descriptor.digest);
        if depth > 0 && self.allow_missing {
            if self.is_listed {
                notice::warn("missing manifest", || {
                    format!("{layout}: no manifest {digest}: its blobs are not kept")
                });
            }
            return Ok(());
        }
        let error =
            Error::malformed(format_args!("{layout}: no manifest {digest}: nothing is removed"));
        Err(if depth == 0 {
            error.hint(layout.fetch_manifest_hint(digest))
        } else {
            error.hint("--allow-missing skips missing manifests that an index names")
        })
    }

    fn keep(&mut self, digest: &Digest) -> Result<()> {
        if self.reached.contains(digest) {
            return Ok(());
        }
        if self.reached.len() >= MAX_DIGESTS {
            let layout = self.layout;
            let what = format_args!("{layout}: its entries reach more than {MAX_DIGESTS} blobs");
            return Err(Error::malformed(what));
        }
        self.reached.insert(digest.clone());
        self.news.push(digest.clone());
        Ok(())
    }
}
