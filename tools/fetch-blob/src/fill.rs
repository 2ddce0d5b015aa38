// SPDX-License-Identifier: Apache-2.0
//! Filling a part of a blob from a source, over as many attempts as make progress.
//!
//! What is there is never asked for again while the source honours ranges. Where it does not, what comes
//! again is passed over, so that a broken connection loses nothing; how often that may happen is bounded.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use common::error::{Error, Result, Status};
use common::progress::Progress;
use net::failure::Failure;
use net::response::body_words;
use net::retry::Backoff;
use registry::blob::Range;
use store::source::{Answer, Source};

use crate::blob::Blob;

/// What one read may bring, in bytes.
const BUFFER: usize = 128 << 10;

/// How often in a run the bytes that are there may have to come again.
const MAX_RESTARTS: u32 = 3;

/// How often an answer may end properly and be too short.
const MAX_SHORT: u32 = 2;

/// So many new bytes, or this share of a smaller blob, are progress: attempts are counted anew.
const PROGRESS: u64 = 1 << 20;
const PROGRESS_SHARE: u64 = 16;

/// How a turn of filling ended.
enum Turn {
    /// The part is full, or was given back.
    Done,
    /// The answer ended; there is more to ask for.
    Again,
}

/// Fills the part that begins at `start`. The blob fails with the first error that is final.
pub(crate) fn fill(blob: &Blob, start: u64, source: &Source, progress: &Progress) {
    let mut filling = Filling {
        blob,
        start,
        source,
        progress,
        backoff: source.backoff(),
        mark: 0,
        short: 0,
        buffer: vec![0; BUFFER],
    };
    match filling.run() {
        Ok(()) => {}
        // One connection more than the registry bears: another one fetches this part too.
        Err(error) if start > 0 && error.status() == Status::Later => blob.give_back(start),
        Err(error) => blob.fail(error),
    }
    blob.release(start);
}

struct Filling<'a> {
    blob: &'a Blob,
    start: u64,
    source: &'a Source,
    progress: &'a Progress,
    backoff: Backoff,
    /// Where the attempts were last counted anew.
    mark: u64,
    short: u32,
    buffer: Vec<u8>,
}

/// Where a part stands.
struct Standing {
    at: u64,
    end: u64,
    file: Arc<File>,
}

