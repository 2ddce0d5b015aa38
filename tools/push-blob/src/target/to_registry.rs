// SPDX-License-Identifier: Apache-2.0
//! Pushing a blob of known digest into a repository.

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::Result;
use common::progress::{How, Progress};

use super::Delivery;
use super::mount_candidates::mount_candidates;
use super::saved_session::{self, SavedSession};
use crate::upload::plan::{Push, Watcher};
use crate::upload::requests::Mount;
use crate::upload::rereadable::Rereadable;
use crate::upload::{UploadSession, Uploads};

/// Pushes a blob into the repository: checks whether it exists there, then tries to mount it, then
/// uploads it.
///
/// # Errors
/// The errors of the source and of the registry.
pub(super) fn push(
    uploads: &Uploads,
    descriptor: &Descriptor,
    source: &mut dyn Rereadable,
    delivery: &Delivery,
    progress: &Progress,
) -> Result<How> {
    let Descriptor { digest, size, .. } = descriptor;
    match uploads.registry().has_blob(digest, *size) {
        Ok(true) => return Ok(How::Present),
        Ok(false) => {
            let target = uploads.registry().repository().path();
            delivery.missed.borrow_mut().push(target.to_owned());
        }
        // The registry may still accept the blob. If not, the upload reports why.
        Err(_) => {}
    }
    let is_resumable = delivery.resumable && *size >= saved_session::MIN_SIZE;
    let saved =
        is_resumable.then(|| SavedSession::lock(uploads.registry().repository(), digest)).flatten();
    let earlier = saved.as_ref().and_then(SavedSession::read);
    let session = match earlier.and_then(|address| uploads.reopen(&address).ok()) {
        Some(session) => Some(session),
        None => match mount(uploads, descriptor, delivery) {
            Mount::Mounted => return Ok(How::Mounted),
            Mount::Session(session) => Some(session),
            Mount::Refused { .. } => None,
        },
    };
    let follow = Follow { saved, digest, size: *size, progress };
    let push = Push { digest, size: *size, chunk: delivery.chunk, session, watcher: &follow };
    uploads.push(push, source)?;
    Ok(How::Pushed)
}

/// Tries to mount the blob from other repositories, one after the other. A registry may open an
/// upload session for each failed attempt. The last session is kept for the upload, and the others
/// are cancelled.
fn mount(uploads: &Uploads, descriptor: &Descriptor, delivery: &Delivery) -> Mount {
    let Descriptor { digest, size, .. } = descriptor;
    let mut kept: Option<UploadSession> = None;
    let target = uploads.registry().repository().path();
    for path in mount_candidates(target, &delivery.mount_named, &delivery.mount_remembered, *size) {
        let outcome = uploads.mount(digest, &path);
        if matches!(outcome, Mount::Session(_) | Mount::Refused { is_final: true }) {
            delivery.missed.borrow_mut().push(path);
        }
        let session = match outcome {
            Mount::Refused { .. } => continue,
            Mount::Session(session) => Some(session),
            Mount::Mounted => None,
        };
        let mounted = session.is_none();
        if let Some(unused) = std::mem::replace(&mut kept, session) {
            uploads.cancel(&unused);
        }
        if mounted {
            return Mount::Mounted;
        }
    }
    kept.map_or(Mount::Refused { is_final: false }, Mount::Session)
}

/// Saves the session of an upload, and reports progress.
struct Follow<'a> {
    saved: Option<SavedSession>,
    digest: &'a Digest,
    size: u64,
    progress: &'a Progress,
}

impl Watcher for Follow<'_> {
    fn remembers(&self) -> bool {
        self.saved.is_some()
    }

    fn session(&self, session: &UploadSession) {
        if let Some(saved) = &self.saved {
            saved.write(&session.address());
        }
    }

    fn forget(&self) {
        if let Some(saved) = &self.saved {
            saved.remove();
        }
    }

    fn begins(&self, offset: u64) {
        self.progress.begin(Some(self.digest), Some(self.size), offset);
    }

    fn sent(&self, bytes: u64) {
        self.progress.add(Some(self.digest), bytes);
    }
}
