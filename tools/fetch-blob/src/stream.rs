// SPDX-License-Identifier: Apache-2.0
//! One blob to stdout, or to what is written as stdout is: verified while it passes, its end held back.
//!
//! One connection; a broken one is taken up where it ended, with the hash in memory. What has been written
//! cannot be taken back, so bytes that turn out wrong are not asked for again.

use std::fs::File;
use std::io::{ErrorKind, Read};

use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::progress::Progress;
use common::verify::{BUFFER, HeldBack, Verifier};
use net::failure::Failure;
use net::response::body_words;
use registry::blob::Range;
use store::source::{Answer, Source};

use crate::blob::{MAX_UNSAID_SIZE, check_size};
use crate::pool::refuse_size_of_nothing;

/// How often what passed already may have to come again.
const MAX_RESTARTS: u32 = 3;

/// Streams a blob; the number of bytes.
///
/// # Errors
/// Content when size or digest differ: the last block has not been written then. Otherwise the source's,
/// and local trouble with the output.
pub(crate) fn stream(
    digest: &Digest,
    stated: Option<u64>,
    urls: &[String],
    max_size: Option<u64>,
    source: &Source,
    output: File,
    progress: &Progress,
) -> Result<u64> {
    check_size(stated, max_size, digest)?;
    if digest.is_of_nothing() {
        return refuse_size_of_nothing(digest, stated).map(|()| 0);
    }
    progress.announce(stated.unwrap_or(0));
    let limit = max_size.unwrap_or(MAX_UNSAID_SIZE);
    let mut output = HeldBack::new(output);
    let seen = loop {
        let mut passing = Passing::new(digest, limit, stated, &mut output);
        let passed = passing.all(source, urls, progress);
        match passed.and_then(|()| passing.verifier.finish().map_err(|e| e.context(digest))) {
            Ok(seen) => break seen,
            Err(error)
                if error.status() == Status::Content
                    && (source.leave_mirrors_of(digest, &error) || passing.by_mirror) =>
            {
                // What nobody has seen yet can be asked for elsewhere.
                if !output.forget() {
                    let hint = "a mirror gave some of it: --mirror none asks the registry itself";
                    return Err(error.hint(hint));
                }
            }
            Err(error) => return Err(error),
        }
    };
    output.release().map_err(|cause| Error::local("write the output", &cause))?;
    Ok(seen)
}

struct Passing<'a> {
    digest: &'a Digest,
    limit: u64,
    size: Option<u64>,
    verifier: Verifier,
    output: &'a mut HeldBack<File>,
    seen: u64,
    /// Whether a mirror that was left gave some of it.
    by_mirror: bool,
    restarts: u32,
    buffer: Vec<u8>,
}

impl<'a> Passing<'a> {
    fn new(
        digest: &'a Digest,
        limit: u64,
        stated: Option<u64>,
        output: &'a mut HeldBack<File>,
    ) -> Passing<'a> {
        Passing {
            digest,
            limit,
            size: stated,
            verifier: Verifier::new(digest, stated),
            output,
            seen: 0,
            by_mirror: false,
            restarts: 0,
            buffer: vec![0; BUFFER],
        }
    }

    /// All of it, in as many answers as it takes.
    fn all(&mut self, source: &Source, urls: &[String], progress: &Progress) -> Result<()> {
        let mut backoff = source.backoff();
        while self.size != Some(self.seen) {
            let before = self.seen;
            match self.turn(source, urls, progress) {
                Ok(true) => break,
                Ok(false) => {}
                Err(failure)
                    if failure.error.status() != Status::Local
                        && source.leave_mirrors_of(self.digest, &failure.error) =>
                {
                    self.by_mirror = true;
                }
                Err(failure) => {
                    if self.seen > before {
                        backoff.progressed();
                    }
                    backoff.wait(failure)?;
                }
            }
        }
        Ok(())
    }

    /// One answer; whether it ended a blob of unknown size.
    fn turn(
        &mut self,
        source: &Source,
        urls: &[String],
        progress: &Progress,
    ) -> std::result::Result<bool, Failure> {
        let digest = self.digest;
        let range = (self.seen > 0).then_some(Range { start: self.seen, end: self.size });
        let (body, start, length, total) = match source.ask(digest, urls, range)? {
            Answer::Bytes { body, start, length, total } => (body, start, length, total),
            Answer::Unsatisfiable(total) if total == Some(self.seen) => return Ok(true),
            Answer::Unsatisfiable(_) => {
                let what = format_args!("{digest}: 416: no bytes from {} on", self.seen);
                return Err(Error::malformed(what).into());
            }
            Answer::WrongRange(why) => {
                return Err(Error::malformed(format_args!("{digest}: {why}")).into());
            }
        };
        check_size(total, Some(self.limit), digest)?;
        match (self.size, total) {
            (Some(size), Some(total)) if total != size => {
                let what = format_args!(
                    "{digest}: size differs: the store has {total} bytes, want {size}"
                );
                return Err(Error::content(what).into());
            }
            (None, Some(total)) => self.size = Some(total),
            _ => {}
        }
        if start < self.seen {
            self.restarts += 1;
            if self.restarts > MAX_RESTARTS {
                let what = format_args!("{digest}: begun anew {MAX_RESTARTS} times and no further");
                return Err(Error::later(what).into());
            }
        }
        self.pass(body, self.seen - start, length, progress)
    }

    fn pass(
        &mut self,
        mut body: Box<dyn Read + Send>,
        mut skip: u64,
        length: Option<u64>,
        progress: &Progress,
    ) -> std::result::Result<bool, Failure> {
        let digest = self.digest;
        let mut came = 0;
        loop {
            let n = match body.read(&mut self.buffer) {
                Ok(n) => n,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
                Err(cause) => {
                    let why = body_words(&cause);
                    let what = format_args!("{digest}: {why}, at byte {}", self.seen);
                    return Err(Failure::temporary(Error::later(what)));
                }
            };
            came += n as u64;
            if n == 0 {
                // Without a length, an end is an end only for a blob whose size nobody knows.
                let ended = length.map_or(self.size.is_none(), |length| came >= length);
                return match ended {
                    true => Ok(self.size.is_none_or(|size| size == self.seen)),
                    false => {
                        let what =
                            format_args!("{digest}: the answer ended early, at byte {}", self.seen);
                        Err(Failure::temporary(Error::later(what)))
                    }
                };
            }
            let passed = skip.min(n as u64);
            skip -= passed;
            let bytes = &self.buffer[passed as usize..n];
            if self.size.is_none() {
                check_size(Some(self.seen + bytes.len() as u64), Some(self.limit), digest)?;
            }
            self.verifier.update(bytes).map_err(|e| e.context(digest))?;
            self.output.write(bytes).map_err(|cause| Error::local("write the output", &cause))?;
            self.seen += bytes.len() as u64;
            progress.add(bytes.len() as u64);
        }
    }
}
