// SPDX-License-Identifier: Apache-2.0
//! Reads one blob and resumes after broken connections.
//!
//! A [`Reading`] stores its offset, so a new attempt requests only the bytes that have not been
//! read. If a server ignores ranges and starts again from 0, the bytes that were already read are
//! skipped. The number of such restarts is limited. A mirror that fails is not used again. Other
//! failures are retried after a wait, until too many attempts in a row make no progress.
//!
//! [`next_bytes`](Reading::next_bytes) does all of this. A caller that needs control between the
//! steps (fetch-blob's parts, which share their state) calls them itself: [`ask`](Reading::ask),
//! [`begin`](Reading::begin), [`read`](Reading::read), [`recover`](Reading::recover). Bytes are not
//! verified here.

use std::io::{self, Read};

use common::digest::Digest;
use common::error::{Error, Status};
use net::failure::Failure;
use net::response::{body_failure, body_words};
use net::retry::Backoff;
use registry::blob::{BlobAnswer, BlobBytes, ByteRange};

use crate::Store;

/// The maximum number of restarts, in which the server sends bytes that were already read.
const MAX_RESTARTS: u32 = 3;

/// The number of new bytes that count as progress for [`Reading::next_bytes`].
const PROGRESS: u64 = 1;

/// The reason for a restart if the response to a range request is the complete blob.
pub const IGNORES_RANGES: &str = "the registry ignores ranges";

/// A blob that is being read.
pub struct Reading<'a> {
    store: &'a Store,
    digest: Digest,
    urls: Vec<String>,
    size: Option<u64>,
    at: u64,
    answer: Option<Answer>,
    restarts: u32,
    backoff: Backoff,
    /// The offset at which the count of failed attempts was last reset.
    counted_from: u64,
    has_dropped_mirror: bool,
}

/// The response that is being read.
struct Answer {
    body: Box<dyn Read + Send>,
    /// The number of bytes in the response, if stated.
    length: Option<u64>,
    /// The number of bytes received so far.
    received: u64,
    /// The number of bytes still to skip, because they were already read from an earlier response.
    skip: u64,
}

