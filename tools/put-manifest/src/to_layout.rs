// SPDX-License-Identifier: Apache-2.0
//! A manifest into a layout, when everything that it names is there.

use common::error::{Error, Result, Status};
use common::manifest::referrer;
use common::reference::LayoutReference;
use layout::Layout;
use store::Document;

use crate::complete;

/// Stores a manifest, and makes it an entry under each of its names; without any, an unnamed one.
///
/// # Errors
/// Usage: an empty tag. Malformed: something that the manifest names is not there. Local trouble.
pub(crate) fn put(place: &LayoutReference, tags: &[String], document: &Document) -> Result<()> {
    if let Some(wrong) = tags.iter().find(|tag| tag.is_empty()) {
        return Err(Error::usage(format_args!("--tag \"{wrong}\": not a tag")));
    }
    let Document { bytes, descriptor, manifest } = document;
    // A manifest that is refused makes no layout either.
    match Layout::open(&place.dir) {
        Err(error) if error.status() == Status::Absent => complete::in_none(place, manifest)?,
        layout => complete::in_layout(&layout?, manifest)?,
    }
    let layout = Layout::create(&place.dir)?;
    layout.put_bytes(&descriptor.digest, bytes)?;
    let entry = match manifest.subject {
        // Other programs find referrers by the entries of the layout.
        Some(_) => referrer(bytes, descriptor)?,
        None => descriptor.clone(),
    };
    let names: Vec<&str> = place.tag.iter().chain(tags).map(String::as_str).collect();
    if names.is_empty() {
        return layout.tag(&entry, None);
    }
    names.iter().try_for_each(|name| layout.tag(&entry, Some(name)))
}
