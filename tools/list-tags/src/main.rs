// SPDX-License-Identifier: Apache-2.0
//! list-tags: prints a repository's tags, or the names in a layout, one per line.
//!
//! Tags are printed in the registry's order, as each page arrives. If a later page fails, the list
//! is incomplete and the exit status is not 0.

use std::process::ExitCode;

use clap::Parser;
use common::error::{Result, printable};
use common::reference::{StoreName, is_tag};
use common::{exit, notice, stdio};
use store::Store;
use store::options::{Network, Stdin};

/// List a repository's tags
///
/// REPO is a repository in a registry, or oci:DIR. All pages are read; each is printed when it
/// arrives.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The repository or layout
    #[arg(value_name = "REPO")]
    store: StoreName,
    /// Print only the tags after this tag, in the registry's order
    #[arg(long, value_name = "TAG", value_parser = tag)]
    last: Option<String>,
    /// Stop after N tags
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print no warnings and no notices
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    network: Network,
}

fn tag(text: &str) -> std::result::Result<String, String> {
    if is_tag(text) { Ok(text.to_owned()) } else { Err("not a tag".to_owned()) }
}

fn main() -> ExitCode {
    exit::run("list-tags", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    let mut print = stdio::name_printer(cli.limit)?;
    match Store::open(&cli.store, &cli.network.remote(Stdin::Free)?)? {
        // The limit is also the page size: no page needs more tags.
        Store::Registry(registry) => registry.tags(cli.last.as_deref(), cli.limit, print),
        Store::Layout(layout) => {
            let names = layout.tags()?;
            // A layout's names are not sorted: "after TAG" means after it in `index.json`.
            let start =
                cli.last.as_ref().and_then(|last| names.iter().position(|name| name == last));
            if let (Some(last), None) = (&cli.last, start) {
                notice::warn("last", || {
                    format!("--last {last}: no such name in the layout: all names are printed")
                });
            }
            let mut seen = std::collections::HashSet::new();
            for name in &names[start.map_or(0, |i| i + 1)..] {
                if name.is_empty() || name.contains(char::is_control) {
                    notice::warn("name", || {
                        format!("dropped \"{}\": not a valid name", printable(name))
                    });
                    continue;
                }
                if !seen.insert(name) {
                    continue;
                }
                if !print(name)? {
                    break;
                }
            }
            Ok(())
        }
    }
}
