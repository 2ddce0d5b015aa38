// SPDX-License-Identifier: Apache-2.0
//! Upload sessions that a later run may continue: one small file each, in the user's state
//! directory.
//!
//! `$XDG_STATE_HOME/regutils/uploads`, else `~/.local/state/regutils/uploads`. A file's name is
//! made of the repository and the digest, so that it can never belong to other bytes. It holds the
//! session's URL, and only its owner may read it. It is locked while the upload is under way:
//! another run that pushes the same blob meanwhile has a session of its own, which is not saved. A
//! failure here costs no more than the resumption, so it is not reported.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use common::digest::{Algorithm, Digest};
use common::reference::Repository;
use rustix::fs::{FlockOperation, flock};

/// The size from which on an upload is worth saving, in bytes.
pub(super) const MIN_SIZE: u64 = 1 << 20;

/// The longest URL that is read back, in bytes.
const MAX_ADDRESS: u64 = 16 << 10;

/// The file for one upload, locked by this run.
pub(super) struct SavedSession {
    path: PathBuf,
    file: File,
}

impl SavedSession {
    /// Locks the file for a blob on its way to a repository. `None` if the user has no such
    /// directory, or another run has the lock.
    pub(super) fn lock(repository: &Repository, digest: &Digest) -> Option<SavedSession> {
        let dir = directory()?;
        let name = format!("{}/{} {digest}", repository.api_host(), repository.path());
        let path = dir.join(Algorithm::Sha256.digest(name.as_bytes()).hex());
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = file.open(&path).ok()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        // A run that had the lock may have removed the file meanwhile.
        let is_there = std::fs::metadata(&path).is_ok_and(|there| {
            file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
        });
        is_there.then_some(SavedSession { path, file })
    }

    /// The URL of the session that an earlier run left.
    pub(super) fn read(&self) -> Option<String> {
        let mut address = String::new();
        (&self.file).take(MAX_ADDRESS).read_to_string(&mut address).ok()?;
        // The newline is missing if the line was not written to its end.
        address.strip_suffix('\n').map(str::to_owned)
    }

    /// Saves the URL of the session to continue.
    pub(super) fn write(&self, address: &str) {
        let line = format!("{address}\n");
        let _ = self.file.set_len(0).and_then(|()| self.file.write_all_at(line.as_bytes(), 0));
    }

    /// Removes the file: there is no session to continue.
    pub(super) fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The user's state directory for uploads, made if the directory that it belongs to is there.
fn directory() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = match (variable("XDG_STATE_HOME"), variable("HOME")) {
        (Some(state), _) if state.parent().is_some_and(Path::is_dir) => state,
        (None, Some(home)) if home.is_dir() => home.join(".local/state"),
        _ => return None,
    };
    let uploads = state.join("regutils/uploads");
    DirBuilder::new().recursive(true).mode(0o700).create(&uploads).ok()?;
    Some(uploads)
}
