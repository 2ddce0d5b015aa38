// SPDX-License-Identifier: Apache-2.0
//! Reads, decompresses and hashes layers, on two threads in addition to the main thread.
//!
//! The reading thread reads and decompresses. The hashing thread hashes the stored bytes and the
//! archive. The main thread, the caller, uses the archive. The threads share the bytes in
//! [`buffer`]s without copying them. The reading thread reads ahead, also into the next layer,
//! until all buffers are in use.
//!
//! The caller receives bytes before they are verified. After the last byte of a layer was hashed,
//! the caller gets its [`Verdict`], and must compare it with the expected digests.
//!
//! Not here: the archive format, and the compressions (`compress::decode`).

mod buffer;
mod event;
mod hash;
mod layer;
mod read;

use std::io::{BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use common::error::{Error, Result, Status};

use buffer::Buffer;
use event::Event;
pub(crate) use hash::Verdict;
pub(crate) use layer::{Layer, LayerInput, LayerSource, SourceItem, Step};
pub(crate) use read::Limits;

/// The caller's end of the stream: returns steps, and the archive of the current layer as a
/// [`BufRead`].
pub(crate) struct Stream {
    events: Receiver<Event>,
    verdicts: Receiver<Verdict>,
    back: Sender<Arc<Buffer>>,
    abandoned: Arc<AtomicBool>,
    current: Option<Arc<Buffer>>,
    position: usize,
    ended: bool,
    failed: Option<(Error, bool)>,
}

impl Stream {
    /// Starts the threads. They end when the source ends or the stream is dropped. Dropping does
    /// not wait for them, because the source may be waiting for input.
    pub(crate) fn start(
        source: impl FnOnce() -> Result<LayerSource> + Send + 'static,
        limits: Limits,
    ) -> Result<Stream> {
        let (pool, back) = buffer::Pool::new();
        let (to_caller, events) = channel();
        let (to_hasher, hashing) = channel();
        let (to_verdicts, verdicts) = channel();
        let abandoned = Arc::new(AtomicBool::new(false));
        let reader = read::Reading::new(pool, to_caller, to_hasher, abandoned.clone(), limits);
        let returning = back.clone();
        spawn("hash", move || hash::run(&hashing, &returning, &to_verdicts))?;
        spawn("read", move || reader.run(source))?;
        Ok(Stream {
            events,
            verdicts,
            back,
            abandoned,
            current: None,
            position: 0,
            ended: true,
            failed: None,
        })
    }

    /// The next item of the source; `None` at its end.
    pub(crate) fn step(&mut self) -> Result<Option<Step>> {
        loop {
            match self.events.recv() {
                Err(_) => return Ok(None),
                Ok(Event::Step(step)) => {
                    self.ended = false;
                    return Ok(Some(step));
                }
                Ok(Event::Failed { error, .. }) => return Err(error),
                Ok(Event::Data(buffer)) => self.give_back(buffer),
                Ok(Event::End) => {}
            }
        }
    }

    /// The verdict on a layer that was read to its end.
    pub(crate) fn verdict(&mut self) -> Result<Verdict> {
        self.verdicts.recv().map_err(|_| Error::new(Status::Local, "a thread ended early"))
    }

    /// The verdict on a layer that failed with `error` while it was read or applied. If its digest
    /// differs from the expected one, that is the cause of the failure. `None` if the error is not
    /// Malformed, or if the layer could not be hashed to its end.
    pub(crate) fn verdict_after(&mut self, error: &Error) -> Option<Verdict> {
        if error.status() != Status::Malformed {
            return None;
        }
        self.abandoned.store(true, Ordering::Relaxed);
        self.release();
        while !self.ended {
            match self.events.recv().ok()? {
                Event::Data(buffer) => self.give_back(buffer),
                Event::End => self.ended = true,
                Event::Failed { error, hashed } => self.failed = Some((error, hashed)),
                Event::Step(_) => {}
            }
            if let Some((_, hashed)) = &self.failed {
                self.ended = true;
                if !hashed {
                    return None;
                }
            }
        }
        if self.failed.as_ref().is_some_and(|(_, hashed)| !hashed) {
            return None;
        }
        self.verdicts.recv().ok()
    }

    /// The error that prevented a verdict, if the rest of the layer's bytes did not arrive.
    pub(crate) fn no_verdict(&mut self) -> Option<Error> {
        let later = self.events.try_iter().filter_map(|event| match event {
            Event::Failed { error, hashed: false } => Some(error),
            _ => None,
        });
        let first = self.failed.take().filter(|(_, hashed)| !hashed).map(|(error, _)| error);
        first.into_iter().chain(later).find(|error| error.status() == Status::Unavailable)
    }

    fn give_back(&self, buffer: Arc<Buffer>) {
        // Sending fails if the reading thread has ended: then the buffer is not needed.
        let _ = self.back.send(buffer);
    }

    fn release(&mut self) {
        self.position = 0;
        if let Some(buffer) = self.current.take() {
            self.give_back(buffer);
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Stream {
    /// The buffered bytes of the current layer's archive; empty at its end. A failure of the
    /// reading thread is returned as an [`Error`] inside the I/O error.
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        while !self.ended
            && self.current.as_ref().is_none_or(|buffer| self.position == buffer.filled().len())
        {
            self.release();
            match self.events.recv() {
                Ok(Event::Data(buffer)) => self.current = Some(buffer),
                Ok(Event::End) => self.ended = true,
                Ok(Event::Failed { error, hashed }) => {
                    self.ended = true;
                    self.failed = Some((error.clone(), hashed));
                    return Err(std::io::Error::other(error));
                }
                Ok(Event::Step(_)) | Err(_) => {
                    return Err(std::io::Error::other(Error::new(
                        Status::Local,
                        "a thread ended early",
                    )));
                }
            }
        }
        Ok(self.current.as_ref().map_or(&[], |buffer| &buffer.filled()[self.position..]))
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map(drop).map_err(|cause| Error::local("start a thread", &cause))
}