impl Filling<'_> {
    fn run(&mut self) -> Result<()> {
        self.mark = self.standing().map_or(0, |part| part.at);
        loop {
            match self.turn() {
                Ok(Turn::Done) => return Ok(()),
                Ok(Turn::Again) => {}
                Err(failure) => {
                    self.blob.lock().straight = false;
                    self.count_progress();
                    // A mirror's failure is none of the registry's.
                    if failure.error.status() != Status::Local
                        && self.source.leave_mirrors_of(&self.blob.digest, &failure.error)
                    {
                        continue;
                    }
                    self.backoff.wait(failure)?;
                }
            }
        }
    }

    /// Where the part stands; nothing when it is gone or the blob has failed.
    fn standing(&self) -> Option<Standing> {
        let mut state = self.blob.lock();
        if state.failure().is_some() {
            return None;
        }
        let part = state.part(self.start)?;
        Some(Standing { at: part.at, end: part.end, file: part.file.clone() })
    }

    fn turn(&mut self) -> std::result::Result<Turn, Failure> {
        let Some(part) = self.standing().filter(|part| part.at < part.end) else {
            return Ok(Turn::Done);
        };
        let (whole, rangeless) = {
            let state = self.blob.lock();
            (part.at == 0 && Some(part.end) == state.size.or(Some(u64::MAX)), state.rangeless)
        };
        let end = (part.end != u64::MAX).then_some(part.end);
        let range = (!whole && !rangeless).then_some(Range { start: part.at, end });
        let answer = self.source.ask(&self.blob.digest, &self.blob.urls, range)?;
        match answer {
            Answer::Bytes { body, start, length, total } => {
                if let Some(total) = total {
                    self.judge_total(total)?;
                }
                if start == part.at {
                    return self.take(body, length, total, 0);
                }
                // The source ignores ranges.
                self.blob.lock().rangeless = true;
                if self.start > 0 {
                    self.blob.give_back(self.start);
                    return Ok(Turn::Done);
                }
                self.restart("the registry ignores ranges")?;
                self.take(body, length, total, part.at)
            }
            Answer::WrongRange(why) => {
                self.blob.lock().rangeless = true;
                if self.start > 0 {
                    self.blob.give_back(self.start);
                    return Ok(Turn::Done);
                }
                self.restart(&why)?;
                Ok(Turn::Again)
            }
            Answer::Unsatisfiable(total)
                if total == Some(part.at) && self.blob.stated.is_none_or(|s| s == part.at) =>
            {
                self.blob.learn_size(part.at)?;
                Ok(Turn::Done)
            }
            Answer::Unsatisfiable(_) => {
                self.restart("416: the registry has nothing from where the partial file ends")?;
                part.file.set_len(0).map_err(|e| self.blob.trouble(&e))?;
                if let Some(part) = self.blob.lock().part(self.start) {
                    part.at = part.start;
                }
                Ok(Turn::Again)
            }
        }
    }

    /// Bytes that are there come again: only so often.
    fn restart(&self, why: &str) -> Result<()> {
        let mut state = self.blob.lock();
        state.straight = false;
        state.restarts += 1;
        if state.restarts > MAX_RESTARTS {
            let digest = &self.blob.digest;
            return Err(Error::later(format_args!(
                "{digest}: begun anew {MAX_RESTARTS} times and no further: {why}"
            )));
        }
        Ok(())
    }

    /// Compares the size that the source says with the one that is known.
    fn judge_total(&self, total: u64) -> Result<()> {
        let known = self.blob.lock().size;
        match known {
            Some(size) if total > size => Err(Error::content(format_args!(
                "{}: size differs: the store has {total} bytes, want {size}",
                self.blob.digest
            ))),
            Some(_) => Ok(()),
            None => self.blob.learn_size(total),
        }
    }

    /// Takes an answer's bytes into the file, after passing over the first `skip`.
    fn take(
        &mut self,
        mut body: Box<dyn Read + Send>,
        length: Option<u64>,
        total: Option<u64>,
        mut skip: u64,
    ) -> std::result::Result<Turn, Failure> {
        let mut came = 0;
        loop {
            let n = match body.read(&mut self.buffer) {
                Ok(n) => n,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
                Err(cause) => return Err(self.broken(&body_words(&cause))),
            };
            if n == 0 {
                return self.ended(came, length, total);
            }
            came += n as u64;
            if length.is_some_and(|length| came > length) {
                let digest = &self.blob.digest;
                return Err(Error::malformed(format_args!(
                    "{digest}: an answer longer than it says"
                ))
                .into());
            }
            let passed = skip.min(n as u64);
            skip -= passed;
            if !self.keep(passed as usize, n)? {
                return Ok(Turn::Done);
            }
        }
    }

    /// Writes a read's bytes behind what is there; whether more are wanted.
    fn keep(&mut self, from: usize, to: usize) -> Result<bool> {
        let Some(part) = self.standing() else { return Ok(false) };
        let bytes = &self.buffer[from..to];
        let room = part.end - part.at;
        if bytes.len() as u64 > room {
            let is_end = self.blob.lock().size == Some(part.end);
            if is_end {
                let (digest, size) = (&self.blob.digest, part.end);
                return Err(Error::content(format_args!(
                    "{digest}: more than the {size} bytes it should have"
                )));
            }
        }
        let bytes = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        self.blob.check_unsaid(part.at + bytes.len() as u64)?;
        part.file.write_all_at(bytes, part.at - self.start).map_err(|e| self.blob.trouble(&e))?;
        let mut state = self.blob.lock();
        let Some(now) = state.part(self.start) else { return Ok(false) };
        // The part may have been split meanwhile: what went beyond its end is the next one's.
        now.at = (part.at + bytes.len() as u64).min(now.end);
        let more = now.at < now.end;
        let (at, added) = (now.at, now.at - part.at);
        if self.start == 0 {
            let kept = from..from + added as usize;
            state.relay.offer(part.at, &mut self.buffer, kept);
        }
        let wake = !more || (state.awaited > 0 && at >= state.awaited);
        drop(state);
        if wake {
            self.blob.notify();
        }
        self.progress.add(added);
        Ok(more)
    }

    /// An answer's end: is it the blob's?
    fn ended(
        &mut self,
        came: u64,
        length: Option<u64>,
        total: Option<u64>,
    ) -> std::result::Result<Turn, Failure> {
        let Some(part) = self.standing().filter(|part| part.at < part.end) else {
            return Ok(Turn::Done);
        };
        if length.is_some_and(|length| came < length) {
            return Err(self.broken("the connection ended in the middle of the answer"));
        }
        let Some(size) = self.blob.lock().size else {
            // Neither the descriptor nor the answer said a size: the digest will tell.
            self.blob.learn_size(part.at)?;
            return Ok(Turn::Done);
        };
        self.blob.lock().straight = false;
        if total.is_some_and(|total| total < size) {
            self.short += 1;
            if self.short >= MAX_SHORT {
                let (digest, got) = (&self.blob.digest, part.at);
                let what = format_args!("{digest}: size differs: got {got}, want {size}");
                return Err(Error::content(what).into());
            }
        } else if length.is_none() || came == 0 {
            return Err(self.broken("the answer ended early"));
        }
        // A range that is shorter than asked for is legal: the rest is asked for.
        Ok(Turn::Again)
    }

    fn broken(&self, why: &str) -> Failure {
        let at = self.standing().map_or(0, |part| part.at);
        let digest = &self.blob.digest;
        Failure::temporary(Error::later(format_args!("{digest}: {why}, at byte {at}")))
    }

    /// Counts attempts anew if there was progress.
    fn count_progress(&mut self) {
        let Some(part) = self.standing() else { return };
        let size = self.blob.lock().size.unwrap_or(u64::MAX);
        let enough = PROGRESS.min(size / PROGRESS_SHARE).max(1);
        if part.at >= self.mark.saturating_add(enough) {
            self.mark = part.at;
            self.backoff.progressed();
        }
    }
}
