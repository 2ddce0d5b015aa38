// SPDX-License-Identifier: Apache-2.0
//! Downloads one part of a blob into its file, and repeats failed attempts.
//!
//! Bytes that are in the file are not requested again if the server supports range requests. If it
//! ignores them, the first part requests the complete blob again and skips the bytes that it has.
//! The later parts are given up.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use common::error::{Error, Result, Status};
use net::failure::Failure;
use registry::blob::{BlobAnswer, ByteRange};
use store::reading::{IGNORES_RANGES, Reading};

use crate::blob::Blob;
use crate::destination::Run;

/// The maximum size of one read, in bytes.
const BUFFER: usize = 128 << 10;

/// After this number of complete responses that are too short, the blob fails.
const MAX_SHORT: u32 = 2;

/// After this number of new bytes, the count of failed attempts starts again from 0. For a blob of
/// less than 16 MiB, the number is its size divided by [`PROGRESS_SHARE`].
const PROGRESS: u64 = 1 << 20;
const PROGRESS_SHARE: u64 = 16;

/// The result of a successful attempt.
enum AttemptEnd {
    /// The part is complete, or it was given up.
    Done,
    /// The response ended before the end of the part. Another request is needed.
    Incomplete,
}

/// Fills the part that begins at `start`. The first final error makes the blob fail.
pub(crate) fn download(blob: &Blob, start: u64, run: &Run) {
    let (at, size) = {
        let mut state = blob.lock();
        (state.part(start).map_or(0, |part| part.at), state.size)
    };
    let reading = Reading::new(&run.store, &blob.digest, size, blob.urls.clone(), at);
    let mut download = Download { blob, start, reading, run, short: 0, buffer: vec![0; BUFFER] };
    match download.run() {
        Ok(()) => {}
        // The registry may limit the number of connections. Another connection downloads this part.
        Err(error) if start > 0 && error.status() == Status::Unavailable => {
            give_back(blob, start, run)
        }
        Err(error) => blob.fail(error),
    }
    blob.release(start);
}

/// Gives a later part up, with its bytes.
fn give_back(blob: &Blob, start: u64, run: &Run) {
    blob.give_back(start);
    show_offset(blob, run);
}

/// Shows how many bytes of a blob there are, after some of them were removed.
fn show_offset(blob: &Blob, run: &Run) {
    let size = blob.lock().size;
    run.progress.begin(Some(&blob.digest), size, blob.received());
}

struct Download<'a> {
    blob: &'a Blob,
    start: u64,
    reading: Reading<'a>,
    run: &'a Run,
    short: u32,
    buffer: Vec<u8>,
}

/// The range of a part and its file.
struct PartRange {
    at: u64,
    end: u64,
    file: Arc<File>,
}

