// SPDX-License-Identifier: Apache-2.0
//! The reading thread of a lane: reads layers, decompresses them, and sends the buffers to the
//! caller and to the hashing thread.

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use common::digest::{Algorithm, Digest};
use common::error::Error;
use common::lines::{NO_INPUT, looks_like_descriptor};
use compress::decode::{Decoder, MAGIC, sniff};

use super::buffer::{Buffer, Pool, SIZE};
use super::event::Event;
use super::hash::Task;
use super::layer::{Layer, LayerInput};

/// The reason why the thread stops.
enum Stop {
    /// The other threads have ended.
    Gone,
    /// The layer failed. If `drain` is true, the rest of it may still be read to compute its
    /// digest.
    Failed { error: Error, drain: bool },
}

type Outcome<T> = Result<T, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed { error, drain: true }
    }
}

/// The reading thread's end of the channels.
pub(super) struct Reading {
    pool: Pool,
    to_caller: Sender<Event>,
    to_hasher: Sender<Task>,
    /// Set if the caller needs only the verdict on this layer, not its archive.
    abandoned: Arc<AtomicBool>,
}

/// A layer's stored bytes, counted.
struct Input<'a> {
    layer: &'a mut LayerInput,
    read: u64,
}

impl Reading {
    pub(super) fn new(
        pool: Pool,
        to_caller: Sender<Event>,
        to_hasher: Sender<Task>,
        abandoned: Arc<AtomicBool>,
    ) -> Reading {
        Reading { pool, to_caller, to_hasher, abandoned }
    }

    /// Reads layers until the source ends, a layer fails, or the other threads have ended.
    pub(super) fn run(mut self, layers: &Receiver<LayerInput>) {
        let outcome = layers.iter().try_for_each(|layer| self.layer(layer));
        if let Err(Stop::Failed { error, .. }) = outcome {
            let _ = self.to_caller.send(Event::Failed { error, hashed: false });
        }
    }

    fn send(&self, event: Event) -> Outcome<()> {
        self.to_caller.send(event).map_err(|_| Stop::Gone)
    }

    fn hash(&self, task: Task) -> Outcome<()> {
        self.to_hasher.send(task).map_err(|_| Stop::Gone)
    }

    fn buffer(&mut self) -> Outcome<Arc<Buffer>> {
        self.pool.take().ok_or(Stop::Gone)
    }

    /// Reads a layer. If its content is invalid, the rest of it is still hashed. If the digest is
    /// wrong too, the caller reports the digest instead of the content.
    fn layer(&mut self, mut layer: LayerInput) -> Outcome<()> {
        let mut input = Input { layer: &mut layer, read: 0 };
        match self.decode(&mut input) {
            Ok(()) => {
                self.hash(Task::End)?;
                self.send(Event::End)
            }
            Err(Stop::Failed { error, drain: true })
                if input.layer.digest.is_some() && input.read > 0 =>
            {
                self.send(Event::Failed { error, hashed: true })?;
                self.drain(&mut input)?;
                self.hash(Task::End)?;
                Err(Stop::Gone)
            }
            Err(stop) => Err(stop),
        }
    }

    fn drain(&mut self, input: &mut Input<'_>) -> Outcome<()> {
        while let Some(buffer) = self.stored(input)? {
            self.hash(Task::Stored(buffer))?;
        }
        Ok(())
    }

    fn decode(&mut self, input: &mut Input<'_>) -> Outcome<()> {
        // The caller adds the name of the layer to later errors, after it has received the layer's
        // step.
        let first = self.stored(input).map_err(|stop| match stop {
            Stop::Failed { error, drain } if input.layer.descriptor.is_some() => {
                let name = &input.layer.name;
                Stop::Failed { error: error.context(format_args!("layer {name}")), drain }
            }
            stop => stop,
        })?;
        let start = first.as_ref().map_or(&b""[..], |buffer| buffer.filled());
        let verifiable = input.layer.digest.is_some() || input.layer.diff_id.is_some();
        if start.is_empty() && !verifiable {
            return Err(fail(Error::malformed(NO_INPUT)));
        }
        let sniffed = sniff(&start[..start.len().min(MAGIC)]);
        let compression = *sniffed.as_ref().unwrap_or(&None);
        if compression.is_none() && input.layer.descriptor.is_none() && looks_like_descriptor(start)
        {
            let error = Error::usage(format_args!(
                "{}: got a descriptor line, want a layer",
                input.layer.name
            ));
            return Err(fail(error.hint("--from oci:DIR takes descriptor lines")));
        }
        self.hash(Task::Begin {
            stored: algorithm(input.layer.digest.as_ref()),
            archive: algorithm(input.layer.diff_id.as_ref()),
            compressed: compression.is_some(),
        })?;
        if let Some(first) = &first {
            self.hash(Task::Stored(first.clone()))?;
        }
        self.send(Event::Layer(Box::new(Layer {
            name: input.layer.name.clone(),
            digest: input.layer.digest.clone(),
            diff_id: input.layer.diff_id.clone(),
            descriptor: input.layer.descriptor.clone(),
            repair: input.layer.repair.clone(),
            arriving: input.layer.arriving.clone(),
            compression,
        })))?;
        match (sniffed?, first) {
            (_, None) => Ok(()),
            (None, Some(first)) => self.pass_on(input, first),
            (Some(compression), Some(first)) => {
                self.decompress(input, first, Decoder::new(compression)?)
            }
        }
    }

