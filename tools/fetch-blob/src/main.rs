// SPDX-License-Identifier: Apache-2.0
//! fetch-blob: fetches blobs from a registry or a layout and writes them to standard output, a file
//! or a layout. All bytes are verified, and an interrupted download is resumed.
//!
//! Start reading with `one` and `many`, the two ways to run.
//!
//! | module | holds |
//! |---|---|
//! | `one` | one blob to standard output or a file |
//! | `many` | many blobs into a layout |
//! | `lines` | the list of blobs to fetch, from the command line or standard input |
//! | `to_stdout` | the download to standard output, which a later run cannot resume |
//! | `destination` | the layout or file for the blobs, and the check whether it has a blob |
//! | `connections` | the choice of the blob and the part that each connection downloads next |
//! | `in_order`, `width` | that choice with `--early`, and the number of connections for it |
//! | `blob`, `part` | the shared state of a blob during its download |
//! | `download` | the download of one part, by one connection |
//! | `hashing` | the hash of the blob: of received bytes at once, of others from the files |
//! | `partial_files` | the files of an incomplete blob, and their lock |
//!
//! Not here: manifests, which fetch-manifest fetches, and unpacking layers, which unpack-layer
//! does.

mod blob;
mod connections;
mod destination;
mod download;
mod hashing;
mod in_order;
mod lines;
mod many;
mod one;
mod part;
mod partial_files;
mod to_stdout;
mod width;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::digest::Digest;
use common::error::{Error, Result};
use common::progress::{self, Progress, Work};
use common::reference::StoreName;
use common::{cli, exit};
use store::options::{Mirrored, Network, Stdin};

/// Fetch blobs, verified and resumable
///
/// DIGESTs, or descriptor lines on standard input, name the blobs. Without --into, one blob is
/// written to standard output or to FILE. With --into, the blobs are stored in a layout, and a
/// descriptor line is printed when its blob is stored and verified.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The source of the blobs: a repository, or oci:DIR
    #[arg(value_parser = StoreName::of_reference)]
    store: StoreName,
    /// Digests of the blobs, instead of descriptor lines
    ///
    /// Digests of the blobs; if none is given, descriptor lines are read from standard input
    #[arg(value_name = "DIGEST")]
    digests: Vec<Digest>,
    /// Write the one blob to FILE
    #[arg(short, long, value_name = "FILE", conflicts_with = "into")]
    output: Option<PathBuf>,
    /// Store the blobs in a layout
    #[arg(long, value_name = "oci:DIR")]
    into: Option<StoreName>,
    /// Print a line when its blob begins to arrive, for unpack-layer
    #[arg(long, requires = "into")]
    early: bool,
    /// Use at most N connections
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    jobs: u8,
    /// Hash the blobs of the layout, fetch wrong ones again
    ///
    /// Hash the blobs that the layout already has, and fetch wrong blobs again
    #[arg(long, requires = "into")]
    recheck: bool,
    /// Refuse a blob of more than SIZE bytes
    ///
    /// Refuse a blob of more than SIZE bytes (k, M, G, T are powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = cli::bytes)]
    max_size: Option<u64>,
    #[command(flatten)]
    progress: progress::Options,
    /// Print no warnings and no notices
    ///
    /// Print no warnings and no notices; show progress only with --progress bar or json
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    network: Network,
    #[command(flatten)]
    mirrored: Mirrored,
}

fn main() -> ExitCode {
    exit::run("fetch-blob", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    if cli.recheck && cli.into.is_none() {
        return Err(Error::usage("--recheck requires --into"));
    }
    if cli.early && cli.into.is_none() {
        return Err(Error::usage("--early requires --into"));
    }
    let stdin = if cli.digests.is_empty() { Stdin::Data } else { Stdin::Free };
    let remote = cli.mirrored.remote(cli.network.remote(stdin)?)?;
    let progress = Progress::start(cli.progress, cli.quiet, Work::Network)?;
    match &cli.into {
        Some(StoreName::Layout(dir)) => many::fetch(&cli, &remote, dir, progress),
        Some(StoreName::Repository(name)) => {
            Err(Error::usage(format_args!("--into {name}: expected oci:DIR")))
        }
        None => one::fetch(&cli, &remote, progress),
    }
}
