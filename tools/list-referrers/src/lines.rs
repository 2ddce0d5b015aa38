// SPDX-License-Identifier: Apache-2.0
//! Writes descriptor lines to stdout. They are not buffered, so that the next program can use each
//! line at once.

use std::fs::File;
use std::io::Write;

use common::descriptor::{Descriptor, Line};
use common::error::{Error, Result};
use common::stdio;

/// A writer of descriptor lines to stdout.
pub(crate) struct LineWriter(File);

impl LineWriter {
    /// Opens stdout.
    ///
    /// # Errors
    /// Local if stdout is closed.
    pub(crate) fn new() -> Result<LineWriter> {
        Ok(LineWriter(stdio::stdout()?))
    }

    /// Writes a descriptor.
    ///
    /// # Errors
    /// Local if stdout cannot be written.
    pub(crate) fn put(&mut self, descriptor: &Descriptor) -> Result<()> {
        self.put_text(&descriptor.line())
    }

    /// Writes a line with or without a size.
    ///
    /// # Errors
    /// Local if stdout cannot be written.
    pub(crate) fn put_line(&mut self, line: &Line) -> Result<()> {
        match line {
            Line::Whole(descriptor) => self.put(descriptor),
            Line::Unsized(line) => self.put_text(&line.line()),
        }
    }

    fn put_text(&mut self, text: &str) -> Result<()> {
        self.0
            .write_all(format!("{text}\n").as_bytes())
            .map_err(|cause| Error::local("standard output", &cause))
    }
}
