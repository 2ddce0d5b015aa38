// SPDX-License-Identifier: Apache-2.0
//! list-blobs: list the blobs that a manifest names, as descriptor lines.
//!
//! A descriptor is printed as the manifest has it, with all its fields. Only `--from` touches a store, and
//! only to read manifests below the one given. Not here: whether the blobs exist, and fetching them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use common::descriptor::Descriptor;
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result};
use common::lines::looks_like_descriptor;
use common::manifest::{self, Content, Manifest};
use common::mediatype::{self, Kind};
use common::platform::Platform;
use common::reference::StoreName;
use common::{cli, exit, stdio};
use store::options::{Mirrored, Network, Stdin};
use store::{Asking, Document, MAX_DEPTH, Store};

/// List the blobs that a manifest names, as descriptor lines
///
/// Of an image its config, then its layers, base first, as often as the manifest has them. Of an index its
/// manifests.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The manifest; stdin without it, and for "-"
    file: Option<PathBuf>,

    /// Print the config alone
    #[arg(long, conflicts_with = "layers")]
    config: bool,

    /// Print the layers alone
    #[arg(long)]
    layers: bool,

    /// Of an index, only what is for this platform (as linux/arm64/v8, or local): its manifest; with --from,
    /// that manifest's blobs
    #[arg(short, long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    /// Go down an index: every digest once, every manifest after its blobs
    #[arg(long, requires = "from", conflicts_with_all = ["platform", "config", "layers"])]
    recursive: bool,

    /// Where the manifests below an index are: a repository, or oci:DIR
    #[arg(long, value_name = "STORE")]
    from: Option<StoreName>,

    /// Drop warnings
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    network: Network,
    #[command(flatten)]
    mirrored: Mirrored,
}

/// The most digests that --recursive remembers, so that memory has a bound whatever an index unfolds to.
const MAX_DIGESTS: usize = 200_000;

fn main() -> ExitCode {
    exit::run("list-blobs", story)
}

fn story(cli: Cli) -> anyhow::Result<()> {
    exit::quiet(cli.quiet);
    if cli.from.is_some() && cli.platform.is_none() && !cli.recursive {
        return Err(Error::usage("--from goes with --recursive or -p: nothing else is read").into());
    }
    if let (None, Some(option)) = (&cli.from, cli.mirrored.given()) {
        return Err(Error::usage(format_args!("{option} goes with --from")).into());
    }
    // The time for the whole run begins here.
    let remote = cli.network.remote(Stdin::unless(cli.file.as_deref()))?;
    let remote = cli.mirrored.remote(remote)?;
    let mut output = Lines(BufWriter::new(stdio::stdout()?));
    let document = given(cli.file.as_deref())?;
    // Opened when the input is there: what fills the store may have started in the same moment as this.
    let store = |name: &StoreName| Store::open(name, &remote);
    let is_index = matches!(document.manifest.content, Content::Index { .. });
    match (&cli.from, &cli.platform) {
        (Some(from), None) => {
            let mut walk = Walk { store: store(from)?, seen: HashSet::new(), output: &mut output };
            walk.down(document.manifest, 0)?;
        }
        (Some(from), Some(platform)) if is_index => {
            let image = store(from)?.for_platform(document, platform, asking())?;
            image_blobs(image.manifest, &cli, &mut output)?;
        }
        _ => image_blobs(document.manifest, &cli, &mut output)?,
    }
    Ok(output.flush()?)
}

/// The manifest that the command line names.
fn given(file: Option<&Path>) -> Result<Document> {
    let bytes = cli::read_document(file, manifest::MAX_SIZE)?;
    let name = match file {
        Some(path) if path.as_os_str() != "-" => path.display().to_string(),
        _ => "standard input".to_owned(),
    };
    if looks_like_descriptor(&bytes) {
        let error =
            Error::usage(format_args!("{name}: a descriptor, not the manifest that it names"));
        return Err(
            error.hint("fetch-manifest prints a manifest's bytes when it is not told otherwise")
        );
    }
    let manifest =
        Manifest::parse(&bytes, None, &name, cli::schema1()).map_err(|e| e.context(&name))?;
    let digest = Algorithm::Sha256.digest(&bytes);
    let descriptor = Descriptor::new(&manifest.media_type, digest, bytes.len() as u64);
    Ok(Document { bytes, descriptor, manifest })
}

