// SPDX-License-Identifier: Apache-2.0
//! push-blob: blobs into a registry or a layout, so that nothing is ever sent twice.
//!
//! `input` says what is to be pushed, `bring` finds its `bytes` and hands them to the `target`, which looks for them first,
//! mounts them from one of its `candidates`, or sends them, in `sessions` that another run may take up.

mod bring;
mod bytes;
mod candidates;
mod input;
mod interrupt;
mod sessions;
mod target;
mod turns;
mod upload;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};

use clap::Parser;
use common::cli;
use common::error::{Error, Result};
use common::mediatype::{self, Compression};
use common::parallel::{in_order, processors};
use common::progress::{Mode, Progress};
use common::reference::{Repository, StoreName};
use common::{exit, stdio};
use compress::Method;
use registry::Registry;
use store::Remote;
use store::options::{FromNetwork, Mirrored, Network, Stdin};

use bring::Run;
use input::{Confirmed, Job};
use target::Target;
use upload::Uploads;

/// Push blobs into a registry or a layout
///
/// The bytes of FILEs or of standard input, or, with --from, what descriptor lines on standard input name. A blob's
/// descriptor line is printed once it is there, in input order.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// Where the blobs go: a repository, or oci:DIR
    store: StoreName,
    /// The blobs; "-" is standard input
    #[arg(value_name = "FILE", conflicts_with = "from")]
    files: Vec<PathBuf>,
    /// Read descriptor lines, and bring what they name from STORE
    #[arg(long, value_name = "STORE")]
    from: Option<StoreName>,
    /// Mount what REPO, in the same registry, has (may come again)
    #[arg(long, value_name = "REPO")]
    mount_from: Vec<StoreName>,
    /// The media type of the bytes
    #[arg(long, value_name = "TYPE", conflicts_with = "from", value_parser = media_type)]
    media_type: Option<String>,
    /// Compress plain layers on the way
    #[arg(long, value_name = "HOW", value_enum)]
    compress: Option<Format>,
    /// Send in parts of SIZE (k, M, G, T are powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = chunk)]
    chunk: Option<u64>,
    /// Push non-distributable layers too
    #[arg(long, requires = "from")]
    allow_nondistributable: bool,
    /// Connections in all
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    jobs: u8,
    /// Show progress on standard error
    #[arg(long, value_name = "HOW", value_enum, default_value = "auto")]
    progress: Mode,
    /// No warnings, and no bar unless it is asked for
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    network: Network,
    #[command(flatten)]
    from_network: FromNetwork,
    #[command(flatten)]
    mirrored: Mirrored,
}

/// A format that --compress takes.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// gzip, on all processors
    Gzip,
    /// zstd, on all processors
    Zstd,
}

/// The smallest part, in bytes: less is more requests than bytes.
const MIN_CHUNK: u64 = 64 << 10;

fn chunk(text: &str) -> std::result::Result<u64, String> {
    match cli::bytes(text)? {
        size if size < MIN_CHUNK => Err(format!("less than {} KiB", MIN_CHUNK >> 10)),
        size => Ok(size),
    }
}

fn media_type(text: &str) -> std::result::Result<String, String> {
    match mediatype::is_media_type(text) {
        true => Ok(text.to_owned()),
        false => Err("not a media type".to_owned()),
    }
}

fn main() -> ExitCode {
    exit::run("push-blob", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    let of_lines = cli.allow_nondistributable.then_some("--allow-nondistributable");
    let of_from = cli.from_network.given().or(cli.mirrored.given());
    if let (None, Some(option)) = (&cli.from, of_lines.or(of_from)) {
        return Err(Error::usage(format_args!("{option} goes with --from")));
    }
    let remote = cli.network.remote(stdin(&cli))?;
    let mut output = stdio::stdout()?;
    let mount_from = siblings(&cli)?;
    let target = target(&cli.store, &remote)?;
    let from = match &cli.from {
        None => None,
        Some(from) => {
            let is_same = is_same_registry(&cli.store, from);
            let remote = cli.from_network.remote(&remote, is_same);
            Some((from.clone(), cli.mirrored.remote(remote)?))
        }
    };
    let run = Arc::new(Run {
        target,
        from,
        source: OnceLock::new(),
        mount_from,
        media_type: cli.media_type,
        compress: cli.compress.map(method).transpose()?,
        chunk: cli.chunk,
        allow_nondistributable: cli.allow_nondistributable,
        progress: Progress::new(cli.progress, cli.quiet),
        done: Mutex::default(),
    });

    let confirmed = Arc::new(Confirmed::default());
    let jobs = {
        let (files, confirmed) = (cli.files, Arc::clone(&confirmed));
        let has_source = run.from.is_some();
        move || input::jobs(files, has_source, confirmed)
    };
    let print = |line: Result<String>| {
        output.write_all(line?.as_bytes()).map_err(|cause| match cause.kind() {
            ErrorKind::BrokenPipe => interrupt::die_of_sigpipe(),
            _ => Error::local("standard output", &cause),
        })?;
        confirmed.one_more();
        Ok(())
    };
    let work = {
        let run = Arc::clone(&run);
        move |job: Result<Job>| run.bring(job?)
    };
    let outcome = in_order(usize::from(cli.jobs), jobs, work, print);
    if outcome.is_err() {
        // What is under way behind the line that failed ends with the run.
        run.target.close();
    }
    run.remember();
    run.progress.end();
    outcome
}

/// Descriptor lines or a blob come by stdin, unless all blobs are in files.
fn stdin(cli: &Cli) -> Stdin {
    let all_files = !cli.files.is_empty() && cli.files.iter().all(|file| file.as_os_str() != "-");
    if all_files { Stdin::Free } else { Stdin::Data }
}

/// Where the blobs go. Of a registry, what is open there is closed before a signal ends the run.
fn target(store: &StoreName, remote: &Remote) -> Result<Target> {
    let repository = match store {
        StoreName::Layout(dir) => return Ok(Target::Layout(dir.clone(), OnceLock::new())),
        StoreName::Repository(repository) => repository,
    };
    let registry = Registry::open_to_push(repository, &remote.client, &remote.peer)?;
    let uploads = Arc::new(Uploads::new(registry));
    let open = Arc::clone(&uploads);
    interrupt::before_dying(move || open.cancel_all(false))?;
    Ok(Target::Registry(uploads))
}

/// The repositories that the user names to mount from: of the target's registry, all of them.
fn siblings(cli: &Cli) -> Result<Vec<Repository>> {
    let named = cli.mount_from.iter().map(|name| match name {
        StoreName::Repository(repository) if is_same_registry(&cli.store, name) => {
            Ok(repository.clone())
        }
        other => Err(Error::usage(format_args!(
            "--mount-from {other}: only a repository of the same registry can be mounted from"
        ))),
    });
    named.collect()
}

fn is_same_registry(a: &StoreName, b: &StoreName) -> bool {
    match (a, b) {
        (StoreName::Repository(a), StoreName::Repository(b)) => a.api_host() == b.api_host(),
        _ => false,
    }
}

fn method(format: Format) -> Result<Method> {
    let format = match format {
        Format::Gzip => Compression::Gzip,
        Format::Zstd => Compression::Zstd,
    };
    Method::new(Some(format), None, processors())
}
