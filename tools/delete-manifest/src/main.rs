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
use common::error::{Result, Status};
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
    let remove = |target: &Target, name: &Name| match target.remove(name) {
        Err(error) if cli.ignore_missing && error.status() == Status::Absent => Ok(()),
        outcome => outcome,
    };
    match name {
        Some(name) => match Target::open(&cli.reference, &remote) {
            Err(error) if cli.ignore_missing && error.status() == Status::Absent => Ok(()),
            target => remove(&target?, &name),
        },
        None => {
            // A layout's index.json is written once for all lines. If it were written once for each
            // line, the time would be quadratic in the number of lines.
            let mut of_layout = Vec::new();
            let (target, outcome) = lines::for_each(
                BufReader::new(stdio::stdin()?),
                || Target::open(&cli.reference, &remote),
                |target, digest| match target {
                    Target::Layout(_) => {
                        of_layout.push(digest);
                        Ok(())
                    }
                    Target::Registry(_) => remove(target, &Name::Digest(digest)),
                },
            );
            if let Some(Target::Layout(layout)) = &target {
                target::remove_all(layout, &of_layout, cli.ignore_missing)?;
            }
            outcome
        }
    }
}
