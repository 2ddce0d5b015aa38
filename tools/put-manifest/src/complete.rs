// SPDX-License-Identifier: Apache-2.0
//! Checks that everything a manifest names exists.

use std::collections::HashSet;
use std::sync::Arc;

use common::descriptor::{Descriptor, Line, Unsized};
use common::digest::Digest;
use common::error::{Error, Result, printable};
use common::manifest::{Content, Manifest};
use common::mediatype;
use common::notice;
use common::parallel;
use common::reference::LayoutReference;
use layout::{Held, Layout};
use registry::Registry;

use crate::carried::Carried;

/// The number of concurrent checks in a registry.
const CONNECTIONS: usize = 4;

/// The maximum number of missing digests in a message. More digests would make it too long.
const SHOWN: usize = 10;

/// Checks that the registry has everything that the manifest names, except `carried` blobs.
///
/// # Errors
/// Malformed if something is missing; the message lists it. Refused or Unavailable, depending on
/// the registry's response.
pub(crate) fn in_registry(
    registry: &Arc<Registry>,
    manifest: &Manifest,
    carried: &[Carried],
) -> Result<()> {
    let wanted = match &manifest.content {
        // A registry requires all blobs of schema 1, also those that are not layers of the image.
        Content::Schema1(image) => unsized_lines(image.blobs.iter()),
        _ => wanted(manifest, carried),
    };
    let mut missing = Vec::new();
    let work = {
        let registry = Arc::clone(registry);
        move |line: Line| {
            let exists = match &line {
                Line::Whole(Descriptor { media_type, digest, .. })
                    if mediatype::is_manifest(media_type) =>
                {
                    registry.has_manifest(digest)
                }
                Line::Whole(Descriptor { digest, size, .. }) => {
                    registry.has_blob(digest, *size).map_err(|failure| failure.error)
                }
                Line::Unsized(line) => {
                    registry.has_blob(line.digest(), None).map_err(|failure| failure.error)
                }
            };
            Ok((line, exists?))
        }
    };
    let take = |answer: Result<(Line, bool)>| {
        let (line, exists) = answer?;
        if !exists {
            missing.push(line);
        }
        Ok(())
    };
    parallel::in_order(CONNECTIONS, move || wanted.into_iter(), work, take)?;
    require_none_missing(&registry.repository().to_string(), &missing)
}

/// Checks that the layout has everything that the manifest names, except `carried` blobs.
///
/// # Errors
/// Malformed if something is missing; the message lists it. Local if the layout cannot be read.
pub(crate) fn in_layout(layout: &Layout, manifest: &Manifest, carried: &[Carried]) -> Result<()> {
    let mut missing = Vec::new();
    for line in wanted(manifest, carried) {
        let digest = line.digest();
        let size = match &line {
            Line::Whole(descriptor) => Some(descriptor.size),
            Line::Unsized(_) => None,
        };
        match layout.check_blob(digest, size, false)? {
            Held::Blob(_) => continue,
            Held::Absent => {}
            Held::Wrong(what) => {
                notice::warn("wrong blob", || {
                    format!("{digest}: invalid blob in the layout: {what}")
                });
            }
        }
        missing.push(line);
    }
    require_none_missing(&printable(&layout.to_string()), &missing)
}

/// The same check for a layout that does not exist: everything is missing, except `carried` blobs.
///
/// # Errors
/// Malformed, unless the manifest names only `carried` blobs.
pub(crate) fn in_absent_layout(
    place: &LayoutReference,
    manifest: &Manifest,
    carried: &[Carried],
) -> Result<()> {
    let place = printable(&format!("oci:{}", place.dir.display()));
    require_none_missing(&place, &wanted(manifest, carried))
}

/// The descriptors to check, without duplicates, non-distributable layers and `carried` blobs.
fn wanted(manifest: &Manifest, carried: &[Carried]) -> Vec<Line> {
    if let Content::Schema1(image) = &manifest.content {
        return unsized_lines(image.layers());
    }
    let mut seen: HashSet<Digest> = carried.iter().map(|blob| blob.digest.clone()).collect();
    let named = manifest.named().into_iter().filter(|d| !d.is_non_distributable());
    named.filter(|d| seen.insert(d.digest.clone())).cloned().map(Line::Whole).collect()
}

/// The lines of a schema 1 manifest's blobs, without duplicates.
fn unsized_lines<'a>(blobs: impl Iterator<Item = &'a Digest>) -> Vec<Line> {
    let mut seen = HashSet::new();
    let new = blobs.filter(|digest| seen.insert(*digest));
    new.map(|digest| Line::Unsized(Unsized::new(mediatype::DOCKER_LAYER_GZIP, digest.clone())))
        .collect()
}

fn require_none_missing(place: &str, missing: &[Line]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let mut named: Vec<String> =
        missing.iter().take(SHOWN).map(|line| line.digest().to_string()).collect();
    if missing.len() > SHOWN {
        named.push(format!("and {} more", missing.len() - SHOWN));
    }
    let what = format_args!("{place}: missing, but named by the manifest: {}", named.join(" "));
    let is_manifest = |line: &Line| match line {
        Line::Whole(descriptor) => mediatype::is_manifest(&descriptor.media_type),
        Line::Unsized(_) => false,
    };
    let hint = if missing.iter().any(is_manifest) {
        "push-blob copies the blobs and manifests that list-blobs --recursive prints"
    } else {
        "push-blob or fetch-blob copies the blobs that list-blobs prints"
    };
    Err(Error::malformed(what).hint(hint))
}
