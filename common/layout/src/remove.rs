// SPDX-License-Identifier: Apache-2.0
//! Removing entries from `index.json`.
//!
//! Not here: removing blobs, which sweep-layout does.

use std::collections::{HashMap, HashSet};

use common::digest::Digest;
use common::error::Result;

use crate::Layout;
use crate::index::{CONTAINERD_NAME, REF_NAME};

impl Layout {
    /// Removes the entries with a name, searched as [`resolve`](Layout::resolve) does. The name is
    /// also removed from the waiting names. Returns whether any entry or waiting image had the
    /// name.
    ///
    /// # Errors
    /// As for [`tag`](Layout::tag).
    pub fn remove_name(&self, name: &str) -> Result<bool> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let is_removed = [REF_NAME, CONTAINERD_NAME]
            .into_iter()
            .any(|annotation| index.remove(|entry| entry.annotation(annotation) == Some(name)));
        self.write_index(index)?;
        let was_waiting = self.drop_waiting_if(|other, _| other == Some(name))?;
        Ok(is_removed || was_waiting)
    }

    /// Removes all entries of these manifests, and their entries in the lists of their subjects'
    /// referrers. Names that wait for these manifests are dropped. Each file is written once for
    /// all of them.
    ///
    /// Returns the first digest for which there is nothing to remove. With `skip_missing`, the
    /// other manifests are removed. Otherwise, only those before this digest are removed.
    ///
    /// # Errors
    /// As for [`tag`](Layout::tag).
    pub fn remove_manifests<'a>(
        &self,
        digests: &'a [Digest],
        skip_missing: bool,
    ) -> Result<Option<&'a Digest>> {
        let mut subjects: HashMap<Digest, HashSet<&Digest>> = HashMap::new();
        for digest in digests {
            let manifest = self.manifest_in(digest)?.map(|(_, manifest)| manifest);
            if let Some(subject) = manifest.and_then(|manifest| manifest.subject) {
                subjects.entry(subject.digest).or_default().insert(digest);
            }
        }
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let mut known = self.waiting_digests();
        known.extend(index.digests().cloned());
        for subject in subjects.keys() {
            known.extend(self.listed(&index, subject));
        }
        let missing = digests.iter().position(|digest| !known.contains(digest));
        let end = missing.filter(|_| !skip_missing).unwrap_or(digests.len());
        let unwanted: HashSet<&Digest> = digests[..end].iter().collect();
        index.remove(|entry| unwanted.contains(&entry.digest));
        for (subject, referrers) in &subjects {
            let referrers = referrers & &unwanted;
            // If the fallback tag does not name a list, there is nothing to remove.
            let _not_a_list =
                self.change_list(&mut index, subject, |list| list.remove(&referrers))?;
        }
        self.write_index(index)?;
        self.drop_waiting_if(|_, other| unwanted.contains(other))?;
        Ok(missing.map(|missing| &digests[missing]))
    }
}
