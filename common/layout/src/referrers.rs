// SPDX-License-Identifier: Apache-2.0
//! Referrers in a layout: the list under the referrers fallback tag of the subject, as in a
//! registry without the referrers API.
//!
//! Some programs find a referrer only through this list, and others only through the entries of
//! `index.json` and the manifests below them. The list is an entry itself, so both find it.

use std::io::Read;

use common::descriptor::Descriptor;
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result, Status};
use common::manifest::{self, MAX_SIZE, Manifest, Schema1};
use common::mediatype::OCI_INDEX;
use common::notice;
use common::referrers::{ReferrersList, fallback_tag};

use crate::Layout;
use crate::index::Entries;
use crate::whole::Missing;

impl Layout {
    /// Lists those of the stored blobs that are manifests with a subject, in the list of their
    /// subject's referrers. A manifest is listed only if everything that it refers to is in the
    /// layout.
    ///
    /// # Errors
    /// Malformed if the fallback tag names something other than a list of referrers, which is left
    /// unchanged. Otherwise as for [`tag`](Layout::tag).
    pub fn list_referrers<'a>(&self, stored: impl IntoIterator<Item = &'a Digest>) -> Result<()> {
        for digest in stored {
            let Some((bytes, manifest)) = self.manifest_in(digest)? else { continue };
            let Some(subject) = &manifest.subject else { continue };
            let own = Descriptor::new(&manifest.media_type, digest.clone(), bytes.len() as u64);
            if let Missing::Blob(missing) = self.missing_of(&own)? {
                notice::warn("incomplete referrer", || {
                    format!("{self}: {digest} is not listed as a referrer: no blob {missing}")
                });
                continue;
            }
            let referrer = manifest::referrer(&bytes, &own)?;
            self.change_list(&subject.digest, |list| list.add(&referrer))?;
        }
        Ok(())
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

    /// Changes the list of the referrers of `subject`. `change` returns whether it changed
    /// anything.
    fn change_list(
        &self,
        subject: &Digest,
        change: impl FnOnce(&mut ReferrersList) -> bool,
    ) -> Result<()> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        self.change_list_in(&mut index, subject, change)?;
        self.write_index(index)?;
        self.drop_waiting(&fallback_tag(subject))
    }

    /// Changes the list of the referrers of `subject` in these entries. Stores the new list, but
    /// not the entries. Returns what `change` returns. The caller must hold the lock.
    ///
    /// A list that becomes empty stays: sweep-layout keeps the referrers without an entry of a
    /// subject that has no list.
    pub(crate) fn change_list_in(
        &self,
        index: &mut Entries,
        subject: &Digest,
        change: impl FnOnce(&mut ReferrersList) -> bool,
    ) -> Result<bool> {
        let tag = fallback_tag(subject);
        let mut list = self.list_under(index, &tag, subject)?;
        if !change(&mut list) {
            return Ok(false);
        }
        let bytes = list.to_bytes().map_err(|why| self.not_a_list(&tag, &why))?;
        let digest = Algorithm::Sha256.digest(&bytes);
        self.put_bytes(&digest, &bytes)?;
        index.put(&Descriptor::new(OCI_INDEX, digest, bytes.len() as u64), Some(&tag));
        Ok(true)
    }

    /// The list that an entry names. It is empty if there is no such entry.
    fn list_under(&self, index: &Entries, tag: &str, subject: &Digest) -> Result<ReferrersList> {
        let mut named = index.named(tag);
        let Some(entry) = named.next() else { return Ok(ReferrersList::empty()) };
        if named.any(|other| other.digest != entry.digest) {
            return Err(self.not_a_list(tag, "it names several manifests"));
        }
        let bytes = self
            .read_described(entry, MAX_SIZE)
            .map_err(|error| self.not_a_list(tag, &error.to_string()))?;
        ReferrersList::parse(&bytes, Some(&entry.media_type), subject)
            .map_err(|why| self.not_a_list(tag, &why))
    }

    fn not_a_list(&self, tag: &str, why: &str) -> Error {
        Error::malformed(format_args!("{self}:{tag}: {why}: left unchanged"))
            .hint("the list of the subject's referrers was not changed")
    }
}
