// SPDX-License-Identifier: Apache-2.0
//! A lane reads, decompresses and hashes layers, on two threads, one layer after the other.
//!
//! The threads share the bytes in [`buffer`](super::buffer)s without copying them. The reading
//! thread reads ahead, also into the lane's next layer, until all buffers of the lane are in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use common::error::{Error, Result, Status};

use super::buffer::{Buffer, Pool};
use super::event::Event;
use super::hash::{self, Verdict};
use super::layer::{Layer, LayerInput};
use super::read::Reading;
use super::spawn;

/// The caller's end of a lane.
pub(super) struct Lane {
    events: Receiver<Event>,
    verdicts: Receiver<Verdict>,
    back: Sender<Arc<Buffer>>,
    abandoned: Arc<AtomicBool>,
    current: Option<Arc<Buffer>>,
    position: usize,
    ended: bool,
    failed: Option<(Error, bool)>,
}

impl Lane {
    /// Starts the threads of a lane. Sending a layer to it waits until the reading thread has read
    /// the lane's previous layer.
    pub(super) fn start() -> Result<(Lane, SyncSender<LayerInput>)> {
        let (pool, back) = Pool::new();
        let (to_reader, layers) = sync_channel(0);
        let (to_caller, events) = channel();
        let (to_hasher, hashing) = channel();
        let (to_verdicts, verdicts) = channel();
        let abandoned = Arc::new(AtomicBool::new(false));
        let reader = Reading::new(pool, to_caller, to_hasher, abandoned.clone());
        let returning = back.clone();
        spawn("hash", move || hash::run(&hashing, &returning, &to_verdicts))?;
        spawn("read", move || reader.run(&layers))?;
        let lane = Lane {
            events,
            verdicts,
            back,
            abandoned,
            current: None,
            position: 0,
            ended: true,
            failed: None,
        };
        Ok((lane, to_reader))
    }

    /// The lane's next layer. What is left of the previous one is skipped.
    pub(super) fn layer(&mut self) -> Result<Box<Layer>> {
        loop {
            match self.events.recv() {
                Ok(Event::Layer(layer)) => {
                    self.ended = false;
                    return Ok(layer);
                }
                Ok(Event::Failed { error, .. }) => return Err(error),
                Ok(Event::Data(buffer)) => self.give_back(buffer),
                Ok(Event::End) => {}
                Err(_) => return Err(thread_ended()),
            }
        }
    }

    /// Receives bytes of the layer's archive if all were used. Returns the number of new bytes.
    ///
    /// # Errors
    /// The failure of the reading thread.
    pub(super) fn receive(&mut self) -> Result<usize> {
        let mut received = 0;
        while !self.ended
            && self.current.as_ref().is_none_or(|buffer| self.position == buffer.filled().len())
        {
            self.release();
            match self.events.recv() {
                Ok(Event::Data(buffer)) => {
                    received += buffer.filled().len();
                    self.current = Some(buffer);
                }
                Ok(Event::End) => self.ended = true,
                Ok(Event::Failed { error, hashed }) => {
                    self.ended = true;
                    self.failed = Some((error.clone(), hashed));
                    return Err(error);
                }
                Ok(Event::Layer(_)) | Err(_) => return Err(thread_ended()),
            }
        }
        Ok(received)
    }

    /// The received bytes that were not used yet.
    pub(super) fn buffered(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], |buffer| &buffer.filled()[self.position..])
    }

    /// Marks bytes of [`buffered`](Lane::buffered) as used.
    pub(super) fn consume(&mut self, count: usize) {
        self.position += count;
    }

    /// The verdict on a layer that was read to its end.
    pub(super) fn verdict(&mut self) -> Result<Verdict> {
        self.verdicts.recv().map_err(|_| thread_ended())
    }

    /// The verdict on a layer whose archive was not read to its end: the rest of its bytes is only
    /// hashed. `None` if the layer could not be hashed to its end.
    pub(super) fn verdict_without_archive(&mut self) -> Option<Verdict> {
        self.abandoned.store(true, Ordering::Relaxed);
        self.release();
        while !self.ended {
            match self.events.recv().ok()? {
                Event::Data(buffer) => self.give_back(buffer),
                Event::End => self.ended = true,
                Event::Failed { error, hashed } => {
                    self.ended = true;
                    self.failed = Some((error, hashed));
                }
                Event::Layer(_) => {}
            }
        }
        if self.failed.as_ref().is_some_and(|(_, hashed)| !hashed) {
            return None;
        }
        self.verdicts.recv().ok()
    }

    /// The error that prevented a verdict, if the rest of the layer's bytes did not arrive.
    pub(super) fn no_verdict(&mut self) -> Option<Error> {
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

fn thread_ended() -> Error {
    Error::new(Status::Local, "a thread ended early")
}
