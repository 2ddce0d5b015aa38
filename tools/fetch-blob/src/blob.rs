// SPDX-License-Identifier: Apache-2.0
//! One blob on its way into a file: its parts, which of them are being downloaded, and what is
//! known of its size.
//!
//! The parts partition the blob. A connection takes a part and downloads it from where its file
//! ends; an idle connection may split the rest of a part in two. A thread of its own hashes the
//! parts in order and moves later parts behind the first. So the hash never runs ahead of the file,
//! the first file is always a prefix of the blob, and a resumed file is hashed in the same way as a
//! new one.
//!
//! Here are the shared state and its rules. [`download`](crate::download) talks to the store,
//! [`hashing`](crate::hashing) hashes.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use common::digest::Digest;
use common::error::{Error, Result};

use crate::handoff::Handoff;
use crate::part::{Part, SPLIT_ALIGN};
use crate::partial_files::PartialFiles;

/// The largest blob of unsaid size, unless an option says otherwise.
pub(crate) const MAX_UNSAID_SIZE: u64 = 64 << 30;

/// What connections and the hashing thread share.
pub(crate) struct State {
    pub(crate) parts: Vec<Part>,
    /// The whole size: stated, or learned from the source.
    pub(crate) size: Option<u64>,
    /// Why it cannot be had.
    failed: Option<Error>,
    /// Whether the bytes are one straight answer: then wrong ones are not worth asking for again.
    pub(crate) straight: bool,
    /// The source cannot be trusted with ranges: it is asked for the whole, and what is there is
    /// passed over.
    pub(crate) rangeless: bool,
    /// A connection more did not get through: those that do are left alone.
    crowded: bool,
    /// Up to which offset there must be bytes before the hashing thread is worth waking; 0 while it
    /// is awake.
    pub(crate) awaited: u64,
    /// Bytes that the hashing thread gets without reading them back.
    pub(crate) handoff: Handoff,
}

/// A blob that is being fetched into a file.
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) urls: Vec<String>,
    /// The size that its descriptor states.
    pub(crate) stated: Option<u64>,
    /// The largest size that is allowed.
    pub(crate) max_size: Option<u64>,
    pub(crate) files: PartialFiles,
    state: Mutex<State>,
    changed: Condvar,
}

