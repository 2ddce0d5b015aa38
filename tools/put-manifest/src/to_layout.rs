// SPDX-License-Identifier: Apache-2.0
//! Stores a manifest in a layout that has everything the manifest names.

use common::error::{Result, Status};
use common::manifest::referrer;
use common::reference::LayoutReference;
use layout::Layout;
use store::Document;

use crate::{carried, complete};

/// Stores a manifest and the blobs that it carries, and adds an entry to `index.json` for each tag,
/// or one entry without a name if there are no tags. A manifest with a subject is also listed as a
/// referrer of the subject.
///
/// # Errors
/// Malformed if something that the manifest names is missing, or if the subject's fallback tag
/// names something other than a list. Local if the layout cannot be written.
pub(crate) fn put(place: &LayoutReference, tags: &[String], document: &Document) -> Result<()> {
    let Document { bytes, descriptor, manifest } = document;
    // The check precedes the creation of a layout, because a refused manifest must not create one.
    // The layout stays open until the end, so that no blob is removed after it was checked.
    let open = match Layout::open(&place.dir) {
        Err(error) if error.status() == Status::Absent => None,
        layout => Some(layout?),
    };
    let carried = carried::blobs(manifest);
    match &open {
        Some(layout) => complete::in_layout(layout, manifest, &carried)?,
        None => complete::in_absent_layout(place, manifest, &carried)?,
    }
    let layout = Layout::create(&place.dir)?;
    for blob in &carried {
        layout.put_bytes(&blob.digest, &blob.bytes)?;
    }
    layout.put_bytes(&descriptor.digest, bytes)?;
    let entry = match manifest.subject {
        // Other programs find referrers by these fields of the layout's entries.
        Some(_) => referrer(bytes, descriptor)?,
        None => descriptor.clone(),
    };
    layout.tag(&entry, tags)?;
    // Programs that do not use those fields search the list of the subject's referrers.
    layout.list_referrer(&descriptor.digest)
}
