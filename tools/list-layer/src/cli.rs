// SPDX-License-Identifier: Apache-2.0
//! The command line: options, help texts, and the check for contradictions.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use common::cli::bytes;
use common::digest::Digest;
use common::error::{Error, Result};
use common::reference::StoreName;
use store::options::{Mirrored, Network, Stdin};

/// List the entries of layers, or extract one file
///
/// Reads layers from files or standard input. With --from, reads descriptor lines on standard
/// input, and the layers from a store. Prints each entry as tar -tv does, or as a line of JSON.
/// With --merged, prints the files of the image that the layers form, each with its layer. With
/// --extract, writes one file of that image to standard output.
#[derive(Parser)]
#[command(name = "list-layer", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Layer files, base first; "-" or no file means standard input
    #[arg(value_name = "LAYER")]
    pub(crate) layers: Vec<PathBuf>,

    /// Read the layers of descriptor lines from STORE
    ///
    /// Read descriptor lines on standard input, and their blobs from STORE: a repository, or
    /// oci:DIR
    #[arg(long, value_name = "STORE", conflicts_with = "layers")]
    #[arg(value_parser = StoreName::of_reference)]
    pub(crate) from: Option<StoreName>,

    /// Print a line of JSON for each entry
    #[arg(long, conflicts_with = "extract")]
    pub(crate) json: bool,

    /// Print the files of all layers together
    ///
    /// Print the files of all layers together, after whiteouts and replacements
    #[arg(long, conflicts_with = "extract")]
    pub(crate) merged: bool,

    /// With --merged: print the hidden entries
    ///
    /// With --merged: print the entries that a higher layer hides, each with that layer
    #[arg(long, requires = "merged")]
    pub(crate) hidden: bool,

    /// Write the file PATH of the image
    ///
    /// Write the regular file PATH of the image to standard output, and stop reading after it
    #[arg(long, value_name = "PATH")]
    pub(crate) extract: Option<OsString>,

    /// With --extract: read and verify all layers
    ///
    /// With --extract: read and verify all layers, instead of stopping after the file
    #[arg(long, requires = "extract")]
    pub(crate) verify: bool,

    /// The expected digest of the layer's stored bytes
    #[arg(long, conflicts_with = "from")]
    pub(crate) digest: Option<Digest>,

    /// The expected digest of the uncompressed layer
    ///
    /// The expected digest of the layer's uncompressed archive
    #[arg(long, value_name = "DIGEST", conflicts_with = "from")]
    pub(crate) diff_id: Option<Digest>,

    /// Refuse more uncompressed bytes than this
    ///
    /// Refuse more than this many bytes in total, uncompressed (suffixes k, M, G, T)
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) max_size: Option<u64>,

    /// Refuse more entries than this
    ///
    /// Refuse a layer with more than this many entries; with --merged or --extract, the limit
    /// applies to all layers together
    #[arg(long, hide_short_help = true, value_name = "COUNT", default_value_t = 1_000_000)]
    pub(crate) max_entries: u64,

    /// With --from and --merged or --extract: do not require the line of the image config
    #[arg(long, hide_short_help = true)]
    pub(crate) no_config: bool,

    /// With --from: accept lines of any other media type as layers
    #[arg(long, hide_short_help = true)]
    pub(crate) any_type: bool,

    /// Print no warnings and no notices
    #[arg(short, long)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) network: Network,
    #[command(flatten)]
    pub(crate) mirrored: Mirrored,
}

impl Cli {
    /// Checks for contradictions that clap does not detect.
    ///
    /// # Errors
    /// Usage if options or operands contradict each other, or if a layer must be read twice and
    /// cannot.
    pub(crate) fn check(&self) -> Result<()> {
        if self.layers.len() > 1 && (self.digest.is_some() || self.diff_id.is_some()) {
            return Err(Error::usage("--digest and --diff-id accept only one layer"));
        }
        if self.layers.iter().filter(|layer| layer.as_os_str() == "-").count() > 1 {
            return Err(Error::usage("- given twice: stdin is only one layer"));
        }
        if self.from.is_none() && (self.no_config || self.any_type) {
            return Err(Error::usage("--no-config and --any-type require --from"));
        }
        if let (None, Some(option)) = (&self.from, self.mirrored.given()) {
            return Err(Error::usage(format_args!("{option} requires --from")));
        }
        if self.no_config && !self.is_of_image() {
            return Err(Error::usage("--no-config requires --merged or --extract"));
        }
        if self.verify && self.from.is_none() {
            self.check_readable_twice()?;
        }
        if self.extract.is_some()
            && !self.verify
            && (self.digest.is_some() || self.diff_id.is_some())
        {
            let error = Error::usage("--extract stops before the digest of a layer is known");
            return Err(error.hint("--verify reads and verifies all layers"));
        }
        Ok(())
    }

    /// Whether the output depends on all layers of an image.
    pub(crate) fn is_of_image(&self) -> bool {
        self.merged || self.extract.is_some()
    }

    /// Whether standard input is data. It is free only if all layers are in named files.
    pub(crate) fn stdin(&self) -> Stdin {
        let files = &self.layers;
        let all_files = !files.is_empty() && files.iter().all(|file| file.as_os_str() != "-");
        if all_files { Stdin::Free } else { Stdin::Data }
    }

    fn check_readable_twice(&self) -> Result<()> {
        let twice = |what: &str| {
            let error = Error::usage(format_args!(
                "{what}: --verify reads the layer of the file twice, which needs a regular file"
            ));
            error.hint("store the layer in a file, or use --from with descriptor lines")
        };
        if self.layers.is_empty() {
            return Err(twice("standard input"));
        }
        for layer in &self.layers {
            if layer.as_os_str() == "-" {
                return Err(twice("standard input"));
            }
            // A file that does not exist is reported when it is opened.
            if std::fs::metadata(layer).is_ok_and(|metadata| !metadata.is_file()) {
                return Err(twice(&layer.display().to_string()));
            }
        }
        Ok(())
    }
}
