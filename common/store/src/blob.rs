// SPDX-License-Identifier: Apache-2.0
//! One request for a blob's bytes: to a registry, to the URLs in the blob's descriptor, or to a
//! layout.
//!
//! All three give the same [`BlobAnswer`]. One call is one attempt. The module
//! [`reading`](crate::reading) resumes after a broken connection. Nothing is verified here, except
//! data inside a descriptor and blobs that are manifests.

use std::io::{Read, Seek, SeekFrom};

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Status};
use common::verify::{BUFFER, Verifier};
use common::{manifest, mediatype, notice, schema1};
use layout::Layout;
use net::failure::{Failure, Retry};
use registry::blob::{BlobAnswer, BlobBytes, ByteRange};
use registry::manifest::ACCEPT;

use crate::Store;
use crate::reading::Reading;

impl Store {
    /// Requests a blob's bytes. If the registry does not have the blob or refuses to send it, the
    /// descriptor's `urls` are tried in order; if they fail too, both causes are reported.
    ///
    /// # Errors
    /// Absent if the blob is missing. Refused, Unavailable or Malformed, depending on the
    /// registry's response. Unavailable, and worth a retry, if a request to one of the `urls` may
    /// succeed later. Local if a layout cannot be read.
    pub fn blob(
        &self,
        digest: &Digest,
        urls: &[String],
        range: Option<ByteRange>,
    ) -> Result<BlobAnswer, Failure> {
        let registry = match self {
            Store::Registry(registry) => registry,
            Store::Layout(layout) => {
                return Ok(stored(layout, digest, range.map_or(0, |range| range.start))?);
            }
        };
        match registry.blob(digest, range) {
            Err(failure) if may_be_elsewhere(&failure.error) => {
                let mut elsewhere: Option<Failure> = None;
                for url in urls {
                    match registry.blob_elsewhere(url, range) {
                        // A temporary failure has precedence, because a later attempt can succeed.
                        Err(other)
                            if elsewhere.as_ref().is_none_or(|f| passes_first(&other, f)) =>
                        {
                            elsewhere = Some(other);
                        }
                        Err(_) => {}
                        found => return found,
                    }
                }
                Err(nowhere(failure, elsewhere, urls.len()))
            }
            answer => answer,
        }
    }

