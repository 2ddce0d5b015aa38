// SPDX-License-Identifier: Apache-2.0
//! Where a layer goes: a stream, a file, a layout, a repository. Each is written, then finished or dropped.
//!
//! The digest is known only at the end, so nothing can be taken up by a later run; and dropped before that, nothing is
//! left.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::digest::Digest;
use common::error::{Error, Result};
use common::interrupt;
use common::output::Output;
use common::reference::Repository;
use common::tempfile::Growing;
use layout::Layout;
use registry::Registry;
use registry::stream::Stream;
use store::Remote;

/// Up to this size a layer is on the disk before it has its name. For larger ones that would cost as much as
/// packing them; one that a power loss tears is found by its size or digest.
const SYNC_UP_TO: u64 = 4 << 20;

/// Where a layer goes.
pub(crate) enum Destination {
    /// Written as it comes.
    Stream(File),
    /// A file, replaced when the layer is whole.
    File(Growing, PathBuf),
    /// A blob of a layout.
    Layout(Growing, Layout),
    /// A blob of a repository, sent as it comes.
    Repository(Box<Stream>),
}

impl Destination {
    /// The file, device or stream that `-o` names.
    ///
    /// # Errors
    /// Local trouble.
    pub(crate) fn file(operand: &Path) -> Result<Destination> {
        match Output::open(operand)? {
            Output::Stream(file) => Ok(Destination::Stream(file)),
            Output::File(place) => {
                let dir = place.path.parent().unwrap_or(Path::new("."));
                let name = place.path.file_name().unwrap_or_default();
                let growing = Growing::new(dir, name).map_err(|cause| {
                    Error::local(format_args!("write {}", operand.display()), &cause)
                })?;
                Ok(Destination::File(growing, place.path))
            }
        }
    }

    /// A layout, made if it is not there.
    ///
    /// # Errors
    /// Local trouble.
    pub(crate) fn layout(dir: &Path) -> Result<Destination> {
        let layout = Layout::create(dir)?;
        let growing = Growing::new(&layout.ingest_dir(), "layer".as_ref())
            .map_err(|cause| Error::local(format_args!("write to {layout}"), &cause))?;
        Ok(Destination::Layout(growing, layout))
    }

    /// A repository. What is open there is closed before a signal ends the run.
    ///
    /// # Errors
    /// Usage, when its host is none; local trouble.
    pub(crate) fn repository(name: &Repository, remote: &Remote) -> Result<Destination> {
        let registry = Arc::new(Registry::open_to_push(name, &remote.client, &remote.peer)?);
        let open = Arc::clone(&registry);
        interrupt::before_dying(move || open.cancel_uploads(false))?;
        Ok(Destination::Repository(Box::new(registry.stream(None))))
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
    /// Local trouble; the name has then what it had before. The registry's.
    pub(crate) fn finish(self, digest: &Digest, size: u64) -> Result<()> {
        match self {
            Destination::Stream(_) => Ok(()),
            Destination::File(growing, path) => publish(growing, &path, size),
            Destination::Layout(growing, layout) => {
                publish(growing, &layout.prepare_blob(digest)?, size)
            }
            Destination::Repository(stream) => stream.finish().map(drop),
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
            Destination::Repository(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A failure to write, as its own error where it is one.
pub(crate) fn trouble(cause: &io::Error) -> Error {
    match cause.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => error.clone(),
        None => Error::local("write the layer", cause),
    }
}

fn publish(growing: Growing, path: &Path, size: u64) -> Result<()> {
    let synced = if size <= SYNC_UP_TO { growing.file.sync_data() } else { Ok(()) };
    synced
        .and_then(|()| growing.publish(path))
        .map_err(|cause| Error::local(format_args!("write {}", path.display()), &cause))
}
