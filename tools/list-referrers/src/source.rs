// SPDX-License-Identifier: Apache-2.0
//! The referrers of one manifest, in a registry or a layout.

use std::cell::OnceCell;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::Result;
use store::Store;

use crate::in_layout::Found;

/// The store whose referrers are listed.
pub(crate) struct Source<'a> {
    pub(crate) store: &'a Store,
    /// The referrers in a layout, found when they are first needed.
    found: OnceCell<Found>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(store: &'a Store) -> Source<'a> {
        Source { store, found: OnceCell::new() }
    }

    /// Passes the descriptor of every referrer of `subject` to `each`, without duplicates. With
    /// `artifact_type`, only those of that type. Returns whether the store has a list for this
    /// subject.
    ///
    /// # Errors
    /// As for [`Places::referrers`](store::place::Places::referrers); for a layout, Malformed if
    /// `index.json` is invalid, and Local if it cannot be read.
    pub(crate) fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
        each: &mut dyn FnMut(Descriptor) -> Result<()>,
    ) -> Result<bool> {
        let layout = match self.store {
            Store::Registry(registry) => return registry.referrers(subject, artifact_type, each),
            Store::Layout(layout) => layout,
        };
        let found = match self.found.get() {
            Some(found) => found,
            None => {
                let found = Found::in_layout(layout)?;
                self.found.get_or_init(|| found)
            }
        };
        found.referrers(layout, subject, artifact_type, each)
    }
}
