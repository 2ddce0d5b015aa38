// SPDX-License-Identifier: Apache-2.0
//! list-referrers: lists the manifests that refer to a manifest, as descriptor lines.
//!
//! In a registry, the referrers API and the list under the fallback tag are read. In a layout, all
//! manifests that an entry reaches are read. Not here: the content of a referrer, which
//! fetch-manifest and fetch-blob read.

mod in_layout;
mod lines;
mod recursive;
mod source;

use std::process::ExitCode;

use clap::Parser;
use common::digest::Digest;
use common::error::Result;
use common::reference::Location;
use common::{cli, exit};
use store::options::{Mirrored, Network, Stdin};
use store::{ReadOptions, Store, Which};

use lines::LineWriter;
use source::Source;

/// List the referrers of a manifest, as descriptor lines
///
/// REF names an image in a registry, or in a layout with oci:DIR. Its referrers are the manifests
/// with this image as subject: signatures, SBOMs, attestations.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The manifest or index that is the subject
    #[arg(value_name = "REF")]
    reference: Location,
    /// List only referrers of this artifact type
    #[arg(long, value_name = "TYPE", value_parser = artifact_type)]
    artifact_type: Option<String>,
    /// Print everything that a copy needs: REF, its referrers, their referrers, and all blobs;
    /// every digest once, every manifest after its blobs
    #[arg(long)]
    recursive: bool,
    /// Print no warnings and no notices
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    network: Network,
    #[command(flatten)]
    mirrored: Mirrored,
}

fn artifact_type(text: &str) -> std::result::Result<String, String> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err("not an artifact type".to_owned()) }
}

fn main() -> ExitCode {
    exit::run("list-referrers", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    let remote = cli.mirrored.remote(cli.network.remote(Stdin::Free)?)?;
    let mut output = LineWriter::new()?;
    let store = Store::of(&cli.reference, &remote)?;
    let source = Source::new(&store);
    let options = ReadOptions { accept: &[], schema1: cli::schema1(), platform: None };
    let which = Which::of(&cli.reference);
    let artifact_type = cli.artifact_type.as_deref();
    if cli.recursive {
        return recursive::print(&source, which, options, artifact_type, &mut output);
    }
    let subject = digest(&store, which, options)?;
    let is_listed =
        source.referrers(&subject, artifact_type, &mut |referrer| output.put(&referrer))?;
    if !is_listed && matches!(which, Which::Digest(_)) {
        // A subject need not exist. If it also has no referrers, the digest is probably wrong.
        store.manifest(which, options)?;
    }
    Ok(())
}

/// The digest of the subject. If the reference has a digest, the subject need not exist.
fn digest(store: &Store, which: Which<'_>, options: ReadOptions<'_>) -> Result<Digest> {
    if let Which::Digest(digest) = which {
        return Ok(digest.clone());
    }
    match store.head(which, options)? {
        Some(descriptor) => Ok(descriptor.digest),
        None => Ok(store.manifest(which, options)?.descriptor.digest),
    }
}
