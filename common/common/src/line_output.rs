// SPDX-License-Identifier: Apache-2.0
//! Printing descriptor lines. Programs get JSON. A terminal gets a short form for people: one row
//! with the digest, the size, the kind, and the platform if there is one. The row is cut at the
//! terminal's width.
//!
//! Nothing else changes the form: `… | cat` prints JSON.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};

use crate::descriptor::{Descriptor, Unsized};
use crate::error::{Result, printable};
use crate::mediatype::{self, Kind};
use crate::{human, screen, stdio, terminal};

/// The form of the lines for one output.
#[derive(Clone, Copy, Debug)]
pub struct LineForm {
    is_terminal: bool,
}

impl LineForm {
    /// The form for an output.
    pub fn of(output: &File) -> LineForm {
        LineForm { is_terminal: output.is_terminal() }
    }

    /// The line of a descriptor, with its newline.
    pub fn line(self, descriptor: &Descriptor) -> String {
        if self.is_terminal {
            row(descriptor, Some(descriptor.size))
        } else {
            descriptor.line() + "\n"
        }
    }

    /// The line of a descriptor whose size is not known, with its newline.
    pub fn unsized_line(self, line: &Unsized) -> String {
        if self.is_terminal { row(line.descriptor(), None) } else { line.line() + "\n" }
    }
}

fn row(descriptor: &Descriptor, size: Option<u64>) -> String {
    let size = size.map_or_else(|| "?".to_owned(), human::size);
    let digest = &descriptor.digest;
    let row = format!("{digest}  {size:>6}  {}", kind(descriptor));
    fitted(&row, digest.to_string().len(), terminal::width(io::stdout())) + "\n"
}

/// A row that is cut at the terminal's width. A digest of `digest` characters is not cut if the
/// terminal has room for it; then only complete columns follow it.
fn fitted(row: &str, digest: usize, width: usize) -> String {
    if row.chars().count() <= width {
        return row.to_owned();
    }
    if digest > width {
        let start: String = row.chars().take(width.saturating_sub(1)).collect();
        return format!("{start}…");
    }
    let start: String = row.chars().take(width + 2).collect();
    let end = start.rfind("  ").unwrap_or(digest).max(digest);
    start.get(..end).unwrap_or(row).trim_end().to_owned()
}

/// The kind of content that the descriptor names, in one or two words.
fn kind(descriptor: &Descriptor) -> String {
    let media_type = &descriptor.media_type;
    let kind = match mediatype::kind(media_type) {
        Kind::Index => "index",
        Kind::Manifest | Kind::Schema1 => "manifest",
        Kind::Config | Kind::Plugin => "config",
        Kind::Layer { .. } => "layer",
        Kind::Other => return printable(media_type),
    };
    match descriptor.platform() {
        Some(platform) => format!("{kind} {}", printable(&platform.to_string())),
        None => kind.to_owned(),
    }
}

/// Descriptor lines on stdout.
pub struct LineOutput {
    file: File,
    form: LineForm,
}

impl LineOutput {
    /// Opens stdout.
    ///
    /// # Errors
    /// Local if it was closed when the tool started.
    pub fn stdout() -> Result<LineOutput> {
        let file = stdio::stdout()?;
        let form = LineForm::of(&file);
        Ok(LineOutput { file, form })
    }

    /// Prints the line of a descriptor.
    ///
    /// # Errors
    /// The system's error.
    pub fn print(&mut self, descriptor: &Descriptor) -> io::Result<()> {
        self.write(&self.form.line(descriptor))
    }

    /// Prints the early line of a descriptor, whose content is not complete yet.
    ///
    /// # Errors
    /// The system's error.
    pub fn print_early(&mut self, descriptor: &Descriptor) -> io::Result<()> {
        if self.form.is_terminal {
            return self.print(descriptor);
        }
        self.write(&(descriptor.early_line() + "\n"))
    }

    /// Prints the line of a descriptor whose size is not known.
    ///
    /// # Errors
    /// The system's error.
    pub fn print_unsized(&mut self, line: &Unsized) -> io::Result<()> {
        self.write(&self.form.unsized_line(line))
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let mut write = || self.file.write_all(line.as_bytes());
        if self.form.is_terminal { screen::around(write) } else { write() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_cut_between_words_and_only_then_in_the_digest() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let row = format!("{digest}  3.4 MB  index linux/arm64");
        for (width, want) in [
            (200, row.as_str()),
            (row.len(), row.as_str()),
            (row.len() - 1, &row[..79]),
            (80, &row[..79]),
            (79, &row[..79]),
            (78, &row[..71]),
            (71, &row[..71]),
        ] {
            assert_eq!(fitted(&row, digest.len(), width), want, "{width}");
        }
        assert_eq!(fitted(&row, digest.len(), 10), "sha256:00…");
        assert_eq!(fitted(&row, digest.len(), 1), "…");
    }
}
