// SPDX-License-Identifier: Apache-2.0
//! Where blobs go: a repository or a layout. Each blob is looked for first, mounted if it can be,
//! then sent.

mod digest_lock;
mod mount_candidates;
mod saved_session;
pub(crate) mod sink;
mod to_layout;
mod to_registry;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use common::descriptor::Descriptor;
use common::digest::Algorithm;
use common::error::{Error, Result, Status};
use common::progress::Progress;
use layout::Layout;
use store::Document;

use crate::upload::Uploads;
use crate::upload::rereadable::Rereadable;
use sink::Sink;

/// Where blobs go.
pub(crate) enum Target {
    /// Into a repository.
    Registry(Arc<Uploads>),
    /// Into a layout, created when the first blob arrives.
    Layout(PathBuf, OnceLock<Result<Layout>>),
}

/// How one blob is delivered.
#[derive(Default)]
pub(crate) struct Delivery {
    /// The size of its parts, in bytes; `None` for one piece.
    pub(crate) chunk: Option<u64>,
    /// Paths of repositories to mount it from: those that the user names.
    pub(crate) mount_named: Vec<String>,
    /// Paths of repositories to mount it from: those that it was seen in.
    pub(crate) mount_remembered: Vec<String>,
    /// Whether another run will find the same bytes, so that it may continue the upload.
    pub(crate) resumable: bool,
}

impl Target {
    /// Delivers a blob, unless it is there.
    ///
    /// # Errors
    /// The source's, the target's, and content when the bytes are not what the descriptor says.
    pub(crate) fn deliver(
        &self,
        descriptor: &Descriptor,
        source: &mut dyn Rereadable,
        delivery: &Delivery,
        progress: &Progress,
    ) -> Result<()> {
        let Descriptor { digest, size, .. } = descriptor;
        let _lock = digest_lock::lock(digest);
        progress.announce(*size);
        let outcome = match self {
            Target::Registry(uploads) => {
                to_registry::push(uploads, descriptor, source, delivery, progress)
            }
            Target::Layout(..) => to_layout::store(self.layout()?, descriptor, source, progress),
        };
        let how = match outcome {
            // If the file changed, that is reported, and not the digest that it has now.
            Err(error) if error.status() == Status::Content => {
                source.check_unchanged()?;
                return Err(error);
            }
            outcome => outcome?,
        };
        progress.done(digest, *size, how);
        Ok(())
    }

    /// Whether a manifest is there.
    ///
    /// # Errors
    /// The target's.
    pub(crate) fn has_manifest(&self, descriptor: &Descriptor) -> Result<bool> {
        match self {
            Target::Registry(uploads) => uploads.registry().has_manifest(&descriptor.digest),
            Target::Layout(..) => Ok(self.layout()?.blob(descriptor)?.is_some()),
        }
    }

    /// Puts a manifest under its digest.
    ///
    /// # Errors
    /// The target's.
    pub(crate) fn put_manifest(&self, document: &Document) -> Result<()> {
        let Document { bytes, descriptor, manifest } = document;
        let digest = &descriptor.digest;
        match self {
            Target::Registry(uploads) => {
                uploads.registry().publish(&[digest.to_string()], bytes, digest, manifest)
            }
            Target::Layout(..) => self.layout()?.put_bytes(digest, bytes),
        }
    }

    /// A sink for bytes whose digest is known only at their end.
    ///
    /// # Errors
    /// Local trouble with a layout.
    pub(crate) fn sink(&self, chunk: Option<u64>) -> Result<Sink> {
        Ok(match self {
            Target::Registry(uploads) => Sink::Registry(uploads.stream(chunk)),
            Target::Layout(..) => Sink::Layout(self.layout()?.new_blob(Algorithm::Sha256)?),
        })
    }

    /// Ends a run that failed: cancels the open upload sessions that no later run may continue.
    pub(crate) fn close(&self) {
        if let Target::Registry(uploads) = self {
            uploads.cancel_all(true);
        }
    }

    fn layout(&self) -> Result<&Layout> {
        match self {
            Target::Layout(dir, layout) => {
                layout.get_or_init(|| Layout::create(dir)).as_ref().map_err(Error::clone)
            }
            Target::Registry(_) => Err(Error::usage("a registry is no layout")),
        }
    }
}
