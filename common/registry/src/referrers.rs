// SPDX-License-Identifier: Apache-2.0
//! Referrers in a registry without referrers support: the list under the referrers fallback tag of
//! the subject.
//!
//! Follows the distribution specification's "unavailable referrers API". Anything under the tag
//! that is not a list of referrers is left unchanged.
//!
//! If the registry has no entity tags, two writers that update the index at the same time may
//! overwrite each other's entry. The index is therefore read again a moment after each write. Lost
//! entries are then rare, but still possible.

use std::collections::HashSet;
use std::time::Duration;

use common::descriptor::Descriptor;
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result, Status};
use common::mediatype::OCI_INDEX;
use common::referrers::{Batch, NO_ROOM, ReferrersList, fallback_tag};
use net::retry::jitter;

use super::Registry;
use super::manifest::{ACCEPT, EntityTag};
use super::put::{Outgoing, Put};

/// The maximum number of writes when another writer changes the index at the same time.
const MAX_ROUNDS: u32 = 8;

/// The minimum wait after a write, so that a concurrent writer finishes before the index is read
/// again.
const SETTLING: Duration = Duration::from_millis(150);

const UNLISTED: &str = "the manifest is stored, but not listed as a referrer of its subject";

/// The list under a fallback tag.
struct Listed {
    list: ReferrersList,
    /// The digest of the index. `None` if the tag does not exist.
    digest: Option<Digest>,
    entity_tag: Option<EntityTag>,
}

impl Registry {
    /// Lists manifests as referrers of their subjects, if they are not listed yet. Each list is
    /// written once. A list that cannot be written does not prevent the others.
    ///
    /// # Errors
    /// Malformed if a tag names something other than a list of referrers, which is left unchanged,
    /// or if a list has no room for a referrer. Unavailable if other writers keep changing an
    /// index. Otherwise the errors of reading or putting a manifest.
    pub fn list_referrers(&self, batch: &Batch) -> Result<()> {
        let mut outcome = Ok(());
        for (subject, referrers) in batch.subjects() {
            match self.list_referrers_of(subject, referrers) {
                Err(error) if error.status() == Status::Malformed => {
                    outcome = outcome.and(Err(error))
                }
                listed => listed?,
            }
        }
        outcome
    }

    /// Lists manifests as referrers of `subject`, if they are not listed yet.
    ///
    /// # Errors
    /// As for [`list_referrers`](Registry::list_referrers).
    pub(super) fn list_referrers_of(
        &self,
        subject: &Digest,
        referrers: &[Descriptor],
    ) -> Result<()> {
        let mut without_room = None;
        let listed = self.change_list(subject, |list| {
            let (is_changed, others) = list.add_all(referrers);
            without_room = others.first().map(|other| other.digest.clone());
            is_changed
        })?;
        let what = self.manifest_name(&fallback_tag(subject));
        let room = match without_room {
            Some(first) => Err(Error::malformed(format_args!("{what}: {NO_ROOM}: {first}"))),
            None => Ok(()),
        };
        listed.and(room).map_err(|error| error.hint(UNLISTED))
    }

    /// Removes a manifest from the list under the fallback tag of `subject`, if it is listed there.
    /// A list that becomes empty is deleted with its tag, or else an empty list is stored. Returns
    /// the entry that was removed. If the tag names something other than a list, there is nothing
    /// to remove.
    ///
    /// # Errors
    /// Unavailable if other writers keep changing the index. Otherwise the errors of reading or
    /// putting a manifest.
    pub(super) fn unlist_referrer(
        &self,
        subject: &Digest,
        referrer: &Digest,
    ) -> Result<Option<Descriptor>> {
        let mut removed = None;
        let changed = self.change_list(subject, |list| {
            let entries = list.clone().into_entries();
            removed =
                entries.into_iter().find(|entry| entry.digest == *referrer).or(removed.take());
            list.remove(&HashSet::from([referrer]))
        })?;
        Ok(removed.filter(|_| changed.is_ok()))
    }

    /// The referrers in the list under the fallback tag of `subject`. `None` if there is no such
    /// tag. The inner error says why the tag does not name a list.
    ///
    /// # Errors
    /// The errors of reading a manifest, except Absent.
    pub(super) fn listed_referrers(
        &self,
        subject: &Digest,
    ) -> Result<Option<std::result::Result<Vec<Descriptor>, String>>> {
        Ok(match self.list_under(&fallback_tag(subject), subject)? {
            Ok(Listed { digest: None, .. }) => None,
            listed => Some(listed.map(|listed| listed.list.into_entries())),
        })
    }

    /// Applies `change` to the list under the fallback tag of `subject`, and stores the list, until
    /// there is nothing to change. `change` returns whether it changed anything. The inner error
    /// says that the tag does not name a list, or that the list would be too large.
    fn change_list(
        &self,
        subject: &Digest,
        mut change: impl FnMut(&mut ReferrersList) -> bool,
    ) -> Result<std::result::Result<(), Error>> {
        let tag = fallback_tag(subject);
        let what = self.manifest_name(&tag);
        let wrong =
            |why: String| Ok(Err(Error::malformed(format_args!("{what}: {why}: left unchanged"))));
        for _ in 0..MAX_ROUNDS {
            let Listed { mut list, digest: old, entity_tag } =
                match self.list_under(&tag, subject)? {
                    Ok(listed) => listed,
                    Err(why) => return wrong(why),
                };
            if !change(&mut list) {
                return Ok(Ok(()));
            }
            if let (true, Some(old)) = (list.is_empty(), old)
                && self.delete(&old.to_string()).is_ok()
            {
                continue;
            }
            let bytes = match list.to_bytes() {
                Ok(bytes) => bytes,
                Err(why) => return wrong(why),
            };
            let digest = &Algorithm::Sha256.digest(&bytes);
            let manifest = Outgoing { bytes: &bytes, digest, media_type: OCI_INDEX };
            match self.put_manifest_if(&tag, manifest, entity_tag.as_ref())? {
                Put::Stored { .. } => std::thread::sleep(jitter(SETTLING)),
                // Another writer changed the index in the meantime.
                Put::Changed => {}
            }
        }
        Err(Error::unavailable(format_args!("{what}: gave up: other writers keep changing it")))
    }

    /// The list under a fallback tag. It is empty if the tag does not exist.
    fn list_under(
        &self,
        tag: &str,
        subject: &Digest,
    ) -> Result<std::result::Result<Listed, String>> {
        // Every type is accepted: some registries answer 404 for a manifest of another type, and
        // that manifest would be overwritten.
        match self.manifest(tag, None, &ACCEPT) {
            Ok(remote) => {
                let list = ReferrersList::parse(&remote.bytes, remote.said.as_deref(), subject);
                let (digest, entity_tag) = (Some(remote.digest), remote.entity_tag);
                Ok(list.map(|list| Listed { list, digest, entity_tag }))
            }
            Err(error) if error.status() == Status::Absent => {
                Ok(Ok(Listed { list: ReferrersList::empty(), digest: None, entity_tag: None }))
            }
            Err(error) => Err(error),
        }
    }
}
