// SPDX-License-Identifier: Apache-2.0
//! build-config: builds an image config from descriptor lines of layers and from options.
//!
//! The same input gives the same bytes: the clock is not read, and a field without an option keeps
//! the value of the base, or is left out. The diff IDs are read from the lines. Not here: the blobs
//! of the layers, and any network.

mod cli;
mod config;
mod created;
mod go_json;
mod layers;
mod runtime;
mod schema1;
mod v1_image;
mod values;

use std::process::ExitCode;

use common::descriptor::Descriptor;
use common::digest::Algorithm;
use common::error::Result;
use common::manifest::MAX_CONFIG;
use common::output::Output;
use common::{cli as options, exit};
use layout::Layout;

use cli::Cli;
use config::Config;
use layers::Layers;
use runtime::Runtime;

fn main() -> ExitCode {
    exit::run("build-config", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    cli.check()?;
    let runtime = cli.runtime()?;
    let layout = cli.layout()?;
    let created = cli.created()?;
    let output = Output::open(&cli.output)?;
    let bytes = match &cli.schema1 {
        Some(file) => schema1::convert(file, cli.platform.as_ref())?,
        None => build(&cli, &runtime, created)?,
    };
    let Some(dir) = layout else { return output.write(&bytes) };
    let digest = Algorithm::Sha256.digest(&bytes);
    Layout::create(dir)?.put_bytes(&digest, &bytes)?;
    let descriptor = Descriptor::new(cli.media_type(), digest, bytes.len() as u64);
    output.write_line(&descriptor)
}

/// The config that the command line and the lines on stdin describe.
fn build(cli: &Cli, runtime: &Runtime, created: Option<String>) -> Result<Vec<u8>> {
    let mut config = match &cli.base {
        Some(file) => {
            let bytes = options::read_document(Some(file), MAX_CONFIG)?;
            let name = file.display();
            Config::from_base(&bytes).map_err(|e| e.context(format_args!("base {name}")))?
        }
        None => Config::empty(),
    };
    let layers = if cli.no_layers { Layers::none() } else { Layers::read()? };
    layers.warn_of_repeated_base(config.diff_ids());
    config.describe(created, cli.author.as_deref())?;
    config.set_platform(cli.platform.as_ref())?;
    runtime.apply(config.runtime()?)?;
    config.add_layers(layers.diff_ids, cli.history().as_ref())?;
    config.into_bytes()
}
