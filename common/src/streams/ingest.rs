// SPDX-License-Identifier: Apache-2.0
//! A blob that grows in a layout and gets its name when it is whole.
//!
//! For bytes that come once and in order. What is fetched in pieces, and taken up again by another run, grows in files
//! of its own that fetching knows about.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::descriptor::Descriptor;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::output;

/// A blob in the making. Dropped before it is finished, it leaves nothing.
pub struct NewBlob {
    layout: Layout,
    file: File,
    path: PathBuf,
    hasher: Option<Hasher>,
    size: u64,
}

impl Layout {
    /// Begins a blob whose digest will be of this algorithm.
    ///
    /// # Errors
    /// Local trouble.
    pub fn new_blob(&self, algorithm: Algorithm) -> Result<NewBlob> {
        let (file, path) = output::create_hidden(&self.ingest_dir(), "blob".as_ref())
            .map_err(|cause| Error::local(format_args!("write into {self}"), &cause))?;
        let (layout, hasher) = (self.clone(), Some(algorithm.hasher()));
        Ok(NewBlob { layout, file, path, hasher, size: 0 })
    }
}

impl NewBlob {
    /// That was all: the blob is there under its digest.
    ///
    /// # Errors
    /// Local trouble.
    pub fn finish(mut self) -> Result<(Digest, u64)> {
        let hasher = self.hasher.take().unwrap_or_else(|| Algorithm::default().hasher());
        let digest = hasher.finish();
        self.publish(&digest)?;
        Ok((digest, self.size))
    }

    /// That was all, and it must be this.
    ///
    /// # Errors
    /// Content when it is not; local trouble.
    pub fn finish_as(mut self, want: &Descriptor) -> Result<()> {
        let hasher = self.hasher.take().unwrap_or_else(|| want.digest.algorithm().hasher());
        let got = hasher.finish();
        if (&got, self.size) != (&want.digest, want.size) {
            let size = self.size;
            return Err(Error::content(format_args!(
                "digest differs: got {got} ({size} bytes), want {} ({} bytes)",
                want.digest, want.size
            )));
        }
        self.publish(&got)
    }

    fn publish(&mut self, digest: &Digest) -> Result<()> {
        let to = self.layout.prepare_blob(digest)?;
        let published = self.file.sync_data().and_then(|()| std::fs::rename(&self.path, to));
        let what = format_args!("write {digest} into {}", self.layout);
        published.map_err(|cause| Error::local(what, &cause))?;
        self.path = PathBuf::new();
        Ok(())
    }
}

impl Write for NewBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes[..n]);
        }
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
