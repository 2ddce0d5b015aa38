// SPDX-License-Identifier: Apache-2.0
//! Uploads that another run may take up again: one small file each, in the user's state directory.
//!
//! `$XDG_STATE_HOME/regutils/uploads`, else `~/.local/state/regutils/uploads`. A file's name is made of the repository
//! and the digest, so that it can never belong to other bytes; what it holds is the session's URL, which only its owner
//! may read. It is locked while the upload is under way: who pushes the same at the same time has a session of its own,
//! which is not remembered. Trouble with all this costs a resumption and nothing else, so it is not reported.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use common::digest::{Algorithm, Digest};
use common::reference::Repository;
use rustix::fs::{FlockOperation, flock};

/// From this size on an upload is worth remembering, in bytes.
pub(crate) const WORTH_IT: u64 = 1 << 20;

/// The longest URL that is read back, in bytes.
const MAX_ADDRESS: u64 = 16 << 10;

/// Where one upload is remembered, and nobody else's.
pub(crate) struct Place {
    path: PathBuf,
    file: File,
}

impl Place {
    /// Of a blob on its way to a repository; nothing where the user has no such directory, or while another run has it.
    pub(crate) fn of(repository: &Repository, digest: &Digest) -> Option<Place> {
        let dir = directory()?;
        let name = format!("{}/{} {digest}", repository.api_host(), repository.path());
        let path = dir.join(Algorithm::Sha256.digest(name.as_bytes()).hex());
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = file.open(&path).ok()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        // Who had it may have removed it meanwhile.
        let is_there = std::fs::metadata(&path).is_ok_and(|there| {
            file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
        });
        is_there.then_some(Place { path, file })
    }

    /// The session that an earlier run left.
    pub(crate) fn recall(&self) -> Option<String> {
        let mut address = String::new();
        (&self.file).take(MAX_ADDRESS).read_to_string(&mut address).ok()?;
        // A line that was not written to its end has none.
        address.strip_suffix('\n').map(str::to_owned)
    }

    /// The session to come back to.
    pub(crate) fn keep(&self, address: &str) {
        let line = format!("{address}\n");
        let _ = self.file.set_len(0).and_then(|()| self.file.write_all_at(line.as_bytes(), 0));
    }

    /// There is none any more.
    pub(crate) fn forget(&self) {
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
