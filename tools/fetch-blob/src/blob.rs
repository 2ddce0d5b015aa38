// SPDX-License-Identifier: Apache-2.0
//! One blob that is downloaded into a file: its parts, the connections that fill them, and its
//! size, if known.
//!
//! The parts cover the blob without gaps or overlaps. A connection takes a part, and downloads the
//! bytes that the part's file does not have yet. An idle connection can split the rest of a part in
//! two.
//!
//! The parts are hashed in order. The bytes of later parts are appended to the file of the first
//! part. This has three effects: the hash never covers bytes that are not in a file, the first file
//! always holds a prefix of the blob, and a resumed file is hashed in the same way as a new one.
//!
//! This module holds the shared state and its rules. [`download`](crate::download) requests the
//! bytes from the store, and [`hashing`](crate::hashing) hashes them.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use common::digest::Digest;
use common::error::{Error, Result};

use crate::hashing::Hashed;
use crate::part::{Part, SPLIT_ALIGN};
use crate::partial_files::PartialFiles;

/// The largest blob whose size is not stated, in bytes. `--max-size` replaces this limit.
pub(crate) const MAX_UNSTATED_SIZE: u64 = 64 << 30;

/// The state that the connections and the hashing thread share.
pub(crate) struct State {
    pub(crate) parts: Vec<Part>,
    /// The size of the complete blob: stated by the descriptor, or learned from the source.
    pub(crate) size: Option<u64>,
    /// Whether this run has received any bytes.
    pub(crate) arriving: bool,
    /// The error that made the blob fail.
    failed: Option<Error>,
    /// Whether all bytes came from one uninterrupted response. If such bytes are wrong, requesting
    /// them again does not help.
    pub(crate) single_response: bool,
    /// Whether the server ignores range requests. The complete blob is then requested, and the
    /// bytes that the file already has are skipped.
    pub(crate) ignores_ranges: bool,
    /// Whether an additional connection or its file failed. No part is then split again, so that
    /// the other connections are not disturbed.
    connection_failed: bool,
}

