// SPDX-License-Identifier: Apache-2.0
//! This crate compresses an archive into a layer with several threads. It also computes both
//! digests: the diff ID of the input, and the digest of the output. [`decode`] does the opposite:
//! it decodes the bytes of a layer, without threads.
//!
//! The [`Compressor`] divides its input into blocks. One thread hashes the blocks for the diff ID,
//! worker threads compress them, and another thread hashes and writes the results in order. A fixed
//! number of blocks limits the memory. If the output is slow (an upload), the other threads
//! continue until all blocks are in use.
//!
//! The output bytes depend on the input, the format and the level only: not on the number of
//! threads or the sizes of the writes.
//!
//! Not here: the format of archives (crate `archive`), and storing or uploading the layer. Start
//! reading at [`Method`] and [`Compressor`].

mod block;
pub mod decode;
mod gzip;
mod zstd;

use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use common::digest::{Algorithm, Digest, Hasher};
use common::error::{Error, Result};
use common::mediatype::{self, Compression};

use block::{BLOCK, Block, Pool};

/// The maximum number of threads that compress at the same time.
pub const MAX_THREADS: usize = 64;

/// The number of blocks that may be in use in addition to two for each thread. With this number,
/// threads do not wait for each other on a busy machine.
const MORE_BLOCKS: usize = 32;

/// How to compress: the format, a valid level of the format, and the number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    format: Option<Compression>,
    level: u32,
    threads: usize,
}

impl Method {
    /// A compression method. Without a format the bytes are not compressed. Without a level the
    /// format's default applies (gzip 6, zstd 3). The number of threads is limited to the range
    /// from 1 to [`MAX_THREADS`].
    ///
    /// # Errors
    /// Usage if the format does not have this level, or if a level is given without a format.
    pub fn new(format: Option<Compression>, level: Option<u32>, threads: usize) -> Result<Method> {
        let (name, levels, default): (_, RangeInclusive<u32>, _) = match format {
            Some(Compression::Gzip) => ("gzip", 1..=9, 6),
            Some(Compression::Zstd) => ("zstd", 1..=19, zstd::DEFAULT_LEVEL),
            None if level.is_some() => {
                return Err(Error::usage("a level needs a compression format"));
            }
            None => ("none", 0..=0, 0),
        };
        let level = level.unwrap_or(default);
        if !levels.contains(&level) {
            let least = levels.start();
            let most = levels.end();
            return Err(Error::usage(format_args!(
                "level {level}: {name} has levels {least} to {most}"
            )));
        }
        Ok(Method { format, level, threads: threads.clamp(1, MAX_THREADS) })
    }

    /// The media type of the layer: Docker's if `docker` is true, else OCI's.
    ///
    /// # Errors
    /// Usage for zstd with Docker's media types, which have no zstd layer.
    pub fn media_type(&self, docker: bool) -> Result<&'static str> {
        match (self.format, docker) {
            (None, false) => Ok(mediatype::OCI_LAYER),
            (Some(Compression::Gzip), false) => Ok(mediatype::OCI_LAYER_GZIP),
            (Some(Compression::Zstd), false) => Ok(mediatype::OCI_LAYER_ZSTD),
            (None, true) => Ok(mediatype::DOCKER_LAYER),
            (Some(Compression::Gzip), true) => Ok(mediatype::DOCKER_LAYER_GZIP),
            (Some(Compression::Zstd), true) => {
                Err(Error::usage("Docker has no media type for zstd layers"))
            }
        }
    }
}

/// The result of a finished [`Compressor`].
#[derive(Debug)]
pub struct Finished<W> {
    /// The output, with every byte written to it. It is not flushed or closed.
    pub output: W,
    /// The digest of the input.
    pub diff_id: Digest,
    /// The digest of the output.
    pub digest: Digest,
    /// The number of bytes of the output.
    pub size: u64,
}

/// A writer that compresses. If it is dropped before [`finish`](Compressor::finish), the output is
/// truncated, which a gzip or zstd reader detects.
pub struct Compressor<W> {
    pool: Pool,
    /// The block that is being filled, and the number of bytes in it.
    filling: Vec<u8>,
    filled: usize,
    /// The previous block, for gzip's dictionary.
    before: Option<Arc<Block>>,
    /// `None` after the end or a failure.
    channels: Option<Channels>,
    hashing: Option<JoinHandle<Digest>>,
    writing: Option<JoinHandle<io::Result<Written<W>>>>,
    workers: Vec<JoinHandle<()>>,
}