impl<'a> Reading<'a> {
    /// Prepares to read a blob from the offset `at`. Sends no request yet. `size` is the size of
    /// the complete blob, if known. `urls` are the URLs in its descriptor.
    pub fn new(
        store: &'a Store,
        digest: &Digest,
        size: Option<u64>,
        urls: Vec<String>,
        at: u64,
    ) -> Reading<'a> {
        Reading {
            store,
            digest: digest.clone(),
            urls,
            size,
            at,
            answer: None,
            restarts: 0,
            backoff: store.backoff(),
            counted_from: at,
            has_dropped_mirror: false,
        }
    }

    /// The blob's name for messages, with its store.
    pub fn name(&self) -> String {
        self.store.name_of(&self.digest)
    }

    /// The blob's size; `None` if it is not known yet.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The offset of the next byte.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Whether a mirror that sent some of the bytes failed later.
    pub fn has_dropped_mirror(&self) -> bool {
        self.has_dropped_mirror
    }

    /// Reads the next bytes, with as many attempts as needed. Returns 0 at the end of the blob.
    /// Bytes beyond the blob's size are passed on, so that the caller can detect them.
    ///
    /// # Errors
    /// The last attempt's error. Content if the store has the blob with another size.
    pub fn next_bytes(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.attempt(buffer) {
                Ok(Some(n)) => return Ok(n),
                Ok(None) => {}
                Err(failure) => self.recover(failure, PROGRESS)?,
            }
        }
    }

    /// One step of [`next_bytes`](Reading::next_bytes). `None` if a response ended before the blob
    /// did.
    fn attempt(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
        if self.answer.is_none() {
            if self.size == Some(self.at) {
                return Ok(Some(0));
            }
            let range = (self.at > 0).then_some(ByteRange { start: self.at, end: self.size });
            let name = self.name();
            let at = self.at;
            match self.ask(range)? {
                BlobAnswer::Bytes(bytes) => {
                    self.check_total(bytes.total)?;
                    if bytes.start < self.at {
                        self.restart(IGNORES_RANGES)?;
                    }
                    self.begin(bytes);
                }
                BlobAnswer::Unsatisfiable { total } if total == Some(at) => return Ok(Some(0)),
                BlobAnswer::Unsatisfiable { .. } => {
                    let what = format_args!("{name}: 416: no bytes at offset {at}");
                    return Err(Error::malformed(what).into());
                }
                BlobAnswer::WrongRange(why) => {
                    return Err(Error::malformed(format_args!("{name}: {why}")).into());
                }
            }
        }
        match self.read(buffer)? {
            Some(n) => Ok(Some(n)),
            None => {
                let is_end = self.size.is_none_or(|size| size == self.at);
                self.size = self.size.or(Some(self.at));
                Ok(is_end.then_some(0))
            }
        }
    }

    /// Requests a range of the blob, or all of it: one attempt.
    ///
    /// # Errors
    /// As for [`Store::blob`].
    pub fn ask(&self, range: Option<ByteRange>) -> Result<BlobAnswer, Failure> {
        self.store.blob(&self.digest, &self.urls, range)
    }

    /// Continues with the bytes of a response. If they start before the current offset, the bytes
    /// up to it are skipped.
    pub fn begin(&mut self, bytes: BlobBytes) {
        let BlobBytes { body, start, length, total } = bytes;
        self.size = self.size.or(total);
        let skip = self.at.saturating_sub(start);
        self.answer = Some(Answer { body, length, received: 0, skip });
    }

    /// Reads the next bytes of the response. `None` at its end.
    ///
    /// # Errors
    /// Unavailable, and worth a retry, if the connection broke during the response. Malformed if it
    /// is longer than it states, or if its framing is too large.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
        while let Some(answer) = &mut self.answer {
            let most = usize::try_from(answer.skip).unwrap_or(usize::MAX).min(buffer.len());
            let (buffer, skips) = match most {
                0 => (&mut *buffer, false),
                most => (&mut buffer[..most], true),
            };
            let n = match answer.body.read(buffer) {
                Ok(n) => n as u64,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => {
                    let words = self.broken_off(&body_words(&cause));
                    return Err(body_failure(&cause, words));
                }
            };
            if n == 0 {
                // Without a stated length, the end of the response counts as the end of the blob
                // only if the blob's size is unknown.
                let received = answer.received;
                let is_whole =
                    answer.length.map_or(self.size.is_none(), |length| received >= length);
                self.answer = None;
                return if is_whole {
                    Ok(None)
                } else {
                    Err(self.broken("the response ended early"))
                };
            }
            answer.received += n;
            if answer.length.is_some_and(|length| answer.received > length) {
                let name = self.name();
                let what = format_args!("{name}: the response is longer than stated");
                return Err(Error::malformed(what).into());
            }
            if skips {
                answer.skip -= n;
                continue;
            }
            self.at += n;
            return Ok(Some(n as usize));
        }
        Ok(None)
    }

    /// Counts a restart, in which the server sends bytes that were already read.
    ///
    /// # Errors
    /// Unavailable, and final, if there were too many restarts.
    pub fn restart(&mut self, why: &str) -> Result<(), Error> {
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            let name = self.name();
            let what = format_args!("{name}: gave up after {MAX_RESTARTS} restarts: {why}");
            return Err(Error::unavailable(what));
        }
        Ok(())
    }

    /// Returns to an earlier offset, because the bytes read from there on were wrong.
    pub fn go_back(&mut self, at: u64) {
        self.answer = None;
        self.at = at;
    }

    /// Prepares another attempt: at once if a mirror failed and was dropped, otherwise after a
    /// wait. If at least `progress` new bytes were read, the count of failed attempts is reset.
    ///
    /// # Errors
    /// The failure's error, if it is final or no attempts remain.
    pub fn recover(&mut self, failure: Failure, progress: u64) -> Result<(), Error> {
        self.answer = None;
        if self.at >= self.counted_from.saturating_add(progress) {
            self.counted_from = self.at;
            self.backoff.progressed();
        }
        // A local error is not caused by the mirror.
        if failure.error.status() != Status::Local
            && self.store.drop_mirrors_of(&self.digest, &failure.error)
        {
            self.has_dropped_mirror = true;
            return Ok(());
        }
        self.backoff.wait(failure)
    }

    /// A [`Read`] that returns exactly the bytes up to `end`, or an error.
    pub(crate) fn into_reader(self, end: u64) -> impl Read + 'a {
        Reader { reading: self, end }
    }

    fn check_total(&self, total: Option<u64>) -> Result<(), Error> {
        match (self.size, total) {
            (Some(want), Some(total)) if total != want => {
                let name = self.name();
                let what = format_args!("{name}: size differs: got {total}, want {want}");
                Err(self.store.with_repair(Error::content(what)))
            }
            _ => Ok(()),
        }
    }

    fn broken(&self, why: &str) -> Failure {
        Failure::temporary(Error::unavailable(self.broken_off(why)))
    }

    fn broken_off(&self, why: &str) -> String {
        format!("{}: {why}, at byte {}", self.name(), self.at)
    }
}

/// The bytes of a reading up to an end.
struct Reader<'a> {
    reading: Reading<'a>,
    end: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_sub(self.reading.at);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.reading.next_bytes(&mut buffer[..most]).map_err(io::Error::other)?;
        if n == 0 {
            let what =
                format_args!("{}: no bytes at offset {}", self.reading.name(), self.reading.at);
            return Err(io::Error::other(Error::malformed(what)));
        }
        Ok(n)
    }
}
