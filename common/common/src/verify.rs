// SPDX-License-Identifier: Apache-2.0
//! Checking the size and the digest of a stream while it is read or copied.

use std::io::{Read, Write};

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::terminal::TextOnly;

/// The number of bytes at the end of a stream that are held back until the digest is verified.
pub const HOLD: usize = 64 << 10;

/// The size of a copy buffer, in bytes: large enough that the cost of system calls is negligible
/// compared with hashing.
pub const BUFFER: usize = 256 << 10;

/// Checks bytes, given in order, against a digest and an optional size.
///
/// The size is checked at once: one byte too many is an error. The digest is checked at the end. If
/// both differ at the end, the digest is reported, because it is the stronger evidence.
pub struct Verifier {
    digest: Digest,
    size: Option<u64>,
    hasher: Hasher,
    received: u64,
}

impl Verifier {
    /// A verifier for bytes with this digest and, if known, this size.
    pub fn new(digest: &Digest, size: Option<u64>) -> Verifier {
        let hasher = digest.algorithm().hasher();
        Verifier { digest: digest.clone(), size, hasher, received: 0 }
    }

    /// Hashes the next bytes.
    ///
    /// # Errors
    /// Content if there are more bytes than the size. The caller must not pass these bytes on.
    pub fn update(&mut self, bytes: &[u8]) -> Result<()> {
        self.received += bytes.len() as u64;
        if let Some(size) = self.size
            && self.received > size
        {
            return Err(Error::content(format_args!(
                "size differs: got more than {size} bytes, want {size}"
            )));
        }
        self.hasher.update(bytes);
        Ok(())
    }

    /// Checks the digest and the size of the complete stream. Returns the number of bytes.
    ///
    /// # Errors
    /// Content if the digest or the size differs; the message shows the found and the expected
    /// value.
    pub fn finish(self) -> Result<u64> {
        let short = self.size.filter(|size| *size != self.received);
        let got = self.hasher.finish();
        if got != self.digest {
            let size = short.map(|size| format!(" ({} of {size} bytes)", self.received));
            return Err(Error::content(format_args!(
                "digest differs: got {got}{}, want {}",
                size.unwrap_or_default(),
                self.digest
            )));
        }
        match short {
            None => Ok(self.received),
            Some(size) => Err(Error::content(format_args!(
                "size differs: got {}, want {size}",
                self.received
            ))),
        }
    }
}

/// A writer that holds back the last [`HOLD`] bytes until [`release`](HeldBack::release).
///
/// If the writer is dropped without `release`, the held bytes are discarded, so the output of a
/// wrong stream is always incomplete. The earlier bytes are *not* yet verified when the reader of
/// the output receives them.
pub struct HeldBack<W> {
    output: W,
    held: Vec<u8>,
    passed: bool,
}

impl<W: Write> HeldBack<W> {
    /// A writer to `output`.
    pub fn new(output: W) -> HeldBack<W> {
        HeldBack { output, held: Vec::with_capacity(HOLD), passed: false }
    }

    /// Takes the next bytes and writes those that are no longer among the last [`HOLD`].
    ///
    /// # Errors
    /// The error of the output.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let kept = bytes.len().min(HOLD);
        let (pass, keep) = bytes.split_at(bytes.len() - kept);
        let overflow = (self.held.len() + kept).saturating_sub(HOLD);
        self.passed |= overflow > 0 || !pass.is_empty();
        self.output.write_all(&self.held[..overflow])?;
        self.held.drain(..overflow);
        self.output.write_all(pass)?;
        self.held.extend_from_slice(keep);
        Ok(())
    }

    /// Discards the held bytes, so that the stream can be sent again from the start. Returns false
    /// if that is impossible because some bytes were already written.
    pub fn forget(&mut self) -> bool {
        self.held.clear();
        !self.passed
    }

    /// Writes the held bytes, after the caller has verified the stream.
    ///
    /// # Errors
    /// The error of the output.
    pub fn release(mut self) -> std::io::Result<W> {
        self.output.write_all(&self.held)?;
        self.output.flush()?;
        Ok(self.output)
    }
}