/// How manifests below an index are asked for.
fn asking() -> Asking<'static> {
    Asking { accept: &[], schema1: cli::schema1(), platform: None }
}

/// Prints what one manifest names.
fn image_blobs(manifest: Manifest, cli: &Cli, output: &mut Lines) -> Result<()> {
    match manifest.content {
        Content::Image { config, layers } => {
            if !cli.layers {
                output.put(&config)?;
            }
            if !cli.config {
                layers.iter().try_for_each(|layer| output.put(layer))?;
            }
            Ok(())
        }
        Content::Index { .. } if cli.config || cli.layers => {
            let flag = if cli.config { "--config" } else { "--layers" };
            let error = Error::usage(format_args!("{flag}: this is an index, which has none"));
            Err(error.hint("-p OS/ARCH with --from STORE goes down to an image"))
        }
        Content::Index { manifests } => match &cli.platform {
            None => manifests.iter().try_for_each(|entry| output.put(entry)),
            Some(platform) => match manifest::candidates(&manifests, platform).first() {
                None => Err(manifest::no_platform(&manifests, platform)),
                Some(entry) if mediatype::kind(&entry.media_type) == Kind::Index => {
                    let what = format_args!("{platform} may be in the index {}", entry.digest);
                    Err(Error::usage(what).hint("--from STORE goes down to it"))
                }
                Some(entry) => output.put(entry),
            },
        },
        Content::Schema1 => Err(schema1_is_not_listed()),
    }
}

fn schema1_is_not_listed() -> Error {
    Error::malformed("unsupported: a Docker schema 1 manifest has no descriptors to list")
}

/// The way down an index.
struct Walk<'a> {
    store: Store,
    seen: HashSet<Digest>,
    output: &'a mut Lines,
}

impl Walk<'_> {
    /// Prints all below a manifest, but not the manifest.
    fn down(&mut self, manifest: Manifest, depth: usize) -> Result<()> {
        let manifests = match manifest.content {
            Content::Image { config, layers } => {
                return std::iter::once(config)
                    .chain(layers)
                    .try_for_each(|blob| self.put_once(&blob));
            }
            Content::Index { .. } if depth >= MAX_DEPTH => {
                let what = format_args!("{}: indexes nested deeper than {MAX_DEPTH}", self.store);
                return Err(Error::malformed(what));
            }
            Content::Index { manifests } => manifests,
            Content::Schema1 => return Err(schema1_is_not_listed()),
        };
        for entry in manifests {
            if mediatype::is_manifest(&entry.media_type) && !self.seen.contains(&entry.digest) {
                // What is printed so far need not wait for the next manifest.
                self.output.flush()?;
                let child = self.store.described(entry.clone(), asking())?;
                self.down(child.manifest, depth + 1)?;
            }
            self.put_once(&entry)?;
        }
        Ok(())
    }

    fn put_once(&mut self, descriptor: &Descriptor) -> Result<()> {
        if self.seen.contains(&descriptor.digest) {
            return Ok(());
        }
        if self.seen.len() >= MAX_DIGESTS {
            let what = format_args!("the index leads to more than {MAX_DIGESTS} blobs");
            return Err(Error::malformed(what));
        }
        self.seen.insert(descriptor.digest.clone());
        self.output.put(descriptor)
    }
}

/// Descriptor lines on stdout.
struct Lines(BufWriter<File>);

impl Lines {
    fn put(&mut self, descriptor: &Descriptor) -> Result<()> {
        writeln!(self.0, "{}", descriptor.line())
            .map_err(|cause| Error::local("standard output", &cause))
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush().map_err(|cause| Error::local("standard output", &cause))
    }
}
