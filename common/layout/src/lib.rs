// SPDX-License-Identifier: Apache-2.0
//! An OCI image layout on disk: a store that needs no registry.
//!
//! A layout has `oci-layout`, `index.json` and `blobs/ALG/HEX`, as the OCI image layout
//! specification defines them. Two more names are our own, and other programs ignore them:
//! `ingest/` for partial files and waiting names, and `distribution-sources` for the repositories
//! in which a blob was seen. A file under its final name is always complete, for other programs
//! too, because files are renamed into place. Changes to `index.json` are made under a flock on the
//! layout's directory. Reading needs no lock, but an open layout holds a shared flock on `blobs/`,
//! so that no blob is removed meanwhile.
//!
//! | module | owns |
//! |---|---|
//! | `index` | the entries of `index.json`, and the entry that a reference names |
//! | `names` | names that wait for the blobs of their images |
//! | `whole` | whether everything that a manifest refers to is in the layout |
//! | `remove` | removing entries |
//! | `referrers` | the lists of referrers |
//! | `blobs` | blobs under their final names |
//! | [`ingest`] | a new blob, which gets its name when it is complete |
//! | [`distribution_sources`] | the repositories in which a blob was seen |
//! | `usage` | the lock that keeps blobs from being removed |
//!
//! Not here: partial files of downloads (in fetch-blob), and the removal of blobs that no entry
//! names (in sweep-layout).

mod blobs;
pub mod distribution_sources;
mod index;
pub mod ingest;
mod names;
mod referrers;
mod remove;
mod usage;
mod whole;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::error::{Error, Result, Status, printable};
use common::{json, mediatype, output};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use serde_json::{Map, Value, json};

pub use blobs::Held;
pub use index::{CONTAINERD_NAME, Choose, REF_NAME};

use distribution_sources::SOURCES;
use index::MAX_INDEX;

const OWN_NAMES: [&str; 5] = ["oci-layout", "index.json", "blobs", "ingest", SOURCES];

/// The longest wait for a lock of the layout. A process holds the lock on the directory only while
/// it replaces `index.json` or another small file.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// The time between two attempts to take a lock.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// An existing layout.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
    /// The opened `blobs/`, locked as long as a copy of this value exists.
    usage: Option<Arc<File>>,
}