/// Reads `input` to its end and verifies it. Returns the number of bytes.
///
/// # Errors
/// Content if the bytes differ; Local if `input` cannot be read. `name` is the name of the input in
/// messages.
pub fn verify(mut input: impl Read, mut verifier: Verifier, name: &str) -> Result<u64> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match read(&mut input, &mut buffer, name)? {
            0 => return verifier.finish(),
            n => verifier.update(&buffer[..n])?,
        }
    }
}

/// Copies `input` to `output` and verifies it. The last block is written only if all bytes are
/// correct. `guard` checks all bytes that are written.
///
/// # Errors
/// Content if the bytes differ; Usage if the guard refuses them; Local if `input` cannot be read or
/// `output` cannot be written. `name` is the name of the input in messages.
pub fn copy(
    mut input: impl Read,
    output: impl Write,
    mut verifier: Verifier,
    guard: TextOnly,
    name: &str,
) -> Result<u64> {
    let mut output = HeldBack::new(output);
    let mut buffer = vec![0; BUFFER];
    let write_error = |cause: std::io::Error| Error::local("standard output", &cause);
    loop {
        match read(&mut input, &mut buffer, name)? {
            0 => break,
            n => {
                guard.check(&buffer[..n])?;
                verifier.update(&buffer[..n])?;
                output.write(&buffer[..n]).map_err(write_error)?;
            }
        }
    }
    let received = verifier.finish()?;
    output.release().map_err(write_error)?;
    Ok(received)
}

fn read(input: &mut impl Read, buffer: &mut [u8], name: &str) -> Result<usize> {
    loop {
        match input.read(buffer) {
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(Error::local(format_args!("read {name}"), &cause)),
            Ok(n) => return Ok(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    fn verifier(bytes: &[u8], size: Option<u64>) -> Verifier {
        Verifier::new(&Algorithm::Sha256.digest(bytes), size)
    }

    #[test]
    fn right_bytes_pass_whatever_their_pieces() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|i| i as u8).collect();
        for piece in [1, HOLD - 1, HOLD, HOLD + 1, bytes.len()] {
            let mut held = HeldBack::new(Vec::new());
            let mut checked = verifier(&bytes, Some(bytes.len() as u64));
            for part in bytes.chunks(piece) {
                checked.update(part).unwrap();
                held.write(part).unwrap();
                assert_eq!(held.held.len(), HOLD.min(held.held.len() + held.output.len()));
            }
            assert_eq!(checked.finish().unwrap(), bytes.len() as u64);
            assert_eq!(held.release().unwrap(), bytes);
        }
    }

    #[test]
    fn the_end_of_wrong_bytes_is_never_passed_on() {
        let mut passed = Vec::new();
        let bytes = vec![7; HOLD + 10];
        let wrong =
            copy(&bytes[..], &mut passed, verifier(b"x", None), TextOnly::off(), "x").unwrap_err();
        assert!(wrong.to_string().starts_with("digest differs: got sha256:"));
        assert_eq!(passed.len(), 10);
    }

    #[test]
    fn one_byte_too_many_ends_the_stream() {
        let mut checked = verifier(b"abc", Some(3));
        checked.update(b"abc").unwrap();
        assert!(checked.update(b"d").is_err());
    }

    #[test]
    fn a_short_stream_shows_both_its_faults() {
        let mut checked = verifier(b"abc", Some(3));
        checked.update(b"ab").unwrap();
        let error = checked.finish().unwrap_err().to_string();
        assert!(error.contains("(2 of 3 bytes), want sha256:"), "{error}");
        let mut stated_wrong = verifier(b"abc", Some(4));
        stated_wrong.update(b"abc").unwrap();
        assert_eq!(stated_wrong.finish().unwrap_err().to_string(), "size differs: got 3, want 4");
    }
}
