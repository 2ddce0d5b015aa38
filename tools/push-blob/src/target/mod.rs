// SPDX-License-Identifier: Apache-2.0
//! The target of the blobs: a repository or a layout. The target is first asked whether it has the
//! blob. A missing blob is mounted from another repository if possible, and sent otherwise.

mod digest_lock;
mod mount_candidates;
mod saved_session;
pub(crate) mod sink;
mod to_layout;
mod to_registry;

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use common::descriptor::Descriptor;
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result, Status};
use common::progress::{How, Progress};
use common::reference::Repository;
use common::referrers::Batch;
use common::schema1;
use layout::{Held, Layout};
use store::Document;

use crate::upload::Uploads;
use crate::upload::rereadable::Rereadable;
use sink::Sink;

/// The target of the blobs.
pub(crate) enum Target {
    /// A repository.
    Registry(Arc<Uploads>),
    /// A layout. It is created when the first blob arrives.
    Layout(PathBuf, OnceLock<Result<Layout>>),
}

/// How to deliver one blob.
#[derive(Default)]
pub(crate) struct Delivery {
    /// The size of its parts, in bytes; `None` to send it in one request.
    pub(crate) chunk: Option<u64>,
    /// Paths of repositories to mount it from: those of `--mount-from`, and that of `--from`.
    pub(crate) mount_named: Vec<String>,
    /// Paths of repositories to mount it from: those that earlier runs recorded, newest first.
    pub(crate) mount_remembered: Vec<String>,
    /// Paths of repositories that turned out not to have the blob.
    pub(crate) missed: RefCell<Vec<String>>,
    /// Whether a later run can read the same bytes again, and can therefore continue the upload.
    pub(crate) resumable: bool,
    /// Whether to hash a blob that a target layout has already. A wrong blob can then be replaced,
    /// because the right bytes are available.
    pub(crate) hash_present: bool,
}

impl Target {
    /// Delivers a blob, unless the target has it. Returns how the blob reached the target.
    ///
    /// # Errors
    /// The errors of the source and of the target; content if the bytes do not match the
    /// descriptor.
    pub(crate) fn deliver(
        &self,
        descriptor: &Descriptor,
        source: &mut dyn Rereadable,
        delivery: &Delivery,
        progress: &Progress,
    ) -> Result<How> {
        let Descriptor { digest, size, .. } = descriptor;
        let _lock = digest_lock::lock(digest);
        progress.begin(Some(digest), Some(*size), 0);
        let outcome = match self {
            Target::Registry(uploads) => {
                to_registry::push(uploads, descriptor, source, delivery, progress)
            }
            Target::Layout(..) => to_layout::store(
                self.layout()?,
                descriptor,
                source,
                delivery.hash_present,
                progress,
            ),
        };
        match outcome {
            // A file that changed also has a wrong digest. The error should report the change.
            Err(error) if error.status() == Status::Content => {
                source.check_unchanged()?;
                Err(error)
            }
            outcome => outcome,
        }
    }

    /// Whether the target has a manifest.
    ///
    /// # Errors
    /// The target's errors.
    pub(crate) fn has_manifest(&self, descriptor: &Descriptor) -> Result<bool> {
        match self {
            Target::Registry(uploads) => uploads.registry().has_manifest(&descriptor.digest),
            Target::Layout(..) => {
                let Descriptor { digest, size, .. } = descriptor;
                let held = self.layout()?.check_blob(digest, Some(*size), true)?;
                Ok(matches!(held, Held::Blob(_)))
            }
        }
    }

    /// Stores a manifest under its digest. In a registry that does not list the manifest as a
    /// referrer of its subject, returns the subject and the entry for the list.
    ///
    /// # Errors
    /// The target's errors.
    pub(crate) fn put_manifest(&self, document: &Document) -> Result<Option<(Digest, Descriptor)>> {
        let Document { bytes, descriptor, manifest } = document;
        let digest = &descriptor.digest;
        match self {
            Target::Registry(uploads) => {
                let name = digest.to_string();
                uploads.registry().publish_unlisted(&[name], bytes, digest, manifest)
            }
            Target::Layout(..) => {
                schema1::refuse_in_layout(descriptor)?;
                self.layout()?.put_bytes(digest, bytes)?;
                Ok(None)
            }
        }
    }

    /// In a registry, lists manifests as referrers of their subjects.
    ///
    /// # Errors
    /// The errors of [`Registry::list_referrers`](registry::Registry::list_referrers).
    pub(crate) fn list_referrers(&self, batch: &Batch) -> Result<()> {
        match self {
            Target::Registry(uploads) => uploads.registry().list_referrers(batch),
            Target::Layout(..) => Ok(()),
        }
    }

    /// A sink for bytes whose digest is not known before their end.
    ///
    /// # Errors
    /// The layout's errors, if the layout or the temporary file in it cannot be created.
    pub(crate) fn sink(&self, chunk: Option<u64>) -> Result<Sink> {
        Ok(match self {
            Target::Registry(uploads) => Sink::Registry(uploads.stream(chunk)),
            Target::Layout(..) => Sink::Layout(self.layout()?.new_blob(Algorithm::Sha256)?),
        })
    }

    /// In a layout, names the images that are complete now.
    ///
    /// # Errors
    /// The layout's errors.
    pub(crate) fn name_whole_images(&self) -> Result<()> {
        match self {
            Target::Layout(_, layout) => match layout.get() {
                Some(Ok(layout)) => layout.name_whole_images(&HashSet::new()),
                _ => Ok(()),
            },
            Target::Registry(_) => Ok(()),
        }
    }

    /// Cancels the upload sessions of a failed run, except those that a later run may continue.
    pub(crate) fn close(&self) {
        if let Target::Registry(uploads) = self {
            uploads.cancel_all(true);
        }
    }

    /// The target repository; `None` if the target is a layout.
    pub(crate) fn repository(&self) -> Option<&Repository> {
        match self {
            Target::Registry(uploads) => Some(uploads.registry().repository()),
            Target::Layout(..) => None,
        }
    }

    /// The target layout, if it is open already.
    pub(crate) fn open_layout(&self) -> Option<&Layout> {
        match self {
            Target::Layout(_, layout) => layout.get()?.as_ref().ok(),
            Target::Registry(_) => None,
        }
    }

    fn layout(&self) -> Result<&Layout> {
        match self {
            Target::Layout(dir, layout) => {
                layout.get_or_init(|| Layout::create(dir)).as_ref().map_err(Error::clone)
            }
            Target::Registry(_) => Err(Error::usage("the target is a registry, not a layout")),
        }
    }
}