impl Download<'_> {
    fn run(&mut self) -> Result<()> {
        loop {
            match self.attempt() {
                Ok(AttemptEnd::Done) => return Ok(()),
                Ok(AttemptEnd::Incomplete) => {}
                Err(failure) => {
                    let size = {
                        let mut state = self.blob.lock();
                        state.single_response = false;
                        state.size.unwrap_or(u64::MAX)
                    };
                    let progress = PROGRESS.min(size / PROGRESS_SHARE).max(1);
                    self.reading.recover(failure, progress)?;
                }
            }
        }
    }

    /// The current range of the part. `None` if the part was given up or the blob has failed.
    fn part_range(&self) -> Option<PartRange> {
        let mut state = self.blob.lock();
        if state.failure().is_some() {
            return None;
        }
        let part = state.part(self.start)?;
        Some(PartRange { at: part.at, end: part.end, file: part.file.clone() })
    }

    fn attempt(&mut self) -> std::result::Result<AttemptEnd, Failure> {
        let Some(part) = self.part_range().filter(|part| part.at < part.end) else {
            return Ok(AttemptEnd::Done);
        };
        let (whole, ignores_ranges) = {
            let state = self.blob.lock();
            (part.at == 0 && Some(part.end) == state.size.or(Some(u64::MAX)), state.ignores_ranges)
        };
        let end = (part.end != u64::MAX).then_some(part.end);
        let range = (!whole && !ignores_ranges).then_some(ByteRange { start: part.at, end });
        match self.reading.ask(range)? {
            BlobAnswer::Bytes(bytes) => {
                let total = bytes.total;
                if let Some(total) = total {
                    self.check_total(total)?;
                }
                if bytes.start != part.at {
                    if self.give_back_later_part() {
                        return Ok(AttemptEnd::Done);
                    }
                    self.restart(IGNORES_RANGES)?;
                }
                self.reading.begin(bytes);
                self.take(total)
            }
            BlobAnswer::WrongRange(why) => {
                if self.give_back_later_part() {
                    return Ok(AttemptEnd::Done);
                }
                self.restart(&why)?;
                Ok(AttemptEnd::Incomplete)
            }
            BlobAnswer::Unsatisfiable { total }
                if total == Some(part.at) && self.blob.stated.is_none_or(|s| s == part.at) =>
            {
                self.blob.learn_size(part.at)?;
                Ok(AttemptEnd::Done)
            }
            BlobAnswer::Unsatisfiable { .. } => {
                self.restart("416: the registry has no bytes after the end of the partial file")?;
                self.blob.empty_part(self.start)?;
                show_offset(self.blob, self.run);
                self.reading.go_back(self.start);
                Ok(AttemptEnd::Incomplete)
            }
        }
    }

    /// Called when the server does not support ranges. Only the first part can be downloaded then.
    /// Gives a later part up, and returns whether this part was a later part.
    fn give_back_later_part(&self) -> bool {
        self.blob.lock().ignores_ranges = true;
        if self.start > 0 {
            give_back(self.blob, self.start, self.run);
        }
        self.start > 0
    }

    /// Counts a restart: bytes that the file already has are received again. Restarts are limited.
    fn restart(&mut self, why: &str) -> Result<()> {
        self.blob.lock().single_response = false;
        self.reading.restart(why)
    }

    /// Compares the size that the source states with the known size.
    fn check_total(&self, total: u64) -> Result<()> {
        let known = self.blob.lock().size;
        match known {
            Some(size) if total > size => Err(Error::content(format_args!(
                "{}: size differs: got {total}, want {size}",
                self.blob.digest
            ))),
            Some(_) => Ok(()),
            None => {
                self.run.progress.learn(&self.blob.digest, total);
                self.blob.learn_size(total)
            }
        }
    }

    /// Writes the bytes of a response into the file.
    fn take(&mut self, total: Option<u64>) -> std::result::Result<AttemptEnd, Failure> {
        while let Some(n) = self.reading.read(&mut self.buffer)? {
            if !self.keep(n)? {
                return Ok(AttemptEnd::Done);
            }
        }
        self.ended(total)
    }

    /// Writes `n` bytes from the buffer to the end of the file. Returns whether more bytes are
    /// needed.
    fn keep(&mut self, n: usize) -> Result<bool> {
        let Some(part) = self.part_range() else { return Ok(false) };
        let bytes = &self.buffer[..n];
        let room = part.end - part.at;
        if bytes.len() as u64 > room {
            let is_end = self.blob.lock().size == Some(part.end);
            if is_end {
                let digest = &self.blob.digest;
                let size = part.end;
                return Err(Error::content(format_args!(
                    "{digest}: size differs: got more than {size} bytes, want {size}"
                )));
            }
        }
        let bytes = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        self.blob.check_unstated_size(part.at + bytes.len() as u64)?;
        part.file
            .write_all_at(bytes, part.at - self.start)
            .map_err(|e| self.blob.write_error(&e))?;
        let mut state = self.blob.lock();
        let Some(now) = state.part(self.start) else { return Ok(false) };
        // Another connection may have split the part during the write. Bytes after its new end
        // belong to the next part.
        now.at = (part.at + bytes.len() as u64).min(now.end);
        let more = now.at < now.end;
        let added = now.at - part.at;
        let is_first = !std::mem::replace(&mut state.arriving, true);
        drop(state);
        // The bytes of later parts are hashed when they are appended to the first file.
        if self.start == 0 {
            self.blob.hash_received(part.at, &self.buffer[..added as usize])?;
        }
        if !more || is_first {
            self.blob.notify();
        }
        self.run.received(&self.blob.digest, added);
        Ok(more)
    }

    /// Decides whether the end of a response is the end of the part.
    fn ended(&mut self, total: Option<u64>) -> std::result::Result<AttemptEnd, Failure> {
        let Some(part) = self.part_range().filter(|part| part.at < part.end) else {
            return Ok(AttemptEnd::Done);
        };
        let Some(size) = self.blob.lock().size else {
            // Neither the descriptor nor the response stated a size. The digest shows whether the
            // blob is complete.
            self.blob.learn_size(part.at)?;
            return Ok(AttemptEnd::Done);
        };
        self.blob.lock().single_response = false;
        if total.is_some_and(|total| total < size) {
            self.short += 1;
            if self.short >= MAX_SHORT {
                let digest = &self.blob.digest;
                let got = part.at;
                let what = format_args!("{digest}: size differs: got {got}, want {size}");
                return Err(Error::content(what).into());
            }
        }
        // A response with a shorter range than requested is valid. The rest is requested next.
        Ok(AttemptEnd::Incomplete)
    }
}
