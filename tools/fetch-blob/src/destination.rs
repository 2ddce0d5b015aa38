// SPDX-License-Identifier: Apache-2.0
//! The destination of the blobs, a layout or a file, and the check whether it has a blob already.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::digest::Digest;
use common::error::{Error, Result};
use common::notice;
use common::output::FilePlace;
use common::progress::{How, Progress};
use common::verify::{Verifier, verify};
use layout::{Held, Layout};
use store::Store;

use crate::partial_files::PartialFiles;

/// The destination of the blobs.
pub(crate) enum Destination {
    /// A layout.
    Layout(Layout),
    /// A single file.
    File(FilePlace),
}

impl Destination {
    /// Stores a complete blob.
    pub(crate) fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        match self {
            Destination::Layout(layout) => layout.put_bytes(digest, bytes),
            Destination::File(place) => place.write(bytes),
        }
    }

    /// The partial files for the download of a blob.
    pub(crate) fn partial_files(&self, digest: &Digest) -> Result<PartialFiles> {
        match self {
            Destination::Layout(layout) => PartialFiles::in_layout(layout, digest),
            Destination::File(file) => Ok(PartialFiles::beside(file, digest)),
        }
    }
}

/// The state that all blobs of a run share.
pub(crate) struct Run {
    pub(crate) store: Store,
    pub(crate) destination: Destination,
    pub(crate) max_size: Option<u64>,
    pub(crate) recheck: bool,
    /// The time to wait for another process that downloads the same blob but makes no progress.
    pub(crate) patience: Duration,
    pub(crate) progress: Progress,
    /// Whether the bytes are used while they arrive. They should then arrive in order.
    pub(crate) early: bool,
    /// The number of bytes received by all connections.
    pub(crate) received: AtomicU64,
}

impl Run {
    /// Counts received bytes of a blob.
    pub(crate) fn received(&self, digest: &Digest, bytes: u64) {
        self.progress.add(Some(digest), bytes);
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The size of the blob if the destination has it already.
    pub(crate) fn present(&self, digest: &Digest, stated: Option<u64>) -> Result<Option<u64>> {
        let present = match &self.destination {
            Destination::Layout(layout) => self.present_in_layout(layout, digest, stated)?,
            Destination::File(place) => present_in_file(place, digest, stated),
        };
        if let Some(size) = present {
            self.progress.done(digest, size, How::Present);
        }
        Ok(present)
    }

    fn present_in_layout(
        &self,
        layout: &Layout,
        digest: &Digest,
        stated: Option<u64>,
    ) -> Result<Option<u64>> {
        match layout.check_blob(digest, stated, self.recheck)? {
            Held::Blob(size) => Ok(Some(size)),
            Held::Absent => Ok(None),
            Held::Wrong(what) => {
                notice::warn("mended", || {
                    format!("{digest}: invalid blob in the layout: {what}: fetched again")
                });
                Ok(None)
            }
        }
    }

    /// Stores the empty blob.
    pub(crate) fn put_empty(&self, digest: &Digest, stated: Option<u64>) -> Result<u64> {
        check_empty_size(digest, stated)?;
        self.destination.put(digest, &[])?;
        self.progress.done(digest, 0, How::Fetched);
        Ok(0)
    }
}

/// Checks that the stated size of the empty blob is 0.
pub(crate) fn check_empty_size(digest: &Digest, stated: Option<u64>) -> Result<()> {
    match stated {
        None | Some(0) => Ok(()),
        Some(want) => {
            Err(Error::content(format_args!("{digest}: size differs: got 0, want {want}")))
        }
    }
}

/// The size of the blob if a file has it. A file that cannot be read counts as absent, because it
/// may still be possible to replace it. If it cannot be replaced, the rename reports the error.
fn present_in_file(place: &FilePlace, digest: &Digest, stated: Option<u64>) -> Option<u64> {
    let file = File::open(&place.path).ok()?;
    let size = file.metadata().ok()?.len();
    if stated.is_some_and(|stated| stated != size) {
        return None;
    }
    verify(&file, Verifier::new(digest, stated), &digest.to_string()).ok()?;
    // Set the modification time, so that make considers the file up to date.
    let _ = file.set_modified(std::time::SystemTime::now());
    Some(size)
}
