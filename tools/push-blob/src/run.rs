// SPDX-License-Identifier: Apache-2.0
//! The state that all jobs of a run share, and the dispatch of a job by its kind.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use common::digest::Digest;
use common::error::Result;
use common::progress::Progress;
use common::reference::{Repository, StoreName};
use compress::Method;
use store::{Remote, Store};

use crate::jobs::Job;
use crate::target::Target;

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
    pub(crate) compress: Option<Method>,
    pub(crate) chunk: Option<u64>,
    pub(crate) allow_nondistributable: bool,
    pub(crate) progress: Progress,
    /// The blobs of a source layout that this run pushed, mounted or found in the target
    /// repository.
    pub(crate) delivered: Mutex<Vec<Digest>>,
}

impl Run {
    /// Runs one job. Returns the line to print.
    ///
    /// # Errors
    /// The errors of the source and of the target.
    pub(crate) fn push(&self, job: Job) -> Result<String> {
        let descriptor = match job {
            Job::Stdin => self.push_stdin()?,
            Job::File(path) => self.push_file(&path)?,
            Job::Blob(descriptor) => self.push_blob(descriptor)?,
            Job::Manifest(descriptor) => self.push_manifest(descriptor)?,
            Job::Again(descriptor) => descriptor,
        };
        Ok(descriptor.line() + "\n")
    }

    /// Records in the source layout that the target repository has these blobs, for later mounts.
    pub(crate) fn remember(&self) {
        if let (Target::Registry(uploads), Some(Ok(source))) = (&self.target, self.source.get())
            && let Store::Layout(layout) = source
            && layout.takes_notes()
        {
            layout.remember_source(uploads.registry().repository(), &self.delivered());
        }
    }

    /// The paths of the repositories of `--mount-from`.
    pub(crate) fn mount_paths(&self) -> Vec<String> {
        self.mount_from.iter().map(|from| from.path().to_owned()).collect()
    }

    /// The list of delivered blobs, locked.
    pub(crate) fn delivered(&self) -> MutexGuard<'_, Vec<Digest>> {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
