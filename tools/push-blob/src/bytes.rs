// SPDX-License-Identifier: Apache-2.0
//! Where the bytes of a blob are, to be sent and perhaps sent again: a file, a layout, another registry.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt};

use archive::Check;
use common::descriptor::Descriptor;
use common::digest::{Algorithm, Digest};
use common::error::source_error;
use common::error::{Error, Result};
use common::progress::Progress;
use common::verify::{BUFFER, Verifier};
use layout::Layout;
use store::Store;
use store::source::Source;

use crate::upload::rereadable::Rereadable;

/// A blob of a store that lines name. It is not looked for before its bytes are wanted: the target may have them.
pub(crate) enum Blob<'a> {
    /// Carried by its descriptor.
    Carried(Vec<u8>),
    /// In a layout; its file, once it is open.
    Stored(&'a Layout, &'a Descriptor, Option<FileBytes>),
    /// In a registry, from which it passes without touching the disk.
    Remote(&'a Source, &'a Descriptor),
}

impl<'a> Blob<'a> {
    /// The blob that a descriptor describes.
    pub(crate) fn of(source: &'a Source, descriptor: &'a Descriptor) -> Blob<'a> {
        if let Some(Ok(bytes)) = descriptor.data() {
            return Blob::Carried(bytes);
        }
        match &source.store {
            Store::Registry(_) => Blob::Remote(source, descriptor),
            Store::Layout(layout) => Blob::Stored(layout, descriptor, None),
        }
    }
}

/// A layout's blob, of the size that it must have.
fn stored(layout: &Layout, descriptor: &Descriptor) -> Result<FileBytes> {
    let Descriptor { digest, size: want, .. } = descriptor;
    let missing = || Error::absent(format_args!("{layout}: no blob {digest}"));
    let (file, size) = layout.open_blob(digest)?.ok_or_else(missing)?;
    if size != *want {
        let what = format_args!("{layout}: {digest}: size differs: got {size}, want {want}");
        let hint = format_args!("fetch-blob STORE --into {layout} --recheck mends it");
        return Err(Error::content(what).hint(hint));
    }
    FileBytes::new(file, format!("{layout}: {digest}"))
}

impl Rereadable for Blob<'_> {
    fn open(&mut self, offset: u64) -> Result<Box<dyn Read + '_>> {
        match self {
            Blob::Carried(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(Box::new(&bytes[start..]))
            }
            Blob::Stored(layout, descriptor, file) => {
                let open = match file.take() {
                    Some(open) => open,
                    None => stored(layout, descriptor)?,
                };
                file.insert(open).open(offset)
            }
            Blob::Remote(source, descriptor) => Ok(Box::new(source.reader(descriptor, offset))),
        }
    }

    fn check_unchanged(&mut self) -> Result<()> {
        match self {
            Blob::Stored(_, _, Some(file)) => file.check_unchanged(),
            _ => Ok(()),
        }
    }
}

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

    /// Whether it is a regular file that nobody read from yet, as `< FILE` gives it.
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
        Ok(Box::new(From { file: &self.file, at: offset }))
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

/// A file from an offset on, without moving the place of anybody else who reads it.
struct From<'a> {
    file: &'a File,
    at: u64,
}

impl Read for From<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Bytes that end only if they were the right ones.
pub(crate) struct Verified<'a> {
    inner: Box<dyn Read + 'a>,
    verifier: Option<Verifier>,
}

impl<'a> Verified<'a> {
    /// Checks `inner`.
    pub(crate) fn new(inner: Box<dyn Read + 'a>, verifier: Verifier) -> Verified<'a> {
        Verified { inner, verifier: Some(verifier) }
    }
}

impl Read for Verified<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        match (n, &mut self.verifier) {
            (0, verifier) if !buffer.is_empty() => {
                verifier
                    .take()
                    .map_or(Ok(0), |v| v.finish().map(|_| 0))
                    .map_err(io::Error::other)?;
            }
            (_, Some(verifier)) => verifier.update(&buffer[..n]).map_err(io::Error::other)?,
            (_, None) => {}
        }
        Ok(n)
    }
}

/// Bytes that end only if they were a whole tar archive.
pub(crate) struct Archive<'a> {
    inner: &'a mut dyn Read,
    check: Check,
}

impl<'a> Archive<'a> {
    /// Looks at `inner` while it passes.
    pub(crate) fn new(inner: &'a mut dyn Read) -> Archive<'a> {
        Archive { inner, check: Check::new() }
    }
}

impl Read for Archive<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let looked = match n {
            0 if !buffer.is_empty() => self.check.finish(),
            n => self.check.look(&buffer[..n]),
        };
        looked.map_err(|error| io::Error::other(error.context("--compress")))?;
        Ok(n)
    }
}

/// Copies what comes to where it goes.
///
/// # Errors
/// Either side's own, or local trouble: `name` says what is read.
pub(crate) fn copy(
    input: &mut dyn Read,
    output: &mut dyn Write,
    name: &str,
    progress: &Progress,
) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) if cause.get_ref().is_some() => return Err(source_error(&cause)),
            Err(cause) => return Err(Error::local(format_args!("read {name}"), &cause)),
        };
        output.write_all(&buffer[..n]).map_err(|cause| source_error(&cause))?;
        progress.add(n as u64);
    }
}
