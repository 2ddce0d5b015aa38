// SPDX-License-Identifier: Apache-2.0
//! fetch-token: prints a bearer token (or the complete Authorization header) for use by other
//! programs.
//!
//! The token is requested with the credential that the other tools would use, or anonymously. It is
//! printed and not stored. The tool does not test whether the registry accepts the token.

mod authorization;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::builder::NonEmptyStringValueParser;
use common::error::{Error, Result};
use common::reference::{Repository, StoreName};
use common::{exit, stdio};
use registry::Registry;
use registry::auth::Scope;
use store::Remote;
use store::options::{Network, Stdin};

use authorization::Authorization;

/// Fetch a bearer token for a repository
///
/// The token permits pulling from REPO, unless an option requests another scope. The request has
/// the user's credential, or is anonymous if the user has none. The token is a secret: save it in a
/// variable, do not print it to a terminal.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The repository
    #[arg(value_name = "REPO")]
    store: StoreName,
    /// Also request permission to push
    #[arg(long)]
    push: bool,
    /// Also request permission to mount from REPO, in the same registry (repeatable)
    #[arg(long, value_name = "REPO", requires = "push")]
    mount_from: Vec<StoreName>,
    /// Request this scope instead of pulling, for example registry:catalog:* (repeatable); with
    /// --push, in addition
    #[arg(long = "scope", value_name = "SCOPE", value_parser = NonEmptyStringValueParser::new())]
    scopes: Vec<String>,
    /// Print the complete Authorization header, for curl -H
    #[arg(long)]
    print_header: bool,
    /// Print no warnings and no notices
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    network: Network,
}

fn main() -> ExitCode {
    exit::run("fetch-token", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    let Remote { client, peer, .. } = cli.network.remote(Stdin::Free)?;
    let mut output = stdio::stdout()?;
    let repository = repository(&cli.store)?;
    let sources = sources(repository, &cli.mount_from)?;
    let scope = scope(repository, cli.push, &sources, &cli.scopes);
    let registry = Registry::open_for(repository, &client, &peer, scope.clone())?;
    let authorization = Authorization::learn(&registry, &scope)?;
    let host = repository.host();
    let text = match authorization {
        Authorization::Bearer(token) if cli.print_header => {
            format!("Authorization: Bearer {token}")
        }
        Authorization::Bearer(token) => token,
        Authorization::Basic(basic) if cli.print_header => format!("Authorization: {basic}"),
        Authorization::Basic(_) => {
            let what = format_args!(
                "{host}: the registry requires a user name and password, and has no tokens"
            );
            let hint =
                "--print-header prints the Authorization header with the user name and password";
            return Err(Error::refused(what).hint(hint));
        }
        Authorization::Nothing => {
            let what = format_args!("{host}: no token: the registry requires no authentication");
            return Err(Error::absent(what).hint("requests to this registry need no token"));
        }
    };
    output
        .write_all(format!("{text}\n").as_bytes())
        .map_err(|cause| Error::local("standard output", &cause))
}

/// The scope of the token. Scopes that the user chose replace the default, which is to pull. With
/// `push`, they are added to the scope for pushing.
fn scope(repository: &Repository, push: bool, sources: &[Repository], chosen: &[String]) -> Scope {
    let chosen = chosen.iter().map(String::as_str);
    if push {
        let push = Scope::push(repository.path());
        let all = sources.iter().fold(push, |all, source| all.and_pull(source.path()));
        chosen.fold(all, |all, scope| all.and(scope))
    } else if chosen.len() == 0 {
        Scope::pull(repository.path())
    } else {
        Scope::of(chosen)
    }
}

fn repository(store: &StoreName) -> Result<&Repository> {
    match store {
        StoreName::Repository(repository) => Ok(repository),
        StoreName::Layout(_) => {
            Err(Error::usage(format_args!("{store}: got a layout, want a repository")))
        }
    }
}

/// The repositories to mount from. All of them must be in the target's registry.
fn sources(target: &Repository, named: &[StoreName]) -> Result<Vec<Repository>> {
    let same = |name: &StoreName| match name {
        StoreName::Repository(source) if source.api_host() == target.api_host() => {
            Ok(source.clone())
        }
        other => Err(Error::usage(format_args!(
            "--mount-from {other}: not a repository of the same registry"
        ))),
    };
    named.iter().map(same).collect()
}
