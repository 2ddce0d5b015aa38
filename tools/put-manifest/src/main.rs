// SPDX-License-Identifier: Apache-2.0
//! put-manifest: stores a manifest's exact bytes in a registry or a layout, and checks them before
//! they are sent.
//!
//! This is the last step of a push: the tag moves when everything that the manifest names exists.
//! Blobs whose bytes are in the manifest are stored first. Not here: sending all other blobs
//! (push-blob) and creating a manifest (build-manifest).

mod carried;
mod complete;
mod input;
mod names;
mod to_layout;
mod to_registry;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::error::{Error, Result};
use common::exit;
use common::line_output::LineOutput;
use common::output::Output;
use common::reference::Location;
use store::options::{Network, Stdin};

/// Put a manifest into a registry or a layout
///
/// The manifest is read from FILE or standard input and stored byte for byte. Its descriptor line
/// is printed.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The destination: a repository or oci:DIR, with a tag or a digest
    #[arg(value_name = "REF")]
    location: Location,
    /// The manifest; standard input if omitted or "-"
    file: Option<PathBuf>,
    /// Also store the manifest under this tag (repeatable)
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Store the manifest by its digest, without a tag
    #[arg(long)]
    by_digest: bool,
    /// First check that all blobs that the manifest names exist
    ///
    /// First check that all blobs and manifests that the manifest names exist, and list the missing
    /// ones
    #[arg(long)]
    check: bool,
    /// Write the manifest's digest to FILE after it is stored
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Print no warnings and no notices
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    network: Network,
}

fn main() -> ExitCode {
    exit::run("put-manifest", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    let remote = cli.network.remote(Stdin::unless(cli.file.as_deref()))?;
    let mut output = LineOutput::stdout()?;
    let digestfile = cli.digestfile.as_deref().map(Output::open).transpose()?;
    names::check(&cli.location, &cli.tags, cli.by_digest)?;
    let mut document = input::read(cli.file.as_deref(), &cli.location)?;
    let tags = names::tags(&cli.location, &cli.tags, cli.by_digest, &document.manifest)?;
    match &cli.location {
        Location::Registry(reference) => {
            to_registry::put(reference, &tags, cli.check, &remote, &document)?;
        }
        Location::Layout(place) => {
            document = document.for_layout();
            to_layout::put(place, &tags, &document)?;
        }
    }
    if let Some(digestfile) = digestfile {
        digestfile.write(format!("{}\n", document.descriptor.digest).as_bytes())?;
    }
    output.print(&document.descriptor).map_err(|cause| Error::local("standard output", &cause))
}
