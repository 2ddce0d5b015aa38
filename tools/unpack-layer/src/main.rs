// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: unpacks layers into a root file system.
//!
//! Two layers at a time are read, decompressed and hashed, on threads of their own. The main thread
//! writes files, one layer after the other. The tree is built in a staging directory beside DIR. It
//! is renamed to DIR only after the digests of all layers and the number of layers were checked.
//! The tool has no network code. Where to start reading: `unpack` is the complete run, `stream`
//! reads layers, `tree` makes files, `destination` handles DIR, `known_image` writes and reads the
//! note about the image in DIR, and `arriving` waits for the bytes of blobs that fetch-blob is
//! still downloading.

mod arriving;
mod cli;
mod destination;
mod known_image;
mod source;
mod stream;
mod tree;
mod unpack;

use std::process::ExitCode;

use common::exit;
use common::progress::{Progress, Work};
use common::reference::StoreName;

use cli::Cli;
use destination::Destination;
use stream::{Limits, Stream};
use unpack::Unpacking;

fn main() -> ExitCode {
    exit::run("unpack-layer", run)
}

fn run(cli: Cli) -> anyhow::Result<()> {
    exit::quiet(cli.quiet);
    cli.check()?;
    let destination = Destination::new(&cli.dir, cli.existing(), !cli.no_sync)?;
    let wants_config = cli.from.is_some() && !cli.no_config;
    // Only descriptor lines identify the image before its layers are read.
    let options = cli.from.is_some().then(|| cli.note_options());
    let known = options.as_ref().and_then(|options| destination.known_image(options));
    let progress = Progress::start(cli.progress, cli.quiet, Work::Local)?;
    let unpacking =
        Unpacking::new(destination, cli.rules(), wants_config, options, progress.clone());

    let limits = Limits { archive_bytes: cli.max_size };
    let stream = match cli.from {
        Some(StoreName::Layout(dir)) => {
            Stream::start(move || source::lines(dir, cli.any_type, known, &progress), limits)?
        }
        _ => {
            let files =
                move || source::files(cli.layers, cli.dir, cli.digest, cli.diff_id, &progress);
            Stream::start(files, limits)?
        }
    };
    Ok(unpacking.run(stream)?)
}
