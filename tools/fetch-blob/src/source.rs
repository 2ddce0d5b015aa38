// SPDX-License-Identifier: Apache-2.0
//! Where a blob's bytes come from: a registry, the places its descriptor names, or a layout.
//!
//! All three answer the same question, bytes from an offset, so that what is done with the bytes need not know
//! which it was. Nothing is checked here against a digest.

use std::io::{Read, Seek, SeekFrom};

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Status};
use common::registry::blob::{BlobAnswer, Range};
use common::registry::manifest::ACCEPT;
use common::registry::{Backoff, Failure, Settings};
use common::store::Store;
use common::{manifest, mediatype, notice};

/// What a source answered: as a registry's [`BlobAnswer`].
pub(crate) enum Answer {
    /// Bytes from `start` on.
    Bytes {
        /// The bytes.
        body: Box<dyn Read + Send>,
        /// The offset of the first: that asked for, or 0.
        start: u64,
        /// How many come, when it is said.
        length: Option<u64>,
        /// The size of the whole blob, when it is said.
        total: Option<u64>,
    },
    /// Nothing at this offset; the size of the whole blob, when it is said.
    Unsatisfiable(Option<u64>),
    /// Bytes that cannot be trusted to be those asked for.
    WrongRange(String),
}

/// A store, and how patient to be with it.
pub(crate) struct Source {
    pub(crate) store: Store,
    settings: Settings,
}

impl Source {
    pub(crate) fn new(store: Store, settings: Settings) -> Source {
        Source { store, settings }
    }

    /// Attempts to count, at their start.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(&self.settings)
    }

    /// The bytes of a blob that need no blob's way: carried by the descriptor, or a manifest.
    pub(crate) fn at_once(&self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>, Error> {
        match descriptor.data() {
            Some(Ok(bytes)) => return Ok(Some(bytes)),
            Some(Err(why)) => {
                notice::warn("data", || format!("{}: {why}: fetched instead", descriptor.digest));
            }
            None => {}
        }
        let Store::Registry(registry) = &self.store else { return Ok(None) };
        if !mediatype::is_manifest(&descriptor.media_type) {
            return Ok(None);
        }
        let digest = &descriptor.digest;
        if descriptor.size > manifest::MAX_SIZE {
            let what = format_args!("{digest}: a manifest of {} bytes", descriptor.size);
            return Err(Error::malformed(what));
        }
        let remote = registry.manifest(&digest.to_string(), Some(digest), &ACCEPT)?;
        let got = remote.bytes.len() as u64;
        if got != descriptor.size {
            let want = descriptor.size;
            let what = format_args!("{digest}: size differs: got {got}, want {want}");
            return Err(Error::content(what));
        }
        Ok(Some(remote.bytes))
    }

    /// Asks for a blob's bytes. A registry that does not have it, or is not allowed to give it away, is
    /// followed by the descriptor's `urls` in their order; what is reported then is the registry's word.
    pub(crate) fn ask(
        &self,
        digest: &Digest,
        urls: &[String],
        range: Option<Range>,
    ) -> Result<Answer, Failure> {
        let registry = match &self.store {
            Store::Registry(registry) => registry,
            Store::Layout(layout) => {
                let file = layout.open_blob(digest)?;
                let missing = || Error::absent(format_args!("{layout}: no blob {digest}"));
                let (mut file, size) = file.ok_or_else(missing)?;
                let start = range.map_or(0, |range| range.start);
                if start > 0 && start >= size {
                    return Ok(Answer::Unsatisfiable(Some(size)));
                }
                file.seek(SeekFrom::Start(start)).map_err(|cause| {
                    Error::local(format_args!("read {layout}: {digest}"), &cause)
                })?;
                let (length, total) = (Some(size - start), Some(size));
                return Ok(Answer::Bytes { body: Box::new(file), start, length, total });
            }
        };
        match registry.blob(digest, range) {
            Ok(answer) => Ok(answer.into()),
            Err(failure) if elsewhere_may_have_it(&failure.error) => {
                let found = urls.iter().find_map(|url| registry.blob_elsewhere(url, range).ok());
                found.map(Answer::from).ok_or(failure)
            }
            Err(failure) => Err(failure),
        }
    }
}

fn elsewhere_may_have_it(error: &Error) -> bool {
    matches!(error.status(), Status::Absent | Status::Refused | Status::Malformed)
}

impl From<BlobAnswer> for Answer {
    fn from(answer: BlobAnswer) -> Answer {
        match answer {
            BlobAnswer::Bytes { body, start, length, total } => {
                Answer::Bytes { body: Box::new(body), start, length, total }
            }
            BlobAnswer::Unsatisfiable { total } => Answer::Unsatisfiable(total),
            BlobAnswer::WrongRange(why) => Answer::WrongRange(why),
        }
    }
}
