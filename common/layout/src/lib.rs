// SPDX-License-Identifier: Apache-2.0
//! An OCI image layout on disk: the embedded store.
//!
//! `oci-layout`, `index.json`, `blobs/ALG/HEX`, as the OCI image layout specification has them, and
//! two names of our own that others ignore: `ingest/` for partial files and `distribution-sources`
//! for the repositories a blob was seen in. A file under a final name is whole at any moment, also
//! to other programs: files appear by rename. Changes to `index.json` are made under a flock on the
//! directory itself; reading needs no lock.
//!
//! | module | owns |
//! |---|---|
//! | `index` | the entries, and which one a reference means |
//! | `blobs` | blobs under their final names |
//! | [`ingest`] | a blob that grows and gets its name when it is whole |
//! | `distribution_sources` | which repositories a blob was seen in |
//!
//! Not here: partial files of downloads (fetch-blob's), and removing blobs that no entry names.

mod blobs;
mod distribution_sources;
mod index;
pub mod ingest;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use common::error::{Error, Result, Status, printable};
use common::{json, mediatype, output};
use serde_json::{Map, Value, json};

pub use index::REF_NAME;

use distribution_sources::SOURCES;
use index::MAX_INDEX;

const OWN_NAMES: [&str; 5] = ["oci-layout", "index.json", "blobs", "ingest", SOURCES];

/// A layout that is there.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// Opens a layout to read.
    ///
    /// # Errors
    /// Absent when there is no such directory, malformed when it is no layout.
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
            Err(cause) => return Err(Error::local(format_args!("oci:{name}"), &cause)),
        };
        let document = json::parse_object(&marker)
            .map_err(|e| Error::malformed(format_args!("oci:{name}: oci-layout: {e}")))?;
        match document.get("imageLayoutVersion").and_then(Value::as_str) {
            Some(version) if version.starts_with("1.") => Ok(Layout { dir: dir.to_owned() }),
            version => Err(Error::malformed(format_args!(
                "oci:{name}: layout version \"{}\", want 1.x",
                printable(version.unwrap_or_default())
            ))),
        }
    }

    /// Opens a layout to write, making what is missing of it. May be called by several processes at
    /// once.
    ///
    /// # Errors
    /// Local trouble; also when the directory holds other things and is no layout.
    pub fn create(dir: &Path) -> Result<Layout> {
        let trouble = |cause: std::io::Error| {
            Error::local(format_args!("make layout oci:{}", dir.display()), &cause)
        };
        std::fs::create_dir_all(dir).map_err(trouble)?;
        let layout = Layout { dir: dir.to_owned() };
        if dir.join("oci-layout").exists() && dir.join("index.json").exists() {
            let layout = Layout::open(dir)?;
            std::fs::create_dir_all(layout.ingest_dir()).map_err(trouble)?;
            return Ok(layout);
        }
        let _lock = layout.lock()?;
        for entry in std::fs::read_dir(dir).map_err(trouble)? {
            let name = entry.map_err(trouble)?.file_name();
            if !OWN_NAMES
                .iter()
                .any(|own| name.to_string_lossy().trim_start_matches('.').starts_with(own))
            {
                return Err(Error::new(
                    Status::Local,
                    format_args!("oci:{}: a directory with other things in the way", dir.display()),
                )
                .hint("name an empty or a new directory, or a layout"));
            }
        }
        std::fs::create_dir_all(layout.dir.join("blobs/sha256")).map_err(trouble)?;
        std::fs::create_dir_all(layout.ingest_dir()).map_err(trouble)?;
        if !dir.join("index.json").exists() {
            let mut index = Map::new();
            index.insert("schemaVersion".to_owned(), 2.into());
            index.insert("mediaType".to_owned(), mediatype::OCI_INDEX.into());
            index.insert("manifests".to_owned(), json!([]));
            layout.replace("index.json", &Value::Object(index).to_string())?;
        }
        // Last: a directory is a layout from here on.
        if !dir.join("oci-layout").exists() {
            layout.replace("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Layout::open(dir)
    }

    /// The layout's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where partial files live.
    pub fn ingest_dir(&self) -> PathBuf {
        self.dir.join("ingest")
    }

    /// Replaces a file of the layout's root atomically. The lock must be held.
    fn replace(&self, name: &str, text: &str) -> Result<()> {
        output::write_whole(&self.dir.join(name), &self.ingest_dir(), text.as_bytes())
    }

    /// Takes the layout's lock: flock on the directory itself, released when the file is dropped.
    fn lock(&self) -> Result<File> {
        let locked = File::open(&self.dir).and_then(|dir| {
            rustix::fs::flock(&dir, rustix::fs::FlockOperation::LockExclusive)?;
            Ok(dir)
        });
        locked.map_err(|cause| Error::local(format_args!("lock {self}"), &cause))
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "oci:{}", self.dir.display())
    }
}

/// Opens a file to read, without waiting for the other end of what is a fifo where a file should
/// be.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// A file's content, or [`ErrorKind::FileTooLarge`] beyond the limit.
fn read_limited(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if read as u64 > limit { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}
