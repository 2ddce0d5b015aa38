// SPDX-License-Identifier: Apache-2.0
//! Blobs under their final names, `blobs/ALG/HEX`: opening, reading and storing.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use common::descriptor::{Descriptor, EARLY_HINT};
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result, Status};
use common::manifest::{MAX_SIZE, Manifest, Schema1};
use common::verify::{self, Verifier};
use common::{output, schema1};
use rustix::fs::{OFlags, futimens};

use crate::usage::NOW;
use crate::{Layout, open};

const NOT_REGULAR: &str = "not a regular file";

/// The result of [`Layout::check_blob`].
#[derive(Debug)]
pub enum Held {
    /// There is no file with the blob's name.
    Absent,
    /// The blob, with its size in bytes. Its digest is verified only if it was hashed.
    Blob(u64),
    /// The file with the blob's name has the wrong content, size or type. The text completes the
    /// sentence "the layout has".
    Wrong(String),
}

impl Layout {
    /// The final path of a blob.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// The path of the file with the first bytes of a blob while the blob is being downloaded. The
    /// file has exactly the bytes that were downloaded so far. The process that downloads the blob
    /// holds a flock on it until the file has the blob's final name.
    pub fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.ingest_dir().join(format!("{}-{}", digest.algorithm(), digest.hex()))
    }

    /// The error for a blob that the layout does not have, with the command that fetches it as the
    /// hint.
    pub fn absent(&self, digest: &Digest) -> Error {
        if self.partial_path(digest).is_file() {
            let what = format_args!("{self}: no blob {digest}: it has not arrived yet");
            return Error::absent(what).hint(EARLY_HINT);
        }
        Error::absent(format_args!("{self}: no blob {digest}"))
            .hint(format_args!("fetch-blob STORE --into {self} fetches the blob"))
    }

    /// The hint for a blob whose bytes or size are wrong: the command that fetches it again.
    pub fn repair(&self) -> String {
        format!("fetch-blob STORE --into {self} --recheck fetches the blob again")
    }

    /// Adds the hint to an error about a manifest that is missing, or whose bytes or size are
    /// wrong: the command that fetches it.
    pub(crate) fn with_manifest_hint(&self, digest: &Digest, error: Error) -> Error {
        let fetch = self.fetch_manifest_hint(digest);
        match error.status() {
            Status::Content => error.hint(format_args!("{fetch} again")),
            Status::Absent => error.hint(fetch),
            _ => error,
        }
    }

    /// The hint for a manifest that the layout does not have: the command that fetches it.
    pub fn fetch_manifest_hint(&self, digest: &Digest) -> String {
        format!("fetch-manifest REPO@{digest} --into {self} fetches the manifest")
    }

    /// Checks whether the layout has a blob, before the caller writes the blob or relies on it.
    /// Only a regular file counts as a blob here, because a symlink may lead to bytes that another
    /// program changes. The size is compared if it is known. The bytes are hashed if the size is
    /// unknown or if `hash` is set. The blob's modification time is set to now, as by
    /// [`touch`](Layout::touch).
    ///
    /// # Errors
    /// Local if the blob cannot be opened or read, or if a directory has its name: a file cannot
    /// replace a directory.
    pub fn check_blob(&self, digest: &Digest, size: Option<u64>, hash: bool) -> Result<Held> {
        let local_error =
            |cause: &std::io::Error| Error::local(format_args!("{self}: {digest}"), cause);
        let file = match open(&self.blob_path(digest), OFlags::NOFOLLOW) {
            Ok(file) => file,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Held::Absent),
            Err(cause) => {
                return match std::fs::symlink_metadata(self.blob_path(digest)) {
                    Ok(metadata) if metadata.is_symlink() => {
                        Ok(Held::Wrong("a symbolic link".to_owned()))
                    }
                    // A socket cannot be opened, so its type is checked here.
                    Ok(metadata) if !metadata.is_file() => Ok(Held::Wrong(NOT_REGULAR.to_owned())),
                    _ => Err(local_error(&cause)),
                };
            }
        };
        let metadata = file.metadata().map_err(|cause| local_error(&cause))?;
        if metadata.is_dir() {
            return Err(local_error(&ErrorKind::IsADirectory.into()));
        }
        if !metadata.is_file() {
            return Ok(Held::Wrong(NOT_REGULAR.to_owned()));
        }
        let got = metadata.len();
        if let Some(want) = size.filter(|want| *want != got) {
            return Ok(Held::Wrong(format!("size differs: got {got}, want {want}")));
        }
        if size.is_some() && !hash {
            let _ = futimens(&file, &NOW);
            return Ok(Held::Blob(got));
        }
        let name = format!("{self}: {digest}");
        match verify::verify(&file, Verifier::new(digest, Some(got)), &name) {
            Ok(_) => {
                let _ = futimens(&file, &NOW);
                Ok(Held::Blob(got))
            }
            Err(error) if error.status() == Status::Content => {
                Ok(Held::Wrong("wrong bytes".to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// Calls `each` with the digest and the metadata of every blob, in no particular order. Files
    /// that are not regular or do not have the name of a blob are skipped.
    ///
    /// # Errors
    /// Local if a directory cannot be read; otherwise the first error of `each`.
    pub fn for_each_blob(
        &self,
        mut each: impl FnMut(Digest, &Metadata) -> Result<()>,
    ) -> Result<()> {
        for algorithm in Algorithm::ALL {
            let dir = self.dir.join("blobs").join(algorithm.name());
            let local = |cause: std::io::Error| Error::local(dir.display(), &cause);
            let files = match std::fs::read_dir(&dir) {
                Err(cause) if cause.kind() == ErrorKind::NotFound => continue,
                files => files.map_err(local)?,
            };
            for file in files {
                let file = file.map_err(local)?;
                let name = file.file_name();
                let Ok(digest) = format!("{algorithm}:{}", name.to_string_lossy()).parse() else {
                    continue;
                };
                match file.metadata() {
                    Ok(metadata) if metadata.is_file() => each(digest, &metadata)?,
                    Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(local(cause)),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Opens a blob of any size to read it, and returns its size; `None` if the blob is absent. A
    /// symlink is followed: the caller must verify the size and the digest of all bytes that it
    /// reads.
    ///
    /// # Errors
    /// Local if the blob cannot be opened or is not a regular file.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<(File, u64)>> {
        let local_error =
            |cause: &std::io::Error| Error::local(format_args!("{self}: {digest}"), cause);
        let file = match open(&self.blob_path(digest), OFlags::empty()) {
            Ok(file) => file,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(local_error(&cause)),
        };
        let metadata = file.metadata().map_err(|cause| local_error(&cause))?;
        if !metadata.is_file() {
            let what = format_args!("{self}: {digest}: {NOT_REGULAR}");
            return Err(Error::new(Status::Local, what));
        }
        Ok(Some((file, metadata.len())))
    }

    /// Reads a small blob and verifies its digest.
    ///
    /// # Errors
    /// Absent if the blob does not exist; Malformed if it is larger than `limit` bytes; Content if
    /// its digest differs; Local if it cannot be read.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let (file, size) = self.open_blob(digest)?.ok_or_else(|| self.absent(digest))?;
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
            ))
            .hint(self.repair())),
        }
    }

    /// Reads a small blob and verifies its size and digest.
    ///
    /// # Errors
    /// Absent if the blob does not exist; Malformed if its descriptor states more than `limit`
    /// bytes; Content if its size or digest differs; Local if it cannot be read.
    pub fn read_described(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        self.read_sized(descriptor, limit, |bytes, want| bytes.len() as u64 == want)
    }

    fn read_sized(
        &self,
        descriptor: &Descriptor,
        limit: u64,
        has_size: impl Fn(&[u8], u64) -> bool,
    ) -> Result<Vec<u8>> {
        let Descriptor { digest, size: want, .. } = descriptor;
        if *want > limit {
            let what = format_args!("{self}@{digest}: {want} bytes, larger than {limit}");
            return Err(Error::malformed(what));
        }
        let bytes = self.read_blob(digest, limit)?;
        if !has_size(&bytes, *want) {
            let got = bytes.len();
            let what = format_args!("{self}@{digest}: size differs: got {got}, want {want}");
            return Err(Error::content(what).hint(self.repair()));
        }
        Ok(bytes)
    }

    /// Reads the manifest that a descriptor describes. Its size, digest and media type must match.
    /// Returns its bytes too.
    ///
    /// # Errors
    /// As for [`read_described`](Layout::read_described); Malformed if it is not a valid manifest.
    pub fn read_manifest(
        &self,
        descriptor: &Descriptor,
        allowed: Schema1,
    ) -> Result<(Vec<u8>, Manifest)> {
        let bytes = self
            .read_sized(descriptor, MAX_SIZE, schema1::has_size)
            .map_err(|error| self.with_manifest_hint(&descriptor.digest, error))?;
        let name = format!("{self}@{}", descriptor.digest);
        let manifest = Manifest::parse(&bytes, Some(&descriptor.media_type), &name, allowed)
            .map_err(|e| e.context(&name))?;
        Ok((bytes, manifest))
    }

    /// Stores a small blob. `digest` must be the digest of `bytes`.
    ///
    /// # Errors
    /// Local if the blob cannot be written.
    pub fn put_bytes(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        debug_assert_eq!(digest.algorithm().digest(bytes), *digest);
        let path = self.prepare_blob(digest)?;
        output::write_whole(&path, &self.ingest_dir(), bytes)
    }

    /// Creates the directory of a blob and returns the blob's final path, to which a finished
    /// partial file can be renamed.
    ///
    /// # Errors
    /// Local if the directory cannot be created.
    pub fn prepare_blob(&self, digest: &Digest) -> Result<PathBuf> {
        let path = self.blob_path(digest);
        let parent = path.parent().unwrap_or(&self.dir);
        if !parent.is_dir() {
            std::fs::create_dir_all(parent)
                .map_err(|cause| Error::local(format_args!("make {}", parent.display()), &cause))?;
        }
        Ok(path)
    }
}
