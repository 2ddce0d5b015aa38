// SPDX-License-Identifier: Apache-2.0
//! The archive of one layer: its stored bytes are read, hashed and decompressed, and the archive is
//! hashed.
//!
//! The reader of the archive gets bytes before they are verified. After the last byte,
//! [`Stream::verdict`] compares the digests. Memory: two buffers, and the decoder's state.
//!
//! Not here: the archive format.

use std::cell::Cell;
use std::io::{self, BufRead, ErrorKind, Read};

use archive::{Entry, Reader};
use common::digest::{Algorithm, Digest, Hasher};
use common::error::{Error, Result, Status};
use common::lines::{NO_INPUT, looks_like_descriptor};
use compress::decode::{Decoder, MAGIC, sniff, warn_of_label};

use crate::path;
use crate::source::{Layer, Place};

/// The size of the buffer for stored bytes. It is small, because a run that stops early has fetched
/// up to this many bytes more than it needs.
const STORED: usize = 64 << 10;

/// The size of the buffer for decompressed bytes.
const OUTPUT: usize = 256 << 10;

/// The limit on the uncompressed bytes of all layers of the run (`--max-size`).
pub(crate) struct Budget {
    limit: Option<u64>,
    used: Cell<u64>,
}

impl Budget {
    /// An unused budget.
    pub(crate) fn new(limit: Option<u64>) -> Budget {
        Budget { limit, used: Cell::new(0) }
    }

    /// The limit, if there is one.
    pub(crate) fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Resets the count, because the same layers are read a second time.
    pub(crate) fn reset(&self) {
        self.used.set(0);
    }

    fn count(&self, bytes: usize) -> Result<()> {
        self.used.set(self.used.get().saturating_add(bytes as u64));
        match self.limit {
            Some(limit) if self.used.get() > limit => {
                Err(Error::malformed(format_args!("more than {limit} bytes (--max-size)")))
            }
            _ => Ok(()),
        }
    }
}

/// The computed digests of a layer.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// The digest of the stored bytes.
    pub(crate) digest: Digest,
    /// The digest of the archive.
    pub(crate) diff_id: Digest,
}

/// A layer that is being read.
pub(crate) struct Stream<'a> {
    layer: Layer,
    input: Box<dyn Read + 'a>,
    /// The hint for wrong bytes, if there is one.
    repair: Option<String>,
    budget: &'a Budget,
    stored: Box<[u8]>,
    /// The number of stored bytes in the buffer, and of those that were decoded or passed on.
    filled: usize,
    used: usize,
    /// The number of stored bytes that were read.
    read: u64,
    /// `None` if the layer is not compressed: then the stored bytes are the archive.
    decoder: Option<Decoder>,
    output: Box<[u8]>,
    end: usize,
    at: usize,
    digest: Hasher,
    /// `None` if the digest is also the diff ID.
    diff_id: Option<Hasher>,
    /// An error that is returned instead of the first byte.
    refused: Option<Error>,
    ended: bool,
}

