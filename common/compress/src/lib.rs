// SPDX-License-Identifier: Apache-2.0
//! From an archive to a layer's bytes: compressed by several threads, and hashed on both sides.
//!
//! The writer cuts what comes into blocks. One thread hashes them (the diff ID), workers compress
//! them, and one more hashes and writes the results in order. So a slow output (an upload) stops
//! nobody before the blocks run out, and a fixed number of them bounds the memory. The output is
//! the same for any number of threads and for any sizes of the writes.
//!
//! Not here: what an archive is, and where a layer goes.

mod block;
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

/// The most threads that compress.
pub const MAX_THREADS: usize = 64;

/// How many blocks may be under way beyond two for each thread: enough that no thread waits for
/// another's turn on a busy machine.
const MORE_BLOCKS: usize = 32;

/// How to compress: a format, a level it has, a number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    format: Option<Compression>,
    level: u32,
    threads: usize,
}

impl Method {
    /// A method; without a level, the format's default (gzip 6, zstd 3), and without a format the
    /// bytes pass as they are. From 1 to [`MAX_THREADS`] threads, as near as may be.
    ///
    /// # Errors
    /// Usage: a level that the format does not have.
    pub fn new(format: Option<Compression>, level: Option<u32>, threads: usize) -> Result<Method> {
        let (name, levels, default): (_, RangeInclusive<u32>, _) = match format {
            Some(Compression::Gzip) => ("gzip", 1..=9, 6),
            Some(Compression::Zstd) => ("zstd", 1..=19, zstd::DEFAULT_LEVEL),
            None if level.is_some() => {
                return Err(Error::usage("a level, and nothing is to be compressed"));
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

    /// The media type of what comes out, of the OCI specification's or of Docker's family.
    ///
    /// # Errors
    /// Usage: Docker has none for zstd.
    pub fn media_type(&self, docker: bool) -> Result<&'static str> {
        match (self.format, docker) {
            (None, false) => Ok(mediatype::OCI_LAYER),
            (Some(Compression::Gzip), false) => Ok(mediatype::OCI_LAYER_GZIP),
            (Some(Compression::Zstd), false) => Ok(mediatype::OCI_LAYER_ZSTD),
            (None, true) => Ok(mediatype::DOCKER_LAYER),
            (Some(Compression::Gzip), true) => Ok(mediatype::DOCKER_LAYER_GZIP),
            (Some(Compression::Zstd), true) => {
                Err(Error::usage("Docker's media types have no layer compressed by zstd"))
            }
        }
    }
}

/// What is known when all is written.
#[derive(Debug)]
pub struct Finished<W> {
    /// The output, with every byte written to it; not flushed or closed.
    pub output: W,
    /// The digest of what came in.
    pub diff_id: Digest,
    /// The digest of what went out.
    pub digest: Digest,
    /// The number of bytes that went out.
    pub size: u64,
}

/// A sink that compresses. What is dropped before [`finish`](Compressor::finish) is cut: no format
/// takes it for whole.
pub struct Compressor<W> {
    pool: Pool,
    /// The block that is being filled, and how far.
    filling: Vec<u8>,
    filled: usize,
    /// The block before it, for gzip's dictionary.
    before: Option<Arc<Block>>,
    /// Nothing any more when it is finished or has failed.
    channels: Option<Channels>,
    hashing: Option<JoinHandle<Digest>>,
    writing: Option<JoinHandle<io::Result<Written<W>>>>,
    workers: Vec<JoinHandle<()>>,
}

/// The ways to the threads.
struct Channels {
    hash: Sender<Arc<Block>>,
    results: SyncSender<Step>,
    /// To gzip's workers, and the buffers that come back from their results.
    jobs: Option<(Sender<gzip::Job>, Receiver<Vec<u8>>)>,
}

/// What the writing thread has to do next, in order.
enum Step {
    /// Take a block as it is.
    Block(Arc<Block>),
    /// Wait for a deflated block, which was so large before.
    Deflated(Receiver<io::Result<gzip::Deflated>>, usize),
    /// Finish.
    End,
}

impl<W: Write + Send + 'static> Compressor<W> {
    /// Starts the threads. The output is written by one of them.
    ///
    /// # Errors
    /// The system gives no thread, or libzstd no memory.
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

    /// Room for the next bytes, never empty: to be filled in place, and told by
    /// [`advance`](Compressor::advance). Waits while the output is behind.
    ///
    /// # Errors
    /// The output's.
    pub fn spare(&mut self) -> io::Result<&mut [u8]> {
        // Only now is it known that the full block is not the last.
        if self.filled == BLOCK {
            self.send(false)?;
            self.filling = self.pool.take();
        }
        Ok(&mut self.filling[self.filled..])
    }

    /// Takes the first `count` bytes of the room as filled.
    pub fn advance(&mut self, count: usize) {
        self.filled = BLOCK.min(self.filled + count);
    }

    /// Takes zeros.
    ///
    /// # Errors
    /// The output's.
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

    /// Ends the stream and waits until all of it is written.
    ///
    /// # Errors
    /// The output's.
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

    /// Sends the block at hand on its ways.
    fn send(&mut self, last: bool) -> io::Result<()> {
        let Some(channels) = &self.channels else { return Err(stopped()) };
        let filled = std::mem::take(&mut self.filled);
        let block = self.pool.seal(std::mem::take(&mut self.filling), filled);
        // It only ends early when it panicked, which finishing tells.
        let _ = channels.hash.send(Arc::clone(&block));
        let sent = match &channels.jobs {
            None => channels.results.send(Step::Block(block)).is_ok(),
            Some((jobs, buffers)) => {
                let (done, result) = sync_channel(1);
                let before = self.before.replace(Arc::clone(&block));
                // Made here: what workers make stays in memory of their own, many times over.
                let buffer = buffers.try_recv().unwrap_or_else(|_| Vec::with_capacity(gzip::ROOM));
                // First its place in the order: that is where too much waits.
                channels.results.send(Step::Deflated(result, filled)).is_ok()
                    && jobs.send(gzip::Job { block, before, last, done, buffer }).is_ok()
            }
        };
        if sent { Ok(()) } else { Err(self.failure()) }
    }

    /// Why the writing thread does not listen any more.
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

    /// Does nothing: a flush in between would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W> Drop for Compressor<W> {
    /// Ends the threads, so that the output is dropped too before this returns.
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

/// The output at its end; of bytes that passed as they are no digest, since the diff ID is theirs.
struct Written<W> {
    output: W,
    digest: Option<Digest>,
    size: u64,
}

/// What the writing thread does to what comes.
enum Coder {
    None,
    Gzip(gzip::Joiner),
    Zstd(zstd::Frame),
}

/// The writing thread.
fn write<W: Write>(coder: Coder, steps: &Receiver<Step>, output: W) -> io::Result<Written<W>> {
    let hasher = match coder {
        Coder::None => None,
        _ => Some(Algorithm::Sha256.hasher()),
    };
    let mut sink = Sink { output, hasher, size: 0 };
    let mut coder = coder;
    loop {
        // The writer went away without finishing: what is written stays cut.
        let step = steps.recv().map_err(|_| stopped())?;
        match (step, &mut coder) {
            (Step::Block(block), Coder::Zstd(frame)) => {
                frame.write(&block, |bytes| sink.put(bytes))?;
            }
            (Step::Block(block), _) => sink.put(&block)?,
            (Step::Deflated(result, size), Coder::Gzip(joiner)) => {
                let deflated = result.recv().map_err(|_| stopped())??;
                // Not sooner: what fails before its first block writes nothing.
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

/// The output, hashed and counted.
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

/// The hashing thread.
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
