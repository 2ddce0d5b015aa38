// SPDX-License-Identifier: Apache-2.0
//! What all jobs of a run share, and the way of each.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use common::digest::Digest;
use common::error::Result;
use common::progress::Progress;
use common::reference::{Repository, StoreName};
use compress::Method;
use store::{Remote, Store};

use crate::jobs::Job;
use crate::target::Target;

/// What all jobs of the run share.
pub(crate) struct Run {
    pub(crate) target: Target,
    /// The store that lines name blobs of.
    pub(crate) from: Option<(StoreName, Remote)>,
    /// That store, opened at the first line.
    pub(crate) source: OnceLock<Result<Store>>,
    /// Repositories to mount from.
    pub(crate) mount_from: Vec<Repository>,
    pub(crate) media_type: Option<String>,
    pub(crate) compress: Option<Method>,
    pub(crate) chunk: Option<u64>,
    pub(crate) allow_nondistributable: bool,
    pub(crate) progress: Progress,
    /// The blobs of a source layout that are in the target registry now.
    pub(crate) delivered: Mutex<Vec<Digest>>,
}

impl Run {
    /// Does one job. Returns the line to print.
    ///
    /// # Errors
    /// The source's and the target's.
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

    /// Notes in the source layout that the target has its blobs too.
    pub(crate) fn remember(&self) {
        if let (Target::Registry(uploads), Some(Ok(source))) = (&self.target, self.source.get())
            && let Store::Layout(layout) = source
            && layout.takes_notes()
        {
            layout.remember_source(uploads.registry().repository(), &self.delivered());
        }
    }

    /// The paths of the repositories that the user names to mount from.
    pub(crate) fn mount_paths(&self) -> Vec<String> {
        self.mount_from.iter().map(|from| from.path().to_owned()).collect()
    }

    /// The blobs of a source layout that are in the target registry now.
    pub(crate) fn delivered(&self) -> MutexGuard<'_, Vec<Digest>> {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
