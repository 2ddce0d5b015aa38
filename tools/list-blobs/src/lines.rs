// SPDX-License-Identifier: Apache-2.0
//! Writes descriptor lines to stdout, buffered.

use std::fs::File;
use std::io::{BufWriter, Write};

use common::descriptor::{Descriptor, Line, Unsized};
use common::digest::Digest;
use common::error::{Error, Result};
use common::line_output::LineForm;
use common::{mediatype, stdio};

/// A buffered writer of descriptor lines to stdout.
pub(crate) struct LineWriter {
    output: BufWriter<File>,
    form: LineForm,
}

impl LineWriter {
    /// Opens stdout.
    ///
    /// # Errors
    /// Local if stdout is closed.
    pub(crate) fn new() -> Result<LineWriter> {
        let output = stdio::stdout()?;
        let form = LineForm::of(&output);
        Ok(LineWriter { output: BufWriter::new(output), form })
    }

    /// Writes one line to the buffer.
    ///
    /// # Errors
    /// Local if stdout cannot be written.
    pub(crate) fn put(&mut self, descriptor: &Descriptor) -> Result<()> {
        self.put_text(&self.form.line(descriptor))
    }

    /// Prints the line of a layer of a schema 1 manifest, which has no size.
    ///
    /// # Errors
    /// Local if stdout cannot be written.
    pub(crate) fn put_schema1(&mut self, layer: &Digest) -> Result<()> {
        let line = Unsized::new(mediatype::DOCKER_LAYER_GZIP, layer.clone());
        self.put_text(&self.form.unsized_line(&line))
    }

    /// Writes a line to the buffer.
    ///
    /// # Errors
    /// Local if stdout cannot be written.
    pub(crate) fn put_line(&mut self, line: &Line) -> Result<()> {
        match line {
            Line::Whole(descriptor) => self.put(descriptor),
            Line::Unsized(line) => self.put_text(&self.form.unsized_line(line)),
        }
    }

    fn put_text(&mut self, line: &str) -> Result<()> {
        let written = self.output.write_all(line.as_bytes());
        written.map_err(|cause| Error::local("standard output", &cause))
    }

    /// Writes all buffered lines to stdout.
    ///
    /// # Errors
    /// Local if stdout cannot be written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.output.flush().map_err(|cause| Error::local("standard output", &cause))
    }
}
