// SPDX-License-Identifier: Apache-2.0
//! Writing a new blob, which gets its name when it is complete.
//!
//! The bytes must arrive in order and without repetition. Not here: the partial files of resumable
//! downloads (in fetch-blob).

use std::io::{self, Write};

use common::descriptor::Descriptor;
use common::digest::{Algorithm, Digest, Hasher};
use common::error::{Error, Result};
use common::tempfile::TempFile;

use crate::Layout;

/// A blob that is being written. If it is dropped before it is finished, it is removed.
pub struct NewBlob {
    layout: Layout,
    growing: TempFile,
    hasher: Hasher,
    size: u64,
}

impl Layout {
    /// Starts a new blob with a digest of this algorithm.
    ///
    /// # Errors
    /// Local if the file cannot be created.
    pub fn new_blob(&self, algorithm: Algorithm) -> Result<NewBlob> {
        let growing = TempFile::new(&self.ingest_dir(), "blob".as_ref())
            .map_err(|cause| Error::local(format_args!("write into {self}"), &cause))?;
        Ok(NewBlob { layout: self.clone(), growing, hasher: algorithm.hasher(), size: 0 })
    }
}

impl NewBlob {
    /// Completes the blob and stores it under its digest. Returns the digest and the size.
    ///
    /// # Errors
    /// Local if the blob cannot be synced or renamed.
    pub fn finish(self) -> Result<(Digest, u64)> {
        let digest = self.hasher.finish();
        publish(self.growing, &self.layout, &digest)?;
        Ok((digest, self.size))
    }

    /// Completes the blob and stores it, if its digest and size are those of `want`.
    ///
    /// # Errors
    /// Content if the digest or the size differs; Local if the blob cannot be synced or renamed.
    pub fn finish_as(self, want: &Descriptor) -> Result<()> {
        let got = self.hasher.finish();
        let size = self.size;
        if (&got, size) != (&want.digest, want.size) {
            return Err(Error::content(format_args!(
                "digest differs: got {got} ({size} bytes), want {} ({} bytes)",
                want.digest, want.size
            )));
        }
        publish(self.growing, &self.layout, &got)
    }
}

fn publish(growing: TempFile, layout: &Layout, digest: &Digest) -> Result<()> {
    let path = layout.prepare_blob(digest)?;
    let what = format_args!("write {digest} into {layout}");
    let published = growing.file.sync_data().and_then(|()| growing.publish(&path));
    published.map_err(|cause| Error::local(what, &cause))
}

impl Write for NewBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.growing.file.write(bytes).map_err(|cause| {
            io::Error::other(Error::local(format_args!("write into {}", self.layout), &cause))
        })?;
        self.hasher.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
