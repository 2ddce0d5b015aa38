// SPDX-License-Identifier: Apache-2.0
//! The command line: names, help texts, and which of them contradict each other.

use std::num::NonZero;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use common::cli::layout_dir;
use common::error::{Error, Result};
use common::mediatype::Compression;
use common::reference::StoreName;
use compress::Method;

use crate::destination::DestinationName;
use crate::rules::{Owner, Rules};
use crate::time::{self, Time};

/// Pack a directory or a tar archive into a container image layer.
///
/// The layer goes to a file or a layout, and its descriptor line to standard output, with its diff
/// ID as an annotation. The same tree gives the same bytes on any machine.
#[derive(Parser)]
#[command(name = "pack-layer", version, override_usage = USAGE)]
pub(crate) struct Cli {
    /// A directory, or a tar archive to take as it is (- is stdin)
    pub(crate) path: PathBuf,

    /// Write the layer to FILE, which appears when it is whole (- is stdout, and no line is
    /// printed)
    #[arg(short, long, value_name = "FILE", conflicts_with = "into")]
    output: Option<PathBuf>,

    /// Put the layer into a layout
    #[arg(long, value_name = "oci:DIR")]
    into: Option<StoreName>,

    /// How to compress
    #[arg(long, value_name = "HOW", value_enum, default_value = "gzip")]
    compress: Format,

    /// The level: gzip has 1 to 9 (6), zstd 1 to 19 (3)
    #[arg(long, value_name = "N")]
    level: Option<u32>,

    /// Threads that compress; all processors without
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: Option<u8>,

    /// Name Docker's media type in the line, not OCI's
    #[arg(long)]
    docker: bool,

    /// Pack only what differs from this directory, and whiteouts for what is gone
    #[arg(long, value_name = "DIR")]
    pub(crate) base: Option<PathBuf>,

    /// Make everything this user's and group's
    #[arg(long, value_name = "UID:GID")]
    owner: Option<Owner>,

    /// The time of everything: @SECONDS, or like 2024-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    mtime: Option<Time>,

    /// Leave out the entry of the directory itself
    #[arg(long)]
    no_root: bool,

    /// Do not enter other file systems
    #[arg(long)]
    one_file_system: bool,

    /// What becomes of files named as whiteouts
    #[arg(long, value_name = "HOW", value_enum, default_value = "refuse")]
    whiteouts: Whiteouts,

    /// Drop warnings
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

const USAGE: &str = "pack-layer [OPTIONS] --output FILE PATH
       pack-layer [OPTIONS] --into oci:DIR PATH";

/// How a layer gets into a repository.
const INTO_REPOSITORY: &str =
    "pack-layer PATH --compress none -o - | push-blob REPO --compress gzip";

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One gzip member
    Gzip,
    /// One zstd frame
    Zstd,
    /// The archive as it is
    None,
}

/// What becomes of files named as whiteouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Whiteouts {
    /// Refuse them: they would hide what lower layers have
    Refuse,
    /// Keep them, as the whiteouts that they are
    Keep,
}

impl Cli {
    /// What of the command line contradicts itself beyond what clap sees.
    pub(crate) fn check(&self) -> Result<()> {
        if self.base.is_some() && self.whiteouts == Whiteouts::Keep {
            return Err(Error::usage("--whiteouts keep and --base: both say what is hidden"));
        }
        Ok(())
    }

    /// Where the layer goes.
    pub(crate) fn destination(&self) -> Result<DestinationName<'_>> {
        match (&self.output, &self.into) {
            (_, Some(store)) => {
                layout_dir("--into", store, INTO_REPOSITORY).map(DestinationName::Layout)
            }
            (Some(file), None) => Ok(DestinationName::File(file)),
            (None, None) => Err(Error::usage("no destination: -o FILE or --into oci:DIR")),
        }
    }

    /// The first option that shapes entries: an archive is taken as it is.
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

    /// How to compress, and the media type of what comes out.
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

    /// The rules by which a tree becomes entries.
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
