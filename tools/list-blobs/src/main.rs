// SPDX-License-Identifier: Apache-2.0
//! list-blobs: lists the blobs that a manifest names, as descriptor lines.
//!
//! A descriptor is printed with all its fields. A store is used only with `--from`, to read the
//! manifests below the given one, and the image config for `--diff-ids`. Not here: fetching the
//! blobs, or checking that they exist.

mod diff_ids;
mod direct;
mod lines;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use common::descriptor::Descriptor;
use common::digest::Algorithm;
use common::error::{Error, Result};
use common::lines::looks_like_descriptor;
use common::manifest::{self, Content, Manifest};
use common::platform::Platform;
use common::reference::StoreName;
use common::{cli, exit, schema1};
use store::below::{Step, Walk};
use store::options::{Mirrored, Network, Stdin};
use store::{Document, ReadOptions, Store};

use direct::Part;
use lines::LineWriter;

/// List the blobs that a manifest names, as descriptor lines
///
/// For an image, prints its config and then its layers, base first. A layer that the manifest lists
/// twice is printed twice. For an index, prints its manifests.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The manifest; standard input if omitted or "-"
    file: Option<PathBuf>,

    /// Print only the config
    #[arg(long, conflicts_with = "layers")]
    config: bool,

    /// Print only the layers
    #[arg(long)]
    layers: bool,

    /// From an index, print only the entry for OS/ARCH
    ///
    /// From an index, print only the manifest for this platform (for example linux/arm64/v8, or
    /// local); with --from, print that manifest's blobs
    #[arg(short, long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    /// Print everything below an index
    ///
    /// Print everything below an index: every digest once, every manifest after its blobs
    #[arg(long, requires = "from", conflicts_with_all = ["platform", "config", "layers"])]
    recursive: bool,

    /// Add the diff ID to the line of each layer
    ///
    /// Add the diff ID from the image config to the line of each layer, for build-config
    #[arg(long, requires = "from", conflicts_with_all = ["config", "recursive"])]
    diff_ids: bool,

    /// Read the manifests below an index from STORE
    ///
    /// Read the manifests below an index, or the config, from STORE: a repository, or oci:DIR
    #[arg(long, value_name = "STORE", value_parser = StoreName::of_reference)]
    from: Option<StoreName>,

    /// Print no warnings and no notices
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    network: Network,
    #[command(flatten)]
    mirrored: Mirrored,
}

fn main() -> ExitCode {
    exit::run("list-blobs", run)
}

fn run(cli: Cli) -> anyhow::Result<()> {
    exit::quiet(cli.quiet);
    if cli.from.is_some() && cli.platform.is_none() && !cli.recursive && !cli.diff_ids {
        return Err(Error::usage("--from requires --recursive, -p or --diff-ids").into());
    }
    if let (None, Some(option)) = (&cli.from, cli.mirrored.given()) {
        return Err(Error::usage(format_args!("{option} requires --from")).into());
    }
    let part = if cli.config {
        Part::Config
    } else if cli.layers {
        Part::Layers
    } else {
        Part::All
    };
    // The clock of --timeout starts here.
    let remote = cli.network.remote(Stdin::unless(cli.file.as_deref()))?;
    let remote = cli.mirrored.remote(remote)?;
    let mut output = LineWriter::new()?;
    let document = read_manifest(cli.file.as_deref())?;
    // The store is opened after the input was read: the program that fills the store may have
    // started at the same time.
    let store = |name: &StoreName| Store::open(name, &remote);
    let options = ReadOptions { accept: &[], schema1: cli::schema1(), platform: None };
    let is_index = matches!(document.manifest.content, Content::Index { .. });
    match (&cli.from, &cli.platform) {
        (Some(from), platform) if cli.diff_ids => {
            let store = store(from)?;
            let image = match platform {
                Some(platform) if is_index => store.for_platform(document, platform, options)?,
                _ => document,
            };
            let manifest = diff_ids::add(image.manifest, &store)?;
            direct::print(manifest, part, None, &mut output)?;
        }
        (Some(from), None) => {
            print_below(&store(from)?, options, document, &mut output)?;
        }
        (Some(from), Some(platform)) if is_index => {
            let image = store(from)?.for_platform(document, platform, options)?;
            direct::print(image.manifest, part, None, &mut output)?;
        }
        (None, None) if is_empty_index(&document) && part == Part::All => {
            output.put(&document.descriptor)?;
        }
        (_, platform) => {
            direct::print(document.manifest, part, platform.as_ref(), &mut output)?;
        }
    }
    Ok(output.flush()?)
}

/// Whether the document is an index without entries. It is printed itself, because the next program
/// treats empty input as a failure.
fn is_empty_index(document: &Document) -> bool {
    matches!(&document.manifest.content, Content::Index { manifests } if manifests.is_empty())
}

/// Prints everything below a manifest, but not the manifest itself, unless it is an index without
/// entries.
fn print_below(
    store: &Store,
    options: ReadOptions<'_>,
    document: Document,
    output: &mut LineWriter,
) -> Result<()> {
    if is_empty_index(&document) {
        return output.put(&document.descriptor);
    }
    Walk::new(store, options).below(document.manifest, &mut |step| match step {
        Step::Line(line) => output.put_line(&line),
        // The next program can use the lines so far while the next manifest is read.
        Step::Pause => output.flush(),
    })
}

/// Reads the manifest from the file or stdin.
fn read_manifest(file: Option<&Path>) -> Result<Document> {
    let bytes = cli::read_document(file, manifest::MAX_SIZE).map_err(|error| {
        cli::or_image(error, file, |image, _| format!("fetch-manifest {image} | list-blobs"))
    })?;
    let name = cli::input_name(file);
    if looks_like_descriptor(&bytes) {
        let error = Error::usage(format_args!("{name}: got a descriptor line, want a manifest"));
        return Err(error.hint("fetch-manifest without --descriptor prints a manifest"));
    }
    let manifest =
        Manifest::parse(&bytes, None, &name, cli::schema1()).map_err(|e| e.context(&name))?;
    let digest = Algorithm::Sha256.digest(&schema1::digested(&bytes));
    let descriptor = Descriptor::new(&manifest.media_type, digest, bytes.len() as u64);
    Ok(Document { bytes, descriptor, manifest })
}
