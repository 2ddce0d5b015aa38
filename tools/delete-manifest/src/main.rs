// SPDX-License-Identifier: Apache-2.0
//! delete-manifest: removes a tag, or a manifest with all its tags, from a registry or a layout.
//!
//! A tag is removed alone. It is never removed by the digest of its manifest, which would remove
//! the other tags too. Not here: deleting blobs. A registry's garbage collection does that, and in
//! a layout sweep-layout does.

mod lines;
mod target;

use std::io::BufReader;
use std::process::ExitCode;

use clap::Parser;
use common::error::Result;
use common::reference::Location;
use common::{exit, stdio};
use store::options::{Network, Stdin};

use target::{Name, Target};

/// Remove a tag or a manifest from a registry or a layout
///
/// If REF has a tag, removes only that tag. If REF has a digest, removes the manifest and all its
/// tags. If REF has neither, reads descriptor lines from standard input, and removes the manifests
/// that they name.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The tag or manifest; or the repository or layout, for descriptor lines
    #[arg(value_name = "REF")]
    reference: Location,
    /// Succeed if the tag, the manifest or the layout does not exist
    #[arg(long)]
    ignore_missing: bool,
    /// Print no warnings and no notices
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    network: Network,
}

fn main() -> ExitCode {
    exit::run("delete-manifest", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    let name = Name::of(&cli.reference)?;
    let stdin = if name.is_none() { Stdin::Data } else { Stdin::Free };
    let remote = cli.network.remote(stdin)?;
    let open = || Target::open(&cli.reference, &remote, cli.ignore_missing);
    let Some(name) = name else {
        let mut manifests = lines::manifests(BufReader::new(stdio::stdin()?)).peekable();
        // A layout is opened at the first line: the program that writes the lines may create it.
        manifests.next_if(Result::is_err).transpose()?;
        return open()?.remove_each(manifests);
    };
    open()?.remove(&name)
}
