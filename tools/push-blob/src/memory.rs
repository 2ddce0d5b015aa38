// SPDX-License-Identifier: Apache-2.0
//! The repositories in which blobs were seen: the records of earlier runs, and those of this run.
//!
//! If the source or the target is a layout that these tools wrote, its `distribution-sources` gets
//! the record. The record of other pushes (a file, a pipe, another registry) is in the user's state
//! directory. Both are read, because a blob may have been pushed as a file before it was stored in
//! a layout.

use std::sync::{Mutex, OnceLock, PoisonError};

use common::digest::Digest;
use common::reference::Repository;
use layout::Layout;
use layout::distribution_sources::{DistributionSources, KnownSources, Sighting};

/// The repositories in which blobs were seen.
#[derive(Default)]
pub(crate) struct Memory {
    /// The record of the source layout, read when it is first needed.
    of_layout: OnceLock<KnownSources>,
    /// The record in the user's state directory, read when it is first needed.
    of_user: OnceLock<KnownSources>,
    /// The sightings of this run.
    sightings: Mutex<Vec<Sighting>>,
}

impl Memory {
    /// The paths of the repositories at the target's host in which a blob was seen, newest first.
    /// Those that the source layout recorded precede those of the user.
    pub(crate) fn repositories(
        &self,
        digest: &Digest,
        target: &Repository,
        layout: Option<&Layout>,
    ) -> Vec<String> {
        let of_layout = layout
            .map(|layout| self.of_layout.get_or_init(|| layout.distribution_sources().read()));
        let read = || DistributionSources::user().map(|user| user.read()).unwrap_or_default();
        let of_user = self.of_user.get_or_init(read);
        let known = of_layout.into_iter().chain([of_user]);
        known.flat_map(|known| known.repositories(digest, target.host())).collect()
    }

    /// Notes that a blob was copied from this layout into another one, which then gets the blob's
    /// record.
    pub(crate) fn copied(&self, digest: &Digest, layout: &Layout) {
        let known = self.of_layout.get_or_init(|| layout.distribution_sources().read());
        self.lock().extend(known.sightings(digest));
    }

    /// Notes that the repository has the blob.
    pub(crate) fn seen(&self, digest: &Digest, repository: &Repository) {
        self.add(Sighting::of(digest, repository));
    }

    /// Notes that the blob was not found at this path of the repository's host.
    pub(crate) fn missed(&self, digest: &Digest, repository: &Repository, path: String) {
        self.add(Sighting { path, is_there: false, ..Sighting::of(digest, repository) });
    }

    /// Writes the record to the layout, if the run uses one and this user may write to it, or else
    /// to the user's state directory. Repositories that lack the blob are removed from both.
    pub(crate) fn save(&self, layout: Option<&Layout>) {
        let sightings = std::mem::take(&mut *self.lock());
        let layout = layout.filter(|layout| layout.can_record_sources());
        if let Some(layout) = layout {
            layout.record_sources(&sightings);
        }
        let for_user: Vec<_> = sightings
            .into_iter()
            .filter(|sighting| layout.is_none() || self.user_knows(sighting))
            .collect();
        if let Some(user) = DistributionSources::user() {
            // A failure is ignored, because the push does not need this record.
            let _ = user.record(&for_user);
        }
    }

    /// Whether the user's record names a repository that lacks the blob according to this sighting.
    fn user_knows(&self, sighting: &Sighting) -> bool {
        let known =
            || self.of_user.get().map(|of| of.repositories(&sighting.digest, &sighting.host));
        !sighting.is_there && known().is_some_and(|paths| paths.contains(&sighting.path))
    }

    fn add(&self, sighting: Sighting) {
        self.lock().push(sighting);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Sighting>> {
        self.sightings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
