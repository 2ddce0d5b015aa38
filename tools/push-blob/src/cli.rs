// SPDX-License-Identifier: Apache-2.0
//! The command line of push-blob.

use std::path::PathBuf;

use clap::Parser;
use common::descriptor::UNCOMPRESSED;
use common::error::{Error, Result};
use common::mediatype::{self, Compression};
use common::parallel::processors;
use common::reference::{Repository, StoreName};
use common::{cli, progress};
use compress::Method;
use store::options::{FromNetwork, Mirrored, Network, Stdin};

/// Push blobs into a registry or a layout
///
/// Each FILE is one blob; without FILE, standard input is the blob. With --from, standard input has
/// the blobs' descriptor lines instead. When STORE has a blob, its descriptor line is printed. The
/// lines keep the order of the input.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    /// The target of the blobs: a repository, or oci:DIR
    #[arg(value_parser = StoreName::of_reference)]
    pub(crate) store: StoreName,
    /// Files to push, each as one blob; "-" is standard input
    #[arg(value_name = "FILE", conflicts_with = "from")]
    pub(crate) files: Vec<PathBuf>,
    /// Push the blobs of descriptor lines from STORE
    #[arg(long, value_name = "STORE", value_parser = StoreName::of_reference)]
    pub(crate) from: Option<StoreName>,
    /// Mount blobs from REPO (repeatable)
    ///
    /// Mount blobs from REPO, which is in the same registry (repeatable)
    #[arg(long, value_name = "REPO")]
    pub(crate) mount_from: Vec<StoreName>,
    /// The media type to print for the blobs
    #[arg(long, value_name = "TYPE", conflicts_with = "from", value_parser = media_type)]
    pub(crate) media_type: Option<String>,
    /// Set an annotation in the printed lines (repeatable)
    ///
    /// Set an annotation in the lines that are printed for the blobs (repeatable)
    #[arg(
        long,
        hide_short_help = true,
        value_name = "KEY=VALUE",
        conflicts_with = "from",
        value_parser = cli::key_value
    )]
    pub(crate) annotation: Vec<(String, String)>,
    /// Compress the bytes with gzip or zstd
    ///
    /// Compress the bytes, or uncompressed layers of --from
    #[arg(long, value_name = "HOW", value_enum)]
    pub(crate) compress: Option<Format>,
    /// Send in parts of SIZE
    ///
    /// Send in parts of SIZE (k, M, G, T are powers of 1024)
    #[arg(long, hide_short_help = true, value_name = "SIZE", value_parser = chunk)]
    pub(crate) chunk: Option<u64>,
    /// Push non-distributable layers too
    #[arg(long, hide_short_help = true, requires = "from")]
    pub(crate) allow_nondistributable: bool,
    /// Use at most N connections
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) jobs: u8,
    #[command(flatten)]
    pub(crate) progress: progress::Options,
    /// Print no warnings and no notices
    ///
    /// Print no warnings and no notices; show progress only with --progress bar or json
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) network: Network,
    #[command(flatten)]
    pub(crate) from_network: FromNetwork,
    #[command(flatten)]
    pub(crate) mirrored: Mirrored,
}

/// A compression format for `--compress`.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Format {
    /// gzip, on all processors
    Gzip,
    /// zstd, on all processors
    Zstd,
}

/// The smallest part that `--chunk` accepts, in bytes. With smaller parts the requests would cost
/// more than the bytes that they carry.
const MIN_CHUNK: u64 = 64 << 10;

fn chunk(text: &str) -> std::result::Result<u64, String> {
    let size = cli::bytes(text)?;
    if size < MIN_CHUNK {
        return Err(format!("must be at least {} KiB", MIN_CHUNK >> 10));
    }
    Ok(size)
}

fn media_type(text: &str) -> std::result::Result<String, String> {
    if mediatype::is_media_type(text) {
        Ok(text.to_owned())
    } else {
        Err("not a media type".to_owned())
    }
}

impl Cli {
    /// Refuses options that have no effect without `--from`, and annotations that are given twice
    /// or contradict `--compress`.
    ///
    /// # Errors
    /// Usage if there are such options.
    pub(crate) fn check(&self) -> Result<()> {
        cli::refuse_repeated("--annotation", &self.annotation)?;
        if self.compress.is_some() && self.annotation.iter().any(|(key, _)| key == UNCOMPRESSED) {
            let what = format_args!("--annotation {UNCOMPRESSED}: --compress sets it");
            return Err(Error::usage(what));
        }
        let of_lines = self.allow_nondistributable.then_some("--allow-nondistributable");
        let of_from = self.from_network.given().or(self.mirrored.given());
        if self.from.is_none()
            && let Some(option) = of_lines.or(of_from)
        {
            return Err(Error::usage(format_args!("{option} requires --from")));
        }
        Ok(())
    }

    /// Whether standard input is data. It is free only if every blob is in a named file.
    pub(crate) fn stdin(&self) -> Stdin {
        let files = &self.files;
        let all_files = !files.is_empty() && files.iter().all(|file| file.as_os_str() != "-");
        if all_files { Stdin::Free } else { Stdin::Data }
    }

    /// The repositories of `--mount-from`.
    ///
    /// # Errors
    /// Usage if a repository is not in the target's registry.
    pub(crate) fn mount_repositories(&self) -> Result<Vec<Repository>> {
        let named = self.mount_from.iter().map(|name| match name {
            StoreName::Repository(repository) if self.is_same_registry(name) => {
                Ok(repository.clone())
            }
            other => Err(Error::usage(format_args!(
                "--mount-from {other}: must be a repository in the same registry"
            ))),
        });
        named.collect()
    }

    /// Whether `other` is a repository in the target's registry.
    pub(crate) fn is_same_registry(&self, other: &StoreName) -> bool {
        match (&self.store, other) {
            (StoreName::Repository(a), StoreName::Repository(b)) => a.api_host() == b.api_host(),
            _ => false,
        }
    }

    /// The compression of `--compress`, if given.
    ///
    /// # Errors
    /// The same as [`Method::new`].
    pub(crate) fn method(&self) -> Result<Option<Method>> {
        let format = match self.compress {
            None => return Ok(None),
            Some(Format::Gzip) => Compression::Gzip,
            Some(Format::Zstd) => Compression::Zstd,
        };
        Method::new(Some(format), None, processors()).map(Some)
    }
}
