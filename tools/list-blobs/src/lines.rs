// SPDX-License-Identifier: Apache-2.0
//! Descriptor lines on stdout, several in one write.

use std::fs::File;
use std::io::{BufWriter, Write};

use common::descriptor::Descriptor;
use common::error::{Error, Result};
use common::stdio;

/// Descriptor lines on stdout.
pub(crate) struct LineWriter(BufWriter<File>);

impl LineWriter {
    /// Opens stdout.
    ///
    /// # Errors
    /// Local trouble: it is closed.
    pub(crate) fn new() -> Result<LineWriter> {
        Ok(LineWriter(BufWriter::new(stdio::stdout()?)))
    }

    /// Prints one line, perhaps not at once.
    ///
    /// # Errors
    /// Local trouble.
    pub(crate) fn put(&mut self, descriptor: &Descriptor) -> Result<()> {
        writeln!(self.0, "{}", descriptor.line())
            .map_err(|cause| Error::local("standard output", &cause))
    }

    /// Passes on all lines so far.
    ///
    /// # Errors
    /// Local trouble.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.0.flush().map_err(|cause| Error::local("standard output", &cause))
    }
}
