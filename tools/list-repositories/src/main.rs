// SPDX-License-Identifier: Apache-2.0
//! list-repositories: prints the repositories of a registry, or the layouts below a directory, one
//! per line.
//!
//! Names are printed in the registry's order, as each page arrives. If a later page fails, the list
//! is incomplete and the exit status is not 0.

mod layouts;
mod operand;

use std::process::ExitCode;

use clap::Parser;
use common::error::{Error, Result};
use common::reference::is_repository_path;
use common::{exit, stdio};
use registry::Registry;
use store::Remote;
use store::options::{Network, Stdin};

use operand::Operand;

/// List the repositories of a registry
///
/// HOST is a registry, with or without a port, or oci:DIR for the layouts below a directory. All
/// pages are read; each is printed when it arrives.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The registry, or oci:DIR
    #[arg(value_name = "HOST")]
    place: Operand,
    /// Print only the repositories after NAME, in the registry's order
    #[arg(long, value_name = "NAME")]
    last: Option<String>,
    /// Stop after N repositories
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print no warnings and no notices
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    network: Network,
}

fn main() -> ExitCode {
    exit::run("list-repositories", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    let Remote { client, peer, .. } = cli.network.remote(Stdin::Free)?;
    let mut print = stdio::name_printer(cli.limit)?;
    let last = cli.last.as_deref();
    match &cli.place {
        Operand::Registry(host) => {
            if last.is_some_and(|last| !is_repository_path(last)) {
                return Err(Error::usage("--last: expected a repository, without its host"));
            }
            let registry = Registry::open_whole(host, &client, &peer)?;
            // The limit is also requested as the page size, because more names are not needed.
            registry.catalog(last, cli.limit, print)
        }
        Operand::Layouts(dir) => {
            let last = last.map(operand::last_layout).transpose()?;
            layouts::below(dir, |layout| {
                let is_after = last.as_deref().is_none_or(|last| layout > last);
                if is_after {
                    layouts::reference(layout).map_or(Ok(true), |name| print(&name))
                } else {
                    Ok(true)
                }
            })
        }
    }
}