    /// Reads an uncompressed layer: the caller gets the stored bytes.
    fn pass_on(&mut self, input: &mut Input<'_>, first: Arc<Buffer>) -> Outcome<()> {
        self.send(Event::Data(first))?;
        while let Some(buffer) = self.stored(input)? {
            self.hash(Task::Stored(buffer.clone()))?;
            self.send(Event::Data(buffer))?;
        }
        Ok(())
    }

    fn decompress(
        &mut self,
        input: &mut Input<'_>,
        first: Arc<Buffer>,
        mut decoder: Decoder,
    ) -> Outcome<()> {
        let mut stored = first;
        let mut output = self.buffer()?;
        loop {
            let mut used = 0;
            loop {
                let Some(room) = Arc::get_mut(&mut output) else { return Err(Stop::Gone) };
                let (took, filled) =
                    decoder.decode(&stored.filled()[used..], &mut room.bytes[room.len..])?;
                used += took;
                room.len += filled;
                if room.len == SIZE {
                    let full = std::mem::replace(&mut output, self.buffer()?);
                    self.send_archive(full)?;
                } else if used == stored.filled().len() {
                    break;
                } else if took == 0 && filled == 0 {
                    return Err(fail(Error::malformed("decompression makes no progress")));
                }
            }
            self.pool.give(stored);
            if self.abandoned.load(Ordering::Relaxed) {
                return self.drain(input);
            }
            match self.stored(input)? {
                None => break,
                Some(next) => stored = next,
            }
            self.hash(Task::Stored(stored.clone()))?;
        }
        // The caller gets the complete data before the error: its messages then name the entry in
        // which the data ends.
        self.send_archive(output)?;
        Ok(decoder.finish()?)
    }

    fn send_archive(&mut self, buffer: Arc<Buffer>) -> Outcome<()> {
        if buffer.filled().is_empty() {
            self.pool.give(buffer);
            return Ok(());
        }
        self.hash(Task::Archive(buffer.clone()))?;
        self.send(Event::Data(buffer))
    }

    /// The next stored bytes: a full buffer, or less at the end of the layer. `None` after the end.
    /// Reads at most one byte more than the stated size, to detect a layer that is too long.
    fn stored(&mut self, input: &mut Input<'_>) -> Outcome<Option<Arc<Buffer>>> {
        let mut shared = self.buffer()?;
        let Some(buffer) = Arc::get_mut(&mut shared) else { return Err(Stop::Gone) };
        let left = input.layer.size.map_or(u64::MAX, |size| (size - input.read).saturating_add(1));
        let room = usize::try_from(left).unwrap_or(SIZE).min(SIZE);
        while buffer.len < room {
            match input.layer.input.read(&mut buffer.bytes[buffer.len..room]) {
                Ok(0) => break,
                Ok(count) => buffer.len += count,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(fail(read_error(&input.layer.name, &cause))),
            }
        }
        input.read += buffer.len as u64;
        match input.layer.size {
            Some(size) if input.read > size => Err(fail(Error::content(format_args!(
                "size differs: got more than {size} bytes, want {size}"
            )))),
            Some(size) if buffer.len < room && input.read < size => Err(fail(Error::content(
                format_args!("size differs: got {} bytes, want {size}", input.read),
            ))),
            _ if buffer.len == 0 => {
                self.pool.give(shared);
                Ok(None)
            }
            _ => Ok(Some(shared)),
        }
    }
}

/// The algorithm of an expected digest; the default algorithm if no digest is expected.
fn algorithm(digest: Option<&Digest>) -> Algorithm {
    digest.map_or_else(Algorithm::default, Digest::algorithm)
}

/// The error of a source that fails. The error of a blob that does not arrive is kept unchanged.
fn read_error(name: &str, cause: &std::io::Error) -> Error {
    match cause.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(error) => error.clone(),
        None => Error::local(format_args!("read {name}"), cause),
    }
}

/// A failure after which the rest of the layer is not hashed.
fn fail(error: Error) -> Stop {
    Stop::Failed { error, drain: false }
}
