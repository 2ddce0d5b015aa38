// SPDX-License-Identifier: Apache-2.0
//! The partial files of a blob, which hold its bytes until it is complete.
//!
//! A blob has one partial file from its first byte on. While several connections download it, it
//! has one more file for each later part, named by the offset of the part. Each file holds
//! consecutive bytes from its offset on. After an interruption the offsets and sizes of the files
//! show which bytes are there, and the next run requests only the rest.
//!
//! The lock on the first file covers all files of the blob.
//!
//! Not here: verifying the bytes.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::digest::Digest;
use common::error::{Error, Result};
use common::output::FilePlace;
use layout::Layout;
use rustix::fs::{FlockOperation, OFlags, flock};

/// The time that another process may hold a blob's lock while none of the blob's files grows.
const HOLDER_PATIENCE: Duration = Duration::from_secs(60);

/// The interval at which a held lock is tried again.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// A blob of at most this many bytes is synced to disk before it gets its final name. For a larger
/// blob a sync would take as long as the download. If a power failure damages such a blob, its size
/// or digest shows it.
const SYNC_UP_TO: u64 = 4 << 20;

/// The number of hexadecimal digits of the digest in the name of a partial file that is next to its
/// final file.
const SHORT_HEX: usize = 12;

/// The names of a blob's partial files and its final name.
#[derive(Clone, Debug)]
pub(crate) struct PartialFiles {
    dir: PathBuf,
    stem: OsString,
    path: PathBuf,
}

impl PartialFiles {
    /// The files in a layout: `ingest/ALG-HEX`, then `blobs/ALG/HEX`.
    ///
    /// # Errors
    /// Local if the directories of the layout cannot be created.
    pub(crate) fn in_layout(layout: &Layout, digest: &Digest) -> Result<PartialFiles> {
        Ok(PartialFiles {
            dir: layout.ingest_dir(),
            stem: format!("{}-{}", digest.algorithm(), digest.hex()).into(),
            path: layout.prepare_blob(digest)?,
        })
    }

    /// The files next to FILE: `.FILE.HEX12.part`, then FILE.
    pub(crate) fn beside(file: &FilePlace, digest: &Digest) -> PartialFiles {
        let partial = file.beside(&format!("{}.part", &digest.hex()[..SHORT_HEX]));
        let dir = partial.parent().filter(|dir| !dir.as_os_str().is_empty());
        PartialFiles {
            dir: dir.unwrap_or(Path::new(".")).to_owned(),
            stem: partial.file_name().unwrap_or_default().to_owned(),
            path: file.path.clone(),
        }
    }

    /// The final name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn partial(&self, offset: u64) -> PathBuf {
        let mut name = self.stem.clone();
        if offset > 0 {
            name.push(format!(".{offset}"));
        }
        self.dir.join(name)
    }

    /// Opens and locks the file of the part at `offset`, and creates it if it is missing.
    ///
    /// The part at 0 must be opened first. If another process holds its lock, this waits as long as
    /// the blob's files grow. Returns the file and whether it waited.
    ///
    /// # Errors
    /// Local if the file cannot be opened or locked; unavailable if the other process makes no
    /// progress for [`HOLDER_PATIENCE`].
    pub(crate) fn open(&self, offset: u64) -> Result<(File, bool)> {
        let path = self.partial(offset);
        let error = |cause: std::io::Error| Error::local(path.display(), &cause);
        let mut grown = (0, Instant::now());
        let mut waited = false;
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
            let file = options.open(&path).map_err(error)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // The other process may have renamed the file: it is not a partial file any more.
                Ok(()) if is_still(&path, &file).map_err(error)? => return Ok((file, waited)),
                Ok(()) => {
                    waited = true;
                    continue;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(cause) => return Err(error(cause.into())),
            }
            waited = true;
            let there = self.bytes_there();
            if there != grown.0 {
                grown = (there, Instant::now());
            } else if grown.1.elapsed() > HOLDER_PATIENCE {
                return Err(Error::unavailable(format_args!(
                    "{}: another process has locked it and makes no progress",
                    path.display()
                )));
            }
            std::thread::sleep(LOCK_POLL);
        }
    }

    /// The offsets of the later parts on disk, in ascending order.
    ///
    /// # Errors
    /// Local if the directory cannot be read.
    pub(crate) fn offsets(&self) -> Result<Vec<u64>> {
        let error = |cause: std::io::Error| Error::local(self.dir.display(), &cause);
        let mut offsets = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            offsets.extend(self.offset_of(&name));
        }
        offsets.sort_unstable();
        Ok(offsets)
    }

    fn offset_of(&self, name: &OsStr) -> Option<u64> {
        let rest = name.to_str()?.strip_prefix(self.stem.to_str()?)?.strip_prefix('.')?;
        let offset: u64 = rest.parse().ok()?;
        (offset > 0 && rest == offset.to_string()).then_some(offset)
    }

    /// Removes the file of the part at `offset`.
    pub(crate) fn remove(&self, offset: u64) {
        // If this fails, the next run uses or removes the file.
        let _ = std::fs::remove_file(self.partial(offset));
    }

    /// Gives the first file, which now holds the whole blob, the final name.
    ///
    /// # Errors
    /// Local if it cannot be synced or renamed. An existing file of that name is then unchanged.
    pub(crate) fn publish(&self, whole: &File) -> Result<()> {
        let published = (|| {
            if whole.metadata()?.len() <= SYNC_UP_TO {
                whole.sync_data()?;
            }
            std::fs::rename(self.partial(0), &self.path)
        })();
        published.map_err(|cause| Error::local(self.path.display(), &cause))
    }

    /// The total size of the blob's partial files.
    fn bytes_there(&self) -> u64 {
        let offsets = self.offsets().unwrap_or_default();
        let size = |offset: u64| std::fs::metadata(self.partial(offset)).map_or(0, |m| m.len());
        offsets.into_iter().chain([0]).map(size).sum()
    }
}

/// Whether `path` still names the opened file.
fn is_still(path: &Path, file: &File) -> std::io::Result<bool> {
    let opened = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok(named.ino() == opened.ino() && named.dev() == opened.dev()),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_offsets_of_the_same_blob_are_parts() {
        let files =
            PartialFiles { dir: ".".into(), stem: "sha256-ab".into(), path: PathBuf::from("x") };
        assert_eq!(files.offset_of(OsStr::new("sha256-ab.1048576")), Some(1 << 20));
        for name in [
            "sha256-ab",
            "sha256-ab.",
            "sha256-ab.0",
            "sha256-ab.01",
            "sha256-ab.+1",
            "sha256-abc.1",
            "sha256-ab.1x",
        ] {
            assert_eq!(files.offset_of(OsStr::new(name)), None, "{name}");
        }
    }
}