impl Layout {
    /// Opens a layout for reading.
    ///
    /// # Errors
    /// Absent if the directory does not exist; Malformed if it is not a layout of version 1; Local
    /// if it cannot be read; Unavailable if sweep-layout keeps it locked for [`LOCK_PATIENCE`].
    pub fn open(dir: &Path) -> Result<Layout> {
        let name = dir.display();
        let marker = match read_limited(&dir.join("oci-layout"), MAX_INDEX) {
            Ok(marker) => marker,
            Err(cause) if cause.kind() == ErrorKind::NotFound && dir.is_dir() => {
                return Err(Error::malformed(format_args!("oci:{name}: not an OCI image layout")));
            }
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                return Err(Error::absent(format_args!("oci:{name}: no such layout")));
            }
            Err(cause) if cause.kind() == ErrorKind::FileTooLarge => {
                let what = format_args!("oci:{name}: oci-layout: larger than {MAX_INDEX} bytes");
                return Err(Error::malformed(what));
            }
            Err(cause) => return Err(Error::local(format_args!("oci:{name}"), &cause)),
        };
        let document = json::parse_object(&marker)
            .map_err(|e| Error::malformed(format_args!("oci:{name}: oci-layout: {e}")))?;
        match document.get("imageLayoutVersion").and_then(Value::as_str) {
            Some(version) if version.starts_with("1.") => {
                Ok(Layout { dir: dir.to_owned(), usage: usage::share(dir)? })
            }
            version => Err(Error::malformed(format_args!(
                "oci:{name}: layout version: got \"{}\", want 1.x",
                printable(version.unwrap_or_default())
            ))),
        }
    }

    /// Opens a layout for writing, and creates its missing parts. Several processes may do this at
    /// the same time.
    ///
    /// # Errors
    /// Local if a file cannot be created, or if the directory has other content and is not a
    /// layout; Malformed if its `oci-layout` is invalid.
    pub fn create(dir: &Path) -> Result<Layout> {
        let local_error = |cause: std::io::Error| {
            Error::local(format_args!("make layout oci:{}", dir.display()), &cause)
        };
        std::fs::create_dir_all(dir).map_err(local_error)?;
        let layout = Layout { dir: dir.to_owned(), usage: None };
        if dir.join("oci-layout").exists() && dir.join("index.json").exists() {
            let mut layout = Layout::open(dir)?;
            std::fs::create_dir_all(layout.ingest_dir()).map_err(local_error)?;
            if layout.usage.is_none() {
                std::fs::create_dir_all(dir.join("blobs")).map_err(local_error)?;
                layout.usage = usage::share(dir)?;
            }
            return Ok(layout);
        }
        let _lock = layout.lock()?;
        for entry in std::fs::read_dir(dir).map_err(local_error)? {
            let name = entry.map_err(local_error)?.file_name();
            if !OWN_NAMES
                .iter()
                .any(|own| name.to_string_lossy().trim_start_matches('.').starts_with(own))
            {
                return Err(Error::new(
                    Status::Local,
                    format_args!(
                        "oci:{}: the directory has other content and is not a layout",
                        dir.display()
                    ),
                )
                .hint("give a new or an empty directory, or a layout"));
            }
        }
        std::fs::create_dir_all(layout.dir.join("blobs/sha256")).map_err(local_error)?;
        std::fs::create_dir_all(layout.ingest_dir()).map_err(local_error)?;
        if !dir.join("index.json").exists() {
            let mut index = Map::new();
            index.insert("schemaVersion".to_owned(), 2.into());
            index.insert("mediaType".to_owned(), mediatype::OCI_INDEX.into());
            index.insert("manifests".to_owned(), json!([]));
            layout.replace("index.json", &Value::Object(index).to_string())?;
        }
        // Written last: from now on the directory is a layout.
        if !dir.join("oci-layout").exists() {
            layout.replace("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Layout::open(dir)
    }

    /// The layout's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of partial files.
    pub fn ingest_dir(&self) -> PathBuf {
        self.dir.join("ingest")
    }

    /// Atomically replaces a file in the layout's root. The caller must hold the lock.
    fn replace(&self, name: &str, text: &str) -> Result<()> {
        output::write_whole(&self.dir.join(name), &self.ingest_dir(), text.as_bytes())
    }

    /// Takes the layout's lock: a flock on the layout's directory, released when the file is
    /// dropped.
    ///
    /// # Errors
    /// Unavailable if another process holds the lock for [`LOCK_PATIENCE`]; Local if the directory
    /// cannot be opened or locked.
    fn lock(&self) -> Result<File> {
        let local_error = |cause| Error::local(format_args!("lock {self}"), &cause);
        let dir = File::open(&self.dir).map_err(local_error)?;
        match lock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(dir),
            Err(Errno::WOULDBLOCK) => {
                let seconds = LOCK_PATIENCE.as_secs();
                let what = format_args!(
                    "{self}: another process has locked the layout for {seconds} seconds"
                );
                Err(Error::unavailable(what))
            }
            Err(cause) => Err(local_error(cause.into())),
        }
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "oci:{}", self.dir.display())
    }
}

/// Opens a file for reading, with additional flags. NONBLOCK avoids waiting if the file is a fifo
/// without a writer.
fn open(path: &Path, flags: OFlags) -> std::io::Result<File> {
    let flags = (OFlags::NONBLOCK | flags).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// The content of a file; [`ErrorKind::FileTooLarge`] if it is larger than the limit.
fn read_limited(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open(path, OFlags::empty())?.take(limit + 1).read_to_end(&mut bytes)?;
    if read as u64 > limit { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// Locks a file. If another process holds the lock, repeats the attempt for at most
/// [`LOCK_PATIENCE`].
fn lock(file: &File, operation: FlockOperation) -> std::result::Result<(), Errno> {
    let began = Instant::now();
    loop {
        match flock(file, operation) {
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if began.elapsed() <= LOCK_PATIENCE => {
                std::thread::sleep(LOCK_POLL);
            }
            outcome => return outcome,
        }
    }
}
