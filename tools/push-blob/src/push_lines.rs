// SPDX-License-Identifier: Apache-2.0
//! Pushing the blobs and manifests that descriptor lines name, from the store given with `--from`.

use std::sync::PoisonError;

use common::cli;
use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::mediatype::{self, Kind};
use common::notice;
use common::progress::How;
use common::reference::Repository;
use common::verify::Verifier;
use store::{Document, ReadOptions, Store};

use crate::checked_readers::Verified;
use crate::run::Run;
use crate::stored_blob::StoredBlob;
use crate::target::{Delivery, Target};
use crate::upload::rereadable::Rereadable as _;

impl Run {
    /// Pushes a blob of the source store.
    ///
    /// # Errors
    /// The errors of the source and of the target.
    pub(crate) fn push_blob(&self, descriptor: Descriptor) -> Result<Descriptor> {
        if descriptor.is_non_distributable() && !self.allow_nondistributable {
            notice::warn("foreign layer", || {
                format!(
                    "{}: a non-distributable layer: skipped without --allow-nondistributable",
                    descriptor.digest
                )
            });
            return Ok(descriptor);
        }
        let kind = mediatype::kind(&descriptor.media_type);
        let source = self.source()?;
        let mut blob = StoredBlob::of(source, &descriptor);
        if let (Kind::Layer { compression: None, .. }, Some(method)) = (kind, self.compress) {
            let media_type = method.media_type(mediatype::is_docker(&descriptor.media_type))?;
            let name = descriptor.digest.to_string();
            let pushed = retry_without_mirrors(source, &descriptor.digest, || {
                let verifier = Verifier::new(&descriptor.digest, Some(descriptor.size));
                let mut input = Verified::new(blob.open(0)?, verifier);
                let sink = self.target.sink(self.chunk)?;
                self.push_compressed(&mut input, &name, sink, method, media_type)
            });
            return pushed.map_err(|error| self.of_source(source, error));
        }
        let how = retry_without_mirrors(source, &descriptor.digest, || {
            self.deliver(&descriptor, &mut blob, self.delivery(source), &self.progress)
        })
        .map_err(|error| self.of_source(source, error))?;
        if let (Store::Layout(layout), Target::Layout(..)) = (source, &self.target) {
            self.memory.copied(&descriptor.digest, layout);
        }
        // The source is known to have the blob only if the bytes were read from it.
        if let (StoredBlob::InRegistry(Store::Registry(source), _), How::Pushed) = (&blob, how) {
            self.memory.seen(&descriptor.digest, source.repository());
        }
        Ok(descriptor)
    }

    /// Adds the source's name, and a hint, to an error about wrong bytes of the source. Errors of
    /// the target have the target's name already.
    fn of_source(&self, source: &Store, error: Error) -> Error {
        let is_targets = |name: &Repository| error.to_string().contains(&format!("{name}@"));
        let is_wrong = error.status() == Status::Content;
        if is_wrong && !self.target.repository().is_some_and(is_targets) {
            return source.with_repair(source.blame(error));
        }
        error
    }

    /// The delivery options for a blob of the source store.
    fn delivery(&self, source: &Store) -> Delivery {
        let mount_named = self.mount_paths();
        let mut delivery = Delivery { chunk: self.chunk, mount_named, ..Delivery::default() };
        match (source, &self.target) {
            (Store::Registry(from), Target::Registry(to)) => {
                if from.repository().api_host() == to.registry().repository().api_host() {
                    delivery.mount_named.push(from.repository().path().to_owned());
                }
            }
            (Store::Layout(_), Target::Registry(_)) => delivery.resumable = true,
            (_, Target::Layout(..)) => {}
        }
        delivery
    }

    /// Pushes a manifest of the source store. The blobs and manifests that it refers to were pushed
    /// before it.
    ///
    /// # Errors
    /// The errors of the source and of the target.
    pub(crate) fn push_manifest(&self, descriptor: Descriptor) -> Result<Descriptor> {
        let Descriptor { digest, size, .. } = &descriptor;
        let how = if self.is_settled(&descriptor)? {
            How::Present
        } else {
            let document = self.document(&descriptor)?;
            let unlisted = self.target.put_manifest(&document).map_err(after_its_blobs)?;
            if let Some((subject, referrer)) = unlisted {
                self.list_later(subject, referrer)?;
            }
            How::Pushed
        };
        self.note_manifest(digest);
        self.progress.done(digest, *size, how);
        Ok(descriptor)
    }

    /// Whether the target has the manifest, and it need not be put again.
    ///
    /// A registry may have a referrer that is not in the list of its subject's referrers: an
    /// earlier run may have been stopped between the two writes. A referrer is therefore put again.
    fn is_settled(&self, descriptor: &Descriptor) -> Result<bool> {
        let Target::Registry(uploads) = &self.target else {
            return self.target.has_manifest(descriptor);
        };
        if descriptor.artifact_type().is_some() || !self.target.has_manifest(descriptor)? {
            return Ok(false);
        }
        // The source is read first: at some registries, reading a manifest counts as a pull.
        let has_subject = match self.document(descriptor) {
            Ok(document) => document.manifest.subject.is_some(),
            Err(_) => uploads.registry().subject_of(&descriptor.digest)?.is_some(),
        };
        Ok(!has_subject)
    }

    /// Reads a manifest of the source store.
    fn document(&self, descriptor: &Descriptor) -> Result<Document> {
        let options = ReadOptions { accept: &[], schema1: cli::schema1(), platform: None };
        self.source()?.described(descriptor.clone(), options)
    }

    /// Notes a manifest that is in the target now. The referrers of a layout are listed together at
    /// the end: `index.json` and the lists would otherwise be written for each of them.
    fn note_manifest(&self, digest: &Digest) {
        if self.target.repository().is_none() {
            let mut manifests = self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
            manifests.push(digest.clone());
        }
    }

    pub(crate) fn source(&self) -> Result<&Store> {
        let open = || {
            let (name, remote) =
                self.from.as_ref().ok_or_else(|| Error::usage("lines without --from"))?;
            Store::open(name, remote)
        };
        self.source.get_or_init(open).as_ref().map_err(Error::clone)
    }
}

/// Adds a hint if the target lacks blobs of a manifest, because their lines did not precede its own
/// line.
fn after_its_blobs(error: Error) -> Error {
    if error.hint_text() == Some(registry::PUSH_BLOBS_FIRST) {
        return error.hint("list-blobs --recursive lists a manifest after the blobs that it names");
    }
    error
}

/// Calls `take`, which reads the blob from `source`. If the bytes were wrong and a mirror served
/// some of them, that mirror is not used again and `take` is called again.
fn retry_without_mirrors<T>(
    source: &Store,
    digest: &Digest,
    mut take: impl FnMut() -> Result<T>,
) -> Result<T> {
    let is_wrong = |error: &Error| matches!(error.status(), Status::Content | Status::Malformed);
    loop {
        match take() {
            Err(error) if is_wrong(&error) && source.drop_mirrors_of(digest, &error) => {}
            outcome => return outcome,
        }
    }
}
