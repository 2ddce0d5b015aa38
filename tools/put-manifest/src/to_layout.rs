// SPDX-License-Identifier: Apache-2.0
//! Stores a manifest in a layout that has everything the manifest names.

use common::error::{Error, Result, Status};
use common::manifest::referrer;
use common::reference::LayoutReference;
use layout::Layout;
use store::Document;

use crate::complete;

/// Stores a manifest and adds an entry to `index.json` for each of its names, or one entry without
/// a name if it has none.
///
/// # Errors
/// Usage if a tag is empty. Malformed if something that the manifest names is missing. Local if the
/// layout cannot be written.
pub(crate) fn put(place: &LayoutReference, tags: &[String], document: &Document) -> Result<()> {
    if let Some(wrong) = tags.iter().find(|tag| tag.is_empty()) {
        return Err(Error::usage(format_args!("--tag \"{wrong}\": not a tag")));
    }
    let Document { bytes, descriptor, manifest } = document;
    // The check precedes the creation of a layout, because a refused manifest must not create one.
    // The layout stays open until the end, so that no blob is removed after it was checked.
    let open = match Layout::open(&place.dir) {
        Err(error) if error.status() == Status::Absent => None,
        layout => Some(layout?),
    };
    match &open {
        Some(layout) => complete::in_layout(layout, manifest)?,
        None => complete::in_absent_layout(place, manifest)?,
    }
    let layout = Layout::create(&place.dir)?;
    layout.put_bytes(&descriptor.digest, bytes)?;
    let entry = match manifest.subject {
        // Other programs find referrers by these fields of the layout's entries.
        Some(_) => referrer(bytes, descriptor)?,
        None => descriptor.clone(),
    };
    let names: Vec<&str> = place.tag.iter().chain(tags).map(String::as_str).collect();
    if names.is_empty() {
        return layout.tag(&entry, None);
    }
    names.iter().try_for_each(|name| layout.tag(&entry, Some(name)))
}
