// SPDX-License-Identifier: Apache-2.0
//! Referrers in a layout: the list under the referrers fallback tag of the subject, as in a
//! registry without the referrers API.
//!
//! Some programs find a referrer only through this list, and others only through the entries of
//! `index.json` and the manifests below them. The list is an entry itself, so both find it.

use std::collections::HashSet;
use std::io::Read;

use common::descriptor::Descriptor;
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result, Status};
use common::manifest::{self, MAX_SIZE, Manifest, Schema1};
use common::mediatype::OCI_INDEX;
use common::notice;
use common::referrers::{Batch, NO_ROOM, ReferrersList, fallback_tag};

use crate::Layout;
use crate::index::Entries;
use crate::whole::Missing;

/// The hint if a referrer cannot be listed.
const UNLISTED: &str = "the manifest is stored, but not listed as a referrer of its subject";

fn warn(digest: &Digest, error: &Error) {
    notice::warn("unlisted referrer", || format!("{digest} is not listed as a referrer: {error}"));
}

impl Layout {
    /// Lists the stored blobs that are referrers, as [`list_referrer`](Layout::list_referrer) does.
    /// If a referrer cannot be listed, this is a warning and not an error, because the blobs are
    /// already stored.
    ///
    /// `index.json` and each list are written once for many referrers, see [`Batch`].
    ///
    /// # Errors
    /// As for [`tag`](Layout::tag).
    pub fn list_referrers<'a>(&self, stored: impl IntoIterator<Item = &'a Digest>) -> Result<()> {
        let mut batch = Batch::default();
        for digest in stored {
            match self.referrer(digest) {
                Err(error) if error.status() == Status::Malformed => warn(digest, &error),
                outcome => {
                    if let Some((subject, referrer)) = outcome? {
                        batch.add(subject, referrer);
                    }
                }
            }
            if batch.is_full() {
                self.list_batch(std::mem::take(&mut batch))?;
            }
        }
        self.list_batch(batch)
    }

    fn list_batch(&self, batch: Batch) -> Result<()> {
        for (digest, error) in self.add_to_lists(&batch)? {
            warn(digest, &error);
        }
        Ok(())
    }

    /// If a stored blob is a manifest with a subject, adds it to the list of its subject's
    /// referrers.
    ///
    /// # Errors
    /// Malformed if a blob of the manifest is missing, if the list has no room for the manifest, or
    /// if the fallback tag names something other than a list of referrers, which is left unchanged.
    /// Otherwise as for [`tag`](Layout::tag).
    pub fn list_referrer(&self, digest: &Digest) -> Result<()> {
        let mut batch = Batch::default();
        if let Some((subject, referrer)) = self.referrer(digest)? {
            batch.add(subject, referrer);
        }
        match self.add_to_lists(&batch)?.pop() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// The subject of a stored manifest, and the manifest's entry for the list of referrers. `None`
    /// if it is not a manifest with a subject.
    fn referrer(&self, digest: &Digest) -> Result<Option<(Digest, Descriptor)>> {
        let Some((bytes, manifest)) = self.manifest_in(digest)? else { return Ok(None) };
        let Some(Descriptor { digest: subject, .. }) = manifest.subject else { return Ok(None) };
        let own = Descriptor::new(&manifest.media_type, digest.clone(), bytes.len() as u64);
        if let Missing::Blob(missing) = self.missing_of(&own)? {
            return Err(Error::malformed(format_args!("{self}: no blob {missing}")));
        }
        Ok(Some((subject, manifest::referrer(&bytes, &own)?)))
    }

    /// Adds referrers to the lists of their subjects. Returns those that cannot be listed, and why.
    fn add_to_lists<'a>(&self, batch: &'a Batch) -> Result<Vec<(&'a Digest, Error)>> {
        let mut failed = Vec::new();
        if batch.subjects().is_empty() {
            return Ok(failed);
        }
        let _lock = self.lock()?;
        let mut index = self.index()?;
        for (subject, referrers) in batch.subjects() {
            let error = |why: &str| {
                let tag = fallback_tag(subject);
                let what = format_args!("{self}:{tag}: {why}: left unchanged");
                Error::malformed(what).hint(UNLISTED)
            };
            let change = |list: &mut ReferrersList| {
                let (is_changed, others) = list.add_all(referrers);
                failed.extend(others.iter().map(|other| (&other.digest, error(NO_ROOM))));
                is_changed
            };
            if let Err(why) = self.change_list(&mut index, subject, change)? {
                failed.extend(referrers.iter().map(|r| (&r.digest, error(&why))));
            }
        }
        self.write_index(index)?;
        let tags: HashSet<String> =
            batch.subjects().iter().map(|(subject, _)| fallback_tag(subject)).collect();
        self.drop_waiting_if(|name, _| name.is_some_and(|name| tags.contains(name)))?;
        Ok(failed)
    }

    /// The manifest in a small blob, and its bytes. `None` if the blob is absent, wrong or not a
    /// valid manifest.
    ///
    /// # Errors
    /// Local if the blob cannot be read.
    pub fn manifest_in(&self, digest: &Digest) -> Result<Option<(Vec<u8>, Manifest)>> {
        let Some((mut file, size)) = self.open_blob(digest)? else { return Ok(None) };
        if size > MAX_SIZE {
            return Ok(None);
        }
        // Most blobs are layers: their first byte shows that they are not JSON.
        let mut first = [0];
        let count = file
            .read(&mut first)
            .map_err(|cause| Error::local(format_args!("read {self}: {digest}"), &cause))?;
        if count == 0 || !b"{ \t\r\n".contains(&first[0]) {
            return Ok(None);
        }
        match self.read_blob(digest, MAX_SIZE) {
            Ok(bytes) => {
                let parsed = Manifest::parse(&bytes, None, "", Schema1::Allowed).ok();
                Ok(parsed.map(|manifest| (bytes, manifest)))
            }
            Err(error) if error.status() == Status::Local => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Changes the list of the referrers of `subject` in these entries. `change` returns whether it
    /// changed anything, and so does this function. Stores the new list, but not the entries. The
    /// caller must hold the lock. The inner error says why the fallback tag does not name a list,
    /// or why the new list cannot be stored.
    ///
    /// A list that becomes empty is kept: if a subject has no list, sweep-layout keeps all its
    /// referrers, even those without an entry.
    pub(crate) fn change_list(
        &self,
        index: &mut Entries,
        subject: &Digest,
        change: impl FnOnce(&mut ReferrersList) -> bool,
    ) -> Result<std::result::Result<bool, String>> {
        let tag = fallback_tag(subject);
        let mut list = match self.list_under(index, &tag, subject) {
            Ok(list) => list,
            Err(why) => return Ok(Err(why)),
        };
        if !change(&mut list) {
            return Ok(Ok(false));
        }
        let bytes = match list.to_bytes() {
            Ok(bytes) => bytes,
            Err(why) => return Ok(Err(why)),
        };
        let digest = Algorithm::Sha256.digest(&bytes);
        self.put_bytes(&digest, &bytes)?;
        index.put(&Descriptor::new(OCI_INDEX, digest, bytes.len() as u64), Some(&tag));
        Ok(Ok(true))
    }

    /// The digests in the list of the referrers of `subject`; empty if the fallback tag does not
    /// name a list.
    pub(crate) fn listed(&self, index: &Entries, subject: &Digest) -> Vec<Digest> {
        let list = self.list_under(index, &fallback_tag(subject), subject);
        let entries = list.map(ReferrersList::into_entries).unwrap_or_default();
        entries.into_iter().map(|entry| entry.digest).collect()
    }

    /// The list that an entry names. It is empty if there is no such entry.
    fn list_under(
        &self,
        index: &Entries,
        tag: &str,
        subject: &Digest,
    ) -> std::result::Result<ReferrersList, String> {
        let mut named = index.named(tag);
        let Some(entry) = named.next() else { return Ok(ReferrersList::empty()) };
        if named.any(|other| other.digest != entry.digest) {
            return Err("it names several manifests".to_owned());
        }
        let bytes = self.read_described(entry, MAX_SIZE).map_err(|error| error.to_string())?;
        ReferrersList::parse(&bytes, Some(&entry.media_type), subject)
    }
}
