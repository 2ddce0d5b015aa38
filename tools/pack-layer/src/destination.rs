// SPDX-License-Identifier: Apache-2.0
//! The destination of a layer: a stream, a file, or a blob of a layout.
//!
//! The digest of the layer is known only at the end, so a later run cannot resume an interrupted
//! run. If a destination is dropped before [`Destination::finish`], its temporary file is removed.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use common::digest::Digest;
use common::error::{Error, Result};
use common::output::{Output, Stream};
use common::progress::Progress;
use common::tempfile::TempFile;
use layout::Layout;

/// The largest layer, in bytes, that is synced to the disk before it gets its final name. Syncing a
/// larger layer would take as long as packing it. If a power loss damages an unsynced layer,
/// readers detect that by its size or digest.
const SYNC_UP_TO: u64 = 4 << 20;

/// A destination as the command line names it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DestinationName<'a> {
    /// A file, a device or a fifo; `-` is standard output.
    File(&'a Path),
    /// The directory of a layout.
    Layout(&'a Path),
}

impl DestinationName<'_> {
    /// The file or directory; `None` for standard output.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            DestinationName::File(file) => (file.as_os_str() != "-").then_some(file),
            DestinationName::Layout(dir) => Some(dir),
        }
    }
}

impl fmt::Display for DestinationName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DestinationName::File(file) => file.display().fmt(f),
            DestinationName::Layout(dir) => write!(f, "oci:{}", dir.display()),
        }
    }
}

/// An opened destination.
pub(crate) struct Destination {
    /// Its name in messages.
    name: String,
    kind: Kind,
    progress: Progress,
}

enum Kind {
    /// Standard output, a device or a fifo: written directly.
    Stream(File),
    /// A file, which is created or replaced when the layer is complete.
    File(TempFile, PathBuf),
    /// A blob of a layout.
    Layout(TempFile, Layout),
}

impl Destination {
    /// Opens the destination that the command line names. A missing layout is created.
    ///
    /// # Errors
    /// Local if the file or the layout cannot be created.
    pub(crate) fn open(name: DestinationName<'_>, progress: Progress) -> Result<Destination> {
        match name {
            DestinationName::File(operand) => Destination::file(operand, progress),
            DestinationName::Layout(dir) => Destination::layout(dir, name.to_string(), progress),
        }
    }

    fn file(operand: &Path, progress: Progress) -> Result<Destination> {
        match Output::open(operand)? {
            Output::Stream(Stream { file, name }) => {
                Ok(Destination { name, kind: Kind::Stream(file), progress })
            }
            Output::File(place) => {
                let dir = place.path.parent().unwrap_or(Path::new("."));
                let name = place.path.file_name().unwrap_or_default();
                let temp = TempFile::new(dir, name).map_err(|cause| {
                    Error::local(format_args!("write {}", operand.display()), &cause)
                })?;
                let name = operand.display().to_string();
                Ok(Destination { name, kind: Kind::File(temp, place.path), progress })
            }
        }
    }

    fn layout(dir: &Path, name: String, progress: Progress) -> Result<Destination> {
        let layout = Layout::create(dir)?;
        let temp = TempFile::new(&layout.ingest_dir(), "layer".as_ref())
            .map_err(|cause| Error::local(format_args!("write {name}"), &cause))?;
        Ok(Destination { name, kind: Kind::Layout(temp, layout), progress })
    }

    /// The file of a stream; `None` for a temporary file.
    pub(crate) fn stream(&self) -> Option<&File> {
        match &self.kind {
            Kind::Stream(file) => Some(file),
            _ => None,
        }
    }

    /// Gives the complete layer its final name.
    ///
    /// # Errors
    /// Local if the layer cannot be synced or renamed. A file that already had the name is then
    /// left unchanged.
    pub(crate) fn finish(self, digest: &Digest, size: u64) -> Result<()> {
        match self.kind {
            Kind::Stream(_) => Ok(()),
            Kind::File(temp, path) => publish(temp, &path, size),
            Kind::Layout(temp, layout) => publish(temp, &layout.prepare_blob(digest)?, size),
        }
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.kind {
            Kind::Stream(file) => file.write(bytes),
            Kind::File(temp, _) | Kind::Layout(temp, _) => temp.file.write(bytes),
        };
        match written {
            Err(cause) if cause.kind() != io::ErrorKind::Interrupted => {
                let what = format_args!("write {}", self.name);
                Err(io::Error::other(Error::local(what, &cause)))
            }
            Ok(count) => {
                self.progress.add(None, count as u64);
                Ok(count)
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The error for a layer that cannot be written: the error that [`Destination`] reported, or else
/// an error of the compressor.
pub(crate) fn write_error(cause: &io::Error) -> Error {
    match cause.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(error) => error.clone(),
        None => Error::local("write the layer", cause),
    }
}

fn publish(temp: TempFile, path: &Path, size: u64) -> Result<()> {
    let synced = if size <= SYNC_UP_TO { temp.file.sync_data() } else { Ok(()) };
    synced
        .and_then(|()| temp.publish(path))
        .map_err(|cause| Error::local(format_args!("write {}", path.display()), &cause))
}
