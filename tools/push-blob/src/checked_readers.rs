// SPDX-License-Identifier: Apache-2.0
//! Readers that pass bytes on, and end without an error only if the bytes were right.

use std::io::{self, Read};

use archive::Check;
use common::verify::Verifier;

/// Bytes that end only if they were the right ones.
pub(crate) struct Verified<'a> {
    inner: Box<dyn Read + 'a>,
    verifier: Option<Verifier>,
}

impl<'a> Verified<'a> {
    /// Checks `inner`.
    pub(crate) fn new(inner: Box<dyn Read + 'a>, verifier: Verifier) -> Verified<'a> {
        Verified { inner, verifier: Some(verifier) }
    }
}

impl Read for Verified<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        match (n, &mut self.verifier) {
            (0, verifier) if !buffer.is_empty() => {
                verifier
                    .take()
                    .map_or(Ok(0), |v| v.finish().map(|_| 0))
                    .map_err(io::Error::other)?;
            }
            (_, Some(verifier)) => verifier.update(&buffer[..n]).map_err(io::Error::other)?,
            (_, None) => {}
        }
        Ok(n)
    }
}

/// Bytes that end only if they were a whole tar archive.
pub(crate) struct Archive<'a> {
    inner: &'a mut dyn Read,
    check: Check,
}

impl<'a> Archive<'a> {
    /// Looks at `inner` while it passes.
    pub(crate) fn new(inner: &'a mut dyn Read) -> Archive<'a> {
        Archive { inner, check: Check::new() }
    }
}

impl Read for Archive<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let looked = match n {
            0 if !buffer.is_empty() => self.check.finish(),
            n => self.check.look(&buffer[..n]),
        };
        looked.map_err(|error| io::Error::other(error.context("--compress")))?;
        Ok(n)
    }
}
