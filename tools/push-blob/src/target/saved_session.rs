// SPDX-License-Identifier: Apache-2.0
//! Upload sessions that a later run may continue. Each is one small file in `uploads` in the user's
//! state directory.
//!
//! The name of a file is the hash of the repository and the digest of the blob. A session is
//! therefore never continued with another blob. The file contains the URL of the session, and only
//! its owner can read it.
//!
//! The file is locked during the upload. A second run that pushes the same blob at the same time
//! opens its own session, which is not saved.
//!
//! If a file cannot be read or written, the upload cannot be continued later, but it still
//! succeeds. Such a failure is therefore not reported.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use common::digest::{Algorithm, Digest};
use common::reference::Repository;
use common::state;
use common::workfile;
use rustix::fs::{FlockOperation, flock};

/// The smallest upload that is saved, in bytes.
pub(super) const MIN_SIZE: u64 = 1 << 20;

/// The longest URL that is read from a file, in bytes.
const MAX_ADDRESS: u64 = 16 << 10;

/// The file for one upload, locked by this run.
pub(super) struct SavedSession {
    path: PathBuf,
    file: File,
}

impl SavedSession {
    /// Locks the file for the upload of a blob to a repository. `None` if there is no state
    /// directory, or if another run holds the lock.
    pub(super) fn lock(repository: &Repository, digest: &Digest) -> Option<SavedSession> {
        let dir = directory()?;
        let name = format!("{}/{} {digest}", repository.api_host(), repository.path());
        let path = dir.join(Algorithm::Sha256.digest(name.as_bytes()).hex());
        let file = workfile::open(&path, 0o600).ok()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        // The previous holder of the lock may have removed the file after we opened it.
        let is_current = workfile::is_still(&path, &file).unwrap_or(false);
        is_current.then_some(SavedSession { path, file })
    }

    /// The URL of the session that an earlier run saved.
    pub(super) fn read(&self) -> Option<String> {
        let mut address = String::new();
        (&self.file).take(MAX_ADDRESS).read_to_string(&mut address).ok()?;
        // A line without a newline was not written completely.
        address.strip_suffix('\n').map(str::to_owned)
    }

    /// Saves the URL of the session.
    pub(super) fn write(&self, address: &str) {
        let line = format!("{address}\n");
        let _ = self.file.set_len(0).and_then(|()| self.file.write_all_at(line.as_bytes(), 0));
    }

    /// Removes the file, because no session can be continued.
    pub(super) fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The directory for saved uploads, which is created if it does not exist.
fn directory() -> Option<PathBuf> {
    let uploads = state::directory()?.join("uploads");
    state::create(&uploads).ok()?;
    Some(uploads)
}
