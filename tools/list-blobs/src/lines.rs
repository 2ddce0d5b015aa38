// SPDX-License-Identifier: Apache-2.0
//! Writes descriptor lines to stdout, buffered.

use std::fs::File;
use std::io::{BufWriter, Write};

use common::descriptor::Descriptor;
use common::error::{Error, Result};
use common::stdio;

/// A buffered writer of descriptor lines to stdout.
pub(crate) struct LineWriter(BufWriter<File>);

impl LineWriter {
    /// Opens stdout.
    ///
    /// # Errors
    /// Local if stdout is closed.
    pub(crate) fn new() -> Result<LineWriter> {
        Ok(LineWriter(BufWriter::new(stdio::stdout()?)))
    }

    /// Writes one line to the buffer.
    ///
    /// # Errors
    /// Local if stdout cannot be written.
    pub(crate) fn put(&mut self, descriptor: &Descriptor) -> Result<()> {
        writeln!(self.0, "{}", descriptor.line())
            .map_err(|cause| Error::local("standard output", &cause))
    }

    /// Writes all buffered lines to stdout.
    ///
    /// # Errors
    /// Local if stdout cannot be written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.0.flush().map_err(|cause| Error::local("standard output", &cause))
    }
}
