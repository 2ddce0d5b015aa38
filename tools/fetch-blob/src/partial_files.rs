// SPDX-License-Identifier: Apache-2.0
//! Partial files: where a blob grows until it is whole.
//!
//! A blob has one file from its first byte, and while several connections fetch it one more for
//! each later part, named by its offset: each holds a prefix of the blob from there. So whatever
//! stops a run, what is on disk is known to be which bytes, and the next run asks for the rest. The
//! first file's lock is the blob's: who holds it owns them all. That the bytes are the right ones
//! is not known here.

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

/// How long another process may hold a blob's lock without any of its files growing.
const HOLDER_PATIENCE: Duration = Duration::from_secs(60);

/// How often a held lock is looked at.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// Up to this size a file is on the disk before it has its final name. For larger ones that would
/// cost as much as fetching them; one that a power loss tears is found by its size or digest.
const SYNC_UP_TO: u64 = 4 << 20;

/// The digits of the digest in the name of a partial file beside its final one.
const SHORT_HEX: usize = 12;

/// The files that a blob is in until it is complete, and its final name.
#[derive(Clone, Debug)]
pub(crate) struct PartialFiles {
    dir: PathBuf,
    stem: OsString,
    path: PathBuf,
}

impl PartialFiles {
    /// In a layout: `ingest/ALG-HEX`, then `blobs/ALG/HEX`.
    ///
    /// # Errors
    /// Local trouble with the layout's directories.
    pub(crate) fn in_layout(layout: &Layout, digest: &Digest) -> Result<PartialFiles> {
        Ok(PartialFiles {
            dir: layout.ingest_dir(),
            stem: format!("{}-{}", digest.algorithm(), digest.hex()).into(),
            path: layout.prepare_blob(digest)?,
        })
    }

    /// Beside a file: `.FILE.HEX12.part`, then FILE.
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

    /// Opens the part from an offset, made empty if it is not there, and locks it. The part from 0
    /// is opened first and waited for, as long as its holder's files grow; whether that was so is
    /// told too.
    ///
    /// # Errors
    /// Local trouble; later, when the holder makes no progress.
    pub(crate) fn open(&self, offset: u64) -> Result<(File, bool)> {
        let path = self.partial(offset);
        let trouble = |cause: std::io::Error| Error::local(path.display(), &cause);
        let mut grown = (0, Instant::now());
        let mut waited = false;
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
            let file = options.open(&path).map_err(trouble)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Its holder may have renamed it meanwhile: then it is no partial file any more.
                Ok(()) if is_still(&path, &file).map_err(trouble)? => return Ok((file, waited)),
                Ok(()) => {
                    waited = true;
                    continue;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(cause) => return Err(trouble(cause.into())),
            }
            waited = true;
            let there = self.bytes_there();
            if there != grown.0 {
                grown = (there, Instant::now());
            } else if grown.1.elapsed() > HOLDER_PATIENCE {
                return Err(Error::unavailable(format_args!(
                    "{}: another process holds it and makes no progress",
                    path.display()
                )));
            }
            std::thread::sleep(LOCK_POLL);
        }
    }

    /// The offsets of the later parts that are there, in order.
    ///
    /// # Errors
    /// Local trouble.
    pub(crate) fn offsets(&self) -> Result<Vec<u64>> {
        let trouble = |cause: std::io::Error| Error::local(self.dir.display(), &cause);
        let mut offsets = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(trouble)? {
            let name = entry.map_err(trouble)?.file_name();
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

    /// Removes the part from an offset.
    pub(crate) fn remove(&self, offset: u64) {
        // What is left behind is taken up or removed by the next run.
        let _ = std::fs::remove_file(self.partial(offset));
    }

    /// Gives the first part, which is the whole blob by now, its final name.
    ///
    /// # Errors
    /// Local trouble; the final name has then what it had before.
    pub(crate) fn publish(&self, whole: &File) -> Result<()> {
        let published = (|| {
            if whole.metadata()?.len() <= SYNC_UP_TO {
                whole.sync_data()?;
            }
            std::fs::rename(self.partial(0), &self.path)
        })();
        published.map_err(|cause| Error::local(self.path.display(), &cause))
    }

    /// The bytes in all of its files.
    fn bytes_there(&self) -> u64 {
        let offsets = self.offsets().unwrap_or_default();
        let size = |offset: u64| std::fs::metadata(self.partial(offset)).map_or(0, |m| m.len());
        offsets.into_iter().chain([0]).map(size).sum()
    }
}

/// Whether a name still means the opened file.
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
