// SPDX-License-Identifier: Apache-2.0
//! Writes descriptor lines to stdout, buffered.

use std::fs::File;
use std::io::{BufWriter, Write};

use common::descriptor::{Descriptor, Line, Unsized};
use common::digest::Digest;
use common::error::{Error, Result};
use common::{mediatype, stdio};

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
        self.put_text(&descriptor.line())
    }

    /// Prints the line of a layer of a schema 1 manifest, which has no size.
    ///
    /// # Errors
    /// Local if stdout cannot be written.
    pub(crate) fn put_schema1(&mut self, layer: &Digest) -> Result<()> {
        self.put_text(&Unsized::new(mediatype::DOCKER_LAYER_GZIP, layer.clone()).line())
    }

    /// Writes a line to the buffer.
    ///
    /// # Errors
    /// Local if stdout cannot be written.
    pub(crate) fn put_line(&mut self, line: &Line) -> Result<()> {
        match line {
            Line::Whole(descriptor) => self.put(descriptor),
            Line::Unsized(line) => self.put_text(&line.line()),
        }
    }

    fn put_text(&mut self, line: &str) -> Result<()> {
        writeln!(self.0, "{line}").map_err(|cause| Error::local("standard output", &cause))
    }

    /// Writes all buffered lines to stdout.
    ///
    /// # Errors
    /// Local if stdout cannot be written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.0.flush().map_err(|cause| Error::local("standard output", &cause))
    }
}
