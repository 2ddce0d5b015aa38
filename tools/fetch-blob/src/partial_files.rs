// SPDX-License-Identifier: Apache-2.0
//! The partial files of a blob, which hold its bytes until it is complete.
//!
//! A blob has one partial file from its first byte on. While several connections download it, it
//! has one more file for each later part, named after the offset of the part. Each file holds
//! consecutive bytes from its offset on. After an interruption the offsets and sizes of the files
//! show which bytes they have, and the next run requests only the rest.
//!
//! The lock on the first file covers all files of the blob. If another process holds the lock and
//! makes no progress, the blob is downloaded into an unnamed file, which a later run cannot
//! continue. The same is done if the file with that name can be neither used nor removed.
//!
//! Not here: verifying the bytes.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use common::digest::Digest;
use common::error::{Error, Result, Status, os_message};
use common::notice;
use common::output::FilePlace;
use common::tempfile::TempFile;
use common::workfile;
use layout::Layout;
use rustix::fs::{FlockOperation, flock};

/// The mode of a partial file, to which the umask applies. The file later becomes the result.
const MODE: u32 = 0o666;

/// The time between two attempts to lock a file that another process has locked.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// The time to wait for the lock on a later part while we hold the lock on the first file. A
/// process that ends releases its locks one after the other.
const PART_PATIENCE: Duration = Duration::from_secs(1);

/// A blob of at most this many bytes is synced to disk before it gets its final name. For a larger
/// blob a sync would take as long as the download. If a power failure damages such a blob, its size
/// or digest shows it.
const SYNC_UP_TO: u64 = 4 << 20;

/// The number of hexadecimal digits of the digest in the name of a partial file that is next to its
/// final file.
const SHORT_HEX: usize = 12;

/// The names of a blob's partial files and its final name.
pub(crate) struct PartialFiles {
    dir: PathBuf,
    stem: OsString,
    path: PathBuf,
    /// The file that is used instead, if the named files cannot be used.
    unnamed: Mutex<Option<TempFile>>,
}

/// The opened first file of a blob.
pub(crate) struct FirstFile {
    pub(crate) file: File,
    /// Whether another process used the file meanwhile. It may have completed the blob.
    pub(crate) waited: bool,
}

