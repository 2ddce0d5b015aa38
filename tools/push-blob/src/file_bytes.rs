// SPDX-License-Identifier: Apache-2.0
//! The bytes of a regular file. They are read once for the digest and again for each attempt to
//! send them. A file that changed between these reads is refused.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};

use common::digest::{Algorithm, Digest};
use common::error::{Error, Result};
use common::verify::BUFFER;

use crate::upload::rereadable::Rereadable;

/// An open regular file, with the size and modification time that it had when it was opened.
pub(crate) struct FileBytes {
    file: File,
    /// Its name in messages.
    pub(crate) name: String,
    /// The size in bytes when it was opened.
    pub(crate) size: u64,
    /// The modification time when it was opened: seconds and nanoseconds.
    modified: (i64, i64),
}

impl FileBytes {
    /// Wraps an open file.
    ///
    /// # Errors
    /// Local if the file's metadata cannot be read.
    pub(crate) fn new(file: File, name: String) -> Result<FileBytes> {
        let metadata =
            file.metadata().map_err(|cause| Error::local(format_args!("read {name}"), &cause))?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Ok(FileBytes { file, name, size: metadata.len(), modified })
    }

    /// Whether it is a regular file at position 0, as the shell opens it for `< FILE`.
    pub(crate) fn is_rewound_file(&mut self) -> bool {
        let is_file = self.file.metadata().is_ok_and(|metadata| metadata.is_file());
        is_file && self.file.stream_position().is_ok_and(|at| at == 0)
    }

    /// The open file, to be read once.
    pub(crate) fn into_file(self) -> File {
        self.file
    }

    /// Up to `most` bytes from the start of the file. Empty if they cannot be read.
    pub(crate) fn start(&self, most: usize) -> Vec<u8> {
        let mut start = vec![0; most];
        let n = self.file.read_at(&mut start, 0).unwrap_or(0);
        start.truncate(n);
        start
    }

    /// The SHA-256 digest of the file.
    ///
    /// # Errors
    /// Content if the file's size changed meanwhile; local if it cannot be read.
    pub(crate) fn digest(&mut self) -> Result<Digest> {
        let mut hasher = Algorithm::Sha256.hasher();
        let mut buffer = vec![0; BUFFER];
        let mut at = 0;
        loop {
            match self.file.read_at(&mut buffer, at) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(&buffer[..n]);
                    at += n as u64;
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => {
                    return Err(Error::local(format_args!("read {}", self.name), &cause));
                }
            }
        }
        if at != self.size {
            return Err(self.changed());
        }
        Ok(hasher.finish())
    }

    fn changed(&self) -> Error {
        Error::content(format_args!("{}: changed while it was read", self.name))
    }
}

impl Rereadable for FileBytes {
    fn open(&mut self, offset: u64) -> Result<Box<dyn Read + '_>> {
        Ok(Box::new(FromOffset { file: &self.file, at: offset }))
    }

    fn check_unchanged(&mut self) -> Result<()> {
        let now = self
            .file
            .metadata()
            .map_err(|cause| Error::local(format_args!("read {}", self.name), &cause))?;
        if now.len() != self.size || (now.mtime(), now.mtime_nsec()) != self.modified {
            return Err(self.changed());
        }
        Ok(())
    }
}

/// A reader from an offset. It does not move the position of the open file.
struct FromOffset<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromOffset<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}
