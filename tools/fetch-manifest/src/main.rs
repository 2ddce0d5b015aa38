// SPDX-License-Identifier: Apache-2.0
//! fetch-manifest: prints a manifest's exact bytes, from a registry or a layout.
//!
//! Before anything is printed or stored, the bytes are verified against the requested digest (or
//! the digest that the registry states), and the manifest's structure is checked. Not here: the
//! blobs that a manifest names.

mod into;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::cli;
use common::error::{Error, Result};
use common::exit;
use common::manifest::Content;
use common::output::Output;
use common::platform::Platform;
use common::reference::{LayoutReference, Location};
use layout::Layout;
use store::options::{Mirrored, Network, Stdin};
use store::{ReadOptions, Store, Which};

use into::IntoLayout;

/// Fetch a manifest's exact bytes from a registry or a layout
///
/// REF names an image in a registry, or in a layout with oci:DIR; regutils(7) describes the syntax.
/// The manifest is verified and written to standard output, byte for byte.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The manifest or index to fetch
    #[arg(value_name = "REF")]
    reference: Location,
    /// From an index, fetch the manifest for OS/ARCH
    ///
    /// From an index, fetch the manifest for this platform: OS/ARCH, with optional /VARIANT and
    /// :OSVERSION, or local; a single image must be for this platform
    #[arg(short, long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Print only the manifest's descriptor line
    #[arg(long, conflicts_with = "digest")]
    descriptor: bool,
    /// Print only the manifest's digest
    #[arg(long)]
    digest: bool,
    /// Also store it in a layout, as TAG or REF's tag
    ///
    /// Also store the manifest in a layout, under TAG, or by default under REF's tag
    #[arg(long, value_name = "oci:DIR[:TAG]")]
    into: Option<Location>,
    /// If the layout has the image, end with status 8
    ///
    /// If the layout already has this image, complete and under the same name, print nothing and
    /// end with status 8
    #[arg(long, requires = "into")]
    if_changed: bool,
    /// Write to FILE instead of standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,
    /// Request only this media type (repeatable)
    #[arg(long = "media-type", value_name = "TYPE", value_parser = media_type)]
    media_types: Vec<String>,
    /// Print no warnings and no notices
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    network: Network,
    #[command(flatten)]
    mirrored: Mirrored,
}

fn media_type(text: &str) -> std::result::Result<String, String> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    if fits { Ok(text.to_owned()) } else { Err("not a media type".to_owned()) }
}

fn main() -> ExitCode {
    exit::run("fetch-manifest", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    let into = cli.into.as_ref().map(layout_of).transpose()?;
    let remote = cli.mirrored.remote(cli.network.remote(Stdin::Free)?)?;
    let output = Output::open(&cli.output)?;
    let mut store = Store::of(&cli.reference, &remote)?;
    // A layout that cannot be read is reported when the manifest is stored in it.
    if let Some(layout) = into.and_then(|into| Layout::open(&into.dir).ok()) {
        store = store.with_kept(layout);
    }
    let options = ReadOptions {
        accept: &cli.media_types,
        schema1: cli::schema1(),
        platform: cli.platform.as_ref(),
    };

    let only_described = (cli.descriptor || cli.digest) && into.is_none() && cli.platform.is_none();
    if only_described && let Some(descriptor) = store.head(Which::of(&cli.reference), options)? {
        return if cli.digest {
            output.write(format!("{}\n", descriptor.digest).as_bytes())
        } else {
            output.write_line(&descriptor)
        };
    }

    let into = into.map(|place| IntoLayout {
        place,
        from: &cli.reference,
        reports_moves: !cli.if_changed,
    });
    if cli.if_changed
        && cli.platform.is_none()
        && let Some(into) = &into
        && let Some(descriptor) = store.head(Which::of(&cli.reference), options)?
        && into.has(&descriptor)
    {
        return Err(Error::unchanged());
    }

    let mut document = store.manifest(Which::of(&cli.reference), options)?;
    let mut index = None;
    if let Some(platform) = &cli.platform {
        let is_index = matches!(document.manifest.content, Content::Index { .. });
        index = (is_index && into.is_some()).then(|| document.clone());
        document = store.for_platform(document, platform, options)?;
    }
    if let Some(into) = &into {
        if cli.if_changed && into.has(&document.descriptor) {
            return Err(Error::unchanged());
        }
        into.store(document.clone().for_layout(), index.as_ref())?;
    }
    if cli.digest {
        output.write(format!("{}\n", document.descriptor.digest).as_bytes())
    } else if cli.descriptor {
        output.write_line(&document.descriptor)
    } else {
        output.write(&document.bytes)
    }
}

/// The layout that `--into` names. It may have a tag but no digest.
fn layout_of(into: &Location) -> Result<&LayoutReference> {
    match into {
        Location::Layout(layout) if layout.digest.is_none() => Ok(layout),
        Location::Layout(_) => Err(Error::usage("--into: got a digest, want a tag")),
        Location::Registry(_) => Err(Error::usage(format_args!("--into {into}: expected oci:DIR"))),
    }
}