impl Blob {
    /// Takes up what an earlier run left at the place, or begins.
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
            failed: None,
            straight: true,
            rangeless: false,
            crowded: false,
            awaited: 0,
            handoff: Handoff::default(),
        };
        let blob = Blob {
            digest: digest.clone(),
            urls,
            stated,
            max_size,
            files,
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        blob.take_up(Arc::new(first))?;
        Ok(blob)
    }

    /// Makes parts of the files that are there. What cannot be part of the blob is removed.
    fn take_up(&self, first: Arc<File>) -> Result<()> {
        let length = |file: &File| file.metadata().map(|m| m.len()).map_err(|e| self.trouble(&e));
        let mut state = self.lock();
        let size = state.size.unwrap_or(u64::MAX);
        let mut there = length(&first)?;
        if there > size {
            first.set_len(0).map_err(|e| self.trouble(&e))?;
            there = 0;
        }
        state.straight = there == 0;
        let mut parts = vec![Part::new(0, size, there, first)];
        for offset in self.files.offsets()? {
            let (file, _) = self.files.open(offset)?;
            let end = offset.saturating_add(length(&file)?);
            let Some(before) = parts.last_mut() else { break };
            // Moved behind the first part already, or not from this blob.
            if end <= there || end <= offset || end > size || offset < before.start {
                drop(file);
                self.files.remove(offset);
                continue;
            }
            state.straight = false;
            before.end = offset.max(before.at.min(end));
            before.at = before.at.min(before.end);
            parts.push(Part::new(offset, size, end, Arc::new(file)));
        }
        state.parts = parts;
        Ok(())
    }

    /// Throws away all that is there and begins again with one part, once nobody fills any.
    pub(crate) fn begin_again(&self) -> Result<()> {
        let mut state = self.lock();
        while state.parts.iter().any(|part| part.busy) {
            state = self.wait(state);
        }
        let first = state.parts[0].file.clone();
        for part in state.parts.drain(..).skip(1) {
            self.files.remove(part.start);
        }
        first.set_len(0).map_err(|e| self.trouble(&e))?;
        state.size = self.stated;
        state.straight = true;
        state.failed = None;
        state.handoff.want(0);
        state.parts.push(Part::new(0, self.stated.unwrap_or(u64::MAX), 0, first));
        Ok(())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the state to change.
    pub(crate) fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Takes a part that nobody is filling and that has something left.
    pub(crate) fn take_part(&self) -> Option<u64> {
        let mut state = self.lock();
        if state.failed.is_some() {
            return None;
        }
        let part = state.parts.iter_mut().find(|part| !part.busy && part.at < part.end)?;
        part.begin();
        Some(part.start)
    }

    /// How much is left of the largest part that is being filled.
    pub(crate) fn largest_left(&self) -> u64 {
        let state = self.lock();
        state.parts.iter().filter(|part| part.busy).map(Part::left).max().unwrap_or(0)
    }

    /// Splits what is left of the largest part in two and takes the second half, if that is worth
    /// it.
    pub(crate) fn split(&self) -> Result<Option<u64>> {
        let mut state = self.lock();
        if state.failed.is_some() || state.rangeless || state.crowded || state.size.is_none() {
            return Ok(None);
        }
        let largest = state.parts.iter_mut().filter(|p| p.busy).max_by_key(|part| part.left());
        let Some(part) = largest.filter(|part| part.is_worth_splitting()) else { return Ok(None) };
        let middle = (part.at + part.left() / 2).next_multiple_of(SPLIT_ALIGN);
        let file = Arc::new(self.files.open(middle)?.0);
        file.set_len(0).map_err(|e| self.trouble(&e))?;
        let mut half = Part::new(middle, part.end, middle, file);
        half.begin();
        part.end = middle;
        let position = state.parts.partition_point(|part| part.start < middle);
        state.parts.insert(position, half);
        state.straight = false;
        Ok(Some(middle))
    }

    /// Gives a part up: what it should have held falls to the one before it.
    pub(crate) fn give_back(&self, start: u64) {
        let mut state = self.lock();
        let Some(i) = state.parts.iter().position(|part| part.start == start && start > 0) else {
            return;
        };
        let part = state.parts.remove(i);
        state.parts[i - 1].end = part.end;
        state.crowded = true;
        self.files.remove(start);
        self.notify();
    }

    /// A connection is done with a part.
    pub(crate) fn release(&self, start: u64) {
        let mut state = self.lock();
        if let Some(part) = state.parts.iter_mut().find(|part| part.start == start) {
            part.busy = false;
        }
        self.notify();
    }

    /// It cannot be had: everybody stops.
    pub(crate) fn fail(&self, error: Error) {
        self.lock().failed.get_or_insert(error);
        self.notify();
    }

    /// The size became known: by what a source says, or by the end of an answer.
    ///
    /// # Errors
    /// Malformed when it is larger than allowed.
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

    /// Refuses to go on with a blob whose size nobody said and which is larger than allowed by now.
    pub(crate) fn check_unsaid(&self, size: u64) -> Result<()> {
        match self.stated {
            None => check_size(Some(size), self.max_size.or(Some(MAX_UNSAID_SIZE)), &self.digest),
            Some(_) => Ok(()),
        }
    }

    pub(crate) fn trouble(&self, cause: &std::io::Error) -> Error {
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

    /// The part that has the byte at an offset by now.
    pub(crate) fn having(&self, offset: u64) -> Option<&Part> {
        self.parts.iter().find(|part| part.start <= offset && offset < part.at)
    }

    /// Whether every part is full.
    pub(crate) fn is_full(&self) -> bool {
        self.size.is_some() && self.parts.iter().all(|part| part.at >= part.end)
    }
}

/// Refuses a size above the limit.
pub(crate) fn check_size(size: Option<u64>, max: Option<u64>, digest: &Digest) -> Result<()> {
    match (size, max) {
        (Some(size), Some(max)) if size > max => Err(Error::malformed(format_args!(
            "{digest}: {size} bytes, more than --max-size {max}"
        ))),
        _ => Ok(()),
    }
}
