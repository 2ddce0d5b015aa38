// SPDX-License-Identifier: Apache-2.0
//! The lock on `blobs/`, which protects the blobs of a running pipeline.
//!
//! While an image is being stored, no entry refers to its blobs. Each process that has a layout
//! open holds this lock in shared mode. A process that removes blobs holds it exclusively. Other
//! programs do not use this lock. Their blobs are protected only by the blobs' age: see
//! [`Layout::touch`].

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use common::digest::Digest;
use common::error::{Error, Result};
use rustix::fs::{AtFlags, CWD, FlockOperation, Timespec, Timestamps, UTIME_NOW, flock, utimensat};
use rustix::io::Errno;

use crate::{LOCK_PATIENCE, Layout, lock};

/// Takes the lock of the layout at `dir` in shared mode. `None` if that is not possible, for
/// example if this user may read blobs but may not list them.
///
/// # Errors
/// Unavailable if a process that removes blobs does not end within [`LOCK_PATIENCE`].
pub(crate) fn share(dir: &Path) -> Result<Option<Arc<File>>> {
    let Ok(blobs) = File::open(dir.join("blobs")) else { return Ok(None) };
    match lock(&blobs, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Some(Arc::new(blobs))),
        Err(Errno::WOULDBLOCK) => {
            let seconds = LOCK_PATIENCE.as_secs();
            let name = dir.display();
            let what = format_args!(
                "oci:{name}: sweep-layout has locked the layout for {seconds} seconds"
            );
            Err(Error::unavailable(what))
        }
        Err(_) => Ok(None),
    }
}

impl Layout {
    /// Takes the lock exclusively, so that no other process uses the layout until this value is
    /// dropped. Does not wait for a process that uses the layout: when it ends, the next process of
    /// its pipeline or script would use the layout.
    ///
    /// # Errors
    /// Unavailable if another process uses the layout; Local if it cannot be locked.
    pub fn lock_alone(&self) -> Result<()> {
        let path = self.dir.join("blobs");
        let local =
            |cause: std::io::Error| Error::local(format_args!("lock {}", path.display()), &cause);
        let Some(blobs) = &self.usage else {
            let cause = File::open(&path).err();
            return Err(local(cause.unwrap_or_else(|| Errno::NOLCK.into())));
        };
        match flock(blobs, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(()),
            Err(Errno::WOULDBLOCK) => {
                let error =
                    Error::unavailable(format_args!("{self}: another process uses the layout"));
                Err(error.hint("try again when that process has ended"))
            }
            Err(cause) => Err(local(cause.into())),
        }
    }

    /// Sets the modification time of blobs to now: they are in use, although perhaps no entry
    /// refers to them yet. Only the owner of a blob, or a user who may write to it, can do this.
    /// Otherwise the time is left unchanged.
    pub fn touch<'a>(&self, digests: impl IntoIterator<Item = &'a Digest>) {
        for digest in digests {
            let _ = utimensat(CWD, self.blob_path(digest), &NOW, AtFlags::SYMLINK_NOFOLLOW);
        }
    }
}

/// The current time for both timestamps. A user who does not own a file but may write to it can set
/// only this time.
pub(crate) const NOW: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
};
