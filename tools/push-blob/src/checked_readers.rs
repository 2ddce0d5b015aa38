// SPDX-License-Identifier: Apache-2.0
//! Readers that pass bytes on and check them. At the end of wrong bytes they return an error.

use std::io::{self, Read};

use archive::Check;
use common::verify::Verifier;

/// A reader that returns an error if the bytes do not have the expected digest and size.
pub(crate) struct Verified<'a> {
    inner: Box<dyn Read + 'a>,
    verifier: Option<Verifier>,
}

impl<'a> Verified<'a> {
    /// Wraps `inner`, whose bytes `verifier` checks.
    pub(crate) fn new(inner: Box<dyn Read + 'a>, verifier: Verifier) -> Verified<'a> {
        Verified { inner, verifier: Some(verifier) }
    }
}

impl Read for Verified<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        if n == 0 && !buffer.is_empty() {
            if let Some(verifier) = self.verifier.take() {
                verifier.finish().map_err(io::Error::other)?;
            }
        } else if let Some(verifier) = &mut self.verifier {
            verifier.update(&buffer[..n]).map_err(io::Error::other)?;
        }
        Ok(n)
    }
}

/// A reader that returns an error if the bytes are not exactly one complete tar archive.
pub(crate) struct Archive<'a> {
    inner: &'a mut dyn Read,
    name: &'a str,
    check: Check,
}

impl<'a> Archive<'a> {
    /// Wraps `inner`. Messages call it `name`.
    pub(crate) fn new(inner: &'a mut dyn Read, name: &'a str) -> Archive<'a> {
        Archive { inner, name, check: Check::new() }
    }
}

impl Read for Archive<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let checked = if n == 0 && !buffer.is_empty() {
            self.check.finish()
        } else {
            self.check.update(&buffer[..n])
        };
        let context = format_args!("{}: --compress", self.name);
        checked.map_err(|error| io::Error::other(error.context(context)))?;
        Ok(n)
    }
}
