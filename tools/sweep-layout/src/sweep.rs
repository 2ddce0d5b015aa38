// SPDX-License-Identifier: Apache-2.0
//! Removes the files that are not kept, or lists them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result};
use common::line_output::LineForm;
use common::mediatype::OCTETS;
use layout::Layout;

use crate::age::Ages;
use crate::partial_files::Partial;

/// Files that were removed.
#[derive(Default)]
struct Removed {
    count: u64,
    bytes: u64,
}

/// A sweep of a layout: the digests to keep, and the options.
pub(crate) struct Sweep<'a> {
    pub(crate) layout: &'a Layout,
    /// The digests that are kept.
    pub(crate) reached: &'a HashSet<Digest>,
    pub(crate) ages: Ages,
    pub(crate) dry_run: bool,
}

impl Sweep<'_> {
    /// Removes blobs, partial files and records, and prints how many. With `dry_run`, only prints
    /// the lines of the blobs.
    ///
    /// # Errors
    /// Local if a file cannot be removed or the output cannot be written.
    pub(crate) fn run(&self, mut output: File) -> Result<()> {
        let blobs = self.blobs(&mut output)?;
        if self.dry_run {
            return Ok(());
        }
        let partial_files = self.partial_files()?;
        let sources = self.layout.distribution_sources().retain(|digest| {
            self.reached.contains(digest) || self.layout.blob_path(digest).exists()
        })?;
        let report = format!(
            "blobs {} {}\npartial-files {} {}\nsources {sources}\n",
            blobs.count, blobs.bytes, partial_files.count, partial_files.bytes
        );
        print(&mut output, &report)
    }

    fn blobs(&self, output: &mut File) -> Result<Removed> {
        let mut removed = Removed::default();
        self.layout.for_each_blob(|digest, metadata| {
            if self.reached.contains(&digest) || self.ages.is_new(metadata) {
                return Ok(());
            }
            if self.dry_run {
                let descriptor = Descriptor::new(OCTETS, digest, metadata.len());
                return print(output, &LineForm::of(output).line(&descriptor));
            }
            removed.file(&self.layout.blob_path(&digest), metadata.len())
        })?;
        Ok(removed)
    }

    fn partial_files(&self) -> Result<Removed> {
        let mut removed = Removed::default();
        let dir = self.layout.ingest_dir();
        let local = |cause: std::io::Error| Error::local(dir.display(), &cause);
        let files = match std::fs::read_dir(&dir) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(removed),
            files => files.map_err(local)?,
        };
        for file in files {
            let file = file.map_err(local)?;
            let Some(partial) = file.file_name().to_str().and_then(Partial::from_name) else {
                continue;
            };
            let metadata = match file.metadata() {
                Err(cause) if cause.kind() == ErrorKind::NotFound => continue,
                metadata => metadata.map_err(local)?,
            };
            if !metadata.is_file() || self.ages.is_new(&metadata) || self.continues(&partial) {
                continue;
            }
            removed.file(&file.path(), metadata.len())?;
        }
        Ok(removed)
    }

    /// Whether a later download may continue with a partial file: an entry reaches the blob, and
    /// the layout does not have it.
    fn continues(&self, partial: &Partial) -> bool {
        match partial {
            Partial::Of(digest) => {
                self.reached.contains(digest) && !self.layout.blob_path(digest).exists()
            }
            Partial::Temporary => false,
        }
    }
}

impl Removed {
    fn file(&mut self, path: &Path, bytes: u64) -> Result<()> {
        match std::fs::remove_file(path) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                Err(Error::local(format_args!("remove {}", path.display()), &cause))
            }
            _ => {
                self.count += 1;
                self.bytes += bytes;
                Ok(())
            }
        }
    }
}

fn print(output: &mut File, text: &str) -> Result<()> {
    output.write_all(text.as_bytes()).map_err(|cause| Error::local("standard output", &cause))
}