    /// The verified bytes of a blob that is not fetched as a blob: its descriptor contains the
    /// data, or it is a manifest in a registry. `None` for all other blobs.
    ///
    /// # Errors
    /// As for [`Store::manifest`]. Content if the size differs.
    pub fn blob_at_once(&self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>, Error> {
        match descriptor.data() {
            Some(Ok(bytes)) => return Ok(Some(bytes)),
            Some(Err(why)) => {
                notice::warn("data", || format!("{}: {why}: fetched instead", descriptor.digest));
            }
            None => {}
        }
        let Store::Registry(registry) = self else { return Ok(None) };
        if !mediatype::is_manifest(&descriptor.media_type) {
            return Ok(None);
        }
        let digest = &descriptor.digest;
        if descriptor.size > manifest::MAX_SIZE {
            let what = format_args!(
                "{digest}: {} bytes, larger than {}",
                descriptor.size,
                manifest::MAX_SIZE
            );
            return Err(Error::malformed(what));
        }
        let remote = registry.manifest(&digest.to_string(), Some(digest), &ACCEPT)?;
        if !schema1::has_size(&remote.bytes, descriptor.size) {
            let got = remote.bytes.len();
            let want = descriptor.size;
            let name = self.name_of(digest);
            let what = format_args!("{name}: size differs: got {got}, want {want}");
            return Err(Error::content(what));
        }
        Ok(Some(remote.bytes))
    }

    /// A reader of a blob's bytes from `offset` to the size in the descriptor. It resumes after a
    /// broken connection. If the bytes end early, the reader returns an error: an [`Error`] inside
    /// an [`std::io::Error`].
    pub fn reader<'a>(&'a self, descriptor: &Descriptor, offset: u64) -> impl Read + 'a {
        let urls = descriptor.urls().map(str::to_owned).collect();
        Reading::new(self, &descriptor.digest, Some(descriptor.size), urls, offset)
            .into_reader(descriptor.size)
    }

    /// Reads a blob of at most `limit` bytes and verifies it.
    ///
    /// # Errors
    /// As for [`Store::blob`]. Malformed if the blob is larger than `limit`, Content if the size or
    /// the digest differs.
    pub fn small_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
        let Descriptor { digest, size, .. } = descriptor;
        if *size > limit {
            let what = format_args!("{digest}: {size} bytes, larger than {limit}");
            return Err(Error::malformed(what));
        }
        if let Some(bytes) = self.blob_at_once(descriptor)? {
            return Ok(bytes);
        }
        let wrong = |error: Error| self.with_repair(error.context(self.name_of(digest)));
        let mut bytes = Vec::new();
        let mut verifier = Verifier::new(digest, Some(*size));
        let mut reading = Reading::new(self, digest, Some(*size), Vec::new(), 0);
        let mut buffer = vec![0; BUFFER];
        loop {
            match reading.next_bytes(&mut buffer)? {
                0 => break,
                n => {
                    verifier.update(&buffer[..n]).map_err(wrong)?;
                    bytes.extend_from_slice(&buffer[..n]);
                }
            }
        }
        verifier.finish().map_err(wrong)?;
        Ok(bytes)
    }

    /// The size of a blob, for a descriptor that has none. From a registry, the first byte is
    /// requested.
    ///
    /// # Errors
    /// As for [`Store::blob`]. Malformed if the registry does not state the size.
    pub fn blob_size(&self, digest: &Digest) -> Result<u64, Error> {
        let no_size = || Error::malformed(format_args!("{self}: {digest}: no size stated"));
        if digest.is_of_empty() {
            return Ok(0);
        }
        let mut reading = Reading::new(self, digest, None, Vec::new(), 0);
        loop {
            match reading.ask(Some(ByteRange { start: 0, end: Some(1) })) {
                Ok(BlobAnswer::Bytes(BlobBytes { total, .. })) => return total.ok_or_else(no_size),
                Ok(BlobAnswer::Unsatisfiable { total }) => return total.ok_or_else(no_size),
                Ok(BlobAnswer::WrongRange(_)) => return Err(no_size()),
                Err(failure) => reading.recover(failure, u64::MAX)?,
            }
        }
    }

    /// Stops using the mirrors that sent bytes of this blob, for the rest of the run, because the
    /// bytes were wrong or incomplete. Returns whether any mirror was dropped. If not, another
    /// attempt would not help.
    pub fn drop_mirrors_of(&self, digest: &Digest, why: &Error) -> bool {
        match self {
            Store::Registry(registry) => registry.drop_mirrors_of(digest, why),
            Store::Layout(_) => false,
        }
    }
}

/// The bytes of a layout's blob from `start`.
fn stored(layout: &Layout, digest: &Digest, start: u64) -> Result<BlobAnswer, Error> {
    let (mut file, size) = layout.open_blob(digest)?.ok_or_else(|| layout.absent(digest))?;
    if start > 0 && start >= size {
        return Ok(BlobAnswer::Unsatisfiable { total: Some(size) });
    }
    file.seek(SeekFrom::Start(start))
        .map_err(|cause| Error::local(format_args!("read {layout}: {digest}"), &cause))?;
    let length = Some(size - start);
    let total = Some(size);
    Ok(BlobAnswer::Bytes(BlobBytes { body: Box::new(file), start, length, total }))
}

/// Whether only the first of two failures is worth a retry.
fn passes_first(first: &Failure, second: &Failure) -> bool {
    first.retry != Retry::Never && second.retry == Retry::Never
}

/// The failure if neither the registry nor any of the descriptor's `urls` has the blob.
fn nowhere(registry: Failure, elsewhere: Option<Failure>, urls: usize) -> Failure {
    let Some(Failure { error, retry }) = elsewhere else { return registry };
    let status = if retry == Retry::Never { registry.error.status() } else { error.status() };
    let more = if urls > 1 { format!(" (one of {urls} urls)") } else { String::new() };
    let both = Error::new(status, format_args!("{}; elsewhere: {error}{more}", registry.error));
    Failure { error: both, retry }
}

fn may_be_elsewhere(error: &Error) -> bool {
    matches!(error.status(), Status::Absent | Status::Refused | Status::Malformed)
}
