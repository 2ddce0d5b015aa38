// SPDX-License-Identifier: Apache-2.0
//! The layout of `--into`: storing a manifest there, and the check whether it has the image
//! already.

use common::descriptor::Descriptor;
use common::error::{Result, printable};
use common::notice;
use common::reference::{LayoutReference, Location};
use layout::{Held, Layout, REF_NAME};
use store::Document;

/// The layout of `--into`, and the reference that is fetched.
pub(crate) struct IntoLayout<'a> {
    pub(crate) place: &'a LayoutReference,
    pub(crate) from: &'a Location,
    /// Whether a name that moves to another image is reported. With `--if-changed`, the user
    /// expects such a move.
    pub(crate) reports_moves: bool,
}

impl IntoLayout<'_> {
    /// Whether the layout has this image already, under the same name and complete. False if the
    /// layout cannot be read; storing the manifest then reports the error.
    pub(crate) fn has(&self, descriptor: &Descriptor) -> bool {
        let name = self.name(descriptor);
        let layout = Layout::open(&self.place.dir);
        layout
            .and_then(|layout| layout.is_named(&descriptor.digest, name.as_deref()))
            .unwrap_or(false)
    }

    /// Stores the manifest in the layout. It gets an entry in `index.json` when the layout has all
    /// its blobs. `index` is the index from which the manifest was chosen. The index is stored as a
    /// blob without an entry, because the layout lacks its other images.
    ///
    /// # Errors
    /// The errors of the layout.
    pub(crate) fn store(&self, document: Document, index: Option<&Document>) -> Result<()> {
        let name = self.name(&document.descriptor);
        let layout = Layout::create(&self.place.dir)?;
        for Document { bytes, descriptor, .. } in index.into_iter().chain([&document]) {
            // A file that cannot be read is replaced, too.
            let held = layout.check_blob(&descriptor.digest, Some(descriptor.size), true);
            if !matches!(held, Ok(Held::Blob(_))) {
                layout.put_bytes(&descriptor.digest, bytes)?;
            }
        }
        if let Location::Registry(reference) = self.from {
            let stored = index.into_iter().chain([&document]);
            let digests: Vec<_> = stored.map(|stored| stored.descriptor.digest.clone()).collect();
            layout.record_repository(&reference.repository, &digests);
        }
        let descriptor = document.descriptor.without_annotation(REF_NAME);
        if let Some(name) = name.as_deref().filter(|_| self.reports_moves) {
            report_move(&layout, name, &descriptor)?;
        }
        layout.name_when_whole(&descriptor, name.as_deref())
    }

    /// The name in the layout: that of `--into`, else that of the reference. `None` for a digest.
    fn name(&self, descriptor: &Descriptor) -> Option<String> {
        let named_by_source = || descriptor.annotation(REF_NAME).map(str::to_owned);
        self.place.tag.clone().or_else(|| match self.from {
            Location::Registry(r) if r.tag.is_none() && r.digest.is_some() => None,
            Location::Registry(r) => Some(r.tag_or_latest().to_owned()),
            Location::Layout(l) if l.digest.is_some() => None,
            Location::Layout(l) => l.tag.clone().or_else(named_by_source),
        })
    }
}

/// Warns if the name refers to another image, which may be from another repository.
fn report_move(layout: &Layout, name: &str, image: &Descriptor) -> Result<()> {
    let entries = layout.entries()?;
    let is_other = |entry: &&Descriptor| {
        entry.annotation(REF_NAME) == Some(name) && entry.digest != image.digest
    };
    if let Some(old) = entries.iter().find(is_other) {
        notice::warn("moved name", || {
            let (name, old, new) = (printable(name), &old.digest, &image.digest);
            format!("{layout}: the name \"{name}\" moves from {old} to {new}")
        });
    }
    Ok(())
}
