// SPDX-License-Identifier: Apache-2.0
//! Where a layer goes: a stream, a file, a layout. Each is written, then finished or dropped.
//!
//! A file and a layout's blob grow without a name, where the file system can do that, so that whatever
//! stops a run leaves nothing behind; they get their name when all is written. Their digest is known only
//! at the end, so nothing can be taken up by a later run.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use common::digest::Digest;
use common::error::{Error, Result};
use common::layout::Layout;
use common::output::Output;
use rustix::fs::{AtFlags, CWD, OFlags};

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
                let growing = Growing::beside(&place.path).map_err(|cause| {
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
        let growing = Growing::beside(&layout.ingest_dir().join("layer"))
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

/// A failure to write, as its own error where it is one.
pub(crate) fn trouble(cause: &io::Error) -> Error {
    match cause.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => error.clone(),
        None => Error::local("write the layer", cause),
    }
}

fn publish(growing: Growing, path: &Path, size: u64) -> Result<()> {
    growing
        .publish(path, size)
        .map_err(|cause| Error::local(format_args!("write {}", path.display()), &cause))
}

/// A file that grows, and is removed when it is dropped before it was published.
pub(crate) struct Growing {
    file: File,
    /// The hidden name, free or in use.
    hidden: PathBuf,
    is_named: bool,
}

impl Growing {
    /// In the directory of the final name.
    fn beside(path: &Path) -> io::Result<Growing> {
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(path.file_name().unwrap_or_default());
        // Process IDs tell nothing apart where several machines share a directory.
        let random = std::hash::RandomState::new().build_hasher().finish();
        hidden.push(format!(".{random:016x}.part"));
        let hidden = path.with_file_name(hidden);
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        if let Some(file) = nameless(dir.unwrap_or(Path::new("."))) {
            return Ok(Growing { file, hidden, is_named: false });
        }
        let file = OpenOptions::new().write(true).create_new(true).open(&hidden)?;
        Ok(Growing { file, hidden, is_named: true })
    }

    fn publish(mut self, path: &Path, size: u64) -> io::Result<()> {
        if size <= SYNC_UP_TO {
            self.file.sync_data()?;
        }
        if !self.is_named {
            let nameless = by_descriptor(&self.file);
            rustix::fs::linkat(CWD, nameless, CWD, &self.hidden, AtFlags::SYMLINK_FOLLOW)?;
            self.is_named = true;
        }
        std::fs::rename(&self.hidden, path)?;
        self.is_named = false;
        Ok(())
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if self.is_named {
            let _ = std::fs::remove_file(&self.hidden);
        }
    }
}

/// A file without a name, that can be given one; nothing where that does not work.
fn nameless(dir: &Path) -> Option<File> {
    let flags = OFlags::TMPFILE.bits().cast_signed();
    let file = OpenOptions::new().write(true).custom_flags(flags).mode(0o666).open(dir).ok()?;
    // Its name is given through procfs.
    std::fs::symlink_metadata(by_descriptor(&file)).is_ok().then_some(file)
}

fn by_descriptor(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
