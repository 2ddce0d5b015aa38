// SPDX-License-Identifier: Apache-2.0
//! An OCI image layout on disk: the embedded store.
//!
//! `oci-layout`, `index.json`, `blobs/ALG/HEX`, as the OCI image layout specification has them, and two names of
//! our own that others ignore: `ingest/` for partial files and `distribution-sources` for the
//! repositories a blob was seen in. What stands under a final name is whole at any moment, also to other
//! programs: files appear by rename. Changes to `index.json` are made under a flock on the directory
//! itself; reading needs no lock.
//!
//! Not here: what a partial file holds and how it grows (that is fetching), and removing what nothing names.

pub mod ingest;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, Status, printable};
use common::manifest::{self, Manifest, Schema1};
use common::platform::Platform;
use common::reference::Repository;
use common::{json, mediatype, notice, output};
use serde_json::{Map, Value, json};

/// The largest `index.json` that is read, in bytes.
pub const MAX_INDEX: u64 = manifest::MAX_SIZE;

/// The most repositories that are remembered of one blob.
pub const MAX_SOURCES: usize = 50;

/// The largest `distribution-sources` that is kept, in bytes; what is larger is begun anew.
pub const MAX_SOURCES_FILE: u64 = 4 << 20;

/// The annotation of an entry's name.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation that containerd writes for an entry's name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Where it is remembered which repositories a blob was seen in.
const SOURCES: &str = "distribution-sources";

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

    /// Opens a layout to write, making what is missing of it. May be called by several processes at once.
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

    /// A blob's final name.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// A blob of exactly the descriptor's size; nothing when it is absent. One of another size (torn by a
    /// power loss) counts as absent, with a warning. The digest is for the reader to check.
    ///
    /// # Errors
    /// Local trouble.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Option<File>> {
        let Some((file, size)) = self.open_blob(&descriptor.digest)? else { return Ok(None) };
        if size != descriptor.size {
            notice::warn("torn blob", || {
                format!(
                    "{}: has {size} bytes in {}, want {}",
                    descriptor.digest, self, descriptor.size
                )
            });
            return Ok(None);
        }
        Ok(Some(file))
    }

    /// A blob and its size, whatever that is; nothing when it is absent.
    ///
    /// # Errors
    /// Local trouble, and when the name is no regular file.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<(File, u64)>> {
        let trouble =
            |cause: &std::io::Error| Error::local(format_args!("{self}: {digest}"), cause);
        let file = match open(&self.blob_path(digest)) {
            Ok(file) => file,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(trouble(&cause)),
        };
        let metadata = file.metadata().map_err(|cause| trouble(&cause))?;
        if !metadata.is_file() {
            let what = format_args!("{self}: {digest}: not a regular file");
            return Err(Error::new(Status::Local, what));
        }
        Ok(Some((file, metadata.len())))
    }

    /// The whole of a small blob, verified.
    ///
    /// # Errors
    /// Absent; malformed when larger than `limit` bytes; content when its digest differs.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let (file, size) = self
            .open_blob(digest)?
            .ok_or_else(|| Error::absent(format_args!("{self}: no blob {digest}")))?;
        if size > limit {
            let what = format_args!("{self}: {digest}: {size} bytes, larger than {limit}");
            return Err(Error::malformed(what));
        }
        let mut bytes = Vec::new();
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(|cause| Error::local(format_args!("read {self}: {digest}"), &cause))?;
        match digest.algorithm().digest(&bytes) {
            got if got == *digest => Ok(bytes),
            got => Err(Error::content(format_args!(
                "{self}: digest differs: got {got}, want {digest}"
            ))),
        }
    }

    /// Stores a small blob; its digest is computed here.
    ///
    /// # Errors
    /// Local trouble.
    pub fn put_bytes(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        debug_assert_eq!(digest.algorithm().digest(bytes), *digest);
        let path = self.prepare_blob(digest)?;
        output::write_whole(&path, &self.ingest_dir(), bytes)
    }

    /// A blob's final name, with its directory made: what a finished partial file is renamed to.
    ///
    /// # Errors
    /// Local trouble.
    pub fn prepare_blob(&self, digest: &Digest) -> Result<PathBuf> {
        let path = self.blob_path(digest);
        let parent = path.parent().unwrap_or(&self.dir);
        if !parent.is_dir() {
            std::fs::create_dir_all(parent)
                .map_err(|cause| Error::local(format_args!("make {}", parent.display()), &cause))?;
        }
        Ok(path)
    }

    /// The entries of `index.json`.
    ///
    /// # Errors
    /// Malformed, absent, or local trouble.
    pub fn entries(&self) -> Result<Vec<Descriptor>> {
        Ok(self.index()?.1)
    }

    fn index(&self) -> Result<(Map<String, Value>, Vec<Descriptor>)> {
        let wrong =
            |e: &str| Error::malformed(format_args!("{self}: index.json: {}", printable(e)));
        let bytes = match read_limited(&self.dir.join("index.json"), MAX_INDEX) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                return Err(wrong("there is none"));
            }
            Err(cause) if cause.kind() == ErrorKind::FileTooLarge => {
                return Err(wrong(&format!("larger than {MAX_INDEX} bytes")));
            }
            Err(cause) => return Err(Error::local(format_args!("{self}: index.json"), &cause)),
        };
        let mut document = json::parse_object(&bytes).map_err(|e| wrong(&e))?;
        let entries = match document.remove("manifests") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(Descriptor::from_value)
                .collect::<std::result::Result<_, _>>()
                .map_err(|e| wrong(&e))?,
            Some(other) => return Err(wrong(&format!("manifests is {}", json::kind(&other)))),
        };
        Ok((document, entries))
    }

    /// The entry that a reference means.
    ///
    /// By digest: that manifest, listed or not. By tag: the entry of that name, first by the OCI
    /// annotation, then by containerd's. By neither: the only entry.
    ///
    /// # Errors
    /// Absent; usage when there are several and nothing says which; malformed when one name stands on
    /// two digests and `platform` does not decide.
    pub fn resolve(
        &self,
        tag: Option<&str>,
        digest: Option<&Digest>,
        platform: Option<&Platform>,
    ) -> Result<Descriptor> {
        let entries = self.entries()?;
        if let Some(digest) = digest {
            return match entries.into_iter().find(|entry| entry.digest == *digest) {
                Some(entry) => Ok(entry),
                None => self.describe(digest),
            };
        }
        let Some(tag) = tag else { return self.only(entries) };
        for annotation in [REF_NAME, CONTAINERD_NAME] {
            let mut named: Vec<Descriptor> =
                entries.iter().filter(|e| e.annotation(annotation) == Some(tag)).cloned().collect();
            named.dedup_by(|a, b| a.digest == b.digest);
            let chosen = match (named.len(), platform) {
                (0, _) => continue,
                (1, _) => named.pop(),
                (_, Some(wanted)) => manifest::candidates(&named, wanted).first().copied().cloned(),
                (n, None) => {
                    let what = format_args!("{self}: \"{}\" names {n} manifests", printable(tag));
                    return Err(Error::malformed(what).hint("-p OS/ARCH decides between them"));
                }
            };
            let missing = || match platform {
                Some(wanted) => manifest::no_platform(&named, wanted),
                None => Error::absent("no entry"),
            };
            return chosen.ok_or_else(missing);
        }
        let what = format_args!("{self}: no entry named \"{}\"", printable(tag));
        Err(Error::absent(what).hint(names_of(&entries)))
    }

    fn only(&self, mut entries: Vec<Descriptor>) -> Result<Descriptor> {
        match entries.len() {
            1 => entries.pop().ok_or_else(|| Error::absent("no entry")),
            0 => Err(Error::absent(format_args!("{self}: no entry in index.json"))),
            n => {
                let what = format_args!("{self}: {n} entries, and none was named");
                Err(Error::usage(what).hint(names_of(&entries)))
            }
        }
    }

    /// The descriptor of a manifest that no entry names: its media type is what its bytes say.
    fn describe(&self, digest: &Digest) -> Result<Descriptor> {
        let bytes = self.read_blob(digest, manifest::MAX_SIZE)?;
        let parsed = Manifest::parse(&bytes, None, &digest.to_string(), Schema1::Allowed)
            .map_err(|e| e.context(format_args!("{self}@{digest}")))?;
        Ok(Descriptor::new(&parsed.media_type, digest.clone(), bytes.len() as u64))
    }

    /// Makes a manifest an entry of `index.json`: under `tag`, replacing what had that name, or without a
    /// name. The manifest itself must be stored.
    ///
    /// # Errors
    /// Malformed index, or local trouble.
    pub fn tag(&self, descriptor: &Descriptor, tag: Option<&str>) -> Result<()> {
        let _lock = self.lock()?;
        let (mut document, mut entries) = self.index()?;
        let entry = match tag {
            Some(tag) => {
                entries.retain(|entry| entry.annotation(REF_NAME) != Some(tag));
                descriptor.clone().with_annotation(REF_NAME, tag)
            }
            None if entries.iter().any(|entry| entry.digest == descriptor.digest) => return Ok(()),
            None => descriptor.clone(),
        };
        entries.push(entry);
        let manifests = entries.into_iter().map(Descriptor::into_value).collect();
        document.insert("manifests".to_owned(), Value::Array(manifests));
        self.replace("index.json", &Value::Object(document).to_string())
    }

    /// The names of the entries, in the index's order.
    ///
    /// # Errors
    /// As [`entries`](Layout::entries).
    pub fn tags(&self) -> Result<Vec<String>> {
        let name = |entry: &Descriptor| {
            entry.annotation(REF_NAME).or(entry.annotation(CONTAINERD_NAME)).map(str::to_owned)
        };
        Ok(self.entries()?.iter().filter_map(name).collect())
    }

    /// Remembers that blobs were seen in a repository: `distribution-sources`, an object of digests,
    /// each an object of hosts, each the paths sorted and joined by commas, as containerd labels
    /// content. A hint for later mounts, so trouble with it is a warning.
    pub fn remember_source(&self, repository: &Repository, digests: &[Digest]) {
        if let Err(error) = self.try_remember_source(repository, digests) {
            notice::warn("distribution sources", || error.to_string());
        }
    }

    /// Whether it is one that these tools write, and this user may: where something may be noted about blobs that are only
    /// read.
    pub fn takes_notes(&self) -> bool {
        let writable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
        writable(&self.dir) && writable(&self.ingest_dir())
    }

    /// The repositories of `host` that a blob was seen in, by their paths, as far as is remembered.
    pub fn sources(&self, digest: &Digest, host: &str) -> Vec<String> {
        let known = self.known_sources();
        let paths = known.get(&digest.to_string()).and_then(|hosts| hosts.get(host));
        let paths = paths.map(String::as_str).unwrap_or_default().split(',');
        paths.filter(|path| !path.is_empty()).map(str::to_owned).collect()
    }

    fn known_sources(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        read_limited(&self.dir.join(SOURCES), MAX_SOURCES_FILE)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    fn try_remember_source(&self, repository: &Repository, digests: &[Digest]) -> Result<()> {
        if digests.is_empty() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut known = self.known_sources();
        let mut changed = false;
        for digest in digests {
            let hosts = known.entry(digest.to_string()).or_default();
            let paths = hosts.entry(repository.host().to_owned()).or_default();
            let mut list: Vec<&str> = paths.split(',').filter(|path| !path.is_empty()).collect();
            if list.contains(&repository.path()) || list.len() >= MAX_SOURCES {
                continue;
            }
            list.push(repository.path());
            list.sort_unstable();
            *paths = list.join(",");
            changed = true;
        }
        match changed {
            false => Ok(()),
            true => self.replace(SOURCES, &json!(known).to_string()),
        }
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

/// Names what an index has, for a hint.
fn names_of(entries: &[Descriptor]) -> String {
    const SHOWN: usize = 20;
    let mut names: Vec<String> = entries
        .iter()
        .take(SHOWN)
        .map(|entry| match entry.annotation(REF_NAME).or(entry.annotation(CONTAINERD_NAME)) {
            Some(name) => format!(":{}", printable(name)),
            None => format!("@{}", entry.digest),
        })
        .collect();
    if entries.len() > SHOWN {
        names.push(format!("and {} more", entries.len() - SHOWN));
    }
    if names.is_empty() {
        "it has no entry".to_owned()
    } else {
        format!("it has {}", names.join(" "))
    }
}

/// Opens a file to read, without waiting for the other end of what is a fifo where a file should be.
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