/// The channels to the threads.
struct Channels {
    hash: Sender<Arc<Block>>,
    results: SyncSender<Step>,
    /// The jobs for gzip's workers, and the buffers of their results, returned for reuse.
    jobs: Option<(Sender<gzip::Job>, Receiver<Vec<u8>>)>,
}

/// One step of the writing thread. Steps are sent in the order of the output.
enum Step {
    /// Write a block, or compress and write it with zstd.
    Block(Arc<Block>),
    /// Wait for a deflated block and write it; the number is its size before compression.
    Deflated(Receiver<io::Result<gzip::Deflated>>, usize),
    /// Finish the output.
    End,
}

impl<W: Write + Send + 'static> Compressor<W> {
    /// Starts the threads, one of which writes to `output`.
    ///
    /// # Errors
    /// If a thread cannot be started, or libzstd cannot allocate memory.
    pub fn new(output: W, method: Method) -> io::Result<Compressor<W>> {
        let in_flight = 2 * method.threads + MORE_BLOCKS;
        let (hash, to_hash) = channel();
        let (results, steps) = sync_channel(in_flight);
        let (back, buffers) = channel();
        let hashing = spawn("diff-id", move || digest_of(&to_hash))?;
        let coder = match method.format {
            None => Coder::None,
            Some(Compression::Gzip) => Coder::Gzip(gzip::Joiner::new(back)),
            Some(Compression::Zstd) => Coder::Zstd(zstd::Frame::new(method.level, method.threads)?),
        };
        let writing = spawn("output", move || write(coder, &steps, output))?;
        let mut workers = Vec::new();
        let mut jobs = None;
        if method.format == Some(Compression::Gzip) {
            let (send, receive) = channel();
            let receive = Arc::new(Mutex::new(receive));
            for _ in 0..method.threads {
                let receive = Arc::clone(&receive);
                workers.push(spawn("deflate", move || gzip::work(&receive, method.level))?);
            }
            jobs = Some((send, buffers));
        }
        let mut pool = Pool::new(in_flight + 2);
        Ok(Compressor {
            filling: pool.take(),
            filled: 0,
            pool,
            before: None,
            channels: Some(Channels { hash, results, jobs }),
            hashing: Some(hashing),
            writing: Some(writing),
            workers,
        })
    }

    /// The free part of the current block, never empty. The caller writes into it, then calls
    /// [`advance`](Compressor::advance). Waits while all blocks are in use.
    ///
    /// # Errors
    /// An error of the output or of compression.
    pub fn spare(&mut self) -> io::Result<&mut [u8]> {
        // The full block is sent only now, because only now it is known that another block follows.
        if self.filled == BLOCK {
            self.send(false)?;
            self.filling = self.pool.take();
        }
        Ok(&mut self.filling[self.filled..])
    }

    /// Marks the first `count` bytes of [`spare`](Compressor::spare) as filled.
    pub fn advance(&mut self, count: usize) {
        self.filled = BLOCK.min(self.filled + count);
    }

    /// Writes `count` zero bytes.
    ///
    /// # Errors
    /// As [`spare`](Compressor::spare).
    pub fn zeros(&mut self, mut count: usize) -> io::Result<()> {
        while count > 0 {
            let spare = self.spare()?;
            let part = count.min(spare.len());
            spare[..part].fill(0);
            self.advance(part);
            count -= part;
        }
        Ok(())
    }

    /// Ends the input and waits until the complete output is written.
    ///
    /// # Errors
    /// As [`spare`](Compressor::spare).
    pub fn finish(mut self) -> io::Result<Finished<W>> {
        self.send(true)?;
        if let Some(channels) = self.channels.take()
            && channels.results.send(Step::End).is_err()
        {
            return Err(self.failure());
        }
        let written = join(self.writing.take())??;
        let diff_id = join(self.hashing.take())?;
        let digest = written.digest.unwrap_or_else(|| diff_id.clone());
        Ok(Finished { output: written.output, diff_id, digest, size: written.size })
    }

    /// Whether the output has failed. Nothing more is written then.
    pub fn has_failed(&self) -> bool {
        self.channels.is_none()
    }

    /// Sends the current block to the threads.
    fn send(&mut self, last: bool) -> io::Result<()> {
        let Some(channels) = &self.channels else { return Err(stopped()) };
        let filled = std::mem::take(&mut self.filled);
        let block = self.pool.seal(std::mem::take(&mut self.filling), filled);
        // Sending fails only if the hashing thread panicked. `finish` reports that.
        let _ = channels.hash.send(Arc::clone(&block));
        let sent = match &channels.jobs {
            None => channels.results.send(Step::Block(block)).is_ok(),
            Some((jobs, buffers)) => {
                let (done, result) = sync_channel(1);
                let before = self.before.replace(Arc::clone(&block));
                // The buffer is allocated in this thread. If workers allocated the buffers, the
                // allocator would keep memory for each worker.
                let buffer = buffers.try_recv().unwrap_or_else(|_| Vec::with_capacity(gzip::ROOM));
                // The step is sent first: its channel is bounded, so this call waits while too many
                // blocks are in flight.
                channels.results.send(Step::Deflated(result, filled)).is_ok()
                    && jobs.send(gzip::Job { block, before, last, done, buffer }).is_ok()
            }
        };
        if sent { Ok(()) } else { Err(self.failure()) }
    }

    /// The error that ended the writing thread.
    fn failure(&mut self) -> io::Error {
        self.channels = None;
        match join(self.writing.take()) {
            Ok(Err(cause)) | Err(cause) => cause,
            Ok(Ok(_)) => stopped(),
        }
    }
}

