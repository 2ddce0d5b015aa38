// SPDX-License-Identifier: Apache-2.0
//! build-config: an image config, from the diff IDs of its layers and what a container is to run.
//!
//! The same input gives the same bytes: no clock is read, and what is not said is the base's or absent. The
//! layers' blobs are never looked at; their lines say their diff IDs.

mod cli;
mod config;
mod created;
mod layers;
mod runtime;
mod schema1;

use std::process::ExitCode;

use common::descriptor::Descriptor;
use common::digest::Algorithm;
use common::error::Result;
use common::manifest::MAX_CONFIG;
use common::mediatype::{DOCKER_CONFIG, OCI_CONFIG};
use common::output::Output;
use common::reference::StoreName;
use common::{cli as options, exit};
use layout::Layout;
use registry::Registry;
use store::Remote;
use store::options::Stdin;

use cli::Cli;
use config::Config;
use layers::Layers;

fn main() -> ExitCode {
    exit::run("build-config", story)
}

fn story(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    cli.check()?;
    let created = cli.created()?;
    let output = Output::open(&cli.output)?;
    // The layers' lines come by stdin, unless there are none.
    let base_is_file = cli.base.as_ref().is_none_or(|base| base.as_os_str() != "-");
    let stdin = if cli.no_layers && base_is_file { Stdin::Free } else { Stdin::Data };
    let remote = cli.network.remote(stdin)?;
    let bytes = match &cli.schema1 {
        Some(file) => schema1::convert(file, cli.platform.as_ref())?,
        None => build(&cli, created)?,
    };
    match &cli.into {
        None => output.write(&bytes),
        Some(store) => {
            let media_type = if cli.docker { DOCKER_CONFIG } else { OCI_CONFIG };
            let digest = Algorithm::Sha256.digest(&bytes);
            let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
            put(store, &descriptor, &bytes, &remote)?;
            output.write(format!("{}\n", descriptor.line()).as_bytes())
        }
    }
}

/// The config that the command line and the lines on stdin describe.
fn build(cli: &Cli, created: Option<String>) -> Result<Vec<u8>> {
    let mut config = match &cli.base {
        Some(file) => {
            let bytes = options::read_document(Some(file), MAX_CONFIG)?;
            let name = file.display();
            Config::of_base(&bytes).map_err(|e| e.context(format_args!("base {name}")))?
        }
        None => Config::empty(),
    };
    let layers = if cli.no_layers { Layers::none() } else { Layers::read()? };
    layers.warn_of_a_repeated_base(config.diff_ids());
    config.describe(created, cli.author.as_deref())?;
    config.set_platform(cli.platform.as_ref())?;
    cli.runtime.apply(config.runtime()?)?;
    config.add_layers(layers.diff_ids, cli.history().as_ref())?;
    config.into_bytes()
}

/// Puts the config where its manifest will look for it.
fn put(store: &StoreName, descriptor: &Descriptor, bytes: &[u8], remote: &Remote) -> Result<()> {
    let digest = &descriptor.digest;
    match store {
        StoreName::Layout(dir) => Layout::create(dir)?.put_bytes(digest, bytes),
        StoreName::Repository(repository) => {
            Registry::open_to_push(repository, &remote.client, &remote.peer)?
                .push_bytes(digest, bytes)
        }
    }
}
