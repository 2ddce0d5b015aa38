// SPDX-License-Identifier: Apache-2.0
//! Uploads that another run may take up again: one small file each, in the user's state directory.
//!
//! `$XDG_STATE_HOME/regutils/uploads`, else `~/.local/state/regutils/uploads`. A file's name is made of the repository
//! and the digest, so that it can never belong to other bytes; what it holds is the session's URL, which only its owner
//! may read. Trouble with it costs a resumption and nothing else, so it is not reported.

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use common::digest::{Algorithm, Digest};
use common::reference::Repository;

/// From this size on an upload is worth remembering, in bytes.
pub(crate) const WORTH_IT: u64 = 1 << 20;

/// The longest URL that is read back, in bytes.
const MAX_ADDRESS: u64 = 16 << 10;

/// Where one upload is remembered.
pub(crate) struct Place {
    path: PathBuf,
}

impl Place {
    /// Of a blob on its way to a repository; nothing where the user has no such directory.
    pub(crate) fn of(repository: &Repository, digest: &Digest) -> Option<Place> {
        let home =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let state = home("XDG_STATE_HOME").or_else(|| Some(home("HOME")?.join(".local/state")))?;
        let name = format!("{}/{} {digest}", repository.api_host(), repository.path());
        let name = Algorithm::Sha256.digest(name.as_bytes());
        Some(Place { path: state.join("regutils/uploads").join(name.hex()) })
    }

    /// The session that an earlier run left.
    pub(crate) fn recall(&self) -> Option<String> {
        let metadata = std::fs::metadata(&self.path).ok()?;
        if metadata.len() > MAX_ADDRESS {
            return None;
        }
        std::fs::read_to_string(&self.path).ok().map(|text| text.trim_end().to_owned())
    }

    /// The session to come back to.
    pub(crate) fn keep(&self, address: &str) {
        let _ = self.try_keep(address);
    }

    fn try_keep(&self, address: &str) -> std::io::Result<()> {
        if let Some(dir) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let new = self.path.with_extension(std::process::id().to_string());
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        writeln!(file, "{address}")?;
        std::fs::rename(new, &self.path)
    }

    /// There is none any more.
    pub(crate) fn forget(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
