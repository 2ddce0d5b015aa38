// SPDX-License-Identifier: Apache-2.0
//! The bytes of a pipe in a temporary file, so that they can be sent again.
//!
//! The file loses its name when it is opened, so the kernel removes it when the run ends, even if
//! the run is killed. It is in `$TMPDIR` if that is an absolute path, or else in `/var/tmp`. `/tmp`
//! is used only if there is no `/var/tmp`, because `/tmp` is in memory on many machines.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use common::error::{Error, Result};

use super::rereadable::Rereadable;

/// The maximum number of bytes that are kept, 16 GiB.
pub(super) const MAX_SPOOL: u64 = 16 << 30;

/// The bytes of a pipe, from the first one on.
pub(crate) struct Spool {
    /// The file; `None` before the first byte.
    file: Option<File>,
    /// The number of bytes in the file.
    length: u64,
    /// The maximum number of bytes.
    limit: u64,
    /// The first failure. Nothing is kept after it.
    failed: Option<Error>,
}

impl Default for Spool {
    fn default() -> Spool {
        Spool::with_limit(MAX_SPOOL)
    }
}

impl Spool {
    /// Keeps up to `limit` bytes.
    fn with_limit(limit: u64) -> Spool {
        Spool { file: None, length: 0, limit, failed: None }
    }

    /// Appends bytes. Only [`check`](Spool::check) reports a failure, because the bytes are often
    /// not needed.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.try_append(bytes).err();
        }
        if self.failed.is_some() {
            self.file = None;
        }
    }

    /// Whether no bytes were appended.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0 && self.failed.is_none()
    }

    /// Checks that all appended bytes were kept.
    ///
    /// # Errors
    /// Malformed if there were more bytes than the limit; local if they could not be written.
    pub(super) fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn try_append(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 > self.limit - self.length {
            let what = format_args!(
                "the registry accepts one part only, and the input is larger than {} bytes",
                self.limit
            );
            return Err(Error::malformed(what).hint("write the input to a file first"));
        }
        let dir = directory();
        let local_error = |cause: io::Error| {
            let dir = dir.display();
            let what = format_args!("write a temporary file in {dir}");
            Error::local(what, &cause).hint("TMPDIR can name another directory")
        };
        let file = match self.file.take() {
            Some(file) => file,
            None => unnamed(&dir).map_err(local_error)?,
        };
        self.file.insert(file).write_all_at(bytes, self.length).map_err(local_error)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// The directory for the file.
fn directory() -> PathBuf {
    let named = std::env::var_os("TMPDIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let large = Path::new("/var/tmp");
    named.unwrap_or_else(|| if large.is_dir() { large.into() } else { "/tmp".into() })
}

/// Opens a new file and removes its name.
fn unnamed(dir: &Path) -> io::Result<File> {
    let random = std::hash::RandomState::new().build_hasher().finish();
    let path = dir.join(format!(".push-blob.{random:016x}"));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

impl Rereadable for Spool {
    fn open(&mut self, offset: u64) -> Result<Box<dyn Read + '_>> {
        self.check()?;
        Ok(Box::new(FromOffset { file: self.file.as_ref(), at: offset }))
    }
}

/// A reader of the file from an offset on.
struct FromOffset<'a> {
    file: Option<&'a File>,
    at: u64,
}

impl Read for FromOffset<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(file) = self.file else { return Ok(0) };
        let n = file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_up_to_the_limit_are_kept_and_read_from_any_offset() {
        let mut spool = Spool::with_limit(10);
        assert!(spool.is_empty());
        spool.append(b"01234");
        spool.append(b"56789");
        spool.check().unwrap();
        for offset in [0, 4, 5, 10] {
            let mut read = String::new();
            spool.open(offset).unwrap().read_to_string(&mut read).unwrap();
            assert_eq!(read, "0123456789"[offset as usize..]);
        }
    }

    #[test]
    fn one_byte_more_than_the_limit_is_a_permanent_failure() {
        let mut spool = Spool::with_limit(10);
        spool.append(b"0123456789");
        spool.append(b"x");
        spool.append(b"");
        let said = spool.check().unwrap_err().to_string();
        assert!(said.contains("larger than 10 bytes"), "{said}");
        assert!(spool.open(0).is_err());
        assert!(!spool.is_empty());
    }
}
