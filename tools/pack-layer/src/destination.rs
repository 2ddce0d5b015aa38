// SPDX-License-Identifier: Apache-2.0
//! Where a layer goes: a stream, a file, a layout. Each is written, then finished or dropped.
//!
//! The digest is known only at the end, so nothing can be taken up by a later run; and dropped
//! before that, nothing is left.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use common::digest::Digest;
use common::error::{Error, Result};
use common::output::Output;
use common::tempfile::TempFile;
use layout::Layout;

/// Up to this size a layer is on the disk before it has its name. For larger ones that would cost
/// as much as packing them; one that a power loss tears is found by its size or digest.
const SYNC_UP_TO: u64 = 4 << 20;

/// Where a layer goes, as the command line names it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DestinationName<'a> {
    /// A file, a device or a fifo; `-` is stdout.
    File(&'a Path),
    /// A layout's directory.
    Layout(&'a Path),
}

impl DestinationName<'_> {
    /// The file or directory; `None` is stdout.
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

/// Where a layer goes, opened.
pub(crate) enum Destination {
    /// Written as it comes.
    Stream(File),
    /// A file, replaced when the layer is whole.
    File(TempFile, PathBuf),
    /// A blob of a layout.
    Layout(TempFile, Layout),
}

impl Destination {
    /// Opens what the command line names. A layout is made if it is not there.
    ///
    /// # Errors
    /// Local trouble.
    pub(crate) fn open(name: DestinationName<'_>) -> Result<Destination> {
        match name {
            DestinationName::File(operand) => Destination::file(operand),
            DestinationName::Layout(dir) => Destination::layout(dir),
        }
    }

    fn file(operand: &Path) -> Result<Destination> {
        match Output::open(operand)? {
            Output::Stream(file) => Ok(Destination::Stream(file)),
            Output::File(place) => {
                let dir = place.path.parent().unwrap_or(Path::new("."));
                let name = place.path.file_name().unwrap_or_default();
                let growing = TempFile::new(dir, name).map_err(|cause| {
                    Error::local(format_args!("write {}", operand.display()), &cause)
                })?;
                Ok(Destination::File(growing, place.path))
            }
        }
    }

    fn layout(dir: &Path) -> Result<Destination> {
        let layout = Layout::create(dir)?;
        let growing = TempFile::new(&layout.ingest_dir(), "layer".as_ref())
            .map_err(|cause| Error::local(format_args!("write to {layout}"), &cause))?;
        Ok(Destination::Layout(growing, layout))
    }

    /// The stream that is written to, when it has a file of its own.
    pub(crate) fn stream(&self) -> Option<&File> {
        match self {
            Destination::Stream(file) => Some(file),
            _ => None,
        }
    }

    /// Ends what was written whole, of this digest and size.
    ///
    /// # Errors
    /// Local trouble; the name has then what it had before.
    pub(crate) fn finish(self, digest: &Digest, size: u64) -> Result<()> {
        match self {
            Destination::Stream(_) => Ok(()),
            Destination::File(growing, path) => publish(growing, &path, size),
            Destination::Layout(growing, layout) => {
                publish(growing, &layout.prepare_blob(digest)?, size)
            }
        }
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Destination::Stream(file) => file.write(bytes),
            Destination::File(growing, _) | Destination::Layout(growing, _) => {
                growing.file.write(bytes)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A failure to write the layer.
pub(crate) fn trouble(cause: &io::Error) -> Error {
    Error::local("write the layer", cause)
}

fn publish(growing: TempFile, path: &Path, size: u64) -> Result<()> {
    let synced = if size <= SYNC_UP_TO { growing.file.sync_data() } else { Ok(()) };
    synced
        .and_then(|()| growing.publish(path))
        .map_err(|cause| Error::local(format_args!("write {}", path.display()), &cause))
}
