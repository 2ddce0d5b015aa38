// SPDX-License-Identifier: Apache-2.0
//! Writes descriptor lines to stdout. They are not buffered, so that the next program can use each
//! line at once.

use common::descriptor::{Descriptor, Line};
use common::error::{Error, Result};
use common::line_output::LineOutput;

/// A writer of descriptor lines to stdout.
pub(crate) struct LineWriter(LineOutput);

impl LineWriter {
    /// Opens stdout.
    ///
    /// # Errors
    /// Local if stdout is closed.
    pub(crate) fn new() -> Result<LineWriter> {
        Ok(LineWriter(LineOutput::stdout()?))
    }

    /// Writes a descriptor.
    ///
    /// # Errors
    /// Local if stdout cannot be written.
    pub(crate) fn put(&mut self, descriptor: &Descriptor) -> Result<()> {
        self.0.print(descriptor).map_err(write_error)
    }

    /// Writes a line with or without a size.
    ///
    /// # Errors
    /// Local if stdout cannot be written.
    pub(crate) fn put_line(&mut self, line: &Line) -> Result<()> {
        match line {
            Line::Whole(descriptor) => self.put(descriptor),
            Line::Unsized(line) => self.0.print_unsized(line).map_err(write_error),
        }
    }
}

fn write_error(cause: std::io::Error) -> Error {
    Error::local("standard output", &cause)
}