impl<W: Write + Send + 'static> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let spare = self.spare()?;
        let count = bytes.len().min(spare.len());
        spare[..count].copy_from_slice(&bytes[..count]);
        self.advance(count);
        Ok(count)
    }

    /// Does nothing: a flush would change the output bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W> Drop for Compressor<W> {
    /// Waits until the threads have ended, so that the output is also dropped when this returns.
    fn drop(&mut self) {
        self.channels = None;
        self.before = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        let _ = self.writing.take().map(JoinHandle::join);
        let _ = self.hashing.take().map(JoinHandle::join);
    }
}

/// The result of the writing thread. The digest is `None` without compression: it then equals the
/// diff ID.
struct Written<W> {
    output: W,
    digest: Option<Digest>,
    size: u64,
}

/// The state of the format in the writing thread.
enum Coder {
    None,
    Gzip(gzip::Joiner),
    Zstd(zstd::Frame),
}

/// The function of the writing thread.
fn write<W: Write>(coder: Coder, steps: &Receiver<Step>, output: W) -> io::Result<Written<W>> {
    let hasher = match coder {
        Coder::None => None,
        _ => Some(Algorithm::Sha256.hasher()),
    };
    let mut sink = Sink { output, hasher, size: 0 };
    let mut coder = coder;
    loop {
        // Receiving fails if the compressor was dropped before `finish`: the output stays
        // truncated.
        let step = steps.recv().map_err(|_| stopped())?;
        match (step, &mut coder) {
            (Step::Block(block), Coder::Zstd(frame)) => {
                frame.write(&block, |bytes| sink.put(bytes))?;
            }
            (Step::Block(block), _) => sink.put(&block)?,
            (Step::Deflated(result, size), Coder::Gzip(joiner)) => {
                let deflated = result.recv().map_err(|_| stopped())??;
                // The header is written with the first block, so that nothing is written if the
                // input fails before that.
                if sink.size == 0 {
                    sink.put(&gzip::HEADER)?;
                }
                sink.put(&deflated.bytes)?;
                joiner.join(deflated, size);
            }
            (Step::Deflated(..), _) => return Err(stopped()),
            (Step::End, _) => break,
        }
    }
    match coder {
        Coder::None => {}
        Coder::Gzip(joiner) => sink.put(&joiner.trailer())?,
        Coder::Zstd(frame) => frame.finish(|bytes| sink.put(bytes))?,
    }
    let Sink { output, hasher, size } = sink;
    Ok(Written { output, digest: hasher.map(Hasher::finish), size })
}

/// The output, with its digest and size so far.
struct Sink<W> {
    output: W,
    hasher: Option<Hasher>,
    size: u64,
}

impl<W: Write> Sink<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.size += bytes.len() as u64;
        self.output.write_all(bytes)
    }
}

/// The function of the hashing thread: the digest of all blocks.
fn digest_of(blocks: &Receiver<Arc<Block>>) -> Digest {
    let mut hasher = Algorithm::Sha256.hasher();
    for block in blocks {
        hasher.update(&block);
    }
    hasher.finish()
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

fn join<T>(thread: Option<JoinHandle<T>>) -> io::Result<T> {
    thread.and_then(|thread| thread.join().ok()).ok_or_else(stopped)
}

fn stopped() -> io::Error {
    io::Error::other("the compressor has stopped")
}

#[cfg(test)]
mod tests;