/// A blob that is being downloaded into a file.
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) urls: Vec<String>,
    /// The size in its descriptor.
    pub(crate) stated: Option<u64>,
    /// The value of `--max-size`.
    pub(crate) max_size: Option<u64>,
    pub(crate) files: PartialFiles,
    /// The hash of the blob's first bytes. It may be locked before `state`, never after it.
    pub(crate) hashed: Mutex<Hashed>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Blob {
    /// Continues with the partial files of an earlier run, or begins with empty ones.
    pub(crate) fn open(
        digest: &Digest,
        stated: Option<u64>,
        urls: Vec<String>,
        max_size: Option<u64>,
        files: PartialFiles,
        first: File,
    ) -> Result<Blob> {
        let state = State {
            parts: Vec::new(),
            size: stated,
            arriving: false,
            failed: None,
            single_response: true,
            ignores_ranges: false,
            connection_failed: false,
        };
        let blob = Blob {
            digest: digest.clone(),
            urls,
            stated,
            max_size,
            files,
            hashed: Mutex::new(Hashed::new(digest, stated)),
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        blob.resume(Arc::new(first))?;
        Ok(blob)
    }

    /// Makes parts from the partial files on disk. Removes files that cannot be part of this blob.
    fn resume(&self, first: Arc<File>) -> Result<()> {
        let length =
            |file: &File| file.metadata().map(|m| m.len()).map_err(|e| self.write_error(&e));
        let mut state = self.lock();
        let size = state.size.unwrap_or(u64::MAX);
        let mut there = length(&first)?;
        if there > size {
            first.set_len(0).map_err(|e| self.write_error(&e))?;
            there = 0;
        }
        state.single_response = there == 0;
        let mut parts = vec![Part::new(0, size, there, first)];
        for offset in self.files.offsets()? {
            // Bytes in a file that cannot be opened are downloaded again.
            let Ok(file) = self.files.open_part(offset) else { continue };
            let end = offset.saturating_add(length(&file)?);
            let Some(before) = parts.last_mut() else { break };
            // The bytes are already in the first file, or the file is not from this blob.
            if end <= there || end <= offset || end > size || offset < before.start {
                drop(file);
                self.files.remove(offset);
                continue;
            }
            state.single_response = false;
            before.end = offset.max(before.at.min(end));
            before.at = before.at.min(before.end);
            parts.push(Part::new(offset, size, end, Arc::new(file)));
        }
        state.parts = parts;
        Ok(())
    }

    /// Waits until no connection fills a part, then removes all bytes and begins again with one
    /// part.
    pub(crate) fn begin_again(&self) -> Result<()> {
        let mut state = self.lock();
        while state.parts.iter().any(|part| part.busy) {
            state = self.wait(state);
        }
        drop(state);
        *self.hashed() = Hashed::new(&self.digest, self.stated);
        let mut state = self.lock();
        let first = state.parts[0].file.clone();
        for part in state.parts.drain(..).skip(1) {
            self.files.remove(part.start);
        }
        first.set_len(0).map_err(|e| self.write_error(&e))?;
        state.size = self.stated;
        state.single_response = true;
        state.failed = None;
        state.parts.push(Part::new(0, self.stated.unwrap_or(u64::MAX), 0, first));
        Ok(())
    }

    /// Removes all bytes of a part. They are downloaded again, and hashed again: the new bytes may
    /// differ from the old ones.
    ///
    /// The hashed bytes of a later part are already in the first file, and stay there.
    pub(crate) fn empty_part(&self, start: u64) -> Result<()> {
        // This lock prevents the thread that reads back from reading a part of the removed bytes.
        let mut hashed = self.hashed();
        let mut state = self.lock();
        if let Some(part) = state.part(start) {
            part.file.set_len(0).map_err(|e| self.write_error(&e))?;
            part.at = part.start;
        }
        if start == 0 {
            *hashed = Hashed::new(&self.digest, self.stated);
        }
        Ok(())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the state changes.
    pub(crate) fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Takes an incomplete part that no connection is filling.
    pub(crate) fn take_part(&self) -> Option<u64> {
        let mut state = self.lock();
        if state.failed.is_some() {
            return None;
        }
        let part = state.parts.iter_mut().find(|part| !part.busy && part.at < part.end)?;
        part.begin();
        Some(part.start)
    }

    /// The number of missing bytes in the largest part that a connection is filling.
    pub(crate) fn largest_left(&self) -> u64 {
        let state = self.lock();
        state.parts.iter().filter(|part| part.busy).map(Part::left).max().unwrap_or(0)
    }

    /// Splits the rest of the largest part in two and takes the second half. `None` if splitting is
    /// not worthwhile.
    pub(crate) fn split(&self) -> Result<Option<u64>> {
        let mut state = self.lock();
        let parts = state.parts.iter().enumerate().filter(|(_, part)| part.busy);
        let Some((i, part)) =
            parts.max_by_key(|(_, part)| part.left()).filter(|(_, part)| part.is_worth_splitting())
        else {
            return Ok(None);
        };
        let middle = part.at + part.left() / 2;
        let Some(half) = self.cut(&mut state, i, middle)? else { return Ok(None) };
        half.begin();
        Ok(Some(half.start))
    }

    /// Cuts a part in two near the offset `middle`, and returns the second part. `None` if that is
    /// not possible.
    fn cut<'a>(&self, state: &'a mut State, i: usize, middle: u64) -> Result<Option<&'a mut Part>> {
        if state.failed.is_some()
            || state.ignores_ranges
            || state.connection_failed
            || state.size.is_none()
            || !self.files.has_parts()
        {
            return Ok(None);
        }
        let middle = middle.next_multiple_of(SPLIT_ALIGN);
        let Ok(file) = self.files.open_part(middle) else {
            // The connection that fills this part downloads the rest, too.
            state.connection_failed = true;
            return Ok(None);
        };
        let file = Arc::new(file);
        file.set_len(0).map_err(|e| self.write_error(&e))?;
        let part = &mut state.parts[i];
        let second = Part::new(middle, part.end, middle, file);
        part.end = middle;
        state.parts.insert(i + 1, second);
        state.single_response = false;
        Ok(state.parts.get_mut(i + 1))
    }

    /// The number of parts that connections are filling. 0 if the blob lacks at most `small` bytes.
    pub(crate) fn busy_parts(&self, small: u64) -> usize {
        let state = self.lock();
        if state.missing() <= small {
            return 0;
        }
        state.parts.iter().filter(|part| part.busy).count()
    }

    /// Takes the first incomplete part that no connection is filling, if the blob lacks at most
    /// `most` bytes. If the part lacks much more than `range` bytes, takes only the next `range`
    /// bytes.
    pub(crate) fn take_first(&self, most: u64, range: Option<u64>) -> Result<Option<u64>> {
        let mut state = self.lock();
        if state.failed.is_some() || state.missing() > most {
            return Ok(None);
        }
        let first = state.parts.iter().position(|part| !part.busy && part.at < part.end);
        let Some(i) = first else { return Ok(None) };
        self.limit(&mut state, i, range)?;
        state.parts[i].begin();
        Ok(Some(state.parts[i].start))
    }

    /// Takes the bytes after the next `range` bytes of the first part that a connection is filling.
    /// `None` if no such part lacks much more than `range` bytes.
    pub(crate) fn take_after_first(&self, range: u64) -> Result<Option<u64>> {
        let mut state = self.lock();
        let first = state.parts.iter().position(|part| part.busy && part.left() > 2 * range);
        let Some(i) = first else { return Ok(None) };
        if !self.limit(&mut state, i, Some(range))? {
            return Ok(None);
        }
        self.limit(&mut state, i + 1, Some(range))?;
        state.parts[i + 1].begin();
        Ok(Some(state.parts[i + 1].start))
    }

    /// Cuts a part that lacks much more than `range` bytes. Returns whether it was cut.
    fn limit(&self, state: &mut State, i: usize, range: Option<u64>) -> Result<bool> {
        let part = &state.parts[i];
        match range {
            Some(range) if part.left() > 2 * range => {
                let middle = part.at + range;
                Ok(self.cut(state, i, middle)?.is_some())
            }
            _ => Ok(false),
        }
    }

    /// Waits until the first bytes arrive in a file that other processes can find. Returns false if
    /// no bytes will arrive there.
    pub(crate) fn wait_for_bytes(&self) -> bool {
        let mut state = self.lock();
        while !state.arriving && state.failed.is_none() && !state.is_full() {
            state = self.wait(state);
        }
        state.arriving && self.files.has_parts()
    }

    /// Gives up a part, and adds its range to the part before it.
    pub(crate) fn give_back(&self, start: u64) {
        let mut state = self.lock();
        let Some(i) = state.parts.iter().position(|part| part.start == start && start > 0) else {
            return;
        };
        let part = state.parts.remove(i);
        state.parts[i - 1].end = part.end;
        state.connection_failed = true;
        self.files.remove(start);
        self.notify();
    }

    /// Marks a part as not being filled.
    pub(crate) fn release(&self, start: u64) {
        let mut state = self.lock();
        if let Some(part) = state.parts.iter_mut().find(|part| part.start == start) {
            part.busy = false;
        }
        self.notify();
    }

    /// Makes the blob fail. All its threads stop.
    pub(crate) fn fail(&self, error: Error) {
        self.lock().failed.get_or_insert(error);
        self.notify();
    }

    /// Sets the size, which a source stated or the end of a response showed.
    ///
    /// # Errors
    /// Malformed if the size is above `--max-size`.
    pub(crate) fn learn_size(&self, size: u64) -> Result<()> {
        check_size(Some(size), self.max_size, &self.digest)?;
        let mut state = self.lock();
        state.size = Some(size);
        if let Some(last) = state.parts.last_mut() {
            last.end = size.max(last.at);
        }
        self.notify();
        Ok(())
    }

    /// Checks the bytes received so far against the limit, if the descriptor does not state a size.
    pub(crate) fn check_unstated_size(&self, size: u64) -> Result<()> {
        match self.stated {
            None => check_size(Some(size), self.max_size.or(Some(MAX_UNSTATED_SIZE)), &self.digest),
            Some(_) => Ok(()),
        }
    }

    pub(crate) fn write_error(&self, cause: &std::io::Error) -> Error {
        Error::local(format_args!("write {}", self.files.path().display()), cause)
    }
}

impl State {
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failed.clone()
    }

    pub(crate) fn part(&mut self, start: u64) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.start == start)
    }

    /// The part whose file has the byte at `offset`.
    pub(crate) fn part_with(&self, offset: u64) -> Option<&Part> {
        self.parts.iter().find(|part| part.start <= offset && offset < part.at)
    }

    /// The number of bytes that have not been received.
    fn missing(&self) -> u64 {
        self.parts.iter().map(Part::left).fold(0, u64::saturating_add)
    }

    /// Whether every part is complete.
    pub(crate) fn is_full(&self) -> bool {
        self.size.is_some() && self.parts.iter().all(|part| part.at >= part.end)
    }
}

/// Checks a size against the limit.
pub(crate) fn check_size(size: Option<u64>, max: Option<u64>, digest: &Digest) -> Result<()> {
    if let (Some(size), Some(max)) = (size, max)
        && size > max
    {
        let what = format_args!("{digest}: {size} bytes, more than --max-size {max}");
        return Err(Error::malformed(what));
    }
    Ok(())
}
