// SPDX-License-Identifier: Apache-2.0
//! The bytes of a blob that fetch-blob is still downloading, for early lines.
//!
//! fetch-blob writes the blob into a partial file, whose length is the length of a valid prefix. It
//! holds a lock on the file until the file has its final name. The open file stays readable under
//! either name. A reader that has read the prefix waits until the file is longer. The reader fails
//! when no process holds the lock any more, or when the file becomes shorter or is removed: the
//! rest of the bytes will then not arrive in this file.
//!
//! Nothing is verified here. The caller hashes the bytes. If the digest differs,
//! [`Arriving::verdict`] says whether the downloaded bytes were wrong or another attempt is
//! worthwhile.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::descriptor::Descriptor;
use common::error::{Error, Result, Status};
use layout::Layout;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// The interval at which a waiting reader looks for more bytes. The end of the run is delayed by at
/// most this time. Waiting takes 0.4 % of a processor.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The maximum number of attempts to open the blob, which may get its final name meanwhile.
const MAX_ATTEMPTS: usize = 3;

/// A blob of an early line.
#[derive(Clone, Debug)]
pub(crate) struct Arriving {
    file: Arc<File>,
    descriptor: Arc<Descriptor>,
    /// The blob's final name.
    path: PathBuf,
}

/// The result of [`open`].
pub(crate) enum Opened {
    /// The layout has the blob, of this size.
    Whole(File, u64),
    /// The layout has a part of the blob.
    Arriving(Arriving),
}

/// Opens the blob of an early line. A partial file that is being downloaded is preferred to a file
/// with the blob's final name, which may be a damaged blob that is being replaced.
///
/// # Errors
/// Content if the layout has neither the blob nor a part of it, because fetch-blob has removed
/// wrong bytes; Local if the file cannot be opened.
pub(crate) fn open(layout: &Layout, descriptor: &Descriptor) -> Result<Opened> {
    let digest = &descriptor.digest;
    for _ in 0..MAX_ATTEMPTS {
        let partial = Arriving::open(layout, descriptor);
        if let Ok(Some(arriving)) = &partial
            && arriving.state()?.locked
        {
            return Ok(Opened::Arriving(arriving.clone()));
        }
        if let Some((file, size)) = layout.open_blob(digest)? {
            return Ok(Opened::Whole(file, size));
        }
        // If the partial file does not exist, it may have got its final name meanwhile.
        if let Some(arriving) = partial? {
            return Ok(Opened::Arriving(arriving));
        }
    }
    // fetch-blob removes the partial file only after it has received wrong bytes.
    Err(refused().context(format_args!("{layout}: {digest}")))
}

const AGAIN: &str = "repeat the command: fetch-blob continues the download";

/// The state of a partial file.
struct State {
    length: u64,
    /// Whether a process is downloading the blob into it.
    locked: bool,
    removed: bool,
}

impl Arriving {
    /// Opens the partial file; `None` if it does not exist.
    fn open(layout: &Layout, descriptor: &Descriptor) -> Result<Option<Arriving>> {
        let partial = layout.partial_path(&descriptor.digest);
        let local = |cause: io::Error| Error::local(partial.display(), &cause);
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(&partial) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(local)?,
        };
        if !file.metadata().map_err(local)?.is_file() {
            let name = partial.display();
            let what = format_args!("{name}: not a regular file");
            return Err(Error::new(Status::Local, what));
        }
        Ok(Some(Arriving {
            file: Arc::new(file),
            descriptor: Arc::new(descriptor.clone()),
            path: layout.blob_path(&descriptor.digest),
        }))
    }

    /// A reader of the bytes, which waits for bytes that have not arrived yet.
    pub(crate) fn reader(&self) -> impl Read + Send + 'static {
        Reader { arriving: self.clone(), at: 0 }
    }

    /// Waits until fetch-blob has verified the blob and given it its final name.
    ///
    /// # Errors
    /// Unavailable if fetch-blob ends before that; Content if it refused the bytes.
    pub(crate) fn wait_until_whole(&self) -> Result<()> {
        loop {
            let state = self.state()?;
            if self.has_final_name() {
                return Ok(());
            }
            if state.locked {
                std::thread::sleep(LOOK_AGAIN);
            } else if state.removed {
                return Err(refused());
            } else {
                return Err(ended_at(state.length, self.descriptor.size));
            }
        }
    }

    /// The error to report if all bytes were read and have a wrong digest. `None` if fetch-blob
    /// refused the bytes too. Waits until fetch-blob has verified the blob, because it may replace
    /// wrong bytes.
    pub(crate) fn verdict(&self) -> Option<Error> {
        loop {
            match self.state() {
                Ok(State { length, .. }) if length < self.descriptor.size => {
                    return Some(discarded());
                }
                Ok(State { locked: true, .. }) => std::thread::sleep(LOOK_AGAIN),
                Ok(State { removed: true, .. }) => return None,
                Ok(_) if self.has_final_name() => return Some(discarded()),
                Ok(_) => return Some(unavailable("fetch-blob ended before it verified the bytes")),
                Err(error) => return Some(error),
            }
        }
    }

    /// Waits for the byte at offset `at`.
    fn wait(&self, at: u64) -> Result<()> {
        loop {
            let state = self.state()?;
            if state.length > at {
                return Ok(());
            }
            if state.length < at {
                return Err(discarded());
            }
            if state.locked {
                std::thread::sleep(LOOK_AGAIN);
            } else if state.removed {
                return Err(refused());
            } else {
                return Err(ended_at(at, self.descriptor.size));
            }
        }
    }

    fn state(&self) -> Result<State> {
        let failed = |cause: io::Error| Error::local("read a partial file", &cause);
        // Examine the lock before the length: no bytes are added after the lock is released.
        let locked = match flock(&*self.file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                flock(&*self.file, FlockOperation::Unlock).map_err(|e| failed(e.into()))?;
                false
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => true,
            Err(cause) => return Err(failed(cause.into())),
        };
        let metadata = self.file.metadata().map_err(failed)?;
        Ok(State { length: metadata.len(), locked, removed: metadata.nlink() == 0 })
    }

    /// Whether fetch-blob has verified the bytes that the file has now.
    fn has_final_name(&self) -> bool {
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let named = std::fs::symlink_metadata(&self.path).map(identity);
        matches!((named, self.file.metadata().map(identity)), (Ok(a), Ok(b)) if a == b)
    }
}

fn refused() -> Error {
    Error::content("fetch-blob refused the bytes that it received")
}

fn ended_at(length: u64, size: u64) -> Error {
    unavailable(format_args!("fetch-blob ended after {length} of {size} bytes"))
}

/// The error if some of the bytes that were read were wrong, and fetch-blob fetched them again.
fn discarded() -> Error {
    unavailable("fetch-blob discarded wrong bytes to fetch them again")
}

fn unavailable(what: impl std::fmt::Display) -> Error {
    Error::unavailable(what).hint(AGAIN)
}

/// The bytes of a blob, from its first byte on.
struct Reader {
    arriving: Arriving,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = rustix::io::pread(&*self.arriving.file, &mut *buffer, self.at)?;
            if count > 0 || buffer.is_empty() || self.at >= self.arriving.descriptor.size {
                self.at += count as u64;
                return Ok(count);
            }
            self.arriving.wait(self.at).map_err(io::Error::other)?;
        }
    }
}