impl<'a> Stream<'a> {
    /// Reads the first bytes of a layer. `repair` is the hint for wrong bytes, if there is one.
    ///
    /// # Errors
    /// Malformed if the layer is empty and no digest is expected, or if the compression is not
    /// supported. Usage if the bytes are a descriptor line. Otherwise the error of the input.
    pub(crate) fn start(
        layer: Layer,
        input: Box<dyn Read + 'a>,
        repair: Option<String>,
        budget: &'a Budget,
    ) -> Result<Stream<'a>> {
        let algorithm = |digest: &Option<Digest>| {
            digest.as_ref().map_or_else(Algorithm::default, Digest::algorithm)
        };
        let (of_stored, of_archive) = (algorithm(&layer.digest), algorithm(&layer.diff_id));
        let mut stream = Stream {
            layer,
            input,
            repair,
            budget,
            stored: vec![0; STORED].into_boxed_slice(),
            filled: 0,
            used: 0,
            read: 0,
            decoder: None,
            output: Box::default(),
            end: 0,
            at: 0,
            digest: of_stored.hasher(),
            diff_id: None,
            refused: None,
            ended: false,
        };
        let has_bytes = stream.refill()?;
        if !has_bytes && !stream.is_verifiable() {
            return Err(Error::malformed(NO_INPUT));
        }
        let start = &stream.stored[..stream.filled];
        let compression = match sniff(&start[..start.len().min(MAGIC)]) {
            Ok(compression) => compression,
            Err(error) => {
                stream.refused = Some(error);
                None
            }
        };
        let is_operand = !matches!(stream.layer.place, Place::Blob(_));
        if compression.is_none() && is_operand && looks_like_descriptor(start) {
            let error = Error::usage("got a descriptor line, want a layer");
            return Err(error.hint("--from STORE takes descriptor lines"));
        }
        if let Place::Blob(descriptor) = &stream.layer.place {
            warn_of_label(&stream.layer.name, compression, &descriptor.media_type);
        }
        if let Some(compression) = compression {
            stream.decoder = Some(Decoder::new(compression)?);
            stream.output = vec![0; OUTPUT].into_boxed_slice();
        }
        if compression.is_some() || of_stored != of_archive {
            stream.diff_id = Some(of_archive.hasher());
        }
        stream.ended = !has_bytes;
        Ok(stream)
    }

    /// The layer.
    pub(crate) fn layer(&self) -> &Layer {
        &self.layer
    }

    /// The number of stored bytes that were read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read
    }

    /// Whether a digest is expected.
    pub(crate) fn is_verifiable(&self) -> bool {
        self.layer.digest.is_some() || self.layer.diff_id.is_some()
    }

    /// The digests of the layer. Its archive must have been read to the end.
    ///
    /// # Errors
    /// Content if a digest is not the expected one.
    pub(crate) fn verdict(self) -> Result<Verdict> {
        let digest = self.digest.finish();
        let diff_id = self.diff_id.map_or_else(|| digest.clone(), Hasher::finish);
        check("digest", &digest, self.layer.digest.as_ref())
            .map_err(|error| error.optional_hint(self.repair.as_ref()))?;
        check("diff ID", &diff_id, self.layer.diff_id.as_ref())?;
        Ok(Verdict { digest, diff_id })
    }

    /// The error to report after a failure. If the layer is malformed, the rest of it is read and
    /// hashed. If the digest is not the expected one, the error reports the digest. Also returns
    /// whether the bytes are those of the layer, as far as this is known.
    pub(crate) fn blame(mut self, error: Error) -> (Error, bool) {
        if error.status() != Status::Malformed {
            return (error, false);
        }
        let Some(want) = self.layer.digest.clone() else { return (error, true) };
        loop {
            match self.refill() {
                Ok(true) => {}
                Ok(false) => break,
                Err(other) => {
                    let is_other = other.status() == Status::Content;
                    return (if is_other { other } else { error }, false);
                }
            }
        }
        match check("digest", &self.digest.finish(), Some(&want)) {
            Ok(()) => (error, true),
            Err(differs) => (differs.optional_hint(self.repair.as_ref()), false),
        }
    }

    /// Reads and hashes the next stored bytes. Returns false at their end.
    fn refill(&mut self) -> Result<bool> {
        (self.filled, self.used) = (0, 0);
        let want = self.layer.size();
        // One byte more than the stated size, to detect a layer that is too long.
        let left = want.map_or(u64::MAX, |size| size.saturating_sub(self.read).saturating_add(1));
        let room = usize::try_from(left).unwrap_or(STORED).min(STORED);
        while self.filled < room {
            match self.input.read(&mut self.stored[self.filled..room]) {
                Ok(0) => break,
                Ok(count) => self.filled += count,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(self.input_error(&cause)),
            }
        }
        self.read += self.filled as u64;
        self.digest.update(&self.stored[..self.filled]);
        let differs = |got: std::fmt::Arguments<'_>, size: u64| {
            let what = format_args!("size differs: got {got} bytes, want {size}");
            Err(Error::content(what).optional_hint(self.repair.as_ref()))
        };
        match want {
            Some(size) if self.read > size => differs(format_args!("more than {size}"), size),
            Some(size) if self.filled < room && self.read < size => {
                differs(format_args!("{}", self.read), size)
            }
            _ => Ok(self.filled > 0),
        }
    }

    fn input_error(&self, cause: &io::Error) -> Error {
        match cause.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => error.clone(),
            None => Error::local(format_args!("read {}", self.layer.name), cause),
        }
    }

    /// Makes the next bytes of the archive available, unless it has ended.
    fn fill(&mut self) -> Result<()> {
        if let Some(error) = self.refused.take() {
            self.ended = true;
            return Err(error);
        }
        if self.decoder.is_none() {
            return self.fill_plain();
        }
        while self.at == self.end && !self.ended {
            let Some(decoder) = &mut self.decoder else { return Ok(()) };
            let input = &self.stored[self.used..self.filled];
            let is_empty = input.is_empty();
            let (took, filled) = decoder.decode(input, &mut self.output)?;
            self.used += took;
            (self.at, self.end) = (0, filled);
            if filled > 0 {
                self.budget.count(filled)?;
                if let Some(hasher) = &mut self.diff_id {
                    hasher.update(&self.output[..filled]);
                }
            } else if self.used == self.filled {
                if !self.refill()? {
                    self.ended = true;
                    if let Some(decoder) = &self.decoder {
                        decoder.finish()?;
                    }
                }
            } else if took == 0 && !is_empty {
                return Err(Error::malformed("decompression makes no progress"));
            }
        }
        Ok(())
    }

    fn fill_plain(&mut self) -> Result<()> {
        // The first bytes were read at the start.
        if self.at == self.end && self.used == 0 && self.filled > 0 {
            self.take_plain()?;
        } else if self.at == self.end && !self.ended {
            self.ended = !self.refill()?;
            self.take_plain()?;
        }
        Ok(())
    }

    fn take_plain(&mut self) -> Result<()> {
        (self.at, self.end, self.used) = (0, self.filled, self.filled);
        if let Some(hasher) = &mut self.diff_id {
            hasher.update(&self.stored[..self.filled]);
        }
        self.budget.count(self.filled)
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Stream<'_> {
    /// The buffered bytes of the archive; empty at its end. A failure is an [`Error`] inside the
    /// I/O error.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill().map_err(io::Error::other)?;
        let bytes = if self.decoder.is_some() { &self.output } else { &self.stored };
        Ok(&bytes[self.at..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

/// The failure of a layer.
pub(crate) struct Failed {
    /// The error to report, with the name of the layer.
    pub(crate) error: Error,
    /// Whether the bytes are those of the layer, as far as this is known. If true, the entries
    /// before the error may be shown.
    pub(crate) is_genuine: bool,
}

/// Reads a layer to its end and verifies it. `visit` gets each entry, and may read its data.
///
/// # Errors
/// The errors of `visit` and of the reader; Content if a digest differs.
pub(crate) fn read_whole<'a>(
    stream: Stream<'a>,
    visit: impl FnMut(&Entry, &mut Reader<Stream<'a>>) -> Result<()>,
) -> std::result::Result<Verdict, Failed> {
    let name = stream.layer.name.clone();
    let context = |error: Error| error.context(format_args!("layer {name}"));
    let mut reader = Reader::new(stream);
    match entries(&mut reader, visit) {
        Ok(()) => reader
            .into_inner()
            .verdict()
            .map_err(|error| Failed { error: context(error), is_genuine: false }),
        Err(error) => {
            let (error, is_genuine) = reader.into_inner().blame(error);
            Err(Failed { error: context(error), is_genuine })
        }
    }
}

fn entries<'a>(
    reader: &mut Reader<Stream<'a>>,
    mut visit: impl FnMut(&Entry, &mut Reader<Stream<'a>>) -> Result<()>,
) -> Result<()> {
    while let Some(entry) = reader.next()? {
        visit(&entry, reader)?;
        skip_data(&entry, reader)?;
    }
    let ending = reader.finish()?;
    let verifiable = reader.get_ref().is_verifiable();
    ending.accept(verifiable)
}

/// Skips the data of an entry that was not used.
///
/// # Errors
/// Malformed, with the name of the entry, if the archive ends within the data. Otherwise the error
/// of the input.
pub(crate) fn skip_data(entry: &Entry, reader: &mut Reader<Stream<'_>>) -> Result<()> {
    loop {
        let count = reader.data().map_err(|error| path::in_entry(error, entry))?.len();
        if count == 0 {
            return Ok(());
        }
        reader.consume(count);
    }
}

fn check(what: &str, got: &Digest, want: Option<&Digest>) -> Result<()> {
    match want {
        Some(want) if got != want => {
            Err(Error::content(format_args!("{what} differs: got {got}, want {want}")))
        }
        _ => Ok(()),
    }
}
