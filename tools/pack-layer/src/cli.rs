// SPDX-License-Identifier: Apache-2.0
//! The command line: options, their help texts, and the combinations that are refused.

use std::num::NonZero;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use common::cli::layout_dir;
use common::error::{Error, Result};
use common::mediatype::Compression;
use common::progress;
use common::reference::StoreName;
use compress::Method;

use crate::destination::DestinationName;
use crate::rules::{Owner, Rules};
use crate::time::{self, Time};

/// Pack a directory or a tar archive into a container image layer.
///
/// Writes the layer to a file or into a layout. Prints its descriptor line, with the diff ID in an
/// annotation, to standard output. The same tree gives the same bytes on any machine.
#[derive(Parser)]
#[command(name = "pack-layer", version, override_usage = USAGE)]
pub(crate) struct Cli {
    /// A directory, or a tar archive (- is standard input)
    ///
    /// A directory, or a tar archive that is packed unchanged (- is standard input)
    pub(crate) path: PathBuf,

    /// Write the layer to FILE (- is standard output)
    ///
    /// Write the layer to FILE, which appears only when it is complete (- is standard output; then
    /// no descriptor line is printed)
    #[arg(short, long, value_name = "FILE", conflicts_with = "into")]
    output: Option<PathBuf>,

    /// Store the layer in a layout
    #[arg(long, value_name = "oci:DIR")]
    into: Option<StoreName>,

    /// The compression: gzip, zstd or none
    ///
    /// The compression format
    #[arg(long, value_name = "HOW", value_enum, default_value = "gzip")]
    compress: Format,

    /// The compression level
    ///
    /// The compression level: gzip 1 to 9 [default: 6], zstd 1 to 19 [default: 3]
    #[arg(long, value_name = "N")]
    level: Option<u32>,

    /// The number of compression threads
    ///
    /// The number of compression threads [default: the number of processors]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: Option<u8>,

    /// Print Docker's media type in the line
    ///
    /// Print Docker's media type in the descriptor line, instead of OCI's
    #[arg(long, hide_short_help = true)]
    docker: bool,

    /// Pack only the differences from this directory
    ///
    /// Pack only the differences from this directory, with a whiteout for each removed name
    #[arg(long, value_name = "DIR")]
    pub(crate) base: Option<PathBuf>,

    /// Set the owner and the group of every entry
    #[arg(long, value_name = "UID:GID")]
    owner: Option<Owner>,

    /// Set the time of every entry
    ///
    /// Set the time of every entry: @SECONDS, or a time like 2024-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    mtime: Option<Time>,

    /// Leave out the entry of the directory itself
    #[arg(long, hide_short_help = true)]
    no_root: bool,

    /// Do not enter directories on other file systems
    #[arg(long, hide_short_help = true)]
    one_file_system: bool,

    /// Whiteout names: refuse or keep them
    ///
    /// The treatment of files with the name of a whiteout (.wh.NAME)
    #[arg(long, value_name = "HOW", value_enum, default_value = "refuse")]
    whiteouts: Whiteouts,

    #[command(flatten)]
    pub(crate) progress: progress::Options,

    /// Print no warnings and no notices
    ///
    /// Print no warnings and no notices; show progress only with --progress bar or json
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

const USAGE: &str = "pack-layer [OPTIONS] --output FILE PATH
       pack-layer [OPTIONS] --into oci:DIR PATH";

/// The hint for an `--into` that names a repository.
const INTO_REPOSITORY: &str =
    "pack-layer PATH --compress none -o - | push-blob REPO --compress gzip";

/// A compression format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One gzip member
    Gzip,
    /// One zstd frame
    Zstd,
    /// No compression
    None,
}

/// The treatment of files with the name of a whiteout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Whiteouts {
    /// Refuse them: they would hide files of lower layers
    Refuse,
    /// Pack them: they are whiteouts
    Keep,
}

impl Cli {
    /// Refuses contradictory options that clap does not detect.
    pub(crate) fn check(&self) -> Result<()> {
        if self.base.is_some() && self.whiteouts == Whiteouts::Keep {
            return Err(Error::usage("--whiteouts keep and --base: both define the whiteouts"));
        }
        Ok(())
    }

    /// The destination of the layer.
    pub(crate) fn destination(&self) -> Result<DestinationName<'_>> {
        match (&self.output, &self.into) {
            (_, Some(store)) => {
                layout_dir("--into", store, INTO_REPOSITORY).map(DestinationName::Layout)
            }
            (Some(file), None) => Ok(DestinationName::File(file)),
            (None, None) => Err(Error::usage("no destination: -o FILE or --into oci:DIR")),
        }
    }

    /// The first given option that changes entries. An archive is packed unchanged, so these
    /// options are refused for it.
    pub(crate) fn shaping_option(&self) -> Option<&'static str> {
        [
            (self.base.is_some(), "--base"),
            (self.owner.is_some(), "--owner"),
            (self.mtime.is_some(), "--mtime"),
            (self.no_root, "--no-root"),
            (self.one_file_system, "--one-file-system"),
            (self.whiteouts == Whiteouts::Keep, "--whiteouts"),
        ]
        .into_iter()
        .find_map(|(given, name)| given.then_some(name))
    }

    /// The compression method, and the media type of the layer.
    pub(crate) fn method(&self) -> Result<(Method, &'static str)> {
        let format = match self.compress {
            Format::Gzip => Some(Compression::Gzip),
            Format::Zstd => Some(Compression::Zstd),
            Format::None => None,
        };
        let processors = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = self.jobs.map_or_else(processors, usize::from);
        let method = Method::new(format, self.level, threads)?;
        Ok((method, method.media_type(self.docker)?))
    }

    /// The rules that turn files into entries.
    pub(crate) fn rules(&self) -> Result<Rules> {
        Ok(Rules {
            mtime: self.mtime,
            latest: match self.mtime {
                Some(_) => None,
                None => time::source_date_epoch()?,
            },
            owner: self.owner,
            no_root: self.no_root,
            one_file_system: self.one_file_system,
            keep_whiteouts: self.whiteouts == Whiteouts::Keep,
        })
    }
}
