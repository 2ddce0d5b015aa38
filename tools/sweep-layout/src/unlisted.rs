// SPDX-License-Identifier: Apache-2.0
//! Manifests that no entry reaches: referrers that were copied without an entry, manifests whose
//! image is not complete yet, and indexes whose image for one platform is in the layout.

use std::collections::HashSet;
use std::fs::Metadata;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result};
use common::manifest::{Content, MAX_DIGESTS, MAX_SIZE};
use layout::Layout;

use crate::age::Ages;
use crate::partial_files;

/// A manifest that no entry reaches.
pub(crate) struct Unlisted {
    pub(crate) descriptor: Descriptor,
    pub(crate) subject: Option<Digest>,
    /// Whether the manifest, or a blob that it names and no entry reaches, was stored or used a
    /// short time ago. A pipeline may still be storing its image.
    pub(crate) is_new: bool,
    /// Whether it is an index that was fetched from a repository, and names a manifest that an
    /// entry reaches. fetch-manifest stores such an index together with the image of one platform.
    pub(crate) is_index_of_reached: bool,
}

/// The manifests that are not reached and are new, have a subject, or are an index of a reached
/// manifest. Blobs that are not valid manifests are left out.
///
/// # Errors
/// Malformed if there are more than [`MAX_DIGESTS`]. Local if a directory or a blob cannot be read.
pub(crate) fn find(
    layout: &Layout,
    ages: &Ages,
    reached: &HashSet<Digest>,
) -> Result<Vec<Unlisted>> {
    let mut found = Vec::new();
    let sources = layout.distribution_sources().read();
    layout.for_each_blob(|digest, metadata| {
        if reached.contains(&digest) || metadata.len() > MAX_SIZE {
            return Ok(());
        }
        let Some((_, manifest)) = layout.manifest_in(&digest)? else { return Ok(()) };
        // Only blobs that no entry reaches count: a reached blob may be new because of another
        // image.
        let own = manifest.named().into_iter().filter(|named| !reached.contains(&named.digest));
        let is_new = ages.is_new(metadata)
            || own.into_iter().any(|named| is_new(layout, ages, &named.digest));
        let subject = manifest.subject.as_ref().map(|subject| subject.digest.clone());
        let is_index_of_reached = matches!(manifest.content, Content::Index { .. })
            && manifest.named().into_iter().any(|named| reached.contains(&named.digest))
            && !sources.sightings(&digest).is_empty();
        if !is_new && subject.is_none() && !is_index_of_reached {
            return Ok(());
        }
        if found.len() >= MAX_DIGESTS {
            let what = format_args!("{layout}: more than {MAX_DIGESTS} manifests without an entry");
            return Err(Error::malformed(what));
        }
        let descriptor = Descriptor::new(&manifest.media_type, digest, metadata.len());
        found.push(Unlisted { descriptor, subject, is_new, is_index_of_reached });
        Ok(())
    })?;
    Ok(found)
}

/// Whether a blob or its partial file is new.
fn is_new(layout: &Layout, ages: &Ages, digest: &Digest) -> bool {
    let is_new = |found: std::io::Result<Metadata>| found.is_ok_and(|found| ages.is_new(&found));
    is_new(layout.blob_path(digest).symlink_metadata())
        || is_new(layout.ingest_dir().join(partial_files::first(digest)).symlink_metadata())
}
