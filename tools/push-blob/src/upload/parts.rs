// SPDX-License-Identifier: Apache-2.0
//! Reading a stream in parts, on a thread of its own. While one part is sent, the next one is read
//! and hashed, so that the program that writes the stream does not have to wait for the registry.
//!
//! Memory: two parts. A part is read straight into the buffer from which it is sent.

use std::io::{ErrorKind, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use common::digest::{Algorithm, Digest, Hasher};
use common::error::{Error, Result};
use common::progress::Progress;
use common::verify::BUFFER;

/// A part of a stream.
pub(super) enum Part {
    /// A part of the full size. More bytes follow it.
    Full(Vec<u8>),
    /// The bytes at the end of the stream, and the digest of the complete stream.
    Last(Vec<u8>, Digest),
}

/// The parts of a stream, in order.
pub(crate) struct Parts {
    read: Receiver<Result<Part>>,
    /// The buffers to read into.
    free: Sender<Vec<u8>>,
}

impl Parts {
    /// Starts to read `input` in parts of `size` bytes, and reports progress. Messages call the
    /// input `name`.
    ///
    /// The thread ends with the input. If the parts are dropped before that, the thread ends when
    /// its read returns. Nothing waits for it: a pipe may stay open without bytes for a long time.
    ///
    /// # Errors
    /// Local if the thread cannot be started.
    pub(crate) fn read(
        input: impl Read + Send + 'static,
        size: usize,
        name: &str,
        progress: &Progress,
    ) -> Result<Parts> {
        let (free, buffers) = channel();
        // The thread allocates the first buffer, and this is the second one.
        let _ = free.send(vec![0; size]);
        // The buffers limit the number of parts.
        let (parts, read) = sync_channel(1);
        let reader = Reader {
            input,
            size,
            name: name.to_owned(),
            progress: progress.clone(),
            hasher: Algorithm::Sha256.hasher(),
        };
        let thread = thread::Builder::new().name("read".to_owned());
        let started = thread.spawn(move || reader.run(&buffers, &parts));
        started.map_err(|cause| Error::local("start a thread", &cause))?;
        Ok(Parts { read, free })
    }

    /// Waits for the next part.
    ///
    /// # Errors
    /// Local if the input cannot be read.
    pub(super) fn next(&mut self) -> Result<Part> {
        let ended = || Error::new(common::error::Status::Local, "the reading thread ended");
        self.read.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Takes back the buffer of a full part, whose bytes are not needed any more.
    pub(super) fn reuse(&mut self, buffer: Vec<u8>) {
        // The thread has ended if the input could not be read. The next call reports it.
        let _ = self.free.send(buffer);
    }
}

/// The reading thread.
struct Reader<In> {
    input: In,
    /// The size of a part in bytes.
    size: usize,
    name: String,
    progress: Progress,
    hasher: Hasher,
}

impl<In: Read> Reader<In> {
    /// Reads all parts. Ends early if they are not wanted any more.
    fn run(mut self, buffers: &Receiver<Vec<u8>>, parts: &SyncSender<Result<Part>>) {
        let mut part = vec![0; self.size];
        let mut length = 0;
        let last = loop {
            // A full part is not read into: 0 bytes would look like the end of the input.
            if length < self.size {
                match self.read(&mut part[length..]) {
                    Ok(0) => break Ok(part),
                    Ok(n) => length += n,
                    Err(error) => break Err(error),
                }
                continue;
            }
            let Ok(mut next) = buffers.recv() else { return };
            // Whether the part is the last one is known when the next byte arrives.
            match self.read(&mut next) {
                Ok(0) => break Ok(part),
                Ok(n) => length = n,
                Err(error) => break Err(error),
            }
            if parts.send(Ok(Part::Full(part))).is_err() {
                return;
            }
            part = next;
        };
        let last = last.map(|mut part| {
            part.truncate(length);
            Part::Last(part, self.hasher.finish())
        });
        // An error means that the parts are not wanted any more.
        let _ = parts.send(last);
    }

    /// Reads and hashes bytes: at most a copy buffer, which the hash then finds in the cache.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let most = buffer.len().min(BUFFER);
        loop {
            match self.input.read(&mut buffer[..most]) {
                Ok(n) => {
                    self.hasher.update(&buffer[..n]);
                    self.progress.add(None, n as u64);
                    return Ok(n);
                }
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(Error::local(format_args!("read {}", self.name), &cause)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(bytes: &[u8], size: usize) -> (Vec<Vec<u8>>, Digest) {
        let input = std::io::Cursor::new(bytes.to_vec());
        let mut parts = Parts::read(input, size, "input", &Progress::silent()).unwrap();
        let mut found = Vec::new();
        loop {
            match parts.next().unwrap() {
                Part::Full(part) => {
                    found.push(part.clone());
                    parts.reuse(part);
                }
                Part::Last(part, digest) => {
                    found.push(part);
                    return (found, digest);
                }
            }
        }
    }

    #[test]
    fn the_last_part_is_full_if_no_more_bytes_follow() {
        let bytes = b"0123456789abcdef";
        for (length, want) in [
            (0, &[0][..]),
            (1, &[1]),
            (4, &[4]),
            (5, &[4, 1]),
            (8, &[4, 4]),
            (9, &[4, 4, 1]),
            (16, &[4, 4, 4, 4]),
        ] {
            let (found, digest) = parts(&bytes[..length], 4);
            assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), want);
            assert_eq!(found.concat(), &bytes[..length]);
            assert_eq!(digest, Algorithm::Sha256.digest(&bytes[..length]));
        }
    }

    #[test]
    fn an_error_of_the_input_is_returned() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(ErrorKind::InvalidData.into())
            }
        }
        for size in [4, 10] {
            let input = (&b"01234567"[..]).chain(Broken);
            let mut parts = Parts::read(input, size, "the input", &Progress::silent()).unwrap();
            let error = loop {
                match parts.next() {
                    Ok(Part::Full(part)) => parts.reuse(part),
                    Ok(Part::Last(..)) => panic!("the input has no end"),
                    Err(error) => break error,
                }
            };
            assert!(error.to_string().starts_with("read the input: "), "{error}");
        }
    }
}
