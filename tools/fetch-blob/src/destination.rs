// SPDX-License-Identifier: Apache-2.0
//! The destination of the blobs, a layout or a file, and the check whether it has a blob already.

use std::io::ErrorKind;

use common::digest::Digest;
use common::error::{Error, Result};
use common::notice;
use common::output::FilePlace;
use common::progress::{How, Progress};
use common::verify::{Verifier, verify};
use layout::Layout;
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
    /// Stores a whole blob.
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
    pub(crate) progress: Progress,
}

impl Run {
    /// The size of the blob if the destination has it already.
    pub(crate) fn present(&self, digest: &Digest, stated: Option<u64>) -> Result<Option<u64>> {
        let (file, size) = match &self.destination {
            Destination::Layout(layout) => match layout.open_blob(digest)? {
                Some(found) => found,
                None => return Ok(None),
            },
            Destination::File(place) => match std::fs::File::open(&place.path) {
                Ok(file) => {
                    let size = file.metadata().map_or(0, |metadata| metadata.len());
                    (file, size)
                }
                Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
                // An unreadable file may still be replaced. If not, the rename fails.
                Err(_) => return Ok(None),
            },
        };
        let in_layout = matches!(self.destination, Destination::Layout(_));
        if stated.is_some_and(|stated| stated != size) {
            if in_layout {
                notice::warn("mended", || {
                    let stated = stated.unwrap_or_default();
                    format!("{digest}: the layout had {size} bytes, want {stated}: fetched again")
                });
            }
            return Ok(None);
        }
        if in_layout && !self.recheck {
            self.progress.done(digest, size, How::Present);
            return Ok(Some(size));
        }
        match verify(&file, Verifier::new(digest, stated), &digest.to_string()) {
            Ok(_) => {
                if !in_layout {
                    // Set the modification time, so that make considers the file up to date.
                    let _ = file.set_modified(std::time::SystemTime::now());
                }
                self.progress.done(digest, size, How::Present);
                Ok(Some(size))
            }
            Err(_) if in_layout => {
                notice::warn("mended", || {
                    format!("{digest}: the layout had wrong bytes: fetched again")
                });
                Ok(None)
            }
            Err(_) => Ok(None),
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
