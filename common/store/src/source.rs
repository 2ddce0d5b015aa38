// SPDX-License-Identifier: Apache-2.0
//! Where a blob's bytes come from: a registry, the places its descriptor names, or a layout.
//!
//! All three answer the same question, bytes from an offset, so that what is done with the bytes need not know
//! which it was. Nothing is checked here against a digest, but for what a descriptor carries itself.

use std::io::{self, Read, Seek, SeekFrom};

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Status};
use common::{manifest, mediatype, notice};
use net::client::Client;
use net::failure::Failure;
use net::response::body_words;
use net::retry::Backoff;
use registry::blob::{BlobAnswer, Range};
use registry::manifest::ACCEPT;

use crate::Store;

/// What a source answered: as a registry's [`BlobAnswer`].
pub enum Answer {
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

/// How often what was read already may have to come again, from a server that does not know ranges.
const MAX_RESTARTS: u32 = 3;

/// A store, and how patient to be with it.
pub struct Source {
    /// The store.
    pub store: Store,
    client: Client,
}

impl Source {
    /// A store as a source.
    pub fn new(store: Store, client: Client) -> Source {
        Source { store, client }
    }

    /// Leaves the mirrors that gave bytes of a blob, for the rest of the run: they were wrong, or broke off. Whether
    /// there are such: then it is worth asking again.
    pub fn leave_mirrors_of(&self, digest: &Digest, why: &Error) -> bool {
        match &self.store {
            Store::Registry(places) => places.leave_mirrors_of(digest, why),
            Store::Layout(_) => false,
        }
    }

    /// Attempts to count, at their start.
    pub fn backoff(&self) -> Backoff {
        Backoff::new(&self.client)
    }

    /// The bytes of a blob that need no blob's way: carried by the descriptor, or a manifest. They are verified.
    ///
    /// # Errors
    /// Those of reading a manifest.
    pub fn at_once(&self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>, Error> {
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
    ///
    /// # Errors
    /// Sorted.
    pub fn ask(
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
                let body = Box::new(file);
                return Ok(Answer::Bytes { body, start, length, total });
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

impl Source {
    /// A blob's bytes from `offset` to the end, taken up again where a connection broke. They end early only with an
    /// error, which is ours inside [`io::Error`].
    pub fn reader<'a>(&'a self, descriptor: &Descriptor, offset: u64) -> impl Read + 'a {
        let (digest, size) = (descriptor.digest.clone(), descriptor.size);
        let urls = descriptor.urls().map(str::to_owned).collect();
        let backoff = self.backoff();
        Reader { source: self, digest, size, urls, at: offset, body: None, backoff, restarts: 0 }
    }
}

/// A blob being read.
struct Reader<'a> {
    source: &'a Source,
    digest: Digest,
    size: u64,
    urls: Vec<String>,
    at: u64,
    body: Option<Box<dyn Read + Send>>,
    backoff: Backoff,
    restarts: u32,
}

impl Reader<'_> {
    /// The bytes from here on.
    fn ask(&mut self) -> Result<Box<dyn Read + Send>, Failure> {
        let (at, digest) = (self.at, &self.digest);
        let range = (at > 0).then_some(Range { start: at, end: Some(self.size) });
        let (mut body, start, total) = match self.source.ask(digest, &self.urls, range)? {
            Answer::Bytes { body, start, total, .. } => (body, start, total),
            Answer::Unsatisfiable(_) => {
                return Err(
                    Error::malformed(format_args!("{digest}: no bytes from {at} on")).into()
                );
            }
            Answer::WrongRange(why) => {
                return Err(Error::malformed(format_args!("{digest}: {why}")).into());
            }
        };
        if let Some(total) = total.filter(|total| *total != self.size) {
            let want = self.size;
            let what =
                format_args!("{digest}: size differs: the store has {total} bytes, want {want}");
            return Err(Error::content(what).into());
        }
        if start < at {
            self.restarts += 1;
            if self.restarts > MAX_RESTARTS {
                let what = format_args!("{digest}: begun anew {MAX_RESTARTS} times and no further");
                return Err(Error::later(what).into());
            }
            let passed = io::copy(&mut body.by_ref().take(at - start), &mut io::sink());
            if passed.ok() != Some(at - start) {
                return Err(self.broken("the answer ended early"));
            }
        }
        Ok(body)
    }

    /// Before the next attempt: a mirror that failed is left at once.
    fn wait(&mut self, failure: Failure) -> io::Result<()> {
        if self.source.leave_mirrors_of(&self.digest, &failure.error) {
            return Ok(());
        }
        self.backoff.wait(failure).map_err(io::Error::other)
    }

    fn broken(&self, why: &str) -> Failure {
        let what = format_args!("{}: {why}, at byte {}", self.digest, self.at);
        Failure::temporary(Error::later(what))
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at < self.size && !buffer.is_empty() {
            let mut body = match self.body.take() {
                Some(body) => body,
                None => match self.ask() {
                    Ok(body) => body,
                    Err(failure) => {
                        self.wait(failure)?;
                        continue;
                    }
                },
            };
            let failure = match body.read(buffer) {
                Ok(0) => self.broken("the answer ended early"),
                Ok(n) => {
                    // What is too much is for the digest to find.
                    let n = n.min(usize::try_from(self.size - self.at).unwrap_or(usize::MAX));
                    self.at += n as u64;
                    self.body = Some(body);
                    self.backoff.progressed();
                    return Ok(n);
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {
                    self.body = Some(body);
                    continue;
                }
                Err(cause) => self.broken(&body_words(&cause)),
            };
            self.wait(failure)?;
        }
        Ok(0)
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
