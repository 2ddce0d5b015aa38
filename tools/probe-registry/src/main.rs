// SPDX-License-Identifier: Apache-2.0
//! probe-registry: prints the properties and features of a registry, one fact per line.
//!
//! It only reads, unless `--write` names a repository in which an upload may be started and
//! cancelled. A fact that it cannot determine is reported as unknown, with the reason.

mod answers;
mod clock;
mod host;
mod pages;
mod report;
mod repository;
mod target;
mod tls;
mod upload;
mod writing;

use std::process::ExitCode;

use clap::Parser;
use common::error::Result;
use common::reference::StoreName;
use common::{exit, stdio};
use net::client::Client;
use net::peer::Peer;
use registry::Registry;
use registry::auth::Scope;
use registry::list::Names;
use store::Remote;
use store::options::{Network, Stdin};

use report::Report;
use target::Target;

/// Print the properties and features of a registry
///
/// Each line is one fact: "name: value". Without REPO, only the facts that do not need a repository
/// are determined. Nothing is written to the registry, unless --write is given.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The registry, and a repository to read, optionally with :TAG or @DIGEST
    #[arg(value_name = "HOST[/REPO]")]
    target: Target,
    /// Also start and cancel an upload in REPO, mount a blob that REPO has, and delete a tag and a
    /// digest that do not exist
    #[arg(long, value_name = "REPO")]
    write: Option<StoreName>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Print no warnings and no notices
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    network: Network,
}

fn main() -> ExitCode {
    exit::run("probe-registry", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    let target = cli.target.with_write(cli.write.as_ref())?;
    let Remote { client, peer, .. } = cli.network.remote(Stdin::Free)?;
    let mut report = Report::new(stdio::stdout()?, cli.json);
    let outcome = probe(&target, &client, &peer, &mut report);
    // The facts that were found before a failure are printed too.
    report.end()?;
    outcome
}

fn probe(target: &Target, client: &Client, peer: &Peer, report: &mut Report) -> Result<()> {
    let whole = Registry::open_for(&target.registry, client, peer, Scope::none())?;
    host::probe(&whole, report)?;
    let catalog = Registry::open_whole(&target.registry, client, peer)?;
    pages::probe(&catalog, Names::Repositories, report)?;
    let Some(repository) = &target.repository else {
        report.unknown(repository::FACTS, "needs a repository: HOST/REPO")?;
        return report.unknown(writing::FACTS, "needs --write REPO");
    };
    let registry = Registry::open(repository, client, peer)?;
    let image = repository::probe(&registry, target.name.as_deref(), report)?;
    let Some(write) = &target.write else {
        return report.unknown(writing::FACTS, "needs --write REPO");
    };
    writing::probe(Registry::open_to_push(write, client, peer)?, repository, &image, report)
}
