// SPDX-License-Identifier: Apache-2.0
//! Downloading one part of a blob into its file, over as many attempts as make progress.
//!
//! Bytes in the file are not requested again while the server honours ranges. If it ignores them,
//! the first part reads the whole blob again and skips what it has, and the later parts are given
//! up.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use common::error::{Error, Result, Status};
use common::progress::Progress;
use net::failure::Failure;
use registry::blob::{BlobAnswer, ByteRange};
use store::Store;
use store::reading::{IGNORES_RANGES, Reading};

use crate::blob::Blob;

/// What one read may bring, in bytes.
const BUFFER: usize = 128 << 10;

/// How often an answer may end properly and be too short.
const MAX_SHORT: u32 = 2;

/// So many new bytes, or this share of a smaller blob, are progress: attempts are counted anew.
const PROGRESS: u64 = 1 << 20;
const PROGRESS_SHARE: u64 = 16;

/// How a turn of downloading ended.
enum Turn {
    /// The part is full, or was given back.
    Done,
    /// The answer ended; there is more to ask for.
    Again,
}

/// Fills the part that begins at `start`. The blob fails with the first error that is final.
pub(crate) fn download(blob: &Blob, start: u64, store: &Store, progress: &Progress) {
    let (at, size) = {
        let mut state = blob.lock();
        (state.part(start).map_or(0, |part| part.at), state.size)
    };
    let reading = Reading::new(store, &blob.digest, size, blob.urls.clone(), at);
    let mut download =
        Download { blob, start, reading, progress, short: 0, buffer: vec![0; BUFFER] };
    match download.run() {
        Ok(()) => {}
        // One connection more than the registry bears: another one fetches this part too.
        Err(error) if start > 0 && error.status() == Status::Unavailable => blob.give_back(start),
        Err(error) => blob.fail(error),
    }
    blob.release(start);
}

struct Download<'a> {
    blob: &'a Blob,
    start: u64,
    reading: Reading<'a>,
    progress: &'a Progress,
    short: u32,
    buffer: Vec<u8>,
}

/// Where a part stands.
struct Standing {
    at: u64,
    end: u64,
    file: Arc<File>,
}

impl Download<'_> {
    fn run(&mut self) -> Result<()> {
        loop {
            match self.turn() {
                Ok(Turn::Done) => return Ok(()),
                Ok(Turn::Again) => {}
                Err(failure) => {
                    let size = {
                        let mut state = self.blob.lock();
                        state.straight = false;
                        state.size.unwrap_or(u64::MAX)
                    };
                    let progress = PROGRESS.min(size / PROGRESS_SHARE).max(1);
                    self.reading.recover(failure, progress)?;
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
        let range = (!whole && !rangeless).then_some(ByteRange { start: part.at, end });
        match self.reading.ask(range)? {
            BlobAnswer::Bytes(bytes) => {
                let total = bytes.total;
                if let Some(total) = total {
                    self.judge_total(total)?;
                }
                if bytes.start != part.at {
                    if self.is_given_back() {
                        return Ok(Turn::Done);
                    }
                    self.restart(IGNORES_RANGES)?;
                }
                self.reading.begin(bytes);
                self.take(total)
            }
            BlobAnswer::WrongRange(why) => {
                if self.is_given_back() {
                    return Ok(Turn::Done);
                }
                self.restart(&why)?;
                Ok(Turn::Again)
            }
            BlobAnswer::Unsatisfiable { total }
                if total == Some(part.at) && self.blob.stated.is_none_or(|s| s == part.at) =>
            {
                self.blob.learn_size(part.at)?;
                Ok(Turn::Done)
            }
            BlobAnswer::Unsatisfiable { .. } => {
                self.restart("416: the registry has nothing from where the partial file ends")?;
                part.file.set_len(0).map_err(|e| self.blob.trouble(&e))?;
                if let Some(part) = self.blob.lock().part(self.start) {
                    part.at = part.start;
                }
                self.reading.go_back(self.start);
                Ok(Turn::Again)
            }
        }
    }

    /// The server does not honour ranges: no part but the first can be had. Whether this one is
    /// given back.
    fn is_given_back(&self) -> bool {
        self.blob.lock().rangeless = true;
        if self.start > 0 {
            self.blob.give_back(self.start);
        }
        self.start > 0
    }

    /// Bytes that are in the file are sent again: only so often.
    fn restart(&mut self, why: &str) -> Result<()> {
        self.blob.lock().straight = false;
        self.reading.restart(why)
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

    /// Takes an answer's bytes into the file.
    fn take(&mut self, total: Option<u64>) -> std::result::Result<Turn, Failure> {
        while let Some(n) = self.reading.read(&mut self.buffer)? {
            if !self.keep(n)? {
                return Ok(Turn::Done);
            }
        }
        self.ended(total)
    }

    /// Writes a read's bytes behind what is there; whether more are wanted.
    fn keep(&mut self, n: usize) -> Result<bool> {
        let Some(part) = self.standing() else { return Ok(false) };
        let bytes = &self.buffer[..n];
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
            state.handoff.offer(part.at, &mut self.buffer, added as usize);
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
    fn ended(&mut self, total: Option<u64>) -> std::result::Result<Turn, Failure> {
        let Some(part) = self.standing().filter(|part| part.at < part.end) else {
            return Ok(Turn::Done);
        };
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
        }
        // A range that is shorter than asked for is legal: the rest is asked for.
        Ok(Turn::Again)
    }
}
