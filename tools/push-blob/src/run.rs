// SPDX-License-Identifier: Apache-2.0
//! The state that all jobs of a run share, and the dispatch of a job by its kind.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::Result;
use common::progress::{How, Progress};
use common::reference::{Repository, StoreName};
use common::referrers::Batch;
use compress::Method;
use layout::Layout;
use store::{Remote, Store};

use crate::jobs::Job;
use crate::memory::Memory;
use crate::target::{Delivery, Target};
use crate::upload::rereadable::Rereadable;

/// The state that all jobs of a run share.
pub(crate) struct Run {
    pub(crate) target: Target,
    /// The source store: the operand of `--from`.
    pub(crate) from: Option<(StoreName, Remote)>,
    /// The source store, opened when the first line arrives.
    pub(crate) source: OnceLock<Result<Store>>,
    /// The repositories of `--mount-from`.
    pub(crate) mount_from: Vec<Repository>,
    pub(crate) media_type: Option<String>,
    /// The annotations of the lines that are printed for bytes.
    pub(crate) annotations: Vec<(String, String)>,
    pub(crate) compress: Option<Method>,
    pub(crate) chunk: Option<u64>,
    pub(crate) allow_nondistributable: bool,
    pub(crate) progress: Progress,
    /// The repositories in which the blobs were seen.
    pub(crate) memory: Memory,
    /// The digests of the blobs that this run stored in a layout, or found there.
    pub(crate) stored: Mutex<Vec<Digest>>,
    /// The digests of the manifests among them.
    pub(crate) manifests: Mutex<Vec<Digest>>,
    /// The manifests that this run put into a registry, but did not list as referrers yet.
    pub(crate) unlisted: Mutex<Batch>,
}

impl Run {
    /// Runs one job. Returns the descriptor to print.
    ///
    /// # Errors
    /// The errors of the source and of the target.
    pub(crate) fn push(&self, job: Job) -> Result<Descriptor> {
        let descriptor = match job {
            Job::Stdin => self.annotated(self.push_stdin()?),
            Job::File(path) => self.annotated(self.push_file(&path)?),
            Job::Blob(descriptor) => self.push_blob(descriptor)?,
            Job::Unsized(line) => {
                let size = self.source()?.blob_size(line.digest())?;
                self.progress.learn(line.digest(), size);
                self.push_blob(line.complete(size))?
            }
            Job::Manifest(descriptor) => self.push_manifest(descriptor)?,
            Job::Again(descriptor) => descriptor,
        };
        if self.target.repository().is_none() {
            let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
            stored.push(descriptor.digest.clone());
        }
        Ok(descriptor)
    }

    fn annotated(&self, descriptor: Descriptor) -> Descriptor {
        self.annotations
            .iter()
            .fold(descriptor, |line, (key, value)| line.with_annotation(key, value))
    }

    /// Delivers a blob to the target. Notes the repositories at the target's host that have the
    /// blob or lack it. Returns how the blob reached the target.
    ///
    /// # Errors
    /// The errors of the source and of the target.
    pub(crate) fn deliver(
        &self,
        descriptor: &Descriptor,
        bytes: &mut dyn Rereadable,
        mut delivery: Delivery,
        progress: &Progress,
    ) -> Result<How> {
        let digest = &descriptor.digest;
        let target = self.target.repository();
        if let Some(target) = target {
            let layout = self.source_layout();
            delivery.mount_remembered = self.memory.repositories(digest, target, layout);
        }
        let outcome = self.target.deliver(descriptor, bytes, &delivery, progress);
        if let Some(target) = target {
            for path in delivery.missed.take() {
                self.memory.missed(digest, target, path);
            }
        }
        let how = outcome?;
        if let Some(target) = target {
            self.memory.seen(digest, target);
        }
        self.progress.done(digest, descriptor.size, how);
        Ok(how)
    }

    /// Records the repositories that have the blobs, for later mounts. Also marks the blobs of a
    /// target layout as new, so that sweep-layout keeps them: the first blob may have been stored
    /// hours ago, and perhaps no entry names it yet.
    pub(crate) fn remember(&self) {
        if let Some(layout) = self.target.open_layout() {
            layout.touch(&*self.stored.lock().unwrap_or_else(PoisonError::into_inner));
        }
        self.memory.save(self.target.open_layout().or(self.source_layout()));
    }

    /// Lists the manifests with a subject as referrers of it, unless the registry does that.
    ///
    /// # Errors
    /// The target's errors.
    pub(crate) fn list_referrers(&self) -> Result<()> {
        self.target.list_referrers(&self.unlisted())?;
        let Some(layout) = self.target.open_layout() else { return Ok(()) };
        layout.list_referrers(&*self.manifests.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes a manifest that must be listed as a referrer of this subject. A full batch is listed
    /// at once.
    ///
    /// # Errors
    /// The target's errors.
    pub(crate) fn list_later(&self, subject: Digest, referrer: Descriptor) -> Result<()> {
        let mut unlisted = self.unlisted();
        unlisted.add(subject, referrer);
        if unlisted.is_full() {
            return self.target.list_referrers(&std::mem::take(&mut *unlisted));
        }
        Ok(())
    }

    fn unlisted(&self) -> MutexGuard<'_, Batch> {
        self.unlisted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The layout of `--from`, if it is open already.
    fn source_layout(&self) -> Option<&Layout> {
        match self.source.get()? {
            Ok(Store::Layout(layout)) => Some(layout),
            _ => None,
        }
    }

    /// The paths of the repositories of `--mount-from`.
    pub(crate) fn mount_paths(&self) -> Vec<String> {
        self.mount_from.iter().map(|from| from.path().to_owned()).collect()
    }
}
