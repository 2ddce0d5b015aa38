// SPDX-License-Identifier: Apache-2.0
//! Blobs under their final names, `blobs/ALG/HEX`: opening, reading and storing.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::{notice, output};

use crate::{Layout, open};

impl Layout {
    /// The final path of a blob.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// Opens a blob of exactly the descriptor's size; `None` if it is absent. A blob of another
    /// size (torn by a power loss) counts as absent, with a warning. The caller must check the
    /// digest.
    ///
    /// # Errors
    /// Local if the blob cannot be opened or is not a regular file.
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

    /// Opens a blob of any size, and returns its size; `None` if the blob is absent.
    ///
    /// # Errors
    /// Local if the blob cannot be opened or is not a regular file.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<(File, u64)>> {
        let local_error =
            |cause: &std::io::Error| Error::local(format_args!("{self}: {digest}"), cause);
        let file = match open(&self.blob_path(digest)) {
            Ok(file) => file,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(local_error(&cause)),
        };
        let metadata = file.metadata().map_err(|cause| local_error(&cause))?;
        if !metadata.is_file() {
            let what = format_args!("{self}: {digest}: not a regular file");
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