impl PartialFiles {
    /// The files in a layout: `ingest/ALG-HEX`, then `blobs/ALG/HEX`.
    ///
    /// # Errors
    /// Local if the directories of the layout cannot be created.
    pub(crate) fn in_layout(layout: &Layout, digest: &Digest) -> Result<PartialFiles> {
        let first = layout.partial_path(digest);
        Ok(PartialFiles {
            dir: layout.ingest_dir(),
            stem: first.file_name().unwrap_or_default().to_owned(),
            path: layout.prepare_blob(digest)?,
            unnamed: Mutex::default(),
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
            unnamed: Mutex::default(),
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

    /// Opens and locks the first file, and creates it if it is missing.
    ///
    /// If another process holds its lock, this waits as long as the blob's files grow, and for
    /// `patience` after that. If the file cannot be used then, an unnamed file is used instead.
    ///
    /// # Errors
    /// Local if no file can be opened.
    pub(crate) fn open_first(&self, patience: Duration) -> Result<FirstFile> {
        let path = self.partial(0);
        let local = |cause: std::io::Error| Error::local(path.display(), &cause);
        let mut grown = (0, Instant::now());
        let mut waited = false;
        loop {
            let file = match workfile::open(&path, MODE) {
                Ok(file) => file,
                Err(cause) => {
                    let unnamed = self.open_unnamed(&os_message(&cause)).map_err(|_| local(cause));
                    return unnamed.map(|file| FirstFile { file, waited });
                }
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // The other process may have renamed the file: it is not a partial file any more.
                Ok(()) if workfile::is_still(&path, &file).map_err(local)? => {
                    return Ok(FirstFile { file, waited });
                }
                Ok(()) => {
                    waited = true;
                    continue;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(cause) => return Err(local(cause.into())),
            }
            waited = true;
            let there = self.bytes_there();
            if there != grown.0 {
                grown = (there, Instant::now());
            } else if grown.1.elapsed() > patience {
                let why = "another process has locked this file and makes no progress";
                let file = self.open_unnamed(why).map_err(local)?;
                return Ok(FirstFile { file, waited });
            }
            std::thread::sleep(LOCK_POLL);
        }
    }

    /// Opens an unnamed file to download into, because the first file cannot be used.
    fn open_unnamed(&self, why: &str) -> std::io::Result<File> {
        let temp = TempFile::new(&self.dir, &self.stem)?;
        let file = temp.file.try_clone()?;
        *self.unnamed() = Some(temp);
        notice::warn("partial file", || {
            let path = self.partial(0);
            format!("{}: {why}: a later run cannot continue this download", path.display())
        });
        Ok(file)
    }

    fn unnamed(&self) -> MutexGuard<'_, Option<TempFile>> {
        self.unnamed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the blob can have files for later parts.
    pub(crate) fn has_parts(&self) -> bool {
        self.unnamed().is_none()
    }

    /// Opens and locks the file of the part at `offset`, and creates it if it is missing. The first
    /// file must be locked already. No other download can therefore hold a lock on this file.
    ///
    /// # Errors
    /// The error of the system, if the file cannot be opened or locked.
    pub(crate) fn open_part(&self, offset: u64) -> std::io::Result<File> {
        let path = self.partial(offset);
        let began = Instant::now();
        loop {
            let file = workfile::open(&path, MODE)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if workfile::is_still(&path, &file)? => return Ok(file),
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) if began.elapsed() > PART_PATIENCE => {
                    std::fs::remove_file(&path)?;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOCK_POLL),
                Err(cause) => return Err(cause.into()),
            }
        }
    }

    /// The offsets of the later parts on disk, in ascending order.
    ///
    /// # Errors
    /// Local if the directory cannot be read.
    pub(crate) fn offsets(&self) -> Result<Vec<u64>> {
        let error = |cause: std::io::Error| Error::local(self.dir.display(), &cause);
        let mut offsets = Vec::new();
        if !self.has_parts() {
            return Ok(offsets);
        }
        for entry in std::fs::read_dir(&self.dir).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            offsets.extend(self.offset_of(&name));
        }
        offsets.sort_unstable();
        Ok(offsets)
    }

    fn offset_of(&self, name: &OsStr) -> Option<u64> {
        let rest = name.as_bytes().strip_prefix(self.stem.as_bytes())?.strip_prefix(b".")?;
        let rest = std::str::from_utf8(rest).ok()?;
        let offset: u64 = rest.parse().ok()?;
        (offset > 0 && rest == offset.to_string()).then_some(offset)
    }

    /// Removes the file of the part at `offset`.
    pub(crate) fn remove(&self, offset: u64) {
        if !self.has_parts() {
            *self.unnamed() = None;
            return;
        }
        // If this fails, the next run uses or removes the file.
        let _ = std::fs::remove_file(self.partial(offset));
    }

    /// Gives the final name to the first file, which now holds the complete blob.
    ///
    /// # Errors
    /// Local if it cannot be synced or renamed. An existing file of that name is then unchanged.
    pub(crate) fn publish(&self, whole: &File) -> Result<()> {
        let local = |cause: std::io::Error| Error::local(self.path.display(), &cause);
        if whole.metadata().map_err(local)?.len() <= SYNC_UP_TO {
            whole.sync_data().map_err(local)?;
        }
        // The last byte may be from an earlier run, but sweep-layout must treat the blob as new.
        let _ = whole.set_modified(SystemTime::now());
        if let Some(unnamed) = self.unnamed().take() {
            return unnamed.publish(&self.path).map_err(local);
        }
        let partial = self.partial(0);
        if !workfile::is_still(&partial, whole).map_err(local)? {
            let partial = partial.display();
            let what = format_args!("{partial}: another program removed or replaced this file");
            return Err(Error::new(Status::Local, what));
        }
        std::fs::rename(partial, &self.path).map_err(local)
    }

    /// The total size of the blob's partial files.
    fn bytes_there(&self) -> u64 {
        let offsets = self.offsets().unwrap_or_default();
        let size =
            |offset: u64| std::fs::symlink_metadata(self.partial(offset)).map_or(0, |m| m.len());
        offsets.into_iter().chain([0]).map(size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_offsets_of_the_same_blob_are_parts() {
        let files = |stem: &[u8]| PartialFiles {
            dir: ".".into(),
            stem: OsStr::from_bytes(stem).to_owned(),
            path: PathBuf::from("x"),
            unnamed: Mutex::default(),
        };
        let not_utf8 = OsStr::from_bytes(b".\xff.part.5");
        assert_eq!(files(b".\xff.part").offset_of(not_utf8), Some(5));
        let files = files(b"sha256-ab");
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
