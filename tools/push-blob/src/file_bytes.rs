// SPDX-License-Identifier: Apache-2.0
//! A regular file's bytes: to be digested, sent, perhaps sent again, and refused when they changed
//! meanwhile.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};

use common::digest::{Algorithm, Digest};
use common::error::{Error, Result};
use common::verify::BUFFER;

use crate::upload::rereadable::Rereadable;

/// A regular file as it was when it was opened.
pub(crate) struct FileBytes {
    file: File,
    /// How messages name it.
    pub(crate) name: String,
    /// Its size.
    pub(crate) size: u64,
    changed: (i64, i64),
}

impl FileBytes {
    /// An open file.
    ///
    /// # Errors
    /// Local trouble.
    pub(crate) fn new(file: File, name: String) -> Result<FileBytes> {
        let metadata =
            file.metadata().map_err(|cause| Error::local(format_args!("read {name}"), &cause))?;
        let changed = (metadata.mtime(), metadata.mtime_nsec());
        Ok(FileBytes { file, name, size: metadata.len(), changed })
    }

    /// Whether it is a regular file at its start, as `< FILE` gives it.
    pub(crate) fn is_rewound_file(&mut self) -> bool {
        let is_file = self.file.metadata().is_ok_and(|metadata| metadata.is_file());
        is_file && self.file.stream_position().is_ok_and(|at| at == 0)
    }

    /// Its first bytes.
    pub(crate) fn start(&self, most: usize) -> Vec<u8> {
        let mut start = vec![0; most];
        let n = self.file.read_at(&mut start, 0).unwrap_or(0);
        start.truncate(n);
        start
    }

    /// Its digest.
    ///
    /// # Errors
    /// Content when it changed meanwhile; local trouble.
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
        match (now.len(), now.mtime(), now.mtime_nsec()) {
            (size, seconds, rest) if size == self.size && (seconds, rest) == self.changed => Ok(()),
            _ => Err(self.changed()),
        }
    }
}

/// A file from an offset on. The file's own position stays as it is, so that several may read it at
/// once.
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
