// SPDX-License-Identifier: Apache-2.0
//! Removing entries from `index.json`.
//!
//! Not here: removing blobs, which sweep-layout does.

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

    /// Removes all entries of a manifest, and its entry in the list of its subject's referrers.
    /// Names that wait for this manifest are dropped. Returns whether anything was removed.
    ///
    /// # Errors
    /// As for [`tag`](Layout::tag).
    pub fn remove_manifest(&self, digest: &Digest) -> Result<bool> {
        let manifest = self.manifest_in(digest)?.map(|(_, manifest)| manifest);
        let subject = manifest.and_then(|manifest| manifest.subject);
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let mut is_removed = index.remove(|entry| entry.digest == *digest);
        if let Some(subject) = subject {
            let changed =
                self.change_list(&mut index, &subject.digest, |list| list.remove(digest))?;
            // If the fallback tag does not name a list, there is nothing to remove.
            is_removed |= changed.unwrap_or(false);
        }
        self.write_index(index)?;
        let was_waiting = self.drop_waiting_if(|_, other| other == digest)?;
        Ok(is_removed || was_waiting)
    }
}
